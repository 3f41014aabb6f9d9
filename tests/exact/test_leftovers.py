"""Temporary files of killed writers: catches litter that stays for ever, and a file that is taken from a writer that lives."""

import os
import subprocess
import sys

import pytest

from gradnoise.simulations import ensemble
from gradnoise.simulations.ensemble import replacing


def normals(n_paths, generator):
    return (generator.standard_normal(n_paths),)


WRITER = """
import os, signal, sys
from gradnoise.simulations.ensemble import replacing

with replacing(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.readline()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL, and locks")
def test_leftovers_of_the_dead_are_removed_and_those_of_the_living_are_not(tmp_path):
    def study():
        return ensemble.run(normals, (), 3, rng=5, reduce=ensemble.concatenate, store=tmp_path)

    study()
    (folder,) = tmp_path.iterdir()
    command = [sys.executable, "-c", WRITER, str(folder / "block-00000007-4.npz")]
    for _ in range(2):
        subprocess.run([*command, "killed"], capture_output=True, check=False)
    assert len(list(folder.glob(".*.tmp"))) == 1  # the second removed that of the first
    with subprocess.Popen([*command, "alive"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as alive:
        assert alive.stdout is not None and alive.stdout.readline() == "writing\n"
        foreign = folder / ".gradnoise-0badcafe-0123456789abcdef.tmp"  # of another machine, whose locks nobody here knows
        foreign.touch()
        study()
        left = list(folder.glob(".*.tmp"))
        assert len(left) == 2 and foreign in left
        assert alive.communicate("go on\n") and alive.returncode == 0
    assert (folder / "block-00000007-4.npz").read_bytes() == b"half"
    os.utime(foreign, (0, 0))
    study()
    assert list(folder.glob(".*.tmp")) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_leftovers_beside_a_report_are_removed_with_the_next_one(tmp_path):
    subprocess.run([sys.executable, "-c", WRITER, str(tmp_path / "report.json"), "killed"], capture_output=True, check=False)
    (tmp_path / ".other.tmp").touch()
    assert len(list(tmp_path.iterdir())) == 2
    with replacing(tmp_path / "report.json") as file:
        file.write(b"whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.tmp", "report.json"]
