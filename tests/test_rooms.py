"""The library's rooms: who imports whom. Data flows one way, so no room imports one below it."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

# What each room of dnl/ may import from the others; games/ is there for all.
MAY_IMPORT: dict[str, set[str]] = {
    "runtime": set(),
    "layers": {"runtime"},
    "gradients": {"runtime"},
    "training": {"runtime", "layers"},
    "exact": {"runtime"},
    "surrogates": {"runtime", "layers", "gradients", "training", "exact"},
    "equilibria": {"runtime", "layers", "gradients", "training", "exact", "surrogates"},
    "learning_to_persuade": {"runtime", "layers", "gradients", "training", "exact"},
}
MAY_IMPORT["benchmark"] = {*MAY_IMPORT} - {"learning_to_persuade"}
MAY_IMPORT["reporting"] = {*MAY_IMPORT}
COMMANDS = {"bench", "solve", "plot"}

GAMES_MAY_IMPORT = {
    "persuasion": set[str](),
    "followers": {"persuasion"},
    "receivers": {"persuasion"},
}


def imported(path: Path) -> Iterator[str]:
    """Full names of what a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_room_is_known() -> None:
    rooms = {path.parent.name for path in (ROOT / "dnl").glob("*/__init__.py")}
    assert rooms == set(MAY_IMPORT)
    modules = {path.stem for path in (ROOT / "dnl").glob("*.py")}
    assert modules == COMMANDS | {"__init__"}
    assert len(rooms) <= 12


def test_no_import_points_back() -> None:
    for room, allowed in MAY_IMPORT.items():
        for path in (ROOT / "dnl" / room).rglob("*.py"):
            for name in imported(path):
                owner, *rest = name.split(".")
                assert owner not in ("experiments", "tests"), (path, name)
                if owner == "dnl" and rest and rest[0] != "__version__":
                    assert rest[0] in allowed | {room}, (path, name)


def test_games_know_nothing_of_the_library_above_them() -> None:
    for path in (ROOT / "games").rglob("*.py"):
        room = path.relative_to(ROOT / "games").parts[0]
        for name in imported(path):
            owner, *rest = name.split(".")
            assert owner not in ("dnl", "experiments", "tests"), (path, name)
            if owner == "games" and room in GAMES_MAY_IMPORT and rest[0] in GAMES_MAY_IMPORT:
                assert rest[0] in GAMES_MAY_IMPORT[room] | {room}, (path, name)


def test_libraries_that_have_one_door() -> None:
    doors = {"highspy": "linear_program.py", "distributed": "cluster.py", "dask": "cluster.py"}
    for library, door in doors.items():
        found = {
            path.name
            for path in (ROOT / "dnl").rglob("*.py")
            if library in {name.split(".")[0] for name in imported(path)}
        }
        assert found <= {door}, library
    lightning = {
        path.parent.name
        for path in (ROOT / "dnl").rglob("*.py")
        if "lightning" in {name.split(".")[0] for name in imported(path)}
    }
    assert lightning == {"training"}


def test_no_two_modules_of_the_library_have_one_name() -> None:
    stems = [
        path.stem
        for top in ("dnl", "games")
        for path in (ROOT / top).rglob("*.py")
        if path.stem not in ("__init__", "base", "registry")
    ]
    assert sorted(stems) == sorted(set(stems))
