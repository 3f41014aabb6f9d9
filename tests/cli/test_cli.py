"""The command line as a user meets it: catches a traceback, a wrong exit code, and a report that lies about what was judged."""

import itertools
import json
import subprocess
import sys
from typing import cast

import pytest
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from gradnoise.claims import registry
from gradnoise.claims.prediction import number
from gradnoise.cli.main import app
from gradnoise.simulations import sde

ENTRY = "from gradnoise.cli.main import main; main()"


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def test_what_is_not_established_is_told_from_what_is_refuted():
    result = run("verify", "ne2021.table3-significance")
    assert result.exit_code == 0 and "1 claim: 1 not established." in result.stdout
    shown = " ".join(result.stdout.split())
    assert "needs n ≈ 3.3e+02" in shown and "refuted" not in shown


def test_verify_prints_one_table_and_exits_with_zero(tmp_path):
    result = run("verify", "zhu2019.d1", "zhu2019.d1.corrected", "--sabotage", "--out", str(tmp_path / "new"))
    assert result.exit_code == 0
    for text in ("zhu2019.d1.corrected", "refuted", "holds", "3/3", str(registry.DEFAULT_SEED)):
        assert text in result.stdout
    assert {p.name for p in (tmp_path / "new").iterdir()} == {"report.json", "report.md"}


def test_kept_trainings_are_judged():
    """Catches a table that cannot show a sampled quantity without a margin."""
    result = run("verify", "--extra", "kept")
    assert result.exit_code == 0
    assert all(id in result.stdout for id in registry.all_claims("kept"))


def test_an_unexpected_verdict_exits_with_one(monkeypatch):
    claim = registry.all_claims()["zhu2019.trace-norm"]
    truth = claim.published()
    monkeypatch.setattr(claim, "published", lambda: dict.fromkeys(truth, 99.0))
    result = run("verify", "zhu2019.trace-norm")
    assert result.exit_code == 1
    assert "expected holds" in result.stdout


def test_a_twin_that_is_not_refuted_exits_with_one_under_sabotage_only(monkeypatch):
    claim = registry.all_claims()["zhu2019.trace-norm"]
    hardly_wrong = {label: (1 + 1e-13) * number(p) for label, p in claim.published().items()}  # less than rounding
    monkeypatch.setattr(claim, "sabotaged", lambda: iter([("no twin at all", hardly_wrong)]))
    assert run("verify", "zhu2019.trace-norm").exit_code == 0
    assert run("verify", "zhu2019.trace-norm", "--sabotage").exit_code == 1


def test_json_goes_to_a_file_or_to_stdout(tmp_path):
    file = tmp_path / "deep" / "report.json"
    assert run("verify", "wu2020.eq2", "--json", str(file), "--seed", "7").exit_code == 0
    assert json.loads(file.read_text())["seed"] == 7
    piped = subprocess.run([sys.executable, "-c", ENTRY, "verify", "wu2020.eq2", "--json", "-"], capture_output=True, text=True)
    assert json.loads(piped.stdout)["claims"][0]["verdict"] == "refuted"


@pytest.mark.parametrize("name", [".", "report.md", "report-so-far.json", "report-whole.json"])
def test_two_results_are_not_written_to_one_file(name, tmp_path):
    result = run("verify", "wu2020.eq2", "--out", str(tmp_path / "r"), "--json", str(tmp_path / "r" / name))
    assert result.exit_code == 2 and "--json must be" in result.stderr
    assert not list((tmp_path / "r").iterdir())


@pytest.mark.parametrize(
    ("given", "first", "second"),
    [
        ("--json o.png --plot o.png", "--json", "--plot"),
        ("--json o.png --plot ./below/../o.png", "--json", "--plot"),
        ("--json link --plot o.png", "--json", "--plot"),
        ("--json o --plot o/o.png", "--json", "--plot"),
        ("--json o --store o", "--json", "--store"),
        ("--json o --store o/o", "--json", "--store"),
        ("--plot o.png --store o.png", "--plot", "--store"),
    ],
)
def test_two_outputs_of_a_study_are_not_one_file(given, first, second, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("o.png")
    monkeypatch.setattr(sde, "strong_error", lambda *a, **k: pytest.fail("computed before the files were looked at"))
    result = run("study", "strong", *given.split())
    assert result.exit_code == 2 and not (tmp_path / "o.png").exists() and not (tmp_path / "o").exists()
    assert f"{first} must be another file than" in result.stderr and second in result.stderr


def test_a_result_may_lie_in_the_folder_of_the_store(tmp_path):
    options = ("--paths", "50", "--steps", "3", "--refinement", "4", "--store", str(tmp_path), "--json", str(tmp_path / "j"))
    assert run("study", "weak", *options).exit_code == 0
    assert json.loads((tmp_path / "j").read_text())["kind"] == "weak"


def test_a_folder_may_have_the_name_that_stands_for_stdout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("verify", "wu2020.eq2", "--out", "-").exit_code == 0
    assert (tmp_path / "-" / "report.json").exists()


def test_paper_selects_its_claims():
    result = run("claims", "--paper", "ne2021", "--json")
    assert {row["paper"] for row in json.loads(result.stdout)} == {"ne2021"}
    table = run("claims")
    assert all(id in table.stdout for id in registry.claim_ids())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("verify", "zhu2019.eq133"), "did you mean zhu2019.eq13"),
        (("verify", "--paper", "zhu2020"), "--paper must be one of zhu2019"),
        (("verify", "--budget", "huge", "zhu2019.d1"), "budget must be one of quick, full"),
        (("verify", "zhu2019.d1", "--jobs", "-3"), "--jobs must be >= 0"),
        (("verify", "zhu2019.d1", "--jobs", "4294967296"), "--jobs must be between 1 and"),
        (("verify", "zhu2019.d1", "--seed", "-3"), "--seed must be >= 0, got -3"),
        (("verify", "--seed", "1", "--seed", "x" * 5_000), "'--seed'"),
        (("study", "weak", "--time", "soon"), "'soon'"),
        (("verify", "zhu2019.d1", "--out", "o" * 300), "--out must be a folder that can be written"),
        (("study", "weak", "--json", "j" * 300), "--json must be a file that can be written"),
        (("claims", "--paper", "nobody2020"), "--paper must be one of"),
        (("figures", "wu2019-thm11"), "did you mean wu2019-thm1"),
        (("figures", "--format", "bmp"), "--format must be one of png, pdf, svg"),
        (("study", "stron"), "KIND must be one of strong, weak, got 'stron'"),
        (("study", "weak", "--problem", "logstic"), "--problem must be one of least-squares, logistic, tanh, two-basin"),
        (("study", "weak", "--paths", "0"), "--paths must be >= 1"),
        (("study", "weak", "--plot", "order.jpg"), "--plot must end in .png, .pdf, .svg"),
        (("study", "weak", "--largest-step", "-1"), "--largest-step and its halves must be at least one number > 0"),
        (("study", "weak", "--largest-step", "nan"), "--largest-step and its halves must be finite, got NaN"),
        (("study", "weak", "--paths", "1"), "--paths must be between 2 and"),
        (("study", "weak", "--time", "0.3"), "--time must be a whole number of steps"),
        (("study", "weak", "--time", "nan"), "--time must be"),
        (("study", "weak", "--batch-size", "0"), "--batch-size must be"),
        (("study", "weak", "--refinement", "0"), "--refinement must be"),
        (("study", "weak", "--json", "."), "--json must be a file"),
    ],
)
def test_bad_usage_is_named_and_exits_with_two(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr and len(result.stderr.splitlines()) == 1 and len(result.stderr) < 1_000


@pytest.mark.parametrize("option", ["--out", "--json"])
def test_an_unwritable_target_is_refused_before_anything_is_computed(option, tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setattr(registry, "verify", lambda *a, **k: pytest.fail("computed before the target was checked"))
    result = run("verify", "zhu2019.d1", option, str(blocked / "below"))
    assert result.exit_code == 2
    assert f"{option} must be a folder that can be written" in " ".join(result.stderr.split())


def test_a_link_to_a_file_that_cannot_be_is_refused_before_anything_is_computed(tmp_path, monkeypatch):
    """The folder that counts is not the link's."""
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "link.json").symlink_to(tmp_path / "file" / "below.json")
    (tmp_path / "other.json").symlink_to("new/below.json")
    assert run("verify", "wu2020.eq2", "--json", str(tmp_path / "other.json")).exit_code == 0
    assert json.loads((tmp_path / "new" / "below.json").read_text())["complete"]
    monkeypatch.setattr(registry, "verify", lambda *a, **k: pytest.fail("computed before the target was checked"))
    result = run("verify", "wu2020.eq2", "--json", str(tmp_path / "link.json"))
    assert result.exit_code == 2
    assert "--json must be a folder that can be written" in " ".join(result.stderr.split())


def test_help_and_version_answer_without_numba():
    code = f"import sys; sys.argv[1:] = ['--help']\ntry:\n    {ENTRY}\nfinally:\n    assert 'numba' not in sys.modules"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0 and "verify" in result.stdout
    assert run("--version").stdout.startswith("gradnoise ")


def test_without_arguments_it_says_what_it_can_do():
    """And that is no mistake: the exit code is zero."""
    result = run()
    assert result.exit_code == 0 and result.stdout == run("--help").stdout
    assert "verify" in result.stdout and not result.stderr


COMMANDS = list(cast(TyperGroup, get_command(app)).commands)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fills_a_narrow_terminal(command):
    """Catches paragraphs that are broken where the lines of a docstring end, behind which there was room for more."""
    environment = {"COLUMNS": "80", "TERMINAL_WIDTH": "80"}
    shown = CliRunner().invoke(app, [command, "--help"], env=environment).stdout.partition("╭")[0].splitlines()
    for line, after in itertools.pairwise(line.strip() for line in shown):
        if line and after:
            assert len(line) + 1 + len(after.split()[0]) > 78, (line, after)


def test_an_option_of_several_commands_is_one():
    """Catches a shared option that a command writes anew, with a help text or a default of its own."""
    options: dict = {}
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    for command in group.commands.values():
        for parameter in command.params:
            options.setdefault(parameter.name, []).append((parameter.opts, getattr(parameter, "help", None), parameter.default))
    for shared in ("seed", "jobs", "device", "data_dir", "extra", "store"):
        assert len(options[shared]) > 1 and all(found == options[shared][0] for found in options[shared]), shared


@pytest.mark.compiled
def test_a_study_prints_its_order_and_writes_its_picture(tmp_path):
    picture, file = tmp_path / "out.png", tmp_path / "study.json"
    options = ("--problem", "logistic", "--paths", "200", "--steps", "4", "--refinement", "8")
    result = run("study", "strong", *options, "--plot", str(picture), "--json", str(file))
    assert result.exit_code == 0
    for text in ("mean-square distance", "local slope", "order over these step sizes", "leading order", "seed"):
        assert text in result.stdout
    assert picture.stat().st_size > 10_000
    study = json.loads(file.read_text())
    assert 1.8 < study["order"]["value"] < 2.5 and study["arguments"]["drift"] == "plain"


def test_a_study_without_an_order_says_why_and_still_shows_its_errors():
    result = run("study", "weak", "--drift", "modified", "--paths", "50", "--steps", "3", "--refinement", "4")
    assert result.exit_code == 0
    assert "no order:" in result.stdout and "take more paths" in result.stdout and "difference of E L" in result.stdout


def test_a_study_goes_to_stdout_as_json_alone():
    result = run("study", "weak", "--paths", "50", "--steps", "3", "--refinement", "4", "--json", "-")
    assert json.loads(result.stdout)["kind"] == "weak"
