"""Figures of a benchmark: what they say, and what they average, read back from the artists."""

import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from scipy.stats import t as student_t

from dnl.reporting import benchmark_figures as plot
from dnl.reporting import benchmark_numbers as numbers
from dnl.reporting import palette
from dnl.reporting.benchmark_text import summarise
from tests.cases.benchmark import QUICK, SURROGATES, made_up_table, one_game, written

LABELS = ["DNL", "DeLU", "ReLU"]
STORED = Path(__file__).parents[2] / "results"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(made_up_table(), tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def results(folder: Path) -> pd.DataFrame:
    return numbers.read_results(folder)


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
    for function in (plot.unexplained_figure, plot.utilities_figure, plot.verification_figure):
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
                assert f"{sentence}." in " ".join(text.split())
            # The means by size, weighted by their numbers of games, are the table's mean.
            panel = welfare.axes[row]
            weights = np.array([int(tick.split("\n")[1].split()[0]) for tick in ticks(panel)])
            for label, points in drawn(panel).items():
                means = np.array([point[0] for point in points])
                total = np.nansum(weights * np.nan_to_num(means)) / weights.sum()
                name = "Random starts" if label.startswith("Best random") else label
                block = text[text.index("not refuted") :]  # the second table
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
    with pytest.raises(ValueError, match=r"value must be one of .*'unexplained'.*, got 'mae'"):
        plot.error_figure(results, "paper", "mae")


def test_draw_makes_every_figure_of_every_law(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(made_up_table(QUICK[:1]).query("n_senders == 2"), tmp_path)
    written_to: list[Path] = []
    monkeypatch.setattr(plot, "write_figure", lambda path, figure: written_to.append(path))
    paths = plot.draw(folder)
    laws = ("contested", "paper")
    assert [path.name for path in paths] == [f"{n}_{law}.png" for law in laws for n in plot.FIGURES]
    assert written_to == paths
    assert {path.parent for path in paths} == {folder / "figures"}
