"""Standard streams that take whatever is printed: every character, and a disk that is full or a pipe that nobody reads."""

from __future__ import annotations

import codecs
import io
import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

__all__ = ["OutputLost", "guarded", "prepare", "readable"]

_HANDLER = "gradnoise.readable"
_WORDS = {
    "−": "-", "–": "-", "—": "-", "±": "+/-", "×": "x", "·": "*", "⊙": "*", "√": "sqrt", "‖": "||", "′": "'", "…": "...",
    "≈": "~", "≤": "<=", "⪯": "<=", "≥": ">=", "≪": "<<", "≫": ">>", "≠": "!=", "≡": "==", "∝": "~", "→": "->", "∈": "in",
    "∞": "inf", "∫": "int", "∇": "grad", "∂": "d", "⟨": "<", "⟩": ">", "°": "deg", "λ": "lambda", "\u0302": "_hat",
    "\u0304": "_bar", "\u2044": "/",
}  # fmt: skip


class OutputLost(Exception):
    """Stdout could not be written; its cause is the OSError."""


def prepare() -> None:
    """Let stdout and stderr spell what their encoding does not have.

    One that is closed becomes one that fails when it is written to: without it the next file that is opened would take its
    number, and what a library prints would end up in that file.
    """
    codecs.register_error(_HANDLER, _spell)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            # A closed stderr takes what nobody wants to read; stdout has results, and so says that they are lost.
            _open_nothing(number, os.O_WRONLY if number == 2 else os.O_RDONLY)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))
        stream = getattr(sys, name)
        if number and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


class _Guarded:
    """A stream that raises `OutputLost` in place of any OSError; or none, if nothing is lost with it."""

    def __init__(self, stream: Any, matters: bool) -> None:
        self._stream, self._matters = stream, matters

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._failing():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._failing():
            self._stream.flush()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # What is still buffered goes nowhere, so that the interpreter does not fail on it once more when it ends.
            with suppress(OSError):
                _open_nothing(self._stream.fileno(), os.O_WRONLY)
            if self._matters:
                raise OutputLost(error) from error


@contextmanager
def guarded() -> Iterator[None]:
    """Context in which printing raises nothing but `OutputLost`, of stdout; stderr does without what it cannot write."""
    prepare()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Guarded(sys.stdout, True), _Guarded(sys.stderr, False)  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _open_nothing(number: int, flags: int) -> None:
    """Open a file of this number that holds nothing."""
    handle = os.open(os.devnull, flags)
    if handle != number:
        os.dup2(handle, number)
        os.close(handle)


def readable(text: str, encoding: str) -> str:
    """Spell the characters of a text that an encoding does not have.

    Examples
    --------
    >>> readable("E‖ε‖² = Tr(HΣ) ± 10⁻³", "ascii")
    'E||epsilon||^2 = Tr(H Sigma) +/- 10^-3'
    >>> readable("½ Σ", "latin-1"), readable("½ Σ", "utf-8"), readable("Lévy", "ascii")
    ('½ Sigma', '½ Σ', 'Levy')
    """
    codecs.register_error(_HANDLER, _spell)
    return text.encode(encoding, _HANDLER).decode(encoding)


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Spell a run of characters: what codecs call in place of raising."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text, start, end = error.object, error.start, error.end
    return "".join(_spelled(text, i) for i in range(start, end)), end


def _spelled(text: str, i: int) -> str:
    """One character, apart from the letters around it where it has become a word."""
    before, after = text[i - 1 : i], text[i + 1 : i + 2]
    word = _ascii(text[i])
    if word[:1] in "^_" and before and _ascii(before)[:1] == word[:1]:
        return word[1:]  # 10⁻³ is 10^-3
    if len(word) > 1 and word.isalpha():
        return " " * before.isalnum() + word + " " * (after.isascii() and after.isalpha())
    return word


def _ascii(character: str) -> str:
    """ASCII for a character, by its name or by what Unicode says it is composed of."""
    if character.isascii():
        return character
    if character in _WORDS:
        return _WORDS[character]
    if unicodedata.combining(character):  # an accent, whose letter stands before it
        return ""
    if "\ud800" <= character <= "\udfff":  # a byte of a file's name that is no text
        return f"\\x{ord(character) & 0xFF:02x}"
    name = unicodedata.name(character, "")
    if name.startswith(("GREEK SMALL LETTER ", "GREEK CAPITAL LETTER ")):
        letter = name.split()[3]
        return letter.capitalize() if name.startswith("GREEK CAPITAL") else letter.lower()
    kind, _, parts = unicodedata.decomposition(character).rpartition("> ")
    mark = {"<super": "^", "<sub": "_"}.get(kind, "")
    return mark + "".join(_ascii(chr(int(part, 16))) for part in parts.split()) if parts else "?"
