"""From games to rows of the table: fit surrogates, ascend them, verify where that ends.

Games whose networks have one shape go through the stages together. What does not depend on the
surrogate (starts, full revelation, no information) is computed once.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dnl.benchmark.rows import per_sender
from dnl.equilibria.response_walks import radii, walk
from dnl.equilibria.sampled_deviations import unrefuted
from dnl.equilibria.search import Search
from dnl.equilibria.verification import Verdict, decide_many
from dnl.exact.full_revelation import full_revelation
from dnl.gradients.extragradient import ExtragradientConfig, extragradient
from dnl.runtime.devices import pick_device
from dnl.runtime.memory import in_halves
from dnl.runtime.records import Row
from dnl.surrogates.fitted import FitConfig, FittedSurrogate, stack_surrogates
from dnl.surrogates.fitting import fit_many
from dnl.surrogates.sampling import Sample, sample
from games import PersuasionGame, checks
from games.persuasion.game_stack import stack
from games.randomness import stream


@dataclass(frozen=True)
class Stages:
    """The settings of all stages; the defaults are the paper's.

    Attributes:
        fit, solver: see `FitConfig` and `ExtragradientConfig`.
        starts: random starting profiles per game.
        radius: of the local equilibria.
        deviations: sampled deviations per sender and entry of its policy (times S * M in all).
        exact: also decide profiles exactly that sampling does not refute.
        finish: number of best end points (and starts) that exact best responses within a shrinking
            radius then improve until they rest and are certified.
        seed: of all random streams except the game's.
    """

    fit: FitConfig = field(default_factory=FitConfig)
    solver: ExtragradientConfig = field(default_factory=ExtragradientConfig)
    starts: int = 300
    radius: float = 0.005
    deviations: int = 100
    exact: bool = True
    finish: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        checks.positive_integer("starts", self.starts)
        checks.positive_number("radius", self.radius)
        checks.positive_integer("deviations", self.deviations)
        checks.positive_integer("finish", self.finish, least=0)
        checks.positive_integer("seed", self.seed, least=0)


@dataclass(frozen=True, eq=False)
class Baseline:
    """The part of a game's results that does not depend on the surrogate.

    Attributes:
        game: the game.
        starts: `(B, N, S, M)` random profiles, float64 on the CPU.
        columns: values of the table for starts, full revelation and no information.
    """

    game: PersuasionGame
    starts: Tensor
    columns: Row


def baselines(games: Sequence[PersuasionGame], stages: Stages) -> list[Baseline]:
    """Draw and verify the starts of games that can be fitted together."""
    # One tensor per game: pickling a slice for a worker would send the whole tensor.
    starts = [
        game.sample_policies(stages.starts, stream("starts", stages.seed, game.identity))
        for game in games
    ]
    passed = _passed(games, torch.stack(starts), stages)
    return [_baseline(*of_one, stages) for of_one in zip(games, starts, passed, strict=True)]


def _baseline(game: PersuasionGame, starts: Tensor, passed: Tensor, stages: Stages) -> Baseline:
    """The baseline of `game`; sampling does not refute its starts where `passed (B,)`."""
    utilities = game.ex_ante_utility(starts)
    revealed = full_revelation(game).utilities
    silent = game.no_information()
    columns: Row = {
        "seed": stages.seed,
        "radius": stages.radius,
        "starts": stages.starts,
        "starts_not_refuted": int(passed.sum()),
        "fr_welfare": revealed.sum().item(),
        "ni_welfare": silent.sum().item(),
        "start_welfare": utilities.sum(1).mean().item(),
        "game": game.identity,
        **per_sender("payoff_range", game.payoff_range),
        **per_sender("fr_utility", revealed),
        **per_sender("ni_utility", silent),
        **per_sender("start_utility", utilities.mean(0)),
    }
    if passed.any():
        columns["best_start_welfare"] = utilities[passed].sum(1).max().item()
    decided = _decided(game, starts, passed, stages)
    names = {"certified_welfare": "certified_start_welfare"}
    names |= {"finished_welfare": "finished_start_welfare"}
    columns |= {names.get(name, f"starts_{name}"): value for name, value in decided.items()}
    return Baseline(game, starts, columns)


def evaluate(
    baselines: Sequence[Baseline],
    surrogate: str,
    stages: Stages,
    on_epoch: Callable[[int, int], None] | None = None,
    samples: Sample = sample,
) -> list[Row]:
    """Fit `surrogate` to every game, ascend it from the starts, and verify the end points.

    If memory runs out, fewer games are fitted or verified at once, or fewer starts ascend at once.

    Args:
        baselines: of games that can be fitted together.
        surrogate: name of the networks.
        stages: settings.
        on_epoch, samples: passed to `fit_many`.

    Returns:
        One row per game, without the keys of the table.
    """
    device = pick_device(stages.fit.device)
    games = [b.game for b in baselines]

    def fit(part: Sequence[PersuasionGame]) -> list[FittedSurrogate]:
        return fit_many(
            part, surrogate, stages.fit, stages.seed, on_epoch=on_epoch, samples=samples
        )

    fitted = in_halves(fit, games)
    began = time.perf_counter()
    utility = stack_surrogates([f.to(device) for f in fitted])
    starts = torch.stack([b.starts for b in baselines], 1)  # (B, G, N, S, M)
    starts = starts.to(device, fitted[0].networks.dtype)

    def ascend(part: Sequence[Tensor]) -> tuple[Tensor, ...]:  # each (G, N, S, M)
        found = extragradient(utility, torch.stack(tuple(part), 1), stages.solver)
        return found.policies.double().cpu().unbind(1)

    ends = torch.stack(in_halves(ascend, starts.unbind(0)), 1)  # (G, B, N, S, M)
    ends = ends / ends.sum(-1, keepdim=True)  # distributions to float64's rounding, not float32's
    rows = []
    unrefuted_ends = _passed(games, ends, stages)
    for b, f, candidates, passed in zip(baselines, fitted, ends, unrefuted_ends, strict=True):
        row: Row = {
            **b.columns,
            "recipe": stages.fit.recipe,
            "parameter_count": f.parameter_count,
            "mse": f.mse.mean().item(),
            "unexplained": f.unexplained.nanmean().item(),
            "constant": bool(f.constant.all()),
            "fit_seconds": f.fit_seconds,
            "not_refuted": int(passed.sum()),
            **per_sender("mse", f.mse),
            **per_sender("unexplained", f.unexplained),
            **per_sender("constant", f.constant),
        }
        if passed.any():
            utilities = b.game.ex_ante_utility(candidates[passed])
            best = utilities[utilities.sum(1).argmax()]
            row |= {"best_welfare": best.sum().item(), **per_sender("best_utility", best)}
        row |= _decided(b.game, candidates, passed, stages)
        rows.append(row)
    seconds = (time.perf_counter() - began) / len(rows)
    return [row | {"solve_seconds": seconds} for row in rows]


def _passed(games: Sequence[PersuasionGame], policies: Tensor, stages: Stages) -> Tensor:
    """Which `policies (G, B, N, S, M)` sampled verification does not refute: `(G, B)` bool."""
    deviations = stages.deviations * policies.shape[-2:].numel()
    on_device = policies.to(pick_device(stages.fit.device))
    passed = torch.zeros(policies.shape[:2], dtype=torch.bool)
    alike: dict[object, list[int]] = {}
    for g, game in enumerate(games):
        alike.setdefault((game.shape, game.tie_break), []).append(g)

    def verified(part: Sequence[int]) -> list[Tensor]:
        together, rows = stack([games[g] for g in part]), on_device[list(part)]
        found = unrefuted(together, rows, stages.radius, stages.seed, deviations)
        return list(found.cpu())

    for members in alike.values():
        passed[members] = torch.stack(in_halves(verified, members))
    return passed


def _decided(game: PersuasionGame, policies: Tensor, passed: Tensor, stages: Stages) -> Row:
    """The columns of exact verification, of `policies (B, N, S, M)` that `passed (B,)` sampling."""
    row: Row = {}
    welfare = game.ex_ante_utility(policies).sum(1)
    # As many threads as torch has: all cores by default, one in a worker of a cluster.
    threads = torch.get_num_threads()
    if stages.exact:
        verdicts = decide_many(game, policies[passed].unbind(), stages.radius, workers=threads)
        row |= {str(v): verdicts.count(v) for v in (Verdict.CERTIFIED, Verdict.UNDECIDED)}
        indices = passed.nonzero().flatten().tolist()
        kept = [i for i, v in zip(indices, verdicts, strict=True) if v is Verdict.CERTIFIED]
        if kept:
            row["certified_welfare"] = welfare[kept].max().item()
    if stages.finish:
        search = Search(game, stages.radius, seed=stages.seed)
        order = welfare.argsort(descending=True, stable=True)[: stages.finish]
        walks = [p for i in order for p in walk(search, policies[i], radii(stages.radius))]
        rests = [p for p in walks if p is not None]
        verdicts = decide_many(game, rests, stages.radius, workers=threads)
        kept_rests = [p for p, v in zip(rests, verdicts, strict=True) if v is Verdict.CERTIFIED]
        if kept_rests:
            finished = game.ex_ante_utility(torch.stack(kept_rests)).sum(1)
            row["finished_welfare"] = finished.max().item()
    return row
