"""Predict windows on a device: grey values go there, probability comes back.

Everything between is done there: the normalisation, the orientations and their mean, the cut to the
core. On a GPU the host would be too slow for it. The memory of the host is a device, too.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from sfseg.config import TestTimeAugmentation
from sfseg.prediction.engines import Engine
from sfseg.prediction.engines.copies import copy_stream, download, upload
from sfseg.prediction.engines.gpu import require_finite
from sfseg.prediction.engines.graphs import Forward
from sfseg.prediction.tiles import Rectangle
from sfseg.prediction.windows import Window
from sfseg.transforms.orient import ORIENTATIONS, group_orientations, orient, unorient
from sfseg.types import Normalised, Probability


class OnDevice:
    """Predict windows on the device of an engine that takes tensors there, else on the host.

    The numbers are the same on all devices, to the bit, but for those of the network: each step is
    one operation in float32, which IEEE 754 rounds in one way.

    Parameters
    ----------
    run : Engine or callable
        As for `sfseg.prediction.predictor.Predictor`. Several threads may predict if it has
        `Engine.forward`.
    tta : {'none', 'flips', 'd4'}
        The orientations.
    """

    def __init__(self, run: Callable[[Normalised], Probability], tta: TestTimeAugmentation) -> None:
        if isinstance(run, Engine) and run.forward is not None:
            self._forward, self._device = run.forward, run.device
        else:
            self._forward, self._device = _on_host(run), torch.device("cpu")
        self._orientations = ORIENTATIONS[tta]

    def __call__(self, windows: Sequence[Window], keep: Rectangle, batch: int) -> list[Probability]:
        """Predict windows of one size, shape (Y, X).

        Parameters
        ----------
        windows : sequence of Window
            What the tiles read.
        keep : tuple of slice
            Rows and columns to keep.
        batch : int
            Sections in one pass.

        Returns
        -------
        list of ndarray of float32, shape (Y, X) of `keep`
            Interior probability; what it is in empty areas does not matter.

        Raises
        ------
        NonFiniteError
            If float16 was too small for an activation.
        """
        # The copies of one thread run beside the passes that another one has asked for.
        with torch.inference_mode(), copy_stream(self._device):
            mean, overflow = self._average(self._normalise(windows), batch)
            results, flag = download(mean[:, keep[0], keep[1]].contiguous(), overflow)
        require_finite(flag)
        return list(results)

    def _normalise(self, windows: Sequence[Window]) -> Tensor:
        """Copy the grey values to the device, and normalise them there: float32 (B, Y, X)."""
        if any(window.normalised is not None for window in windows):
            return upload(np.stack([window.standardise() for window in windows]), self._device)
        grey = np.stack([window.pixels for window in windows])
        if grey.dtype != np.uint8:  # PyTorch does not compute with all types
            grey = grey.astype(np.float32)
        sections = upload(grey, self._device).float()
        for section, window in zip(sections, windows, strict=True):
            if window.normalisation.bounds is not None:
                section.clamp_(*window.normalisation.bounds)
            shift, scale = window.normalisation.levels.shift_and_scale
            section.sub_(float(shift)).mul_(float(scale))
            if window.empty is not None:
                empty = upload(np.ascontiguousarray(window.empty), self._device)
                section.masked_fill_(empty, 0)
        return sections

    def _average(self, sections: Tensor, batch: int) -> tuple[Tensor, Tensor]:
        """Average over the orientations; return whether any pass was too much for float16, too."""
        if len(self._orientations) == 1 and len(sections) <= batch:
            return self._forward(sections)
        total = torch.zeros_like(sections)
        overflow = torch.zeros((), dtype=torch.int32, device=self._device)
        for group in group_orientations(len(sections), self._orientations, batch):
            turned = torch.stack([orient(sections[n], o) for o, n in group])
            results, flag = self._forward(turned)
            torch.maximum(overflow, flag.to(torch.int32), out=overflow)
            for (orientation, n), result in zip(group, results, strict=True):
                total[n] += unorient(result, orientation)
        return total.div_(len(self._orientations)), overflow


def _on_host(run: Callable[[Normalised], Probability]) -> Forward:
    """Make an `Engine.forward` for tensors on the host; `run` itself refuses what overflows."""
    no_overflow = torch.zeros((), dtype=torch.int32)
    return lambda sections: (torch.from_numpy(run(sections.numpy())), no_overflow)
