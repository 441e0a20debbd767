"""Messages and cases: merging loses nothing, and names say what follows."""

import itertools

import pytest
import torch
from torch import Tensor

from dnl.reporting import messages, reactions
from dnl.reporting.messages import Account, account, alike
from games import PersuasionGame, prosecutor_game, synthetic_game
from tests.cases.reported import NOISE, OPTIMUM, SILENCE, TRUTH, experts, random_profile


def tensor(values: object) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64)


def spread(policy: Tensor, n_signals: int, seed: int) -> Tensor:
    """`policy (S, L)` with every message split over several of `n_signals` shuffled signals."""
    generator = torch.Generator().manual_seed(seed)
    n_messages = policy.shape[1]
    owner = torch.arange(n_signals) % n_messages
    weight = torch.rand(n_signals, generator=generator, dtype=torch.float64) + 0.1
    total = torch.zeros(n_messages, dtype=torch.float64).index_add_(0, owner, weight)
    columns = policy[:, owner] * (weight / total[owner])
    return columns[:, torch.randperm(n_signals, generator=generator)]


def utilities(game: PersuasionGame, told: Account) -> tuple[Tensor, Tensor]:
    """The senders' utilities and the receiver's, from the cases alone."""
    assert told.cases is not None
    senders, receiver = torch.zeros(game.n_senders, dtype=torch.float64), tensor(0.0)
    for case in told.cases:
        mass = case.probability * case.posterior
        senders = senders + game.sender_utility[..., case.action] @ mass
        receiver = receiver + game.receiver_utility[:, case.action] @ mass
    return senders, receiver


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sizes", [(1, 6, 3, 4), (2, 7, 4, 3), (3, 4, 2, 3), (4, 5, 3, 3)])
def test_cases_give_the_utilities_of_the_game(sizes: tuple[int, int, int, int], seed: int) -> None:
    game = synthetic_game(*sizes, seed=seed, law="paper")
    small = PersuasionGame(game.prior, game.receiver_utility, game.sender_utility, 2)
    policies = small.sample_policies(1, torch.Generator().manual_seed(seed))[0]
    policies = torch.stack([spread(policy, sizes[1], seed) for policy in policies])
    told = account(game, policies)
    assert [len(speaker.messages) for speaker in told.speakers] == [2] * sizes[0]
    assert told.cases is not None
    assert sum(case.probability for case in told.cases) == pytest.approx(1, abs=1e-12)
    senders, receiver = utilities(game, told)
    assert senders.tolist() == pytest.approx(game.ex_ante_utility(policies).tolist(), abs=1e-8)
    expected = game.receiver_ex_ante_utility(policies).item()
    assert receiver.item() == pytest.approx(expected, abs=1e-8)


def test_every_joint_signal_is_in_one_case_with_its_posterior_and_action() -> None:
    found = random_profile((3, 3, 2, 3))
    policies = found.policies.clone()
    policies[1] = policies[1, :, [0]] * tensor([[0.3, 0.7, 0.0]]) + policies[1, :, [1, 2]].sum(
        1, keepdim=True
    ) * tensor([[0.0, 0.0, 1.0]])
    told = account(found.game, policies)
    assert [m.signals for m in told.speakers[1].messages] == [(0, 1), (2,)]
    assert told.cases is not None
    owner = [
        {signal: k for k, message in enumerate(speaker.messages) for signal in message.signals}
        for speaker in told.speakers
    ]
    listed = reactions.reactions(found.game, policies)
    share = [0.0] * len(told.cases)
    for one in listed:
        said = [of[signal] for of, signal in zip(owner, one.signals, strict=True)]
        (place,) = [k for k, case in enumerate(told.cases) if said in case.messages.tolist()]
        case = told.cases[place]
        assert case.action == one.action
        assert case.posterior.tolist() == pytest.approx(one.posterior.tolist(), abs=1e-9)
        share[place] += one.probability
    assert share == pytest.approx([case.probability for case in told.cases], abs=1e-12)
    assert share == sorted(share, reverse=True)


def test_likelihoods_that_differ_by_more_than_rounding_stay_apart() -> None:
    game = prosecutor_game()
    for gap, count in ((0.0, 1), (1e-11, 1), (1e-6, 2)):
        told = account(game, tensor([[[0.5, 0.5], [0.5 + gap, 0.5 - gap]]]))
        assert len(told.speakers[0].messages) == count


def test_signals_are_not_merged_across_a_change_of_action() -> None:
    # Likelihoods 0.8e-9 apart would be rounding. But at one signal the receiver loses 0.9e-9 by
    # action 1, which its tie rule takes, and at the other 1.3e-9, where it does not.
    game = PersuasionGame([0.5, 0.5], TRUTH, [[[0.0, 1.0]] * 2], 3, "senders")
    assert game.tie_slacks[0] == pytest.approx(1e-9)
    near, far = 0.5 - 0.9e-9, 0.5 - 1.3e-9
    policies = tensor([[[0.5, 0.5, 0.0], [near, far, 1 - near - far]]])
    told = account(game, policies)
    assert [message.signals for message in told.speakers[0].messages] == [(0,), (1,), (2,)]
    assert [message.action for message in told.speakers[0].messages] == [1, 0, 1]
    senders, _ = utilities(game, told)
    assert senders.tolist() == pytest.approx(game.ex_ante_utility(policies).tolist(), abs=1e-12)


def test_states_that_never_happen_do_not_matter() -> None:
    game = PersuasionGame([0.7, 0.3, 0.0], [[1.0, 0.0], [0.0, 1.0], [0, 0]], [[[0.0, 1.0]] * 3], 3)
    told = account(game, tensor([[[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]]))
    assert told.speakers[0].is_silent
    assert told.speakers[0].unsent == (2,)
    told = account(game, tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.3, 0.3, 0.4]]]))
    assert told.speakers[0].reveals


def test_messages_are_named_by_what_follows() -> None:
    told = account(prosecutor_game(), tensor([OPTIMUM]))
    assert [message.name for message in told.speakers[0].messages] == ['"acquit"', '"convict"']
    assert [message.action for message in told.speakers[0].messages] == [0, 1]


def test_messages_that_lead_to_one_action_are_numbered() -> None:
    policy = tensor([[0.6, 0.4, 0.0], [0.4, 0.4, 0.2], [0.0, 0.0, 1.0]])
    told = account(experts(), torch.stack([policy, torch.full((3, 3), 1 / 3).double()]))
    names = [message.name for message in told.speakers[0].messages]
    assert names == ['"approve" #1', '"approve" #2', '"reject"']
    assert told.speakers[1].is_silent


def test_messages_that_lead_to_several_actions_are_called_by_their_signals() -> None:
    policy = tensor([[0.4, 0.4, 0.2], [0.1, 0.1, 0.8], [0.05, 0.05, 0.9]])
    other = tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    message = account(experts(), torch.stack([policy, other])).speakers[0].messages[0]
    assert (message.signals, message.action, message.name) == ((0, 1), None, "signals 0 and 1")


def test_names_of_signals_come_first() -> None:
    game = PersuasionGame([0.7, 0.3], TRUTH, [[[0.0, 1.0]] * 2], 2, signal_names=["low", "high"])
    told = account(game, tensor([OPTIMUM]))
    assert [message.name for message in told.speakers[0].messages] == ['"low"', '"high"']


def test_a_sender_that_reveals_names_the_states() -> None:
    told = account(experts(), torch.eye(3).double().expand(2, 3, 3))
    assert told.speakers[0].reveals
    names = [message.name for message in told.speakers[0].messages]
    assert names == ['"it works"', '"it works for some"', '"it has no effect"']
    assert [[one.name for one in group] for group in alike(told.speakers)] == [
        ["the producer", "the competitor"]
    ]


def test_the_next_best_action_and_ties() -> None:
    told = account(prosecutor_game(), tensor([OPTIMUM]))
    assert told.cases is not None
    convict, acquit = told.cases
    assert (convict.action, convict.tied, convict.next_best) == (1, (0,), 0)
    assert convict.loss == pytest.approx(0, abs=1e-12)
    assert (acquit.action, acquit.tied, acquit.next_best, acquit.loss) == (0, (), 1, 1.0)
    assert (convict.is_close, acquit.is_close) == (True, False)
    alone = PersuasionGame([0.5, 0.5], [[1.0]] * 2, [[[1.0]] * 2], 2)
    told = account(alone, tensor([NOISE]))
    assert told.cases is not None
    assert told.cases[0].next_best is None


def test_silent_senders_do_not_multiply_the_work() -> None:
    n_senders, n = 12, 10  # 10 ** 12 joint signals
    generator = torch.Generator().manual_seed(0)
    v, u = torch.randn(n, n, generator=generator), torch.randn(n_senders, n, n, generator=generator)
    game = PersuasionGame(torch.full((n,), 1 / n), v, u, n)
    policies = torch.full((n_senders, n, n), 1 / n, dtype=torch.float64)
    policies[3] = 0.5 * torch.eye(n) + 0.05
    told = account(game, policies)
    assert told.cases is not None
    assert len(told.cases) == n
    policies[:] = policies[3]
    assert account(game, policies).cases is None


def test_impossible_joint_messages_do_not_count() -> None:
    n = 30  # full revelation by four senders: 30 of 810,000 joint signals are possible
    game = PersuasionGame(torch.full((n,), 1 / n), torch.eye(n), torch.ones(4, n, n), n)
    told = account(game, torch.eye(n).double().expand(4, n, n))
    assert told.cases is not None
    assert len(told.cases) == n


@pytest.mark.parametrize("rows", [1, 50])
def test_rows_are_grouped_up_to_rounding(rows: int) -> None:
    base = torch.rand(rows, 3, generator=torch.Generator().manual_seed(0)).double()
    near = torch.cat([base, base + 4e-10, base - 4e-10])
    groups = reactions.same_rows(near.numpy())
    assert groups == groups[:rows] * 3
    assert len(set(groups)) == rows


@pytest.mark.parametrize(
    ("items", "text"), [(["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_lists_in_words(items: list[str], text: str) -> None:
    assert messages.listed(items) == text


def test_policies_that_are_silent_in_another_way() -> None:
    for policy in (SILENCE, NOISE, [[0.2, 0.8]] * 2):
        assert account(prosecutor_game(), tensor([policy])).speakers[0].is_silent
    for one, two in itertools.combinations((TRUTH, SILENCE, OPTIMUM), 2):
        told = account(prosecutor_game(), tensor([one])), account(prosecutor_game(), tensor([two]))
        assert not told[0].speakers[0].says_what(told[1].speakers[0])
