"""Finding equilibria worth having: members propose profiles, the exact verifier decides.

Each member is a file with one generator of profiles, usable alone: `members` names them.
`portfolio` runs them side by side and certifies what they propose; `equilibrium` is what comes out.
"""

from dnl.equilibria.equilibrium import Equilibrium
from dnl.equilibria.members import MEMBERS
from dnl.equilibria.portfolio import find_equilibria

__all__ = ["MEMBERS", "Equilibrium", "find_equilibria"]
