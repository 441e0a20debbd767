"""The tasks of a run: all of its rows, once, in companies that only its settings decide."""

from dataclasses import replace
from typing import Any

import pytest

from dnl.benchmark import tasks as module
from dnl.benchmark.evaluation import Stages
from dnl.benchmark.plan import BenchConfig, make_plan
from dnl.benchmark.tasks import Task, tasks_of, work
from dnl.surrogates.registry import Architecture

CONFIG = BenchConfig(senders=(2, 4), signals=(2, 10), states=(2,), actions=(3,), instances=5)


def test_tasks_hold_every_row_once() -> None:
    plan = make_plan(CONFIG)
    keys = [key for task in tasks_of(plan.order, plan.stages) for key in task.keys]
    assert len(keys) == len(set(keys))
    assert set(keys) == set(plan.order)


def test_games_of_one_size_are_together_surrogates_one_after_another() -> None:
    plan = make_plan(CONFIG)
    tasks = tasks_of(plan.order, plan.stages)
    assert len(tasks) == 2 * 2 * 3
    assert tasks[0] == Task(tuple(("contested", 2, 2, 2, 3, i) for i in range(5)), "relu")
    assert [task.surrogate for task in tasks[:3]] == ["relu", "delu", "dnl"]
    assert all(task.games == tasks[0].games for task in tasks[:3])
    assert str(tasks[-1]) == "contested N=4 (10,2,3) dnl"


MIXED = replace(CONFIG, senders=(2,), signals=(2,), states=(2, 3), actions=(4, 2), instances=2)
TOGETHER = [(4, 0), (4, 1), (2, 0), (2, 1)]  # numbers of actions, instances


def of_first(
    config: BenchConfig, architecture: Architecture | None = None
) -> tuple[str, list[Any]]:
    """Name of the first task, and its games' numbers of actions and instances."""
    plan = make_plan(config)
    fit = replace(plan.stages.fit, architecture=architecture or Architecture())
    first = tasks_of(plan.order, replace(plan.stages, fit=fit))[0]
    return str(first), [game[4:] for game in first.games]


def test_the_paper_s_networks_take_games_of_any_number_of_actions_together() -> None:
    assert of_first(MIXED) == ("contested N=2 (2,2,4/2) relu", TOGETHER)
    plan = make_plan(MIXED)
    tasks = tasks_of(plan.order, plan.stages)
    assert len(tasks) == 2 * 3
    for task in tasks:
        assert len({game[:4] for game in task.games}) == 1


@pytest.mark.parametrize("surrogates", [("posterior-dnl",), ("relu", "posterior-dnl")])
def test_a_network_that_depends_on_the_actions_parts_the_games(
    surrogates: tuple[str, ...],
) -> None:
    config = replace(MIXED, surrogates=surrogates)
    assert of_first(config) == (f"contested N=2 (2,2,4) {surrogates[0]}", TOGETHER[:2])
    told = Architecture(choices=6)
    assert of_first(config, told) == (f"contested N=2 (2,2,4/2) {surrogates[0]}", TOGETHER)


def test_sizes_need_not_stand_together() -> None:
    plan = make_plan(BenchConfig(senders=(2,), instances=1))
    sizes = [{game[2:5] for game in task.games} for task in tasks_of(plan.order, plan.stages)[::3]]
    assert sizes == [{(2, 2, 2), (2, 2, 4)}, {(4, 2, 2)}, {(2, 4, 2)}, {(4, 4, 4)}]


def test_a_law_s_games_are_among_themselves() -> None:
    plan = make_plan(replace(MIXED, law=("contested", "paper")))
    laws = [{game[0] for game in task.games} for task in tasks_of(plan.order, plan.stages)]
    assert laws == [{"contested"}] * 6 + [{"paper"}] * 6


def test_no_task_is_of_more_games_than_the_paper_s_grid_has_of_one_size() -> None:
    plan = make_plan(replace(MIXED, states=(2,), instances=30))
    tasks = tasks_of(plan.order, plan.stages)[::3]
    assert [len(task.games) for task in tasks] == [25, 25, 10]
    assert str(tasks[1]) == "contested N=2 (2,2,4/2) relu"
    paper = make_plan(BenchConfig(senders=(2,), preset="paper"))
    assert len(tasks_of(paper.order, paper.stages)[0].games) == module.MOST_GAMES


@pytest.mark.parametrize("together", [1, 2, 4, 5])
def test_samples_that_are_fitted_together_are_bounded(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(replace(CONFIG, senders=(2,), signals=(2,), samples=100))
    monkeypatch.setattr(module, "SAMPLE_BYTES", together * 4 * 100 * 2 * 2 * 2)
    tasks = tasks_of(plan.order, plan.stages)
    relu = [[game[5] for game in task.games] for task in tasks if task.surrogate == "relu"]
    assert relu == [list(range(5))[start : start + together] for start in range(0, 5, together)]
    # What surrogates share of a part of the games is done with before the next part.
    parts = [task.games for task in tasks]
    assert parts == [part for part in dict.fromkeys(parts) for _ in range(3)]


def test_what_exact_pieces_need_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE_BYTES", 4 * 12 * 100 * 2 * 2 * 2)
    sizes = {}
    for surrogate in ("posterior-dnl", "follower-dnl"):
        config = replace(CONFIG, senders=(2,), signals=(2,), samples=100, surrogates=(surrogate,))
        plan = make_plan(replace(config, instances=20))
        sizes[surrogate] = len(tasks_of(plan.order, plan.stages)[0].games)
    assert sizes == {"posterior-dnl": 12, "follower-dnl": 4}


def test_one_game_is_the_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE_BYTES", 1)
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
