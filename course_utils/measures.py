"""What a model costs: parameters, zeros, bytes, multiply-accumulate operations."""

from __future__ import annotations

from collections.abc import Sequence

import safetensors.torch
import torch
from torch import Tensor, nn

from course_utils.evaluation import eval_mode
from course_utils.models import packed_state


def count_parameters(model: nn.Module) -> int:
    """Return the number of parameters, zeros included. Shared parameters count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_nonzero(model: nn.Module) -> int:
    """Return the number of parameters that are not zero. Shared parameters count once."""
    return sum(int(torch.count_nonzero(parameter)) for parameter in model.parameters())


def sparsity(tensor_or_model: Tensor | nn.Module) -> float:
    """Return the fraction of zeros, in [0, 1].

    Args:
        tensor_or_model: A tensor with at least one element, or a model. Of a model only the
            weights of conv and linear layers count: those that pruning is about.

    Raises:
        ValueError: If there is nothing to count.
    """
    if isinstance(tensor_or_model, Tensor):
        tensors = [tensor_or_model]
    else:
        layers = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
        tensors = [part.weight for part in tensor_or_model.modules() if isinstance(part, layers)]
    total = sum(tensor.numel() for tensor in tensors)
    if total == 0:
        raise ValueError(
            "nothing to count; pass a tensor with elements, or a model with conv or linear layers"
        )
    nonzero = sum(int(torch.count_nonzero(tensor)) for tensor in tensors)
    return (total - nonzero) / total


def model_bytes(model: nn.Module) -> int:
    """Return the bytes of the model's state (buffers included) as a safetensors file.

    Zeros cost as much as other numbers here: this is dense storage.
    """
    return len(safetensors.torch.save(packed_state(model)))


@torch.no_grad()
def count_macs(model: nn.Module, input_shape: Sequence[int] = (1, 1, 28, 28)) -> int:
    """Return the multiply-accumulate operations of one forward pass.

    Only matrix products and convolutions count, as is usual; biases, activations and
    normalisation do not. Zero weights count as well: a dense kernel multiplies by them too.

    Args:
        model: In any mode; it is as before afterwards.
        input_shape: Shape of the input, batch first. The default is one image.

    Raises:
        ValueError: If the model does not accept an input of that shape.
    """
    from torch.utils.flop_counter import FlopCounterMode  # slow to import, rarely needed

    parameter = next(model.parameters(), torch.zeros(()))
    inputs = torch.zeros(tuple(input_shape), dtype=parameter.dtype, device=parameter.device)
    with eval_mode(model), FlopCounterMode(display=False) as counter:
        try:
            model(inputs)
        except RuntimeError as problem:
            raise ValueError(
                f"the model does not accept an input of shape {tuple(input_shape)}; "
                f"pass input_shape=(batch, channels, height, width): {problem}"
            ) from problem
    return counter.get_total_flops() // 2  # one multiplication and one addition each
