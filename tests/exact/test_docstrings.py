"""Docstrings of all public names: what numpydoc demands of them, and examples that run.

It would catch an argument that was renamed in the code alone, one that nobody described, a function that does not say what it
returns, a public name without an example, and an example that shows what is no longer so.

Public is what a door lists, and what a file on an open floor does; see `test_layout`. The interface of the commands is their
``--help``, and figures are drawn through their registry, so the other files of these two floors do not count.
"""

import doctest
import importlib
import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from numpydoc import docscrape, validate

from .test_layout import MODULES, OPEN, PACKAGES, ROOMS

RULES = {
    "PR01": "an argument is not described",
    "PR02": "what is described is no argument",
    "PR04": "an argument has no type",
    "RT01": "it does not say what it returns",
}


def open_modules() -> list[str]:
    """Doors, and files that are doors by themselves."""
    doors = [m for m in MODULES if m in ROOMS or (m not in PACKAGES and m.rpartition(".")[0] in OPEN and "._" not in m)]
    return [m for m in doors if m.partition(".")[0] not in ("cli", "figures") or m == "figures.registry"]


def load(name: str) -> types.ModuleType:
    try:
        return importlib.import_module(f"gradnoise.{name}")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        pytest.skip("needs PyTorch")


def public_objects(module: types.ModuleType) -> Iterator[tuple[str, Any]]:
    """Functions and classes that a module lists, those of a module that it lists, too."""
    for name in getattr(module, "__all__", ()):
        value = getattr(module, name)
        value = getattr(value, "py_func", value)  # of a compiled one
        if inspect.ismodule(value):
            yield from ((f"{name}.{inner}", v) for inner, v in public_objects(value))
        elif (inspect.isfunction(value) or inspect.isclass(value)) and value.__module__.startswith("gradnoise."):
            yield name, value


def faults(value: Any) -> list[str]:
    """What numpydoc, and the demand for examples, have to say about one object."""
    found = validate.validate(docscrape.get_doc_object(value))
    text = inspect.getdoc(value) or ""
    wrong = [f"{code}: {message}" for code, message in found["errors"] if code in RULES and not _is_record(value, code, text)]
    if not any(example.want or example.exc_msg for example in doctest.DocTestParser().get_examples(text)):
        wrong.append("no example that shows a result")
    return wrong


def _is_record(value: Any, code: str, text: str) -> bool:
    """Whether a class describes what it is made of as its attributes, as a result does; a protocol is not made at all."""
    if code != "PR01" or not inspect.isclass(value):
        return False
    attributes = {n.strip() for a in docscrape.NumpyDocString(text)["Attributes"] for n in a.name.split(",")}
    return getattr(value, "_is_protocol", False) or set(inspect.signature(value).parameters) <= attributes


def examples(module: types.ModuleType) -> list[doctest.DocTest]:
    """Examples of a module and all that is defined in it."""
    found = doctest.DocTestFinder(exclude_empty=True).find(module)
    return [test for test in found if test.examples]


def run(test: doctest.DocTest) -> str:
    """Report of what an example shows that is not so."""
    report: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS).run(test, out=report.append)
    return "".join(report)


@pytest.mark.parametrize("name", open_modules())
def test_public_names_are_described_and_have_an_example(name):
    wrong = {public: f for public, value in public_objects(load(name)) if (f := faults(value))}
    assert wrong == {}


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name):
    assert "".join(run(test) for test in examples(load(name))) == ""


def documented(docstring: str) -> Callable[..., Any]:
    def function(first, second=1):
        return first, second

    function.__doc__ = docstring
    return function


COMPLETE = """Return both.

    Parameters
    ----------
    first, second : int
        Numbers.

    Returns
    -------
    tuple

    Examples
    --------
    >>> 1, 1
    (1, 1)
    """


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("first, second :", "first :", "PR01"),
        ("first, second :", "first, second, third :", "PR02"),
        ("first, second : int", "first, second", "PR04"),
        ("    Returns\n    -------\n    tuple\n", "", "RT01"),
        (">>> 1, 1\n    (1, 1)", ">>> both = 1, 1", "no example"),
    ],
)
def test_a_fault_of_a_docstring_is_seen(old, new, fault):
    assert faults(documented(COMPLETE)) == []
    found = faults(documented(COMPLETE.replace(old, new)))
    assert found and all(f.startswith(fault) for f in found)


def test_examples_are_found_and_one_that_is_no_longer_true_is_seen():
    assert len(examples(load("theory.gradient_noise"))) == 6
    parsed = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "sum", None, None)
    assert "Expected:\n    3\nGot:\n    2\n" in run(parsed)
