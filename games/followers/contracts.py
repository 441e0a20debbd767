"""Hidden-action contracts: a principal promises wages per outcome, an agent chooses an action.

The setting of Wang et al. (2023), "Deep contract design via discontinuous networks". The principal
cannot see the action; wages are never negative (limited liability) and here never above a maximum.

Shapes: `B` contracts, `O` outcomes, `A` actions of the agent.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from games import checks
from games.checks import Array
from games.contested import first_contested
from games.followers.base import MAX_DRAWS, BaseFollowerGame, is_contested
from games.randomness import stream
from games.surroundings import contract

REWARD_SCALE = 10.0


@dataclass(frozen=True, eq=False, init=False, repr=False)
class ContractGame(BaseFollowerGame):
    """One principal who promises a wage for each outcome, and an agent.

    A contract is a profile `(1, S, M)` with `S = O` rows and `M = 2`: the first entry of row o is
    the share of `max_wage` that is paid for outcome o. The agent takes the action of the highest
    expected wage less cost, the lowest index where tied; the principal gets the expected reward
    less the wage. An agent who may refuse has an action of cost 0.

    Args:
        outcome_probabilities: `(A, O)`, a distribution over outcomes per action.
        costs: `(A,)`, the agent's, at least 0.
        rewards: `(O,)`, the principal's.
        max_wage: above 0.

    Raises:
        ValueError: naming the argument that is malformed, and what came.

    Example:
        >>> game = ContractGame([[0.8, 0.2], [0.2, 0.8]], [0, 1.5], [0, 10], max_wage=10)
        >>> game.ex_ante_utility(torch.tensor([[[0.0, 1.0], [0.26, 0.74]]], dtype=torch.float64))
        tensor([5.9200], dtype=torch.float64)
    """

    outcome_probabilities: Tensor
    costs: Tensor
    rewards: Tensor
    max_wage: float

    def __init__(
        self, outcome_probabilities: Array, costs: Array, rewards: Array, max_wage: float
    ) -> None:
        probabilities = checks.as_float_tensor("outcome_probabilities", outcome_probabilities)
        costs = checks.as_float_tensor("costs", costs)
        rewards = checks.as_float_tensor("rewards", rewards)
        if probabilities.ndim != 2 or 0 in probabilities.shape:
            raise checks.shape_error(
                "outcome_probabilities", "(A, O)", ("A >= 1", "O >= 1"), probabilities
            )
        checks.distributions("outcome_probabilities", probabilities)
        n_actions, n_outcomes = probabilities.shape
        if costs.shape != (n_actions,):
            raise checks.shape_error("costs", "(A,)", (n_actions,), costs)
        if (costs < 0).any():
            raise ValueError(f"costs must not be negative, got {checks.shown(costs)}")
        if rewards.shape != (n_outcomes,):
            raise checks.shape_error("rewards", "(O,)", (n_outcomes,), rewards)
        max_wage = checks.positive_number("max_wage", max_wage)
        probabilities, costs, rewards = checks.common_dtype(probabilities, costs, rewards)
        self._set(
            outcome_probabilities=probabilities, costs=costs, rewards=rewards, max_wage=max_wage
        )

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """`(N, M, S, A) = (1, 2, O, A)`."""
        n_actions, n_outcomes = self.outcome_probabilities.shape
        return 1, 2, n_outcomes, n_actions

    @cached_property
    def payoff_range(self) -> Tensor:
        """`(1,)`: an upper bound, as if any action could be had at any wages."""
        reward = contract("ao,o->a", self.outcome_probabilities, self.rewards)
        return (reward.amax() - reward.amin() + self.max_wage).unsqueeze(0)

    @cached_property
    def follower_range(self) -> float:
        """Highest wage at the least cost, less no wage at the highest cost."""
        return self.max_wage + (self.costs.amax() - self.costs.amin()).item()

    def wages(self, policies: Array) -> Tensor:
        """The wage of every outcome: `(..., 1, O, 2) -> (..., O)`."""
        policies = checks.as_tensor("policies", policies)
        return self.max_wage * policies[..., 0, :, 0]

    def _scores(self, policies: Tensor) -> Tensor:
        probabilities, costs = self.outcome_probabilities.to(policies), self.costs.to(policies)
        return self.wages(policies) @ probabilities.T - costs

    def _utility(self, policies: Tensor, action: Tensor) -> Tensor:
        profit = self.rewards.to(policies) - self.wages(policies)  # (B, O)
        taken = self.outcome_probabilities.to(policies)[action]  # (B, O)
        return (taken * profit).sum(-1, keepdim=True)


def random_contract_game(n_actions: int, n_outcomes: int, seed: int) -> ContractGame:
    """A random contract game, by a law of ours.

    Outcome probabilities are the softmax of standard normals, rewards uniform on [0, 10], the
    maximal wage is the highest reward. An action costs a share, uniform on [0, 1], of what it
    yields in expectation above the least productive action, which therefore costs 0: the agent
    participates at no wage at all. Redrawn until the agent's choice is contested: its most
    frequent action is taken in at most 99 % of 1,024 random contracts.

    Args:
        n_actions, n_outcomes: at least 2 each.
        seed: the instance; same sizes and seed give the same game, in float64 on the CPU.

    Raises:
        ValueError: for a size below 2 or a seed that is no integer of at least 0.
    """
    checks.positive_integer("n_actions", n_actions, least=2)
    checks.positive_integer("n_outcomes", n_outcomes, least=2)
    checks.positive_integer("seed", seed, least=0)
    generator = stream("game", "contract", n_actions, n_outcomes, seed)

    def draw() -> ContractGame:
        logits = torch.randn(n_actions, n_outcomes, dtype=torch.float64, generator=generator)
        probabilities = logits.softmax(1)
        rewards = REWARD_SCALE * torch.rand(n_outcomes, dtype=torch.float64, generator=generator)
        shares = torch.rand(n_actions, dtype=torch.float64, generator=generator)
        product = probabilities @ rewards  # (A,)
        costs = shares * (product - product.amin())
        return ContractGame(probabilities, costs, rewards, rewards.amax().item())

    return first_contested(draw, is_contested, generator, MAX_DRAWS)
