"""Our way of learning to persuade: ensembles of receivers, and optimal persuasion of them."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import dnl
from dnl.learning_to_persuade import (
    AskingConfig,
    Interview,
    LearnedPolicy,
    SenderProblem,
    learn_by_asking,
)
from dnl.learning_to_persuade.asking import _confirmed
from dnl.learning_to_persuade.ensemble import TOLERATED_ERROR, ReceiverEnsemble
from games import PersuasionGame, prosecutor_game, random_matrix_game
from games.randomness import uniform_distributions
from games.receivers import BanditReceiver, BaseReceiver, QuantalReceiver, RationalReceiver

FEW = AskingConfig(queries=40)
QUICK = AskingConfig(queries=14, steps=30)


class Scripted(BaseReceiver):
    """Acts by a table of its own, whatever its game says that it wants."""

    def __init__(self, game: PersuasionGame, wants: Tensor) -> None:
        super().__init__(game)
        self.hidden = PersuasionGame(
            game.prior, wants, game.sender_utility, game.n_signals, game.tie_break
        )

    def _settle(self, policies: Tensor) -> Tensor:
        return RationalReceiver(self.hidden).respond(policies)


def learn(game: PersuasionGame, seed: int = 0, **changes: Any) -> LearnedPolicy:
    config = replace(FEW, **changes)
    return learn_by_asking(SenderProblem.of(game), RationalReceiver(game), config, seed)


# -------------------------------------------------------------------------------- interviews


def test_an_interview_keeps_what_was_said() -> None:
    game = random_matrix_game(3, 4, seed=0)
    interview = Interview(SenderProblem.of(game), RationalReceiver(game))
    policies = game.sample_policies(6)
    policies[2, 0] = torch.tensor([0.0, 1.0, 0.0, 0.0])  # three messages are never sent
    response, value = interview.ask(policies)
    torch.testing.assert_close(value, game.ex_ante_utility(policies)[:, 0])
    assert len(interview.columns) == len(interview.frequencies) == 6 * 4 - 3
    assert interview.frequencies.sum(-1).tolist() == pytest.approx([1.0] * 21)
    assert interview.columns.sum(-1).sum().item() == pytest.approx(6)
    torch.testing.assert_close(interview.columns[0], game.prior * policies[0, 0, :, 0])
    assert response.shape == (6, 4, 4)
    assert torch.equal(interview.best, policies[value.argmax()])
    assert interview.utilities == value.tolist()


def test_a_receiver_of_another_game_is_refused() -> None:
    problem = SenderProblem.of(random_matrix_game(3, 4, seed=0))
    with pytest.raises(
        ValueError, match=r"receiver must be one of games of shape .*\(1, 4, 3, 4\)"
    ):
        Interview(problem, RationalReceiver(random_matrix_game(3, 3, seed=0)))
    with pytest.raises(ValueError, match="game must be a PersuasionGame of one sender"):
        SenderProblem.of("matrix")  # type: ignore[arg-type]


# --------------------------------------------------------------------------------- ensembles


def test_members_agree_on_what_was_seen() -> None:
    game = random_matrix_game(5, 5, seed=1)
    interview = Interview(SenderProblem.of(game), RationalReceiver(game))
    interview.ask(game.sample_policies(4))
    ensemble = ReceiverEnsemble(5, 5, 3, "test", 0)
    posteriors = interview.columns / interview.columns.sum(1, keepdim=True)
    actions = interview.frequencies.argmax(1)

    def right() -> list[float]:
        scores = [posteriors @ ensemble.receiver_utility(member) for member in range(3)]
        return [(s.argmax(1) == actions).double().mean().item() for s in scores]

    before = right()
    ensemble.fit(interview, steps=1500, lr=0.05)
    assert max(before) < 0.9
    assert min(right()) > 0.95
    # Elsewhere they remain apart.
    beliefs = uniform_distributions((1000, 5), torch.Generator().manual_seed(0))
    guesses = torch.stack([(beliefs @ ensemble.receiver_utility(m)).argmax(1) for m in range(3)])
    assert (guesses != guesses[0]).any()


@pytest.mark.whole_run
def test_precision_is_learned_from_how_sure_the_receiver_is() -> None:
    game = random_matrix_game(4, 3, seed=2)
    learned = []
    for precision in (2.0, 50.0):
        interview = Interview(SenderProblem.of(game), QuantalReceiver(game, precision))
        interview.ask(game.sample_policies(50))
        ensemble = ReceiverEnsemble(4, 3, 2, "test", 0)
        ensemble.fit(interview, steps=1500, lr=0.05)
        answers, told = interview.frequencies, ensemble.response(interview.columns)
        divergence = (answers * (answers / told).log()).sum(1)
        assert divergence.mean() < TOLERATED_ERROR
        learned.append(ensemble.stack.stacked["log_precision"][0].item())
    assert learned[0] < learned[1]


def test_no_response_to_what_is_never_said() -> None:
    ensemble = ReceiverEnsemble(2, 3, 2, "test", 0)
    answer = ensemble.response(torch.tensor([[0.0, 0.0], [0.2, 0.1]], dtype=torch.float64))
    assert answer[0].tolist() == [0.0, 0.0, 0.0]
    assert answer[1].sum().item() == pytest.approx(1)


# ------------------------------------------------------------------------------ what is reached


def test_the_prosecutor_learns_to_persuade() -> None:
    found = learn(prosecutor_game("senders"))
    assert found.utility >= 0.97 * 0.6  # the optimum, by hand
    assert found.utility <= 0.6 + 1e-9


@pytest.mark.whole_run
def test_nearly_the_optimum_of_the_known_game() -> None:
    shares = []
    for seed in (100, 101, 102):  # in the last an action of a small region is overlooked
        game = random_matrix_game(4, 4, seed)
        found = learn(game)
        shares.append(found.utility / dnl.optimal_persuasion(game).utility)
        assert found.utility == pytest.approx(game.ex_ante_utility(found.policies).item())
        assert found.queries == len(found.utilities) <= 40
        assert found.utility == max(found.utilities) == found.utilities[-1]
        assert found.accuracy[0] > 0.95
        assert found.predicted == pytest.approx(found.utility, rel=0.02)
    assert sum(shares) / 3 >= 0.97
    assert max(shares) <= 1 + 1e-9


def test_only_actions_tell_what_the_receiver_wants() -> None:
    game = random_matrix_game(4, 4, seed=100)
    other = PersuasionGame(  # the same sender; a receiver of whom its game tells nothing
        game.prior, torch.zeros(4, 4), game.sender_utility, game.n_signals, game.tie_break
    )
    told = learn_by_asking(SenderProblem.of(game), RationalReceiver(game), QUICK)
    hidden = Scripted(other, game.receiver_utility)
    untold = learn_by_asking(SenderProblem.of(other), hidden, QUICK)
    assert torch.equal(told.policies, untold.policies)
    assert hidden.queries == untold.queries


def test_it_ends_where_nobody_promises_more() -> None:
    game = random_matrix_game(2, 2, seed=100)
    patient = learn(game, queries=60)
    assert patient.converged
    assert patient.queries < 60
    assert not learn(game, queries=10, tolerance=0).converged
    assert learn(game, queries=10, tolerance=0).queries == 10


def test_determinism() -> None:
    game = random_matrix_game(3, 3, seed=100)
    torch.manual_seed(5)
    first, state = learn(game, queries=14, steps=30), torch.get_rng_state()
    torch.manual_seed(5)
    assert torch.equal(torch.get_rng_state(), state)
    assert learn(game, queries=14, steps=30).utilities == first.utilities
    assert learn(game, seed=1, queries=14, steps=30).utilities != first.utilities


def test_a_receiver_who_errs() -> None:
    game = random_matrix_game(4, 4, seed=101)
    receiver = QuantalReceiver(game, 200.0)
    found = learn_by_asking(SenderProblem.of(game), receiver, FEW)
    assert found.utility >= 0.9 * dnl.optimal_persuasion(game).utility
    assert found.predicted == pytest.approx(found.utility, rel=0.02)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"queries": 9}, "queries must be an integer of at least 10, got 9"),
        ({"members": 0}, "members must be an integer of at least 1, got 0"),
        ({"lr": -1.0}, "lr must be finite and above 0, got -1"),
        ({"tolerance": float("nan")}, "tolerance must be finite and at least 0, got nan"),
        ({"margins": ()}, r"margins must hold numbers between -1 and 1, got \(\)"),
        ({"margins": (2.0,)}, r"margins must hold numbers between -1 and 1, got \(2.0,\)"),
    ],
)
def test_bad_configurations(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(FEW, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prior": [0.5, 0.6]}, "prior must sum to 1"),
        ({"prior": [0.5, 0.25, 0.25]}, r"prior must have shape \(S,\)"),
        ({"utility": [[1.0, float("nan")], [0, 0]]}, "utility must be finite"),
        ({"utility": [1.0, 2.0]}, r"utility must have shape \(S, A\)"),
        ({"n_signals": 0}, "n_signals must be an integer of at least 1, got 0"),
    ],
)
def test_bad_problems(changes: dict[str, Any], message: str) -> None:
    right: dict[str, Any] = {"prior": [0.5, 0.5], "utility": [[1, 0], [0, 1]], "n_signals": 2}
    assert SenderProblem(**right).prior.dtype == torch.float64
    with pytest.raises(ValueError, match=message):
        SenderProblem(**(right | changes))


def test_wrong_objects_are_named() -> None:
    game = random_matrix_game(2, 2, seed=0)
    problem, receiver = SenderProblem.of(game), RationalReceiver(game)
    with pytest.raises(ValueError, match="problem must be a SenderProblem, got PersuasionGame"):
        learn_by_asking(game, receiver)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="receiver must be a BaseReceiver, got PersuasionGame"):
        learn_by_asking(problem, game)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="config must be an AskingConfig, got 3"):
        learn_by_asking(problem, receiver, 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="margins must be a tuple or a list"):
        AskingConfig(margins=0.03)  # type: ignore[arg-type]
    interview = Interview(problem, receiver)
    with pytest.raises(ValueError, match=r"policies must be a tensor \(B, 1, S, M\)"):
        interview.ask(game.sample_policies(1)[0])
    assert receiver.queries == 0


def test_a_forecast_is_no_lucky_answer() -> None:
    forecasts, truths = [], []
    for seed in range(4):
        game = random_matrix_game(4, 4, seed)
        receiver = BanditReceiver(game, visits=50, seed=seed)  # far from settled
        config = AskingConfig(queries=20, steps=20)
        found = learn_by_asking(SenderProblem.of(game), receiver, config, seed)
        again = receiver.respond(found.policies.expand(30, -1, -1, -1))
        value = SenderProblem.of(game).value(found.policies.expand(30, -1, -1, -1), again)
        forecasts += [found.predicted, found.utility]
        truths += [value.mean().item()] * 2
        assert max(found.utilities) > value.mean() + 0.02  # the best answer was a lucky one
    errors = torch.tensor(forecasts) - torch.tensor(truths)
    assert errors.mean().abs() < 0.02


class Moody(BaseReceiver):
    """Obeys, but from the fourth asking on always acts as on the prior, unless fully informed."""

    asked = 0

    def _settle(self, policies: Tensor) -> Tensor:
        right = RationalReceiver(self.game).respond(policies)
        for b, policy in enumerate(policies):
            if ((policy > 0) & (policy < 1)).any():
                self.asked += 1
                if self.asked > 3:
                    on_prior = (self.game.prior @ self.game.receiver_utility).argmax()
                    right[b] = torch.eye(2).to(right)[on_prior] * right[b].sum(-1, keepdim=True)
        return right


@pytest.mark.parametrize(("answers", "lucky"), [(1, True), (2, False), (3, False)])
def test_finalists_must_stand_their_worst_answer(answers: int, lucky: bool) -> None:
    game = prosecutor_game("senders")
    interview = Interview(SenderProblem.of(game), Moody(game))
    best = dnl.optimal_persuasion(game).policies
    steady = torch.eye(2, dtype=torch.float64).unsqueeze(0)
    _, (promised, _, safe) = interview.ask(torch.stack([best, best, steady]))
    assert promised > safe
    chosen = _confirmed(interview, 2, answers)
    assert torch.equal(chosen, best if lucky else steady)
    assert len(interview.utilities) == 3 + 2 * answers  # two finalists, one of them asked before


def test_what_is_asked_again_is_within_the_budget() -> None:
    game = random_matrix_game(3, 3, seed=100)
    config = AskingConfig(queries=22, answers=4, steps=20)
    assert config.reserved == 17
    found = learn_by_asking(SenderProblem.of(game), RationalReceiver(game), config)
    assert found.queries == 22
    assert found.utilities[-5:] == (found.utility,) * 5  # a rational receiver says the same again
    assert found.predicted == pytest.approx(found.utility)
    with pytest.raises(ValueError, match="queries must be an integer of at least 22, got 21"):
        replace(config, queries=21)
    with pytest.raises(ValueError, match="answers must be an integer of at least 1, got 0"):
        replace(config, answers=0)


def test_bad_arguments() -> None:
    few = random_matrix_game(3, 3, seed=0, n_signals=2)
    with pytest.raises(ValueError, match="a message for every action, got 2 messages for 3"):
        learn(few)
    with pytest.raises(ValueError, match="seed must be an integer of at least 0, got -1"):
        learn(random_matrix_game(3, 3, seed=0), seed=-1)
