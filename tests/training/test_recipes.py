"""Recipes: what they say, and that training does it."""

import dataclasses
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from dnl.layers import ActivationPattern, FollowerChoice
from dnl.layers.posterior import PosteriorNetwork
from dnl.surrogates.fitted import FitConfig, FittedSurrogate
from dnl.surrogates.fitting import fit, fit_many
from dnl.surrogates.registry import SURROGATES, Architecture, make_surrogate
from dnl.training import regression, trainer
from dnl.training.recipes import RECIPE_NAMES, Recipe
from dnl.training.trainer import StackedRegression
from games import synthetic_game
from tests.cases.fits import TINY

NAMES = sorted(SURROGATES)
FITS = [  # every recipe once: some surrogates have the same one under both names
    (recipe, name)
    for name in NAMES
    for recipe in ("paper", "tuned")
    if recipe == "paper" or SURROGATES[name].recipes["tuned"] != SURROGATES[name].recipes["paper"]
]
TUNED = dataclasses.replace(TINY, recipe="tuned")
GAMES = [synthetic_game(2, 2, 3, 3, seed=seed, law="contested") for seed in range(3)]


class Step(NamedTuple):
    rate: float
    temperatures: tuple[float | None, ...]  # of each follower
    gradients: tuple[str, ...]  # of each activation pattern
    rows: int


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """What every training step was taken with."""
    taken: list[Step] = []
    original, errors = StackedRegression.descend, StackedRegression._error
    rows: list[int] = []

    def spy(self: StackedRegression, loss: Tensor, rate: float) -> None:
        original(self, loss, rate)
        modules = list(self.stack.template.modules())
        taken.append(
            Step(
                self.trainer.optimizers[0].param_groups[0]["lr"],
                tuple(m.temperature for m in modules if isinstance(m, FollowerChoice)),
                tuple(m.gradient for m in modules if isinstance(m, ActivationPattern)),
                rows[-1],
            )
        )

    def count(self: StackedRegression, x: Tensor, y: Tensor) -> Tensor:
        rows.append(x.shape[1])
        return errors(self, x, y)

    monkeypatch.setattr(StackedRegression, "descend", spy)
    monkeypatch.setattr(StackedRegression, "_error", count)
    return taken


# ----------------------------------------------------------------------------------- what they say


@pytest.mark.parametrize("last", [1.0, 0.3, 0.005])
def test_rate_falls_by_a_half_cosine(last: float) -> None:
    recipe = Recipe(lr=0.1, last=last)
    rates = [recipe.rate(progress / 100) for progress in range(101)]
    assert rates[0] == pytest.approx(1)
    assert rates[50] == pytest.approx((1 + last) / 2)
    assert rates[25] == pytest.approx(last + (1 - last) * (1 + math.sqrt(0.5)) / 2)
    assert rates[-1] == pytest.approx(last)
    if last == 1:
        assert rates == [1.0] * 101
    else:
        assert all(before > after for before, after in pairwise(rates))


def test_the_more_inputs_the_lower_the_rate() -> None:
    recipe = Recipe(lr=0.01, lr_inputs=0.2)
    assert [recipe.beginning(n) for n in (1, 20, 100, 200)] == [0.01, 0.01, 0.002, 0.001]
    assert Recipe(lr=0.01).beginning(10**6) == 0.01
    wide = synthetic_game(2, 4, 4, 4, seed=0, law="contested")  # 32 inputs
    tuned = SURROGATES["relu"].recipes["tuned"]
    rates = tuned.beginning(32), tuned.beginning(12)
    assert rates == (0.00625, 0.01)
    low = dataclasses.replace(TUNED, recipe=Recipe(lr=0.01, lr_inputs=0.2, last=0.01))
    same = dataclasses.replace(TUNED, recipe=Recipe(lr=0.00625, last=0.01))
    assert torch.equal(fit(wide, "relu", low).mse, fit(wide, "relu", same).mse)


def test_heat_falls_geometrically() -> None:
    recipe = Recipe(lr=0.1, temperature=(0.5, 0.005))
    heats = [recipe.heat(progress / 100) for progress in range(101)]
    assert (heats[0], heats[50], heats[-1]) == pytest.approx((0.5, 0.05, 0.005))
    ratios = [after / before for before, after in pairwise(heats)]
    assert ratios == pytest.approx([0.01**0.01] * 100)
    assert {Recipe(lr=0.1).heat(progress / 10) for progress in range(11)} == {0.1}


def test_steps_hold_a_bounded_number_of_joint_posteriors() -> None:
    recipe = Recipe(lr=0.1, batch_size=256, posteriors=2**14)
    assert [recipe.rows(n) for n in (1, 64, 128, 500, 10_000)] == [256, 256, 128, 32, 16]
    assert dataclasses.replace(recipe, batch_size=10).rows(10_000) == 10
    assert Recipe(lr=0.1).rows(10_000) == 512


def test_the_paper_s_recipe_is_the_paper_s() -> None:
    for name in ("relu", "delu", "dnl"):
        recipe = FitConfig().training(name)
        assert (recipe.lr, recipe.rate(0.7), recipe.batch_size) == (0.01, 1.0, 512)
        assert (recipe.pattern_gradient, recipe.refit, recipe.restarts) == ("none", False, 1)
    assert RECIPE_NAMES == ("paper", "tuned")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("recipe", RECIPE_NAMES)
def test_a_configuration_has_the_last_word(recipe: str, name: str) -> None:
    plain = SURROGATES[name].recipes[recipe]
    assert FitConfig(recipe=recipe).training(name) == plain
    changes: dict[str, Any] = {"lr": 0.5, "batch_size": 7}
    own = Recipe(lr=0.3, last=0.25, slope=2.0, context=0.5, unit=4.0)
    assert FitConfig(recipe=own).training(name) == own
    assert FitConfig(recipe=own, lr=0.5).training(name) == dataclasses.replace(own, lr=0.5)
    for field, value in changes.items():
        changed = FitConfig(recipe=recipe, **{field: value}).training(name)
        if field == "batch_size":  # whatever the number of joint signals
            assert changed.rows(10**6) == value
            changed = dataclasses.replace(changed, posteriors=plain.posteriors)
        else:  # whatever the number of inputs
            assert changed.beginning(10**6) == value
            changed = dataclasses.replace(changed, lr_inputs=plain.lr_inputs)
        assert changed == dataclasses.replace(plain, **{field: value})
    for gradient in ("none", "straight-through"):
        sizes = Architecture(pattern_gradient=gradient)
        changed = FitConfig(recipe=recipe, architecture=sizes).training(name)
        assert changed == dataclasses.replace(plain, pattern_gradient=gradient)


@pytest.mark.parametrize("bad", ["Tuned", "", None, 3])
def test_unknown_recipes_are_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match=rf"recipe must be one of 'paper', 'tuned', got {bad!r}"):
        FitConfig(recipe=bad)


# --------------------------------------------------------------------------------- what is done


@pytest.mark.parametrize(("recipe", "name"), FITS)
def test_training_follows_the_recipe(recipe: str, name: str, steps: list[Step]) -> None:
    plain = SURROGATES[name].recipes[recipe]
    fit(GAMES[0], name, dataclasses.replace(TINY, recipe=recipe))
    assert [step.rows for step in steps] == [32, 32, 6] * 4
    expected = [plain.beginning(12) * plain.rate(k / 12) for k in range(12)]
    assert [step.rate for step in steps] == pytest.approx(expected)
    heats = [heat for step in steps for heat in step.temperatures]
    if name in ("posterior-dnl", "follower-dnl"):
        assert heats == pytest.approx([plain.heat(k / 12) for k in range(12)])
        assert plain.rate(1) < plain.rate(0)
        assert plain.heat(1) < plain.heat(0)
    else:
        assert heats == []
        assert (plain.rate(1) < plain.rate(0)) == (recipe == "tuned")
    if name in ("delu", "dnl"):
        gradient = "straight-through" if recipe == "tuned" else "none"
        assert {g for step in steps for g in step.gradients} == {gradient}


@pytest.mark.parametrize("name", ["delu", "dnl"])
def test_a_configuration_s_last_word_reaches_training(name: str, steps: list[Step]) -> None:
    sizes = dataclasses.replace(TINY.architecture, pattern_gradient="none")
    own = dataclasses.replace(SURROGATES[name].recipes["tuned"], last=0.2)
    config = dataclasses.replace(TUNED, architecture=sizes, recipe=own, lr=0.5, batch_size=50)
    changed = fit(GAMES[0], name, config)
    assert [step.rows for step in steps] == [50, 20] * 4
    assert steps[0].rate == 0.5
    assert 0.1 < steps[-1].rate < 0.13
    assert {g for step in steps for g in step.gradients} == {"none"}
    assert (changed.mse != fit(GAMES[0], name, dataclasses.replace(config, lr=0.4)).mse).all()


@pytest.mark.parametrize("name", ["delu", "dnl"])
def test_a_recipe_s_slope_reaches_patterns(name: str) -> None:
    steep = Recipe(lr=0.01, pattern_gradient="straight-through", slope=5.0)
    config = dataclasses.replace(TINY, recipe=steep)
    fitted = fit(GAMES[0], name, config)
    slopes = {m.slope for m in fitted.networks.template.modules() if hasattr(m, "slope")}
    assert slopes == {5.0}
    flat = dataclasses.replace(config, recipe=dataclasses.replace(steep, slope=1.0))
    assert (fit(GAMES[0], name, flat).mse != fitted.mse).all()


@pytest.mark.parametrize("name", ["delu", "dnl"])
def test_without_context_patterns_decide_nothing_at_the_start(name: str) -> None:
    x = torch.rand(500, 12, dtype=torch.float64)
    jumps = []
    for context in (0.0, 1.0, 10.0):
        torch.manual_seed(0)
        network = make_surrogate(name, (2, 2, 3, 3)).double()
        Recipe(lr=0.01, context=context).prepare(network)
        pattern = next(m for m in network.modules() if isinstance(m, ActivationPattern))
        outputs = []
        for flip in (False, True):
            handle = pattern.register_forward_hook(lambda _, __, out, f=flip: 1 - out if f else out)
            outputs.append(network(x))
            handle.remove()
        jumps.append((outputs[0] - outputs[1]).abs().mean().item())
    assert jumps[0] == 0
    assert jumps[2] > 5 * jumps[1] > 0


@pytest.mark.parametrize("name", NAMES)
def test_the_unit_changes_a_network_s_scale_and_not_what_errors_are_measured_in(name: str) -> None:
    own = SURROGATES[name].recipes["tuned"]
    plain = fit(GAMES[0], name, dataclasses.replace(TINY, recipe=own))
    double = fit(
        GAMES[0], name, dataclasses.replace(TINY, recipe=dataclasses.replace(own, unit=2.0))
    )
    torch.testing.assert_close(double.scale, 2 * plain.scale)
    variance = (plain.mse / plain.unexplained).square()
    torch.testing.assert_close((double.mse / double.unexplained).square(), variance)


@pytest.mark.parametrize("name", ["relu", "posterior-dnl"])
def test_a_fit_by_a_recipe_of_one_s_own_is_saved(name: str, tmp_path: Path) -> None:
    own = dataclasses.replace(SURROGATES[name].recipes["tuned"], last=0.3, unit=2.0, restarts=1)
    fitted = fit(GAMES[0], name, dataclasses.replace(TINY, recipe=own))
    fitted.save(tmp_path / "fit.pt")
    loaded = FittedSurrogate.load(tmp_path / "fit.pt")
    assert loaded.config.recipe == own
    policies = GAMES[0].sample_policies(5, torch.Generator().manual_seed(0))
    torch.testing.assert_close(loaded(policies), fitted(policies), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0.0}, "lr must be .* above 0"),
        ({"lr_inputs": -1.0}, "lr_inputs must be .* above 0"),
        ({"last": 1.5}, "last must be at most 1, got 1.5"),
        ({"last": 0.0}, "last must be .* above 0"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1"),
        ({"posteriors": 0}, "posteriors must be an integer"),
        ({"pattern_gradient": "soft"}, "pattern_gradient must be one of .*got 'soft'"),
        ({"slope": -1.0}, "slope must be .* above 0"),
        ({"context": -1.0}, "context must be .* at least 0"),
        ({"unit": float("nan")}, "unit must be"),
        ({"temperature": (0.1, 0.0)}, "temperature must be .* above 0"),
        ({"temperature": (0.1,)}, "temperature must be the first and the last"),
        ({"refit": -1}, "refit must be an integer of at least 0"),
        ({"restarts": 0}, "restarts must be an integer of at least 1"),
        ({"settle": "no"}, "settle must be a bool, got 'no'"),
    ],
)
def test_bad_recipes_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**{"lr": 0.1} | changes)


def gradient_of(fitted: FittedSurrogate, policies: Tensor) -> Tensor:
    """Of the first sender's standardised utility."""
    leaf = policies.clone().requires_grad_()
    return torch.autograd.grad(fitted(leaf)[:, 0].sum() / fitted.scale[0], leaf)[0]


@pytest.mark.whole_run
@pytest.mark.parametrize(("recipe", "name"), FITS)
def test_fitted_gradients_are_slopes_whatever_trained(recipe: str, name: str) -> None:
    game = GAMES[0]
    fitted = fit(game, name, dataclasses.replace(TINY, recipe=recipe, epochs=60, lr=0.003), seed=1)
    policies = game.sample_policies(10, torch.Generator().manual_seed(1))
    toward = game.sample_policies(10, torch.Generator().manual_seed(2)) - policies
    slope = (gradient_of(fitted, policies) * toward).sum((1, 2, 3))
    rise = (fitted(policies + 1e-7 * toward) - fitted(policies - 1e-7 * toward))[:, 0] / 2e-7
    torch.testing.assert_close(slope, rise / fitted.scale[0], rtol=0, atol=1e-6)
    assert slope.abs().max() > 1e-2


@pytest.mark.parametrize(("recipe", "name"), FITS)
def test_storage_keeps_predictions_and_gradients(recipe: str, name: str, tmp_path: Path) -> None:
    config = dataclasses.replace(TINY, recipe=recipe, epochs=20, lr=0.003)
    fitted = fit(GAMES[0], name, config, seed=1)
    fitted.save(tmp_path / "fit.pt")
    loaded = FittedSurrogate.load(tmp_path / "fit.pt")
    policies = GAMES[0].sample_policies(10, torch.Generator().manual_seed(1))
    assert torch.equal(loaded(policies), fitted(policies))
    assert torch.equal(gradient_of(loaded, policies), gradient_of(fitted, policies))
    assert gradient_of(fitted, policies).abs().max() > 1e-3


def stopping_after(epoch: int) -> Callable[[int, int], None]:
    def on_epoch(done: int, total: int) -> None:
        if done == epoch:
            raise KeyboardInterrupt

    return on_epoch


@pytest.mark.whole_run
@pytest.mark.parametrize("joint_signals", [2048, 2], ids=["all", "subsampled"])
@pytest.mark.parametrize("name", ["relu", "delu", "dnl", "posterior-dnl"])
def test_an_interrupted_schedule_goes_on_where_it_was(
    name: str,
    joint_signals: int,
    steps: list[Step],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(regression, "SAMPLED_SIGNALS", joint_signals)
    with pytest.raises(KeyboardInterrupt):
        fit_many(GAMES[:2], name, TUNED, directory=tmp_path, on_epoch=stopping_after(2))
    assert len(steps) == 6
    resumed = fit_many(GAMES[:2], name, TUNED, directory=tmp_path)
    parts = steps.copy()
    steps.clear()
    for one, other in zip(resumed, fit_many(GAMES[:2], name, TUNED), strict=True):
        for key, value in one.networks.state_dict().items():
            assert torch.equal(value, other.networks.state_dict()[key])
        assert torch.equal(one.mse, other.mse)
    assert parts == steps
    assert len({step.rate for step in steps}) == 12


@pytest.mark.parametrize("diverged", [False, True])
def test_the_best_restart_is_kept(diverged: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    modules: list[tuple[StackedRegression, Tensor, Tensor]] = []
    train = trainer.train

    def spy(module: StackedRegression, *arguments: Any) -> None:
        modules.append((module, module.inputs, module.targets))
        train(module, *arguments)
        if diverged:
            for name, stacked in module.stack.named_parameters():
                stacked.data[[1, 6, 11]] *= math.nan if "upper" in name else 1

    monkeypatch.setattr(trainer, "train", spy)
    fitted = fit_many(GAMES, "posterior-dnl", TINY, seed=1)
    ((module, inputs, targets),) = modules
    kept = []
    for g, one in enumerate(fitted):
        nets = [module.stack.network(4 * g + restart) for restart in range(4)]
        assert all(isinstance(net, PosteriorNetwork) for net in nets)
        errors = [(net(inputs[g]) - targets[g].mT).square().sum() for net in nets]
        assert sum(error.isnan() for error in errors) == diverged
        kept.append(int(torch.stack(errors).nan_to_num(math.inf).argmin()))
        for key, value in one.networks.network(0).state_dict().items():
            assert torch.equal(value, nets[kept[g]].state_dict()[key])
    assert len(set(kept)) > 1
