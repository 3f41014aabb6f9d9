"""Results of comparisons of networks, without any network: what is read from them, and what a file keeps.

They would catch dynamics, metrics or seeds that are mixed up, a difference that is not paired by seed, and a file that is not the
result.
"""

from dataclasses import replace

import numpy as np
import pytest

from gradnoise.simulations.network_protocols import PROTOCOLS, Comparison, Protocol
from gradnoise.simulations.seeds import Stream

PROTOCOL = Protocol(
    experiment="digits", dynamics=("gd", "sgd"), learning_rate=0.1, batch_size=5, n_steps=5, every=2, descent_steps=4,
    measured=("sharpness",),
)  # fmt: skip


def comparison(values=None):
    rng = np.random.default_rng(0)
    values = rng.random((3, 2, 4, 4)) if values is None else values
    return Comparison(
        PROTOCOL, values, rng.random((3, 5, 3)), rng.random((3, 0)), arguments={"device": "cpu"}, stream=Stream.of(1)
    )


def test_metrics_are_found_by_name():
    found = comparison()
    assert PROTOCOL.metrics == ("train_loss", "train_accuracy", "test_accuracy", "sharpness")
    assert found.steps.tolist() == [0, 2, 4, 5] and found.n_seeds == 3
    np.testing.assert_array_equal(found.of("sgd", "test_accuracy"), found.values[:, 1, :, 2])
    both = replace(PROTOCOL, measured=("escape", "sharpness")).metrics
    assert both[3:] == (
        "gradient_norm_squared", "trace_covariance", "indicator", "isotropic_indicator", "alignment", "sharpness",
    )  # fmt: skip


def test_differences_are_paired_by_seed():
    values = np.zeros((3, 2, 4, 4))
    values[:, 0, -1, 2], values[:, 1, -1, 2] = [0.5, 0.6, 0.9], [0.4, 0.5, 0.8]
    found = comparison(values).difference("gd", "sgd")
    assert found.value == pytest.approx(0.1) and found.standard_error == pytest.approx(0, abs=1e-12) and found.n == 3
    values[:, 1, -2, 2] = 1.0
    assert comparison(values).difference("sgd", "gd", last=2).value == pytest.approx((1 - 0.1) / 2)


def test_a_file_keeps_the_result_to_six_digits(tmp_path):
    found = comparison()
    found.save(tmp_path / "found.json")
    read = Comparison.load(tmp_path / "found.json")
    assert read.protocol == found.protocol and (read.arguments, read.stream) == (found.arguments, found.stream)
    assert read.versions == found.versions
    for name in ("values", "descent", "eigenvalues"):
        np.testing.assert_allclose(getattr(read, name), getattr(found, name), rtol=1e-5)
        assert getattr(read, name).shape == getattr(found, name).shape


def test_bad_names_and_files_are_named(tmp_path):
    with pytest.raises(ValueError, match="dynamics must be one of gd, sgd, got 'adam'"):
        comparison().of("adam", "test_accuracy")
    with pytest.raises(ValueError, match="metric must be one of train_loss"):
        comparison().of("gd", "indicator")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match=r"path must be of a comparison, got .*other\.json"):
        Comparison.load(tmp_path / "other.json")


def test_each_figure_has_a_protocol_for_each_budget():
    for name, budgets in PROTOCOLS.items():
        assert set(budgets) == {"quick", "full"}, name
        assert budgets["quick"].dynamics == budgets["full"].dynamics and budgets["quick"].measured == budgets["full"].measured


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.zeros((3, 2, 5, 4))}, r"values must have shape \(any, 2, 4, 4\), got \(3, 2, 5, 4\)"),
        ({"values": np.zeros((0, 2, 4, 4))}, "values must be of a seed or more"),
        ({"values": np.zeros((3, 2, 4, 4), dtype=complex)}, "values must be an array of real numbers"),
        ({"values": np.ma.masked_less(np.zeros((3, 2, 4, 4)), 1)}, "values must be an array of real numbers without a mask"),
        ({"descent": np.zeros((2, 5, 3))}, r"descent must have shape \(3, any, 3\), got \(2, 5, 3\)"),
        ({"eigenvalues": np.zeros(3)}, r"eigenvalues must have shape \(3, any\), got \(3,\)"),
        ({"protocol": {}}, "protocol must be a Protocol, got dict"),
        ({"stream": 3}, "stream must be a Stream, got 3"),
    ],
)
def test_records_that_are_not_those_of_the_protocol_are_refused(change, message):
    with pytest.raises((ValueError, TypeError), match=message):
        replace(comparison(), **change)


@pytest.mark.parametrize("last", [0, -1, 5, 1.5, True, None])
def test_records_to_average_are_counted_from_one(last):
    """Would catch a slice [-0:], which is of all of them, and [1:], of all but the first."""
    with pytest.raises((ValueError, TypeError), match=r"last must be (between 1 and 4|an integer)"):
        comparison().difference("gd", "sgd", last=last)


def test_records_that_were_made_elsewhere_need_no_origin(tmp_path):
    protocol = Protocol("digits", ("gd", "sgd"), 0.1, 5, 4, 2)
    found = Comparison(protocol, np.ones((2, 2, 3, 3)), np.empty((2, 0, 3)), np.empty((2, 0)))
    found.save(tmp_path / "found.json")
    read = Comparison.load(tmp_path / "found.json")
    assert (read.arguments, read.stream, read.descent.shape) == ({}, found.stream, (2, 0, 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dynamics": "sgd"}, "dynamics must be a tuple of names, got 'sgd'"),
        ({"dynamics": ()}, "dynamics must be one or more"),
        ({"dynamics": ("gd", "gd")}, "dynamics must be different names"),
        ({"learning_rate": float("nan")}, "learning_rate must be finite"),
        ({"descent_rate": 0.0}, "descent_rate must be > 0"),
        ({"n_steps": 2.5}, "n_steps must be an integer"),
        ({"every": 0}, "every must be >= 1"),
        ({"measured": ("loss",)}, "measured must be one of sharpness, noise, escape"),
        ({"measured": ("noise", "escape")}, "measured must not give a metric twice"),
    ],
)
def test_bad_protocols_are_named(change, message):
    with pytest.raises((ValueError, TypeError), match=message):
        replace(PROTOCOL, **change)
