"""What crosses the wall, and what does not."""

import json
import math
import pickle
import struct
import time

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from autograder.judge.checking import first_change
from autograder.sandbox.wire import WireError, decode, encode
from course_utils.data import make_loader
from course_utils.models import MLP, BatchNormCNN, LeNet

PLAIN = [
    None,
    True,
    -3,
    2**80,
    0.1,
    "文字",
    b"",
    b"\x00\xff",
    [1, (2, [3.5]), {"a": {1: (None,)}, (0, 1): "pair"}],
    torch.float16,
]


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_values_come_back_with_their_types(value):
    back = decode(encode(value))
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_numbers_that_are_not_finite_cross(number):
    assert repr(decode(encode(number))) == repr(number)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.empty(0, 3),
        torch.tensor(3),
        torch.tensor([True, False]),
        torch.arange(6, dtype=torch.int8).reshape(2, 3).T,
        torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        torch.randn(3, dtype=torch.bfloat16),
        torch.tensor([math.nan, 1.0]),
    ],
    ids=lambda tensor: f"{tensor.dtype}-{tuple(tensor.shape)}",
)
def test_tensors_come_back_bit_for_bit(tensor):
    assert not first_change(tensor, decode(encode(tensor)))


def test_two_views_of_the_same_memory_cross():
    base = torch.arange(6.0)
    first, second = decode(encode([base[:4], base[2:]]))
    assert first.tolist() == [0, 1, 2, 3]
    assert second.tolist() == [2, 3, 4, 5]


def test_gradients_cross_with_their_tensor():
    weight = torch.randn(3, requires_grad=True)
    (weight**2).sum().backward()
    back = decode(encode(weight))
    assert back.requires_grad
    assert torch.equal(back.grad, weight.grad)


@pytest.mark.parametrize(
    "model",
    [
        LeNet(4, 5, 6),
        BatchNormCNN((3, 4, 5)),
        MLP((7,)),
        nn.Sequential(nn.Conv2d(1, 2, 3, stride=2, bias=False), nn.ReLU(), nn.Flatten()),
        nn.Linear(3, 2).double(),
    ],
    ids=lambda model: type(model).__name__,
)
def test_models_cross_with_values_modes_and_gradients(model):
    next(iter(model.modules())).train()
    list(model.modules())[-1].eval()
    parameter = next(model.parameters())
    parameter.requires_grad_(False)
    back = decode(encode(model))
    assert type(back) is type(model)
    assert not first_change(model, back)


def test_a_model_after_surgery_crosses_by_its_shapes():
    model = LeNet()
    model.fc1, model.fc2 = nn.Linear(800, 30), nn.Linear(30, 10)
    assert decode(encode(model)).fc1.out_features == 30


def test_a_model_that_its_arguments_do_not_describe_stays_behind():
    model = LeNet()
    model.fc1 = nn.Sequential(nn.Linear(800, 500))
    kept = []
    message = encode(model, keep=lambda value: kept.append(value) or 0)
    assert kept == [model]
    with pytest.raises(WireError):
        decode(message)


def test_loaders_cross_with_order_and_batch_size():
    images, labels = torch.randn(10, 1, 28, 28), torch.arange(10)
    mine = make_loader(images, labels, batch_size=4, shuffle=True, seed=3)
    theirs = decode(encode(make_loader(images, labels, batch_size=4, shuffle=True, seed=3)))
    for (left, left_labels), (right, right_labels) in zip(mine, theirs, strict=True):
        assert torch.equal(left, right)
        assert torch.equal(left_labels, right_labels)


def test_numpy_scalars_are_numbers_and_arrays_stay_arrays():
    assert decode(encode(np.float32(0.5))) == 0.5
    assert isinstance(decode(encode(np.arange(3))), np.ndarray)


def test_a_subclass_of_int_is_not_asked_how_to_behave():
    class Lying(int):
        def __eq__(self, other):
            return True

        def __hash__(self):
            return 0

    assert decode(encode(Lying(3))) != 4


def _message(tree, tensors=None):
    text = json.dumps(tree).encode()
    return struct.pack("<Q", len(text)) + text + safetensors.torch.save(tensors or {})


BAD = {
    "nothing": b"",
    "pickle": pickle.dumps(print),
    "short": struct.pack("<Q", 10**18),
    "unknown kind": _message({"$": "object", "class": "os.system"}),
    "private method": _message({"$": "value"}),
    "no kind": _message({"items": []}),
    "missing tensor": _message({"$": "tensor", "data": "t0"}),
    "deep": struct.pack("<Q", 200_000) + b"[" * 200_000,
    "handle": _message({"$": "handle", "id": 0}),
    "unhashable key": _message({"$": "dict", "items": [[{"$": "list", "items": []}, 1]]}),
    "class that is no model": _message(
        {"$": "module", "structure": {"class": "Module"}, "state": {}, "training": {}}
    ),
    "huge model": _message(
        {
            "$": "module",
            "structure": {"class": "LeNet", "config": {"fc1": 10**12}},
            "state": {},
            "training": {"": True},
        }
    ),
    "argument that is not one": _message(
        {
            "$": "module",
            "structure": {"class": "Linear", "config": {"device": "cuda"}},
            "state": {},
            "training": {"": True},
        }
    ),
    "huge padding": _message(
        {
            "$": "module",
            "structure": {
                "class": "Conv2d",
                "config": {"in_channels": 1, "out_channels": 1, "kernel_size": 1, "padding": 10**6},
            },
            "state": {},
            "training": {"": True},
        }
    ),
    "lying header": struct.pack("<Q", 4) + b"null" + struct.pack("<Q", 2**40) + b"{}",
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_bytes_that_are_no_message_are_refused(data):
    with pytest.raises(WireError):
        decode(data)


def forged(tree: object) -> bytes:
    text = json.dumps(tree).encode()
    return struct.pack("<Q", len(text)) + text + safetensors.torch.save({})


def test_keys_that_all_hash_alike_do_not_stall_the_judge():
    items = [[number * (2**61 - 1), 0] for number in range(200_000)]
    begin = time.process_time()
    with pytest.raises(WireError, match="keys"):
        decode(forged({"$": "list", "items": [{"$": "dict", "items": items}]}))
    assert time.process_time() - begin < 5


def test_a_model_of_many_layers_is_not_built():
    children = [[str(number), {"class": "ReLU", "config": {}}] for number in range(3000)]
    structure = {"class": "Sequential", "children": children}
    node = {"$": "module", "structure": structure, "state": {}, "training": {"": True}}
    with pytest.raises(WireError, match="more than 2000 layers"):
        decode(forged(node))
