"""From a command line's configuration to the rows of a run."""

import json
from pathlib import Path
from typing import Any

import pytest

from dnl import bench
from dnl.benchmark.plan import BenchConfig, make_plan
from dnl.gradients.extragradient import ExtragradientConfig
from dnl.surrogates.fitted import FitConfig
from dnl.surrogates.registry import Architecture


def test_the_paper_s_benchmark() -> None:
    plan = make_plan(BenchConfig(preset="paper"))
    assert len(plan.order) == len(set(plan.order)) == 2 * 1250 * 3
    games = {key[:6] for key in plan.order}
    assert sum(key[0] == "paper" for key in games) == 1250
    assert {key[1] for key in games} == {2, 4}
    assert all({key[i] for key in games} == {2, 4, 6, 8, 10} for i in (2, 3, 4))
    stages = plan.stages
    assert (stages.starts, stages.radius, stages.deviations, stages.seed) == (300, 0.005, 100, 0)
    assert stages.fit == FitConfig()  # whose defaults are the paper's
    assert stages.solver == ExtragradientConfig(iterations=20, lr=0.1)


def test_defaults_of_a_fit_are_the_paper_s() -> None:
    config = FitConfig()
    recipe = config.training("dnl")
    assert (config.recipe, config.samples, config.epochs, recipe.lr) == ("paper", 50_000, 30, 0.01)
    assert (config.test_samples, recipe.batch_size, config.dtype) == (10_000, 512, "float32")
    assert config.architecture == Architecture(hidden=(64, 64, 64), split=1, hyper=(32, 32))


def test_quick_is_the_default() -> None:
    plan = make_plan(BenchConfig())
    assert plan == make_plan(BenchConfig(preset="quick"))
    assert plan.laws == ("contested",)
    assert plan.sizes == ((2, 2, 2), (4, 2, 2), (2, 4, 2), (2, 2, 4), (4, 4, 4))
    assert len(plan.order) == len(set(plan.order)) == 2 * 5 * 2 * 3
    stages = plan.stages
    assert (stages.fit.samples, stages.fit.epochs) == (10_000, 10)
    assert (stages.starts, stages.deviations, stages.radius) == (30, 10, 0.005)


def test_same_shape_rows_stand_together_surrogates_innermost() -> None:
    plan = make_plan(BenchConfig(senders=(2, 3), law=("paper", "contested"), signals=(2,)))
    shapes = [key[:5] for key in plan.order]
    starts = [i for i, shape in enumerate(shapes) if i == 0 or shape != shapes[i - 1]]
    assert len(starts) == len(set(shapes)) == 2 * 2 * 4
    assert plan.order[0] == ("paper", 2, 2, 2, 2, 0, "relu")
    assert [key[5:] for key in plan.order[:6]] == [
        (instance, surrogate) for instance in (0, 1) for surrogate in ("relu", "delu", "dnl")
    ]


@pytest.mark.parametrize(
    ("preset", "axes", "sizes"),
    [
        ("quick", {"signals": (3,)}, [(3, s, a) for s in (2, 4) for a in (2, 4)]),
        ("quick", {"states": (5,), "actions": (6, 3)}, [(m, 5, a) for m in (2, 4) for a in (6, 3)]),
        ("quick", {"signals": (2,), "states": (3,), "actions": (4,)}, [(2, 3, 4)]),
        (
            "quick",
            {"signals": (2, 2), "states": (3,), "actions": (4, 5, 4)},
            [(2, 3, 4), (2, 3, 5)],
        ),
        ("paper", {"signals": (2,), "states": (3,)}, [(2, 3, a) for a in (2, 4, 6, 8, 10)]),
    ],
)
def test_named_axes_take_their_product(
    preset: str, axes: dict[str, Any], sizes: list[tuple[int, int, int]]
) -> None:
    assert make_plan(BenchConfig(preset=preset, **axes)).sizes == tuple(sizes)


def test_duplicates_are_removed_and_order_is_kept() -> None:
    plan = make_plan(
        BenchConfig(
            senders=(4, 2, 4),
            law=("paper", "contested", "paper"),
            surrogates=("dnl", "relu", "dnl"),
        )
    )
    assert plan.senders == (4, 2)
    assert plan.laws == ("paper", "contested")
    assert plan.surrogates == ("dnl", "relu")
    assert len(plan.order) == len(set(plan.order))


@pytest.mark.parametrize(
    ("settings", "iterations"),
    [
        ({}, 20),
        ({"radius": 0.005}, 20),
        ({"radius": 0.001}, 20),
        ({"radius": 0.01}, 30),
        ({"radius": 0.01, "iterations": 7}, 7),
        ({"iterations": 1}, 1),
    ],
)
def test_iterations_follow_the_radius(settings: dict[str, Any], iterations: int) -> None:
    plan = make_plan(BenchConfig(**settings))
    assert plan.stages.solver.iterations == iterations
    assert plan.stages.radius == settings.get("radius", 0.005)


def test_what_is_named_overrules_the_preset() -> None:
    settings = {"samples": 20, "epochs": 2, "starts": 3, "deviations": 4, "seed": 5}
    for preset in ("quick", "paper"):
        plan = make_plan(BenchConfig(preset=preset, instances=7, device="cpu", **settings))  # type: ignore[arg-type]
        stages = plan.stages
        got = (stages.fit.samples, stages.fit.epochs, stages.starts, stages.deviations, stages.seed)
        assert got == (20, 2, 3, 4, 5)
        assert plan.instances == 7
        assert stages.fit.device == "cpu"


def configuration(**settings: Any) -> dict[str, Any]:
    return make_plan(BenchConfig(**settings)).configuration()


def test_configuration_is_json_and_free_of_place_and_display() -> None:
    plain = configuration()
    assert json.loads(json.dumps(plain, allow_nan=False)).keys() == plain.keys()
    assert not any("device" in name or "out" in name for name in plain)
    display: dict[str, Any] = {"out": Path("x"), "resume": True, "quiet": True}
    for place in ({"device": "cpu"}, {"workers": 3}, {"scheduler": "tcp://here:8786"}):
        assert configuration(**place, **display) == plain


@pytest.mark.parametrize(
    "change",
    [
        {"senders": (2,)},
        {"law": ("paper",)},
        {"signals": (2,)},
        {"instances": 1},
        {"surrogates": ("relu",)},
        {"recipe": "tuned"},
        *({name: 3} for name in ("samples", "epochs", "starts", "deviations", "iterations")),
        {"radius": 0.01},
        {"seed": 1},
    ],
    ids=str,
)
def test_configuration_holds_everything_that_decides_rows(change: dict[str, Any]) -> None:
    assert configuration(**change) != configuration()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"preset": "big"}, "preset must be one of 'quick', 'paper', got 'big'"),
        ({"law": ("paper", "dice")}, "law must be one of 'paper', 'contested', got 'dice'"),
        ({"recipe": "best"}, "recipe must be one of 'paper', 'tuned', got 'best'"),
        ({"surrogates": ("relu", "mlp")}, "surrogates must be one of 'relu', .* got 'mlp'"),
        ({"surrogates": ()}, "surrogates must hold at least one value, got none"),
        ({"senders": ()}, "senders must hold at least one value, got none"),
        *(
            ({name: (2, bad)}, f"{name} must be an integer of at least 1, got {bad}")
            for name in ("senders", "signals", "states", "actions")
            for bad in (0, -1, 2.5)
        ),
        *(
            ({name: bad}, f"{name} must be an integer of at least 1, got {bad}")
            for name in ("instances", "epochs", "starts", "deviations", "iterations")
            for bad in (0, -3, 1.5)
        ),
        ({"samples": 1}, "samples must be an integer of at least 2, got 1"),
        *(({"radius": bad}, "radius must be") for bad in (0, -0.1, float("nan"), float("inf"))),
        *(({"seed": bad}, f"seed must be .* at least 0, got {bad}") for bad in (-1, 0.5)),
        ({"device": "tpu"}, "device must be 'auto', 'cpu' or .* got 'tpu'"),
        ({"resume": True}, "resume needs the folder to go on with, got no --out"),
        ({"surrogates": ("rely",)}, "surrogates must be one of .* got 'rely': did you mean 'relu'"),
        ({"law": ("contestd",)}, "law must be one of .*: did you mean 'contested'"),
        ({"radius": 2}, "radius must be at most 1, .* got 2"),
        ({"senders": 2}, "senders must be a tuple or a list, got 2"),
        ({"senders": None}, "senders must be a tuple or a list, got None"),
        ({"law": "paper"}, "law must be a tuple or a list, got 'paper'"),
        ({"out": 3}, "out must be a path, got 3"),
        ({"quiet": 1}, "quiet must be a bool, got 1"),
        ({"scheduler": 3}, "scheduler must be a string that is not empty, got 3"),
    ],
)
def test_malformed_configurations_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BenchConfig(**wrong)


def test_the_command_takes_a_configuration() -> None:
    wrong: Any = {"senders": (2,)}
    with pytest.raises(ValueError, match=r"config must be a BenchConfig, got .*BenchConfig\(\*\*c"):
        bench.main(config=wrong)
