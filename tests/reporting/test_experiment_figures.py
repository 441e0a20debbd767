"""Figures of the experiments: labels, order, what they average, and how they are drawn again.

Most are drawn from the stored tables of results/, and their numbers are read back from the artists.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from dnl.reporting import palette
from dnl.runtime import cli
from experiments import (
    didactic_landscapes,
    end_points,
    finding,
    follower_games,
    growth,
    learned_reaction,
    persuasion_known,
    persuasion_learners,
    persuasion_messages,
    persuasion_unknown,
    redraw,
    surrogate_fit,
)
from experiments.shared.growth_figure import growth_figure
from experiments.shared.redrawing import figures_of
from tests.cases.artists import RESULTS, dots, legend_of, line, table, texts

PERSUADE = "learning_to_persuade"
FOLDERS = (
    *("didactic_landscapes", "end_points", "finding", "follower_games", "growth"),
    *("learned_reaction", "surrogate_fit"),
    *(f"{PERSUADE}/{name}" for name in ("known", "learners", "messages", "unknown")),
)


@pytest.mark.parametrize("name", FOLDERS)
def test_every_stored_figure_is_drawn_from_its_tables(name: str) -> None:
    """Its panels have titles or labels, and its legends the labels of the palette, once each."""
    folder = RESULTS / name
    figures = figures_of(folder)
    assert set(figures) == {path.name for path in folder.glob("*.png")}
    for figure in figures.values():
        legend = legend_of(figure)
        assert len(legend) == len(set(legend))
        assert all(entry[:1] != "_" for entry in legend)
        for axes in figure.axes:
            assert axes.get_title() or axes.get_xlabel() or axes.get_ylabel() or not axes.axison


def test_figures_are_documented() -> None:
    functions: list[Callable[..., Figure]] = [
        didactic_landscapes.landscape_figure,
        end_points.welfare_figure,
        finding.welfare_figure,
        follower_games.reached_figure,
        growth_figure,
        learned_reaction.reaction_figure,
        persuasion_known.utility_figure,
        persuasion_learners.utility_figure,
        persuasion_messages.share_figure,
        persuasion_unknown.query_figure,
        surrogate_fit.fit_figure,
    ]
    for function in functions:
        assert "Args:" in (function.__doc__ or "")


def test_landscapes_show_errors_on_one_scale() -> None:
    grid = pd.DataFrame([(x, y) for x in (0.0, 0.5, 1.0) for y in (0.0, 0.5, 1.0)])
    grid.columns = ["sender_0", "sender_1"]
    true = grid["sender_0"] * 10 + grid["sender_1"]
    errors = {"relu": 0.5, "dnl": -1.0, "delu": 0.25}
    predictions = {name: true + error for name, error in errors.items()}
    landscapes = grid.assign(fixed_state=0, true=true, **predictions)
    fits = pd.DataFrame(
        [{"surrogate": n, "samples": 7000, "epochs": 3, "unexplained": 0.125} for n in errors]
    )
    figure = didactic_landscapes.landscape_figure(landscapes, fits)
    truth, *maps, curves = figure.axes[:5]
    assert [panel.get_title() for panel in maps] == [
        f"{label} − true (unexplained 0.125)" for label in ("DNL", "DeLU", "ReLU")
    ]
    values = np.asarray(truth.collections[0].get_array()).reshape(3, 3)
    assert values[2].tolist() == [1.0, 6.0, 11.0]  # sender 1 at 1: the last row
    for panel, name in zip(maps, ("dnl", "delu", "relu"), strict=True):
        mesh = panel.collections[0]
        assert np.asarray(mesh.get_array()) == pytest.approx(errors[name])
        assert (mesh.norm.vmin, mesh.norm.vmax) == (-1.0, 1.0)
    assert line(curves, "true").tolist() == [[0.0, 0.5], [0.5, 5.5], [1.0, 10.5]]
    assert line(curves, "DNL")[:, 1].tolist() == [-0.5, 4.5, 9.5]
    assert legend_of(figure) == ["true", "DNL", "DeLU", "ReLU"]
    assert "7,000" in figure.get_suptitle()


def test_reactions_are_stored_and_compared() -> None:
    points = len(learned_reaction.simplex())
    learned = [0] * (points - 5) + [2] * 5
    rows = pd.DataFrame(
        [
            dict(zip(learned_reaction.KEYS, (2, 3, 3, 3, 100), strict=True))
            | {"right, by probability": 0.9975, "true_reaction": f"0*{points}"}
            | {"learned_reaction": f"0*{points - 5} 2*5"}
        ]
    )
    cell = rows["learned_reaction"][0]
    assert learned_reaction.in_numbers(cell).tolist() == learned
    figure = learned_reaction.reaction_figure(rows)
    colours = [np.asarray(axes.collections[0].get_facecolor()) for axes in figure.axes]
    special = [palette.action(2).colour, palette.action(2).colour, learned_reaction.DIFFERS]
    found = [(c == to_rgba(s)).all(axis=1).sum() for c, s in zip(colours, special, strict=True)]
    assert found == [0, 5, 5]
    assert (colours[0] == to_rgba(palette.action(0).colour)).all()
    assert legend_of(figure) == ["action 0", "action 1", "action 2", "they differ"]
    assert figure.axes[2].get_title() == "with probability 0.250 %"


def test_finding_counts_the_games_that_its_table_counts() -> None:
    rows = table("finding/games.csv")
    figure = finding.welfare_figure(rows, "relu")
    upper, lower = figure.axes
    ticks = [text.get_text() for text in lower.get_yticklabels()]
    names = ["find_equilibria", "ReLU, end points", "Random profiles", "Enumerated block profiles"]
    assert ticks == [*names, "A profile can be above"]
    for points, column in zip(dots(upper), ("block_gain", "gain", "ceiling"), strict=True):
        expected = rows.sort_values(finding.KEYS)[column]
        np.testing.assert_array_equal(points[:, 1], expected)
    low, high = upper.get_ylim()
    shown = rows[["block_gain", "gain", "ceiling"]]
    assert low < shown.min().min()  # nothing is cut off
    assert shown.max().max() < high
    summary = finding.summarise(rows)
    games, counts = summary["games"].to_numpy(), np.reshape(texts(lower), (5, len(summary)))
    above = (summary["above"].to_numpy() * games).round().astype(int)
    certified = (summary["certified"].to_numpy() * games).round().astype(int)
    assert counts[0].tolist() == [f"{a} of {c}" for a, c in zip(above, certified, strict=True)]
    assert (
        counts[4].tolist()
        == (summary["can be above"] * games).round().astype(int).astype(str).tolist()
    )
    ends = rows.groupby(finding.KEYS[:4])["pipeline_gain"].count()
    assert counts[1].tolist() == [f"0 of {certified}" for certified in ends]
    tried = rows.groupby(finding.KEYS[:4])["block_status"].count()
    assert [cell == "-" for cell in counts[3]] == (tried == 0).tolist()


def test_end_points_say_how_many_games_have_a_certified_equilibrium() -> None:
    rows = table("end_points/ends.csv")
    figure = end_points.welfare_figure(rows)
    ways = palette.ordered(rows["way"])
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == [palette.style(way).label for way in ways]
    sizes = rows.groupby(end_points.KEYS[:4])
    for axes, (_, games) in zip(figure.axes, sizes, strict=True):
        gains = [games.loc[games["way"] == way, "finished_gain"].dropna() for way in ways]
        assert [len(points) for points in dots(axes)] == [len(own) for own in gains]
        for y, (points, own) in enumerate(zip(dots(axes), gains, strict=True)):
            assert sorted(points[:, 0]) == sorted(own)
            assert (points[:, 1] == y).all()
        assert texts(axes) == [f"{(own > 1e-9).sum()} of {len(own)}" for own in gains]
    reach = figure.axes[0].get_xlim()
    assert all(axes.get_xlim() == reach for axes in figure.axes)


def test_follower_games_show_what_their_table_says() -> None:
    """The share that is reached, not the one that is lost; single leaders first."""
    rows = table("follower_games/games.csv")
    figure = follower_games.reached_figure(rows)
    titles = [axes.get_title().split("\n")[0] for axes in figure.axes]
    assert titles == [
        "contract: actions 6, outcomes 4",
        "security: targets 6, resources 2",
        "pricing: sellers 2, types of buyers 6",
    ]
    summary = follower_games.summarise(rows).set_index(["game", "surrogate"])
    order = ["follower-dnl", "dnl", "delu", "relu", follower_games.TRUTH]
    for axes in figure.axes:
        law = axes.get_title().split(":")[0]
        column = "gain" if law == "pricing" else "place"
        labels = [text.get_text().split("\n") for text in axes.get_xticklabels()]
        assert [label[0] for label in labels] == [palette.style(name).label for name in order]
        for name, points, median, label in zip(order, dots(axes), axes.lines, labels, strict=True):
            own = rows[(rows["game"] == law) & (rows["surrogate"] == name)]
            assert points[:, 1].tolist() == own[column].tolist()
            expected = summary.loc[(law, name), f"median_{column}"]
            assert np.asarray(median.get_ydata()) == pytest.approx(expected, abs=1e-5)
            if column == "place":
                most = (own["place"] >= 0.99).sum()
                assert summary["at_least_99"][law, name] == pytest.approx(most / len(own))
                assert label[-1] == f"{most} of {len(own)}"
        low, high = axes.get_ylim()
        assert low < rows.loc[rows["game"] == law, column].min()
        assert rows.loc[rows["game"] == law, column].max() < high


def test_follower_games_beyond_the_axis_are_said_to_be_there() -> None:
    rows = table("follower_games/games.csv")
    row = rows[rows["game"] != "contract"].drop_duplicates(["game", "surrogate"])
    ends = {"place": 1.0, "gain": 0.0}
    best = row.assign(**{c: row[c].where(row[c].isna(), end) for c, end in ends.items()})
    share, gain = follower_games.reached_figure(best).axes
    assert share.get_ylabel().endswith("near 100 %)\nat the top: at least 99.999 %")
    assert gain.get_ylabel().endswith("(logarithmic)\nat the bottom: at most 1e-05")
    for axes in (share, gain):
        low, high = axes.get_ylim()
        assert all(low <= y <= high for points in dots(axes) for _, y in points)


def test_growth_shows_exponents_and_two_axes() -> None:
    lines, slopes = table("growth/lines.csv"), table("growth/slopes.csv")
    figure = growth_figure(lines, slopes, growth.BASE)
    stages = palette.ordered(lines["stage"])
    maps = figure.axes[:3]
    for axes, column in zip(maps, ("seconds", "theory", "added_mib"), strict=True):
        values = slopes.set_index(["stage", "axis"])[column]
        expected = [[values[stage, axis] for axis in growth.AXES] for stage in stages]
        np.testing.assert_allclose(np.asarray(axes.images[0].get_array()), expected)
        norm = axes.images[0].norm
        assert (norm.vmin, norm.vmax) == (0, 8)
    labels = [text.get_text() for text in maps[0].get_yticklabels()]
    assert labels[0] == "Posterior DNL: 0.21 s for 4,000 samples"
    panels = [axes for axes in figure.axes if axes.get_xlabel() in ("senders N", "signals M")]
    assert len(panels) == 4
    drawn = [str(drawn.get_label()) for axes in panels[:2] for drawn in axes.lines[::2]]
    assert sorted(drawn) == sorted(palette.style(stage).label for stage in stages)
    assert max(len(axes.lines) for axes in panels) <= 10  # with the counted work
    own = lines[(lines["axis"] == "n_senders") & (lines["stage"] == "simulation")]
    assert line(panels[0], "Simulation").tolist() == own[["value", "seconds"]].to_numpy().tolist()
    assert growth.slopes_of(lines)["seconds"].tolist() == pytest.approx(slopes["seconds"].tolist())


def test_fits_say_how_many_games_a_mean_is_of() -> None:
    rows = table("surrogate_fit/fits.csv")
    figure = surrogate_fit.fit_figure(rows)
    (axes,) = figure.axes
    legend = legend_of(figure)
    assert legend[0] == "Posterior DNL (5 games per size)"
    assert legend[3] == "DNL, the paper's recipe (1 game per size)"
    names = palette.ordered(surrogate_fit.fit_names(rows))
    assert [entry.split(" (")[0] for entry in legend[:-1]] == [
        palette.style(name).label for name in names
    ]
    fits = rows.assign(fit=surrogate_fit.fit_names(rows)).groupby(["fit", *surrogate_fit.KEYS[:4]])
    means, single = fits["unexplained"].mean(), fits["unexplained"].apply(list)
    for name, small, large in zip(names, dots(axes)[::2], dots(axes)[1::2], strict=True):
        assert large[:, 1].tolist() == pytest.approx(means[name].tolist())
        assert small[:, 1].tolist() == [value for values in single[name] for value in values]


def test_a_finished_run_is_drawn_again_without_computing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("games.csv", "run.json"):
        shutil.copy(RESULTS / "finding" / name, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert cli.run(redraw.main, "experiments.redraw", [str(tmp_path)]) == 0
    picture = tmp_path / "finding.png"
    assert capsys.readouterr().out == f"{picture}\n"
    assert picture.read_bytes()[:4] == b"\x89PNG"
    picture.unlink()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_benchmark_figure_says_how_it_is_drawn_again(tmp_path: Path) -> None:
    program = "experiments.approximation_error"
    (tmp_path / "run.json").write_text(f'{{"program": "{program}", "configuration": {{}}}}')
    with pytest.raises(ValueError, match=f": python -m {program} --rows {tmp_path} --out "):
        figures_of(tmp_path)


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("kills", "a run of an experiment with a figure, got '{}' of experiments.kills"),
        ("paper", "of dnl.bench: python -m dnl.plot {} draws it"),
        ("nowhere", "folder must hold the run.json of a run, got '{}'"),
    ],
)
def test_a_run_without_a_figure_is_refused(
    folder: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = RESULTS / folder
    assert cli.run(redraw.main, "experiments.redraw", [str(path)]) == 2
    assert message.format(path) in capsys.readouterr().err


def test_redrawing_needs_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(redraw.main, "experiments.redraw", []) == 2
    assert "folders must hold at least one folder, got none" in capsys.readouterr().err
