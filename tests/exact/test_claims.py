"""Properties of the ledger.

They catch a claim that cannot fail, a twin too close to the truth, a measurement that knows its seed or its prediction, and an
id that was forgotten; and two parts of a measurement that share a stream, or workers that were not asked for.
"""

import contextlib
import dataclasses
import functools
import json
import math
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, cast

import joblib
import numpy as np
import pytest

from gradnoise import figures
from gradnoise.claims import assessment, instances, registry
from gradnoise.claims import claim as claims
from gradnoise.claims.claim import KINDS, Claim, Quantities, Run, computed
from gradnoise.claims.entry import Component, summary
from gradnoise.claims.judgement import Computed, PValue, judge
from gradnoise.claims.prediction import Absolute, AtLeast, Established, Prediction, Relative, number, relation
from gradnoise.claims.zhu2019 import experiments, proposition1
from gradnoise.simulations import ensemble
from gradnoise.simulations.network_protocols import Comparison
from gradnoise.simulations.sde import order_study
from gradnoise.simulations.seeds import Stream
from gradnoise.simulations.statistics import Estimate, Proportion, fit_order

NAMED = {
    "zhu2019": "eq5 eq8 magnitude definition1 eq11 eq11-state appendix-a1 eq13 eq13-linear eq13-saturation markov markov-lower "
    "trace-norm optimal-noise isotropic eq16-hint prop1 prop1-literal fig5-decay appendix-b d1 d3 toy-minima partition sharpness "
    "flatter fig2 fig2-literal fig2-equalities first-eigenvector small-step toy-discrete eq18 fig4 prop2 prop2-printed prop3 "
    "prop3-hessian eq71-72",
    "wu2019": "prop1 gaussian-iff rademacher fisher-b eq8 thm1.1 contraction thm1.2 thm1.3 thm2 thm2-second-order thm3 "
    "thm3-modified thm3-bounded eq81 eq81-sharper algorithm1 eq15 eq17-weights eq17-gradient bernoulli best-independent",
    "wu2020": "eq1 eq2 non-gaussian neither thm1 thm1-dimension optimal a3 thm1-equality two-moments gaussian-faster sec4.1-cost "
    "sec4.3 sec4.4 new-class algorithm2 algorithm2-tower",
    "ne2021": "eq4 eq10 eq11 non-equivalence footnote5 table2-significance table3-significance scaling cost time adam "
    "noise-prefers-quiet svag",
}
CLAIMS = registry.all_claims()
#: Of which even a small measurement takes minutes where Numba's compiler is off.
LONG = {
    *("zhu2019.eq11", "zhu2019.prop2", "zhu2019.prop2-printed", "zhu2019.fig4", "zhu2019.prop3", "zhu2019.eq71-72"),
    *("zhu2019.fig2", "zhu2019.fig2-literal", "zhu2019.first-eigenvector", "zhu2019.small-step"),
    *("wu2019.thm2", "wu2019.thm3", "wu2019.thm3-modified", "wu2019.sec4-pathwise"),
}
IDS = [pytest.param(id, marks=pytest.mark.compiled) if id in LONG else id for id in CLAIMS]
SMALL = 20_000 if os.environ.get("NUMBA_DISABLE_JIT", "0") == "0" else 200  # paths; 200 show which lines are reached
FAST = ["zhu2019.trace-norm", "zhu2019.d1", "wu2020.eq2", "ne2021.eq11", "ne2021.scaling", "ne2021.table3-significance"]


def small_run(seed: int) -> Run:
    return Run(SMALL, 20, Stream.of(seed).sequence())


@functools.cache
def measured(id: str, seed: int) -> Quantities:
    """Each claim is measured once for all tests; that it repeats is a test of its own."""
    return CLAIMS[id].measure(small_run(seed))


@pytest.mark.parametrize("paper", NAMED)
def test_every_row_of_the_ledger_is_registered(paper):
    assert {f"{paper}.{place}" for place in NAMED[paper].split()} <= set(CLAIMS)


@pytest.mark.parametrize("id", IDS)
def test_a_refuted_claim_says_what_holds_instead_and_a_true_one_does_not(id):
    claim = CLAIMS[id]
    assert bool(claim.corrected()) == bool(claim.corrected_statement)
    if claim.corrected():
        assert claim.expected in ("refuted", "not established")


@pytest.mark.parametrize("id", IDS)
def test_a_claim_is_of_the_kind_that_it_says(id):
    subject = CLAIMS[id]
    relations = {relation(p) for predictions in (subject.published(), subject.corrected()) for p in predictions.values()}
    sampled = [label for label, q in measured(id, 1).items() if not isinstance(q, Computed)]
    assert {
        "inequality": relations & {">=", "<="},
        "comparison": "=" in relations and sampled,
        "order of convergence": relations == {"="},
        "exact": not sampled,
        "test of significance": all(isinstance(q, PValue) for q in measured(id, 1).values()),
    }[subject.kind]


@pytest.mark.parametrize("id", IDS)
def test_predictions_speak_of_measured_quantities_and_all_sampled_ones_have_a_margin(id):
    claim = CLAIMS[id]
    quantities, margins = measured(id, 1), claim.margins()
    for predictions in (claim.published(), claim.corrected(), *(p for _, p in claim.sabotaged())):
        assert set(predictions) <= set(quantities)
        for label in predictions:
            assert isinstance(quantities[label], Computed) or margins[label] > 0


def test_what_was_judged_is_saved_before_it_is_made_readable(monkeypatch, tmp_path):
    """Catches a fault in the Markdown that costs the numbers, too."""
    report = registry.verify("zhu2019.trace-norm")
    monkeypatch.setattr(type(report), "to_markdown", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report.save(tmp_path)
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["claims"]


@pytest.mark.compiled
@pytest.mark.parametrize("id", [id for id in CLAIMS if CLAIMS[id].kind == "order of convergence" and id in LONG])
def test_a_pilot_is_far_from_where_no_order_can_be_fitted(id, monkeypatch):
    """Catches a claim that is an error with every fifth seed, as its pilot's errors are now above the floor and now below."""
    distances = []

    def fit(step_sizes, errors, standard_errors, **options):
        size = np.abs(errors) / np.maximum(10 * np.maximum(standard_errors, options["floor"]), 1e-300)
        distances.append(sorted(size)[-3 - options["next_term"]])
        return fit_order(step_sizes, errors, standard_errors, **options)

    monkeypatch.setattr(order_study, "fit_order", fit)
    for seed in range(2):
        CLAIMS[id].measure(Run(CLAIMS[id].pilot_paths, 20, Stream.of(seed).sequence()))
    assert len(distances) >= 2
    assert min(distances) > 1.6  # their spread is at most an eighth, in twelve runs of each


def test_margins_are_those_of_the_published_prediction_and_of_the_next_one_where_that_is_silent():
    class Subject(Claim):
        def margin(self, label):
            return {"a": Relative(0.1), "b": Absolute(0.5)}.get(label)

        def measure(self, run):
            return {}

        def published(self):
            return {"a": 2.0, "fixed": 1.0}

        def corrected(self):
            return {"a": 5.0, "b": 1.0}

        def sabotaged(self):
            yield "another", {"a": 7.0}

    assert Subject().margins() == {"a": 0.2, "b": 0.5}


@pytest.mark.parametrize("id", IDS)
def test_each_quantity_can_be_written_as_json(id):
    claim = CLAIMS[id]
    for label, quantity in measured(id, 1).items():
        component = Component.of(label, quantity, claim.published().get(label), claim.margins().get(label), registry.LEVEL)
        assert json.dumps(dataclasses.asdict(component))


@pytest.mark.compiled  # 200 paths do not tell
@pytest.mark.parametrize("id", CLAIMS)
def test_each_twin_is_four_margins_from_the_truth(id):
    claim = CLAIMS[id]
    quantities, margins = measured(id, 2), claim.margins()
    twins = list(claim.sabotaged())
    assert twins
    for name, twin in twins:
        # The truth is what was computed; where it was sampled, what is correct, or else what was published.
        truth = {**claim.published(), **claim.corrected()}
        distances = []
        for label, prediction in twin.items():
            q = quantities[label]
            if isinstance(prediction, Established):  # of an effect that goes one way or the other: all wrong, or not at all
                distances.append(math.inf if judge(q, prediction, 0.0, registry.LEVEL).verdict == "refuted" else 0.0)
            elif isinstance(q, Computed):
                distances.append(distance(q.value, prediction) / max(q.tolerance, 1e-300))
            elif label in truth and relation(truth[label]) == "=":
                distances.append(distance(number(truth[label]), prediction) / margins[label])
            else:  # a bound on a sampled quantity: the samples place it roughly
                distances.append((distance(q.value, prediction) - 5 * q.standard_error) / margins[label])
        assert max(distances) >= 4, f"{id}: twin {name!r} is {max(distances):.2g} margins away"


def distance(truth: float, prediction: Prediction) -> float:
    """How far the truth lies on the wrong side of a prediction."""
    miss = {"=": abs(truth - number(prediction)), ">=": number(prediction) - truth, "<=": truth - number(prediction)}
    return miss[relation(prediction)]


@pytest.mark.parametrize("id", FAST)
def test_a_twin_in_place_of_the_published_prediction_flips_the_verdict(id, monkeypatch):
    claim = CLAIMS[id]
    truth = claim.corrected() or claim.published()
    monkeypatch.setattr(claim, "published", lambda: truth)
    assert registry.verify(id).entries[0].verdict == "holds"
    for _, twin in claim.sabotaged():
        monkeypatch.setattr(claim, "published", lambda twin=twin: {**truth, **twin})
        assert registry.verify(id).entries[0].verdict == "refuted"


@pytest.mark.compiled  # 200 paths do not tell
@pytest.mark.parametrize("id", CLAIMS)
def test_what_is_sampled_changes_with_the_seed_and_repeats_with_it(id):
    first, other = measured(id, 1), measured(id, 2)
    again = CLAIMS[id].measure(small_run(1))
    for label, quantity in first.items():
        assert quantity == again[label]
        # A frequency of zero or one can repeat by right.
        if not isinstance(quantity, Computed) and quantity.standard_error > 0:
            assert quantity.value != other[label].value, label


def test_a_part_of_a_measurement_has_a_stream_of_its_own_by_its_name():
    run, other = small_run(1), small_run(1)
    other.at("without")
    assert numbers(run.at("with")) == numbers(other.at("with"))  # whatever was asked for before
    assert numbers(run.at("without")) != numbers(other.at("with, again"))
    assert numbers(small_run(2).at("with")) != numbers(small_run(1).at("with"))
    with pytest.raises(ValueError, match=r"label must name a part.* got 'with' again"):
        run.at("with")
    assert run.generator().random() == small_run(1).generator("instances").random()
    with pytest.raises(ValueError, match="'instances' again"):
        run.generator()
    with pytest.raises(TypeError, match="label must be a string, got 0"):
        run.at(cast(Any, 0))


def numbers(seed: np.random.SeedSequence) -> list[int]:
    return seed.generate_state(4).tolist()


class CountsWorkers(Claim):
    """A frequency, and in which threads it was last measured."""

    pilot_paths = 8 * ensemble.BLOCK_SIZE

    def __init__(self):
        self.threads = set()

    def measure(self, run):
        self.threads.clear()
        (heads,) = ensemble.run(self.toss, (), run.n_paths, rng=run.at("tosses"), reduce=ensemble.concatenate)
        return {"share": Proportion(int(heads.sum()), run.n_paths)}

    def toss(self, n_paths, generator):
        self.threads.add(threading.get_ident())
        time.sleep(0.01)  # so that every worker gets some
        return (generator.random(n_paths) < 0.5,)

    def published(self):
        return {"share": 0.5}

    def margin(self, label):
        return Absolute(0.05)

    def sabotaged(self):
        yield "a third", {"share": 1 / 3}


@pytest.mark.parametrize(
    ("active", "n_jobs", "workers"),
    [
        (None, None, 1),
        (None, 2, 2),
        ({"backend": "threading", "n_jobs": 2}, None, 2),  # a nested n_jobs=None would make it one
        ({"backend": "threading", "n_jobs": 2}, 1, 1),
        ({"backend": "threading", "n_jobs": 1}, 2, 2),
        ({"n_jobs": 2}, None, 2),
    ],
)
def test_workers_come_from_the_active_configuration_unless_verify_is_told(active, n_jobs, workers, monkeypatch):
    subject = CountsWorkers()
    subject.id, subject.statement, subject.kind, subject.source = "ne2021.eq4", "Heads are half", "comparison", "here"
    subject.expected, subject.corrected_statement = "holds", None
    monkeypatch.setitem(claims.CLAIMS, subject.id, subject)
    monkeypatch.setattr(registry, "claim_ids", lambda extra: [subject.id])
    with joblib.parallel_config(**active) if active else contextlib.nullcontext():
        before = joblib.effective_n_jobs()
        (entry,) = registry.verify(subject.id, n_jobs=n_jobs).entries
        assert joblib.effective_n_jobs() == before
    assert len(subject.threads) == workers
    assert entry.verdict == "holds" and entry.components[0].estimate == the_share()


@functools.cache
def the_share() -> float:
    """Share that the claim above measures, without any workers."""
    subject = CountsWorkers()
    subject.id = "ne2021.eq4"
    stream = Stream.of(registry.DEFAULT_SEED)
    return assessment.measure(subject, registry.BUDGETS["quick"], stream, subject.margins())["share"].value


def test_a_verdict_does_not_depend_on_what_else_is_run_or_on_the_workers():
    alone = registry.verify("ne2021.eq10", n_jobs=1).entries[0]
    together = registry.verify(["ne2021.eq4", "ne2021.eq10"], n_jobs=2).entries[1]
    assert alone.components == together.components


NOTHING_HAPPENS = """
import sys
import numpy as np
import scipy.stats
from numba.core.dispatcher import Dispatcher

def happens(*args, **kwargs):
    raise AssertionError("something is compiled, decomposed or drawn on import")

np.random.default_rng = Dispatcher.compile = np.linalg.eigh = np.linalg.inv = np.linalg.svd = happens
from gradnoise.claims import registry
found = registry.all_claims()
modules = {type(c).__module__ for c in found.values()} | {"gradnoise.claims.convergence", "gradnoise.claims.instances"}

def built(values):
    for name, value in values.items():
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else [value]
        for part in parts:
            module = type(part).__module__
            if module.startswith(("gradnoise.theory", "gradnoise.simulations")) and not hasattr(part, "__dataclass_fields__"):
                yield f"{name}: {part!r}"

everything = [vars(sys.modules[m]) for m in modules] + [vars(b) for c in found.values() for b in type(c).__mro__]
print(sorted({b for values in everything for b in built(values)}))
"""


def test_nothing_is_compiled_built_or_drawn_when_the_claims_are_imported():
    found = subprocess.run([sys.executable, "-c", NOTHING_HAPPENS], capture_output=True, text=True)
    assert (found.returncode, found.stdout.strip()) == (0, "[]"), found.stderr


@pytest.mark.parametrize(
    ("quantity", "measured"),
    [
        (Computed(0.25, rounding=1e-12), "0.25 (exact)"),
        (Computed(1.997, approximation=0.01), "1.997 ± 0.01 (approximation)"),
        (Proportion(5_000, 10_000), "0.5 ± 0.005"),
    ],
)
def test_a_reader_sees_what_a_number_may_be_wrong_by(quantity, measured):
    entry = registry.verify("zhu2019.trace-norm").entries[0]
    component = Component.of("q", quantity, AtLeast(0.0), 0.1, registry.LEVEL)
    assert summary(dataclasses.replace(entry, components=(component,))) == ("≥ 0", measured)


def test_numbers_of_kept_runs_are_those_that_the_figures_show():
    """It would catch kept runs that are made anew, and a claim that still speaks of the old ones."""
    stored = Path(figures.__file__).parent / "data"
    spectra = Comparison.load(stored / "zhu2019-fig5.json").eigenvalues
    assert np.allclose(spectra[:, 139] / spectra[:, 0], proposition1.KEPT_SHARES, rtol=1e-5)
    runs = Comparison.load(stored / "zhu2019-fig3.json")
    for name, sharpness in experiments.KEPT_SHARPNESS.items():
        assert np.allclose(runs.of(name, "sharpness")[:, -1], sharpness, rtol=1e-5)


def test_a_corrected_statement_can_be_verified_alone():
    (entry,) = registry.verify("zhu2019.d1.corrected").entries
    assert (entry.verdict, entry.expected) == ("holds", "holds")
    assert entry.statement == CLAIMS["zhu2019.d1"].corrected_statement


@pytest.mark.compiled
def test_the_error_budget_covers_all_comparisons():
    total = 0
    for id, claim in CLAIMS.items():
        quantities = measured(id, 1)
        sampled = {label for label, q in quantities.items() if not isinstance(q, Computed)}
        twins = [p for _, p in claim.sabotaged()] * (2 if claim.corrected() else 1)
        total += sum(len(sampled & set(p)) for p in (claim.published(), claim.corrected(), *twins))
    assert 0 < total <= assessment.COMPARISONS


def test_the_json_report_has_its_promised_shape(tmp_path):
    report = registry.verify(["wu2020.eq2", "zhu2019.trace-norm"], sabotage=True)
    report.save(tmp_path)
    data = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    assert {"version", "seed", "budget", "environment", "claims"} <= set(data)
    keys = "id paper kind statement source verdict expected predicted estimate standard_error interval level margin n seconds"
    for row in data["claims"]:
        assert {*keys.split(), "sabotaged"} <= set(row)
        assert {"name", "predicted", "verdict"} == set(row["sabotaged"][0])
    several, one = data["claims"][1], data["claims"][0]
    assert isinstance(several["estimate"], list) and isinstance(one["estimate"], float)
    assert "zhu2019.trace-norm" in (tmp_path / "report.md").read_text()


def raises(*args):
    raise ArithmeticError("no number fits \udcff")  # with what a file's name may hold, and UTF-8 may not


@pytest.mark.parametrize("method", ["measure", "published", "corrected", "margins"])
def test_a_claim_that_raises_is_an_error_and_the_others_are_judged(method, monkeypatch, tmp_path):
    """Catches one that ends the run, that counts as refuted, which is what is expected of this one, or that cannot be saved."""
    monkeypatch.setattr(CLAIMS["zhu2019.d1"], method, raises)
    report = registry.verify(["zhu2019.d1", "zhu2019.d1.corrected", "zhu2019.trace-norm"], sabotage=True)
    verdicts = {e.id: e.verdict for e in report.entries}
    failed = {"zhu2019.d1", "zhu2019.d1.corrected"}
    assert verdicts["zhu2019.trace-norm"] == "holds" and {id for id, v in verdicts.items() if v == "error"} == failed
    assert not report.as_expected and report.complete
    assert {id: failure.type for id, failure in report.failures()} == dict.fromkeys(failed, "ArithmeticError")
    file, page = report.save(tmp_path)
    rows = {row["id"]: row["error"] for row in json.loads(file.read_text(encoding="utf-8"))["claims"]}
    assert rows["zhu2019.trace-norm"] is None
    assert all("no number fits" in rows[id]["message"] and "raises" in rows[id]["traceback"] for id in failed)
    assert "could not be judged" in page.read_text(encoding="utf-8")


class Speechless(Exception):
    def __str__(self):
        raise SystemExit(0)


@pytest.mark.parametrize(
    "error", [SystemExit(0), GeneratorExit(), Speechless(), BaseException("text")], ids=lambda e: type(e).__name__
)
@pytest.mark.parametrize("method", ["measure", "published", "sabotaged"])
def test_whatever_a_claim_raises_is_an_error_of_it_alone(error, method, monkeypatch):
    """A SystemExit(0) would end the run as if all had been judged."""

    def leave(*args):
        raise error

    monkeypatch.setattr(CLAIMS["zhu2019.d1"], method, leave)
    report = registry.verify(["zhu2019.d1", "zhu2019.trace-norm"], sabotage=True)
    failed, judged = sorted(report.entries, key=lambda entry: entry.id)
    assert (judged.verdict, failed.verdict, report.as_expected) == ("holds", "error", False)
    assert failed.error is not None and failed.error.type == type(error).__name__


def test_a_correction_that_raises_leaves_the_verdict_on_what_was_published(monkeypatch):
    monkeypatch.setattr(CLAIMS["zhu2019.d1"], "corrected", lambda: {"nothing": 1.0})
    published, corrected = registry.verify(["zhu2019.d1", "zhu2019.d1.corrected"]).entries
    assert (published.verdict, corrected.verdict) == ("refuted", "error")


def test_a_twin_that_raises_is_an_error_and_not_refuted(monkeypatch):
    no_test = dict.fromkeys(CLAIMS["zhu2019.trace-norm"].published(), Established(0.05))
    monkeypatch.setattr(CLAIMS["zhu2019.trace-norm"], "sabotaged", lambda: iter([("that it is established", no_test)]))
    (entry,) = registry.verify("zhu2019.trace-norm", sabotage=True).entries
    (twin,) = entry.sabotaged
    assert (entry.verdict, twin.verdict, entry.as_expected) == ("holds", "error", False)
    assert twin.error is not None and twin.error.type == "TypeError"
    assert entry.to_dict()["sabotaged"][0]["error"]["type"] == "TypeError"


def test_an_interruption_is_no_error_of_the_claim(monkeypatch):
    def interrupt(run):
        raise KeyboardInterrupt

    judged = []
    monkeypatch.setattr(CLAIMS["zhu2019.d1"], "measure", interrupt)
    with pytest.raises(KeyboardInterrupt):
        registry.verify(["zhu2019.trace-norm", "zhu2019.d1"], on_entry=judged.append)
    assert [e.id for e in judged] == ["zhu2019.trace-norm"]


def test_a_report_that_was_cut_off_says_so_and_leaves_a_whole_one_of_before(tmp_path):
    whole = registry.verify(["zhu2019.trace-norm", "wu2020.eq2"])
    cut_off = registry.report_of(whole.entries[:1], seed=1, budget="quick", sabotage=False, left_out=["wu2020.eq2"])
    assert whole.as_expected and not cut_off.as_expected and "1 left out" in repr(cut_off)
    whole.save(tmp_path)
    whole.save_json(tmp_path / "my.json")
    before = {name: (tmp_path / name).read_bytes() for name in ("report.json", "report.md", "my.json")}
    for _ in range(2):  # the second finds one that was cut off
        cut_off.save(tmp_path)
        cut_off.save_json(tmp_path / "my.json")
        assert {name: (tmp_path / name.replace(".", "-whole.")).read_bytes() for name in before} == before
    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert (found["complete"], found["left_out"]) == (False, ["wu2020.eq2"])
    assert "Cut off: 1 of 2 claims" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert json.loads(before["report.json"])["complete"] is True


def test_a_foreign_file_is_not_taken_for_a_report(tmp_path):
    for text in ("[1", "[]", '{"complete": true}'):
        (tmp_path / "report.json").write_text(text)
        registry.report_of([], seed=1, budget="quick", sabotage=False, left_out=["wu2020.eq2"]).save(tmp_path)
        assert not (tmp_path / "report-whole.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ids": "zhu2019.eq133"}, "ids must name claims.*zhu2019.eq133.*did you mean zhu2019.eq13"),
        ({"ids": ["zhu2020"]}, "ids must name.*zhu2020"),
        ({"ids": "zhu2019.d1", "budget": "huge"}, "budget must be one of quick, full"),
        ({"ids": "zhu2019.d1", "rng": -1}, "rng must be >= 0"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        registry.verify(**arguments)


def test_a_claim_of_no_kind_or_of_a_known_id_is_not_registered():
    for kind, id, message in (
        ("tautology", "zhu2019.d1", f"kind must be one of {KINDS[0]}"),
        ("exact", "zhu2019.d1", "id must.*d1"),
    ):
        with pytest.raises(ValueError, match=message):
            claims.claim(id, "One is one", kind=kind, source="nowhere")(type(CLAIMS["zhu2019.d1"]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: instances.search_minimum(lambda x: math.nan, [np.ones(2)]), r"function\(x\) must be finite, got NaN"),
        (lambda: instances.search_minimum(cast(Any, lambda x: x), [np.ones(2)]), r"function\(x\) must have 0 dimension"),
        (lambda: instances.search_minimum(np.sum, [np.ones(2), np.ones(3)]), r"starts must be .*, got lengths \[2, 3\]"),
        (lambda: instances.random_psd(np.random.default_rng(1), 4, rank=5), "rank must be between 0 and 4"),
        (lambda: instances.random_spectrum(cast(Any, np.random), 4), "generator must be of class Generator"),
        (lambda: instances.covariance_by_exponential(np.eye(2), np.eye(3), 1.0), "hessian and covariance must have equal shapes"),
        (lambda: instances.covariance_by_exponential(-np.eye(2), np.eye(2), 1e9), "hessian, covariance and t must give finite"),
        (lambda: computed("Σ", np.ones((2, 3))), r"array must be .* square matrix, and not empty, got shape \(2, 3\)"),
        (lambda: computed("Σ", [1.0, math.nan]), "array must be finite, got NaN at index 1"),
        (lambda: Run(0, 20, np.random.SeedSequence(1)), "n_paths must be >= 1"),
        (lambda: Run(1000, 20, cast(Any, 1)), "rng must be of class SeedSequence, got 1"),
        (lambda: registry.report_of(cast(Any, [1]), 1, "quick", False), "each of entries must be of class Entry, got 1"),
        (lambda: registry.report_of([], -1, "quick", False), "seed must be between 0"),
    ],
)
def test_what_a_claim_is_made_of_is_checked(call, message):
    """It would catch a mistake in a claim that becomes a number."""
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_a_search_goes_around_where_the_function_is_infinite():
    value, point = instances.search_minimum(lambda x: (x[0] - 1) ** 2 if x[0] > 0 else math.inf, [np.array([0.01])])
    assert value == pytest.approx(0, abs=1e-12) and point == pytest.approx([1.0])


def test_why_nothing_decides_is_said_in_the_report(monkeypatch):
    subject = CLAIMS["zhu2019.eq13"]
    monkeypatch.setattr(subject, "measure", lambda run: dict.fromkeys(subject.published(), Estimate.of(np.ones(100))))
    report = registry.verify(subject.id)
    (entry,) = report.entries
    assert entry.verdict == "inconclusive" and entry.n_to_decide is None
    assert entry.reason == entry.to_dict()["reason"] == "no spread was seen, so how many samples would decide is not known"
    assert f"| inconclusive: {entry.reason} |" in report.to_markdown()
