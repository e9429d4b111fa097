from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from course_utils import checkpoints, measures
from course_utils.data import load
from course_utils.evaluation import accuracy, eval_mode, predict
from course_utils.models import (
    MLP,
    MODEL_CLASSES,
    BatchNormCNN,
    LeNet,
    load_model,
    rebuild,
    save_model,
)

IMAGES = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
MODELS = [LeNet, BatchNormCNN, MLP, lambda: MLP(()), lambda: LeNet(4, 8, 32, 5)]


@pytest.mark.parametrize("build", MODELS)
def test_a_model_comes_back_from_its_file(build, tmp_path: Path) -> None:
    model = build().eval()
    save_model(model, tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    assert type(again) is type(model)
    assert again.config == model.config
    assert not again.training
    assert torch.equal(again(IMAGES), model(IMAGES))


def test_sizes_are_the_published_ones() -> None:
    assert measures.count_parameters(LeNet()) == 431_080
    assert measures.count_parameters(BatchNormCNN()) == 24_058
    assert measures.count_macs(LeNet()) == 2_293_000
    assert 4 * 431_080 < measures.model_bytes(LeNet()) < 4 * 431_080 + 1000


def test_config_follows_surgery(tmp_path: Path) -> None:
    model = LeNet()
    model.fc1, model.fc2 = nn.Linear(800, 300), nn.Linear(300, 10)
    assert model.config == {"conv1": 20, "conv2": 50, "fc1": 300, "num_classes": 10}
    save_model(model, tmp_path / "small.safetensors")
    model.fc2 = nn.Linear(7, 10)
    with pytest.raises(ValueError, match="LeNet"):
        save_model(model, tmp_path / "broken.safetensors")


def test_the_hidden_layer_sees_channel_row_column() -> None:
    model = LeNet().eval()
    seen = []
    model.fc1.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0]))
    model(IMAGES)
    x = nn.functional.max_pool2d(model.conv1(IMAGES).relu(), 2)
    x = nn.functional.max_pool2d(model.conv2(x).relu(), 2)
    assert torch.allclose(seen[0].reshape(3, 50, 4, 4), x, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: LeNet(conv1=0), "conv1"),
        (lambda: BatchNormCNN((1, 2)), "three"),
        (lambda: MLP((2.5,)), "fc1"),
        (lambda: rebuild("ResNet", {}, {}), "LeNet"),
        (lambda: rebuild("LeNet", {}, {}), "state_dict"),
        (lambda: save_model(nn.Linear(1, 1), "never"), "course's models"),
        (lambda: checkpoints.load_checkpoint("no"), "lenet"),
        (lambda: predict(LeNet(), IMAGES[:0]), "at least one image"),
        (lambda: accuracy(LeNet(), []), "no images"),
        (lambda: measures.sparsity(nn.ReLU()), "nothing to count"),
        (lambda: measures.count_macs(LeNet(), (1, 3, 28, 28)), "input_shape"),
    ],
)
def test_bad_input_is_refused(call, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call()


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="save_model"):
        load_model(tmp_path / "odd")
    with pytest.raises(FileNotFoundError, match="no file"):
        load_model(tmp_path / "none")


def test_evaluation_restores_every_mode() -> None:
    model = BatchNormCNN().train()
    model.bn2.eval()
    before = [part.training for part in model.modules()]
    logits = predict(model, IMAGES, batch_size=2)
    assert logits.shape == (3, 10)
    assert not logits.requires_grad
    measures.count_macs(model)
    with pytest.raises(KeyError), eval_mode(model):
        raise KeyError
    assert [part.training for part in model.modules()] == before


def test_sparsity_counts_weights_only() -> None:
    model = MLP((4,))
    nn.init.zeros_(model.fc1.bias)
    assert measures.sparsity(model) == 0
    nn.init.zeros_(model.fc1.weight)
    assert measures.sparsity(model) == 4 * 784 / (4 * 784 + 40)
    assert measures.sparsity(torch.tensor([0.0, 1.0, 0.0, 2.0])) == 0.5
    assert measures.count_nonzero(model) == 50


@pytest.mark.parametrize("name", sorted(checkpoints.checkpoint_manifest()))
def test_a_checkpoint_is_as_accurate_as_its_manifest_says(name: str) -> None:
    entry = checkpoints.checkpoint_manifest()[name]
    model = checkpoints.load_checkpoint(name)
    assert type(model) is MODEL_CLASSES[entry["class"]]
    assert measures.count_nonzero(model) == entry["nonzero"]
    found = accuracy(model, load("test", batch_size=500))
    assert found == pytest.approx(entry["accuracy"]["test"], abs=0.002)
    assert found > 0.885


def test_a_course_checkpoint_is_announced_and_noted(capsys: pytest.CaptureFixture[str]) -> None:
    before = len(checkpoints.course_checkpoints_used())
    model = checkpoints.use_course_checkpoint("lenet_pruned_90", instead_of="finetune_pruned")
    assert 0.89 < measures.sparsity(model) < 0.91
    assert "instead of finetune_pruned" in capsys.readouterr().out
    noted = checkpoints.course_checkpoints_used()[before:]
    assert noted == [{"checkpoint": "lenet_pruned_90", "instead_of": "finetune_pruned"}]
