"""Models as ONNX files, to run them with onnxruntime: a library that ships int8 kernels.

The files are written node by node, so that nothing but `onnx` itself is needed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from course_utils.arguments import require

OPSET = 21
INPUT, OUTPUT = "images", "logits"
# The newest onnx writes a format that an older onnxruntime does not read.
FORMAT_VERSION = 10
Run = Callable[[np.ndarray], np.ndarray]


def write_onnx(layers: nn.Sequential, path: str | Path, input_shape: tuple[int, ...]) -> None:
    """Write plain layers to an ONNX file, in float32.

    Args:
        layers: Linear, Conv2d (zero padding), ReLU, MaxPool2d and Flatten, in any order.
        path: Of the file; it is overwritten.
        input_shape: Shape of one input, without the batch, for example (1, 28, 28).

    Raises:
        ValueError: If there is a layer of another kind.
    """
    import onnx

    nodes, tensors, here = [], [], INPUT
    for position, layer in enumerate(layers):
        there = f"x{position}"
        weights = {name: p.detach().numpy() for name, p in layer.named_parameters()}
        names = [f"{kind}{position}" for kind in weights]
        for name, array in zip(names, weights.values(), strict=True):
            tensors.append(onnx.numpy_helper.from_array(array, name))
        kind, attributes = _operator(layer)
        node = onnx.helper.make_node(
            kind, [here, *names], [there], name=f"{kind}{position}", **attributes
        )
        nodes.append(node)
        here = there
    nodes[-1].output[0] = OUTPUT
    number = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        "layers",
        [onnx.helper.make_tensor_value_info(INPUT, number, ["n", *input_shape])],
        [onnx.helper.make_tensor_value_info(OUTPUT, number, ["n", "classes"])],
        initializer=tensors,
    )
    opset = onnx.helper.make_opsetid("", OPSET)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=FORMAT_VERSION)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def open_onnx(path: str | Path) -> Run:
    """Open an ONNX file with onnxruntime, on one thread.

    Returns:
        A function from a float32 array (N, ...) to an array (N, classes).
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda array: session.run([OUTPUT], {INPUT: array})[0]


def quantize_onnx(
    source: str | Path, target: str | Path, images: Tensor | None, *, weight_bits: int = 7
) -> None:
    """Write an int8 version of a float ONNX file, with onnxruntime's own quantizer.

    Weights are symmetric int8, one scale per channel; activations asymmetric uint8.

    Args:
        source: Written by `write_onnx`.
        target: Of the new file; it is overwritten.
        images: (N, ...) to calibrate fixed ranges (static quantization).
            None: ranges are measured anew on every input (dynamic quantization).
        weight_bits: 8, or 7 to be right on every processor: without VNNI instructions x86 adds
            two products of 8-bit numbers in 16 bits, which saturates.

    Raises:
        ValueError: If weight_bits is neither 7 nor 8.

    Source:
        onnxruntime.ai, Quantize ONNX models: 'Why did I see accuracy loss on x86-64?'
    """
    require(weight_bits in (7, 8), f"weight_bits must be 7 or 8; got {weight_bits}")
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )

    class Images(CalibrationDataReader):
        def __init__(self, batches: tuple[Tensor, ...]) -> None:
            self._batches: Iterator[Tensor] = iter(batches)

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self._batches, None)
            return None if batch is None else {INPUT: batch.numpy()}

    logging.getLogger().setLevel(logging.ERROR)  # it advises a step that these files do not need
    if images is None:
        # Signed weights would need another kernel for conv layers than onnxruntime has.
        quantize_dynamic(str(source), str(target), weight_type=QuantType.QUInt8)
        return
    quantize_static(
        str(source),
        str(target),
        Images(images.split(100)),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        reduce_range=weight_bits == 7,
    )


def _operator(layer: nn.Module) -> tuple[str, dict[str, object]]:
    """Return the ONNX operator of a layer, with its attributes."""
    if isinstance(layer, nn.Linear):
        return "Gemm", {"transB": 1}
    if isinstance(layer, nn.Conv2d):
        return "Conv", {
            "kernel_shape": list(layer.kernel_size),
            "strides": list(layer.stride),
            "pads": [*layer.padding, *layer.padding],
            "dilations": list(layer.dilation),
        }
    if isinstance(layer, nn.MaxPool2d):
        return "MaxPool", {
            "kernel_shape": [layer.kernel_size] * 2,
            "strides": [layer.stride] * 2,
        }
    if isinstance(layer, nn.ReLU):
        return "Relu", {}
    if isinstance(layer, nn.Flatten):
        return "Flatten", {}
    raise ValueError(f"layers: a {type(layer).__name__} cannot be written")
