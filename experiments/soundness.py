"""Test the exact bounds: search random games and profiles for a deviation that beats them.

Each triple is a random game, a random profile and a radius. The exact bound on what one sender
reaches within the radius must hold against every simulated deviation: samples, corners of the box,
crossings of the receiver's indifference, and refinements of the best of these.

In further games with the utilities 0, 1 and 2, ties are common. There, bounds are compared with an
exact enumeration (`experiments.shared.soundness_of_ties`).
"""

import time
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

from dnl import best_response
from dnl.equilibria.sampled_deviations import deviations_within
from dnl.runtime import cli
from dnl.runtime.records import Row
from dnl.runtime.tables import Key
from experiments.shared import soundness_of_ties
from experiments.shared.resumable import table_of
from games import LAWS, PersuasionGame, checks, synthetic_game
from games.persuasion.game import TIE_BREAKS
from games.randomness import stream

RADII = (0.001, 0.005, 0.05, 0.3, 1.0)
KINDS = ("random", "near-pure", "pure", "cliff", "border")
SIZES = (2, 3, 4)
TIGHT_SHARE = 1e-4  # of the payoff range: a bound is tight if a witness is this close
ROUNDING = 1e-9  # of the payoff range
CLIFF_ATTEMPTS = 20
COLUMNS = (
    "triple",
    "law",
    "n_senders",
    "n_signals",
    "n_states",
    "n_actions",
    "game",
    "tie_break",
    "kind",
    "sender",
    "radius",
    "payoff_range",
    "utility",
    "bound",
    "sampled",
    "witness",
    "claimed",
    "status",
    "seconds",
    "search_seconds",
    "excess",
    "tight",
    "violation",
    "misstated",
)
ROUNDS = 5  # of refinement


@dataclass(frozen=True)
class Triple:
    """One test case: who deviates from which profile, and how far."""

    game: PersuasionGame
    law: str
    kind: str
    policies: Tensor  # (N, S, M)
    sender: int
    radius: float


def main(
    *,
    triples: int = 2000,
    ties: int = 2000,
    samples: int = 10_000,
    time_limit: float = 10.0,
    seed: int = 0,
    out: Path = Path("results/soundness"),
    quiet: Annotated[bool, cli.FLAG] = False,
) -> int:
    """Compare exact bounds with the best deviations found; exit code 1 if one is wrong.

    Finished rows in the folder are kept, so an interrupted run can be resumed.

    Args:
        triples: Number of random games with a profile and a radius.
        ties: Number of random games with ties, whose values are enumerated.
        samples: Deviations tried per triple, besides those at the receiver's indifference.
        time_limit: Seconds for each bound.
        seed: Seed of all draws.
        out: Folder of the table.
        quiet: Show no progress.
    """
    checks.positive_integer("triples", triples)
    checks.positive_integer("ties", ties)
    checks.positive_integer("samples", samples)
    checks.positive_number("time_limit", time_limit)
    checks.positive_integer("seed", seed, least=0)
    began = time.perf_counter()
    configuration = {"samples": samples, "time_limit": time_limit, "seed": seed}
    rows = table_of(
        out,
        ("triple",),
        [(index,) for index in range(triples)],
        row_of,
        configuration,
        (samples, time_limit, seed),
        quiet=quiet,
        table="soundness.csv",
    )
    enumerated = table_of(
        out,
        ("game",),
        [(index,) for index in range(ties)],
        soundness_of_ties.row_of,
        configuration,
        (time_limit, seed),
        quiet=quiet,
        table=soundness_of_ties.TABLE,
        within=("quantity",),
    )
    violations, misstated = int(rows["violation"].sum()), int(rows["misstated"].sum())
    print(
        f"{len(rows)} triples, {violations} violations, {misstated} utilities misstated, largest "
        f"(sampled - bound) / range {rows['excess'].max():.2g}, witness within {TIGHT_SHARE:g} "
        f"x range of the bound in {rows['tight'].mean():.1%}, {time.perf_counter() - began:.0f} s"
    )
    print(soundness_of_ties.report(enumerated))
    wrong = enumerated[[*soundness_of_ties.WRONG]].to_numpy().any()
    return 1 if violations or misstated or wrong else 0


def row_of(key: Key, samples: int, time_limit: float, seed: int) -> Row:
    """The row of one triple."""
    (index,) = key
    return {"triple": index} | measure(draw(index, seed), samples, time_limit, index, seed)


def draw(index: int, seed: int) -> Triple:
    """The random triple of this index."""
    generator = stream("verifier", "soundness", "triple", seed, index)

    def pick(count: int) -> int:
        return int(torch.randint(count, (), generator=generator))

    law, n_senders = LAWS[pick(2)], 1 + pick(3)
    m, s, a = (SIZES[pick(len(SIZES))] for _ in range(3))
    game = synthetic_game(n_senders, m, s, a, seed=pick(10_000), law=law)
    game = replace(game, tie_break=TIE_BREAKS[pick(2)])
    kind, policies = profile(KINDS[pick(len(KINDS))], game, generator)
    return Triple(game, law, kind, policies, pick(n_senders), RADII[pick(len(RADII))])


def profile(kind: str, game: PersuasionGame, generator: torch.Generator) -> tuple[str, Tensor]:
    """A profile `(N, S, M)` and its kind, which becomes "random" if no change of action is found.

    Near-pure profiles are 1e-7 to 0.1 away from pure ones. On a cliff two actions tie at a joint
    signal up to rounding; at a border the last digit decides whether they tie.
    """
    mixed = game.sample_policies(1, generator)[0]
    pure = torch.nn.functional.one_hot(
        game.sample_policies(1, generator)[0].argmax(-1), game.n_signals
    ).to(mixed)
    if kind == "pure":
        return kind, pure
    if kind == "near-pure":
        exponent = -1 - 6 * torch.rand((), dtype=torch.float64, generator=generator)
        return kind, pure + 10**exponent * (mixed - pure)
    if kind in ("cliff", "border"):
        for _ in range(CLIFF_ATTEMPTS):
            ends = game.sample_policies(2, generator)
            left, right = game.receiver_action(ends)
            if (left != right).any():
                return kind, _switching_point(game, ends, left, right, border=kind == "border")
    return "random", mixed


def _switching_point(
    game: PersuasionGame, ends: Tensor, left: Tensor, right: Tensor, border: bool
) -> Tensor:
    """Where the reaction changes from `left (K,)` on the way between the profiles `ends`."""
    k = int((left != right).nonzero()[0])
    pair = game.receiver_utility[:, [int(left[k]), int(right[k])]]  # (S, 2)
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        point = ends[0] + middle * (ends[1] - ends[0])
        scores = game.posteriors(point)[1][k] @ pair
        if torch.equal(game.receiver_action(point), left) if border else scores[0] > scores[1]:
            low = middle
        else:
            high = middle
    return ends[0] + low * (ends[1] - ends[0])


def measure(
    triple: Triple, samples: int, time_limit: float, index: int, seed: int
) -> dict[str, Any]:
    """One row of the table: the bound, the best deviation found, and which is larger."""
    game, policies, sender = triple.game, triple.policies, triple.sender
    began = time.perf_counter()
    response = best_response(game, policies, sender, triple.radius, time_limit)
    seconds = time.perf_counter() - began
    generator = stream("verifier", "soundness", "deviations", seed, index)
    began = time.perf_counter()
    sampled = best_sampled(triple, samples, generator)
    searched = time.perf_counter() - began
    changed = policies.clone()
    changed[sender] = response.policy
    own, witness = game.ex_ante_utility(torch.stack([policies, changed]))[:, sender].tolist()
    span = game.payoff_range[sender].item() or 1.0  # in units of utility if the range is 0
    bound = response.upper_bound
    excess = (sampled - bound) / span
    n, m, s, a = game.shape
    return {
        "law": triple.law,
        "n_senders": n,
        "n_signals": m,
        "n_states": s,
        "n_actions": a,
        "game": game.identity,
        "tie_break": game.tie_break,
        "kind": triple.kind,
        "sender": sender,
        "radius": triple.radius,
        "payoff_range": span,
        "utility": own,
        "bound": bound,
        "sampled": sampled,
        "witness": witness,
        "claimed": response.utility,
        "status": str(response.status),
        "seconds": round(seconds, 4),
        "search_seconds": round(searched, 4),
        "excess": excess,
        "tight": bound - witness <= TIGHT_SHARE * span,
        "violation": max(excess, (witness - bound) / span) > ROUNDING,
        "misstated": abs(response.utility - witness) > ROUNDING * span,
    }


# -------------------------------------------------------------------------- searching deviations


def best_sampled(triple: Triple, samples: int, generator: torch.Generator) -> float:
    """The highest utility that the search finds within the radius.

    Half of the samples cover the whole box, inside and corners. The other half are drawn in rounds
    near the best so far; each round also tries the crossings of indifference from there.
    """
    game, own = triple.game, triple.policies[triple.sender]
    low, high = (own - triple.radius).clamp_min(0), (own + triple.radius).clamp_max(1)
    others = _others_weights(game, triple.policies, triple.sender)
    size = (max(1, samples // 4), game.n_states, game.n_signals)
    noise = torch.rand(size, dtype=torch.float64, generator=generator)
    objective = torch.randn(size, dtype=torch.float64, generator=generator)
    inside = deviations_within(own, triple.radius, noise)
    corners = _corners(low, high, objective)
    best, point = _best(triple, torch.cat([own.unsqueeze(0), inside, corners]))
    size = (max(1, samples // (2 * ROUNDS)), game.n_states, game.n_signals)
    for _ in range(ROUNDS):
        objective = torch.randn(size, dtype=torch.float64, generator=generator)
        share = 4.0 ** -torch.randint(12, (size[0], 1, 1), generator=generator)
        moving = torch.rand((*size[:2], 1), dtype=torch.float64, generator=generator) < 0.5
        near = point + share * moving * (_corners(low, high, objective) - point)
        tied = crossings(game, others, point, low, high)
        utility, top = _best(triple, torch.cat([near, tied]))
        if utility > best:
            best, point = utility, top
    return best


def _best(triple: Triple, tried: Tensor) -> tuple[float, Tensor]:
    """The highest utility among policies `(D, S, M)`, and its policy."""
    utility = triple.game.deviation_utility(triple.policies, triple.sender, tried)
    top = int(utility.argmax())
    return utility[top].item(), tried[top]


def _others_weights(game: PersuasionGame, policies: Tensor, sender: int) -> Tensor:
    """Prior times the probability of each joint signal of the others: `(K / M, S)`."""
    weights = game.prior.unsqueeze(0)
    for other in range(game.n_senders):
        if other != sender:
            weights = (weights.unsqueeze(1) * policies[other].mT).flatten(0, 1)
    return weights


def _corners(low: Tensor, high: Tensor, objective: Tensor) -> Tensor:
    """Corners of the box with rows that sum to 1, `(D, S, M)`: filled greedily, best first."""
    order = objective.argsort(-1, descending=True)
    room = (high - low).expand_as(objective).gather(-1, order)
    before = room.cumsum(-1) - room
    left = (1 - low.sum(-1)).unsqueeze(-1) - before
    fill = torch.zeros_like(room).scatter(-1, order, left.clamp_min(0).minimum(room))
    return low + fill


def crossings(
    game: PersuasionGame, others: Tensor, own: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """Policies `(D, S, M)` at and just beyond the receiver's indifference.

    From `own`, mass of one state moves between two signals until two actions tie at the joint
    signal of one of them with the others' signals (or until the edge of the box).
    """
    n_signals = own.shape[1]
    v = game.receiver_utility
    pairs = list(combinations(range(game.n_actions), 2))
    normals = torch.stack([v[:, a] - v[:, b] for a, b in pairs])  # (P, S)
    normals = (others.unsqueeze(1) * normals).flatten(0, 1)  # (J * P, S)
    score = normals @ own  # (J * P, M): zero at indifference
    # Change of own[s, m] that makes the score zero, for every line, state and signal.
    change = -score.unsqueeze(1) / normals.unsqueeze(-1)  # (J * P, S, M)
    change = torch.cat([change, (high - own).unsqueeze(0), (low - own).unsqueeze(0)])
    change = torch.cat([change, change * (1 - 1e-7), change * (1 + 1e-7)])
    found = []
    for signal in range(n_signals):
        for other in range(n_signals):
            if other == signal:
                continue
            least = torch.maximum(low[:, signal] - own[:, signal], own[:, other] - high[:, other])
            most = torch.minimum(high[:, signal] - own[:, signal], own[:, other] - low[:, other])
            step = change[:, :, signal]
            fits = step.isfinite() & (step >= least) & (step <= most) & (step != 0)
            which, state = fits.nonzero(as_tuple=True)
            moved = own.repeat(len(which), 1, 1)
            index = torch.arange(len(which))
            moved[index, state, signal] += step[which, state]
            moved[index, state, other] -= step[which, state]
            found.append(moved)
    return torch.cat(found).clamp_min(0) if found else own.new_zeros(0, *own.shape)


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.soundness"))
