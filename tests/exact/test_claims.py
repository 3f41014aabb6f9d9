"""Properties of the ledger.

They catch a claim that cannot fail, a twin too close to the truth, a measurement that knows its seed or its prediction, and an
id that was forgotten.
"""

import dataclasses
import functools
import json

import pytest

from gradnoise.claims import registry
from gradnoise.claims.claim import Quantities, Run
from gradnoise.claims.judgement import Computed, Prediction, number, relation
from gradnoise.claims.report import Component
from gradnoise.simulations.seeds import Stream

NAMED = {
    "zhu2019": "eq5 eq8 definition1 eq11 eq13 eq13-linear eq13-saturation markov markov-lower trace-norm optimal-noise isotropic "
    "eq16-hint prop1 prop1-literal fig5-decay appendix-b d1 d3 toy-minima partition sharpness fig2 fig2-literal fig2-equalities "
    "toy-discrete eq18 fig4 prop2 prop2-printed prop3 prop3-hessian",
    "wu2019": "prop1 eq15 gaussian-iff eq17-weights eq17-gradient bernoulli fisher-b rademacher thm2 thm2-second-order "
    "eq8 thm1.1 thm1.2 thm1.3 algorithm1 thm3 thm3-modified thm3-bounded eq81 eq81-sharper",
    "wu2020": "eq1 eq2 sec4.1-cost sec4.3 sec4.4 thm1 thm1-dimension thm1-equality a3 algorithm2 algorithm2-tower two-moments "
    "gaussian-faster non-gaussian",
    "ne2021": "eq4 eq10 eq11 non-equivalence table3-significance table2-significance table2-scaling noise-prefers-quiet svag",
}
CLAIMS = registry.all_claims()
SMALL = 20_000  # paths, enough to tell a sampled quantity from a computed one
FAST = ["zhu2019.trace-norm", "zhu2019.d1", "wu2020.eq2", "ne2021.eq11", "ne2021.table3-significance"]


def small_run(seed: int) -> Run:
    return Run(SMALL, 20, Stream.of(seed).sequence())


@functools.cache
def measured(id: str, seed: int) -> Quantities:
    """Each claim is measured once for all tests; that it repeats is a test of its own."""
    return CLAIMS[id].measure(small_run(seed))


@pytest.mark.parametrize("paper", NAMED)
def test_every_row_of_the_ledger_is_registered(paper):
    assert {f"{paper}.{place}" for place in NAMED[paper].split()} <= set(CLAIMS)


@pytest.mark.parametrize("id", CLAIMS)
def test_a_refuted_claim_says_what_holds_instead_and_a_true_one_does_not(id):
    claim = CLAIMS[id]
    assert bool(claim.corrected()) == bool(claim.corrected_statement)
    if claim.corrected():
        assert claim.expected == "refuted"


@pytest.mark.parametrize("id", CLAIMS)
def test_predictions_speak_of_measured_quantities_and_all_sampled_ones_have_a_margin(id):
    claim = CLAIMS[id]
    quantities, margins = measured(id, 1), claim.margins()
    for predictions in (claim.published(), claim.corrected(), *(p for _, p in claim.sabotaged())):
        assert set(predictions) <= set(quantities)
        for label in predictions:
            assert isinstance(quantities[label], Computed) or margins[label] > 0


@pytest.mark.parametrize("id", CLAIMS)
def test_each_quantity_can_be_written_as_json(id):
    claim = CLAIMS[id]
    for label, quantity in measured(id, 1).items():
        component = Component.of(label, quantity, claim.published().get(label), claim.margins().get(label), registry.LEVEL)
        assert json.dumps(dataclasses.asdict(component))


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
            if isinstance(q, Computed):
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


@pytest.mark.parametrize("id", CLAIMS)
def test_what_is_sampled_changes_with_the_seed_and_repeats_with_it(id):
    first, other = measured(id, 1), measured(id, 2)
    again = CLAIMS[id].measure(small_run(1))
    for label, quantity in first.items():
        assert quantity == again[label]
        # A frequency of zero or one can repeat by right.
        if not isinstance(quantity, Computed) and quantity.standard_error > 0:
            assert quantity.value != other[label].value, label


def test_a_verdict_does_not_depend_on_what_else_is_run_or_on_the_workers():
    alone = registry.verify("ne2021.eq10", n_jobs=1).entries[0]
    together = registry.verify(["ne2021.eq4", "ne2021.eq10"], n_jobs=2).entries[1]
    assert alone.components == together.components


def test_a_corrected_statement_can_be_verified_alone():
    (entry,) = registry.verify("zhu2019.d1.corrected").entries
    assert (entry.verdict, entry.expected) == ("holds", "holds")
    assert entry.statement == CLAIMS["zhu2019.d1"].corrected_statement


def test_the_error_budget_covers_all_comparisons():
    total = 0
    for id, claim in CLAIMS.items():
        quantities = measured(id, 1)
        sampled = {label for label, q in quantities.items() if not isinstance(q, Computed)}
        twins = [p for _, p in claim.sabotaged()] * (2 if claim.corrected() else 1)
        total += sum(len(sampled & set(p)) for p in (claim.published(), claim.corrected(), *twins))
    assert 0 < total <= registry.COMPARISONS


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
