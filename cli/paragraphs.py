"""Help that fills the terminal, wherever the lines of a docstring end."""

from __future__ import annotations

import inspect
from typing import Any

from typer.core import TyperCommand

__all__ = ["Paragraphs"]


class Paragraphs(TyperCommand):
    """A command each of whose paragraphs is one line of text, which Typer would break where the docstring does."""

    def __init__(self, *args: Any, help: str | None = None, **options: Any) -> None:
        paragraphs = inspect.cleandoc(help or "").split("\n\n")
        super().__init__(*args, help="\n\n".join(" ".join(part.splitlines()) for part in paragraphs), **options)
