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
    """Let imports find the old names; a module of the same name would go first."""
    if not any(isinstance(finder, _OldNames) for finder in sys.meta_path):
        sys.meta_path.append(_OldNames())
