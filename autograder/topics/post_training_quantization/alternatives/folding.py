"""Different right answers, which every check must accept."""

from __future__ import annotations

import copy

import torch
from torch import nn

from autograder.authoring.answers import alternative


@alternative("fold_batch_norm")
def fold_batch_norm__through_torch(conv, bn):
    fused = torch.nn.utils.fusion.fuse_conv_bn_eval(
        copy.deepcopy(conv).eval(), copy.deepcopy(bn).eval()
    )
    return fused


@alternative("fold_batch_norm")
def fold_batch_norm__new_layer(conv, bn):
    gamma = torch.ones(bn.num_features) if bn.weight is None else bn.weight.detach()
    beta = torch.zeros(bn.num_features) if bn.bias is None else bn.bias.detach()
    g = gamma / (bn.running_var + bn.eps) ** 0.5
    new = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        conv.stride,
        conv.padding,
        conv.dilation,
        padding_mode=conv.padding_mode,
    )
    old = 0 if conv.bias is None else conv.bias.detach()
    new.weight.data = torch.einsum("o,oihw->oihw", g, conv.weight.detach())
    new.bias.data = beta + g * (old - bn.running_mean)
    return new.requires_grad_(False)
