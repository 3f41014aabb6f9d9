"""The house: floors, rooms and doors. Catches an arrow that runs up, a circle, a way around a door, and a promised path lost."""

import ast
import graphlib
import importlib
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gradnoise._moved import MOVED

FLOORS = ("theory", "simulations", "claims", "testing", "figures", "cli")
#: What a floor may import beside the floors below it and the standard library.
LIBRARIES = {
    "theory": {"lazy_loader", "numpy", "scipy"},
    "simulations": {"lazy_loader", "numpy", "scipy", "numba", "joblib", "matplotlib", "rich", "threadpoolctl"},
    "simulations.neural": {"numpy", "scipy", "joblib", "torch", "sklearn", "pooch", "threadpoolctl"},
}
PROMISED = {
    "theory.sampling": "SamplingNoise Minibatch Gaussian Rademacher StudentT Bernoulli SparseGaussian GaussianMinibatch Enhanced "
    "effective_batch_size compensating_alpha compensating_noise_batch_size",
    "theory.gradient_noise": "sgd_covariance fisher leading isotropic_equivalent match_trace",
    "theory.escape": "indicator loss_increase loss_increase_linear ou_covariance escape_probability indicator_ratio_bound",
    "theory.least_squares": "LeastSquares FiniteLeastSquares RiskBound WeightMoments",
    "theory.diffusion": "sgd_moments sde_moments strong_error strong_error_bound sharp_strong_error_bound svag_moments",
    "theory.complexity": "rademacher gaussian sgd gaussian_bounds sgd_bounds LeastSquaresLosses AffineLosses "
    "FiniteLosses LossClass",
    "theory.curvature": "Curvature alignment_bound ratio_bounds ClippedNetwork SoftmaxRegression",
    "simulations.ensemble": "run concatenate BLOCK_SIZE",
    "simulations.statistics": "Estimate Proportion Difference Moments fit_order Order plan_sample_size tail_index merge_moments",
    "simulations.sampling": "draw expectations outcomes Outcomes product_rule",
    "simulations.seeds": "Stream RNG",
    "simulations.toy": "simulate ToyResult",
    "simulations.ornstein_uhlenbeck": "simulate OUResult",
    "simulations.langevin": "simulate LangevinResult",
    "simulations.least_squares": "simulate simulate_curve RiskCurve excess_risks",
    "simulations.sde": "strong_error weak_error Problem OrderStudy standard_problems",
    "simulations.complexity": "simulate normals signs",
    "simulations.clipped_network": "descend random_network",
    "claims.registry": "all_claims verify",
    "figures.registry": "FIGURES",
    "cli.main": "main",
}


def folder(package: str) -> Path:
    spec = importlib.util.find_spec(f"gradnoise.{package}")
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


def modules() -> dict[str, Path]:
    """Each of our modules, named without "gradnoise.", and its file."""
    found = {}
    for floor in FLOORS:
        root = folder(floor)
        for path in sorted(root.rglob("*.py")):
            parts = (floor, *path.relative_to(root).with_suffix("").parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()
PACKAGES = {name for name, path in MODULES.items() if path.name == "__init__.py"}
#: Packages whose files are doors, each by itself, and those whose __init__ is the only door.
OPEN = {*FLOORS, "simulations.neural"}
ROOMS = PACKAGES - OPEN


def imports(path: Path):
    """All imports of a file, also those inside functions: module, names, and line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, (), node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            yield str(node.module), tuple(alias.name for alias in node.names), node.lineno


def public(package: str) -> set[str]:
    for node in ast.parse(MODULES[package].read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def ways_around(name: str, path: Path, allowed: dict[str, set[str]]) -> list[str]:
    """Imports of a module that reach past a door."""
    wrong = []
    for module, names, line in imports(path):
        inner = module.removeprefix("gradnoise.")
        room = next((r for r in ROOMS if inner == r or inner.startswith(r + ".")), None)
        if room is None or name == room or name.startswith(room + "."):
            continue
        rest = inner.removeprefix(room).removeprefix(".")
        reached = {rest.partition(".")[0]} if rest else set(names)
        wrong += [f"{name}:{line} takes {r} from {room}" for r in reached - allowed[room]]
    return wrong


def inner_names_taken(name: str, path: Path) -> list[str]:
    """Names that a file outside of the neural package takes from one of its files, which does not list them."""
    if name.startswith("simulations.neural"):
        return []
    taken = ((module.removeprefix("gradnoise."), names, line) for module, names, line in imports(path))
    inside = [t for t in taken if t[0].startswith("simulations.neural.") and t[0] in MODULES]
    return [f"{name}:{line} takes {n} from {module}" for module, names, line in inside for n in set(names) - public(module)]


@pytest.mark.parametrize("path", PROMISED)
def test_promised_names_stand_where_they_were_promised(path):
    module = importlib.import_module(f"gradnoise.{path}")
    assert all(hasattr(module, name) for name in PROMISED[path].split())
    assert set(PROMISED[path].split()) <= set(module.__all__)


def test_the_root_has_what_a_user_wants_first_and_imports_it_late():
    code = (
        "import sys, gradnoise; assert not set(sys.modules) & {'numpy', 'scipy', 'numba', 'torch'}; print(*gradnoise.__all__);"
        "print(gradnoise.__version__, gradnoise.Minibatch(7, 2).variance, gradnoise.toy.__name__, gradnoise.verify.__name__)"
    )
    names, values = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    first = {"verify", "draw", "toy", "sde", "theory", "simulations", *PROMISED["theory.sampling"].split()[:9]}
    assert first | ({"diagnose"} if importlib.util.find_spec("torch") else set()) <= set(names.split())
    assert values == f"{importlib.metadata.version('gradnoise')} {3 / 49} gradnoise.simulations.toy verify"
    with pytest.raises(AttributeError, match="No gradnoise attribute nothing"):
        importlib.import_module("gradnoise").nothing  # noqa: B018


@pytest.mark.parametrize("floor", ["theory", "simulations"])
def test_a_floor_lists_its_rooms(floor):
    here = {name.split(".")[1] for name in MODULES if name.startswith(f"{floor}.")}
    assert set(importlib.import_module(f"gradnoise.{floor}").__all__) == {name for name in here if not name.startswith("_")}


@pytest.mark.parametrize("old", sorted(MOVED))
def test_what_has_moved_is_found_under_its_old_path_with_a_warning(old):
    new = importlib.import_module(MOVED[old])
    spec = new.__spec__
    with pytest.warns(DeprecationWarning, match=f"{old} has moved to {MOVED[old]}"):
        assert importlib.import_module(old) is new
    sys.modules.pop(old)
    assert new.__spec__ is spec and new.__name__ == MOVED[old]


def test_the_module_is_the_command():
    asked = [sys.executable, "-m", "gradnoise", "--version"]
    found = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert found.stdout == f"gradnoise {importlib.metadata.version('gradnoise')}\n"


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_door_says_what_is_in_the_room_and_has_what_it_lists(room):
    if room.startswith("simulations.neural"):
        pytest.importorskip("torch", reason="needs PyTorch")
    module = importlib.import_module(f"gradnoise.{room}")
    assert len(str(module.__doc__).splitlines()) >= 4
    assert all(hasattr(module, name) for name in public(room))
    assert public(room) or room.startswith("claims.")


def test_the_neural_package_names_all_its_files():
    """Its files are doors, so that its own text is the map. Catches a file that nobody is told of."""
    text = ast.get_docstring(ast.parse(MODULES["simulations.neural"].read_text(encoding="utf-8"))) or ""
    files = {name.split(".")[2] for name in MODULES if name.startswith("simulations.neural.")}
    assert files == {name for name in re.findall(r"`(\w+)`", text) if name in files}


def test_rooms_are_entered_by_their_doors():
    allowed = {room: public(room) for room in ROOMS}
    assert [w for name, path in MODULES.items() for w in ways_around(name, path, allowed)] == []


def test_a_way_around_a_door_is_seen(tmp_path):
    (tmp_path / "burglar.py").write_text(
        "from gradnoise.theory.sampling.batch_noise import Minibatch\n"
        "from gradnoise.simulations.toy import run_paths\n"
        "from gradnoise.simulations.sde.standard_problems import logistic\n"
        "import gradnoise.theory.least_squares.problems\n"
    )
    found = ways_around("claims.burglar", tmp_path / "burglar.py", {room: public(room) for room in ROOMS})
    assert [re.sub(r".*:(\d).*takes", r"\1", line) for line in sorted(found)] == [
        "1 batch_noise from theory.sampling",
        "2 run_paths from simulations.toy",
        "4 problems from theory.least_squares",
    ]


def test_files_of_the_neural_package_give_what_they_list():
    assert [taken for name, path in MODULES.items() for taken in inner_names_taken(name, path)] == []


def test_an_inner_name_that_is_taken_is_seen(tmp_path):
    (tmp_path / "burglar.py").write_text(
        "from gradnoise.simulations.neural.weights import dtypes, weights\n"
        "from gradnoise.simulations.neural.krylov import KrylovSpace\n"
        "from gradnoise.simulations.neural.gradient_norms import squared_gradient_norms\n"
    )
    assert sorted(inner_names_taken("claims.burglar", tmp_path / "burglar.py")) == [
        "claims.burglar:1 takes dtypes from simulations.neural.weights",
        "claims.burglar:2 takes KrylovSpace from simulations.neural.krylov",
    ]
    assert inner_names_taken("simulations.neural.burglar", tmp_path / "burglar.py") == []


def test_no_arrow_runs_up_and_libraries_stay_on_their_floors():
    for name, path in MODULES.items():
        floor = name.partition(".")[0]
        libraries = (
            LIBRARIES["simulations.neural" if name.startswith("simulations.neural") else floor] if floor in LIBRARIES else None
        )
        for module, _, line in imports(path):
            root, _, rest = module.partition(".")
            if root == "gradnoise" and rest:
                assert FLOORS.index(rest.partition(".")[0]) <= FLOORS.index(floor), f"{name}:{line}"
            elif root != "gradnoise" and libraries is not None:
                assert root in libraries or root in sys.stdlib_module_names, f"{name}:{line} imports {root}"


def test_there_is_no_circle():
    graph = {name: set() for name in MODULES}
    for name, path in MODULES.items():
        for module, names, _ in imports(path):
            inner = module.removeprefix("gradnoise.")
            graph[name] |= {m for m in (inner, *(f"{inner}.{n}" for n in names)) if m in MODULES and m != name}
    # A package's own files do not import its door: only the door imports them.
    assert list(graphlib.TopologicalSorter(graph).static_order())


def test_every_package_is_installed():
    project = Path(__file__).parents[2] / "pyproject.toml"
    if not project.exists():
        pytest.skip("the tests were copied without the project")
    listed = tomllib.loads(project.read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    assert {f"gradnoise.{name}" for name in PACKAGES} <= set(listed)
    for floor in FLOORS:  # of the checkout, which may have a folder that the wheel was not told of
        root = project.parent / floor
        here = {".".join((floor, *p.parent.relative_to(root).parts)) for p in root.rglob("__init__.py")}
        assert {f"gradnoise.{name}" for name in here} <= set(listed)
