"""Run the commands as many surroundings have them: no home, no terminal, other locales, warnings as errors, other Pythons.

A run is right if it ends as it does at home, writes the same files, warns of nothing and leaves no traceback.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from page import ROOT, keep
from sealed import sealed

GRADNOISE = Path(sys.executable).with_name("gradnoise")
WRONG = "a wrong option"
COMMANDS = {
    "help": ["--help"],
    "list the claims": ["claims"],
    "verify": ["verify", "zhu2019.d1", "zhu2019.trace-norm", "--out", "{out}"],
    "verify as JSON": ["verify", "zhu2019.d1", "--json", "-"],
    "study": [
        "study", "weak", "--paths", "50", "--steps", "3", "--refinement", "4", "--json", "{out}/s.json", "--plot", "{out}/s.png",
    ],
    "figure": ["figures", "wu2020-thm1", "--out", "{out}"],
    "data": ["data"],
    WRONG: ["study", "weak", "--paths", "0"],
}  # fmt: skip
SECONDS = 240.0


@dataclass(frozen=True)
class Place:
    """Variables to set, and to remove for None; what stands before the command; how stdout is used."""

    variables: dict[str, str | None]
    shell: str = "{command}"
    codes: tuple[int, ...] = ()  # allowed instead of the usual one
    read_only: Path | None = None
    left_out: str | None = None  # a command that takes too long


Ended = tuple[subprocess.CompletedProcess[str], list[str]]  # and the files that were written


@dataclass
class Finding:
    """What went otherwise than at home."""

    place: str
    command: str
    what: str


def places(scratch: Path) -> dict[str, Place]:
    """All surroundings by name."""
    bare, shut = scratch / "home", scratch / "shut"
    bare.mkdir()
    shut.mkdir()
    folders = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR")
    no_home: dict[str, str | None] = dict.fromkeys(folders)
    encodings = {
        f"PYTHONIOENCODING={name}": Place({"PYTHONIOENCODING": name, "PYTHONUTF8": "0"})
        for name in ("ascii", "cp1252", "latin-1", "cp437", "utf-16", "utf-8:strict", "ascii:strict")
    }
    locales = {
        f"LC_ALL={name}": Place({"LC_ALL": name, "LANG": name, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
        for name in ("C", "POSIX", "C.UTF-8", "xx_YY.UTF-8")
    }
    widths = {f"COLUMNS={n}": Place({"COLUMNS": str(n)}) for n in (1, 20, 40, 80, 400)}
    terminals = {f"TERM={name}": Place({"TERM": name}) for name in ("dumb", "unknown", "xterm-256color")}
    streams = {
        "stdout to head": Place({}, "{command} | head -c 10", codes=(0, 141)),
        "stdout to true": Place({}, "{command} | true", codes=(0, 141)),
        "stdout full": Place({}, "{command} > /dev/full", codes=(1, 74)),
        "stdout closed": Place({}, "{command} >&-", codes=(1, 74)),
        "stderr closed": Place({}, "{command} 2>&-"),
        "stdin closed": Place({}, "{command} <&-"),
        "no streams": Place({}, "{command} <&- >&- 2>&-", codes=(1, 74)),
    }
    return {
        **encodings,
        **locales,
        **widths,
        **terminals,
        **streams,
        "no home": Place(no_home),
        "a home that is missing": Place({**no_home, "HOME": str(scratch / "missing")}),
        "a new home": Place({**no_home, "HOME": str(bare)}),
        "a read-only home": Place({**no_home, "HOME": str(shut)}, read_only=shut),
        "a cache that cannot be written": Place({"NUMBA_CACHE_DIR": str(shut / "cache")}, read_only=shut),
        "no temporary folder": Place({"TMPDIR": str(scratch / "missing")}),
        "warnings are errors": Place({"PYTHONWARNINGS": "error"}),
        "development mode": Place({"PYTHONDEVMODE": "1"}),
        "no docstrings": Place({"PYTHONOPTIMIZE": "2"}),
        "hash seed 0": Place({"PYTHONHASHSEED": "0"}),
        "hash seed 1": Place({"PYTHONHASHSEED": "1"}),
        "no byte code": Place({"PYTHONDONTWRITEBYTECODE": "1"}),
        "one thread": Place({"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}),
        "no colour": Place({"NO_COLOR": "1"}),
        "colour": Place({"FORCE_COLOR": "1"}),
        "no compiler": Place({"NUMBA_DISABLE_JIT": "1"}, left_out="figure"),
        "nice": Place({}, "nice -n 5 {command}"),
    }


def call(place: Place, argv: list[str], scratch: Path) -> Ended:
    """Run a command somewhere; return how it ended, and the files that it wrote."""
    out = Path(tempfile.mkdtemp(dir=scratch))
    words = [str(GRADNOISE), *(word.format(out=out) for word in argv)]
    command = place.shell.format(command=" ".join(f"'{word}'" for word in words))
    variables = {**os.environ, **{name: value for name, value in place.variables.items() if value is not None}}
    for name in (name for name, value in place.variables.items() if value is None):
        variables.pop(name, None)

    shell = ["bash", "-o", "pipefail", "-c", command]
    done = subprocess.run(
        sealed(shell, place.read_only) if place.read_only else shell, cwd=out, env=variables, capture_output=True, text=True,
        errors="replace", timeout=SECONDS,
    )  # fmt: skip
    return done, sorted(path.name for path in out.rglob("*") if path.is_file())


def differences(
    at_home: tuple[subprocess.CompletedProcess[str], list[str]], place: Place, argv: list[str], scratch: Path
) -> list[str]:
    """What goes otherwise than at home, in words."""
    try:
        done, files = call(place, argv, scratch)
    except subprocess.TimeoutExpired:
        return [f"does not end in {SECONDS:.0f} s"]
    home, files_at_home = at_home
    found = []
    if done.returncode != home.returncode and done.returncode not in place.codes:
        last = (done.stderr.strip().splitlines() or [""])[-1][:150]
        found.append(f"exit code {done.returncode} for {home.returncode}: {last}")
    for word in ("Traceback", "Warning", "Exception ignored"):
        if word in done.stderr + done.stdout:
            line = next(line for line in (done.stderr + done.stdout).splitlines() if word in line)
            found.append(f"{word}: {line.strip()[:150]}")
    if files != files_at_home:
        found.append(f"wrote {', '.join(files) or 'nothing'}, for {', '.join(files_at_home) or 'nothing'}")
    return found


def interpreter(minor: int) -> str | None:
    """A Python 3.minor that starts: on the path, where a pyenv shim may stand for one that is switched off, or of pyenv's own."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    folders = [*os.environ["PATH"].split(os.pathsep), *sorted(str(folder) for folder in versions.glob(f"3.{minor}.*/bin"))]
    for folder in folders:
        python = shutil.which(f"python3.{minor}", path=folder)
        if python and subprocess.run([python, "-c", ""], capture_output=True).returncode == 0:
            return python
    return None


def pythons(found: list[Finding]) -> list[str]:
    """Install the package with every Python that there is, and verify a few claims; return which there were."""
    seen = []
    for minor in range(11, 15):
        python = interpreter(minor)
        if python is None:
            continue
        seen.append(f"3.{minor}")
        with tempfile.TemporaryDirectory() as folder:
            venv = Path(folder) / "venv"
            steps = [
                [python, "-m", "venv", str(venv)],
                [str(venv / "bin" / "pip"), "install", "--quiet", str(ROOT)],
                [str(venv / "bin" / "gradnoise"), "verify", "--paper", "wu2019", "--out", folder],
            ]
            for step in steps:
                done = subprocess.run(step, cwd=folder, capture_output=True, text=True)
                if done.returncode:
                    found.append(Finding(f"Python 3.{minor}", " ".join(step[1:]), done.stderr.strip()[-300:]))
                    break
    return seen


def main() -> int:
    """Try all commands in all places, keep what was found, and fail where that is anything."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--only", default="", help="places whose name has these words; nothing is kept then")
    options.add_argument("--no-pythons", action="store_true", help="leave out other Pythons, which install everything anew")
    chosen = options.parse_args()
    found: list[Finding] = []
    tried = 0
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        home = Place({"NUMBA_CACHE_DIR": str(scratch / "numba")})
        at_home = {what: call(home, argv, scratch) for what, argv in COMMANDS.items()}
        unusual = {what: done.stderr for what, (done, _) in at_home.items() if done.returncode != (2 if what == WRONG else 0)}
        if unusual:
            raise RuntimeError(f"the commands do not even run at home: {unusual}")
        for where, place in places(scratch).items():
            if chosen.only not in where:
                continue
            for what, argv in COMMANDS.items():
                if what == place.left_out:
                    continue
                tried += 1
                there = replace(place, variables={**home.variables, **place.variables})
                for difference in differences(at_home[what], there, argv, scratch):
                    found.append(Finding(where, what, difference))
                    print(f"{where}, {what}: {difference}", flush=True)
            print(f"{where}: done", file=sys.stderr, flush=True)
    seen = [] if chosen.only or chosen.no_pythons else pythons(found)
    print(f"{tried} runs, {len(found)} findings")
    if not chosen.only:
        rows = [f"| {f.place} | {f.command} | {f.what.replace('|', '/')} |" for f in found]
        table = ["", "| place | command | what went otherwise |", "|---|---|---|", *rows] if rows else []
        head = f"{len(COMMANDS)} commands, {tried} runs: {len(found)} went otherwise than at home."
        also = " Left out is the figure without the compiler, where it takes over six minutes."
        also += f" Installed anew with Python {', '.join(seen)}." if seen else ""
        keep(
            "environments",
            {"runs": tried, "pythons": seen, "findings": [asdict(f) for f in found]},
            "\n".join([head + also, *table]),
        )
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
