"""The folder of a run: locked for one process, with a record of what was run in it."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from dnl.runtime import cli
from dnl.runtime.devices import describe_hardware
from dnl.runtime.settings import in_force
from games.checks import shown
from games.files import write_text

RUN = "run.json"
LOCK = ".lock"
LOCK_SECONDS = 3.0  # to wait for a folder: the workers of a killed process end within one second
Row = dict[str, Any]


def fresh_folder(parent: Path, prefix: str) -> Path:
    """Create a folder under `parent` that no other run has, named after date and time.

    Raises:
        OSError: if `parent` is not writable.
    """
    name = f"{prefix}-{datetime.now():%Y%m%d-%H%M%S}"
    path, count = parent / name, 1
    make_writable(parent)
    while True:
        try:
            path.mkdir()
        except FileExistsError:
            count += 1
            path = parent / f"{name}-{count}"
        else:
            return path


def make_writable(path: Path) -> None:
    """Create the folder `path` if necessary; raise an OSError if it is not writable."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(f"out must be a writable folder, got {str(path)!r}: {error}") from error


def lock(path: Path) -> FileLock:
    """Lock the folder `path` for this process, until `release` or its end.

    Raises:
        OSError: if another process works in the folder.
    """
    # One lock for the whole process, which may open a folder twice.
    held = FileLock(path / LOCK, is_singleton=True, thread_local=False)
    try:
        held.acquire(timeout=LOCK_SECONDS)
    except Timeout:
        raise OSError(
            f"out must be a folder of its own, got {str(path)!r}: another process works in it"
        ) from None
    return held


def claim(folder: Path, configuration: Mapping[str, Any]) -> FileLock:
    """Lock `folder` for a run that starts from scratch, and write its record.

    Raises:
        OSError: if the folder is not writable, or another process works in it.
        ValueError: if it holds a run of another command, which could not be resumed any more.
    """
    make_writable(folder)
    held = lock(folder)
    try:
        check_own(folder)
        write_record(folder, configuration)
    except BaseException:
        held.release()
        raise
    return held


def check_own(folder: Path) -> None:
    """Raise a ValueError if the `run.json` in `folder` is another command's."""
    if not (folder / RUN).exists():
        return
    there, here = program_of(folder), cli.called()
    if None not in (there, here) and there != here:
        raise ValueError(
            f"out holds a run of {there}, got {here} and out={str(folder)!r}: choose another folder"
        )


def check_configuration(folder: Path, configuration: Mapping[str, Any]) -> None:
    """Raise a ValueError if the run in `folder` has another configuration, or no `run.json`."""
    if not (folder / RUN).exists():
        raise ValueError(f"out holds rows of an unknown run, got {str(folder)!r}: no {RUN}")
    there = in_force(read_record(folder)["configuration"])
    here = in_force(configuration)
    for name in sorted(there.keys() | here.keys()):
        if there.get(name) != here.get(name):
            raise ValueError(
                f"out holds a run with {name}={shown(there.get(name))}, got {name}="
                f"{shown(here.get(name))} and out={str(folder)!r}: choose another folder"
            )


def write_record(folder: Path, configuration: Mapping[str, Any]) -> None:
    """Write `run.json`: command, date, version, commit, hardware and `configuration`."""
    _write_run(folder, _this_run() | {"configuration": configuration})


def read_record(folder: Path) -> Row:
    """Read the `run.json` of a folder; its "configuration" is a dictionary.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is broken.
    """
    try:
        record = json.loads((folder / RUN).read_text())
    except OSError as error:
        raise OSError(f"out must hold a readable {RUN}, got {str(folder)!r}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"out holds a broken {RUN}, got {str(folder)!r}: {error}") from error
    if not isinstance(record, dict) or not isinstance(record.get("configuration"), dict):
        raise ValueError(
            f"out holds a broken {RUN}, got {str(folder)!r}: it must hold a configuration"
        )
    return record


def record_continuation(folder: Path) -> None:
    """Add this process to `run.json`: it computes rows that earlier ones did not."""
    record = read_record(folder)
    record["continued"] = [*(record.get("continued") or []), _this_run()]
    _write_run(folder, record)


def program_of(folder: Path) -> str | None:
    """The command whose run is in a folder, e.g. "experiments.finding", if it is known.

    Raises:
        ValueError: if its `run.json` is broken.
        OSError: if there is none.
    """
    record = read_record(folder)
    if isinstance(record.get("program"), str):
        return str(record["program"])
    words = str(record.get("command", "")).split()  # of older records
    named = words[2] if words[:2] == ["python", "-m"] and len(words) > 2 else None
    return named if named is not None and named.startswith(("dnl.", "experiments.")) else None


def provenance(device: torch.device | None = None) -> dict[str, str | None]:
    """The version, commit and hardware of this process.

    The commit is that of this library's repository, with "+" if files differ from it, and None for
    an installed copy.
    """
    from dnl import __version__

    return {
        "version": __version__,
        "commit": _commit(),
        "hardware": describe_hardware(device or torch.device("cpu")),
    }


def command_line() -> str:
    """The command of this process, as a user would type it."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    program = ["-m", spec.name] if spec else [Path(sys.argv[0]).name]
    return shlex.join(["python", *program, *sys.argv[1:]])


def _this_run() -> Row:
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return {"command": command_line(), "program": cli.called(), "date": date, **provenance()}


def _write_run(folder: Path, record: Row) -> None:
    write_text(folder / RUN, json.dumps(record, indent=1) + "\n")


def _commit() -> str | None:
    source = Path(__file__).resolve()
    # A git hook, for example, passes the environment of another repository to its children.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    described = ["describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
    # A copy that is installed inside another repository is not part of it.
    for arguments in (["ls-files", "--error-unmatch", source.name], described):
        try:
            done = subprocess.run(
                ["git", *arguments],
                cwd=source.parent,
                env=environment,
                capture_output=True,
                text=True,
                timeout=10,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return None  # an installed copy, or no git
    return done.stdout.strip()
