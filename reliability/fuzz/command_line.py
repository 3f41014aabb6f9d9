"""Command lines with one option that is wrong, or two at random."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import os
import pkgutil
import random
import re
import shutil
import sys
import typing
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from .outcomes import end_of
from .trials import Fault, Trial

__all__ = ["groups"]

#: Good lines, of seconds where there are such.
_GOOD = {
    "verify": ["zhu2019.trace-norm"],
    "claims": [],
    "show": ["zhu2019.trace-norm"],
    "new-claim": ["me2026"],
    "figures": ["wu2019-thm2"],
    "study": ["weak", "--problem", "least-squares", "--paths", "50", "--steps", "3"],
    "train": ["--steps", "2", "--every", "1", "--device", "cpu"],
    "compare": ["zhu2019-fig8", "--device", "cpu"],
    "sweep": ["plan.toml", "--device", "cpu", "--jobs", "1"],
    "diagnose": ["run", "--device", "cpu"],
    "data": [],
}
_PLAN = 'runs = [{experiment = "digits", dynamics = "gd", n_steps = 2}]'
_NEURAL = {"train", "compare", "sweep", "diagnose", "data"}
#: What accepts its options here goes on to work, for longer than there is time.
_LONG = {"verify", "figures", "study", "train", "compare", "sweep", "diagnose"}
_EXIT_CODES = {0, 1, 2, 3}

_WHOLE = ("-1", "0", "1", str(10**20), "-" + "9" * 30, "9" * 5000, "1.5", "1e3", "nan", "inf", "x", "", "٣", "0x10")
_REAL = ("nan", "inf", "-inf", "0", "-0.0", "-1", "1e300", "-1e300", "1e-300", "5e-324", "1e400", "x", "", "1,5", "1_0")
_TEXT = ("nonsense", "", " ", "-", "--", "[red]", "[/red]", "%s", "é", "\udcff", "\n", "x" * 5000, "neural", "cpu:99", "cuda:x")
# No device: who writes whole files by renaming would replace it.
_PATHS = (
    "", "no/such/place", "/proc/x", "/proc/version", "file", "file/inside", "folder", "x" * 300, "\udcff", "[/red]", "-", "--",
)  # fmt: skip
_PAIRS = 30


@dataclass(frozen=True)
class _Option:
    """An option or an argument of a command, and what it is given."""

    name: str
    is_option: bool
    values: Sequence[str | None]


def groups(only: str, seed: int, neural: bool, files: Path) -> Iterator[list[Trial]]:
    """Trials of all commands, each in a process of its own, as a command has; a training is kept in a folder."""
    app = _loaded(neural).registered_commands
    for command in app:
        name = command.name or command.callback.__name__
        if not re.search(only, f"gradnoise {name}") or (name in _NEURAL and not neural):
            continue
        if name == "diagnose":
            _train(files)
        table = {option.name: option for option in _options(command.callback)}
        names = {option.name for option in table.values()}
        chance = random.Random(zlib.crc32(name.encode()) + seed)
        pairs = [chance.sample(sorted(table), 2) for _ in range(_PAIRS if len(table) > 1 else 0)]
        chosen = [[(option, value)] for option in table.values() for value in option.values]
        chosen += [[(table[one], chance.choice(table[one].values)) for one in pair] for pair in pairs]
        yield from ([_trial(name, one, names, files)] for one in chosen)
        yield [_line(name, "a stranger", [name, *_GOOD[name], "--nonsense"], "--nonsense", {"nonsense"}, files)]


def _loaded(neural: bool) -> Any:
    """The commands, with all that they import, so that a forked process need not import it again."""
    package = importlib.import_module("gradnoise.cli")
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
    registry = importlib.import_module("gradnoise.claims.registry")
    for extra in (None, *(registry.EXTRAS if neural else ())):
        registry.all_claims(extra)
    return importlib.import_module("gradnoise.cli.commands").app


def _options(callback: Any) -> Iterator[_Option]:
    """What a command takes, read from its signature."""
    hints = typing.get_type_hints(callback, include_extras=True)
    for name in inspect.signature(callback).parameters:
        kind, info = typing.get_args(hints[name])[:2]
        kinds = {kind, *typing.get_args(kind), *(k for part in typing.get_args(kind) for k in typing.get_args(part))}
        values = next(
            (values for k, values in ((bool, (None,)), (int, _WHOLE), (float, _REAL), (Path, _PATHS)) if k in kinds), _TEXT
        )
        if isinstance(info, typer.models.OptionInfo):
            written = [info.default, *(info.param_decls or ())]  # where it is annotated, the first one is found as default
            names = [n for n in written if isinstance(n, str)] or [f"--{name.replace('_', '-')}"]
            yield _Option(max(names, key=len), True, values)
        else:
            yield _Option(name, False, values)


def _train(files: Path) -> None:
    """Leave a training for `diagnose`, made in a process of its own."""
    if (pid := os.fork()) == 0:
        _called(["train", *_GOOD["train"], "--out", str(files / "run")])
        os._exit(0)
    os.waitpid(pid, 0)


def _trial(command: str, chosen: Sequence[tuple[_Option, str | None]], names: set[str], files: Path) -> Trial:
    line = list(_GOOD[command])
    for option, value in chosen:
        if option.is_option:
            # As one word, so that a value that begins with a dash is one.
            line.append(option.name if value is None else f"{option.name}={value}")
        elif not str(value).startswith("-"):
            line = [str(value), *line[bool(line and not line[0].startswith("-")) :]]
    labels = " & ".join("given" if value is None else repr(value)[:40] for _, value in chosen)
    return _line(command, " & ".join(option.name for option, _ in chosen), [command, *line], labels, names, files)


def _line(command: str, argument: str, line: Sequence[str], label: str, names: set[str], files: Path) -> Trial:
    return Trial(f"gradnoise {command}", argument, label, lambda: _run(line, names, files), command in _LONG)


def _run(line: Sequence[str], names: set[str], files: Path) -> Fault | None:
    """Run a command line in a folder of its own, and judge its end."""
    Path("file").write_text("nothing")
    Path("folder").mkdir()
    Path("plan.toml").write_text(_PLAN)
    if line[0] == "diagnose":
        shutil.copytree(files / "run", "run")
    said, code, fault = _called(line)
    if fault is not None:
        return fault
    plain = re.sub(r"[\s│╭╮╰╯─]+", " ", said)
    if code not in _EXIT_CODES or "Traceback" in said:
        return Fault("other exception", f"exit code {code}", plain[-160:])
    if code == 2 and not any(_names(plain, name) for name in names):
        return Fault("does not name the argument", "", plain[-160:])
    return Fault("NaN", "", plain[-160:]) if code == 0 and re.search(r"(?<![\w-])nan(?![\w-])", said) else None


def _names(said: str, name: str) -> bool:
    """Whether a message has the name of an option, as it is written or in plain words."""
    forms = (name.strip("-"), name.strip("-").replace("-", "_"), name.strip("-").replace("-", " "))
    return any(re.search(rf"\b{re.escape(form)}\b", said, re.I) for form in forms)


def _called(line: Sequence[str]) -> tuple[str, int, Fault | None]:
    """What a command line prints, its exit code, and what is wrong with how it ends."""
    main = importlib.import_module("gradnoise.cli.main").main
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace", write_through=True)
    sys.argv = ["gradnoise", *line]
    code = 0

    def call() -> None:
        nonlocal code
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)

    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        _, fault = end_of(call, set())
    if fault is not None and fault.kind == "does not name the argument":  # it has not become a message
        fault = Fault("other exception", fault.where, fault.message)
    said = b"".join(stream.buffer.getvalue() for stream in (out, err))  # pyright: ignore[reportAttributeAccessIssue]
    return said.decode(errors="replace"), code, fault
