"""Set-up shared by all tests: a Numba cache that knows our sources and nobody else, and reproducible property tests."""

import hashlib
import importlib.util
import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings


def _numba_cache() -> str:
    """Folder of the user's own, named by a hash of the sources.

    Numba unpickles what lies in it. So it is not in a temporary folder that others share, and it is not taken if another user
    owns it or may write into it.
    """
    digest = hashlib.sha256()
    for package in ("gradnoise.theory", "gradnoise.simulations"):
        spec = importlib.util.find_spec(package)
        assert spec is not None and spec.submodule_search_locations
        for folder in spec.submodule_search_locations:
            for path in sorted(Path(folder).rglob("*.py")):
                digest.update(path.read_bytes())
    for root in _caches():
        try:
            root.mkdir(parents=True, exist_ok=True)
            own = root / "gradnoise-tests"
            folder = own / digest.hexdigest()[:16]
            for made in (own, folder):
                made.mkdir(mode=0o700, exist_ok=True)
            if _is_mine(own) and _is_mine(folder) and os.access(folder, os.W_OK):
                return str(folder)
        except OSError:
            continue
    return tempfile.mkdtemp(prefix="gradnoise-numba-")  # nobody can guess its name


def _caches() -> list[Path]:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return [Path(path) for path in (home, Path(__file__).parent.parent / ".pytest_cache") if os.path.isabs(path)]


def _is_mine(folder: Path) -> bool:
    """Whether a folder, and no link to one, belongs to this user, and nobody else may write into it."""
    found = folder.lstat()
    own = not hasattr(os, "getuid") or found.st_uid == os.getuid()
    return stat.S_ISDIR(found.st_mode) and own and (os.name == "nt" or not found.st_mode & 0o022)


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
