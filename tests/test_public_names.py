"""Names that other people's scripts rely on: what README, docs and docstring examples import."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name

import pytest

import dnl
from dnl.runtime.old_names import MOVED

ROOT = Path(__file__).parents[1]

# A name may be added. One that is taken away breaks somebody's script.
PUBLIC = {
    "dnl": "BestResponse Equilibrium ExtragradientConfig ExtragradientResult FitConfig"
    " FittedSurrogate FullRevelation OptimalPersuasion Optimum Verdict Verification Verifications"
    " LearnedCandidate WelfareCeiling Worst"
    " best_response extragradient find_equilibria find_learned_equilibria fit fit_many"
    " follower_optimum follower_worst full_revelation layers optimal_persuasion pricing_gain"
    " surrogates verify welfare_ceiling",
    "dnl.bench": "main",
    "dnl.equilibria": "MEMBERS Equilibrium LearnedCandidate find_equilibria"
    " find_learned_equilibria",
    "dnl.exact.learned": "learned_optimum",
    "dnl.gambit": "grid_policies payoff_table pure_equilibria save_nfg",
    "dnl.layers": "PATTERN_GRADIENTS ActivationPattern DiscontinuousMLP EmittedLinear"
    " FollowerChoice FollowerNetwork Linear PatternBias PatternedMLP least_squares"
    " quantal_response relu_mlp",
    "dnl.learning_to_persuade": "PAPER_WARM_UP AlternatingConfig AskingConfig Interview"
    " LearnedPolicy PlayConfig ReceiverNetwork SenderProblem TableNet WarmUpConfig info_policy"
    " info_q learn_alternating learn_by_asking model_receiver persuade_known play",
    "dnl.plot": "main",
    "dnl.recipes": "Recipe",
    "dnl.report": "report",
    "dnl.solve": "main",
    "dnl.surrogates": "PAPER_SURROGATES SURROGATES Architecture DeLUNetwork ReLUNetwork Shape"
    " Surrogate make_surrogate parameter_count register",
    "games": "LAWS REGISTRY ContractGame Family Focused FollowerGame GameStack PersuasionGame"
    " PricingGame SecurityGame UtilityEstimate Zoomed advertising_products_game"
    " advertising_quality_game didactic_game prosecutor_game random_contract_game"
    " random_matrix_game random_pricing_game random_security_game ride_hailing_game stack"
    " synthetic_game",
    "games.persuasion": "TIE_BREAKS PersuasionGame",
    "games.receivers": "BanditReceiver QLearningReceiver RationalReceiver",
}


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_are_there(module: str) -> None:
    loaded = import_module(module)
    assert [name for name in PUBLIC[module].split() if not hasattr(loaded, name)] == []
    exported = getattr(loaded, "__all__", [])
    assert [name for name in exported if not hasattr(loaded, name)] == []


def test_what_dnl_exports_is_pinned() -> None:
    assert sorted(dnl.__all__) == sorted(PUBLIC["dnl"].split())


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_old_module_names_give_the_modules_that_moved(old: str, new: str) -> None:
    module = import_module(new)
    assert import_module(old) is module
    assert module.__name__ == new
    assert module.__spec__ is not None
    assert module.__spec__.name == new  # reloading and pickling go by the new name
    assert resolve_name(old) is module  # as an attribute, too


def test_old_names_need_no_import_of_their_own() -> None:
    script = "import dnl; print(dnl.recipes.Recipe.__module__, dnl.finding.MEMBERS is not None)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.stdout == "dnl.training.recipes True\n", done.stderr
    with pytest.raises(AttributeError, match="module 'dnl' has no attribute 'nothing'"):
        dnl.nothing  # noqa: B018


def test_no_code_of_ours_uses_an_old_name() -> None:
    old = "|".join(map(re.escape, MOVED))
    pattern = re.compile(rf"(?:from|import) (?:{old})\b")
    folders = [ROOT / name for name in ("dnl", "games", "experiments", "docs")]
    files = [
        path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".md")
    ]
    files.remove(ROOT / "dnl" / "runtime" / "old_names.py")
    assert len(files) > 100
    assert [str(path) for path in files if pattern.search(path.read_text())] == []


def test_every_dotted_name_in_the_documents_exists() -> None:
    found = set()
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        found |= set(re.findall(r"\b(?:dnl|games)(?:\.[A-Za-z_]+)+", path.read_text()))
    found -= {"games.csv"}
    assert len(found) > 15
    for dotted in sorted(found):
        resolve_name(dotted)
