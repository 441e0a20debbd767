"""Several computations at once: what one thread would find, and an end where it is due."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from dnl import verify
from dnl.equilibria.verification import decide, decide_many
from dnl.runtime.parallel import check_wanted, spread
from games import PersuasionGame, synthetic_game
from games.randomness import near_pure

MAIN = threading.main_thread()


def contested(size: int = 3) -> tuple[PersuasionGame, Tensor]:
    """A game, and profiles of which some are equilibria: random ones, and one that says nothing."""
    game = synthetic_game(2, size, size, size, seed=0, law="contested")
    policies = game.sample_policies(7, torch.Generator().manual_seed(0))
    policies[4] = 1 / size
    return game, policies


def hard(count: int) -> tuple[PersuasionGame, Tensor]:
    """A game and near-pure profiles of which each takes seconds to minutes."""
    game = synthetic_game(2, 10, 10, 10, seed=0, law="contested")
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(10, (count, 2, 10), generator=generator)
    return game, near_pure(labels, game.sample_policies(count, generator), 0.01)


def forever(_: object) -> None:
    """As an exact computation that does not end, but for the linear programs."""
    while True:
        check_wanted()
        time.sleep(0.001)


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Ctrl-C, as this process sees it, and no thread left behind."""
    before = threading.active_count()
    strike = threading.Timer(seconds, signal.pthread_kill, (MAIN.ident, signal.SIGINT))
    strike.start()
    with pytest.raises(KeyboardInterrupt):
        yield
    strike.join()
    assert threading.active_count() == before


# ------------------------------------------------------------------------------------- spreading


@pytest.mark.parametrize("workers", [1, 2, 5, 100])
def test_results_are_in_order(workers: int) -> None:
    def late(item: int) -> int:
        time.sleep(0.002 * (7 - item))
        return item * item

    assert spread(late, range(7), workers) == [item * item for item in range(7)]
    assert spread(late, [], workers) == []


def test_so_many_at_once() -> None:
    meeting = threading.Barrier(3, timeout=60)
    assert len(set(spread(lambda _: meeting.wait(), range(3), 3))) == 3


def test_torch_has_one_thread_in_each_and_what_it_had_afterwards(
    threads: Callable[[int], None],
) -> None:
    threads(3)
    assert spread(lambda _: torch.get_num_threads(), range(4), 2) == [1] * 4
    assert torch.get_num_threads() == 3
    with pytest.raises(ZeroDivisionError):
        spread(lambda item: 1 / item, range(4), 2)
    assert torch.get_num_threads() == 3
    assert spread(lambda _: torch.get_num_threads(), range(4), 1) == [3] * 4


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_is_started_for_one(workers: int) -> None:
    items = range(1 if workers == 2 else 3)
    assert {*spread(lambda _: threading.current_thread(), items, workers)} == {MAIN}


# ------------------------------------------------------------------------------------- ends


def test_an_error_comes_as_it_is_and_ends_the_others() -> None:
    error = RuntimeError("as it is")

    def fail(item: int) -> None:
        if item == 0:
            raise error
        forever(item)

    before = threading.active_count()
    with pytest.raises(RuntimeError) as raised:
        spread(fail, range(5), 3)
    assert raised.value is error
    assert threading.active_count() == before


def test_ctrl_c_ends_all() -> None:
    with interrupted_after(0.2):
        spread(forever, range(5), 2)
    check_wanted()  # here, something may still be wanted


def test_ctrl_c_ends_certificates() -> None:
    game, policies = hard(6)
    began = time.perf_counter()
    with interrupted_after(0.3):
        verify(game, policies, time_limit=1e6, workers=2)
    assert time.perf_counter() - began < 30  # all of them take minutes


# ------------------------------------------------------------------------------------- certificates


@pytest.mark.parametrize(
    ("radius", "dtype"),
    [(0.005, torch.float64), (0.1, torch.float32), (None, torch.float64)],
)
def test_verification_does_not_depend_on_the_workers(
    radius: float | None, dtype: torch.dtype
) -> None:
    game, policies = contested()
    policies = policies.to(dtype)
    alone = verify(game, policies, radius)
    together = verify(game, policies, radius, workers=3)
    for name in ("gain", "relative_gain", "witness", "witness_gain"):
        assert torch.equal(getattr(together, name), getattr(alone, name))
    assert (together.verdict, together.status) == (alone.verdict, alone.status)
    assert len(set(alone.verdict)) > 1 or radius is None
    single = verify(game, policies[4], radius, workers=3)
    assert (single.verdict, single.status) == (alone.verdict[4], alone.status[4])
    assert verify(game, policies[:0], radius, workers=3).verdict == ()


def test_decisions_do_not_depend_on_the_workers() -> None:
    game, policies = contested()
    for radius in (0.005, None):
        expected = [decide(game, profile, radius) for profile in policies]
        for workers in (1, 3):
            assert decide_many(game, policies.unbind(), radius, workers=workers) == expected


def test_every_profile_has_the_whole_limit_from_its_own_beginning() -> None:
    game, policies = hard(5)
    result = verify(game, policies, time_limit=0.3, workers=2)
    assert (result.seconds.sum(1) > 0.2).all()  # the last ones begin after 0.6 seconds
    assert all("time limit" in status for status in result.status)


@pytest.mark.parametrize("bad", [0, -1, 1.5, "2", True, None])
def test_a_bad_number_of_workers_is_refused(bad: Any) -> None:
    game, policies = contested()
    with pytest.raises(ValueError, match="workers must be an integer of at least 1, got"):
        verify(game, policies, workers=bad)


def test_sampling_has_no_workers() -> None:
    game, policies = contested()
    with pytest.raises(ValueError, match="workers is for method 'exact', got 2 with 'sampled'"):
        verify(game, policies, method="sampled", workers=2)
