"""Multi-sender persuasion games as immutable values.

The model is section 2 of "Multi-Sender Persuasion: A Computational Perspective": senders commit to
policies, one receiver sees all signals, updates by Bayes and takes an optimal action.

Shapes: `B` profiles, `G` games, `N` senders, `S` states, `M` signals, `A` actions, `K = M**N` joint
signals in row-major order, sender 0 slowest.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from games import checks
from games.checks import Array
from games.files import read_record, write_text
from games.persuasion import estimation, optimal_actions, simulation
from games.persuasion.checked_tables import checked_tables
from games.persuasion.estimation import UtilityEstimate
from games.persuasion.game_stack import GameStack
from games.persuasion.labels import NAMES, Labels, numbered, shown
from games.randomness import generator_of
from games.value import GameValue

TIE_BREAKS = ("first", "senders")
NEEDED = ("prior", "receiver_utility", "sender_utility", "n_signals")  # keys of a saved game
OPTIONAL = ("tie_break", *NAMES)


@dataclass(frozen=True, eq=False, init=False)
class PersuasionGame(GameValue):
    """Several senders, one receiver, finitely many states, signals and actions.

    Args:
        prior: `(S,)`, the common prior over states; sums to 1 within 1e-6 and is then normalised.
        receiver_utility: `(S, A)`.
        sender_utility: `(N, S, A)`.
        n_signals: `M`, signals of each sender.
        tie_break: whom the receiver favours among optimal actions: `"first"` takes the lowest
            index, `"senders"` the highest expected sum of sender utilities. Actions tie within 1e-9
            (float32: 1e-6) of the receiver's expected utility range (`tie_units`).
        state_names, action_names, sender_names, signal_names: what to call them in reports, figures
            and messages: `S`, `A`, `N` and `M` different strings, or None. See `labels`.
            `dataclasses.replace` keeps them, so give it None for names that no longer fit.

    Arrays become float64 tensors (float32 tensors stay float32) that share no memory with the
    arguments. Do not edit them: the game is a value, equal to another where the first five
    arguments are equal. Names change neither a number nor `==`.

    Raises:
        ValueError: naming the argument that is malformed, and what came.

    Example:
        >>> game = PersuasionGame([0.7, 0.3], [[1, 0], [0, 1]], [[[0, 1], [0, 1]]], n_signals=2)
        >>> game.no_information()
        tensor([0.], dtype=torch.float64)
    """

    prior: Tensor
    receiver_utility: Tensor
    sender_utility: Tensor
    n_signals: int
    tie_break: str
    state_names: tuple[str, ...] | None = None
    action_names: tuple[str, ...] | None = None
    sender_names: tuple[str, ...] | None = None
    signal_names: tuple[str, ...] | None = None

    def __init__(
        self,
        prior: Array,
        receiver_utility: Array,
        sender_utility: Array,
        n_signals: int,
        tie_break: str = "first",
        *,
        state_names: Sequence[str] | None = None,
        action_names: Sequence[str] | None = None,
        sender_names: Sequence[str] | None = None,
        signal_names: Sequence[str] | None = None,
    ) -> None:
        prior, v, u = checked_tables(prior, receiver_utility, sender_utility)
        n_signals = checks.positive_integer("n_signals", n_signals)
        checks.one_of("tie_break", tie_break, TIE_BREAKS)
        self._set(
            prior=prior,
            receiver_utility=v,
            sender_utility=u,
            n_signals=n_signals,
            tie_break=tie_break,
            state_names=checks.names("state_names", state_names, len(prior)),
            action_names=checks.names("action_names", action_names, v.shape[1]),
            sender_names=checks.names("sender_names", sender_names, len(u)),
            signal_names=checks.names("signal_names", signal_names, n_signals),
        )

    def __repr__(self) -> str:
        given = {name: getattr(self, name) for name in NAMES}
        names = [f", {name}={shown(value)}" for name, value in given.items() if value]
        return (
            f"PersuasionGame(n_senders={self.n_senders}, n_signals={self.n_signals}, "
            f"n_states={self.n_states}, n_actions={self.n_actions}, tie_break={self.tie_break!r}"
            f"{''.join(names)})"
        )

    # ------------------------------------------------------------------------------------- names

    @cached_property
    def labels(self) -> Labels:
        """What to call states, actions, senders and signals: their names, or `"state 0"` etc."""
        return Labels(
            states=self.state_names or numbered("state", self.n_states),
            actions=self.action_names or numbered("action", self.n_actions),
            senders=self.sender_names or numbered("sender", self.n_senders),
            signals=self.signal_names or numbered("signal", self.n_signals),
        )

    def sender_index(self, sender: int | str) -> int:
        """The index of a sender that is given by its index or by its name.

        Raises:
            ValueError: if there is no such sender.
        """
        return checks.index("sender", sender, self.n_senders, self.sender_names)

    def arguments(self) -> dict[str, object]:
        """The constructor's arguments as JSON values, numbers exact; names only where given."""
        return {name: value for name, value in super().arguments().items() if value is not None}

    def _defining(self) -> dict[str, object]:
        return {name: value for name, value in self.arguments().items() if name not in NAMES}

    # ----------------------------------------------------------------------------------- sizes

    @property
    def n_senders(self) -> int:
        """`N`."""
        return self.sender_utility.shape[0]

    @property
    def n_states(self) -> int:
        """`S`."""
        return self.prior.shape[0]

    @property
    def n_actions(self) -> int:
        """`A`."""
        return self.receiver_utility.shape[1]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """`(N, M, S, A)`: games of equal shape can be stacked."""
        return self.n_senders, self.n_signals, self.n_states, self.n_actions

    @cached_property
    def possible_actions(self) -> Tensor:
        """`(A,)` bool: actions that some belief over the possible states makes optimal."""
        prior, v, _ = self._arrays()
        kept = optimal_actions.ever_optimal(prior, v)
        return torch.from_numpy(kept).to(self.prior.device)

    @cached_property
    def payoff_range(self) -> Tensor:
        """`(N,)`: how much the receiver's action can matter to each sender, the unit of gains.

        `sum_s mu(s) (max_a u_n(s, a) - min_a u_n(s, a))`, the maximum and minimum over
        `possible_actions`. What never happens does not count: neither a state of probability 0 nor
        an action that is never optimal. At most the highest minus the lowest utility in the table.
        """
        prior, _, u = self._arrays()
        kept = self.possible_actions.cpu().numpy()
        ranges = [optimal_actions.payoff_range(prior, table[:, kept]) for table in u]
        return torch.tensor(ranges, dtype=self.prior.dtype, device=self.prior.device)

    def tie_units(self, dtype: torch.dtype) -> tuple[float, ...]:
        """The ranges of which the tie tolerance is a fraction, one for each of `criteria`.

        As in `payoff_range`, only states and actions that can occur count. Differences that are
        due to rounding to `dtype` count as ties.
        """
        prior, v, u = self._arrays()
        kept = self.possible_actions.cpu().numpy()
        tables = [v] if self.tie_break == "first" else [v, u.sum(0)]
        return tuple(optimal_actions.tie_unit(prior, table[:, kept], dtype) for table in tables)

    @cached_property
    def criteria(self) -> tuple[Tensor, ...]:
        """What the receiver compares in turn, `(S, A)` each.

        First its own utility, then, with the rule `"senders"`, the sum of theirs.
        """
        if self.tie_break == "first":
            return (self.receiver_utility,)
        return self.receiver_utility, self.sender_utility.sum(0)

    @cached_property
    def tie_slacks(self) -> tuple[float, ...]:
        """How far from the best an action ties, for each of `criteria`, at a certain signal."""
        dtype = self.prior.dtype
        return tuple(simulation.TIE_TOLERANCE[dtype] * unit for unit in self.tie_units(dtype))

    def action_at(self, mass: Array) -> Tensor:
        """The receiver's action at joint signals, in the game's dtype and by its tie rule.

        Args:
            mass: `(..., S)`: probability of each state together with the joint signal.

        Returns:
            `(...)` int64.

        Raises:
            ValueError: if `mass` holds another number of states.
        """
        mass = checks.as_tensor("mass", mass).to(self.prior)
        if mass.shape[-1:] != self.prior.shape:
            raise checks.shape_error("mass", "(..., S)", ("...", self.n_states), mass)
        return self.action_of([mass @ table for table in self.criteria], mass.sum(-1))

    def action_of(self, scores: Sequence[Tensor], mass: Tensor) -> Tensor:
        """`action_at`, from what is known of the joint signals.

        Args:
            scores: `(..., A)` for each of `criteria`, expected values times `mass`.
            mass: `(...)`, probability of each joint signal.
        """
        slacks = [slack * mass.clamp_min(0) for slack in self.tie_slacks]
        return simulation.optimal_action(list(zip(scores, slacks, strict=True)), -1)

    def _arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Prior, receiver's and senders' utilities in float64 for numpy; the prior sums to 1."""
        prior, v, u = (tensor.double().cpu().numpy() for tensor in self._tensors())
        return prior / prior.sum(), v, u

    # ------------------------------------------------------------------------------ simulation

    def ex_ante_utility(self, policies: Array) -> Tensor:
        """Senders' expected utilities: `(B, N, S, M) -> (B, N)`, or `(N, S, M) -> (N,)`.

        Definition 1 of the paper, in the dtype and on the device of `policies`. Differentiable in
        `policies` where the receiver's actions do not change; the jumps carry no gradient.

        Raises:
            ValueError: if `policies` has the wrong shape or holds rows that are no distributions.
        """
        batch, single = self._batch(policies)
        utilities = self.stacked().ex_ante_utility(batch.unsqueeze(0), check=False)[0]
        return utilities[0] if single else utilities

    def estimate_ex_ante_utility(
        self,
        policies: Array,
        draws: int,
        generator: torch.Generator | None = None,
        *,
        seed: int | None = None,
        confidence: float = 0.95,
    ) -> UtilityEstimate:
        """Estimate senders' utilities where there are too many joint signals to enumerate.

        Joint signals are drawn with their own probabilities; the receiver's action and the
        expectation over states are exact at each (see `games.persuasion.estimation`). A poor
        choice where `ex_ante_utility` takes no longer. Not differentiable.

        Args:
            policies: `(B, N, S, M)` or `(N, S, M)`.
            draws: joint signals drawn per profile, at least 2. All profiles share the random
                numbers, so a profile's estimate does not depend on which others are estimated.
            generator: a CPU generator.
            seed: of a generator of its own, instead. Without either, torch's global one is used.
            confidence: with which each interval holds, above 0 and below 1, for any number of
                draws (empirical Bernstein inequality, Maurer and Pontil 2009).

        Returns:
            `utility` and `half_width`, `(B, N)` or `(N,)`, in the dtype and on the device of
            `policies`.

        Raises:
            ValueError: for malformed policies, or draws or a confidence out of range.

        Example:
            >>> game = PersuasionGame([0.7, 0.3], [[1, 0], [0, 1]], [[[0, 1], [0, 1]]] * 8, 10)
            >>> policies = game.sample_policies(1, seed=0)[0]
            >>> found = game.estimate_ex_ante_utility(  # 10**8 joint signals
            ...     policies, 10_000, seed=1, confidence=0.99
            ... )
            >>> bool((found.half_width < 0.03).all())
            True
        """
        batch, single = self._batch(policies)
        draws = checks.positive_integer("draws", draws, least=2)
        confidence = checks.open_share("confidence", confidence)
        generator = generator_of(seed, generator)
        prior, _, u = (tensor[0] for tensor in self.stacked().tensors(batch))
        receiver = self.stacked().receiver(batch)
        attainable = self.sender_utility[:, self.prior > 0][..., self.possible_actions]
        extremes = attainable.amin((1, 2)), attainable.amax((1, 2))
        found = estimation.estimate(
            prior, u, receiver, extremes, batch, draws, confidence, generator
        )
        if not single:
            return found
        return replace(found, utility=found.utility[0], half_width=found.half_width[0])

    def receiver_ex_ante_utility(self, policies: Array) -> Tensor:
        """The receiver's expected utility: `(B, N, S, M) -> (B,)`, or `(N, S, M) -> ()`."""
        batch, single = self._batch(policies)
        outcomes = self.stacked().outcome_distribution(batch.unsqueeze(0), check=False)[0]
        utilities = (outcomes * self.receiver_utility.to(batch)).sum((-2, -1))
        return utilities[0] if single else utilities

    def receiver_action(self, policies: Array) -> Tensor:
        """The action at every joint signal: `(B, N, S, M) -> (B, K)` int64, -1 at probability 0."""
        batch, single = self._batch(policies)
        batch = batch.detach().unsqueeze(0)  # (1, B, N, S, M)
        prior, _, _ = self.stacked().tensors(batch)
        rows = simulation.joint_actions(prior, self.stacked().receiver(batch), batch)
        return rows[0] if single else rows

    def posteriors(self, policies: Array) -> tuple[Tensor, Tensor]:
        """Probabilities and posteriors of the joint signals.

        Args:
            policies: `(B, N, S, M)` or `(N, S, M)`.

        Returns:
            probabilities `(B, K)` and posteriors `(B, K, S)` (rows of zeros where the probability
            is 0), without `B` for one profile. Unlike a simulation this holds all `B * K * S`
            numbers at once.
        """
        batch, single = self._batch(policies)
        joint = simulation.joint_weights(batch) * self.prior.to(batch)  # (B, K, S)
        probability = joint.sum(-1)
        posterior = joint / torch.where(probability > 0, probability, 1.0).unsqueeze(-1)
        return (probability[0], posterior[0]) if single else (probability, posterior)

    def deviation_utility(self, policies: Tensor, sender: int | str, deviations: Tensor) -> Tensor:
        """What `sender` gets from each of its deviations while the others stay.

        Args:
            policies: one profile `(N, S, M)`, or `(B, N, S, M)`.
            sender: index or name of the deviating sender.
            deviations: `(D, S, M)`, or `(B, D, S, M)`: its own policies to try.

        Returns:
            `(D,)` or `(B, D)`: `ex_ante_utility` of the changed profiles.
        """
        batch, tried, single = self._deviations(policies, deviations)
        sender = self.sender_index(sender)
        changed = batch.unsqueeze(1).repeat(1, tried.shape[1], 1, 1, 1)  # (B, D, N, S, M)
        changed[:, :, sender] = tried
        utility = self.ex_ante_utility(changed.flatten(0, 1))[:, sender].view(tried.shape[:2])
        return utility[0] if single else utility

    def deviation_gain(self, policies: Array, sender: int | str, deviations: Array) -> Tensor:
        """What `sender` gains by each deviation over its policy in `policies`, shapes as above.

        More accurate than a difference of utilities, and quicker where there are many deviations,
        close to one another: joint signals at which none of them changes the receiver's action are
        summed once for all. For a handful of them `deviation_utility` is quicker.
        """
        batch, tried, single = self._deviations(policies, deviations)
        sender = self.sender_index(sender)
        mine = torch.zeros(len(batch), dtype=torch.int64, device=batch.device)
        gain = self.stacked().deviation_gain(mine, batch, sender, tried)
        return gain[0] if single else gain

    def _deviations(self, policies: Array, deviations: Array) -> tuple[Tensor, Tensor, bool]:
        """Profiles `(B, N, S, M)`, deviations `(B, D, S, M)`, checked; whether `B` was added."""
        batch, single = self._batch(policies)
        if not isinstance(deviations, Tensor):
            deviations = checks.as_tensor("deviations", deviations).to(batch)
        if deviations.dtype != batch.dtype:
            raise ValueError(
                f"deviations must have the dtype of policies, {batch.dtype}, got {deviations.dtype}"
            )
        tried = deviations.unsqueeze(0) if single else deviations
        expected = (batch.shape[0], "D", self.n_states, self.n_signals)
        if tried.ndim != 4 or (tried.shape[0], *tried.shape[2:]) != (expected[0], *expected[2:]):
            raise checks.shape_error("deviations", "(B, D, S, M)", expected, tried)
        checks.distributions("deviations", tried)
        return batch, tried, single

    def no_information(self) -> Tensor:
        """`(N,)`: senders' utilities when the receiver acts on the prior alone."""
        silent = self.prior.new_full((self.n_senders, self.n_states, 1), 1.0)
        return replace(self, n_signals=1, signal_names=None).ex_ante_utility(silent)

    def stacked(self) -> GameStack:
        """This game as a stack of one."""
        return self._stack

    @cached_property
    def _stack(self) -> GameStack:
        return GameStack((self,))

    # ------------------------------------------------------------------------- moving, storing

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "PersuasionGame":
        """This game on another device or in another dtype (float32 or float64); itself if it is.

        Raises:
            ValueError: for a device that this machine lacks, or another dtype.
        """
        if device is not None:
            device = checks.device("device", device)
        if dtype not in (None, torch.float32, torch.float64):
            raise ValueError(f"dtype must be torch.float32 or torch.float64, got {dtype}")
        moved = self.prior.to(device=device, dtype=dtype)
        if (moved.device, moved.dtype) == (self.prior.device, self.prior.dtype):
            return self
        prior, v, u = (t.to(device=device, dtype=dtype) for t in self._tensors())
        return replace(self, prior=prior, receiver_utility=v, sender_utility=u)

    def save(self, path: str | Path) -> None:
        """Write the constructor's arguments as JSON, numbers exact, whole or not at all."""
        write_text(path, json.dumps(self.arguments(), indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> "PersuasionGame":
        """The game in a JSON file whose keys are the constructor's arguments (float64, CPU).

        Raises:
            OSError: if the file cannot be read.
            ValueError: if it holds no game; the message names the file.
        """
        arguments = read_record(path, NEEDED, OPTIONAL)
        try:
            return cls(**arguments)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def _tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.prior, self.receiver_utility, self.sender_utility


def of_one_sender(game: object) -> PersuasionGame:
    """`game` if it is a `PersuasionGame` of one sender, else a ValueError."""
    if not isinstance(game, PersuasionGame) or game.n_senders != 1:
        raise ValueError(f"game must be a PersuasionGame of one sender, got {checks.shown(game)}")
    return game
