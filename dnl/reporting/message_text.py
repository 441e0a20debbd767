"""What the senders say and what the receiver does, in words and small tables."""

from collections.abc import Sequence
from itertools import islice
from math import prod

import torch
from torch import Tensor

from dnl.reporting.messages import Account, Speaker, alike, listed, quoted, signals_text
from dnl.reporting.reactions import MAX_JOINT_MESSAGES, Case
from dnl.reporting.text_tables import entries, number, paragraph, probability, table
from games import PersuasionGame

MAX_CASES = 12  # cases shown, the likeliest first
MAX_STATES = 9  # most states of which all are shown in a posterior
LIKELIEST = 4  # states shown of a posterior over more
MAX_MESSAGES = 12  # of a sender, in a table of probabilities
MAX_COMBINATIONS = 4  # combinations of messages shown of one case

_TIES = {
    "first": "the rule 'first' takes the action that the game lists first",
    "senders": "the rule 'senders' takes the action with the highest sum of senders' utilities",
}


def policies_text(game: PersuasionGame, told: Account) -> str:
    """What each sender says, senders of one policy together.

    One line for senders that say nothing or everything, a list of sets of states for those that
    mix in no state, otherwise a table.
    """
    text, was_short = "What the senders say", False
    if (game.prior == 0).any():
        text += " in the states that happen (those of prior 0 are left out)"
    for group in alike(told.speakers):
        is_short = group[0].is_silent or group[0].reveals
        text += ("\n" if was_short and is_short else "\n\n") + _policy(game, group)
        was_short = is_short
    return text


def _policy(game: PersuasionGame, group: Sequence[Speaker]) -> str:
    speaker, plural = group[0], len(group) > 1
    who = listed(one.name for one in group)
    never = f" It never sends {signals_text(game, speaker.unsent)}." if speaker.unsent else ""
    if plural:
        never = never.replace("It never sends", "They never send")
    if speaker.is_silent:
        verb = "say" if plural else "says"
        return paragraph(f"{who} {verb} nothing: {_silence(game, speaker, plural)}", 2, 4)
    signals = [signals_text(game, message.signals) for message in speaker.messages]
    states = [_states(game, message.policy) for message in speaker.messages]
    if speaker.reveals:
        pairs = listed(f"{sent} in {its}" for sent, its in zip(signals, states, strict=True))
        verb = "reveal" if plural else "reveals"
        return paragraph(f"{who} {verb} the state: {pairs}.{never}", 2, 4)
    verb = "each say" if plural else "says"
    named = [sent in message.name for sent, message in zip(signals, speaker.messages, strict=True)]
    if speaker.mixes:
        head = f"{who} {verb} one of {len(states)} messages, with these probabilities:"
        explained = [
            f"{message.name} is {sent}"
            for message, sent, is_named in zip(speaker.messages, signals, named, strict=True)
            if not is_named
        ]
        notes = "; ".join(explained if len(explained) <= MAX_MESSAGES else ())
        notes = (f"{notes}." if notes else "") + never
        body = _policy_table(game, speaker) + (f"\n{paragraph(notes.strip(), 2)}" if notes else "")
    else:
        head = f"{who} {verb} which of these sets contains the state:"
        lines = [
            (
                message.name,
                f"in {its}"
                + ("" if is_named else f" ({sent})")
                + f"; probability {probability(message.probability)}",
            )
            for message, its, sent, is_named in zip(
                speaker.messages, states, signals, named, strict=True
            )
        ]
        body = entries(lines, 4) + (f"\n{paragraph(never.strip(), 4)}" if never else "")
    return f"{paragraph(head, 2, 4)}\n{body}"


def _policy_table(game: PersuasionGame, speaker: Speaker) -> str:
    """Probabilities `(S, L)`; of many messages the likeliest, the others summed."""
    messages = speaker.messages
    titles = [message.name for message in messages]
    table_of = torch.stack([message.policy for message in messages], 1)  # (S, L)
    total = torch.tensor([message.probability for message in messages])
    if len(messages) > MAX_MESSAGES:
        order = total.argsort(descending=True, stable=True)
        shown, rest = order[:MAX_MESSAGES].sort().values, order[MAX_MESSAGES:]
        titles = [*(titles[m] for m in shown.tolist()), f"{len(rest)} others"]
        table_of, total = (
            torch.cat([values[..., shown], values[..., rest].sum(-1, keepdim=True)], -1)
            for values in (table_of, total)
        )
    rows = [
        [game.labels.states[s], probability(game.prior[s]), *map(probability, table_of[s])]
        for s in range(game.n_states)
        if game.prior[s] > 0
    ]
    rows.append(["all states", "1", *map(probability, total)])
    return table(["state", "prior", *titles], rows, kept=2)


def _silence(game: PersuasionGame, speaker: Speaker, plural: bool) -> str:
    (only,) = speaker.messages
    it, sends, their = ("they", "send", "their") if plural else ("it", "sends", "its")
    if len(only.signals) == 1:
        return f"{it} always {sends} {signals_text(game, only.signals)}."
    if speaker.unsent:
        sent = signals_text(game, only.signals)
        return f"{it} {sends} {sent}, each with the same probability in every state."
    return f"each of {their} signals has the same probability in every state."


def _states(game: PersuasionGame, policy: Tensor) -> str:
    """The possible states in which a message is sent."""
    states = (game.prior * policy).nonzero().flatten().tolist()
    names = [game.labels.states[s] for s in states]
    return listed(names if game.state_names is None else map(quoted, names))


def reactions_text(game: PersuasionGame, told: Account) -> str:
    """What the receiver believes and does in each case, and what its next best action is."""
    if told.cases is None:
        return paragraph(
            "What the receiver does: more than "
            f"{MAX_JOINT_MESSAGES:,} combinations of messages are possible, too many to list."
        )
    shown, rest = told.cases[:MAX_CASES], told.cases[MAX_CASES:]
    happen, possible = (
        sum(len(case.messages) for case in told.cases),
        prod(len(speaker.messages) for speaker in told.speakers),
    )
    head = "What the receiver does: "
    if possible == 1:
        head += "nobody tells it anything, so it acts on the prior"
    else:
        occur = f"{happen:,} of {possible:,}"
        if happen == possible:
            occur = "both" if happen == 2 else f"all {happen:,}"
        alone = sum(not speaker.is_silent for speaker in told.speakers) == 1
        what = "messages" if alone else "combinations of messages"
        head += f"{occur} {what} occur and lead to {len(told.cases):,} different beliefs"
    parts = [paragraph(head), *(_case(game, told.speakers, case) for case in shown)]
    if rest:
        shares = game.prior.new_zeros(game.n_actions)
        for case in rest:
            shares[case.action] += case.probability
        taken = [
            f"{game.labels.actions[a]}: {probability(shares[a])}"
            for a in shares.argsort(descending=True, stable=True).tolist()
            if shares[a] > 0
        ]
        more = f"and {len(rest):,} more, of probability {probability(shares.sum())} together"
        parts.append(paragraph(f"{more} ({', '.join(taken)})", 2, 4))
    return "\n".join(parts)


def _case(game: PersuasionGame, speakers: Sequence[Speaker], case: Case) -> str:
    actions = game.labels.actions
    head = f"{actions[case.action]}, with probability {probability(case.probability)}"
    heard = said_text(speakers, case)
    lines = [("belief", posterior_text(game, case.posterior)), ("why", _why(game, case))]
    if heard:
        lines.insert(0, ("after", heard))
    return f"{paragraph(head, 2, 4)}\n{entries(lines, 4)}"


def said_text(speakers: Sequence[Speaker], case: Case) -> str:
    """The messages that lead to the case; empty if all senders are silent."""
    speaking = [n for n, speaker in enumerate(speakers) if not speaker.is_silent]
    if not speaking:
        return ""
    boxes = [_box(row) for row in case.messages[:, speaking].tolist()]
    for axis in range(len(speaking)):
        boxes = _joined(boxes, axis)
    texts = []
    for box in islice(boxes, MAX_COMBINATIONS):
        who: dict[str, list[str]] = {}
        for n, chosen in zip(speaking, box, strict=True):
            messages = speakers[n].messages
            names = listed((messages[k].name for k in sorted(chosen)), "or")
            what = "anything" if len(chosen) == len(messages) else names
            who.setdefault(what, []).append(speakers[n].name)
        parts = [f"{what} from {listed(senders)}" for what, senders in who.items()]
        texts.append("; ".join(parts) if len(boxes) == 1 else f"({'; '.join(parts)})")
    left = len(boxes) - len(texts)
    if left:
        texts.append(f"{left:,} more combinations" if left > 1 else "1 more combination")
    return listed(texts, "or")


def _box(row: Sequence[int]) -> tuple[frozenset[int], ...]:
    """One combination of messages, as a product of sets."""
    return tuple(frozenset([index]) for index in row)


def _joined(
    boxes: Sequence[tuple[frozenset[int], ...]], axis: int
) -> list[tuple[frozenset[int], ...]]:
    """Join products of sets that differ along one axis only."""
    found: dict[tuple[frozenset[int], ...], frozenset[int]] = {}
    for box in boxes:
        others = (*box[:axis], *box[axis + 1 :])
        found[others] = found.get(others, frozenset()) | box[axis]
    return [(*others[:axis], union, *others[axis:]) for others, union in found.items()]


def posterior_text(game: PersuasionGame, posterior: Tensor) -> str:
    """Each possible state with its probability; of many states the likeliest, the rest summed."""
    possible = [s for s in range(game.n_states) if posterior[s] > 0]
    rest: list[int] = []
    if game.n_states > MAX_STATES and len(possible) > LIKELIEST + 1:
        order = sorted(possible, key=lambda s: -float(posterior[s]))
        possible, rest = order[:LIKELIEST], order[LIKELIEST:]
    if len(possible) == 1:
        return f"certainly {game.labels.states[possible[0]]}"
    parts = [f"{game.labels.states[s]}: {probability(posterior[s])}" for s in possible]
    if rest:
        parts.append(f"{len(rest)} other states: {probability(posterior[rest].sum())}")
    return ", ".join(parts)


def _why(game: PersuasionGame, case: Case) -> str:
    actions = game.labels.actions
    if case.next_best is None:
        return "it is the only action"
    if case.tied:
        are = "is" if len(case.tied) == 1 else "are"
        tied = listed(actions[a] for a in case.tied)
        return f"a tie: {tied} {are} as good for the receiver; {_TIES[game.tie_break]}"
    nearly = " (the receiver is nearly indifferent)" if case.is_close else ""
    return (
        f"best for the receiver: the next best, {actions[case.next_best]}, is worth "
        f"{number(case.loss, 3)} less to it{nearly}"
    )
