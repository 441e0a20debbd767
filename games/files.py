"""Files that are written whole or not at all, and JSON files whose faults are named."""

import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from games import checks


def read_record(
    path: str | Path, needed: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, Any]:
    """The dictionary in a JSON file.

    Args:
        path: of the file.
        needed: keys that it must have.
        optional: keys that it may have.

    Raises:
        OSError: if the file cannot be read.
        ValueError: naming the file, and the key that is missing or unknown if it is JSON at all.
    """
    try:
        record: dict[str, Any] = json.loads(Path(path).read_text("utf-8"))
    except (ValueError, RecursionError) as error:  # no text, or no JSON
        raise ValueError(f"{path} is not JSON: {error}") from error
    checks.keys(str(path), record, needed, optional)
    return record


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all; see `write_bytes`."""
    write_bytes(path, text.encode())


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all.

    The data go to a temporary file in the same folder, which replaces `path` once they are on the
    disk. If that fails, the old file is unchanged and the temporary one is removed. If `path` is a
    symbolic link, the file that it points to is replaced. An existing file keeps its permissions; a
    new one gets the usual ones. Anything but a regular file, such as `/dev/stdout`, is written to
    directly.

    Args:
        path: of the file; its folder must exist.
        data: all of its content.

    Raises:
        OSError: if it cannot be written.
    """
    if Path(path).exists() and not Path(path).is_file():
        Path(path).write_bytes(data)
        return
    place = Path(os.path.realpath(path))
    temporary = place.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if place.exists():
            temporary.chmod(place.stat().st_mode & 0o777)
        temporary.replace(place)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
