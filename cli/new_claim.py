"""``gradnoise new-claim``: a file to begin with."""

from __future__ import annotations

import re
from pathlib import Path

from gradnoise.cli.console import say

__all__ = ["run"]

_TEMPLATE = '''\
"""Claims of NAME. Judge them: gradnoise verify NAME.py --sabotage; one whole: gradnoise show NAME.py::NAME.lemma1"""

import numpy as np

from gradnoise.claims.claim import Claim, claim
from gradnoise.claims.prediction import Relative
from gradnoise.simulations.statistics import Estimate


@claim("NAME.lemma1", "A mean of b samples has the variance σ²/b", kind="comparison", source="Lemma 1")
class VarianceOfMean(Claim):
    sigma, b = 1.5, 7  # sizes at which a wrong formula gives another number

    def measure(self, run):  # knows nothing of what is hoped for; n_paths is planned by a pilot
        means = run.generator().normal(scale=self.sigma, size=(run.n_paths, self.b)).mean(axis=1)
        return {"variance": Estimate.of(means**2)}  # or Computed(value, rounding=...) of what is not sampled

    def published(self):  # a number, or AtLeast(...), AtMost(...), of each quantity that was measured
        return {"variance": self.sigma**2 / self.b}

    def margin(self, label):  # around the prediction: what is further off is refuted
        return Relative(0.02)

    def sabotaged(self):  # wrong formulas that somebody could believe, each of which must be refuted
        yield "b − 1 in place of b", {"variance": self.sigma**2 / (self.b - 1)}
        yield "the deviation in place of the variance", {"variance": self.sigma / self.b}
'''


def run(*, name: str) -> int:
    """Write a file with a claim that runs, unless there is one of this name; return the exit code."""
    stem = name.removesuffix(".py")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", stem):
        raise ValueError(f"NAME must be one that Python can import, of letters, digits and _, such as me2026, got {name!r}")
    path = Path(f"{stem}.py")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(_TEMPLATE.replace("NAME", stem))
    except FileExistsError:
        raise ValueError(f"NAME must be of a file that is not there yet, got {path}") from None
    say(f"wrote {path}; judge it: gradnoise verify {path} --sabotage")
    return 0
