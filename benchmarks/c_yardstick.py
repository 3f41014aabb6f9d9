"""Build and call the plain C of ``yardstick.c``. `ctypes.CDLL` releases the GIL, so threads can run it at the same time."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
from ctypes import c_double, c_long, c_uint64, c_void_p
from pathlib import Path

import numpy as np

FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-std=gnu11", "-shared", "-fPIC")
#: Kinds of sampling vectors, in the order of ``yardstick.c``.
KINDS = (
    "minibatch", "minibatch without", "gaussian", "rademacher", "student", "bernoulli", "fisher", "cov", "printed",
    "gaussian minibatch",
)  # fmt: skip
SOURCE = Path(__file__).with_name("yardstick.c")


class NoCompilerError(RuntimeError):
    """There is no C compiler, or it could not compile the source."""


class Yardstick:
    """The compiled workloads; each method runs one block of paths on the thread that calls it.

    Parameters
    ----------
    folder : Path
        Where to put the library.

    Attributes
    ----------
    compiler : str
        First line of what the compiler says to ``--version``.

    Raises
    ------
    NoCompilerError
        If it cannot be built.
    """

    def __init__(self, folder: Path) -> None:
        command = _compiler()
        library = folder / "yardstick.so"
        build = [*command, *FLAGS, str(SOURCE), "-o", str(library), "-lm"]
        try:
            version = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True).stdout
            subprocess.run(build, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = getattr(error, "stderr", "") or str(error)
            raise NoCompilerError(f"{shlex.join(command)} failed: {reason.strip()}") from error
        self.compiler = version.partition("\n")[0]
        self._library = ctypes.CDLL(str(library))
        self._library.init()

    def toy(
        self,
        n_paths: int,
        seed: int,
        kind: int,
        n_steps: int,
        step_size: float,
        power: float,
        n_data: int,
        batch_size: int,
        factor: np.ndarray,
    ) -> np.ndarray:
        """Last parameters, (n_paths, 2); the kind counts `gradnoise.simulations.toy.DYNAMICS`."""
        final = np.empty((n_paths, 2))
        numbers = c_long(n_steps), c_double(step_size), c_double(power), c_long(n_data), c_long(batch_size)
        self._library.toy(c_uint64(seed), c_long(kind), c_long(n_paths), *numbers, _pointer(factor), _pointer(final))
        return final

    def ornstein_uhlenbeck(self, n_paths: int, seed: int, n_steps: int, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        """Last theta of theta <- A theta + B z from zero, (n_paths, 16)."""
        A_T, B_T, theta = np.ascontiguousarray(A.T), np.ascontiguousarray(B.T), np.empty((n_paths, 16))
        matrices = _pointer(A_T), _pointer(B_T)
        self._library.ornstein_uhlenbeck(c_uint64(seed), c_long(n_paths), c_long(n_steps), *matrices, _pointer(theta))
        return theta

    def least_squares(
        self,
        n_paths: int,
        seed: int,
        n_steps: int,
        n_samples: int,
        kappa: float,
        eta: float,
        noise_std: float,
        spectrum: np.ndarray,
        start: np.ndarray,
    ) -> np.ndarray:
        """Excess risk of the averaged iterate in 20 dimensions, (n_paths,)."""
        root, risk = np.sqrt(spectrum), np.empty(n_paths)
        counts = c_uint64(seed), c_long(n_paths), c_long(n_steps), c_long(n_samples)
        numbers = c_double(kappa), c_double(eta), c_double(noise_std)
        self._library.least_squares(*counts, *numbers, _pointer(root), _pointer(start), _pointer(risk))
        return risk

    def coupled(
        self,
        n_paths: int,
        seed: int,
        n_steps: int,
        refinement: int,
        eta: float,
        strength: float,
        data: np.ndarray,
        start: np.ndarray,
    ) -> np.ndarray:
        """Squared distance of M-SGD from its SDE, (n_paths,)."""
        distance = np.empty(n_paths)
        counts = c_uint64(seed), c_long(n_paths), c_long(n_steps), c_long(refinement)
        numbers = c_double(eta), c_double(strength)
        self._library.coupled(*counts, *numbers, _pointer(data), _pointer(start), _pointer(distance))
        return distance

    def normals(self, n_paths: int, seed: int, n: int) -> np.ndarray:
        """Means of n standard normals, (n_paths,)."""
        mean = np.empty(n_paths)
        self._library.normals(c_uint64(seed), c_long(n_paths), c_long(n), _pointer(mean))
        return mean

    def weights(self, size: int, seed: int, kind: str, n: int, batch_size: int, scale: float, df: float = 0.0) -> np.ndarray:
        """Sampling vectors of a class, (size, n); `scale` is that of the random part."""
        w = np.empty((size, n))
        numbers = c_long(n), c_long(batch_size), c_double(scale), c_double(df)
        self._library.weights(c_uint64(seed), c_long(KINDS.index(kind)), c_long(size), *numbers, _pointer(w))
        return w

    def complexity(self, size: int, seed: int, kind: str, d: int, radius: float, columns: np.ndarray) -> np.ndarray:
        """Suprema of losses with statistics (n, p) under random signs, (size,); the kind is "affine" or "quadratic"."""
        supremum = np.empty(size)
        arguments = c_uint64(seed), c_long(size), c_long(len(columns)), c_long(d), c_double(radius)
        getattr(self._library, f"{kind}_complexity")(*arguments, _pointer(columns), _pointer(supremum))
        return supremum


def _compiler() -> list[str]:
    """Command of the C compiler: $CC, else gcc, else cc."""
    wanted = shlex.split(os.environ.get("CC", ""))
    for command in [wanted] if wanted else [["gcc"], ["cc"]]:
        if shutil.which(command[0]):
            return command
    raise NoCompilerError(f"CC is {shlex.join(wanted)!r}, which is not found" if wanted else "neither gcc nor cc is found")


def _pointer(array: np.ndarray) -> c_void_p:
    return array.ctypes.data_as(c_void_p)  # keeps the array alive
