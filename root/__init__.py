"""The numerical referee of SGD-noise theory: predicts, simulates and judges the claims of four papers.

- noise classes: `Minibatch`, `Gaussian`, `Rademacher`, `StudentT`, `Bernoulli`, `SparseGaussian`, `GaussianMinibatch`,
  `Enhanced`, and `SamplingNoise` for one of your own; `draw` draws them
- simulators: `toy`, `ornstein_uhlenbeck`, `langevin`, `least_squares`, `sde`, and `ensemble` for a kernel of your own
- `verify` judges claims, `diagnose` reads a PyTorch network
- `theory`, `simulations`, `claims` and `figures` hold the rest

Nothing is imported before it is used (SPEC 1), so ``import gradnoise`` takes a few milliseconds.
"""

from importlib.util import find_spec
from typing import Any

import lazy_loader

import gradnoise._moved  # noqa: F401

# The names are listed in the stub beside this file, which type checkers read, too.
_load, _, _names = lazy_loader.attach_stub(__name__, __file__)


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # of one that somebody blocks
        return False


# Without PyTorch `import *` and help() would end in an error that asks for it.
__all__ = sorted({*_names, "__version__"} - (set() if _installed("torch") else {"diagnose"}))


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # here, as its import takes as long as all else

        return version("gradnoise")
    return _load(name)
