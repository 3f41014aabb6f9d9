"""Claims as cases of pytest: each statement must be judged as its author expects, each sabotaged twin must be refuted."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gradnoise.claims.catalogue import Wanted
from gradnoise.claims.claim import CLAIMS, CORRECTED
from gradnoise.claims.description import describe
from gradnoise.claims.entry import ERROR, Entry
from gradnoise.claims.judgement import REFUTED
from gradnoise.claims.registry import BUDGETS, DEFAULT_SEED, select, verify
from gradnoise.simulations.seeds import RNG, Stream
from gradnoise.theory._validation import as_choice, as_flag

__all__ = ["claim_test"]


@dataclass(frozen=True)
class _Case:
    """What one case asks: a verdict, or that of a twin."""

    id: str
    twin: str | None = None

    def __str__(self) -> str:
        return self.id if self.twin is None else f"{self.id}: not {self.twin}"


def claim_test(
    ids: Wanted, *, budget: str = "quick", rng: RNG = DEFAULT_SEED, strict: bool = False, extra: str | None = None
) -> Callable[..., None]:
    """Make a test function of claims, which pytest collects as a case for each statement and each twin.

    A claim is measured once, by the first of its cases. What is "to be measured", without an expected verdict, fails only where
    it raises.

    Parameters
    ----------
    ids : str, Claim or iterable of these
        See `gradnoise.claims.registry.select`: a file of claims, most often.
    budget : {"quick", "full"}
    rng : None, int, SeedSequence or Generator
    strict : bool
    extra : {"neural", "kept"}, optional
        See `gradnoise.claims.registry.verify`.

    Returns
    -------
    callable
        To be assigned to a name that begins with ``test``.

    Raises
    ------
    TypeError, ValueError
        As `gradnoise.claims.registry.verify` does, when the cases are collected, or if no ids are given.
    ModuleNotFoundError
        If there is no pytest.

    Examples
    --------
    >>> from gradnoise.testing import claim_test
    >>> test_claims = claim_test("zhu2019.trace-norm")
    >>> [str(case) for case in test_claims.pytestmark[0].args[1]]
    ['zhu2019.trace-norm', 'zhu2019.trace-norm: not largest eigenvalue', 'zhu2019.trace-norm: not Frobenius norm']
    """
    import pytest

    if ids is None:
        raise TypeError("ids must name claims, got None")
    chosen, stream = select(ids, extra), Stream.of(rng)
    as_choice(budget, "budget", tuple(BUDGETS))
    as_flag(strict, "strict")

    @functools.cache
    def entries(key: str) -> dict[str, Entry]:
        of_claim = [id for id in chosen if id.removesuffix(CORRECTED) == key]
        return {
            e.id: e
            for e in verify(of_claim, budget=budget, rng=stream.sequence(), sabotage=True, strict=strict, extra=extra).entries
        }

    @pytest.mark.parametrize("case", [case for id in chosen for case in _cases(id)], ids=str)
    def test(case: _Case) -> None:
        entry = entries(case.id.removesuffix(CORRECTED))[case.id]
        if case.twin is None:
            wrong = entry.verdict == ERROR or entry.expected not in (None, entry.verdict)
        else:
            wrong = {twin.name: twin.verdict for twin in entry.sabotaged}.get(case.twin) != REFUTED
        assert not wrong, f"{case}\n{describe(entry)}"

    return test


def _cases(id: str) -> Iterator[_Case]:
    yield _Case(id)
    if not id.endswith(CORRECTED):
        try:
            names = [name for name, _ in CLAIMS[id].sabotaged()]
        except Exception:  # of which the verdict tells
            return
        yield from (_Case(id, name) for name in names)
