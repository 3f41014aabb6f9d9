"""Change one token of the code at a time, and see who notices: `make mutate`.

The mutants are cosmic-ray's: another operator, another comparison, a number that is one off, a loop that does not run. Two
referees are asked, the tests of what was changed, and without any tests the verdicts on the claims that use it. A mutant that
the tests let pass, and that is not explained in survivors.json, is a hole; one that the verdicts alone let pass is none.
"""

from __future__ import annotations

import argparse
import ast
import functools
import hashlib
import itertools
import json
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmic_ray.commands.init import init  # pyright: ignore[reportMissingImports]
from cosmic_ray.mutating import mutate_and_test  # pyright: ignore[reportMissingImports]
from cosmic_ray.testing import run_tests  # pyright: ignore[reportMissingImports]
from cosmic_ray.work_db import WorkDB, use_db  # pyright: ignore[reportMissingImports]
from cosmic_ray.work_item import MutationSpec, TestOutcome  # pyright: ignore[reportMissingImports]
from joblib import Parallel, delayed
from page import ROOT, found_before, keep

FLOORS = ("theory", "simulations", "claims", "testing", "figures", "cli")
#: What is mutated.
TARGETS = ("theory", "claims/judgement.py", "claims/claim.py", "claims/power.py", "simulations/statistics")
EXPLAINED = Path(__file__).with_name("survivors.json")
SEED = 18
_FEW, _MOST = 4, 6  # files of tests with a name, beyond which it is everywhere, and for a module, beyond which that takes hours
#: Operators of bits raise where numbers are floats, and a removed decorator breaks a record: nobody could miss these.
_NO_OPERATORS = re.compile(
    r"_(LShift|RShift|BitAnd|BitOr|BitXor|Mod)$|RemoveDecorator|ExceptionReplacer|VariableReplacer|VariableInserter"
)


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    spec: MutationSpec
    line: str

    @property
    def name(self) -> str:
        """Where, what and in which line: the same on every machine, until the line changes."""
        row, column = self.spec.start_pos
        operator = self.spec.operator_name.partition("/")[2]
        return f"{self.spec.module_path}:{row}:{column}: {operator}, {self.spec.occurrence}: {self.line}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("referee", choices=REFEREES)
    parser.add_argument("--only", default="", help="files whose path has this regular expression")
    parser.add_argument("--sample", type=int, default=None, help="mutants of each file, drawn by chance; all by default")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    files = [file for file in target_files() if re.search(options.only, file)]
    if options.referee == "verdicts":
        _SECONDS.update(seconds_of_claims(options.jobs))
    kept = _kept(options.referee)
    started = time.perf_counter()
    for place, file in enumerate(files):
        command = REFEREES[options.referee](file)
        if command is None:
            print(f"{file}: nothing is there to notice", file=sys.stderr)
            continue
        code = _code(file)
        if kept.get(file, {}).get("code") != code:
            kept[file] = {"code": code, "mutants": {}}
        outcomes = kept[file]["mutants"]
        chosen = [mutant for mutant in sampled(mutants(file), options.sample) if mutant.name not in outcomes]
        for name, outcome in tried(chosen, command, options.jobs):
            outcomes[name] = outcome
        keep(f"mutation-{options.referee}", {"files": kept}, shown(kept, options.referee))
        said = f"{sum(outcome == 'survived' for outcome in outcomes.values())} of {len(outcomes)} survive"
        print(f"{time.perf_counter() - started:5.0f} s, {place + 1} of {len(files)}: {file}, {said}", file=sys.stderr, flush=True)
    return int(any(unexplained(kept, options.referee)))


def target_files() -> list[str]:
    """Files that are mutated, from the root."""
    found = [
        path for target in TARGETS for path in ([ROOT / target] if target.endswith(".py") else (ROOT / target).rglob("*.py"))
    ]
    return sorted(str(path.relative_to(ROOT)) for path in found if path.name != "__init__.py")


def mutants(file: str) -> list[Mutant]:
    """All mutants of a file, but for those of what is not run."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    not_run = _annotations(file)
    here = Path.cwd()
    os.chdir(ROOT)  # paths in the names are from the root
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            use_db(str(Path(folder) / "mutants.sqlite"), WorkDB.Mode.create) as database,
        ):
            init([Path(file)], database, {})
            specs = [item.mutations[0] for item in database.work_items]
    finally:
        os.chdir(here)
    found = [
        Mutant(spec, lines[spec.start_pos[0] - 1].strip())
        for spec in specs
        if not _NO_OPERATORS.search(spec.operator_name) and not any(low <= spec.start_pos < high for low, high in not_run)
    ]
    return sorted(found, key=lambda mutant: (mutant.spec.start_pos, mutant.name))


def _annotations(file: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where annotations stand."""
    found = []
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(part, ast.expr):
                end = (part.end_lineno or part.lineno, part.end_col_offset or part.col_offset)
                found.append(((part.lineno, part.col_offset), end))
    return found


def sampled(every: Sequence[Mutant], size: int | None) -> list[Mutant]:
    """Some of them by chance, the same ones each time; a larger sample has those of a smaller one."""
    order = list(every)
    random.Random(SEED).shuffle(order)
    return order if size is None else order[:size]


def tried(chosen: Sequence[Mutant], command: str, n_jobs: int) -> Iterator[tuple[str, str]]:
    """Outcome of each mutant, "killed" or "survived", each worker with a copy of the code."""
    if not chosen:
        return
    n_jobs = min(n_jobs, len(chosen))
    parts = [chosen[k::n_jobs] for k in range(n_jobs)]
    with Parallel(n_jobs=n_jobs, return_as="generator_unordered") as parallel:
        outcomes: Any = parallel(delayed(_tried)(part, command) for part in parts)
        for part in outcomes:
            yield from part


def _tried(chosen: Sequence[Mutant], command: str) -> list[tuple[str, str]]:
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy, here = Path(folder), Path.cwd()
        for floor in FLOORS:
            shutil.copytree(ROOT / floor, copy / "gradnoise" / floor, ignore=shutil.ignore_patterns("__pycache__"))
        for path in (ROOT / "root").iterdir():
            if path.is_file():
                shutil.copy(path, copy / "gradnoise" / path.name)
        shutil.copytree(ROOT / "tests", copy / "tests", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        os.environ |= {"PYTHONPATH": folder, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "CI": "1", "PYTHONSAFEPATH": "1"}
        os.chdir(copy / "gradnoise")
        try:
            limit = _limit(command)
            found = []
            for mutant in chosen:
                result = mutate_and_test([mutant.spec], command, limit)
                found.append((mutant.name, "killed" if result.is_killed else "survived"))
            return found
        finally:
            os.chdir(here)


@functools.cache
def _limit(command: str) -> float:
    """Seconds after which a mutant counts as noticed, from how long a referee takes without one."""
    started = time.perf_counter()
    outcome, output = run_tests(command, timeout=3_600)
    if outcome is not TestOutcome.SURVIVED:
        raise RuntimeError(f"without a mutant this must pass: {command}\n{output[-2_000:]}")
    return 60 + 4 * (time.perf_counter() - started)


def _tests(file: str) -> str | None:
    """Tests named after the module or its package, and those of what it gives to others; statistics have samplings, too."""
    named, given = set(file.removesuffix(".py").split("/")[1:]), _given(file)
    found = []
    for path in (path for kind in ("exact", "property") for path in sorted((ROOT / "tests" / kind).glob("test_*.py"))):
        if given & _used(path) or any(name.strip("_") in path.name for name in named):
            found.append(path)
    if len(found) > _MOST:
        found = [path for path in found if any(name.strip("_") in path.name for name in named)]
    if file.startswith("simulations/statistics/"):
        found += (ROOT / "tests" / "monte_carlo").glob(f"test_{Path(file).stem}.py")
    if not found:
        return None
    # The likeliest to notice are asked first, and those that take long last: the first failure ends it.
    found.sort(key=lambda path: (path.parent.name == "monte_carlo", -sum(name.strip("_") in path.name for name in named)))
    paths = " ".join(f"../tests/{path.parent.name}/{path.name}" for path in found)
    return f"{sys.executable} -m pytest -x -q -n 0 -p no:cacheprovider -c ../pyproject.toml {paths}"


def _given(file: str) -> set[str]:
    """Public names of a module that few tests have, else of those that import it, to whose door it leads."""
    every = {path: path.read_text(encoding="utf-8") for floor in FLOORS[:2] for path in (ROOT / floor).rglob("*.py")}
    tests = [_used(path) for path in (ROOT / "tests").rglob("test_*.py")]
    at, seen = {ROOT / file}, set[Path]()
    while at:
        names = {name for path in at for name in _listed(every.get(path) or path.read_text(encoding="utf-8"))}
        users = {name: sum(name in used for used in tests) for name in names}
        if few := {name for name, count in users.items() if 0 < count <= _FEW}:
            return few
        seen |= at
        modules = ["gradnoise." + ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in at]
        at = {path for path, text in every.items() if path not in seen and any(re.search(_imported(m), text) for m in modules)}
    return set()


@functools.cache
def _used(path: Path) -> set[str]:
    """Names that a test imports from the package, or takes from a module: in its prose they would be words."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gradnoise"):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
    return found


def _listed(text: str) -> set[str]:
    """What stands in the __all__ of a module."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and [getattr(target, "id", "") for target in node.targets] == ["__all__"]:
            return {str(part.value) for part in getattr(node.value, "elts", []) if isinstance(part, ast.Constant)}
    return set()


def seconds_of_claims(n_jobs: int) -> dict[str, float]:
    """How long each claim takes, of all that are as expected: what a mutant changes must have been right before."""
    from gradnoise.claims import registry

    entries = registry.verify(sabotage=True, n_jobs=n_jobs).entries
    if wrong := [entry.id for entry in entries if not entry.as_expected]:
        raise RuntimeError(f"without a mutant these must be as expected: {', '.join(wrong)}")
    return {entry.id: entry.seconds for entry in entries}


#: Seconds of each claim; a referee takes the fastest of those that could notice, as long as they take this long together.
_SECONDS: dict[str, float] = {}
_PATIENCE = 60.0


def _verdicts(file: str) -> str | None:
    """The claims whose files import the module's package, the fastest first."""
    from gradnoise.claims import registry

    imported = _imported("gradnoise." + ".".join(file.removesuffix(".py").split("/")[:2]))
    using = [path for path in (ROOT / "claims").rglob("*.py") if re.search(imported, path.read_text(encoding="utf-8"))]
    modules = {"gradnoise." + str(path.relative_to(ROOT)).removesuffix(".py").replace("/", ".") for path in using}
    ids = [id for id, claim in registry.all_claims().items() if type(claim).__module__ in modules]
    ids.sort(key=lambda id: _SECONDS.get(id, 0.0))
    together = itertools.accumulate(_SECONDS.get(id, 0.0) for id in ids)
    chosen = [id for id, seconds in zip(ids, together, strict=True) if seconds <= _PATIENCE]
    script = Path(__file__).with_name("until_surprise.py")
    return f"{sys.executable} {script} {' '.join(chosen)}" if chosen else None


def _imported(module: str) -> str:
    """Regular expression for a line that imports a module."""
    parent, name = module.rpartition(".")[::2]
    return rf"\b{re.escape(module)}\b|from {re.escape(parent)} import [^\n]*\b{name}\b"


REFEREES: dict[str, Any] = {"tests": _tests, "verdicts": _verdicts}


def _code(file: str) -> str:
    return hashlib.sha256((ROOT / file).read_bytes()).hexdigest()[:16]


def _kept(referee: str) -> dict[str, Any]:
    return found_before(f"mutation-{referee}").get("files", {})


def _explained(referee: str) -> dict[str, str]:
    """Why mutants survive; of the verdicts nobody asks to notice what no claim is about, if the tests do."""
    known = json.loads(EXPLAINED.read_text(encoding="utf-8")) if EXPLAINED.exists() else {}
    if referee == "tests":
        return known
    noticed = (name for found in _kept("tests").values() for name, end in found["mutants"].items() if end == "killed")
    return dict.fromkeys(noticed, "the tests notice it") | known


def unexplained(kept: dict[str, Any], referee: str) -> list[str]:
    """Names of survivors without a reason."""
    known = _explained(referee)
    return [name for found in kept.values() for name, end in found["mutants"].items() if end == "survived" and name not in known]


def shown(kept: dict[str, Any], referee: str) -> str:
    """Markdown: a row for each file, and each survivor with its reason."""
    known = _explained(referee)
    ends = [end for found in kept.values() for end in found["mutants"].values()]
    killed = sum(end == "killed" for end in ends)
    lines = [f"{killed} of {len(ends)} mutants were noticed ({100 * killed / max(len(ends), 1):.1f} %).", ""]
    lines += ["| file | mutants | noticed |", "|---|---:|---:|"]
    for file, found in kept.items():
        of_file = list(found["mutants"].values())
        lines.append(f"| `{file}` | {len(of_file)} | {sum(end == 'killed' for end in of_file)} |")
    survivors = [name for found in kept.values() for name, end in found["mutants"].items() if end == "survived"]
    if survivors:
        lines += ["", "| survives | because |", "|---|---|"]
        lines += [f"| `{name.replace('|', '¦')}` | {known.get(name, 'not explained')} |" for name in survivors]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
