"""Claims of wu2020 and wu2019 about networks, on runs that come with gradnoise; see `gradnoise.claims.kept_runs`."""

from __future__ import annotations

from gradnoise.claims.claim import claim
from gradnoise.claims.kept_runs import KeptRuns


@claim(
    "wu2020.fig1-fashion",
    "On a small network MSGD with Gaussian and with Bernoulli noise generalises as SGD within a point, SGD better than GD by one",
    kind="inequality",
    source="Figure 1(a), Sections 4.2 to 4.4; wu2019, Figure 1(a, b)",
    expected=None,
)
class EveryClassIsAsSgdOnFashion(KeptRuns):
    """Gaussian noise of the Fisher's covariance and independent Bernoulli noise, with GD as the positive control."""

    plan = "wu2020-fig1"
    asked = (
        "SGD is better than GD by a point",
        "MSGD-Fisher is as SGD within a point",
        "MSGD-Bernoulli is as SGD within a point",
    )


@claim(
    "wu2020.gradient-matrix",
    "The gradient matrix is the key: independent components of sampling noise regularise more than those of gradient noise",
    kind="inequality",
    source="Section 4.3; zhu2019, GLD diag",
    expected=None,
)
class GradientMatrixIsTheKey(KeptRuns):
    """MSGD-Fisher against GLD diag, whose noise has the same variances, by more than a point."""

    plan = "wu2020-fig1"
    asked = ("MSGD-Fisher is better than GLD diag by a point",)


@claim(
    "wu2020.gap",
    "A large batch generalises worse than a small one by a point, and [MSGD-Fisher]-B closes the gap; so does enhancement",
    kind="inequality",
    source="Section 4.5, Figure 2; wu2019, Figure 1(c, f); ne2021, Section 3.2",
    expected=None,
)
class AlgorithmTwoClosesTheGap(KeptRuns):
    """Ten times the batch, at equal steps, on a small network."""

    plan = "wu2020-fig1"
    asked = (
        "a batch of 50 is better than one of 500 by a point",
        "[MSGD-Fisher]-500 is as SGD of batch 50 within a point",
        "an enhanced batch of 500 is as SGD of batch 50 within a point",
    )
