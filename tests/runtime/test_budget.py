"""Time and memory are handed down, and never grow on the way."""

import math

from dnl.runtime.budget import Budget


def test_a_part_ends_before_the_whole() -> None:
    whole = Budget.within(100.0)
    assert 99 < whole.left <= 100
    assert not whole.over
    assert whole.part(0.5).left <= 50
    assert whole.at_most(3.0).left <= 3
    assert whole.at_most(1e9).deadline == whole.deadline


def test_no_time_is_left_after_the_deadline() -> None:
    ended = Budget.within(-1.0)
    assert ended.over
    assert ended.left == 0
    assert ended.part(0.5).over


def test_without_a_deadline_time_is_endless() -> None:
    assert Budget().left == math.inf
    assert Budget().part(0.5).deadline == math.inf
    assert not Budget().over


def test_rows_fit_the_memory() -> None:
    assert Budget(memory=1000).rows(100) == 10
    assert Budget(memory=1000).rows(10**6) == 1
    assert Budget(memory=1000).rows(0) == 1000
    assert Budget.within(1.0).part(0.5).memory == Budget().memory
