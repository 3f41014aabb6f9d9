"""Claims about networks: they are verified with the extra alone, and each twin is refuted.

Those that train are judged here on made-up records, in which the paper is right or wrong by construction, and one is measured
with few repetitions: all of them take minutes, with ``gradnoise verify --extra neural``.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")

from gradnoise.claims import registry, training
from gradnoise.claims.judgement import combine, judge
from gradnoise.simulations.network_protocols import Comparison
from gradnoise.simulations.seeds import Stream


def test_they_are_of_the_extra_alone():
    neural, core = registry.all_claims("neural"), registry.all_claims()
    named = {
        "zhu2019": "parameters fig3 fig5 fig7 fig8",
        "wu2019": "algorithm1-network fig1 eq17-network early",
        "wu2020": "fig1 gaussian-faster-network",
    }
    assert {f"{paper}.{place}" for paper, places in named.items() for place in places.split()} == set(neural)
    assert not set(neural) & set(core)
    assert list(core) == list(registry.all_claims())  # in the papers' order, whatever was imported before


def test_all_that_do_not_train_are_as_expected_and_every_twin_is_refuted():
    report = registry.verify(["zhu2019.parameters", "wu2019.algorithm1-network"], extra="neural", sabotage=True, n_jobs=1)
    assert len(report.entries) == 2 and not report.surprises()
    assert all(twin.verdict == "refuted" for entry in report.entries for twin in entry.sabotaged)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="extra must be one of neural, kept, got 'visual'"):
        registry.verify(extra="visual")
    with pytest.raises(ValueError, match=r"ids must name claims, .*, got 'zhu2019\.eq13'"):
        registry.verify("zhu2019.eq13", extra="neural")


def made_up(claim, right):
    """Records of 128 repetitions in which what the paper says is plain, or the contrary is."""
    p = claim.protocol
    rng = np.random.default_rng(1)
    values = np.empty((128, len(p.dynamics), 1 + -(-p.n_steps // p.every), len(p.metrics)))
    typical = {
        "train_loss": 0.1, "train_accuracy": 1.0, "test_accuracy": 0.8, "gradient_norm_squared": 0.5, "trace_covariance": 1.0,
        "indicator": 100.0, "isotropic_indicator": 1.0, "alignment": 2.0,
    }  # fmt: skip
    for m, metric in enumerate(p.metrics):
        noise = rng.uniform(-1, 1, values.shape[:-1])  # whose means hardly look skew by chance
        values[..., m] = typical[metric] * (1 + 0.001 * noise)
    found = Comparison(p, values, np.empty((128, 0, 3)), np.empty((128, 0)), arguments={}, stream=Stream.of(1))
    leavers = {"sgd", "gld_leading", "gld_hessian", "gld_eigvec"} if right else {"gd", "gld_const", "gld_dynamic", "gld_diag"}
    for name in p.dynamics:
        if name in leavers:
            found.of(name, "train_accuracy")[:, 1:2] = 0.3
        like_gd = name == "gd" or (name == "large-batch-sgd") or (not right and name != "sgd")
        found.of(name, "test_accuracy")[:, -1] += 0.0 if like_gd else 0.02
        found.of(name, "train_loss")[:] *= {"sgd": 1.0, "large-batch-sgd": 0.4}.get(name, 0.5 if right else 2.0)
    if "noise" in p.measured or "escape" in p.measured:
        if not right:
            found.of("sgd", "gradient_norm_squared")[:] = 10.0
        found.of("sgd", "gradient_norm_squared")[:, 0] = 1.05 if right else 0.5  # just above the noise, as it is to be small, too
        if "escape" in p.measured:
            if right:
                found.of("sgd", "indicator")[:, -1] = 1e-6  # 10⁸ times smaller
            else:
                found.of("sgd", "indicator")[:, 0] = 1.0
                found.of("sgd", "alignment")[:] = 0.01
    return found


def judged(claim, quantities, predictions):
    return combine({label: judge(quantities[label], p, 0.0, claim.confidence) for label, p in predictions.items()}).verdict


TRAINING = [c for c in registry.all_claims("neural").values() if isinstance(c, training.Training)]


@pytest.mark.parametrize("claim", TRAINING, ids=lambda c: c.id)
def test_claims_that_train_see_what_is_there(claim):
    quantities = claim.quantities(made_up(claim, right=True))
    assert judged(claim, quantities, claim.published()) == "holds"
    for name, twin in claim.sabotaged():
        assert judged(claim, quantities, twin) == "refuted", name
    assert judged(claim, claim.quantities(made_up(claim, right=False)), claim.published()) == "refuted"


def test_one_that_trains_is_measured_and_shown(monkeypatch, tmp_path):
    """Catches a report that cannot show a sampled quantity without a margin, by which an hour was lost at its end."""
    claim = TRAINING[0]
    monkeypatch.setattr(training.Training, "pilot_paths", 2)
    report = registry.verify("zhu2019.fig7", extra="neural", sabotage=True, n_jobs=1)
    (entry,) = report.entries
    assert all(path.stat().st_size > 100 for path in report.save(tmp_path))
    assert entry.components[0].n == 2 and entry.components[0].level == claim.confidence == 0.999
    assert entry.verdict == "inconclusive" and entry.n_to_decide is None  # two repetitions decide nothing
