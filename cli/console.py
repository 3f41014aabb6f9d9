"""Where commands print: results to `console`, all else to `errors`."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from gradnoise.cli.streams import readable

__all__ = ["console", "errors", "say", "write_json_text"]

_WIDTH_OF_A_FILE = 150


class _Console(Console):
    """A console that spells what its stream cannot take before it lays out a table, which words make wider."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(readable(text, self.encoding), **options)


console = _Console()
if not console.is_terminal:
    console = _Console(width=_WIDTH_OF_A_FILE)
errors = _Console(stderr=True)


def say(text: str, *, to: Console = console) -> None:
    """Print a line as it is, however long."""
    to.print(text, highlight=False, soft_wrap=True)


def write_json_text(text: str) -> None:
    """Write JSON to stdout, with escapes for what its encoding does not have."""
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        text = json.dumps(json.loads(text), indent=1) + "\n"
    sys.stdout.write(text)
    sys.stdout.flush()
