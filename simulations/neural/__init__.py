"""Noise and curvature of networks: a thin PyTorch layer, on CPU and CUDA. The only part of gradnoise that needs torch."""

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "gradnoise.simulations.neural needs PyTorch: pip install 'gradnoise[neural]'", name="torch"
    ) from error
