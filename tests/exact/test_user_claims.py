"""Claims of users: files, modules and objects, as cases of pytest, and what becomes of their mistakes.

It would catch a claim that is lost, judged as it was before its file changed, or sent nowhere by worker processes; a broken file
that leaves claims behind or ends others; a check without a twin that passes for one with; and a verdict that the cases hide.
"""

import subprocess
import sys
import textwrap

import pytest
from joblib import parallel_config

from gradnoise.claims import assessment, registry
from gradnoise.claims.claim import CLAIMS, Claim, claim
from gradnoise.claims.description import describe
from gradnoise.claims.power import has_twins
from gradnoise.testing import claim_test

HEAD = """
import numpy as np
from gradnoise.claims.claim import Claim, claim
from gradnoise.claims.judgement import Computed
from gradnoise.simulations import ensemble
"""


def one(id="me2026.one", value="1.0", twin: str | None = 'yield "two", {"q": 2.0}'):
    return (
        HEAD
        + textwrap.dedent(f"""
        @claim({id!r}, "One is one", kind="exact", source="Lemma 1")
        class One(Claim):
            def measure(self, run):
                return {{"q": Computed({value})}}

            def published(self):
                return {{"q": 1.0}}
        """)
        + (textwrap.indent(f"\ndef sabotaged(self):\n    {twin}\n", "    ") if twin else "")
    )


@pytest.fixture(autouse=True)
def forgotten():
    """No claim of a test stays registered, nor the folder of its file on the path."""
    registry.all_claims()  # else ours would be forgotten with them
    before, path = dict(CLAIMS), list(sys.path)
    yield
    CLAIMS.clear()
    CLAIMS.update(before)
    sys.path[:] = path


@pytest.fixture
def file(tmp_path):
    def write(text, name="mine.py"):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def test_a_file_is_judged_as_ours_are_and_mixed_with_them(file):
    mine = file(one())
    report = registry.verify([mine, "zhu2019.trace-norm"], sabotage=True)
    assert [(e.id, e.paper, e.verdict) for e in report.entries] == [
        ("zhu2019.trace-norm", "zhu2019", "holds"), ("me2026.one", "me2026", "holds"),
    ]  # fmt: skip
    assert report.as_expected and [t.verdict for t in report.entries[1].sabotaged] == ["refuted"]
    assert "## me2026: 1 holds" in report.to_markdown().splitlines()
    # its id, its paper, the class and the instance mean the same once it is registered
    for ids in (
        "me2026.one",
        "me2026",
        type(CLAIMS["me2026.one"]),
        CLAIMS["me2026.one"],
        f"{mine}::me2026",
        f"{mine}::me2026.one",
    ):
        assert registry.select(ids) == ["me2026.one"], ids
    assert "me2026.one" not in registry.select()
    assert [row["id"] for row in registry.ledger(ids=mine)] == ["me2026.one"]


def test_a_change_of_the_file_is_seen_and_no_change_is_no_second_import(file):
    mine = file(one() + "\nprint('imported')")
    assert registry.verify(mine).as_expected
    first = CLAIMS["me2026.one"]
    assert registry.verify(mine).as_expected and CLAIMS["me2026.one"] is first
    file(one(value="1.5"))
    assert [e.verdict for e in registry.verify(mine).entries] == ["refuted"]
    file(one(id="me2026.renamed"))
    assert registry.select(mine) == ["me2026.renamed"] and "me2026.one" not in CLAIMS


def test_a_file_finds_what_stands_beside_it_and_a_module_its_claims(file, monkeypatch, tmp_path):
    file("value = 1.0", "beside.py")
    assert registry.verify(file("from beside import value\n" + one(value="value"))).as_expected
    file(one(id="me2026.inside"), "a_module_of_claims.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert registry.select("a_module_of_claims") == ["me2026.inside"]
    assert registry.select("gradnoise.claims.zhu2019.proposition3")[:1] == ["zhu2019.prop3"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero (mine.py:1)"),
        ("def f(:", "SyntaxError: invalid syntax"),
        ("raise SystemExit(3)", "SystemExit: 3 (mine.py:1)"),
        ("x = 1", "which has none"),
        (one(id="zhu2019.d1"), "id must name a claim that is not registered yet, got 'zhu2019.d1' again"),
        (one() + "\nno_such_name", "NameError: name 'no_such_name' is not defined"),
        (one(id="lemma1"), "id must be paper.place, such as me2026.lemma1, got 'lemma1'"),
        (one(id="me2026.one.corrected"), "id must be paper.place"),
    ],
)
def test_a_file_that_cannot_be_imported_is_named_and_leaves_nothing(file, text, message):
    mine, before = file(text), set(CLAIMS)
    for _ in range(2):  # the second time as the first
        with pytest.raises(ValueError, match=r"^ids must be of ") as error:
            registry.verify(mine)
        assert message in str(error.value) and "mine.py" in str(error.value)
    assert set(CLAIMS) == before | set(registry.all_claims())


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ("no/such.py", "ids must be of files that can be read, got 'no/such.py': No such file"),
        ("zhu2019.eq31", "ids must name claims, papers, files or modules, got 'zhu2019.eq31'; did you mean zhu2019.eq"),
        ("json", "ids must be of files or modules that register claims by @claim, got 'json', which has none"),
        ("mine\0.py", "ids must be of files that can be read"),
        (Claim, "ids must be of claims that @claim has registered"),
    ],
)
def test_what_is_no_claim_is_named(ids, message):
    with pytest.raises(ValueError, match=r"ids must") as error:
        registry.select(ids)
    assert message in str(error.value)
    with pytest.raises(TypeError, match="each of ids must be a string"):
        registry.select([3])  # type: ignore[list-item]


def test_one_claim_of_a_file_is_named_by_its_id(file):
    mine = file(one() + one(id="me2026.two").replace("class One", "class Two"))
    assert registry.select(mine) == ["me2026.one", "me2026.two"]
    assert registry.select(f"{mine}::me2026.two") == ["me2026.two"]
    with pytest.raises(ValueError, match=r"ids must name claims of .*mine\.py, got 'me2026\.three'; did you mean"):
        registry.select(f"{mine}::me2026.three")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('return {"q": Computed(1.0)}', "return None", "what measure returns must be of class Mapping, got None"),
        ('return {"q": Computed(1.0)}', 'return {"q": 1.0}', "quantity must be Computed, an Estimate"),
        ('return {"q": 1.0}', 'return {"p": 1.0}', "predictions must be of what was measured, q, got 'p'"),
        ('return {"q": Computed(1.0)}', "return {}[0]", "KeyError: 0 (mine.py:"),
    ],
)
def test_an_error_in_a_claim_is_about_it_alone_and_tells_the_line(file, old, new, message):
    text = one()
    assert old in text
    report = registry.verify([file(text.replace(old, new)), "zhu2019.trace-norm"])
    right, wrong = report.entries
    assert right.verdict == "holds" and wrong.verdict == "error" and message in str(wrong.error)
    assert wrong.error is not None and wrong.error.where.startswith(
        ("mine.py:", "assessment.py:", "judgement.py:", "_validation.py:")
    )


def test_a_check_that_was_never_seen_to_fail_says_so(file):
    mine = file(one(twin=None))
    for sabotage in (False, True):
        report = registry.verify(mine, sabotage=sabotage)
        assert report.as_expected and report.entries[0].never_failed
        assert "`me2026.one`, no twin: this check was never seen to fail" in report.to_markdown()
    assert (
        registry.verify(file(one(twin="yield from ()"), "empty.py".replace("empty", "mine")), sabotage=True)
        .entries[0]
        .never_failed
    )
    with pytest.raises(ValueError, match=r"ids must be of claims with sabotaged twins where strict is set, got me2026\.one"):
        registry.verify(mine, strict=True)
    assert not registry.verify("zhu2019.trace-norm", strict=True, sabotage=True).entries[0].never_failed


SAMPLED = (
    HEAD
    + """
from gradnoise.simulations.statistics import Estimate

def draw(n_paths, generator):
    return (generator.normal(size=n_paths),)

@claim("me2026.sampled", "A standard normal has the variance one", kind="comparison", source="Lemma 2")
class Sampled(Claim):
    def measure(self, run):
        (x,) = ensemble.run(draw, (), run.n_paths, rng=run.at("x"), reduce=ensemble.concatenate, block_size=5_000)
        return {"variance": Estimate.of(x**2)}

    def published(self):
        return {"variance": 1.0}

    def margin(self, label):
        from gradnoise.claims.prediction import Relative
        return Relative(0.1)

    def sabotaged(self):
        yield "two", {"variance": 2.0}
"""
)


def test_numbers_do_not_depend_on_workers_or_on_what_else_is_run(file):
    mine = file(SAMPLED)
    alone = registry.verify(mine).entries[0]
    with parallel_config("loky", n_jobs=2):  # whose processes do not know the file
        side_by_side = registry.verify(["zhu2019.trace-norm", mine]).entries[1]
    assert alone.components == side_by_side.components and alone.verdict == "holds"


def test_more_comparisons_than_ours_are_counted(monkeypatch):
    @claim("me2026.many", "Many numbers", kind="comparison", source="nowhere")
    class Many(Claim):
        pilot_paths = 100

        def measure(self, run):
            x = run.generator().uniform(size=(100, 2 * assessment.COMPARISONS))
            from gradnoise.simulations.statistics import Estimate

            return {f"{k}": Estimate.of(column) for k, column in enumerate(x.T)}

        def published(self):
            return {f"{k}": 0.5 for k in range(2 * assessment.COMPARISONS)}

        def margin(self, label):
            return None

    report = registry.verify(Many)
    assert report.false_alarm_rate == pytest.approx(2 * registry.FALSE_ALARM_RATE, rel=1e-6)
    assert registry.verify("zhu2019.trace-norm").false_alarm_rate == registry.FALSE_ALARM_RATE


def test_a_claim_is_described_whole(file):
    (entry,) = registry.verify(file(SAMPLED), sabotage=True).entries
    text = describe(entry, 70)
    assert all(len(line) <= 70 for line in text.splitlines())
    for part in ("me2026.sampled holds, as expected", "predicted  = 1 ± 0.1", "interval [", "refuted  two", "n = "):
        assert part in text
    (bar,) = [line for line in text.splitlines() if "●" in line and "measured" not in line]
    assert bar.count("|") + bar.count("●") >= 1 and set(bar.strip()) <= set("·░━|●")
    component = entry.components[0]
    assert bar.strip().index("●") >= bar.strip().index("━") - 1 and component.verdict == "holds"


def test_cases_of_pytest_pass_and_fail_as_the_claims_do(file, tmp_path):
    wrong = one(id="me2026.wrong", value="1.5").replace("class One", "class Wrong")
    weak = one(id="me2026.weak", twin='yield "a hair", {"q": 1.0 + 1e-18}').replace("class One", "class Weak")
    mine = file(one() + wrong + weak)
    (tmp_path / "test_mine.py").write_text(f"from gradnoise.testing import claim_test\ntest_claims = claim_test({mine!r})\n")
    call = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "test_mine.py", "-rA"]
    done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path)
    assert "PASSED test_mine.py::test_claims[me2026.one]" in done.stdout
    assert "PASSED test_mine.py::test_claims[me2026.one: not two]" in done.stdout
    assert "FAILED test_mine.py::test_claims[me2026.wrong]" in done.stdout and "measured   1.5" in done.stdout
    assert "FAILED test_mine.py::test_claims[me2026.weak]" in done.stdout and "says what is published" in done.stdout
    with pytest.raises(ValueError, match="strict is set"):
        claim_test(file(one(twin=None), "other.py"), strict=True)(type("case", (), {"id": "me2026.one", "twin": None}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ids": None}, "ids must name claims, got None"),
        ({"budget": "half"}, "budget must be one of quick, full, got 'half'"),
        ({"rng": "x"}, "rng must be"),
        ({"strict": 1.5}, "strict must be"),
        ({"extra": "x"}, "extra must be one of"),
    ],
)
def test_what_cases_cannot_be_made_of_is_named_where_they_are_made(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        claim_test(**{"ids": "zhu2019.trace-norm", **arguments})
    with pytest.raises(TypeError, match="subject must be"):
        has_twins(None)  # type: ignore[arg-type]
