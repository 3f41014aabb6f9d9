"""What should happen: closed forms, exact moments and bounds. No randomness, no I/O.

- `sampling`: the sampling vector W, the noise classes; `gradient_noise`: what they are in parameter space
- `escape`: from a minimum; `curvature`: against the noise
- `least_squares`: excess risks; `diffusion`: SGD and its SDE; `complexity`: local complexities
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "complexity",
        "curvature",
        "diffusion",
        "escape",
        "gradient_noise",
        "least_squares",
        "sampling",
    ],
)
