"""The Triton kernels compute what their references in public PyTorch do: in Triton's interpreter.

Triton is a gigabyte large and no dependency here: where it is missing, nothing is tested. On a GPU
the same comparison runs in test_gpu.py, with the compiled kernels.
"""

import importlib
import importlib.util

import pytest
import torch

from sfseg.prediction.engines import operations
from sfseg.prediction.engines.operations import Target
from sfseg.prediction.engines.probe import agrees
from tests.networks import OPERATIONS, make_operation

CPU = torch.device("cpu")
HAS_TRITON = importlib.util.find_spec("triton") is not None

if HAS_TRITON and not torch.cuda.is_available():
    with pytest.MonkeyPatch.context() as interpreted:
        interpreted.setenv("TRITON_INTERPRET", "1")
        # Triton's own functions are made for the interpreter at its first import, if this is it.
        importlib.import_module("triton.language")


@pytest.fixture(scope="module", autouse=True)
def _interpreted():
    """Let the kernels run in Python, on NumPy arrays."""
    if not HAS_TRITON:
        pytest.skip("triton is not installed; see docs/contributing.md")
    if torch.cuda.is_available():
        pytest.skip("test_gpu.py runs the compiled kernels here")
    if not _is_interpreted():
        pytest.skip("Triton was imported for GPUs: set TRITON_INTERPRET=1 before pytest starts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        kernels = importlib.reload(operations.kernels())
        patch.setattr(kernels, "PIXELS", 16)
        yield
    importlib.reload(kernels)


def _is_interpreted():
    """Tell whether Triton's own functions are made for the interpreter."""
    from triton import language
    from triton.runtime.interpreter import InterpretedFunction

    return isinstance(language.max, InterpretedFunction)


# The interpreter multiplies the bits of bf16 as if they were integers.
WITHOUT_PRODUCT = [name for name in OPERATIONS if "squeeze" not in name and "doubling" not in name]


@pytest.mark.parametrize("side", [2, 6])
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, torch.float16) for name in OPERATIONS),
        *((name, torch.bfloat16) for name in WITHOUT_PRODUCT),
    ],
)
def test_a_kernel_computes_what_its_reference_does(name, dtype, side):
    assert agrees(make_operation(name, Target(CPU, dtype)), side)


@pytest.mark.filterwarnings("ignore:overflow encountered in exp")  # NumPy's, in the sigmoid
@pytest.mark.parametrize("value", [5000.0, float("inf"), float("nan")])
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_kernel_notes_an_activation_that_is_too_large(name, value):
    operation = make_operation(name, Target(CPU, torch.float16))
    x, *others = operation.example(2)
    operation.fused(x, *others)
    guard = others[-1]
    assert guard.flag == 0
    if name == "first convolution":
        x[1, 1, 2] = 1000 * value  # grey values, of which it makes activations
    else:
        x[1, 3, 1, 2] = value
    operation.fused(x, *others)
    assert guard.flag == 1
