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

register(Member(name="no-information", propose=no_information, early=True))
register(
    Member(
        name="full-revelation",
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
        propose=agreement,
        early=True,
        may_be_global=True,
        prove_global_first=True,
    )
)
register(Member(name="planner", propose=planner, early=True, may_be_global=True))
register(Member(name="division", propose=division, early=True, may_be_global=True))
register(Member(name="one-speaker", propose=one_speaker, early=True, may_be_global=True))
register(Member(name="blocks", propose=blocks, early=True))
register(Member(name="responses", propose=global_responses, may_be_global=True))
register(Member(name="local-responses", propose=local_responses))
register(Member(name="extragradient", propose=extragradient_smoothed))
register(Member(name="all-blocks", propose=all_blocks))
