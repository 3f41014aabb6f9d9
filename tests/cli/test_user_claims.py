"""Claims of a user's own on the command line: a file to begin with, its verdicts, one claim whole, and what is wrong in it."""

import re

import pytest
from typer.testing import CliRunner

from gradnoise.claims import registry
from gradnoise.claims.claim import CLAIMS
from gradnoise.cli import console
from gradnoise.cli.main import app


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder without files, and no claim of a test that stays registered."""
    monkeypatch.chdir(tmp_path)
    registry.all_claims()
    before = dict(CLAIMS)
    yield
    CLAIMS.clear()
    CLAIMS.update(before)


def gradnoise(*args):
    return CliRunner().invoke(app, list(args))


def test_the_file_to_begin_with_runs_and_its_twins_are_refuted(tmp_path):
    made = gradnoise("new-claim", "me2026")
    assert made.exit_code == 0 and "gradnoise verify me2026.py --sabotage" in made.stdout
    text = (tmp_path / "me2026.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 27 and text.count("#") >= 5
    judged = gradnoise("verify", "me2026.py", "zhu2019.trace-norm", "--sabotage", "--strict", "--json", "report.json")
    assert judged.exit_code == 0, judged.output
    assert "2 claims: 2 holds" in judged.stdout and "4 of 4 sabotaged twins are refuted" in judged.stdout
    assert "me2026.lemma1" in gradnoise("claims", "me2026.py").stdout
    again = gradnoise("new-claim", "me2026.py")
    assert again.exit_code == 2 and "NAME must be of a file that is not there yet, got me2026.py" in again.stderr
    for name in ("me-2026", "../me", "", "2026"):
        refused = gradnoise("new-claim", name)
        assert refused.exit_code == 2 and "NAME must be one that Python can import" in refused.stderr


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_one_claim_is_shown_whole(columns, monkeypatch):
    monkeypatch.setattr(console.console, "width", columns)
    gradnoise("new-claim", "me2026")
    shown = gradnoise("show", "me2026.py::me2026.lemma1", "--seed", "3")
    assert shown.exit_code == 0, shown.output
    again = re.search(r"again: gradnoise (show .*)", shown.stdout)
    assert again is not None and "--seed 3" in again[1]
    assert gradnoise(*again[1].split()).stdout == shown.stdout
    body = shown.stdout[: shown.stdout.index("again:")]
    assert all(len(line) <= columns for line in body.splitlines()) and "refuted  b − 1 in place of b" in body
    of_both = gradnoise("show", "zhu2019")
    assert of_both.exit_code == 2 and "ID must be of one claim, got 'zhu2019', which are" in of_both.stderr
    assert "ID must name claims" in gradnoise("show", "zhu2019.eq99").stderr


def test_a_mistake_in_the_file_is_told_in_a_line_and_ends_its_claim_alone(tmp_path):
    gradnoise("new-claim", "me2026")
    file = tmp_path / "me2026.py"
    right = file.read_text(encoding="utf-8")
    file.write_text(right.replace("Estimate.of(means**2)", "Estimate.of(meens**2)"), encoding="utf-8")
    judged = gradnoise("verify", "me2026.py", "zhu2019.trace-norm")
    assert judged.exit_code == 3 and "NameError: name 'meens' is not defined (me2026.py:16)" in judged.stdout
    assert "1 holds, 1 error" in judged.stdout
    file.write_text("import nothing_of_this_name\n" + right, encoding="utf-8")
    broken = gradnoise("verify", "me2026.py")
    assert broken.exit_code == 2 and "No module named 'nothing_of_this_name' (me2026.py:1)" in broken.stderr
    assert "Traceback" not in broken.output


def test_a_claim_without_a_twin_is_marked_and_refused_if_strict(tmp_path):
    gradnoise("new-claim", "me2026")
    file = tmp_path / "me2026.py"
    text = file.read_text(encoding="utf-8")
    file.write_text(text[: text.index("    def sabotaged")], encoding="utf-8")
    judged = gradnoise("verify", "me2026.py", "--sabotage")
    assert judged.exit_code == 0 and "no twin: this check was never seen to fail" in judged.stdout
    strict = gradnoise("verify", "me2026.py", "--strict")
    assert strict.exit_code == 2 and "must be of claims with sabotaged twins" in strict.stderr
