"""Set-up shared by all tests: a Numba cache that knows our sources, and reproducible property tests."""

import hashlib
import importlib.util
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings


def _numba_cache() -> str:
    """Folder named by a hash of the sources: Numba's cache does not see an edit in another file."""
    digest = hashlib.sha256()
    for package in ("gradnoise.theory", "gradnoise.simulations"):
        spec = importlib.util.find_spec(package)
        assert spec is not None and spec.submodule_search_locations
        for folder in spec.submodule_search_locations:
            for path in sorted(Path(folder).rglob("*.py")):
                digest.update(path.read_bytes())
    return str(Path(tempfile.gettempdir()) / f"gradnoise-numba-{os.getuid()}-{digest.hexdigest()[:16]}")


os.environ.setdefault("NUMBA_CACHE_DIR", _numba_cache())
os.environ.setdefault("MPLBACKEND", "Agg")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what only compiled kernels can do, where NUMBA_DISABLE_JIT lets coverage look into them."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        for item in items:
            if item.get_closest_marker("compiled"):
                item.add_marker(pytest.mark.skip(reason="Numba's compiler is off"))


settings.register_profile(
    "default", deadline=None, derandomize=bool(os.environ.get("CI")), suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("default")
