"""How something is done with a sampling vector, by its exact class.

A class in `gradnoise.theory.sampling` states its law. How it is drawn and enumerated is a rule for it in each of the books

- `gradnoise.simulations.sampling.compiled.COMPILED`: the record that a kernel draws it by, and so NumPy
- `gradnoise.simulations.sampling.draws.DRAWN`: in NumPy, where there is no such record
- `gradnoise.simulations.sampling.enumeration.LISTED`: all its outcomes
- `gradnoise.simulations.neural.weights.DRAWN_BY_TORCH`: with torch
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from gradnoise.theory._validation import as_function, as_text, shown
from gradnoise.theory.sampling import SamplingNoise

__all__ = ["Rules"]

Rule = TypeVar("Rule", bound=Callable[..., Any])


class Rules:
    """Rules by exact class; a class without one may have a method of its own.

    A rule is never inherited: a subclass may have another law than its base.

    Parameters
    ----------
    otherwise : str
        What a message says of a class with neither, as in ``"must have a method draw(size, generator)"``.
    method : str, optional
        Name of the method that a user's class may have in place of a rule.

    Attributes
    ----------
    known : dict
        Rules of classes, called as ``rule(noise, *arguments)``.
    missing : dict
        Why there is no rule for a class.

    Examples
    --------
    >>> from gradnoise.simulations.sampling import Rules
    >>> from gradnoise.theory.sampling import Gaussian, Minibatch
    >>> names = Rules("must have a method name()", "name")
    >>> @names.of(Minibatch)
    ... def _minibatch(noise):
    ...     return f"SGD-{noise.batch_size}"
    >>> names.apply(Minibatch(7, 3))
    'SGD-3'
    >>> names.apply(Gaussian(7, 3))
    Traceback (most recent call last):
    ...
    TypeError: noise of class Gaussian must have a method name()
    """

    def __init__(self, otherwise: str, method: str | None = None) -> None:
        self.otherwise, self.method = as_text(otherwise, "otherwise"), None if method is None else as_text(method, "method")
        self.known: dict[type[SamplingNoise], Callable[..., Any]] = {}
        self.missing: dict[type[SamplingNoise], str] = {}

    def of(self, *classes: type[SamplingNoise]) -> Callable[[Rule], Rule]:
        """Decorate the rule of some classes."""
        for cls in classes:
            if not (isinstance(cls, type) and issubclass(cls, SamplingNoise)):
                raise TypeError(f"classes must be subclasses of SamplingNoise, got {shown(cls)}")

        def register(rule: Rule) -> Rule:
            as_function(rule, "rule")
            self.known.update(dict.fromkeys(classes, rule))
            return rule

        return register

    def __contains__(self, noise: SamplingNoise) -> bool:
        return type(noise) in self.known or self._own(noise) is not None

    def apply(self, noise: SamplingNoise, *arguments: Any) -> Any:
        """Apply the rule of the class of `noise`, or else its own method.

        Raises
        ------
        TypeError
            If it has neither.
        """
        cls = type(noise)
        rule = self.known.get(cls) or self._own(noise)
        if rule is None:
            raise TypeError(f"noise of class {cls.__name__} {self.missing.get(cls, self.otherwise)}")
        return rule(noise, *arguments)

    def _own(self, noise: SamplingNoise) -> Callable[..., Any] | None:
        own = None if self.method is None else getattr(type(noise), self.method, None)
        return own if callable(own) else None
