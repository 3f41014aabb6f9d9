"""Checks of arguments. Catches a bad value that passes, that ends in another exception or a warning, or in no name."""

import itertools
import math
from collections import UserList
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradnoise.theory import _validation as check

NAME = "strength"

#: Each helper, with what else it is asked for.
HELPERS: dict[str, Callable[[Any], Any]] = {
    "as_array": lambda x: check.as_array(x, NAME),
    "as_nonnegative": lambda x: check.as_nonnegative(x, NAME),
    "as_psd": lambda x: check.as_psd(x, NAME),
    "as_probabilities": lambda x: check.as_probabilities(x, NAME, 3),
    "as_real": lambda x: check.as_real(x, NAME, above=-5.0),
    "as_number": lambda x: check.as_number(x, NAME),
    "as_count": lambda x: check.as_count(x, NAME),
    "as_flag": lambda x: check.as_flag(x, NAME),
    "as_choice": lambda x: check.as_choice(x, NAME, ("weak", "strong")),
}


class Raising:
    """Pretends to be an array."""

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        """Raise what no reader of an array expects."""
        raise LookupError("no values\nleft")


class Unprintable:
    """Cannot be shown."""

    def __repr__(self) -> str:
        """Raise."""
        raise RuntimeError


def _knotted() -> list[Any]:
    knot: list[Any] = [1.0]
    knot += [knot, knot]
    return knot


MASKED = np.ma.masked_array([0.5, 0.25, 0.25], mask=[False, True, False])
#: What no helper takes. Fresh for each, as a generator is used up.
BAD: dict[str, Callable[[], Any]] = {
    "NaN": lambda: math.nan,
    "infinity": lambda: -math.inf,
    "NaN among others": lambda: [0.5, math.nan, 0.5],
    "beyond a float": lambda: -(10**350),
    "digits beyond Python's limit": lambda: 7**9000,
    "fraction beyond a float": lambda: Fraction(10**350, 3),
    "beyond a float, among others": lambda: [10**350, 1],
    "long double beyond a float": lambda: [np.longdouble("1e4000")] if np.finfo(np.longdouble).max > 1e308 else math.inf,
    "complex": lambda: 0.5j,
    "complex array": lambda: np.ones(3, dtype=complex),
    "text": lambda: "0.5",
    "texts": lambda: ["0.5", "0.25", "0.25"],
    "bytes": lambda: b"\x01",
    "bytes that can change": lambda: bytearray(b"\x01\x02\x03"),
    "None among others": lambda: [0.5, None, 0.5],
    "decimal": lambda: [Decimal("0.5"), Decimal("0.5")],
    "masked": lambda: MASKED,
    "masked, nothing hidden": lambda: np.ma.masked_array(np.eye(3)),
    "masked within a list": lambda: [MASKED, MASKED, MASKED],
    "masked within a deep list": lambda: ([MASKED], [MASKED]),
    "masked within a sequence of one's own": lambda: UserList([MASKED]),
    "masked constant": lambda: np.ma.masked,
    "masked constant in a list": lambda: [0.5, np.ma.masked],
    "masked constant among objects": lambda: np.array([0.5, np.ma.masked], dtype=object),
    "ragged": lambda: [[1.0, 2.0], [3.0]],
    "knot": _knotted,
    "generator": lambda: (x for x in (0.5, 0.5)),
    "set": lambda: {0.5, 0.25},
    "dictionary": lambda: {"a": 0.5},
    "date": lambda: np.datetime64("2020-02-02"),
    "duration": lambda: np.timedelta64(3, "s"),
    "durations": lambda: np.array([1, 1, 1], dtype="m8[s]"),
    "records": lambda: np.zeros(3, dtype=[("a", float)]),
    "one record": lambda: np.zeros((), dtype=[("a", float)]),
    "arrays as objects": lambda: np.array([np.ones(2), None], dtype=object),
    "an __array__ that raises": Raising,
    "nothing that can be shown": Unprintable,
    "more than fits": lambda: np.broadcast_to(0.5, (10**16,)),
    "a long one": lambda: np.full(10**6, -9.0),
    "a long list": lambda: [-9.0] * 10**5,
    "a long text": lambda: "weaker" * 10**5,
    "function": lambda: math.sin,
    "class": lambda: float,
}


#: Long ones are right where any numbers are.
RIGHT = {("as_array", "a long one"), ("as_array", "a long list")}


@pytest.mark.parametrize(("helper", "bad"), [pair for pair in itertools.product(HELPERS, BAD) if pair not in RIGHT])
def test_bad_values_are_refused_by_name_and_in_short(helper: str, bad: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{NAME} must ") as caught:
        HELPERS[helper](BAD[bad]())
    assert len(str(caught.value)) < 350
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (math.nan, "must be finite, got NaN$"),
        ([[1.0, 2.0], [3.0, np.float32("nan")]], "must be finite, got NaN at index 1, 1$"),
        ([0.0, -math.inf], "must be finite, got -inf at index 1$"),
        ([0.0, 10**350], r"range of floats, up to 1.8e308, got 10\*\*350 or so"),
        (MASKED, "must not be masked"),
        (None, "real numbers, got None"),
        ([1.0, "a"], "got dtype <U"),
        (np.True_, "real numbers, got np.True_"),
    ],
)
def test_an_array_says_what_is_wrong_and_where(value: Any, found: str) -> None:
    with pytest.raises((TypeError, ValueError), match=found):
        check.as_array(value, NAME)


@pytest.mark.parametrize("flag", [True, False, np.True_])
def test_a_flag_is_no_number(flag: Any) -> None:
    for helper in ("as_array", "as_nonnegative", "as_real", "as_number", "as_count"):
        with pytest.raises(TypeError, match=f"^{NAME} must be"):
            HELPERS[helper](flag)
    np.testing.assert_array_equal(check.as_array([flag, True], NAME), [float(flag), 1.0])  # data of zeros and ones


NUMBERS: dict[str, Any] = {
    **{name: np.dtype(name).type(3) for name in ("i1", "u1", "i2", "i4", "u8", "f2", "f4", "f8", "g")},
    "int": 3,
    "fraction": Fraction(3),
    "float": 3.0,
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_of_every_width_are_taken(kind: str) -> None:
    number = NUMBERS[kind]
    assert type(check.as_real(number, NAME)) is float
    assert check.as_real(number, NAME) == 3.0
    assert check.as_number(number, NAME) == 3
    whole = kind[0] in "iu"
    assert type(check.as_number(number, NAME)) is (int if whole else float)
    if whole:
        assert check.as_count(number, NAME) == 3
    else:
        with pytest.raises(TypeError, match=f"{NAME} must be an integer"):
            check.as_count(number, NAME)
    assert check.as_array([number, number], NAME).tolist() == [3.0, 3.0]


def test_arrays_of_every_layout_are_taken_and_copied() -> None:
    whole = np.arange(12.0).reshape(3, 4)
    frozen = whole.copy()
    frozen.flags.writeable = False
    given = {
        "read-only": frozen,
        "columns first": np.asfortranarray(whole),
        "strided": np.repeat(np.repeat(whole, 2, axis=0), 3, axis=1)[::2, ::3],
        "backwards": whole[::-1, ::-1][::-1, ::-1],
        "big-endian": whole.astype(">f4"),
        "half": whole.astype(np.float16),
        "objects": whole.astype(object),
        "matrix": whole.view(np.matrix),
        "buffer": memoryview(whole),  # type: ignore[arg-type]
        "rows": [tuple(row) for row in whole],
        "ranges": [range(0, 4), range(4, 8), range(8, 12)],
        "unsigned": whole.astype(np.uint8),
    }
    for name, value in given.items():
        found = check.as_array(value, NAME, ndim=2)
        assert (type(found), found.dtype, found.flags.writeable) == (np.ndarray, np.dtype("=f8"), True), name
        assert found.tolist() == whole.tolist(), name
        assert not isinstance(value, np.ndarray) or not np.shares_memory(found, value), name


def test_fractions_and_long_integers_in_arrays_are_rounded_once() -> None:
    given: list[Any] = [Fraction(1, 3), 10**30, 5e-324]
    assert check.as_array(given, NAME).tolist() == [1 / 3, 1e30, 5e-324]
    assert check.as_array(np.array(Fraction(2, 3)), NAME) == 2 / 3


def test_counts_end_where_64_bits_do() -> None:
    assert check.as_count(2**63 - 1, NAME) == 2**63 - 1
    assert check.as_count(2**70, NAME, at_most=2**80) == 2**70
    for count in (2**63, 10**5000):
        with pytest.raises(ValueError, match=rf"{NAME} must be < 2\*\*63, got 10\*\*|{NAME} must be < 2\*\*63, got {2**63}"):
            check.as_count(count, NAME)


@pytest.mark.parametrize("unit", [5e-324, 1e-300, 1e-160, 1.0, 1e160, 1.6e308])
def test_what_is_positive_semi_definite_does_not_depend_on_the_unit(unit: float) -> None:
    good = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]) * unit
    np.testing.assert_array_equal(check.as_psd(good, NAME), good)
    with pytest.raises(ValueError, match="positive semi-definite, got an eigenvalue of -"):
        check.as_psd([[0.0, unit], [unit, 0.0]], NAME)
    with pytest.raises(ValueError, match="symmetric, got an asymmetry of"):
        check.as_psd([[unit, unit], [-unit, unit]], NAME)


def test_blocks_of_a_matrix_are_judged_each_by_its_own_size() -> None:
    """Catches a negative eigenvalue, or an asymmetry, that passes for the rounding of a block it has nothing to do with."""
    small = np.array([[1.0, 0.5], [0.5, 1.0]])
    for wrong in ([[-1.0]], [[1.0, 2.0], [2.0, 1.0]], [[1.0, 0.5], [-0.5, 1.0]]):
        block = np.array(wrong)
        for order in (1, -1):
            matrix = np.zeros((len(block) + 1, len(block) + 1))
            matrix[:-1, :-1], matrix[-1, -1] = block, 1e17
            with pytest.raises(ValueError, match=f"{NAME} must be (symmetric|positive semi-definite)"):
                check.as_psd(matrix[::order, ::order], NAME)
    matrix = np.zeros((3, 3))
    matrix[np.ix_([0, 2], [0, 2])], matrix[1, 1] = small * 1e-20, 1e20
    np.testing.assert_array_equal(check.as_psd(matrix, NAME), matrix)


def test_the_rounding_of_a_product_is_no_asymmetry_and_no_negative_eigenvalue() -> None:
    matrix = np.array([[1.0, 0.1], [0.1 + 1e-16, 0.01 - 1e-17]])
    found = check.as_psd(matrix, NAME)
    assert found[0, 1] == found[1, 0]


def test_probabilities_near_the_largest_float_do_not_overflow() -> None:
    with pytest.raises(ValueError, match=r"sum to one, got shape \(3,\) and largest 1.7e\+308"):
        check.as_probabilities([1.7e308] * 3, NAME, 3)
    assert check.as_probabilities(None, NAME, 3).tolist() == [1 / 3] * 3


@pytest.mark.parametrize(("time", "step"), [(1.7e308, 0.125), (1.0, 5e-324), (1e17, 1.0), (1.0, 0.75), (5e-324, 0.1)])
def test_times_that_are_no_number_of_steps_are_refused(time: float, step: float) -> None:
    with pytest.raises(ValueError, match="time must be"):
        check.as_whole_steps(time, step)
    assert check.as_whole_steps(3 * step, step) == 3


@pytest.mark.parametrize("value", [None, 3, "ab", b"ab", bytearray(b"ab"), memoryview(b"ab"), {"a": 1}, np.float64(1.0)])
def test_what_is_iterated_over_is_no_text_and_no_dictionary(value: Any) -> None:
    """Catches bytes, whose elements are integers, in the place of counts."""
    with pytest.raises(TypeError, match=f"^{NAME} must be a row of counts, got "):
        check.as_iterable(value, NAME, "a row of counts")
    for good in ([1, 2], (1, 2), range(1, 3), iter([1, 2]), np.array([1, 2])):
        assert list(check.as_iterable(good, NAME, "a row of counts")) == [1, 2]


@pytest.mark.parametrize("value", [None, 3, 1.5, b"x", [], object(), "\0", "a\0b", "\ud800"])
def test_what_no_file_can_be_named_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{NAME} must be a path"):
        check.as_path(value, NAME)
    assert check.as_path("a/b", NAME) == check.as_path(Path("a/b"), NAME) == Path("a/b")


def test_tensors_are_taken_or_refused_by_name() -> None:
    torch = pytest.importorskip("torch")
    assert check.as_array(torch.ones(3), NAME).tolist() == [1.0] * 3
    refused = [
        torch.ones(3, requires_grad=True),
        torch.ones(3, dtype=torch.bfloat16),
        torch.ones(3, dtype=torch.complex64),
        torch.eye(3).to_sparse(),
        torch.ones(3, device="meta"),
    ]
    for tensor in refused:
        for helper, call in HELPERS.items():
            with pytest.raises((TypeError, ValueError), match=f"^{NAME} must "):
                call(tensor)
                pytest.fail(helper)


def test_a_real_number_may_be_negative_unless_it_is_said_otherwise():
    assert check.as_real(-1.5, "x") == -1.5


def test_shapes_that_differ_are_both_named():
    with pytest.raises(ValueError, match=r"^first and second must have equal shapes, got \(2,\) and \(3,\)"):
        check.as_matching(np.ones(2), np.ones(3), ("first", "second"))


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"above": 2}, "> 2"),
        ({"at_least": 2}, ">= 2"),
        ({"at_most": 0.5}, "<= 0.5"),
        ({"above": -3, "at_least": 2, "at_most": 7}, "> -3 and >= 2 and <= 7"),
    ],
)
def test_all_limits_of_a_number_are_told(limits: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=f"^x must be {says}, got 1.5$"):
        check.as_real(1.5, "x", **limits)


def test_an_interval_goes_upwards_and_may_be_without_a_length_or_an_end() -> None:
    for ends in ((-1.0, 2.0), (0.5, 0.5), (-math.inf, math.inf)):
        assert check.as_interval(*ends) == ends
    with pytest.raises(ValueError, match=r"^low must be <= high, got 2 and -1$"):
        check.as_interval(2.0, -1.0)


def test_whole_steps_are_counted_as_far_as_floats_tell_them_from_others() -> None:
    assert check.as_whole_steps(2.0**53 - 1, 1.0) == 2**53 - 1 and check.as_whole_steps(0.3, 0.1) == 3
    with pytest.raises(ValueError, match=r"^time must be less than 2\*\*53 steps"):
        check.as_whole_steps(2.0**53, 1.0)
    with pytest.raises(ValueError, match=r"^time must be a whole number of steps"):
        check.as_whole_steps(0.35, 0.1)


def test_zeros_are_positive_semi_definite() -> None:
    for d in (1, 3):
        np.testing.assert_array_equal(check.as_psd(np.zeros((d, d)), "x"), np.zeros((d, d)))
