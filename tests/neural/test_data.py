"""Readers of the official formats, on files that are written here, and models.

They would catch a transposed image, a label taken from the wrong byte, a file that is cut off, damaged or another one, one that
inflates to more than a data set can hold, labels that it cannot have, and a corrupted label that is right.
"""

import functools
import gzip
import hashlib
import http.server
import io
import os
import struct
import subprocess
import sys
import tarfile
import threading
import tracemalloc
import zlib
from dataclasses import replace
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
        (lambda b: b[:-7], "must be a whole file that can be read, got Compressed file ended"),
        (lambda b: gzip.compress(gzip.decompress(b)[:-3]), "is it cut off"),
        (lambda b: gzip.compress(gzip.decompress(b)[:6]), "is it cut off"),
        (lambda b: b"<html>", "must be an IDX file of bytes with 3 axes, got one that starts with b'<htm'"),
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
    with pytest.raises(ValueError, match=r"labels of cifar10 in .*test_batch\.bin must be among 0 to 9, got 11"):
        data.load("cifar10", tmp_path)


def test_svhn(tmp_path):
    images = RNG.integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
    for part in ("train", "test"):
        savemat(tmp_path / f"{part}_32x32.mat", {"X": images, "y": np.array([[1], [10], [3], [9]], dtype=np.uint8)})
    found = data.load("svhn", tmp_path)
    assert found.train_labels.tolist() == [1, 0, 3, 9]
    np.testing.assert_allclose(found.train_inputs[2, 1] * 255, images[:, :, 1, 2], atol=1e-4)
    (tmp_path / "test_32x32.mat").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"test_32x32\.mat must be a whole MATLAB 5 file"):
        data.load("svhn", tmp_path)


def cifar(folder, name, labels):
    """Binary records with a label each, or a coarse one and a fine one."""
    labels = np.asarray(labels, dtype=np.uint8).reshape(len(labels), -1)
    pixels = RNG.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
    (folder / name).write_bytes(np.hstack([labels, pixels]).tobytes())


def svhn(folder, labels, parts=("train", "test"), n=None, **options):
    labels = np.asarray(labels)
    images = RNG.integers(0, 256, (32, 32, 3, len(labels) if n is None else n), dtype=np.uint8)
    for part in parts:
        savemat(folder / f"{part}_32x32.mat", {"X": images, "y": labels[:, np.newaxis]}, **options)


@pytest.fixture
def all_of_them(fashion):
    """All data sets, small."""
    folder, _ = fashion
    for k in range(1, 6):
        cifar(folder, f"data_batch_{k}.bin", [k, 9])
    cifar(folder, "test_batch.bin", [0, 1, 2])
    cifar(folder, "train.bin", [[19, 99], [0, 0]])
    cifar(folder, "test.bin", [[3, 4]])
    svhn(folder, [1, 10, 5], parts=("train",), do_compression=True)
    svhn(folder, [7, 2], parts=("test",))
    return folder


FILES = {
    "fashion-mnist": ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz",
                      "t10k-labels-idx1-ubyte"],
    "cifar10": ["data_batch_3.bin", "test_batch.bin"],
    "cifar100": ["train.bin", "test.bin"],
    "svhn": ["train_32x32.mat", "test_32x32.mat"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "file"), [(name, file) for name, files in FILES.items() for file in files])
def test_whatever_is_wrong_with_a_file_is_said_of_it(all_of_them, name, file):
    """Flipped bytes, any length, nothing, and other programs' files: the right numbers of images, or an error that names it.

    It would catch any exception of gzip, zlib, struct or the .mat reader that is not turned into a ValueError.
    """
    path, rng = all_of_them / file, np.random.default_rng(7)
    whole, content = data.load(name, all_of_them), path.read_bytes()
    lengths = len(whole.train_labels), len(whole.test_labels)
    flips = rng.integers(0, len(content), 60), rng.integers(1, 256, 60)
    damaged = [content[:at] + bytes([content[at] ^ by]) + content[at + 1 :] for at, by in zip(*map(list, flips), strict=True)]
    damaged += [content[:size] for size in (0, 1, 2, 4, 9, *rng.integers(0, len(content), 10))]
    damaged += [content + content, gzip.compress(content), b"PK\x03\x04" + content, bytes(len(content)), b"\x1f\x8b" + content]
    refused = 0
    for other in damaged:
        path.write_bytes(other)
        try:
            found = data.load(name, all_of_them)
        except ValueError as error:
            refused += 1
            assert file in str(error), error
        else:
            # A pixel or a label was hit that no checksum covers, or records were added.
            assert found.train_inputs.max() <= 1 and (len(found.train_labels), len(found.test_labels)) >= lengths
    assert refused >= 15


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("fashion-mnist", lambda d: (d / "t10k-labels-idx1-ubyte").write_bytes(idx(np.array([3, 10, 4], np.uint8))),
         r"labels of fashion-mnist in .*t10k-labels-idx1-ubyte must be among 0 to 9, got 10"),
        ("fashion-mnist", lambda d: (d / "train-images-idx3-ubyte.gz").write_bytes(idx(np.zeros((5, 32, 32), np.uint8))),
         r"train-images-idx3-ubyte\.gz must have shape \(n, 28, 28\), got \(5, 32, 32\)"),
        ("cifar10", lambda d: cifar(d, "data_batch_4.bin", [255]), r"data_batch_4\.bin must be among 0 to 9, got 255"),
        ("cifar100", lambda d: cifar(d, "test.bin", [[0, 100]]), r"labels of cifar100 .* must be among 0 to 99, got 100"),
        ("cifar100", lambda d: cifar(d, "test.bin", [[20, 0]]), r"coarse labels of cifar100 .* must be among 0 to 19, got 20"),
        ("svhn", lambda d: svhn(d, [1.0, 2.5]), r"labels of svhn in .*train_32x32\.mat must be among 1 to 10, got 2\.5"),
        ("svhn", lambda d: svhn(d, [1.0, np.nan], ("test",)), r"labels of svhn in .*test_32x32\.mat must be .*, got nan"),
        ("svhn", lambda d: svhn(d, [0, 1]), "must be among 1 to 10, got 0"),
        ("svhn", lambda d: svhn(d, [-1, 1]), "must be among 1 to 10, got -1"),
        ("svhn", lambda d: svhn(d, [1, 2], n=3), r"got X of shape \(32, 32, 3, 3\) and y of shape \(2, 1\)"),
        ("svhn", lambda d: savemat(d / "test_32x32.mat", {"X": "pixels", "y": np.ones((1, 1))}), "X and y of char and double"),
        ("svhn", lambda d: savemat(d / "test_32x32.mat", {"X": np.ones((32, 32, 3, 1)), "y": np.ones((1, 1))}),
         r"images of svhn in .* must be bytes of shape \(3, 32, 32\), got float64"),
        ("svhn", lambda d: savemat(d / "test_32x32.mat", {"Z": np.ones((1, 1))}), "test_32x32.mat must be .*, got 'X'"),
    ],
)  # fmt: skip
def test_labels_and_shapes_that_a_data_set_cannot_have(all_of_them, name, spoil, message):
    spoil(all_of_them)
    with pytest.raises(ValueError, match=message):
        data.load(name, all_of_them)
    found = {a.name: a.problem for a in fetch.available(all_of_them)}
    assert found.pop(name) and not any(found.values())  # the rest is there


def test_no_more_is_read_than_a_data_set_can_hold(all_of_them):
    """A bomb of 100 kB that inflates to 100 MB, a header that promises terabytes, and a part in the place of the other."""
    labels = all_of_them / "train-labels-idx1-ubyte.gz"
    bomb = gzip.compress(idx(np.zeros(0, np.uint8))[:4] + struct.pack(">I", 2**32 - 1) + bytes(100_000_000))
    labels.write_bytes(bomb)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"train-labels-idx1-ubyte\.gz must have at most 60008 bytes unpacked"):
        data.load("fashion-mnist", all_of_them)
    assert tracemalloc.get_traced_memory()[1] < 60_000_000  # images can be of 47 MB
    tracemalloc.stop()
    labels.write_bytes(struct.pack(">HBBI", 0, 8, 1, 2**32 - 1) + bytes(5))
    with pytest.raises(ValueError, match=r"must have 4294967303 bytes for shape \(4294967295,\), got 13"):
        data.load("fashion-mnist", all_of_them)
    cifar(all_of_them, "data_batch_1.bin", [3] * 10_001)
    with pytest.raises(ValueError, match=r"data_batch_1\.bin must have at most 30730000 bytes, got more"):
        data.load("cifar10", all_of_them)
    header, zeros = (all_of_them / "test_32x32.mat").read_bytes()[:128], zlib.compress(bytes(90_000_000))
    (all_of_them / "test_32x32.mat").write_bytes(header + struct.pack("<II", 15, len(zeros)) + zeros)
    with pytest.raises(ValueError, match=r"test_32x32\.mat must be .*, got a part that does not end within 80\d+ bytes"):
        data.load("svhn", all_of_them)


def test_a_data_set_of_ones_own_is_checked():
    digits = data.load()
    for wrong, message in (
        ({"train_inputs": digits.train_inputs * np.float32(np.nan)}, "train_inputs must be between 0 and 1, got nan"),
        ({"train_inputs": digits.train_inputs[:5]}, "train_labels must be one for each of 5 images, got 1200"),
        ({"test_inputs": digits.test_inputs[:, :, 1:]}, "must be images of one shape"),
        ({"test_inputs": digits.test_inputs.astype(float)}, "test_inputs and test_labels must be ndarrays of float32 and int64"),
        ({"test_labels": np.ma.masked_equal(digits.test_labels, 3)}, "test_inputs and test_labels must be ndarrays"),
        ({"test_labels": digits.test_labels - 1}, "test_labels must be among 0 to 9, got -1"),
        ({"n_classes": 9}, "train_labels must be among 0 to 8, got 9"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            replace(digits, **wrong)


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
        (lambda: data.corrupt([0, 1, 10], 1, 10, rng=0), "labels must be among 0 to 9, got 10"),
        (lambda: data.corrupt([0.5], 1, 10, rng=0), r"labels must be among 0 to 9, got 0\.5"),
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
    inside = place / "cifar-10-batches-bin"
    (inside / "data_batch_2.bin").write_bytes(record[:1000])  # as where the disk was full while it was unpacked
    (inside / "test_batch.bin").unlink()
    fetch.fetch("cifar10", place)
    assert data.load("cifar10", place).train_labels.tolist() == [3] * 5
    (published / "cifar-10-binary.tar.gz").write_bytes(content)
    (place / "cifar-10-binary.tar.gz").write_bytes(content[:-100])  # of a download that was cut off
    fetch.fetch("cifar10", place)
    assert (place / "cifar-10-binary.tar.gz").read_bytes() == content

    (published / "cifar-10-binary.tar.gz").write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"cifar-10-binary\.tar\.gz could not be fetched"):
        fetch.fetch("cifar10", tmp_path / "other")
    assert not list((tmp_path / "other").iterdir())  # nothing is left of another file than the published one
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


def test_the_name_of_a_folder_is_no_markup(tmp_path, monkeypatch, capsys):
    """It would catch a path that is printed as rich's markup, which a bracket makes a traceback of."""
    monkeypatch.setattr("sys.argv", ["gradnoise", "data", "--data-dir", str(tmp_path / "[/red]")])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code and "[/red]" in "".join(capsys.readouterr().out.split())


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


# In a process of its own, which may crash: the type of the pixels, and of the labels, and whether they are complex.
DAMAGED = """
import io, sys
from pathlib import Path
import numpy as np
from scipy.io import savemat
from gradnoise.simulations.neural.data_files import read_mat

plain = io.BytesIO()
savemat(plain, {"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.arange(1, 5, dtype=np.uint8)[:, np.newaxis]})
file = Path(sys.argv[1])
file.write_bytes(plain.getvalue())
assert read_mat(file, (32, 32, 3), 9)[1].tolist() == [1, 2, 3, 4]
for place, value in [(184, 63), (12_528, 200), (145, 8), (145, 200), (188, 255), (168, 77)]:
    content = bytearray(plain.getvalue())
    content[place] = value
    file.write_bytes(content)
    try:
        print(read_mat(file, (32, 32, 3), 9))
    except ValueError as error:
        assert "must be a whole MATLAB 5 file with numbers X and y, got" in str(error)
"""


def test_a_matlab_file_that_is_damaged_does_not_crash_its_reader(tmp_path):
    """SciPy's reader believes what stands before an array: of an unknown type, or of complex numbers, it reads beyond the end."""
    done = subprocess.run([sys.executable, "-c", DAMAGED, str(tmp_path / "damaged.mat")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
