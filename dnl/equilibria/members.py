"""The members of the portfolio, one line each. Early ones run in this order."""

from dnl.equilibria.agreement import agreement
from dnl.equilibria.blocks import all_blocks, blocks
from dnl.equilibria.division import division
from dnl.equilibria.gradient_ascent import extragradient_smoothed
from dnl.equilibria.member import Member, register
from dnl.equilibria.one_speaker import one_speaker
from dnl.equilibria.planner import planner
from dnl.equilibria.reference_profiles import no_information, revelation
from dnl.equilibria.response_walks import global_responses, local_responses

register(
    Member(
        name="no-information",
        describes="no sender says anything",
        propose=no_information,
        early=True,
    )
)
register(
    Member(
        name="full-revelation",
        describes="the senders reveal what the receiver needs to know",
        propose=revelation,
        early=True,
        may_be_global=True,
        prove_global_first=True,  # no sender can hide what these say
        is_promised=True,
    )
)
register(
    Member(
        name="agreement",
        describes="all senders reveal the same partition of the states",
        propose=agreement,
        early=True,
        may_be_global=True,
        prove_global_first=True,
    )
)
register(
    Member(
        name="planner",
        describes="one sender passes on a planner's recommendation",
        propose=planner,
        early=True,
        may_be_global=True,
    )
)
register(
    Member(
        name="division",
        describes="each sender answers one question about the state, or says nothing",
        propose=division,
        early=True,
        may_be_global=True,
    )
)
register(
    Member(
        name="one-speaker",
        describes="one sender recommends actions, the others say nothing",
        propose=one_speaker,
        early=True,
        may_be_global=True,
    )
)
register(
    Member(
        name="blocks",
        describes="each sender partitions the states; moving one state pays no sender",
        propose=blocks,
        early=True,
    )
)
register(
    Member(
        name="responses",
        describes="best responses in turn, until no sender moves",
        propose=global_responses,
        may_be_global=True,
    )
)
register(
    Member(
        name="local-responses",
        describes="best responses within a shrinking radius, until no sender moves",
        propose=local_responses,
        is_local=True,
    )
)
register(
    Member(
        name="extragradient",
        describes="ascent with a smoothed receiver, then best responses",
        propose=extragradient_smoothed,
        is_local=True,
    )
)
register(
    Member(
        name="all-blocks",
        describes="each sender partitions the states",
        propose=all_blocks,
    )
)
