"""The identity of a run: all options, inputs and versions that decide its result, nested dicts."""

import json
import re
from collections.abc import Mapping
from typing import Any


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List every value that differs between two identities, as ``dotted.key: was -> is``.

    Values under ``resolved`` may differ and are left out.
    """
    old, new = _leaves(was), _leaves(now)
    return [
        f"  {'.'.join(keys)}: {_shown(old.get(keys))} -> {_shown(new.get(keys))}"
        for keys in old | new
        if keys[0] != "resolved" and old.get(keys) != new.get(keys)
    ]


def _leaves(value: Any, keys: tuple[str, ...] = ()) -> dict[tuple[str, ...], str]:
    """Flatten nested dicts to ``{keys: JSON text}``; as text, NaN equals NaN."""
    if isinstance(value, dict) and (value or not keys):
        return {k: v for key in value for k, v in _leaves(value[key], (*keys, key)).items()}
    return {keys: json.dumps(value, ensure_ascii=False)}


def _shown(value: str | None) -> str:
    """Format a value for a person: a sha256 is cut to its first 12 digits."""
    return "nothing" if value is None else re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1", value)
