"""Comparisons of dynamics, the covariance of their noise, and the indicator of escape.

They would catch dynamics that do not begin at one point, seeds that depend on the number of processes or on a resume, noise of
the wrong strength or direction, an experiment that starts from another's network, and workers that train on the data of another
folder than the caller's.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
from joblib import parallel_config
from joblib.parallel import get_active_backend

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")

from gradnoise.figures import networks, registry
from gradnoise.simulations import ensemble, network_protocols
from gradnoise.simulations.neural import comparison, dynamics, experiments, noise_covariance
from gradnoise.simulations.neural.batch_weights import weighted_batch
from gradnoise.simulations.neural.comparison import compare
from gradnoise.simulations.neural.escape import escape
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.simulations.neural.noise_covariance import NoiseCovariance, matched_noise
from gradnoise.simulations.neural.training import METRICS
from gradnoise.theory.sampling import Gaussian, Minibatch

from .networks import LOSS, N, problem
from .test_data import idx
from .test_training import command

SMALL = network_protocols.Protocol(
    experiment="digits", dynamics=("gd", "sgd", "gld_leading"), learning_rate=0.2, batch_size=10, n_steps=6, every=3,
    descent_steps=20, descent_rate=0.2, measured=("sharpness", "escape"), n_probes=2, n_eigenvalues=3,
)  # fmt: skip


def test_dynamics_begin_alike_and_seeds_do_not_depend_on_processes_or_resumes(tmp_path, monkeypatch):
    whole = compare(SMALL, 3, rng=5, n_jobs=1, device="cpu")
    assert whole.values.shape == (3, 3, 3, 9) and whole.descent.shape == (3, 11, 3) and whole.eigenvalues.shape == (3, 3)
    assert np.isfinite(whole.values).all() and (np.diff(whole.eigenvalues) <= 0).all()
    start = whole.values[:, :, 0]
    np.testing.assert_array_equal(start, np.repeat(start[:, :1], 3, axis=1))
    np.testing.assert_allclose(start[:, 0, :3], whole.descent[:, -1])
    assert len(np.unique(whole.values[:, :, -1, 0])) == 9  # each seed and each dynamics goes its own way
    first = compare(SMALL, 2, rng=5, n_jobs=2, device="cpu", store=tmp_path)
    np.testing.assert_array_equal(first.values, whole.values[:2])
    computed, compute = [], comparison._compare
    monkeypatch.setattr(comparison, "_compare", lambda *args: computed.append(args) or compute(*args))
    rest = compare(SMALL, 3, rng=5, n_jobs=1, device="cpu", store=tmp_path)
    np.testing.assert_array_equal(rest.values, whole.values)
    assert len(computed) == 1  # the others were kept
    assert rest.arguments["data"] | {"sha256": ""} == {"n_train": 300, "n_corrupted": 50, "n_test": 597, "sha256": ""}


FASHION = replace(
    SMALL, experiment="fashion", dynamics=("sgd",), n_steps=1, every=1, descent_steps=0, measured=(), n_eigenvalues=0
)  # fmt: skip


def write_fashion(folder, seed):
    """Write files of Fashion-MNIST with a few images of noise."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    for part, n in (("train", 40), ("t10k", 10)):
        images, labels = generator.integers(0, 256, (n, 28, 28), dtype=np.uint8), np.arange(n, dtype=np.uint8) % 10
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    return folder


def test_workers_that_live_train_on_the_folder_that_their_caller_means_now(tmp_path, monkeypatch):
    def run(folder, n_jobs=2):
        return compare(FASHION, 2, rng=5, device="cpu", data_folder=folder, n_jobs=n_jobs).values

    places = [write_fashion(tmp_path / name / "data", seed) for seed, name in enumerate("ab")]
    expected = [run(place, n_jobs=1) for place in places]
    assert not np.array_equal(expected[0], expected[1])
    for place, values in zip(places, expected, strict=True):
        monkeypatch.chdir(place.parent)
        np.testing.assert_array_equal(run("data"), values)
    for place, values in zip(places, expected, strict=True):
        monkeypatch.setenv("GRADNOISE_DATA", str(place))
        np.testing.assert_array_equal(run(None), values)


def test_data_that_become_other_ones_are_named(tmp_path):
    """Of which the result would be said to be of those that there were at the beginning."""
    place, called = write_fashion(tmp_path, 1), []
    with pytest.raises(ValueError, match=r"facts must be of the data of fashion-mnist.*sha256"):
        compare(
            FASHION, 2, rng=5, device="cpu", data_folder=place, n_jobs=1,
            progress=lambda *done: called.append(done) or write_fashion(place, 2),
        )  # fmt: skip
    assert called == [(1, 2)]


def test_data_are_known_by_their_content_wherever_they_lie(tmp_path, monkeypatch):
    place = write_fashion(tmp_path / "data", 1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRADNOISE_DATA", "data")
    for folder in ("data", "./data/", place, write_fashion(tmp_path / "copy", 1), None):
        compare(FASHION, 1, rng=5, device="cpu", data_folder=folder, n_jobs=1, store="store")
    assert len(list((tmp_path / "store").iterdir())) == 1
    compare(FASHION, 1, rng=5, device="cpu", data_folder=write_fashion(tmp_path / "copy", 2), n_jobs=1, store="store")
    assert len(list((tmp_path / "store").iterdir())) == 2


@pytest.mark.parametrize("name", ["perceptron", "tied"])
@pytest.mark.parametrize("noise", [Minibatch(N, 3), Gaussian(N, 2, centered=False)])
@pytest.mark.parametrize("matrix_free", [False, True])
def test_covariance_of_the_noise(name, noise, matrix_free, monkeypatch):
    if matrix_free:
        monkeypatch.setattr(noise_covariance, "_HELD", 0)
    model, x, y = problem(name)
    operators = LossOperators(model, LOSS, x, y)
    G = torch.stack([operators.matrix_product(e) for e in torch.eye(N).double()], dim=1).numpy()
    expected, here = noise.gradient_covariance(G), NoiseCovariance(operators, noise)
    u = torch.linspace(-1, 1, len(G)).double()
    np.testing.assert_allclose(here.product(u).numpy(), expected @ u.numpy(), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(here.variances().numpy(), np.diag(expected), rtol=1e-10, atol=1e-14)
    first, axis = here.leading(1)
    values, vectors = here.leading(3)
    assert axis.shape == (len(G), 1) and first.item() == pytest.approx(values[0].item(), rel=1e-6)
    np.testing.assert_allclose(values.numpy(), np.linalg.eigvalsh(expected)[:-4:-1], rtol=1e-6)
    np.testing.assert_allclose((vectors.T @ vectors).numpy(), np.eye(3), atol=1e-6)
    np.testing.assert_allclose(expected @ vectors.numpy(), vectors.numpy() * values.numpy(), atol=1e-6 * float(values[0]))


def test_more_samples_than_parameters():
    model, x, y = problem("perceptron")
    operators = LossOperators(model, LOSS, x.repeat(10, 1), y.repeat(10))
    noise = Minibatch(10 * N, 3)
    G = torch.cat(list(operators.sample_gradients())).T.numpy()
    values, vectors = NoiseCovariance(operators, noise).leading(2)
    exact = noise.gradient_covariance(G)
    np.testing.assert_allclose(values.numpy(), np.linalg.eigvalsh(exact)[:-3:-1], rtol=1e-10)
    np.testing.assert_allclose(exact @ vectors.numpy(), vectors.numpy() * values.numpy(), atol=1e-10)


@pytest.mark.parametrize("k", [0, -1, N + 1, 2.5, True, None])
def test_eigenvalues_of_the_noise_that_are_not_there_are_refused(k):
    """Would catch SciPy's own words, and eigenvectors that are made of rounding."""
    model, x, y = problem("perceptron")
    covariance = NoiseCovariance(LossOperators(model, LOSS, x, y), Minibatch(N, 3))
    with pytest.raises((ValueError, TypeError), match=r"k must be (between 1 and 9|an integer)"):
        covariance.leading(k)


def test_indicator_of_escape_exactly():
    model, x, y = problem("perceptron")
    operators = LossOperators(model, LOSS, x, y)
    noise = Gaussian(N, 2, centered=False)
    H = torch.stack([operators.hessian_product(e) for e in torch.eye(operators.dimension).double()], dim=1).numpy()
    G = torch.stack([operators.matrix_product(e) for e in torch.eye(N).double()], dim=1).numpy()
    sigma = noise.gradient_covariance(G)
    found = escape(operators, noise, torch.Generator(), n_probes=None, k=2)
    assert found.indicator.value == pytest.approx(np.trace(H @ sigma), rel=1e-10)
    assert found.isotropic_indicator.value == pytest.approx(np.trace(H) * np.trace(sigma) / len(H), rel=1e-10)
    values, vectors = np.linalg.eigh(H)
    first = vectors[:, -1]
    assert found.alignment is not None
    assert found.alignment.value == pytest.approx(first @ sigma @ first * np.trace(H) / (values[-1] * np.trace(sigma)), rel=1e-5)
    np.testing.assert_allclose(found.hessian_eigenvalues, values[:-3:-1], rtol=1e-6)


def test_noise_over_other_samples_is_named():
    with pytest.raises(ValueError, match=r"noise must be a noise over the 9 samples, got Minibatch\(n=8"):
        matched_noise(Minibatch(8, 2), N, "noise")
    with pytest.raises(ValueError, match="noise must be between 1 and 9"):
        matched_noise(10, N, "noise")
    model, x, y = problem("perceptron")
    with pytest.raises(ValueError, match="noise must be a noise over the 9 samples"):
        escape(LossOperators(model, LOSS, x, y), Minibatch(8, 2), torch.Generator())
    equal = LossOperators(model, LOSS, x[:1].expand(4, -1), y[:1].expand(4))
    with pytest.raises(ValueError, match="the noise must not be zero"):
        escape(equal, Minibatch(4, 2), torch.Generator())


def test_no_curvature_is_named():
    flat = LossOperators(torch.nn.Linear(3, 1).double(), lambda out, y: out[:, 0], torch.randn(4, 3).double(), torch.zeros(4))
    with pytest.raises(ValueError, match="product must be of an operator that is not zero"):
        escape(flat, Minibatch(4, 2), torch.Generator(), n_probes=2)


def test_a_dynamics_that_diverges_is_named():
    wild = replace(SMALL, measured=(), descent_steps=0, n_eigenvalues=0, learning_rate=1e30)
    with pytest.raises(ValueError, match=r"^gd: the loss must stay finite"):
        compare(wild, 1, rng=5, n_jobs=1, device="cpu")


def test_a_quick_figure_of_networks(monkeypatch, tmp_path):
    monkeypatch.setitem(network_protocols.PROTOCOLS, "wu2020-fig1", {"quick": replace(SMALL, measured=(), n_eigenvalues=0)})
    monkeypatch.setitem(networks.SEEDS, "wu2020-fig1", 2)
    figure = registry.FIGURES["wu2020-fig1"]
    first, again, other = (figure.save(tmp_path / str(k), rng=rng, n_jobs=1).read_bytes() for k, rng in enumerate((5, 5, 6)))
    assert first == again != other


def test_a_run_starts_where_another_ended(tmp_path, monkeypatch):
    def run(**options):
        return experiments.run("digits", rng=5, device="cpu", every=5, **options)

    end = run(dynamics="gd", n_steps=10, folder=tmp_path / "gd")[-1]
    start = run(dynamics="sgd", n_steps=0, start=tmp_path / "gd")[0]
    assert {**start, "step": 10} == end
    sgd = run(dynamics="sgd", n_steps=5, folder=tmp_path / "sgd")[-1]["train_loss"]
    on = run(dynamics="sgd", n_steps=5, folder=tmp_path / "on", start=tmp_path / "sgd", learning_rate=1e-9)
    assert on[0]["train_loss"] == sgd
    chosen = []

    def drawn(*args, **options):
        chosen.append(weighted_batch(*args, **options))
        return chosen[-1]

    monkeypatch.setattr(dynamics, "weighted_batch", drawn)
    run(dynamics="sgd", n_steps=5)
    run(dynamics="sgd", n_steps=5, start=tmp_path / "sgd")
    run(dynamics="sgd", n_steps=5, start=tmp_path / "on")
    assert len({tuple(batch.samples.tolist()) for batch in chosen}) == 15  # each run has noise of its own
    run(dynamics="sgd", n_steps=5, folder=tmp_path / "other", learning_rate=0.1, momentum=0.5)
    with pytest.raises(ValueError, match="hold the same run"):
        run(dynamics="sgd", n_steps=5, folder=tmp_path / "on", start=tmp_path / "other", learning_rate=1e-9)
    with pytest.raises(ValueError, match="start must be a run of digits with the same seed"):
        experiments.run("digits", rng=6, device="cpu", n_steps=0, start=tmp_path / "gd")
    with pytest.raises(ValueError, match="start must be a run of digits-clean with the same seed"):
        experiments.run("digits-clean", rng=5, device="cpu", n_steps=0, start=tmp_path / "gd")


def test_every_optimizer_takes_every_dynamics():
    ends = {
        (optimizer, momentum, dynamics): experiments.run(
            "digits", dynamics, rng=5, device="cpu", n_steps=5, learning_rate=0.01, optimizer=optimizer, momentum=momentum
        )[-1]["train_loss"]
        for optimizer, momentum in (("sgd", 0.0), ("sgd", 0.9), ("adam", 0.0))
        for dynamics in ("large-batch-sgd", "enhanced")
    }
    assert len(set(ends.values())) == len(ends)
    with pytest.raises(ValueError, match=r"momentum must be 0 for adam, .* got 0\.9"):
        experiments.run("digits", rng=5, n_steps=1, optimizer="adam", momentum=0.9)
    with pytest.raises(ValueError, match="optimizer must be one of sgd, adam, got 'lion'"):
        experiments.run("digits", rng=5, n_steps=1, optimizer="lion")


def test_compare_from_the_command_line(monkeypatch, capsys, tmp_path):
    tiny = replace(SMALL, measured=(), n_eigenvalues=0, descent_steps=0)
    monkeypatch.setitem(network_protocols.PROTOCOLS, "zhu2019-fig3", {"quick": tiny, "full": tiny})
    arguments = ("compare", "zhu2019-fig3", "--seeds", 2, "--jobs", 1, "--device", "cpu")
    code, shown = command(monkeypatch, capsys, *arguments, "--json", tmp_path / "found.json")
    assert code == 0 and "gld_leading" in shown.out and "as SGD?" in shown.out
    assert network_protocols.Comparison.load(tmp_path / "found.json").n_seeds == 2
    code, shown = command(monkeypatch, capsys, *arguments, "--json", "-")
    assert code == 0 and json.loads(shown.out)["protocol"]["n_steps"] == 6
    code, shown = command(monkeypatch, capsys, *arguments, "--json", tmp_path / "both", "--store", tmp_path / "both")
    assert code == 2 and "--json must be another file than the folder of --store" in " ".join(shown.err.split())
    code, shown = command(monkeypatch, capsys, "compare", "zhu2019-fig4")
    assert code == 2 and "FIGURE must be one of zhu2019-fig3" in " ".join(shown.err.split())
    code, shown = command(monkeypatch, capsys, "compare", "wu2020-fig1", "--budget", "full", "--data-dir", tmp_path, "--seeds", 1)
    assert code == 2 and "folder must hold train-images" in " ".join(shown.err.split())
    assert not (tmp_path / METRICS).exists()


@pytest.mark.parametrize(("n_jobs", "workers"), [(None, 2), (1, 1)])
def test_as_many_processes_as_is_asked_for_or_else_as_are_active(monkeypatch, n_jobs, workers):
    """Catches a nested configuration with n_jobs=None, which joblib takes for one."""
    seen = []

    def run(*args, n_jobs, **options):
        backend, active = get_active_backend()
        seen.append((type(backend).__name__, active if n_jobs is None else n_jobs))
        raise KeyboardInterrupt

    monkeypatch.setattr(ensemble, "run", run)
    with parallel_config("threading", n_jobs=2), pytest.raises(KeyboardInterrupt):
        compare(SMALL, 1, rng=1, device="cpu", n_jobs=n_jobs)
    assert seen == [("LokyBackend", workers)]
