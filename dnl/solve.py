"""Solve one game: `python -m dnl.solve GAME.json`.

Searches equilibria, verifies them on the true game and writes a report, the equilibria and
figures.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from cyclopts import Parameter
from torch import Tensor

from dnl.benchmark.plan import check_size
from dnl.equilibria import MEMBERS, Equilibrium, find_equilibria
from dnl.equilibria.verification import verify_profile
from dnl.reporting.equilibrium_text import nothing_found, overview, report
from dnl.runtime import cli, interruption, progress
from dnl.runtime.records import LOCK, RUN, fresh_folder, lock, make_writable, write_record
from games import LAWS, PersuasionGame, checks, didactic_game, prosecutor_game, synthetic_game
from games.files import write_text

CLASSIC: Mapping[str, Callable[[], PersuasionGame]] = MappingProxyType(
    {"didactic": didactic_game, "prosecutor": prosecutor_game}
)
NAMES = (*LAWS, *CLASSIC)  # the laws need sizes, the classic games have theirs
SIZES = ("senders", "signals", "states", "actions")
KEPT = 8  # equilibria that are kept of a search that is interrupted, those of highest welfare
KEEPING_SECONDS = 5.0  # about what proving them again may take
REPORT, GAME, EQUILIBRIA, FIGURES = "report.txt", "game.json", "equilibria", "figures"


@Parameter(name="*")
@dataclass(frozen=True)
class SolveConfig:
    """How to solve a game.

    Attributes:
        senders: Number of senders of a random game ("paper", "contested").
        signals: Its signals per sender.
        states: Its states.
        actions: Its actions.
        instance: Which random game of these sizes; 0 by default.
        radius: Radius of the local equilibria.
        time_limit: Seconds for the search. Ctrl-C ends it earlier and keeps what is certified.
        seed: Seed of the search.
        members: Searchers to use; by default all of them.
        show: How many equilibria to report and draw, best welfare first. All are saved.
        out: Folder of the results; by default a fresh one under results/.
        quiet: No progress display and nothing printed.
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
        game: A JSON file whose keys are the arguments of PersuasionGame; or "didactic" or
            "prosecutor"; or "paper" or "contested", a random game of the sizes that the options
            give.
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
        ValueError: naming the argument that is malformed or missing, and what came.
    """
    sizes: dict[str, Any] = {name: getattr(config, name) for name in SIZES}
    if source not in LAWS:
        for name, value in (*sizes.items(), ("instance", config.instance)):
            if value is not None:
                raise ValueError(
                    f"{name} is for the random games {', '.join(map(repr, LAWS))} only, "
                    f"got {value} with the game {source!r}"
                )
        if source in CLASSIC:
            return CLASSIC[source]()
        return _read(Path(source))
    for name, value in sizes.items():
        if value is None:
            raise ValueError(f"{name} must be given for the random game {source!r}, got none")
    check_size(**sizes)
    try:
        # The options are called as the arguments are, but without "n_".
        arguments = {f"n_{name}": value for name, value in sizes.items()}
        return synthetic_game(**arguments, seed=config.instance or 0, law=source)
    except ValueError as error:
        raise ValueError(str(error).removeprefix("n_")) from error


def _read(path: Path) -> PersuasionGame:
    expected = f"game must be a JSON file or one of {', '.join(map(repr, NAMES))}"
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
    """The folder of the results, known to be writable and free of other results."""
    path = config.out or fresh_folder(Path("results"), "solve")
    for name in (RUN, GAME, REPORT, EQUILIBRIA, FIGURES):
        if (path / name).exists():
            raise ValueError(
                f"out holds a {name} already, got {str(path)!r}: choose another folder"
            )
    make_writable(path)
    return path


def execute(game: PersuasionGame, source: str, folder: Path, config: SolveConfig) -> int:
    """Search equilibria of `game`, called `source`, and write them into `folder`; the exit code.

    Returns:
        0; 1 where nothing was certified; 130 where the search was interrupted, which keeps what was
        certified until then.
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
                with suppress(OSError):  # somebody put something into it
                    folder.rmdir()
            told = interruption.word().capitalize()
            print(f"\n{told}: nothing was certified so far, nothing is written.", file=sys.stderr)
            return cli.INTERRUPTED
    asked = {"game": source, "identity": game.identity, **asdict(config)}
    for name in ("out", "quiet"):  # they decide nothing that is found
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
    """What the search finds; `certified` grows meanwhile."""
    limit, began = config.time_limit, time.monotonic()
    with progress.bar(
        config.quiet,
        total=limit,
        leave=False,
        mininterval=0.3,
        miniters=0,  # steps are seconds and of any size
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
    """The best of what was certified when the search was interrupted, each proven again.

    A second Ctrl-C ends this, too, and keeps those that are proven again by then.
    """
    welfares = [game.ex_ante_utility(policies).sum().item() for policies, _ in certified]
    order = sorted(range(len(certified)), key=lambda i: -welfares[i])[:KEPT]
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
    """Write the report and the equilibria; the report."""
    if not found:
        text = nothing_found(game, config.radius, config.time_limit)
        write_text(folder / REPORT, text)
        return text
    text = "\n".join([overview(found), *map(report, found[: config.show])])
    write_text(folder / REPORT, text)
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
