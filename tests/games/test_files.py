"""Files are written whole or not at all."""

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from games.files import write_bytes, write_text

OLD, NEW = b"the old content", b"the new one\n"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("old", [None, OLD])
def test_a_file_is_written_and_replaced(old: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    write_bytes(str(path), NEW)
    assert path.read_bytes() == NEW
    assert names(tmp_path) == ["file"]


def test_text_is_utf_8_with_line_ends_as_they_are(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "é\n\r\n")
    assert (tmp_path / "file").read_bytes() == b"\xc3\xa9\n\r\n"


def test_a_relative_path_is_one_of_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_text("file", "text")
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_keeps_the_old_file(
    call: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise error

    path = tmp_path / "file"
    path.write_bytes(OLD)
    # pathlib's methods call those of `os`.
    monkeypatch.setattr(os, call, fails)
    with pytest.raises(type(error)):
        write_bytes(path, NEW)
    assert path.read_bytes() == OLD
    assert names(tmp_path) == ["file"]


def test_a_folder_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_bytes(tmp_path / "none" / "file", NEW)


def test_what_is_no_regular_file_is_not_replaced(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    write_bytes(f"/dev/fd/{writer}", NEW)
    assert os.read(reader, 100) == NEW
    for end in (reader, writer):
        os.close(end)
    with pytest.raises(IsADirectoryError):
        write_bytes(tmp_path, NEW)


def test_permissions_are_those_of_the_file_or_the_usual_ones(tmp_path: Path) -> None:
    def mode(name: str) -> int:
        return stat.S_IMODE((tmp_path / name).stat().st_mode)

    (tmp_path / "plain").write_bytes(NEW)
    write_bytes(tmp_path / "new", NEW)
    assert mode("new") == mode("plain")
    (tmp_path / "plain").chmod(0o640)
    write_bytes(tmp_path / "plain", OLD)
    assert mode("plain") == 0o640


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    path, link = tmp_path / "folder" / "file", tmp_path / "link"
    path.write_bytes(OLD)
    link.symlink_to(path)
    write_bytes(link, NEW)
    assert link.is_symlink()
    assert path.read_bytes() == NEW
