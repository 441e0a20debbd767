"""What has been proven about one equilibrium, in sentences and in a table."""

from dnl.equilibria import MEMBERS, Equilibrium
from dnl.equilibria.verification import Verdict, Verification
from dnl.exact.full_revelation import best_baseline_welfare, full_revelation
from dnl.exact.status import Status
from dnl.exact.welfare_ceiling import welfare_ceiling
from dnl.reporting.text_tables import bound, entries, number, paragraph, table
from games import PersuasionGame

ROUNDING = 1e-9  # of the payoff ranges: a difference of welfares below is none

_TIES = {
    "first": "of equally good actions the receiver takes the one that the game lists first",
    "senders": "of equally good actions the receiver takes the one with the highest sum of the "
    "senders' utilities",
}


def summary_text(equilibrium: Equilibrium) -> str:
    """What the profile is: a Nash equilibrium, a local one only, or not certified at all."""
    local = equilibrium.verification
    is_certified = local.is_equilibrium or equilibrium.is_global
    title = "Equilibrium" if is_certified else "A profile that is not certified"
    return f"{title}\n{paragraph(_verdict(equilibrium))}"


def _verdict(equilibrium: Equilibrium) -> str:
    game, local = equilibrium.game, equilibrium.verification
    most = bound(equilibrium.nash_bound)
    if equilibrium.nash is Verdict.CERTIFIED:
        return (
            f"A Nash equilibrium: no sender gains more than {most} of its payoff range by any "
            "other policy (proven)."
        )
    if equilibrium.nash is Verdict.REFUTED:
        gain = number(equilibrium.nash_gain, 3)
        beyond = (
            f"not a Nash equilibrium: {_gainer(equilibrium)} gains {gain} of its payoff range by "
            f"another policy, and no sender gains more than {most} (proven)"
        )
    else:
        beyond = (
            "it is undecided whether this is a Nash equilibrium: no sender gains more than "
            f"{most} of its payoff range by any other policy (proven), and the largest gain found "
            f"is {number(equilibrium.nash_gain, 3)}"
        )
    near = (
        f"no sender gains more than {bound(float(local.relative_gain.max()))} of its payoff range "
        f"by changing its probabilities by up to {local.radius:g} each (proven)"
    )
    if not local.is_equilibrium:
        near = f"{local.verdict} within radius {local.radius:g}: {_claim(game, local)}"
        return f"{_sentence(near)} {_sentence(beyond)}"
    return f"A local equilibrium: {near}. {_sentence(beyond)}"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _relative(game: PersuasionGame, verification: Verification) -> list[float]:
    ranges = game.payoff_range.tolist()
    gains = verification.witness_gain.tolist()
    return [gain / each if each > 0 else 0.0 for gain, each in zip(gains, ranges, strict=True)]


def _gainer(equilibrium: Equilibrium) -> str:
    gains = _relative(equilibrium.game, equilibrium.global_verification)
    return equilibrium.game.labels.senders[gains.index(max(gains))]


def _claim(game: PersuasionGame, verification: Verification) -> str:
    most = bound(float(verification.relative_gain.max()))
    if verification.verdict != "refuted":
        return f"no sender gains more than {most} of its payoff range"
    gains = _relative(game, verification)
    who = game.labels.senders[gains.index(max(gains))]
    return (
        f"{who} gains {number(max(gains), 3)} of its payoff range, and no sender more than {most}"
    )


def facts_text(equilibrium: Equilibrium) -> str:
    """The game and the profile in short, each word explained."""
    game, here = equilibrium.game, equilibrium.welfare
    above = here - best_baseline_welfare(game)
    if equilibrium.exceeds_baselines:
        place = f"above both full revelation and no information, by {number(above)}"
    elif above >= -ROUNDING * float(game.payoff_range.sum()):
        place = "equal to the better of full revelation and no information"
    else:
        place = f"not above full revelation and no information: {number(-above)} below the better"
    more = equilibrium.utilities - full_revelation(game).utilities
    if equilibrium.pareto_dominates_full_revelation:
        pareto = "dominates full revelation: no sender is worse off, and one is better off"
    elif bool((more.abs() <= ROUNDING * game.payoff_range).all()):
        pareto = "equal to full revelation: no sender is better off, and none is worse off"
    else:
        pareto = "does not dominate full revelation: a sender is worse off"
    describes = MEMBERS[equilibrium.source].describes if equilibrium.source in MEMBERS else ""
    source = f"{equilibrium.source} ({describes})" if describes else equilibrium.source
    ceiling = welfare_ceiling(game)
    lines = [
        ("game", sizes_text(game)),
        ("ties", f"{game.tie_break!r}: {_TIES[game.tie_break]}"),
        ("found by", source),
        ("status", _search_ended(equilibrium.status)),
        (
            "welfare",
            f"{number(here)} (the senders' utilities summed, without the receiver's): {place}",
        ),
        (
            "ceiling",
            f"no profile of policies has a welfare above {bound(ceiling.any_profile, 6)}, "
            f"and no Nash equilibrium one above {bound(ceiling.global_equilibrium, 6)} (proven)",
        ),
        ("Pareto", pareto),
    ]
    return entries(lines)


def sizes_text(game: PersuasionGame) -> str:
    """The game's sizes and its identity."""

    def counted(count: int, noun: str) -> str:
        return f"{count} {noun}" if count == 1 else f"{count} {noun}s"

    return (
        f"{counted(game.n_senders, 'sender')}, {counted(game.n_signals, 'signal')} each, "
        f"{counted(game.n_states, 'state')}, {counted(game.n_actions, 'action')} "
        f"(identity {game.identity})"
    )


def _search_ended(status: str) -> str:
    return (
        "the search was complete" if status == "complete" else f"the search ended by its {status}"
    )


def certificates_text(equilibrium: Equilibrium) -> str:
    """Gains found and proven bounds, for each sender.

    For any deviation, and for those within the radius where these are not decided by the former.
    """
    game, local = equilibrium.game, equilibrium.verification
    titles = ["sender", "gain found", "bound", "payoff range", "bound / range", "status"]
    words = [
        ("gain found", "of the best deviation found, on the simulator"),
        ("bound", "proven: no deviation gains more"),
        ("payoff range", "expected utility at stake for the sender in the receiver's choice"),
    ]
    proofs = [("by any policy (Nash)", equilibrium.global_verification)]
    if not equilibrium.is_global:  # otherwise that proof covers what is within the radius
        proofs.insert(0, (f"within radius {local.radius:g} (local)", local))
        words.append(("radius", "the largest change of any probability of the sender's policy"))
    parts = [f"What a sender can gain by another policy\n{entries(words)}"]
    for where, verification in proofs:
        columns = zip(
            game.labels.senders,
            verification.witness_gain.tolist(),
            verification.gain.tolist(),
            game.payoff_range.tolist(),
            verification.relative_gain.tolist(),
            map(str, verification.status),
            strict=True,
        )
        rows = [
            [name, number(found, 3), bound(most), number(at_stake, 3), bound(fraction), status]
            for name, found, most, at_stake, fraction, status in columns
        ]
        parts.append(f"{where}\n{table(titles, rows, words=('status',))}")
        troubles = {str(status) for status in verification.status} - {Status.OPTIMAL}
        parts += [
            paragraph(f"{trouble}: {Status(trouble).advice}", 2, 4) for trouble in sorted(troubles)
        ]
    return "\n\n".join(parts)
