"""The options that several commands have, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Budget", "ChunkSize", "DataDir", "Device", "Extra", "Jobs", "Json", "Out", "Seed", "Store"]

Budget = Annotated[str, typer.Option("--budget", help="quick (minutes) or full (a third of the margins)", metavar="quick|full")]
ChunkSize = Annotated[int | None, typer.Option("--chunk-size", help="samples taken at once; as memory allows if not given")]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="where the data files are; else GRADNOISE_DATA says so", metavar="DIR")
]
Device = Annotated[str, typer.Option("--device", help="auto (CUDA where there is some), cpu, cuda, cuda:1 ...", metavar="NAME")]
Extra = Annotated[
    str | None,
    typer.Option(
        "--extra",
        metavar="neural|kept",
        help="claims beside the core's: neural trains networks, kept judges kept trainings",
    ),
]
Jobs = Annotated[int, typer.Option("--jobs", "-j", help="workers; 0 takes all processors")]
Json = Annotated[Path | None, typer.Option("--json", help="write the result as JSON; - for stdout", metavar="FILE")]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="folder to write to; for figures ./results if not given", metavar="DIR")
]
Seed = Annotated[int | None, typer.Option("--seed", help="seed of all random numbers; fixed and printed if not given")]
Store = Annotated[
    Path | None, typer.Option("--store", help="keep what is finished there, so that a run can be resumed", metavar="DIR")
]
