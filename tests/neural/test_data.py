"""Readers of the official formats, on files that are written here, and models.

They would catch a transposed image, a label taken from the wrong byte, a file that is cut off or another one, and a corrupted
label that is right.
"""

import functools
import gzip
import hashlib
import http.server
import io
import os
import struct
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")

from gradnoise.cli.main import main
from gradnoise.simulations.neural import data, fetch, models
from gradnoise.theory import curvature

RNG = np.random.default_rng(0)


def idx(array):
    return struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def fashion(tmp_path):
    """Files as they are published, one of them unpacked."""
    arrays = {}
    for part, n in (("train", 5), ("t10k", 3)):
        arrays[part] = RNG.integers(0, 256, (n, 28, 28), dtype=np.uint8), RNG.integers(0, 10, n, dtype=np.uint8)
        for array, kind in zip(arrays[part], ("images-idx3", "labels-idx1"), strict=True):
            (tmp_path / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(idx(array)))
    packed = tmp_path / "t10k-labels-idx1-ubyte.gz"
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    return tmp_path, arrays


def test_fashion_mnist(fashion, monkeypatch):
    folder, arrays = fashion
    monkeypatch.setenv("GRADNOISE_DATA", str(folder))
    found = data.load("fashion-mnist")
    assert found.train_inputs.shape == (5, 1, 28, 28) and found.train_inputs.dtype == np.float32
    np.testing.assert_allclose(found.train_inputs[:, 0] * 255, arrays["train"][0], atol=1e-4)
    np.testing.assert_array_equal(found.test_labels, arrays["t10k"][1])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: b[:-7], "must be a whole gzip file"),
        (lambda b: gzip.compress(gzip.decompress(b)[:-3]), "is it cut off"),
        (lambda b: gzip.compress(gzip.decompress(b)[:6]), "is it cut off"),
        (lambda b: b"<html>", "must be an IDX file of bytes, got one that starts with b'<htm'"),
        (lambda b: gzip.compress(idx(np.zeros((4, 28, 28), dtype=np.uint8))), "an image for each label"),
        (None, "folder must hold train-images-idx3-ubyte or train-images-idx3-ubyte.gz"),
    ],
)
def test_damaged_files_are_named(fashion, damage, message):
    folder, _ = fashion
    file = folder / "train-images-idx3-ubyte.gz"
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=message):
        data.load("fashion-mnist", folder)


def test_cifar(tmp_path):
    images = RNG.integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)
    inside = tmp_path / "cifar-10-batches-bin"
    inside.mkdir()
    for name in (*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"):
        (inside / name).write_bytes(b"".join(bytes([k]) + image.tobytes() for k, image in enumerate(images)))
    found = data.load("cifar10", tmp_path)
    assert found.train_inputs.shape == (20, 3, 32, 32) and found.test_labels.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(found.test_inputs * 255, images, atol=1e-4)
    for name in ("train.bin", "test.bin"):
        (tmp_path / name).write_bytes(b"".join(bytes([1, 90 + k]) + image.tobytes() for k, image in enumerate(images)))
    assert data.load("cifar100", tmp_path).train_labels.tolist() == [90, 91, 92, 93]
    (inside / "test_batch.bin").write_bytes(b"\0" * 3000)
    with pytest.raises(ValueError, match=r"test_batch\.bin must be records of 3073 bytes, got 3000"):
        data.load("cifar10", tmp_path)
    (inside / "test_batch.bin").write_bytes(b"\x0b" * 3073)
    with pytest.raises(ValueError, match="must be below 10, got 11"):
        data.load("cifar10", tmp_path)


def test_svhn(tmp_path):
    images = RNG.integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
    for part in ("train", "test"):
        savemat(tmp_path / f"{part}_32x32.mat", {"X": images, "y": np.array([[1], [10], [3], [9]], dtype=np.uint8)})
    found = data.load("svhn", tmp_path)
    assert found.train_labels.tolist() == [1, 0, 3, 9]
    np.testing.assert_allclose(found.train_inputs[2, 1] * 255, images[:, :, 1, 2], atol=1e-4)
    (tmp_path / "test_32x32.mat").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"test_32x32\.mat must be a \.mat file"):
        data.load("svhn", tmp_path)


def test_digits_and_parts_of_them():
    digits = data.load()
    assert (len(digits.train_labels), len(digits.test_labels)) == (1200, 597) and digits.train_inputs.max() == 1
    part = data.subset(digits, 50, 20, rng=1)
    assert np.bincount(part.train_labels).tolist() == [5] * 10 and np.bincount(part.test_labels).tolist() == [2] * 10
    again = data.subset(digits, 50, 20, rng=1)
    np.testing.assert_array_equal(part.train_inputs, again.train_inputs)
    assert len(np.unique(part.train_inputs.reshape(50, -1), axis=0)) == 50
    assert not np.array_equal(part.train_inputs, data.subset(digits, 50, 20, rng=2).train_inputs)


def test_corrupted_labels():
    labels = np.repeat(np.arange(10), 30)
    wrong = data.corrupt(labels, 100, 10, rng=1)
    assert (wrong != labels).sum() == 100 and set(wrong) == set(range(10))
    uniform = data.corrupt(labels, 300, 10, rng=1, kind="uniform")
    assert 240 < (uniform != labels).sum() < 295  # of 300 a tenth stays right: 270, with a standard deviation of 5
    np.testing.assert_array_equal(data.corrupt(labels, 0, 10, rng=1), labels)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.load("mnist"), "name must be one of digits, fashion-mnist"),
        (lambda: data.load("svhn"), "folder must name the place of the files of svhn, or the variable GRADNOISE_DATA must"),
        (lambda: data.corrupt(np.zeros(3), 4, 10, rng=0), "n_corrupted must be between 0 and 3"),
        (lambda: data.subset(data.load(), 2000, rng=0), "n_train must be between 1 and 1200"),
        (lambda: models.perceptron(4, 2, activation="sine"), "activation must be one of relu, tanh"),
        (lambda: models.ClippedPerceptron(2, 4, 0.5), "delta must be < 0.5"),
    ],
)
def test_bad_arguments_are_named(call, message, monkeypatch):
    monkeypatch.delenv("GRADNOISE_DATA", raising=False)
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.skipif("GRADNOISE_DATA" not in os.environ, reason="GRADNOISE_DATA names no folder")
def test_the_real_files():
    found = data.load("fashion-mnist", Path(os.environ["GRADNOISE_DATA"]))
    assert found.train_inputs.shape[1:] == (1, 28, 28) and set(found.train_labels) == set(range(10))


@pytest.fixture
def server(tmp_path):
    """Serve a folder over HTTP on this machine."""
    folder = tmp_path / "published"
    folder.mkdir()
    handler = functools.partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{httpd.server_port}/"
        httpd.shutdown()
        thread.join()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


def test_files_are_fetched_once_unpacked_and_checked(server, tmp_path, monkeypatch):
    published, url = server
    record = bytes([3]) + bytes(range(256)) * 12
    with tarfile.open(published / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for name in (*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"):
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(record)
            archive.addfile(member, io.BytesIO(record))
    content = (published / "cifar-10-binary.tar.gz").read_bytes()
    source = fetch.Source(url, {"cifar-10-binary.tar.gz": hashlib.sha256(content).hexdigest()})
    monkeypatch.setitem(fetch.SOURCES, "cifar10", source)
    place = tmp_path / "mine"
    assert fetch.fetch("cifar10", place) == place
    assert data.load("cifar10", place).train_labels.tolist() == [3] * 5
    assert {a.name for a in fetch.available(place) if not a.problem} == {"digits", "cifar10"}
    (published / "cifar-10-binary.tar.gz").unlink()
    fetch.fetch("cifar10", place)  # nothing is downloaded again

    (published / "cifar-10-binary.tar.gz").write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"cifar-10-binary\.tar\.gz could not be fetched"):
        fetch.fetch("cifar10", tmp_path / "other")
    with pytest.raises(ValueError, match="name must be one of fashion-mnist"):
        fetch.fetch("mnist", place)


def test_the_command_lists_what_is_there(fashion, monkeypatch, capsys):
    folder, _ = fashion
    monkeypatch.setattr("sys.argv", ["gradnoise", "data", "--data-dir", str(folder)])
    with pytest.raises(SystemExit) as end:
        main()
    lines = capsys.readouterr().out.splitlines()
    assert not end.value.code
    assert any("digits" in line and "1200" in line and "ready" in line for line in lines)
    assert any("fashion-mnist" in line and "ready" in line for line in lines)
    assert any("svhn" in line and "folder must hold" in line for line in lines)


def test_sizes_of_the_networks():
    def count(model):
        return sum(p.numel() for p in model.parameters())

    assert count(models.lenet()) == 11_330  # zhu2019, Section 5.3
    assert models.lenet()(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    assert count(models.perceptron(64, 10, (32, 16))) == 64 * 32 + 32 + 32 * 16 + 16 + 16 * 10 + 10
    assert models.perceptron(64, 10, activation="tanh")(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_the_clipped_network_is_that_of_the_theory():
    model = models.ClippedPerceptron(2, 6, 0.1).double()
    x = torch.randn(20, 2, dtype=torch.float64)
    labels = np.arange(20) % 2
    inputs = np.column_stack([x.numpy(), np.ones(20)])
    theory = curvature.ClippedNetwork(inputs, labels, model.output_weights.numpy(), 0.1)
    weights = torch.cat([model.hidden.weight, model.hidden.bias[:, None]], dim=1).detach().numpy()
    np.testing.assert_allclose(model(x).detach().numpy() - labels, theory.residuals(weights), atol=1e-12)
