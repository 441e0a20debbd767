"""Figures of a benchmark: hand-computed aggregates, what the figures say, what they refuse."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.image import imread
from scipy.stats import t as student_t

from dnl.benchmark.rows import columns
from dnl.plot import main
from dnl.reporting import benchmark_figures as plot
from dnl.reporting import benchmark_numbers as numbers
from dnl.reporting import palette
from dnl.reporting.benchmark_text import summarise
from dnl.runtime import cli

QUICK = ((2, 2, 2), (4, 2, 2), (2, 4, 2), (2, 2, 4), (4, 4, 4))
SURROGATES = ("relu", "delu", "dnl")
LABELS = ["DNL", "DeLU", "ReLU"]
STORED = Path(__file__).parents[2] / "results"
# Chance that a profile is not refuted, by law and senders: end points, random starts.
PASS = {
    ("contested", 2): (0.06, 0.1),
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
    return numbers.read_results(folder)


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
    return row | {"best_start_welfare": 2.5, "constant": False} | values


def test_mean_and_interval_of_hand_computed_values() -> None:
    table = pd.DataFrame(
        {
            "x": ["a"] * 4 + ["b"] * 2 + ["c"] * 2,
            "value": [1.0, 2.0, 3.0, math.nan, 5.0, 7.0, math.nan, math.nan],
        }
    )
    result = numbers.mean_and_interval(table, ["x"], "value").set_index("x")
    assert result["mean"].tolist() == pytest.approx([2.0, 6.0, math.nan], nan_ok=True)
    assert result["count"].tolist() == [3, 2, 0]
    # Standard deviation 1, three values; t of two degrees of freedom is 4.303 in any table.
    assert result.loc["a", "half_width"] == pytest.approx(4.303 / math.sqrt(3), rel=1e-3)
    assert result.loc[["b", "c"], "half_width"].isna().all()


@pytest.mark.parametrize(("count", "t"), [(4, 3.182), (5, 2.776), (10, 2.262), (31, 2.042)])
def test_half_width_is_students_t_times_the_standard_error(count: int, t: float) -> None:
    table = pd.DataFrame({"x": ["a"] * count, "value": np.arange(count, dtype=float)})
    error = table["value"].std() / math.sqrt(count)
    result = numbers.mean_and_interval(table, ["x"], "value")
    assert result["half_width"].item() == pytest.approx(t * error, rel=2e-4)


def test_comparison_values_count_once_per_game() -> None:
    other = {f"best_{name}": math.nan for name in ("welfare", "utility_0", "utility_1")}
    rows = pd.DataFrame([one_game(), one_game(surrogate="relu", **other), one_game(instance=1)])
    long = numbers.outcomes(rows, "welfare")
    counts = {"dnl": 2, "relu": 1, numbers.FULL: 2, numbers.NONE: 2}
    counts |= {numbers.MEAN_START: 2, numbers.BEST_START: 2}
    assert long.groupby("series")["value"].size().to_dict() == counts
    means = numbers.mean_and_interval(long, ["series"], "value").set_index("series")
    assert means["mean"].drop("relu").to_dict() == {
        "dnl": 4.0,
        numbers.FULL: 3.0,
        numbers.NONE: 2.0,
        numbers.MEAN_START: 1.0,
        numbers.BEST_START: 2.5,
    }
    assert means.loc["relu", "count"] == 0


NONE_LEFT = {"best_welfare": math.nan}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [0, 1, 2]),
        ({(1, "relu"): NONE_LEFT}, [0, 2]),
        ({(1, "relu"): NONE_LEFT, (2, "dnl"): NONE_LEFT}, [0]),
        # A network that has none in any game does not empty the comparison of the others.
        ({(i, "relu"): NONE_LEFT for i in range(3)}, [0, 1, 2]),
        # The random starts are one of the series.
        ({(0, name): {"best_start_welfare": math.nan} for name in ("dnl", "relu")}, [1, 2]),
        ({(i, n): {**NONE_LEFT} for i in range(3) for n in ("dnl", "relu")}, [0, 1, 2]),
    ],
)
def test_outcomes_are_compared_in_the_games_where_all_have_one(
    changes: dict[tuple[int, str], dict[str, float]], expected: list[int]
) -> None:
    rows = [
        one_game(instance=i, surrogate=name, **changes.get((i, name), {}))
        for i in range(3)
        for name in ("dnl", "relu")
    ]
    missing = [row["surrogate"] for row in rows if math.isnan(row["best_welfare"])]
    none = [name for name in ("dnl", "relu") if missing.count(name) == 3]
    found = numbers.compared(pd.DataFrame(rows))
    assert found["instance"].tolist() == [i for i in expected for _ in range(2)]
    text = numbers.games_compared(pd.DataFrame(rows))
    left = [{"dnl": "DNL", "relu": "ReLU"}[name] for name in none]
    assert text.endswith(f". None in any game: {', '.join(left)}" if left else ")")
    who = "a random start is" if len(left) == 2 else "all have a profile"
    assert text.startswith(f"Compared in {len(expected)} of 3 games, where {who} not refuted")


def test_utilities_above_full_revelation_are_fractions_of_the_payoff_range() -> None:
    long = numbers.above_full_revelation(pd.DataFrame([one_game()])).set_index(["series", "x"])
    value = long["value"]
    assert value["dnl", "sender 0"] == pytest.approx((3 - 1) / 4)
    assert math.isnan(value["dnl", "sender 1"])  # a payoff range of 0
    assert value["dnl", "welfare"] == pytest.approx((4 - 3) / (4 + 0))
    assert value[numbers.NONE, "sender 0"] == pytest.approx((0 - 1) / 4)
    assert value[numbers.MEAN_START, "welfare"] == pytest.approx((1 - 3) / 4)
    assert numbers.FULL not in long.index


def test_welfare_gains_are_in_units_of_utility() -> None:
    gains = numbers.welfare_gains(pd.DataFrame([one_game()])).set_index("series")["value"]
    expected = {"dnl": 1.0, numbers.BEST_START: -0.5, numbers.MEAN_START: -2.0, numbers.NONE: -1.0}
    assert gains.to_dict() == expected


def test_pass_percentages() -> None:
    rows = pd.DataFrame([one_game(), one_game(surrogate="relu", not_refuted=0)])
    value = numbers.pass_percentages(rows).set_index("series")["value"]
    assert value.to_dict() == {"dnl": 25.0, "relu": 0.0, numbers.STARTS: 50.0}


@pytest.mark.parametrize(
    ("kept", "sentence"),
    [
        ((3, 4), ""),
        # A tie.
        ((2, 3), "Random starts (50.0 % not refuted) do no worse than the end points of DNL"),
        ((1, 0), "do no worse than the end points of DNL (25.0 %), ReLU (0.0 %)"),
        ((0, 0), "Every end point of every network was refuted (50.0 % of the random starts were"),
    ],
)
def test_verdict_is_plain(kept: tuple[int, int], sentence: str) -> None:
    games = [one_game(not_refuted=kept[0]), one_game(surrogate="relu", not_refuted=kept[1])]
    told = numbers.verdict(pd.DataFrame(games))
    assert sentence in told
    assert bool(told) == bool(sentence)


def headings(figure: Figure) -> list[str]:
    return [panel.get_title() for panel in figure.axes if panel.get_title()]


def legend_texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def small_print(figure: Figure) -> str:
    return figure.legends[0].get_title().get_text()


def ticks(panel: Axes) -> list[str]:
    return [label.get_text() for label in panel.get_xticklabels()]


def drawn(panel: Axes) -> dict[str, list[tuple[float, float, float]]]:
    """By label of a series: its mean, and the ends of its interval, at every place of a panel."""
    found = {}
    for container in panel.containers:
        assert isinstance(container, ErrorbarContainer)
        line, _, (bars,) = container.lines
        assert line is not None
        ends = {bar[0, 0]: bar[:, 1] for bar in bars.get_segments() if len(bar)}
        points = zip(np.asarray(line.get_xdata()), np.asarray(line.get_ydata()), strict=True)
        found[str(container.get_label())] = [(y, *ends.get(x, (math.nan,) * 2)) for x, y in points]
    return found


def dots(panel: Axes) -> list[float]:
    lines = [line for line in panel.lines if line.get_marker() == "."]
    return sorted(float(y) for line in lines for y in np.asarray(line.get_ydata()))


def good(results: pd.DataFrame, law: str, n_senders: int = 2) -> pd.DataFrame:
    rows = results[(results["law"] == law) & (results["n_senders"] == n_senders)]
    return rows[rows["status"] == "ok"]


def plainly(values: pd.Series) -> list[float]:
    """Mean and ends of the interval, without the library."""
    known = values.dropna()
    count, mean = len(known), float(known.mean())
    half = student_t.ppf(0.975, count - 1) * known.std() / math.sqrt(count) if count > 2 else 0.0
    return [mean, mean - half, mean + half]


# ------------------------------------------------------------------- what every figure says


@pytest.mark.parametrize("name", ["sender_utilities", "welfare", "not_refuted"])
def test_figures_say_what_failed_and_what_proves_nothing(results: pd.DataFrame, name: str) -> None:
    contested = plot.FIGURES[name](results, "contested")
    two, four = headings(contested)
    assert two.startswith("2 senders, 10 games\n")
    assert "\nRandom starts (" in two
    assert four.startswith("4 senders, 10 games\n")
    assert "\nEvery end point of every network was refuted" in four
    assert "Failed rows left out: 2" in small_print(contested)
    assert "law “contested”" in contested.get_suptitle()
    assert all("Random" not in text for text in headings(plot.FIGURES[name](results, "paper")))


@pytest.mark.parametrize("name", plot.FIGURES)
def test_figures_say_what_markers_bars_and_dots_are(results: pd.DataFrame, name: str) -> None:
    figure = plot.FIGURES[name](results, "paper")
    note = small_print(figure)
    assert "Marker: mean over games. Bar: its 95 % Student-t interval (from three games" in note
    assert "Dot: one game." in note
    assert any(dots(panel) for panel in figure.axes)
    networks = [text for text in legend_texts(figure) if text in LABELS]
    assert networks == LABELS


def test_the_legend_has_the_palette_s_order(results: pd.DataFrame) -> None:
    added = results[results["surrogate"] == "dnl"].assign(surrogate="another")
    both = pd.concat([results, added], ignore_index=True).sample(frac=1, random_state=0)
    both["best_start_welfare"] = 0.0
    assert legend_texts(plot.welfare_figure(both, "paper")) == [
        *LABELS,
        "another",
        "Best random start not refuted",
        "Mean of all random starts",
        "No information",
        "0: full revelation",
    ]
    shown = ["dnl", "delu", "relu", "another", "random starts", "no information"]
    colours = {style.label: style.colour.lower() for style in palette.styles(shown).values()}
    seen = set()
    for function in plot.FIGURES.values():
        for bar in function(both, "paper").axes[0].containers:
            assert isinstance(bar, ErrorbarContainer)
            assert bar.lines[0] is not None
            label = str(bar.get_label())
            seen.add(label)
            assert to_hex(str(bar.lines[0].get_color())) == colours.get(
                label, palette.RANDOM.colour.lower()
            )
    assert seen >= set(colours)


# ------------------------------------------------------------------------ what they average


def test_error_figure_averages_games_that_are_not_constant(results: pd.DataFrame) -> None:
    for law in ("paper", "contested"):
        for value in ("mse", "unexplained"):
            figure = plot.error_figure(results, law, value)
            rows = good(results, law)
            rows = rows[~rows["constant"]]
            for panel, column in zip(figure.axes, numbers.SIZE, strict=False):
                assert panel.get_xlabel() == f"number of {column[2:]}"
                assert ticks(panel) == ["2", "4"]
                found = drawn(panel)
                assert list(found) == LABELS
                for label, name in zip(LABELS, reversed(SURROGATES), strict=True):
                    own = rows[rows["surrogate"] == name].groupby(column)[value]
                    for point, (_, games) in zip(found[label], own, strict=True):
                        mean, low, high = plainly(games)
                        expected = [mean, max(low, 0.0), high]
                        assert point == pytest.approx(expected, rel=1e-3)
                assert dots(panel) == pytest.approx(sorted(rows[value]))
    assert headings(plot.error_figure(results, "contested"))[0] == "2 senders, 10 games"
    relative = plot.error_figure(results, "paper", "unexplained")
    assert headings(relative)[0] == "2 senders, 10 games (2 of constant utilities left out)"
    assert legend_texts(relative)[-1] == "1: the error of the best constant"


def test_intervals_that_reach_zero_are_not_drawn_on_a_logarithmic_axis() -> None:
    errors = (1e-4, 1e-3, 1.0)
    rows = [one_game(instance=i, mse=error, status="ok") for i, error in enumerate(errors)]
    rows += [one_game(instance=i, mse=10.0 + i, status="ok", n_states=4) for i in range(3)]
    panel = plot.error_figure(pd.DataFrame(rows), "contested").axes[1]
    assert panel.get_yscale() == "log"
    wide, narrow = drawn(panel)["DNL"]
    half = 4.3027 / math.sqrt(3)
    assert wide == pytest.approx([sum(errors) / 3] * 3)
    assert narrow == pytest.approx([11.0, 11.0 - half, 11.0 + half], rel=1e-4)
    low, high = panel.get_ylim()
    assert low < min(errors)
    assert high > max(value for point in (wide, narrow) for value in point)


def test_an_error_of_zero_needs_a_linear_axis(results: pd.DataFrame) -> None:
    panel = plot.error_figure(results.assign(mse=0.0), "paper").axes[0]
    assert panel.get_yscale() == "linear"


def test_a_law_of_constant_games_has_an_empty_error_figure(results: pd.DataFrame) -> None:
    figure = plot.error_figure(results.assign(constant=True), "paper")
    assert headings(figure)[0] == "2 senders, 10 games (10 of constant utilities left out)"
    assert all(not panel.containers for panel in figure.axes)


def in_common(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the games in which all three networks have an end point."""
    count = rows.groupby(numbers.GAME)["best_welfare"].transform("count")
    return rows[count == len(SURROGATES)]


def test_utilities_figure_averages_the_same_games_for_all(results: pd.DataFrame) -> None:
    for law in ("paper", "contested"):
        figure = plot.utilities_figure(results, law)
        panel, rows = figure.axes[0], in_common(good(results, law))
        number = len(rows.drop_duplicates(numbers.GAME))
        assert f"\nCompared in {number} of 10 games, where" in headings(figure)[0]
        assert ticks(panel) == ["sender 0", "sender 1", "welfare"]
        found = drawn(panel)
        assert list(found) == [*LABELS, "Mean of all random starts", "No information"]
        scale = [rows["payoff_range_0"], rows["payoff_range_1"]]
        for x, (quantity, span) in enumerate(
            zip(("utility_0", "utility_1", "welfare"), [*scale, sum(scale)], strict=True)
        ):
            columns = dict.fromkeys(LABELS, "best") | {
                "Mean of all random starts": "start",
                "No information": "ni",
            }
            for label, prefix in columns.items():
                gain = (rows[f"{prefix}_{quantity}"] - rows[f"fr_{quantity}"]) / span
                own = dict(zip(LABELS, reversed(SURROGATES), strict=True)).get(label, "dnl")
                assert found[label][x] == pytest.approx(
                    plainly(gain[rows["surrogate"] == own]), rel=1e-3
                )
    nothing = plot.utilities_figure(results, "contested").axes[1]
    assert list(drawn(nothing)) == ["Mean of all random starts", "No information"]


def test_welfare_figure_averages_the_same_games_and_counts_them(results: pd.DataFrame) -> None:
    panel = plot.welfare_figure(results, "contested").axes[0]
    rows = in_common(good(results, "contested"))
    games = rows.drop_duplicates(numbers.GAME)
    sizes = [(2, 2, 2), (2, 2, 4), (2, 4, 2), (4, 2, 2), (4, 4, 4)]
    found = list(games[numbers.SIZE].itertuples(index=False, name=None))
    assert ticks(panel) == [
        f"({','.join(map(str, size))})\n{found.count(size)} of 2 games" for size in sizes
    ]
    assert 0 < len(games) < 10
    for label, name in zip(LABELS, reversed(SURROGATES), strict=True):
        own = rows[rows["surrogate"] == name]
        means = (own["best_welfare"] - own["fr_welfare"]).groupby(
            [own[column] for column in numbers.SIZE]
        )
        expected = means.mean().reindex(sizes)
        points = [point[0] for point in drawn(panel)[label]]
        assert points == pytest.approx(expected.tolist(), nan_ok=True)
    assert panel.get_xlabel() == "size (signals, states, actions)"


def test_verification_figure_shows_percentages_between_0_and_100(results: pd.DataFrame) -> None:
    figure = plot.verification_figure(results, "paper")
    panel, rows = figure.axes[0], good(results, "paper")
    assert ticks(panel)[0] == "(2,2,2)\n2 games"
    assert "Deviations within radius 0.005." in small_print(figure)
    assert list(drawn(panel)) == [*LABELS, "Random starts"]
    for label, name in zip(LABELS, reversed(SURROGATES), strict=True):
        own = rows[rows["surrogate"] == name]
        share = (100 * own["not_refuted"] / own["starts"]).groupby(
            [own[column] for column in numbers.SIZE]
        )
        assert [p[0] for p in drawn(panel)[label]] == pytest.approx(share.mean().tolist())
    three = [one_game(instance=i, not_refuted=4 * (i > 0), status="ok") for i in range(3)]
    table = pd.DataFrame(three).assign(radius=0.005)
    ((mean, low, high),) = drawn(plot.verification_figure(table, "contested").axes[0])["DNL"]
    assert (mean, low, high) == pytest.approx((200 / 3, 0, 100))


def test_many_sizes_are_averaged_by_number_of_signals() -> None:
    grid = made_up_table(tuple(itertools.product((2, 10), (2, 4, 10), (2, 4, 6))))
    panel = plot.welfare_figure(grid, "paper").axes[0]
    assert ticks(panel) == ["2\n17 of 18 games", "10\n18 of 18 games"]
    assert panel.get_xlabel() == "number of signals (all states and actions)"


def test_many_games_are_not_shown_one_by_one() -> None:
    rows = [one_game(instance=i, mse=1.0 + i, status="ok") for i in range(plot.MOST_DOTS + 1)]
    for count, shown in ((plot.MOST_DOTS, True), (plot.MOST_DOTS + 1, False)):
        figure = plot.error_figure(pd.DataFrame(rows[:count]), "contested")
        assert bool(dots(figure.axes[0])) is shown
        assert ("Dot: one game" in small_print(figure)) is shown


# ------------------------------------------------------------------------ text and figures


@pytest.mark.parametrize("run", ["paper", "certified", "four-senders", "radius-0.01"])
def test_text_and_figures_of_a_stored_table_agree(run: str) -> None:
    table = numbers.read_results(STORED / run)
    said = summarise(table)
    for law in dict.fromkeys(table["law"]):
        rows = table[table["law"] == law]
        welfare, utilities = plot.welfare_figure(table, law), plot.utilities_figure(table, law)
        for row, n_senders in enumerate(sorted(set(rows["n_senders"]))):
            text = said[said.index(f"{law} law, {n_senders} senders") :]
            told = " ".join(headings(welfare)[row].split("\n")[1:])
            assert told == " ".join(headings(utilities)[row].split("\n")[1:])
            good_rows = rows[(rows["status"] == "ok") & (rows["n_senders"] == n_senders)]
            sentences = numbers.games_compared(good_rows), numbers.verdict(good_rows)
            assert told == " ".join(sentences).rstrip()
            for sentence in sentences:
                assert f"\n{sentence}." in text
            # The means by size, weighted by their numbers of games, are the table's mean.
            panel = welfare.axes[row]
            weights = np.array([int(tick.split("\n")[1].split()[0]) for tick in ticks(panel)])
            for label, points in drawn(panel).items():
                means = np.array([point[0] for point in points])
                total = np.nansum(weights * np.nan_to_num(means)) / weights.sum()
                name = "Random starts" if label.startswith("Best random") else label
                block = text[text.index("not refuted") :]
                line = next(li for li in block.splitlines() if li.strip().startswith(f"{name} "))
                assert f"{total:+.3f}" in line.split()


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


# ------------------------------------------------------------------------ the command


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenario = made_up_table(QUICK[:1]).query("law == 'paper' and n_senders == 2")
    written(scenario.assign(law="ride hailing/1"), tmp_path)
    out = tmp_path / "deep" / "figures"
    assert cli.run(main, "dnl.plot", [str(tmp_path), "--out", str(out)]) == 0
    printed = capsys.readouterr().out.split()
    assert printed == [str(out / f"{name}_ride-hailing-1.png") for name in plot.FIGURES]
    assert all(Path(path).is_file() for path in printed)


def test_help_says_what_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(main, "dnl.plot", ["--help"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    for words in (*plot.FIGURES, "python -m dnl.plot results/paper", "results.csv", "Nothing is"):
        assert words in told


def test_a_wrong_folder_is_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written(made_up_table(QUICK[:1]), tmp_path / "paper")
    other = tmp_path / "other"
    other.mkdir()
    growth = tmp_path / "growth"
    growth.mkdir()
    record = {"command": "python -m experiments.growth", "program": "experiments.growth"}
    (growth / "run.json").write_text(json.dumps({**record, "configuration": {}}))
    for given, answer in {
        tmp_path / "papr": f"'{tmp_path}/papr': there is no such folder; did you mean '{folder}'?",
        tmp_path / "zzzzz": f"got '{tmp_path}/zzzzz': there is no such folder",
        tmp_path: f"got '{tmp_path}' without it; did you mean one of {folder}?",
        other: f"got '{other}' without it",
        folder / "results.csv": f"that is the file itself; its folder is '{folder}'",
        growth: f"got '{growth}' of experiments.growth; "
        f"python -m experiments.redraw {growth} draws its figures again",
    }.items():
        assert cli.run(main, "dnl.plot", [str(given)]) == 2
        told = capsys.readouterr().err
        assert told.startswith("dnl.plot: error: folder must hold the results.csv of a benchmark, ")
        assert told.endswith(f"{answer}\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns=["radius", "mse"]), "lacks the columns mse, radius"),
        (lambda t: t.drop(columns="surrogate"), "lacks the columns surrogate"),
        (lambda t: t.drop(columns="fr_utility_3"), "lacks the columns fr_utility_3"),
        (lambda t: t[t["status"] == "error"], "none of its 4 rows has status 'ok'"),
        (lambda t: t.assign(mse="much"), "holds something other than numbers in mse"),
        (lambda t: t.iloc[:0], "results.csv holds no rows"),
        (lambda t: t.iloc[:, :0], "results.csv holds no table: No columns"),
    ],
)
def test_unusable_tables_are_refused(change: Any, message: str, tmp_path: Path) -> None:
    written(change(made_up_table()), tmp_path)
    if "No columns" in message:
        (tmp_path / "results.csv").write_text("")
    with pytest.raises(ValueError, match=message) as caught:
        plot.draw(tmp_path)
    assert str(tmp_path / "results.csv") in str(caught.value)
    assert not (tmp_path / "figures").exists()


def test_a_table_that_is_not_separated_by_commas_is_named(tmp_path: Path) -> None:
    table = made_up_table(QUICK[:1])
    for mark in (";", "\t"):
        table.to_csv(tmp_path / "results.csv", index=False, sep=mark)
        with pytest.raises(ValueError, match="must be separated by commas") as caught:
            plot.draw(tmp_path)
        assert str(caught.value).startswith(f"{tmp_path / 'results.csv'} holds no table: ")


def test_an_unwritable_folder_is_an_os_error(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        plot.draw(folder, tmp_path / "file")
