"""Settings: as callers give them, and as files hold them, those of earlier versions included."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from games import checks

Config = TypeVar("Config")

# Options that are gone, with the value that means what is done now.
RETIRED: list[tuple[str, Any]] = [("upper", [])]  # hidden layers of follower networks: none


def config_of(config: object, kind: type[Config]) -> Config:
    """`config` if it is a `kind`, the default one for None.

    Raises:
        ValueError: for anything else.
    """
    if config is None:
        return kind()
    if isinstance(config, Mapping):
        name = kind.__name__
        raise ValueError(
            f"config must be {checks.a(name)}, got {checks.shown(config)}: {name}(**config) makes "
            "one"
        )
    return checks.instance("config", config, kind)


def path_of(name: str, value: object) -> Path:
    """`value` as a path.

    Raises:
        ValueError: if it is neither a string nor a path.
    """
    if not isinstance(value, str | os.PathLike):
        raise ValueError(f"{name} must be a path, got {checks.shown(value)}")
    return Path(value)


def in_force(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON has them, without retired options, so that older files can be used."""
    return dict(json.loads(json.dumps(settings), object_hook=without_retired))


def without_retired(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options without those that say what is done now in any case."""
    return {name: value for name, value in options.items() if (name, _plain(value)) not in RETIRED}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
