"""What a person reads about an equilibrium: plain text, every number from the true game."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context

import torch
from torch import Tensor

from dnl.equilibria import Equilibrium
from dnl.equilibria.verification import Verification
from dnl.exact.full_revelation import best_baseline_welfare, full_revelation
from dnl.exact.status import Status
from dnl.exact.welfare_ceiling import welfare_ceiling
from games import PersuasionGame

MAX_LINES = 20  # of an overview
MAX_REACTIONS = 24  # joint signals shown, the most probable first
MAX_STATES = 10  # with more, only the likely states of a posterior are shown
ROUNDING = 1e-9  # of the payoff ranges: a difference of welfares below is none


@dataclass(frozen=True, eq=False)
class Reaction:
    """What the receiver makes of one joint signal.

    Attributes:
        signals: `(m_1, ..., m_N)`, what each sender sent.
        probability: of the joint signal, above 0.
        posterior: `(S,)`.
        action: the receiver's.
    """

    signals: tuple[int, ...]
    probability: float
    posterior: Tensor
    action: int


def reactions(game: PersuasionGame, policies: Tensor) -> list[Reaction]:
    """The receiver's reaction to each joint signal of positive probability, likeliest first.

    `policies` is one profile `(N, S, M)`. Equally likely joint signals stay in row-major order.
    """
    probability, posterior = game.posteriors(policies)  # (K,), (K, S)
    action = game.receiver_action(policies)
    place = [game.n_signals ** (game.n_senders - 1 - n) for n in range(game.n_senders)]
    return [
        Reaction(
            tuple(k // step % game.n_signals for step in place),
            float(probability[k]),
            posterior[k],
            int(action[k]),
        )
        for k in probability.argsort(descending=True, stable=True).tolist()
        if probability[k] > 0
    ]


def outcomes(equilibrium: Equilibrium) -> dict[str, tuple[float, float, float]]:
    """Utility at the equilibrium, under full revelation and under no information.

    Keys: "sender 0", ..., then "welfare" (the senders' sum) and "receiver".
    """
    game = equilibrium.game
    prior, v = game.prior, game.receiver_utility
    columns = (
        _players(game, equilibrium.utilities, game.receiver_ex_ante_utility(equilibrium.policies)),
        _players(game, full_revelation(game).utilities, prior @ v.amax(1)),
        _players(game, game.no_information(), (prior @ v).amax()),
    )
    return {name: (columns[0][name], columns[1][name], columns[2][name]) for name in columns[0]}


def _players(game: PersuasionGame, senders: Tensor, receiver: Tensor) -> dict[str, float]:
    utilities = {f"sender {n}": float(senders[n]) for n in range(game.n_senders)}
    return {**utilities, "welfare": float(senders.sum()), "receiver": float(receiver)}


def report(equilibrium: Equilibrium) -> str:
    """A readable account of one equilibrium: verdicts, policies, reactions, utilities, proofs.

    Numbers are rounded to the nearest, but proven bounds upwards, so that they still hold as they
    are printed. States, signals, actions and senders count from 0.
    """
    parts = (_header, _policies, _reactions, _utilities, _certificates)
    return "\n\n".join(part(equilibrium) for part in parts) + "\n"


def overview(equilibria: Sequence[Equilibrium]) -> str:
    """How many there are, and a line for each of the first, in the order given."""
    rows = [
        [
            str(rank),
            _number(found.welfare),
            found.source,
            str(found.verification.verdict),
            _bound(found.global_gap),
            "yes" if found.pareto_dominates_full_revelation else "no",
        ]
        for rank, found in enumerate(equilibria[:MAX_LINES], 1)
    ]
    titles = ["", "welfare", "found by", "locally", "global gap", "Pareto-dominates FR"]
    more = len(equilibria) - len(rows)
    text = f"Certified equilibria: {len(equilibria)}\n{_table(titles, rows)}\n"
    return text + (f"  and {more} more\n" if more else "")


def nothing_found(game: PersuasionGame, radius: float, time_limit: float) -> str:
    """What to say, and to do, where no profile was certified."""
    columns = zip(full_revelation(game).utilities, game.no_information(), strict=True)
    rows = {f"sender {n}": [float(value) for value in row] for n, row in enumerate(columns)}
    return (
        f"{_sizes(game)}\n\n"
        f"No equilibrium was certified within {time_limit:g} s at radius {radius:g}. This does not "
        "show that there is none:\nthe search looks at some profiles only, and its time is short. "
        "Search longer with --time-limit, or\nwith more --members (leave the option out for all "
        "of them).\n\nWithout a search\n"
        + _table(["", "full revelation", "no information"], _aligned(rows))
        + "\n"
    )


# ------------------------------------------------------------------------------------ the parts


def _header(equilibrium: Equilibrium) -> str:
    game, local = equilibrium.game, equilibrium.verification
    everywhere = equilibrium.global_verification
    here = equilibrium.welfare
    above = here - best_baseline_welfare(game)
    if equilibrium.exceeds_baselines:
        place = f"above both full revelation and no information, by {_number(above)}"
    elif above >= -ROUNDING * float(game.payoff_range.sum()):
        place = "equal to the better of full revelation and no information"
    else:
        place = f"not above full revelation and no information: {_number(-above)} below the better"
    dominates = equilibrium.pareto_dominates_full_revelation
    lines = [
        ("game", _sizes(game)),
        ("found by", f"{equilibrium.source}; {_search_ended(equilibrium.status)}"),
        ("locally", f"{local.verdict} within radius {local.radius:g}: {_claim(game, local)}"),
        ("globally", f"{everywhere.verdict} for any deviation: {_claim(game, everywhere)}"),
        ("welfare", f"{_number(here)}, {place}"),
        ("ceiling", _ceiling(game)),
        ("Pareto", f"{'dominates' if dominates else 'does not dominate'} full revelation"),
    ]
    title = "Equilibrium" if local.is_equilibrium else "A profile that is not certified"
    return f"{title}\n" + "\n".join(f"  {name:<10}{text}" for name, text in lines)


def _ceiling(game: PersuasionGame) -> str:
    ceiling = welfare_ceiling(game)
    return (
        f"no profile has a welfare above {_bound(ceiling.any_profile, 6)}, "
        f"no global equilibrium one above {_bound(ceiling.global_equilibrium, 6)}"
    )


def _search_ended(status: str) -> str:
    if status == "complete":
        return "the search was complete"
    return f"the search ended by its {status}: more time may find better ones"


def _sizes(game: PersuasionGame) -> str:
    senders = "1 sender" if game.n_senders == 1 else f"{game.n_senders} senders"
    return (
        f"{game.identity}: {senders}, {game.n_signals} signals each, {game.n_states} states, "
        f"{game.n_actions} actions, ties {game.tie_break!r}"
    )


def _claim(game: PersuasionGame, verification: Verification) -> str:
    most = float(verification.relative_gain.max())
    if verification.verdict != "refuted":
        return f"no sender gains more than {_bound(most)} of its payoff range"
    ranges = game.payoff_range.to(verification.gain)
    found = float(torch.where(ranges > 0, verification.witness_gain / ranges, 0.0).max())
    return (
        f"a sender gains {_number(found, 3)} of its payoff range, and none more than {_bound(most)}"
    )


def _policies(equilibrium: Equilibrium) -> str:
    game = equilibrium.game
    parts = ["Policies: probability of each signal in each state"]
    titles = ["state", "prior", *(f"signal {m}" for m in range(game.n_signals))]
    for n, policy in enumerate(equilibrium.policies):
        rows = [
            [str(s), f"{game.prior[s]:.4f}", *map(_probability, policy[s].tolist())]
            for s in range(game.n_states)
        ]
        parts.append(f"sender {n}\n{_table(titles, rows)}")
    return "\n\n".join(parts)


def _reactions(equilibrium: Equilibrium) -> str:
    game = equilibrium.game
    every = reactions(game, equilibrium.policies)
    shown, rest = every[:MAX_REACTIONS], every[MAX_REACTIONS:]
    wide = game.n_states > MAX_STATES
    states = ["likeliest states"] if wide else [f"state {s}" for s in range(game.n_states)]
    titles = ["signals", "probability", "action", *states]
    rows = [
        [
            " ".join(map(str, reaction.signals)),
            _probability(reaction.probability),
            str(reaction.action),
            *(_likeliest(reaction.posterior) if wide else map(_probability, reaction.posterior)),
        ]
        for reaction in shown
    ]
    total = game.n_signals**game.n_senders
    text = (
        f"The receiver's reaction: {len(every)} of {total} joint signals have positive probability "
        f"(action, posterior)\n{_table(titles, rows)}"
    )
    if rest:
        share = sum(reaction.probability for reaction in rest)
        text += f"\n  and {len(rest)} more, of probability {_probability(share)} together"
    return text


def _likeliest(posterior: Tensor) -> list[str]:
    top = posterior.argsort(descending=True, stable=True)[:4].tolist()
    return [", ".join(f"{s}: {_probability(posterior[s])}" for s in top if posterior[s] > 0)]


def _utilities(equilibrium: Equilibrium) -> str:
    titles = ["", "equilibrium", "full revelation", "no information"]
    table = _table(titles, _aligned(outcomes(equilibrium)))
    return f"Utilities (welfare: sum of the senders')\n{table}"


def _certificates(equilibrium: Equilibrium) -> str:
    local = equilibrium.verification
    titles = ["sender", "gain found", "bound", "bound / payoff range", "status"]
    parts = []
    for where, verification in (
        (f"within radius {local.radius:g}", local),
        ("by any policy (global)", equilibrium.global_verification),
    ):
        columns = zip(
            verification.witness_gain.tolist(),
            verification.gain.tolist(),
            verification.relative_gain.tolist(),
            map(str, verification.status),
            strict=True,
        )
        rows = [
            [str(n), _number(found, 3), _bound(most), _bound(fraction), status]
            for n, (found, most, fraction, status) in enumerate(columns)
        ]
        parts.append(f"{where}\n{_table(titles, rows)}")
        troubles = {str(status) for status in verification.status} - {Status.OPTIMAL}
        parts += [f"  {trouble}: {Status(trouble).advice}" for trouble in sorted(troubles)]
    head = (
        "What a sender can gain by deviating: the simulator gives the gain found to the best\n"
        "deviation found, and it is proven that no deviation gains more than the bound"
    )
    return "\n\n".join([head, *parts])


# ------------------------------------------------------------------------------------ the cells


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  " + "   ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )


def _aligned(table: Mapping[str, Sequence[float]]) -> list[list[str]]:
    """Rows of utilities: in each, as many decimals for all as give the largest six digits."""
    rows = []
    for name, values in table.items():
        largest = max(map(abs, values))
        decimals = max(0, 5 - math.floor(math.log10(largest))) if largest > 0 else 0
        rows.append([name, *(f"{value:.{decimals}f}" for value in values)])
    return rows


def _number(value: float, digits: int = 6) -> str:
    return f"{value:.{digits}g}"


def _bound(value: float, digits: int = 3) -> str:
    """Rounded up: what is proven of `value` must hold of what is printed."""
    if not math.isfinite(value):
        return "no bound"
    rounded = Context(prec=digits, rounding=ROUND_CEILING).create_decimal(value)
    return f"{float(rounded):.{digits}g}"


def _probability(value: float | Tensor) -> str:
    """Four decimals, but exactly 0 and 1 stand out, and what rounds to 0 shows its size."""
    value = float(value)
    if value in (0, 1):
        return "." if value == 0 else "1"
    return f"{value:.0e}" if value < 5e-5 else f"{value:.4f}"
