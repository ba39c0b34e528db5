"""Take batch normalisation out of a trained network: it is one more convolution's scale."""

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
        One of `sfseg.models`; is left as it is.

    Returns
    -------
    EncoderDecoder
        In evaluation mode, on the CPU; gives the same numbers up to rounding.
    """
    if not isinstance(network, EncoderDecoder):
        raise TypeError(f"expected one of sfseg.models, found {type(network).__name__}")
    with torch.no_grad():
        folded = copy.deepcopy(network).float().cpu().eval()
        for block in folded.modules():
            if isinstance(block, Conv):
                conv, norm = cast("nn.Conv2d", block[0]), cast("nn.BatchNorm2d", block[1])
                block[0], block[1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    return folded.requires_grad_(False)
