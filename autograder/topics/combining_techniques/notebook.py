# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   topic: combining_techniques
#   number: 7
#   title: Combining techniques
# ---

# %% [markdown]
# # 7 Combining techniques (組合技)
#
# You know the parts: **pruning** (剪枝), **knowledge distillation** (知識蒸餾), **post-training
# quantization** (訓練後量化, PTQ), **quantization-aware training** (量化感知訓練, QAT), **weight
# clustering** (權重聚類), **dynamic computation** (動態計算).
# This last notebook puts them together. Each removes another kind of waste, so together they reach
# what none reaches alone. They also get into each other's way.
#
# At the end you can
#
# - prune and distil, and say how much the teacher is really worth there;
# - quantize *and* cluster, so that a weight needs 3 bits and its codebook almost nothing;
# - prune, quantize and distil without losing the zeros or the grid;
# - measure the lecture's closing table on one network, and read a **Pareto front** (帕雷托前緣);
# - turn a network into as few bytes as you can, and back: the **byte challenge**.
#
# **How to work.** Read, write your answer where the TODO stands, run the check below it.
# A failed check says what was expected, what came, and what usually causes that.
# Hints fold away: open one at a time.
#
# `progress()` in any cell shows how far you are, in all notebooks.
# Long trainings stand in `remember(function, ...)`: after a restart of the kernel the same call
# comes back in a second.
#
# **Rules that hold everywhere.**
#
# - A function changes none of its arguments. A function that takes a model and returns one works on
#   a deep copy and returns it in eval mode, of the same class. The caller's models (the teacher
#   too), their gradients and the train/eval mode of every submodule stay as they were.
# - Everything is **layer-wise** (逐層): each conv and linear layer is pruned to the same sparsity,
#   and has a grid and a codebook of its own. Biases and batch norm stay in float.
# - Loaders yield `(images, labels)`. Fractions lie in [0, 1] and are never percent.
# - An impossible argument raises a `ValueError` whose message names it: `sparsity` outside [0, 1),
#   `alpha` outside [0, 1], `temperature <= 0`, `lr <= 0`, negative `epochs`, `bits` outside
#   2 .. 16, `k` below 1.
# - The optimizer and its schedule are your choice.

# %% [markdown] lang="zh-TW"
# # 7 組合技 (combining techniques)
#
# 各個部分你都已經認識了：**剪枝** (pruning)、**知識蒸餾** (knowledge distillation,
# KD)、**訓練後量化** (post-training quantization, PTQ)、**量化感知訓練** (quantization-aware
# training, QAT)、**權重聚類** (weight clustering)、**動態計算** (dynamic computation)。
# 最後這個 notebook 把它們組合起來。每一種技術移除的是不同的浪費，所以組合起來，
# 能達到任何一種單獨都達不到的效果。它們也會互相妨礙。
#
# 完成後，你能夠：
#
# - 剪枝並蒸餾，而且說得出教師模型在其中究竟值多少；
# - 量化*並*聚類，讓一個權重只需 3 個位元，而它的權重映射表幾乎不占空間；
# - 剪枝、量化並蒸餾，而不失去零或格點；
# - 在同一個網路上測量課程的總表，並讀懂**帕雷托前緣** (Pareto front)；
# - 把網路變成盡可能少的位元組，再還原回來：**位元組挑戰**。
#
# **進行方式。** 先閱讀，在 TODO 處寫下答案，再執行下方的檢查。檢查未通過時，會告訴你預期什麼、
# 得到什麼，以及常見的原因。提示是折疊的：一次打開一個。
#
# 在任何儲存格執行 `progress()`，就能看到你在所有筆記本的進度。較久的訓練寫成
# `remember(function, ...)`：重新啟動核心 (kernel) 之後，同樣的呼叫一秒內就會回來。
#
# **處處適用的規則。**
#
# - 函式不更改任何引數。接收模型並回傳模型的函式，在深層複製 (deep copy) 的副本上操作，
#   並以 eval 模式回傳副本，類別 (class) 相同。呼叫者的模型（教師模型也是）、其梯度，
#   以及每個子模組的 train/eval 模式，都維持原樣。
# - 一切都是**逐層** (layer-wise)：每個卷積層與全連接層都剪到相同的稀疏度，
#   也各有自己的格點 (grid) 與權重映射表 (codebook)。bias 與 Batch Norm 維持浮點數。
# - Loader 產生 `(images, labels)`。比例都在 [0, 1] 之內，絕不用百分比。
# - 不合理的引數會引發 `ValueError`，訊息中指出它的名稱：`sparsity` 超出 [0, 1)、
#   `alpha` 超出 [0, 1]、`temperature <= 0`、`lr <= 0`、負的 `epochs`、`bits` 超出 2 .. 16、
#   `k` 小於 1。
# - 最佳化器及其學習率排程由你選擇。

# %% define
import copy
import lzma
import math
import struct
import zlib
from collections.abc import Callable
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize
from torch.utils.data import DataLoader
from tqdm import tqdm

from course_utils.arguments import is_rejected, require
from course_utils.data import load_images, make_loader
from course_utils.evaluation import accuracy
from course_utils.models import LeNet
from course_utils.training import train

# %%
import bz2
import os
import tempfile

import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from course_utils.checkpoints import load_checkpoint
from course_utils.measures import count_macs
from course_utils.plots import use_course_style
from course_utils.progress import passed, progress
from course_utils.remembering import remember
from course_utils.speed import compare_model_speed
from course_utils.widgets import explorer

use_course_style()
torch.set_num_threads(1)  # a fair and quiet clock: two threads disturb each other
torch.set_flush_denormal(True)
torch.manual_seed(7)

images, labels = load_images("train")
held_out = make_loader(*load_images("validation"), batch_size=500)
test = make_loader(*load_images("test"), batch_size=500)
lenet = load_checkpoint("lenet")
LENET_BYTES = 1_725_032  # of the checkpoint's file
print(f"LeNet: {accuracy(lenet, test):.1%} on 2,000 test images, {LENET_BYTES:,} bytes")

# %% [markdown]
# ## The idea
#
# The lecture names three combinations (its slide *組合技*):
#
# 1. **Network pruning + KD**: a teacher guides the pruned network while it recovers.
# 2. **(QAT +) PTQ + weight clustering**: a coarse grid makes numbers cheap, clustering makes few of
#    them.
# 3. **Network pruning + PTQ + KD**: remove weights, make the rest short, and let a teacher bring
#    the accuracy back.
#
# At the end stands an **entropy coder** (熵編碼器), as in *Deep Compression*: it turns few
# different, unequally frequent symbols into few bits. Each step feeds the next one.

# %% [markdown] lang="zh-TW"
# ## 想法
#
# 課程列出三種組合（投影片*組合技*）：
#
# 1. **Network Pruning + KD**：被剪枝的網路在恢復時，由教師模型引導。
# 2. **(QAT +) PTQ + Weight Clustering**：粗的格點讓數字便宜，聚類讓不同的數字變少。
# 3. **Network Pruning + PTQ + KD**：移除權重，縮短剩下的，再由教師模型把準確率帶回來。
#
# 最後是**熵編碼器** (entropy coder)，和 *Deep Compression* 一樣：它把種類少、頻率不均的符號，
# 變成很少的位元。每一步都為下一步鋪路。


# %%
def draw_chain(axes: plt.Axes, steps: list[tuple[str, str]], y: float, color: str) -> None:
    """Draw boxes from left to right, with arrows between them."""
    for place, (name, effect) in enumerate(steps):
        x = 3 * place
        box = FancyBboxPatch(
            (x - 1.1, y - 0.4), 2.2, 0.8, "round,pad=0.05", fc=color if place else "white", ec="0.3"
        )
        axes.add_patch(box)
        axes.text(x, y + 0.13, name, ha="center", va="center", fontsize=9, weight="bold")
        axes.text(x, y - 0.2, effect, ha="center", va="center", fontsize=7)
        if place:
            ends = ((x - 1.85, y), (x - 1.1, y))
            axes.add_patch(FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=12, color="0.3"))


_, axes = plt.subplots(figsize=(10, 4))
network = ("network", "32-bit floats")
first = [network, ("prune", "most weights are 0"), ("distil", "a teacher helps it recover")]
second = [network, ("QAT", "learns under rounding"), ("PTQ", "few bits"), ("cluster", "few values")]
third = [network, ("prune", "zeros"), ("quantize", "a grid"), ("distil", "zeros and grid stay")]
coding = [("whole numbers", "few, unequally frequent"), ("entropy code", "frequent ones are short")]
for y, (steps, color) in enumerate(
    [(coding, "#e3e3e3"), (third, "#bcd6ee"), (second, "#f5d9b0"), (first, "#c9e4ca")]
):
    draw_chain(axes, steps, 1.2 * y, color)
axes.set(xlim=(-1.4, 10.4), ylim=(-0.6, 4.2))
axes.axis("off")
plt.show()

# %% [markdown]
# ### What is given
#
# These are the tools of the notebooks before, short and clean. Read them: you will use every one.
#
# - `weight_layers(model)`: the conv and linear layers by name.
# - `magnitude_mask(weight, sparsity)`: True where a weight stays (notebook 1).
# - `distillation_loss(...)` and `learn_from(...)`: distillation, *in place* (notebook 2). With
#   `alpha=1` it is ordinary fine-tuning.
# - `weight_scale(weight, bits)` and `round_to_grid(weight, scale, bits)`: quantization with the
#   straight-through gradient (notebooks 3 and 4). The codes are -(2^(b-1) - 1) .. 2^(b-1) - 1.
# - `kmeans_1d(values, k)`: a codebook; `nearest(weight, codebook)`: each weight becomes its entry,
#   and the gradient goes straight through (notebook 5).
# - `check_settings(...)`: raises the `ValueError`s of the rules above.
#
# One tool is new. `attach(layer, function)` puts a function *between* the weight that learns and
# the weight that the layer computes with:
# `attach(layer, lambda weight: weight * mask)`. It holds at every step, whatever the optimizer
# does. `detach_all(model)` ends it: the layers keep the weights that they computed with.

# %% [markdown] lang="zh-TW"
# ### 已提供的工具
#
# 這些是前面各個 notebook 的工具，簡短而清楚。請讀一遍：每一個你都會用到。
#
# - `weight_layers(model)`：卷積層與全連接層，以名稱為 key。
# - `magnitude_mask(weight, sparsity)`：權重保留處為 True (notebook 1)。
# - `distillation_loss(...)` 與 `learn_from(...)`：*就地* (in place) 蒸餾 (notebook 2)。
#   `alpha=1` 時就是一般的微調。
# - `weight_scale(weight, bits)` 與 `round_to_grid(weight, scale, bits)`：
#   使用 straight-through 梯度的量化（notebook 3 與 4）。
#   標記 (codes) 為 -(2^(b-1) - 1) .. 2^(b-1) - 1。
# - `kmeans_1d(values, k)`：權重映射表；`nearest(weight, codebook)`：每個權重換成表中最近的項目，
#   而梯度直接通過 (notebook 5)。
# - `check_settings(...)`：引發上述規則中的 `ValueError`。
#
# 有一個工具是新的。`attach(layer, function)` 把一個函式放在「學習的權重」
# 與「該層計算時使用的權重」*之間*：`attach(layer, lambda weight: weight * mask)`。
# 不論最佳化器做什麼，它在每一步都有效。`detach_all(model)` 結束這個作用：各層留下計算時使用的權重。


# %% define
def weight_layers(model: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    """Return the conv and linear layers by name."""
    kinds = (nn.Conv2d, nn.Linear)
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, kinds)}


def magnitude_mask(weight: torch.Tensor, sparsity: float) -> torch.Tensor:
    """Return a bool mask of the weight's shape: False for round(sparsity * numel) small weights."""
    mask = torch.ones(weight.numel(), dtype=torch.bool)
    order = weight.detach().abs().flatten().argsort()
    mask[order[: round(sparsity * weight.numel())]] = False
    return mask.view_as(weight)


def distillation_loss(
    student_logits: torch.Tensor,
    teacher_logits: torch.Tensor,
    labels: torch.Tensor,
    temperature: float,
    alpha: float,
) -> torch.Tensor:
    """Return alpha * hard + (1 - alpha) * T^2 * KL(teacher || student), a mean over images."""
    log_student = F.log_softmax(student_logits / temperature, dim=1)
    log_teacher = F.log_softmax(teacher_logits / temperature, dim=1)
    soft = F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
    return alpha * F.cross_entropy(student_logits, labels) + (1 - alpha) * temperature**2 * soft


def learn_from(
    model: nn.Module,
    teacher: nn.Module,
    loader: DataLoader,
    epochs: int,
    temperature: float,
    alpha: float,
    lr: float,
) -> None:
    """Distil into a model, in place. Afterwards it is in eval mode; the teacher is as before."""
    frozen = copy.deepcopy(teacher).eval()
    optimizer = torch.optim.Adam(model.parameters(), lr)
    steps = epochs * len(loader)
    # One cycle of the learning rate needs a few steps to rise and fall.
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, steps) if steps >= 4 else None
    model.train()
    with tqdm(total=steps, leave=False, disable=steps < 60) as bar:
        for _ in range(epochs):
            for images, labels in loader:
                with torch.no_grad():
                    teacher_logits = frozen(images)
                loss = distillation_loss(model(images), teacher_logits, labels, temperature, alpha)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if schedule is not None:
                    schedule.step()
                bar.update()
    model.eval()


def weight_scale(weight: torch.Tensor, bits: int) -> float:
    """Return a symmetric scale: min-max, or smaller where few bits make cutting outliers better."""
    largest = 2 ** (bits - 1) - 1
    size = weight.detach().abs()
    size = size[size > 0]  # pruned weights say nothing about the grid of the others
    if len(size) == 0:
        return 1.0
    return min(float(size.max()) / largest, 2 * float(size.mean()) / largest**0.5)


def round_to_grid(weight: torch.Tensor, scale: float, bits: int) -> torch.Tensor:
    """Quantize and dequantize; the gradient goes straight through, except where it is clipped."""
    largest = 2 ** (bits - 1) - 1
    x = (weight / scale).clamp(-largest, largest)
    return (x + (x.round() - x).detach()) * scale


def kmeans_1d(values: torch.Tensor, k: int, max_iterations: int = 100) -> torch.Tensor:
    """Return at most k sorted centroids of any values (Lloyd's algorithm, linear start)."""
    ordered = values.detach().flatten().double().sort().values
    distinct = ordered.unique()
    if len(distinct) <= k:
        return distinct.to(values.dtype)
    sums = F.pad(ordered.cumsum(0), (1, 0))  # sums[j]: of the j smallest
    codebook = torch.linspace(float(ordered[0]), float(ordered[-1]), k, dtype=torch.float64)
    for _ in range(max_iterations):
        edges = torch.searchsorted(ordered, (codebook[1:] + codebook[:-1]) / 2)
        edges = F.pad(F.pad(edges, (1, 0)), (0, 1), value=len(ordered))
        counts = edges.diff()
        means = sums[edges].diff() / counts.clamp(min=1)
        moved = torch.where(counts > 0, means, codebook)  # an empty cluster stays where it is
        if torch.equal(moved, codebook):
            break
        codebook = moved
    return codebook.to(values.dtype)


def nearest(weight: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    """Replace each weight by the nearest entry of a sorted codebook; the gradient goes through."""
    edges = (codebook[1:] + codebook[:-1]) / 2
    # Adding 0 in this way keeps the entries exact, and lets the gradient reach the weight.
    return codebook[torch.bucketize(weight.detach(), edges)] + (weight - weight.detach())


class Through(nn.Module):
    """Calls a function on the weight that learns; the layer computes with the result."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the weight to compute with."""
        return self.function(weight)


def attach(layer: nn.Module, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """From now on the layer computes with function(weight); the weight behind it learns."""
    parametrize.register_parametrization(layer, "weight", Through(function))


def detach_all(model: nn.Module) -> None:
    """Turn the weights that the layers compute with into ordinary weights again."""
    for layer in weight_layers(model).values():
        if parametrize.is_parametrized(layer):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def check_settings(
    *,
    epochs: int,
    lr: float,
    temperature: float = 1.0,
    alpha: float = 1.0,
    sparsity: float = 0.0,
    bits: int = 8,
    k: int = 1,
) -> None:
    """Raise a ValueError that names the first argument that cannot be."""
    require(epochs >= 0, f"epochs must be at least 0, got {epochs}")
    require(lr > 0, f"lr must be above 0, got {lr}")
    require(temperature > 0, f"temperature must be above 0, got {temperature}")
    require(0 <= alpha <= 1, f"alpha must lie in [0, 1], got {alpha}")
    require(0 <= sparsity < 1, f"sparsity must lie in [0, 1), got {sparsity}")
    require(2 <= bits <= 16, f"bits must lie in 2 .. 16, got {bits}")
    require(k >= 1, f"k must be at least 1, got {k}")


# %% [markdown]
# ## Part A: pruning + distillation
#
# > *通過 KD 可以使用較大的教師模型來引導被剪枝的輕量模型學習, 幫助恢復或維持一定程度的準確性*
#
# A pruned network has to recover. Fine-tuning shows it the labels. Distillation also shows it what
# the network before pruning said. That network is right there: **a model can be the teacher of its
# own pruned copy**.

# %% [markdown] lang="zh-TW"
# ## A 部分：剪枝 + 蒸餾
#
# > *通過 KD 可以使用較大的教師模型來引導被剪枝的輕量模型學習，幫助恢復或維持一定程度的準確性*
#
# 被剪枝的網路需要恢復。微調讓它看標籤。蒸餾還讓它看剪枝之前的網路怎麼說。
# 那個網路就在手邊：**模型可以當自己剪枝後副本的教師**。

# %% [markdown]
# ### Exercise: `prune_then_distill` · ★★☆☆ · 15 minutes · 8 points
#
# Write `prune_then_distill(model, teacher, loader, sparsity, epochs, temperature, alpha, lr)`.
#
# - Copy the model. In **each** conv and linear layer set the `round(sparsity * numel)` weights of
#   smallest magnitude to zero.
# - Distil from the teacher: `alpha * hard + (1 - alpha) * T² * KL`. The zeros **stay** zeros.
# - The teacher may be the very model that is pruned. It must not change.
# - With `epochs=0` the result is the pruned model.
#
# <details><summary>Hint 1</summary>
#
# `copy.deepcopy(model)` first. Then a loop over `weight_layers(copy).values()`.
#
# <details><summary>Hint 2</summary>
#
# Setting weights to zero once is not enough: the first step of the optimizer moves them. `attach` a
# function that multiplies by the mask, call `learn_from`, then `detach_all`.
#
# <details><summary>Hint 3</summary>
#
# `attach(layer, lambda weight: weight * mask)` in a loop uses the *last* mask in all layers: Python
# looks `mask` up when the function runs. Bind it: `lambda weight, mask=mask: weight * mask`.
#
# </details></details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`prune_then_distill` · ★★☆☆ · 15 分鐘 · 8 分
#
# 請寫出 `prune_then_distill(model, teacher, loader, sparsity, epochs, temperature, alpha, lr)`。
#
# - 複製模型。在**每個**卷積層與全連接層中，把絕對值最小的 `round(sparsity * numel)` 個權重設為零。
# - 由教師模型蒸餾：`alpha * hard + (1 - alpha) * T² * KL`。零要**一直**是零。
# - 教師模型可能就是被剪枝的那個模型。它不得更改。
# - `epochs=0` 時，結果就是剪枝後的模型。
#
# <details><summary>提示 1</summary>
#
# 先 `copy.deepcopy(model)`，再對 `weight_layers(copy).values()` 做迴圈。
#
# <details><summary>提示 2</summary>
#
# 只把權重設為零一次並不夠：最佳化器走第一步就會移動它們。用 `attach` 接上一個乘以遮罩的函式，
# 呼叫 `learn_from`，再 `detach_all`。
#
# <details><summary>提示 3</summary>
#
# 在迴圈中寫 `attach(layer, lambda weight: weight * mask)`，所有的層都會用到*最後*一個遮罩：
# Python 在函式執行時才查找 `mask`。請把它綁定：`lambda weight, mask=mask: weight * mask`。
#
# </details></details></details>


# %% exercise="prune_then_distill" difficulty=2 minutes=15
def prune_then_distill(
    model: nn.Module,
    teacher: nn.Module,
    loader: DataLoader,
    sparsity: float,
    epochs: int,
    temperature: float,
    alpha: float,
    lr: float,
) -> nn.Module:
    """Prune every layer by magnitude, then let a teacher help the rest to recover.

    Args:
        model: Maps images to logits. Not changed.
        teacher: Maps the same images to logits; may be `model` itself. Not changed.
        loader: Yields (images, labels).
        sparsity: Fraction of each conv and linear weight to set to zero, in [0, 1).
        epochs: At least 0.
        temperature: Of the soft loss, above 0.
        alpha: Weight of the hard loss, in [0, 1].
        lr: Learning rate, above 0.

    Returns:
        A new model in eval mode; its pruned weights are exactly 0.

    Raises:
        ValueError: If an argument cannot be.

    Source:
        Han et al. 2015 (pruning); Hinton et al. 2015 (distillation).
    """
    # TODO: copy, prune layer by layer, distil while the zeros are held
    ### BEGIN SOLUTION
    check_settings(epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity)
    pruned = copy.deepcopy(model)
    for layer in weight_layers(pruned).values():
        mask = magnitude_mask(layer.weight, sparsity)
        attach(layer, lambda weight, mask=mask: weight * mask)
    learn_from(pruned, teacher, loader, epochs, temperature, alpha, lr)
    detach_all(pruned)
    return pruned
    ### END SOLUTION


# %% check="prune_then_distill" points=8
torch.manual_seed(0)
toy = nn.Sequential(nn.Flatten(), nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 3)).train()
toy_images = torch.randn(48, 1, 3, 4)
toy_labels = (toy_images[:, 0, 0, :3]).argmax(dim=1)
toy_loader = make_loader(toy_images, toy_labels, batch_size=16, shuffle=True)
toy_teacher = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(12, 3)).train()
with torch.no_grad():
    toy[3].weight.mul_(5)  # layers of different size: layer-wise is not global
before = copy.deepcopy(toy.state_dict())
teacher_before = copy.deepcopy(toy_teacher.state_dict())
got = prune_then_distill(toy, toy_teacher, toy_loader, 0.7, 0, 2.0, 0.5, 0.01)
assert isinstance(got, nn.Module), f"return the pruned model, got {type(got).__name__}"
for name, layer in weight_layers(got).items():
    old, wanted = weight_layers(toy)[name].weight.detach(), round(0.7 * layer.weight.numel())
    zeros = layer.weight == 0
    assert int(zeros.sum()) == wanted, (
        f"layer {name}: expected {wanted} zeros, got {int(zeros.sum())}; prune each layer by itself"
    )
    assert old[zeros].abs().max() <= old[~zeros].abs().min(), (
        f"layer {name}: a weight of larger magnitude was pruned; compare absolute values"
    )
    assert torch.equal(layer.weight[~zeros], old[~zeros]), "epochs=0: the rest stays as it was"
got = prune_then_distill(toy, toy_teacher, toy_loader, 0.7, 2, 2.0, 0.5, 0.01)
for name, layer in weight_layers(got).items():
    zeros = int((layer.weight == 0).sum())
    assert zeros >= round(0.7 * layer.weight.numel()), (
        f"layer {name}: only {zeros} zeros are left after distillation; hold the mask at every step"
    )
assert not torch.equal(got[1].bias, toy[1].bias), "nothing was learnt in two epochs"
assert not any(part.training for part in got.modules()), "the result must be in eval mode"
assert toy.training, "the caller's model was put in eval mode: work on a deep copy"
assert toy_teacher.training, "the mode of the caller's teacher was changed"
assert all(torch.equal(before[name], now) for name, now in toy.state_dict().items()), (
    "the caller's model was changed: work on a deep copy"
)
assert all(torch.equal(teacher_before[n], now) for n, now in toy_teacher.state_dict().items()), (
    "the teacher has learnt: only the student's parameters go to the optimizer"
)
right = (0.5, 1, 2.0, 0.5, 0.01)
for place, value in ((0, 1.0), (0, -0.1), (1, -1), (2, 0.0), (3, 1.5), (4, 0.0)):
    wrong = (*right[:place], value, *right[place + 1 :])
    assert is_rejected(prune_then_distill, toy, toy_teacher, toy_loader, *wrong), (
        f"sparsity, epochs, temperature, alpha, lr = {wrong} must raise a ValueError"
    )
passed("prune_then_distill")

# %% [markdown]
# Move the sliders. How many weights can go before they are missed? And how much of that would a
# *global* threshold have spared? (In notebook 1 you saw: layer-wise pruning hits the small conv
# layers hard.)

# %% [markdown] lang="zh-TW"
# 移動滑桿看看。可以移除多少權重，準確率才開始下降？改用*全域*的閾值，又能少損失多少？
# （在 notebook 1 中你看過：逐層剪枝對小的卷積層傷害很大。）

# %%
weights = {name: layer.weight.detach() for name, layer in weight_layers(lenet).items()}
cuts = torch.linspace(0, 0.99, 34)


def plot_cut(axes: plt.Axes, layer: str, sparsity: float) -> None:
    """Draw a layer's weights, and which of them pruning removes."""
    weight = weights[layer].flatten()
    mask = magnitude_mask(weight, sparsity)
    bins = torch.linspace(float(weight.min()), float(weight.max()), 80).tolist()
    parts, style = [weight[mask].numpy(), weight[~mask].numpy()], {"histtype": "stepfilled"}
    axes.hist(parts, bins, stacked=True, color=["C0", "C1"], **style)
    lost = float(weight[~mask].square().sum() / weight.square().sum())
    axes.set(xlabel="weight", ylabel="number", yscale="log")
    axes.set_title(f"{layer}: {sparsity:.0%} pruned (orange) hold {lost:.1%} of the squared sum")


explorer(plot_cut, layer=list(weights), sparsity=(0.0, 0.99, 0.01, 0.9))

# %% [markdown]
# ### Measured: is the teacher worth it?
#
# Two settings, and LeNet teaches its own pruned copy (90 % zeros in each layer):
#
# - *few images*: 500 labelled images, 10 epochs;
# - *many images*: 4,000 labelled images, one epoch.
#
# `alpha=1` is plain fine-tuning. The number of steps is the same in a group. Two seeds each: the
# seed chooses the images and their order.

# %% [markdown] lang="zh-TW"
# ### 實測：教師模型值得用嗎？
#
# 兩種設定，由 LeNet 教導自己剪枝後的副本（每層有 90 % 的零）：
#
# - *少量影像*：500 張有標籤的影像，10 個 epoch；
# - *大量影像*：4,000 張有標籤的影像，一個 epoch。
#
# `alpha=1` 是單純的微調。同一組的步數相同。各用兩個隨機種子 (seed)：
# 種子決定選哪些影像與它們的順序。

# %%
few = {
    seed: make_loader(images[500 * seed :][:500], labels[500 * seed :][:500], 64, True, seed)
    for seed in range(2)
}
many = {
    seed: make_loader(images[4000 * seed :][:4000], labels[4000 * seed :][:4000], 64, True, seed)
    for seed in range(2)
}
both = make_loader(
    torch.cat([load_images("validation")[0], load_images("test")[0]]),
    torch.cat([load_images("validation")[1], load_images("test")[1]]),
    batch_size=500,
)


def recovered(
    loaders: dict[int, DataLoader], epochs: int, temperature: float, alpha: float
) -> list[float]:
    """Return the accuracy after pruning and training, for each seed and its images."""
    found = []
    for seed, loader in loaders.items():
        torch.manual_seed(seed)
        model = remember(
            prune_then_distill, lenet, lenet, loader, 0.9, epochs, temperature, alpha, 3e-3
        )
        found.append(accuracy(model, both))
    return found


budgets = {"500 images, 10 epochs": (few, 10), "4,000 images, 1 epoch": (many, 1)}
recovery = {
    title: [recovered(*budget, *way) for way in ((1.0, 1.0), (1.0, 0.1), (4.0, 0.1))]
    for title, budget in budgets.items()
}
for title, groups in recovery.items():
    alone, soft, softer = (sum(values) / len(values) for values in groups)
    print(
        f"{title}: fine-tuning {alone:.2%}, T = 1: {100 * (soft - alone):+.2f} points, "
        f"T = 4: {100 * (softer - alone):+.2f} points"
    )

# %%
_, axes = plt.subplots(figsize=(8, 3.2))
for row, groups in enumerate(recovery.values()):
    for shift, (found, marker) in enumerate(zip(groups, "osD", strict=True)):
        name = ("fine-tuning", "distillation, T = 1", "distillation, T = 4")[shift]
        heights = [row + 0.2 - 0.2 * shift] * len(found)
        axes.plot(found, heights, marker, color=f"C{shift}", label=name if row == 0 else None)
axes.axvline(accuracy(lenet, both), color="0.5", ls=":", label="LeNet, not pruned")
axes.set_yticks(range(len(recovery)), list(recovery))
axes.set(xlabel="accuracy on 4,000 images (90 % of each layer pruned)", ylim=(-0.5, 1.5))
axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
plt.show()

# %% [markdown]
# **What you see.** At T = 1 the teacher helps, at both budgets and in almost every run. But it is
# worth *less than a point or so*, and two seeds already differ by as much. At T = 4 it **hurts**:
# in so few steps the network cannot also learn to copy the smallest logits.
#
# | 90 % pruned, our longer runs, 3 seeds | T = 1 | T = 2 | T = 4 |
# |---|---|---|---|
# | 500 images, 20 epochs, one threshold for all layers | **+0.8** [0.7, 0.9] | +0.6 | +0.3 |
# | 1,000 images, 10 epochs | +0.5 | +0.1 | -0.1 |
# | 12,000 images, 2 epochs | +0.1 | 0.0 | |
#
# So the slide's sentence is right, and modest: KD *helps to recover or keep a certain accuracy*
# (一定程度的準確性). The more labelled images there are, the less is left for the teacher to say.

# %% [markdown] lang="zh-TW"
# **你看到什麼。** T = 1 時，在兩種預算下，教師模型幾乎每次都有幫助。
# 但它的貢獻*大約在一個百分點以內*，而兩個種子之間的差異就已經這麼大。T = 4 時反而**有害**：
# 步數這麼少，網路無法連最小的 logits 也學著模仿。
#
# | 剪枝 90 %，我們較長的實驗，3 個種子 | T = 1 | T = 2 | T = 4 |
# |---|---|---|---|
# | 500 張影像，20 個 epoch，所有層共用一個閾值 | **+0.8** [0.7, 0.9] | +0.6 | +0.3 |
# | 1,000 張影像，10 個 epoch | +0.5 | +0.1 | -0.1 |
# | 12,000 張影像，2 個 epoch | +0.1 | 0.0 | |
#
# 所以投影片的那句話是對的，只是效果有限：KD *幫助恢復或維持一定程度的準確性*。有標籤的影像越多，
# 教師模型還能補充的就越少。

# %% [markdown] written="small_gain" points=2
# ### Written question 1 · 2 points
#
# (a) The teacher here is the network before pruning. Why can it help at all, although it has seen
# the same labels? (b) Why is the gain so much smaller than in notebook 2, where a student with few
# labels gained about four points?
#
# ### BEGIN SOLUTION
# *Model answer.* (a) Its soft labels say more about an image than the label: how sure to be, and
# which other classes are near. It was trained on far more images (58,000) than the loader holds,
# and its outputs carry some of that. (b) The student of notebook 2 began with random weights and
# had to learn everything from 300 labels. The pruned network begins with the surviving weights of
# the teacher: it knows nearly all that already, and only has to repair. So there is little left
# for the teacher to tell.
# *One point each.*
# ### END SOLUTION

# %% [markdown] lang="zh-TW"
# ### 問答題 1 · 2 分
#
# (a) 這裡的教師模型是剪枝之前的網路。它看過的是同樣的標籤，為什麼還能有幫助？(b) 在 notebook 2 中，
# 標籤很少的學生模型進步了約四個百分點。為什麼這裡的進步小得多？
#
# ### BEGIN SOLUTION
# *參考答案。* (a) 對於一張影像，它的軟標籤說得比標籤更多：該有多少把握，以及哪些類別相近。
# 訓練它的影像（58,000 張）遠多於 loader 中的影像，它的輸出帶有其中一部分資訊。
# (b) notebook 2 的學生模型從隨機權重開始，必須由 300 個標籤學會一切。
# 剪枝後的網路則從教師模型留下的權重開始：它幾乎都已經會了，只需要修復。所以教師模型能說的所剩不多。
# *各一分。*
# ### END SOLUTION

# %% [markdown]
# ## Part B: (QAT +) PTQ + weight clustering
#
# > *進行假量化訓練並做後量化及權重聚類, 可以進一步減少模型的存儲需求和計算量。量化保證了計算效率,
# > 而權重聚類則進一步壓縮儲存大小*
#
# Quantization puts all weights of a layer on a grid of 2^b levels. Clustering says: of these levels
# use only **k**. Then a weight is stored as a code of log2(k) bits, and a codebook entry needs only
# b bits instead of 32. A chip for b-bit numbers can still compute with it.

# %% [markdown] lang="zh-TW"
# ## B 部分：(QAT +) PTQ + 權重聚類
#
# > *進行假量化訓練並做後量化及權重聚類，可以進一步減少模型的存儲需求和計算量。量化保證了計算效率，
# > 而權重聚類則進一步壓縮儲存大小*
#
# 量化把一層的所有權重放到 2^b 階的格點上。聚類則說：這些階之中，只用 **k** 個。這樣，
# 一個權重就存成 log2(k) 個位元的標記，而權重映射表的一個項目只需 b 個位元，不必 32 個。
# 支援 b 位元數字的晶片，仍然可以用它計算。

# %% [markdown]
# ### Exercise: `quantize_and_cluster` · ★★★☆ · 25 minutes · 8 points
#
# Write `quantize_and_cluster(model, loader, k, bits, epochs, lr)`.
#
# - In the result every conv and linear layer has **at most k** different weights, and all of them
#   lie **on one grid**: whole multiples of one scale, within the range of `bits`-bit codes.
# - It is found by clustering (k-means), so the k values lie where the weights are.
# - `epochs` epochs of training on the labels, in which the network **feels the rounding** (QAT).
#   With `epochs=0` it is quantized and clustered only.
# - Activations stay in float here.
#
# The lecture trains first, then quantizes, then clusters. You may do so. Or find the codebook
# first, and train while every weight is held at its nearest entry: then the training feels the
# clustering too.
#
# <details><summary>Hint 1</summary>
#
# k-means gives centroids that are means: they lie *between* the levels of the grid.
# `round_to_grid(codebook, weight_scale(weight, bits), bits)` puts the codebook on the grid.
#
# <details><summary>Hint 2</summary>
#
# Rounding can make two entries equal: `.unique()` keeps one of them, and sorts.
#
# <details><summary>Hint 3</summary>
#
# `attach` a function that calls `nearest(weight, codebook)`, then
# `train(copy, loader, epochs, lr)`, then `detach_all`.
#
# </details></details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`quantize_and_cluster` · ★★★☆ · 25 分鐘 · 8 分
#
# 請寫出 `quantize_and_cluster(model, loader, k, bits, epochs, lr)`。
#
# - 在結果中，每個卷積層與全連接層**最多有 k 個**不同的權重，而且它們都位在**同一組格點上**：
#   單一縮放係數 (scale) 的整數倍，並在 `bits` 位元標記的範圍之內。
# - 要用聚類 (k-means) 求得，所以 k 個值會落在權重所在之處。
# - 以標籤訓練 `epochs` 個 epoch，期間網路要**感受到取整** (QAT)。`epochs=0` 時只做量化與聚類。
# - 激活值 (activations) 在這裡維持浮點數。
#
# 課程的做法是先訓練，再量化，再聚類。你可以照做。也可以先求出權重映射表，然後在訓練時，
# 讓每個權重都固定在最近的項目上：這樣訓練也感受得到聚類。
#
# <details><summary>提示 1</summary>
#
# k-means 得到的聚類中心 (centroids) 是平均值：它們落在各階*之間*。
# `round_to_grid(codebook, weight_scale(weight, bits), bits)` 把權重映射表放到格點上。
#
# <details><summary>提示 2</summary>
#
# 取整可能讓兩個項目相等：`.unique()` 只留下其中一個，並且排序。
#
# <details><summary>提示 3</summary>
#
# 用 `attach` 接上一個呼叫 `nearest(weight, codebook)` 的函式，
# 再 `train(copy, loader, epochs, lr)`，再 `detach_all`。
#
# </details></details></details>


# %% exercise="quantize_and_cluster" difficulty=3 minutes=25
def quantize_and_cluster(
    model: nn.Module, loader: DataLoader, k: int, bits: int, epochs: int, lr: float
) -> nn.Module:
    """Give each layer few weight values on a grid, and train under that.

    Args:
        model: Maps images to logits. Not changed.
        loader: Yields (images, labels).
        k: Most different weights of a layer, at least 1.
        bits: Bits of the grid, 2 to 16.
        epochs: Of quantization-aware training, at least 0.
        lr: Learning rate, above 0.

    Returns:
        A new model in eval mode. Each conv and linear weight has at most k different values, all
        on a symmetric grid of that layer.

    Raises:
        ValueError: If an argument cannot be.

    Source:
        Jacob et al. 2018 (QAT); Han et al. 2016, Deep Compression (codebooks).
    """
    # TODO: for each layer a codebook on the grid; train a copy under it
    ### BEGIN SOLUTION
    check_settings(epochs=epochs, lr=lr, bits=bits, k=k)
    small = copy.deepcopy(model)
    for layer in weight_layers(small).values():
        codebook = round_to_grid(
            kmeans_1d(layer.weight, k), weight_scale(layer.weight, bits), bits
        ).unique()
        attach(layer, lambda weight, codebook=codebook: nearest(weight, codebook))
    train(small, loader, epochs, lr, progress=False)
    detach_all(small)
    return small
    ### END SOLUTION


# %% check="quantize_and_cluster" points=8
torch.manual_seed(1)
toy = nn.Sequential(nn.Flatten(), nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 3)).train()
before = copy.deepcopy(toy.state_dict())
for k, bits, epochs in ((4, 8, 0), (4, 4, 1), (3, 3, 2), (16, 4, 0)):
    got = quantize_and_cluster(toy, toy_loader, k, bits, epochs, 0.01)
    assert isinstance(got, nn.Module), f"return the model, got {type(got).__name__}"
    for name, layer in weight_layers(got).items():
        values = layer.weight.detach().unique()
        assert len(values) <= k, f"layer {name}: {len(values)} different weights, at most k = {k}"
        assert len(values) > 1, f"layer {name}: all weights are equal"
        last = 2 ** (bits - 1)
        grids = [values / values.abs().max() * code for code in range(1, last + 1)]
        assert any((codes - codes.round()).abs().max() < 1e-3 for codes in grids), (
            f"layer {name}: {values.tolist()} are no whole multiples of one scale, {bits} bits; "
            "round the codebook to the grid after clustering"
        )
    if epochs == 0:
        assert torch.equal(got[1].bias, toy[1].bias), "epochs=0 and biases stay in float"
    else:
        assert not torch.equal(got[1].bias, toy[1].bias), "nothing was learnt"
    assert not any(part.training for part in got.modules()), "the result must be in eval mode"
bimodal = copy.deepcopy(toy)
with torch.no_grad():
    bimodal[1].weight.copy_(torch.where(torch.rand(10, 12) < 0.5, 0.9, 1.0))
    bimodal[1].weight[0, 0] = -1.0
got = quantize_and_cluster(bimodal, toy_loader, 3, 8, 0, 0.01)
off = (got[1].weight - bimodal[1].weight).abs().max().item()
assert off < 0.02, (
    f"weights -1, 0.9 and 1 with k = 3 are off by {off:.2f}: cluster them (k-means), a grid of k "
    "equal steps is something else"
)
assert toy.training, "the caller's model was put in eval mode: work on a deep copy"
assert all(torch.equal(before[name], now) for name, now in toy.state_dict().items()), (
    "the caller's model was changed: work on a deep copy"
)
for wrong in ((0, 4, 1, 0.01), (4, 1, 1, 0.01), (4, 17, 1, 0.01), (4, 4, -1, 0.01), (4, 4, 1, 0.0)):
    assert is_rejected(quantize_and_cluster, toy, toy_loader, *wrong), (
        f"k, bits, epochs, lr = {wrong} must raise a ValueError"
    )
passed("quantize_and_cluster")

# %% [markdown]
# ### Measured: two kinds of rounding, and training under them
#
# One LeNet, five ways. The bytes are those of packed codes plus codebook (b bits an entry) plus
# biases in float.

# %% [markdown] lang="zh-TW"
# ### 實測：兩種取整，以及在取整下訓練
#
# 一個 LeNet，五種做法。位元組數是緊密排列的標記，加上權重映射表（每個項目 b 個位元），
# 再加上浮點數的 bias。


# %%
def packed_bytes(model: nn.Module, bits: int) -> int:
    """Return the bytes of packed codes, codebooks of `bits` bits, scales and float biases."""
    total = 0
    for layer in weight_layers(model).values():
        values = len(layer.weight.unique())
        code_bits = max(1, math.ceil(math.log2(values)))
        code_book = 0 if values >= 2**bits - 1 else values * bits
        total += (layer.weight.numel() * code_bits + code_book + 7) // 8 + 4
        total += 4 * layer.bias.numel()
    return total


some = make_loader(images[:6000], labels[:6000], 64, shuffle=True)
ways = {
    "4 bits": (16, 4, 0),
    "4 bits, k = 8": (8, 4, 0),
    "3 bits": (8, 3, 0),
    "4 bits, k = 4": (4, 4, 0),
    "2 bits": (4, 2, 0),
    "QAT 3 bits": (8, 3, 1),
    "QAT 4 bits, k = 4": (4, 4, 1),
    "QAT 2 bits": (4, 2, 1),
}


def mixture(k: int, bits: int, epochs: int) -> tuple[int, float]:
    """Return bytes and accuracy of LeNet, quantized and clustered."""
    model = remember(quantize_and_cluster, lenet, some, k, bits, epochs, 1e-3)
    return packed_bytes(model, bits), accuracy(model, both)


mixtures = {name: mixture(*way) for name, way in ways.items()}
for name, (size, right) in mixtures.items():
    print(f"{name:18} {size:7,} bytes, {LENET_BYTES / size:4.1f}x smaller, {right:.2%}")

# %%
_, axes = plt.subplots(figsize=(7, 3.6))
for name, (size, right) in mixtures.items():
    trained = name.startswith("QAT")
    axes.plot(size / 1000, right, "s" if trained else "o", color="C1" if trained else "C0")
    shift = (5, -10) if trained else (5, 4)
    axes.annotate(name, (size / 1000, right), shift, textcoords="offset points", fontsize=8)
axes.axhline(accuracy(lenet, both), color="0.5", ls=":")
axes.set(xlabel="thousand bytes", ylabel="accuracy on 4,000 images", xlim=(90, 250))
plt.show()

# %% [markdown]
# **What you see.**
#
# - Clustering 4-bit weights to k = 8 makes them as small as 3 bits, and costs a point. The plain
#   3-bit grid of the same size is as good or better! A grid of 8 levels is already a codebook.
#   Clustering pays where the weights do *not* lie evenly, or where the chip has no 3-bit numbers:
#   the codebook is made of 4-bit numbers, the codes take 3 bits.
# - At k = 4 and at 2 bits much is lost. **There** the training pays: QAT brings back about one and
#   a half points, in one epoch on 6,000 images.
# - At 3 bits the same training does *not* help, it can even cost half a point: PTQ had lost little,
#   and one short epoch on a part of the images disturbs as much as it repairs. The brackets in the
#   lecture's '(QAT +)' are well placed: train when you must.

# %% [markdown] lang="zh-TW"
# **你看到什麼。**
#
# - 把 4 位元的權重聚類成 k = 8，大小就和 3 個位元一樣，代價是一個百分點。
#   同樣大小的單純 3 位元格點一樣好，甚至更好！8 階的格點本身就是權重映射表。
#   聚類的好處出現在權重*不是*均勻分佈時，或晶片沒有 3 位元數字時：權重映射表由 4 位元數字組成，
#   標記只占 3 個位元。
# - k = 4 與 2 個位元時損失很大。**在那裡**，訓練就值得：QAT 帶回約一個半百分點，
#   只用 6,000 張影像訓練一個 epoch。
# - 3 個位元時，同樣的訓練*沒有*幫助，甚至可能損失半個百分點：PTQ 的損失本來就少，
#   而用部分影像做短短一個 epoch，破壞的和修復的一樣多。課程在「(QAT +)」加上括號，放得很恰當：
#   必要時才訓練。

# %% [markdown]
# ## Part C: pruning + PTQ + distillation
#
# > *先使用 Network Pruning 移除冗餘參數, 再用 PTQ 進行量化來降低模型大小, 最後使用 KD
# > 來提升被壓縮模型的準確率*
#
# The third step is training. Training moves weights: off the grid, and away from zero. So the
# compressed form must hold **while** the teacher teaches.

# %% [markdown] lang="zh-TW"
# ## C 部分：剪枝 + PTQ + 蒸餾
#
# > *先使用 Network Pruning 移除冗餘參數，再用 PTQ 進行量化來降低模型大小，
# > 最後使用 KD 來提升被壓縮模型的準確率*
#
# 第三步是訓練。訓練會移動權重：離開格點，也離開零。所以在教師模型教導的**同時**，
# 壓縮後的形式必須守住。

# %% [markdown]
# ### Exercise: `prune_quantize_distill` · ★★★☆ · 20 minutes · 8 points
#
# Write
# `prune_quantize_distill(model, teacher, loader, sparsity, bits, epochs, temperature, alpha, lr)`.
#
# - Prune each layer as in Part A. Then quantize each layer to `bits` bits, symmetric, with one
#   scale. Then distil.
# - In the result at least `round(sparsity * numel)` weights of each layer are **exactly** zero, and
#   all weights of the layer lie **on the grid**: whole multiples of one scale, within the range of
#   `bits`-bit codes.
# - The network must feel the rounding while it learns: rounding once at the end is another order,
#   and a worse one, as you will measure.
# - With `epochs=0` it is pruned and quantized.
#
# <details><summary>Hint 1</summary>
#
# One `attach` with both: first the mask, then the grid. A symmetric grid keeps 0 at 0.
#
# <details><summary>Hint 2</summary>
#
# Take the scale from the weights that stay. Freeze it: it is a number that you compute once, before
# the training.
#
# </details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`prune_quantize_distill` · ★★★☆ · 20 分鐘 · 8 分
#
# 請寫出
# `prune_quantize_distill(model, teacher, loader, sparsity, bits, epochs, temperature, alpha, lr)`。
#
# - 像 A 部分一樣剪枝每一層。再把每一層量化到 `bits` 個位元，對稱，使用一個縮放係數。再蒸餾。
# - 在結果中，每一層至少有 `round(sparsity * numel)` 個權重**恰好**為零，
#   而且該層的所有權重都位在**格點上**：單一縮放係數的整數倍，並在 `bits` 位元標記的範圍之內。
# - 網路在學習時必須感受到取整：到最後才取整一次是另一種順序，而且比較差，你會測量到這一點。
# - `epochs=0` 時只做剪枝與量化。
#
# <details><summary>提示 1</summary>
#
# 用一個 `attach` 同時做兩件事：先遮罩，再格點。對稱的格點讓 0 維持為 0。
#
# <details><summary>提示 2</summary>
#
# 由保留的權重求縮放係數。把它凍結：它是一個在訓練之前只計算一次的數字。
#
# </details></details>


# %% exercise="prune_quantize_distill" difficulty=3 minutes=20
def prune_quantize_distill(
    model: nn.Module,
    teacher: nn.Module,
    loader: DataLoader,
    sparsity: float,
    bits: int,
    epochs: int,
    temperature: float,
    alpha: float,
    lr: float,
) -> nn.Module:
    """Prune and quantize every layer, then let a teacher bring the accuracy back.

    Args:
        model: Maps images to logits. Not changed.
        teacher: Maps the same images to logits; may be `model` itself. Not changed.
        loader: Yields (images, labels).
        sparsity: Fraction of each conv and linear weight to set to zero, in [0, 1).
        bits: Bits of the symmetric grid, 2 to 16.
        epochs: At least 0.
        temperature: Of the soft loss, above 0.
        alpha: Weight of the hard loss, in [0, 1].
        lr: Learning rate, above 0.

    Returns:
        A new model in eval mode, with zeros and grid in every conv and linear weight.

    Raises:
        ValueError: If an argument cannot be.

    Source:
        Han et al. 2016, Deep Compression; Polino et al. 2018, Model compression via distillation
        and quantization.
    """
    # TODO: mask and grid together, held while the teacher teaches
    ### BEGIN SOLUTION
    check_settings(
        epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity, bits=bits
    )
    small = copy.deepcopy(model)
    for layer in weight_layers(small).values():
        mask = magnitude_mask(layer.weight, sparsity)
        scale = weight_scale(layer.weight * mask, bits)
        attach(layer, lambda w, mask=mask, scale=scale: round_to_grid(w * mask, scale, bits))
    learn_from(small, teacher, loader, epochs, temperature, alpha, lr)
    detach_all(small)
    return small
    ### END SOLUTION


# %% check="prune_quantize_distill" points=8
torch.manual_seed(2)
toy = nn.Sequential(nn.Flatten(), nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 3)).train()
before = copy.deepcopy(toy.state_dict())
for share, bits, epochs in ((0.5, 4, 0), (0.5, 4, 2), (0.8, 3, 2), (0.0, 2, 1)):
    got = prune_quantize_distill(toy, toy, toy_loader, share, bits, epochs, 2.0, 0.5, 0.02)
    assert isinstance(got, nn.Module), f"return the model, got {type(got).__name__}"
    for name, layer in weight_layers(got).items():
        values, wanted = layer.weight.detach().unique(), round(share * layer.weight.numel())
        zeros = int((layer.weight == 0).sum())
        assert zeros >= wanted, (
            f"layer {name}, {epochs} epochs: {zeros} zeros, expected at least {wanted}; keep the "
            "mask while it learns, and let 0 be a level of the grid"
        )
        assert len(values) > 1, f"layer {name}: all weights are 0"
        grids = [values / values.abs().max() * code for code in range(1, 2 ** (bits - 1) + 1)]
        assert any((codes - codes.round()).abs().max() < 1e-3 for codes in grids), (
            f"layer {name}, {epochs} epochs: the weights are no whole multiples of one scale with "
            f"{bits} bits; the grid must hold while it learns"
        )
    same = torch.equal(got[1].bias, toy[1].bias)
    assert same == (epochs == 0), "biases stay in float, and learn when there are epochs"
    assert not any(part.training for part in got.modules()), "the result must be in eval mode"
assert toy.training, "the caller's model was put in eval mode: work on a deep copy"
assert all(torch.equal(before[name], now) for name, now in toy.state_dict().items()), (
    "the caller's model was changed: work on a deep copy"
)
right = (0.5, 4, 1, 2.0, 0.5, 0.01)
for place, value in ((0, 1.0), (0, -0.1), (1, 1), (1, 17), (2, -1), (3, 0.0), (4, -0.5), (5, 0.0)):
    wrong = (*right[:place], value, *right[place + 1 :])
    assert is_rejected(prune_quantize_distill, toy, toy, toy_loader, *wrong), (
        f"sparsity, bits, epochs, temperature, alpha, lr = {wrong} must raise a ValueError"
    )
passed("prune_quantize_distill")

# %% [markdown]
# ### Measured: the order matters
#
# The same parts in four orders: 80 % zeros, 3 or 2 bits, one epoch of distillation (T = 1) in all,
# on 4,000 images. Two seeds.
#
# - **prune, quantize, distil**: your function. The training feels both.
# - **prune, distil, quantize**: the training feels the zeros only.
# - **distil, prune, quantize**: the training feels neither. (LeNet is trained already; it is
#   trained on.)
# - **prune, quantize**: no training at all.

# %% [markdown] lang="zh-TW"
# ### 實測：順序有差
#
# 同樣的部分，四種順序：80 % 的零，3 或 2 個位元，全部都在 4,000 張影像上蒸餾一個 epoch (T = 1)。
# 兩個隨機種子。
#
# - **剪枝、量化、蒸餾**：你的函式。訓練時兩者都感受得到。
# - **剪枝、蒸餾、量化**：訓練時只感受到零。
# - **蒸餾、剪枝、量化**：訓練時兩者都感受不到。（LeNet 已經訓練過；這裡再繼續訓練。）
# - **剪枝、量化**：完全不訓練。

# %%
ORDERS = (
    "prune, quantize, distil",
    "prune, distil, quantize",
    "distil, prune, quantize",
    "prune, quantize",
)


def in_every_order(seed: int, loader: DataLoader) -> dict[int, list[float]]:
    """Return, by bits, the accuracy after each order."""
    torch.manual_seed(seed)
    shared = (1.0, 0.5, 3e-3)  # temperature, alpha, lr
    pruned = remember(prune_then_distill, lenet, lenet, loader, 0.8, 1, *shared)
    distilled = remember(prune_then_distill, lenet, lenet, loader, 0.0, 1, *shared)
    starts = ((lenet, 1), (pruned, 0), (distilled, 0), (lenet, 0))  # model, epochs
    return {
        bits: [
            accuracy(
                remember(prune_quantize_distill, model, lenet, loader, 0.8, bits, epochs, *shared),
                both,
            )
            for model, epochs in starts
        ]
        for bits in (3, 2)
    }


by_seed = [in_every_order(seed, loader) for seed, loader in many.items()]
orders = {
    bits: {name: [found[bits][place] for found in by_seed] for place, name in enumerate(ORDERS)}
    for bits in (3, 2)
}
for bits, found in orders.items():
    for name, values in found.items():
        print(f"{bits} bits: {name:24}", ", ".join(f"{value:.2%}" for value in values))

# %%
_, axes = plt.subplots(figsize=(8, 3.2))
for shift, (bits, found) in enumerate(orders.items()):
    for row, values in enumerate(reversed(found.values())):
        height = row + 0.2 - 0.4 * shift
        label = f"{bits} bits" if row == 0 else None
        axes.barh(height, sum(values) / len(values), 0.36, color=f"C{shift}", label=label)
        axes.plot(values, [height] * len(values), "k|", markersize=9)
axes.axvline(accuracy(lenet, both), color="0.5", ls=":")
axes.set_yticks(range(len(ORDERS)), list(reversed(ORDERS)))
axes.set(xlabel="accuracy on 4,000 images (80 % zeros; each seed a line)", xlim=(0, 1))
axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# **What you see.**
#
# - *Distil first, then prune and quantize*: the training is wasted. It is no better than no
#   training at all, and at 3 bits worse. What hurts must come **before** what heals.
# - At **2 bits** the order of the last two steps decides: quantizing at the end loses 20 to 50
#   points more than training under zeros *and* grid.
# - At **3 bits** it decides nothing: both orders are within a point of each other, and quantizing
#   last was even half a point better here. A grid that hurts little leaves little to repair, and
#   learning under it is a little harder.
#
# The lecture's order (prune, quantize, then KD) is never much worse, and sometimes saves
# everything.

# %% [markdown] lang="zh-TW"
# **你看到什麼。**
#
# - *先蒸餾，再剪枝與量化*：訓練白費了。它不比完全不訓練好，在 3 個位元時還更差。造成損傷的步驟，
#   必須排在修復損傷的步驟**之前**。
# - 在 **2 個位元**時，最後兩步的順序是關鍵：最後才量化，比在零*與*格點之下訓練多損失 20 到 50
#   個百分點。
# - 在 **3 個位元**時，順序沒有影響：兩種順序相差不到一個百分點，
#   最後才量化在這裡甚至好了半個百分點。損傷很小的格點，可修復的也很少，
#   而在格點之下學習又稍微困難一些。
#
# 課程的順序（剪枝、量化，再 KD）從來不會差很多，有時則挽救了一切。

# %% [markdown] written="order_of_steps" points=2
# ### Written question 2 · 2 points
#
# (a) Explain in one or two sentences why at 2 bits *prune, quantize, distil* beats *prune, distil,
# quantize*, although both train for the same time. (b) A friend quantizes first and prunes
# afterwards. Compare which weights become zero, with your order, and say why it hardly matters at
# 8 bits.
#
# ### BEGIN SOLUTION
# *Model answer.* (a) In the first order the loss is computed with the rounded weights, so the
# training repairs the damage of the rounding; in the second the rounding comes last and nothing
# repairs it. (b) Rounding keeps the order of the magnitudes, except for ties: weights on the same
# level are equal, and which of them goes is arbitrary. At 8 bits there are 127 levels of magnitude
# and few ties near the threshold, so almost the same weights go; at 2 or 3 bits there are so few
# levels that the choice is nearly blind (and rounding has made many zeros already).
# *One point each.*
# ### END SOLUTION

# %% [markdown] lang="zh-TW"
# ### 問答題 2 · 2 分
#
# (a) 請用一、兩句話說明：在 2 個位元時，*剪枝、量化、蒸餾*為什麼勝過*剪枝、蒸餾、量化*，
# 雖然兩者訓練的時間相同。(b) 朋友先量化，之後才剪枝。請與你的順序比較，看哪些權重會變成零，
# 並說明為什麼在 8 個位元時幾乎沒有差別。
#
# ### BEGIN SOLUTION
# *參考答案。* (a) 在第一種順序中，loss 是用取整後的權重計算的，所以訓練會修復取整造成的損傷；
# 在第二種順序中，取整在最後，沒有任何步驟修復它。(b) 取整會保持絕對值的順序，只有相等者例外：
# 同一階上的權重相等，剪掉其中哪一個是任意的。在 8 個位元時，絕對值有 127 階，閾值附近很少相等，
# 所以剪掉的幾乎是同一批權重；在 2 或 3 個位元時，階數太少，
# 選擇幾乎是盲目的（而且取整已經造成許多零）。
# *各一分。*
# ### END SOLUTION

# %% [markdown]
# ## Part D: the lecture's closing table, measured
#
# Every technique wins somewhere. *Better* needs two numbers: size **and** accuracy. A point is
# **dominated** (被支配) when another one is at least as good in both and better in one. What is not
# dominated is the **Pareto front** (帕雷托前緣): the only points worth choosing from.

# %% [markdown] lang="zh-TW"
# ## D 部分：實測課程的總表
#
# 每一種技術都有勝出的地方。要說*較好*，需要兩個數字：大小**與**準確率。
# 如果另一個點在兩方面都至少一樣好，而且有一方面更好，這個點就是**被支配** (dominated) 的。
# 沒有被支配的點構成**帕雷托前緣** (Pareto front)：只有這些點值得選擇。

# %% [markdown]
# ### Exercise: `pareto_front` · ★★☆☆ · 15 minutes · 4 points
#
# Write `pareto_front(points)`. `points` is a list of pairs `(size, accuracy)`. A smaller size and a
# larger accuracy are better. Return the list of the pairs that no other pair dominates.
#
# - Equal pairs (**twins**) are kept once.
# - Of two points with the same size only the more accurate one stays; of two with the same accuracy
#   only the smaller one.
# - The order of the result is free. No points give an empty list.
# - NaN cannot be compared: a point that holds one raises a `ValueError`.
#
# <details><summary>Hint 1</summary>
#
# `a` dominates `b` when `a[0] <= b[0] and a[1] >= b[1] and a != b`.
#
# <details><summary>Hint 2</summary>
#
# Or sort by size, and at equal size the most accurate first. Then walk: keep a point when it is
# more accurate than everything before.
#
# </details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`pareto_front` · ★★☆☆ · 15 分鐘 · 4 分
#
# 請寫出 `pareto_front(points)`。`points` 是數對 `(size, accuracy)` 的 list。size 越小、
# accuracy 越大越好。請回傳不被其他任何數對支配的數對所成的 list。
#
# - 相等的數對（**雙胞胎**）只保留一個。
# - 大小相同的兩點，只留下較準確的；準確率相同的兩點，只留下較小的。
# - 結果的順序不限。沒有任何點時，得到空的 list。
# - NaN 無法比較：含有 NaN 的點會引發 `ValueError`。
#
# <details><summary>提示 1</summary>
#
# 當 `a[0] <= b[0] and a[1] >= b[1] and a != b` 時，`a` 支配 `b`。
#
# <details><summary>提示 2</summary>
#
# 或者依大小排序，大小相同時最準確的排前面。然後依序走過：比之前所有的點都準確的點就保留。
#
# </details></details>


# %% exercise="pareto_front" difficulty=2 minutes=15
def pareto_front(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points that no other point dominates.

    Args:
        points: Pairs (size, accuracy); smaller and more accurate is better. Not changed.

    Returns:
        The pairs on the front, twins once; here by increasing size.

    Raises:
        ValueError: If a number is NaN: it cannot be compared.

    Source:
        Pareto 1906, Manual of Political Economy (the idea).
    """
    # TODO: leave out what is dominated, keep twins once
    ### BEGIN SOLUTION
    require(all(x == x for point in points for x in point), "points must not hold NaN")
    front: list[tuple[float, float]] = []
    for size, right in sorted(map(tuple, points), key=lambda point: (point[0], -point[1])):
        if not front or right > front[-1][1]:
            front.append((size, right))
    return front
    ### END SOLUTION


# %% check="pareto_front" points=4
cloud = [(9, 0.9), (5, 0.8), (7, 0.8), (5, 0.7), (3, 0.6), (9, 0.9), (4, 0.5), (12, 0.85)]
given = list(cloud)
got = [tuple(point) for point in pareto_front(cloud)]
assert cloud == given, "the list of points was changed: sort a copy"
assert (7, 0.8) not in got, "(7, 0.8) is as accurate as (5, 0.8) and larger: it is dominated"
assert (5, 0.7) not in got, "(5, 0.7) is as large as (5, 0.8) and worse: it is dominated"
assert (12, 0.85) not in got, "(12, 0.85) is larger and worse than (9, 0.9): it is dominated"
assert got.count((9, 0.9)) == 1, f"(9, 0.9) is there twice: keep twins once, got {got}"
assert sorted(got) == [(3, 0.6), (5, 0.8), (9, 0.9)], f"expected 3, 5 and 9, got {got}"
assert list(pareto_front([])) == [], "no points: no front"
assert [tuple(point) for point in pareto_front([(2, 0.5)])] == [(2, 0.5)], "a single point stays"
assert is_rejected(pareto_front, [(2, 0.5), (3, math.nan)]), "NaN must raise a ValueError"
passed("pareto_front")

# %% [markdown]
# ### The table
#
# One LeNet, every technique of the lecture. All training below uses half of the training images,
# so that it is quick.
#
# - **Accuracy** on 4,000 images (validation and test).
# - **Bytes** of a file that is really written: floats, or, where a layer has few different values,
#   a codebook and entropy-coded codes (the coder comes in Part E).
# - **MACs** of one image; for early exit the mean.
# - **Speed** with the honest meter of the course, 64 images at a time, against LeNet.

# %% [markdown] lang="zh-TW"
# ### 總表
#
# 一個 LeNet，課程的每一種技術。下面的所有訓練都只用一半的訓練影像，這樣比較快。
#
# - **準確率**：在 4,000 張影像上（驗證與測試）。
# - **位元組數**：真正寫出的檔案；內容是浮點數，或在一層只有少數不同的值時，
#   則是權重映射表與經過熵編碼的標記（編碼器在 E 部分）。
# - **MACs**：處理一張影像；早退 (early exit) 則取平均。
# - **速度**：用課程誠實的計時器，一次 64 張影像，與 LeNet 比較。


# %% define
def entropy_encode(codes: torch.Tensor) -> bytes:
    """Write whole numbers in about as few bits as their frequencies allow.

    Args:
        codes: Any shape with at least one element, int64 in 0 .. 65,535; small ones are best.

    Returns:
        A table with how often each number occurs, then the coded numbers.

    Source:
        Duda 2013, Asymmetric numeral systems (range variant).
    """
    symbols = codes.flatten().tolist()
    counts = torch.bincount(codes.flatten()).tolist()
    total, starts = len(symbols), [0, *accumulate(counts)]
    state, tail = total << 16, bytearray()
    for symbol in reversed(symbols):  # the decoder reads from the other end
        while state >= counts[symbol] << 24:
            tail.append(state & 255)
            state >>= 8
        state = state // counts[symbol] * total + starts[symbol] + state % counts[symbol]
    table = struct.pack(f"<H{len(counts)}I", len(counts), *counts)
    return table + state.to_bytes(8, "little") + bytes(reversed(tail))


def entropy_decode(data: bytes) -> torch.Tensor:
    """Return what `entropy_encode` wrote, as one dimension, int64."""
    (kinds,) = struct.unpack_from("<H", data)
    counts = struct.unpack_from(f"<{kinds}I", data, 2)
    total, starts = sum(counts), [0, *accumulate(counts)]
    table = torch.arange(kinds).repeat_interleave(torch.tensor(counts)).tolist()
    place = 2 + 4 * kinds + 8
    state = int.from_bytes(data[place - 8 : place], "little")
    symbols = []
    for _ in range(total):
        slot = state % total
        symbol = table[slot]
        symbols.append(symbol)
        state = state // total * counts[symbol] + slot - starts[symbol]
        while state < total << 16:
            state, place = state << 8 | data[place], place + 1
    return torch.tensor(symbols)


# %%
def file_bytes(model: nn.Module) -> int:
    """Write a model's tensors to a file, each in the shorter of two forms; return its size."""
    parts = []
    for tensor in model.state_dict().values():
        raw = tensor.numpy().tobytes()
        values, codes = tensor.flatten().unique(return_inverse=True)
        if len(values) <= 256 < tensor.numel():
            raw = values.numpy().tobytes() + entropy_encode(codes)
        elif (tensor == 0).float().mean() > 0.3:
            mask = entropy_encode((tensor != 0).long())
            raw = mask + tensor[tensor != 0].numpy().tobytes()
        parts.append(raw)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.bin")
        with open(path, "wb") as file:
            file.write(b"".join(parts))
        return os.path.getsize(path)


class EarlyExitLeNet(nn.Module):
    """LeNet with an exit after its first block (notebook 6); a sure image leaves there."""

    def __init__(self, base: nn.Module, threshold: float = 0.9) -> None:
        super().__init__()
        self.base, self.threshold = copy.deepcopy(base), threshold
        self.exit = nn.Linear(20 * 6 * 6, 10)
        self.early = 0.0

    def first(self, images: torch.Tensor) -> torch.Tensor:
        """Return the first block's output, (N, 20, 12, 12)."""
        return F.max_pool2d(F.relu(self.base.conv1(images)), 2)

    def exit_logits(self, features: torch.Tensor) -> torch.Tensor:
        """Return the logits of the early exit."""
        return self.exit(F.avg_pool2d(features, 2).flatten(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits; only undecided images go on."""
        features = self.first(images)
        logits = self.exit_logits(features)
        undecided = logits.softmax(dim=1).amax(dim=1) < self.threshold
        self.early = 1 - undecided.float().mean().item()
        if undecided.any():
            x = F.max_pool2d(F.relu(self.base.conv2(features[undecided])), 2).flatten(1)
            logits = logits.clone()
            logits[undecided] = self.base.fc2(F.relu(self.base.fc1(x)))
        return logits


early_exit = EarlyExitLeNet(lenet)
with torch.no_grad():
    exit_inputs = torch.cat([early_exit.first(batch) for batch in images[:6000].split(500)])
    exit_inputs = F.avg_pool2d(exit_inputs, 2).flatten(1)
train(
    early_exit.exit,
    make_loader(exit_inputs, labels[:6000], 64, shuffle=True),
    4,
    2e-3,
    progress=False,
)
torch.manual_seed(0)
small_net = LeNet(conv1=10, conv2=25, fc1=100)
learn_from(small_net, lenet, some, 4, 1.0, 0.5, 3e-3)
tuned = (1, 1.0, 1.0, 3e-3)  # epochs, temperature, alpha (labels only), lr
taught = (1, 1.0, 0.3, 3e-3)
candidates = {
    "LeNet": lenet,
    "pruning 80 %": remember(prune_then_distill, lenet, lenet, some, 0.8, *tuned),
    "distillation": small_net,
    "PTQ, 4 bits": prune_quantize_distill(lenet, lenet, some, 0.0, 4, 0, 1.0, 1.0, 1.0),
    "QAT, 2 bits": remember(prune_quantize_distill, lenet, lenet, some, 0.0, 2, 1, 1.0, 1.0, 1e-3),
    "clustering, k = 8": quantize_and_cluster(lenet, some, 8, 16, 0, 1.0),
    "early exit": early_exit.eval(),
    "pruning + KD": remember(prune_then_distill, lenet, lenet, some, 0.8, *taught),
    "QAT + PTQ + clustering": remember(quantize_and_cluster, lenet, some, 4, 4, 1, 1e-3),
    "pruning + PTQ + KD": remember(prune_quantize_distill, lenet, lenet, some, 0.8, 4, *taught),
    "small net + pruning + PTQ + KD": remember(
        prune_quantize_distill, small_net, lenet, some, 0.6, 4, *taught
    ),
}

# %%
Row = tuple[int, float, float, float, str]
batch = load_images("test")[0][:64]
table: dict[str, Row] = {}
print(f"{'':31}  accuracy     bytes  smaller  MACs      speed against LeNet")
for name, model in candidates.items():
    right, size = accuracy(model, both), file_bytes(model)
    speed = compare_model_speed(lenet, model, batch, seconds=0.3)
    if name == "early exit":
        accuracy(model, make_loader(*load_images("test"), batch_size=2000))
        head = 7200  # of the exit: 720 inputs, 10 outputs
        first_block = 24 * 24 * 20 * 25
        macs = first_block + head + (1 - model.early) * (count_macs(lenet) - first_block)
    else:
        macs = count_macs(model)
    table[name] = (size, right, macs / 1e6, speed.ratio, speed.verdict)
    print(
        f"{name:31}  {right:7.2%} {size:10,} {LENET_BYTES / size:7.1f}x {macs / 1e6:5.2f} M  "
        f"{speed.ratio:.2f}x ({speed.verdict})"
    )

# %%
CHOICES = {"bytes": (0, 1e-3, "thousand bytes"), "MACs": (2, 1, "million MACs"), "time": (3, 1, "")}


def plot_front(axes: plt.Axes, cost: str, lowest_accuracy: float) -> None:
    """Draw all techniques and the Pareto front for one kind of cost."""
    column, unit, label = CHOICES[cost]
    points = {
        name: (1 / row[column] if cost == "time" else row[column] * unit, row[1])
        for name, row in table.items()
    }
    front = sorted(pareto_front(list(points.values())))
    axes.step(*zip(*front, strict=True), where="post", color="0.6", lw=1.5)
    line = (0.92 - lowest_accuracy) / 25
    height = 1.0
    for name, point in sorted(points.items(), key=lambda item: -item[1][1]):
        best = point in front
        axes.plot(*point, "o" if best else "x", color="C1" if best else "C0")
        height = min(point[1] + line / 2, height - line)  # names must not lie on each other
        if point[1] >= lowest_accuracy:
            place = {"xytext": (6, height), "textcoords": ("offset points", "data")}
            axes.annotate(name, point, va="center", fontsize=8, **place)
    axes.set(xlabel=label or "time, LeNet = 1", ylabel="accuracy", ylim=(lowest_accuracy, 0.92))
    axes.set_xscale("log" if cost == "bytes" else "linear")
    axes.set_title(f"{len(front)} of {len(points)} are on the front (orange)")


explorer(plot_front, cost=list(CHOICES), lowest_accuracy=(0.75, 0.9, 0.01, 0.83))

# %% [markdown]
# **How to read it.**
#
# - *Bytes*: pruning, quantization and clustering each save about ten times when the result is
#   entropy-coded. Together they multiply: 30 to 100 times.
# - *Speed*: only the **smaller network** is faster, about twice. It has a quarter of the MACs.
#   Zeros and rounded floats change **nothing** here: the dense kernel multiplies zeros too, and
#   rounded weights are still 32-bit floats. (Notebook 1: when sparse kernels pay. Notebook 3: real
#   int8.)
# - *Early exit* saves a third of the MACs and hardly any time, and its file is *larger* than
#   LeNet's: dynamic computation saves computation, not storage. (Notebook 6.)
# - *Pruning* looks poor in this table. Every layer lost the same share, and conv1 with its 500
#   weights is fragile. In Part E you choose a sparsity for each layer, and get far more.
# - Nobody wins everywhere. Which points lie on the front depends on the **cost** that you choose.

# %% [markdown] lang="zh-TW"
# **怎麼讀這張表。**
#
# - *位元組數*：剪枝、量化與聚類的結果經過熵編碼後，各自省下約十倍。組合起來是相乘：30 到 100 倍。
# - *速度*：只有**較小的網路**較快，大約兩倍。它的 MACs 只有四分之一。
#   零與取整後的浮點數在這裡**毫無**影響：密集的運算核心 (kernel) 照樣乘以零，
#   而取整後的權重仍是 32 位元的浮點數。（Notebook 1：稀疏的運算核心何時值得。Notebook 3：
#   真正的 int8。）
# - *早退*省下三分之一的 MACs，時間幾乎沒省，而且檔案比 LeNet 的*還大*：動態計算省的是運算，
#   不是儲存空間。(Notebook 6)
# - *剪枝*在這張表中看起來很差。每一層都失去相同的比例，而只有 500 個權重的 conv1 很脆弱。
#   在 E 部分中，你可以為每一層選擇稀疏度，得到的會多得多。
# - 沒有哪一種處處勝出。哪些點位在前緣上，取決於你選擇的**成本**。

# %% [markdown] written="choose_for_a_watch" points=2
# ### Written question 3 · 2 points
#
# A watch has 40 kB of free flash memory, a chip that multiplies 8-bit integers but has no support
# for sparse matrices, and a small battery. (a) Which row of *your* table do you choose, and on
# which numbers of it do you rely? (b) Name one number of the table that you would have to measure
# again on the watch, and why.
#
# ### BEGIN SOLUTION
# *Model answer.* (a) For example *small net + pruning + PTQ + KD*: it fits into 40 kB (bytes), it
# has the fewest MACs (battery), and it lies on the front. *Pruning + PTQ + KD* on the full LeNet
# also fits and is more accurate, but its MACs are LeNet's, because zeros are multiplied too without
# sparse support. Any row that fits, with its bytes and MACs as reasons, is right. (b) The speed (or
# energy): it was measured with float arithmetic on a PC; 8-bit integers, another memory and no
# batching change it. (Also right: memory while it runs, since the file is decoded before use.)
# *One point each.*
# ### END SOLUTION

# %% [markdown] lang="zh-TW"
# ### 問答題 3 · 2 分
#
# 一支手錶有 40 kB 的可用快閃記憶體、一顆能做 8 位元整數乘法但不支援稀疏矩陣的晶片，以及一顆小電池。
# (a) 你選*你的*表中的哪一列？依據其中哪些數字？(b) 舉出表中一個必須在手錶上重新測量的數字，
# 並說明為什麼。
#
# ### BEGIN SOLUTION
# *參考答案。* (a) 例如*小網路 + 剪枝 + PTQ + KD*：它放得進 40 kB（位元組數），MACs 最少（電池），
# 而且位在前緣上。對完整的 LeNet 做*剪枝 + PTQ + KD* 也放得下，而且更準確，
# 但它的 MACs 和 LeNet 一樣，因為不支援稀疏時，零也照樣要乘。只要是放得下的列，
# 並以位元組數與 MACs 為理由，就算對。(b) 速度（或耗電）：它是在 PC 上以浮點運算測量的；8 位元整數、
# 不同的記憶體、不使用批次，都會改變它。（也算對：執行時的記憶體用量，因為檔案在使用前要先解碼。）
# *各一分。*
# ### END SOLUTION

# %% [markdown]
# ## Part E: the byte challenge
#
# **The game.** Make LeNet as small as you can.
#
# - `compress(model, loader) -> bytes` gets the course's LeNet and a loader with the 12,000 training
#   images in batches of 64. It may prune, quantize, distil, train, change the architecture. It has
#   60 seconds of CPU time; aim for 25.
# - `decompress(blob) -> nn.Module` rebuilds a network from **nothing but these bytes**. Any
#   architecture built from torch is allowed. It maps images (N, 1, 28, 28) to logits (N, 10), and
#   comes in eval mode.
# - The judge runs `compress`, takes the bytes to **another machine** (a sandbox with your code, an
#   empty folder, no network, no course data) and runs `decompress` there. Then it measures the
#   accuracy on hidden images.
# - **What counts**: the bytes of the blob **plus** the bytes of your code (all your answers and
#   added cells of this notebook as text, compressed by zlib). Weights that hide in the code count
#   too. This is the rule of the Hutter Prize.
# - The blob is plain `bytes`. **No pickle** and no `torch.save`: loading a pickle runs code.
# - **Floor**: at most one point of accuracy may be lost against LeNet on the hidden images.
# - **Tiers** at that floor: 4 times smaller than LeNet's file, 10 times, 20 times, 30 times. Each
#   earns points. Above that, the class leaderboard ranks by bytes.
#
# Where do the bytes go? Entropy says how many bits a symbol needs *at least*:
# $H = -\sum p \log_2 p$. With 90 % zeros the question 'zero or not?' costs only 0.47 bits. Move the
# sliders: they show fc1, which holds 93 % of LeNet's weights.

# %% [markdown] lang="zh-TW"
# ## E 部分：位元組挑戰
#
# **遊戲。** 把 LeNet 變得越小越好。
#
# - `compress(model, loader) -> bytes` 得到課程的 LeNet，以及一個 loader，內含 12,000 張訓練影像，
#   每批 64 張。它可以剪枝、量化、蒸餾、訓練、改變架構。它有 60 秒的 CPU 時間；請以 25 秒為目標。
# - `decompress(blob) -> nn.Module` **只憑這些位元組**重建網路。任何用 torch 建構的架構都可以。
#   它把影像 (N, 1, 28, 28) 對應到 logits (N, 10)，並且是 eval 模式。
# - 評分程式執行 `compress`，把位元組帶到**另一台機器**（沙箱：有你的程式、空的資料夾，沒有網路、
#   沒有課程資料），在那裡執行 `decompress`。再以隱藏影像測量準確率。
# - **計分方式**：blob 的位元組數，**加上**你的程式的位元組數（本 notebook
#   中你的所有答案與新增的儲存格，以純文字經 zlib 壓縮）。藏在程式中的權重也算。
#   這是 Hutter Prize 的規則。
# - blob 是單純的 `bytes`。**不可用 pickle**，也不可用 `torch.save`：載入 pickle 會執行程式。
# - **底線**：在隱藏影像上，準確率最多只能比 LeNet 低一個百分點。
# - **級別**（須達到底線）：比 LeNet 的檔案小 4 倍、10 倍、20 倍、30 倍。每一級都有分數。再往上，
#   班級排行榜依位元組數排名。
#
# 位元組都用到哪裡去了？熵告訴你一個符號*至少*需要多少位元：$H = -\sum p \log_2 p$。有 90 % 的零時，
# 「是零或不是？」這個問題只花 0.47 個位元。移動滑桿看看：圖中是 fc1，它占 LeNet 93 % 的權重。

# %%
fc1 = weights["fc1"]
by_size = fc1.abs().flatten().sort().values  # sorted once: the picture must follow the slider


def plot_entropy(axes: plt.Axes, sparsity: float, bits: int) -> None:
    """Draw how frequent each code of fc1 is, and what an entropy coder makes of it."""
    kept = fc1 * (fc1.abs() >= by_size[int(sparsity * len(by_size))])
    scale = weight_scale(kept, bits)
    codes = (round_to_grid(kept, scale, bits) / scale).round().long().flatten()
    lowest = int(codes.min())
    p = torch.bincount(codes - lowest) / len(codes)
    entropy = float(-(p * p.clamp(min=1e-12).log2()).sum())
    edges = torch.arange(len(p) + 1) + lowest - 0.5
    axes.stairs(p, edges, baseline=1e-4, fill=True, color="C0")
    axes.set(xlabel="code", ylabel="frequency", yscale="log", ylim=(1e-4, 1))
    axes.minorticks_off()
    packed, coded = len(codes) * bits / 8000, len(codes) * entropy / 8000
    axes.set_title(f"packed {packed:.0f} kB; {entropy:.2f} bits a weight: coded {coded:.1f} kB")


explorer(plot_entropy, sparsity=(0.0, 0.98, 0.01, 0.9), bits=(2, 8, 1, 4))

# %% [markdown]
# ### Exercise: `compress` · ★★★★ · 60 minutes · 10 points
#
# Write `compress(model, loader)`. Use whatever you like of this course. The given
# `entropy_encode(codes)` turns whole numbers from 0 on into bytes that are close to the entropy
# (Huffman codes of notebook 5, but without rounding to whole bits). `struct.pack` writes numbers,
# `tensor.numpy().tobytes()` writes tensors. `zlib` and `lzma` are allowed too.
#
# <details><summary>Hint 1</summary>
#
# You have nearly everything: Part C makes small whole numbers with many zeros. Codes from -7 to 7
# become 0 to 14 by adding 7.
#
# <details><summary>Hint 2</summary>
#
# Do not treat all layers alike. fc1 has 400,000 weights and bears a lot; conv1 has 500 and is
# fragile. So: 90 % and more zeros and 3 bits in fc1, few zeros and 6 bits in conv1.
#
# <details><summary>Hint 3</summary>
#
# One epoch with mask *and* grid attached, `temperature=1`, `alpha=0.5`, `lr=3e-3`, taught by LeNet
# itself, costs less than a point. For each layer write: the scale (4 bytes), the largest code, the
# number of coded bytes, the bias, the coded bytes.
#
# </details></details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`compress` · ★★★★ · 60 分鐘 · 10 分
#
# 請寫出 `compress(model, loader)`。本課程的任何內容都可以用。
# 已提供的 `entropy_encode(codes)` 把從 0 起的整數變成位元組，
# 大小接近熵（類似 notebook 5 的霍夫曼編碼，但每個符號的位元數不必是整數）。`struct.pack` 寫數字，
# `tensor.numpy().tobytes()` 寫張量 (tensor)。`zlib` 與 `lzma` 也可以用。
#
# <details><summary>提示 1</summary>
#
# 你幾乎什麼都有了：C 部分產生小的整數，其中有許多零。標記 -7 到 7 加上 7，就變成 0 到 14。
#
# <details><summary>提示 2</summary>
#
# 不要對所有層一視同仁。fc1 有 400,000 個權重，很耐剪；conv1 有 500 個，很脆弱。所以：
# fc1 用 90 % 以上的零與 3 個位元，conv1 用少量的零與 6 個位元。
#
# <details><summary>提示 3</summary>
#
# 接上遮罩*與*格點訓練一個 epoch，用 `temperature=1`、`alpha=0.5`、`lr=3e-3`，由 LeNet 自己教導，
# 損失不到一個百分點。每一層寫下：縮放係數（4 個位元組）、最大的標記、編碼後的位元組數、bias、
# 編碼後的位元組。
#
# </details></details></details>


# %% exercise="compress" difficulty=4 minutes=60
def compress(model: nn.Module, loader: DataLoader) -> bytes:
    """Turn LeNet into few bytes.

    Args:
        model: The course's LeNet. Not changed.
        loader: The training images in batches.

    Returns:
        All that `decompress` needs. No pickle.

    Source:
        Han et al. 2016, Deep Compression.
    """
    # TODO: make the network small, then write it down in few bytes
    ### BEGIN SOLUTION
    small = copy.deepcopy(model)
    settings = {"conv1": (0.2, 6), "conv2": (0.6, 4), "fc1": (0.9, 3), "fc2": (0.5, 4)}
    scales = {}
    for name, layer in weight_layers(small).items():
        share, bits = settings[name]
        mask = magnitude_mask(layer.weight, share)
        scales[name] = scale = weight_scale(layer.weight * mask, bits)
        attach(
            layer,
            lambda w, mask=mask, scale=scale, bits=bits: round_to_grid(w * mask, scale, bits),
        )
    learn_from(small, model, loader, 1, 1.0, 0.5, 3e-3)
    detach_all(small)
    blob = b""
    for name, layer in weight_layers(small).items():
        codes = (layer.weight.detach() / scales[name]).round().long()
        lowest = int(codes.min())
        coded = entropy_encode(codes - lowest)
        bias = layer.bias.detach().half().numpy().tobytes()
        blob += struct.pack("<fbI", scales[name], lowest, len(coded)) + bias + coded
    return blob
    ### END SOLUTION


# %% [markdown]
# ### Exercise: `decompress` · ★★☆☆ · 20 minutes · 4 points
#
# Write `decompress(blob)`: the way back. It gets the bytes and nothing else. It must not need a
# file, a global variable that `compress` has set, or a checkpoint.
#
# <details><summary>Hint 1</summary>
#
# `struct.unpack_from("<fbI", blob, place)` reads where you wrote with the same format;
# `struct.calcsize("<fbI")` says how far to go on.
#
# <details><summary>Hint 2</summary>
#
# `torch.frombuffer(bytearray(data), dtype=torch.float16)` reads a tensor. Build `LeNet()`, then
# `layer.weight.copy_(...)` under `torch.no_grad()`.
#
# </details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`decompress` · ★★☆☆ · 20 分鐘 · 4 分
#
# 請寫出 `decompress(blob)`：把位元組還原成網路。它得到的只有這些位元組，別無其他。
# 它不可以需要檔案、由 `compress` 設定的全域變數，或檢查點 (checkpoint)。
#
# <details><summary>提示 1</summary>
#
# `struct.unpack_from("<fbI", blob, place)` 以同樣的格式，讀出你寫入的內容；
# `struct.calcsize("<fbI")` 告訴你要前進多遠。
#
# <details><summary>提示 2</summary>
#
# `torch.frombuffer(bytearray(data), dtype=torch.float16)` 讀出張量。建立 `LeNet()`，
# 再於 `torch.no_grad()` 之下 `layer.weight.copy_(...)`。
#
# </details></details>


# %% exercise="decompress" difficulty=2 minutes=20
def decompress(blob: bytes) -> nn.Module:
    """Rebuild the network from nothing but the bytes of `compress`.

    Args:
        blob: What `compress` returned.

    Returns:
        A network in eval mode; maps images (N, 1, 28, 28) to logits (N, 10).
    """
    # TODO: read what compress wrote
    ### BEGIN SOLUTION
    model, place = LeNet(), 0
    with torch.no_grad():
        for layer in weight_layers(model).values():
            scale, lowest, length = struct.unpack_from("<fbI", blob, place)
            place += struct.calcsize("<fbI")
            bias = bytearray(blob[place : place + 2 * layer.bias.numel()])
            layer.bias.copy_(torch.frombuffer(bias, dtype=torch.float16))
            place += len(bias)
            codes = entropy_decode(blob[place : place + length])
            layer.weight.copy_((codes + lowest).view_as(layer.weight) * scale)
            place += length
    return model.eval()
    ### END SOLUTION


# %% check="compress" points=10
tiny = make_loader(images[:128], labels[:128], batch_size=64, shuffle=True)
before = copy.deepcopy(lenet.state_dict())
blob = compress(lenet, tiny)
assert isinstance(blob, bytes), f"expected bytes, got {type(blob).__name__}"
assert blob[:1] != b"\x80", "the blob looks like a pickle; write numbers with struct and tobytes"
assert blob[:2] != b"PK", (
    "the blob looks like a torch.save file; write numbers and tensors yourself"
)
assert all(torch.equal(before[name], now) for name, now in lenet.state_dict().items()), (
    "the caller's model was changed: work on a deep copy"
)
assert len(blob) < LENET_BYTES / 4, (
    f"{len(blob):,} bytes: not even 4 times smaller; 8-bit codes would be"
)
print(f"compress: {len(blob):,} bytes, good so far (the real run is below)")

# %% check="decompress" points=4
blob = compress(lenet, make_loader(images[:128], labels[:128], batch_size=64))
again = decompress(blob)
assert isinstance(again, nn.Module), f"expected a model, got {type(again).__name__}"
assert not any(part.training for part in again.modules()), "the model must be in eval mode"
with torch.no_grad():
    logits = again(images[:6])
    assert logits.shape == (6, 10), f"expected logits (6, 10), got {tuple(logits.shape)}"
    assert logits.isfinite().all(), "logits are infinite or NaN: is everything read in its order?"
    assert torch.allclose(again(images[:1]), logits[:1], atol=1e-4), "one image alone: other logits"
    assert torch.equal(decompress(blob)(images[:6]), logits), "the same bytes, another network?"
passed("decompress")

# %% [markdown]
# ### The real run
#
# Twelve thousand images, as in the judge. Your accuracy here is that on 4,000 images which you may
# look at; the judge takes 4,000 others. So do not stand too near the floor: one accuracy on 4,000
# images has a standard error of 0.45 points.

# %% [markdown] lang="zh-TW"
# ### 正式執行
#
# 一萬兩千張影像，和評分程式一樣。你在這裡的準確率，是在 4,000 張你可以看的影像上測量的；
# 評分程式用另外 4,000 張。所以不要太接近底線：在 4,000 張影像上測得的準確率，
# 標準誤為 0.45 個百分點。

# %%
blob = remember(compress, lenet, make_loader(images, labels, batch_size=64, shuffle=True))
rebuilt = decompress(blob)
right, base = accuracy(rebuilt, both), accuracy(lenet, both)
print(f"blob: {len(blob):,} bytes; accuracy {right:.2%}, lost {100 * (base - right):.2f} points")
for tier in (4, 10, 20, 30):
    print(f"{tier:3}x smaller: {'reached' if len(blob) * tier <= LENET_BYTES else 'not yet'}")
print("(the judge adds the bytes of your code, about 3 to 6 thousand)")
own = (len(blob), right)
front = pareto_front([own, *(row[:2] for row in table.values())])
print(f"on the front of all techniques above: {'yes' if own in front else 'no'}")

# %%
journey = {
    "float": LENET_BYTES,
    "8 bits": LENET_BYTES // 4,
    "4 bits": LENET_BYTES // 8,
    "3 bits, packed": LENET_BYTES * 3 // 32,
    "your blob": len(blob),
}
_, axes = plt.subplots(figsize=(7, 2.8))
bars = axes.barh(list(journey), list(journey.values()), color=["C0"] * 4 + ["C1"])
axes.bar_label(bars, [f" {LENET_BYTES / size:.0f}x" for size in journey.values()], fontsize=9)
axes.set(xscale="log", xlabel="bytes")
axes.invert_yaxis()
plt.show()

# %% [markdown]
# The reference solution of this course reaches 38,000 bytes: 45 times smaller without code, 42
# times with it, at 0.4 points lost, in less than 10 seconds.
#
# **How far can it go?** The course's record: **8,828 bytes, 195 times smaller, and not one point
# lost** (on the hidden images it is 0.3 points *better* than LeNet). It did not compress LeNet at
# all. It is a small batch-norm CNN of 24,000 weights, distilled on all 58,000 images with mirrored
# and shifted copies, while its weights were rounded to 3 and 4 bits; then entropy-coded. So the
# largest step was **another architecture**. You may do the same: any architecture is allowed.
#
# Ideas for the leaderboard: fewer neurons (notebook 1: 80 to 100 neurons of fc1 never fire); a
# sparsity and a bit width for each layer; more training steps in your 60 seconds (a small network
# trains fast); entropy codes that know in which row or channel they are.

# %% [markdown] lang="zh-TW"
# 本課程的參考解答達到 38,000 個位元組：不計程式小 45 倍，計入程式小 42 倍，損失 0.4 個百分點，
# 用不到 10 秒。
#
# **能做到多小？** 課程的紀錄：**8,828 個位元組，小 195 倍，
# 而且一個百分點也沒有損失**（在隱藏影像上，它比 LeNet *好* 0.3 個百分點）。它完全沒有壓縮 LeNet。
# 它是一個使用 Batch Norm 的小型 CNN，有 24,000 個權重，
# 在全部 58,000 張影像及其鏡像與平移的副本上蒸餾，同時把權重取整到 3 與 4 個位元；最後經過熵編碼。
# 所以最大的一步是**換一個架構**。你也可以這樣做：任何架構都允許。
#
# 挑戰排行榜的點子：減少神經元（notebook 1：fc1 有 80 到 100 個神經元輸出永遠是零）；
# 為每一層選擇稀疏度與位元數；在你的 60 秒內多訓練幾步（小網路訓練得快）；知道目前位在哪一列、
# 哪個通道的熵編碼。

# %% [markdown]
# ## In practice
#
# Nobody writes an entropy coder for every network. What do general compressors make of the same
# codes? Here are LeNet's fc1 codes after your `compress`, written in four ways.

# %% [markdown] lang="zh-TW"
# ## 業界的做法
#
# 沒有人會為每個網路都寫一個熵編碼器。一般的壓縮程式面對同樣的標記，表現如何？
# 這裡是你的 `compress` 之後，LeNet 的 fc1 的標記，用四種方式寫出。

# %%
codes = (rebuilt.fc1.weight if isinstance(rebuilt, LeNet) else fc1).detach().flatten()
values, codes = codes.unique(return_inverse=True)
if len(values) <= 256:
    raw = codes.to(torch.uint8).numpy().tobytes()
    p = torch.bincount(codes) / len(codes)
    least = len(codes) * float(-(p * p.log2()).sum()) / 8
    sizes = {
        "zlib": len(zlib.compress(raw, 9)),
        "bz2": len(bz2.compress(raw)),
        "lzma": len(lzma.compress(raw)),
        "entropy_encode": len(entropy_encode(codes)),
    }
    print(f"entropy: {least:,.0f} bytes are needed if the weights are independent")
    for name, size in sizes.items():
        print(f"{name:15} {size:7,} bytes, {size / least:.2f} times the entropy")
else:
    print("your fc1 has more than 256 different values: nothing to code here")

# %% [markdown]
# A general compressor needs 20 to 35 % more here: it looks for repeated strings, and there are
# none, only frequent and rare symbols. `entropy_encode` reaches the entropy within a percent.
#
# Tools that combine the techniques for you: *Neural Network Compression Framework* (OpenVINO),
# *Intel Neural Compressor*, *TensorFlow Model Optimization* (its 'collaborative optimization' is
# exactly this notebook: sparsity-preserving clustering, cluster-preserving QAT), *torchao* and
# *LLM Compressor* for large language models. Their main care is the one you had in Part C: that a
# later step does not undo an earlier one. Deep networks in browsers and phones are often sent
# pruned or quantized and then compressed by zip or Brotli: that is the entropy coder.

# %% [markdown] lang="zh-TW"
# 一般的壓縮程式在這裡要多用 20 到 35 %：它尋找重複的字串，但這裡沒有，只有常見與罕見的符號。
# `entropy_encode` 與熵相差不到百分之一。
#
# 替你組合這些技術的工具：*Neural Network Compression Framework* (OpenVINO)、*Intel Neural
# Compressor*、*TensorFlow Model Optimization*（它的「collaborative optimization」
# 正是本 notebook 的內容：保留稀疏度的聚類、保留聚類的 QAT），
# 以及用於大型語言模型的 *torchao* 與 *LLM Compressor*。它們最在意的，就是你在 C 部分在意的事：
# 後面的步驟不能破壞前面的成果。瀏覽器與手機中的深度網路，傳送時常先剪枝或量化，
# 再以 zip 或 Brotli 壓縮：那就是熵編碼器。

# %% [markdown]
# ## Summary
#
# - Techniques combine because they remove **different** waste: pruning removes weights,
#   quantization removes bits, clustering removes values, entropy coding removes predictability,
#   distillation pays accuracy back.
# - **Hold** what is won: masks and grids must hold while the network learns on.
# - **Order**: what hurts goes before what heals. Training comes last, or during.
# - Pruning + KD against pruning + fine-tuning: a gain, a small one, at low temperature. Measure it.
# - Zeros and bits shrink the **file**. Only fewer MACs or other arithmetic shrink the **time**, and
#   only if the machine can use them.
# - 'Better' means a **Pareto front**, not one number.
#
# | combination | stores | computes | costs |
# |---|---|---|---|
# | pruning + KD | few weights | as before without sparse kernels | a teacher, training |
# | (QAT +) PTQ + clustering | log2(k) bits a weight | b-bit arithmetic | training for low bits |
# | pruning + PTQ + KD | few weights of few bits | b-bit arithmetic | a teacher, training |

# %% [markdown] lang="zh-TW"
# ## 總結
#
# - 各種技術能組合，是因為它們移除**不同**的浪費：剪枝移除權重，量化移除位元，聚類移除不同的值，
#   熵編碼移除可預測性，蒸餾則補回準確率。
# - **守住**已得到的成果：網路繼續學習時，遮罩與格點必須一直有效。
# - **順序**：造成損傷的排在修復損傷的之前。訓練排在最後，或同時進行。
# - 剪枝 + KD 對剪枝 + 微調：有進步，但很小，要用低的溫度。請實際測量。
# - 零與位元縮小的是**檔案**。只有較少的 MACs 或不同的運算方式才能縮短**時間**，而且機器要能利用。
# - 「較好」指的是**帕雷托前緣**，不是單一數字。
#
# | 組合 | 儲存 | 計算 | 代價 |
# |---|---|---|---|
# | 剪枝 + KD | 少數權重 | 沒有稀疏的運算核心時和原來一樣 | 教師模型、訓練 |
# | (QAT +) PTQ + 聚類 | 每個權重 log2(k) 個位元 | b 位元運算 | 位元數低時需要訓練 |
# | 剪枝 + PTQ + KD | 少數權重，每個位元數少 | b 位元運算 | 教師模型、訓練 |

# %% [markdown]
# ## Exam practice
#
# **1.** Put in order, as in the lecture's third combination: (a) quantize after training (b) distil
# (c) prune.
#
# <details><summary>Answer</summary>
#
# c, a, b. Remove redundant parameters, quantize the rest, and let KD raise the accuracy of the
# compressed network.
#
# </details>
#
# **2.** A layer has 100,000 weights of 32 bits. 90 % are pruned. The others have 4-bit codes. The
# positions are stored as a bitmask (one bit a weight). How many times smaller is it?
#
# <details><summary>Answer</summary>
#
# 100,000 bits for the mask and 10,000 · 4 = 40,000 bits for the codes: 140,000 bits. 3,200,000 /
# 140,000 = **22.9** times.
#
# </details>
#
# **3.** Which points are on the Pareto front? (size, accuracy): A (10, 0.90), B (8, 0.91),
# C (5, 0.85), D (5, 0.88), E (12, 0.91).
#
# <details><summary>Answer</summary>
#
# B and D. B is smaller and better than A, and smaller than E at the same accuracy. D is better than
# C at the same size.
#
# </details>
#
# **4.** What is true of (QAT +) PTQ + weight clustering? (a) Quantization makes the computation
# efficient. (b) Clustering makes the storage smaller still. (c) After clustering, the codebook
# needs no bits. (d) QAT comes after clustering. (e) QAT trains with fake quantization.
#
# <details><summary>Answer</summary>
#
# (a), (b) and (e). The codebook is small but not free. QAT comes first.
#
# </details>
#
# **5.** Match technique and main drawback, as in the closing table: pruning, distillation, PTQ,
# QAT, dynamic computation with (1) more training cost (2) needs a teacher (3) needs a special
# architecture (4) larger loss of accuracy possible, without training (5) what to remove must be
# chosen with care.
#
# <details><summary>Answer</summary>
#
# Pruning 5, distillation 2, PTQ 4, QAT 1, dynamic computation 3.
#
# </details>

# %% [markdown] lang="zh-TW"
# ## 考前練習
#
# **1.** 請依課程的第三種組合排序：(a) 做訓練後量化 (b) 蒸餾 (c) 剪枝。
#
# <details><summary>答案</summary>
#
# c、a、b。移除冗餘參數，量化剩下的，再由 KD 提升被壓縮模型的準確率。
#
# </details>
#
# **2.** 某層有 100,000 個 32 位元的權重。其中 90 % 被剪去，其餘的標記為 4 個位元。
# 位置以位元遮罩 (bitmask) 儲存（每個權重一個位元）。壓縮倍率是多少？
#
# <details><summary>答案</summary>
#
# 遮罩 100,000 個位元，標記 10,000 · 4 = 40,000 個位元：共 140,000 個位元。
# 3,200,000 / 140,000 = **22.9** 倍。
#
# </details>
#
# **3.** 哪些點在帕雷托前緣上？（大小，準確率）：A (10, 0.90)、B (8, 0.91)、C (5, 0.85)、
# D (5, 0.88)、E (12, 0.91)。
#
# <details><summary>答案</summary>
#
# B 與 D。B 比 A 小也比 A 好，並且在相同準確率下比 E 小。D 在相同大小下比 C 好。
#
# </details>
#
# **4.** 關於 (QAT +) PTQ + Weight Clustering，哪些正確？(a) 量化讓計算有效率。
# (b) 聚類讓儲存再縮小。(c) 聚類之後，權重映射表不需要任何位元。(d) QAT 在聚類之後。
# (e) QAT 以假量化 (fake quantization) 訓練。
#
# <details><summary>答案</summary>
#
# (a)、(b) 與 (e)。權重映射表很小，但不是免費的。QAT 在最前面。
#
# </details>
#
# **5.** 請依總表，將技術與主要缺點配對：剪枝、蒸餾、PTQ、QAT、動態計算；
# (1) 訓練成本較高 (2) 需要教師模型 (3) 需要特別的架構 (4) 不訓練，
# 準確率可能損失較大 (5) 必須小心選擇要移除的東西。
#
# <details><summary>答案</summary>
#
# 剪枝 5、蒸餾 2、PTQ 4、QAT 1、動態計算 3。
#
# </details>

# %%
progress()
