"""Help that fills the terminal, whatever the lines of the docstring."""

from __future__ import annotations

import inspect
from typing import Any

from typer.core import TyperCommand

__all__ = ["Paragraphs"]


class Paragraphs(TyperCommand):
    """A command whose paragraphs are lines of their own; Typer ends them where the docstring does."""

    def __init__(self, *args: Any, help: str | None = None, **options: Any) -> None:
        paragraphs = inspect.cleandoc(help or "").split("\n\n")
        super().__init__(*args, help="\n\n".join(" ".join(part.splitlines()) for part in paragraphs), **options)
