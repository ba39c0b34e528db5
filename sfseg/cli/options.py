"""Options that several commands have in common."""

from typing import Annotated

import typer

from sfseg.config import Precision

DeviceOption = Annotated[
    str, typer.Option(help="auto, cpu, cuda, cuda:N or mps; never falls back in silence.")
]
TrainingPrecisionOption = Annotated[
    Precision, typer.Option(help="Arithmetic; auto is bf16 where the hardware has it.")
]
CompileOption = Annotated[
    bool, typer.Option("--compile", help="Faster steps after a minute; needs a C++ compiler.")
]
AxesOption = Annotated[
    str | None, typer.Option(help="Axes of files whose metadata are silent, as in ZYX.")
]
