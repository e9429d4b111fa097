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
#   topic: dynamic_computation
#   number: 6
#   title: Dynamic computation
# ---

# %% [markdown]
# # 6 Dynamic computation (動態計算)
#
# All techniques so far made the network smaller once, for every input alike.
# **Dynamic computation** keeps the network, and decides *for each input, or for each moment*, how
# much of it to run.
#
# - **Dynamic depth** (動態深度): easy images leave through an **early exit** (提早退出, 早退).
# - **Dynamic width** (動態寬度): every layer runs with all its channels, or only with the first
#   few.
#
# At the end you can
#
# - measure how sure a network is, by **entropy** (熵) or by **top-1** confidence (信心度);
# - build and train a network with several exits, in which a sample that has left costs nothing;
# - say what that saves: on paper (MACs) and on the clock, which is not the same;
# - build layers with one set of weights and several widths (**slimmable**, 可瘦身);
# - explain why they need a batch norm for each width;
# - choose the width by a budget (a battery), and by the input.
#
# **How to work.** Read, write your answer where the TODO stands, run the check below it.
# A failed check says what was expected, what came, and what usually causes that.
# Hints fold away: open one at a time.
# The exercises build on each other: a later one calls your earlier ones.
#
# `progress()` in any cell shows how far you are, in all notebooks.
# Long trainings stand in `remember(function, ...)`: after a restart of the kernel the same call
# comes back in a second.
#
# **Rules that hold everywhere.**
#
# - A function changes none of its arguments. A model that is passed in has the same train/eval mode
#   in every submodule afterwards.
# - Fractions lie in [0, 1] and are never percent. Labels and indices are int64. Values keep their
#   dtype.
# - Exits and widths are counted from 0.
# - An impossible argument raises a `ValueError` whose message names the argument: an unknown
#   criterion, a width outside (0, 1], lists whose lengths do not fit, logits or confidences with
#   NaN.

# %% [markdown] lang="zh-TW"
# # 6 動態計算 (Dynamic Computation)
#
# 到目前為止，所有技術都是把網路一次縮小，對每個輸入都一樣。
# **動態計算** (dynamic computation) 保留整個網路，再*依每個輸入、或每個時刻*決定要執行多少。
#
# - **動態深度** (dynamic depth)：簡單的影像從**早退點** (exit，以下稱「出口」) 提前離開，
#   這就是**早退** (early exit)。
# - **動態寬度** (dynamic width)：每一層可以用全部的通道，也可以只用前面幾個。
#
# 學完之後，你能夠
#
# - 以**熵** (entropy) 或 **top-1** 信心度 (confidence) 衡量網路有多少把握；
# - 建立並訓練有多個出口的網路，讓已離開的樣本不再花費任何運算；
# - 說明這樣能省下多少：帳面上的 MACs 與實際量到的時間，兩者並不相同；
# - 建立只有一組權重、卻有多種寬度的層（**slimmable**，可瘦身）；
# - 解釋為什麼每種寬度都需要自己的批次正規化 (Batch Norm)；
# - 依預算（電量）選擇寬度，也依輸入選擇寬度。
#
# **進行方式。** 先閱讀，在 TODO 處寫下你的答案，再執行下方的檢查。
# 檢查沒通過時，會說明預期什麼、得到什麼，以及通常的原因。
# 提示是折疊的：一次打開一個就好。
# 練習環環相扣：後面的練習會呼叫你前面寫的函式。
#
# 在任何儲存格執行 `progress()`，就能看到你在所有筆記本的進度。較久的訓練寫成
# `remember(function, ...)`：重新啟動核心 (kernel) 之後，同樣的呼叫一秒內就會回來。
#
# **處處適用的規則。**
#
# - 函式不會更動任何引數。傳入的模型在執行後，每個子模組的 train/eval 模式都與之前相同。
# - 比例都在 [0, 1] 之間，不用百分比。標籤與索引是 int64。數值保持原本的 dtype。
# - 出口與寬度從 0 開始編號。
# - 不合理的引數要引發 `ValueError`，訊息中要寫出該引數的名稱：未知的 criterion、不在 (0, 1]
#   內的寬度、長度不相符的 list、含 NaN 的 logits 或信心度。

# %% define
import copy
import math

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.arguments import is_rejected, require
from course_utils.data import CLASS_NAMES, load_images, make_loader
from course_utils.evaluation import eval_mode
from course_utils.measures import count_parameters
from course_utils.models import BatchNormCNN
from course_utils.training import train

# %% [markdown]
# Two classes and a function are given. They help to *check* dynamic computation.
#
# - `Counted(module)` does what `module` does, and notes in `.batches` how many samples it computed
#   in each call. So nobody has to believe that a sample costs nothing: we count. `counted(modules)`
#   does this to a list of modules.
# - `SeparateNets({0.25: small, 1.0: large})` holds one separate network for each width, and is
#   called as `nets(images, width)`. This is what dynamic width competes with. It notes the samples
#   of each call in `.batches` too, as `(width, samples)`.

# %% [markdown] lang="zh-TW"
# 以下提供兩個類別與一個函式，用來*檢查*動態計算。
#
# - `Counted(module)` 做的事與 `module` 相同，並在 `.batches` 記下每次呼叫計算了多少個樣本。
#   所以不必憑空相信「某個樣本不花任何運算」：我們直接數。`counted(modules)` 則對一整個 list
#   的模組這樣做。
# - `SeparateNets({0.25: small, 1.0: large})` 為每種寬度各存一個獨立的網路，以 `nets(images, width)`
#   呼叫。它就是動態寬度的競爭對手。它也會在 `.batches` 記下每次呼叫的樣本數，格式為
#   `(width, samples)`。


# %% define
class Counted(nn.Module):
    """A module that notes how many samples it computes.

    Args:
        module: What it does.

    Attributes:
        batches: The number of samples of each call.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.batches: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the module makes of x."""
        self.batches.append(len(x))
        return self.module(x)

    def __deepcopy__(self, memo: dict[int, object]) -> "Counted":
        """Return a copy that goes on counting in the same list."""
        twin = Counted(copy.deepcopy(self.module, memo))
        twin.batches = self.batches
        return twin


def counted(modules: list[nn.Module]) -> nn.ModuleList:
    """Return modules that do the same as these, and count their samples."""
    return nn.ModuleList(Counted(module) for module in modules)


class SeparateNets(nn.Module):
    """One network for each width: what a device stores without dynamic width.

    Args:
        nets: The network of each width.

    Attributes:
        batches: The width and the number of samples of each call.
    """

    def __init__(self, nets: dict[float, nn.Module]) -> None:
        super().__init__()
        self.widths = list(nets)
        self.nets = nn.ModuleList(nets.values())
        self.batches: list[tuple[float, int]] = []

    def forward(self, images: torch.Tensor, width: float) -> torch.Tensor:
        """Return the logits of the network of that width."""
        width = float(width)
        self.batches.append((width, len(images)))
        return self.nets[self.widths.index(width)](images)

    def __deepcopy__(self, memo: dict[int, object]) -> "SeparateNets":
        """Return a copy that goes on noting in the same list."""
        nets = copy.deepcopy(list(self.nets), memo)
        twin = SeparateNets(dict(zip(self.widths, nets, strict=True)))
        twin.training, twin.batches = self.training, self.batches
        return twin


# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyBboxPatch, Rectangle
from tqdm import tqdm

from course_utils.checkpoints import load_checkpoint
from course_utils.measures import count_macs, model_bytes
from course_utils.plots import use_course_style
from course_utils.progress import passed, progress
from course_utils.remembering import remember
from course_utils.speed import compare_speed
from course_utils.widgets import explorer

use_course_style()
torch.set_num_threads(1)  # a fair and quiet clock: two threads disturb each other
torch.manual_seed(6)

images, labels = load_images("train")
held_out_images, held_out_labels = load_images("validation")
test_images, test_labels = load_images("test")
print(f"{len(labels):,} images to train, {len(held_out_labels):,} to choose thresholds,")
print(f"{len(test_labels):,} to report accuracies")

# %% [markdown]
# ## The idea on one page
#
# *Above:* a network with three exits. Each exit is a small classifier. A sample that an exit is
# sure about takes its answer and leaves. Only the others go on.
#
# *Below:* a layer of eight channels at three widths. The narrow network is a **part** of the wide
# one: the first channels. Nothing is stored twice.

# %% [markdown] lang="zh-TW"
# ## 一頁看懂核心概念
#
# *上圖：* 有三個出口的網路。每個出口是一個小型分類器。出口有把握的樣本，就帶著答案離開，
# 只有其餘的樣本繼續往下走。
#
# *下圖：* 一個有八個通道的層，以及它的三種寬度。窄的網路是寬的網路的**一部分**：
# 也就是前面幾個通道。沒有任何東西需要存兩份。


# %%
def draw_box(axes: plt.Axes, x: float, y: float, text: str, color: str) -> None:
    """Draw a rounded box with its centre at (x, y)."""
    shape = FancyBboxPatch(
        (x - 0.62, y - 0.24), 1.24, 0.48, "round,pad=0.06", fc=color, ec="0.3", alpha=0.5
    )
    axes.add_patch(shape)
    axes.text(x, y, text, ha="center", va="center", fontsize=9)


def draw_arrow(
    axes: plt.Axes, tail: tuple[float, float], head: tuple[float, float], width: float
) -> None:
    """Draw an arrow; the more samples pass, the thicker it is."""
    style = {"arrowstyle": "-|>", "lw": width, "color": "0.35"}
    axes.annotate("", head, tail, arrowprops=style)


_, (depth, channels) = plt.subplots(2, 1, figsize=(10, 5.2), height_ratios=[1.5, 1])
draw_box(depth, -0.2, 0, "images\n100 %", "white")
for number, (x, goes_on, leaves) in enumerate([(2, 9, 6), (4.2, 5, 2), (6.4, 3, 3)]):
    draw_box(depth, x, 0, f"block {number}", "C0")
    draw_box(depth, x, 1.15, f"exit {number}", "C2")
    draw_arrow(depth, (x - 1.5, 0), (x - 0.72, 0), goes_on)
    draw_arrow(depth, (x, 0.3), (x, 0.85), leaves)
    draw_arrow(depth, (x, 1.45), (x, 1.95), leaves)
for x, text in [
    (2, "easy: 60 % leave"),
    (4.2, "25 % leave"),
    (6.4, "the last exit\nalways answers"),
]:
    depth.text(x, 2.05, text, ha="center", va="bottom", fontsize=9)
depth.set(xlim=(-0.9, 7.6), ylim=(-0.5, 2.7), title="dynamic depth: early exits")
for column, width in enumerate((0.25, 0.5, 1.0)):
    for channel in range(8):
        active = channel < math.ceil(width * 8)
        x = column * 3.4 + channel * 0.33
        channels.add_patch(Rectangle((x, 0), 0.26, 1, fc="C0" if active else "0.92", ec="0.4"))
    channels.text(column * 3.4 + 1.3, 1.2, f"width {width}", ha="center")
channels.set(xlim=(-0.3, 9.9), ylim=(-0.2, 1.7), title="dynamic width: the first channels")
for axes in (depth, channels):
    axes.axis("off")
plt.show()

# %% [markdown]
# **Early *exit* is not early *stopping*.** The names are easily confused, the lecture warns of it
# too.
#
# | | early exit (早退) | early stopping (早停) |
# |---|---|---|
# | when | when the network is *used* | when it is *trained* |
# | what ends early | the way of one sample through the layers | the training |
# | why | save computation | avoid overfitting |
# | decided by | confidence of an exit | loss on held-out images |
#
# **The network does not shrink.** Exits and extra batch norms even make the file a little larger.
# Dynamic computation saves *computation*. Later we count the bytes.

# %% [markdown] lang="zh-TW"
# **早退 (early *exit*) 不是早停 (early *stopping*)。** 兩個名稱很容易混淆，課程也特別提醒過。
#
# | | 早退 (early exit) | 早停 (early stopping) |
# |---|---|---|
# | 何時 | *使用*網路時 | *訓練*網路時 |
# | 提前結束什麼 | 一個樣本通過各層的路程 | 訓練 |
# | 目的 | 節省運算 | 避免過擬合 |
# | 依據 | 出口的信心度 | 驗證影像 (held-out images) 的 loss |
#
# **網路並沒有縮小。** 多出來的出口與 Batch Norm，甚至會讓檔案稍微變大。動態計算節省的是*運算*。
# 稍後我們會實際計算位元組。

# %% [markdown]
# ## Part A: how sure is the network? (信心度評估)
#
# Softmax turns logits into probabilities `p`. Two simple measures tell how sure they are.
#
# - **Top-1**: the largest probability. 1 is sure; `1 / C` (with C classes) knows nothing.
# - **Entropy**: `H = -sum p log p`. 0 is sure; `log C` knows nothing. So the raw entropy is *large*
#   when the network is *unsure*. We turn it around and scale it: `1 - H / log C`.
#
# Both then lie in [0, 1], and **larger is surer**.
#
# ### Exercise: `confidence` · ★☆☆☆ · 10 minutes · 4 points
#
# Write `confidence(logits, criterion="entropy")` for logits (N, C). It returns one number for each
# row, shape (N,).
#
# - `"entropy"`: `1 - H / log C`. Use the same logarithm for `H` and for `log C`.
# - `"top1"`: the largest softmax probability.
#
# It must work for any C of at least 2, and for large logits: where a probability is exactly 0,
# `p log p` counts as 0. The dtype stays. `ValueError` for an unknown criterion and for logits with
# NaN.
#
# *Example.* Two classes. Logits [0, 0]: entropy confidence 0, top-1 0.5. Logits [1000, 0]: both 1.
#
# <details><summary>Hint 1</summary>
#
# `logits.softmax(dim=1)` and `logits.log_softmax(dim=1)`. The second one is finite where
# `p.log()` is not.
#
# <details><summary>Hint 2</summary>
#
# `entropy = -(p * log_p).sum(dim=1)`. The number of classes is `logits.shape[1]`.
#
# <details><summary>Hint 3</summary>
#
# `1 - entropy / math.log(logits.shape[1])`. `math.log` is the natural logarithm, as in torch.
# Rounding can give -1e-7: `.clamp(0, 1)` tidies that up.
#
# </details></details></details>

# %% [markdown] lang="zh-TW"
# ## A 部分：網路有多少把握？（信心度評估）
#
# Softmax 把 logits 轉成機率 `p`。有兩種簡單的指標可以說明網路多有把握。
#
# - **Top-1**：最大的機率。1 代表有把握；`1 / C`（共 C 個類別）代表一無所知。
# - **熵** (entropy)：`H = -sum p log p`。0 代表有把握；`log C` 代表一無所知。所以網路*沒把握*時，
#   原始的熵值反而*大*。我們把它反過來並縮放：`1 - H / log C`。
#
# 這樣兩者都落在 [0, 1]，而且**越大越有把握**。
#
# ### 練習：`confidence` · ★☆☆☆ · 10 分鐘 · 4 分
#
# 寫出 `confidence(logits, criterion="entropy")`，輸入為 logits (N, C)。它對每一列回傳一個數字，
# 形狀為 (N,)。
#
# - `"entropy"`：`1 - H / log C`。`H` 與 `log C` 要使用同一種對數。
# - `"top1"`：最大的 softmax 機率。
#
# 只要 C 至少是 2 就要能用，logits 很大時也要能用：機率恰為 0 時，`p log p` 算作 0。dtype
# 保持不變。criterion 未知、或 logits 含 NaN 時，引發 `ValueError`。
#
# *範例。* 兩個類別。Logits 為 [0, 0]：熵的信心度是 0，top-1 是 0.5。Logits 為 [1000, 0]：兩者都是
# 1。
#
# <details><summary>提示 1</summary>
#
# `logits.softmax(dim=1)` 與 `logits.log_softmax(dim=1)`。在 `p.log()` 不是有限值的地方，
# 後者仍是有限值。
#
# <details><summary>提示 2</summary>
#
# `entropy = -(p * log_p).sum(dim=1)`。類別數是 `logits.shape[1]`。
#
# <details><summary>提示 3</summary>
#
# `1 - entropy / math.log(logits.shape[1])`。`math.log` 是自然對數，與 torch 相同。捨入誤差可能造成
# -1e-7：用 `.clamp(0, 1)` 整理一下即可。
#
# </details></details></details>


# %% exercise="confidence" difficulty=1 minutes=10
def confidence(logits: torch.Tensor, criterion: str = "entropy") -> torch.Tensor:
    """Say how sure a classifier is of each sample.

    Args:
        logits: (N, C), C at least 2. They are not changed.
        criterion: "entropy": 1 - H / log C. "top1": the largest softmax probability.

    Returns:
        (N,), in [0, 1] and of the dtype of the logits; larger is surer.

    Raises:
        ValueError: If the criterion is unknown, or the logits hold NaN.

    Source:
        Teerapittayanon et al. 2016, BranchyNet (entropy, not normalised there).
    """
    # TODO: the measure that criterion names
    ### BEGIN SOLUTION
    require(criterion in ("entropy", "top1"), f"criterion is unknown: {criterion!r}")
    require(not logits.isnan().any(), "logits must not hold NaN")
    log_p = logits.log_softmax(dim=1)
    if criterion == "top1":
        return log_p.exp().amax(dim=1)
    entropy = -(log_p.exp() * log_p).sum(dim=1)
    return (1 - entropy / math.log(logits.shape[1])).clamp(0, 1)
    ### END SOLUTION


# %% check="confidence" points=4
rows = torch.tensor([[0.0, 0.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0], [1000.0, 0.0, 0.0, 0.0]])
for criterion, wanted in {"entropy": [0.0, 0.3376, 1.0], "top1": [0.25, 0.7112, 1.0]}.items():
    got = confidence(rows, criterion)
    assert isinstance(got, torch.Tensor), f"expected a tensor, got {type(got).__name__}"
    assert got.shape == (3,), f"expected one number a row, shape (3,), got {tuple(got.shape)}"
    assert not got.isnan().any(), f"{criterion} is NaN: p * p.log() fails where p is 0"
    assert (got.diff() > 0).all(), (
        f"{criterion}: larger must mean surer, but [0, 0, 0, 0] got {got[0]:.3f} and "
        f"[1000, 0, 0, 0] got {got[2]:.3f}; entropy alone is large for the *unsure*"
    )
    assert torch.allclose(got, torch.tensor(wanted), atol=1e-3), (
        f"{criterion}: expected {wanted}, got {[round(v, 4) for v in got.tolist()]}; divide the "
        "entropy by log C, with the same logarithm"
    )
for classes in (2, 10, 50):
    flat = confidence(torch.zeros(3, classes))
    assert flat.abs().max() < 1e-5, (
        f"equal logits of {classes} classes know nothing: expected 0, got {flat[0]:.3f}; "
        "the normalisation is log C for the C at hand"
    )
assert confidence(rows.double(), "top1").dtype == torch.float64, "the dtype must stay"
assert is_rejected(confidence, rows, "top5"), "an unknown criterion must raise a ValueError"
assert is_rejected(confidence, rows * float("nan")), "NaN must raise a ValueError"
passed("confidence")

# %% [markdown]
# ### Explore: only the samples between the green lines are hard
#
# The lecture's picture. Two classes of points, and a simple classifier whose border is the black
# line. The *green lines* are where its confidence equals the threshold. Outside of them it is sure:
# those points may leave. Only the points between the lines need more layers.
#
# Move the threshold. Which points are wrong, and where do they lie?

# %% [markdown] lang="zh-TW"
# ### 探索：只有綠線之間的樣本才困難
#
# 這是課程裡的圖。有兩個類別的點，以及一個簡單的分類器，
# 黑線是它的分類邊界。*綠線*是信心度等於門檻的位置。綠線之外它有把握：那些點可以離開。
# 只有綠線之間的點需要更多層。
#
# 移動門檻看看。哪些點分錯了？它們在哪裡？

# %%
cloud = torch.Generator().manual_seed(0)
dots = torch.randn(300, 2, generator=cloud)
dot_classes = torch.arange(300) % 2
dots[:, 0] += 2.6 * dot_classes - 1.3
dots[:, 1] += 1.0 * dot_classes - 0.5
across = torch.tensor([2.0, 0.8])


def plot_green_lines(ax: plt.Axes, threshold: float, criterion: str) -> None:
    """Draw the points, the border, and the lines where your confidence equals the threshold."""
    grid_x, grid_y = torch.meshgrid(
        torch.linspace(-4.5, 4.5, 181), torch.linspace(-4, 4, 161), indexing="xy"
    )

    def sure(places: torch.Tensor) -> torch.Tensor:
        score = places @ across
        return confidence(torch.stack([-score / 2, score / 2], dim=1), criterion)

    ground = sure(torch.stack([grid_x.flatten(), grid_y.flatten()], dim=1)).reshape(grid_x.shape)
    inside = sure(dots) < threshold
    wrong = (dots @ across > 0) != (dot_classes == 1)
    for label in (0, 1):
        mine = dot_classes == label
        ax.plot(*dots[mine].T, "os"[label], ms=4, alpha=0.6, label=f"class {label}")
    ax.plot(*dots[wrong].T, "kx", ms=7, mew=1.2, label="wrong")
    ax.contour(grid_x, grid_y, ground, levels=[threshold], colors="#009E73", linewidths=2)
    ax.axline((0, 0), slope=float(-across[0] / across[1]), color="k", lw=1)
    ax.set(xlim=(-4.5, 4.5), ylim=(-4, 4))
    share, caught = float(inside.float().mean()), float((wrong & inside).sum() / wrong.sum())
    ax.set_title(f"{share:.0%} of the points are hard, and {caught:.0%} of the mistakes")
    ax.legend(loc="upper left", fontsize=8)


explorer(plot_green_lines, threshold=(0.05, 0.99, 0.01, 0.8), criterion=["top1", "entropy"])

# %% [markdown]
# ## Part B: a network with early exits
#
# All exits are trained **jointly** (聯合訓練). Each exit has its own cross-entropy, and the loss is
# their weighted sum:
#
# $$L = \sum_i w_i \cdot \mathrm{CE}(\mathrm{logits}_i,\ \mathrm{labels})$$
#
# ### Exercise: `early_exit_loss` · ★☆☆☆ · 5 minutes · 3 points
#
# Write `early_exit_loss(all_logits, labels, weights)`.
#
# - `all_logits`: a list with the logits (N, C) of every exit, the first exit first.
# - `weights`: one number for each exit.
# - The cross-entropy is the mean over the batch. The sum is *not* divided by the sum of the
#   weights.
# - Gradients flow into the logits of every exit.
#
# `ValueError` if there are not as many weights as exits, or no exits at all.
#
# <details><summary>Hint 1</summary>
#
# `zip` pairs logits and weights. But it stops at the shorter list without a word: compare the
# lengths first, or use `zip(..., strict=True)`, which raises a ValueError by itself.
#
# </details>

# %% [markdown] lang="zh-TW"
# ## B 部分：有早退點的網路
#
# 所有出口**一起**訓練，稱為聯合訓練 (joint training)。每個出口有自己的交叉熵 (cross-entropy)，loss
# 是它們的加權總和：
#
# $$L = \sum_i w_i \cdot \mathrm{CE}(\mathrm{logits}_i,\ \mathrm{labels})$$
#
# ### 練習：`early_exit_loss` · ★☆☆☆ · 5 分鐘 · 3 分
#
# 寫出 `early_exit_loss(all_logits, labels, weights)`。
#
# - `all_logits`：一個 list，依序是每個出口的 logits (N, C)，第一個出口在最前面。
# - `weights`：每個出口一個數字。
# - 交叉熵取整個批次的平均。總和*不*除以權重的總和。
# - 梯度要能流回每個出口的 logits。
#
# 權重與出口的數目不同，或完全沒有出口時，引發 `ValueError`。
#
# <details><summary>提示 1</summary>
#
# `zip` 可以把 logits 與權重配對。但它到較短的 list 就會默默停下來：先比較長度，或使用
# `zip(..., strict=True)`，它自己就會引發 ValueError。
#
# </details>


# %% exercise="early_exit_loss" difficulty=1 minutes=5
def early_exit_loss(
    all_logits: list[torch.Tensor], labels: torch.Tensor, weights: list[float]
) -> torch.Tensor:
    """Return the weighted sum of the exits' cross-entropies.

    Args:
        all_logits: The logits (N, C) of every exit.
        labels: (N,), int64.
        weights: One for each exit.

    Returns:
        A scalar: the sum over exits of weight times cross-entropy, which is a mean over the batch.

    Raises:
        ValueError: If there are no exits, or not as many weights as exits.

    Source:
        Teerapittayanon et al. 2016, BranchyNet, section III-B.
    """
    # TODO: the weighted sum
    ### BEGIN SOLUTION
    require(len(all_logits) > 0, "all_logits must hold the logits of at least one exit")
    require(
        len(all_logits) == len(weights),
        f"weights: expected {len(all_logits)}, one for each exit, got {len(weights)}",
    )
    pairs = zip(all_logits, weights, strict=True)
    return sum(weight * F.cross_entropy(logits, labels) for logits, weight in pairs)
    ### END SOLUTION


# %% check="early_exit_loss" points=3
torch.manual_seed(0)
exit_logits = [torch.randn(5, 4, requires_grad=True) for _ in range(3)]
classes = torch.tensor([0, 3, 1, 1, 2])
parts = [F.cross_entropy(logits, classes).item() for logits in exit_logits]
got = early_exit_loss(exit_logits, classes, [1.0, 0.5, 0.25])
assert isinstance(got, torch.Tensor), f"expected a tensor, got {type(got).__name__}"
assert got.numel() == 1, f"expected one number, got the shape {tuple(got.shape)}"
wanted = parts[0] + 0.5 * parts[1] + 0.25 * parts[2]
assert abs(got.item() - wanted / 1.75) > 1e-4, "the sum is not divided by the sum of the weights"
assert abs(got.item() - wanted) < 1e-4, (
    f"expected {wanted:.4f} (weights 1, 0.5, 0.25), got {got.item():.4f}; the cross-entropies are "
    f"{[round(part, 4) for part in parts]}, in the order of the exits"
)
got.backward()
assert all(logits.grad is not None and logits.grad.any() for logits in exit_logits), (
    "a gradient must reach the logits of every exit"
)
assert is_rejected(early_exit_loss, exit_logits, classes, [1.0, 0.5]), (
    "two weights for three exits must raise a ValueError"
)
assert is_rejected(early_exit_loss, exit_logits[:2], classes, [1.0, 0.5, 0.2]), (
    "three weights for two exits must raise a ValueError"
)
passed("early_exit_loss")

# %% [markdown]
# ### Exercise: `EarlyExitNet` · ★★★☆ · 30 minutes · 8 points
#
# Write `class EarlyExitNet(blocks, exits)`, an `nn.Module`. `blocks` and `exits` are lists of
# modules of the same length. Block 0 takes the images. Every other block takes the output of the
# block before. Exit `i` turns the output of block `i` into logits (N, C).
#
# The heart is `forward_until_confident(x, threshold, criterion) -> (logits, exit_index)`:
#
# - A sample **leaves at the first exit whose confidence is `>= threshold`**. Use your `confidence`
#   with `criterion`.
# - The **last exit always answers**, however unsure it is.
# - Each sample decides **for itself**, whatever the others in the batch do.
# - A sample that has left **costs nothing more**: later blocks and exits are not computed for it.
#   If all have left, nothing later is computed.
# - `logits` (N, C) and `exit_index` (N,), int64, are in the **order of the samples** in `x`. Exits
#   count from 0.
# - The threshold may be any number. At 0 everybody leaves at exit 0. Above 1 nobody leaves early.
#
# The parameters of all blocks and exits must show up in `.parameters()`. (For this, lists of
# modules need `nn.ModuleList`.) `ValueError` if there are no blocks, or not as many exits as
# blocks. What `forward(x)` does is up to you; a list with the logits of every exit is useful.
#
# <details><summary>Hint 1: the bookkeeping</summary>
#
# Keep two things as you go through the blocks: `x`, the features of the samples that are still
# here, and `waiting`, their places in the original batch. At the start `waiting` is
# `torch.arange(len(x))`.
#
# <details><summary>Hint 2: one step</summary>
#
# `x = block(x)`, `answers = exit(x)`, `sure = confidence(answers, criterion) >= threshold`. At the
# last exit all are done. Write `answers[sure]` to the places `waiting[sure]`, then keep only
# `x[~sure]` and `waiting[~sure]`.
#
# <details><summary>Hint 3: where to write</summary>
#
# Make `logits = answers.new_empty(N, C)` at the first exit, when you know C. Every place is written
# exactly once.
#
# </details></details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`EarlyExitNet` · ★★★☆ · 30 分鐘 · 8 分
#
# 寫出 `class EarlyExitNet(blocks, exits)`，它是一個 `nn.Module`。`blocks` 與 `exits`
# 是長度相同的模組 list。區塊 0 接收影像，其他每個區塊接收前一個區塊的輸出。出口 `i` 把區塊 `i`
# 的輸出轉成 logits (N, C)。
#
# 核心是 `forward_until_confident(x, threshold, criterion) -> (logits, exit_index)`：
#
# - 樣本**從第一個信心度 `>= threshold` 的出口離開**。使用你寫的 `confidence` 與 `criterion`。
# - **最後的出口一定回答**，不論它多沒把握。
# - 每個樣本**各自**決定，不受同批次其他樣本影響。
# - 已離開的樣本**不再花費任何運算**：之後的區塊與出口都不為它計算。全部都離開後，後面的就都不計算。
# - `logits` (N, C) 與 int64 的 `exit_index` (N,)，都依照 `x` 中**樣本的順序**。出口從 0 開始編號。
# - 門檻可以是任何數字。門檻為 0 時，全部都從出口 0 離開。大於 1 時，沒有樣本提前離開。
#
# 所有區塊與出口的參數都要出現在 `.parameters()` 中。（因此模組的 list 需要
# `nn.ModuleList`。）沒有區塊，或出口與區塊的數目不同時，引發 `ValueError`。`forward(x)`
# 要做什麼由你決定；回傳每個出口的 logits 組成的 list 會很有用。
#
# <details><summary>提示 1：記錄哪些東西</summary>
#
# 依序通過各區塊時，保留兩樣東西：`x` 是還留著的樣本的特徵，`waiting` 是它們在原本批次中的位置。
# 一開始 `waiting` 是 `torch.arange(len(x))`。
#
# <details><summary>提示 2：一個步驟</summary>
#
# `x = block(x)`、`answers = exit(x)`、`sure = confidence(answers, criterion) >= threshold`。
# 到了最後的出口，所有樣本都算完成。把 `answers[sure]` 寫入位置 `waiting[sure]`，然後只保留
# `x[~sure]` 與 `waiting[~sure]`。
#
# <details><summary>提示 3：寫到哪裡</summary>
#
# 在第一個出口得知 C 之後，建立 `logits = answers.new_empty(N, C)`。每個位置恰好寫入一次。
#
# </details></details></details>


# %% exercise="EarlyExitNet" difficulty=3 minutes=30
class EarlyExitNet(nn.Module):
    """A network with an exit after every block.

    Args:
        blocks: Modules in a chain; the first one takes the input.
        exits: As many; exit i turns the output of block i into logits (N, C).

    Raises:
        ValueError: If there are no blocks, or not as many exits as blocks.

    Source:
        Teerapittayanon et al. 2016, BranchyNet.
    """

    # TODO: __init__ and forward_until_confident
    ### BEGIN SOLUTION
    def __init__(self, blocks: list[nn.Module], exits: list[nn.Module]) -> None:
        super().__init__()
        require(len(blocks) > 0, "blocks must hold at least one module")
        require(
            len(blocks) == len(exits),
            f"exits: expected {len(blocks)}, one for each block, got {len(exits)}",
        )
        self.blocks, self.exits = nn.ModuleList(blocks), nn.ModuleList(exits)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the logits (N, C) of every exit."""
        all_logits = []
        for block, exit_head in zip(self.blocks, self.exits, strict=True):
            x = block(x)
            all_logits.append(exit_head(x))
        return all_logits

    @torch.no_grad()
    def forward_until_confident(
        self, x: torch.Tensor, threshold: float, criterion: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (N, C) and the index of the exit (N,) of every sample."""
        waiting = torch.arange(len(x))
        logits, exit_index = torch.empty(0), torch.zeros(len(x), dtype=torch.int64)
        for index, (block, exit_head) in enumerate(zip(self.blocks, self.exits, strict=True)):
            x = block(x)
            answers = exit_head(x)
            if index == 0:
                logits = torch.empty_like(answers)
            leaves = confidence(answers, criterion) >= threshold
            if index == len(self.blocks) - 1:
                leaves = torch.ones_like(leaves)
            logits[waiting[leaves]], exit_index[waiting[leaves]] = answers[leaves], index
            if leaves.all():
                break
            x, waiting = x[~leaves], waiting[~leaves]
        return logits, exit_index

    ### END SOLUTION


# %% check="EarlyExitNet" points=8
# Two classes; the samples pass the blocks unchanged, and the exits double their logits.
samples = torch.tensor([[0.1, 0.0], [3.0, 0.0], [0.0, 0.8], [0.3, 0.0], [0.0, 9.0], [0.0, 0.35]])
heads = [nn.Linear(2, 2, bias=False) for _ in range(3)]
with torch.no_grad():
    for factor, head in enumerate(heads, 1):
        head.weight.copy_(2**factor * torch.eye(2))
counted_blocks, counted_exits = counted([nn.Identity() for _ in heads]), counted(heads)
net = EarlyExitNet(counted_blocks, counted_exits)
held = list(net.parameters())
assert all(any(torch.equal(p, head.weight) for p in held) for head in heads), (
    "the exits' parameters are not in net.parameters(): put modules into nn.ModuleList"
)
got = net.forward_until_confident(samples, 0.8, "top1")
assert isinstance(got, tuple), "expected a tuple (logits, exit_index)"
answers, exit_index = got
assert exit_index.shape == (6,), f"expected one exit for each sample, got {exit_index.shape}"
assert exit_index.dtype == torch.int64, f"exit_index: expected int64, got {exit_index.dtype}"
assert exit_index.tolist() == [2, 0, 0, 2, 0, 1], (
    f"expected the samples to leave at [2, 0, 0, 2, 0, 1], got {exit_index.tolist()}; each sample "
    "leaves at its first exit with confidence >= threshold, counted from 0, whatever the others do"
)
wanted = samples * 2.0 ** (exit_index[:, None] + 1)
assert answers.shape == (6, 2), f"expected logits of shape (6, 2), got {tuple(answers.shape)}"
assert torch.allclose(answers, wanted), (
    "the logits must be those of the exit that the sample took, in the order of the samples"
)
for name, modules in (("block", counted_blocks), ("exit", counted_exits)):
    computed = [sum(module.batches) for module in modules]
    assert computed == [6, 3, 2], (
        f"{name}s 0, 1, 2 must compute 6, 3 and 2 samples, but computed {computed}: a sample that "
        "has left costs nothing more"
    )
everyone = net.forward_until_confident(samples, 0.0, "top1")[1]
assert everyone.tolist() == [0] * 6, f"threshold 0: expected all at exit 0, got {everyone}"
nobody = net.forward_until_confident(samples, 1.01, "top1")[1]
assert nobody.tolist() == [2] * 6, f"threshold above 1: expected all at exit 2, got {nobody}"
equal = net.forward_until_confident(torch.zeros(1, 2), 0.5, "top1")[1]
assert equal.tolist() == [0], "a confidence of exactly the threshold leaves: >=, not >"
by_entropy = net.forward_until_confident(samples, 0.7, "entropy")[1]
assert by_entropy.tolist() == [2, 0, 1, 2, 0, 2], (
    f"entropy, threshold 0.7: expected [2, 0, 1, 2, 0, 2], got {by_entropy.tolist()}"
)
assert is_rejected(EarlyExitNet, [nn.Identity()], heads), "1 block, 3 exits: ValueError"
passed("EarlyExitNet")

# %% [markdown]
# ### Measured: a LeNet with three exits, trained jointly
#
# We take the course's LeNet and cut it into three blocks. The last exit is LeNet's own last layer.
# The others are new: one pooling and one linear layer. As in BranchyNet, training starts from the
# trained network. The new heads get a larger learning rate than the old layers.
#
# Your `early_exit_loss` is the loss, with weights 1, 0.5 and 1.

# %% [markdown] lang="zh-TW"
# ### 實測：有三個出口的 LeNet，聯合訓練
#
# 我們把課程的 LeNet 切成三個區塊。最後的出口就是 LeNet 自己的最後一層。其他出口是新的：
# 一個池化層加一個全連接層。和 BranchyNet 一樣，訓練從已訓練好的網路開始。
# 新的出口使用比舊的層更大的學習率。
#
# loss 用你寫的 `early_exit_loss`，權重為 1、0.5、1。


# %%
class EveryExit(nn.Module):
    """Runs all blocks and returns the logits of every exit: for training."""

    def __init__(self, blocks: nn.ModuleList, exits: nn.ModuleList) -> None:
        super().__init__()
        self.blocks, self.exits = blocks, exits

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the logits (N, 10) of every exit."""
        x = x.to(memory_format=torch.channels_last)  # conv and pooling are faster this way
        all_logits = []
        for block, exit_head in zip(self.blocks, self.exits, strict=True):
            x = block(x)
            all_logits.append(exit_head(x))
        return all_logits


lenet = load_checkpoint("lenet")
blocks = nn.ModuleList(
    [
        nn.Sequential(lenet.conv1, nn.ReLU(), nn.MaxPool2d(2)),  # (N, 20, 12, 12)
        nn.Sequential(lenet.conv2, nn.ReLU(), nn.MaxPool2d(2)),  # (N, 50, 4, 4)
        nn.Sequential(nn.Flatten(), lenet.fc1, nn.ReLU()),  # (N, 500)
    ]
)
exits = nn.ModuleList(
    [
        nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(20 * 36, 10)),
        nn.Sequential(nn.Flatten(), nn.Linear(50 * 16, 10)),
        lenet.fc2,
    ]
)
every_exit = EveryExit(blocks, exits).to(memory_format=torch.channels_last)
plain = copy.deepcopy(lenet)  # LeNet without exits, for comparison
optimizer = torch.optim.Adam(
    [
        {"params": [*blocks.parameters(), *exits[2].parameters()], "lr": 3e-4},
        {"params": exits[:2].parameters(), "lr": 1e-2},
    ]
)
train(
    every_exit,
    make_loader(images, labels, batch_size=128, shuffle=True),
    epochs=1,
    optimizer=optimizer,
    loss_function=lambda logits, classes: early_exit_loss(logits, classes, [1.0, 0.5, 1.0]),
)


def logits_of_exits(pictures: torch.Tensor) -> list[torch.Tensor]:
    """Return the logits (N, 10) of the three exits."""
    with torch.no_grad():
        batches = [every_exit(batch) for batch in pictures.split(500)]
    return [torch.cat(parts) for parts in zip(*batches, strict=True)]


held_out_logits, test_logits = logits_of_exits(held_out_images), logits_of_exits(test_images)
for number, logits in enumerate(test_logits):
    hits = (logits.argmax(1) == test_labels).float().mean()
    print(f"exit {number}: {hits:.1%} of all test images right, if everybody left here")

# %% [markdown]
# The first exit sees one conv layer and is already right about most images. The table above is
# about *all* images. But only the images it is *sure* about will leave there.

# %% [markdown] lang="zh-TW"
# 第一個出口只看過一個卷積層的結果，就已經答對大部分的影像。上表統計的是*所有*影像。但實際上，
# 只有它*有把握*的影像才會從那裡離開。

# %%
_, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
sure = confidence(test_logits[0], "top1")
hits = test_logits[0].argmax(1) == test_labels
bins = np.linspace(0, 1, 21)
left.hist([sure[hits], sure[~hits]], bins, stacked=True, label=["right", "wrong"])
left.set(xlabel="top-1 confidence at exit 0", ylabel="test images", title="how sure is exit 0?")
left.legend()
order = sure.argsort(descending=True)
running = hits[order].double().cumsum(0) / torch.arange(1, len(order) + 1)
share = torch.arange(1, len(order) + 1) / len(order)
right.plot(share[20:], running[20:])
right.axhline(float((test_logits[2].argmax(1) == test_labels).float().mean()), color="C1", ls="--")
right.text(0.02, 0.915, "last exit, all images", color="C1")
right.set(xlabel="share of images that leave, surest first", ylabel="accuracy of those who left")
right.set_title("the surest images are right")
plt.show()

# %% [markdown]
# ## Part C: what does it save?
#
# ### Exercise: `expected_macs` · ★☆☆☆ · 10 minutes · 3 points
#
# Write `expected_macs(exit_counts, macs_per_block)`: the **mean** number of multiply-accumulate
# operations (MACs, 乘加運算) of one sample.
#
# - `exit_counts[i]`: how many samples left at exit `i`.
# - `macs_per_block[i]`: the MACs of block `i` **and its exit head**, for one sample. These are
#   *not* cumulated: your function does that. Who leaves at exit 2 has paid for blocks 0, 1 and 2.
# - Both are sequences of numbers of the same length: lists, or 1-D tensors.
#
# `ValueError` if the lengths differ, a count is negative, or no sample left at all.
#
# *Example.* Counts [3, 1], MACs [100, 400]: three samples paid 100, one paid 500. The mean is 200.
#
# <details><summary>Hint 1</summary>
#
# `torch.as_tensor(x, dtype=torch.float64)` accepts lists and tensors. `cumsum(0)` cumulates.
#
# </details>

# %% [markdown] lang="zh-TW"
# ## C 部分：節省了多少？
#
# ### 練習：`expected_macs` · ★☆☆☆ · 10 分鐘 · 3 分
#
# 寫出 `expected_macs(exit_counts, macs_per_block)`：一個樣本**平均**的乘加運算 (multiply-accumulate
# operations, MACs) 次數。
#
# - `exit_counts[i]`：有多少樣本從出口 `i` 離開。
# - `macs_per_block[i]`：一個樣本在區塊 `i` **及其出口**的 MACs。這些數字*尚未*累計：
#   累計由你的函式負責。從出口 2 離開的樣本，要付出區塊 0、1、2 的成本。
# - 兩者都是長度相同的數列：list 或一維張量。
#
# 長度不同、有負的數目，或完全沒有樣本離開時，引發 `ValueError`。
#
# *範例。* 數目為 [3, 1]，MACs 為 [100, 400]：三個樣本各花 100，一個花 500。平均是 200。
#
# <details><summary>提示 1</summary>
#
# `torch.as_tensor(x, dtype=torch.float64)` 接受 list 與張量。`cumsum(0)` 做累計。
#
# </details>


# %% exercise="expected_macs" difficulty=1 minutes=10
def expected_macs(exit_counts: list[int], macs_per_block: list[float]) -> float:
    """Return the mean multiply-accumulate operations of one sample.

    Args:
        exit_counts: How many samples left at each exit; a list or a 1-D tensor.
        macs_per_block: MACs of each block with its exit head, for one sample; not cumulated.

    Returns:
        The mean over the samples, in MACs.

    Raises:
        ValueError: If the lengths differ, a count is negative, or there are no samples.
    """
    # TODO: who leaves at exit i has paid for the blocks 0 to i
    ### BEGIN SOLUTION
    counts = torch.as_tensor(exit_counts, dtype=torch.float64)
    costs = torch.as_tensor(macs_per_block, dtype=torch.float64).cumsum(0)
    require(
        counts.shape == costs.shape,
        f"exit_counts and macs_per_block differ in length: {len(counts)} and {len(costs)}",
    )
    require(bool((counts >= 0).all()), "exit_counts must not be negative")
    require(counts.sum() > 0, "exit_counts must hold at least one sample")
    return float((counts * costs).sum() / counts.sum())
    ### END SOLUTION


# %% check="expected_macs" points=3
got = expected_macs([3, 1], [100, 400])
assert abs(float(got) - 175) > 1e-6, "MACs must be cumulated: exit 1 costs 100 + 400"
assert abs(float(got) - 800) > 1e-6, "expected the mean over the samples, not the sum"
assert abs(float(got) - 200) < 1e-6, f"expected 200 (3 samples paid 100, 1 paid 500), got {got}"
got = float(expected_macs([0, 0, 7], [1, 20, 300]))
assert abs(got - 321) < 1e-6, f"all leave at the last exit: expected 321, got {got}"
got = float(expected_macs(torch.tensor([5, 3, 2]), torch.tensor([10, 20, 40])))
assert abs(got - 28) < 1e-4, f"counts 5, 3, 2 with MACs 10, 20, 40: expected 28, got {got}"
for counts, macs in (([1, 2], [5]), ([0, 0], [5, 5]), ([3, -1], [5, 5])):
    assert is_rejected(expected_macs, counts, macs), f"counts {counts}, MACs {macs}: ValueError"
passed("expected_macs")

# %% [markdown]
# ### Exercise: `choose_threshold` · ★★☆☆ · 15 minutes · 4 points
#
# Which threshold should an exit have? A lower one lets more samples leave, and saves more. But it
# must not let too many wrong answers out.
#
# Write `choose_threshold(confidences, correct, target_accuracy)` for one exit:
#
# - `confidences` (N,): how sure the exit is of each held-out sample;
# - `correct` (N,), bool: whether its answer is right.
#
# It returns the **smallest** threshold at which the accuracy **of the samples that leave** (those
# with `confidence >= threshold`) is at least `target_accuracy`. It is enough to look at the
# confidences that occur: between two of them nobody else leaves.
#
# Two traps. The accuracy does *not* always fall when the threshold falls: look at **all**
# candidates. And samples with **equal** confidence leave together.
#
# `ValueError` when no threshold reaches the target (letting nobody leave does not count), for a
# target outside [0, 1], for different lengths, for no samples, and for NaN.
#
# *Example.* Confidences [0.9, 0.8, 0.6, 0.4], correct [yes, no, yes, yes]. Leaving at 0.9: 1 of 1.
# At 0.8: 1 of 2. At 0.6: 2 of 3. At 0.4: 3 of 4. For the target 0.75 the answer is 0.4.
#
# <details><summary>Hint 1</summary>
#
# `for threshold in confidences.unique()` goes through the candidates, smallest first.
#
# <details><summary>Hint 2</summary>
#
# `leaves = confidences >= threshold`; their accuracy is `correct[leaves].double().mean()`.
# The first candidate that reaches the target is the answer.
#
# </details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`choose_threshold` · ★★☆☆ · 15 分鐘 · 4 分
#
# 出口的門檻該設多少？門檻較低，離開的樣本較多，也節省較多。但不能放出太多錯誤的答案。
#
# 為一個出口寫出 `choose_threshold(confidences, correct, target_accuracy)`：
#
# - `confidences` (N,)：出口對每個驗證樣本有多少把握；
# - `correct` (N,)，bool：答案是否正確。
#
# 它回傳**最小**的門檻，使得**離開的樣本**（也就是 `confidence >= threshold` 者）的準確率至少為
# `target_accuracy`。只要檢查實際出現過的信心度就夠了：在相鄰兩個值之間，不會有別的樣本離開。
#
# 有兩個陷阱。門檻下降時，準確率*不一定*跟著下降：要檢查**所有**候選值。
# 而信心度**相同**的樣本會一起離開。
#
# 沒有門檻能達到目標時（沒有任何樣本離開不算達到）、目標不在 [0, 1] 內、長度不同、沒有樣本，或含有
# NaN 時，引發 `ValueError`。
#
# *範例。* 信心度為 [0.9, 0.8, 0.6, 0.4]，是否正確為 [是, 否, 是, 是]。門檻 0.9：離開 1 個，對 1
# 個。門檻 0.8：離開 2 個，對 1 個。門檻 0.6：離開 3 個，對 2 個。門檻 0.4：離開 4 個，對 3
# 個。目標為 0.75 時，答案是 0.4。
#
# <details><summary>提示 1</summary>
#
# `for threshold in confidences.unique()` 會由小到大逐一檢視候選值。
#
# <details><summary>提示 2</summary>
#
# `leaves = confidences >= threshold`；它們的準確率是 `correct[leaves].double().mean()`。
# 第一個達到目標的候選值就是答案。
#
# </details></details>


# %% exercise="choose_threshold" difficulty=2 minutes=15
def choose_threshold(
    confidences: torch.Tensor, correct: torch.Tensor, target_accuracy: float
) -> float:
    """Return the smallest threshold at which the samples that leave are accurate enough.

    Args:
        confidences: (N,), in [0, 1].
        correct: (N,), bool.
        target_accuracy: In [0, 1].

    Returns:
        The threshold. Samples with confidence >= threshold leave.

    Raises:
        ValueError: If no threshold reaches the target, the target is outside [0, 1], the lengths
            differ, there are no samples, or confidences holds NaN.
    """
    # TODO: try the confidences that occur
    ### BEGIN SOLUTION
    require(0 <= target_accuracy <= 1, f"target_accuracy must lie in [0, 1]: {target_accuracy}")
    require(len(confidences) > 0, "confidences must hold at least one sample")
    require(
        confidences.shape == correct.shape,
        f"correct must have the shape of confidences, {tuple(confidences.shape)}",
    )
    require(not confidences.isnan().any(), "confidences must not hold NaN")
    for threshold in confidences.unique():  # ascending
        if correct[confidences >= threshold].double().mean() >= target_accuracy:
            return float(threshold)
    raise ValueError(f"target_accuracy {target_accuracy} is reached by no threshold")
    ### END SOLUTION


# %% check="choose_threshold" points=4
yes, no = True, False
sure = torch.tensor([0.6, 0.9, 0.4, 0.8])
right = torch.tensor([yes, yes, yes, no])
for target, low, high in ((0.75, -1.0, 0.4), (1.0, 0.8, 0.9), (0.5, -1.0, 0.4)):
    got = float(choose_threshold(sure, right, target))
    assert low + 1e-6 < got <= high + 1e-6, (
        f"confidences {sure.tolist()}, correct {right.tolist()}, target {target}: expected "
        f"{high}, got {got:.3f}; try every confidence that occurs, and take the smallest"
    )
tied = torch.tensor([0.9, 0.5, 0.5])
for right in (torch.tensor([yes, yes, no]), torch.tensor([yes, no, yes])):
    got = float(choose_threshold(tied, right, 1.0))
    assert 0.5 + 1e-6 < got <= 0.9 + 1e-6, (
        f"confidences [0.9, 0.5, 0.5], one of the last two wrong, target 1: expected 0.9, got "
        f"{got:.3f}; samples with equal confidence leave together"
    )
assert is_rejected(choose_threshold, sure, torch.tensor([no, no, no, no]), 0.5), (
    "no threshold reaches the target: ValueError"
)
assert is_rejected(choose_threshold, tied, right, 1.2), "target_accuracy=1.2: ValueError"
assert is_rejected(choose_threshold, tied, right[:2], 0.5), "different lengths: ValueError"
passed("choose_threshold")

# %% [markdown]
# ### Measured: accuracy, MACs and time against the threshold
#
# First the costs on paper. Conv2 is by far the most expensive layer of LeNet. So an exit *before*
# it saves most.

# %% [markdown] lang="zh-TW"
# ### 實測：準確率、MACs 與時間隨門檻的變化
#
# 先看帳面上的成本。Conv2 的運算量遠高於 LeNet 的其他層。所以放在它*之前*的出口省得最多。

# %%
block_macs, head_macs, shape = [], [], (1, 1, 28, 28)
for block, exit_head in zip(blocks, exits, strict=True):
    block_macs.append(count_macs(block, shape))
    shape = tuple(block(torch.zeros(shape)).shape)
    head_macs.append(count_macs(exit_head, shape))
costs = [block + head for block, head in zip(block_macs, head_macs, strict=True)]
plain_macs = count_macs(plain)
for number, cost in enumerate(costs):
    paid = sum(costs[: number + 1])
    print(f"block and exit {number}: {cost:>9,} MACs   leaving here costs {paid:>9,}")
print(f"LeNet without exits: {plain_macs:>9,}")
print(f"nobody leaves early: {sum(costs) / plain_macs:.3f} times as much as without exits")

# %% [markdown]
# Now move the threshold. The bars show where the test images leave. The title shows what that
# costs and how accurate it is.

# %% [markdown] lang="zh-TW"
# 現在移動門檻。長條顯示測試影像從哪裡離開。標題顯示付出多少運算、準確率是多少。


# %%
def leave_at(all_logits: list[torch.Tensor], threshold: float, criterion: str) -> torch.Tensor:
    """Return the exit of each sample, from logits that are known already."""
    exit_index = torch.full((len(all_logits[0]),), len(all_logits) - 1)
    for number in reversed(range(len(all_logits) - 1)):
        exit_index[confidence(all_logits[number], criterion) >= threshold] = number
    return exit_index


def accuracy_at(all_logits: list[torch.Tensor], exit_index: torch.Tensor) -> float:
    """Return the accuracy on the test images when each leaves at its exit."""
    answers = torch.stack(all_logits)[exit_index, torch.arange(len(exit_index))].argmax(1)
    return float((answers == test_labels).float().mean())


def plot_exits(ax: plt.Axes, threshold: float, criterion: str) -> None:
    """Draw where the test images leave, and what that costs."""
    exit_index = leave_at(test_logits, threshold, criterion)
    counts = torch.bincount(exit_index, minlength=3)
    ax.bar(["exit 0", "exit 1", "exit 2"], counts / len(exit_index), color=["C2", "C0", "C1"])
    for number, count in enumerate(counts.tolist()):
        mine = exit_index == number
        if count:
            hits = test_logits[number].argmax(1)[mine] == test_labels[mine]
            text = f"{count / len(exit_index):.0%}\n{hits.float().mean():.1%} right"
            ax.text(number, count / len(exit_index), text, ha="center", va="bottom")
    macs = expected_macs(counts.tolist(), costs)
    score = accuracy_at(test_logits, exit_index)
    ax.set_title(f"accuracy {score:.1%}, {macs / 1e6:.2f} M MACs: {plain_macs / macs:.2f}x fewer")
    ax.set(ylim=(0, 1.15), ylabel="share of the test images")


explorer(plot_exits, threshold=(0.1, 1.0, 0.01, 0.9), criterion=["top1", "entropy"])

# %% [markdown]
# The next cell measures **time** as well, with the course's honest meter, against plain LeNet.
# Three ways:
#
# - images that come **one at a time**, in your `EarlyExitNet`;
# - one at a time with a **plain `if`**, the leanest code there is: for one image no bookkeeping is
#   needed;
# - a **batch** of 128 in your `EarlyExitNet`.

# %% [markdown] lang="zh-TW"
# 下一個儲存格也用課程的可靠計時工具測量**時間**，並與原本的 LeNet 比較。共有三種方式：
#
# - 影像**一次一張**，使用你的 `EarlyExitNet`；
# - 一次一張，只用**單純的 `if`**，這是最精簡的程式：只有一張影像時，不需要任何記錄；
# - 以 128 張為一個**批次**，使用你的 `EarlyExitNet`。


# %%
def answer_one(
    image: torch.Tensor, threshold: float, blocks: nn.ModuleList, exits: nn.ModuleList
) -> torch.Tensor:
    """Return the logits of one image, with a plain `if` after every block."""
    last = len(blocks) - 1
    for number, (block, exit_head) in enumerate(zip(blocks, exits, strict=True)):
        image = block(image)
        logits = exit_head(image)
        if number == last or float(logits.softmax(1).amax()) >= threshold:
            break
    return logits


net = EarlyExitNet(list(blocks), list(exits)).eval()
plain = plain.eval().to(memory_format=torch.channels_last)
# 16 images that represent all: evenly spaced from the surest to the least sure.
ranked = confidence(test_logits[0], "top1").argsort()
places = ranked[len(ranked) // 32 :: len(ranked) // 16].tolist()
singles = [test_images[place : place + 1] for place in places]
batch = test_images[:128]
with torch.inference_mode():
    plain_hits = float(
        (torch.cat([plain(part) for part in test_images.split(500)]).argmax(1) == test_labels)
        .float()
        .mean()
    )
table = {}
print("                                       ------------ time: times faster ------------")
print("top-1 >=   at exit 0   accuracy   MACs fewer   one at a time   plain if   batch of 128")
print(f"no exits       -        {plain_hits:.1%}      1.00x")
for threshold in (0.5, 0.7, 0.9, 0.95, 1.01):
    exit_index = leave_at(test_logits, threshold, "top1")
    counts = torch.bincount(exit_index, minlength=3).tolist()
    saving = plain_macs / expected_macs(counts, costs)

    def run_singles(level: float = threshold) -> None:
        """Answer the images one by one."""
        for image in singles:
            net.forward_until_confident(image, level, "top1")

    def run_plain_if(level: float = threshold) -> None:
        """Answer the images one by one, without bookkeeping."""
        for image in singles:
            answer_one(image, level, blocks, exits)

    def run_batch(level: float = threshold) -> None:
        """Answer the whole batch."""
        net.forward_until_confident(batch, level, "top1")

    def run_without() -> None:
        """Answer the images one by one, in LeNet without exits."""
        for image in singles:
            plain(image)

    with torch.inference_mode():
        ratios = [
            compare_speed(run_without, run_singles, seconds=0.3).ratio,
            compare_speed(run_without, run_plain_if, seconds=0.3).ratio,
            compare_speed(lambda: plain(batch), run_batch, seconds=0.3).ratio,
        ]
    table[threshold] = (accuracy_at(test_logits, exit_index), saving, *ratios)
    print(
        f"{threshold:7.2f}      {counts[0] / len(exit_index):5.0%}      {table[threshold][0]:.1%}"
        f"      {saving:.2f}x          {ratios[0]:.2f}x         {ratios[1]:.2f}x        "
        f"{ratios[2]:.2f}x"
    )

# %%
_, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
for criterion, marker in (("top1", "o-"), ("entropy", "s--")):
    grid = np.linspace(0.05, 1, 39)
    choices = [leave_at(test_logits, level, criterion) for level in grid]
    macs = [expected_macs(torch.bincount(c, minlength=3).tolist(), costs) for c in choices]
    scores = [accuracy_at(test_logits, choice) for choice in choices]
    left.plot(np.array(macs) / 1e6, scores, marker, ms=3, lw=1, label=criterion)
left.plot(plain_macs / 1e6, plain_hits, "k*", ms=11, label="LeNet, no exits")
left.set(xlabel="mean MACs (millions)", ylabel="accuracy", title="each point is one threshold")
left.legend()
names = {
    1: "MACs, on paper",
    2: "time, one at a time",
    3: "time, one at a time, plain if",
    4: "time, batch of 128",
}
for column, name in names.items():
    levels = [f"{level:g}" for level in table]
    right.plot(
        levels, [row[column] for row in table.values()], "osD^"[column - 1] + "-", label=name
    )
right.axhline(1, color="0.5", lw=1)
right.set(xlabel="threshold", ylabel="times less than without exits", title="paper and clock")
right.legend()
plt.show()

# %% [markdown]
# Four findings.
#
# - **The trade-off is good.** Around a threshold of 0.9, about half of the images leave at once,
#   and the accuracy hardly moves.
# - **Entropy and top-1 draw nearly the same curve.** Only the numbers on the threshold's scale
#   differ.
# - **The clock is less generous than paper.** The exit head, the softmax and the comparison take
#   time too, and hardly any of it counts as MACs. LeNet is tiny: a fraction of a millisecond. One
#   image at a time, your `EarlyExitNet` may even be *slower* than LeNet: its bookkeeping is made
#   for batches. The plain `if` does better, the batch as well.
# - **Nobody leaves (1.01)** is the price of the exits alone: below 1.
#
# Is this always so? No: the price of deciding stays the same when the network grows. We take the
# same LeNet with more channels (its weights do not matter for the time), measure both ways through
# it, and compute what half of the images leaving early would give.

# %% [markdown] lang="zh-TW"
# 四個發現。
#
# - **這個取捨很划算。** 門檻在 0.9 左右時，大約一半的影像立刻離開，準確率幾乎不變。
# - **熵與 top-1 畫出幾乎相同的曲線。** 只有門檻的刻度數值不同。
# - **實際省下的時間沒有帳面上多。** 出口、softmax 與比較都要花時間，卻幾乎不算在 MACs 裡。LeNet
#   非常小：不到一毫秒就算完。一次一張影像時，你的 `EarlyExitNet` 甚至可能比 LeNet
#   *慢*：它的記錄方式是為批次設計的。單純的 `if` 表現較好，批次也是。
# - **沒有樣本離開 (1.01)** 時，看到的就是出口本身的代價：低於 1。
#
# 永遠都是這樣嗎？不是：網路變大時，做判斷的代價不變。我們把同一個 LeNet
# 的通道加多（權重不影響時間），分別測量兩條路的時間，再計算一半影像提前離開會有什麼效果。

# %%
wide_blocks = [
    nn.Sequential(nn.Conv2d(1, 40, 5), nn.ReLU(), nn.MaxPool2d(2)),
    nn.Sequential(nn.Conv2d(40, 200, 5), nn.ReLU(), nn.MaxPool2d(2)),
    nn.Sequential(nn.Flatten(), nn.Linear(3200, 1000), nn.ReLU()),
]
wide_exits = [
    nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(40 * 36, 10)),
    nn.Sequential(nn.Flatten(), nn.Linear(3200, 10)),
    nn.Linear(1000, 10),
]
for part in (*wide_blocks, *wide_exits):
    part.to(memory_format=torch.channels_last)
picture = singles[0].to(memory_format=torch.channels_last)
wide_plain = nn.Sequential(*wide_blocks, wide_exits[-1])
with torch.inference_mode():
    early = compare_speed(
        lambda: wide_plain(picture),
        lambda: answer_one(picture, 0.0, wide_blocks, wide_exits),
        seconds=0.5,
    )
    late = compare_speed(
        lambda: wide_plain(picture),
        lambda: answer_one(picture, 1.01, wide_blocks, wide_exits),
        seconds=0.5,
    )
print(f"wide LeNet, {count_macs(wide_plain) / 1e6:.1f} M MACs, one image at a time")
print(f"leaves at exit 0:  {early.ratio:.2f}x faster than without exits")
print(f"leaves at the end: {late.ratio:.2f}x")
for share in (0.5, 0.75):
    mixed = 1 / (share / early.ratio + (1 - share) / late.ratio)
    print(f"{share:.0%} leave at exit 0: {mixed:.2f}x")

# %% [markdown]
# ### BranchyNet's own figures
#
# | CPU | accuracy | time | speedup | left at exit 0 | thresholds on the entropy (nats) |
# |---|---|---|---|---|---|
# | LeNet, MNIST | 99.20 % | 3.37 ms | | | |
# | **B-LeNet** | **99.25 %** | 0.62 ms | **5.4x** | 94.3 % | 0.025 |
# | AlexNet, CIFAR-10 | 78.38 % | 9.56 ms | | | |
# | **B-AlexNet** | **79.19 %** | 6.32 ms | **1.5x** | 65.6 % | 0.0001, 0.05 |
# | ResNet-110, CIFAR-10 | 80.70 % | 137.2 ms | | | |
# | **B-ResNet** | **79.17 %** | 73.5 ms | **1.9x** | 41.5 % | 0.3, 0.2 |
#
# (Teerapittayanon et al. 2016, Table I. On a GPU: 4.7x, 2.4x, 1.9x.)
#
# Compare with yours. MNIST is easier than Fashion-MNIST: 94 % of its digits leave at once. Their
# LeNet also took ten times longer for an image than yours, on the hardware and software of 2016. So
# deciding was cheap beside computing. *An early exit pays when most inputs are easy and the rest of
# the network is expensive.*

# %% [markdown] lang="zh-TW"
# ### BranchyNet 論文的結果
#
# | CPU | 準確率 | 時間 | 加速倍率 | 從出口 0 離開 | 熵值的門檻 (nats) |
# |---|---|---|---|---|---|
# | LeNet, MNIST | 99.20 % | 3.37 ms | | | |
# | **B-LeNet** | **99.25 %** | 0.62 ms | **5.4x** | 94.3 % | 0.025 |
# | AlexNet, CIFAR-10 | 78.38 % | 9.56 ms | | | |
# | **B-AlexNet** | **79.19 %** | 6.32 ms | **1.5x** | 65.6 % | 0.0001, 0.05 |
# | ResNet-110, CIFAR-10 | 80.70 % | 137.2 ms | | | |
# | **B-ResNet** | **79.17 %** | 73.5 ms | **1.9x** | 41.5 % | 0.3, 0.2 |
#
# （Teerapittayanon et al. 2016, Table I。在 GPU 上為 4.7x、2.4x、1.9x。）
#
# 和你的結果比較。MNIST 比 Fashion-MNIST 簡單：94 % 的數字立刻離開。而且在 2016 年的軟硬體上，他們的
# LeNet 處理一張影像的時間是你的十倍。所以和計算相比，做判斷的成本很低。*大部分輸入都簡單、
# 而且網路其餘部分很昂貴時，早退才划算。*

# %% [markdown]
# ### Measured: choose the threshold on held-out images
#
# Thresholds are chosen on the **held-out** images, and the accuracy is reported on the **test**
# images. `choose_threshold` looks at exit 0.

# %% [markdown] lang="zh-TW"
# ### 實測：用驗證影像選擇門檻
#
# 門檻用**驗證**影像 (held-out images) 選擇，準確率則以**測試**影像回報。`choose_threshold`
# 看的是出口 0。

# %%
sure = confidence(held_out_logits[0], "top1")
right = held_out_logits[0].argmax(1) == held_out_labels
for target in (0.9, 0.95, 0.98, 0.99):
    threshold = choose_threshold(sure, right, target)
    leaves = confidence(test_logits[0], "top1") >= threshold
    hits = (test_logits[0].argmax(1) == test_labels)[leaves].float().mean()
    whole = accuracy_at(test_logits, leave_at(test_logits, threshold, "top1"))
    print(
        f"target {target:.0%} for those who leave: threshold {threshold:.3f}; on the test images "
        f"{leaves.float().mean():.0%} leave, {hits:.1%} of them right; all together {whole:.1%}"
    )

# %% [markdown]
# ### The easiest and the hardest images
#
# Here they are: the surest images at exit 0, and those about which every exit was least sure.

# %% [markdown] lang="zh-TW"
# ### 最簡單與最困難的影像
#
# 看看它們：出口 0 最有把握的影像，以及每個出口都最沒把握的影像。

# %%
exit_index = leave_at(test_logits, 0.9, "top1")
sure = confidence(test_logits[0], "top1")
unsure = torch.stack([confidence(logits, "top1") for logits in test_logits]).amax(0)
easiest = sure.argsort(descending=True)[:: len(sure) // 40][:8]
hardest = unsure.argsort()[:8]
_, panels = plt.subplots(2, 8, figsize=(12, 4))
for row, chosen in zip(panels, (easiest, hardest), strict=True):
    for axes, place in zip(row, chosen.tolist(), strict=True):
        number = int(exit_index[place])
        answer = int(test_logits[number][place].argmax())
        truth = int(test_labels[place])
        axes.imshow(test_images[place, 0], cmap="gray_r")
        wrong = "" if answer == truth else f"\nis: {CLASS_NAMES[truth]}"
        axes.set_title(f"exit {number}\n{CLASS_NAMES[answer]}{wrong}", fontsize=8)
        axes.axis("off")
panels[0, 0].text(-6, 14, "easy", rotation=90, va="center")
panels[1, 0].text(-6, 14, "hard", rotation=90, va="center")
plt.tight_layout()
plt.show()
print("mean exit by class, threshold 0.9:")
for number, name in enumerate(CLASS_NAMES):
    mine = exit_index[test_labels == number].float()
    print(f"  {name:<12} {mine.mean():.2f}   {(mine == 0).float().mean():4.0%} leave at exit 0")

# %% [markdown]
# Trousers are easy. Shirts, pullovers and coats are hard: they look like each other. The network
# spends its time on them. *This* is what 'dynamic' means.
#
# ### Measured: where to put the exits (早退點位置)
#
# The lecture: dense exits reduce the mean computation, but make the network more complex and harder
# to train. We keep only some of the trained exits. Blocks without an exit between them become one
# block.

# %% [markdown] lang="zh-TW"
# 長褲很簡單。襯衫、套頭衫與大衣很困難：它們彼此相像。網路把時間花在這些影像上。*這*就是「動態」
# 的意思。
#
# ### 實測：早退點放在哪裡（早退點位置）
#
# 課程：密集放置的早退點可以減少平均計算量，但會讓網路更複雜，也更難訓練。
# 我們只保留部分已訓練的出口。中間沒有出口的幾個區塊，就合併成一個區塊。


# %%
def merged_costs(kept: list[int]) -> list[int]:
    """Return the MACs of the blocks when only some exits are kept."""
    merged, since = [], 0
    for number, (block, head) in enumerate(zip(block_macs, head_macs, strict=True)):
        since += block
        if number in kept:
            merged.append(since + head)
            since = 0
    return merged


plt.figure(figsize=(6.4, 3.8))
for kept, marker in (([0, 2], "o"), ([1, 2], "s"), ([0, 1, 2], "^")):
    some = [test_logits[number] for number in kept]
    choices = [leave_at(some, level, "top1") for level in np.linspace(0.3, 1, 36)]
    macs = [
        expected_macs(torch.bincount(choice, minlength=len(kept)).tolist(), merged_costs(kept))
        for choice in choices
    ]
    scores = [accuracy_at(some, choice) for choice in choices]
    name = "exits " + ", ".join(map(str, kept))
    plt.plot(np.array(macs) / 1e6, scores, marker + "-", ms=3, lw=1, label=name)
plt.plot(plain_macs / 1e6, plain_hits, "k*", ms=11, label="no exits")
plt.xlabel("mean MACs (millions)")
plt.ylabel("accuracy")
plt.title("the place of the exits")
plt.legend()
plt.show()

# %% [markdown]
# - Exit 1 alone comes *after* the expensive conv2. It can save only the last 18 % or so.
# - Exit 0 sits before it, and can save almost eight times, although it is less accurate.
# - All three together are hardly better than exits 0 and 2: what exit 1 can still save is small.
#   Where the costs lie decides where exits pay.
#
# ### And the bytes?

# %% [markdown] lang="zh-TW"
# - 出口 1 單獨使用時，位在昂貴的 conv2 *之後*。它最多只能省下最後的 18 % 左右。
# - 出口 0 在 conv2 之前，雖然準確率較低，卻能省到將近八倍。
# - 三個出口全用，幾乎沒有比只用出口 0 與 2 更好：出口 1 還能省的很少。成本在哪裡，
#   決定了出口放在哪裡才划算。
#
# ### 那麼位元組呢？

# %%
print(f"LeNet without exits {model_bytes(plain):>9,} bytes")
print(f"LeNet with 3 exits  {model_bytes(net):>9,} bytes")

# %% [markdown] written="exit_or_stopping" points=2
# ### Written question 1 · 2 points
#
# (a) A classmate says: 'I use early exit so that my network does not overfit.' What does the
# classmate mix up? Say in one sentence each what the two techniques do.
# (b) At a threshold of 0.9 your network saved about half of the MACs, but less time. Name two
# reasons, and say for which networks the two numbers come closer together.
#
# ### BEGIN SOLUTION
# *Model answer.* (a) Early stopping (早停) ends the *training* when the held-out loss gets worse;
# that is against overfitting. Early exit (早退) ends the way of *one sample* through a trained
# network when an exit is sure; that saves computation. (b) Any two: the exit head, softmax and
# comparison take time for every sample, and hardly count as MACs; the samples that stay have to be
# picked out and put together again; small batches use the processor less well; the time of LeNet is
# so short that the fixed cost of each call counts. In large networks, where the layers behind the
# exit are expensive compared with the decision, time follows the MACs.
# *One point for (a); in (b) half a point for two reasons, half a point for the networks.*
# ### END SOLUTION

# %% [markdown] lang="zh-TW"
# ### 問答題 1 · 2 分
#
# (a) 有位同學說：「我用早退，讓我的網路不會過擬合。」這位同學把什麼搞混了？
# 請各用一句話說明這兩種技術做什麼。
# (b) 門檻為 0.9 時，你的網路省下大約一半的 MACs，但省下的時間較少。請舉出兩個原因，
# 並說明在哪些網路中，這兩個數字會比較接近。
#
# ### BEGIN SOLUTION
# *參考答案。* (a) 早停 (early stopping) 在驗證影像的 loss 變差時結束*訓練*，用來防止過擬合。早退
# (early exit) 是在已訓練好的網路中，當某個出口有把握時，結束*一個樣本*的路程，用來節省運算。
# (b) 任舉兩個：出口、softmax 與比較對每個樣本都要花時間，卻幾乎不算在 MACs
# 裡；要挑出留下的樣本，最後再合併起來；小批次較不能充分利用處理器；LeNet
# 的時間太短，所以每次呼叫的固定成本不可忽略。在大型網路中，出口之後的層比做判斷昂貴得多，
# 時間就會跟著 MACs 走。
# *(a) 一分；(b) 兩個原因半分，網路半分。*
# ### END SOLUTION

# %% [markdown]
# ## Part D: one set of weights, several widths (動態寬度)
#
# A device has little energy left, and must answer with less work. Why not store four networks of
# different sizes and switch? The lecture: storage is limited. A **slimmable network** (Yu et al.
# 2018) holds them in one: at width 0.25 every layer uses its first quarter of channels.
#
# A layer with `n` channels uses `ceil(width * n)` of them. In the middle of a network both the
# input and the output are sliced. But the image always has one channel, and there are always ten
# classes. So the **first** layer does not slice its **input**, and the **last** one does not slice
# its **output**.
#
# ### Exercise: `SlimmableLinear` · ★★☆☆ · 20 minutes · 5 points
#
# Write `class SlimmableLinear`, an `nn.Module`. Its constructor takes what `nn.Linear` takes
# (`in_features, out_features, bias=True`), and then `slice_input=True, slice_output=True`.
#
# `forward(x, width)`, with a width in (0, 1]:
#
# - uses the **first** `ceil(width * in_features)` inputs if `slice_input`, otherwise all;
# - returns the **first** `ceil(width * out_features)` outputs if `slice_output`, otherwise all;
# - slices the bias like the output.
#
# `x` comes with as many features as are used: the layer before has sliced them. There is **one**
# weight and one bias for all widths, initialised as in `nn.Linear`. Gradients reach it: at a small
# width only its part gets one. `ValueError` for a width outside (0, 1].
#
# *Example.* 6 inputs, 5 outputs, width 0.25: `ceil(1.5) = 2` inputs, `ceil(1.25) = 2` outputs.
#
# <details><summary>Hint 1</summary>
#
# Inherit from `nn.Linear`: then weight, bias and their initial values are there already.
#
# <details><summary>Hint 2</summary>
#
# `self.weight[:outputs, :inputs]` is a view: gradients flow through it into the whole weight.
# `.data`, `.detach()` or a new `nn.Parameter` would cut them off.
#
# <details><summary>Hint 3</summary>
#
# `F.linear(x, self.weight[:outputs, :inputs], bias)`, where `bias` is `self.bias[:outputs]`, or
# `None` if there is none.
#
# </details></details></details>

# %% [markdown] lang="zh-TW"
# ## D 部分：一組權重、多種寬度（動態寬度）
#
# 裝置的電量所剩不多，必須用較少的運算給出答案。為什麼不直接儲存四個不同尺寸的網路來切換？課程：
# 儲存空間有限。**可瘦身網路** (slimmable network, Yu et al. 2018) 把它們合在一個網路裡：寬度為 0.25
# 時，每一層只用前四分之一的通道。
#
# 有 `n` 個通道的層，使用其中的 `ceil(width * n)` 個。在網路中間，輸入與輸出都要切片
# (slice)。但影像永遠只有一個通道，類別永遠有十個。
# 所以**第一**層不切它的**輸入**，**最後**一層不切它的**輸出**。
#
# ### 練習：`SlimmableLinear` · ★★☆☆ · 20 分鐘 · 5 分
#
# 寫出 `class SlimmableLinear`，它是一個 `nn.Module`。建構子先接收 `nn.Linear` 的引數
# (`in_features, out_features, bias=True`)，接著是 `slice_input=True, slice_output=True`。
#
# `forward(x, width)`，寬度在 (0, 1] 之內：
#
# - 若 `slice_input` 為真，使用**前** `ceil(width * in_features)` 個輸入，否則使用全部；
# - 若 `slice_output` 為真，回傳**前** `ceil(width * out_features)` 個輸出，否則回傳全部；
# - bias 的切片方式與輸出相同。
#
# `x` 帶有的特徵數，正好是會用到的數目：前一層已經切過了。所有寬度共用**一個**權重與一個
# bias，初始化方式與 `nn.Linear` 相同。梯度要能傳到它：寬度較小時，只有用到的部分有梯度。寬度不在
# (0, 1] 內時，引發 `ValueError`。
#
# *範例。* 6 個輸入、5 個輸出、寬度 0.25：`ceil(1.5) = 2` 個輸入，`ceil(1.25) = 2` 個輸出。
#
# <details><summary>提示 1</summary>
#
# 繼承 `nn.Linear`：這樣權重、bias 與它們的初始值都已經有了。
#
# <details><summary>提示 2</summary>
#
# `self.weight[:outputs, :inputs]` 是 view：梯度會經由它流回整個權重。`.data`、`.detach()` 或新的
# `nn.Parameter` 都會切斷梯度。
#
# <details><summary>提示 3</summary>
#
# `F.linear(x, self.weight[:outputs, :inputs], bias)`，其中 `bias` 是 `self.bias[:outputs]`，沒有
# bias 時則是 `None`。
#
# </details></details></details>


# %% exercise="SlimmableLinear" difficulty=2 minutes=20
class SlimmableLinear(nn.Linear):
    """A linear layer that runs at several widths with one set of weights.

    Args:
        in_features: Inputs at width 1.
        out_features: Outputs at width 1.
        bias: Whether there is a bias.
        slice_input: False for the first layer of a network: all inputs at every width.
        slice_output: False for the last layer: all outputs at every width.

    Source:
        Yu et al. 2018, Slimmable Neural Networks.
    """

    # TODO: __init__ and forward(x, width)
    ### BEGIN SOLUTION
    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        slice_input: bool = True,
        slice_output: bool = True,
    ) -> None:
        super().__init__(in_features, out_features, bias)
        self.slice_input, self.slice_output = slice_input, slice_output

    def forward(self, x: torch.Tensor, width: float) -> torch.Tensor:
        """Return (N, ceil(width * out_features)) for x (N, ceil(width * in_features)).

        Raises:
            ValueError: If width is outside (0, 1].
        """
        require(0 < width <= 1, f"width must lie in (0, 1], got {width}")
        inputs = math.ceil(width * self.in_features) if self.slice_input else self.in_features
        outputs = math.ceil(width * self.out_features) if self.slice_output else self.out_features
        bias = None if self.bias is None else self.bias[:outputs]
        return F.linear(x, self.weight[:outputs, :inputs], bias)

    ### END SOLUTION


# %% check="SlimmableLinear" points=5
torch.manual_seed(0)
for slice_input, slice_output, used in (
    (True, True, (2, 2)),
    (False, True, (6, 2)),
    (True, False, (2, 5)),
    (False, False, (6, 5)),
):
    name = f"slice_input={slice_input}, slice_output={slice_output}"
    layer = SlimmableLinear(6, 5, slice_input=slice_input, slice_output=slice_output)
    count = count_parameters(layer)
    assert count == 35, f"expected one weight (5, 6) and one bias (5): 35 numbers, got {count}"
    x = torch.randn(4, 6)
    with torch.no_grad():
        offset = layer(torch.zeros(1, 6), 1.0)
        weight = (layer(torch.eye(6), 1.0) - offset).T  # (5, 6), read through the layer itself
    assert offset.any(), "the bias is missing from the output"
    inputs, outputs = used
    got = layer(x[:, :inputs], 0.25)
    assert got.shape == (4, outputs), (
        f"{name}, width 0.25: expected {outputs} outputs of {inputs} inputs, got "
        f"{tuple(got.shape)}; the number of channels is rounded *up*"
    )
    wanted = x[:, :inputs] @ weight[:outputs, :inputs].T + offset[:, :outputs]
    assert torch.allclose(got, wanted, atol=1e-5), (
        f"{name}, width 0.25: the values are not those of the first {outputs} outputs and the "
        f"first {inputs} inputs of the whole layer (is the bias sliced in the same way?)"
    )
    got.sum().backward()
    shared = [p for p in layer.parameters() if p.numel() == 30]
    assert shared, "expected a parameter with 30 numbers, the weight"
    assert shared[0].grad is not None, "no gradient reaches the weight: is it a copy?"
    touched = int((shared[0].grad != 0).sum())
    assert touched == inputs * outputs, f"{name}: expected a gradient in {inputs * outputs} weights"
assert SlimmableLinear(6, 5, bias=False)(torch.ones(1, 3), 0.5).shape == (1, 3), "bias=False"
for width in (0.0, -0.5, 1.5):
    assert is_rejected(layer, torch.ones(1, 6), width), f"width={width} must raise a ValueError"
passed("SlimmableLinear")

# %% [markdown]
# ### Exercise: `SlimmableConv2d` · ★★☆☆ · 10 minutes · 4 points
#
# Write `class SlimmableConv2d`: the same for `nn.Conv2d` (no groups). Its constructor takes what
# `nn.Conv2d` takes, and then `slice_input=True, slice_output=True` by keyword. **Stride, padding
# and dilation** work as in the plain layer.
#
# <details><summary>Hint 1</summary>
#
# `class SlimmableConv2d(nn.Conv2d)`, with `def __init__(self, *arguments, slice_input=True,
# slice_output=True, **keywords)`.
#
# <details><summary>Hint 2</summary>
#
# The weight is (out, in, height, width). `F.conv2d(x, weight, bias, self.stride, self.padding,
# self.dilation)`.
#
# </details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`SlimmableConv2d` · ★★☆☆ · 10 分鐘 · 4 分
#
# 寫出 `class SlimmableConv2d`：同樣的事，對象換成 `nn.Conv2d`（沒有 groups）。建構子先接收
# `nn.Conv2d` 的引數，接著以關鍵字接收 `slice_input=True, slice_output=True`。**stride、padding 與
# dilation** 的作用與一般的層相同。
#
# <details><summary>提示 1</summary>
#
# `class SlimmableConv2d(nn.Conv2d)`，搭配
# `def __init__(self, *arguments, slice_input=True, slice_output=True, **keywords)`。
#
# <details><summary>提示 2</summary>
#
# 權重的形狀是 (out, in, height, width)。
# `F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation)`。
#
# </details></details>


# %% exercise="SlimmableConv2d" difficulty=2 minutes=10
class SlimmableConv2d(nn.Conv2d):
    """A conv layer that runs at several widths with one set of weights.

    Args:
        *arguments: As for `nn.Conv2d`: in_channels, out_channels, kernel_size, ...
        slice_input: False for the first layer of a network: all inputs at every width.
        slice_output: False: all outputs at every width.
        **keywords: As for `nn.Conv2d`, except groups.

    Source:
        Yu et al. 2018, Slimmable Neural Networks.
    """

    # TODO: __init__ and forward(x, width)
    ### BEGIN SOLUTION
    def __init__(
        self,
        *arguments: object,
        slice_input: bool = True,
        slice_output: bool = True,
        **keywords: object,
    ) -> None:
        super().__init__(*arguments, **keywords)
        self.slice_input, self.slice_output = slice_input, slice_output

    def forward(self, x: torch.Tensor, width: float) -> torch.Tensor:
        """Return (N, ceil(width * out), H', W') for x (N, ceil(width * in), H, W).

        Raises:
            ValueError: If width is outside (0, 1].
        """
        require(0 < width <= 1, f"width must lie in (0, 1], got {width}")
        inputs = math.ceil(width * self.in_channels) if self.slice_input else self.in_channels
        outputs = math.ceil(width * self.out_channels) if self.slice_output else self.out_channels
        bias = None if self.bias is None else self.bias[:outputs]
        weight = self.weight[:outputs, :inputs]
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation)

    ### END SOLUTION


# %% check="SlimmableConv2d" points=4
torch.manual_seed(0)
for options in (
    {"kernel_size": 3},
    {"kernel_size": 3, "stride": 2, "padding": 1, "slice_input": False},
    {"kernel_size": (3, 2), "padding": (0, 2), "bias": False, "slice_output": False},
    {"kernel_size": 2, "dilation": 3, "slice_input": False, "slice_output": False},
):
    layer = SlimmableConv2d(6, 5, **options)
    inputs = 2 if options.pop("slice_input", True) else 6
    outputs = 2 if options.pop("slice_output", True) else 5
    twin = nn.Conv2d(6, 5, **options)
    held = {p.shape: p for p in layer.parameters()}
    assert count_parameters(layer) == count_parameters(twin), "expected one set of weights"
    assert twin.weight.shape in held, f"expected a weight of shape {tuple(twin.weight.shape)}"
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.copy_(held[parameter.shape])
    x = torch.randn(3, 6, 11, 10)
    with torch.no_grad():
        assert torch.allclose(layer(x, 1.0), twin(x), atol=1e-5), (
            f"{options}, width 1: expected the outputs of nn.Conv2d; stride, padding and dilation?"
        )
        twin.weight[:, inputs:] = 0  # the inputs beyond the first ones count no more
        wanted = twin(x)[:, :outputs]
    got = layer(x[:, :inputs], 0.25)
    assert got.shape == wanted.shape, (
        f"{options}, width 0.25: expected the shape {tuple(wanted.shape)}, got {tuple(got.shape)}"
    )
    assert torch.allclose(got, wanted, atol=1e-5), (
        f"{options}, width 0.25: not the first {outputs} outputs of the first {inputs} inputs"
    )
    got.sum().backward()
    assert held[twin.weight.shape].grad is not None, "no gradient reaches the weight"
assert is_rejected(layer, x, 1.25), "width=1.25 must raise a ValueError"
assert is_rejected(layer, x, 0), "width=0 must raise a ValueError"
passed("SlimmableConv2d")

# %% [markdown]
# ### Exercise: `SwitchableBatchNorm2d` · ★★☆☆ · 15 minutes · 4 points
#
# Batch norm (批次正規化) keeps running statistics: mean and variance of each channel. But channel 0
# of a layer has *other* inputs at width 0.25 than at width 1, so other statistics. A **switchable**
# batch norm (可切換批次正規化) has its own for each width.
#
# Write `class SwitchableBatchNorm2d(channels, widths)`, an `nn.Module`. `forward(x, width)`
# normalises x, which has `ceil(width * channels)` channels, with the batch norm **of that width**.
# In train mode the running statistics of that width alone move; in eval mode none move, and they
# are used. `.train()` and `.eval()` must reach all of them.
#
# `ValueError` for a width that is not among `widths`, and for widths outside (0, 1].
#
# <details><summary>Hint 1</summary>
#
# One `nn.BatchNorm2d(math.ceil(width * channels))` for each width, in an `nn.ModuleList` or
# `nn.ModuleDict`. In a plain list or dict, `.eval()` does not find them.
#
# <details><summary>Hint 2</summary>
#
# Keys of an `nn.ModuleDict` are strings without a dot. With a list, `self.widths.index(width)` is
# the place; for an unknown width `list.index` raises a ValueError by itself.
#
# </details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`SwitchableBatchNorm2d` · ★★☆☆ · 15 分鐘 · 4 分
#
# 批次正規化 (batch norm) 會保存移動統計量 (running statistics)：每個通道的平均與變異數。
# 但同一層的通道 0，在寬度 0.25 時的輸入與寬度 1 時*不同*，統計量也就不同。**可切換** (switchable)
# 的 Batch Norm 為每種寬度各保存一份。
#
# 寫出 `class SwitchableBatchNorm2d(channels, widths)`，它是一個 `nn.Module`。x 有
# `ceil(width * channels)` 個通道，`forward(x, width)` 用**該寬度**的 Batch Norm 將它正規化。在
# train 模式下，只有該寬度的移動統計量會更新；在 eval 模式下，全部都不更新，而是直接使用。`.train()`
# 與 `.eval()` 必須能傳到每一個。
#
# 寬度不在 `widths` 之中，或有不在 (0, 1] 內的寬度時，引發 `ValueError`。
#
# <details><summary>提示 1</summary>
#
# 每種寬度一個 `nn.BatchNorm2d(math.ceil(width * channels))`，放在 `nn.ModuleList` 或
# `nn.ModuleDict` 裡。若放在普通的 list 或 dict，`.eval()` 找不到它們。
#
# <details><summary>提示 2</summary>
#
# `nn.ModuleDict` 的鍵是不含點的字串。用 list 時，`self.widths.index(width)`
# 就是位置；遇到未知的寬度，`list.index` 自己就會引發 ValueError。
#
# </details></details>


# %% exercise="SwitchableBatchNorm2d" difficulty=2 minutes=15
class SwitchableBatchNorm2d(nn.Module):
    """Batch normalisation with its own statistics for each width.

    Args:
        channels: Channels at width 1.
        widths: All widths that will be used, each in (0, 1].

    Raises:
        ValueError: If there is no width, or one is outside (0, 1].

    Source:
        Yu et al. 2018, Slimmable Neural Networks, section 3.2.
    """

    # TODO: __init__ and forward(x, width)
    ### BEGIN SOLUTION
    def __init__(self, channels: int, widths: list[float]) -> None:
        super().__init__()
        require(len(widths) > 0, "widths must hold at least one width")
        require(all(0 < width <= 1 for width in widths), f"widths must lie in (0, 1], got {widths}")
        self.widths = [float(width) for width in widths]
        self.norms = nn.ModuleList(nn.BatchNorm2d(math.ceil(w * channels)) for w in self.widths)

    def forward(self, x: torch.Tensor, width: float) -> torch.Tensor:
        """Return x (N, ceil(width * channels), H, W), normalised with that width's statistics.

        Raises:
            ValueError: If width is not among the widths.
        """
        require(width in self.widths, f"width must be one of {self.widths}, got {width}")
        return self.norms[self.widths.index(width)](x)

    ### END SOLUTION


# %% check="SwitchableBatchNorm2d" points=4
torch.manual_seed(0)
norm = SwitchableBatchNorm2d(5, [0.25, 0.5, 1.0]).train()
inputs = {
    0.25: torch.randn(32, 2, 4, 4) + 6,
    0.5: 4 * torch.randn(32, 3, 4, 4) - 9,
    1.0: 0.5 * torch.randn(32, 5, 4, 4),
}
for width, x in inputs.items():
    got = norm(x, width).detach()
    assert got.shape == x.shape, f"width {width}: expected {tuple(x.shape)}, got {got.shape}"
    wanted = F.batch_norm(x, None, None, training=True)
    assert torch.allclose(got, wanted, atol=1e-2), (
        f"width {width}, train mode: expected (x - mean) / deviation, channel by channel over the "
        "whole batch"
    )
for _ in range(60):
    for width, x in inputs.items():
        norm(x, width)
norm.eval()
assert not any(part.training for part in norm.modules()), "eval mode must reach every batch norm"
for width, x in inputs.items():
    got = norm(x, width).detach()
    worst = max(got.mean((0, 2, 3)).abs().max(), (got.std((0, 2, 3)) - 1).abs().max())
    assert worst < 0.2, (
        f"width {width}, eval mode: expected mean 0 and deviation 1, got {got.mean():.2f} and "
        f"{got.std():.2f}; each width needs running statistics of its own"
    )
one = norm(inputs[0.5][:1], 0.5).detach()
assert torch.allclose(one, norm(inputs[0.5], 0.5)[:1].detach(), atol=1e-5), (
    "eval mode: the result of one image must not depend on the others in the batch"
)
assert is_rejected(norm, torch.ones(2, 4, 3, 3), 0.75), "an unknown width must raise a ValueError"
assert is_rejected(SwitchableBatchNorm2d, 5, [0.5, 1.5]), "width 1.5 must raise a ValueError"
passed("SwitchableBatchNorm2d")

# %% [markdown]
# ### Exercise: `slimmable_loss` · ★☆☆☆ · 5 minutes · 3 points
#
# The lecture: the losses of all widths are weighted, summed, and minimised together.
#
# Write `slimmable_loss(model, images, labels, widths, weights)`: the sum over widths of weight
# times cross-entropy of `model(images, width)`. The cross-entropy is the mean over the batch. The
# sum is not divided by the sum of the weights. The mode of the model stays as it is. `ValueError`
# if there are not as many weights as widths, or no widths.
#
# <details><summary>Hint 1</summary>
#
# Compute the logits of every width, then your `early_exit_loss` does the rest.
#
# </details>

# %% [markdown] lang="zh-TW"
# ### 練習：`slimmable_loss` · ★☆☆☆ · 5 分鐘 · 3 分
#
# 課程：把所有寬度的 loss 做加權計算並加總，再一起最小化。
#
# 寫出 `slimmable_loss(model, images, labels, widths, weights)`：對所有寬度，將權重乘上
# `model(images, width)` 的交叉熵，再加總。交叉熵取整個批次的平均。總和不除以權重的總和。
# 模型的模式保持不變。權重與寬度的數目不同，或沒有寬度時，引發 `ValueError`。
#
# <details><summary>提示 1</summary>
#
# 算出每種寬度的 logits，其餘交給你的 `early_exit_loss`。
#
# </details>


# %% exercise="slimmable_loss" difficulty=1 minutes=5
def slimmable_loss(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    widths: list[float],
    weights: list[float],
) -> torch.Tensor:
    """Return the weighted sum of the cross-entropies at all widths.

    Args:
        model: Called as model(images, width); returns logits (N, C).
        images: (N, ...).
        labels: (N,), int64.
        widths: The widths to train, at least one.
        weights: One for each width.

    Returns:
        A scalar with gradients for the model's parameters.

    Raises:
        ValueError: If there are no widths, or not as many weights as widths.

    Source:
        Yu et al. 2018, Slimmable Neural Networks, algorithm 1.
    """
    # TODO: the weighted sum over the widths
    ### BEGIN SOLUTION
    require(len(widths) > 0, "widths must hold at least one width")
    require(
        len(widths) == len(weights),
        f"weights: expected {len(widths)}, one for each width, got {len(weights)}",
    )
    return sum(
        weight * F.cross_entropy(model(images, width), labels)
        for width, weight in zip(widths, weights, strict=True)
    )
    ### END SOLUTION


# %% check="slimmable_loss" points=3
torch.manual_seed(0)
toy = SeparateNets({0.25: nn.Linear(6, 3), 0.5: nn.Linear(6, 3), 1.0: nn.Linear(6, 3)})
x, classes = torch.randn(8, 6), torch.randint(3, (8,))
parts = [F.cross_entropy(toy(x, width), classes).item() for width in toy.widths]
got = slimmable_loss(toy, x, classes, [0.25, 0.5, 1.0], [1.0, 0.5, 2.0])
assert isinstance(got, torch.Tensor), f"expected a tensor, got {type(got).__name__}"
assert got.numel() == 1, f"expected one number, got the shape {tuple(got.shape)}"
wanted = parts[0] + 0.5 * parts[1] + 2 * parts[2]
assert abs(got.item() - wanted / 3.5) > 1e-4, "the sum is not divided by the sum of the weights"
assert abs(got.item() - wanted) < 1e-4, (
    f"expected {wanted:.4f} (weights 1, 0.5, 2), got {got.item():.4f}; the cross-entropies are "
    f"{[round(part, 4) for part in parts]}"
)
got.backward()
assert all(net.weight.grad is not None for net in toy.nets), "a gradient must reach every width"
assert is_rejected(slimmable_loss, toy, x, classes, [0.25, 0.5], [1.0]), "1 weight, 2 widths"
passed("slimmable_loss")

# %% [markdown]
# ### Measured: one network, four widths
#
# The course's batch-norm CNN, made slimmable. Three ways, with the same short budget (two epochs of
# 5,000 images; more training makes all of them better):
#
# - **separate**: four networks, one for each width;
# - **switchable**: one network, a batch norm for each width;
# - **shared**: one network, and one batch norm whose first channels serve all widths.

# %% [markdown] lang="zh-TW"
# ### 實測：一個網路、四種寬度
#
# 這是課程中含 Batch Norm 的 CNN，改成可瘦身的版本。共有三種方式，訓練預算同樣很短（5,000
# 張影像訓練兩個 epoch；訓練更久，三者都會更好）：
#
# - **separate**：四個網路，每種寬度一個；
# - **switchable**：一個網路，每種寬度各有一個 Batch Norm；
# - **shared**：一個網路，只有一個 Batch Norm，所有寬度都使用它前面的通道。

# %%
WIDTHS = [0.25, 0.5, 0.75, 1.0]


class SharedBatchNorm2d(nn.BatchNorm2d):
    """One batch norm for all widths: the first channels serve the narrow ones too."""

    def forward(self, x: torch.Tensor, width: float) -> torch.Tensor:
        """Return x, normalised with the first channels' statistics."""
        used = x.shape[1]
        return F.batch_norm(
            x,
            self.running_mean[:used],
            self.running_var[:used],
            self.weight[:used],
            self.bias[:used],
            self.training,
            self.momentum,
            self.eps,
        )


class SlimmableCNN(nn.Module):
    """The course's BatchNormCNN at several widths, from your layers."""

    def __init__(self, switchable: bool) -> None:
        super().__init__()
        self.convs, self.norms, inputs = nn.ModuleList(), nn.ModuleList(), 1
        for outputs in (16, 32, 64):
            first = inputs == 1
            self.convs.append(
                SlimmableConv2d(inputs, outputs, 3, padding=1, bias=False, slice_input=not first)
            )
            self.norms.append(
                SwitchableBatchNorm2d(outputs, WIDTHS) if switchable else SharedBatchNorm2d(outputs)
            )
            inputs = outputs
        self.fc = SlimmableLinear(64, 10, slice_output=False)

    def forward(self, images: torch.Tensor, width: float = 1.0) -> torch.Tensor:
        """Return the logits (N, 10) at a width."""
        x = images.to(memory_format=torch.channels_last)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.max_pool2d(F.relu(norm(conv(x, width), width)), 2)
        return self.fc(x.mean(dim=(2, 3)), width)


def train_slimmable(model: nn.Module, epochs: int, lr: float, name: str) -> nn.Module:
    """Train a model at all widths together, in place."""
    loader = make_loader(images[:5000], labels[:5000], batch_size=64, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr)
    steps = epochs * len(loader)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    model.train()
    with tqdm(total=steps, desc=name, mininterval=0.5) as bar:
        for _ in range(epochs):
            for pictures, classes in loader:
                optimizer.zero_grad()
                slimmable_loss(model, pictures, classes, WIDTHS, [1.0] * 4).backward()
                optimizer.step()
                schedule.step()
                bar.update()
    return model.eval()


@torch.no_grad()
def width_accuracy(model: nn.Module, width: float) -> float:
    """Return the accuracy on the test images at a width."""
    hits = [model(batch, width).argmax(1) for batch in test_images.split(500)]
    return float((torch.cat(hits) == test_labels).float().mean())


torch.manual_seed(6)
switchable = remember(train_slimmable, SlimmableCNN(switchable=True), 2, 1e-2, "switchable")
shared = remember(train_slimmable, SlimmableCNN(switchable=False), 2, 1e-2, "shared")
small_loader = make_loader(images[:5000], labels[:5000], batch_size=64, shuffle=True)
separate = SeparateNets(
    {
        width: remember(
            train, BatchNormCNN([int(width * c) for c in (16, 32, 64)]), small_loader, 2, 1e-2
        )
        for width in WIDTHS
    }
)

# %%
by_width = {
    name: [width_accuracy(model, width) for width in WIDTHS]
    for name, model in {"separate": separate, "switchable": switchable, "shared": shared}.items()
}
print("width       " + "".join(f"{width:>8}" for width in WIDTHS))
for name, scores in by_width.items():
    print(f"{name:<12}" + "".join(f"{score:8.1%}" for score in scores))

# %% [markdown]
# Switchable batch norm gives nearly the accuracy of separate networks. The **shared** one collapses
# at the narrow widths. Was its training bad? Look at what the batch norm *sees*: the mean of each
# channel before batch norm 1, at two widths, and the running mean that the shared one has stored.

# %% [markdown] lang="zh-TW"
# 可切換的 Batch Norm 幾乎達到獨立網路的準確率。**shared** 在窄的寬度則崩潰了。是它訓練得不好嗎？
# 看看 Batch Norm *看到*什麼：下面是兩種寬度下，batch norm 1 之前每個通道的平均，以及共用的 Batch
# Norm 所儲存的移動平均。


# %%
@torch.no_grad()
def seen_by_norm(model: nn.Module, width: float, layer: int) -> torch.Tensor:
    """Return the mean of each channel before a batch norm, with each width's own statistics."""
    twin = copy.deepcopy(model).train()  # train mode: normalised with what this batch shows
    x = images[:1000].to(memory_format=torch.channels_last)
    for conv, norm in zip(twin.convs[:layer], twin.norms[:layer], strict=True):
        x = F.max_pool2d(F.relu(norm(conv(x, width), width)), 2)
    return twin.convs[layer](x, width).mean(dim=(0, 2, 3))


narrow, full = seen_by_norm(shared, 0.25, 1), seen_by_norm(shared, 1.0, 1)
plt.figure(figsize=(6.8, 3.4))
plt.plot(full[:8], "o-", label="what width 1 shows")
plt.plot(narrow, "s-", label="what width 0.25 shows")
plt.plot(shared.norms[1].running_mean[:8], "k--", label="what the shared batch norm stored")
plt.xlabel("channel of conv layer 1")
plt.ylabel("mean before batch norm")
plt.title("the same channels have other statistics at another width")
plt.ylim(top=1.9 * float(full.max()))
plt.legend(loc="upper left", fontsize=9)
plt.show()

# %% [markdown]
# The stored mean is a mixture of all widths, and fits none of them. In *training* this did no harm:
# batch norm then uses the batch's own statistics. Only in eval mode it takes the stored ones.
#
# So the **weights may be fine**, and only the statistics wrong. Test it: take the *shared* network,
# change no weight, and estimate the statistics again for each width from 2,000 images. (With a
# cumulative average. The usual momentum of 0.1 would leave part of the old statistics after a few
# batches.) As a control, do the same with a network that was only ever trained at width 1.

# %% [markdown] lang="zh-TW"
# 儲存的平均值是所有寬度的混合，對任何一種寬度都不合適。在*訓練*時這沒有害處：Batch Norm
# 那時使用的是批次本身的統計量。只有在 eval 模式，它才使用儲存的統計量。
#
# 所以**權重可能沒問題**，錯的只是統計量。來驗證看看：拿 *shared* 網路，完全不改權重，用 2,000
# 張影像為每種寬度重新估計統計量。（使用累計平均。若用平常的 momentum 0.1，
# 只看幾個批次後還會殘留一部分舊的統計量。）作為對照組，對一個只用寬度 1 訓練過的網路做同樣的事。


# %%
@torch.no_grad()
def recalibrated(model: nn.Module, width: float) -> nn.Module:
    """Return a copy whose shared batch norms hold the statistics of one width."""
    twin = copy.deepcopy(model).train()
    for count, batch in enumerate(images[:2000].split(250), 1):
        for norm in twin.norms:
            norm.momentum = 1 / count  # the mean over all batches so far
        twin(batch, width)
    return twin.eval()


only_wide = SlimmableCNN(switchable=False)
for conv, norm, number in zip(only_wide.convs, only_wide.norms, (1, 2, 3), strict=True):
    conv.load_state_dict(getattr(separate.nets[3], f"conv{number}").state_dict())
    norm.load_state_dict(getattr(separate.nets[3], f"bn{number}").state_dict())
only_wide.fc.load_state_dict(separate.nets[3].fc.state_dict())
only_wide.eval()
for name, model in {"shared": shared, "only wide": only_wide}.items():
    by_width[name] = [width_accuracy(model, width) for width in WIDTHS]
    healed = [width_accuracy(recalibrated(model, width), width) for width in WIDTHS]
    by_width[f"{name}, recalibrated"] = healed
_, axes = plt.subplots(figsize=(8.5, 4))
for place, (name, scores) in enumerate(by_width.items()):
    print(f"{name:<24}" + "".join(f"{score:8.1%}" for score in scores))
    spots = np.arange(4) + 0.14 * (place - 2.5)
    axes.bar(spots, scores, 0.13, label=name)
axes.set_xticks(range(4), [f"width {width}" for width in WIDTHS])
axes.set(ylim=(0, 1.3), ylabel="accuracy", title="one set of weights, four widths")
axes.legend(ncols=2, fontsize=8, loc="upper left")
plt.show()

# %% [markdown]
# **Recalibration heals the shared network**, to about the switchable one. Its weights were good at
# every width. A switchable batch norm is nothing but the place to keep the statistics of each
# width.
#
# The control is *not* healed: a network that was never trained at width 0.25 does not work there,
# whatever its statistics. Training all widths together is needed as well.

# %% [markdown] lang="zh-TW"
# **重新校準之後，shared 網路恢復正常**，準確率大約與 switchable 相同。
# 它的權重在每種寬度原本就都沒問題。可切換的 Batch Norm，不過是存放每種寬度統計量的地方。
#
# 對照組*沒有*恢復：從未在寬度 0.25 訓練過的網路，不論統計量是什麼，在那個寬度都無法使用。
# 所以也必須讓所有寬度一起訓練。

# %% [markdown] written="statistics" points=2
# ### Written question 2 · 2 points
#
# (a) Why did the shared batch norm give good losses in training, and fail in eval mode? (b) After
# recalibration the shared network works, and the one that was only trained at width 1 still does
# not. What follows from each of these two results about *weights* and *statistics*?
#
# ### BEGIN SOLUTION
# *Model answer.* (a) In train mode batch norm uses mean and variance of the current batch, at the
# current width, which fit. In eval mode it uses the running statistics, a mixture over all widths
# that fits none. (b) The shared network's weights were good at every width, because all widths were
# trained; only its statistics were wrong, and new ones heal it. The other network's first channels
# never learned to work alone: its weights are not fit for narrow widths, so right statistics do not
# help (much).
# *One point for (a), half a point for each result in (b).*
# ### END SOLUTION

# %% [markdown] lang="zh-TW"
# ### 問答題 2 · 2 分
#
# (a) 為什麼共用的 Batch Norm 在訓練時 loss 很好，在 eval 模式卻失敗？(b) 重新校準後，shared
# 網路可以用了，只用寬度 1 訓練的網路仍然不行。從這兩個結果，
# 關於*權重*與*統計量*分別可以得到什麼結論？
#
# ### BEGIN SOLUTION
# *參考答案。* (a) 在 train 模式，Batch Norm 使用目前批次在目前寬度下的平均與變異數，是合適的。在
# eval 模式，它使用移動統計量，那是所有寬度的混合，對任何一種寬度都不合適。(b) shared
# 網路的權重在每種寬度都沒問題，因為所有寬度都訓練過；錯的只是統計量，換成新的就恢復正常了。
# 另一個網路前面的通道從未學過獨立運作：它的權重不適合窄的寬度，所以即使統計量正確，也沒有（多大）
# 幫助。
# *(a) 一分，(b) 每個結果各半分。*
# ### END SOLUTION

# %% [markdown]
# ### Measured: bytes, MACs and time of each width

# %% [markdown] lang="zh-TW"
# ### 實測：每種寬度的位元組、MACs 與時間


# %%
class AtWidth(nn.Module):
    """A slimmable network at one width."""

    def __init__(self, model: nn.Module, width: float) -> None:
        super().__init__()
        self.model, self.width = model, width

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits (N, 10)."""
        return self.model(images, self.width)


macs_by_width = {width: count_macs(AtWidth(switchable, width)) for width in WIDTHS}
print("width    MACs       fewer   one image   batch of 64")
for width in WIDTHS:
    ratios = []
    for size in (1, 64):
        pictures = test_images[:size]
        with torch.inference_mode():
            result = compare_speed(
                lambda: switchable(pictures, 1.0),  # noqa: B023
                lambda: switchable(pictures, width),  # noqa: B023
                seconds=0.25,
            )
        ratios.append(result.ratio)
    fewer = macs_by_width[1.0] / macs_by_width[width]
    print(
        f"{width:<5} {macs_by_width[width]:>10,} {fewer:8.1f}x {ratios[0]:8.2f}x {ratios[1]:10.2f}x"
    )
print(f"\none slimmable network  {model_bytes(switchable):>8,} bytes, at every width")
print(f"four separate networks {model_bytes(separate):>8,} bytes")
print(f"the widest one alone   {model_bytes(separate.nets[3]):>8,} bytes")

# %% [markdown]
# - **Storage does not shrink.** At width 0.25 the whole network is still there. It is even a little
#   larger than the widest one alone, because of the batch norms. But it is smaller than four
#   networks: that is what the lecture's question was about.
# - The time falls less than the MACs, and least for one image at a time.

# %% [markdown] lang="zh-TW"
# - **儲存空間沒有縮小。** 寬度為 0.25 時，整個網路仍然都在。因為多了幾個 Batch
#   Norm，它甚至比只存最寬的網路稍大。但它比四個網路小：這正是課程那個問題的重點。
# - 時間減少的幅度不如 MACs，一次一張影像時減少得最少。

# %% [markdown]
# ## Part E: who chooses the width?
#
# ### Exercise: `width_for_budget` · ★☆☆☆ · 5 minutes · 2 points
#
# *By resource.* Write `width_for_budget(macs_by_width, budget)`. `macs_by_width` is a dict from
# width to MACs, in any order. Return the **largest** width whose MACs are **at most** the budget.
# `ValueError` if the budget is below the smallest MACs: then no width fits.
#
# <details><summary>Hint 1</summary>
#
# Collect the widths that fit. Is the list empty? Otherwise `max`.
#
# </details>

# %% [markdown] lang="zh-TW"
# ## E 部分：誰來選擇寬度？
#
# ### 練習：`width_for_budget` · ★☆☆☆ · 5 分鐘 · 2 分
#
# *依資源。* 寫出 `width_for_budget(macs_by_width, budget)`。`macs_by_width` 是從寬度對應到 MACs 的
# dict，順序不拘。回傳 MACs **不超過**預算的**最大**寬度。若預算低於最小的 MACs，引發
# `ValueError`：這時沒有任何寬度符合。
#
# <details><summary>提示 1</summary>
#
# 收集符合預算的寬度。這個 list 是空的嗎？不是的話，取 `max`。
#
# </details>


# %% exercise="width_for_budget" difficulty=1 minutes=5
def width_for_budget(macs_by_width: dict[float, float], budget: float) -> float:
    """Return the largest width that a budget allows.

    Args:
        macs_by_width: MACs of each width, in any order.
        budget: MACs that one image may cost.

    Returns:
        The largest width whose MACs are at most the budget.

    Raises:
        ValueError: If no width fits.
    """
    # TODO: the largest width that fits
    ### BEGIN SOLUTION
    fitting = [width for width, macs in macs_by_width.items() if macs <= budget]
    require(fitting, f"budget {budget} is below the MACs of every width")
    return max(fitting)
    ### END SOLUTION


# %% check="width_for_budget" points=2
costs_of_widths = {1.0: 1000, 0.25: 80, 0.5: 270}
for budget, wanted in ((1000, 1.0), (5000, 1.0), (999, 0.5), (270, 0.5), (269.5, 0.25), (80, 0.25)):
    got = width_for_budget(costs_of_widths, budget)
    assert got == wanted, (
        f"MACs {costs_of_widths}, budget {budget}: expected the width {wanted}, got {got}; it is "
        "the largest width with MACs <= budget"
    )
assert is_rejected(width_for_budget, costs_of_widths, 79), "79 is below the smallest: ValueError"
passed("width_for_budget")

# %% [markdown]
# ### Explore: a battery that drains
#
# A simulated phone. It allows each image as many MACs as its battery (電量) still has charge: full
# battery, full width; half of the charge, at most half of the MACs. Every image drains it. When not
# even the smallest width fits, the phone switches off. The other phone always uses the full width.
#
# Move the battery's size. It is given as the number of images that full width could answer.

# %% [markdown] lang="zh-TW"
# ### 探索：電量逐漸減少的電池
#
# 這是一支模擬的手機。每張影像可用的 MACs，依電池剩餘的電量而定：電量全滿時用全寬度；電量剩一半時，
# 最多用一半的 MACs。每張影像都會耗電。連最小的寬度都不符合時，手機就關機。
# 另一支手機則永遠使用全寬度。
#
# 移動電池容量看看。它的單位是全寬度可以回答的影像數。


# %%
def drain(battery_images: int, adaptive: bool) -> tuple[list[float], list[float]]:
    """Return the width and the charge at each batch of 20 images, until the battery is empty."""
    full = battery = battery_images * macs_by_width[1.0]
    widths, charges = [], []
    while battery > 0 and len(widths) < 100:
        width = 1.0
        if adaptive:
            try:
                width = width_for_budget(macs_by_width, battery / full * macs_by_width[1.0])
            except ValueError:
                break
        widths.append(width)
        charges.append(battery / full)
        battery -= 20 * macs_by_width[width]
    return widths, charges


scores_by_width = dict(zip(WIDTHS, by_width["switchable"], strict=True))


def plot_battery(ax: plt.Axes, battery_images: int) -> None:
    """Draw width and charge over time, for both phones."""
    for adaptive, color in ((True, "C0"), (False, "C1")):
        widths, charges = drain(battery_images, adaptive)
        answered = 20 * len(widths)
        right = 20 * sum(scores_by_width[width] for width in widths)
        name = "dynamic width" if adaptive else "always full"
        label = f"{name}: {answered:,} answers, {right:,.0f} right"
        places = 20 * np.arange(len(widths))
        ax.step(places, widths, color=color, where="post", label=label)
        ax.plot(places, charges, color=color, ls=":")
    ax.set(xlabel="images (of 2,000)", ylabel="width (line), charge (dots)", xlim=(0, 2000))
    ax.set_ylim(0, 1.3)
    ax.legend(loc="upper right")


explorer(plot_battery, battery_images=(200, 2400, 100, 800))

# %% [markdown]
# ### Exercise: `adaptive_width_predict` · ★★★☆ · 25 minutes · 5 points
#
# *By input.* Easy images need only a few channels. Write
# `adaptive_width_predict(model, x, widths, threshold)` that returns `(logits, width_index)`.
#
# - `widths` are in ascending order. `model(x, width)` gives logits.
# - **Narrow first.** All samples are tried at `widths[0]`. A sample whose **top-1** confidence is
#   `>= threshold` keeps this answer. Only the **unsure** ones are tried at the next width, and so
#   on. The last width always answers.
# - Each sample decides for itself. A wider width computes only the samples that are still unsure.
# - `logits` (N, C) and `width_index` (N,), int64, are in the order of `x`. `width_index` is the
#   place in `widths` (0, 1, ...), not the width itself.
# - The model predicts in eval mode; afterwards its mode and everything in it is as before.
# - `ValueError` if there are no widths.
#
# <details><summary>Hint 1</summary>
#
# It is `forward_until_confident` once more. But a wider width starts anew from the images, so keep
# `x` and index it with the places that are still waiting.
#
# <details><summary>Hint 2</summary>
#
# `with torch.no_grad(), eval_mode(model):` puts the model into eval mode and back.
#
# </details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`adaptive_width_predict` · ★★★☆ · 25 分鐘 · 5 分
#
# *依輸入。* 簡單的影像只需要少數通道。寫出 `adaptive_width_predict(model, x, widths, threshold)`，
# 回傳 `(logits, width_index)`。
#
# - `widths` 由小到大排列。`model(x, width)` 回傳 logits。
# - **先窄後寬。** 所有樣本先用 `widths[0]`。**top-1** 信心度 `>= threshold`
#   的樣本就保留這個答案。只有**沒把握**的樣本才用下一個寬度再試，依此類推。最後的寬度一定回答。
# - 每個樣本各自決定。較寬的寬度只計算仍然沒把握的樣本。
# - `logits` (N, C) 與 int64 的 `width_index` (N,)，都依照 `x` 的順序。`width_index` 是在 `widths`
#   中的位置 (0, 1, ...)，不是寬度本身。
# - 模型以 eval 模式預測；之後它的模式與其中的一切都與之前相同。
# - 沒有寬度時，引發 `ValueError`。
#
# <details><summary>提示 1</summary>
#
# 這就是再寫一次 `forward_until_confident`。但較寬的寬度要從影像重新開始，所以保留
# `x`，再用還在等待的位置做索引。
#
# <details><summary>提示 2</summary>
#
# `with torch.no_grad(), eval_mode(model):` 會讓模型進入 eval 模式，結束後再恢復。
#
# </details></details>


# %% exercise="adaptive_width_predict" difficulty=3 minutes=25
def adaptive_width_predict(
    model: nn.Module, x: torch.Tensor, widths: list[float], threshold: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Try narrow widths first, and wider ones where the answer is unsure.

    Args:
        model: Called as model(x, width); returns logits (N, C). Its mode is as before afterwards.
        x: (N, ...). It is not changed.
        widths: Ascending, at least one.
        threshold: A sample is answered where its top-1 confidence is at least this.

    Returns:
        Logits (N, C), and for each sample the index (N,) of the width that answered, int64.

    Raises:
        ValueError: If there are no widths.
    """
    # TODO: narrow first, wider where unsure
    ### BEGIN SOLUTION
    require(len(widths) > 0, "widths must hold at least one width")
    waiting = torch.arange(len(x))
    logits, width_index = torch.empty(0), torch.zeros(len(x), dtype=torch.int64)
    with torch.no_grad(), eval_mode(model):
        for index, width in enumerate(widths):
            answers = model(x[waiting], width)
            if index == 0:
                logits = torch.empty_like(answers)
            sure = confidence(answers, "top1") >= threshold
            if index == len(widths) - 1:
                sure = torch.ones_like(sure)
            logits[waiting[sure]], width_index[waiting[sure]] = answers[sure], index
            waiting = waiting[~sure]
            if len(waiting) == 0:
                break
    return logits, width_index
    ### END SOLUTION


# %% check="adaptive_width_predict" points=5
samples = torch.tensor([[0.1, 0.0], [3.0, 0.0], [0.0, 0.8], [0.3, 0.0], [0.0, 9.0], [0.0, 0.35]])
toy = SeparateNets({width: nn.Linear(2, 2, bias=False) for width in (0.25, 0.5, 1.0)})
with torch.no_grad():
    for factor, layer in enumerate(toy.nets, 1):
        layer.weight.copy_(2**factor * torch.eye(2))
toy.train()
toy.nets[1].eval()
got = adaptive_width_predict(toy, samples, [0.25, 0.5, 1.0], 0.8)
assert isinstance(got, tuple), "expected a tuple (logits, width_index)"
answers, width_index = got
assert width_index.dtype == torch.int64, f"width_index: expected int64, got {width_index.dtype}"
assert width_index.tolist() == [2, 0, 0, 2, 0, 1], (
    f"expected the width indices [2, 0, 0, 2, 0, 1], got {width_index.tolist()}; each sample takes "
    "the first width with top-1 confidence >= threshold, and the last one always answers"
)
assert torch.allclose(answers, samples * 2.0 ** (width_index[:, None] + 1)), (
    "the logits must be those of the width that answered, in the order of the samples"
)
computed = {width: sum(n for w, n in toy.batches if w == width) for width in toy.widths}
assert list(computed.values()) == [6, 3, 2], (
    f"samples computed by width: {computed}; expected 6, 3 and 2: wider only where unsure"
)
assert [net.training for net in toy.nets] == [True, False, True], "the model's mode was changed"
equal = adaptive_width_predict(toy, torch.zeros(1, 2), [0.25, 1.0], 0.5)[1]
assert equal.tolist() == [0], "a confidence of exactly the threshold is enough: >=, not >"
assert is_rejected(adaptive_width_predict, toy, samples, [], 0.5), "no widths: ValueError"
passed("adaptive_width_predict")

# %% [markdown]
# ### Measured: width by the input
#
# What does it cost? A sample that was unsure at 0.25 has paid for 0.25 *and* for the next width:
# nothing is reused. So the costs cumulate, and your `expected_macs` fits here too.

# %% [markdown] lang="zh-TW"
# ### 實測：依輸入選擇寬度
#
# 要花多少成本？在 0.25 沒把握的樣本，要付出 0.25 *以及*下一個寬度的成本：沒有任何結果可以重複利用。
# 所以成本要累計，你的 `expected_macs` 在這裡也適用。

# %%
choices = {"0.25, 1": [0.25, 1.0], "0.25, 0.5, 1": [0.25, 0.5, 1.0], "0.5, 1": [0.5, 1.0]}
some_images, some_labels = test_images[:1000], test_labels[:1000]
plt.figure(figsize=(6.8, 4))
for (name, widths), marker in zip(choices.items(), "os^", strict=True):
    macs, scores = [], []
    for threshold in (0.3, 0.5, 0.7, 0.8, 0.9, 0.99):
        logits, width_index = adaptive_width_predict(switchable, some_images, widths, threshold)
        counts = torch.bincount(width_index, minlength=len(widths)).tolist()
        macs.append(expected_macs(counts, [macs_by_width[width] for width in widths]))
        scores.append(float((logits.argmax(1) == some_labels).float().mean()))
        if threshold == 0.7:
            saving = macs_by_width[1.0] / macs[-1]
            print(
                f"widths {name}, threshold 0.7: {counts[0] / sum(counts):.0%} stay at the first "
                f"width, accuracy {scores[-1]:.1%}, {saving:.2f}x fewer MACs"
            )
    plt.plot(np.array(macs) / 1e6, scores, marker + "-", ms=4, lw=1, label=f"by input: {name}")
with torch.no_grad():
    fixed_scores = [
        float((switchable(some_images, width).argmax(1) == some_labels).float().mean())
        for width in WIDTHS
    ]
fixed = [macs_by_width[width] / 1e6 for width in WIDTHS]
plt.plot(fixed, fixed_scores, "k*--", ms=10, lw=1, label="a fixed width for all")
plt.xlabel("mean MACs (millions)")
plt.ylabel("accuracy")
plt.title("narrow first, wider where unsure")
plt.legend()
plt.show()

# %% [markdown]
# An honest result: choosing by the input is *hardly better* here than one fixed width for all. For
# the same MACs it lies a little above in places, and below in others. Two reasons.
#
# - **Nothing is reused.** Unsure images pay twice, and at high thresholds all of it costs more than
#   full width. An early exit goes on from where it was.
# - This network was trained for a short time, so it is seldom sure, and its widths differ little.
#
# Width by the *budget* does not have this problem, and this is what slimmable networks were made
# for.

# %% [markdown] lang="zh-TW"
# 誠實的結果：在這裡依輸入選擇寬度，*幾乎不比*所有影像都用同一個固定寬度好。MACs
# 相同時，它在某些地方略高，在某些地方較低。原因有兩個。
#
# - **沒有任何結果可以重複利用。** 沒把握的影像要付兩次成本，門檻高的時候，整體比全寬度還貴。
#   早退則是從原來的地方繼續往下算。
# - 這個網路只訓練了很短的時間，所以很少有把握，而且各寬度的差異很小。
#
# 依*預算*選擇寬度就沒有這個問題，可瘦身網路正是為此設計的。

# %% [markdown] written="depth_or_width" points=2
# ### Written question 3 · 2 points
#
# Three devices: (a) a camera with mains power and a hard limit of 5 ms for *every single* image;
# (b) a phone whose battery drains, and which must go on answering; (c) a server that sorts photos
# by the million, most of them easy. For each one: early exit, width by budget, or neither? Give a
# reason each, and use something that you measured.
#
# ### BEGIN SOLUTION
# *Model answer.* (a) Early exit does not help: the limit holds for the slowest image, and that one
# passes all blocks and the exit heads too (slower than without exits, as measured). A fixed width
# that always keeps the limit, or a smaller static network. (b) Width by budget: the battery decides
# the width, one set of weights is stored, and the accuracy falls slowly; in the simulation the
# phone answered more images. (c) Early exit (or width by input): the mean cost counts, most images
# are easy, about half of them left at the first exit with hardly a loss; with large batches or
# large networks time follows.
# *Two points for three reasoned choices, one point for two.*
# ### END SOLUTION

# %% [markdown] lang="zh-TW"
# ### 問答題 3 · 2 分
#
# 有三種裝置：(a) 接市電的攝影機，*每一張*影像都有 5 ms 的嚴格上限；(b) 電量逐漸減少、
# 但必須持續回答的手機；(c) 為數百萬張照片分類的伺服器，大部分照片都很簡單。對每一種裝置，
# 你會用早退、依預算選擇寬度，還是兩者都不用？請各說明理由，並引用你實測到的結果。
#
# ### BEGIN SOLUTION
# *參考答案。* (a) 早退沒有幫助：上限是對最慢的影像而言，而那張影像會通過所有區塊，
# 還要加上各個出口（如實測，比沒有出口更慢）。應使用永遠不超過上限的固定寬度，或較小的靜態網路。
# (b) 依預算選擇寬度：由電量決定寬度，只需儲存一組權重，準確率緩慢下降；在模擬中，
# 手機回答了更多影像。(c) 早退（或依輸入選擇寬度）：這裡在意的是平均成本，大部分影像很簡單，
# 約一半從第一個出口離開，幾乎沒有損失；批次大或網路大時，時間也會跟著減少。
# *三個選擇都有理由得兩分，兩個得一分。*
# ### END SOLUTION

# %% [markdown]
# ## In practice: cut the graph
#
# A deployed network is often a fixed graph, without an `if` inside. The usual way to ship an early
# exit is then **several graphs** and an `if` between them. We do this with **ONNX**:
# `onnx.utils.extract_model` cuts the graph behind block 0, and **onnxruntime** runs the parts. The
# threshold comes from your `choose_threshold`.
#
# In the library world, early exits live on in language models (an easy word leaves the layers
# early), and slimmable networks in *once-for-all* networks, from which each phone takes its size.

# %% [markdown] lang="zh-TW"
# ## 業界的做法：切開計算圖
#
# 部署的網路通常是一張固定的計算圖 (graph)，裡面沒有 `if`。因此，要部署早退，
# 通常的做法是**多張計算圖**，中間加上 `if`。我們用 **ONNX** 來做：`onnx.utils.extract_model` 在區塊
# 0 之後切開計算圖，再由 **onnxruntime** 執行各個部分。門檻來自你的 `choose_threshold`。
#
# 在業界的函式庫中，早退延續到語言模型（簡單的字詞提早離開各層），可瘦身網路則延續到 *once-for-all*
# 網路，每支手機從中取出適合自己的尺寸。

# %%
import onnx
import onnxruntime

from course_utils.onnx_models import write_onnx

folder = Path(tempfile.mkdtemp())
whole = nn.Sequential(*blocks[0], *blocks[1], *blocks[2], exits[2])
write_onnx(whole, folder / "whole.onnx", (1, 28, 28))
write_onnx(exits[0], folder / "exit.onnx", (20, 12, 12))
cut = "x2"  # the output of layer 2, the pooling at the end of block 0
for name, inputs, outputs in (("front", "images", cut), ("rest", cut, "logits")):
    onnx.utils.extract_model(
        str(folder / "whole.onnx"), str(folder / f"{name}.onnx"), [inputs], [outputs]
    )
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
options.log_severity_level = 3
parts = {
    name: onnxruntime.InferenceSession(
        str(folder / f"{name}.onnx"), options, providers=["CPUExecutionProvider"]
    )
    for name in ("whole", "front", "exit", "rest")
}


def run(name: str, array: np.ndarray) -> np.ndarray:
    """Run one of the graphs."""
    session = parts[name]
    return session.run(None, {session.get_inputs()[0].name: array})[0]


def run_with_exit(image: np.ndarray, threshold: float) -> tuple[np.ndarray, int]:
    """Return the logits of one image and the exit it took (0 or 2)."""
    features = run("front", image)
    logits = run("exit", features)[0]
    shifted = np.exp(logits - logits.max())
    if shifted.max() / shifted.sum() >= threshold:
        return logits, 0
    return run("rest", features)[0], 2


threshold = choose_threshold(
    confidence(held_out_logits[0], "top1"),
    held_out_logits[0].argmax(1) == held_out_labels,
    0.98,
)
pair = EarlyExitNet([blocks[0], nn.Sequential(blocks[1], blocks[2])], [exits[0], exits[2]]).eval()
own, own_exit = pair.forward_until_confident(test_images[:500], threshold, "top1")
arrays = [image[None].numpy() for image in test_images[:500]]
shipped = [run_with_exit(array, threshold) for array in arrays]
same = np.mean([(e > 0) == bool(o) for (_, e), o in zip(shipped, own_exit, strict=True)])
gap = max(float(np.abs(a - b.numpy()).max()) for (a, _), b in zip(shipped, own, strict=True))
share = np.mean([e == 0 for _, e in shipped])
speed = compare_speed(
    lambda: [run("whole", array) for array in arrays[:100]],
    lambda: [run_with_exit(array, threshold) for array in arrays[:100]],
    seconds=1.0,
)
print(f"threshold {threshold:.3f}: {share:.0%} of the images leave at exit 0")
print(f"same exit as your EarlyExitNet: {same:.1%} of the images; logits differ by {gap:.1e}")
print(f"onnxruntime, one image at a time, against the whole graph: {speed}")

# %% [markdown]
# The same answers, and no Python in the layers. But onnxruntime makes LeNet itself fast as well, so
# the exit head and the second call weigh as much as before. The exit pays where the rest of the
# graph is expensive, in any library.

# %% [markdown] lang="zh-TW"
# 答案相同，而且各層之中沒有 Python。但 onnxruntime 也讓 LeNet 本身變快，
# 所以出口與第二次呼叫所佔的比重和之前一樣。不論用哪個函式庫，計算圖的其餘部分很昂貴時，
# 早退才划算。

# %% [markdown]
# ## Summary
#
# - **Dynamic computation** adapts the work to the input or to the moment. It saves computation,
#   **not storage**: the file is even a little larger.
# - **Confidence**: `1 - H / log C`, or the largest probability. Larger is surer.
# - **Early exit** (not early stopping): each sample leaves at the first exit with confidence >=
#   threshold; the last exit always answers. Exits are trained jointly, with a weighted loss.
# - **MACs cumulate**: who leaves at exit i has paid for all blocks up to i. Time saves less than
#   MACs, most of all in small networks.
# - Exits pay *before* the expensive layers.
# - **Slimmable**: the first `ceil(width * n)` channels; first input and last output stay whole. All
#   widths are trained together.
# - **Switchable batch norm**: each width has its own statistics. With shared ones the weights are
#   fine, but the statistics fit no width. Recalibration heals that.
# - **Who chooses?** A budget (battery), or the input: narrow first, wider where unsure.
#
# | | dynamic depth | dynamic width |
# |---|---|---|
# | what varies | number of layers | channels in each layer |
# | unsure samples | go on from where they are | start anew, wider |
# | training | sum of losses over exits | sum of losses over widths |
# | extra storage | exit heads | batch norms of each width |
# | good for | mostly easy inputs | a budget that changes |

# %% [markdown] lang="zh-TW"
# ## 總結
#
# - **動態計算**讓運算量配合輸入或時刻。它節省的是運算，**不是儲存空間**：檔案甚至稍微變大。
# - **信心度**：`1 - H / log C`，或最大的機率。越大越有把握。
# - **早退**（不是早停）：每個樣本從第一個信心度 >= 門檻的出口離開；最後的出口一定回答。
#   所有出口以加權的 loss 聯合訓練。
# - **MACs 要累計**：從出口 i 離開的樣本，付出了到區塊 i 為止所有區塊的成本。省下的時間比 MACs
#   少，小網路尤其如此。
# - 出口放在昂貴的層*之前*才划算。
# - **可瘦身** (slimmable)：使用前 `ceil(width * n)` 個通道；最前面的輸入與最後面的輸出保持完整。
#   所有寬度一起訓練。
# - **可切換的 Batch Norm**：每種寬度有自己的統計量。共用時權重沒問題，但統計量對任何寬度都不合適。
#   重新校準就能恢復正常。
# - **誰來選擇？** 預算（電量），或輸入：先窄，沒把握時再變寬。
#
# | | 動態深度 | 動態寬度 |
# |---|---|---|
# | 改變什麼 | 層數 | 每層的通道數 |
# | 沒把握的樣本 | 從原來的地方繼續 | 以較寬的寬度重新開始 |
# | 訓練 | 所有出口的 loss 總和 | 所有寬度的 loss 總和 |
# | 額外的儲存 | 出口 | 每種寬度的 Batch Norm |
# | 適合 | 大部分輸入都簡單 | 會變動的預算 |

# %% [markdown]
# ## Exam practice
#
# **1.** What is the difference between early exit and early stopping? (a) none, two names for one
# thing (b) exit ends the way of one sample through the network, stopping ends the training (c) exit
# ends the training, stopping the inference (d) both shrink the model.
#
# <details><summary>Answer</summary>
#
# (b). Neither makes the stored model smaller.
#
# </details>
#
# **2.** A network has three blocks of 1, 3 and 6 million MACs, exit heads included. Of 100 samples
# 50 leave at exit 0, 30 at exit 1, 20 at exit 2. How many million MACs does a sample cost on
# average?
#
# <details><summary>Answer</summary>
#
# Cumulated costs: 1, 4, 10. (50 · 1 + 30 · 4 + 20 · 10) / 100 = **3.7**. Without exits about 10.
#
# </details>
#
# **3.** Which are true of dynamic computation? (a) It makes the stored network smaller. (b) It can
# follow the battery level. (c) One network is stored in place of several. (d) Every sample gets the
# same amount of work. (e) Training is more complex than for a plain network.
#
# <details><summary>Answer</summary>
#
# (b), (c) and (e).
#
# </details>
#
# **4.** Put in order what one sample goes through in an early-exit network with two exits, when the
# first exit is unsure: (a) compare the confidence with the threshold (b) block 1 and the last exit
# (c) block 0 (d) softmax and confidence at exit 0 (e) answer.
#
# <details><summary>Answer</summary>
#
# c, d, a, b, e. The last exit needs no comparison.
#
# </details>
#
# **5.** Match: top-1, entropy, dynamic depth, dynamic width with: (1) the first channels of each
# layer (2) small when the network is sure (3) large when the network is sure (4) a varying number
# of layers.
#
# <details><summary>Answer</summary>
#
# Top-1: 3. Entropy: 2. Dynamic depth: 4. Dynamic width: 1.
#
# </details>

# %% [markdown] lang="zh-TW"
# ## 考前練習
#
# **1.** 早退與早停有什麼不同？(a) 沒有不同，是同一件事的兩個名稱
# (b) 早退結束一個樣本通過網路的路程，早停結束訓練 (c) 早退結束訓練，早停結束推論
# (d) 兩者都縮小模型。
#
# <details><summary>答案</summary>
#
# (b)。兩者都不會讓儲存的模型變小。
#
# </details>
#
# **2.** 一個網路有三個區塊，各需 1、3、6 百萬 MACs，已含出口。100 個樣本中，50 個從出口 0、30
# 個從出口 1、20 個從出口 2 離開。平均一個樣本要花多少百萬 MACs？
#
# <details><summary>答案</summary>
#
# 累計成本：1、4、10。(50 · 1 + 30 · 4 + 20 · 10) / 100 = **3.7**。沒有出口時大約是 10。
#
# </details>
#
# **3.** 關於動態計算，哪些敘述正確？(a) 它讓儲存的網路變小。(b) 它可以依電量調整。
# (c) 只儲存一個網路，取代多個網路。(d) 每個樣本的運算量都相同。(e) 訓練比一般網路複雜。
#
# <details><summary>答案</summary>
#
# (b)、(c) 與 (e)。
#
# </details>
#
# **4.** 有兩個出口的早退網路，第一個出口沒把握時，請依序排列一個樣本經歷的過程：
# (a) 將信心度與門檻比較 (b) 區塊 1 與最後的出口 (c) 區塊 0 (d) 出口 0 的 softmax 與信心度
# (e) 回答。
#
# <details><summary>答案</summary>
#
# c、d、a、b、e。最後的出口不需要比較。
#
# </details>
#
# **5.** 將 top-1、熵、動態深度、動態寬度，與下列項目配對：(1) 每一層前面的通道 (2) 網路有把握時值小
# (3) 網路有把握時值大 (4) 可變的層數。
#
# <details><summary>答案</summary>
#
# Top-1：3。熵：2。動態深度：4。動態寬度：1。
#
# </details>

# %%
progress()
