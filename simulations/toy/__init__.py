"""The two-basin toy of zhu2019, Section 5.1: gradient descent with the noises of Table 1, and minibatch SGD.

- `simulate` follows paths from the sharp minimum and returns a `ToyResult`: who escaped, when, and where all ended
- `DYNAMICS`, `CONVENTIONS` and `RECORDS` are the names that it takes; `ESCAPED_BELOW` says what counts as escaped

The loss, its gradients and the data's law are `gradnoise.theory.escape.two_basin`.
"""

from __future__ import annotations

from gradnoise.simulations.toy.driver import CONVENTIONS, DYNAMICS, RECORDS, ToyResult, simulate
from gradnoise.simulations.toy.kernel import ESCAPED_BELOW

__all__ = ["CONVENTIONS", "DYNAMICS", "ESCAPED_BELOW", "RECORDS", "ToyResult", "simulate"]
