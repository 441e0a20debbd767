"""Every experiment runs in its small mode; the plain implementations equal the library's."""

import json
import math
import os
import re
import signal
import threading
from collections.abc import Callable
from multiprocessing import Process, active_children
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from matplotlib.image import imread
from torch.nn import functional

from dnl import FitConfig, fit_many, verify
from dnl.layers import DiscontinuousMLP
from dnl.runtime import cli
from dnl.runtime.devices import describe_hardware
from dnl.surrogates.registry import make_surrogate
from experiments import (
    approximation_error,
    didactic_landscapes,
    end_points,
    equilibrium_utilities,
    floors,
    four_sender_welfare,
    growth,
    improvement_over_starts,
    learned_equilibria,
    radius_001,
    recipes,
    scenarios,
    speed,
    surrogate_fit,
)
from experiments.shared import plain, speed_of_training
from experiments.shared.resumable import _end_with, table_of
from experiments.shared.stages import STAGES, work
from games import didactic_game, synthetic_game
from games.randomness import stream

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
BENCHMARK_FIGURES = [
    ("approximation_error", approximation_error.main),
    ("equilibrium_utilities", equilibrium_utilities.main),
    ("improvement_over_starts", improvement_over_starts.main),
    ("four_sender_welfare", four_sender_welfare.main),
    ("radius_001", radius_001.main),
]


@pytest.mark.whole_run
@pytest.mark.parametrize(("name", "main"), BENCHMARK_FIGURES)
def test_benchmark_figures(name: str, main: Callable[..., int], tmp_path: Path) -> None:
    assert main(out=tmp_path, small=True) == 0
    assert imread(tmp_path / f"{name}_contested.png").std() > 0
    rows = pd.read_csv(tmp_path / "results.csv")
    assert set(rows["n_senders"]) == {4 if name == "four_sender_welfare" else 2}
    assert set(rows["radius"]) == {0.01 if name == "radius_001" else 0.005}
    # A second figure from the same rows computes nothing anew.
    again = tmp_path / "again"
    assert main(rows=tmp_path, out=again) == 0
    assert [path.name for path in again.iterdir()] == [f"{name}_contested.png"]


@pytest.mark.whole_run
def test_a_figure_of_senders_that_no_row_has_is_refused(tmp_path: Path) -> None:
    assert four_sender_welfare.main(out=tmp_path, small=True) == 0
    with pytest.raises(ValueError, match=r"rows must have \(2,\) senders, got \[4\] in"):
        approximation_error.main(rows=tmp_path, out=tmp_path / "other")


@pytest.mark.whole_run
@pytest.mark.parametrize(
    ("main", "table", "rows"),
    [
        (recipes.main, "recipes.csv", 3),
        (surrogate_fit.main, "fits.csv", 3),
        (learned_equilibria.main, "games.csv", 2),
    ],
)
def test_tables_of_fits(
    main: Callable[..., int],
    table: str,
    rows: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(out=tmp_path, small=True) == 0
    text, printed = (tmp_path / table).read_text(), capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / table)) == rows
    assert (pd.read_csv(tmp_path / table)["unexplained"] > 0).all()
    # A second run computes nothing anew: the seconds are the first run's.
    assert main(out=tmp_path, small=True) == 0
    assert ((tmp_path / table).read_text(), capsys.readouterr().out) == (text, printed)
    with pytest.raises(ValueError, match="samples must be an integer of at least 1, got 0"):
        main(out=tmp_path, samples=0)


def test_rows_of_a_second_run_are_added_to_the_first_ones(tmp_path: Path) -> None:
    def run(*keys: int) -> list[int]:
        rows = table_of(tmp_path, ["key"], [(k,) for k in keys], lambda k: {"key": k[0]}, {"a": 1})
        return list(rows["key"])

    assert run(3, 1) == [1, 3]
    assert run(3, 1) == [1, 3]
    first = json.loads((tmp_path / "run.json").read_text())
    assert "continued" not in first
    assert run(2, 1) == [1, 2, 3]
    second = json.loads((tmp_path / "run.json").read_text())
    (continued,) = second.pop("continued")
    assert second == first
    assert continued.keys() == first.keys() - {"configuration"}
    with pytest.raises(ValueError, match=r"out holds a run with a=1, got a=2 and out='"):
        table_of(tmp_path, ["key"], [], lambda k: {"key": k[0]}, {"a": 2})


def numbered(key: tuple[int]) -> dict[str, int]:
    return {"key": key[0], "square": key[0] ** 2}


def test_keys_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Text that looks like a number, and a number in a column that is usually text."""
    asked: list[tuple[Any, ...]] = []

    def row_of(key: tuple[Any, ...]) -> dict[str, Any]:
        asked.append(key)
        return {"radius": key[0], "game": key[1]}

    keys = [("0.10", 7), ("0.10", 12)]
    for _ in range(2):
        rows = table_of(tmp_path, ["radius", "game"], keys, row_of, {})
        assert rows.to_dict("list") == {"radius": ["0.10", "0.10"], "game": [7, 12]}
    assert asked == keys


def test_a_row_of_a_table_that_was_cut_is_computed_again(tmp_path: Path) -> None:
    table_of(tmp_path, ["key"], [(3,), (1,), (12,)], numbered, {})
    table = tmp_path / "games.csv"
    whole = table.read_text()
    table.write_text(whole[:-2])  # 144 became 14
    asked: list[int] = []

    def counted(key: tuple[int]) -> dict[str, int]:
        asked.extend(key)
        return numbered(key)

    table_of(tmp_path, ["key"], [(3,), (1,), (12,)], counted, {})
    assert asked == [12]
    assert table.read_text() == whole


def test_a_table_of_another_command_is_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(name: str) -> int:
        def main() -> int:
            table_of(tmp_path, ["key"], [(1,)], numbered, {}, table=f"{name}.csv")
            return 0

        return cli.run(main, f"experiments.{name}", [])

    assert run("one") == 0
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert run("other") == 2
    message = f"out holds a run of experiments.one, got experiments.other and out='{tmp_path}'"
    assert message in capsys.readouterr().err
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a;b\n1;2\n",
            "games.csv holds no table: its columns must be separated by commas, got 'a;b'",
        ),
        ("a,b\n1,2\n", "games.csv must have the columns key, got ['a', 'b'] without key"),
        (" ", "no table"),
    ],
)
def test_a_file_that_is_no_table_is_one_line(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> int:
        table_of(tmp_path, ["key"], [(1,)], numbered, {})
        return 0

    (tmp_path / "games.csv").write_text(text)
    assert cli.run(main, "experiments.x", []) == 2
    assert message in capsys.readouterr().err
    assert (tmp_path / "games.csv").read_text() == text


def striking(key: tuple[int], parent: int) -> dict[str, int]:
    if key[0] > 1:
        if key[0] == 2:  # once: a second signal might come when the command has ended
            os.kill(parent, signal.SIGTERM)
        threading.Event().wait()  # for ever
    return numbered(key)


def test_workers_end_with_a_run_that_is_terminated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> int:
        table_of(tmp_path, ["key"], [(1,), (2,), (3,)], striking, {}, (os.getpid(),), workers=2)
        return 0

    before = set(active_children())
    assert cli.run(main, "experiments.x", []) == 143
    assert set(active_children()) == before
    assert capsys.readouterr().err.endswith(
        "experiments.x: terminated. What is finished is kept: the same command goes on there.\n"
    )


def test_a_worker_does_not_outlive_its_parent() -> None:
    orphan = Process(target=_end_with, args=(os.getppid(),))  # its parent is another one
    orphan.start()
    orphan.join()
    assert orphan.exitcode == 1


def test_progress_is_a_line_per_task_where_nobody_watches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table_of(tmp_path, ["key"], [(1,), (2,)], numbered, {})
    assert re.fullmatch(
        r"games.csv: 1/2, \d+:\d+ elapsed\ngames.csv: 2/2, \d+:\d+ elapsed\n",
        capsys.readouterr().err,
    )


@pytest.mark.whole_run
def test_end_points_go_on_with_the_fits_that_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fits, out = tmp_path / "fits", tmp_path / "ends"
    with pytest.raises(ValueError, match=r"fits must hold the networks"):
        end_points.main(fits=fits, out=out, small=True)
    assert not out.exists()
    assert surrogate_fit.main(out=fits, small=True) == 0
    capsys.readouterr()
    assert end_points.main(fits=fits, out=out, small=True) == 0
    text, printed = (out / "ends.csv").read_text(), capsys.readouterr().out
    rows = pd.read_csv(out / "ends.csv").set_index("way")
    there = {"relu, ascent", "posterior-dnl, ascent", "learned game, solved"}
    assert set(rows.index) == there | {
        "learned from a tenth, solved",
        "random starts",
        "true game, ascent",
        "true game, solved",
    }
    # What is found in the true game is certified before it is finished, and stays as it is.
    assert (rows.loc["true game, solved", ["certified", "finished_certified"]] == 1).all()
    assert rows["gain"].notna().all()
    assert imread(out / "end_points.png").std() > 0
    assert end_points.main(fits=fits, out=out, small=True) == 0
    assert ((out / "ends.csv").read_text(), capsys.readouterr().out) == (text, printed)


@pytest.mark.whole_run
def test_didactic_landscapes(tmp_path: Path) -> None:
    assert didactic_landscapes.main(out=tmp_path, small=True) == 0
    assert imread(tmp_path / "didactic_landscapes.png").std() > 0


@pytest.mark.parametrize(("state", "fixed"), didactic_landscapes.ROWS)
def test_the_true_landscapes_have_cliffs_and_a_plateau(
    state: int, fixed: tuple[float, float]
) -> None:
    points = 41
    _, profiles = didactic_landscapes.landscape(state, fixed, points)
    game = didactic_game()
    flat = profiles.flatten(0, 1)
    utility = game.ex_ante_utility(flat)[:, didactic_landscapes.SENDER].view(points, points)
    silent = game.no_information()[didactic_landscapes.SENDER]
    assert ((utility - silent).abs() < 1e-12).double().mean() > 0.02  # plateau: no signal matters
    steps = utility.diff(dim=0).abs()
    assert steps.max() > 0.1 * game.payoff_range[didactic_landscapes.SENDER]  # cliff
    # Curved: the action at joint signal 0 changes at different rows in different columns.
    action = game.receiver_action(flat)[:, 0].view(points, points)
    jumps = {int(column.diff().abs().argmax()) for column in action.T if column.diff().any()}
    assert len(jumps) > 5


@pytest.mark.whole_run
def test_scenarios(tmp_path: Path) -> None:
    assert scenarios.main(out=tmp_path, small=True) == 0
    table = pd.read_csv(tmp_path / "table1.csv")
    assert len(table) == 9
    assert set(table["scenario"]) == set(scenarios.SCENARIOS)
    with pytest.raises(ValueError, match=r"scenarios must be one of .*, got 'taxi'"):
        scenarios.main(scenarios=("taxi",), out=tmp_path)


@pytest.mark.whole_run
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])
def test_speed(device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert speed.main(device=device, out=tmp_path, small=True) == 0
    table = pd.read_csv(tmp_path / "speed.csv")
    assert (table["ratio"] > 0).all()
    assert len(table) == 10
    assert "ratio" in capsys.readouterr().out
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["configuration"]["device"] == describe_hardware(torch.device(device))


def test_what_one_network_alone_takes_stands_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    alone: list[int] = []

    def fitted(network: Any, x: Any, y: Any, epochs: int, accelerator: str) -> None:
        alone.append(epochs)

    def seconds(function: Callable[[], object]) -> float:
        function()
        return 0.5

    monkeypatch.setattr(speed_of_training, "plain_lightning_fit", fitted)
    monkeypatch.setattr(speed_of_training, "seconds", seconds)
    (found,) = speed_of_training.one_after_another((2, 2, 2, 2), 3, 40, 4, 2, torch.device("cpu"))
    assert alone == [4, 4]
    assert found["plain"] == 0.5 * 6 / 2
    assert "6 networks" in str(found["what"])
    assert "(2 of them, times 3)" in str(found["what"])


@pytest.mark.whole_run
def test_floors(tmp_path: Path) -> None:
    assert floors.main(out=tmp_path, small=True) == 0
    stages = pd.read_csv(tmp_path / "floors" / "floors.csv").set_index("stage")
    assert (stages[["operations", "bytes", "H200_floor", "floor"]] > 0).all(axis=None)
    assert (stages["measured"].dropna() > 0).all()
    text = (tmp_path / "README.md").read_text()
    assert all(f"| {stage} | " in text for stage in stages.index)


def test_floors_by_hand() -> None:
    work = floors.work_of("fit, relu", (2, 2, 2, 2))
    parameters = 8 * 64 + 64 + 2 * (64 * 64 + 64) + 64 + 1
    assert work.operations == 2 * 30 * 50_000 * 6 * parameters
    peak = {"float32": 2.0, "float64": 1.0, "bytes": 4.0}  # per second
    assert floors.floor_seconds(floors.Work(8.0, "float32", 4.0), peak) == 4.0
    assert floors.floor_seconds(floors.Work(8.0, "float64", 40.0), peak) == 10.0


def test_measured_times_are_carried_along_a_line_of_logarithms() -> None:
    known = {(2, 2, 2, 2): 1.0, (2, 4, 4, 4): 16.0, (4, 2, 2, 2): 1e9}
    assert floors.carried("simulation", known, (2, 4, 4, 4)) == pytest.approx(16.0)
    ends = [floors.work_of("simulation", shape).operations for shape in list(known)[:2]]
    work = floors.work_of("simulation", (2, 2, 4, 4)).operations
    power = math.log(16.0) / math.log(ends[1] / ends[0])
    expected = (work / ends[0]) ** power
    assert expected > 1
    assert floors.carried("simulation", known, (2, 2, 4, 4)) == pytest.approx(expected)


@pytest.mark.whole_run
def test_growth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert growth.main(out=tmp_path, small=True) == 0
    text, printed = (tmp_path / "growth.csv").read_text(), capsys.readouterr().out
    table = pd.read_csv(tmp_path / "growth.csv")
    assert set(table["stage"]) == set(STAGES)
    assert (table["seconds"] > 0).all()
    assert (table["added_mib"] < table["process_mib"]).all()
    slopes = pd.read_csv(tmp_path / "slopes.csv").set_index("stage")
    # From 4**2 to 4**3 joint signals: log 4 / log 1.5.
    assert slopes.loc["simulation", "theory"] == pytest.approx(3.419, abs=1e-3)
    (line,) = pd.read_csv(tmp_path / "many_senders.csv").to_dict("records")
    assert abs(line["estimated_utility"] - line["exact_utility"]) <= line["half_width"]
    assert imread(tmp_path / "growth.png").std() > 0
    # A second run measures nothing anew.
    assert growth.main(out=tmp_path, small=True) == 0
    assert ((tmp_path / "growth.csv").read_text(), capsys.readouterr().out) == (text, printed)


def test_slopes_of_stored_rows() -> None:
    """Of the last three points; memory of less than a tenth of a MiB cannot be told from none."""
    stored = {
        "value": [1, 2, 4, 8],
        "seconds": [99.0, 2.0, 8.0, 32.0],
        "work": [1.0, 2.0, 4.0, 8.0],
    }
    line = pd.DataFrame(stored | {"added_mib": [5.0, 0.0, 0.01, 0.1]})
    line = line.assign(axis="n_senders", stage="relu")
    (slopes,) = growth.slopes_of(line).to_dict("records")
    assert (slopes["axis"], slopes["stage"]) == ("n_senders", "relu")
    assert slopes["seconds"] == pytest.approx(2)
    assert slopes["theory"] == pytest.approx(1)
    assert slopes["added_mib"] == pytest.approx(0)


def test_growth_in_theory() -> None:
    # By hand, at N = 2, (M, S, A) = (3, 4, 5): 9 joint signals, 24 inputs, 14 choices; two games.
    sizes = ((2, 3, 4, 5), 2, 7)
    relu = (24 * 64 + 64) + 2 * (64 * 64 + 64) + (64 + 1)
    expected = {
        "simulation": 14 * 9 * 4 * 5,
        "estimation": 14 * (2 * 7 + 4 * 7),
        "relu": 14 * 2 * relu,
        "posterior-dnl": 14 * 9 * 4 * (2 + 28),
        "its least squares": 14 * (9 * 4 * (2 + 28) + (4 * 14) ** 2),
        "verification": 14 * 2 * 9 * 4 * 5,
    }
    assert {stage: work(stage, *sizes) for stage in expected} == expected


def test_what_is_not_measured_of_many_senders_follows_from_the_largest_game_that_is() -> None:
    known = {"seconds": 2.0, "added_mib": 1.0, "utility": 0.5, "half_width": 0.1}
    known["relative_half_width"] = 0.01
    measured, larger = (2, 4, 3, 2), (3, 4, 3, 5)
    rows = {("estimation", *shape, 1, 10): known for shape in (measured, larger)}
    rows[("simulation", *measured, 1, 1)] = known
    table = growth.many_senders(rows, (measured, larger), 10)
    assert table["exact"].tolist() == ["measured", "extrapolated"]
    assert table["exact_seconds"].tolist() == [2.0, 2.0 * 4 * 5 / 2]
    assert table["hours_of_50000"].tolist()[0] == pytest.approx(2.0 * 50_000 / 3600)
    assert table["exact_utility"].isna().tolist() == [False, True]


def test_the_plain_dnl_is_the_library_s() -> None:
    torch.manual_seed(0)
    network = DiscontinuousMLP(12, 1).double()
    copied = plain.PlainDNL(12).double().copy_from(network)
    x = torch.rand(30, 12, dtype=torch.float64)
    torch.testing.assert_close(copied(x), network(x), rtol=1e-12, atol=1e-12)
    ours = torch.autograd.grad(network(x).sum(), list(network.lower.parameters()))
    theirs = torch.autograd.grad(copied(x).sum(), list(copied.lower.parameters()))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("sizes", [(1, 4, 4, 3), (2, 3, 4, 3), (3, 3, 4, 3), (4, 3, 5, 2)])
def test_the_plain_simulation_is_the_library_s(
    sizes: tuple[int, int, int, int], dtype: torch.dtype
) -> None:
    game = synthetic_game(*sizes, seed=0, law="contested")
    policies = game.sample_policies(50, torch.Generator().manual_seed(0)).to(dtype)
    atol = {torch.float64: 1e-12, torch.float32: 1e-4}[dtype]
    for chunk in (1, 7, 64):
        expected = plain.plain_utility(game, policies, chunk)
        torch.testing.assert_close(game.ex_ante_utility(policies), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("sizes", [(2, 3, 4, 3), (4, 2, 3, 2)])
def test_the_plain_verification_is_the_library_s(sizes: tuple[int, int, int, int]) -> None:
    game = synthetic_game(*sizes, seed=0, law="contested")
    policies = game.sample_policies(3, torch.Generator().manual_seed(0))
    found = verify(game, policies, 0.05, method="sampled", deviations=60, seed=5).gain
    for sender in range(game.n_senders):
        draws = stream("verifier", 5, game.identity, sender)
        noise = torch.rand(60, *policies.shape[2:], dtype=torch.float64, generator=draws)
        for b, profile in enumerate(policies):
            expected = plain.plain_gain(game, profile, sender, 0.05, noise)
            assert found[b, sender].item() == pytest.approx(expected, abs=1e-12)
    assert (found > 0).any()


@pytest.mark.whole_run
@pytest.mark.filterwarnings("ignore::UserWarning")  # Lightning's advice on the plain loader
def test_the_plain_fit_learns_what_the_library_s_learns() -> None:
    game = synthetic_game(2, 2, 2, 2, seed=0, law="contested")
    config = FitConfig(samples=2000, test_samples=2000, epochs=5)
    ours = fit_many([game], "relu", config)[0]
    torch.manual_seed(0)
    profiles = game.sample_policies(4000, torch.Generator().manual_seed(1))
    utility = game.ex_ante_utility(profiles)[:, :1]
    y = ((utility - utility.mean()) / utility.std()).float()
    x = profiles.flatten(1).float()
    network = make_surrogate("relu", (1, 1, 8, 2))
    speed_of_training.quieten()
    plain.plain_lightning_fit(network, x[:2000], y[:2000], epochs=5)
    with torch.no_grad():
        unexplained = functional.mse_loss(network(x[2000:]), y[2000:]).item()
    assert unexplained == pytest.approx(ours.unexplained[0].item(), rel=0.5)
    assert unexplained < 0.7
