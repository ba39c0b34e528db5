"""Muon: steps of one size in all directions, and AdamW for all other weights."""

import copy

import numpy as np
import pytest
import torch

from sfseg import models
from sfseg.recipes import DEFAULT
from sfseg.training.affinities import OFFSETS_PX, WithAffinities
from sfseg.training.muon import RMS_OF_STEP, Muon, orthogonalise
from sfseg.training.optim import make_optimizer


def parameters(*shapes):
    """Make parameters of some shapes, each with a gradient."""
    generator = torch.Generator().manual_seed(0)
    made = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    for parameter in made:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return made


def muon(kernels, others, *, lr=0.1, weight_decay=0.0):
    adamw = torch.optim.AdamW(others, lr, weight_decay=weight_decay, fused=True)
    return Muon(kernels, adamw, dtype=torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3, 32, 288), (1, 64, 32), (2, 48, 48)])
def test_singular_values_come_near_one(shape, dtype):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    rows, values, columns = torch.linalg.svd(matrices, full_matrices=False)
    near = orthogonalise((rows * values.clamp(min=1)[:, None] @ columns).to(dtype)).float()
    found = torch.linalg.svdvals(near)
    assert 0.6 < found.min() < found.max() < 1.25
    # and the directions stay: what is left of the others is small
    turned = rows.mT @ near @ columns.mT
    rest = turned - torch.diag_embed(turned.diagonal(dim1=-2, dim2=-1))
    assert rest.abs().max() < (1e-4 if dtype == torch.float32 else 0.05)


def test_a_kernel_moves_by_steps_of_one_size_whatever_its_gradient():
    wide, tall = parameters((16, 8, 3, 3), (64, 8, 1, 1))
    tall.grad *= 1e-6
    before = [wide.clone(), tall.clone()]
    (other,) = parameters((4,))
    muon([wide, tall], [other]).step()
    for now, then in zip([wide, tall], before, strict=True):
        rms = (now - then).square().mean().sqrt().item()
        assert rms == pytest.approx(0.1 * RMS_OF_STEP, rel=0.3)


def test_kernels_of_one_shape_do_not_disturb_each_other():
    several = parameters((4, 3, 3, 3), (4, 3, 3, 3))
    alone = [copy.deepcopy(kernel) for kernel in several]
    for kernel, twin in zip(several, alone, strict=True):
        twin.grad = kernel.grad.clone()
        muon([twin], parameters((2,))).step()
    muon(several, parameters((2,))).step()
    torch.testing.assert_close(several, alone)


def test_without_a_gradient_there_is_only_decay():
    (kernel,) = parameters((4, 3, 3, 3))
    kernel.grad.zero_()
    before = kernel.detach().clone()
    muon([kernel], parameters((2,)), weight_decay=0.5).step()
    torch.testing.assert_close(kernel.detach(), before * 0.95)


@pytest.mark.parametrize("size", [1e-25, 1e-38])
def test_a_gradient_of_almost_nothing_moves_nothing_and_breaks_nothing(size):
    (kernel,) = parameters((4, 3, 3, 3))
    kernel.grad *= size
    before = kernel.detach().clone()
    muon([kernel], parameters((2,))).step()
    torch.testing.assert_close(kernel.detach(), before)


def test_a_kernel_that_no_longer_learns_comes_to_rest():
    (kernel,) = parameters((4, 3, 3, 3))
    optimizer = muon([kernel], parameters((2,)), lr=1e-3)
    optimizer.step()
    kernel.grad.zero_()
    for _ in range(1500):
        optimizer.step()
    at_rest = kernel.detach().clone()
    optimizer.step()
    assert kernel.isfinite().all()
    torch.testing.assert_close(kernel.detach(), at_rest)


def test_all_else_steps_as_with_adamw():
    (kernel,) = parameters((4, 3, 3, 3))
    ours, theirs = parameters((7,)), parameters((7,))
    one = muon([kernel], ours, weight_decay=0.1)
    other = torch.optim.AdamW(theirs, lr=0.1, weight_decay=0.1, fused=True)
    for _ in range(3):
        one.step()
        other.step()
    assert torch.equal(ours[0], theirs[0])


def test_a_saved_state_goes_on_bit_for_bit():
    kernels, others = parameters((4, 3, 3, 3), (4, 3, 3, 3)), parameters((5,))
    optimizer = muon(kernels, others)
    optimizer.step()
    state, there = copy.deepcopy(optimizer.state_dict()), copy.deepcopy([*kernels, *others])
    optimizer.step()
    for copied, original in zip(there, [*kernels, *others], strict=True):
        copied.grad = original.grad.clone()
    again = muon(there[:2], there[2:])
    again.load_state_dict(state)
    again.step()
    for copied, original in zip(there, [*kernels, *others], strict=True):
        assert torch.equal(copied, original)


@pytest.mark.parametrize("arch", models.ARCHITECTURES)
def test_it_has_every_parameter_once_and_the_inner_kernels_as_kernels(arch):
    train_step = WithAffinities(models.build(arch), seed=0)
    kernels, others = (
        [*group["params"]]
        for group in make_optimizer(train_step, DEFAULT, torch.float32).param_groups
    )
    every = list(train_step.parameters())
    assert sorted(map(id, kernels + others)) == sorted(map(id, every))
    left = [tuple(weight.shape) for weight in others if weight.ndim == 4]
    channels = train_step.network.output.in_channels
    assert left == [(64, 1, 3, 3), (1, channels, 3, 3), (len(OFFSETS_PX), channels, 3, 3)]
    assert np.sum([kernel.numel() for kernel in kernels]) > 0.98 * models.count_parameters(
        train_step
    )
