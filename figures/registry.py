"""All figures, by name."""

from __future__ import annotations

import difflib
import os
import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradnoise.figures.style import style, write
from gradnoise.simulations.seeds import RNG
from gradnoise.simulations.sweeps import paper_sweep
from gradnoise.theory._validation import as_choice, as_text, shown

__all__ = ["FIGURES", "Figure", "select"]

_LONGEST_NAME = 100  # letters of a wrong one that are compared with those that there are


@dataclass(frozen=True)
class Figure:
    """A figure of a paper.

    Attributes
    ----------
    name, title : str
    source : str
        Figure or table of a paper, or the statement that it shows.
    scales : dict of str
        How much is simulated, by budget, where that is not what a plan says; see `scale`.
    drawn_by : str or None
        Module of this package, and its function ``draw(budget=..., rng=..., n_jobs=...)``, which returns a matplotlib Figure.
        It is imported when it draws, as matplotlib takes long. None where runs of a plan are all there is.
    extra : str or None
        What budget "quick" needs beside the core; "full" shows runs that are kept.
    plan : str or None
        One of `gradnoise.simulations.sweeps.PAPER_SWEEPS`, whose runs are kept: it is shown at budget "full", and also at "quick"
        where no extra makes fresh ones.

    Examples
    --------
    >>> figure = FIGURES["wu2019-thm2"]
    >>> figure.title, figure.extra
    ('weak error of SGD against its SDE, exact and simulated', None)
    >>> figure.source, figure.scale("quick")
    ('Theorem 2', '20,000 paths')
    """

    name: str
    title: str
    source: str
    scales: dict[str, str]
    drawn_by: str | None
    extra: str | None = None
    plan: str | None = None

    def kept(self, budget: str) -> bool:
        """Whether it shows runs that are kept."""
        as_choice(budget, "budget", ("quick", "full"))
        return (budget == "full" and self.extra is not None) or (self.plan is not None and self.extra is None)

    def scale(self, budget: str) -> str:
        """Say how much is simulated."""
        if self.kept(budget) and self.plan is not None:
            return paper_sweep(self.plan).scale
        return self.scales[budget]

    def draw(self, *, budget: str = "quick", rng: RNG, n_jobs: int | None = None) -> Any:
        """Draw it, or the runs of its plan that are kept; return a matplotlib Figure."""
        if self.kept(budget) and self.plan is not None:
            return pkgutil.resolve_name("gradnoise.figures.sweeps:draw")(self.plan)
        return pkgutil.resolve_name(f"gradnoise.figures.{self.drawn_by}")(budget=budget, rng=rng, n_jobs=n_jobs)

    def save(
        self, folder: str | os.PathLike[str], *, format: str = "png", budget: str = "quick", rng: RNG, n_jobs: int | None = None
    ) -> Path:
        """Draw the figure and write it into a folder; return its path."""
        with style():
            figure = self.draw(budget=budget, rng=rng, n_jobs=n_jobs)
            path = Path(folder) / f"{self.name}.{format}"
            path.parent.mkdir(parents=True, exist_ok=True)
            write(figure, path)
        return path


def _scales(quick: str, full: str = "") -> dict[str, str]:
    return {"quick": quick, "full": full}


FIGURES = {
    figure.name: figure
    for figure in (
        Figure(
            "zhu2019-fig2",
            "who escapes from the sharp minimum of the two-basin toy",
            "Figure 2",
            _scales("10,000 runs of 500 steps", "100,000 runs of 500 steps, as in the paper"),
            "zhu2019_figure2:draw",
        ),
        Figure(
            "zhu2019-fig4",
            "Tr(HΣ) and its isotropic equivalent on clipped networks of three widths",
            "Figure 4",
            _scales("the paper's networks, 1,000 steps", "the paper's networks, 20,000 steps"),
            "zhu2019_figure4:draw",
        ),
        Figure(
            "zhu2019-prop2",
            "Fisher against Hessian while a clipped network learns",
            "Proposition 2",
            _scales("every fifth of 500 steps", "500 steps"),
            "zhu2019_proposition2:draw",
        ),
        Figure(
            "zhu2019-fig3",
            "who leaves the minimum of GD on a network, and generalises",
            "Figure 3",
            _scales("digits, 4 seeds, 500 steps", "600 + 300 images of Fashion-MNIST, 3 seeds, 400 steps"),
            "networks:draw_figure_3",
            "neural",
        ),
        Figure(
            "zhu2019-fig5",
            "spectrum, alignment and Tr(HΣ) along SGD on a network",
            "Figure 5",
            _scales("digits, 4 seeds, 10,000 steps", "600 + 300 images of Fashion-MNIST, 3 seeds, 10,000 steps"),
            "networks:draw_spectrum",
            "neural",
        ),
        Figure(
            "zhu2019-fig7",
            "noise against gradient along SGD on a network",
            "Figure 7",
            _scales("digits, 4 seeds, 10,000 steps", "600 + 300 images of Fashion-MNIST, 3 seeds, 10,000 steps"),
            "networks:draw_noise",
            "neural",
        ),
        Figure(
            "zhu2019-fig8",
            "the first steps from the minimum of GD on a network",
            "Figure 8",
            _scales("digits, 4 seeds, 100 steps", "600 + 300 images of Fashion-MNIST, 3 seeds, 100 steps"),
            "networks:draw_figure_8",
            "neural",
        ),
        Figure(
            "wu2019-thm1",
            "local Rademacher, Gaussian and SGD complexity, with their bounds",
            "Theorem 1",
            _scales("20,000 draws", "1,000,000 draws"),
            "wu2019_theorem1:draw",
        ),
        Figure(
            "wu2019-thm2",
            "weak error of SGD against its SDE, exact and simulated",
            "Theorem 2",
            _scales("20,000 paths", "1,000,000 paths"),
            "wu2019_theorem2:draw",
        ),
        Figure(
            "wu2019-thm3",
            "mean-square distance of M-SGD from its SDE on one Brownian path",
            "Theorem 3",
            _scales("1,000 paths", "50,000 paths"),
            "wu2019_theorem3:draw",
        ),
        Figure(
            "wu2020-thm1",
            "excess risk of averaged SGD and MSGD: exact, simulated, bounded",
            "Theorem 1",
            _scales("500 replicates", "10,000 replicates"),
            "wu2020_theorem1:draw",
        ),
        Figure(
            "wu2020-fig1",
            "sampling noises of several classes, and a large batch, on a network",
            "Figure 1(a), also of wu2019",
            _scales("digits, 8 seeds, 1,000 steps"),
            "networks:draw_sampling_noises",
            "neural",
            "wu2020-fig1",
        ),
        Figure(
            "wu2020-fig2",
            "whether a large batch generalises worse, on a convolutional network",
            "Figure 2(a); wu2019, Figure 1(d-f)",
            {},
            None,
            plan="wu2020-fig2",
        ),
    )
}


def select(names: Iterable[str], budget: str = "quick") -> list[Figure]:
    """Figures by name; where no name is given, all that need no extra at this budget.

    Parameters
    ----------
    names : iterable of str
        Each counts once; may be empty.
    budget : {"quick", "full"}
        "full" shows runs that are kept, and so needs no extra.

    Returns
    -------
    list of Figure

    Raises
    ------
    TypeError, ValueError
        If a name or the budget is not known.

    Examples
    --------
    >>> [figure.drawn_by for figure in select(["wu2019-thm1"])]
    ['wu2019_theorem1:draw']
    >>> len(select([])) < len(select([], budget="full")) == len(FIGURES)
    True
    """
    as_choice(budget, "budget", ("quick", "full"))
    if not isinstance(names, Iterable) or isinstance(names, str | bytes):
        raise TypeError(f"names must be an iterable of strings, got {shown(names)}")
    wanted = [as_text(name, "each of names") for name in names]
    for name in wanted:
        if name not in FIGURES:
            close = difflib.get_close_matches(name[:_LONGEST_NAME], FIGURES, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise ValueError(f"names must be of figures, got {shown(name)}{hint} (gradnoise figures --list lists them)")
    at_hand = [figure for figure in FIGURES.values() if figure.extra is None or budget == "full"]
    return [FIGURES[name] for name in dict.fromkeys(wanted)] or at_hand
