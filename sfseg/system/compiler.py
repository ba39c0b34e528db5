"""Compiling a network: require a C++ compiler, and explain its errors."""

import contextlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import cast

import torch
from torch import Tensor, nn

from sfseg.errors import DeviceError
from sfseg.system.memory import is_out_of_memory


def compile_network(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """Compile a network for training; its parameters stay shared."""
    return cast("Callable[[Tensor], Tensor]", torch.compile(network))


def require_compiler(instead: str) -> None:
    """Refuse to compile without a working C++ compiler.

    Parameters
    ----------
    instead : str
        What the user can do without a compiler, for the hint.

    Raises
    ------
    DeviceError
        If there is no C++ compiler, or the one in the variable CXX does not run.
    """
    if (named := os.environ.get("CXX")) is not None:
        try:  # torch.compile uses this one and no other
            subprocess.run([*shlex.split(named), "--version"], capture_output=True, check=True)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise DeviceError(
                f"CXX: the C++ compiler {named!r} does not run",
                hint=f"{instead}, or correct the variable CXX",
            ) from error
    elif not any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl")):
        raise DeviceError(
            "compile: there is no C++ compiler",
            hint=f"{instead}, or install g++ or clang++",
        )


@contextlib.contextmanager
def explain_compiler_errors(instead: str) -> Iterator[None]:
    """Turn the errors of a compilation in the block into a DeviceError with a hint.

    Parameters
    ----------
    instead : str
        What the user can do without a compiler, for the hint.

    Raises
    ------
    DeviceError
        For an error of torch.compile or of the C++ compiler.
    """
    # Slow to import, so only before a compilation, which needs them anyway.
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import CppCompileError, InvalidCxxCompiler

    try:
        yield
    except (
        TorchDynamoException,
        CppCompileError,
        InvalidCxxCompiler,
        subprocess.SubprocessError,
    ) as error:
        if is_out_of_memory(error):
            raise
        cause = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DeviceError(
            f"compile: the network cannot be compiled: {cause}",
            hint=f"{instead}, or repair the C++ compiler",
        ) from error
