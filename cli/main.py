"""The command `gradnoise`. Nothing but the handling of Ctrl-C is imported before that begins."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    from gradnoise.cli import interruption

    interruption.watch()
    from gradnoise.cli import streams

    streams.prepare()
    from gradnoise.cli.commands import app

    app()


def __getattr__(name: str):
    if name == "app":
        from gradnoise.cli.commands import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
