"""The ensemble driver: independent paths in seeded blocks, on threads, processes or a cluster, resumable and bit-identical.

- `run` computes the blocks of a study and reduces them in order; `concatenate` keeps all paths, `BLOCK_SIZE` is the default,
  `MOST_PATHS` the most; `check_fits` refuses what memory cannot hold
- `as_workers` checks ``n_jobs``, `watched` ends a run whose worker was killed; `BlockStore` keeps finished blocks in a folder,
  under a key of all that decides their numbers
- `Progress` is what ``progress=`` takes; `reporter` and `without_bars` show and hide bars
- `Result` is the base of what studies return: what was asked, what came out, what made it; `PathsResult` has each path's numbers
- `JsonResult` is anything that can be JSON, `versions` what numbers depend on, `replacing` a file that is written whole or not
- `kernel` compiles a function when it is first called, `part` one that kernels hand records to, `callback` one that they take
- `fingerprint` tells what a function depends on
"""

from __future__ import annotations

from gradnoise.simulations.ensemble.block import Block
from gradnoise.simulations.ensemble.block_store import BlockStore
from gradnoise.simulations.ensemble.driver import BLOCK_SIZE, MOST_PATHS, concatenate, run
from gradnoise.simulations.ensemble.function_identity import fingerprint
from gradnoise.simulations.ensemble.jit import kernel, part
from gradnoise.simulations.ensemble.machine_code import callback
from gradnoise.simulations.ensemble.memory import check_fits
from gradnoise.simulations.ensemble.progress import Progress, reporter, without_bars
from gradnoise.simulations.ensemble.provenance import versions
from gradnoise.simulations.ensemble.results import JsonResult, PathsResult, Result, finite
from gradnoise.simulations.ensemble.whole_files import replacing
from gradnoise.simulations.ensemble.workers import as_workers, watched

__all__ = [
    "BLOCK_SIZE",
    "MOST_PATHS",
    "Block",
    "BlockStore",
    "JsonResult",
    "PathsResult",
    "Progress",
    "Result",
    "as_workers",
    "callback",
    "check_fits",
    "concatenate",
    "fingerprint",
    "finite",
    "kernel",
    "part",
    "replacing",
    "reporter",
    "run",
    "versions",
    "watched",
    "without_bars",
]
