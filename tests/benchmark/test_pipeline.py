"""A row against what the public functions say about the same game."""

import dataclasses
import itertools
import math
import pickle
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

import dnl
from dnl.benchmark import evaluation
from dnl.benchmark.evaluation import Stages, baselines, evaluate
from dnl.benchmark.rows import KEYS, columns
from dnl.equilibria import verification
from dnl.equilibria.response_walks import radii, walk
from dnl.equilibria.sampled_deviations import unrefuted
from dnl.equilibria.search import Search
from dnl.surrogates.registry import Architecture
from games import PersuasionGame, synthetic_game
from games.persuasion.game_stack import GameStack
from games.randomness import stream

STAGES = Stages(
    fit=dnl.FitConfig(
        samples=100,
        test_samples=60,
        epochs=2,
        batch_size=32,
        architecture=Architecture(hidden=(8, 8, 8), hyper=(4, 4)),
        dtype="float64",
        device="cpu",
    ),
    solver=dnl.ExtragradientConfig(iterations=3),
    starts=12,
    radius=0.02,
    deviations=3,
    seed=2,
)
TIMES = {"fit_seconds", "solve_seconds"}
# Chosen so that the tests below see games with all kinds of end points.
GAMES = [synthetic_game(2, 2, 2, 2, seed=seed, law="contested") for seed in (0, 1, 6, 9, 17)]


def row_of(game: PersuasionGame, surrogate: str, stages: Stages = STAGES) -> dict[str, Any]:
    (row,) = evaluate(baselines([game], stages), surrogate, stages)
    return row


def not_refuted(game: PersuasionGame, policies: Tensor) -> Tensor:
    """`(B,)`, by one profile at a time."""
    count = STAGES.deviations * game.n_states * game.n_signals
    options: dict[str, Any] = {"method": "sampled", "seed": STAGES.seed, "deviations": count}
    verdicts = [dnl.verify(game, pi, STAGES.radius, **options).verdict for pi in policies]
    return torch.tensor([verdict == "not refuted" for verdict in verdicts])


def starts_of(game: PersuasionGame) -> Tensor:
    return game.sample_policies(STAGES.starts, stream("starts", STAGES.seed, game.identity))


def end_points(game: PersuasionGame, surrogate: str) -> Tensor:
    fitted = dnl.fit(game, surrogate, STAGES.fit, STAGES.seed)
    return dnl.extragradient(fitted, starts_of(game), STAGES.solver).policies


def values(row: dict[str, Any], name: str) -> Tensor:
    return torch.tensor([row[f"{name}_{n}"] for n in range(2)], dtype=torch.float64)


@pytest.mark.parametrize("game", GAMES, ids=lambda game: game.identity)
def test_comparison_values_are_those_of_the_game(game: PersuasionGame) -> None:
    row = baselines([game], STAGES)[0].columns
    utilities = game.ex_ante_utility(starts_of(game))
    passed = not_refuted(game, starts_of(game))
    expected = {
        "fr": dnl.full_revelation(game).utilities,
        "ni": game.no_information(),
        "start": utilities.mean(0),
    }
    for name, utility in expected.items():
        torch.testing.assert_close(values(row, f"{name}_utility"), utility, rtol=1e-12, atol=1e-12)
        assert row[f"{name}_welfare"] == pytest.approx(utility.sum().item(), rel=1e-12, abs=1e-12)
    torch.testing.assert_close(values(row, "payoff_range"), game.payoff_range, rtol=0, atol=0)
    assert row["starts_not_refuted"] == passed.sum().item()
    assert row.get("best_start_welfare") == (
        utilities[passed].sum(1).max().item() if passed.any() else None
    )
    assert row["game"] == game.identity
    assert (row["seed"], row["radius"], row["starts"]) == (2, 0.02, 12)


@pytest.mark.parametrize("surrogate", ["relu", "dnl"])
@pytest.mark.parametrize("game", GAMES, ids=lambda game: game.identity)
def test_the_best_is_the_highest_welfare_among_those_not_refuted(
    game: PersuasionGame, surrogate: str
) -> None:
    row, ends = row_of(game, surrogate), end_points(game, surrogate)
    passed = not_refuted(game, ends)
    assert row["not_refuted"] == passed.sum().item()
    if not passed.any():
        assert "best_welfare" not in row
        assert "best_utility_0" not in row
        return
    utilities = game.ex_ante_utility(ends)
    highest = max(utilities[passed].tolist(), key=sum)
    assert row["best_welfare"] == pytest.approx(sum(highest), rel=1e-9)
    assert values(row, "best_utility").tolist() == pytest.approx(highest, rel=1e-9)


def test_the_games_above_show_every_kind_of_outcome() -> None:
    kinds = set()
    for game, surrogate in itertools.product(GAMES, ("relu", "dnl")):
        ends = end_points(game, surrogate)
        passed, utilities = not_refuted(game, ends), game.ex_ante_utility(ends)
        welfare = utilities.sum(1)
        if not passed.any():
            kinds.add("none")
            continue
        best = welfare[passed].max() - 0.1
        if not passed.all() and welfare[~passed].max() > best + 0.2:
            kinds.add("a refuted one is better")
        if welfare[passed][0] < best:
            kinds.add("not the first one")
        if welfare[passed][utilities[passed, 0].argmax()] < best:
            kinds.add("not a sender's favourite")
    wanted = {"none", "a refuted one is better", "not the first one", "not a sender's favourite"}
    assert wanted <= kinds


@pytest.mark.parametrize("surrogate", ["relu", "delu", "dnl"])
def test_errors_are_those_of_the_fit(surrogate: str) -> None:
    row, fitted = row_of(GAMES[0], surrogate), dnl.fit(GAMES[0], surrogate, STAGES.fit, 2)
    for name in ("mse", "unexplained"):
        torch.testing.assert_close(values(row, name), getattr(fitted, name), rtol=1e-9, atol=0)
        assert row[name] == pytest.approx(getattr(fitted, name).mean().item(), rel=1e-9)
    assert row["parameter_count"] == fitted.parameter_count
    assert (row["constant"], row["constant_0"], row["constant_1"]) == (False, False, False)
    assert row["fit_seconds"] > 0
    assert row["solve_seconds"] > 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_constant_games_are_flagged_and_their_starts_pass(dtype: str) -> None:
    stages = dataclasses.replace(STAGES, fit=dataclasses.replace(STAGES.fit, dtype=dtype))
    row = row_of(synthetic_game(2, 2, 2, 2, seed=0, law="paper"), "relu", stages)
    assert row["constant"] is True
    assert math.isnan(row["unexplained"])
    assert row["not_refuted"] == row["starts_not_refuted"] == 12
    assert row["best_welfare"] == pytest.approx(row["ni_welfare"], rel=1e-9)


def test_one_constant_utility_does_not_make_a_constant_game() -> None:
    utilities = GAMES[0].sender_utility.clone()
    utilities[0] = 0.0
    row = row_of(dataclasses.replace(GAMES[0], sender_utility=utilities), "relu")
    assert (row["constant"], row["constant_0"], row["constant_1"]) == (False, True, False)
    assert row["unexplained"] == row["unexplained_1"] > 0  # the mean over those that vary


def assert_rows_agree(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert first.keys() == second.keys()
    for name in first.keys() - TIMES:
        if isinstance(first[name], float):
            assert first[name] == pytest.approx(second[name], rel=1e-9, abs=1e-12)
        else:
            assert first[name] == second[name]


@pytest.mark.parametrize("surrogate", ["relu", "delu", "dnl"])
def test_a_row_does_not_depend_on_its_company(surrogate: str) -> None:
    games = [*GAMES[:2], synthetic_game(2, 2, 2, 3, seed=0, law="contested")]
    together = evaluate(baselines(games, STAGES), surrogate, STAGES)
    for game, row in zip(games, together, strict=True):
        assert_rows_agree(row, row_of(game, surrogate))


@pytest.mark.whole_run
@pytest.mark.parametrize("surrogate", ["relu", "dnl"])
def test_rows_are_those_of_a_machine_with_more_memory(
    surrogate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too little to fit or to verify two games, and for the ascent of more than three starts."""
    prepared = baselines(GAMES[:3], STAGES)
    expected = evaluate(prepared, surrogate, STAGES)
    fitted: list[int] = []
    ascended: list[int] = []
    verified: list[int] = []

    def fit_one(games: Sequence[PersuasionGame], *rest: Any, **options: Any) -> Any:
        fitted.append(len(games))
        if len(games) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return dnl.fit_many(games, *rest, **options)

    def ascend_three(utility: Any, starts: Tensor, config: Any) -> Any:
        ascended.append(starts.shape[1])
        if starts.shape[1] > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return dnl.extragradient(utility, starts, config)

    def verify_one(games: GameStack, *rest: Any) -> Tensor:
        verified.append(len(games))
        if len(games) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return unrefuted(games, *rest)

    monkeypatch.setattr(evaluation, "fit_many", fit_one)
    monkeypatch.setattr(evaluation, "unrefuted", verify_one)
    monkeypatch.setattr(evaluation, "extragradient", ascend_three)
    rows = evaluate(prepared, surrogate, STAGES)
    assert fitted == [3, 1, 2, 1, 1]
    assert ascended == [12, 6, 3, 3, 6, 3, 3]
    assert verified == [3, 1, 2, 1, 1]
    for row, other in zip(rows, expected, strict=True):
        assert_rows_agree(row, other)


def test_a_game_that_memory_does_not_hold_at_all_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*args: Any, **options: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(evaluation, "fit_many", never)
    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        evaluate(baselines(GAMES[:1], STAGES), "relu", STAGES)


def test_what_is_sent_of_a_game_does_not_grow_with_its_company() -> None:
    alone, together = baselines(GAMES[:1], STAGES), baselines(GAMES[:4], STAGES)
    sizes = [len(pickle.dumps(base)) for base in (alone[0], together[0])]
    assert sizes[0] == sizes[1]


def test_starts_and_comparison_values_do_not_depend_on_the_surrogate() -> None:
    (base,) = baselines(GAMES[:1], STAGES)
    for surrogate in ("relu", "delu"):
        (row,) = evaluate([base], surrogate, STAGES)
        assert {name: row[name] for name in base.columns} == base.columns


@pytest.mark.parametrize("change", [{"seed": 3}, {"radius": 0.3}, {"starts": 13}], ids=str)
def test_every_setting_reaches_its_stage(change: dict[str, Any]) -> None:
    rows = [row_of(GAMES[1], "relu", dataclasses.replace(STAGES, **c)) for c in ({}, change)]
    (name,) = change
    assert rows[1][name] == change[name]
    result = {"seed": "start_welfare", "radius": "starts_not_refuted", "starts": "start_welfare"}
    assert rows[0][result[name]] != rows[1][result[name]]


def test_every_epoch_is_reported_and_all_columns_are_known() -> None:
    seen: list[tuple[int, int]] = []
    (row,) = evaluate(
        baselines(GAMES[:1], STAGES), "relu", STAGES, lambda done, total: seen.append((done, total))
    )
    assert seen == [(1, 2), (2, 2)]
    assert row.keys() <= set(columns(2)) - set(KEYS)
    assert columns(2)[-1] == "error"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"starts": 0}, "starts must be an integer of at least 1, got 0"),
        ({"deviations": 0}, "deviations must be an integer of at least 1, got 0"),
        ({"radius": 0.0}, "radius must be finite and above 0, got 0.0"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
    ],
)
def test_malformed_stages_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Stages(**wrong)


# -------------------------------------------------------------------------- the exact decision

EXACT_COLUMNS = {"certified", "undecided", "certified_welfare", "finished_welfare"}
START_COLUMNS = {"starts_certified", "starts_undecided"}
START_COLUMNS |= {"certified_start_welfare", "finished_start_welfare"}


def decided(game: PersuasionGame, policies: Tensor) -> tuple[list[str], Tensor]:
    """Exact verdicts, each by `verify`, and the welfare of those that sampling lets through."""
    kept = policies[not_refuted(game, policies)]
    verdicts = [str(dnl.verify(game, pi, STAGES.radius, method="exact").verdict) for pi in kept]
    return verdicts, game.ex_ante_utility(kept).sum(1)


@pytest.mark.parametrize("game", GAMES, ids=lambda game: game.identity)
def test_exact_columns_are_what_verify_says_of_the_end_points(game: PersuasionGame) -> None:
    row = row_of(game, "relu")
    names = ("certified", "undecided", "certified_welfare")
    start_names = ("starts_certified", "starts_undecided", "certified_start_welfare")
    for (certified, undecided, best), policies in (
        (names, end_points(game, "relu")),
        (start_names, starts_of(game)),
    ):
        verdicts, welfare = decided(game, policies)
        assert row[certified] == verdicts.count("certified")
        assert row[undecided] == verdicts.count("undecided")
        proven = [w for w, v in zip(welfare.tolist(), verdicts, strict=True) if v == "certified"]
        assert row.get(best) == (pytest.approx(max(proven), rel=1e-9) if proven else None)
    assert not {"finished_welfare", "finished_start_welfare"} & row.keys()


def test_the_games_above_show_proofs_and_refutations_that_sampling_missed() -> None:
    seen = {v for game in GAMES for v in decided(game, starts_of(game))[0]}
    assert {"certified", "refuted"} <= seen


@pytest.mark.parametrize("count", [1, 2])
def test_candidates_are_decided_on_torch_s_threads(
    count: int, threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = dataclasses.replace(STAGES, finish=2)
    expected = baselines(GAMES[1:2], stages)[0].columns
    seen = set()

    def decide(*args: Any, **options: Any) -> str:
        seen.add(threading.current_thread())
        return as_ever(*args, **options)

    as_ever = verification.decide
    monkeypatch.setattr(verification, "decide", decide)
    threads(count)
    assert baselines(GAMES[1:2], stages)[0].columns == expected
    assert bool(seen - {threading.main_thread()}) == (count > 1)


def test_without_exact_decisions_their_columns_are_left_out() -> None:
    row = row_of(GAMES[1], "relu", dataclasses.replace(STAGES, exact=False))
    assert not (EXACT_COLUMNS | START_COLUMNS) & row.keys()
    full = row_of(GAMES[1], "relu")
    same = {name: value for name, value in full.items() if name in row}
    assert_rows_agree(row, same)
    assert full.keys() - row.keys() <= EXACT_COLUMNS | START_COLUMNS


@pytest.mark.parametrize("exact", [True, False])
def test_what_is_finished_is_an_equilibrium(exact: bool) -> None:
    """The best end point, walked to rest by hand and proven by `verify`."""
    game, stages = GAMES[1], dataclasses.replace(STAGES, exact=exact, finish=1)
    row = row_of(game, "relu", stages)
    for name, policies in (
        ("finished_welfare", end_points(game, "relu")),
        ("finished_start_welfare", starts_of(game)),
    ):
        ends = policies / policies.sum(-1, keepdim=True)
        best = ends[game.ex_ante_utility(ends).sum(1).argmax()]
        search = Search(game, stages.radius)
        rests = [p for p in walk(search, best, radii(stages.radius)) if p is not None]
        proven = [p for p in rests if dnl.verify(game, p, stages.radius).is_equilibrium]
        welfare = [game.ex_ante_utility(p).sum().item() for p in proven]
        assert row.get(name) == (pytest.approx(max(welfare), rel=1e-9) if welfare else None)
    assert {"finished_welfare", "finished_start_welfare"} & row.keys()
    assert ("certified" in row) == exact


def test_more_that_are_finished_are_never_worse() -> None:
    rows = [
        row_of(GAMES[1], "relu", dataclasses.replace(STAGES, exact=False, finish=finish))
        for finish in (1, 4)
    ]
    for name in ("finished_welfare", "finished_start_welfare"):
        one, four = (row.get(name, -math.inf) for row in rows)
        assert four >= one


def test_a_negative_number_to_finish_is_refused() -> None:
    with pytest.raises(ValueError, match="finish must be an integer of at least 0, got -1"):
        Stages(finish=-1)
