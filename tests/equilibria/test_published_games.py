"""Games of the literature, whose answers are derived by hand here.

Sources: Kamenica and Gentzkow (2011), "Bayesian persuasion"; Gentzkow and Kamenica (2017),
"Competition in persuasion"; Boleslavsky and Cotton (2015), "Grading standards and education
quality" (two firms); Dughmi (2017), "Algorithmic information structure design" (letters);
Battaglini (2002), "Multiple referrals and multidimensional cheap talk". Under both tie rules.
"""

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import dnl
from games import PersuasionGame
from games.persuasion.gambit import save_nfg
from tests.cases.exact import TIE_BREAKS
from tests.references import ties as reference

PRIOR = [0.7, 0.3]  # innocent, guilty
JUDGE = [[1, 0], [0, 1]]  # 1 for a just verdict; action 1 convicts
CONVICTION = [[0, 1], [0, 1]]  # 1 for every conviction
ACQUITTAL = [[0, -1], [0, -1]]  # -1 for every conviction
MEMBERS = ("no-information", "full-revelation", "one-speaker", "responses")
TRUTH = [[1.0, 0.0], [0.0, 1.0]]

both_rules = pytest.mark.parametrize("tie_break", TIE_BREAKS)


def trial(senders: list[Any], tie_break: str) -> PersuasionGame:
    return PersuasionGame(PRIOR, JUDGE, senders, 2, tie_break)


def uniform(game: PersuasionGame) -> Tensor:
    shape = (game.n_senders, game.n_states, game.n_signals)
    return torch.full(shape, 1 / game.n_signals, dtype=torch.float64)


# --------------------------------------------------------------------- prosecutor and defence


@both_rules
def test_every_global_equilibrium_of_prosecutor_and_defence_reveals(tie_break: str) -> None:
    """Zero-sum with value 0.3: whoever reveals the state has the guilty, and only them, convicted.

    In an equilibrium the prosecutor cannot get more than 0.3 against the defence. If the defence
    leads to posteriors p (of guilt) alone, the prosecutor reaches E[min(2 p, 1)] >= E[p] = 0.3,
    with equality only where every p is 0 or 1: so the judge is always right and earns 1.
    """
    game = trial([CONVICTION, ACQUITTAL], tie_break)
    found = [e for e in dnl.find_equilibria(game, time_limit=10.0, members=MEMBERS) if e.is_global]
    assert found
    for equilibrium in found:
        assert equilibrium.utilities.tolist() == pytest.approx([0.3, -0.3], abs=1e-4)
        judged = game.receiver_ex_ante_utility(equilibrium.policies).item()
        assert judged == pytest.approx(1.0, abs=1e-4)
    both = torch.tensor([TRUTH, TRUTH], dtype=torch.float64)
    certain = dnl.verify(game, both, radius=None)
    assert certain.verdict == "certified"
    assert certain.gain.abs().max().item() <= 1e-6


@both_rules
def test_silence_of_prosecutor_and_defence_has_a_gap(tie_break: str) -> None:
    """Alone the prosecutor reaches 0.3 + 0.7 * 3/7 = 0.6 instead of 0, with payoffs that span 1."""
    game = trial([CONVICTION, ACQUITTAL], tie_break)
    found = dnl.verify(game, uniform(game), radius=None)
    assert found.verdict == "refuted"
    assert found.relative_gain.tolist() == pytest.approx([0.6, 0.0], abs=1e-5)
    assert found.witness_gain.tolist() == pytest.approx([0.6, 0.0], abs=1e-5)


@both_rules
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_gambit_finds_the_value_of_the_trial(steps: int, tie_break: str, tmp_path: Path) -> None:
    """Truth is on every grid, and either side can bring it about: the value stays 0.3."""
    pygambit = pytest.importorskip("pygambit")
    game = trial([CONVICTION, ACQUITTAL], tie_break)
    save_nfg(game, tmp_path / "trial.nfg", steps=steps)
    file = pygambit.read_nfg(tmp_path / "trial.nfg")
    payoffs = pygambit.nash.lp_solve(file).equilibrium.payoffs
    assert [float(payoffs[player]) for player in file.players] == pytest.approx([0.3, -0.3])


@both_rules
def test_two_prosecutors_share_the_textbook_optimum(tie_break: str) -> None:
    """One accuses as if alone, 0.6 for each; no profile convicts more, so 1.2 is the ceiling."""
    game = trial([CONVICTION, CONVICTION], tie_break)
    ceiling = dnl.welfare_ceiling(game)
    assert ceiling.any_profile == pytest.approx(1.2, abs=2e-6)
    assert ceiling.global_equilibrium == pytest.approx(1.2, abs=2e-6)
    found = dnl.find_equilibria(game, time_limit=10.0, members=MEMBERS)
    assert found[0].welfare == pytest.approx(1.2, abs=1e-4)
    assert found[0].is_global


# ----------------------------------------------------------------------------------- letters


@both_rules
@pytest.mark.parametrize("n_signals", [2, 3])
def test_letters_of_recommendation(n_signals: int, tie_break: str) -> None:
    """A third of the students are strong; the employer gains 1 by a strong one, loses 1 by a weak.

    A recommended student is strong with probability 1/2 at least: all of the strong ones and as
    many weak ones are hired, 2/3.
    """
    game = PersuasionGame([2 / 3, 1 / 3], [[0, -1], [0, 1]], [CONVICTION], n_signals, tie_break)
    found = dnl.optimal_persuasion(game)
    assert found.utility == pytest.approx(2 / 3, abs=1e-6)
    assert found.upper_bound == pytest.approx(2 / 3, abs=1e-6)
    assert dnl.full_revelation(game).utilities.item() == pytest.approx(1 / 3, abs=1e-12)
    assert game.no_information().item() == 0.0


# --------------------------------------------------------------------------------- two firms


def firms(tie_break: str) -> tuple[PersuasionGame, Tensor]:
    """States (first firm good, second firm good), each with probability 1/4, and M = 6.

    Firm n sends m with probability x_m / 3 if it is good and (1 - x_m) / 3 if not, where
    x_m = (2 m + 1) / 12. Each signal has probability 1/6 and then the firm is good with x_m.
    """
    states = [(0, 0), (0, 1), (1, 0), (1, 1)]
    senders = [[[1, 0]] * 4, [[0, 1]] * 4]
    game = PersuasionGame([0.25] * 4, states, senders, 6, tie_break)
    x = [Fraction(2 * m + 1, 12) for m in range(6)]
    rows = {1: [float(p / 3) for p in x], 0: [float((1 - p) / 3) for p in x]}
    policies = [[rows[state[firm]] for state in states] for firm in range(2)]
    return game, torch.tensor(policies, dtype=torch.float64)


@both_rules
def test_two_firms_with_six_grades(tie_break: str) -> None:
    """The customer buys from the higher grade, from the first firm if both are equal.

    The higher of two grades is m in 2 m + 1 of 36 cases, so the customer's expected utility is
    sum (2 m + 1)^2 / (12 * 36) = 286/432 = 143/216. The first firm wins in 1/2 + 1/12 of them.

    The best response of either firm, which knows both qualities. Let a, b be the probabilities of
    a signal where only the rival, or only itself, is good. The signal wins against grade j where
    b (1 - x_j) > a x_j; what it says where both firms are equal changes nothing, so there a signal
    sent by nobody else wins: 1/2. To win (in the limit) against the lowest k grades,
    b = t_k a with t_k = (2 k - 1) / (13 - 2 k). Their probability is k^2 / 36 if the rival is good
    and (12 k - k^2) / 36 if not, so such a signal is worth a h_k / 4 with
    h_k = (t_k (12 k - k^2) + k^2) / 36. All a sum to 1 and all b sum to 1. The most per unit of b
    is h_k / t_k at k = 4, where t = 7/5 and h = 60.8/36: a = 5/7, and the other 2/7 concede.
    In all 1/2 + (5/7) (60.8/36) / 4 = 101/126.
    """
    game, present = firms(tie_break)
    for firm in range(2):
        tables = (game.prior, game.receiver_utility, game.sender_utility, present, firm, tie_break)
        assert reference.best_response(*tables) == pytest.approx(101 / 126, abs=1e-9)
        response = dnl.best_response(game, present, firm)
        assert response.utility == pytest.approx(101 / 126, abs=1e-5)
        assert response.upper_bound == pytest.approx(101 / 126, abs=1e-5)
    assert game.receiver_ex_ante_utility(present).item() == pytest.approx(143 / 216, abs=1e-12)
    assert game.ex_ante_utility(present).tolist() == pytest.approx([7 / 12, 5 / 12], abs=1e-12)
    assert dnl.verify(game, present, radius=None).verdict == "refuted"


# ------------------------------------------------------------------------------ two dimensions


@both_rules
@pytest.mark.parametrize("n_signals", [2, 3])
def test_two_dimensions_are_revealed(n_signals: int, tie_break: str) -> None:
    """State and action are (x, y) in {0, 1}^2; the receiver gains 1 for each coordinate matched.

    Sender 0 wants y = 1 and cares for nothing else, sender 1 wants x = 1. Let sender 0 tell x and
    sender 1 tell y: neither can change the coordinate it cares for, so nobody gains.
    """
    points = [(0, 0), (0, 1), (1, 0), (1, 1)]
    v = [[(a == x) + (b == y) for a, b in points] for x, y in points]
    wants_y, wants_x = [[b for _, b in points]] * 4, [[a for a, _ in points]] * 4
    game = PersuasionGame([0.25] * 4, v, [wants_y, wants_x], n_signals, tie_break)
    present = torch.zeros(2, 4, n_signals, dtype=torch.float64)
    for index, (x, y) in enumerate(points):
        present[0, index, x] = present[1, index, y] = 1.0
    assert game.receiver_ex_ante_utility(present).item() == 2.0
    assert game.ex_ante_utility(present).tolist() == [0.5, 0.5]
    for radius in (0.005, None):
        found = dnl.verify(game, present, radius)
        assert found.verdict == "certified"
        assert found.gain.abs().max().item() <= 1e-6
