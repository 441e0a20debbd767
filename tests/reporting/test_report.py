"""The report and figures of an equilibrium: hand-computed games, and the simulator's numbers."""

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
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.patches import Polygon
from torch import Tensor

from dnl import Equilibrium, Verdict, full_revelation
from dnl.exact.status import Status
from dnl.reporting.equilibrium_figures import (
    beliefs_figure,
    draw,
    policies_figure,
    utilities_figure,
)
from dnl.reporting.equilibrium_text import nothing_found, outcomes, overview, reactions, report
from games import PersuasionGame, didactic_game, prosecutor_game, synthetic_game
from tests.cases.finding import verified

TRUTH, SILENCE = [[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]
NOISE = [[0.5, 0.5], [0.5, 0.5]]
OPTIMUM = [[4 / 7, 3 / 7], [0.0, 1.0]]  # accuse the guilty and 3/7 of the innocent


def profile(
    game: PersuasionGame, policies: list[Any] | Tensor, method: str = "exact"
) -> Equilibrium:
    """An `Equilibrium` of these policies, whatever the verdict."""
    policies = torch.as_tensor(policies, dtype=torch.float64)
    few = None if method == "exact" else 1
    local = verified(game, policies, method=method, time_limit=5.0, deviations=few)
    everywhere = verified(game, policies, None, method=method, time_limit=5.0, deviations=few)
    return Equilibrium(game, policies, local, everywhere, "blocks", "complete")


def accusation() -> Equilibrium:
    return profile(prosecutor_game(), [OPTIMUM])


def random_profile(
    sizes: tuple[int, int, int, int], seed: int = 0, method: str = "sampled"
) -> Equilibrium:
    """Of a game of the sizes (N, M, S, A); figures do not show how it was verified."""
    game = synthetic_game(*sizes, seed=seed, law="contested")
    generator = torch.Generator().manual_seed(seed)
    return profile(game, game.sample_policies(1, generator)[0], method)


def cells(text: str, first: str, columns: int, skip: int = 0) -> list[str]:
    """The cells of the row that begins with `first`, the `skip` earlier ones left out."""
    pattern = rf"^ *{re.escape(first)}   +(.*)$"
    rows = [re.split(" {3,}", row) for row in re.findall(pattern, text, flags=re.MULTILINE)]
    return [row for row in rows if len(row) == columns][skip]


# ------------------------------------------------------------------------------------ the numbers


def test_reactions_to_the_prosecutor() -> None:
    # Accused: 0.3 guilty and 0.7 * 3/7 = 0.3 innocent. Not accused: 0.7 * 4/7 = 0.4, all innocent.
    accused, free = reactions(prosecutor_game(), torch.tensor([OPTIMUM], dtype=torch.float64))
    assert (accused.signals, accused.action) == ((1,), 1)
    assert accused.probability == pytest.approx(0.6, abs=1e-12)
    assert accused.posterior.tolist() == pytest.approx([0.5, 0.5], abs=1e-12)
    assert (free.signals, free.action) == ((0,), 0)
    assert free.probability == pytest.approx(0.4, abs=1e-12)
    assert free.posterior.tolist() == [1.0, 0.0]


def test_reactions_are_sorted_and_complete() -> None:
    found = random_profile((3, 3, 2, 3))
    listed = reactions(found.game, found.policies)
    shares = [reaction.probability for reaction in listed]
    assert shares == sorted(shares, reverse=True)
    assert {reaction.signals for reaction in listed} == set(itertools.product(range(3), repeat=3))
    for reaction in listed:  # Bayes, by hand
        joint = found.game.prior.clone()
        for n, signal in enumerate(reaction.signals):
            joint = joint * found.policies[n, :, signal]
        assert reaction.probability == pytest.approx(float(joint.sum()), rel=1e-12)
        assert reaction.posterior.tolist() == pytest.approx((joint / joint.sum()).tolist())
        assert reaction.action == int((joint @ found.game.receiver_utility).argmax())


def test_signals_of_probability_zero_are_left_out() -> None:
    (only,) = reactions(prosecutor_game(), torch.tensor([SILENCE], dtype=torch.float64))
    assert (only.signals, only.probability, only.action) == ((0,), 1.0, 0)
    assert only.posterior.tolist() == [0.7, 0.3]


OUTCOMES = [
    # Convicted: 0.6; under the truth the guilty, 0.3; on the prior nobody. The judge is right about
    # the 0.4 and the 0.3; always; about the 0.7.
    (prosecutor_game, [OPTIMUM], {"sender 0": (0.6, 0.3, 0.0), "receiver": (0.7, 1.0, 0.7)}),
    # States known, action = state: sender 0 gets 0, sender 1 gets 2 in state 1 (0.4). On the prior
    # the receiver takes action 0: sender 0 gets 1 in state 1, sender 1 nothing.
    (
        didactic_game,
        [SILENCE, SILENCE],
        {"sender 0": (0.4, 0.0, 0.4), "sender 1": (0.0, 0.8, 0.0), "receiver": (0.6, 1.0, 0.6)},
    ),
]


@pytest.mark.parametrize(("make", "policies", "expected"), OUTCOMES)
def test_outcomes_by_hand(
    make: Callable[[], PersuasionGame],
    policies: list[Any],
    expected: dict[str, tuple[float, float, float]],
) -> None:
    values = outcomes(profile(make(), policies))
    senders = [value for name, value in expected.items() if name.startswith("sender")]
    welfare = tuple(sum(column) for column in zip(*senders, strict=True))
    assert list(values) == [*list(expected)[:-1], "welfare", "receiver"]
    for name, value in {**expected, "welfare": welfare}.items():
        assert values[name] == pytest.approx(value, abs=1e-12)


# --------------------------------------------------------------------------------------- the text


def test_report_of_the_prosecutor() -> None:
    text = report(accusation())
    assert text.startswith("Equilibrium\n")
    assert "1 sender, 2 signals each, 2 states, 2 actions, ties 'senders'" in text
    assert "found by  blocks; the search was complete\n" in text
    assert re.search(r"locally +certified within radius 0\.005: no sender gains more than", text)
    assert re.search(r"globally +certified for any deviation: no sender gains more than", text)
    assert "0.6, above both full revelation and no information, by 0.3\n" in text
    assert re.search(r"Pareto +dominates full revelation\n", text)
    assert "2 of 2 joint signals" in text
    assert cells(text, "0", 3) == ["0.7000", "0.5714", "0.4286"]
    assert cells(text, "1", 3) == ["0.3000", ".", "1"]
    assert cells(text, "1", 4) == ["0.6000", "1", "0.5000", "0.5000"]
    assert cells(text, "0", 4) == ["0.4000", "0", "1", "."]
    assert cells(text, "sender 0", 3) == ["0.600000", "0.300000", "0.000000"]
    assert cells(text, "welfare", 3) == ["0.600000", "0.300000", "0.000000"]
    assert cells(text, "receiver", 3) == ["0.70000", "1.00000", "0.70000"]
    # One sender that can tell the truth: no equilibrium is worth more than the optimum, and any is.
    assert re.search(r"ceiling +no profile has a welfare above 0\.60000\d, no global", text)
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("policies", "words"),
    [
        (TRUTH, "0.3, equal to the better of full revelation and no information"),
        (SILENCE, "0, not above full revelation and no information: 0.3 below the better"),
    ],
)
def test_welfare_beside_the_comparison_values(policies: list[Any], words: str) -> None:
    text = report(profile(prosecutor_game(), [policies]))
    assert f"{words}\n" in text
    assert re.search(r"Pareto +does not dominate full revelation\n", text)


def test_a_profile_that_is_not_certified_says_so() -> None:
    # From telling the truth, mixing 0.005 of the innocent in convicts 0.7 * 0.005 more.
    text = report(profile(prosecutor_game(), [TRUTH]))
    assert text.startswith("A profile that is not certified\n")
    assert "refuted within radius 0.005: a sender gains 0.0035 of its payoff range" in text
    # At best 0.6 are convicted, 0.3 more.
    assert "refuted for any deviation: a sender gains 0.3 of its payoff range" in text


def test_numbers_are_those_of_the_simulator() -> None:
    found = random_profile((3, 2, 3, 4), method="exact")
    game, policies, text = found.game, found.policies, report(found)
    utilities = game.ex_ante_utility(policies)
    revealed, silent = full_revelation(game).utilities, game.no_information()
    for n in range(3):
        row = [float(cell) for cell in cells(text, f"sender {n}", 3)]
        expected = [float(vector[n]) for vector in (utilities, revealed, silent)]
        assert row == pytest.approx(expected, abs=1e-3)
        for s in range(3):
            shown = [float(cell) for cell in cells(text, str(s), 3, skip=n)]
            assert shown == pytest.approx(
                [float(game.prior[s]), *policies[n, s].tolist()], abs=5.1e-5
            )
    probability, posterior = game.posteriors(policies)
    actions = game.receiver_action(policies)
    for k, signals in enumerate(itertools.product("01", repeat=3)):
        share, action, *belief = cells(text, " ".join(signals), 5)
        assert float(share) == pytest.approx(float(probability[k]), abs=5.1e-5)
        assert int(action) == int(actions[k])
        assert [float(p) for p in belief] == pytest.approx(posterior[k].tolist(), abs=5.1e-5)


def test_many_joint_signals_are_cut_and_counted() -> None:
    found = random_profile((2, 6, 2, 3), method="exact")
    probability = found.game.posteriors(found.policies)[0].sort(descending=True).values
    text = report(found)
    assert "36 of 36 joint signals" in text
    assert len(re.findall(r"^ +\d \d   ", text, flags=re.MULTILINE)) == 24
    rest = re.search(r"and 12 more, of probability (\S+) together", text)
    assert rest is not None
    assert float(rest[1]) == pytest.approx(float(probability[24:].sum()), abs=5.1e-5)


def test_many_states_show_the_likeliest() -> None:
    prior = [0.5, 0.3, 0.1] + [0.01] * 10  # 13 states
    game = PersuasionGame(prior, [[1.0, 0.0]] * 13, [[[0.0, 1.0]] * 13], n_signals=1)
    text = report(profile(game, [[[1.0]] * 13]))
    assert cells(text, "0", 3) == ["1", "0", "0: 0.5000, 1: 0.3000, 2: 0.1000, 3: 0.0100"]


@pytest.mark.parametrize(
    ("bound", "text"),
    [(0.0, "0"), (1.0, "1"), (0.12341, "0.124"), (1.2301e-7, "1.24e-07"), (math.inf, "no bound")],
)
def test_bounds_are_rounded_upwards(bound: float, text: str) -> None:
    found = accusation()
    gain = torch.tensor([bound], dtype=torch.float64)
    local = replace(found.verification, gain=gain, relative_gain=gain / 2)
    row = cells(report(replace(found, verification=local)), "0", 4, skip=1)
    assert row[1] == text
    assert row[3] == "optimal"


def test_what_is_undecided_comes_with_advice() -> None:
    found = accusation()
    everywhere = replace(
        found.global_verification, verdict=Verdict.UNDECIDED, status=(str(Status.TIME_LIMIT),)
    )
    text = report(replace(found, global_verification=everywhere, status="time limit"))
    assert f"time limit: {Status.TIME_LIMIT.advice}\n" in text
    assert "globally  undecided for any deviation: no sender gains more than" in text
    assert "the search ended by its time limit: more time may find better ones" in text


def test_overview() -> None:
    best, second = accusation(), profile(prosecutor_game(), [NOISE])
    text = overview([best, second])
    assert text.startswith("Certified equilibria: 2\n")
    first, other = cells(text, "1", 5), cells(text, "2", 5)
    assert (first[:3], first[4]) == (["0.6", "blocks", "certified"], "yes")
    # Noise convicts nobody, and with a small change neither; the best policy convicts 0.6.
    assert (other[:3], other[4]) == (["0", "blocks", "certified"], "no")
    assert 0.6 <= float(other[3]) <= 0.601
    assert overview([best] * 23).endswith("  and 3 more\n")


def test_nothing_found() -> None:
    text = nothing_found(didactic_game(), radius=0.005, time_limit=2.0)
    assert "No equilibrium was certified within 2 s at radius 0.005." in text
    assert "--time-limit" in text
    assert "--members" in text
    assert cells(text, "sender 0", 2) == ["0.000000", "0.400000"]
    assert cells(text, "sender 1", 2) == ["0.800000", "0.000000"]


@pytest.mark.parametrize("scale", [0.0, 1e-9, 1e9])
def test_utilities_of_any_size_are_readable(scale: float) -> None:
    game = PersuasionGame([0.5, 0.5], TRUTH, [[[0.0, scale], [0.0, scale]]], 2, "senders")
    text = report(profile(game, [TRUTH]))
    row = [float(cell) for cell in cells(text, "sender 0", 3)]
    assert row == pytest.approx([scale / 2, scale / 2, scale], rel=1e-5)


# ------------------------------------------------------------------------------------ the figures


def texts_overlap(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts of which one covers the other."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    shown = [
        text
        for panel in figure.axes
        for text in [*panel.texts, *panel.get_xticklabels(), *panel.get_yticklabels(), panel.title]
        if text.get_visible() and text.get_text()
    ]
    boxes = [text.get_window_extent(canvas.get_renderer()).shrunk(0.9, 0.9) for text in shown]
    return [
        (shown[i].get_text(), shown[j].get_text())
        for i, j in itertools.combinations(range(len(shown)), 2)
        if boxes[i].overlaps(boxes[j])
    ]


@pytest.mark.parametrize("sizes", [(1, 2, 2, 2), (2, 3, 3, 3), (4, 3, 2, 4), (2, 10, 10, 2)])
def test_texts_do_not_overlap(sizes: tuple[int, int, int, int]) -> None:
    found = random_profile(sizes)
    figures = [policies_figure(found), utilities_figure(found)]
    if found.game.n_states in (2, 3):
        figures.append(beliefs_figure(found))
    for figure in figures:
        assert texts_overlap(figure) == []


def test_heat_maps_show_the_policies() -> None:
    found = random_profile((3, 2, 4, 2))
    figure = policies_figure(found)
    maps = [panel for panel in figure.axes if panel.images]
    assert [panel.get_title() for panel in maps] == ["sender 0", "sender 1", "sender 2"]
    for n, panel in enumerate(maps):
        assert np.array_equal(np.asarray(panel.images[0].get_array()), found.policies[n].numpy())
        numbers = {text.get_position(): float(text.get_text()) for text in panel.texts}
        for (signal, state), number in numbers.items():
            assert number == pytest.approx(
                float(found.policies[n, int(state), int(signal)]), abs=6e-3
            )
        assert len(numbers) == 8


def test_large_heat_maps_have_no_numbers() -> None:
    figure = policies_figure(random_profile((2, 11, 11, 2)))
    assert all(not panel.texts for panel in figure.axes)


def test_bars_are_the_outcomes() -> None:
    found = random_profile((2, 2, 2, 3))
    figure, values = utilities_figure(found), outcomes(found)
    panels = [["sender 0", "sender 1", "welfare"], ["receiver"]]
    for panel, names in zip(figure.axes, panels, strict=True):
        assert [label.get_text() for label in panel.get_xticklabels()] == names
        groups = [bars for bars in panel.containers if isinstance(bars, BarContainer)]
        for k, bars in enumerate(groups):
            heights = [bar.get_height() for bar in bars.patches]
            assert heights == pytest.approx([values[name][k] for name in names])
        assert len(groups) == 3


def test_the_line_of_beliefs() -> None:
    panel = beliefs_figure(accusation()).axes[0]
    markers = [dots for dots in panel.collections if isinstance(dots, PathCollection)]
    spots = sorted(tuple(np.asarray(dots.get_offsets())[0].round(9)) for dots in markers)
    assert spots == [(0.0, 0.4), (0.5, 0.6)]  # posterior of guilt, probability
    assert {text.get_text() for text in panel.texts} == {"0", "1"}  # acquit below 0.5, else convict
    spans = sorted((p.get_x(), p.get_x() + p.get_width()) for p in panel.patches)  # type: ignore[attr-defined]
    assert [edge for span in spans for edge in span] == pytest.approx([0, 0.5, 0.5, 1])


def test_signals_that_say_the_same_share_a_marker() -> None:
    game = didactic_game()
    panel = beliefs_figure(profile(game, [NOISE, NOISE])).axes[0]  # four joint signals
    (dots,) = [dots for dots in panel.collections if isinstance(dots, PathCollection)]
    assert np.asarray(dots.get_offsets()).ravel() == pytest.approx([0.4, 1.0])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_simplex_is_cut_where_the_receiver_changes_its_mind(seed: int) -> None:
    found = random_profile((2, 2, 3, 7), seed)
    v = found.game.receiver_utility.numpy()
    panel = beliefs_figure(found).axes[0]
    regions = [p for p in panel.patches if isinstance(p, Polygon) and p.get_alpha() is not None]
    names = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#f0e442"]
    corners = np.array([[0, 0], [1, 0], [0.5, math.sqrt(0.75)]])
    beliefs = np.random.default_rng(seed).dirichlet(np.ones(3), 500)
    hits = 0
    for belief in beliefs:
        best = (belief @ v).argsort()
        inside = [p for p in regions if p.get_path().contains_point(belief @ corners)]
        if (belief @ v)[best[-1]] - (belief @ v)[best[-2]] > 1e-3:  # not on a border
            (region,) = inside
            assert to_hex(region.get_facecolor()) == names[best[-1]]
            hits += 1
    assert hits > 450


def test_markers_are_the_posteriors() -> None:
    found = random_profile((2, 2, 3, 3))
    panel = beliefs_figure(found).axes[0]
    dots = next(c for c in panel.collections if isinstance(c, PathCollection))
    corners = np.array([[0, 0], [1, 0], [0.5, math.sqrt(0.75)]])
    listed = reactions(found.game, found.policies)
    expected = np.array([reaction.posterior.numpy() for reaction in listed]) @ corners
    assert np.asarray(dots.get_offsets()) == pytest.approx(expected, abs=1e-8)
    shares = np.array([reaction.probability for reaction in listed])
    areas = np.asarray(dots.get_sizes())
    assert areas / areas.sum() == pytest.approx(shares)


def test_equal_actions_share_one_region() -> None:
    game = PersuasionGame([0.4, 0.3, 0.3], [[1.0, 1.0]] * 3, [[[0.0, 1.0]] * 3], n_signals=2)
    found = profile(game, [[[1.0, 0.0]] * 3])
    panel = beliefs_figure(found).axes[0]
    assert "0" in {text.get_text() for text in panel.texts}
    assert "1" not in {text.get_text() for text in panel.texts}


def test_four_states_have_no_figure_of_beliefs(tmp_path: Path) -> None:
    found = random_profile((2, 2, 4, 2))
    with pytest.raises(ValueError, match="drawn for 2 or 3 states, got 4"):
        beliefs_figure(found)
    names = [path.name for path in draw(found, tmp_path / "new", "1_")]
    assert names == ["1_policies.png", "1_utilities.png"]


def test_files_are_images(tmp_path: Path) -> None:
    paths = draw(accusation(), tmp_path)
    assert [path.name for path in paths] == ["policies.png", "utilities.png", "beliefs.png"]
    for path in paths:
        assert imread(path).std() > 0.01
