"""What a kernel may return, and how it lies in memory.

It would catch a study whose sums depend on whether its blocks come from a store, a process or the kernel itself, and a mask that
is lost on the way.
"""

import joblib
import numpy as np
import pytest

from gradnoise.simulations import ensemble


def arrays(n_paths, generator, how):
    numbers = generator.standard_normal((7, n_paths, 6)) * 10.0 ** generator.integers(-8, 8, (7, n_paths, 6))
    return (how(numbers),)


LAYOUTS = {
    "permuted": lambda x: x.transpose(1, 2, 0),
    "Fortran": lambda x: x[0].T.copy().T,
    "steps": lambda x: x[0, :, ::2],
    "backwards": lambda x: x[0, ::-1, ::-1],
    "repeated": lambda x: np.broadcast_to(x[0, :, :1], x[0].shape),
    "other bytes": lambda x: x[0].astype(">f8"),
    "complex": lambda x: x[0] + 1j * x[1],
    "single": lambda x: x[0].astype("f4"),
    "a number": lambda x: np.array(x.sum()),
    "nothing": lambda x: x[:0],
    "with a note": lambda x: x[0].astype(np.dtype("f8", metadata={"unit": "s"})),
    "masked": lambda x: np.ma.masked_less(x[0], 0.0),
    "masked, permuted": lambda x: np.ma.masked_less(x, 0.0).transpose(1, 2, 0),
    "nothing masked": lambda x: np.ma.array(x[0], fill_value=3.0, hard_mask=True),
}


def looks(blocks):
    """All that an array is, and a sum that rounds by its order in memory."""
    found = []
    for (a,) in blocks:
        parts = [a.view(np.ndarray), np.ma.getmaskarray(a)]
        layouts = [(p.dtype.str, p.dtype.metadata, p.shape, p.strides if p.size else 0, p.tobytes("A")) for p in parts]
        found.append([type(a).__name__, layouts, complex(np.ma.filled(np.sum(a), 0)), getattr(a, "fill_value", None)])
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_resumed_study_sees_the_arrays_of_one_that_was_not_cut_off_and_of_one_in_processes(tmp_path, layout):
    options = {"rng": 3, "reduce": looks, "block_size": 5}
    first = ensemble.run(arrays, (LAYOUTS[layout],), 10, store=tmp_path, **options)
    assert ensemble.run(arrays, (LAYOUTS[layout],), 10, store=tmp_path, **options) == first
    assert ensemble.run(arrays, (LAYOUTS[layout],), 10, **options) == first
    with joblib.parallel_config("loky", n_jobs=2):
        assert ensemble.run(arrays, (LAYOUTS[layout],), 10, **options) == first


@pytest.mark.parametrize(
    ("how", "got"),
    [
        (lambda x: x[0].view(np.matrix), "matrix of float64"),
        (lambda x: np.rec.array([(1.0,)], dtype=[("a", "f8")]), "recarray"),
        (lambda x: x.astype(object), "ndarray of object"),
        (lambda x: x[0].astype("S4"), r"ndarray of \|S4"),
        (lambda x: x.sum(), "float64"),
        (lambda x: [1.0], "list"),
    ],
)
@pytest.mark.parametrize("stored", [True, False])
def test_arrays_that_would_not_come_back_are_refused_with_and_without_a_store(tmp_path, how, got, stored):
    options = {"rng": 3, "reduce": looks, "store": tmp_path if stored else None}
    with pytest.raises(TypeError, match=f"^kernel must return a tuple of numeric arrays, got {got}"):
        ensemble.run(arrays, (how,), 5, **options)
