"""The report of an equilibrium and of a search: hand-computed games, the simulator's numbers."""

import itertools
import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from dnl import Equilibrium, Verdict, full_revelation
from dnl.equilibria import MEMBERS
from dnl.exact.status import Status
from dnl.reporting import message_text
from dnl.reporting.equilibrium_text import (
    nothing_found,
    outcomes,
    overview,
    reactions,
    report,
    search_report,
)
from dnl.reporting.message_text import policies_text
from dnl.reporting.messages import account
from dnl.reporting.reactions import MAX_JOINT_MESSAGES
from dnl.reporting.text_tables import aligned
from games import PersuasionGame, didactic_game, prosecutor_game, synthetic_game
from tests.cases.reported import (
    NOISE,
    OPTIMUM,
    SILENCE,
    TRUTH,
    accusation,
    experts,
    profile,
    random_profile,
)


def cells(text: str, first: str, columns: int, skip: int = 0) -> list[str]:
    """The cells of the row that begins with `first`, the `skip` earlier ones left out."""
    pattern = rf"^ *{re.escape(first)}   +(.*)$"
    rows = [re.split(" {3,}", row) for row in re.findall(pattern, text, flags=re.MULTILINE)]
    return [row for row in rows if len(row) == columns][skip]


def flat(text: str) -> str:
    """The text without line breaks and runs of spaces."""
    return " ".join(text.split())


# ------------------------------------------------------------------------------------ the numbers


def test_reactions_to_the_prosecutor() -> None:
    # Accused: 0.3 guilty and 0.7 * 3/7 = 0.3 innocent. Not accused: 0.7 * 4/7 = 0.4, all innocent.
    accused, free = reactions(prosecutor_game(), torch.tensor([OPTIMUM], dtype=torch.float64))
    assert (accused.signals, accused.action) == ((1,), 1)
    assert accused.probability == pytest.approx(0.6, abs=1e-12)
    assert accused.posterior.tolist() == pytest.approx([0.5, 0.5], abs=1e-12)
    assert (free.signals, free.action) == ((0,), 0)
    assert free.probability == pytest.approx(0.4, abs=1e-12)
    assert free.posterior.tolist() == [1.0, 0.0]


def test_reactions_are_sorted_and_complete() -> None:
    found = random_profile((3, 3, 2, 3))
    listed = reactions(found.game, found.policies)
    shares = [reaction.probability for reaction in listed]
    assert shares == sorted(shares, reverse=True)
    assert {reaction.signals for reaction in listed} == set(itertools.product(range(3), repeat=3))
    for reaction in listed:  # Bayes, by hand
        joint = found.game.prior.clone()
        for n, signal in enumerate(reaction.signals):
            joint = joint * found.policies[n, :, signal]
        assert reaction.probability == pytest.approx(float(joint.sum()), rel=1e-12)
        assert reaction.posterior.tolist() == pytest.approx((joint / joint.sum()).tolist())
        assert reaction.action == int((joint @ found.game.receiver_utility).argmax())


def test_signals_of_probability_zero_are_left_out() -> None:
    (only,) = reactions(prosecutor_game(), torch.tensor([SILENCE], dtype=torch.float64))
    assert (only.signals, only.probability, only.action) == ((0,), 1.0, 0)
    assert only.posterior.tolist() == [0.7, 0.3]


OUTCOMES = [
    # Convicted: 0.6; under the truth the guilty, 0.3; on the prior nobody. The judge is right about
    # the 0.4 and the 0.3; always; about the 0.7.
    (prosecutor_game, [OPTIMUM], {"prosecutor": (0.6, 0.3, 0.0), "receiver": (0.7, 1.0, 0.7)}),
    # States known, action = state: sender 0 gets 0, sender 1 gets 2 in state 1 (0.4). On the prior
    # the receiver takes action 0: sender 0 gets 1 in state 1, sender 1 nothing.
    (
        didactic_game,
        [SILENCE, SILENCE],
        {"sender 0": (0.4, 0.0, 0.4), "sender 1": (0.0, 0.8, 0.0), "receiver": (0.6, 1.0, 0.6)},
    ),
]


@pytest.mark.parametrize(("make", "policies", "expected"), OUTCOMES)
def test_outcomes_by_hand(
    make: Callable[[], PersuasionGame],
    policies: list[Any],
    expected: dict[str, tuple[float, float, float]],
) -> None:
    values = outcomes(profile(make(), policies))
    senders = [value for name, value in expected.items() if name != "receiver"]
    welfare = tuple(sum(column) for column in zip(*senders, strict=True))
    assert list(values) == [*list(expected)[:-1], "welfare", "receiver"]
    for name, value in {**expected, "welfare": welfare}.items():
        assert values[name] == pytest.approx(value, abs=1e-12)


# --------------------------------------------------------------------------------------- the text


def test_report_of_the_prosecutor() -> None:
    text = report(accusation())
    assert text.startswith("Equilibrium\nA Nash equilibrium: no sender gains more than ")
    assert "1 sender, 2 signals each, 2 states, 2 actions" in text
    assert "'senders': of equally good actions the receiver takes the one with the highest" in text
    assert f"found by blocks ({MEMBERS['blocks'].describes}) status the search was" in flat(text)
    assert "without the receiver's): above both full revelation and no information, by 0.3" in flat(
        text
    )
    assert "dominates full revelation: no sender is worse off, and one is better off" in text
    assert "prosecutor says one of 2 messages, with these probabilities:" in text
    assert cells(text, "innocent", 3) == ["0.7000", "0.5714", "0.4286"]
    assert cells(text, "guilty", 3) == ["0.3000", ".", "1"]
    assert cells(text, "all states", 3) == ["1", "0.4000", "0.6000"]
    assert cells(text, "state", 3) == ["prior", '"acquit"', '"convict"']
    assert '"acquit" is signal 0; "convict" is signal 1.' in text
    assert "both messages occur and lead to 2 different beliefs" in text
    assert (
        'convict, with probability 0.6000 after "convict" from prosecutor belief innocent: 0.5000, '
        "guilty: 0.5000 why a tie: acquit is as good for the receiver; the rule 'senders' takes "
        "the action with the highest sum of senders' utilities acquit, with probability 0.4000 "
        'after "acquit" from prosecutor belief certainly innocent why best for the receiver: the '
        "next best, convict, is worth 1 less to it"
    ) in flat(text)
    assert cells(text, "prosecutor", 3) == ["0.600000", "0.300000", "0.000000"]
    assert cells(text, "welfare", 3) == ["0.600000", "0.300000", "0.000000"]
    assert cells(text, "receiver", 3) == ["0.700000", "1.000000", "0.700000"]
    # One sender that can tell the truth: no equilibrium is worth more than the optimum, and any is.
    assert re.search(r"ceiling +no profile of policies has a welfare above 0\.60000\d", text)
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("policies", "words", "pareto"),
    [
        (
            TRUTH,
            "equal to the better of full revelation and no information",
            "equal to full revelation: no sender is better off, and none is worse off",
        ),
        (
            SILENCE,
            "not above full revelation and no information: 0.3 below the better",
            "does not dominate full revelation: a sender is worse off",
        ),
    ],
)
def test_welfare_beside_the_comparison_values(policies: list[Any], words: str, pareto: str) -> None:
    text = flat(report(profile(prosecutor_game(), [policies])))
    assert f"): {words} ceiling" in text
    assert f"Pareto {pareto} What the senders say" in text


def test_a_profile_that_is_not_certified_says_so() -> None:
    # From telling the truth, mixing 0.005 of the innocent in convicts 0.7 * 0.005 more.
    text = report(profile(prosecutor_game(), [TRUTH]))
    assert text.startswith("A profile that is not certified\n")
    assert "Refuted within radius 0.005: prosecutor gains 0.0035 of its payoff range" in flat(text)
    # At best 0.6 are convicted, 0.3 more.
    assert "Not a Nash equilibrium: prosecutor gains 0.3 of its payoff range" in flat(text)


def test_a_local_equilibrium_says_who_leaves_it() -> None:
    words = flat(report(profile(prosecutor_game(), [NOISE])))
    assert words.startswith("Equilibrium A local equilibrium: no sender gains more than 0 of its")
    assert "by changing its probabilities by up to 0.005 each (proven). Not a Nash" in words
    assert re.search(r"prosecutor gains 0\.6 of its payoff range by another policy, and no", words)
    assert "prosecutor says nothing: each of its signals has the same probability" in words
    assert "nobody tells it anything, so it acts on the prior" in words


def test_an_undecided_profile_says_what_is_known() -> None:
    found = accusation()
    everywhere = replace(
        found.global_verification, verdict=Verdict.UNDECIDED, status=(str(Status.TIME_LIMIT),)
    )
    text = report(replace(found, global_verification=everywhere, status="time limit"))
    assert f"time limit: {Status.TIME_LIMIT.advice}\n" in text
    assert "It is undecided whether this is a Nash equilibrium: no sender gains more" in flat(text)
    assert "and the largest gain found is 0." in flat(text)
    assert "the search ended by its time limit" in flat(text)
    assert "more time" not in text


def test_numbers_are_those_of_the_simulator() -> None:
    found = random_profile((3, 2, 3, 4), method="exact")
    game, policies, text = found.game, found.policies, report(found)
    utilities = game.ex_ante_utility(policies)
    revealed, silent = full_revelation(game).utilities, game.no_information()
    for n in range(3):
        row = [float(cell) for cell in cells(text, f"sender {n}", 3)]
        expected = [float(vector[n]) for vector in (utilities, revealed, silent)]
        assert row == pytest.approx(expected, abs=1e-3)
        for s in range(3):
            shown = [float(cell) for cell in cells(text, f"state {s}", 3, skip=n)]
            assert shown == pytest.approx(
                [float(game.prior[s]), *policies[n, s].tolist()], abs=5.1e-5
            )
    shares = re.findall(r"^  action (\d), with probability (\S+)$", text, flags=re.MULTILINE)
    beliefs = re.findall(r"^    belief  (.*)$", text, flags=re.MULTILINE)
    listed = reactions(game, policies)
    assert len(shares) == len(beliefs) == len(listed) == 8
    for reaction, (action, share), belief in zip(listed, shares, beliefs, strict=True):
        assert int(action) == reaction.action
        assert float(share) == pytest.approx(reaction.probability, abs=5.1e-5)
        values = [float(part.split(": ")[1]) for part in belief.split(", ")]
        assert values == pytest.approx(reaction.posterior.tolist(), abs=5.1e-5)


def test_many_cases_are_cut_and_counted() -> None:
    found = random_profile((2, 6, 2, 3), method="exact")
    text = report(found)
    told = account(found.game, found.policies)
    assert told.cases is not None
    assert "all 36 combinations of messages occur and lead to 36 different beliefs" in text
    assert len(re.findall(r"^    belief  ", text, flags=re.MULTILINE)) == 12
    rest = re.search(r"and 24 more, of probability (\S+) together \((.*?)\)", flat(text))
    assert rest is not None
    left = sum(case.probability for case in told.cases[12:])
    assert float(rest[1]) == pytest.approx(left, abs=5.1e-5)


def test_a_large_game_with_a_silent_sender_takes_a_handful_of_lines() -> None:
    game = synthetic_game(2, 10, 10, 10, seed=0, law="paper")
    policies = torch.full((2, 10, 10), 0.1, dtype=torch.float64)
    policies[0, :5] = torch.tensor([0.2] * 5 + [0.0] * 5).double()
    policies[0, 5:9] = torch.tensor([0.0] * 5 + [0.2] * 5).double()
    told = account(game, policies)
    text = message_text.policies_text(game, told) + "\n" + message_text.reactions_text(game, told)
    assert len(text.splitlines()) <= 28
    assert "sender 1 says nothing" in text
    assert "signals 0, 1, 2, 3 and 4" in text
    assert "both messages occur" in text
    assert max(map(len, text.splitlines())) <= 100


def test_too_many_combinations_are_said_to_be() -> None:
    game = PersuasionGame([0.5, 0.5], TRUTH, torch.ones(8, 2, 2), 4)
    generator = torch.Generator().manual_seed(0)
    told = account(game, game.sample_policies(1, generator)[0])
    assert message_text.reactions_text(game, told) == (
        f"What the receiver does: more than {MAX_JOINT_MESSAGES:,} combinations of messages are "
        "possible, too many to list."
    )


def test_policies_of_experts_in_words() -> None:
    pooled = torch.tensor([[1.0, 0, 0], [0, 0.5, 0.5], [0, 0.5, 0.5]], dtype=torch.float64)
    text = message_text.policies_text(
        experts(), account(experts(), torch.stack([pooled, torch.eye(3).double()]))
    )
    assert text == (
        "What the senders say\n"
        "\n"
        "  the producer says which of these sets contains the state:\n"
        '    "approve"        in "it works" (signal 0); probability 0.5000\n'
        '    signals 1 and 2  in "it works for some" and "it has no effect"; probability 0.5000\n'
        "\n"
        '  the competitor reveals the state: signal 0 in "it works", signal 1 in "it works for '
        'some" and\n    signal 2 in "it has no effect".'
    )
    text = message_text.policies_text(experts(), account(experts(), torch.stack([pooled] * 2)))
    assert "the producer and the competitor each say which of these sets contains" in text


def test_combinations_of_messages_are_joined() -> None:
    # Either expert alone reveals that it works: three of four combinations lead to other beliefs.
    policy = torch.tensor([[0.5, 0.5, 0], [0, 1, 0], [0, 1, 0]], dtype=torch.float64)
    game = PersuasionGame([0.5, 0.5, 0.0], [[1.0, 0.0], [0.0, 1.0], [0, 0]], torch.ones(2, 3, 2), 3)
    told = account(game, torch.stack([policy] * 2))
    text = flat(message_text.reactions_text(game, told))
    assert "all 4 combinations of messages occur and lead to 2 different beliefs" in text
    assert (
        '(anything from sender 0; "action 0" from sender 1) or ("action 0" from sender 0; '
        "signal 1 from sender 1)"
    ) in text


def test_many_messages_are_summed() -> None:
    n = 20
    game = PersuasionGame([0.5, 0.5], TRUTH, torch.ones(2, 2, 2), n)
    policies = game.sample_policies(1, torch.Generator().manual_seed(0))[0]
    text = message_text.policies_text(game, account(game, policies))
    first, _ = text.split("sender 1 says")
    for row, expected in (("state 0", 1.0), ("state 1", 1.0), ("all states", 1.0)):
        shown = [line.split()[3:] for line in first.splitlines() if line.strip().startswith(row)]
        numbers = [float(cell) for line in shown for cell in line]
        assert len(numbers) == 13
        assert sum(numbers) == pytest.approx(expected, abs=1e-3)
    assert first.count("8 others") == 1


def test_many_states_show_the_likeliest() -> None:
    prior = [0.5, 0.3, 0.1] + [0.01] * 10  # 13 states
    game = PersuasionGame(prior, [[1.0, 0.0]] * 13, [[[0.0, 1.0]] * 13], n_signals=1)
    assert message_text.posterior_text(game, game.prior) == (
        "state 0: 0.5000, state 1: 0.3000, state 2: 0.1000, state 3: 0.0100, 9 other states: 0.0900"
    )


@pytest.mark.parametrize(
    ("bound", "text"),
    [(0.0, "0"), (1.0, "1"), (0.12341, "0.124"), (1.2301e-7, "1.24e-07"), (math.inf, "no bound")],
)
def test_bounds_are_rounded_upwards(bound: float, text: str) -> None:
    found = accusation()
    gain = torch.tensor([bound], dtype=torch.float64)
    proof = replace(found.global_verification, gain=gain, relative_gain=gain / 2)
    row = cells(report(replace(found, global_verification=proof)), "prosecutor", 5)
    assert row[1] == text
    assert row[4] == "optimal"


# ---------------------------------------------------------------------------- the whole search


def doubtful(found: Equilibrium) -> Equilibrium:
    everywhere = replace(found.global_verification, verdict=Verdict.UNDECIDED)
    return replace(found, global_verification=everywhere)


def test_overview_puts_nash_first() -> None:
    best, other = accusation(), profile(prosecutor_game(), [NOISE])
    text = overview([other, doubtful(best), best])
    nash, local = text.split("Local only: 2\n")
    assert nash.startswith("Nash equilibria: 1\n")
    row = cells(nash, "3", 5)
    assert re.fullmatch(r"certified: at most \S+", row[0])
    assert row[1:] == ["0.6", "0.6", "0.7", "blocks"]
    undecided, refuted = cells(local, "2", 5), cells(local, "1", 5)
    assert re.fullmatch(r"undecided: \S+ to \S+", undecided[0])
    # Noise convicts nobody, and with a small change neither; the best policy convicts 0.6.
    assert re.fullmatch(r"refuted: 0\.6 to 0\.60\d*", refuted[0])
    assert refuted[1:] == ["0", "0", "0.7", "blocks"]
    assert local.index("undecided") < local.index("refuted")
    assert "Each list is ranked by welfare." in text
    assert overview([best] * 23).count("\n  and 3 more\n") == 1
    assert overview([other]).startswith("Nash equilibria: none certified\n\nLocal only: 1\n")
    assert "Local only" not in overview([best])


def test_overview_without_room_for_the_senders() -> None:
    names = [f"a sender with a rather long name, number {k}" for k in range(3)]
    game = PersuasionGame([0.5, 0.5], TRUTH, torch.ones(3, 2, 2), 2, sender_names=names)
    text = overview([profile(game, [NOISE] * 3)])
    assert names[0] not in text
    assert cells(text, "", 4) == ["nash", "welfare", "receiver", "found by"]
    assert max(map(len, text.splitlines())) <= 100


def test_search_report_tells_the_first_in_the_order_of_the_overview() -> None:
    best, other = accusation(), profile(prosecutor_game(), [NOISE])
    text = search_report(prosecutor_game(), [other, best], 1, 0.005, 1.0)
    assert text.startswith(overview([other, best]))
    assert "\nWhat to do next\n  - " in text
    assert text.endswith("\nNumber 2 of the list\n\n" + report(best))
    assert search_report(prosecutor_game(), [other, best], 5, 0.005, 1.0).count("of the list") == 2


def test_a_search_by_another_player_says_so() -> None:
    text = search_report(prosecutor_game(), [accusation()], 1, 0.005, 1.0, rank_by="receiver")
    assert "Each list is ranked by the receiver's utility." in text.replace("\n", " ")


def test_nothing_found() -> None:
    text = nothing_found(didactic_game(), radius=0.005, time_limit=2.0)
    assert "No equilibrium was certified within 2 s at radius 0.005." in text
    assert cells(text, "sender 0", 2) == ["0.000000", "0.400000"]
    assert cells(text, "sender 1", 2) == ["0.800000", "0.000000"]
    text = nothing_found(didactic_game(), radius=0.005, time_limit=2.0, scope="global")
    assert "No Nash equilibrium was certified within 2 s." in text


@pytest.mark.parametrize("scale", [0.0, 1e-9, 1e9])
def test_utilities_of_any_size_are_readable(scale: float) -> None:
    game = PersuasionGame([0.5, 0.5], TRUTH, [[[0.0, scale], [0.0, scale]]], 2, "senders")
    text = report(profile(game, [TRUTH]))
    row = [float(cell) for cell in cells(text, "sender 0", 3)]
    assert row == pytest.approx([scale / 2, scale / 2, scale], rel=1e-5)


def test_senders_called_like_a_row_keep_their_row() -> None:
    names = ["welfare", "receiver"]
    game = PersuasionGame([0.5, 0.5], TRUTH, torch.ones(2, 2, 2), 2, sender_names=names)
    keys = ["welfare (sender)", "receiver (sender)", "welfare", "receiver"]
    assert list(outcomes(profile(game, [NOISE, NOISE]))) == keys


def test_every_member_says_what_it_proposes() -> None:
    assert all(MEMBERS[name].describes for name in MEMBERS)


@pytest.mark.parametrize("function", [report, outcomes])
def test_what_is_no_equilibrium_is_refused(function: Callable[[Any], object]) -> None:
    with pytest.raises(ValueError, match=r"equilibrium must be an Equilibrium, got 'x'"):
        function("x")


def test_what_is_no_list_of_equilibria_is_refused() -> None:
    game: Any = prosecutor_game()
    found = [profile(game, [TRUTH])]
    wrong: Any = [*found, 1]
    with pytest.raises(ValueError, match=r"equilibria must be a tuple or a list, got None"):
        overview(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"equilibria must be an Equilibrium, got 1"):
        overview(wrong)
    with pytest.raises(ValueError, match=r"shown must be an integer of at least 0, got -1"):
        search_report(game, found, -1, 0.005, 1.0)
    with pytest.raises(ValueError, match=r"game must be a PersuasionGame, got an int: 1"):
        search_report(1, found, 1, 0.005, 1.0)  # type: ignore[arg-type]


def test_rows_of_utilities_have_equally_many_decimals_unless_sizes_differ_much() -> None:
    assert aligned({"a": [0.5, -0.25], "b": [13.0, 2.0], "zero": [0.0, 0.0]}) == [
        ["a", "0.500000", "-0.250000"],
        ["b", "13.000000", "2.000000"],
        ["zero", "0.000000", "0.000000"],
    ]
    assert aligned({"a": [0.5], "b": [13_000.0], "zero": [0.0]}) == [
        ["a", "0.500000"],
        ["b", "13000.0"],
        ["zero", "0"],
    ]


def test_states_of_prior_0_are_left_out_and_the_report_says_so() -> None:
    game = PersuasionGame([0.0, 1.0], [[1, 0], [0, 1]], [[[0, 1], [0, 1]]], 2)
    policies = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]], dtype=torch.float64)
    text = policies_text(game, account(game, policies))
    assert "in the states that happen (those of prior 0 are left out)" in text
    assert "always sends signal 1" in text
