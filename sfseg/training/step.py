"""One training step: the loss, its gradients, the update of the weights and of their average."""

import contextlib
import copy
import math
from collections.abc import Callable, Hashable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from sfseg.errors import NonFiniteError
from sfseg.models.encoder_decoder import EncoderDecoder
from sfseg.system import compiler, devices
from sfseg.training.affinities import WithAffinities, affinity_loss
from sfseg.training.averaging import average_weights, decay_of_average, is_frozen, set_mode
from sfseg.training.cuda_graphs import CudaGraph
from sfseg.training.distributed import World
from sfseg.training.last_step import LastStep
from sfseg.training.loss import loss_of, pixel_weights
from sfseg.training.optim import learning_rate, make_optimizer, set_learning_rate
from sfseg.training.run_setup import TrainSetup


class TrainStep:
    """A network, its optimiser, and the average of its weights.

    Parameters
    ----------
    network : torch.nn.Module
        The network to train; it is moved to the device.
    setup : TrainSetup
        The resolved configuration.
    world : World
        The processes that train together.

    Attributes
    ----------
    network : torch.nn.Module
        The network.
    with_heads : torch.nn.Module
        The network with the layer of affinities, where the recipe has affinities.
    average : torch.nn.Module
        The network with the averaged weights, which are the result of a training run.
    optimizer : torch.optim.Optimizer
        Over all parameters of `with_heads`.
    last_step : LastStep
        Keeps `with_heads` as the last finished step left it.
    """

    def __init__(self, network: nn.Module, setup: TrainSetup, world: World) -> None:
        config, device, dtype = setup.config, setup.device, setup.dtype
        devices.place(network, device)
        self.average = copy.deepcopy(network)
        self.network = world.share(network)
        self.with_heads: nn.Module = self.network
        self._recipe = config.recipe
        if config.recipe.affinity_weight:
            self.with_heads = WithAffinities(cast("EncoderDecoder", self.network), seed=config.seed)
            devices.place(self.with_heads, device)
        self.optimizer = make_optimizer(self.with_heads, config.recipe, dtype)
        self.last_step = LastStep(self.with_heads)
        parallel = world.parallel(self.with_heads)
        self._forward = compiler.compile_network(parallel) if config.compile else parallel
        self._device, self._dtype, self._world = device, dtype, world
        self._compiles = config.compile
        self._decay = torch.zeros((), device=device)
        records = device.type == "cuda" and world.size == 1
        self._replayed_gradients = CudaGraph(self._compute_gradients, records=records)
        self._replayed_move = CudaGraph(self._move_weights, records=records)
        self._mode: Hashable = None  # of this step; each has recordings of its own

    def compute_gradients(
        self,
        images: Tensor,
        targets: Tensor,
        step: int,
        steps: int,
        *,
        meanwhile: Callable[[], None],
    ) -> float:
        """Compute the loss of a batch and its gradients, for `update`.

        Parameters
        ----------
        images, targets : Tensor
            The batch, as `sfseg.training.patches.Patches` cuts it.
        step, steps : int
            Number of the step, from 0, and of all steps.
        meanwhile : callable
            Called while a GPU computes; not called on a CPU.

        Returns
        -------
        float
            The loss.

        Raises
        ------
        NonFiniteError
            If the loss or its gradient is NaN or infinite. Nothing has changed then.
        DeviceError
            If the network is compiled and the compiler fails.
        """
        set_learning_rate(self.optimizer, learning_rate(self._recipe, step, steps))
        self._decay.fill_(decay_of_average(self._recipe, step))
        set_mode(self.network, self.average, self._recipe, step, steps)
        self._mode = (is_frozen(self._recipe, step, steps), images.shape)
        with self._explain_errors():  # the network is compiled when it first sees a shape
            found, gradients = self._replayed_gradients(
                images.to(self._device, memory_format=torch.channels_last),
                targets.to(self._device),
                mode=self._mode,
            )
        for weight, gradient in zip(self.with_heads.parameters(), gradients, strict=True):
            weight.grad = gradient  # another recording may have left its own gradients there
        numbers = devices.copy_to_host(found)
        if self._device.type == "cuda":
            meanwhile()
        loss, norm = numbers()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self.last_step.rollback()
            raise NonFiniteError(
                f"step {step + 1}: the training diverged: loss {loss:g}, gradient {norm:g}",
                hint="train again into another --out, with --precision float32 or a lower "
                f"--learning-rate; the state after step {step} is kept",
            )
        return loss

    def update(self) -> None:
        """Move the weights and their average, after `compute_gradients`, in `LastStep.update`."""
        self._replayed_move(mode=self._mode)

    def _explain_errors(self) -> contextlib.AbstractContextManager[None]:
        if self._compiles:
            return compiler.explain_compiler_errors(
                "leave --compile out and train into another --out"
            )
        return contextlib.nullcontext()

    def _compute_gradients(self, images: Tensor, targets: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Compute the loss and the norm of its gradient, as one tensor; and the gradients."""
        with devices.autocast(self._device, self._dtype):
            logits = self._forward(images)
        part = self._part_of_loss(logits.float(), targets)
        self.optimizer.zero_grad(set_to_none=True)
        # Afterwards the processes hold the mean of their gradients, but the sum is needed.
        (part * self._world.size).backward()  # type: ignore[no-untyped-call]
        weights = list(self.with_heads.parameters())
        # An infinite bound clips nothing: only the norm is wanted.
        norm = nn.utils.clip_grad_norm_(weights, torch.inf)
        gradients = [cast("Tensor", weight.grad) for weight in weights]
        return torch.stack([self._world.sum(part.detach()), norm]), gradients

    def _move_weights(self) -> None:
        self.optimizer.step()
        average_weights(self.average, self.network, self._decay)

    def _part_of_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Compute what the patches of this process add to the mean over all patches."""
        interior = targets[:, :1]
        of_pixels, of_patches = self._shares(interior)
        loss = loss_of(self._recipe, logits[:, :1], interior) * of_pixels
        if self._recipe.affinity_weight:
            affinities = affinity_loss(logits[:, 1:], targets[:, 1:])
            loss = loss + self._recipe.affinity_weight * of_patches * affinities
        return loss

    def _shares(self, interior: Tensor) -> Sequence[Tensor | float]:
        """Return the share of this process in the weight of all pixels, and in all patches."""
        if self._world.size == 1:
            return 1.0, 1.0
        weight = pixel_weights(self._recipe, interior).sum()
        own = torch.stack([weight, torch.full_like(weight, len(interior))])
        return (own / self._world.sum(own)).unbind()
