"""The numerical referee of SGD-noise theory: predicts, simulates and judges the claims of four papers.

- noise classes: `Minibatch`, `Gaussian`, `Rademacher`, `StudentT`, `Bernoulli`, `SparseGaussian`, `GaussianMinibatch`,
  `Enhanced`, and `SamplingNoise` for one of your own; `draw` draws them
- simulators: `toy`, `ornstein_uhlenbeck`, `langevin`, `least_squares`, `sde`, and `ensemble` for a kernel of your own
- `verify` judges claims, `diagnose` reads a PyTorch network
- `theory`, `simulations`, `claims` and `figures` hold the rest

Nothing is imported before it is used (SPEC 1), so ``import gradnoise`` takes a few milliseconds.
"""

import gradnoise._moved  # noqa: F401

_loader = None


def _attached():
    """What loads a name when it is used, and all names, from the stub beside this file, which type checkers read, too."""
    global _loader
    if _loader is None:
        import lazy_loader  # here, as the command handles Ctrl-C only once this file has run

        _loader = lazy_loader.attach_stub(__name__, __file__)
    return _loader


def _installed(package: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # of one that somebody blocks
        return False


def __dir__() -> list[str]:
    # Without PyTorch `import *` and help() would end in an error that asks for it.
    return sorted({*_attached()[2], "__version__"} - (set() if _installed("torch") else {"diagnose"}))


def __getattr__(name: str):
    if name == "__all__":
        return __dir__()
    if name == "__version__":
        from importlib.metadata import version  # here, as its import takes as long as all else

        return version("gradnoise")
    return _attached()[0](name)
