"""Solve one game: `python -m dnl.solve GAME.json`.

Searches for equilibria, verifies them on the true game, and writes a report, the equilibria and
figures.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from torch import Tensor

from dnl.benchmark.plan import check_size
from dnl.equilibria import MEMBERS, Equilibrium, find_equilibria
from dnl.equilibria.verification import verify_profile
from dnl.reporting.equilibrium_text import search_report
from dnl.runtime import cli, interruption, progress
from dnl.runtime.records import LOCK, RUN, fresh_folder, lock, make_writable, write_record
from games import LAWS, REGISTRY, PersuasionGame, checks, synthetic_game
from games.files import write_text

SIZES = ("senders", "signals", "states", "actions")
MOST_KEPT = 8  # number of equilibria kept after an interruption, highest welfare first
KEEPING_SECONDS = 5.0  # for proving them again, approximately
REPORT, GAME, EQUILIBRIA, FIGURES = "report.txt", "game.json", "equilibria", "figures"


@Parameter(name="*")
@dataclass(frozen=True)
class SolveConfig:
    """How to solve a game.

    Attributes:
        senders: Number of senders of a random game ("paper", "contested").
        signals: Number of signals per sender of a random game.
        states: Number of states of a random game.
        actions: Number of actions of a random game.
        instance: Number of the random game of these sizes, or of the game in its family (default:
            0).
        radius: Radius of the local equilibria.
        time_limit: Seconds for the search. Ctrl-C ends it earlier and keeps certified equilibria.
        seed: Seed of the search.
        members: Search methods to run (default: all except the surrogate ones).
        show: Number of equilibria to report and draw, best welfare first. All are saved.
        out: Folder of the results (default: a fresh one under results/).
        quiet: Show no progress and print nothing.
    """

    senders: int | None = None
    signals: int | None = None
    states: int | None = None
    actions: int | None = None
    instance: int | None = None
    radius: float = 0.005
    time_limit: float = 60.0
    seed: int = 0
    members: Annotated[tuple[str, ...] | None, cli.MANY] = None
    show: int = 1
    out: Path | None = None
    quiet: Annotated[bool, cli.FLAG] = False

    def __post_init__(self) -> None:
        for name in SIZES:
            if getattr(self, name) is not None:
                checks.positive_integer(name, getattr(self, name))
        if self.instance is not None:
            checks.positive_integer("instance", self.instance, least=0)
        checks.positive_number("radius", self.radius)
        checks.positive_number("time-limit", self.time_limit)
        checks.positive_integer("seed", self.seed, least=0)
        if self.members is not None and not self.members:
            raise ValueError("members must hold at least one value, got none")
        for member in self.members or ():
            checks.one_of("members", member, tuple(MEMBERS))
        checks.positive_integer("show", self.show)


def main(game: str, /, *, config: SolveConfig | None = None) -> int:
    """Find, verify and report equilibria of one multi-sender persuasion game.

    Args:
        game: A JSON file whose keys are the arguments of PersuasionGame; or "paper" or
            "contested" for a random game with the given sizes; or the name of a family of games,
            such as "didactic", "prosecutor" or "ride-hailing" (games.REGISTRY).
    """
    config = config or SolveConfig()
    loaded, folder = load_game(game, config), _prepare(config)
    held = lock(folder)
    try:
        return execute(loaded, game, folder, config)
    finally:
        held.release()


def load_game(source: str, config: SolveConfig) -> PersuasionGame:
    """The game that the command line names.

    Raises:
        ValueError: names the malformed or missing argument and prints its value.
    """
    sizes: dict[str, Any] = {name: getattr(config, name) for name in SIZES}
    if source in LAWS:
        return _random(source, sizes, config.instance or 0)
    family = REGISTRY.get(source)
    refused = dict.fromkeys(SIZES, f"the random games {', '.join(map(repr, LAWS))}")
    if family is None or family.n_instances == 1:
        refused["instance"] = "random games and families of several games"
    for name, games in refused.items():
        value = getattr(config, name)
        if value is not None:
            raise ValueError(f"{name} is for {games} only, got {value} with the game {source!r}")
    return _read(Path(source)) if family is None else family.make(config.instance or 0)


def _random(law: str, sizes: Mapping[str, Any], instance: int) -> PersuasionGame:
    for name, value in sizes.items():
        if value is None:
            raise ValueError(f"{name} must be given for the random game {law!r}, got none")
    check_size(**sizes)
    try:
        # The options have the names of the arguments without "n_".
        arguments = {f"n_{name}": value for name, value in sizes.items()}
        return synthetic_game(**arguments, seed=instance, law=law)
    except ValueError as error:
        raise ValueError(str(error).removeprefix("n_")) from error


def _read(path: Path) -> PersuasionGame:
    expected = f"game must be a JSON file or one of {', '.join(map(repr, (*LAWS, *REGISTRY)))}"
    if not path.is_file():
        reason = "that is a folder" if path.is_dir() else "there is no such file"
        raise ValueError(f"{expected}, got {str(path)!r}: {reason}")
    try:
        game = PersuasionGame.load(path)
        check_size(*game.shape)
        return game
    except (OSError, ValueError) as error:
        raise ValueError(f"{expected}, got {str(path)!r}: {error}") from error


def _prepare(config: SolveConfig) -> Path:
    """The folder of the results, checked to be writable and without other results."""
    path = config.out or fresh_folder(Path("results"), "solve")
    for name in (RUN, GAME, REPORT, EQUILIBRIA, FIGURES):
        if (path / name).exists():
            raise ValueError(
                f"out holds a {name} already, got {str(path)!r}: choose another folder"
            )
    make_writable(path)
    return path


def execute(game: PersuasionGame, source: str, folder: Path, config: SolveConfig) -> int:
    """Search equilibria of `game`, named `source`, and write them to `folder`.

    Returns:
        The exit code: 0; 1 if nothing was certified; 130 if the search was interrupted, which keeps
        the equilibria certified until then.
    """
    certified: list[tuple[Tensor, str]] = []
    interrupted, drawn = False, False
    try:
        found = _search(game, config, certified)
    except KeyboardInterrupt:
        interrupted = True
        found = _kept(game, config, certified)
        if not found:
            (folder / LOCK).unlink(missing_ok=True)
            if config.out is None:
                with suppress(OSError):  # the folder is not empty
                    folder.rmdir()
            told = interruption.word().capitalize()
            print(f"\n{told}: nothing was certified so far, nothing is written.", file=sys.stderr)
            return cli.INTERRUPTED
    asked = {"game": source, "identity": game.identity, **asdict(config)}
    for name in ("out", "quiet"):  # they do not affect the equilibria
        asked.pop(name)
    try:
        with interruption.held_back():
            write_record(folder, asked)
            game.save(folder / GAME)
            text = _write(game, folder, config, found)
        _draw(folder, found[: config.show])
        drawn = True
    except KeyboardInterrupt:
        interrupted = True
    if not config.quiet:
        print(text)
        print(f"Report:     {folder / REPORT}")
        if found:
            print(f"Equilibria: {folder / EQUILIBRIA}/ ({len(found)} saved)")
            if drawn:
                print(f"Figures:    {folder / FIGURES}/")
    if interrupted:
        told = interruption.word().capitalize()
        missing = "" if drawn else " but for figures"
        print(f"\n{told}: what was certified so far is written{missing}.", file=sys.stderr)
        return cli.INTERRUPTED
    return 0 if found else 1


def _search(
    game: PersuasionGame, config: SolveConfig, certified: list[tuple[Tensor, str]]
) -> tuple[Equilibrium, ...]:
    """Search equilibria and append each certified one to `certified`."""
    limit, began = config.time_limit, time.monotonic()
    with progress.bar(
        config.quiet,
        total=limit,
        leave=False,
        mininterval=0.3,
        miniters=0,  # steps are seconds of any size
        bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed} elapsed",
    ) as bar:

        def show(seconds_used: float, message: str) -> None:
            interruption.check()
            used = min(seconds_used, limit)
            bar.set_description_str(f"{message}, at most {limit - used:.0f} s left", refresh=False)
            bar.update(used - bar.n)

        found = find_equilibria(
            game,
            radius=config.radius,
            time_limit=limit,
            seed=config.seed,
            members=config.members,
            on_progress=show,
            on_certified=lambda policies, source: certified.append((policies, source)),
        )
    kept = tuple(one for one in found if one.verification.is_equilibrium)
    seconds = progress.duration(time.monotonic() - began)
    progress.line(f"search: {len(kept)} certified, {seconds} elapsed", config.quiet)
    return kept


def _kept(
    game: PersuasionGame, config: SolveConfig, certified: Sequence[tuple[Tensor, str]]
) -> tuple[Equilibrium, ...]:
    """The best equilibria certified before an interruption, each proven again.

    A second Ctrl-C ends this, too, and keeps those proven again by then.
    """
    welfares = [game.ex_ante_utility(policies).sum().item() for policies, _ in certified]
    order = sorted(range(len(certified)), key=lambda i: -welfares[i])[:MOST_KEPT]
    found = []
    with suppress(KeyboardInterrupt):
        for policies, source in (certified[i] for i in order):
            share = KEEPING_SECONDS / len(order)
            local = verify_profile(game, policies, config.radius, time_limit=share)
            if local.is_equilibrium:
                everywhere = verify_profile(game, policies, None, time_limit=share / 10)
                found.append(Equilibrium(game, policies, local, everywhere, source, "interruption"))
    return tuple(found)


def _write(
    game: PersuasionGame, folder: Path, config: SolveConfig, found: tuple[Equilibrium, ...]
) -> str:
    """Write the report and the equilibria; return the report."""
    text = search_report(game, found, config.show, config.radius, config.time_limit)
    write_text(folder / REPORT, text)
    if found:
        (folder / EQUILIBRIA).mkdir()
    for rank, equilibrium in enumerate(found, 1):
        equilibrium.save(folder / EQUILIBRIA / f"{rank}.json")
    return text


def _draw(folder: Path, shown: Sequence[Equilibrium]) -> None:
    if shown:
        from dnl.reporting import equilibrium_figures  # here: matplotlib takes a second to load

        for rank, equilibrium in enumerate(shown, 1):
            equilibrium_figures.draw(equilibrium, folder / FIGURES, f"{rank}_")


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "dnl.solve"))
