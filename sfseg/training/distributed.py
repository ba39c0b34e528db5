"""Several processes that train one network, as `torchrun` starts them.

Together they take the same steps as one process with all their patches in one batch. Each process
sees its share of the patches. The batch normalisation uses the statistics of all patches, the loss
is the mean over all pixels, and the gradients are summed.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.autograd.function import Function
from torch.nn.parallel import DistributedDataParallel

from sfseg.errors import DeviceError
from sfseg.system import torchrun

PATIENCE = timedelta(days=7)
"""How long a process waits for another: the first one validates while the others wait."""


@dataclass(frozen=True)
class World:
    """The processes of a training run; by default there is only this one.

    Attributes
    ----------
    rank : int
        Number of this process, from 0.
    size : int
        Number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes, reports and validates."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over the processes; every process gets the same bits."""
        if self.size == 1:
            return tensor
        total = tensor.detach().clone()
        distributed.all_reduce(total)
        return total

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; waits until all processes have called this."""
        return bool(self.sum(torch.tensor(float(flag))))

    def share(self, network: nn.Module) -> nn.Module:
        """Let the batch normalisations of a network see the patches of all processes."""
        if self.size == 1:
            return network
        if next(network.parameters()).device.type == "cuda":
            convert = nn.SyncBatchNorm.convert_sync_batchnorm
            return cast("nn.Module", convert(network))  # type: ignore[no-untyped-call]
        return with_shared_statistics(network)

    def parallel(self, network: nn.Module) -> nn.Module:
        """Wrap a network so that after a backward pass all processes hold the mean gradient."""
        if self.size == 1:
            return network
        return DistributedDataParallel(network, gradient_as_bucket_view=True)


ALONE = World()


@contextlib.contextmanager
def process_group(device: torch.device) -> Iterator[World]:
    """Join the other processes that `torchrun` started, and leave them after the block.

    Parameters
    ----------
    device : torch.device
        Where this process trains.

    Yields
    ------
    World
        A world of one if `torchrun` did not start this process.
    """
    if torchrun.processes() == 1:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield World(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def own_device(device: torch.device) -> torch.device:
    """Give each process of a machine a GPU of its own.

    Parameters
    ----------
    device : torch.device
        The requested device.

    Returns
    -------
    torch.device
        With several processes on ``cuda``, the GPU with the number of this one; else `device`.

    Raises
    ------
    DeviceError
        If there are more processes than GPUs, or one GPU is named for several processes.
    """
    number, processes = torchrun.place_on_machine()
    if device.type != "cuda" or processes == 1:
        return device
    found = torch.cuda.device_count() if device.index is None else 1
    if processes > found:
        raise DeviceError(
            f"device {device}: {processes} processes need a GPU each, only {found} can be used",
            hint=f"torchrun --nproc-per-node {torch.cuda.device_count()} with --device cuda",
        )
    return torch.device("cuda", number)


class _Sum(Function):
    """Sum over the processes; the gradient is summed, too."""

    @staticmethod
    def forward(_ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.contiguous().clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        return total


def _sum(tensor: Tensor) -> Tensor:
    return cast("Tensor", _Sum.apply(tensor))  # type: ignore[no-untyped-call]


class SharedBatchNorm(nn.BatchNorm2d):
    """Normalise by the statistics of the patches of all processes; PyTorch's own needs CUDA.

    A process without patches takes part with an empty batch.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, Y, X) in the type of the weights, and return the type of the input."""
        if not self.training:
            return super().forward(x)
        exact = x.to(self.weight.dtype)
        pixels = exact.new_tensor([exact[:, 0].numel()])
        totals = _sum(torch.cat([exact.sum((0, 2, 3)), pixels]))
        pixels = totals[-1].detach()
        mean = totals[:-1] / pixels  # (C)
        centred = exact - mean[:, None, None]
        variance = _sum(centred.square().sum((0, 2, 3))) / pixels
        self._follow(mean.detach(), variance.detach() * (pixels / (pixels - 1)))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Update the running statistics."""
        momentum = cast("float", self.momentum)
        cast("Tensor", self.running_mean).lerp_(mean, momentum)
        cast("Tensor", self.running_var).lerp_(variance, momentum)
        cast("Tensor", self.num_batches_tracked).add_(1)


def with_shared_statistics(network: nn.Module) -> nn.Module:
    """Replace each batch normalisation by a `SharedBatchNorm`, in place."""
    for name, child in network.named_children():
        if isinstance(child, nn.BatchNorm2d):
            shared = SharedBatchNorm(child.num_features, child.eps, child.momentum)
            shared.load_state_dict(child.state_dict())
            setattr(network, name, shared.to(child.weight))
        else:
            with_shared_statistics(child)
    return network
