"""Modules that moved into rooms: their old paths still work, with a DeprecationWarning that names the new one."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

__all__ = ["MOVED", "MovedModules"]

_ROOMS = {
    "theory.sampling": "exchangeable count_mixture batch_noise component_noise batch_size",
    "theory.escape": "landscape two_basin",
    "theory.least_squares": "second_moments risk_bound weight_moments",
    "theory.diffusion": "augmented_moments strong_bound circle geometric_motion stationary",
    "theory.complexity": "loss_classes counts trust_region",
    "theory.curvature": "clipped_network softmax_regression",
    "simulations.ensemble": "block_store function_identity progress provenance",
    "simulations.statistics": "estimates joint_moments convergence_order tail_index",
    "simulations.sampling": "enumeration",
    "simulations.least_squares": "path_enumeration",
    "simulations.sde": "problem standard_problems order_study coupled_paths",
}
#: New paths by old ones.
MOVED = {
    f"gradnoise.{room.partition('.')[0]}.{name}": f"gradnoise.{room}.{name}"
    for room, names in _ROOMS.items()
    for name in names.split()
}


class MovedModules:
    """Finds a module under its old path, and hands out the one that there is."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return a spec for an old path, None for all others."""
        return ModuleSpec(fullname, MovedModules()) if fullname in MOVED else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Import the module where it is now."""
        import importlib
        import warnings

        new = MOVED[spec.name]
        warnings.warn(
            f"{spec.name} has moved to {new}, or to the names that {new.rpartition('.')[0]} exports", DeprecationWarning, 2
        )
        module = importlib.import_module(new)
        self._own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module back its own spec, which the import system has replaced; it was executed before."""
        module.__spec__ = self._own_spec


sys.meta_path.append(MovedModules())
