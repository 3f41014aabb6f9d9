"""What does happen: Numba Monte Carlo, the ensemble driver, and the statistics of samples.

- `toy`, `ornstein_uhlenbeck`, `langevin`, `least_squares`, `sde`, `complexity`, `clipped_network`, `softmax_regression` simulate
- `sampling` draws and lists sampling vectors
- `ensemble` runs kernels in seeded blocks; `seeds` normalises ``rng``; `statistics` says what samples tell
- `neural` is the PyTorch layer; `network_protocols` holds the settings and results of its comparisons, `sweeps` those of plans
  of many trainings
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "clipped_network",
        "complexity",
        "ensemble",
        "langevin",
        "least_squares",
        "network_protocols",
        "neural",
        "ornstein_uhlenbeck",
        "sampling",
        "sde",
        "seeds",
        "softmax_regression",
        "statistics",
        "sweeps",
        "toy",
    ],
)
