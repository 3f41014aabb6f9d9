"""The sentences of a diagnosis, each beside a twin that must say something else.

Diagnoses are made up, so that every branch is reached; the words are read by those who do not read the code.
"""

import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")

from gradnoise.simulations.neural.diagnosis import Diagnosis, diagnose
from gradnoise.simulations.neural.noise_scale import NoiseScale
from gradnoise.simulations.neural.words import in_words
from gradnoise.simulations.seeds import Stream
from gradnoise.simulations.statistics import Estimate, Quotient, SkewedEstimate, TailIndex
from gradnoise.theory.sampling import StudentT

from .networks import LOSS, N, problem

#: ‖∇L‖² of a population that may be zero, that is below its bias, and that is so by more than chance.
UNSEEN, NEGATIVE, FITTED = (Estimate(value, error, 2_000) for value, error in ((50.0, 40.0), (-5.0, 5.0), (-50.0, 5.0)))
BELOW, NEAR, ROUGH = Estimate(-6.0, 1.0, 100), Estimate(-1.0, 1.0, 100), Estimate(6.0, 0.7, 100)
PEAKED, FLAT, ENDLESS = (SkewedEstimate(value, error, 30) for value, error in ((0.5, 0.1), (-0.5, 0.1), (math.inf, 0.0)))
GAUSSIAN = TailIndex(SkewedEstimate(0.5, 0.005, 30))
PLAIN = Diagnosis(
    indicator=Estimate(6.0, 0.06, 1_000),
    isotropic_indicator=Estimate(2.0, 0.02, 1_000),
    alignment=Estimate(0.8, 0.1, 1_000),
    alignment_range=(Estimate(0.8, 0.1, 1_000), Estimate(0.8, 0.1, 1_000)),
    share_along_first=0.3,
    share_range=(0.3, 0.3),
    n_sharpest=1,
    gradient_norm_squared=0.5,
    trace_covariance=600.0,
    sample_trace_covariance=6_000.0,
    hessian_eigenvalues=np.array([3.0, 1.0]),
    ratio=Quotient(Estimate(6.0, 0.06, 1_000), Estimate(2.0, 0.02, 1_000)),
    population_gradient_norm_squared=Estimate(50.0, 5.0, 2_000),
    noise_scale=NoiseScale(Quotient(Estimate(50.0, 5.0, 2_000), Estimate(6_000.0, 60.0, 2_000))),
    parameter_traces={"weight": 6_000.0},
    autocast_noise=None,
    covariance_eigenvalues=np.array([2.0, 1.0]),
    sharpness=Estimate(0.1, 0.01, 100),
    kurtosis=SkewedEstimate(0.0, 0.1, 30),
    tail_index=GAUSSIAN,
    gaussian_tail_index=GAUSSIAN,
    arguments={"noise": "Minibatch(n=2000, batch_size=10, replacement=True)", "n": 2_000, "dimension": 1_000, "n_probes": 20},
    stream=Stream.of(1),
    versions={},
)
STRENGTH, ALIGNMENT, ESCAPE, TAILS, MORE = range(5)
MANY = {"n_sharpest": 3, "share_range": (0.2, 0.3)}


def said(which, **changes):
    return in_words(replace(PLAIN, **changes))[which]


def scale(gradient):
    return {
        "population_gradient_norm_squared": gradient,
        "noise_scale": NoiseScale(Quotient(gradient, Estimate(6_000.0, 60.0, 2_000))),
    }


@pytest.mark.parametrize(
    ("which", "changes", "says", "twin"),
    [
        (STRENGTH, {}, "Noise dominates: TrΣ of the stochastic gradient is 1,200 times ‖∇L‖².", {"trace_covariance": 0.25}),
        (STRENGTH, {"trace_covariance": 0.25}, "The gradient dominates: TrΣ of the stochastic gradient is 0.5 times", {}),
        (STRENGTH, {"gradient_norm_squared": 0.0}, "Noise dominates: the gradient of these data is zero.", {}),
        (STRENGTH, {}, "equally strong in batches of about 120 (100 to 150).", scale(UNSEEN)),
        (STRENGTH, scale(UNSEEN), "batches of above 47, if at any: that gradient may be zero.", {}),
        (STRENGTH, scale(FITTED), "as where a network is fitted to its data", scale(NEGATIVE)),
        (ALIGNMENT, {}, "The noise aligns with the curvature: 30 % of it is", {"share_along_first": 0.0005}),
        (ALIGNMENT, {"share_along_first": 0.0005}, "does not align with the curvature: 0.05 % of it is", {}),
        (ALIGNMENT, {"share_along_first": 0.0005}, "0.5 times what isotropic noise has there.", {"share_along_first": 0.3}),
        (ALIGNMENT, {"share_along_first": 1.0}, ": 100 % of it is along the sharpest direction, 1,000 times", {}),
        (ALIGNMENT, {"hessian_eigenvalues": np.array([-1.0])}, "No direction curves upwards", {}),
        (ALIGNMENT, MANY, "aligns with the curvature, which is equally sharp along 3 directions: 20 to 30 % of it is", {}),
        (ALIGNMENT, MANY, "200 to 300 times what isotropic noise has there.", MANY | {"share_range": (0.0, 0.3)}),
        (ALIGNMENT, MANY | {"share_range": (0.0, 0.3)}, "may align or not with the curvature", MANY),
        (ALIGNMENT, MANY | {"share_range": (0.0, 5e-4)}, "does not align with the curvature", MANY),
        (ESCAPE, {}, "escapes faster than isotropic noise of equal strength: Tr(HΣ) is 3 times", {"ratio": 0.5}),
        (ESCAPE, {"ratio": 0.5}, "escapes more slowly than isotropic noise of equal strength: Tr(HΣ) is 0.5 times", {}),
        (ESCAPE, {"ratio": 1.01}, "It is not seen whether the noise escapes faster or more slowly", {}),
        (ESCAPE, {"ratio": 1_234.0}, "Tr(HΣ) is 1,230 times Tr(HΣ̄) (1,200 to 1,270).", {}),
        (
            ESCAPE,
            {"ratio": None, "indicator": BELOW},
            "This is no minimum to escape from: Tr(HΣ) = -6 ± 1 is negative",
            {"ratio": None, "indicator": NEAR},
        ),
        (
            ESCAPE,
            {"ratio": None, "indicator": NEAR},
            "Whether this is a minimum to escape from is not seen: Tr(HΣ) = -1 ± 1 cannot be told from zero",
            {"ratio": None, "indicator": BELOW},
        ),
        (
            ESCAPE,
            {"ratio": None, "isotropic_indicator": NEAR},
            "Tr(HΣ̄) = -1 ± 1 cannot be told from zero",
            {"ratio": None, "isotropic_indicator": BELOW},
        ),
        (  # of two that are not positive, the one that is known to be negative
            ESCAPE,
            {"ratio": None, "indicator": Estimate(1.0, 1.0, 100), "isotropic_indicator": BELOW},
            "This is no minimum to escape from: Tr(HΣ̄) = -6 ± 1 is negative",
            {"ratio": None, "indicator": Estimate(1.0, 1.0, 100), "isotropic_indicator": NEAR},
        ),
        (TAILS, {}, "not told from Gaussian ones by these draws: α = 2 beside 2 of Gaussian noise", {"tail_index": 1.25}),
        (TAILS, {"tail_index": 1.25}, "look heavier than Gaussian ones: α = 1.25 beside 2 of Gaussian noise", {}),
        (TAILS, {"tail_index": 1.25}, "yet its variance is finite.", {}),
        (TAILS, {"tail_index": 2.5}, "look lighter than Gaussian ones: α = 2 beside 2", {"tail_index": 1.25}),
        (TAILS, {"kurtosis": PEAKED}, "are heavier than Gaussian ones by kurtosis; their index shows no", {}),
        (TAILS, {"kurtosis": FLAT}, "are lighter than Gaussian ones by kurtosis; their index shows no", {}),
        (TAILS, {"kurtosis": PEAKED}, "excess kurtosis 0.5 ± 0.1.", {}),
        (TAILS, {"kurtosis": ENDLESS}, "are heavier than Gaussian ones by kurtosis", {}),
        (TAILS, {"kurtosis": ENDLESS}, "excess kurtosis infinite.", {}),
        (MORE, {}, "The traces are known to 10 % or better", {"indicator": ROUGH}),
        (MORE, {"indicator": ROUGH}, "n_probes=80 should halve the errors of the traces", {}),
        (MORE, {"isotropic_indicator": Estimate(-2.0, 0.3, 100)}, "n_probes=80 should halve the errors of the traces", {}),
        (MORE, scale(UNSEEN), "some 5,100 samples, in place of 2,000, would tell", {}),
        (MORE, scale(NEGATIVE), "many times the 2,000 samples would be needed", scale(FITTED)),
        (MORE, scale(FITTED), "samples that the network has not been fitted to would tell", {}),
    ],
)  # fmt: skip
def test_a_sentence_and_its_twin(which, changes, says, twin):
    """Catches a comparison the wrong way round, an interval's wrong end, and a branch that is never taken."""
    assert says in said(which, **made(changes))
    assert says not in said(which, **made(twin))


def made(changes):
    """Numbers as ratios, known to one percent, and as tail indices."""
    found = dict(changes)
    if isinstance(changes.get("ratio"), float):
        found["ratio"] = Quotient(Estimate(2 * changes["ratio"], 0.02 * changes["ratio"], 1_000), Estimate(2.0, 0.02, 1_000))
    if "tail_index" in changes:
        found["tail_index"] = TailIndex(SkewedEstimate(1 / changes["tail_index"], 0.005, 30))
    return found


def test_both_wishes_are_one_sentence():
    both = said(MORE, indicator=ROUGH, **scale(UNSEEN))
    assert both.startswith("To know more: n_probes=80") and ", and some 5,100 samples" in both and both.count(".") == 1


def test_five_sentences_without_numbers_that_nobody_reads():
    """Catches a branch that returns nothing, and numbers such as 1.2e+03 and -0."""
    words = in_words(PLAIN)
    assert len(words) == 5 and all(sentence.endswith(".") and "e+" not in sentence for sentence in words)


def test_weights_without_a_fourth_moment_are_said_to_have_none():
    """Catches words by which all moments of the noise are finite."""
    model, x, y = problem("perceptron")
    found = diagnose(model, LOSS, (x, y), StudentT(N, 3, df=3), rng=1, n_probes=4, n_directions=3, n_draws=200)
    assert "excess kurtosis infinite" in found.words[TAILS]


def test_a_network_that_is_fitted_tells_no_noise_scale():
    """Near a minimum ‖∇L‖² is below its bias by more than chance: the words must not take that for an infinite noise scale."""
    torch.manual_seed(1)
    inputs, model = torch.randn(200, 3).double(), torch.nn.Linear(3, 1, bias=False).double()
    targets = inputs.sum(dim=1) + torch.randn(200).double()
    with torch.no_grad():
        model.weight[0] = torch.linalg.lstsq(inputs, targets.unsqueeze(1)).solution[:, 0]

    def loss(outputs, targets):
        return (outputs[:, 0] - targets) ** 2 / 2

    def found():
        return diagnose(model, loss, (inputs, targets), 4, rng=1, n_probes=4, n_directions=3, n_draws=200)

    assert "as where a network is fitted to its data" in found().words[STRENGTH]
    assert "noise scale of the population  means nothing here" in str(found())
    with torch.no_grad():
        model.weight += 1.0
    assert "If the network has not been fitted to these data" in found().words[STRENGTH]
    assert "means nothing here" not in str(found())


def test_columns_of_the_table_are_straight():
    """Catches a bar over a letter that is counted as a column."""
    lines = str(PLAIN).split("\n\n")[0].replace("\u0304", "").splitlines()
    values = [line.index(shown) for line, shown in zip(lines, ("6.00", "2.00", "3.00"), strict=False)]
    assert len(set(values)) == 1
