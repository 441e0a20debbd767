"""Discretised games: tables against plain loops, files and equilibria against Gambit itself."""

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import dnl
from games import PersuasionGame, didactic_game, prosecutor_game, synthetic_game
from games.persuasion import gambit
from games.persuasion.gambit import grid_policies, payoff_table, pure_equilibria, save_nfg
from tests.references import simulation as reference

Cell = tuple[int, ...]

TOLERANCE = 1e-5  # of the payoff range, the verifier's default
ROUNDING = 1e-9  # of the payoff range

NAMED = {
    "didactic": didactic_game(),
    "prosecutor": prosecutor_game(),
    "prosecutor-first": prosecutor_game("first"),
    # Every utility is the same up to rounding, which a file must not take for a gain.
    "uncontested": synthetic_game(2, 2, 2, 2, seed=0, law="paper"),
}
CONTESTED = {
    f"{n}-({m},{s},{a})-{seed}": synthetic_game(n, m, s, a, seed=seed, law="contested")
    for n, m, s, a in [(2, 2, 2, 2), (2, 2, 3, 2), (2, 3, 2, 3), (3, 2, 2, 2)]
    for seed in range(4)
}
SMALL = NAMED | CONTESTED
small_games = pytest.mark.parametrize("name", SMALL)


@pytest.fixture(scope="module")
def pygambit() -> Any:
    return pytest.importorskip("pygambit")


def pure_table(game: PersuasionGame, steps: int = 1) -> Tensor:
    return payoff_table(game, grid_policies(game.n_states, game.n_signals, steps))


def in_ranges(game: PersuasionGame, table: Tensor) -> Tensor:
    """The table in units of payoff ranges."""
    return table / torch.where(game.payoff_range > 0, game.payoff_range, 1.0)


def pure_policies_by_loops(n_states: int, n_signals: int) -> list[list[list[float]]]:
    return [
        [[float(signal == sent) for signal in range(n_signals)] for sent in plan]
        for plan in itertools.product(range(n_signals), repeat=n_states)
    ]


def equilibria_by_loops(game: PersuasionGame, tolerance: float) -> list[Cell]:
    """Pure equilibria among pure policies; `tolerance` in payoff ranges."""
    plans = pure_policies_by_loops(game.n_states, game.n_signals)
    tables = (game.prior, game.receiver_utility, game.sender_utility)
    cells = list(itertools.product(range(len(plans)), repeat=game.n_senders))
    payoff = {
        cell: reference.sender_utilities(
            *tables, [plans[choice] for choice in cell], game.tie_break
        ).tolist()
        for cell in cells
    }
    spreads = [reference.spread(table) for table in reference.nested(game.sender_utility)]
    return [
        cell
        for cell in cells
        if all(
            payoff[(*cell[:n], other, *cell[n + 1 :])][n] - payoff[cell][n]
            <= tolerance * spreads[n]
            for n in range(game.n_senders)
            for other in range(len(plans))
        )
    ]


# ------------------------------------------------------------------------------------- policies


@pytest.mark.parametrize(("n_states", "n_signals"), [(1, 1), (1, 3), (2, 2), (3, 2), (2, 3)])
def test_pure_policies_are_all_maps_in_order(n_states: int, n_signals: int) -> None:
    expected = torch.tensor(pure_policies_by_loops(n_states, n_signals), dtype=torch.float64)
    torch.testing.assert_close(grid_policies(n_states, n_signals), expected, rtol=0, atol=0)


@pytest.mark.parametrize(("n_states", "n_signals", "steps"), [(2, 2, 4), (1, 3, 5), (2, 3, 3)])
def test_a_grid_holds_every_multiple_once(n_states: int, n_signals: int, steps: int) -> None:
    policies = grid_policies(n_states, n_signals, steps)
    units = (policies * steps).round()
    torch.testing.assert_close(policies, units / steps, rtol=0, atol=0)
    assert len(policies) == math.comb(steps + n_signals - 1, steps) ** n_states
    assert len(units.unique(dim=0)) == len(policies)
    assert ((units >= 0) & (units.sum(-1, keepdim=True) == steps)).all()


# --------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize("chunk", [1, 40, 2**20])
def test_a_table_holds_the_utilities_of_its_profiles(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gambit, "PROFILE_BYTES", 8 * chunk)
    game = CONTESTED["3-(2,2,2)-0"]
    drawn = game.sample_policies(4, torch.Generator().manual_seed(0))
    own = [drawn[:2, 0], drawn[:3, 1], drawn[:, 2]]
    table = payoff_table(game, own)
    assert table.shape == (2, 3, 4, 3)
    tables = (game.prior, game.receiver_utility, game.sender_utility)
    for cell in itertools.product(range(2), range(3), range(4)):
        profile = torch.stack([policies[i] for policies, i in zip(own, cell, strict=True)])
        expected = reference.sender_utilities(*tables, profile, game.tie_break)
        torch.testing.assert_close(table[cell], expected, rtol=0, atol=1e-12)


def test_one_sender_gets_the_textbook_optimum_on_a_grid_that_holds_it() -> None:
    """Kamenica and Gentzkow (2011): 0.6, by accusing 3/7 of the innocent."""
    game = prosecutor_game()
    table = pure_table(game, steps=7)
    assert table.amax().item() == pytest.approx(0.6, abs=1e-12)
    grid = grid_policies(2, 2, 7)
    optimal = torch.tensor([[3 / 7, 4 / 7], [1.0, 0.0]], dtype=torch.float64)
    best = [cell for (cell,) in pure_equilibria(table, 1e-9)]
    assert any(torch.allclose(grid[index], optimal) for index in best)
    assert len(best) == 2  # and with the signals' names exchanged


def test_tables_keep_dtype_and_carry_no_gradient() -> None:
    game = didactic_game()
    strategies = grid_policies(2, 2).float().requires_grad_()
    table = payoff_table(game, strategies)
    assert table.dtype == torch.float32
    assert not table.requires_grad


# ----------------------------------------------------------------------------------- equilibria


def test_matching_pennies_has_no_pure_equilibrium_and_a_constant_game_every_one() -> None:
    wins = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    assert pure_equilibria(torch.stack([wins, -wins], -1)) == []
    assert pure_equilibria(torch.stack([wins, -wins], -1), 2.0) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert pure_equilibria(torch.zeros(1, 2, 2)) == [(0, 0), (0, 1)]


@small_games
def test_equilibria_agree_with_plain_loops(name: str) -> None:
    game = SMALL[name]
    table = in_ranges(game, pure_table(game))
    assert pure_equilibria(table, ROUNDING) == equilibria_by_loops(game, ROUNDING)


@pytest.mark.whole_run
@pytest.mark.parametrize(
    "name",
    [*NAMED, *(f"2-(2,2,2)-{i}" for i in range(3)), "2-(2,3,2)-0", "2-(3,2,3)-0", "3-(2,2,2)-0"],
)
def test_every_certified_pure_profile_is_an_equilibrium_of_the_table(name: str) -> None:
    game = SMALL[name]
    pure = grid_policies(game.n_states, game.n_signals)
    cells = list(itertools.product(range(len(pure)), repeat=game.n_senders))
    if len(cells) > 16:
        cells = cells[::7]
    revealing = revealing_cell(game)
    if revealing is not None and revealing not in cells:
        cells.append(revealing)
    verdicts = dnl.verify(game, pure[torch.tensor(cells)], radius=None, method="exact").verdict
    certified = {cell for cell, said in zip(cells, verdicts, strict=True) if said == "certified"}
    table = in_ranges(game, pure_table(game))
    assert certified <= set(pure_equilibria(table, TOLERANCE + ROUNDING))
    # An equilibrium of this kind is global (Theorem 4), so the test is not empty.
    assert revealing is None or revealing in certified


def revealing_cell(game: PersuasionGame) -> Cell | None:
    """Full revelation in the table of pure policies, where it is an equilibrium."""
    revelation = dnl.full_revelation(game)
    if not revelation.is_equilibrium:
        return None
    assert revelation.policies is not None
    code = revelation.policies.argmax(-1).tolist()  # (N, S)
    base = game.n_signals
    return tuple(sum(m * base**p for p, m in enumerate(reversed(row))) for row in code)


@pytest.mark.usefixtures("few_starts")
@pytest.mark.parametrize("name", ["didactic", "2-(2,2,2)-1", "2-(2,3,2)-0"])
def test_no_grid_deviation_gains_more_than_the_global_gap(name: str) -> None:
    game = SMALL[name]
    grid = grid_policies(game.n_states, game.n_signals, 4)
    equilibria = dnl.find_equilibria(game, time_limit=10.0)
    assert any(found.global_gap <= TOLERANCE for found in equilibria)  # full revelation, at least
    for found in equilibria:
        for sender in range(game.n_senders):
            gain = game.deviation_gain(found.policies, sender, grid).amax().item()
            assert gain <= found.global_gap * game.payoff_range[sender].item() + 1e-9


# --------------------------------------------------------------------------------- with pygambit


def read(pygambit: Any, path: Path) -> tuple[Any, Tensor]:
    """The game in a file and its payoffs `(P_0, ..., P_{N-1}, N)`, as Gambit understands them."""
    file = pygambit.read_nfg(path)
    arrays = [torch.tensor(array.astype(float)) for array in file.to_arrays()]
    return file, torch.stack(arrays, -1)


def gambit_equilibria(pygambit: Any, file: Any) -> list[Cell]:
    found = pygambit.nash.enumpure_solve(file).equilibria
    return sorted(
        tuple(
            [profile[player][plan] for plan in file.get_strategies(player)].index(1)
            for player in file.players
        )
        for profile in found
    )


@small_games
def test_gambit_reads_what_the_simulator_says(name: str, pygambit: Any, tmp_path: Path) -> None:
    game = SMALL[name]
    save_nfg(game, tmp_path / "game.nfg")
    file, table = read(pygambit, tmp_path / "game.nfg")
    unnamed = [f"Sender {n}" for n in range(game.n_senders)]
    assert list(file.players) == list(game.sender_names or unnamed)
    pure = grid_policies(game.n_states, game.n_signals)
    assert table.shape == (*[len(pure)] * game.n_senders, game.n_senders)
    picks = torch.randint(
        len(pure), (50, game.n_senders), generator=torch.Generator().manual_seed(0)
    )
    expected = game.ex_ante_utility(pure[picks])  # (50, N)
    got = torch.stack([table[tuple(pick)] for pick in picks.tolist()])
    largest = game.sender_utility.abs().amax((1, 2))
    assert ((got - expected).abs() <= 1e-12 * largest).all()


@small_games
def test_gambit_finds_the_same_pure_equilibria(name: str, pygambit: Any, tmp_path: Path) -> None:
    game = SMALL[name]
    save_nfg(game, tmp_path / "game.nfg")
    file, table = read(pygambit, tmp_path / "game.nfg")
    found = gambit_equilibria(pygambit, file)
    assert found == pure_equilibria(table)  # the very decimals that Gambit compares
    assert found == pure_equilibria(in_ranges(game, pure_table(game)), ROUNDING)


def test_gambit_agrees_on_a_finer_grid(pygambit: Any, tmp_path: Path) -> None:
    game = CONTESTED["2-(2,2,2)-0"]
    save_nfg(game, str(tmp_path / "game.nfg"), steps=3)
    file, table = read(pygambit, tmp_path / "game.nfg")
    assert table.shape == (16, 16, 2)
    assert gambit_equilibria(pygambit, file) == pure_equilibria(table)
    labels = list(file.get_strategies("Sender 1"))
    assert labels[:3] == ["1 0, 1 0", "1 0, 2/3 1/3", "1 0, 1/3 2/3"]


def test_labels_say_which_signal_is_sent_in_which_state(pygambit: Any, tmp_path: Path) -> None:
    save_nfg(didactic_game(), tmp_path / "game.nfg")
    file = pygambit.read_nfg(tmp_path / "game.nfg")
    assert list(file.get_strategies("Sender 0")) == ["0,0", "0,1", "1,0", "1,1"]


NAMES: dict[str, Any] = {
    "sender_names": ("Ann", 'the "other"  one'),
    "state_names": ("boom", "b\\ust"),
    "signal_names": ("buy", "sell"),
}


@pytest.mark.parametrize(
    ("given", "steps", "first", "last"),
    [
        ((), 1, "0,0", "1,1"),
        (("signal_names",), 1, "buy, buy", "sell, sell"),
        (("state_names",), 1, "boom: 0, b/ust: 0", "boom: 1, b/ust: 1"),
        (("state_names", "signal_names"), 1, "boom: buy, b/ust: buy", "boom: sell, b/ust: sell"),
        (("state_names",), 2, "boom: 1 0, b/ust: 1 0", "boom: 0 1, b/ust: 0 1"),
        (("signal_names",), 2, "1 buy, 1 buy", "1 sell, 1 sell"),
    ],
)
def test_labels_are_the_games_names(
    given: tuple[str, ...], steps: int, first: str, last: str, pygambit: Any, tmp_path: Path
) -> None:
    names = {name: NAMES[name] for name in ("sender_names", *given)}
    named = dataclasses.replace(didactic_game(), **names)
    save_nfg(named, tmp_path / "game.nfg", steps)
    file = pygambit.read_nfg(tmp_path / "game.nfg")
    assert list(file.players) == ["Ann", 'the "other" one']
    strategies = list(file.get_strategies("Ann"))
    assert (strategies[0], strategies[-1]) == (first, last)
    if given == ("signal_names",) and steps == 2:
        assert strategies[1] == "1 buy, 1/2 buy 1/2 sell"


@pytest.mark.parametrize("scale", [1e-30, 1e-9, 1.0, 1e12, 1e25])
def test_payoffs_of_any_scale_are_written_without_exponents(
    scale: float, pygambit: Any, tmp_path: Path
) -> None:
    base = CONTESTED["2-(2,2,2)-1"]
    u = base.sender_utility * torch.tensor([scale, 1.0], dtype=torch.float64)[:, None, None]
    game = PersuasionGame(base.prior, base.receiver_utility, u, base.n_signals)
    save_nfg(game, tmp_path / "game.nfg")
    payoffs = (tmp_path / "game.nfg").read_text().split('""')[1]
    assert set(payoffs) <= set("-.0123456789 \n")
    file, table = read(pygambit, tmp_path / "game.nfg")
    largest = u.abs().amax((1, 2))
    assert ((table - pure_table(game)).abs() <= 1e-12 * largest).all()
    assert gambit_equilibria(pygambit, file) == pure_equilibria(
        in_ranges(game, pure_table(game)), ROUNDING
    )


def test_the_file_is_the_documented_format(tmp_path: Path) -> None:
    """One sender, one line per policy: pooling earns 0; telling the guilty apart, their 0.3."""
    save_nfg(prosecutor_game(), tmp_path / "game.nfg")
    head, payoffs = (tmp_path / "game.nfg").read_text().split('""')
    assert head.startswith('NFG 1 R "PersuasionGame(')
    assert head.splitlines()[1:] == [
        '{ "prosecutor" }',
        "{",
        '{ "innocent: 0, guilty: 0" "innocent: 0, guilty: 1" '
        '"innocent: 1, guilty: 0" "innocent: 1, guilty: 1" }',
        "}",
    ]
    assert [float(payoff) for payoff in payoffs.split()] == [0.0, 0.3, 0.3, 0.0]


def test_a_sender_without_stakes_can_be_written(tmp_path: Path) -> None:
    game = PersuasionGame([0.5, 0.5], torch.eye(2), torch.zeros(1, 2, 2), 2)
    save_nfg(game, tmp_path / "game.nfg")
    assert (tmp_path / "game.nfg").read_text().endswith("\n0\n0\n0\n0\n")


# ------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize("name", ["n_states", "n_signals", "steps"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "2"])
def test_grid_sizes_are_checked(name: str, value: Any) -> None:
    sizes = {"n_states": 2, "n_signals": 2, "steps": 1, name: value}
    with pytest.raises(ValueError, match=rf"{name} must be an integer .*, got {value!r}"):
        grid_policies(**sizes)


@pytest.mark.parametrize("sizes", [(30, 2, 1), (10**9, 10**6, 10**6), (2, 2, 5000)])
def test_grids_beyond_the_limit_are_refused_at_once(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=rf"at most {2**24} entries, .*n_states={sizes[0]}"):
        grid_policies(*sizes)


def test_the_largest_grid_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gambit, "MAX_ENTRIES", 4**3 * 3 * 4)
    assert len(grid_policies(3, 4)) == 64
    monkeypatch.setattr(gambit, "MAX_ENTRIES", 4**3 * 3 * 4 - 1)
    with pytest.raises(ValueError, match="at most 767 entries"):
        grid_policies(3, 4)


def test_tables_beyond_the_limit_are_refused_before_any_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(PersuasionGame, "ex_ante_utility", None)
    game = CONTESTED["3-(2,2,2)-0"]
    message = rf"payoff table may have at most {2**24} entries, got 441 x 441 x 441 x 3"
    with pytest.raises(ValueError, match=message):
        payoff_table(game, grid_policies(2, 2, 20))
    with pytest.raises(ValueError, match=message):
        save_nfg(game, tmp_path / "game.nfg", steps=20)
    assert not (tmp_path / "game.nfg").exists()


@pytest.mark.parametrize(
    ("strategies", "message"),
    [
        (grid_policies(3, 2), r"strategies must have shape \(P, S, M\) = .*got \(8, 3, 2\)"),
        (grid_policies(2, 2)[0], r"strategies must have shape .*got \(2, 2\)"),
        (grid_policies(2, 2)[:0], r"P >= 1, 2, 2\), got \(0, 2, 2\)"),
        (2 * grid_policies(2, 2), "strategies must hold distributions"),
        (grid_policies(2, 2).long(), "strategies must be float32 or float64"),
        (
            [grid_policies(2, 2)],
            r"must be an array, or one for each of 2 senders, got 1",
        ),
        ([grid_policies(2, 2), None], "strategies must be an array of numbers, got None"),
    ],
)
def test_strategies_are_checked(strategies: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        payoff_table(didactic_game(), strategies)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([[[1.0]]], r"table must be an array .*got \(1, 1, 1\)"),
        ("none", "table must be an array of numbers, got 'none'"),
        (torch.zeros(2, 2, 3), r"table must be .*got \(2, 2, 3\)"),
        (torch.zeros(3), r"table must be .*got \(3,\)"),
        (torch.zeros(0, 2, 2), r"table must be .*none 0, got \(0, 2, 2\)"),
        (torch.tensor([[0.0], [math.nan]]), r"table must be finite, got \[nan\]"),
    ],
)
def test_payoff_tables_are_checked(table: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pure_equilibria(table)


@pytest.mark.parametrize("tolerance", [-1e-9, math.nan, math.inf, "0", None])
def test_tolerances_are_checked(tolerance: Any) -> None:
    with pytest.raises(ValueError, match=r"tolerance must be .*at least 0, got"):
        pure_equilibria(torch.zeros(2, 1), tolerance)


def test_files_that_cannot_be_written_say_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        save_nfg(didactic_game(), tmp_path / "missing" / "game.nfg")
