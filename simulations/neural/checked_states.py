"""In which states of a network it has been checked: what it computes depends on more than its tensors and its mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from operator import is_
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from torch import nn

from gradnoise.simulations.neural.models import GhostBatchNorm2d

#: Attributes that are compared: a rate, a flag, the name of a mode, a function to call. Tensors are what a network is trained by.
_PLAIN = (bool, int, float, str, type(None), FunctionType, BuiltinFunctionType, MethodType, partial)


class CheckedStates:
    """States in which a network, and a loss that is a module, have been found right.

    A state is which modules there are, with which hooks, and their plain attributes: ``training`` of all, ``p`` of a dropout.
    Left out are attributes that an evaluation itself changes, as one that counts, and whether ghosts are in training mode, in
    which they are never checked: it is what they are made for.

    Parameters
    ----------
    *parts : object
        What is no module has no state.

    Examples
    --------
    >>> from torch import nn
    >>> from gradnoise.simulations.neural.checked_states import CheckedStates
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.0))
    >>> states = CheckedStates(model)
    >>> with states.checking():
    ...     pass
    >>> model[1].p = 0.5
    >>> states.known()
    False
    """

    def __init__(self, *parts: object) -> None:
        self._parts = [part for part in parts if isinstance(part, nn.Module)]
        self._checked: set[tuple[Any, ...]] = set()
        self._changing: set[tuple[nn.Module, str]] = set()
        self._known: list[object] = []  # what the network consisted of when its state was last found to be known

    def __bool__(self) -> bool:
        return bool(self._checked)

    def known(self) -> bool:
        """Whether the present state has been checked."""
        modules = self._modules()
        present = _objects(modules)
        # Of the same objects it is the same state: that takes a microsecond for each module, and is asked at each product.
        if len(present) == len(self._known) and all(map(is_, present, self._known)):
            return True
        if self._state(modules) not in self._checked:
            return False
        self._known = present
        return True

    @contextmanager
    def checking(self) -> Iterator[None]:
        """Context in which the network is evaluated; where nothing is raised, its state is known from then on."""
        before = dict(_attributes(self._modules()))
        yield
        modules = self._modules()
        self._changing |= {key for key, value in _attributes(modules) if key not in before or before[key] != value}
        self._checked.add(self._state(modules))

    def _modules(self) -> list[nn.Module]:
        """All modules, as `torch.nn.Module.modules` has them, but for their order, in a tenth of its time."""
        found: dict[nn.Module, None] = {}
        waiting: list[nn.Module | None] = [*self._parts]
        while waiting:
            module = waiting.pop()
            if module is not None and module not in found:
                found[module] = None
                waiting += module._modules.values()
        return list(found)

    def _state(self, modules: list[nn.Module]) -> tuple[Any, ...]:
        """A state as it is compared, with the modules themselves: no other one can have the place in memory of one of them."""
        plain: list[Any] = []
        for key, value in _attributes(modules):
            is_ghosts = isinstance(key[0], GhostBatchNorm2d) and key[1] == "training"
            if not is_ghosts and key not in self._changing:
                plain.append((key, value))
        return tuple(plain), tuple((module, type(module), *_hooks(module)) for module in modules)


def _objects(modules: list[nn.Module]) -> list[object]:
    """All that a state is made of, as it is, and more."""
    found: list[object] = []
    for module in modules:
        found += (module, type(module))
        found += vars(module).values()
        found += _hooks(module)
    return found


def _attributes(modules: list[nn.Module]) -> Iterator[tuple[tuple[nn.Module, str], Any]]:
    """Plain attributes of modules."""
    for module in modules:
        for name, value in vars(module).items():
            if isinstance(value, _PLAIN):
                yield (module, name), value


def _hooks(module: nn.Module) -> tuple[int, ...]:
    """Numbers of a module's hooks, of which torch gives none twice."""
    return (*module._forward_pre_hooks, *module._forward_hooks, *module._backward_pre_hooks, *module._backward_hooks)
