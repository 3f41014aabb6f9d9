"""Time the contenders of a case in turn, and check that they did the same work."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from case import Case, Outcome, Targets, block_of

LARGEST_DEVIATION = 5.0  # standard errors
_TWO_THREADS = {"C": "C, 2 threads", "gradnoise": "gradnoise, 2 threads"}


@dataclass(frozen=True)
class Time:
    """Duration of one run.

    Attributes
    ----------
    processor : float
        User and system time of all threads. It does not count the time in which other programs had the processor.
        Units: ns / (path-step or vector).
    wall : float
        Time that passed. Units: the same.
    """

    processor: float
    wall: float


@dataclass(frozen=True)
class Measurement:
    """Times of a case, and whether its contenders agree.

    Attributes
    ----------
    case, unit, compared, targets, normals
        See `case.Case`.
    times : dict
        Contender -> times of its runs, in the order of the runs.
    compile_time : float
        Of the first call in an empty cache. Units: s.
    deviation : float
        Largest difference of an estimate from that of gradnoise. Units: standard errors.
    same_bits : bool
        Whether gradnoise returned the same bits on two threads as on one.
    """

    case: str
    unit: str
    compared: tuple[str, ...]
    targets: Targets
    normals: float
    times: dict[str, list[Time]]
    compile_time: float
    deviation: float
    same_bits: bool

    @property
    def passed(self) -> bool:
        """Whether the contenders did the same work, and the number of threads made no difference."""
        return self.deviation <= LARGEST_DEVIATION and self.same_bits

    def processor(self, contender: str) -> float | None:
        """Median processor time; None if the contender was skipped."""
        return statistics.median(t.processor for t in self.times[contender]) if contender in self.times else None

    def ratio(self, contender: str, other: str) -> float | None:
        """Ratio of median processor times."""
        return quotient(self.processor(contender), self.processor(other))

    def gain(self, contender: str) -> float | None:
        """Median wall-clock time on one thread over that on two."""
        if contender not in self.times:
            return None
        one, two = (statistics.median(t.wall for t in self.times[name]) for name in (contender, _TWO_THREADS[contender]))
        return one / two

    def limit(self, normal: Measurement) -> float | None:
        """Time of plain C if its normals cost what they cost gradnoise, as `normal` measured it."""
        c, ours, theirs = self.processor("C"), normal.processor("gradnoise"), normal.processor("C")
        return None if c is None or ours is None or theirs is None else c + self.normals * (ours - theirs)

    @property
    def processor_share(self) -> float:
        """Median share of the time in which a run on one thread had a processor."""
        one_thread = [times for name, times in self.times.items() if name not in _TWO_THREADS.values()]
        return statistics.median(t.processor / t.wall for times in one_thread for t in times)


def quotient(a: float | None, b: float | None) -> float | None:
    """Quotient of two numbers that may be missing."""
    return None if a is None or b is None else a / b


def measure(case: Case, paths: int, repeats: int) -> Measurement:
    """Warm up, then run the contenders in turn, `repeats` times, each time with another seed."""
    _, first = _timed(lambda: case.contenders["gradnoise"](16, 0))
    paths //= case.share
    few, slow = min(paths, max(256 // case.share, 16)), max(paths // case.slow_share, 16)
    sizes = {name: paths if name in {*_TWO_THREADS, *_TWO_THREADS.values()} else slow for name in case.contenders}
    for name, run in case.contenders.items():
        run(few if sizes[name] == paths else min(slow, block_of(name)), 0)  # JAX compiles for each size of a block anew
    times: dict[str, list[Time]] = {name: [] for name in case.contenders}
    deviation, same_bits = 0.0, True
    for seed in range(repeats):
        outcomes: dict[str, Outcome] = {}
        for name, run in case.contenders.items():
            outcomes[name], elapsed = _timed(lambda run=run, n=sizes[name], seed=seed: run(n, seed))
            scale = 1e9 / (sizes[name] * case.n_steps)
            times[name].append(Time(elapsed.processor * scale, elapsed.wall * scale))
        ours = outcomes.pop("gradnoise")
        same_bits &= ours.bits.tobytes() == outcomes.pop("gradnoise, 2 threads").bits.tobytes()
        deviation = max(deviation, *(_deviation(ours, other) for other in outcomes.values()))
    return Measurement(case.name, case.unit, case.compared, case.targets, case.normals, times, first.wall, deviation, same_bits)


def _timed(function: Callable[[], Outcome]) -> tuple[Outcome, Time]:
    wall, processor = time.perf_counter(), time.process_time()
    outcome = function()
    return outcome, Time(time.process_time() - processor, time.perf_counter() - wall)  # in seconds


def _deviation(ours: Outcome, other: Outcome) -> float:
    largest = 0.0
    for a, b in zip(ours.estimates, other.estimates, strict=True):
        difference, error = abs(a.value - b.value), (a.standard_error**2 + b.standard_error**2) ** 0.5
        # Written so that a nan is a deviation, too.
        largest = max(largest, 0.0 if difference == 0 else difference / error if error > 0 and difference > 0 else float("inf"))
    return largest
