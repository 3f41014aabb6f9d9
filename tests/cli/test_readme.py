"""The README's Python examples run as they stand: catches an example that the code has left behind."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from gradnoise.claims.claim import CLAIMS
from gradnoise.cli import new_claim

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.skipif(not README.exists(), reason="the tests were copied without the README")
def test_python_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    new_claim.run(name="me2026")
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert blocks
    names: dict = {"__name__": "readme"}
    for block in blocks:
        if re.search(r"^(import|from) torch", block, flags=re.MULTILINE) and importlib.util.find_spec("torch") is None:
            continue
        exec(compile(block, str(README), "exec"), names)
    test_claims, registered = names["test_claims"], list(CLAIMS)
    for case in test_claims.pytestmark[0].args[1]:
        test_claims(case)
    for id in registered:
        if id.startswith("me2026."):  # which a file of another test may have, too
            del CLAIMS[id]
    assert names["W"].shape == (10_000, 1000)
    assert names["effective_batch_size"](names["large"]) == pytest.approx(32)
    low, high = names["result"].loss.interval(1 - 1e-6)
    assert low < float(names["escape"].loss_increase(names["H"], names["Sigma"], time=0.5)) < high
    assert np.std(names["samples"]) == pytest.approx(2, rel=0.05)
    assert names["curvature"].eigenvalue_ratios[-1] <= names["curvature"].largest_residual ** 2 * (1 + 1e-12)
    assert 1.8 < names["study"].leading_order.value < 2.2
