"""Out of memory: less at a time, the same results."""

import weakref
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from dnl.runtime.memory import in_halves


def limited(most: int, tried: list[int]) -> Any:
    def doubled(items: Sequence[int]) -> list[int]:
        tried.append(len(items))
        if len(items) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [2 * item for item in items]

    return doubled


@pytest.mark.parametrize(
    ("most", "sizes"),
    [(9, [7]), (4, [7, 3, 4]), (2, [7, 3, 1, 2, 4, 2, 2]), (1, [7, 3, 1, 2, 1, 1])],
)
def test_halves_keep_the_order(most: int, sizes: list[int]) -> None:
    tried: list[int] = []
    assert in_halves(limited(most, tried), range(7)) == [0, 2, 4, 6, 8, 10, 12]
    assert tried[: len(sizes)] == sizes


def test_one_item_that_needs_too_much_is_an_error() -> None:
    tried: list[int] = []
    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        in_halves(limited(0, tried), range(4))
    assert tried == [4, 2, 1]


def test_another_error_is_passed_on() -> None:
    tried = []

    def broken(items: Sequence[int]) -> list[int]:
        tried.append(len(items))
        raise RuntimeError("no such thing")

    with pytest.raises(RuntimeError, match="no such thing"):
        in_halves(broken, range(4))
    assert tried == [4]


def test_what_the_failed_attempt_held_is_free_before_the_next() -> None:
    held: list[weakref.ref[Tensor]] = []

    def hungry(items: Sequence[int]) -> list[int]:
        assert all(ref() is None for ref in held)
        mine = torch.zeros(10)
        held.append(weakref.ref(mine))
        if len(items) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [int(mine.sum()) + item for item in items]

    assert in_halves(hungry, range(4)) == [0, 1, 2, 3]
