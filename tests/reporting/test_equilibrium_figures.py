"""The figures of one equilibrium: what they show, their labels and their legends."""

import itertools
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from matplotlib.text import Text

from dnl import Equilibrium
from dnl.reporting import palette
from dnl.reporting.belief_figures import MAX_ROWS
from dnl.reporting.equilibrium_figures import (
    beliefs_figure,
    draw,
    policies_figure,
    utilities_figure,
)
from dnl.reporting.equilibrium_text import outcomes
from dnl.reporting.figures import write_figure
from dnl.reporting.messages import account
from dnl.reporting.reactions import reactions
from games import PersuasionGame, didactic_game
from tests.cases.reported import NOISE, accusation, experts, profile, random_profile

CORNERS = np.array([[0, 0], [1, 0], [0.5, math.sqrt(0.75)]])


def visible(figure: Figure) -> list[str]:
    """Every text that the figure shows."""
    texts = [text.get_text() for text in figure.findobj() if hasattr(text, "get_text")]
    return [text.replace("\n", " ") for text in texts if text]


def legend(figure: Figure) -> list[str]:
    return [text.get_text().replace("\n", " ") for box in figure.legends for text in box.texts]


def at(line: Line2D) -> np.ndarray:
    """Where the line's markers are: x and y of one after another."""
    return np.ravel(np.asarray(line.get_xydata()))


def dots(panel: Axes) -> list[PathCollection]:
    return [one for one in panel.collections if isinstance(one, PathCollection)]


def assert_readable(figure: Figure) -> None:
    """No text covers another or is cut by the edge of the page; numbers of axes aside."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    shown = [text for panel in figure.axes for text in [*panel.texts, panel.title]]
    for panel in figure.axes:
        labels = [*panel.get_xticklabels(), *panel.get_yticklabels()]
        shown += [label for label in labels if re.search("[a-z]", label.get_text())]
    shown = [text for text in shown if text.get_visible() and text.get_text()]
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in shown]
    page = figure.bbox.padded(1)
    for text, box in zip(shown, boxes, strict=True):
        assert page.contains(*box.p0), text.get_text()
        assert page.contains(*box.p1), text.get_text()
    level = [k for k, text in enumerate(shown) if not text.get_rotation()]
    for i, j in itertools.combinations(level, 2):
        names = shown[i].get_text(), shown[j].get_text()
        assert not boxes[i].shrunk(0.9, 0.9).overlaps(boxes[j].shrunk(0.9, 0.9)), names


@pytest.mark.parametrize("sizes", [(1, 2, 2, 2), (2, 3, 3, 3), (4, 3, 2, 4), (2, 10, 10, 2)])
def test_texts_neither_overlap_nor_leave_the_page(sizes: tuple[int, int, int, int]) -> None:
    found = random_profile(sizes)
    for function in (policies_figure, utilities_figure, beliefs_figure):
        assert_readable(function(found))


def test_long_names_stay_on_the_page() -> None:
    policy = torch.tensor([[0.6, 0.4, 0.0], [0.4, 0.4, 0.2], [0.0, 0.0, 1.0]], dtype=torch.float64)
    found = profile(experts(), torch.stack([policy, policy.flip(0)]), "sampled")
    for function in (policies_figure, utilities_figure, beliefs_figure):
        figure = function(found)
        assert_readable(figure)
        words = " ".join(visible(figure))
        assert "competitor" in words or "has no effect" in words


# --------------------------------------------------------------------------------- the policies


def test_heat_maps_show_the_policies() -> None:
    found = random_profile((3, 2, 4, 2))
    figure = policies_figure(found)
    maps = [panel for panel in figure.axes if panel.images]
    assert [panel.get_title() for panel in maps] == ["sender 0", "sender 1", "sender 2"]
    for n, panel in enumerate(maps):
        shown = np.asarray(panel.images[0].get_array())
        assert shown == pytest.approx(found.policies[n].numpy(), abs=1e-12)
        numbers = {text.get_position(): float(text.get_text()) for text in panel.texts}
        for (signal, state), number in numbers.items():
            assert number == pytest.approx(
                float(found.policies[n, int(state), int(signal)]), abs=6e-3
            )
        assert len(numbers) == 8
    assert maps[0].get_yticklabels()[1].get_text().startswith("state 1 (.")


def test_policies_are_drawn_as_messages_with_what_they_lead_to() -> None:
    figure = policies_figure(accusation())
    (panel,) = [panel for panel in figure.axes if panel.images]
    assert panel.get_title() == "prosecutor"
    assert [label.get_text() for label in panel.get_xticklabels()] == ['"acquit"', '"convict"']
    marks = [line for line in panel.lines if line.get_marker() not in ("None", None, "")]
    above = [line for line in marks if at(line).size]
    assert [at(line)[0] for line in above] == [0, 1]
    colours = [to_hex(str(line.get_color())).upper() for line in above]
    assert colours == [palette.action(a).colour.upper() for a in (0, 1)]
    assert legend(figure) == ["leads to acquit", "leads to convict"]


def test_senders_that_say_the_same_share_a_panel_and_silent_ones_are_named() -> None:
    game = random_profile((4, 3, 3, 3)).game
    policies = torch.stack([torch.eye(3).double(), torch.full((3, 3), 1 / 3).double()] * 2)
    figure = policies_figure(profile(game, policies, "sampled"))
    assert [p.get_title() for p in figure.axes if p.images] == ["sender 0 and sender 2"]
    assert "says nothing: sender 1 and sender 3" in visible(figure)
    figure = policies_figure(profile(game, policies[[1, 1, 1, 1]], "sampled"))
    assert "No sender says anything." in visible(figure)


def test_equal_signals_are_one_column() -> None:
    policy = torch.tensor([[0.3, 0.3, 0.4], [0.1, 0.1, 0.8]], dtype=torch.float64)
    game = PersuasionGame([0.5, 0.5], [[1.0, 0.0], [0.0, 1.0]], [[[1.0, 0.0]] * 2], 3)
    figure = policies_figure(profile(game, policy[None], "sampled"))
    shown = np.asarray(figure.axes[0].images[0].get_array())
    assert shown == pytest.approx(np.array([[0.6, 0.4], [0.2, 0.8]]))


def test_large_heat_maps_have_no_numbers_and_fewer_names() -> None:
    game = PersuasionGame([0.5, 0.5], [[1.0, 0.0], [0.0, 1.0]], torch.ones(2, 2, 2), 70)
    policies = game.sample_policies(1, torch.Generator().manual_seed(0))[0]
    figure = policies_figure(replace(random_profile((2, 2, 2, 2)), game=game, policies=policies))
    panel = figure.axes[0]
    assert np.asarray(panel.images[0].get_array()).shape == (2, 70)
    assert not panel.texts
    ticks = panel.get_xticks()
    assert len(ticks) == 35
    names = [label.get_text() for label in panel.get_xticklabels()]
    told = account(game, policies).speakers[0].messages
    assert names == [told[int(tick)].name for tick in ticks]


# -------------------------------------------------------------------------------- the utilities


def test_bars_are_the_outcomes() -> None:
    found = random_profile((2, 2, 2, 3))
    figure, values = utilities_figure(found), outcomes(found)
    panels = [["sender 0", "sender 1", "welfare"], ["receiver"]]
    styles = [palette.OURS, palette.FULL_REVELATION, palette.NO_INFORMATION]
    for panel, names in zip(figure.axes, panels, strict=True):
        assert [label.get_text() for label in panel.get_yticklabels()] == names
        low, high = panel.get_ylim()
        assert low > high  # the first sender on top
        groups = [bars for bars in panel.containers if isinstance(bars, BarContainer)]
        numbers = [float(text.get_text()) for text in panel.texts]
        for k, bars in enumerate(groups):
            lengths = [bar.get_width() for bar in bars.patches]
            assert lengths == pytest.approx([values[name][k] for name in names])
            shown = numbers[k * len(names) : (k + 1) * len(names)]
            assert shown == pytest.approx(lengths, rel=1e-3)
            assert to_hex(bars.patches[0].get_facecolor()).upper() == styles[k].colour.upper()
        assert len(groups) == 3
    assert legend(figure) == ["equilibrium", "full revelation", "no information"]
    assert figure.axes[1].get_xlabel() == "expected utility"


# ---------------------------------------------------------------------------------- the beliefs


def test_the_line_of_beliefs() -> None:
    figure = beliefs_figure(accusation())
    panel = figure.axes[0]
    spots = [line for line in panel.lines if line.get_marker() in ("o", "s")]
    shown = sorted(tuple(at(line)) for line in spots if at(line).size)
    assert np.array(shown) == pytest.approx(np.array([[0.0, 0.4], [0.5, 0.6]]))  # belief, share
    assert {text.get_text() for text in panel.texts} == {"acquit", "convict"}
    spans = sorted((p.get_x(), p.get_x() + p.get_width()) for p in panel.patches)  # type: ignore[attr-defined]
    assert [edge for span in spans for edge in span] == pytest.approx([0, 0.5, 0.5, 1])
    assert panel.get_xlabel() == "posterior probability of guilty"
    best = ["acquit is best", "convict is best"]
    leads = [f"belief that leads to {action}" for action in ("acquit", "convict")]
    assert legend(figure) == [*best, *leads, "prior"]


def test_signals_that_say_the_same_share_a_marker() -> None:
    panel = beliefs_figure(profile(didactic_game(), [NOISE, NOISE])).axes[0]  # 4 joint signals
    (mark,) = [line for line in panel.lines if line.get_marker() == "o" and at(line).size]
    assert at(mark) == pytest.approx([0.4, 1.0])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_simplex_is_cut_where_the_receiver_changes_its_mind(seed: int) -> None:
    found = random_profile((2, 2, 3, 7), seed)
    v = found.game.receiver_utility.numpy()
    panel = beliefs_figure(found).axes[0]
    regions = [p for p in panel.patches if isinstance(p, Polygon) and p.get_alpha() is not None]
    names = [palette.action(a).colour.lower() for a in range(7)]
    beliefs = np.random.default_rng(seed).dirichlet(np.ones(3), 500)
    hits = 0
    for belief in beliefs:
        best = (belief @ v).argsort()
        inside = [p for p in regions if p.get_path().contains_point(belief @ CORNERS)]
        if (belief @ v)[best[-1]] - (belief @ v)[best[-2]] > 1e-3:  # not on a border
            (region,) = inside
            assert to_hex(region.get_facecolor()) == names[best[-1]]
            hits += 1
    assert hits > 450


def test_markers_are_the_posteriors() -> None:
    found = random_profile((2, 2, 3, 3))
    figure = beliefs_figure(found)
    marks = [d for d in dots(figure.axes[0]) if len(np.asarray(d.get_offsets()))]
    listed = reactions(found.game, found.policies)
    expected = np.array([reaction.posterior.numpy() for reaction in listed]) @ CORNERS
    spots = np.array([np.asarray(mark.get_offsets())[0] for mark in marks])
    assert spots == pytest.approx(expected, abs=1e-8)
    areas = np.array([float(mark.get_sizes()[0]) for mark in marks])
    shares = np.array([reaction.probability for reaction in listed])
    assert areas / areas.sum() == pytest.approx(shares)
    colours = [to_hex(np.asarray(mark.get_facecolor())[0]).upper() for mark in marks]
    assert colours == [palette.action(reaction.action).colour.upper() for reaction in listed]
    assert {"prior", "0.05", "0.2", "0.5"} <= set(legend(figure))
    taken = {f"belief that leads to action {reaction.action}" for reaction in listed}
    assert taken <= set(legend(figure))
    assert {"state 0", "state 1", "state 2"} <= set(visible(figure))


def test_equal_actions_share_one_region() -> None:
    game = PersuasionGame([0.4, 0.3, 0.3], [[1.0, 1.0]] * 3, [[[0.0, 1.0]] * 3], n_signals=2)
    found = profile(game, [[[1.0, 0.0]] * 3])
    assert "action 0 is best" in legend(beliefs_figure(found))
    assert "action 1 is best" not in legend(beliefs_figure(found))


def test_beliefs_over_more_states_are_a_table() -> None:
    found = random_profile((2, 2, 4, 3))
    figure = beliefs_figure(found)
    panel = figure.axes[0]
    told = account(found.game, found.policies)
    assert told.cases is not None
    expected = [found.game.prior.tolist(), *(case.posterior.tolist() for case in told.cases)]
    assert np.asarray(panel.images[0].get_array()) == pytest.approx(np.array(expected))
    rows = [label.get_text() for label in panel.get_yticklabels()]
    assert rows[0] == "prior"
    for row, case in zip(rows[1:], told.cases, strict=True):
        assert row.startswith(f"action {case.action} (probability .")
    assert [label.get_text() for label in panel.get_xticklabels()] == [
        f"state {s}" for s in range(4)
    ]
    assert "drawn for 2 or 3 states only" in panel.get_title()
    assert "left out" not in panel.get_title()


def test_the_table_of_beliefs_says_what_it_leaves_out() -> None:
    found = random_profile((2, 5, 14, 3))  # 25 posteriors over 14 states
    panel = beliefs_figure(found).axes[0]
    shown = np.asarray(panel.images[0].get_array())
    assert shown.shape == (1 + MAX_ROWS, 13)
    assert shown.sum(1) == pytest.approx(1)
    assert panel.get_xticklabels()[-1].get_text() == "2 others"
    told = account(found.game, found.policies)
    assert told.cases is not None
    rest = sum(case.probability for case in told.cases[MAX_ROWS:])
    assert f"13 less likely beliefs of probability .{round(100 * rest):02d}" in panel.get_title()


def test_too_many_beliefs_are_said_to_be() -> None:
    found = random_profile((2, 2, 2, 2))
    game = PersuasionGame([0.5, 0.5], [[1.0, 0.0], [0.0, 1.0]], torch.ones(8, 2, 2), 4)
    policies = game.sample_policies(1, torch.Generator().manual_seed(0))[0]
    many = replace(found, game=game, policies=policies)
    text = "More than 20,000 combinations of messages are possible: not drawn."
    assert text in visible(beliefs_figure(many))


def test_files_are_images(tmp_path: Path) -> None:
    paths = draw(random_profile((2, 2, 4, 2)), tmp_path / "new", "1_")
    assert [path.name for path in paths] == ["1_policies.png", "1_utilities.png", "1_beliefs.png"]
    for path in paths:
        assert imread(path).std() > 0.01


@pytest.mark.parametrize("figure", [policies_figure, utilities_figure, beliefs_figure])
def test_names_are_no_formulas(figure: Callable[[Equilibrium], Figure], tmp_path: Path) -> None:
    found = accusation()
    game = replace(
        found.game,
        state_names=("pay $5 or $7", r"$\frac$ of it"),
        action_names=(r"$\bad{", "a $ b $"),
        sender_names=tuple(f"$x_{i}^$" for i in range(found.game.n_senders)),
    )
    drawn = figure(replace(found, game=game))
    drawn.savefig(tmp_path / "figure.png")  # a formula that is none raises here
    texts = [text for text in drawn.findobj(Text) if "$" in text.get_text()]
    assert texts
    assert not any(text.get_parse_math() for text in texts)


def test_an_endless_word_is_broken() -> None:
    found = accusation()
    game = replace(found.game, state_names=("ab" * 60, "x"))
    figure = policies_figure(replace(found, game=game))
    assert max(len(line) for text in figure.findobj(Text) for line in text.get_text().split()) <= 40


@pytest.mark.parametrize("figure", [policies_figure, utilities_figure, beliefs_figure])
def test_what_is_no_equilibrium_is_not_drawn(figure: Callable[[Any], Figure]) -> None:
    with pytest.raises(ValueError, match=r"equilibrium must be an Equilibrium, got 'x'"):
        figure("x")


def test_a_font_that_lacks_characters_is_named_once(tmp_path: Path) -> None:
    found = accusation()
    game = replace(found.game, state_names=("買う", "x"))
    told = "policies.png shows boxes in place of characters that its font lacks"
    with pytest.warns(UserWarning, match=told) as caught:
        write_figure(tmp_path / "policies.png", policies_figure(replace(found, game=game)))
    assert len(caught) == 1
