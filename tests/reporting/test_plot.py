"""Figures of a benchmark: hand-computed aggregates, what the figures say, what they refuse."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.image import imread

from dnl.benchmark.rows import columns
from dnl.plot import main
from dnl.reporting import benchmark_figures as plot
from dnl.runtime import cli

QUICK = ((2, 2, 2), (4, 2, 2), (2, 4, 2), (2, 2, 4), (4, 4, 4))
SURROGATES = ("relu", "delu", "dnl")
# Chance that a profile is not refuted, by law and senders: end points, random starts.
PASS = {
    ("contested", 2): (0.02, 0.1),
    ("contested", 4): (0.0, 0.1),
    ("paper", 2): (0.8, 0.1),
    ("paper", 4): (0.8, 0.1),
}


def made_up_table(sizes: tuple[tuple[int, int, int], ...] = QUICK, seed: int = 0) -> pd.DataFrame:
    """A table as the benchmark writes it: two laws, N = 2 and 4, constant games in law "paper",
    nothing passed at ("contested", 4), and one failed row per law and number of senders."""
    rng = np.random.default_rng(seed)
    rows = []
    for (law, n), size, instance in itertools.product(PASS, sizes, range(2)):
        full, none, start, ranges = rng.normal(0, 5, (4, n))
        constant = law == "paper" and size == (2, 2, 2)
        starts_passed = int(rng.binomial(30, PASS[law, n][1]))
        for k, surrogate in enumerate(SURROGATES):
            keys = (law, n, *size, instance, surrogate)
            row: dict[str, Any] = dict(zip(columns(n)[:7], keys, strict=True))
            if (size, instance, surrogate) == ((2, 4, 2), 1, "dnl"):
                rows.append({**row, "status": "error", "error": "ValueError: loss is nan"})
                continue
            unexplained = (
                0.0 if constant else float(rng.uniform(0.1, 0.4)) * size[1] * (1 - 0.2 * k)
            )
            passed = int(rng.binomial(30, PASS[law, n][0] * (k + 1) / 3))
            best = full + rng.normal(k, 1, n) if passed else np.full(n, math.nan)
            vectors = {"payoff_range": 20 + abs(ranges), "mse": [40 * unexplained] * n}
            for prefix, utility in zip(
                ("best", "fr", "ni", "start"), (best, full, none, start), strict=True
            ):
                vectors[f"{prefix}_utility"] = utility
                row[f"{prefix}_welfare"] = sum(utility)
            row |= {f"{name}_{i}": v[i] for name, v in vectors.items() for i in range(n)}
            row |= {"status": "ok", "radius": 0.005, "starts": 30, "not_refuted": passed}
            row |= {"starts_not_refuted": starts_passed, "mse": 40 * unexplained}
            row |= {"constant": constant, "unexplained": math.nan if constant else unexplained}
            rows.append(row)
    frame = pd.DataFrame(rows, columns=columns(4))
    counts = dict.fromkeys(["starts", "not_refuted", "starts_not_refuted"], "Int64")
    return frame.astype({**counts, "constant": "boolean"})


def written(table: pd.DataFrame, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "results.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(made_up_table(), tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def results(folder: Path) -> pd.DataFrame:
    return plot.read_results(folder)


def one_game(**values: Any) -> dict[str, Any]:
    """A good row of a two-sender game, where a best end point has utilities (3, 1)."""
    row: dict[str, Any] = {"law": "contested", "n_senders": 2, "n_signals": 2, "n_states": 2}
    row |= {"n_actions": 2, "instance": 0, "surrogate": "dnl", "starts": 4, "not_refuted": 1}
    row |= {"starts_not_refuted": 2, "payoff_range_0": 4.0, "payoff_range_1": 0.0}
    for prefix, (first, second) in {
        "best": (3.0, 1.0),
        "fr": (1.0, 2.0),
        "ni": (0.0, 2.0),
        "start": (1.0, 0.0),
    }.items():
        row |= {f"{prefix}_utility_0": first, f"{prefix}_utility_1": second}
        row[f"{prefix}_welfare"] = first + second
    return row | values


def test_mean_and_interval_of_hand_computed_values() -> None:
    table = pd.DataFrame(
        {
            "x": ["a"] * 4 + ["b"] * 2 + ["c"] * 2,
            "value": [1.0, 2.0, 3.0, math.nan, 5.0, 7.0, math.nan, math.nan],
        }
    )
    result = plot.mean_and_interval(table, ["x"], "value").set_index("x")
    assert result["mean"].tolist() == pytest.approx([2.0, 6.0, math.nan], nan_ok=True)
    assert result["count"].tolist() == [3, 2, 0]
    # Standard deviation 1, three values; t of two degrees of freedom is 4.303 in any table.
    assert result.loc["a", "half_width"] == pytest.approx(4.303 / math.sqrt(3), rel=1e-3)
    assert result.loc[["b", "c"], "half_width"].isna().all()


@pytest.mark.parametrize(("count", "t"), [(4, 3.182), (5, 2.776), (10, 2.262), (31, 2.042)])
def test_half_width_is_students_t_times_the_standard_error(count: int, t: float) -> None:
    table = pd.DataFrame({"x": ["a"] * count, "value": np.arange(count, dtype=float)})
    error = table["value"].std() / math.sqrt(count)
    result = plot.mean_and_interval(table, ["x"], "value")
    assert result["half_width"].item() == pytest.approx(t * error, rel=2e-4)


def test_comparison_values_count_once_per_game() -> None:
    other = {f"best_{name}": math.nan for name in ("welfare", "utility_0", "utility_1")}
    rows = pd.DataFrame([one_game(), one_game(surrogate="relu", **other), one_game(instance=1)])
    long = plot.outcomes(rows, "welfare")
    assert long.groupby("series")["value"].size().to_dict() == {
        "dnl": 2,
        "relu": 1,
        plot.FULL: 2,
        plot.NONE: 2,
        plot.STARTS: 2,
    }
    means = plot.mean_and_interval(long, ["series"], "value").set_index("series")
    assert means["mean"].drop("relu").to_dict() == {
        "dnl": 4.0,
        plot.FULL: 3.0,
        plot.NONE: 2.0,
        plot.STARTS: 1.0,
    }
    assert means.loc["relu", "count"] == 0


def test_utilities_above_full_revelation_are_fractions_of_the_payoff_range() -> None:
    long = plot.above_full_revelation(pd.DataFrame([one_game()])).set_index(["series", "x"])
    value = long["value"]
    assert value["dnl", "sender 0"] == pytest.approx((3 - 1) / 4)
    assert math.isnan(value["dnl", "sender 1"])  # a payoff range of 0
    assert value["dnl", "welfare"] == pytest.approx((4 - 3) / (4 + 0))
    assert value[plot.NONE, "sender 0"] == pytest.approx((0 - 1) / 4)
    assert value[plot.STARTS, "welfare"] == pytest.approx((1 - 3) / 4)
    assert plot.FULL not in long.index


def test_pass_percentages() -> None:
    rows = pd.DataFrame([one_game(), one_game(surrogate="relu", not_refuted=0)])
    value = plot.pass_percentages(rows).set_index("series")["value"]
    assert value.to_dict() == {"dnl": 25.0, "relu": 0.0, plot.STARTS: 50.0}


@pytest.mark.parametrize(
    ("passed", "sentence"),
    [
        ((3, 4), ""),
        ((2, 3), "Random starts pass at least as often as the end points of DNL"),  # a tie
        ((1, 0), "Random starts pass at least as often as the end points of DNL, ReLU"),
        ((0, 0), "No end point passed verification (50 % of the random starts did)"),
    ],
)
def test_verdict_is_plain(passed: tuple[int, int], sentence: str) -> None:
    games = [one_game(not_refuted=passed[0]), one_game(surrogate="relu", not_refuted=passed[1])]
    assert plot.verdict(pd.DataFrame(games)) == sentence


def headings(figure: Figure) -> list[str]:
    return [panel.get_title() for panel in figure.axes if panel.get_title()]


def legend_texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def small_print(figure: Figure) -> str:
    return figure.legends[0].get_title().get_text()


def bars(panel: Axes) -> list[BarContainer]:
    return [container for container in panel.containers if isinstance(container, BarContainer)]


@pytest.mark.parametrize("name", ["sender_utilities", "welfare", "not_refuted"])
def test_figures_say_what_failed_and_what_proves_nothing(results: pd.DataFrame, name: str) -> None:
    contested = plot.FIGURES[name](results, "contested")
    two, four = headings(contested)
    assert "2 senders, 10 games\nRandom starts pass at least as often as the end points" in two
    assert "4 senders, 10 games\nNo end point passed verification" in four
    assert "Failed rows left out: 2" in small_print(contested)
    assert headings(plot.FIGURES[name](results, "paper")) == [
        "2 senders, 10 games",
        "4 senders, 10 games",
    ]


def test_error_figures_count_constant_games(results: pd.DataFrame) -> None:
    error = plot.error_figure(results, "paper")
    assert headings(error)[0] == "2 senders, 10 games, 2 constant included"
    assert [panel.get_xlabel() for panel in error.axes[:3]] == [
        "number of signals",
        "number of states",
        "number of actions",
    ]
    unexplained = plot.error_figure(results, "paper", "unexplained")
    assert headings(unexplained)[0] == "2 senders, 10 games, 2 constant left out"
    assert "1 = explains nothing" in legend_texts(unexplained)
    assert headings(plot.error_figure(results, "contested"))[0] == "2 senders, 10 games"


def test_error_figure_draws_the_means_on_a_logarithmic_axis(results: pd.DataFrame) -> None:
    panel = plot.error_figure(results, "contested").axes[1]
    game = (results["law"] == "contested") & (results["n_senders"] == 2)
    rows = results[game & (results["surrogate"] == "relu") & (results["status"] == "ok")]
    line = next(line for line in panel.lines if to_hex(line.get_color()) == "#e69f00")
    x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    assert x.tolist() == [2, 4]
    assert y.tolist() == pytest.approx(rows.groupby("n_states")["mse"].mean().tolist())
    assert panel.get_yscale() == "log"


def test_an_error_of_zero_needs_a_linear_axis(results: pd.DataFrame) -> None:
    panel = plot.error_figure(results.assign(mse=0.0), "paper").axes[0]
    assert panel.get_yscale() == "linear"


def test_bars_print_the_number_of_games(results: pd.DataFrame) -> None:
    panel = plot.utilities_figure(results, "contested").axes[0]
    game = (results["law"] == "contested") & (results["n_senders"] == 2)
    passed = results[game & results["best_welfare"].notna()].groupby("surrogate").size()
    expected = [*(str(passed.get(name, 0)) for name in reversed(SURROGATES)), "10", "10"]
    assert [text.get_text() for text in panel.texts] == [n for n in expected for _ in range(3)]
    nothing = plot.utilities_figure(results, "contested").axes[1]
    assert [text.get_text() for text in nothing.texts] == ["0"] * 15 + ["10"] * 10
    assert [t.get_text() for t in panel.get_xticklabels()] == ["sender 0", "sender 1", "welfare"]


def test_colours_are_the_same_in_every_figure_and_law(results: pd.DataFrame) -> None:
    added = results[results["surrogate"] == "dnl"].assign(surrogate="another")
    both = pd.concat([results, added[added["law"] == "paper"]], ignore_index=True)
    seen: dict[str, set[str]] = {}
    for law in ("contested", "paper"):
        for figure in (plot.utilities_figure(both, law), plot.verification_figure(both, law)):
            for bar in bars(figure.axes[0]):
                color = to_hex(bar.patches[0].get_facecolor())
                seen.setdefault(str(bar.get_label()), set()).add(color)
    assert seen.keys() == {"ReLU", "DeLU", "DNL", "another", plot.NONE, plot.STARTS}
    assert all(len(colors) == 1 for colors in seen.values())
    assert len(set.union(*seen.values())) == len(seen)


def test_many_sizes_are_averaged_by_number_of_signals() -> None:
    grid = made_up_table(tuple(itertools.product((2, 10), (2, 4, 10), (2, 4, 6))))
    panel = plot.welfare_figure(grid, "paper").axes[0]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["2", "10"]
    assert panel.get_xlabel() == "number of signals (all states and actions)"


def test_sizes_and_the_radius_are_named(results: pd.DataFrame) -> None:
    figure = plot.verification_figure(results, "contested")
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == ["(2,2,2)", "(2,2,4)", "(2,4,2)", "(4,2,2)", "(4,4,4)"]
    assert "Deviations within radius 0.005" in small_print(figure)


def test_hollow_markers_stand_for_some_of_the_games(results: pd.DataFrame) -> None:
    panel = plot.welfare_figure(results, "contested").axes[0]
    hollow = [line for line in panel.lines if line.get_markerfacecolor() == "white"]
    drawn = sum(int(np.isfinite(np.asarray(line.get_ydata(), float)).sum()) for line in hollow)
    game = (results["law"] == "contested") & (results["n_senders"] == 2)
    passed = results[game].groupby(["surrogate", *plot.GAME[2:5]])["best_welfare"].count()
    assert drawn == int((passed == 1).sum()) > 0  # there are two games of each size


def test_a_number_of_senders_without_a_good_row_is_named(results: pd.DataFrame) -> None:
    broken = results.assign(
        status=results["status"].where(results["n_senders"] == 2, "error"),
    )
    for function in plot.FIGURES.values():
        assert headings(function(broken, "paper"))[1] == "4 senders, 0 games: no row of status 'ok'"
    with pytest.raises(ValueError, match="no row of law 'other'; there are"):
        plot.welfare_figure(results, "other")


def test_draw_writes_every_figure(tmp_path: Path) -> None:
    folder = written(made_up_table(QUICK[:1]).query("n_senders == 2"), tmp_path)
    paths = plot.draw(folder)
    laws = ("contested", "paper")
    assert [path.name for path in paths] == [f"{n}_{law}.png" for law in laws for n in plot.FIGURES]
    for path in paths:
        assert path.parent == folder / "figures"
        image = imread(path)
        assert image.shape[1] == 1500  # ten inches
        assert image[..., :3].std() > 0.05  # something is drawn


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenario = made_up_table(QUICK[:1]).query("law == 'paper' and n_senders == 2")
    written(scenario.assign(law="ride hailing/1"), tmp_path)
    out = tmp_path / "deep" / "figures"
    assert cli.run(main, "dnl.plot", [str(tmp_path), "--out", str(out)]) == 0
    printed = capsys.readouterr().out.split()
    assert printed == [str(out / f"{name}_ride-hailing-1.png") for name in plot.FIGURES]
    assert all(Path(path).is_file() for path in printed)
    assert cli.run(main, "dnl.plot", [str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.startswith("dnl.plot: error: ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns=["radius", "mse"]), "lacks the columns mse, radius"),
        (lambda t: t.drop(columns="surrogate"), "lacks the columns surrogate"),
        (lambda t: t.drop(columns="fr_utility_3"), "lacks the columns fr_utility_3"),
        (lambda t: t[t["status"] == "error"], "none of its 4 rows has status 'ok'"),
        (lambda t: t.assign(mse="much"), "holds something other than numbers in mse"),
        (lambda t: t.iloc[:, :0], "No columns"),
    ],
)
def test_unusable_tables_are_refused(change: Any, message: str, tmp_path: Path) -> None:
    written(change(made_up_table()), tmp_path)
    if message == "No columns":
        (tmp_path / "results.csv").write_text("")
    with pytest.raises(ValueError, match=message):
        plot.draw(tmp_path)
    assert not (tmp_path / "figures").exists()


def test_missing_table_and_unwritable_folder(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        plot.draw(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        plot.draw(folder, tmp_path / "file")
