"""How an ensemble is cut into blocks, seeded, run and reduced.

It would catch a result that depends on the number of workers or on the backend, blocks whose streams are shared or depend on
the size of the ensemble, a seed that is used up or not recorded, a reduction that sees blocks out of order or all at once,
and progress that miscounts or lands in stdout. It would also catch memory that grows with the number of blocks, workers without
number, a backend that cannot run blocks, and a killed worker that is waited for.
"""

import decimal
import functools
import hashlib
import io
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings
import weakref
from typing import Any, cast

import joblib
import numpy as np
import pytest

from gradnoise.simulations import ensemble, ornstein_uhlenbeck, sampling, toy
from gradnoise.simulations.ensemble import driver
from gradnoise.simulations.ensemble.block import as_block
from gradnoise.simulations.seeds import RNG, Stream
from gradnoise.theory.sampling import GaussianMinibatch

H, SIGMA = [[2.0, 0.3], [0.3, 1.0]], [[1.0, -0.4], [-0.4, 0.5]]


def _digest(*parts):
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.tobytes() if isinstance(part, np.ndarray) else json.dumps(part).encode())
    return digest.hexdigest()


def _toy(rng: RNG = 11, **how):
    records = ("trajectory", "indicator", "loss")
    r = toy.simulate("gld_leading", 2500, rng=rng, n_steps=30, noise_power=0.3, n_data=8, record=records, **how)
    return _digest(r.success, r.escape_step, r.final, r.trajectory, r.indicator, r.loss)


def _ornstein_uhlenbeck(rng: RNG = 11, **how):
    r = ornstein_uhlenbeck.simulate(H, SIGMA, 1.0, 20_000, rng=rng, method="euler", step_size=0.1, deltas=[0.1, 0.5], **how)
    skewness = r.loss.skewness
    found = r.to_dict()
    return _digest({k: found[k] for k in ("loss", "exceedance", "covariance", "covariance_error")}, skewness)


def _expectations(rng: RNG = 11, **how):
    # A ufunc as the statistic, because worker processes can import it whatever the test module is called there.
    found = sampling.expectations(GaussianMinibatch(5, 3, 2.0), np.square, 10_000, rng=rng, **how)
    return _digest([[e.value, e.standard_error, e.n, e.skewness] for e in found])


STUDIES = {"toy": _toy, "ornstein_uhlenbeck": _ornstein_uhlenbeck, "expectations": _expectations}  # none fills its last block


def normals(n_paths, generator):
    return (generator.standard_normal(n_paths),)


def late_first_block(n_paths, generator, calls):
    calls.append(n_paths)
    if len(calls) == 1:
        time.sleep(0.1)  # so that the first block is finished last
    return normals(n_paths, generator)


def zeros(n_paths, generator):
    return (np.zeros(n_paths),)


@pytest.fixture
def references(monkeypatch):
    """Weak references to the blocks that there were."""
    found, made = [], as_block

    def tracked(*args, **options):
        block = made(*args, **options)
        found.extend(weakref.ref(array) for array in block)
        return block

    monkeypatch.setattr(driver, "as_block", tracked)
    return found


def _run(n_paths, *, kernel=normals, params=(), rng: RNG = 7, block_size=4, **how):
    (joined,) = ensemble.run(kernel, params, n_paths, rng=rng, reduce=ensemble.concatenate, block_size=block_size, **how)
    return joined


@pytest.mark.compiled
@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
@pytest.mark.parametrize("n_jobs", [1, 2, 3])
def test_threads_do_not_change_a_bit(study, n_jobs):
    assert study(n_jobs=n_jobs) == study()


@pytest.mark.compiled
@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_processes_do_not_change_a_bit(study):
    with joblib.parallel_config("loky", n_jobs=2):
        in_processes = study()
    assert in_processes == study()


def test_configured_backend_is_used_and_an_explicit_n_jobs_of_one_is_not_parallel():
    def process(n_paths, generator):  # local, so that it is sent by value
        return (np.full(n_paths, os.getpid()),)

    with joblib.parallel_config("loky", n_jobs=2):
        assert os.getpid() not in _run(10, kernel=process)
        assert set(_run(10, kernel=process, n_jobs=1)) == {os.getpid()}
    assert set(_run(10, kernel=process, n_jobs=2)) == {os.getpid()}


def test_a_configured_number_of_workers_counts_without_a_backend():
    def thread(n_paths, generator):
        time.sleep(0.01)  # so that every worker gets some
        return (np.full(n_paths, threading.get_ident()),)

    assert len(set(_run(10, kernel=thread))) == 1
    with joblib.parallel_config(n_jobs=2):
        assert len(set(_run(10, kernel=thread))) == 2
        assert len(set(_run(10, kernel=thread, n_jobs=1))) == 1


@pytest.mark.compiled
@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_another_seed_changes_the_hash(study):
    assert study(rng=12) != study()


def test_block_i_has_the_ith_child_of_the_seed():
    children = np.random.SeedSequence(7).spawn(3)
    expected = [np.random.default_rng(child).standard_normal(size) for child, size in zip(children, (4, 4, 2), strict=True)]
    assert np.array_equal(_run(10), np.concatenate(expected))


@pytest.mark.compiled
@pytest.mark.parametrize("how", [{}, {"n_jobs": 3}], ids=["sequential", "threads"])
def test_first_blocks_of_a_larger_ensemble_are_those_of_a_smaller_one(how):
    assert np.array_equal(_run(23, **how)[:12], _run(12))
    small, large = (toy.simulate("gld_hessian", n, rng=3, n_steps=5, **how).final for n in (2048, 3000))
    assert np.array_equal(large[:2048], small)
    assert len(np.unique(large[:, 0])) == 3000  # no two paths, hence no two blocks, share a stream


@pytest.mark.compiled
def test_int_and_seed_sequence_are_not_used_up():
    sequence = np.random.SeedSequence(5)
    first = _toy(rng=sequence)
    assert first == _toy(rng=sequence) == _toy(rng=5) == _toy(rng=np.int64(5))
    assert sequence.n_children_spawned == 0
    assert _toy(rng=sequence.spawn(1)[0]) != first


@pytest.mark.compiled
@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_generator_spawns_one_child(study):
    generator = np.random.default_rng(5)
    state = generator.bit_generator.state
    first, second = study(rng=generator), study(rng=generator)
    assert first != second
    assert cast(np.random.SeedSequence, generator.bit_generator.seed_seq).n_children_spawned == 2
    assert generator.bit_generator.state == state  # spawned from, not drawn from
    fresh = np.random.default_rng(5)
    assert (study(rng=fresh), study(rng=fresh)) == (first, second)
    assert first == study(rng=np.random.SeedSequence(5).spawn(1)[0])


@pytest.mark.parametrize(("rng", "entropy", "key"), [
    (np.random.SeedSequence(np.int64(5)), 5, ()),  # np.int64 is what an array of seeds holds
    (np.random.default_rng(np.int64(5)), 5, (0,)),
    (np.random.SeedSequence([1, 2], spawn_key=(3,)), [1, 2], (3,)),
    (np.random.SeedSequence(np.array([1, 2])), [1, 2], ()),
], ids=["int64", "generator of int64", "list with a spawn key", "array"])  # fmt: skip
def test_any_entropy_that_numpy_takes_is_kept(rng, entropy, key):
    assert np.array_equal(_run(10, rng=rng), _run(10, rng=np.random.SeedSequence(entropy, spawn_key=key)))


@pytest.mark.parametrize("simulate", [
    lambda rng: toy.simulate("gld_const", 20, rng=rng, n_steps=5),
    lambda rng: ornstein_uhlenbeck.simulate(H, SIGMA, 1.0, 20, rng=rng),
], ids=["toy", "ornstein_uhlenbeck"])  # fmt: skip
class TestRecordedStream:
    @staticmethod
    def _replay(result):
        return np.random.SeedSequence(result.stream.entropy, spawn_key=result.stream.spawn_key)

    @staticmethod
    def _numbers(result):
        return result.final if isinstance(result, toy.ToyResult) else result.covariance

    def test_none_draws_entropy_that_reproduces_the_run(self, simulate):
        first, second = simulate(None), simulate(None)
        assert not np.array_equal(self._numbers(first), self._numbers(second))
        assert np.array_equal(self._numbers(simulate(self._replay(first))), self._numbers(first))

    def test_generator_is_recorded_with_its_spawn_key(self, simulate):
        generator = np.random.default_rng(5)
        simulate(generator)
        second = simulate(generator)
        assert np.array_equal(self._numbers(simulate(self._replay(second))), self._numbers(second))

    def test_recorded_bit_generator_is_the_one_that_was_used(self, simulate):
        philox = simulate(np.random.Generator(np.random.Philox(5)))
        pcg = simulate(np.random.Generator(np.random.PCG64(5)))
        same_numbers = np.array_equal(self._numbers(philox), self._numbers(pcg))
        names = [r.stream.bit_generator for r in (philox, pcg)]
        assert same_numbers == (names[0] == names[1]), names


def test_ensemble_uses_the_bit_generator_of_a_generator():
    expected = np.random.Generator(np.random.Philox(np.random.SeedSequence(5, spawn_key=(0, 0)))).standard_normal(3)
    assert np.array_equal(_run(3, rng=np.random.Generator(np.random.Philox(5))), expected)


@pytest.mark.parametrize(("rng", "error"), [
    ("7", TypeError), (7.0, TypeError), (True, TypeError), (np.random, TypeError), ([1, 2], TypeError), (-1, ValueError),
])  # fmt: skip
def test_bad_rng_is_named(rng, error):
    for call in (_run, sampling.draw, toy.simulate, ornstein_uhlenbeck.simulate):
        arguments = {
            _run: (3,), sampling.draw: (GaussianMinibatch(5, 3, 2.0), 3),
            toy.simulate: ("gd", 3), ornstein_uhlenbeck.simulate: (H, SIGMA, 1.0, 3),
        }[call]  # fmt: skip
        with pytest.raises(error, match=r"^rng "):
            call(*arguments, rng=rng)


@pytest.mark.parametrize("n_jobs", [1, 2, 3])
def test_reduce_sees_blocks_in_the_order_of_their_index(n_jobs):
    calls = []
    kernel = functools.partial(late_first_block, calls=calls)
    blocks = ensemble.run(kernel, (), 22, rng=7, reduce=list, n_jobs=n_jobs, block_size=4)
    assert [len(block) for (block,) in blocks] == [4, 4, 4, 4, 4, 2]
    assert len(calls) == 6
    assert np.array_equal(np.concatenate([block for (block,) in blocks]), _run(22))


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_streaming_reduction_never_holds_all_blocks(n_jobs, references):
    """A reduction that is slower than the kernel must not make finished blocks pile up."""
    alive = []

    def reduce(blocks):
        for _ in blocks:
            time.sleep(0.005)
            alive.append(sum(r() is not None for r in references))

    size = 2**18  # two megabytes: several of them are not computed at a time
    ensemble.run(zeros, (), 80 * size, rng=7, reduce=reduce, n_jobs=n_jobs, block_size=size)
    assert len(alive) == 80
    assert max(alive) <= (2 if n_jobs == 1 else 40)


def test_many_small_blocks_are_computed_several_at_a_time_with_the_same_numbers(monkeypatch):
    """Catches tasks of one block, which take less than it takes to hand them out, and blocks that are lost between tasks."""
    tasks = []

    def timed(compute, blocks):
        tasks.append(len(blocks))
        return _timed(compute, blocks)

    _timed = driver._timed
    monkeypatch.setattr(driver, "_timed", timed)
    assert np.array_equal(_run(3_001, block_size=2, n_jobs=2), _run(3_001, block_size=2, n_jobs=1))
    assert max(tasks) > 4, tasks


def into_one_buffer(n_paths, generator, buffer):
    return (generator.standard_normal(out=buffer[:n_paths]),)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_kernel_may_write_each_block_into_the_same_memory(n_jobs, tmp_path):
    """Catches blocks that are the last one, in all the places where they are kept."""
    kernel, expected = functools.partial(into_one_buffer, buffer=np.zeros(10)), _run(23)
    with joblib.parallel_config("loky", n_jobs=n_jobs):  # threads would share the buffer
        assert np.array_equal(_run(23, kernel=kernel), expected)
        for _ in range(2):
            assert np.array_equal(_run(23, kernel=kernel, store=tmp_path), expected)


def adds_up(n_paths, generator, start):
    start += generator.standard_normal(n_paths).sum()
    return (np.full(n_paths, start[0]),)


def draws_elsewhere(n_paths, generator):
    return (np.random.standard_normal(n_paths),)  # noqa: NPY002


def draws_from_a_parameter(n_paths, generator, other):
    return (other.standard_normal(n_paths),)


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize(
    ("kernel", "params", "message"),
    [
        (adds_up, (np.zeros(1),), "kernel must leave params as they are, as blocks share them, and has changed that at place 0"),
        (draws_from_a_parameter, (np.random.default_rng(1),), "has changed that at place 0, a Generator"),
        (draws_elsewhere, (), "and has drawn from that of numpy.random, which all blocks share"),
        (lambda n, generator: (np.array([random.random()] * n),), (), "has drawn from that of Python's random"),
    ],
)
def test_a_block_that_depends_on_those_before_it_is_refused(kernel, params, message, n_jobs):
    """Catches numbers that are others after a resume, or with other workers."""
    with pytest.raises(ValueError, match=re.escape(message)):
        _run(12, kernel=kernel, params=params, n_jobs=n_jobs)


def digits(n_paths, generator):
    return (np.full(n_paths, float(decimal.Decimal(1) + decimal.Decimal("1e-30") - 1)),)


def test_threads_compute_with_the_digits_of_their_caller():
    with decimal.localcontext() as context:
        context.prec = 60
        assert set(_run(40, kernel=digits, n_jobs=2)) == set(_run(40, kernel=digits)) == {1e-30}
    assert set(_run(40, kernel=digits, n_jobs=2)) == {0.0}


MULTIPLIED = """
import numpy as np
from joblib import parallel_config
from gradnoise.simulations import ensemble

def multiplied(n_paths, generator):
    x = np.random.default_rng(3).standard_normal((n_paths, 5_000))
    return (x @ x[0],)

def run(**how):
    return ensemble.run(multiplied, (), 400, rng=1, reduce=ensemble.concatenate, block_size=100, **how)[0].tobytes()

if __name__ == "__main__":
    with parallel_config("loky", n_jobs=2):
        in_processes = run()
    print(in_processes == run() == run(n_jobs=2))
"""


def test_threads_of_linear_algebra_change_no_bit(tmp_path):
    """Workers have one each, where this process has two."""
    (tmp_path / "multiplied.py").write_text(MULTIPLIED)
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    call = [sys.executable, "multiplied.py"]
    done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "True"


def test_a_reduction_that_raises_ends_the_workers_at_once():
    """Catches threads that are left to the end of the interpreter, which the frames of an error that is kept did."""

    def fails(blocks):
        raise ArithmeticError(len(next(iter(blocks))))

    before = threading.active_count()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # joblib's, that results are not used
        with pytest.raises(ArithmeticError) as kept:
            ensemble.run(normals, (), 100, rng=7, reduce=fails, n_jobs=2, block_size=1)
    assert kept.value.args == (1,)
    deadline = time.monotonic() + 10.0  # they end by themselves once they are told to
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_a_reduction_may_stop_early():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        some = ensemble.run(normals, (), 100, rng=7, reduce=lambda blocks: next(iter(blocks)), n_jobs=2, block_size=4)
    assert np.array_equal(some[0], _run(4))


@pytest.mark.parametrize("first", [np.array([4.0, 5.0]), np.ma.masked_array([4.0, 5.0], mask=[True, False])])
def test_concatenate_keeps_masks(first):
    """Catches `np.concatenate`, after which masked values count."""
    (joined,) = ensemble.concatenate([(first,), (np.ma.masked_array([1.0, 2.0, 3.0], mask=[False, True, False]),)])
    assert np.ma.getmaskarray(joined).tolist() == [*np.ma.getmaskarray(first), False, True, False]
    assert float(joined.sum()) == float(first.sum()) + 4.0


@pytest.mark.parametrize("block", [1.0, (1.0,), ([1.0],), (np.array(["a"]),)])
def test_concatenate_names_what_is_no_block(block):
    with pytest.raises(TypeError, match=r"^blocks must each be a tuple of numeric arrays, got"):
        ensemble.concatenate([block])


def test_concatenate_holds_all_blocks(references):
    """The twin of the test above: what it measures does rise to the number of blocks."""
    alive = []

    def reduce(blocks):
        kept = list(blocks)
        alive.append(sum(r() is not None for r in references))
        return kept

    ensemble.run(zeros, (), 80, rng=7, reduce=reduce, block_size=1)
    assert alive == [80]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_progress_is_told_how_many_paths_are_done(n_jobs):
    told = []
    _run(10, n_jobs=n_jobs, progress=lambda done, total: told.append((done, total)))
    assert told == [(4, 10), (8, 10), (10, 10)]


class _OwnSeeds(np.random.bit_generator.ISeedSequence):
    def generate_state(self, n_words, dtype: Any = np.uint32):
        return np.arange(n_words, dtype=dtype)


def test_generator_that_cannot_spawn_is_named():
    with pytest.raises(ValueError, match=r"^rng "):
        _run(3, rng=np.random.Generator(np.random.PCG64(cast(Any, _OwnSeeds()))))


class _Screen(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self._terminal = terminal

    def isatty(self):
        return self._terminal


@pytest.mark.parametrize(("progress", "terminal", "shown"), [
    (True, True, True), (True, False, True), (False, True, False), (None, False, False), (None, True, False),
])  # fmt: skip
def test_bar_goes_to_stderr(monkeypatch, capsys, progress, terminal, shown):
    """None on a terminal shows nothing here, as the run is over in less than two seconds."""
    monkeypatch.setenv("TERM", "xterm")
    screen = _Screen(terminal)
    monkeypatch.setattr(sys, "stderr", screen)
    _run(10, progress=progress)
    assert ("paths" in screen.getvalue()) == shown
    assert capsys.readouterr().out == ""


class _FirstBlock(Exception):
    pass


def stops(n_paths, generator):
    raise _FirstBlock


def test_block_sizes_are_generated():
    """2^50 paths in blocks of one: a list of the sizes would not fit into any memory."""
    tracemalloc.start()
    try:
        with pytest.raises(_FirstBlock):
            ensemble.run(stops, (), 2**50, rng=1, reduce=list, block_size=1)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_results_that_memory_cannot_hold_are_refused_after_a_block():
    calls = []
    with pytest.raises(ValueError, match=r"^n_paths = 4398046511104 makes results of 32768.0 GiB, allowed are"):
        ensemble.run(functools.partial(late_first_block, calls=calls), (), 2**42, rng=1, reduce=ensemble.concatenate)
    assert len(calls) <= 16  # those that were handed out at once


@pytest.mark.parametrize(("n_jobs", "error"), [
    (0, ValueError), (2**31, ValueError), (-(10**9), ValueError), (10**400, ValueError), (True, TypeError), (1.5, TypeError),
    ("2", TypeError), (float("nan"), TypeError), ([2], TypeError),
])  # fmt: skip
def test_bad_numbers_of_workers_are_named(n_jobs, error):
    with pytest.raises(error, match=r"^n_jobs must be"):
        _run(3, n_jobs=n_jobs)
    if n_jobs in (0, 2**31):
        with joblib.parallel_config("threading", n_jobs=n_jobs), pytest.raises(error, match=r"^n_jobs must be"):
            _run(3)


@pytest.mark.parametrize("n_jobs", [-1, -2, np.int64(2), 128])
def test_usual_numbers_of_workers_are_taken(n_jobs):
    assert np.array_equal(_run(10, n_jobs=n_jobs), _run(10))


def test_a_backend_without_results_one_by_one_is_refused_by_name():
    with joblib.parallel_config("multiprocessing", n_jobs=2), pytest.raises(ValueError, match="MultiprocessingBackend"):
        _run(10)


@pytest.mark.parametrize(("changes", "message"), [
    ({"kernel": 3}, "^kernel must be a function"), ({"params": "ab"}, "^params must be a tuple"),
    ({"beside": "ab"}, "^beside must be a tuple"),
    ({"reduce": None}, "^reduce must be a function"), ({"progress": "yes"}, "^progress must be True, False, None or a function"),
])  # fmt: skip
def test_arguments_of_another_kind_are_named(changes, message):
    arguments = {"kernel": normals, "params": (), "n_paths": 3, "rng": 1, "reduce": list} | changes
    with pytest.raises(TypeError, match=message):
        ensemble.run(**arguments)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: ensemble.as_workers(2, cast(Any, None)), "name must be a string"),
    (lambda: ensemble.callback(cast(Any, None), "float64(float64)"), "function must be a Python function"),
    (lambda: ensemble.callback(cast(Any, np.sin), "float64(float64)"), "function must be a Python function"),
    (lambda: ensemble.callback(normals, "nonsense"), "signature must be one of Numba's, got 'nonsense'"),
    (lambda: ensemble.callback(normals, cast(Any, 3)), "signature must be a string"),
    (lambda: ensemble.check_fits(cast(Any, 1.5), "it"), "n_bytes must be an integer"),
    (lambda: ensemble.check_fits(-1, "it"), "n_bytes must be between 0 and"),
    (lambda: ensemble.check_fits(10**99, "it"), "it of 9"),
    (lambda: ensemble.check_fits(1, cast(Any, None)), "what must be a string"),
    (lambda: ensemble.concatenate(cast(Any, None)), "blocks must be a sequence of blocks"),
    (lambda: ensemble.concatenate(cast(Any, "ab")), "blocks must be a sequence of blocks"),
    (lambda: ensemble.fingerprint(cast(Any, None)), "function must be written in Python"),
    (lambda: ensemble.fingerprint(len), "function must be written in Python"),
    (lambda: ensemble.reporter(None, cast(Any, 1.5), "it").__enter__(), "total must be an integer"),
    (lambda: ensemble.reporter(None, 3, cast(Any, 1)).__enter__(), "description must be a string"),
    (lambda: ensemble.reporter(None, 3, "it", cast(Any, 1)).__enter__(), "unit must be a string"),
    (lambda: ensemble.replacing(cast(Any, 3)).__enter__(), "path must be a path, got 3"),
    (lambda: ensemble.replacing("\0").__enter__(), "path must be a path that a file can have"),
    (lambda: Stream.of(1).child(cast(Any, None)), "key must be an integer"),
    (lambda: Stream.of(1).child(-1), "key must be between 0 and"),
    (lambda: Stream.of(1).generator(cast(Any, "3")), "block must be an integer"),
])  # fmt: skip
def test_what_other_parts_hand_over_is_checked_too(call, message):
    with pytest.raises((ValueError, TypeError), match=f"^{message}"):
        call()


@pytest.mark.parametrize("returned", [
    [np.zeros(4)], (np.ma.array(np.matrix(np.ones((4, 1)))),), (np.array(["a"]),), (1.0,), (np.array([None]),),
], ids=["list", "masked matrix", "strings", "number", "objects"])  # fmt: skip
def test_what_a_kernel_may_not_return_is_named(returned):
    with pytest.raises(TypeError, match=r"^kernel must return a tuple of numeric arrays"):
        _run(4, kernel=lambda n_paths, generator: returned)


@pytest.mark.parametrize("blocks", [
    [(np.zeros(2),), (np.zeros(2), np.zeros(2))], [(np.zeros(2),), (np.zeros((2, 1)),)], [(np.zeros(2),), (np.zeros(2, int),)],
    [(np.float64(1.0),)],
], ids=["number of arrays", "shapes", "dtypes", "no axis"])  # fmt: skip
def test_blocks_that_cannot_be_joined_are_named(blocks):
    with pytest.raises(ValueError, match=r"^blocks must be the same arrays"):
        ensemble.concatenate(tuple(map(np.asarray, block)) for block in blocks)


KILLED = """
import os, signal
import joblib, numpy as np
from gradnoise.simulations import ensemble

def dies(n_paths, generator):
    os.kill(os.getpid(), signal.SIGKILL)

def dies_while_it_sends(n_paths, generator):
    from multiprocessing.connection import Connection
    def half(self, message, write=os.write):
        write(self._handle, bytes(message)[: len(message) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    Connection._send = half
    return (np.zeros(n_paths),)

for kernel in (dies, dies_while_it_sends):
    with joblib.parallel_config("loky", n_jobs=2):
        try:
            ensemble.run(kernel, (), 20, rng=1, reduce=list, block_size=2)
        except ChildProcessError as error:
            print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_worker_ends_the_run():
    """Also one that dies in the middle of its result, for the rest of which joblib would wait for ever."""
    done = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.count("a worker process crashed or was killed") == 2
    assert "a store would keep finished blocks: run again" in done.stdout


GROWN = """
import time, warnings
import joblib, numpy as np
from joblib.externals.loky import process_executor
from gradnoise.simulations import ensemble

def one(n_paths, generator):
    time.sleep(0.05)
    return (np.zeros(n_paths),)

def leaves(self, item, kept=process_executor._ExecutorManagerThread.process_result_item):
    kept(self, item)
    warnings.warn("A worker stopped while some jobs were given to the executor.", UserWarning)

if __name__ == "__main__":
    process_executor._ExecutorManagerThread.process_result_item = leaves
    for action in ("error", "ignore"):
        warnings.simplefilter(action)
        with joblib.parallel_config("loky", n_jobs=2):
            try:
                print(len(ensemble.run(one, (), 60, rng=1, reduce=list, block_size=2)))
            except ChildProcessError as error:
                print(error)
"""


def test_a_thread_of_lokys_that_has_died_ends_the_run(tmp_path):
    """As its warning of a worker that grew too large kills it where warnings are errors; the next run has another."""
    (tmp_path / "grown.py").write_text(GROWN)
    done = subprocess.run([sys.executable, "grown.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
    assert re.match("a worker process crashed or was killed.*\n30$", done.stdout), done.stdout


def test_what_cannot_be_sent_to_a_worker_is_named():
    with (
        joblib.parallel_config("loky", n_jobs=2),
        pytest.raises(TypeError, match=r"kernel and params must be such that worker processes can take them over: .*lock"),
    ):
        _run(10, kernel=late_first_block, params=(threading.Lock(),))


@pytest.mark.parametrize(("arguments", "name"), [
    ({"n_paths": 0}, "n_paths"), ({"n_paths": 3, "block_size": 0}, "block_size"), ({"n_paths": 10**20}, "n_paths"),
    ({"n_paths": 3, "block_size": 10**20}, "block_size"),
])  # fmt: skip
def test_bad_counts_are_named(arguments, name):
    with pytest.raises(ValueError, match=f"^{name} "):
        _run(**arguments)
    with pytest.raises(TypeError, match=f"^{name} "):
        _run(**{**arguments, name: 2.5})


def test_the_whole_hash_of_a_name_is_a_place_in_the_tree_of_seeds():
    """64 bits, the highest of them, too: half of all names have it."""
    highest = 2**64 - 1
    found = Stream.of(1).child(highest, 0).sequence()
    assert found.generate_state(2).tolist() == np.random.SeedSequence(1, spawn_key=(highest, 0)).generate_state(2).tolist()


CHANGED = """
import numba, numpy as np
from joblib import parallel_config
from scipy import stats
from gradnoise.simulations import ensemble
import helpers

C = 1.5

@numba.njit
def scaled(x):
    return C * x

def of_here(n_paths, generator):
    return (scaled(np.ones(n_paths)),)

def of_a_module(n_paths, generator):
    return (helpers.C * np.ones(n_paths),)

def with_columns(n_paths, generator, columns):
    return (helpers.C * np.ones(n_paths),)

def run(kernel, *params):
    (found,) = ensemble.run(kernel, params, 6, rng=1, reduce=ensemble.concatenate, n_jobs=2, block_size=2)
    return found.tolist()

if __name__ == "__main__":
    with parallel_config("loky"):
        assert run(of_here) == [1.5] * 6 and run(of_a_module) == [0.5] * 6
        C = 2.5
        assert run(of_here) == [2.5] * 6, "workers that live have an old function"
        with open(helpers.__file__, "w") as file:
            file.write("C = 0.75  # of another length\\n")
        import importlib
        importlib.reload(helpers)
        columns = [np.zeros((3, 4))[:, ::2]]  # of which a copy has other strides
        assert run(of_a_module) == run(with_columns, columns) == [0.75] * 6, "workers that live have an old module"
        helpers.C = 3.5
        for kernel, params in ((of_a_module, ()), (with_columns, (columns,)), (with_columns, (stats.norm(),))):
            try:
                run(kernel, *params)
            except TypeError as error:
                print(error)
"""


@pytest.mark.compiled
def test_workers_have_what_their_parent_has_or_are_refused(tmp_path):
    """Catches processes that live and keep what they met before, and values that never come to them."""
    (tmp_path / "helpers.py").write_text("C = 0.5\n")
    (tmp_path / "changed.py").write_text(CHANGED)
    command = [sys.executable, "-B", str(tmp_path / "changed.py")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("kernel and params must be the same in worker processes") == 3
