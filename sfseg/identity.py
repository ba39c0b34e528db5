"""What decides a result: options, inputs, versions, by which runs tell themselves apart."""

import json
import re
from collections.abc import Mapping
from typing import Any


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name every value of two identities that differs, as ``dotted.key: was -> is``.

    Those under ``resolved`` may differ.
    """
    old, new = _leaves(was), _leaves(now)
    return [
        f"  {'.'.join(keys)}: {_shown(old.get(keys))} -> {_shown(new.get(keys))}"
        for keys in old | new
        if keys[0] != "resolved" and old.get(keys) != new.get(keys)
    ]


def _leaves(value: Any, keys: tuple[str, ...] = ()) -> dict[tuple[str, ...], str]:
    """Spell out the values of nested dicts; as text, for NaN equals NaN there."""
    if isinstance(value, dict) and (value or not keys):
        return {k: v for key in value for k, v in _leaves(value[key], (*keys, key)).items()}
    return {keys: json.dumps(value, ensure_ascii=False)}


def _shown(value: str | None) -> str:
    """Write a value for a person: of a sha256 the beginning."""
    return "nothing" if value is None else re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1", value)
