"""Solve one game: `python -m dnl.solve GAME.json`.

Searches for equilibria, verifies them on the true game, and writes a report, the equilibria and
figures, Nash equilibria first.
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
from dnl.equilibria.equilibrium import Equilibria
from dnl.equilibria.ranking import WELFARE, RankBy, ranked, ranking_of
from dnl.equilibria.search import GLOBAL, LOCAL
from dnl.equilibria.verification import Verification, verify_profile
from dnl.reporting.equilibrium_text import search_report
from dnl.reporting.messages import listed
from dnl.runtime import cli, interruption, progress
from dnl.runtime.records import LOCK, RUN, fresh_folder, lock, make_writable, write_record
from dnl.runtime.settings import config_of
from games import LAWS, REGISTRY, PersuasionGame, checks, synthetic_game
from games.files import write_text

SIZES = ("senders", "signals", "states", "actions")
MOST_KEPT = 8  # number of equilibria kept after an interruption, Nash equilibria first
INTERRUPTION = "interruption"  # the status of an interrupted search
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
        nash_only: Search for Nash equilibria only, and show nothing else.
        rank_by: What makes an equilibrium better: welfare (the senders' sum), receiver (its
            utility), a sender's number (from 0) or name, or weights with commas, as in 1,0.5: of
            the senders' utilities and, if there is one more, of the receiver's.
        radius: Radius of the local equilibria.
        time_limit: Seconds for the search. Ctrl-C ends it earlier and keeps certified equilibria.
        seed: Seed of the search.
        members: Search methods to run (default: those that know the game; the surrogate-... ones,
            which train a network first, run only if they are named).
        show: Number of equilibria to report and draw, Nash equilibria first, each part best first.
            All are saved.
        out: Folder of the results (default: a fresh one under results/).
        quiet: Show no progress and print nothing.
    """

    senders: int | None = None
    signals: int | None = None
    states: int | None = None
    actions: int | None = None
    instance: int | None = None
    nash_only: Annotated[bool, Parameter(name="--global", negative=())] = False
    rank_by: str = WELFARE
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
        checks.radius("radius", self.radius)
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
    config = config_of(config, SolveConfig)
    loaded = load_game(game, config)
    ranking_of(loaded, rank_by(config))  # refuses a bad one
    folder = _prepare(config)
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
    if family is None and not Path(source).exists():
        names = (*LAWS, *REGISTRY)
        raise ValueError(
            f"game must be a JSON file or the name of a game, got {source!r}"
            f"{checks.meant(source, names) or ': there is no such file'} "
            f"(names: {', '.join(map(repr, names))})"
        )
    refused = dict.fromkeys(SIZES, f"the random games {', '.join(map(repr, LAWS))}")
    if family is None or family.n_instances == 1:
        refused["instance"] = "random games and families of several games"
    for name, games in refused.items():
        value = getattr(config, name)
        if value is not None:
            raise ValueError(f"{name} is for {games} only, got {value} with the game {source!r}")
    return _read(Path(source)) if family is None else family.make(config.instance or 0)


def _random(law: str, sizes: Mapping[str, Any], instance: int) -> PersuasionGame:
    missing = [name for name, value in sizes.items() if value is None]
    if missing:
        raise ValueError(f"{listed(missing)} must be given for the random game {law!r}, got none")
    check_size(**sizes)
    try:
        # The options have the names of the arguments without "n_".
        arguments = {f"n_{name}": value for name, value in sizes.items()}
        return synthetic_game(**arguments, seed=instance, law=law)
    except ValueError as error:
        raise ValueError(str(error).removeprefix("n_")) from error


def _read(path: Path) -> PersuasionGame:
    expected = "game must be a JSON file or the name of a game"
    if path.is_dir():
        raise ValueError(f"{expected}, got {str(path)!r}: that is a folder")
    try:
        game = PersuasionGame.load(path)
        check_size(*game.shape)
        return game
    except (OSError, ValueError) as error:
        raise ValueError(f"{expected}, got {str(path)!r}: {error}") from error


def rank_by(config: SolveConfig) -> RankBy:
    """What `--rank-by` names: a word, the number of a sender, or weights."""
    text = config.rank_by.strip()
    if text.isdecimal():
        return int(text)
    if "," in text:
        with suppress(ValueError):  # a name with a comma
            return [float(weight) for weight in text.split(",")]
    return text


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
        The exit code: 0; 1 if nothing was certified (of what was searched for); 130 if the search
        was interrupted, which keeps the equilibria certified until then.
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
    asked["scope"] = _scope(config)
    asked.pop("nash_only")
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
) -> Equilibria:
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
            scope=_scope(config),
            rank_by=rank_by(config),
            on_progress=show,
            on_certified=lambda policies, source: certified.append((policies, source)),
        )
    seconds = progress.duration(time.monotonic() - began)
    n_nash = sum(one.is_global for one in found)
    told = f"{len(found)} certified, {n_nash} of them Nash"
    progress.line(f"search: {told}, {seconds} elapsed", config.quiet)
    return found


def _scope(config: SolveConfig) -> str:
    return GLOBAL if config.nash_only else LOCAL


def _kept(
    game: PersuasionGame, config: SolveConfig, certified: Sequence[tuple[Tensor, str]]
) -> Equilibria:
    """The best equilibria certified before an interruption, each proven again.

    What may be Nash is tested for it first; then the best of the rest are proven within the radius.
    A second Ctrl-C ends this, too, and keeps those proven again by then.
    """
    ranking = ranking_of(game, rank_by(config))
    worth = [ranking.of(game, policies).item() for policies, _ in certified]
    best = sorted(range(len(certified)), key=lambda i: -worth[i])
    likely = [i for i in best if config.nash_only or MEMBERS[certified[i][1]].may_be_global]
    likely = likely[:MOST_KEPT]
    proofs: dict[int, Verification] = {}
    found: dict[int, Equilibrium] = {}

    def keep(i: int, everywhere: Verification, seconds: float) -> None:
        policies, source = certified[i]
        local = verify_profile(game, policies, config.radius, time_limit=seconds)
        if local.is_equilibrium:
            found[i] = Equilibrium(game, policies, local, everywhere, source, INTERRUPTION)

    with suppress(KeyboardInterrupt):
        for i in likely:
            share = KEEPING_SECONDS / 2 / len(likely)
            proofs[i] = verify_profile(game, certified[i][0], None, time_limit=share)
            if proofs[i].is_equilibrium:
                keep(i, proofs[i], share)
        rest = [] if config.nash_only else [i for i in best if i not in found]
        rest = rest[: MOST_KEPT - len(found)]
        for i in rest:
            share = KEEPING_SECONDS / 2 / len(rest)
            if i not in proofs:
                proofs[i] = verify_profile(game, certified[i][0], None, time_limit=share / 10)
            keep(i, proofs[i], share)
    return Equilibria(ranked(game, found.values(), ranking), INTERRUPTION)


def _write(game: PersuasionGame, folder: Path, config: SolveConfig, found: Equilibria) -> str:
    """Write the report and the equilibria; return the report."""
    text = search_report(
        game,
        found,
        config.show,
        config.radius,
        config.time_limit,
        scope=_scope(config),
        rank_by=rank_by(config),
        status=found.status,
    )
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
