"""Table 1: social welfare in the three real-world scenarios.

The paper states only a part of its parameters (see `games`), so its numbers cannot be reproduced;
only the order of the networks can be compared.
"""

from pathlib import Path
from typing import Annotated

import pandas as pd

from dnl import FitConfig
from dnl.benchmark.evaluation import Stages
from dnl.benchmark.rows import ResultFolder
from dnl.benchmark.runner import run
from dnl.reporting.benchmark_numbers import mean_and_interval
from dnl.reporting.benchmark_text import summarise
from dnl.runtime import cli
from dnl.runtime.tables import Key, write_table
from dnl.surrogates.registry import PAPER_SURROGATES
from games import REGISTRY, PersuasionGame, checks

SCENARIOS = ("advertising-quality", "advertising-products", "ride-hailing")
# Mean social welfare in the paper's Table 1.
PAPER = {
    ("advertising-quality", "relu"): 0.498,
    ("advertising-quality", "delu"): 0.599,
    ("advertising-quality", "dnl"): 0.699,
    ("advertising-products", "relu"): 0.407,
    ("advertising-products", "delu"): 0.467,
    ("advertising-products", "dnl"): 0.526,
    ("ride-hailing", "relu"): 3.216,
    ("ride-hailing", "delu"): 3.783,
    ("ride-hailing", "dnl"): 4.344,
}


def game_of(key: Key) -> PersuasionGame:
    """The game of a row: `law` is the scenario, and the instance is its seed."""
    return REGISTRY[key[0]].make(key[5])


def main(
    *,
    scenarios: Annotated[tuple[str, ...], cli.MANY] = SCENARIOS,
    instances: int = 20,
    samples: int = 50_000,
    epochs: int = 30,
    starts: int = 300,
    deviations: int = 100,
    out: Path = Path("results/scenarios"),
    small: bool = False,
) -> int:
    """Compute Table 1; the defaults are the paper's budget.

    Args:
        scenarios: Names in the registry of games.
        instances: Games per scenario.
        samples: Training profiles per game.
        epochs: Passes over them.
        starts: Starting points of extra-gradient per game.
        deviations: Sampled deviations per sender, times states x signals.
        out: Folder of the run, which is resumed if it exists, and of the table.
        small: Run for a few seconds instead of the paper's budget.
    """
    for scenario in scenarios:
        checks.one_of("scenarios", scenario, tuple(REGISTRY))
    checks.positive_integer("instances", instances)
    fit = FitConfig(samples=samples, epochs=epochs)
    if small:
        instances, starts, deviations = 1, 2, 1
        fit = FitConfig(samples=200, test_samples=100, epochs=1)
    stages = Stages(fit=fit, starts=starts, deviations=deviations)
    order: list[Key] = []
    for scenario in dict.fromkeys(scenarios):
        n, m, s, a = REGISTRY[scenario].make(0).shape
        order += [
            (scenario, n, m, s, a, instance, surrogate)
            for instance in range(instances)
            for surrogate in PAPER_SURROGATES
        ]
    configuration = {
        "scenarios": list(scenarios),
        "instances": instances,
        "samples": fit.samples,
        "test_samples": fit.test_samples,
        "epochs": fit.epochs,
        "starts": starts,
        "deviations": deviations,
    }
    folder = ResultFolder(out, configuration, order, resume=True)
    run(folder, stages, game_of, quiet=small)
    frame = folder.frame()
    print(summarise(frame))
    table = welfare_table(frame)
    write_table(table, out / "table1.csv")
    failed = bool((frame["status"] != "ok").any())
    print(f"\nSocial welfare: ours (mean +- 95 % interval), and in the paper\n{table.to_string()}")
    return 1 if failed else 0


def welfare_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Scenario x surrogate: games, games with an end point that passed, welfare, the paper's."""
    lines = []
    summary = mean_and_interval(rows, ["law", "surrogate"], "best_welfare")
    for (scenario, surrogate), group in rows.groupby(["law", "surrogate"], sort=False):
        line = summary[(summary["law"] == scenario) & (summary["surrogate"] == surrogate)]
        lines.append(
            {
                "scenario": scenario,
                "surrogate": surrogate,
                "games": len(group),
                "constant": int(group["constant"].sum()),
                "games_with_one": int((group["not_refuted"] > 0).sum()),
                "welfare": line["mean"].mean(),
                "interval": line["half_width"].mean(),
                "full_revelation": group["fr_welfare"].mean(),
                "no_information": group["ni_welfare"].mean(),
                "random_starts": group["start_welfare"].mean(),
                "paper": PAPER.get((str(scenario), str(surrogate)), float("nan")),
            }
        )
    return pd.DataFrame(lines)


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.scenarios"))
