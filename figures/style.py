"""One look for all figures: colours that the colour-blind tell apart, and marks that survive a grey printer."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradnoise.simulations.ensemble import replacing

__all__ = ["COMPLEXITIES", "DYNAMICS", "NETWORKS", "NOISES", "SDES", "Look", "style", "write"]


@dataclass(frozen=True)
class Look:
    """Label, colour (Okabe and Ito), line style and marker of a dynamics, a noise class or an SDE."""

    label: str
    color: str
    linestyle: str | tuple[int, tuple[int, ...]]
    marker: str


DYNAMICS = {
    "gd": Look("GD", "#000000", (0, (1, 1)), "x"),
    "gld_const": Look("GLD const", "#999999", "-", "o"),
    "gld_diag": Look("GLD diag", "#56B4E9", (0, (5, 2)), "s"),
    "gld_leading": Look("GLD leading", "#009E73", "-", "^"),
    "gld_hessian": Look("GLD Hessian", "#E69F00", (0, (6, 1, 1, 1)), "D"),
    "gld_eigvec": Look("GLD 1st eigvec(H)", "#0072B2", (0, (3, 1)), "v"),
}

#: Dynamics of networks: those above, and sampling noises.
NETWORKS = DYNAMICS | {
    "gld_dynamic": Look("GLD dynamic", "#999999", (0, (3, 2)), "o"),
    "sgd": Look("SGD", "#D55E00", "-", "D"),
    "gd-rademacher": Look("GD-Rademacher", "#000000", (0, (4, 1, 1, 1)), "x"),
    "large-batch-sgd": Look("SGD, large batch", "#999999", "-", "s"),
    "msgd-cov": Look("MSGD-Cov", "#0072B2", "-", "o"),
    "msgd-fisher": Look("MSGD-Fisher", "#0072B2", (0, (3, 1)), "v"),
    "msgd-rademacher": Look("MSGD-Rademacher", "#56B4E9", "-", "o"),
    "msgd-bernoulli": Look("MSGD-Bernoulli", "#009E73", "-", "^"),
    "msgd-fisher-b": Look("MSGD-[Fisher-B]", "#E69F00", "-", "D"),
    "msgd-cov-b": Look("MSGD-[Cov-B]", "#E69F00", (0, (3, 1)), "s"),
    "msgd-fisher-batch": Look("[MSGD-Fisher]-B", "#CC79A7", "-", "v"),
    "enhanced": Look("large batch, enhanced", "#CC79A7", (0, (3, 1)), "^"),
}

NOISES = {
    "minibatch": Look("SGD, minibatch of $b$", "#000000", "-", "D"),
    "gaussian": Look("MSGD, Gaussian", "#0072B2", "-", "o"),
    "rademacher": Look("MSGD, Rademacher", "#009E73", "-", "o"),
    "student9": Look("MSGD, Student-t(9)", "#E69F00", "-", "o"),
    "student3": Look("MSGD, Student-t(3): bars mean nothing", "#CC79A7", "-", "o"),
}

SDES = {
    "plain": Look("SDE, drift $-\\nabla L$", "#0072B2", "-", "o"),
    "modified": Look("SDE, modified drift", "#D55E00", "-", "s"),
    "minibatch": Look("SGD, coupled step by step", "#000000", "-", "D"),
}

COMPLEXITIES = {
    "rademacher": Look("Rademacher", "#000000", "-", "x"),
    "gaussian": Look("Gaussian", "#0072B2", "-", "o"),
    "sgd": Look("SGD, with replacement", "#E69F00", "-", "s"),
    "sgd_without": Look("SGD, without replacement", "#009E73", "-", "D"),
}


def style() -> AbstractContextManager[None]:
    """Context in which a figure is drawn and saved."""
    from matplotlib import pyplot

    return pyplot.rc_context(
        {
            "font.size": 9,
            "axes.titlesize": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "savefig.dpi": 200,
            "savefig.bbox": "tight",
            "figure.constrained_layout.use": True,
            "svg.hashsalt": "gradnoise",
        }
    )


def write(figure: Any, path: Path) -> None:
    """Write a matplotlib Figure to a file, whole or not at all, and close it."""
    from matplotlib import pyplot

    try:
        with replacing(path) as file:
            figure.savefig(file, format=path.suffix[1:])
    finally:
        pyplot.close(figure)
