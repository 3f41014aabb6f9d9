"""Which claims there are: ours, paper by paper, and those that users have registered."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gradnoise.claims import user_claims
from gradnoise.claims.claim import CLAIMS, CORRECTED, Claim
from gradnoise.theory._validation import as_choice, as_text, shown

__all__ = ["EXTRAS", "PAPERS", "Wanted", "all_claims", "claim_ids", "ledger", "select"]

OneWanted = str | Claim | type[Claim]
#: What names claims, see `select`.
Wanted = OneWanted | Iterable[OneWanted] | None

PAPERS = ("zhu2019", "wu2019", "wu2020", "ne2021")
_MODULES = (
    "zhu2019.noise",
    "zhu2019.double_well",
    "zhu2019.ito",
    "zhu2019.escape",
    "zhu2019.alignment",
    "zhu2019.proposition1",
    "zhu2019.fisher",
    "zhu2019.proposition2",
    "zhu2019.proposition3",
    "zhu2019.toy",
    "zhu2019.figure2",
    "zhu2019.experiments",
    "wu2019.sampling",
    "wu2019.complexity",
    "wu2019.sgd_complexity",
    "wu2019.weak",
    "wu2019.strong",
    "wu2019.strong_bound",
    "wu2019.algorithm",
    "wu2019.gaussian_noise",
    "wu2019.independent",
    "wu2020.noise_class",
    "wu2020.risk_bound",
    "wu2020.least_squares",
    "wu2020.cost",
    "wu2020.sampling",
    "wu2020.minibatch",
    "ne2021.enhancement",
    "ne2021.tables",
    "ne2021.costs",
    "ne2021.adam",
    "ne2021.wells",
    "ne2021.diffusion",
)
#: Claims beside those of the core: "neural" trains networks, for which it needs PyTorch; "kept" judges trainings that come with
#: gradnoise.
_EXTRA_MODULES = {
    "neural": ("zhu2019.networks", "wu2019.networks", "wu2020.networks"),
    "kept": ("wu2020.kept",),
}
EXTRAS = tuple(_EXTRA_MODULES)
_NEEDS = {"neural": "gradnoise.simulations.neural"}

_LONGEST_ID = 100  # letters of a wrong one that are compared with those that there are


def all_claims(extra: str | None = None) -> dict[str, Claim]:
    """All claims by id, in the order of the papers: those of the core, or those of an extra.

    Parameters
    ----------
    extra : {"neural", "kept"}, optional
        Claims of this extra, in place of those of the core.

    Returns
    -------
    dict of Claim

    Raises
    ------
    ValueError
        If the extra is not known, or not installed.

    Examples
    --------
    >>> found = all_claims()["zhu2019.trace-norm"]
    >>> found.paper, found.statement, found.expected
    ('zhu2019', 'E‖ε‖² = Tr Σ', 'holds')
    """
    names = [f"gradnoise.claims.{module}" for module in (_MODULES if extra is None else _of_extra(extra))]
    for name in names:
        importlib.import_module(name)
    return {id: c for name in names for id, c in CLAIMS.items() if type(c).__module__ == name}


def _of_extra(extra: str) -> tuple[str, ...]:
    as_choice(extra, "extra", EXTRAS)
    try:
        if extra in _NEEDS:
            importlib.import_module(_NEEDS[extra])
    except ModuleNotFoundError as error:
        raise ValueError(str(error)) from None
    return _EXTRA_MODULES[extra]


def claim_ids(extra: str | None = None) -> list[str]:
    """Ids of all claims of the papers, each corrected statement after the published one.

    Parameters
    ----------
    extra : {"neural", "kept"}, optional
        Claims of this extra, in place of those of the core.

    Returns
    -------
    list of str

    Examples
    --------
    >>> [id for id in claim_ids() if id.startswith("zhu2019.toy-minima")]
    ['zhu2019.toy-minima', 'zhu2019.toy-minima.corrected']
    """
    return _with_corrections(all_claims(extra))


def ledger(extra: str | None = None, ids: Wanted = None) -> list[dict[str, str | None]]:
    """Rows of the ledger: id, paper, kind, statement, source and expected verdict of claims.

    Parameters
    ----------
    extra : {"neural", "kept"}, optional
    ids : str, Claim or iterable of these, optional
        See `select`.

    Returns
    -------
    list of dict

    Examples
    --------
    >>> (row,) = ledger(ids="zhu2019.trace-norm")
    >>> row["kind"], row["statement"], row["expected"]
    ('exact', 'E‖ε‖² = Tr Σ', 'holds')
    """
    rows = []
    for id in select(ids, extra):
        subject, corrected = CLAIMS[id.removesuffix(CORRECTED)], id.endswith(CORRECTED)
        rows.append(
            {
                "id": id,
                "paper": subject.paper,
                "kind": subject.kind,
                "statement": subject.corrected_statement if corrected else subject.statement,
                "source": subject.source,
                "expected": "holds" if corrected else subject.expected,
            }
        )
    return rows


def select(ids: Wanted = None, extra: str | None = None) -> list[str]:
    """Ids of the claims that are meant.

    Parameters
    ----------
    ids : str, Claim or iterable of these, optional
        Claims, corrected statements (``zhu2019.d1.corrected``), whole papers (``zhu2019``), files of claims (``my_claims.py``;
        one of them is ``my_claims.py::me2026.lemma1``), modules of claims (``my_package.claims``), or classes that ``@claim`` has
        registered; all claims of the papers by default. A file or a module is imported: its code runs.
    extra : {"neural", "kept"}, optional
        Of the papers' claims those of this extra, in place of those of the core.

    Returns
    -------
    list of str
        Each once: those of the papers in the order of the ledger, then those of users as they were registered.

    Raises
    ------
    TypeError, ValueError
        If an id or an extra is not known, the extra is not installed, a file cannot be imported, or registers no claim.

    Examples
    --------
    >>> select(["zhu2019.d1", "zhu2019.trace-norm", "zhu2019.d1"])
    ['zhu2019.trace-norm', 'zhu2019.d1']
    """
    known = claim_ids(extra)
    if ids is None:
        return known
    if isinstance(ids, str) or _is_claim(ids):
        ids = [ids]  # type: ignore[list-item]
    if not isinstance(ids, Iterable) or isinstance(ids, Mapping) or getattr(ids, "ndim", 1) == 0:
        raise TypeError(f"ids must be a string, a claim, or an iterable of these, got {shown(ids)}")
    chosen = [id for one in ids for id in _meant(one, known)]
    order = [*known, *_with_corrections(CLAIMS)]
    return sorted(dict.fromkeys(chosen), key=order.index)


def _is_claim(value: Any) -> bool:
    return isinstance(value, Claim) or (isinstance(value, type) and issubclass(value, Claim))


def _with_corrections(claims: Mapping[str, Claim]) -> list[str]:
    return [id for key, c in claims.items() for id in ([key, key + CORRECTED] if c.corrected_statement else [key])]


def _meant(one: Any, known: list[str]) -> list[str]:
    """Ids that one of those that were given stands for."""
    if _is_claim(one):
        registered = CLAIMS.get(getattr(one, "id", ""))
        if registered is None or (registered is not one and type(registered) is not one):
            raise ValueError(f"ids must be of claims that @claim has registered, got {shown(one)}")
        return _with_corrections({registered.id: registered})
    id = as_text(one, "each of ids")
    file, _, inner = id.partition("::")
    if user_claims.is_file(file):
        loaded = _with_corrections(user_claims.load_file(file))
        if inner and not _named(inner, loaded):
            raise ValueError(f"ids must name claims of {file}, got {shown(inner)}{_hint(inner, loaded)}")
        return _named(inner, loaded) if inner else loaded
    users = _with_corrections(user_claims.registered())
    if found := _named(id, [*known, *users]):
        return found
    if (of_module := user_claims.load_module(id)) is not None:
        return _with_corrections(of_module)
    raise ValueError(f"ids must name claims, papers, files or modules, got {shown(id)}{_hint(id, [*known, *users])}")


def _named(id: str, known: Sequence[str]) -> list[str]:
    """Those of the known ids that are this one, or of the paper of this name."""
    return [k for k in known if k == id or (k.startswith(f"{id}.") and "." not in id)]


def _hint(id: str, known: Sequence[str]) -> str:
    papers = dict.fromkeys([*PAPERS, *(k.partition(".")[0] for k in known)])
    close = difflib.get_close_matches(id[:_LONGEST_ID], [*known, *papers], n=3)
    return f"; did you mean {' or '.join(close)}?" if close else " (gradnoise claims lists them)"
