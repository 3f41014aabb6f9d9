"""Claims about networks: they are verified with the extra alone, and each twin is refuted."""

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")

from gradnoise.claims import registry


def test_they_are_of_the_extra_alone():
    neural, core = registry.all_claims("neural"), registry.all_claims()
    assert {"zhu2019.parameters", "wu2019.algorithm1-network"} <= set(neural)
    assert not set(neural) & set(core)
    assert list(core) == list(registry.all_claims())  # in the papers' order, whatever was imported before


def test_all_are_as_expected_and_every_twin_is_refuted():
    report = registry.verify(extra="neural", sabotage=True, n_jobs=1)
    assert report.entries and not report.surprises()
    assert all(twin.verdict == "refuted" for entry in report.entries for twin in entry.sabotaged)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="extra must be one of neural, got 'visual'"):
        registry.verify(extra="visual")
    with pytest.raises(ValueError, match=r"ids must name claims or papers, got 'zhu2019\.eq13'"):
        registry.verify("zhu2019.eq13", extra="neural")
