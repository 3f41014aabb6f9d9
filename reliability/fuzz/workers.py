"""Trials in forked processes, where a call may hang, crash, take all memory or leave files without harm."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import re
import resource
import selectors
import shutil
import signal
import socket
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .trials import NOT_TRIED, Fault, Trial

__all__ = ["Limits", "run"]


@dataclass(frozen=True)
class Limits:
    """What a call may take."""

    cpu_seconds: float = 10.0
    long_cpu_seconds: float = 5.0  # what takes longer by right is given up
    wall_seconds: float = 120.0  # long, as others may have the processors
    memory: int = 3 << 30  # beyond what the process has at its start
    file: int = 256 << 20
    argument_seconds: float = 30.0  # of processor time, for all trials of an argument
    hangs: int = 2  # of an argument, after which its other trials are given up


def run(groups: Iterable[Sequence[Trial]], n_jobs: int = 1, limits: Limits | None = None) -> Iterator[tuple[Trial, Fault | None]]:
    """Run groups of trials, each group in a process of its own, and yield each trial with what is wrong with its end."""
    limits = limits or Limits()
    waiting = (_Group(list(trials)) for trials in groups)
    with selectors.DefaultSelector() as selector, _no_survivors(selector):

        def begin(group: _Group | None) -> None:
            if group is not None:
                worker = _Worker(group, limits)
                selector.register(worker.pipe, selectors.EVENT_READ, worker)

        for _ in range(n_jobs):
            begin(next(waiting, None))
        while selector.get_map():
            for key, _ in selector.select():
                worker: _Worker = key.data
                lines = worker.read()
                for line in lines or ():
                    yield worker.group.left.pop(0), _said(line)
                if lines is not None:
                    continue
                selector.unregister(worker.pipe)
                end, group = worker.end(limits), worker.group
                if group.left:
                    last = group.left.pop(0)
                    yield last, Fault(NOT_TRIED) if last.long and end.kind == "hang" else end
                    group.hangs[last.argument] += end.kind == "hang"
                    if group.hangs[last.argument] >= limits.hangs:
                        given_up = [trial for trial in group.left if trial.argument == last.argument]
                        group.left = [trial for trial in group.left if trial.argument != last.argument]
                        yield from ((trial, Fault(NOT_TRIED)) for trial in given_up)
                begin(group if group.left else next(waiting, None))


@contextlib.contextmanager
def _no_survivors(selector: selectors.BaseSelector) -> Iterator[None]:
    """Context that ends the workers which are still at work, as after an interruption."""
    try:
        yield
    finally:
        for key in list(selector.get_map().values()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(key.data.pid, signal.SIGKILL)
            key.data.end(Limits())


@dataclass
class _Group:
    left: list[Trial]
    hangs: Counter[str] = field(default_factory=Counter)


class _Worker:
    """A forked process that works on trials in order, and tells the end of each."""

    def __init__(self, group: _Group, limits: Limits) -> None:
        self.group, self.folder, self._rest = group, tempfile.mkdtemp(prefix="fuzz-"), b""
        self.pipe, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _work(group.left, writing, self.folder, limits)
        os.close(writing)

    def read(self) -> list[bytes] | None:
        """Whole lines that have come; None at the end."""
        came = os.read(self.pipe, 1 << 16)
        *lines, self._rest = (self._rest + came).split(b"\n")
        return lines if came else None

    def end(self, limits: Limits) -> Fault:
        """What ended it, and where."""
        os.close(self.pipe)
        _, status = os.waitpid(self.pid, 0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)  # processes that a call has left
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        where = _last_words(Path(self.folder) / "fault")
        shutil.rmtree(self.folder, ignore_errors=True)
        if number in (signal.SIGPROF, signal.SIGALRM):
            return Fault("hang", where, f"over {limits.cpu_seconds:g} s of processor time")
        return Fault("crash", where, f"ended by {signal.Signals(number).name if number else 'an exit'}")


def _last_words(path: Path) -> str:
    """Where a process was, as faulthandler wrote it: in the innermost line of the package, if there is one."""
    text = path.read_text(errors="replace") if path.exists() else ""
    frames = re.findall(r'File "([^"]*)", line (\d+) in', text)
    ours = [f for f in frames if not re.search(r"/reliability/fuzz/|site-packages(?!/gradnoise)|/lib/python", f[0])]
    return next((f"{'/'.join(Path(path).parts[-2:])}:{line}" for path, line in ours or frames), "")


def _said(line: bytes) -> Fault | None:
    said = json.loads(line)
    return Fault(**said) if said else None


def _work(trials: Sequence[Trial], pipe: int, folder: str, limits: Limits) -> None:
    """Work on trials, in the child, which ends here."""
    os.setsid()
    os.chdir(folder)
    os.environ["HOME"] = folder
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    last_words = open(os.path.join(folder, "fault"), "w")  # noqa: SIM115
    faulthandler.enable(last_words)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGPROF, signal.SIGALRM):  # their default action ends the process, wherever it is
        signal.signal(number, signal.SIG_DFL)
        faulthandler.register(number, last_words, all_threads=False, chain=True)
    _limit_memory(limits)
    socket.socket.connect = _no_network  # pyright: ignore[reportAttributeAccessIssue]
    spent: defaultdict[str, float] = defaultdict(float)
    for trial in trials:
        fault, began = Fault(NOT_TRIED), time.process_time()
        if spent[trial.argument] < limits.argument_seconds:
            signal.setitimer(signal.ITIMER_PROF, limits.long_cpu_seconds if trial.long else limits.cpu_seconds)
            signal.setitimer(signal.ITIMER_REAL, limits.wall_seconds)
            fault = _ran(trial)
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
        spent[trial.argument] += time.process_time() - began
        os.write(pipe, (json.dumps(asdict(fault) if fault else None) + "\n").encode())
    os._exit(0)


def _ran(trial: Trial) -> Fault | None:
    try:
        return trial.run()
    except Exception as error:  # of the fuzz itself, which is no reason to lose the other trials
        return Fault("other exception", f"{type(error).__name__} in the fuzz", traceback.format_exc()[-300:])


def _limit_memory(limits: Limits) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file, limits.file))
    with contextlib.suppress(OSError, ValueError):  # where there is no /proc, there is no limit
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + limits.memory
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _no_network(*_: object) -> None:
    raise OSError("the network is not used here")
