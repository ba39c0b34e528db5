"""Make the requested engine; try which arithmetic it should use, and remember the choice."""

import contextlib
import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import nn

from sfseg import __version__
from sfseg.config import EngineChoice, EngineName, PredictPrecision
from sfseg.errors import DeviceError, NonFiniteError, OptionError
from sfseg.prediction.engines.eager import torch_engine
from sfseg.prediction.engines.engine import Engine
from sfseg.prediction.engines.inductor import compiled_engine
from sfseg.prediction.engines.int8 import has_fast_int8, why_no_int8
from sfseg.prediction.engines.openvino import openvino_engine
from sfseg.system import files
from sfseg.system.devices import arithmetic_name, dtype_name, has_fast_fp16, pick_dtype
from sfseg.system.locks import exclusive
from sfseg.transforms.normalise import GreyLevels
from sfseg.types import Normalised, Probability

Make = Callable[[nn.Module, torch.device, torch.dtype], Engine]

ENGINES: Mapping[EngineName, Make] = MappingProxyType(
    {"torch": torch_engine, "compile": compiled_engine, "openvino": openvino_engine}
)

MOST_DISAGREEMENT = 0.06
"""Largest allowed difference of a probability from float32; see docs/performance.md."""

MOST_FP16_DISAGREEMENT = 0.01
"""The same for fp16, which has eight times as many digits as bf16. The shipped network is off by
0.0006, computed in float32 with every activation rounded to fp16."""

SPEED_PX, AGREEMENT_PX = 256, 192
"""Sides of the trial sections: with these a trial takes less than two seconds."""

MUCH_SLOWER = 1.5
"""If 16 bits take so many times as long as float32, in each of `RACES`, float32 is used."""

RACES = 5
"""One is enough where bf16 is fast; other programs at work do not decide all of them."""

_NO_VNNI = (
    "this processor has no instructions for int8 (VNNI or AMX): int8 is less exact here, and "
    "hardly faster, or slower for a few sections"
)

TRIAL = 3
"""Number of this way to try; choices that were made in another way are not recalled."""


@dataclass(frozen=True)
class Choice:
    """The engine and arithmetic in use.

    Attributes
    ----------
    engine : {'torch', 'openvino', 'compile'}
        Name of the engine.
    dtype : {'float32', 'bfloat16', 'float16', 'int8'}
        Name of the arithmetic.
    disagreement : float
        Largest difference of a probability from float32, on the trial section.
    notice : str
        For the user: why fp16 or bf16 was tried and is not used, or why int8 is not fast; else
        empty.
    """

    engine: EngineName
    dtype: str
    disagreement: float = 0.0
    notice: str = ""


def make_engine(
    network: nn.Module,
    device: torch.device,
    choice: EngineChoice = "auto",
    precision: PredictPrecision = "auto",
    *,
    cache_file: Path | None = None,
) -> tuple[Engine, Choice]:
    """Make an engine that runs a network on a device.

    Parameters
    ----------
    network : torch.nn.Module
        One of `sfseg.models`, with its weights; it is not changed.
    device : torch.device
        Where to run.
    choice : {'auto', 'torch', 'compile', 'openvino'}
        Auto is torch: compile takes a minute for each size of tile, and openvino cannot be
        trusted; see `sfseg.prediction.engines.openvino`.
    precision : {'auto', 'float32', 'bf16', 'fp16', 'int8'}
        Auto tries fp16 on CUDA, then bf16, where the hardware has it. It uses the first that does
        not differ too much from float32 and is not much slower; else float32. For int8 the engine
        is in float32, until `sfseg.prediction.engines.calibrate.calibrate` makes one; or auto,
        where PyTorch cannot.
    cache_file : Path, optional
        File that remembers choices for this machine, these weights and these versions.

    Returns
    -------
    engine : Engine
        The engine, ready to run.
    choice : Choice
        Its name and arithmetic.

    Raises
    ------
    DeviceError, MissingExtraError
        If a named engine cannot run here, or int8 on this device.
    OptionError
        If the engine has no int8.
    """
    if precision == "int8":
        return _before_calibration(network, device, choice, cache_file)
    name: EngineName = "torch" if choice == "auto" else choice
    dtype = pick_dtype(precision, device)
    if precision != "auto" or not any(_candidates(device, name)):
        return ENGINES[name](network, device, dtype), Choice(name, dtype_name(dtype))
    key = _key(network, device, name)
    known = _recall(cache_file).get(key)
    if known is not None:
        engine, chosen = ENGINES[name](network, device, getattr(torch, known.dtype)), known
    else:
        engine, chosen = _try(network, device, name)
        if cache_file is not None:
            _remember(cache_file, key, chosen)
    if chosen.notice and cache_file is not None:
        again = f"{chosen.notice}; to try again, remove {cache_file}"
        chosen = replace(chosen, notice=again)
    return engine, chosen


def _before_calibration(
    network: nn.Module, device: torch.device, choice: EngineChoice, cache_file: Path | None
) -> tuple[Engine, Choice]:
    """Make the engine that int8 is compared with; or that of auto, where there is no int8."""
    if choice not in ("auto", "torch"):
        raise OptionError(
            f"precision int8: the engine {choice} does not have it", hint="use --engine torch"
        )
    if device.type != "cpu":
        raise DeviceError(
            f"precision int8: it only runs on the CPU, not on {device}",
            hint="use --device cpu, or --precision auto",
        )
    if reason := why_no_int8():
        engine, chosen = make_engine(network, device, choice, cache_file=cache_file)
        used = "bf16" if engine.dtype == torch.bfloat16 else dtype_name(engine.dtype)
        notice = f"int8 cannot be used here, {reason}: {used} is used"
        return engine, replace(chosen, notice=notice)
    notice = "" if has_fast_int8() else _NO_VNNI
    return torch_engine(network, device, torch.float32), Choice("torch", "int8", 0.0, notice)


def _try(network: nn.Module, device: torch.device, name: EngineName) -> tuple[Engine, Choice]:
    """Try which arithmetic agrees with float32 and is not much slower; the first one is taken."""
    exact = torch_engine(network, device, torch.float32)
    faults: list[str] = []
    section = _section(AGREEMENT_PX)
    expected = exact(section)
    for dtype in _candidates(device, name):
        fast = ENGINES[name](network, device, dtype)
        off = _disagreement(fast, section, expected)
        fault = _find_fault(fast, exact, off)
        if fault is None:
            return fast, Choice(name, dtype_name(dtype), off, _notice(faults, dtype))
        faults.append(fault)
    instead = ENGINES[name](network, device, torch.float32)
    return instead, Choice(name, dtype_name(torch.float32), 0.0, _notice(faults, torch.float32))


def _candidates(device: torch.device, name: EngineName) -> Iterator[torch.dtype]:
    """List the arithmetics that are fast here; only the engine torch watches fp16's range."""
    if name == "torch" and has_fast_fp16(device):
        yield torch.float16
    if (dtype := pick_dtype("auto", device)) != torch.float32:
        yield dtype


def _disagreement(engine: Engine, section: Normalised, expected: Probability) -> float:
    """Return the largest difference of a probability; infinity if the engine refuses."""
    try:
        return float(np.abs(engine(section) - expected).max())
    except NonFiniteError:
        return float("inf")


def _find_fault(fast: Engine, exact: Engine, off: float) -> str | None:
    """Say why an engine is not used; None if it is good."""
    name, is_fp16 = arithmetic_name(fast.dtype), fast.dtype == torch.float16
    if not off <= (MOST_FP16_DISAGREEMENT if is_fp16 else MOST_DISAGREEMENT):  # NaN does not agree
        return f"{name} differs from float32 by {off:.2f}"
    return f"{name} is much slower than float32" if _is_much_slower(fast, exact) else None


def _notice(faults: list[str], instead: torch.dtype) -> str:
    if not faults:
        return ""
    return f"{' and '.join(faults)} on this machine: {arithmetic_name(instead)} is used"


def _section(side: int) -> Normalised:
    """Draw a section as smooth as tissue, noise at three scales: (1, side, side), normalised."""
    rng = np.random.default_rng(0)
    image = np.zeros((side, side), np.float32)
    for scale in (1, 8, 32):
        noise = rng.standard_normal((side // scale, side // scale)).astype(np.float32)
        image += np.kron(noise, np.ones((scale, scale), np.float32))
    return GreyLevels.of_section(image).standardise(image)[None]


def _is_much_slower(fast: Engine, exact: Engine) -> bool:
    """Tell whether an engine in 16 bits loses all races by far.

    The engines take turns, and the first race that it does not lose ends it: so a machine that is
    busy for a while does not choose float32, which would change the pixels of all later outputs.
    """
    section = _section(SPEED_PX)
    for engine in (fast, exact):
        engine(section)  # the first pass of a size prepares it
    return all(
        _seconds(fast, section) > MUCH_SLOWER * _seconds(exact, section) for _ in range(RACES)
    )


def _seconds(engine: Engine, section: Normalised) -> float:
    """Time a pass; its result is in the memory of the host when it ends."""
    started = time.perf_counter()
    engine(section)
    return time.perf_counter() - started


def _key(network: nn.Module, device: torch.device, name: EngineName) -> str:
    """Make a key of weights, engine, machine and versions: a choice depends on all of them."""
    digest = hashlib.sha256()
    for tensor in network.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return " ".join((digest.hexdigest()[:16], name, *_machine(device, name)))


def _machine(device: torch.device, name: EngineName) -> Iterator[str]:
    if device.type == "cuda":
        yield torch.cuda.get_device_name(device)
    else:
        yield f"{platform.node()} {platform.machine()} {torch.get_num_threads()}"
    yield f"sfseg {__version__} trial {TRIAL} torch {torch.__version__}"
    if name == "openvino":
        yield f"openvino {metadata.version('openvino')}"


def _recall(cache_file: Path | None) -> dict[str, Choice]:
    """Read the remembered choices; none if the file is missing or damaged."""
    try:
        raw = files.read_json(cache_file) if cache_file is not None else {}
        known = {key: Choice(**value) for key, value in raw.items()}
        return {
            key: choice
            for key, choice in known.items()
            if choice.engine in ENGINES and choice.dtype in ("float32", "bfloat16", "float16")
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _remember(cache_file: Path, key: str, choice: Choice) -> None:
    """Add a choice to the file; if it cannot be written, the next run tries again."""
    with (
        contextlib.suppress(OSError),
        exclusive(files.sibling(cache_file, "lock"), waiting=lambda: None),
    ):
        known = {**_recall(cache_file), key: choice}
        text = json.dumps({key: vars(choice) for key, choice in known.items()}, indent=1)
        files.write_text(cache_file, text, overwrite=True)
