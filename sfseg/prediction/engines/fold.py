"""Fold the batch normalisation of a trained network into the scale of its convolutions."""

import copy
from typing import cast

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sfseg.models.blocks import Conv
from sfseg.models.encoder_decoder import EncoderDecoder


def fold(network: nn.Module) -> EncoderDecoder:
    """Copy a network with its batch normalisations folded into the convolutions before them.

    Parameters
    ----------
    network : torch.nn.Module
        One of `sfseg.models`; it is not changed.

    Returns
    -------
    EncoderDecoder
        In evaluation mode, on the CPU; gives the same numbers up to rounding.
    """
    if not isinstance(network, EncoderDecoder):
        raise TypeError(f"{type(network).__name__} is not one of sfseg.models")
    with torch.no_grad():
        folded = copy.deepcopy(network).float().cpu().eval()
        for block in folded.modules():
            if isinstance(block, Conv):
                conv, norm = cast("nn.Conv2d", block[0]), cast("nn.BatchNorm2d", block[1])
                block[0], block[1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    return folded.requires_grad_(False)
