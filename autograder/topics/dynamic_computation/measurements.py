"""What this topic's experiments show, measured."""

from __future__ import annotations

import copy
from functools import lru_cache
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autograder.authoring.calibration import measurement
from autograder.judge.course import Course
from course_utils.training import train

HIDDEN_IMAGES = 2000
WIDTHS = (0.25, 0.5, 0.75, 1.0)
THRESHOLD = 0.9
LENET_MACS = (295_200, 1_608_000, 405_000)  # blocks with their exits


# ---------------------------------------------------------------- early exits


class EveryExit(nn.Module):
    """The course's LeNet in three blocks; returns the logits of three exits."""

    def __init__(self, course: Course) -> None:
        super().__init__()
        lenet, pool = course.checkpoint("lenet"), nn.MaxPool2d(2)
        self.blocks = nn.ModuleList(
            [
                nn.Sequential(lenet.conv1, nn.ReLU(), pool),
                nn.Sequential(lenet.conv2, nn.ReLU(), pool),
                nn.Sequential(nn.Flatten(), lenet.fc1, nn.ReLU()),
            ]
        )
        heads = [nn.Sequential(pool, nn.Flatten(), nn.Linear(720, 10))]
        heads += [nn.Sequential(nn.Flatten(), nn.Linear(800, 10)), lenet.fc2]
        self.exits = nn.ModuleList(heads)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the logits (N, 10) of every exit."""
        x, all_logits = images.to(memory_format=torch.channels_last), []
        for block, exit_head in zip(self.blocks, self.exits, strict=True):
            x = block(x)
            all_logits.append(exit_head(x))
        return all_logits


@lru_cache(maxsize=8)
def early_exit_figures(reference: ModuleType, course: Course, seed: int) -> dict[str, float]:
    """Train all exits jointly for one epoch; let the hidden images leave at top-1 >= 0.9."""
    torch.manual_seed(seed)
    model = EveryExit(course)
    old = [*model.blocks.parameters(), *model.exits[2].parameters()]
    groups = [
        {"params": old, "lr": 3e-4},
        {"params": model.exits[:2].parameters(), "lr": 1e-2},
    ]
    train(
        model,
        course.loader("train", seed=seed),
        1,
        optimizer=torch.optim.Adam(groups),
        loss_function=lambda z, y: reference.early_exit_loss(z, y, [1.0, 0.5, 1.0]),
        progress=False,
    )
    images, labels = course.images("grading", HIDDEN_IMAGES)
    net = reference.EarlyExitNet(list(model.blocks), list(model.exits)).eval()
    logits, index = net.forward_until_confident(images, THRESHOLD, "top1")
    last, _ = net.forward_until_confident(images, 2.0, "top1")
    counts = torch.bincount(index, minlength=3).tolist()
    accuracy, full = ((z.argmax(1) == labels).double().mean().item() for z in (logits, last))
    return {
        "early": counts[0] / len(labels),
        "drop": full - accuracy,
        "saving": sum(LENET_MACS) / reference.expected_macs(counts, list(LENET_MACS)),
    }


@measurement(unit="fraction", margin=0.03)
def share_at_the_first_exit(reference: ModuleType, course: Course, seed: int) -> float:
    """Share of hidden images that leave LeNet at exit 0 with top-1 >= 0.9."""
    return early_exit_figures(reference, course, seed)["early"]


@measurement(unit="fraction", margin=0.01)
def accuracy_lost_by_leaving(reference: ModuleType, course: Course, seed: int) -> float:
    """Accuracy of the last exit minus that of leaving at top-1 >= 0.9, hidden images."""
    return early_exit_figures(reference, course, seed)["drop"]


@measurement(unit="times", margin=0.1)
def macs_saved_by_leaving(reference: ModuleType, course: Course, seed: int) -> float:
    """MACs of all blocks and exits over the mean MACs at top-1 >= 0.9, hidden images."""
    return early_exit_figures(reference, course, seed)["saving"]


# ---------------------------------------------------------------- slimmable


class SharedBatchNorm2d(nn.BatchNorm2d):
    """One batch norm whose first channels serve all widths."""

    def forward(self, x: Tensor, width: float) -> Tensor:
        """Return x, normalised with the first channels' statistics."""
        n = x.shape[1]
        statistics = self.running_mean[:n], self.running_var[:n], self.weight[:n], self.bias[:n]
        return F.batch_norm(x, *statistics, self.training, self.momentum, self.eps)


class SlimmableCNN(nn.Module):
    """The course's BatchNormCNN at several widths, from the reference's layers."""

    def __init__(self, reference: ModuleType, switchable: bool) -> None:
        super().__init__()
        self.convs, self.norms, inputs = nn.ModuleList(), nn.ModuleList(), 1
        for outputs in (16, 32, 64):
            sliced = {"slice_input": inputs > 1}
            conv = reference.SlimmableConv2d(inputs, outputs, 3, padding=1, bias=False, **sliced)
            norm = reference.SwitchableBatchNorm2d(outputs, WIDTHS) if switchable else None
            self.convs.append(conv)
            self.norms.append(norm or SharedBatchNorm2d(outputs))
            inputs = outputs
        self.fc = reference.SlimmableLinear(64, 10, slice_output=False)

    def forward(self, images: Tensor, width: float) -> Tensor:
        """Return the logits (N, 10) at a width."""
        x = images.to(memory_format=torch.channels_last)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.max_pool2d(F.relu(norm(conv(x, width), width)), 2)
        return self.fc(x.mean(dim=(2, 3)), width)


@lru_cache(maxsize=8)
def slimmable_figures(reference: ModuleType, course: Course, seed: int) -> dict[str, float]:
    """Train both kinds for two epochs of 5,000 images; accuracies at width 0.25 and 1."""
    figures = {}
    for name in ("switchable", "shared"):
        torch.manual_seed(seed)
        model = SlimmableCNN(reference, name == "switchable").train()
        loader = course.loader("train", limit=5000, batch_size=64, seed=seed)
        optimizer, epochs = torch.optim.Adam(model.parameters(), 1e-2), 2
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 1e-2, total_steps=epochs * len(loader)
        )
        for _ in range(epochs):
            for images, labels in loader:
                optimizer.zero_grad()
                reference.slimmable_loss(model, images, labels, WIDTHS, [1.0] * 4).backward()
                optimizer.step()
                schedule.step()
        model.eval()
        for width in (0.25, 1.0):
            figures[f"{name} {width}"] = course.hidden_accuracy(
                lambda batch, model=model, width=width: model(batch, width), HIDDEN_IMAGES
            )
    healed = copy.deepcopy(model).train()
    with torch.no_grad():
        for count, batch in enumerate(course.images("train", 2000)[0].split(250), 1):
            for norm in healed.norms:
                norm.momentum = 1 / count
            healed(batch, 0.25)
    healed.eval()
    figures["healed 0.25"] = course.hidden_accuracy(lambda x: healed(x, 0.25), HIDDEN_IMAGES)
    return figures


@measurement(unit="fraction", margin=0.03)
def switchable_quarter_width(reference: ModuleType, course: Course, seed: int) -> float:
    """Accuracy on hidden images at width 0.25, a batch norm for each width."""
    return slimmable_figures(reference, course, seed)["switchable 0.25"]


@measurement(unit="fraction", margin=0.03)
def switchable_full_width(reference: ModuleType, course: Course, seed: int) -> float:
    """Accuracy on hidden images at width 1, a batch norm for each width."""
    return slimmable_figures(reference, course, seed)["switchable 1.0"]


@measurement(unit="fraction", margin=0.05)
def shared_quarter_width(reference: ModuleType, course: Course, seed: int) -> float:
    """Accuracy on hidden images at width 0.25, one batch norm shared by all widths."""
    return slimmable_figures(reference, course, seed)["shared 0.25"]


@measurement(unit="fraction", margin=0.03)
def recalibrated_quarter_width(reference: ModuleType, course: Course, seed: int) -> float:
    """The same shared network after its statistics were estimated again for width 0.25."""
    return slimmable_figures(reference, course, seed)["healed 0.25"]
