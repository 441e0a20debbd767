"""A part of a game as a game of its own."""

import pytest
import torch

import dnl
from dnl.surrogates.learned_optimum import learned_optimum
from games import FollowerGame, Zoomed, random_security_game, synthetic_game

GAME = random_security_game(4, 2, 0)
CENTRE = GAME.sample_policies(1, torch.Generator().manual_seed(0))[0]


def test_it_is_the_game_at_what_its_profiles_stand_for() -> None:
    part = Zoomed(GAME, CENTRE, 0.25)
    assert isinstance(part, FollowerGame)
    assert part.shape == GAME.shape
    told = part.sample_policies(50, torch.Generator().manual_seed(1))
    real = part.real(told)
    torch.testing.assert_close(real, 0.75 * CENTRE + 0.25 * told)
    assert torch.equal(part.ex_ante_utility(told), GAME.ex_ante_utility(real))
    assert torch.equal(part.ex_ante_utility(told[0]), GAME.ex_ante_utility(real[0]))
    assert (real - CENTRE).abs().amax() <= 0.25
    torch.testing.assert_close(part.real(CENTRE), CENTRE)
    whole = Zoomed(GAME, CENTRE, 1.0)
    torch.testing.assert_close(whole.ex_ante_utility(told), GAME.ex_ante_utility(told))


def test_parts_are_told_apart() -> None:
    parts = [
        Zoomed(GAME, CENTRE, 0.25),
        Zoomed(GAME, CENTRE, 0.5),
        Zoomed(GAME, CENTRE.flip(-1), 0.5),
    ]
    assert len({GAME.identity, *(part.identity for part in parts)}) == 4
    assert parts[0] == Zoomed(GAME, CENTRE, 0.25)
    assert parts[0].identity == Zoomed(GAME, CENTRE, 0.25).identity
    assert Zoomed(GAME, CENTRE, 1) == Zoomed(GAME, CENTRE, 1.0)
    assert repr(parts[0]) == "Zoomed(SecurityGame(N=1, M=4, S=2, A=4), size=0.25)"


@pytest.mark.whole_run
def test_surrogates_are_fitted_to_a_part_and_optimised_there() -> None:
    part = Zoomed(GAME, CENTRE, 0.1)
    config = dnl.FitConfig(recipe="tuned", samples=4000, test_samples=500, epochs=20, device="cpu")
    fitted = dnl.fit(part, "follower-dnl", config)
    assert fitted.unexplained.item() < 0.03
    best = learned_optimum(fitted)
    told = part.sample_policies(200, torch.Generator().manual_seed(2))
    assert part.ex_ante_utility(best) > part.ex_ante_utility(told).mean()
    game = synthetic_game(2, 2, 2, 2, seed=0, law="contested")
    zoomed = Zoomed(game, game.sample_policies(1)[0], 0.5)
    assert dnl.fit(zoomed, "relu", config).unexplained.shape == (2,)
    with pytest.raises(ValueError, match="surrogate must be another than 'posterior-dnl'"):
        dnl.fit(zoomed, "posterior-dnl", config)


def test_malformed_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"centre must be one profile \(N, S, M\), got"):
        Zoomed(GAME, CENTRE.unsqueeze(0), 0.5)
    with pytest.raises(ValueError, match="centre must have shape"):
        Zoomed(GAME, CENTRE[:, :1], 0.5)
    for size in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="size must"):
            Zoomed(GAME, CENTRE, size)
    with pytest.raises(ValueError, match=r"size must be at most 1, got 1\.5"):
        Zoomed(GAME, CENTRE, 1.5)
    with pytest.raises(ValueError, match="policies must have shape"):
        Zoomed(GAME, CENTRE, 0.5).ex_ante_utility(CENTRE[:, :1])
