"""Command lines with one option that is wrong, two at random, or none at all."""

from __future__ import annotations

import contextlib
import importlib
import io
import random
import re
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from .outcomes import end_of
from .trials import Fault, Trial

__all__ = ["groups"]

#: Good lines, of seconds where there are such.
_GOOD = {
    "verify": ["zhu2019.trace-norm"],
    "claims": [],
    "figures": ["wu2019-thm2"],
    "study": ["weak", "--problem", "least-squares", "--paths", "50", "--steps", "3"],
    "train": ["--steps", "2", "--every", "1", "--device", "cpu"],
    "compare": ["zhu2019-fig8", "--device", "cpu"],
    "diagnose": ["run", "--device", "cpu"],
    "data": [],
}
_NEURAL = {"train", "compare", "diagnose", "data"}
#: What accepts its options here goes on to work, for longer than there is time.
_LONG = {"verify", "figures", "study", "train", "compare", "diagnose"}

_WHOLE = ("-1", "0", "1", str(10**20), "-" + "9" * 30, "9" * 5000, "1.5", "1e3", "nan", "inf", "x", "", "٣", "0x10")
_REAL = ("nan", "inf", "-inf", "0", "-0.0", "-1", "1e300", "-1e300", "1e-300", "5e-324", "1e400", "x", "", "1,5", "1_0")
_TEXT = ("nonsense", "", " ", "-", "--", "[red]", "[/red]", "%s", "é", "\udcff", "\n", "x" * 5000, "neural", "cpu:99", "cuda:x")
# No device: who writes whole files by renaming would replace it.
_PATHS = (
    "",
    "no/such/place",
    "/proc/x",
    "/proc/version",
    "file",
    "file/inside",
    "folder",
    "x" * 300,
    "\udcff",
    "\n",
    "-",
    "--",
    "~",
)
_PAIRS = 30


def groups(only: str, seed: int, neural: bool) -> Iterator[list[Trial]]:
    """Trials of all commands: a group for each option, and one of random pairs."""
    import typer

    from gradnoise.cli.main import app

    commands = typer.main.get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
    for name, command in commands.items():
        if not re.search(only, f"gradnoise {name}") or (name in _NEURAL and not neural):
            continue
        table = {_shown(p): [(p, value) for value in _values(p)] for p in command.params if p.name != "help"}
        for values in table.values():
            yield [_trial(name, [chosen]) for chosen in values]
        chance = random.Random(zlib.crc32(name.encode()) + seed)
        pairs = [chance.sample(sorted(table), 2) for _ in range(_PAIRS if len(table) > 1 else 0)]
        yield [_trial(name, [chance.choice(table[option]) for option in pair]) for pair in pairs]
        yield [_line(name, argument, line) for argument, line in (
            ("an unknown option", ["--nonsense"]), ("one argument more", ["more", "and", "more"]), ("no arguments", None),
        )]  # fmt: skip


def _shown(parameter: object) -> str:
    """Name of an option as a user writes it, of an argument in capitals."""
    return max(getattr(parameter, "opts"), key=len) if _is_option(parameter) else str(getattr(parameter, "name")).upper()  # noqa: B009


def _is_option(parameter: object) -> bool:
    return getattr(parameter, "param_type_name", "") == "option"


def _values(parameter: object) -> Sequence[str | None]:
    if getattr(parameter, "is_flag", False):
        return (None,)
    kind = type(getattr(parameter, "type", None)).__name__
    for word, values in (("Int", _WHOLE), ("Float", _REAL), ("Path", _PATHS)):
        if word in kind:
            return values
    return _TEXT


def _trial(command: str, chosen: Sequence[tuple[object, str | None]]) -> Trial:
    line = list(_GOOD[command])
    for parameter, value in chosen:
        if _is_option(parameter):
            # As one word, so that a value that begins with a dash is one.
            line.append(_shown(parameter) if value is None else f"{_shown(parameter)}={value}")
        else:
            line = ["--", str(value)] if not line or line[0].startswith("-") else [str(value), *line[1:]]
    labels = " & ".join("given" if value is None else repr(value)[:40] for _, value in chosen)
    return _line(command, " & ".join(_shown(parameter) for parameter, _ in chosen), line, labels)


def _line(command: str, argument: str, line: Sequence[str] | None, label: str = "") -> Trial:
    whole = [command] if line is None else [command, *([] if label else _GOOD[command]), *line]
    return Trial(f"gradnoise {command}", argument, label or " ".join(whole), lambda: _run(whole, argument), command in _LONG)


def _run(line: Sequence[str], argument: str) -> Fault | None:
    """Run a command line in a folder of its own, and judge its end."""
    Path("file").write_text("nothing")
    Path("folder").mkdir(exist_ok=True)
    if line[0] == "diagnose" and not Path("run").exists():
        _called(["train", *_GOOD["train"], "--out", "run"])
    said, code, fault = _called(line)
    if fault is not None:
        return fault
    if code == 2:
        words = {argument, *(part.strip("- ") for part in argument.split(" & ")), *(a.strip() for a in argument.split("&"))}
        plain = re.sub(r"[\s│╭╮╰╯─]+", " ", said).lower()
        named = any(word.lower().replace("-", " ").strip() in plain.replace("-", " ").replace("_", " ") for word in words)
        return None if named or " " in argument.replace(" & ", "") else Fault("does not name the argument", "", plain[-160:])
    if code not in (0, 1):
        return Fault("other exception", f"exit code {code}", said[-160:])
    return Fault("NaN", "", said[-160:]) if re.search(r"(?<![\w-])nan(?![\w-])", said) and code == 0 else None


def _called(line: Sequence[str]) -> tuple[str, int, Fault | None]:
    """What a command line prints, its exit code, and what is wrong with how it ends."""
    main = importlib.import_module("gradnoise.cli.main").main
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    sys.argv = ["gradnoise", *line]
    code = 0

    def call() -> None:
        nonlocal code
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)

    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        _, fault = end_of(call, set())
    if fault is not None and fault.kind == "does not name the argument":  # it has not become a message
        fault = Fault("other exception", fault.where, fault.message)
    return out.buffer.getvalue().decode(errors="replace"), code, fault  # pyright: ignore[reportAttributeAccessIssue]
