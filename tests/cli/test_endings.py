"""How a command ends when something goes wrong.

Catches results that are lost with the stream they are printed to or with a claim that raises, a report that was cut off and
does not say so, a traceback, and an exit code that tells nothing.
"""

import errno
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import gradnoise
from gradnoise.claims import registry
from gradnoise.claims.report import Report
from gradnoise.cli import interruption, verify
from gradnoise.cli.main import app
from gradnoise.figures import networks

from .test_cli import ENTRY, run

PLACE = str(Path(str(gradnoise.__file__)).parents[1])
STRICT = {
    "PYTHONIOENCODING": "ascii:strict", "LC_ALL": "C", "HOME": "/nonexistent", "COLUMNS": "20",
    "PYTHONWARNINGS": "error,ignore::DeprecationWarning",  # libraries deprecate what older ones among them do
}  # fmt: skip


def test_an_interruption_loses_nothing_that_was_judged(tmp_path, monkeypatch):
    claims = registry.all_claims()

    def interrupt(run):
        raise KeyboardInterrupt

    monkeypatch.setattr(claims["zhu2019.optimal-noise"], "measure", interrupt)
    result = run("verify", "zhu2019.trace-norm", "zhu2019.optimal-noise", "--out", str(tmp_path))
    assert result.exit_code == 130
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert ([row["id"] for row in report["claims"]], report["complete"]) == (["zhu2019.trace-norm"], False)
    assert "Cut off: 1 of 2 claims" in result.stdout and "Every verdict is the expected one" not in result.stdout
    assert result.stderr == "interrupted: 1 of 2 claims were judged, see above\n"
    before = sorted(p.read_bytes() for p in tmp_path.iterdir())
    assert run("verify", "zhu2019.optimal-noise", "--out", str(tmp_path)).stderr == "interrupted: nothing was judged\n"
    assert sorted(p.read_bytes() for p in tmp_path.iterdir()) == before


KILLED = f"""
import os
from gradnoise.claims import registry
from gradnoise.cli import verify
verify._SECONDS_UNSAVED = 0.0
registry.all_claims()["zhu2019.d1"].measure = lambda run: os._exit(9)
{ENTRY}"""


@pytest.mark.parametrize("option", ["--out", "--json"])
def test_a_run_that_is_killed_leaves_what_was_judged(option, tmp_path, monkeypatch):
    """As by SIGKILL, or a lack of memory, an hour after it began; the report of the run before stays."""
    target = tmp_path if option == "--out" else tmp_path / "report.json"
    arguments = ["verify", "zhu2019.trace-norm", "zhu2019.optimal-noise", "zhu2019.d1", option, str(target)]
    assert run(*arguments).exit_code == 0
    before = (tmp_path / "report.json").read_bytes()
    assert subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True).returncode == 9
    assert (tmp_path / "report.json").read_bytes() == before
    report = json.loads((tmp_path / "report-so-far.json").read_text(encoding="utf-8"))
    assert [row["id"] for row in report["claims"]] == ["zhu2019.trace-norm", "zhu2019.optimal-noise"]
    assert report["left_out"] == ["zhu2019.d1"]
    monkeypatch.setattr(verify, "_SECONDS_UNSAVED", 0.0)
    assert run(*arguments).exit_code == 0
    assert not list(tmp_path.glob("*so-far*"))


def test_an_interruption_that_makes_an_error_of_a_claim_does_not_count_as_one(tmp_path, monkeypatch):
    """As a library does that catches KeyboardInterrupt: the claim was not judged, and the next ones are not begun."""

    def swallow(run):
        monkeypatch.setattr(interruption, "_signal", signal.SIGTERM)
        raise RuntimeError("the compiler was interrupted")

    monkeypatch.setattr(registry.all_claims()["zhu2019.optimal-noise"], "measure", swallow)
    result = run("verify", "zhu2019.trace-norm", "zhu2019.optimal-noise", "zhu2019.d1", "--out", str(tmp_path))
    assert result.exit_code == 128 + signal.SIGTERM
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["left_out"] == ["zhu2019.optimal-noise", "zhu2019.d1"]


def test_a_claim_that_raises_has_an_exit_code_of_its_own(tmp_path, monkeypatch):
    def overflow(run):
        raise OverflowError("[red]too large[/]")

    monkeypatch.setattr(registry.all_claims()["zhu2019.optimal-noise"], "measure", overflow)
    result = run("verify", "zhu2019.trace-norm", "zhu2019.optimal-noise", "--json", str(tmp_path / "r.json"))
    assert result.exit_code == 3
    assert "OverflowError: [red]too large[/]" in result.stdout and "1 holds, 1 error" in result.stdout
    row = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["claims"][1]
    assert row["verdict"] == "error" and "in overflow" in row["error"]["traceback"]


def test_what_cannot_be_saved_is_printed_all_the_same(tmp_path, monkeypatch):
    def full(self, file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Report, "save_json", full)
    result = run("verify", "zhu2019.trace-norm", "--json", str(tmp_path / "r.json"), "--out", str(tmp_path))
    assert result.exit_code == 74 and "E‖ε‖² = Tr Σ" in result.stdout and (tmp_path / "report.json").exists()
    assert result.stderr == f"error: {tmp_path / 'r.json'} could not be written: {os.strerror(errno.ENOSPC)}\n"


def test_a_bug_is_one_line_that_asks_for_a_report(monkeypatch):
    def bug(*args, **options):
        raise RuntimeError("list index\nout of range")

    monkeypatch.setattr(registry, "ledger", bug)
    result = run("claims")
    assert result.exit_code == 70 and len(result.stderr.splitlines()) == 1
    assert "this is a bug in gradnoise, please report it" in result.stderr and "list index out of range" in result.stderr
    monkeypatch.setenv("GRADNOISE_TRACEBACK", "1")
    assert "Traceback" in run("claims").stderr


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("from gradnoise.theory import nothing", 70),
        ("import gradnoise.nothing", 70),
        ("import gradnoise_extra", 2),
        ("from numpy import nothing", 2),
        ("raise ImportError('Numba needs NumPy 2.2 or less')", 2),
    ],
)
def test_an_import_that_fails_is_a_bug_where_it_is_ours(code, exit_code, monkeypatch):
    """Of other packages it says what is to be installed."""
    monkeypatch.setattr(registry, "ledger", lambda *args: exec(code))
    result = run("claims")
    assert result.exit_code == exit_code and len(result.stderr.splitlines()) == 1
    assert ("this is a bug in gradnoise" in result.stderr) == (exit_code == 70)


def test_a_figure_that_raises_does_not_keep_the_others_from_being_drawn(tmp_path, monkeypatch):
    def draw(**options):
        raise ZeroDivisionError("no slope")

    monkeypatch.setattr(networks, "draw_figure_8", draw)
    names = ("zhu2019-fig8", "zhu2019-fig7")
    result = run("figures", *names, "--budget", "full", "--out", str(tmp_path))
    assert result.exit_code == 3 and result.stderr == "error: zhu2019-fig8 could not be drawn: ZeroDivisionError: no slope\n"
    assert [p.name for p in tmp_path.iterdir()] == ["zhu2019-fig7.png"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_every_character_of_the_ledger_is_spelled_where_the_stream_does_not_have_it(encoding):
    """Catches a letter that becomes a question mark, and a table whose columns a longer spelling has moved."""
    result = CliRunner(charset=encoding).invoke(app, ["claims"])
    assert result.exit_code == 0 and "?" not in result.stdout
    assert len({len(line) for line in result.stdout.splitlines() if line.startswith("|")}) == 1
    rows = json.loads(CliRunner(charset=encoding).invoke(app, ["claims", "--json"]).stdout)
    assert [row["statement"] for row in rows] == [row["statement"] for row in registry.ledger()]  # escaped, not spelled


def command(*arguments: str, shell: str = "", **environment: str) -> subprocess.CompletedProcess:
    """Run the command as a process; `shell` is what follows it."""
    line = f"{shlex.join([sys.executable, '-c', ENTRY, *arguments])} {shell}"
    return subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], capture_output=True, env={**os.environ, **environment})


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
@pytest.mark.parametrize(("shell", "code"), [("| true", 141), ("> /dev/full", 74), (">&-", 74), (">&- 2>&-", 74)])
def test_a_stdout_that_fails_costs_no_results(shell, code, tmp_path):
    result = command("verify", "zhu2019.trace-norm", "--out", str(tmp_path), shell=shell)
    assert result.returncode == code and b"Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) == (shell in ("> /dev/full", ">&-"))
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["complete"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
@pytest.mark.parametrize("name", ["/dev/stdout", "log"])
def test_a_file_to_which_stdout_goes_is_not_put_aside(name, tmp_path):
    """Catches a log whose earlier lines are lost with the file that another takes the place of."""
    log = tmp_path / "log"
    log.write_text("of yesterday\n")
    path = str(log) if name == "log" else name
    done = command("verify", "zhu2019.trace-norm", "--json", path, shell=f">> {shlex.quote(str(log))}")
    assert done.returncode == 0
    text = log.read_text(encoding="utf-8")
    assert text.startswith('of yesterday\n{\n "result": "Report"') and "Every verdict is the expected one." in text


def test_a_strict_stream_and_a_home_that_is_not_there_are_enough(tmp_path):
    result = command("verify", "zhu2019.trace-norm", **STRICT)
    assert (result.returncode, result.stderr) == (0, b"") and b"epsilon" in result.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent in another way there")
@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_imports_is_no_traceback(asked):
    """It is sent in the middle of an import, where an exception may be caught by whoever imports."""
    code = (
        f"import os, signal, sys; signal.signal({int(asked)}, signal.SIG_DFL)\n"  # that of tests may ignore it, and so would this
        "from gradnoise.cli import main, interruption; interruption.watch()\n"
        f"try:\n    os.kill(os.getpid(), {int(asked)})\nexcept BaseException:\n    pass\nprint('goes on')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (128 + asked, "", "interrupted\n")


def test_little_is_imported_before_signals_are_handled():
    """Catches an import that lets Ctrl-C be a traceback for longer than Python itself does."""
    code = "import sys, gradnoise.cli.main, gradnoise.cli.interruption; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": PLACE}
    found = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, env=environment)
    assert "gradnoise.cli.main" in found.stdout
    assert not set(found.stdout.split()) & {"typing", "re", "importlib.metadata", "typer", "rich", "numpy"}
