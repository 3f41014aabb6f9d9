"""Results that can be written as JSON."""

from __future__ import annotations

import json
import math
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

__all__ = ["JsonResult", "finite"]


class JsonResult(ABC):
    """A result that knows its numbers as a dictionary."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Result with lists and numbers only."""

    def to_json(self) -> str:
        """Result as JSON; infinities and NaN, which JSON does not have, are null."""
        return json.dumps(finite(self.to_dict()), indent=1, allow_nan=False) + "\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the result as JSON."""
        Path(path).write_text(self.to_json(), encoding="utf-8")


def finite(value: Any) -> Any:
    """Return nested lists, tuples and dictionaries with None for what is not finite."""
    if isinstance(value, dict):
        return {key: finite(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
