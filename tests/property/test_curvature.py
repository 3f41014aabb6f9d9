"""Propositions 2 and 3 of zhu2019 on networks that Hypothesis chooses.

It would catch a bound that is exceeded, for any width, activation, δ or loss, and a ratio that is not one of F and H.
"""

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from gradnoise.theory.curvature import ClippedNetwork, alignment_bound, ratio_bounds

ROUNDING = 1e-11


@st.composite
def points(draw):
    n, m, p = draw(st.integers(1, 8)), draw(st.integers(1, 6)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 100_000)))
    slopes = draw(st.sampled_from([(0.0, 1.0), (0.1, 1.0), (1.0, 1.0), (-1.0, 1.0)]))
    delta, halved = draw(st.floats(1e-4, 0.45)), draw(st.booleans())
    labels = rng.integers(0, 2, n)
    network = ClippedNetwork(rng.normal(size=(n, p)), labels, rng.normal(size=m), delta, slopes, halved)
    curvature = network.curvature(rng.normal(size=(m, p)))
    assume(curvature.active.any())
    return network, curvature


@given(point=points())
def test_fisher_lies_between_multiples_of_the_hessian(point):
    network, curvature = point
    lower, upper = ratio_bounds(network.delta, curvature.largest_residual - network.delta, network.halved)
    ratios = curvature.eigenvalue_ratios
    assert lower * (1 - ROUNDING) <= ratios[0] <= ratios[-1] <= upper * (1 + ROUNDING)
    F, H = curvature.fisher, curvature.hessian
    scale = ROUNDING * (np.trace(F) + upper * np.trace(H))
    assert np.linalg.eigvalsh(F - lower * H)[0] >= -scale
    assert np.linalg.eigvalsh(upper * H - F)[0] >= -scale


@given(point=points())
def test_noise_along_the_leading_direction_is_bounded_below(point):
    network, curvature = point
    assume(np.ptp(curvature.gradients, axis=1).any())
    assert curvature.alignment >= alignment_bound(curvature, network.delta) - ROUNDING
