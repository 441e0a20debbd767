"""Policies and reactions as a person would tell them: what each sender says, what it leads to.

Signals of a sender that have the same likelihood ratios between the states are one *message*: they
lead to the same posterior whatever the others say. Joint messages that lead to the same posterior
and the same action are one *case*.

Merging is exact but for rounding: the joint distribution of state and action stays within
`SAME` of the simulator's, else signals are not merged.

Shapes: `N` senders, `S` states, `M` signals, `L` messages of a sender, `C` joint messages.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dnl.reporting.reactions import (
    MAX_JOINT_MESSAGES,
    SAME,
    Case,
    JointMessages,
    cases,
    joint_messages,
    same_rows,
)
from games import PersuasionGame


@dataclass(frozen=True, eq=False)
class Message:
    """What a sender says with any of some signals.

    Attributes:
        signals: that have the same likelihood ratios.
        policy: `(S,)`: probability in each state that it is one of them.
        probability: the same over all states.
        action: that follows whatever the others say; None where several may.
        name: for texts and figures; a sender's messages have different names.
    """

    signals: tuple[int, ...]
    policy: Tensor
    probability: float
    action: int | None = None
    name: str = ""


@dataclass(frozen=True, eq=False)
class Speaker:
    """What one sender says.

    Attributes:
        name: of the sender.
        messages: in the order of their first signals.
        unsent: signals of probability 0.
        reveals: whether each message is sent in one possible state only.
        prior: `(S,)`.
    """

    name: str
    messages: tuple[Message, ...]
    unsent: tuple[int, ...]
    reveals: bool
    prior: Tensor

    @property
    def is_silent(self) -> bool:
        """Whether it says the same in all states."""
        return len(self.messages) == 1

    @property
    def mixes(self) -> bool:
        """Whether it says several things in one state."""
        sent = torch.stack([message.policy > 0 for message in self.messages])  # (L, S)
        possible = self.prior > 0
        return bool((sent[:, possible].sum(0) > 1).any())

    def says_what(self, other: "Speaker") -> bool:
        """Whether both say the same with the same signals, up to `SAME`."""
        return [m.signals for m in self.messages] == [m.signals for m in other.messages] and all(
            bool(((mine.policy - its.policy)[self.prior > 0].abs() <= SAME).all())
            for mine, its in zip(self.messages, other.messages, strict=True)
        )


@dataclass(frozen=True, eq=False)
class Account:
    """What the senders say in a profile, and what the receiver does.

    Attributes:
        speakers: one per sender.
        cases: likeliest first; None where more than `MAX_JOINT_MESSAGES` may happen.
    """

    speakers: tuple[Speaker, ...]
    cases: tuple[Case, ...] | None


def account(game: PersuasionGame, policies: Tensor) -> Account:
    """Tell the profile `policies (N, S, M)`: messages, and cases grouped by posterior and action.

    Time and memory grow with the number of joint messages of positive probability, not with the
    `M ** N` joint signals, of which at most `MAX_JOINT_MESSAGES` are compared with the simulator.
    """
    game.check_policies(policies)
    game, policies = game.to("cpu", torch.float64), policies.detach().to("cpu", torch.float64)
    merged = [_merged(game.prior, policy) for policy in policies]
    said = joint_messages(game, [_policy(messages) for messages in merged])
    if said is not None and game.n_signals**game.n_senders <= MAX_JOINT_MESSAGES:
        expected = game.stacked().outcome_distribution(policies[None, None])[0, 0]  # (S, A)
        if (said.outcomes(game.n_actions) - expected).abs().sum() > SAME:
            merged = [_unmerged(game.prior, policy) for policy in policies]
            said = joint_messages(game, [_policy(messages) for messages in merged])
    speakers = [
        _speaker(game, n, messages, _following(said, n, len(messages)))
        for n, messages in enumerate(merged)
    ]
    return Account(tuple(speakers), None if said is None else cases(game, said))


def alike(speakers: Sequence[Speaker]) -> list[list[Speaker]]:
    """Groups of speakers that say the same with the same signals."""
    groups: list[list[Speaker]] = []
    for speaker in speakers:
        for group in groups:
            if group[0].says_what(speaker):
                group.append(speaker)
                break
        else:
            groups.append([speaker])
    return groups


# ---------------------------------------------------------------------------------- the messages


def _merged(prior: Tensor, policy: Tensor) -> list[Message]:
    """Messages of one policy `(S, M)`: signals of equal likelihood ratios where the prior is."""
    possible = policy[prior > 0]  # (S', M)
    sent = [m for m in range(policy.shape[1]) if float(possible[:, m].max()) > 0]
    ratios = (possible[:, sent] / possible[:, sent].amax(0)).mT.numpy()  # (sent, S')
    group = same_rows(ratios)
    signals = [
        [m for m, its in zip(sent, group, strict=True) if its == g] for g in dict.fromkeys(group)
    ]
    return [_message(prior, policy, part) for part in signals]


def _unmerged(prior: Tensor, policy: Tensor) -> list[Message]:
    sent = [m for m in range(policy.shape[1]) if float((prior * policy[:, m]).max()) > 0]
    return [_message(prior, policy, [m]) for m in sent]


def _policy(messages: Sequence[Message]) -> Tensor:
    """`(L, S)`."""
    return torch.stack([message.policy for message in messages])


def _message(prior: Tensor, policy: Tensor, signals: Sequence[int]) -> Message:
    total = policy[:, list(signals)].sum(1)
    return Message(tuple(signals), total, float(prior @ total))


def _speaker(
    game: PersuasionGame, sender: int, messages: list[Message], follows: list[int | None]
) -> Speaker:
    possible = game.prior > 0
    sent = {m for message in messages for m in message.signals}
    reveals = all(int((message.policy[possible] > 0).sum()) == 1 for message in messages)
    told = [
        replace(message, action=action) for message, action in zip(messages, follows, strict=True)
    ]
    named = [
        replace(message, name=name)
        for message, name in zip(told, _names(game, told, reveals), strict=True)
    ]
    return Speaker(
        game.labels.senders[sender],
        tuple(named),
        tuple(m for m in range(game.n_signals) if m not in sent),
        reveals,
        game.prior,
    )


def _names(game: PersuasionGame, messages: Sequence[Message], reveals: bool) -> list[str]:
    """The names of signals if the game has any; else the state revealed, the action that follows.

    Messages that lead to one action are numbered.
    """
    signals = [signals_text(game, message.signals) for message in messages]
    if game.signal_names is not None:
        return signals
    if reveals:
        only = [int((game.prior * message.policy).argmax()) for message in messages]
        return [quoted(game.labels.states[s]) for s in only]
    often = Counter(message.action for message in messages)
    used: Counter[int | None] = Counter()
    names = []
    for message, its_signals in zip(messages, signals, strict=True):
        used[message.action] += 1
        if message.action is None:
            names.append(its_signals)
        elif often[message.action] == 1:
            names.append(quoted(game.labels.actions[message.action]))
        else:
            names.append(f"{quoted(game.labels.actions[message.action])} #{used[message.action]}")
    return names


def quoted(name: str) -> str:
    """The name in quotation marks, as something that is said."""
    return f'"{name}"'


def listed(items: Iterable[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    *first, end = items
    return f"{', '.join(first)} {last} {end}" if first else end


def signals_text(game: PersuasionGame, signals: Sequence[int]) -> str:
    """`signal 2`, `signals 0, 3 and 6`, or their names."""
    if game.signal_names is not None:
        return listed((quoted(game.labels.signals[m]) for m in signals), "or")
    return f"signal{'s' if len(signals) > 1 else ''} {listed(map(str, signals))}"


def _following(said: JointMessages | None, sender: int, n_messages: int) -> list[int | None]:
    """For each message the only action that follows it, None where several may."""
    if said is None:
        return [None] * n_messages
    found = []
    for index in range(n_messages):
        actions = said.action[said.messages[:, sender] == index].unique().tolist()
        found.append(actions[0] if len(actions) == 1 else None)
    return found
