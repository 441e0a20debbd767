"""Lower bounds on the time of the paper's benchmark, stage by stage, and measured times.

Counts the operations and bytes that each stage of the whole grid (1,250 games of one law) needs at
least, and derives the least time from a machine's peak rates. For comparison, it measures the
stages on this machine at three sizes per number of senders, together with the machine's peaks of
matrix products and of copying. A straight line in the logarithms of time and count extends the
measured times to the other sizes.

===================== ================================================= ==========================
stage                 operations per game                               bytes per game
===================== ================================================= ==========================
simulation            60,000 profiles x (2 K S A + K S)                 8 (N S M + N) per profile
fit                   N networks x 30 x 50,000 samples x 6 P            inputs once per pass, 24 P
                                                                        per step: weights, moments
extra-gradient        N networks x 300 starts x 40 gradients x 4 P      24 N S M per gradient
verification, all     300 profiles x N x 100 S M deviations x 2 K S A   8 S M per deviation
verification, decided 300 profiles x N x 100 S M deviations x 2 S M     8 S M per deviation
===================== ================================================= ==========================

`K = M**N` joint signals. Each of the `P` parameters of a network is multiplied once forwards and
twice backwards (once for gradients of the inputs only), as automatic differentiation does; the
first layer could need less. Fit and extra-gradient are in single precision, the others in double.
"All" simulates every joint signal of every deviation, as the paper describes it; "decided" is the
work left if no deviation could change the receiver's action. Profiles are the end points of three
surrogates and the starts.
"""

import itertools
import math
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import pandas as pd
import torch

from dnl import ExtragradientConfig, FitConfig, extragradient, fit_many
from dnl.benchmark.plan import PRESETS
from dnl.equilibria.sampled_deviations import DEVIATIONS_PER_ENTRY, unrefuted
from dnl.runtime import cli
from dnl.runtime.records import claim, provenance
from dnl.runtime.tables import write_table
from dnl.surrogates.registry import PAPER_SURROGATES, Shape, make_surrogate, parameter_count
from experiments.shared import timing
from games import PersuasionGame, checks, synthetic_game
from games.files import write_text
from games.randomness import stream

PAPER = PRESETS["paper"]
TEST_SAMPLES = 10_000
GRADIENTS_PER_START = 40  # of one ascent: two in each of 20 iterations
CHECKED = (
    len(PAPER_SURROGATES) + 1
)  # profiles are verified at the end points of each and the starts
BATCH = 512
REPEATS = 5  # runs, of which the median counts
MEASURED = tuple((n, size, size, size) for n in (2, 4) for size in (2, 6, 10))
# NVIDIA's data sheet of the H200 (SXM): operations per second without and with tensor cores for
# double precision, without for single (no TF32); bytes per second.
H200 = {"float32": 67e12, "float64": 67e12, "bytes": 4.8e12}
STAGES = (
    "simulation",
    *(f"fit, {name}" for name in PAPER_SURROGATES),
    *(f"extra-gradient, {name}" for name in PAPER_SURROGATES),
    "sampled verification, all",
    "sampled verification, decided",
)


@dataclass(frozen=True)
class Work:
    """Work of a stage for one game: operations, their precision, and bytes."""

    operations: float
    precision: str
    bytes: float


def work_of(stage: str, shape: Shape) -> Work:
    """Count the work as in the module's table."""
    n_senders, n_signals, n_states, n_actions = shape
    joint = n_signals**n_senders
    inputs = n_senders * n_states * n_signals
    if stage == "simulation":
        profiles = PAPER.samples + TEST_SAMPLES
        each = 2 * joint * n_states * n_actions + joint * n_states
        return Work(profiles * each, "float64", profiles * 8 * (inputs + n_senders))
    if stage.startswith("sampled verification"):
        deviations = (
            CHECKED * PAPER.starts * n_senders * DEVIATIONS_PER_ENTRY * n_states * n_signals
        )
        own = n_states * n_signals
        each = 2 * (joint * n_states * n_actions if stage.endswith("all") else own)
        return Work(deviations * each, "float64", deviations * 8 * own)
    kind, name = stage.split(", ")
    parameters = parameter_count(make_surrogate(name, shape))
    if kind == "fit":
        samples = PAPER.samples * PAPER.epochs
        steps = PAPER.epochs * math.ceil(PAPER.samples / BATCH)
        traffic = samples * 4 * inputs + n_senders * steps * 24 * parameters
        return Work(n_senders * samples * 6 * parameters, "float32", traffic)
    gradients = PAPER.starts * GRADIENTS_PER_START
    return Work(n_senders * gradients * 4 * parameters, "float32", gradients * 24 * inputs)


def grid() -> list[Shape]:
    """The shapes (N, M, S, A) of the paper's benchmark."""
    return [(n, *size) for n in (2, 4) for size in PAPER.sizes]


def floor_seconds(work: Work, peak: dict[str, float]) -> float:
    """The least time on a machine with these peaks if arithmetic and memory traffic overlap."""
    return max(work.operations / peak[work.precision], work.bytes / peak["bytes"])


def peaks(size: int = 1024, entries: int = 2**24) -> dict[str, float]:
    """Peaks of this machine: operations per second of matrix products, bytes copied per second."""
    found = {}
    for name, dtype in (("float32", torch.float32), ("float64", torch.float64)):
        factor = torch.rand(size, size, dtype=dtype)
        found[name] = 2 * size**3 / timing.seconds(partial(torch.mm, factor, factor), REPEATS)
    source = torch.rand(entries)
    target = torch.empty_like(source)
    found["bytes"] = 8 * entries / timing.seconds(lambda: target.copy_(source), REPEATS)
    return found


def measured(shape: Shape, profiles: int, starts: int, samples: int) -> dict[str, float]:
    """Seconds per stage for one game of `shape`, extrapolated from a part of the work.

    Args:
        shape: (N, M, S, A), contested law.
        profiles: number simulated, in place of the paper's 60,000.
        starts: number verified, in place of 300; the ascent has 300 if there are as many profiles.
        samples: number trained on, in place of 50,000; the passes after the first one count.
    """
    game = synthetic_game(*shape, seed=0, law="contested")
    n_signals, n_states = shape[1:3]
    batch = game.sample_policies(profiles, stream("data", 0, game.identity, "floors"))
    seconds = {
        "simulation": timing.seconds(lambda: game.ex_ante_utility(batch), REPEATS)
        * (PAPER.samples + TEST_SAMPLES)
        / profiles
    }
    begin = batch[: PAPER.starts]
    ends = [begin[:starts]]
    for name in PAPER_SURROGATES:
        seconds[f"fit, {name}"], ascent, end = _through(game, name, begin, samples)
        seconds[f"extra-gradient, {name}"] = ascent * PAPER.starts / len(begin)
        ends.append(end[:starts])
    every = DEVIATIONS_PER_ENTRY * n_states * n_signals
    checks_of = [
        partial(unrefuted, game.stacked(), end.unsqueeze(0), 0.005, 0, every) for end in ends
    ]
    checked = sum(timing.seconds(check) for check in checks_of)
    seconds["sampled verification, all"] = checked * PAPER.starts / starts
    return seconds


def _through(
    game: PersuasionGame, name: str, begin: torch.Tensor, samples: int
) -> tuple[float, float, torch.Tensor]:
    """Seconds of a fit of the paper's length, those of the ascent from `begin`, and its end."""
    marks: list[float] = []
    config = FitConfig(samples=samples, test_samples=2, epochs=4, device="cpu")
    (fitted,) = fit_many(
        [game], name, config, on_epoch=lambda *_: marks.append(time.perf_counter())
    )
    passes = sorted(after - before for before, after in itertools.pairwise(marks))
    each = passes[len(passes) // 2] / samples
    single = begin.float()
    began = time.perf_counter()
    end = extragradient(fitted, single, ExtragradientConfig()).policies.double()
    ascent = time.perf_counter() - began
    return PAPER.samples * PAPER.epochs * each, ascent, end / end.sum(-1, keepdim=True)


def carried(stage: str, seconds: dict[Shape, float], shape: Shape) -> float:
    """Seconds of `stage` at `shape`, from those measured with the same number of senders."""
    points = sorted(
        (math.log(work_of(stage, known).operations), math.log(value))
        for known, value in seconds.items()
        if known[0] == shape[0]
    )
    at = math.log(work_of(stage, shape).operations)
    (x0, y0), (x1, y1) = points[:2]
    for left, right in itertools.pairwise(points):
        if at >= left[0]:
            (x0, y0), (x1, y1) = left, right
    return math.exp(y0 + (y1 - y0) * (at - x0) / (x1 - x0))


def table(here: dict[str, float], seconds: dict[Shape, dict[str, float]]) -> pd.DataFrame:
    """One line per stage: counts of the whole grid, floors in seconds, and the measured time."""
    rows = []
    for stage in STAGES:
        works = {shape: work_of(stage, shape) for shape in grid()}
        times = {shape: own[stage] for shape, own in seconds.items() if stage in own}
        floor = sum(floor_seconds(work, here) for work in works.values())
        took = sum(carried(stage, times, shape) for shape in works) if times else math.nan
        row = {
            "operations": sum(work.operations for work in works.values()),
            "bytes": sum(work.bytes for work in works.values()),
            "H200_floor": sum(floor_seconds(work, H200) for work in works.values()),
            "floor": floor,
            "measured": took,
        }
        row = {name: PAPER.instances * value for name, value in row.items()}
        rows.append({"stage": stage} | row | {"ratio": took / floor})
    return pd.DataFrame(rows)


def readme(stages: pd.DataFrame, here: dict[str, float], threads: int) -> str:
    """The text of results/speed/README.md."""
    lines = [
        "# Counted first",
        "",
        "`python -m experiments.floors` writes this page; what is counted, and how, stands at",
        "the head of that file. The whole grid of one law: 1,250 games, 3,750 senders'",
        "utilities, three surrogates. Floors: the least time that the counts allow at a",
        "machine's peaks.",
        "",
        f"- This machine: {provenance(torch.device('cpu'))['hardware']}, {threads} thread(s),",
        f"  {here['float32'] / 1e9:.0f} and {here['float64'] / 1e9:.0f} GFLOP/s in products of",
        f"  single and double precision, {here['bytes'] / 1e9:.1f} GB/s copied, measured in turns",
        "  with the stages.",
        "- H200, from its data sheet: 67 TFLOP/s in single precision (no TF32) and 67 in double",
        "  (tensor cores), 4.8 TB/s. Nothing was measured on one here.",
        "",
        "| stage | operations | bytes | floor, H200 | floor here | time here | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in stages.to_dict("records"):
        known = row["measured"] == row["measured"]
        ratio = f"{row['ratio']:.2g}" if known else "-"
        time_here = _duration(row["measured"]) if known else "-"
        lines.append(
            f"| {row['stage']} | {row['operations']:.1e} | {row['bytes']:.1e} | "
            f"{_duration(row['H200_floor'])} | {_duration(row['floor'])} | {time_here} | {ratio} |"
        )
    lines += [
        "",
        "Times here are measured at three sizes for each number of senders and carried to the",
        "others (`floors/floors.csv` has the counts, `floors/measured.csv` the measurements).",
        "Sampled verification takes less than the floor of simulating everything: a small",
        "deviation can tip few joint signals, the others are summed once for all, and a refuted",
        "profile is left alone.",
    ]
    return "\n".join(lines) + "\n"


def main(
    *,
    profiles: int = 2_000,
    starts: int = 20,
    samples: int = 5_120,
    out: Path = Path("results/speed"),
    small: bool = False,
) -> int:
    """Count, measure, and write README.md and its tables.

    Args:
        profiles: Number simulated per measured size.
        starts: Number verified per measured size.
        samples: Number trained on per measured size.
        out: Folder of the page; the tables go into its subfolder floors/.
        small: Run for a few seconds only; the times mean nothing.
    """
    for name, value in (("profiles", profiles), ("starts", starts), ("samples", samples)):
        checks.positive_integer(name, value, least=2)
    tables = out / "floors"
    threads = torch.get_num_threads()
    held = claim(tables, {"threads": threads})
    shapes = MEASURED
    if small:
        profiles, starts, samples = 20, 2, 50
        shapes = tuple((n, size, 2, 2) for n in (2, 4) for size in (2, 3))
    seconds, peak = {}, []
    for count, shape in enumerate(shapes, 1):  # the load of a shared machine varies
        peak.append(peaks(64, 1024) if small else peaks())
        seconds[shape] = measured(shape, profiles, starts, samples)
        if not small:
            print(f"{shape}: {count}/{len(shapes)}", file=sys.stderr)
    here = {name: median(one[name] for one in peak) for name in peak[0]}
    stages = table(here, seconds)
    write_table(stages, tables / "floors.csv")
    write_table(pd.DataFrame([here]), tables / "peaks.csv")
    keys = pd.DataFrame(list(seconds), columns=["n_senders", "n_signals", "n_states", "n_actions"])
    own = pd.DataFrame(list(seconds.values()))
    write_table(pd.concat([keys, own], axis=1), tables / "measured.csv")
    write_text(out / "README.md", readme(stages, here, threads))
    held.release()
    print(stages.to_string(index=False))
    return 0


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.floors"))
