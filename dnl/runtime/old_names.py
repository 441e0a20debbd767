"""Module names from before modules moved into rooms: importing one gives the module that moved.

A user's script that says `from dnl.gambit import save_nfg` goes on working. New code uses the new
names; nothing in the library uses the old ones.
"""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import MappingProxyType, ModuleType

MOVED: Mapping[str, str] = MappingProxyType(
    {
        "dnl.budget": "dnl.runtime.budget",
        "dnl.exact.learned": "dnl.surrogates.learned_optimum",
        "dnl.finding": "dnl.equilibria",
        "dnl.finding.agreement": "dnl.equilibria.agreement",
        "dnl.finding.blocks": "dnl.equilibria.blocks",
        "dnl.finding.division": "dnl.equilibria.division",
        "dnl.finding.equilibrium": "dnl.equilibria.equilibrium",
        "dnl.finding.gradients": "dnl.equilibria.gradient_ascent",
        "dnl.finding.members": "dnl.equilibria.member",
        "dnl.finding.planner": "dnl.equilibria.planner",
        "dnl.finding.portfolio": "dnl.equilibria.portfolio",
        "dnl.finding.responses": "dnl.equilibria.response_walks",
        "dnl.finding.search": "dnl.equilibria.search",
        "dnl.finding.speakers": "dnl.equilibria.one_speaker",
        "dnl.gambit": "games.persuasion.gambit",
        "dnl.pieces": "dnl.surrogates.affine_pieces",
        "dnl.posteriors": "dnl.layers.posterior",
        "dnl.recipes": "dnl.training.recipes",
        "dnl.report": "dnl.reporting.equilibrium_text",
        "dnl.sampling": "dnl.surrogates.sampling",
        "dnl.solver": "dnl.gradients.extragradient",
        "dnl.stacking": "dnl.layers.stack",
    }
)


class _OldNames(MetaPathFinder, Loader):
    """Finds the modules of `MOVED` and hands out what stands at their new names."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return spec_from_loader(name, self) if name in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(MOVED[spec.name])
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None  # the import has just put the old name's there
        module.__spec__ = module.__spec__.loader_state


def install() -> None:
    """Let imports find the old names.

    Before other finders: `dnl.finding` is a package elsewhere, whose modules must not load twice.
    """
    if not any(isinstance(finder, _OldNames) for finder in sys.meta_path):
        sys.meta_path.insert(0, _OldNames())
