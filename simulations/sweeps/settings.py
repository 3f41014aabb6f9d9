"""Settings of a training as a plan and a table have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gradnoise.theory._validation import as_real, as_text, shown

__all__ = ["as_place", "as_settings", "as_table"]

#: What tells how far a training has come.
PLACES = ("step", "train_loss")


def as_settings(value: Any, name: str) -> dict[str, Any]:
    """Return a mapping of settings, by name in their order, with tuples for lists."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a table of settings, got {shown(value)}")
    given = {as_text(key, f"each of {name}"): part for key, part in value.items()}  # texts first: others have no order
    return {key: _as_setting(given[key], f"{name}: {key}") for key in sorted(given)}


def as_table(value: Any, name: str, keys: Sequence[str]) -> dict[str, Any]:
    """Return a mapping that has no other keys than these."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a table of {', '.join(keys)}, got {shown(value)}")
    table = dict(value)
    if unknown := sorted(map(str, table.keys() - set(keys))):
        raise ValueError(f"{name} must have {', '.join(keys)} alone, got {', '.join(unknown)}")
    return table


def as_place(value: Any, name: str = "at") -> dict[str, float]:
    """Return a table of one number that tells how far a training has come."""
    table = as_table(value, name, PLACES)
    if len(table) != 1:
        raise ValueError(f"{name} must have one of {', '.join(PLACES)}, got {shown(value)}")
    return {key: as_real(part, f"{name}: {key}", at_least=0) for key, part in table.items()}


def _as_setting(value: Any, name: str) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_as_setting(part, name) for part in value)
    if not isinstance(value, str | bool | int | float):
        raise TypeError(f"{name} must be a text, a number, true, false, or a list of these, got {shown(value)}")
    return as_real(value, name) if isinstance(value, float) else value
