"""All workloads, the cost of a normal first."""

from __future__ import annotations

from c_yardstick import Yardstick
from case import Case
from path_cases import (
    coupled_case,
    jax_versions,
    least_squares_cases,
    normals_case,
    ornstein_uhlenbeck_case,
    sde_packages,
    toy_cases,
)
from vector_cases import complexity_cases, weights_cases


def all_cases(c: Yardstick | None) -> list[Case]:
    """Return the workloads, without plain C if `c` is None."""
    return [
        normals_case(c), *toy_cases(c), ornstein_uhlenbeck_case(c), *least_squares_cases(c), coupled_case(c), *weights_cases(c),
        *complexity_cases(c),
    ]  # fmt: skip


def missing() -> list[str]:
    """Say which contenders are skipped."""
    found = {"JAX": jax_versions, "diffrax and torchsde": sde_packages}
    return [f"{name} skipped: pip install 'gradnoise[benchmark]'" for name, module in found.items() if module is None]
