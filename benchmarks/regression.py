"""Compare a measurement with the stored ratios: times belong to a machine, ratios to the code."""

from __future__ import annotations

import json
from pathlib import Path

from measure import Measurement

ALLOWED = 1.2  # a ratio may be this many times the stored one
_OTHERS = ("C", "NumPy")


def load(path: Path) -> dict[str, dict[str, float]]:
    """Return the stored medians of processor time, by case and contender.

    Raises
    ------
    ValueError
        If there are none.
    """
    try:
        cases = json.loads(path.read_text())["cases"]
        return {case["case"]: case["median_processor_ns"] for case in cases}
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{path} must hold a run that was saved with --save, got {type(error).__name__}: {error}") from None


def worse(m: Measurement, stored: dict[str, dict[str, float]]) -> list[str]:
    """Return a line for a case whose ratios to all others that were stored have become worse.

    One of them may be off by itself, as a new version of it can be faster.
    """
    before = stored.get(m.case, {})
    changes = {}
    for name in _OTHERS:
        now = m.ratio("gradnoise", name)
        if now is not None and name in before:
            changes[name] = now / (before["gradnoise"] / before[name])
    if not changes or min(changes.values()) <= ALLOWED:
        return []
    against = ", ".join(f"{change:.2f} times the stored ratio to {name}" for name, change in changes.items())
    return [f"{m.case} takes {against}; {ALLOWED:g} is allowed"]
