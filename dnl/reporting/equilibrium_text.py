"""Equilibria as plain text; every number is computed on the true game."""

from collections.abc import Sequence

from torch import Tensor

from dnl.equilibria import Equilibrium
from dnl.equilibria.advice import next_steps
from dnl.equilibria.equilibrium import Equilibria
from dnl.equilibria.ranking import ORDER, WELFARE, RankBy, ranking_of
from dnl.equilibria.verification import Verdict
from dnl.exact.full_revelation import full_revelation
from dnl.reporting.message_text import policies_text, reactions_text
from dnl.reporting.messages import account
from dnl.reporting.reactions import Reaction, reactions
from dnl.reporting.text_tables import aligned, bound, number, paragraph, table
from dnl.reporting.verdict_text import certificates_text, facts_text, sizes_text, summary_text
from games import PersuasionGame, checks
from games.persuasion import persuasion_game

__all__ = [
    "Reaction",
    "nothing_found",
    "outcomes",
    "overview",
    "reactions",
    "report",
    "search_report",
]

MAX_LINES = 20  # equilibria listed in each part of an overview
MAX_SENDERS = 4  # most senders whose utilities an overview shows


def outcomes(equilibrium: Equilibrium) -> dict[str, tuple[float, float, float]]:
    """Utility at the equilibrium, under full revelation and under no information.

    Keys: the senders' names ("sender 0", ... without names), then "welfare" (the senders' sum) and
    "receiver". A sender of that name has " (sender)" after it.
    """
    game = checks.instance("equilibrium", equilibrium, Equilibrium).game
    prior, v = game.prior, game.receiver_utility
    columns = (
        _players(game, equilibrium.utilities, game.receiver_ex_ante_utility(equilibrium.policies)),
        _players(game, full_revelation(game).utilities, prior @ v.amax(1)),
        _players(game, game.no_information(), (prior @ v).amax()),
    )
    return {name: (columns[0][name], columns[1][name], columns[2][name]) for name in columns[0]}


def _players(game: PersuasionGame, senders: Tensor, receiver: Tensor) -> dict[str, float]:
    values = zip(_sender_keys(game), senders.tolist(), strict=True)
    return {**dict(values), "welfare": float(senders.sum()), "receiver": float(receiver)}


def _sender_keys(game: PersuasionGame) -> list[str]:
    others = ("welfare", "receiver")
    return [f"{name} (sender)" if name in others else name for name in game.labels.senders]


def report(equilibrium: Equilibrium) -> str:
    """Text about one equilibrium.

    What it is, what the senders say, what the receiver does and why, utilities, proven bounds.
    Numbers are rounded to nearest, but proven bounds upwards, so that they hold as printed.
    """
    game = checks.instance("equilibrium", equilibrium, Equilibrium).game
    told = account(game, equilibrium.policies)
    parts = [
        summary_text(equilibrium) + "\n\n" + facts_text(equilibrium),
        policies_text(game, told),
        reactions_text(game, told),
        _utilities(equilibrium),
        certificates_text(equilibrium),
    ]
    return "\n\n".join(parts) + "\n"


def _utilities(equilibrium: Equilibrium) -> str:
    titles = ["", "equilibrium", "full revelation", "no information"]
    rows = aligned(outcomes(equilibrium))
    return f"Expected utilities (welfare: the sum of the senders')\n{table(titles, rows)}"


def overview(equilibria: Sequence[Equilibrium], rank_by: RankBy = WELFARE) -> str:
    """Nash equilibria, then the local ones that are not proven to be Nash; a line for each.

    Of the latter the undecided stand before the refuted. Otherwise the given order, by `rank_by`,
    is kept. Numbers are places in the given order.
    """
    found = _nash_first(_equilibria(equilibria))
    nash = [one for one in found if one[1].nash is Verdict.CERTIFIED]
    local = found[len(nash) :]
    parts = [f"Nash equilibria: {len(nash) or 'none certified'}"]
    if nash:
        words = "By any other policy no sender gains more than the column 'nash' says (proven)."
        parts[0] += f"\n{paragraph(words)}\n{_lines(nash)}"
    if local:
        radius = max(one.verification.radius or 0.0 for _, one in local)
        words = (
            f"No sender gains by changing its probabilities by up to {radius:g} each (proven), but "
            "another policy may gain: the column 'nash' gives the largest gain found and, after "
            "'to', the proven bound."
        )
        parts.append(f"Local only: {len(local)}\n{paragraph(words)}\n{_lines(local)}")
    if equilibria:
        first = equilibria[0]
        label = ranking_of(first.game, rank_by).label
        ranked = label if label == WELFARE else f"the {label}"
        words = (
            f"Each list is ranked by {ranked}. Gains are fractions of the sender's payoff range: "
            "the expected utility that the receiver's choice puts at stake for it. A gain of up to "
            f"{first.global_verification.tolerance:g} does not count. Welfare is the sum of the "
            "senders' utilities, without the receiver's."
        )
        parts.append(paragraph(words))
    return "\n\n".join(parts) + "\n"


def _equilibria(value: object) -> tuple[Equilibrium, ...]:
    """The argument `equilibria`, checked."""
    found = checks.sequence("equilibria", value)
    return tuple(checks.instance("equilibria", one, Equilibrium) for one in found)


def _nash_first(equilibria: Sequence[Equilibrium]) -> list[tuple[int, Equilibrium]]:
    """Numbers from 1 and equilibria: Nash, then undecided, then refuted; otherwise as given."""
    return sorted(enumerate(equilibria, 1), key=lambda one: ORDER.index(_nash(one[1])))


def _nash(equilibrium: Equilibrium) -> Verdict:
    """The verdict on any deviation; what sampling did not refute is undecided."""
    return equilibrium.nash if equilibrium.nash in ORDER else Verdict.UNDECIDED


def _lines(found: Sequence[tuple[int, Equilibrium]]) -> str:
    """A line for each; the senders' utilities are left out where they do not fit."""
    game = found[0][1].game
    head = ["", "nash", "welfare"]
    senders = _sender_keys(game) if game.n_senders <= MAX_SENDERS else []
    rows, utilities = [], []
    for rank, one in found[:MAX_LINES]:
        receiver = float(game.receiver_ex_ante_utility(one.policies))
        rows.append([str(rank), _gains(one), number(one.welfare), number(receiver), one.source])
        utilities.append([number(value) for value in one.utilities.tolist()])
    wide = table(
        [*head, *senders, "receiver", "found by"],
        [
            [*row[:3], *(its if senders else ()), *row[3:]]
            for row, its in zip(rows, utilities, strict=True)
        ],
        words=("nash", "found by"),
    )
    narrow = table([*head, "receiver", "found by"], rows, words=("nash", "found by"))
    text = narrow if "\n\n" in wide else wide
    return text + (f"\n  and {len(found) - len(rows)} more" if len(found) > len(rows) else "")


def _gains(equilibrium: Equilibrium) -> str:
    verdict, most = _nash(equilibrium), bound(equilibrium.nash_bound)
    if verdict is Verdict.CERTIFIED:
        return f"{verdict}: at most {most}"
    return f"{verdict}: {number(equilibrium.nash_gain, 3)} to {most}"


def search_report(
    game: PersuasionGame,
    equilibria: Sequence[Equilibrium],
    shown: int,
    radius: float,
    time_limit: float,
    *,
    scope: str = "local",
    rank_by: RankBy = WELFARE,
    status: str | None = None,
) -> str:
    """The report of a search: all equilibria in short, what to do next, the first ones in full.

    Args:
        game: the true game.
        equilibria: what was found; the first `shown` in the order of `overview` are told in full.
        shown: their number.
        radius, time_limit, scope, rank_by: of the search.
        status: how it ended; None for what `equilibria` say.
    """
    persuasion_game(game)
    checks.positive_integer("shown", shown, least=0)
    _equilibria(equilibria)
    if status is None and isinstance(equilibria, Equilibria):
        status = equilibria.status
    steps = next_steps(game, equilibria, scope=scope, rank_by=rank_by, status=status)
    advice = "\n".join(["What to do next", *(paragraph(f"- {step}", 2, 4) for step in steps)])
    advised = [advice + "\n"] if steps else []
    if not equilibria:
        return "\n".join([nothing_found(game, radius, time_limit, scope=scope), *advised])
    told = [
        f"Number {rank} of the list\n\n{report(one)}"
        for rank, one in _nash_first(equilibria)[:shown]
    ]
    return "\n".join([overview(equilibria, rank_by), *advised, *told])


def nothing_found(
    game: PersuasionGame, radius: float, time_limit: float, *, scope: str = "local"
) -> str:
    """Text for a search that certified no profile."""
    values = zip(full_revelation(game).utilities, game.no_information(), strict=True)
    columns = zip(_sender_keys(game), values, strict=True)
    rows = {name: [float(value) for value in row] for name, row in columns}
    what = (
        f"No Nash equilibrium was certified within {time_limit:g} s."
        if scope == "global"
        else f"No equilibrium was certified within {time_limit:g} s at radius {radius:g}."
    )
    return (
        f"{paragraph(sizes_text(game))}\n\n"
        + paragraph(
            f"{what} This does not show that there is none: the search looks at some profiles only."
        )
        + "\n\nThe senders' utilities without a search\n"
        + table(["", "full revelation", "no information"], aligned(rows))
        + "\n"
    )
