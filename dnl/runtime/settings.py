"""Settings as files hold them: what earlier versions wrote is compared with what is written now."""

import json
from collections.abc import Mapping
from typing import Any

# Options that are gone, with the value that means what is done now.
RETIRED: list[tuple[str, Any]] = [("upper", [])]  # hidden layers of follower networks: none


def in_force(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON has them, without retired options, so that older files can be used."""
    return dict(json.loads(json.dumps(settings), object_hook=without_retired))


def without_retired(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options without those that say what is done now in any case."""
    return {name: value for name, value in options.items() if (name, _plain(value)) not in RETIRED}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
