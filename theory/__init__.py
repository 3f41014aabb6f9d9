"""What should happen: closed forms, exact moments and bounds. No randomness, no I/O.

A bad argument raises a ValueError or TypeError that names it, the value and what is allowed; so do arguments whose result is
beyond the range of floats, and counts that would take hours or all memory.

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
