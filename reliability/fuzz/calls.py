"""Good calls of entry points with one argument replaced, or two."""

from __future__ import annotations

import inspect
import os
import random
import re
import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from .entry_points import Call, EntryPoint
from .outcomes import Refused, answers, documents, end_of, fresh, nonsense, same
from .trials import NO_GOOD_CALL, Fault, Trial
from .values import MASKED, OWN, REFUSE, SAME, Value, is_tensor, replacements

__all__ = ["groups", "unused"]

_PAIRS = 8  # of each good call
#: Arguments that say how much is to be sampled or trained: a billion of these is what was asked for, and takes as long as it
#: takes. A formula has no such excuse.
_WORK = {"n_paths", "size", "n_replicates", "n_samples", "n_instances", "evaluations", "n_probes", "n_steps", "n_seeds", "time"}
#: Functions that check for others, and the arguments that tell them what their messages shall name.
_CHECK, _TELLING = re.compile(r"(as|check)_"), ("name", "what")
#: Entry points that return what a function of the caller returned, as it is, NaN included.
_PASSED_ON = {"simulations.ensemble.run"}
#: Entry points that take complex numbers, as networks may.
_COMPLEX = {"simulations.neural.batches.as_batches"}


def groups(point: EntryPoint, seed: int) -> Iterator[list[Trial]]:
    """Trials of an entry point: a group for each good call, of one argument after another and of random pairs.

    Of later calls only those arguments count whose forms have not been met.
    """
    chance, met = random.Random(zlib.crc32(point.name.encode()) + seed), set()
    for call in point.calls:
        good, forms = _Good(point, call), {name: (name, _form(value)) for name, value in call.arguments.items()}
        table = {name: list(good.values(name)) for name, form in forms.items() if form not in met and name != "self"}
        table = {name: values for name, values in table.items() if values}
        met |= set(forms.values())
        trials = [good.trial({name: value}) for name, values in table.items() for value in values]
        for _ in range(_PAIRS if len(table) > 1 else 0):
            trials.append(good.trial({name: chance.choice(table[name]) for name in chance.sample(sorted(table), 2)}))
        yield trials


def _form(value: Any) -> tuple[object, ...]:
    """What of a value decides how it is treated: its type, its dimensions, and the word that it is."""
    numbers = isinstance(value, int | float) and not isinstance(value, bool)
    return ("number" if numbers else type(value), getattr(value, "ndim", 0), value if isinstance(value, str) else None)


class _Good:
    """A good call, and its result, which is found in the process where it is needed."""

    def __init__(self, point: EntryPoint, call: Call) -> None:
        self.point, self.call = point, call
        owner = getattr(point.function, "__self__", None) if point.kind == "classmethod" else None
        self.documented = "\n".join(inspect.getdoc(of) or "" for of in (point.function, owner) if of is not None)
        self.names = {name for name in point.signature.parameters if name not in ("self", "args", "kwargs")}

    def values(self, name: str) -> Iterator[Value]:
        parameter = self.point.signature.parameters[name]
        good, described = self.call.arguments[name], self._described(name)
        if parameter.kind is inspect.Parameter.VAR_KEYWORD or (parameter.kind is inspect.Parameter.VAR_POSITIONAL and not good):
            return
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            for value in replacements(good[0], name, described, False):
                yield Value(value.label, (value.value, *good[1:]), value.allowed, (value.behind, *good[1:]))
        else:
            yield from replacements(good, name, described, parameter.default is None)

    def _described(self, name: str) -> str:
        """What the docstring says of the type of an argument."""
        text = self.documented
        if self.point.kind == "method" and name not in text:
            text = inspect.getdoc(type(self.call.arguments["self"])) or ""
        found = re.search(rf"^[\w, *]*\b{re.escape(name)}\b[\w, *]* : (.*)((?:\n +.*)*)", text, re.M)
        annotation = str(self.point.signature.parameters[name].annotation)
        # Of a tensor what is said of itself counts, as functions of tensors also say where a mean or a loss is NaN.
        said = text if not is_tensor(self.call.arguments[name]) else found.group(2) if found else ""
        nan = "NaN" if re.search(r"\bNaN\b", said) else ""
        return " ".join(part for part in (found.group(1) if found else "", "None" if "None" in annotation else "", nan) if part)

    @cached_property
    def results(self) -> tuple[Any, set[str], Fault | None]:
        """Result of the good call, and names of those parts that are not the same in a second one."""
        (first, fault), (second, _) = (self._call({}) for _ in range(2))
        varying: set[str] = set()
        while (path := same(first, second, varying)) and path not in varying:
            varying.add(path)
        return first, varying, fault or (Fault("refused") if first is Refused else None)

    def trial(self, changed: dict[str, Value]) -> Trial:
        labels = " & ".join(f"{value.label}" for value in changed.values())
        long = bool(_WORK & set(changed)) and not self.point.name.startswith("theory.")
        return Trial(self.point.name, " & ".join(changed), labels, lambda: self._try(changed), long)

    def _try(self, changed: dict[str, Value]) -> Fault | None:
        known, varying, wrong = self.results
        if wrong is not None:
            return Fault(NO_GOOD_CALL, wrong.where, wrong.message)
        found, fault = self._call({name: value.value for name, value in changed.items()})
        if fault is not None or found is Refused:
            own = any(value.allowed == OWN for value in changed.values())
            # NumPy's functions warn of tensors, too.
            return None if own and fault is not None and fault.kind in ("does not name the argument", "warning") else fault
        if len(changed) == 1:
            (value,) = changed.values()
            if value.allowed == OWN:
                return None
            if value.allowed == REFUSE and not (self.point.name in _COMPLEX and np.iscomplexobj(value.value)):
                return Fault("accepted", "", f"{value.label} gives {_short(found)}")
            if value.allowed == SAME and (path := same(found, known, varying)):
                return Fault("another answer", path, f"{value.label} gives {_short(found)}, not {_short(known)}")
            if value.allowed == MASKED:
                (name,) = changed
                other, fault = self._call({name: value.behind})
                if fault is not None or other is Refused or same(found, other, varying):
                    return Fault("mask dropped", "", f"gives {_short(found)}")
        return self._asked(found)

    def _call(self, changed: dict[str, Any]) -> tuple[Any, Fault | None]:
        arguments = fresh(self.call.arguments) | changed
        paths = any(isinstance(self.call.arguments[name], str | os.PathLike | None) for name in changed)
        names = set(self.names)
        if _CHECK.match(self.point.name.rpartition(".")[2]):
            names |= {arguments[name] for name in _TELLING if isinstance(arguments.get(name), str)}
        return end_of(lambda: self.point.invoke(arguments), names, paths=paths)

    def _asked(self, found: Any) -> Fault | None:
        """What is wrong with a result, and with what it answers."""
        if self.point.name in _PASSED_ON:
            return None
        package = self.point.function.__module__.partition(".")[0]
        if fault := nonsense(found, self.point.name, self.documented, package):
            return fault
        documented = "\n".join([self.documented, *(text for _, text in documents(found, package))])
        for name, ask in answers(found, package):
            asked = inspect.getattr_static(type(found), name, None)
            # What an object is asked without an argument is about the object, or about an argument that it cannot do without.
            own = set(inspect.signature(asked).parameters) - {"self"} if inspect.isfunction(asked) else set()
            answer, fault = end_of(ask, {*self.names, *own, *getattr(found, "__dict__", {}), type(found).__name__})
            text = f"{documented}\n{inspect.getdoc(asked) or ''}"
            fault = fault or nonsense(answer, name, text, package)
            if fault is not None:
                return Fault(f"{fault.kind}", f".{name}: {fault.where}", fault.message)
        return None


def _short(value: Any) -> str:
    return " ".join(repr(value).split())[:60]


def unused(points: Sequence[EntryPoint]) -> list[str]:
    """Names of entry points that no example calls, but for results, which only the package makes, and what takes no argument."""
    return sorted(p.name for p in points if not (p.calls or p.is_result) and {*p.signature.parameters} - {"self"})
