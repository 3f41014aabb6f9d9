"""Random streams by SPEC 7: ``rng`` is None, an int, a SeedSequence or a Generator, and is normalised here."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradnoise.theory._validation import as_count

__all__ = ["RNG", "Stream"]

_MOST_BITS = 4096  # of a seed: Python writes no much larger numbers, and a result tells its seed


@dataclass(frozen=True)
class Stream:
    """A family of independent random streams, one for each block.

    Attributes
    ----------
    entropy : int or tuple of int
        Of the root; recorded, so that a run can be repeated.
    spawn_key : tuple of int
        Where in the tree of spawned sequences this family stands.
    bit_generator : str
        Name of the NumPy bit generator.

    Examples
    --------
    >>> from gradnoise.simulations.seeds import Stream
    >>> stream = Stream.of(7)
    >>> stream.child(3)
    Stream(entropy=7, spawn_key=(3,), bit_generator='PCG64')
    >>> bool(stream.generator(0).random() == Stream.of(7).generator(0).random())  # a place has its numbers
    True
    """

    entropy: int | tuple[int, ...]
    spawn_key: tuple[int, ...]
    bit_generator: str

    @classmethod
    def of(cls, rng: RNG) -> Stream:
        """Normalise `rng`.

        Parameters
        ----------
        rng : None, int, SeedSequence, Generator or Stream
            None draws entropy. An int or a SeedSequence is not changed, so the same one gives the same numbers again.
            A Generator spawns one child.

        Raises
        ------
        TypeError, ValueError
            If rng is something else, or a negative integer.
        """
        if isinstance(rng, cls):
            return rng
        name = "PCG64"
        if isinstance(rng, np.random.Generator):
            name = type(rng.bit_generator).__name__
            if getattr(np.random, name, None) is not type(rng.bit_generator):
                raise ValueError(f"rng must be a Generator with one of NumPy's own bit generators, got {name}")
            parent = rng.bit_generator.seed_seq
            if not isinstance(parent, np.random.SeedSequence):
                raise ValueError("rng must be a Generator whose bit generator was seeded by a SeedSequence, so that it can spawn")
            rng = parent.spawn(1)[0]
        elif rng is None:
            rng = np.random.SeedSequence()
        elif isinstance(rng, numbers.Integral) and not isinstance(rng, bool):
            if int(rng) < 0:
                raise ValueError(f"rng must be >= 0 as an integer seed, got {rng if int(rng).bit_length() < 64 else 'less'}")
            rng = np.random.SeedSequence(int(rng))
        elif not isinstance(rng, np.random.SeedSequence):
            raise TypeError(f"rng must be None, an int, a SeedSequence or a Generator, got {rng!r}")
        entropy = rng.entropy
        if isinstance(entropy, numbers.Integral):
            entropy = int(entropy)
        else:
            entropy = tuple(int(e) for e in np.ravel(entropy))  # type: ignore[arg-type]
        if max(part.bit_length() for part in (entropy if isinstance(entropy, tuple) else (entropy,))) > _MOST_BITS:
            raise ValueError(f"rng must be a seed below 2**{_MOST_BITS}")
        return cls(entropy, tuple(int(k) for k in rng.spawn_key), name)

    def child(self, *key: int) -> Stream:
        """Return the family at a place of its own below this one; 64 bits of a hash of a name are a place, too."""
        places = tuple(as_count(place, "key", at_least=0, at_most=2**64 - 1) for place in key)
        return Stream(self.entropy, self.spawn_key + places, self.bit_generator)

    def sequence(self) -> np.random.SeedSequence:
        """Return the seed sequence at this place."""
        return np.random.SeedSequence(self.entropy, spawn_key=self.spawn_key)

    def seed(self) -> int:
        """Return an integer to seed a generator of another library with."""
        return int(self.generator(0).integers(2**62))

    def generator(self, block: int) -> np.random.Generator:
        """Generator of one block."""
        bit_generator = getattr(np.random, self.bit_generator)
        return np.random.Generator(bit_generator(self.child(as_count(block, "block", at_least=0)).sequence()))


#: What every ``rng`` may be (SPEC 7), see `Stream.of`; a Stream itself is for our own use.
RNG = None | int | np.integer[Any] | np.random.SeedSequence | np.random.Generator | Stream
