"""Wrong answers that students really give, each with the check that must catch it."""

from __future__ import annotations

import copy

import torch
from torch import nn

from autograder.authoring.answers import mistake

# ---------------------------------------------------------------- fold_batch_norm


@mistake("fold_batch_norm", caught_by="test_eps_lies_under_the_root", hint="forgets eps")
def fold_batch_norm__no_eps(conv, bn):
    factor = 1 / torch.sqrt(bn.running_var)
    factor = factor if bn.weight is None else factor * bn.weight.detach()
    bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
    bias = (bias - bn.running_mean) * factor
    folded = copy.deepcopy(conv)
    folded.weight = nn.Parameter(conv.weight.detach() * factor.reshape(-1, 1, 1, 1))
    folded.bias = nn.Parameter(bias if bn.bias is None else bias + bn.bias.detach())
    return folded


@mistake(
    "fold_batch_norm",
    caught_by="test_eps_lies_under_the_root",
    hint="adds eps to the root instead of under it",
)
def fold_batch_norm__eps_outside(conv, bn):
    factor = 1 / (torch.sqrt(bn.running_var) + bn.eps)
    factor = factor if bn.weight is None else factor * bn.weight.detach()
    bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
    bias = (bias - bn.running_mean) * factor
    folded = copy.deepcopy(conv)
    folded.weight = nn.Parameter(conv.weight.detach() * factor.reshape(-1, 1, 1, 1))
    folded.bias = nn.Parameter(bias if bn.bias is None else bias + bn.bias.detach())
    return folded


@mistake(
    "fold_batch_norm",
    caught_by="test_folds_a_conv_layer_with_bias",
    hint="drops the bias of the conv layer",
)
def fold_batch_norm__drops_conv_bias(conv, bn):
    factor = torch.rsqrt(bn.running_var + bn.eps)
    factor = factor if bn.weight is None else factor * bn.weight.detach()
    bias = -bn.running_mean * factor
    folded = copy.deepcopy(conv)
    folded.weight = nn.Parameter(conv.weight.detach() * factor.reshape(-1, 1, 1, 1))
    folded.bias = nn.Parameter(bias if bn.bias is None else bias + bn.bias.detach())
    return folded


@mistake(
    "fold_batch_norm",
    caught_by="test_folds_a_conv_layer_without_bias",
    hint="fails for a conv layer without bias",
)
def fold_batch_norm__needs_conv_bias(conv, bn):
    factor = torch.rsqrt(bn.running_var + bn.eps)
    factor = factor if bn.weight is None else factor * bn.weight.detach()
    bias = (conv.bias.detach() - bn.running_mean) * factor
    folded = copy.deepcopy(conv)
    folded.weight = nn.Parameter(conv.weight.detach() * factor.reshape(-1, 1, 1, 1))
    folded.bias = nn.Parameter(bias if bn.bias is None else bias + bn.bias.detach())
    return folded


@mistake(
    "fold_batch_norm",
    caught_by="test_folds_without_affine",
    hint="fails for a normalisation with affine=False",
)
def fold_batch_norm__needs_affine(conv, bn):
    factor = torch.rsqrt(bn.running_var + bn.eps) * bn.weight.detach()
    bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
    folded = copy.deepcopy(conv)
    folded.weight = nn.Parameter(conv.weight.detach() * factor.reshape(-1, 1, 1, 1))
    folded.bias = nn.Parameter((bias - bn.running_mean) * factor + bn.bias.detach())
    return folded


@mistake(
    "fold_batch_norm",
    caught_by="test_keeps_stride_padding_and_dilation",
    hint="loses stride, padding or dilation of the conv layer",
)
def fold_batch_norm__loses_settings(conv, bn):
    factor = torch.rsqrt(bn.running_var + bn.eps)
    factor = factor if bn.weight is None else factor * bn.weight.detach()
    bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
    bias = (bias - bn.running_mean) * factor
    folded = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size)
    folded.weight = nn.Parameter(conv.weight.detach() * factor.reshape(-1, 1, 1, 1))
    folded.bias = nn.Parameter(bias if bn.bias is None else bias + bn.bias.detach())
    return folded


@mistake(
    "fold_batch_norm",
    caught_by="test_folding_leaves_both_layers",
    hint="changes the conv layer that was passed in",
)
def fold_batch_norm__in_place(conv, bn):
    factor = torch.rsqrt(bn.running_var + bn.eps)
    factor = factor if bn.weight is None else factor * bn.weight.detach()
    bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
    bias = (bias - bn.running_mean) * factor
    conv.weight.data.mul_(factor.reshape(-1, 1, 1, 1))
    conv.bias = nn.Parameter(bias if bn.bias is None else bias + bn.bias.detach())
    return conv
