"""Search for equilibria: members propose profiles, the exact verifier decides.

Each member is one file with a generator of profiles and is usable alone. `members` registers them,
`portfolio` runs them side by side and certifies what they propose, `equilibrium` is the result.
"""

from dnl.equilibria import members as _members  # noqa: F401  (registers the library's own)
from dnl.equilibria.equilibrium import Equilibria, Equilibrium
from dnl.equilibria.member import MEMBERS, Member, register
from dnl.equilibria.portfolio import find_equilibria

__all__ = ["MEMBERS", "Equilibria", "Equilibrium", "Member", "find_equilibria", "register"]
