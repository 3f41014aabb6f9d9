"""Data of every form against one tensor of inputs and one of targets.

They would catch a batch that is left out or taken twice, a sample that is cut from the wrong axis, a tensor that all samples
share cut like one of theirs, and an order that changes between two passes.
"""

import math
from collections import UserDict

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")

from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from gradnoise.simulations.neural.batches import as_batches, on_device

N = 11
X, Y = torch.randn(N, 3, generator=torch.Generator().manual_seed(0)), torch.arange(N)


class Again:
    """Batches that are made anew for each pass."""

    def __iter__(self):
        return iter([(X[:4], Y[:4]), (X[4:5], Y[4:5]), (X[5:], Y[5:])])


class Rows(IterableDataset):
    def __iter__(self):
        return iter(zip(X, Y, strict=True))


FORMS = {
    "tensors": (X, Y),
    "list of tensors": [X, Y],
    "arrays": (X.numpy(), Y.numpy()),
    "read-only array": (np.broadcast_to(X.numpy(), X.shape), Y.numpy()),
    "loader": DataLoader(TensorDataset(X, Y), batch_size=4),
    "data set": TensorDataset(X, Y),
    "iterable data set": Rows(),
    "list of batches": list(Again()),
    "iterable": Again(),
}


@pytest.mark.parametrize("size", [1, 3, 5, N, 100])
@pytest.mark.parametrize("form", FORMS)
def test_chunks_are_the_samples_in_order(form, size):
    batches = as_batches(FORMS[form])
    assert batches.n == N
    for _ in range(2):  # read anew
        chunks = list(batches.chunks(size))
        assert all(len(y) <= size for _, y in chunks)
        assert torch.equal(torch.cat([x for x, _ in chunks]), X) and torch.equal(torch.cat([y for _, y in chunks]), Y)


@pytest.mark.parametrize("form", FORMS)
def test_chosen_samples_are_those_named_as_often_as_named(form):
    named = torch.tensor([7, 0, 7, 10, 3, 4])
    found = torch.full_like(named, -1)
    for (x, y), where in as_batches(FORMS[form]).chosen(named, 2):
        assert len(y) <= 2 and torch.equal(x, X[y])
        found[where] = y
    assert torch.equal(found, named)
    assert not list(as_batches(FORMS[form]).chosen(named[:0], 2))


@pytest.mark.parametrize("form", FORMS)
def test_some_samples_come_from_all_over_the_data(form):
    few = as_batches(FORMS[form]).some()
    labels = torch.cat([y for _, y in few])
    assert len(set(labels.tolist())) == len(labels) and {0, N - 1} <= set(labels.tolist())
    assert max(len(y) for _, y in few) > 1  # else nothing could be seen of how they depend on each other


def test_what_all_samples_share_is_not_cut():
    shared = torch.ones(2, 2)
    data = UserDict({"x": X, "mask": shared, "name": "a", "y": Y})
    for chunk in as_batches(data).chunks(4):
        assert type(chunk) is dict and chunk["mask"] is shared and chunk["name"] == "a" and len(chunk["x"]) == len(chunk["y"])


def test_nested_inputs_are_cut_together():
    for chunk in as_batches({"a": X, "b": (X, {"c": X})}, Y).chunks(4):
        inputs, y = chunk
        for part in (inputs["a"], inputs["b"][0], inputs["b"][1]["c"]):
            assert torch.equal(part, X[y])


def test_inference_tensors_become_usual_ones():
    with torch.inference_mode():
        batch = (torch.ones(2), torch.ones(2))
        inside = on_device((torch.ones(2), X), torch.device("cpu"))  # a copy there would be one, too
    assert not any(leaf.is_inference() for leaf in (*inside, *on_device(batch, torch.device("cpu"))))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_tensors_without_values_or_of_several_lengths_are_named():
    """Would catch torch's own errors, which ask to file an issue."""
    with pytest.raises(ValueError, match="data must have values, got a tensor on the meta device"):
        as_batches((X.to("meta"), Y))
    with pytest.raises(TypeError, match="data must be of dense tensors, got a nested one"):
        as_batches((torch.nested.nested_tensor([X[0], X[1]]), Y[:2]))


def test_another_order_in_each_pass_is_refused():
    """In the first pass after construction; a loader of the same samples in a fixed random order is as good as any."""
    random = DataLoader(TensorDataset(X, Y), batch_size=4, shuffle=True)
    with pytest.raises(ValueError, match="data must give the same batches in each pass, got another batch 0; take shuffle=False"):
        for _ in range(5):  # one of 11! orders is the first again
            list(as_batches(random).chunks(4))
    calls = iter(range(2, 4))

    class Fewer:
        def __iter__(self):
            return iter([(X, Y)] * next(calls))

    with pytest.raises(ValueError, match="got another batch 2"):
        list(as_batches(Fewer()).chunks(4))
    list(as_batches(list(random)).chunks(4))


def test_bad_data_are_named():
    with pytest.raises(ValueError, match=r"iterable more than once, got a generator.*pass a list of its batches"):
        as_batches(batch for batch in Again())
    with pytest.raises(ValueError, match=r"inputs and targets must have as many samples.*got 11 and 10"):
        as_batches((X, Y[:-1]))
    with pytest.raises(ValueError, match="data must have samples"):
        as_batches([])
    with pytest.raises(ValueError, match="as many samples, one or more"):
        as_batches((X[:0], Y[:0]))
    with pytest.raises(TypeError, match=r"data must be tensors in a tuple or dictionary, or an iterable of batches, got int"):
        as_batches(3)
    with pytest.raises(TypeError, match="data must be of tensors"):
        as_batches(["a", "b"])
    for targets in (math.nan, [0, 1], "x"):
        with pytest.raises(TypeError, match="targets must be of tensors"):
            as_batches(X, targets)
    with pytest.raises(TypeError, match="targets must be of numbers that torch has, got an array of"):
        as_batches(X, np.ones(N, dtype=np.longdouble))


def test_arrays_of_other_layouts_are_read_as_they_are():
    """Would catch strides and byte orders that torch does not take, in its words, and a copy of what it does take."""

    def inputs_of(array):
        ((inputs, _),) = as_batches((array, Y)).chunks(N)
        return inputs

    array = X.numpy()
    for other in (array[::-1][::-1], array.astype(">f4"), np.asfortranarray(array)):
        assert torch.equal(inputs_of(other), X)
    assert torch.equal(inputs_of(array[::-1]), X.flip(0))
    assert inputs_of(array).data_ptr() == X.data_ptr()


@pytest.mark.parametrize("data", [(X, Y), [(X[:4], Y[:4]), (X[4:], Y[4:])]], ids=["tensors", "batches"])
def test_samples_that_are_not_there_are_refused(data):
    """A batch would leave them out without a word."""
    for samples in ([0, N], [-1]):
        with pytest.raises(ValueError, match=f"samples must be between 0 and {N - 1}, got"):
            list(as_batches(data).chosen(torch.tensor(samples), 3))
    with pytest.raises(TypeError, match=r"samples must be of int64 with one axis, got torch.bool"):
        list(as_batches(data).chosen(torch.ones(N).bool(), 3))


def test_sparse_tensors_are_refused_and_conjugate_ones_read():
    with pytest.raises(TypeError, match=r"data must be of dense tensors, got torch.sparse_coo"):
        as_batches([(X.to_sparse(), Y)])
    assert as_batches([((X + 1j * X).conj(), Y)]).n == N
