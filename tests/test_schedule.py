"""The tasks of a run: all of its rows, once, in companies that only its settings decide."""

from dataclasses import replace

import pytest

from dnl import schedule
from dnl.pipeline import Stages
from dnl.plan import BenchConfig, make_plan
from dnl.schedule import Task, tasks_of, work

CONFIG = BenchConfig(senders=(2, 4), signals=(2, 10), states=(2,), actions=(3,), instances=5)


def test_tasks_hold_every_row_once() -> None:
    plan = make_plan(CONFIG)
    keys = [key for task in tasks_of(plan.order, plan.stages) for key in task.keys]
    assert len(keys) == len(set(keys))
    assert set(keys) == set(plan.order)


def test_games_of_one_shape_are_together_surrogates_one_after_another() -> None:
    plan = make_plan(CONFIG)
    tasks = tasks_of(plan.order, plan.stages)
    assert len(tasks) == 2 * 2 * 3
    assert tasks[0] == Task(tuple(("contested", 2, 2, 2, 3, i) for i in range(5)), "relu")
    assert [task.surrogate for task in tasks[:3]] == ["relu", "delu", "dnl"]
    assert all(task.games == tasks[0].games for task in tasks[:3])
    assert str(tasks[-1]) == "contested N=4 (10,2,3) dnl"


@pytest.mark.parametrize("together", [1, 2, 4, 5])
def test_samples_that_are_fitted_together_are_bounded(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(replace(CONFIG, senders=(2,), signals=(2,), samples=100))
    monkeypatch.setattr(schedule, "SAMPLE_BYTES", together * 8 * 100 * 2 * 2 * 2)
    tasks = tasks_of(plan.order, plan.stages)
    relu = [[game[5] for game in task.games] for task in tasks if task.surrogate == "relu"]
    assert relu == [list(range(5))[start : start + together] for start in range(0, 5, together)]
    # What surrogates share of a part of the games is done with before the next part.
    parts = [task.games for task in tasks]
    assert parts == [part for part in dict.fromkeys(parts) for _ in range(3)]


def test_one_game_is_the_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "SAMPLE_BYTES", 1)
    plan = make_plan(CONFIG)
    assert {len(task.games) for task in tasks_of(plan.order, plan.stages)} == {1}


def test_work_grows_with_what_is_fitted() -> None:
    stages = Stages()
    game = ("contested", 2, 2, 2, 2)
    one = work(Task(((*game, 0),), "relu"), stages)
    assert work(Task(((*game, 0), (*game, 1)), "relu"), stages) == 2 * one
    assert work(Task(((*game, 0),), "dnl"), stages) > one
    longer = replace(stages, fit=replace(stages.fit, epochs=2 * stages.fit.epochs))
    assert work(Task(((*game, 0),), "relu"), longer) == 2 * one
