"""What has to be run many times, each time with another seed.

false-alarms verifies all claims with each seed and counts the verdicts that are not the expected ones; flakes runs the tests in
an order of each seed, which Hypothesis draws from, too. Each takes minutes, so what is finished is kept, and a seed that was run
with the code as it is now is not run again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from page import ROOT, found_before, keep

Found = dict[str, Any]


def false_alarms(seed: int) -> Found:
    """Verdicts with a seed, and those that are not the expected ones."""
    with tempfile.TemporaryDirectory() as folder:
        gradnoise = Path(sys.executable).with_name("gradnoise")
        command = [str(gradnoise), "verify", "--seed", str(seed), "--budget", "quick", "--sabotage", "--out", folder]
        done = subprocess.run(command, capture_output=True, text=True)
        report = Path(folder) / "report.json"
        if not report.exists():
            return {"verdicts": 0, "twins": 0, "unexpected": [f"no report: {done.stderr.strip()[-200:]}"]}
        claims = json.loads(report.read_text(encoding="utf-8"))["claims"]
    twins = sum(len(claim["sabotaged"]) for claim in claims)
    return {"verdicts": len(claims), "twins": twins, "unexpected": surprises(claims)}


def surprises(claims: list[Found]) -> list[str]:
    """Verdicts of a report that are not the expected ones, and twins that are not refuted."""
    wrong = [f"{c['id']}: {c['verdict']}" for c in claims if c["expected"] not in (None, c["verdict"])]
    twins = [(c["id"], twin) for c in claims for twin in c["sabotaged"]]
    return wrong + [f"{id}, twin {twin['name']!r}: {twin['verdict']}" for id, twin in twins if twin["verdict"] != "refuted"]


def flakes(seed: int) -> Found:
    """Tests that fail in the order of a seed."""
    order = ["-p", "randomly", "-p", "no:cacheprovider", f"--randomly-seed={seed}", f"--hypothesis-seed={seed}"]
    command = [sys.executable, "-m", "pytest", "-q", "-n", str(os.cpu_count() or 1), *order]
    environment = {name: value for name, value in os.environ.items() if name != "CI"}  # where Hypothesis draws the same examples
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    passed = re.search(r"(\d+) passed", done.stdout)
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.M)
    return {"passed": int(passed[1]) if passed else 0, "failed": failed or ([] if passed else [done.stdout[-300:]])}


def shown_false_alarms(seeds: dict[str, Found]) -> str:
    """Counts, and each verdict that was not the expected one."""
    verdicts, twins = (sum(found[name] for found in seeds.values()) for name in ("verdicts", "twins"))
    wrong = [f"- seed {seed}: {what}" for seed, found in seeds.items() for what in found["unexpected"]]
    rate = "the stated rate is 10⁻⁶ for a run, so that none is expected"
    seen = f"{counted(len(seeds), 'seed')}, {verdicts} verdicts, {twins} twins"
    return "\n".join([f"{seen}: {len(wrong)} not as expected; {rate}.", *wrong])


def shown_flakes(seeds: dict[str, Found]) -> str:
    """Counts, and each test that failed."""
    failed = [f"- seed {seed}: `{test}`" for seed, found in seeds.items() for test in found["failed"]]
    ran = sum(found["passed"] + len(found["failed"]) for found in seeds.values())
    return "\n".join([f"{counted(len(seeds), 'order')}, {ran} tests run: {len(failed)} failed.", *failed])


def counted(number: int, what: str) -> str:
    """Say how many there are."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def code(folders: Iterable[str]) -> str:
    """What stands in the Python files of folders, as a short hash."""
    found = hashlib.sha256()
    for file in sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py")):
        found.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes() + b"\0")
    return found.hexdigest()[:16]


FLOORS = ("root", "theory", "simulations", "claims", "cli")
# Each with the folders that it depends on.
BATTERIES: dict[str, tuple[Callable[[int], Found], Callable[[dict[str, Found]], str], tuple[str, ...]]] = {
    "false-alarms": (false_alarms, shown_false_alarms, FLOORS),
    "flakes": (flakes, shown_flakes, (*FLOORS, "figures", "tests")),
}


def main() -> int:
    """Run the seeds that are missing; fail where one found something."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("battery", choices=BATTERIES)
    options.add_argument("first", type=int, nargs="?", default=1)
    options.add_argument("last", type=int, nargs="?", default=100)
    chosen = options.parse_args()
    measure, shown, folders = BATTERIES[chosen.battery]
    today = code(folders)
    seeds: dict[str, Found] = found_before(chosen.battery).get("seeds", {})
    for seed in range(chosen.first, chosen.last + 1):
        if seeds.get(str(seed), {}).get("code") != today:
            seeds[str(seed)] = {"code": today, **measure(seed)}
            keep(chosen.battery, {"seeds": seeds}, shown(seeds))
            print(f"seed {seed}: {seeds[str(seed)]}", flush=True)
    return int(any(found.get("unexpected") or found.get("failed") for found in seeds.values()))


if __name__ == "__main__":
    sys.exit(main())
