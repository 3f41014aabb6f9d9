"""Kill, damage, starve and crowd what is stored, and see whether the next run gives the numbers of one that was left alone.

In processes of their own, on Linux.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import workloads
from page import found_before, keep
from sealed import sealed, unsealed

_HERE = Path(__file__).resolve().parent
_HANGS = 300.0  # seconds after which a run that takes ten is taken to hang


@dataclass
class Outcome:
    """How often a battery ended as it should, and what else was seen."""

    what: str
    tried: int = 0
    right: int = 0
    otherwise: dict[str, int] = field(default_factory=dict)

    def count(self, end: str) -> None:
        """Count one trial: "right", or what happened instead."""
        self.tried += 1
        if end == "right":
            self.right += 1
        else:
            self.otherwise[end] = self.otherwise.get(end, 0) + 1


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int | None
    out: str
    err: str

    @property
    def last_line(self) -> str:
        """Of stderr, without what differs from run to run."""
        return (self.err.strip().splitlines() or [""])[-1][:120]


def start(
    name: str,
    folder: Path,
    limits: Callable[[], None] | None = None,
    wrap: Callable[[list[str]], list[str]] = list,
) -> subprocess.Popen[str]:
    """Start a workload in a process group of its own."""
    argv = [sys.executable, "-W", "ignore", str(_HERE / "workloads.py"), name, str(folder)]
    pipe = subprocess.PIPE
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        wrap(argv), stdout=pipe, stderr=pipe, text=True, start_new_session=True, env=environment, preexec_fn=limits
    )


def ended(process: subprocess.Popen[str], patience: float = _HANGS) -> Ended:
    """Wait for its end; one that hangs is killed, and has no code."""
    try:
        out, err = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        return Ended(None, out, err)
    return Ended(process.returncode, out, err)


def result(name: str, folder: Path) -> str:
    """Hash of what a workload gives."""
    end = ended(start(name, folder))
    return end.out.strip() if end.code == 0 else f"exit code {end.code}: {end.last_line}"


def compared(found: str, reference: str) -> str:
    """Whether a hash is the right one, in words."""
    return "right" if found == reference else found if found.startswith("exit code") else "other numbers"


def children(pid: int) -> list[int]:
    """Processes that a process started, and those that they did."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended since
            continue
        if parent == pid:
            found += [int(path.parent.name), *children(int(path.parent.name))]
    return found


def killed(name: str, times: int) -> Outcome:
    """SIGKILL to all processes of a run at a random moment, then the same run again."""
    outcome, chance = Outcome(f"{name}: SIGKILL at a random moment, then resumed"), random.Random(name)
    with tempfile.TemporaryDirectory() as scratch:
        began = time.monotonic()
        reference = result(name, Path(scratch) / "reference")
        duration = time.monotonic() - began
        for i in range(times):
            folder = Path(scratch) / str(i)
            process = start(name, folder)
            time.sleep(duration * chance.random())
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            end = compared(result(name, folder), reference)
            left = [path.name for path in folder.rglob("*") if ".tmp" in path.name]
            outcome.count(f"leaves {left[0]}" if end == "right" and left else end)
    return outcome


def killed_workers(name: str, times: int) -> Outcome:
    """SIGKILL to one worker: an error that says so, or the result; then the same run again."""
    outcome, chance = Outcome(f"{name}: SIGKILL to a worker, then run again"), random.Random(name)
    with tempfile.TemporaryDirectory() as scratch:
        reference = result(name, Path(scratch) / "reference")
        for i in range(times):
            folder = Path(scratch) / str(i)
            process = start(name, folder)
            while not list(folder.rglob("block-*")) and process.poll() is None:
                time.sleep(0.02)
            time.sleep(3 * chance.random())
            workers = [pid for pid in children(process.pid) if _is_worker(pid)]
            if workers:
                os.kill(chance.choice(workers), signal.SIGKILL)
            end = ended(process)
            if end.code is None:
                outcome.count("hangs")
            elif end.code == 0 and workers:
                outcome.count(compared(end.out.strip(), reference))
            elif "Traceback" in end.err and "ValueError" not in end.last_line and "worker" not in end.err:
                outcome.count(end.last_line)
            else:
                outcome.count(compared(result(name, folder), reference))
    return outcome


def _is_worker(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"popen_loky" in command or b"spawn_main" in command


def damaged_blocks(flips: int, cuts: int) -> Iterator[Outcome]:
    """Bits flipped in blocks, blocks cut off, exchanged, and taken from another study."""
    chance = random.Random(1)
    with tempfile.TemporaryDirectory() as scratch:
        store = Path(scratch) / "store"
        reference = workloads.processes(str(store), "threading")
        blocks = sorted(store.rglob("block-*.npz"))
        other = Path(scratch) / "other"
        workloads.ensemble.run(workloads.slow_kernel, (1_000,), 200, rng=1, reduce=list, block_size=100, store=str(other))
        foreign = sorted(other.rglob("block-*.npz"))[0].read_bytes()

        def again(damage: Callable[[dict[Path, bytes]], dict[Path, bytes]]) -> str:
            chosen = chance.sample(blocks, 2)
            whole = {path: path.read_bytes() for path in chosen}
            for path, content in damage(whole).items():
                path.write_bytes(content)
            found = workloads.processes(str(store), "threading")
            for path, content in whole.items():
                path.write_bytes(content)
            return compared(workloads.digest(found), workloads.digest(reference))

        kinds: dict[str, tuple[int, Callable[[dict[Path, bytes]], dict[Path, bytes]]]] = {
            "a bit flipped in a block": (flips, lambda whole: {p: _flipped(b, chance) for p, b in list(whole.items())[:1]}),
            "a block cut off": (cuts, lambda whole: {p: b[: chance.randrange(len(b))] for p, b in list(whole.items())[:1]}),
            "two blocks exchanged": (cuts, lambda whole: dict(zip(whole, reversed(whole.values()), strict=True))),
            "a block of another study": (cuts, lambda whole: dict.fromkeys(list(whole)[:1], foreign)),
        }
        for kind, (times, damage) in kinds.items():
            outcome = Outcome(f"ensemble, threads: {kind}")
            for _ in range(times):
                outcome.count(again(damage))
            yield outcome


def damaged_checkpoints(flips: int) -> Outcome:
    """Bits flipped in a checkpoint: refused by name, or the numbers that were written."""
    name, chance, outcome = "train, sgd", random.Random(2), Outcome("train, sgd: a bit flipped in the checkpoint")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        reference = workloads.digest(workloads.WORKLOADS[name](str(folder)))
        for _ in range(flips):
            damaged = Path(scratch) / "damaged"
            shutil.copytree(folder, damaged)
            file = damaged / "checkpoint.pt"
            file.write_bytes(_flipped(file.read_bytes(), chance))
            try:
                outcome.count(compared(workloads.digest(workloads.WORKLOADS[name](str(damaged))), reference))
            except ValueError as error:
                outcome.count("right" if "checkpoint" in str(error) else f"a ValueError without a name: {error}"[:120])
            except Exception as error:  # what it is, is what is to be found out
                outcome.count(f"{type(error).__name__}: {error}"[:120])
            shutil.rmtree(damaged)
    return outcome


def _flipped(content: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(content)
    damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def full_disk(times: int) -> Outcome:
    """A limit on what may be written, as a full disk has it; then room, and the same run again."""
    name, outcome = "ensemble, loky", Outcome("ensemble, loky: no room for a block, then resumed")
    with tempfile.TemporaryDirectory() as scratch:
        reference = result(name, Path(scratch) / "reference")

        def full() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (600, resource.RLIM_INFINITY))

        for i in range(times):
            folder = Path(scratch) / str(i)
            first = ended(start(name, folder, full))
            if first.code in (0, None) or "ValueError" not in first.last_line or "store" not in first.last_line:
                outcome.count(f"not said: {first.last_line}")
            else:
                outcome.count(compared(result(name, folder), reference))
    return outcome


def read_only_store() -> Outcome:
    """A complete store that nobody may write to gives the result."""
    name, outcome = "study, threads", Outcome("study, threads: a complete store, read-only")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "store"
        reference = result(name, folder)
        end = ended(start(name, folder, wrap=lambda argv: sealed(argv, folder)))
        outcome.count(compared(end.out.strip(), reference) if end.code == 0 else f"exit code {end.code}: {end.last_line}")
        unsealed(folder)
    return outcome


def crowded(name: str, times: int) -> Outcome:
    """Two processes that begin one study in one store at once."""
    outcome = Outcome(f"{name}: two processes on one store")
    with tempfile.TemporaryDirectory() as scratch:
        reference = result(name, Path(scratch) / "reference")
        for i in range(times):
            pair = [start(name, Path(scratch) / str(i)) for _ in range(2)]
            for end in [ended(process) for process in pair]:
                outcome.count(compared(end.out.strip(), reference) if end.code == 0 else f"exit code {end.code}: {end.last_line}")
    return outcome


def batteries(kills: int) -> dict[str, Callable[[], Outcome | Iterator[Outcome]]]:
    """All of them by name, each to be called."""
    killable = [name for name in workloads.WORKLOADS if name != "ensemble, dask"]
    found: dict[str, Callable[[], Outcome | Iterator[Outcome]]] = {
        f"kill {name}": lambda name=name: killed(name, kills) for name in killable
    }
    return found | {
        "worker loky": lambda: killed_workers("ensemble, loky", kills),
        "worker dask": lambda: killed_workers("ensemble, dask", kills),
        "damaged blocks": lambda: damaged_blocks(15 * kills, 5 * kills // 2),
        "damaged checkpoint": lambda: damaged_checkpoints(20 * kills),
        "full disk": lambda: full_disk(max(kills // 4, 1)),
        "read-only": read_only_store,
        "crowded study": lambda: crowded("study, threads", max(kills // 4, 1)),
        "crowded ensemble": lambda: crowded("ensemble, loky", max(kills // 4, 1)),
    }


def table(outcomes: list[Outcome]) -> str:
    """Markdown with a row for each battery."""
    rows = ["| what was done | tried | as it should be | otherwise |", "|---|---|---|---|"]
    for o in outcomes:
        otherwise = "; ".join(f"{n} × {what}" for what, n in sorted(o.otherwise.items())) or "–"
        rows.append(f"| {o.what} | {o.tried} | {o.right} | {otherwise.replace('|', '/')} |")
    return "\n".join(rows)


def main() -> int:
    """Run the batteries, keep what they found, and fail where one found something."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=20, help="how often each run is killed; the others go with it")
    options.add_argument("--only", default="", help="batteries whose name has these words; of the others what is kept stays")
    chosen = options.parse_args()
    outcomes: list[Outcome] = []
    kept = {o["what"]: Outcome(**o) for o in found_before("endurance").get("batteries", [])} if chosen.only else {}
    for name, battery in batteries(chosen.kills).items():
        if chosen.only in name:
            began, found = time.monotonic(), battery()
            new = [found] if isinstance(found, Outcome) else list(found)
            outcomes += new
            for outcome in new:
                print(f"{outcome.what}: {outcome.right} of {outcome.tried} {outcome.otherwise or ''}", flush=True)
            print(f"  ({time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)
            kept |= {outcome.what: outcome for outcome in new}
            keep("endurance", {"batteries": [asdict(o) for o in kept.values()]}, table(list(kept.values())))
    return int(any(o.right < o.tried for o in outcomes))


if __name__ == "__main__":
    sys.exit(main())
