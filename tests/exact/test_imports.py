"""Everything but the PyTorch layer works without torch, and does not even look for it."""

import subprocess
import sys

CODE = """
import importlib, pkgutil, sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Without())
for name in ("theory", "simulations", "claims", "testing", "figures", "cli"):
    package = importlib.import_module(f"gradnoise.{name}")
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".", onerror=lambda name: None):
        needs_torch = module.name.startswith("gradnoise.simulations.neural") or (
            module.name.startswith("gradnoise.claims.") and module.name.endswith((".networks", ".training"))
        )
        if not needs_torch:
            importlib.import_module(module.name)
from gradnoise import *
assert Minibatch(7, 2).n == 7 and "diagnose" not in globals()
try:
    import gradnoise.simulations.neural
except ModuleNotFoundError as error:
    print(error)
from gradnoise.claims import registry
try:
    registry.verify(extra="neural")
except ValueError as error:
    print(error)
"""


def test_torch_is_needed_by_its_layer_alone():
    found = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == ["gradnoise.simulations.neural needs PyTorch: pip install 'gradnoise[neural]'"] * 2
