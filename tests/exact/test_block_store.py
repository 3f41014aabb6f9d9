"""Finished blocks on disk: a study that was cut off computes exactly what is missing.

It would catch a block that is computed twice or served to another study, damage that passes for data or ends the run, a
study whose result depends on where it was killed, and a store that needs pickle or leaves litter.
"""

import builtins
import errno
import hashlib
import importlib.util
import io
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager

import numpy as np
import pytest

from gradnoise.simulations import ensemble, ornstein_uhlenbeck, toy
from gradnoise.simulations.ensemble import BlockStore, block_store, replacing, whole_files
from gradnoise.simulations.seeds import Stream


def logged(n_paths, generator, log, scale):
    """Normals, and a line in a file for each block that is computed."""
    block = scale * generator.standard_normal(n_paths)
    note(log, block[0].hex())
    return block, np.arange(n_paths, dtype=np.int32)


def note(log, line):
    """Add a line to a file: where a store is given a kernel may do so by a logger alone, as what opens files reads them, too."""
    handler = logging.FileHandler(log)
    handler.emit(logging.makeLogRecord({"msg": line}))
    handler.close()


def logged_too(n_paths, generator, log, scale):
    return logged(n_paths, generator, log, scale)


def made(constant):
    def kernel(n_paths, generator):
        return (np.full(n_paths, constant),)

    return kernel


def applied(n_paths, generator, function):
    return (function(generator.standard_normal(n_paths)),)


def doubled(x):
    return 2 * x


def squared(x):
    return x**2


class Study:
    """Ten paths in blocks of four, four and two."""

    def __init__(self, folder):
        self.store, self.log = folder / "store", folder / "log"

    def run(self, *, kernel=logged, scale=2.0, n_paths=10, rng=5, **how):
        """Return the joined results, and how many blocks were computed."""
        self.log.write_text("")
        rng = rng() if callable(rng) else rng
        options = {"rng": rng, "reduce": ensemble.concatenate, "block_size": 4, "store": self.store, **how}
        joined = ensemble.run(kernel, (str(self.log), scale), n_paths, **options)
        return joined, len(self.log.read_text().splitlines())

    def blocks(self):
        return sorted(self.store.rglob("*.npz"))


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path)


def _same(first, second):
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_second_run_computes_nothing(study, n_jobs):
    first, computed = study.run(n_jobs=n_jobs)
    assert computed == 3
    second, computed = study.run(n_jobs=n_jobs)
    assert computed == 0
    assert _same(first, second)
    without, computed = study.run(store=None)
    assert computed == 3
    assert _same(first, without)


def test_larger_ensemble_shares_the_full_blocks_of_a_smaller_one(study):
    small, _ = study.run(n_paths=10)
    large, computed = study.run(n_paths=15)
    assert computed == 2  # the last block, which had two paths, and a new one
    assert np.array_equal(large[0][:8], small[0][:8])
    assert _same(large, study.run(n_paths=15, store=None)[0])


def _flip_data(path):
    raw = bytearray(path.read_bytes())
    at = raw.index(np.load(path)["array_0"].tobytes())
    raw[at] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("damage", [
    _flip_data,
    lambda path: path.write_bytes(path.read_bytes()[:-200]),
    lambda path: path.write_bytes(path.read_bytes()[:10]),
    lambda path: path.write_bytes(b""),
    lambda path: path.write_text("not a block\n"),
    lambda path: np.savez(path, sha256=np.array("0" * 64), array_0=np.zeros(4), array_1=np.arange(4, dtype=np.int32)),
    lambda path: path.unlink(),
    lambda path: os.truncate(path, 10**13),
    lambda path: np.savez_compressed(path, **np.load(path)),
], ids=["flipped bit", "truncated", "stub", "empty", "text", "wrong checksum", "gone", "huge", "compressed"])  # fmt: skip
@pytest.mark.parametrize("index", [0, 2])
def test_damaged_block_is_computed_again(study, damage, index):
    whole, _ = study.run()
    damage(study.blocks()[index])
    again, computed = study.run()
    assert computed == 1
    assert _same(whole, again)
    assert study.run()[1] == 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs pipes and links")
@pytest.mark.parametrize(
    "make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "folder", "device"]
)
def test_what_is_no_file_in_the_place_of_a_block_is_named(study, make):
    """A pipe would wait for ever, and a device fill the memory."""
    study.run()
    block = study.blocks()[1]
    block.unlink()
    make(block)
    with pytest.raises(ValueError, match=rf"missing block 1 .* what is there is no file: .*{block.name}"):
        study.run()


@pytest.mark.skipif(sys.platform == "win32", reason="needs pipes")
@pytest.mark.parametrize("name", ["study.json", f".gradnoise-{whole_files._host()}-0.tmp"])
def test_a_pipe_among_the_blocks_does_not_hold_up_a_study(study, name):
    whole, _ = study.run()
    pipe = study.blocks()[0].with_name(name)
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    again, computed = study.run()
    assert computed == 0
    assert _same(whole, again)


def test_blocks_that_changed_places_are_computed_again(study):
    whole, _ = study.run(n_paths=8)
    first, second = study.blocks()
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    again, computed = study.run(n_paths=8)
    assert computed == 2 and _same(whole, again)
    assert study.run(n_paths=8)[1] == 0


@pytest.mark.parametrize("other", [{"rng": 6}, {"scale": 3.0}, {"kernel": logged_too}], ids=["seed", "params", "kernel"])
def test_a_block_of_another_study_under_this_name_is_computed_again(study, other):
    whole, _ = study.run()
    ours = study.blocks()
    study.run(**other)
    (theirs,) = {path.parent for path in study.blocks()} - {ours[0].parent}
    shutil.copy(theirs / ours[0].name, ours[0])
    again, computed = study.run()
    assert computed == 1 and _same(whole, again)
    shutil.rmtree(ours[0].parent)
    theirs.rename(ours[0].parent)  # nor are all of them, with the folder
    again, computed = study.run()
    assert computed == 3 and _same(whole, again)


def test_no_flipped_bit_passes_or_ends_the_run(tmp_path):
    """Two bits of each byte of a block: it loads as it was saved, or it counts as missing."""
    store = BlockStore.open(tmp_path, logged, (), Stream.of(1), 4)
    saved = (np.linspace(0, 1, 4), np.arange(4))
    store.save(0, 4, saved)
    (path,) = tmp_path.rglob("*.npz")
    raw, failures, missing = path.read_bytes(), [], 0
    for at in range(len(raw)):
        for bit in (0, 6):
            damaged = bytearray(raw)
            damaged[at] ^= 1 << bit
            path.write_bytes(damaged)
            try:
                with warnings.catch_warnings(action="ignore"):  # NumPy's, on headers that it reads all the same
                    loaded = store.load(0, 4)
            except Exception as error:  # noqa: BLE001, RUF100  any error is the finding
                failures.append((at, bit, repr(error)))
                continue
            if loaded is None:
                missing += 1
            elif not _same(loaded, saved):
                failures.append((at, bit, "passed"))
    assert not failures
    assert missing > len(raw)  # over half of the bits matter


@pytest.mark.parametrize("other", [
    {"scale": 3.0}, {"scale": 2.0 + 1e-15}, {"scale": 2}, {"scale": np.float64(2.0)}, {"scale": np.array([2.0])}, {"rng": 6},
    {"rng": np.random.SeedSequence(5, spawn_key=(0,))}, {"rng": lambda: np.random.Generator(np.random.Philox(5))},
    {"kernel": logged_too}, {"block_size": 2},  # the last block of the other study has two paths too
], ids=[
    "params", "last digit", "kind", "precision", "array", "seed", "spawn key", "bit generator", "kernel", "block size",
])  # fmt: skip
def test_other_studies_share_no_block(study, other):
    study.run()
    expected, all_blocks = study.run(store=None, **other)
    found, computed = study.run(**other)
    assert computed == all_blocks
    assert _same(found, expected)
    assert study.run()[1] == 0
    assert study.run(**other)[1] == 0


def test_equal_parameters_share_blocks(study):
    study.run()
    assert study.run(scale=float("2"), rng=np.random.SeedSequence(5), n_jobs=2)[1] == 0


def noted_beside(n_paths, generator, scale, log):
    return logged(n_paths, generator, log, scale)


def test_what_stands_beside_the_parameters_is_no_part_of_a_study(tmp_path):
    for scale, log in ((2.0, "a"), (2.0, "b"), (3.0, "b")):
        options = {"rng": 5, "reduce": ensemble.concatenate, "store": tmp_path / "store", "block_size": 4}
        ensemble.run(noted_beside, (scale,), 8, beside=(tmp_path / log,), **options)
    assert [len((tmp_path / log).read_text().splitlines()) for log in "ab"] == [2, 2]  # b computes what has another scale


def test_edited_kernel_shares_no_block(tmp_path):
    found = []
    for constant in (2.0, 3.0):
        file = tmp_path / "edited_kernel.py"
        file.write_text(f"import numpy as np\ndef kernel(n, generator): return (np.full(n, {constant}),)\n")
        spec = importlib.util.spec_from_file_location("edited_kernel", file)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        exec(compile(file.read_text(), file, "exec"), vars(module))  # the loader would take the edit's bytecode from its cache
        (joined,) = ensemble.run(module.kernel, (), 3, rng=5, reduce=ensemble.concatenate, store=tmp_path / "store")
        found.append(joined[0])
    assert found == [2.0, 3.0]


def test_kernels_typed_into_a_session_are_told_apart_by_their_code(tmp_path):
    found = []
    for constant in (2.0, 3.0, 2.0):
        names = {"np": np, "__name__": "__main__"}
        exec(compile(f"def kernel(n, generator): return (np.full(n, {constant}),)", "<stdin>", "exec"), names)
        (joined,) = ensemble.run(names["kernel"], (), 3, rng=5, reduce=ensemble.concatenate, store=tmp_path)
        found.append(joined[0])
    assert found == [2.0, 3.0, 2.0] and len(list(tmp_path.iterdir())) == 2


def test_kernels_that_close_over_different_numbers_share_no_block(tmp_path):
    found = []
    for constant in (2.0, 3.0):
        (joined,) = ensemble.run(made(constant), (), 3, rng=5, reduce=ensemble.concatenate, store=tmp_path)
        found.append(joined[0])
    assert found == [2.0, 3.0]


def test_a_changed_global_or_helper_shares_no_block(tmp_path):
    """The kernel's own file stays as it is."""
    file = tmp_path / "with_globals.py"
    file.write_text("import numpy as np\ndef kernel(n, generator): return (np.full(n, helper(CONSTANT)),)\n")
    found = []
    for constant, helper in ((2.0, doubled), (3.0, doubled), (3.0, squared), (3.0, doubled)):
        names = {"CONSTANT": constant, "helper": helper, "__name__": "with_globals"}
        exec(compile(file.read_text(), file, "exec"), names)
        (joined,) = ensemble.run(names["kernel"], (), 3, rng=5, reduce=ensemble.concatenate, store=tmp_path / "store")
        found.append(joined[0])
    assert found == [4.0, 6.0, 9.0, 6.0]
    names["CONSTANT"] = (i for i in range(3))
    with pytest.raises(TypeError, match=r"CONSTANT \(read by kernel\) must be something whose content can be followed"):
        ensemble.run(names["kernel"], (), 3, rng=5, reduce=ensemble.concatenate, store=tmp_path / "store")


def test_a_relative_store_is_the_same_folder_for_workers_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = BlockStore.open("blocks", logged, (), Stream.of(1), 4)
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")  # a dask worker has a working directory of its own
    store.save(0, 4, (np.arange(4.0),))
    assert [path.name for path in tmp_path.glob("blocks/*/block-*.npz")] == ["block-00000000-4.npz"]


def test_unwritable_store_is_named(study, tmp_path):
    (tmp_path / "file").write_text("")
    for below in ("file", "file/store"):
        with pytest.raises(ValueError, match=r"^store must be a folder that can be written, got .*file"):
            study.run(store=tmp_path / below)
    assert study.log.read_text() == ""  # it was found before anything was computed


def test_parameter_that_cannot_be_followed_is_named(study):
    with pytest.raises(TypeError, match=r"^params\[1\]\['scale'\] must be .* got generator"):
        study.run(scale={"scale": (i for i in range(3))})


def _refuse_to_write(monkeypatch, number=errno.EROFS):
    """A disk that gives all that is on it and takes nothing, whichever way it is asked; a folder's modes do not stop root."""
    real = builtins.open

    def read_only(path, mode="r", *args, **options):
        if set(mode) & set("wxa+"):
            raise OSError(number, os.strerror(number), os.fspath(path))
        return real(path, mode, *args, **options)

    def refused(path, *args, **options):
        raise OSError(number, os.strerror(number), os.fspath(path))

    monkeypatch.setattr(builtins, "open", read_only)
    monkeypatch.setattr(io, "open", read_only)
    for name in ("mkdir", "unlink", "remove", "replace", "rename"):
        monkeypatch.setattr(os, name, refused)


def test_a_complete_store_is_read_from_a_read_only_disk_and_one_that_is_not_is_named(tmp_path, monkeypatch):
    def run():
        return ensemble.run(applied, (doubled,), 10, rng=5, reduce=ensemble.concatenate, block_size=4, store=tmp_path)

    whole = run()
    (folder,) = tmp_path.iterdir()
    (folder / "study.json").unlink()  # it is for readers only
    with monkeypatch.context() as disk:
        _refuse_to_write(disk)
        assert _same(run(), whole)
    (folder / "block-00000001-4.npz").unlink()
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    monkeypatch.setattr(BlockStore, "save", lambda *block: pytest.fail("a block was computed in vain"))
    with pytest.raises(ValueError, match=rf"^store must have room, and be writable, for the missing block 1 in .*{folder.name}"):
        run()


class _FullDisk:
    """A file with room for a few bytes."""

    def __init__(self, file, number):
        self._file, self._number = file, number

    def write(self, data):
        raise OSError(self._number, os.strerror(self._number))

    def __getattr__(self, name):
        return getattr(self._file, name)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # NumPy 2.0 leaves an archive open that fails
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO])
def test_a_disk_that_fills_up_is_named_with_what_to_do(study, monkeypatch, number):
    @contextmanager
    def full(path, *, sweep=True):
        with replacing(path, sweep=sweep) as file:
            yield _FullDisk(file, number) if path.name.startswith("block-00000001") else file

    message = rf"^store must have room.* for the missing block 1 in .*{study.store.name}.*{os.strerror(number)}.*: free space"
    with monkeypatch.context() as disk:
        disk.setattr(block_store, "replacing", full)
        with pytest.raises(ValueError, match=message):
            study.run()
    assert [path.name for path in study.store.rglob(".*")] == []
    assert study.run()[1] == 2  # the first block was finished


LIMITED = """
import resource, sys
import joblib
import numpy as np
from gradnoise.simulations import ensemble

def kernel(n_paths, generator):
    return (generator.standard_normal((n_paths, 1000)),)

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))  # the workers have it, too
    with joblib.parallel_config("loky", n_jobs=2):
        try:
            ensemble.run(kernel, (), 20, rng=1, reduce=ensemble.concatenate, block_size=5, store=sys.argv[1])
        except ValueError as error:
            print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit of files' sizes")
def test_the_error_of_a_full_disk_comes_back_from_a_process(tmp_path):
    (tmp_path / "script.py").write_text(LIMITED)
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "store")]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.match(r"store must have room.* missing block \d in .*store.*File too large", found), found


def test_files_are_whole_and_need_no_pickle(study):
    study.run()
    (folder,) = study.store.iterdir()
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["block-00000000-4.npz", "block-00000001-4.npz", "block-00000002-2.npz", "study.json"]
    for path in study.blocks():
        with np.load(path, allow_pickle=False) as archive:
            assert all(archive[name].dtype.kind in "fiU" for name in archive.files)


def test_public_studies_resume_from_a_store(tmp_path):
    def run_toy(store):
        return toy.simulate("gld_const", 2500, rng=1, n_steps=5, record=("loss",), store=store)

    def run_ou(store):
        return ornstein_uhlenbeck.simulate(np.eye(2), np.eye(2), 1.0, 20_000, rng=1, deltas=[0.5], store=store)

    for run, show in ((run_toy, lambda r: (r.final.tobytes(), r.loss.tobytes())), (run_ou, lambda r: repr(r.to_dict()))):
        folder = tmp_path / run.__name__
        first = show(run(folder))
        times = {path: path.stat().st_mtime_ns for path in folder.rglob("*.npz")}
        assert len(times) == 3
        min(times).unlink()
        assert show(run(folder)) == first == show(run(None))
        after = {path: path.stat().st_mtime_ns for path in folder.rglob("*.npz")}
        assert [path for path in times if after[path] != times[path]] == [min(times)]


KERNEL = '''
import itertools, logging, os, time

COUNT = itertools.count(1)

def kernel(n_paths, generator, folder, stop_after):
    """Log the block; once there are enough lines, wait to be killed."""
    block = generator.standard_normal(n_paths)
    handler = logging.FileHandler(f"{folder}/log")
    handler.emit(logging.makeLogRecord({"msg": f"{block[0].hex():>39}"}))
    handler.close()
    if next(COUNT) >= stop_after:
        while os.access(f"{folder}/hold", os.F_OK):
            time.sleep(0.01)
    return (block,)
'''
SCRIPT = """
import hashlib, sys
from gradnoise.simulations import ensemble
from resumed_kernel import kernel

folder, store, n_jobs = sys.argv[1:]
how = {"rng": 5, "reduce": ensemble.concatenate, "n_jobs": int(n_jobs), "block_size": 5, "store": store}
(joined,) = ensemble.run(kernel, (folder, 7), 58, **how)
print(hashlib.sha256(joined.tobytes()).hexdigest())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_killed_study_computes_exactly_the_missing_blocks(tmp_path, n_jobs):
    (tmp_path / "resumed_kernel.py").write_text(KERNEL)
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "hold").touch()
    log = tmp_path / "log"
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path), str(tmp_path / "store"), str(n_jobs)]

    with subprocess.Popen(command, stdout=subprocess.PIPE) as killed:
        try:
            deadline = time.monotonic() + 60
            while not (log.exists() and len(log.read_text().splitlines()) >= 7) and time.monotonic() < deadline:
                assert killed.poll() is None
                time.sleep(0.01)
        finally:
            os.kill(killed.pid, signal.SIGKILL)
        assert killed.communicate()[0] == b""
    done = {int(path.name.split("-")[1]) for path in (tmp_path / "store").rglob("block-*.npz")}
    assert 0 < len(done) < 7  # a block that waits is not finished

    (tmp_path / "hold").unlink()
    log.unlink()
    resumed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    sizes = [5] * 11 + [3]
    blocks = [Stream.of(5).generator(i).standard_normal(size) for i, size in enumerate(sizes)]
    assert sorted(log.read_text().split()) == sorted(b[0].hex() for i, b in enumerate(blocks) if i not in done)
    assert resumed == [hashlib.sha256(np.concatenate(blocks).tobytes()).hexdigest()]

    log.unlink()
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == resumed
    assert not log.exists()  # nothing was left to compute


def test_functions_among_the_parameters_are_told_apart(tmp_path):
    options = {"rng": 5, "reduce": ensemble.concatenate, "block_size": 4, "store": tmp_path}
    (first,) = ensemble.run(applied, (doubled,), 4, **options)
    (second,) = ensemble.run(applied, (squared,), 4, **options)
    np.testing.assert_array_equal(first**2, 4 * second)
    assert len(list(tmp_path.iterdir())) == 2
