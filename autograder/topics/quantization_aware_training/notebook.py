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
#   topic: quantization_aware_training
#   number: 4
#   title: Quantization-aware training
# ---

# %% [markdown]
# # 4 Quantization-aware training (量化感知訓練)
#
# Post-training quantization (訓練後量化, PTQ) rounds the weights of a network that never heard of
# rounding. At 8 bits that costs nothing. At 2 bits the network is lost.
# **Quantization-aware training** (量化感知訓練, QAT) lets the network feel the rounding *while it
# learns*, so that it can work around it.
#
# At the end you can
#
# - write **fake quantization** (假量化) with the **straight-through estimator** (直通估計器, STE),
#   and say what its gradient is;
# - track the range of activations with a **moving average** (移動平均);
# - turn any network of conv and linear layers into one that trains with quantization;
# - fine-tune after PTQ with **frozen scales** (凍結縮放), as the lecture says;
# - convert the result to **integer weights** (整數權重), and show that nothing changed.
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
# - A function changes none of its arguments.
# - A function that takes a model and returns one works on a deep copy and returns it in eval mode.
#   The caller's model, its gradients and the train/eval mode of every submodule stay as they were.
# - Loaders yield `(images, labels)`. Fractions lie in [0, 1] and are never percent.
# - Layers are named as in `model.named_modules()`: `"conv1"`.
# - An impossible argument raises a `ValueError` whose message names the argument: `bits` below 2 or
#   above 16, a momentum outside [0, 1], an unknown layer name, `lr <= 0`, negative `epochs`, a
#   tensor with NaN.
# - Layers are `nn.Linear` and `nn.Conv2d` without groups. Optimizer and schedule are free.

# %% [markdown] lang="zh-TW"
# # 4 量化感知訓練 (Quantization-Aware Training)
#
# 訓練後量化 (post-training quantization, PTQ) 對一個從沒聽過取整的網路，直接把權重取整。8
# 位元時毫無損失；2 位元時，網路就毀了。
# **量化感知訓練** (quantization-aware training, QAT) 讓網路*在學習時*就感受到取整，
# 因此能設法適應它。
#
# 學完之後，你能夠
#
# - 寫出使用**直通估計器** (straight-through estimator, STE) 的**假量化** (fake
#   quantization)，並說明它的梯度是什麼；
# - 以**移動平均** (moving average) 追蹤激活值的範圍；
# - 把任何由卷積層與全連接層組成的網路，變成能以量化訓練的網路；
# - 在 PTQ 之後以**凍結縮放** (frozen scales) 微調，如同課程所說；
# - 把結果轉換成**整數權重** (integer weights)，並證明什麼都沒變。
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
# - 函式不會更動任何引數。
# - 接收模型並回傳模型的函式，要在深層複製 (deep copy) 的副本上操作，並以 eval
#   模式回傳副本。呼叫者的模型、它的梯度，以及每個子模組的 train/eval 模式都保持原樣。
# - Loader 產生 `(images, labels)`。比例都在 [0, 1] 之間，不用百分比。
# - 層的名稱與 `model.named_modules()` 中的相同：`"conv1"`。
# - 不合理的引數要引發 `ValueError`，訊息中要寫出該引數的名稱：`bits` 小於 2 或大於 16、momentum
#   不在 [0, 1] 內、未知的層名稱、`lr <= 0`、負的 `epochs`、含 NaN 的張量。
# - 層是沒有 groups 的 `nn.Linear` 與 `nn.Conv2d`。最佳化器 (optimizer) 與學習率排程可自由選擇。

# %% define
import copy
import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from course_utils.arguments import is_rejected, require
from course_utils.data import load_images, make_loader
from course_utils.evaluation import accuracy, predict
from course_utils.models import BatchNormCNN
from course_utils.training import train

# %% [markdown]
# Some helpers are given.
#
# - `require(2 <= bits <= 16, "bits must lie in 2 .. 16")` rejects an argument.
# - `code_range(bits, signed)` gives the smallest and the largest **code** (量化碼).
# - `range_to_scale(low, high, bits)` gives **scale** (縮放) and **zero point** (零點) of the
#   asymmetric scheme of notebook 3, for a range that is known already.
# - `weight_scale(weight, bits)` gives the symmetric scale of a weight. At 8 bits it is the one of
#   notebook 3. At very few bits it is smaller. Why? With 2 bits the largest weight alone would set
#   the grid `{-2m, -m, 0, m}`, and almost every other weight would round to 0. A smaller scale cuts
#   a few outliers off and keeps the rest apart (Esser et al. 2020).

# %% [markdown] lang="zh-TW"
# 以下提供幾個輔助函式。
#
# - `require(2 <= bits <= 16, "bits must lie in 2 .. 16")` 用來拒絕引數。
# - `code_range(bits, signed)` 回傳最小與最大的**整數碼**（code，量化碼）。
# - `range_to_scale(low, high, bits)` 針對已知的範圍，回傳 notebook 3 中非對稱量化的**縮放** (scale)
#   與**零點** (zero point)。
# - `weight_scale(weight, bits)` 回傳權重的對稱縮放。在 8 位元時，它就是 notebook 3
#   的縮放。位元非常少時，它比較小。為什麼？在 2 位元時，單單最大的權重就會決定格點為
#   `{-2m, -m, 0, m}`，幾乎其他所有權重都會取整為 0。較小的縮放截掉少數離群值，
#   讓其餘的權重保持可區分 (Esser et al. 2020)。


# %% define
def code_range(bits: int, signed: bool) -> tuple[int, int]:
    """Return the smallest and the largest code.

    Args:
        bits: Bits of a code, 2 to 16.
        signed: True: -2^(b-1) .. 2^(b-1) - 1. False: 0 .. 2^b - 1.

    Raises:
        ValueError: If bits is outside 2 .. 16.
    """
    require(2 <= bits <= 16, f"bits must lie in 2 .. 16, got {bits}")
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def range_to_scale(low: float, high: float, bits: int) -> tuple[float, int]:
    """Return scale and zero point of unsigned codes for values in [low, high].

    Args:
        low: Smallest value. The range is extended so that it holds 0.
        high: Largest value, at least `low`.
        bits: Bits of a code, 2 to 16.

    Returns:
        Scale (above 0) and zero point, which is the code of the value 0.
    """
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    _, last = code_range(bits, signed=False)
    scale = (high - low) / last or 1.0
    return scale, min(max(round(-low / scale), 0), last)


def weight_scale(weight: torch.Tensor, bits: int) -> float:
    """Return the symmetric scale for the signed codes of a weight.

    Args:
        weight: Any shape.
        bits: Bits of a code, 2 to 16.

    Returns:
        min-max, or `2 mean|w| / sqrt(2^(b-1) - 1)` where that is smaller; 1.0 for zeros.

    Source:
        Esser et al. 2020, Learned Step Size Quantization (its starting value).
    """
    _, last = code_range(bits, signed=True)
    size = weight.detach().abs()
    scale = min(float(size.max()) / last, 2 * float(size.mean()) / math.sqrt(last))
    return scale or 1.0


# %%
import time
import warnings

import matplotlib.pyplot as plt
import numpy as np

from course_utils import measures
from course_utils.checkpoints import load_checkpoint
from course_utils.plots import use_course_style
from course_utils.progress import passed, progress
from course_utils.remembering import remember
from course_utils.training import warm_up
from course_utils.widgets import explorer

use_course_style()
warm_up()  # PyTorch loads its compiler at the first step of training: now, not in a check
torch.set_num_threads(1)  # two threads disturb each other on a busy machine
torch.manual_seed(1)

images, labels = load_images("train")
held_out_images, held_out_labels = load_images("validation")
held_out = make_loader(held_out_images, held_out_labels, batch_size=500)

network = load_checkpoint("batch_norm_cnn")
start = accuracy(network, held_out)
print(f"BatchNormCNN: {measures.count_parameters(network):,} parameters")
print(f"accuracy on {len(held_out_labels):,} held-out images: {start:.1%}")

# %% [markdown]
# ## The idea on one page
#
# **Fake quantization** means: quantize, then dequantize at once. The result is a float again, but
# it lies on the grid of the codes. So the network computes with the rounded values, and the loss
# sees the damage.
#
# - *Forward*: a staircase.
# - *Backward*: a staircase is flat. Its true gradient is 0 almost everywhere, so nothing would
#   learn. The **straight-through estimator** pretends that the step was the line `y = x`, and
#   passes
#   the gradient through unchanged. Where the staircase has ended, the value is **clipped**
#   (截斷), and the gradient is 0.
#
# The **float weight stays** and is what learns. It is called the **shadow weight** (影子權重).
# Many small steps of the optimizer add up in it, until the rounded weight jumps to the next level.
# If the rounded weight took the place of the float weight, each small step would be rounded away.

# %% [markdown] lang="zh-TW"
# ## 一頁看懂核心概念
#
# **假量化** (fake quantization) 的意思是：量化之後，立刻反量化。結果又是浮點數，
# 但落在整數碼的格點上。所以網路以取整後的值計算，loss 也看得到損害。
#
# - *前向*：一座階梯。
# - *反向*：階梯是平的。它真正的梯度幾乎處處為 0，所以什麼都學不到。**直通估計器** (STE)
#   假裝這一步是直線 `y = x`，讓梯度原封不動地穿過。在階梯已經結束的地方，值被**截斷**
#   (clipped)，梯度為 0。
#
# **浮點權重保留下來**，學習的正是它。它稱為**影子權重** (shadow weight)。
# 最佳化器的許多小步在其中累積，直到取整後的權重跳到下一階。如果用取整後的權重取代浮點權重，
# 每個小步都會因為取整而消失。


# %%
def draw_box(axes: plt.Axes, x: float, y: float, text: str, color: str) -> None:
    """Draw a labelled box around (x, y)."""
    style = {"boxstyle": "round,pad=0.5", "facecolor": color, "alpha": 0.35, "edgecolor": "0.3"}
    axes.text(x, y, text, ha="center", va="center", bbox=style, fontsize=10)


figure, panels = plt.subplots(1, 3, figsize=(12, 3.1), width_ratios=[2.2, 1, 1])
flow, staircase, slope = panels
for x, y, text, color in [
    (0.0, 1.0, "input x", "C0"),
    (1.1, 1.0, "fake\nquantize", "C1"),
    (0.0, 0.0, "float weight\n(learns)", "C0"),
    (1.1, 0.0, "fake\nquantize", "C1"),
    (2.2, 0.5, "conv or\nlinear", "C2"),
    (3.3, 0.5, "loss", "C3"),
]:
    draw_box(flow, x, y, text, color)
for tail, head in [
    ((0.4, 1.0), (0.75, 1.0)),
    ((0.45, 0.0), (0.75, 0.0)),
    ((1.45, 0.95), (1.85, 0.65)),
    ((1.45, 0.05), (1.85, 0.35)),
    ((2.6, 0.5), (3.05, 0.5)),
]:
    flow.annotate("", head, tail, arrowprops={"arrowstyle": "->", "color": "0.2"})
back = {"arrowstyle": "->", "color": "C3", "ls": "--", "connectionstyle": "arc3,rad=-0.35"}
flow.annotate("", (0.2, -0.28), (3.3, 0.2), arrowprops=back)
flow.text(1.9, -0.72, "gradient, straight through", color="C3", ha="center")
flow.set(xlim=(-0.6, 3.8), ylim=(-0.95, 1.45), title="one layer in QAT")
flow.axis("off")
line = np.linspace(-3.4, 2.9, 1000)
levels = np.clip(np.round(line), -2, 1)  # 2 bits, signed, scale 1
staircase.plot(line, line, color="0.7", ls=":", label="y = x")
staircase.plot(line, levels, color="C0", label="fake quantize")
staircase.set(title="forward", xlabel="x")
staircase.legend()
slope.plot(line, np.zeros_like(line), color="0.6", ls=":", label="true gradient")
slope.plot(line, (line > -2.5) & (line < 1.5), color="C3", label="straight through")
slope.set(title="backward", xlabel="x", ylim=(-0.1, 1.35))
slope.legend(loc="upper right")
plt.show()

# %% [markdown]
# ## Part A: fake quantization (假量化)
#
# ### Exercise: `fake_quantize` · ★★☆☆ · 20 minutes · 5 points
#
# Write `fake_quantize(x, scale, zero_point, bits, signed)`.
#
# *Forward.* `code = clamp(round(x / scale) + zero_point)`, then `(code - zero_point) * scale`.
# `round` rounds half to even, as `torch.round` does. Signed codes go from `-2^(b-1)` to
# `2^(b-1) - 1`, unsigned codes from 0 to `2^b - 1`.
#
# *Backward*, for the gradient with respect to x:
#
# - **1** where x lies between the first and the last level;
# - **0** where x is clipped. Within half a step beyond the last level you may choose.
# - `scale` and `zero_point` are constants: no gradient goes to them, even if `scale` is a tensor
#   that requires one.
#
# `ValueError` for bits outside 2 .. 16 and for an x with NaN.
#
# *Example.* Scale 0.5, zero point 1, 2 bits, unsigned. The codes 0, 1, 2, 3 stand for the values
# -0.5, 0, 0.5, 1.
#
# | x | -2 | -0.4 | 0.2 | 0.6 | 5 |
# |---|---|---|---|---|---|
# | result | -0.5 | -0.5 | 0 | 0.5 | 1 |
# | gradient | 0 | 1 | 1 | 1 | 0 |
#
# <details><summary>Hint 1</summary>
#
# `x + (y - x).detach()` has the value of `y` and the gradient of `x`.
#
# <details><summary>Hint 2</summary>
#
# That alone also lets the gradient through where x is clipped. Find the places where the code,
# before the clamp, lies in the range.
#
# <details><summary>Hint 3</summary>
#
# `torch.where(inside, x + (y - x).detach(), y.detach())`. Or write a `torch.autograd.Function`.
#
# </details></details></details>

# %% [markdown] lang="zh-TW"
# ## A 部分：假量化 (fake quantization)
#
# ### 練習：`fake_quantize` · ★★☆☆ · 20 分鐘 · 5 分
#
# 寫出 `fake_quantize(x, scale, zero_point, bits, signed)`。
#
# *前向。* `code = clamp(round(x / scale) + zero_point)`，接著是 `(code - zero_point) * scale`。
# `round` 採用四捨六入五成雙 (round half to even)，與 `torch.round` 相同。Signed 整數碼從 `-2^(b-1)`
# 到 `2^(b-1) - 1`，unsigned 整數碼從 0 到 `2^b - 1`。
#
# *反向*，對 x 的梯度：
#
# - x 在第一階與最後一階之間時，梯度為 **1**；
# - x 被截斷時，梯度為 **0**。超出最後一階半個間距以內的地方，由你決定。
# - `scale` 與 `zero_point` 是常數：沒有梯度傳給它們，即使 `scale` 是需要梯度的張量也一樣。
#
# bits 不在 2 .. 16 之內，或 x 含 NaN 時，引發 `ValueError`。
#
# *範例。* 縮放 0.5、零點 1、2 位元、unsigned。整數碼 0、1、2、3 代表數值 -0.5、0、0.5、1。
#
# | x | -2 | -0.4 | 0.2 | 0.6 | 5 |
# |---|---|---|---|---|---|
# | 結果 | -0.5 | -0.5 | 0 | 0.5 | 1 |
# | 梯度 | 0 | 1 | 1 | 1 | 0 |
#
# <details><summary>提示 1</summary>
#
# `x + (y - x).detach()` 的值是 `y`，梯度是 `x` 的梯度。
#
# <details><summary>提示 2</summary>
#
# 只有這樣的話，x 被截斷的地方也會有梯度通過。找出在 clamp 之前，整數碼就落在範圍內的位置。
#
# <details><summary>提示 3</summary>
#
# `torch.where(inside, x + (y - x).detach(), y.detach())`。或者寫一個 `torch.autograd.Function`。
#
# </details></details></details>


# %% exercise="fake_quantize" difficulty=2 minutes=20
def fake_quantize(
    x: torch.Tensor, scale: float | torch.Tensor, zero_point: int, bits: int, signed: bool
) -> torch.Tensor:
    """Quantize and dequantize, with the straight-through gradient.

    Args:
        x: Any shape, float. It is not changed.
        scale: Distance of two levels, above 0. A constant: it gets no gradient.
        zero_point: The code of the value 0.
        bits: Bits of a code, 2 to 16.
        signed: True: codes -2^(b-1) .. 2^(b-1) - 1. False: 0 .. 2^b - 1.

    Returns:
        Tensor of x's shape and dtype, on the grid. Its gradient with respect to x is 1 between
        the first and the last level, and 0 where x is clipped.

    Raises:
        ValueError: If bits is outside 2 .. 16, or x holds NaN.

    Source:
        Jacob et al. 2018, Quantization and Training of Neural Networks for Efficient
        Integer-Arithmetic-Only Inference; Bengio et al. 2013, Estimating or Propagating Gradients
        Through Stochastic Neurons.
    """
    # TODO: round to the grid, let the gradient pass where x is not clipped
    ### BEGIN SOLUTION
    low, high = code_range(bits, signed)
    require(not x.isnan().any(), "x must not hold NaN")
    with torch.no_grad():
        codes = torch.round(x / scale) + zero_point
        inside = (codes >= low) & (codes <= high)
        levels = ((codes.clamp(low, high) - zero_point) * scale).to(x.dtype)
    # x - x is 0, but its gradient is 1.
    return torch.where(inside, levels + (x - x.detach()), levels)
    ### END SOLUTION


# %% check="fake_quantize" points=5
x = torch.tensor([-2.0, -0.4, 0.2, 0.6, 5.0], requires_grad=True)
y = fake_quantize(x, 0.5, 1, 2, False)
assert isinstance(y, torch.Tensor), f"expected a tensor, got {type(y).__name__}"
assert y.shape == x.shape, f"expected the shape {tuple(x.shape)}, got {tuple(y.shape)}"
assert y.dtype == x.dtype, f"expected {x.dtype}, got {y.dtype}"
assert y.tolist() == [-0.5, -0.5, 0.0, 0.5, 1.0], (
    f"expected [-0.5, -0.5, 0, 0.5, 1], got {y.tolist()}: round, add the zero point, clamp to "
    "0 .. 3, subtract the zero point, multiply"
)
assert y.requires_grad, "no gradient: torch.round and .detach() alone cut x off"
y.sum().backward()
assert x.grad.abs().sum() > 0, "the gradient is 0 everywhere: torch.round has no slope"
assert x.grad.tolist() != [1.0] * 5, "the gradient also passes where x is clipped (-2 and 5)"
assert x.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0], (
    f"expected the gradient [0, 1, 1, 1, 0], got {x.grad.tolist()}"
)
signed_levels = fake_quantize(torch.linspace(-20, 20, 401), 1.0, 0, 4, True)
assert (signed_levels.min(), signed_levels.max()) == (-8, 7), (
    f"signed, 4 bits, scale 1: expected the levels -8 .. 7, got {signed_levels.min()} .. "
    f"{signed_levels.max()}"
)
unsigned_levels = fake_quantize(torch.linspace(-20, 20, 401), 1.0, 3, 4, False)
assert (unsigned_levels.min(), unsigned_levels.max()) == (-3, 12), (
    f"unsigned, 4 bits, scale 1, zero point 3: expected the levels -3 .. 12, got "
    f"{unsigned_levels.min()} .. {unsigned_levels.max()}"
)
scale = torch.tensor(0.5, requires_grad=True)
fake_quantize(torch.linspace(-3, 3, 7, requires_grad=True), scale, 0, 3, True).sum().backward()
assert scale.grad is None or scale.grad == 0, "a gradient went to the scale: it is a constant here"
assert is_rejected(fake_quantize, x, 0.5, 0, 1, True), "bits=1 must raise a ValueError"
assert is_rejected(fake_quantize, x, 0.5, 0, 17, True), "bits=17 must raise a ValueError"
assert is_rejected(fake_quantize, torch.tensor([float("nan")]), 0.5, 0, 4, True), (
    "NaN must raise a ValueError"
)
passed("fake_quantize")

# %% [markdown]
# ### Explore the staircase and its gradient
#
# Move the sliders. Look at three things.
#
# - More bits: more steps, and a wider range without clipping.
# - The zero point moves the staircase left or right. The value 0 always has a level of its own.
# - The red curve is *your* gradient: 1 on the stairs, 0 beyond them.

# %% [markdown] lang="zh-TW"
# ### 探索階梯與它的梯度
#
# 移動滑桿，觀察三件事。
#
# - 位元越多：階數越多，不被截斷的範圍也越大。
# - 零點讓階梯向左或向右移動。數值 0 永遠有自己的一階。
# - 紅色曲線是*你的*梯度：在階梯上是 1，在階梯之外是 0。


# %%
def plot_staircase(ax: plt.Axes, bits: int, scale: float, zero_point: int, signed: bool) -> None:
    """Draw your fake quantization and its gradient."""
    x = torch.linspace(-4, 4, 1601, requires_grad=True)
    y = fake_quantize(x, scale, zero_point, bits, signed)
    y.sum().backward()
    ax.plot([-4, 4], [-4, 4], color="0.7", ls=":", label="y = x")
    ax.plot(x.detach(), y.detach(), color="C0", label="fake_quantize(x)")
    ax.plot(x.detach(), x.grad, color="C3", lw=2.5, label="its gradient")
    low, high = code_range(bits, signed)
    first, last = ((code - zero_point) * scale for code in (low, high))
    ax.set_title(f"codes {low} .. {high}, levels {first:.3g} .. {last:.3g}")
    ax.set(xlabel="x", ylim=(-4.3, 4.3))
    ax.legend(loc="upper left")


explorer(
    plot_staircase,
    bits=(2, 5, 1, 3),
    scale=(0.1, 1.0, 0.05, 0.6),
    zero_point=(-2, 6, 1, 0),
    signed=True,
)

# %% [markdown]
# ### Measured: what the gradient decides
#
# One weight, one step at a time. The target is 0.9, the grid has the step 0.5. We minimise
# `(fake(w) - 0.9)²` with plain gradient descent, three ways.

# %% [markdown] lang="zh-TW"
# ### 實測：梯度決定了什麼
#
# 一個權重，一次走一步。目標是 0.9，格點的間距是 0.5。我們以單純的梯度下降最小化
# `(fake(w) - 0.9)²`，共有三種方式。

# %%
target, step, rate = 0.9, 0.5, 0.02
paths: dict[str, list[float]] = {}
for name in ("no estimator", "weight replaced", "straight through"):
    weight = torch.tensor(0.05)
    paths[name] = []
    for _ in range(60):
        weight.requires_grad_(True)
        rounded = fake_quantize(weight, step, 0, 4, True)
        if name == "no estimator":
            rounded = torch.round(weight / step) * step  # torch.round: gradient 0
        ((rounded - target) ** 2).backward()
        with torch.no_grad():
            weight = weight - rate * weight.grad
            if name == "weight replaced":
                weight = fake_quantize(weight, step, 0, 4, True)
        paths[name].append(float(fake_quantize(weight, step, 0, 4, True)))
        if name == "straight through":
            paths.setdefault("its float weight", []).append(float(weight))
plt.figure(figsize=(7, 3))
for (name, path), style in zip(paths.items(), ("s:", "^:", "-", "--"), strict=True):
    plt.plot(path, style, ms=3, label=name)
plt.axhline(target, color="0.6", lw=1)
plt.text(28, target + 0.03, "target")
plt.xlabel("step")
plt.ylabel("weight")
plt.legend(loc="center right", bbox_to_anchor=(1, 0.3))
plt.show()

# %% [markdown]
# Without the estimator nothing moves. With the weight replaced, each step is smaller than half a
# level and is rounded away: nothing moves either. With a float weight in the shadow, the steps add
# up.
# Look at the end: the float weight swings around the border between two levels, because 0.9 is
# not on
# the grid. This **oscillation** (振盪) is real in QAT too. A learning rate that falls to zero calms
# it.

# %% [markdown] lang="zh-TW"
# 沒有估計器，什麼都不會動。若權重被取代，每一步都小於半階，一取整就消失了：同樣什麼都不會動。
# 有浮點權重當影子時，小步就能累積起來。
# 看看最後的部分：浮點權重在兩階的交界附近來回擺動，因為 0.9 不在格點上。這種**振盪** (oscillation)
# 在 QAT 中也真的會發生。讓學習率下降到零，可以使它平息。

# %% [markdown] written="why_straight_through" points=2
# ### Written question 1 · 2 points
#
# A classmate says: 'The straight-through estimator is a wrong gradient. So QAT cannot work.'
# (a) What is the *true* gradient of the loss with respect to a float weight, and why is it useless?
# (b) Why is the gradient set to 0 where a value is clipped, and not to 1 as everywhere else? Say
# what would happen to a weight far outside the range.
#
# ### BEGIN SOLUTION
# *Model answer.* (a) The rounded weight is a step function of the float weight. Its derivative is 0
# almost everywhere (and does not exist at the steps), so the true gradient is 0 and no weight would
# ever move. The estimator replaces the staircase by the line through it: averaged over a few steps,
# the staircase does rise like `y = x`, so the direction is useful although it is not exact.
# (b) Where a value is clipped the output stays the same when x moves on: even the smoothed curve is
# flat there. With gradient 1 the optimizer would believe that it changes the output. It could push
# a weight further and further out without any effect on the loss, and this weight would need many
# steps
# to come back.
# *One point for (a): zero almost everywhere, no learning. One point for (b): flat beyond the range,
# weights that run away, or an equal argument.*
# ### END SOLUTION

# %% [markdown] lang="zh-TW"
# ### 問答題 1 · 2 分
#
# 有位同學說：「直通估計器的梯度是錯的，所以 QAT 不可能有效。」
# (a) Loss 對浮點權重*真正*的梯度是什麼？為什麼它沒有用處？
# (b) 為什麼在值被截斷的地方把梯度設為 0，而不是像其他地方一樣設為 1？
# 請說明遠在範圍之外的權重會發生什麼事。
#
# ### BEGIN SOLUTION
# *參考答案。* (a) 取整後的權重是浮點權重的階梯函數。它的導數幾乎處處為 0（在跳躍處則不存在），
# 所以真正的梯度是 0，沒有任何權重會移動。估計器以穿過階梯的直線取代階梯：平均幾階來看，階梯確實像
# `y = x` 一樣上升，所以方向雖然不精確，卻有用。
# (b) 在值被截斷的地方，x 繼續移動時輸出不變：即使是平滑後的曲線，在那裡也是平的。若梯度為
# 1，最佳化器會以為它改變了輸出。它可能把權重越推越遠，卻對 loss 毫無影響，
# 而這個權重要走很多步才能回來。
# *(a) 一分：幾乎處處為零，學不到東西。(b) 一分：範圍之外是平的，權重會跑掉，或同等的論點。*
# ### END SOLUTION

# %% [markdown]
# ## Part B: watch the activations (觀察激活值)
#
# Weights are known, so their scale can be computed at any time. Activations come anew with each
# batch. An **observer** (觀察器) watches their range while the network trains.
#
# ### Exercise: `MovingAverageObserver` · ★★☆☆ · 15 minutes · 4 points
#
# Write `class MovingAverageObserver(momentum)`, an `nn.Module`.
#
# - `forward(x)` returns x itself, unchanged, and the gradient passes through it.
# - In **train** mode it updates its attributes `low` and `high`, the smallest and the largest
#   value:
#   `new = momentum * old + (1 - momentum) * batch`. **The first batch is taken as it is**: there is
#   no old value yet.
# - In **eval** mode it only returns x. The range stays.
# - `low` and `high` hold no gradient graph.
#
# `ValueError` for a momentum outside [0, 1].
#
# *Example* with momentum 0.75. The batches reach up to 4, then 8: `high` is 4, then
# 0.75 · 4 + 0.25 · 8 = 5.
#
# <details><summary>Hint 1</summary>
#
# `nn.Module` has the attribute `self.training`.
#
# <details><summary>Hint 2</summary>
#
# `self.register_buffer("low", torch.tensor(0.0))`: a buffer is saved and copied with the model, but
# the optimizer does not touch it. A second buffer can remember whether a batch was seen.
#
# <details><summary>Hint 3</summary>
#
# `x.detach().min()`. Do not start from 0: an average with 0 makes the first ranges far too small,
# and a range such as [5, 6] wrong for a long time.
#
# </details></details></details>

# %% [markdown] lang="zh-TW"
# ## B 部分：觀察激活值 (activations)
#
# 權重是已知的，所以隨時可以算出它們的縮放。激活值則隨每個批次重新出現。**觀察器** (observer)
# 在網路訓練時觀察它們的範圍。
#
# ### 練習：`MovingAverageObserver` · ★★☆☆ · 15 分鐘 · 4 分
#
# 寫出 `class MovingAverageObserver(momentum)`，它是一個 `nn.Module`。
#
# - `forward(x)` 原封不動地回傳 x 本身，梯度也會通過。
# - 在 **train** 模式，它更新自己的屬性 `low` 與 `high`，也就是最小值與最大值：
#   `new = momentum * old + (1 - momentum) * batch`。**第一個批次直接採用**：這時還沒有舊值。
# - 在 **eval** 模式，它只回傳 x。範圍保持不變。
# - `low` 與 `high` 不保留梯度的計算圖。
#
# momentum 不在 [0, 1] 內時，引發 `ValueError`。
#
# *範例*，momentum 為 0.75。兩個批次的最大值依序為 4、8：`high` 先是 4，接著是 0.75 · 4 + 0.25 · 8 =
# 5。
#
# <details><summary>提示 1</summary>
#
# `nn.Module` 有屬性 `self.training`。
#
# <details><summary>提示 2</summary>
#
# `self.register_buffer("low", torch.tensor(0.0))`：buffer 會隨模型一起儲存與複製，
# 但最佳化器不會動它。可以用第二個 buffer 記住是否已經看過批次。
#
# <details><summary>提示 3</summary>
#
# `x.detach().min()`。不要從 0 開始：和 0 平均會讓最初的範圍太小，而像 [5, 6]
# 這樣的範圍，則會錯很久。
#
# </details></details></details>


# %% exercise="MovingAverageObserver" difficulty=2 minutes=15
class MovingAverageObserver(nn.Module):
    """Tracks the range of what passes through it, in train mode only.

    Args:
        momentum: Share of the old range in the new one, in [0, 1].

    Attributes:
        low: Moving average of the batches' smallest values, a number or a tensor with one element.
        high: The same for the largest values.

    Raises:
        ValueError: If momentum is outside [0, 1].

    Source:
        Jacob et al. 2018, section 3.1 (exponential moving averages of activation ranges).
    """

    # TODO: __init__ and forward
    ### BEGIN SOLUTION
    def __init__(self, momentum: float = 0.9) -> None:
        super().__init__()
        require(0 <= momentum <= 1, f"momentum must lie in [0, 1], got {momentum}")
        self.momentum = momentum
        self.register_buffer("low", torch.tensor(0.0))
        self.register_buffer("high", torch.tensor(0.0))
        self.register_buffer("started", torch.tensor(False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x; in train mode, take its range into account."""
        if self.training:
            low, high = x.detach().aminmax()
            keep = self.momentum if self.started else 0.0
            self.low = keep * self.low + (1 - keep) * low
            self.high = keep * self.high + (1 - keep) * high
            self.started = torch.tensor(True)
        return x

    ### END SOLUTION


# %% check="MovingAverageObserver" points=4
observer = MovingAverageObserver(0.75)
assert isinstance(observer, nn.Module), "expected a subclass of nn.Module"
batch = torch.tensor([[2.0, 4.0], [3.0, 2.5]], requires_grad=True)
seen = observer(batch)
assert torch.equal(seen, batch), "forward must return its input unchanged"
assert (float(observer.low), float(observer.high)) != (0.5, 1.0), (
    "the first batch was averaged with an initial 0: take it as it is"
)
assert (float(observer.low), float(observer.high)) == (2.0, 4.0), (
    f"first batch in [2, 4]: expected low 2 and high 4, got {observer.low} and {observer.high}"
)
assert not torch.as_tensor(observer.high).requires_grad, "high holds a graph: use x.detach()"
observer(torch.tensor([-2.0, 8.0]))
assert float(observer.high) != 7.0, "momentum is the share of the OLD value, not of the batch"
assert (float(observer.low), float(observer.high)) == (1.0, 5.0), (
    f"second batch in [-2, 8]: expected low 1 and high 5, got {observer.low} and {observer.high}"
)
observer.eval()
observer(torch.tensor([-100.0, 100.0]))
assert (float(observer.low), float(observer.high)) == (1.0, 5.0), "eval mode must not update"
observer.train()
observer(torch.tensor([1.0, 5.0]))
assert (float(observer.low), float(observer.high)) == (1.0, 5.0), "train mode goes on updating"
for bad in (-0.1, 1.5):
    assert is_rejected(MovingAverageObserver, bad), f"momentum {bad} must raise a ValueError"
passed("MovingAverageObserver")

# %% [markdown]
# ### Explore the momentum
#
# The grey bars are the ranges of real batches: the input of `conv2` in the trained network. One
# batch in the middle is disturbed: an outlier. A high momentum forgives it; a low momentum
# follows it.

# %% [markdown] lang="zh-TW"
# ### 探索 momentum
#
# 灰色長條是真實批次的範圍：已訓練網路中 `conv2` 的輸入。中間有一個批次受到干擾，出現離群值。高的
# momentum 會容忍它，低的 momentum 則會跟著它走。

# %%
batch_inputs: list[torch.Tensor] = []
hook = network.conv2.register_forward_hook(
    lambda _layer, inputs, _output: batch_inputs.append(inputs[0].detach())
)
for part in images[:1280].split(32):
    predict(network, part)
hook.remove()
batch_inputs[15] = batch_inputs[15] * 3  # the outlier


def plot_observer(ax: plt.Axes, momentum: float) -> None:
    """Draw the batches' largest values and what your observer makes of them."""
    watch = MovingAverageObserver(momentum)
    highs = [float((watch(batch), watch.high)[1]) for batch in batch_inputs]
    ax.bar(range(len(highs)), [float(b.max()) for b in batch_inputs], color="0.8", label="batch")
    ax.plot(highs, "o-", ms=3, label="high")
    ax.set(xlabel="batch", ylabel="largest activation", title=f"momentum {momentum:.2f}")
    ax.legend()


explorer(plot_observer, momentum=(0.0, 0.99, 0.01, 0.9))

# %% [markdown]
# ## Part C: layers that train with quantization (量化感知層)
#
# ### Exercise: `QATLinear` · ★★★☆ · 25 minutes · 6 points
#
# Write `class QATLinear(layer, weight_bits, activation_bits)`, an `nn.Module` that wraps a float
# `nn.Linear`.
#
# `forward(x)` computes the layer with a **fake-quantized input** (`activation_bits`) and a
# **fake-quantized weight** (`weight_bits`). The bias stays in float.
#
# - The range of the input comes from an observer: it moves in train mode and is frozen in eval
#   mode.
#   Inputs may be negative.
# - The scale of the weight follows the weight. You may use `weight_scale`, or a scale for each
#   output channel.
# - The **float weight stays the parameter**: it is what the optimizer sees and what `forward` must
#   not overwrite. The rounded weight is computed anew in each `forward`.
# - Which scheme you use is up to you: symmetric or asymmetric, any momentum.
#
# `ValueError` for bits outside 2 .. 16.
#
# <details><summary>Hint 1</summary>
#
# Keep the layer: `self.layer = layer`. Then its weight and bias are parameters of your module too.
#
# <details><summary>Hint 2</summary>
#
# In `forward`: first the observer, then `range_to_scale(observer.low, observer.high, bits)`, then
# `fake_quantize(x, scale, zero_point, bits, False)`.
#
# <details><summary>Hint 3</summary>
#
# `weight = fake_quantize(self.layer.weight, weight_scale(...), 0, self.weight_bits, True)` and
# `F.linear(x, weight, self.layer.bias)`. No `.data`, no assignment to `self.layer.weight`.
#
# </details></details></details>

# %% [markdown] lang="zh-TW"
# ## C 部分：以量化訓練的層（量化感知層）
#
# ### 練習：`QATLinear` · ★★★☆ · 25 分鐘 · 6 分
#
# 寫出 `class QATLinear(layer, weight_bits, activation_bits)`，它是一個 `nn.Module`，包裝一個浮點的
# `nn.Linear`。
#
# `forward(x)` 以**假量化的輸入** (`activation_bits`) 與**假量化的權重** (`weight_bits`)
# 計算這一層。bias 保持浮點數。
#
# - 輸入的範圍來自觀察器：在 train 模式會移動，在 eval 模式則凍結。輸入可能是負的。
# - 權重的縮放跟隨權重。你可以使用 `weight_scale`，或每個輸出通道各一個縮放。
# - **浮點權重仍是參數**：最佳化器看到的是它，`forward` 不可覆寫它。取整後的權重在每次 `forward`
#   重新計算。
# - 要用哪種量化方式由你決定：對稱或非對稱，任何 momentum 都可以。
#
# bits 不在 2 .. 16 之內時，引發 `ValueError`。
#
# <details><summary>提示 1</summary>
#
# 保留這個層：`self.layer = layer`。這樣它的權重與 bias 也是你的模組的參數。
#
# <details><summary>提示 2</summary>
#
# 在 `forward` 中：先用觀察器，再用 `range_to_scale(observer.low, observer.high, bits)`，最後用
# `fake_quantize(x, scale, zero_point, bits, False)`。
#
# <details><summary>提示 3</summary>
#
# `weight = fake_quantize(self.layer.weight, weight_scale(...), 0, self.weight_bits, True)` 與
# `F.linear(x, weight, self.layer.bias)`。不要用 `.data`，也不要指派給 `self.layer.weight`。
#
# </details></details></details>


# %% exercise="QATLinear" difficulty=3 minutes=25
class QATLinear(nn.Module):
    """A linear layer that computes with fake-quantized input and weight.

    Args:
        layer: The float layer. Its weight and bias are the parameters that learn.
        weight_bits: Bits of the weight, 2 to 16.
        activation_bits: Bits of the input, 2 to 16.

    Raises:
        ValueError: If bits are outside 2 .. 16.

    Source:
        Jacob et al. 2018, section 3 (training with simulated quantization).
    """

    # TODO: __init__ and forward
    ### BEGIN SOLUTION
    def __init__(self, layer: nn.Module, weight_bits: int, activation_bits: int) -> None:
        super().__init__()
        for name, bits in (("weight_bits", weight_bits), ("activation_bits", activation_bits)):
            require(2 <= bits <= 16, f"{name} must lie in 2 .. 16, got {bits}")
        self.layer = layer
        self.weight_bits = weight_bits
        self.activation_bits = activation_bits
        self.observer = MovingAverageObserver(0.9)

    def quantized_input(self, x: torch.Tensor) -> torch.Tensor:
        """Return the fake-quantized input; x itself as long as no range is known."""
        x = self.observer(x)
        if not self.observer.started:
            return x
        scale, zero_point = range_to_scale(
            self.observer.low, self.observer.high, self.activation_bits
        )
        return fake_quantize(x, scale, zero_point, self.activation_bits, signed=False)

    def quantized_weight(self) -> torch.Tensor:
        """Return the fake-quantized weight."""
        weight = self.layer.weight
        scale = weight_scale(weight, self.weight_bits)
        return fake_quantize(weight, scale, 0, self.weight_bits, signed=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs (..., out_features) of inputs (..., in_features)."""
        return F.linear(self.quantized_input(x), self.quantized_weight(), self.layer.bias)

    ### END SOLUTION


# %% check="QATLinear" points=6
torch.manual_seed(0)
plain = nn.Linear(8, 6)
kept = plain.weight.detach().clone()
rows = torch.randn(64, 8)
fine = QATLinear(copy.deepcopy(plain), 8, 8).train()
for _ in range(2):
    output = fine(rows)
assert output.shape == (64, 6), f"expected the shape (64, 6), got {tuple(output.shape)}"
gap = (output - plain(rows)).abs().max().item()
assert gap > 0, "the output equals that of the float layer: nothing was quantized"
assert gap < 0.1, (
    f"8 bits should hardly change the output, but it is off by {gap:.2f}: is the bias there, are "
    "negative inputs represented?"
)
unit = torch.cat([torch.eye(8), torch.zeros(1, 8)])  # rows of the unit matrix read the weights
coarse = QATLinear(copy.deepcopy(plain), 2, 8).train()
for _ in range(2):
    columns = coarse(unit)
used = (columns[:-1] - columns[-1]).detach().T
count = max(len(row.mul(1e4).round().unique()) for row in used)
assert count <= 4, f"2 bits allow 4 levels, but a row of the weight has {count}: not quantized"
same = [p for p in coarse.parameters() if p.shape == kept.shape and torch.equal(p.detach(), kept)]
assert same, "the float weight is no longer a parameter: it must stay, and learn"
coarse(rows).sum().backward()
reached = same[0].grad is not None and bool(same[0].grad.any())
assert reached, "no gradient reaches the weight"
line = torch.linspace(-1, 2, 301)[:, None]
one = nn.Linear(1, 1)
nn.init.ones_(one.weight)
narrow = QATLinear(one, 8, 3).train()
for _ in range(2):
    narrow(line)
narrow.eval()
count = len(narrow(line).detach().mul(1e4).round().unique())
assert count <= 8, f"3 bits allow 8 levels of the input, got {count}: quantize the input too"
before = narrow(line).detach()
assert narrow(100 * line).max() < 5, "eval mode: the range of the input must be frozen"
assert torch.equal(narrow(line), before), "eval mode: the observer was updated"
assert is_rejected(QATLinear, nn.Linear(2, 2), 1, 8), "weight_bits=1 must raise a ValueError"
assert is_rejected(QATLinear, nn.Linear(2, 2), 8, 17), "activation_bits=17 must raise a ValueError"
passed("QATLinear")

# %% [markdown]
# ### Exercise: `QATConv2d` · ★★☆☆ · 10 minutes · 4 points
#
# Write `class QATConv2d(layer, weight_bits, activation_bits)`: the same for an `nn.Conv2d`.
# **Stride, padding and dilation** are those of the layer. A layer without bias stays without bias.
#
# <details><summary>Hint 1</summary>
#
# Only the last line of `forward` differs. A subclass of your `QATLinear` saves typing.
#
# <details><summary>Hint 2</summary>
#
# `F.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation)`.
#
# </details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`QATConv2d` · ★★☆☆ · 10 分鐘 · 4 分
#
# 寫出 `class QATConv2d(layer, weight_bits, activation_bits)`：同樣的事，對象換成
# `nn.Conv2d`。**stride、padding 與 dilation** 都沿用該層的設定。沒有 bias 的層，仍然沒有 bias。
#
# <details><summary>提示 1</summary>
#
# 只有 `forward` 的最後一行不同。繼承你的 `QATLinear` 可以少打很多字。
#
# <details><summary>提示 2</summary>
#
# `F.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation)`。
#
# </details></details>


# %% exercise="QATConv2d" difficulty=2 minutes=10
class QATConv2d(QATLinear):
    """A conv layer that computes with fake-quantized input and weight.

    Args:
        layer: The float layer, without groups. Its weight and bias are the parameters that learn.
        weight_bits: Bits of the weight, 2 to 16.
        activation_bits: Bits of the input, 2 to 16.

    Raises:
        ValueError: If bits are outside 2 .. 16.

    Source:
        Jacob et al. 2018, section 3.
    """

    # TODO: forward (and __init__, unless you inherit it)
    ### BEGIN SOLUTION
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs (N, out_channels, H', W') of inputs (N, in_channels, H, W)."""
        layer = self.layer
        return F.conv2d(
            self.quantized_input(x),
            self.quantized_weight(),
            layer.bias,
            layer.stride,
            layer.padding,
            layer.dilation,
        )

    ### END SOLUTION


# %% check="QATConv2d" points=4
torch.manual_seed(0)
pictures = torch.randn(4, 3, 12, 11)
for options in (
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": (3, 2), "padding": (0, 2), "bias": False},
    {"kernel_size": 2, "dilation": 3},
):
    plain = nn.Conv2d(3, 5, **options)
    fine = QATConv2d(copy.deepcopy(plain), 8, 8).train()
    for _ in range(2):
        output = fine(pictures)
    wanted = plain(pictures)
    assert output.shape == wanted.shape, (
        f"{options}: expected the shape {tuple(wanted.shape)}, got {tuple(output.shape)}: stride, "
        "padding and dilation belong to the layer"
    )
    gap = (output - wanted).abs().max().item()
    assert 0 < gap < 0.15, f"{options}: at 8 bits the output is off by {gap:.3f}"
    learning = [p for p in fine.parameters() if torch.equal(p.detach(), plain.weight)]
    assert learning, "the float weight must stay a parameter"
    output.sum().backward()
    assert learning[0].grad is not None, "no gradient reaches the weight"
impulses = torch.eye(12).reshape(12, 3, 2, 2)
coarse = QATConv2d(nn.Conv2d(3, 5, 2, bias=False), 2, 8).train()
for _ in range(2):
    used = coarse(impulses).detach()[:, :, 0, 0].T
count = max(len(row.mul(1e4).round().unique()) for row in used)
assert count <= 4, f"2 bits allow 4 levels, but a channel of the weight has {count}"
assert is_rejected(QATConv2d, nn.Conv2d(1, 1, 1), 17, 8), "weight_bits=17 must raise a ValueError"
passed("QATConv2d")

# %% [markdown]
# ## Part D: prepare and train a whole network (準備與訓練)
#
# ### Exercise: `prepare_qat` · ★★☆☆ · 15 minutes · 4 points
#
# Write `prepare_qat(model, weight_bits, activation_bits)`. It returns a deep copy in which
# **every**
# `nn.Conv2d` and `nn.Linear` is wrapped: the first, the last, and those deep inside other modules.
# Everything else stays. The copy is in eval mode. The given model is not changed.
#
# `ValueError` for bits outside 2 .. 16.
#
# <details><summary>Hint 1</summary>
#
# Collect the layers first (`list(model.named_modules())`), then replace them: a wrapped layer is
# itself a child of its wrapper, and must not be wrapped again.
#
# <details><summary>Hint 2</summary>
#
# `model.set_submodule("features.0", wrapped)` replaces a module by its name.
#
# </details></details>

# %% [markdown] lang="zh-TW"
# ## D 部分：準備並訓練整個網路（準備與訓練）
#
# ### 練習：`prepare_qat` · ★★☆☆ · 15 分鐘 · 4 分
#
# 寫出 `prepare_qat(model, weight_bits, activation_bits)`。它回傳一個深層複製的副本，其中**每個**
# `nn.Conv2d` 與 `nn.Linear` 都被包裝：包括第一層、最後一層，以及深藏在其他模組裡的層。
# 其餘的都保持不變。副本處於 eval 模式。傳入的模型不可改變。
#
# bits 不在 2 .. 16 之內時，引發 `ValueError`。
#
# <details><summary>提示 1</summary>
#
# 先收集各層 (`list(model.named_modules())`)，再做替換：被包裝的層本身就是包裝模組的子模組，
# 不可以再包裝一次。
#
# <details><summary>提示 2</summary>
#
# `model.set_submodule("features.0", wrapped)` 依名稱替換模組。
#
# </details></details>


# %% exercise="prepare_qat" difficulty=2 minutes=15
def prepare_qat(model: nn.Module, weight_bits: int, activation_bits: int) -> nn.Module:
    """Return a copy of the model whose conv and linear layers are fake-quantized.

    Args:
        model: Any model with `nn.Conv2d` (no groups) and `nn.Linear` layers. It is not changed.
        weight_bits: Bits of every weight, 2 to 16.
        activation_bits: Bits of every layer's input, 2 to 16.

    Returns:
        A deep copy in eval mode. No range of an input is known yet: train mode learns it.

    Raises:
        ValueError: If bits are outside 2 .. 16.

    Source:
        Jacob et al. 2018, section 3.
    """
    # TODO: wrap every conv and linear layer of a deep copy
    ### BEGIN SOLUTION
    for name, bits in (("weight_bits", weight_bits), ("activation_bits", activation_bits)):
        require(2 <= bits <= 16, f"{name} must lie in 2 .. 16, got {bits}")
    # The extra level gives the model itself a name, should it be a single layer.
    holder = nn.ModuleDict({"model": copy.deepcopy(model)})
    for name, layer in list(holder.named_modules()):
        if isinstance(layer, nn.Conv2d):
            holder.set_submodule(name, QATConv2d(layer, weight_bits, activation_bits))
        elif isinstance(layer, nn.Linear):
            holder.set_submodule(name, QATLinear(layer, weight_bits, activation_bits))
    return holder["model"].eval()
    ### END SOLUTION


# %% check="prepare_qat" points=4
torch.manual_seed(0)
nested = nn.Sequential(
    nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), nn.Flatten(), nn.Linear(16, 8), nn.Linear(8, 3)
)
pictures = torch.randn(8, 1, 4, 4)
prepared = prepare_qat(nested, 3, 8)
assert prepared is not nested, "expected a deep copy, got the given model itself"
assert not any(isinstance(m, QATConv2d | QATLinear) for m in nested.modules()), (
    "the given model was changed: work on a deep copy"
)
conv_count = sum(type(m) is QATConv2d for m in prepared.modules())
linear_count = sum(type(m) is QATLinear for m in prepared.modules())
assert conv_count == 1, f"expected 1 QATConv2d (it is inside a Sequential), got {conv_count}"
assert linear_count == 2, f"expected 2 QATLinear, the last layer included, got {linear_count}"
assert not any(m.training for m in prepared.modules()), "expected eval mode"
assert prepared.train()(pictures).shape == (8, 3), "the prepared model must run"
original = {p.data_ptr() for p in nested.parameters()}
shared = [p for p in prepared.parameters() if p.data_ptr() in original]
assert not shared, "the copy shares its weights with the given model: use copy.deepcopy"
assert is_rejected(prepare_qat, nested, 1, 8), "weight_bits=1 must raise a ValueError"
assert is_rejected(prepare_qat, nested, 8, 17), "activation_bits=17 must raise a ValueError"
passed("prepare_qat")

# %% [markdown]
# ### Exercise: `train_qat` · ★★☆☆ · 10 minutes · 3 points
#
# Write `train_qat(model, loader, epochs, lr)`: train a *prepared* model with cross-entropy. It
# returns a trained deep copy in eval mode. The given model is not changed, not even its observers.
# With `epochs=0` an equal copy comes back.
#
# `ValueError` for `lr <= 0` and negative `epochs`.
#
# <details><summary>Hint 1</summary>
#
# The course's `train` does the loop and checks `epochs` and `lr`. It trains *in place*, so give
# it a
# copy.
#
# </details>

# %% [markdown] lang="zh-TW"
# ### 練習：`train_qat` · ★★☆☆ · 10 分鐘 · 3 分
#
# 寫出 `train_qat(model, loader, epochs, lr)`：以交叉熵訓練一個*準備好*的模型。
# 它回傳一個訓練好的深層複製副本，處於 eval 模式。傳入的模型不可改變，連它的觀察器也不行。`epochs=0`
# 時，回傳一個相同的副本。
#
# `lr <= 0` 或 `epochs` 為負時，引發 `ValueError`。
#
# <details><summary>提示 1</summary>
#
# 課程的 `train` 會執行迴圈，並檢查 `epochs` 與 `lr`。它是*就地*訓練，所以要給它一個副本。
#
# </details>


# %% exercise="train_qat" difficulty=2 minutes=10
def train_qat(model: nn.Module, loader: DataLoader, epochs: int, lr: float) -> nn.Module:
    """Train a prepared model; its float weights learn, its observers follow the activations.

    Args:
        model: What `prepare_qat` returned. It is not changed.
        loader: Yields (images, labels).
        epochs: How often to go through the loader, at least 0.
        lr: Learning rate, above 0.

    Returns:
        A trained deep copy in eval mode.

    Raises:
        ValueError: If epochs is negative or lr is not above 0.

    Source:
        Jacob et al. 2018, section 3.
    """
    # TODO: train a deep copy
    ### BEGIN SOLUTION
    return train(copy.deepcopy(model), loader, epochs, lr)
    ### END SOLUTION


# %% check="train_qat" points=3
torch.manual_seed(0)
classes = torch.randint(3, (256,))
pictures = 0.5 * torch.randn(256, 1, 4, 4)
pictures[torch.arange(256), 0, classes] += 1.5  # the bright row tells the class
small_loader = make_loader(pictures, classes, batch_size=32, shuffle=True)
prepared = prepare_qat(
    nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)), 3, 4
)
before = copy.deepcopy(prepared.state_dict())
trained = train_qat(prepared, small_loader, 8, 0.02)
assert isinstance(trained, nn.Module), f"expected the trained model, got {type(trained).__name__}"
assert trained is not prepared, "expected a deep copy"
for key, value in prepared.state_dict().items():
    assert torch.equal(value, before[key]), f"the given model was changed: {key}"
assert not any(m.training for m in trained.modules()), "expected eval mode"
score = accuracy(trained, small_loader)
assert score > 0.8, f"expected more than 80 % on an easy task, got {score:.0%}"
equal = train_qat(trained, small_loader, 0, 0.02).state_dict()
assert all(torch.equal(v, equal[k]) for k, v in trained.state_dict().items()), (
    "epochs=0 must return an equal copy"
)
for epochs, rate in ((-1, 0.1), (1, 0.0), (1, -0.1)):
    assert is_rejected(train_qat, prepared, small_loader, epochs, rate), (
        f"epochs={epochs}, lr={rate} must raise a ValueError"
    )
passed("train_qat")

# %% [markdown]
# ## Part E: fold batch normalisation before QAT (折疊批次正規化)
#
# At inference time, batch normalisation is only a factor and an offset for each channel. Notebook 3
# folded both into the conv layer before it. QAT must see the weights *that will be stored*, and
# these are the folded ones. So: **fold first, then train with quantization.**
#
# PyTorch ships the folding: `torch.nn.utils.fusion.fuse_conv_bn_eval`.

# %% [markdown] lang="zh-TW"
# ## E 部分：在 QAT 之前折疊批次正規化
#
# 在推論時，批次正規化 (batch normalisation) 只是每個通道的一個倍率與一個偏移。Notebook 3 把兩者折疊
# (fold) 進它前面的卷積層。QAT 必須看到*將會儲存*的權重，也就是折疊後的權重。所以：**先折疊，
# 再以量化訓練。**
#
# PyTorch 提供了折疊的功能：`torch.nn.utils.fusion.fuse_conv_bn_eval`。

# %%
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_network(model: BatchNormCNN) -> nn.Module:
    """Return a copy of the model with its batch norms folded into its conv layers."""
    model = copy.deepcopy(model).eval()
    for number in (1, 2, 3):
        conv, norm = getattr(model, f"conv{number}"), getattr(model, f"bn{number}")
        setattr(model, f"conv{number}", fuse_conv_bn_eval(conv, norm))
        setattr(model, f"bn{number}", nn.Identity())
    # PyTorch leaves the new biases without gradient, but they must learn too.
    return model.requires_grad_(True)


folded = fold_network(network)
largest = (predict(folded, held_out_images) - predict(network, held_out_images)).abs().max()
print(f"folding changes the logits by at most {largest:.1e}")
_, panels = plt.subplots(1, 2, figsize=(9, 3), sharey=True)
for axes, (name, model) in zip(
    panels, {"conv2 before folding": network, "conv2 after folding": folded}.items(), strict=True
):
    weight = model.conv2.weight.detach().flatten(1)
    axes.plot(weight.abs().max(dim=1).values, "o", ms=4, label="largest |w| of each channel")
    axes.axhline(weight_scale(weight, 2), color="C1", label="step of the 2-bit grid")
    axes.set(title=name, xlabel="output channel")
panels[0].set(ylabel="size", ylim=(0, 1.35))
panels[1].legend(loc="upper right")
plt.show()

# %% [markdown]
# Folding multiplies each channel by its own factor, so the channels differ more afterwards: some
# lie below the step of the grid. This is why a folded network suffers so much at few bits, and why
# its QAT has something to repair.
#
# What if you do it the other way round? Quantize first, fold afterwards, and count.

# %% [markdown] lang="zh-TW"
# 折疊會把每個通道乘上各自的倍率，所以之後通道之間的差異更大：有些通道小於格點的間距。
# 這就是為什麼折疊後的網路在位元少時受損嚴重，也因此它的 QAT 有東西可以修復。
#
# 如果順序反過來呢？先量化，再折疊，然後數一數。

# %%
on_grid = copy.deepcopy(network)
with torch.no_grad():
    for conv in (on_grid.conv1, on_grid.conv2, on_grid.conv3):
        conv.weight.copy_(fake_quantize(conv.weight, weight_scale(conv.weight, 2), 0, 2, True))
too_late = fold_network(on_grid)
print("different values in the weight of conv2, 2 bits:")
print(f"  before folding {len(on_grid.conv2.weight.unique())}")
print(f"  after folding  {len(too_late.conv2.weight.unique())}")

# %% [markdown] written="fold_first" points=2
# ### Written question 2 · 2 points
#
# (a) The last cell quantized the weights to 2 bits and folded afterwards. Why are there so many
# different values now, although each weight had only 4? How many bits would a code need?
# (b) A network with batch norm was trained *from scratch* with QAT, batch norm unfolded. It has
# good
# accuracy. Name one way to run it with integer weights all the same.
#
# ### BEGIN SOLUTION
# *Model answer.* (a) Folding multiplies each output channel by its own float factor
# `gamma / sqrt(var + eps)`. The 4 levels of each channel become 4 *other* levels, so 32 channels
# have up to 4 x 32 different values (the zeros stay together: about 3 x 32 + 1). They lie on no
# common grid: with one scale for the tensor you would need about 7 bits, or round again and lose
# what was trained.
# (b) Give each channel its own scale (per-channel quantization): the factor then disappears into
# the channel's scale, and the 2-bit codes stay as they are. Or: leave the batch norm as a float
# step after the integer layer. Or: fold during training (the library's way: the folded weight is
# fake-quantized in each step), so that the trained weight is the folded one.
# *One point for (a) with the reason, one for any sound way in (b).*
# ### END SOLUTION

# %% [markdown] lang="zh-TW"
# ### 問答題 2 · 2 分
#
# (a) 上一個儲存格先把權重量化為 2 位元，之後才折疊。每個權重原本只有 4 種值，
# 為什麼現在有這麼多不同的值？一個整數碼需要多少位元？
# (b) 有一個含 Batch Norm 的網路以 QAT *從頭*訓練，Batch Norm 沒有折疊。它的準確率很好。
# 請舉出一種仍能以整數權重執行它的方法。
#
# ### BEGIN SOLUTION
# *參考答案。* (a) 折疊把每個輸出通道乘上各自的浮點倍率 `gamma / sqrt(var + eps)`。每個通道的 4
# 階變成 4 個*別的*階，所以 32 個通道最多有 4 x 32 種不同的值（所有的零仍相同：大約 3 x 32 +
# 1）。它們不在共同的格點上：整個張量只用一個縮放時，大約需要 7 位元，否則就得再取整一次，
# 失去訓練的成果。
# (b) 讓每個通道有自己的縮放（逐通道量化，per-channel quantization）：倍率就併入該通道的縮放，2
# 位元的整數碼保持不變。或者：把 Batch Norm 留作整數層之後的浮點步驟。或者：
# 在訓練時折疊（函式庫的做法：每一步都對折疊後的權重做假量化），使訓練的權重就是折疊後的權重。
# *(a) 連同理由一分，(b) 任何合理的方法一分。*
# ### END SOLUTION

# %% [markdown]
# ## Part F: after PTQ, with frozen scales (凍結縮放)
#
# The lecture: *QAT can be used after PTQ to fine-tune the weights, or directly during training.
# The difference: after PTQ, the scales are frozen.*
#
# Then the device's scales stay what they are; only the codes change.
#
# ### Exercise: `finetune_after_ptq` · ★★★☆ · 25 minutes · 5 points
#
# Write `finetune_after_ptq(model, qparams, loader, epochs, lr)`.
#
# - `model` is a *plain* model with float weights. `qparams` says how PTQ quantized the weights:
#   `{"conv1": (scale, zero_point, bits, signed), …}`. Layers that are not named stay in float.
# - While it trains, each named layer computes with its weight on **its frozen grid**. The float
#   weight learns, straight through.
# - It returns a deep copy of the *same* architecture, in eval mode, whose named weights **lie on
#   the
#   frozen grid**: each is `(code - zero_point) * scale` with a whole code in the range.
# - With `epochs=0` that is PTQ itself: the rounded weights.
#
# Activations are not quantized here. `ValueError` for an unknown layer name, bits outside 2 .. 16,
# `lr <= 0`, negative `epochs`.
#
# <details><summary>Hint 1</summary>
#
# Training in float and rounding at the end is *not* enough: the loss must see the rounded weights.
#
# <details><summary>Hint 2</summary>
#
# `torch.nn.utils.parametrize.register_parametrization(layer, "weight", module)` lets a layer
# compute with `module(weight)`, while the float weight stays the parameter.
#
# <details><summary>Hint 3</summary>
#
# `parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)` writes
# `module(weight)` into the weight and leaves a plain layer behind.
#
# </details></details></details>

# %% [markdown] lang="zh-TW"
# ## F 部分：PTQ 之後，使用凍結縮放 (frozen scales)
#
# 課程：*QAT 可以在 PTQ 之後作為微調權重的手段，或是直接加入在訓練過程中。差別在 PTQ 之後做 QAT
# 要凍結縮放。*
#
# 這樣裝置的縮放就維持不變，改變的只有整數碼。
#
# ### 練習：`finetune_after_ptq` · ★★★☆ · 25 分鐘 · 5 分
#
# 寫出 `finetune_after_ptq(model, qparams, loader, epochs, lr)`。
#
# - `model` 是權重為浮點數的*一般*模型。`qparams` 說明 PTQ 如何量化權重：
#   `{"conv1": (scale, zero_point, bits, signed), …}`。沒有列出的層保持浮點數。
# - 訓練時，每個列出的層都以落在**它的凍結格點**上的權重計算。浮點權重以直通梯度學習。
# - 它回傳一個*相同*架構的深層複製副本，處於 eval 模式，其中列出的權重**落在凍結的格點上**：每個都是
#   `(code - zero_point) * scale`，code 是範圍內的整數。
# - `epochs=0` 時，就是 PTQ 本身：取整後的權重。
#
# 這裡不量化激活值。層的名稱未知、bits 不在 2 .. 16 之內、`lr <= 0`，或 `epochs` 為負時，引發
# `ValueError`。
#
# <details><summary>提示 1</summary>
#
# 以浮點數訓練、最後才取整是*不夠*的：loss 必須看到取整後的權重。
#
# <details><summary>提示 2</summary>
#
# `torch.nn.utils.parametrize.register_parametrization(layer, "weight", module)` 讓層以
# `module(weight)` 計算，而浮點權重仍是參數。
#
# <details><summary>提示 3</summary>
#
# `parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)` 把
# `module(weight)` 寫入權重，並留下一個一般的層。
#
# </details></details></details>


# %% define
from torch.nn.utils import parametrize


# %% exercise="finetune_after_ptq" difficulty=3 minutes=25
def finetune_after_ptq(
    model: nn.Module,
    qparams: dict[str, tuple[float, int, int, bool]],
    loader: DataLoader,
    epochs: int,
    lr: float,
) -> nn.Module:
    """Fine-tune a model whose weights are quantized with frozen scales.

    Args:
        model: A plain model with float weights. It is not changed.
        qparams: By layer name (scale, zero point, bits, signed) of its weight.
        loader: Yields (images, labels).
        epochs: How often to go through the loader, at least 0.
        lr: Learning rate, above 0.

    Returns:
        A deep copy in eval mode. The weights of the named layers lie on their frozen grids.

    Raises:
        ValueError: If a layer name is unknown, bits are outside 2 .. 16, epochs is negative, or lr
            is not above 0.

    Source:
        Jacob et al. 2018; the lecture ('after training, QAT freezes the scales').
    """

    # TODO: train a deep copy that computes with weights on the frozen grids
    ### BEGIN SOLUTION
    class FrozenGrid(nn.Module):
        """Puts a weight on the grid of its frozen parameters."""

        def __init__(self, grid: tuple[float, int, int, bool]) -> None:
            super().__init__()
            self.grid = grid

        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            return fake_quantize(weight, *self.grid)

    tuned = copy.deepcopy(model)
    layers = dict(tuned.named_modules())
    for name, (_scale, _zero_point, bits, _signed) in qparams.items():
        known = isinstance(layers.get(name), nn.Conv2d | nn.Linear)
        require(known, f"qparams names {name!r}, which is no conv or linear layer of the model")
        require(2 <= bits <= 16, f"bits of {name!r} in qparams must lie in 2 .. 16, got {bits}")
    for name, grid in qparams.items():
        parametrize.register_parametrization(layers[name], "weight", FrozenGrid(grid))
    tuned = train(tuned, loader, epochs, lr)
    for name in qparams:
        parametrize.remove_parametrizations(layers[name], "weight", leave_parametrized=True)
    return tuned
    ### END SOLUTION


# %% check="finetune_after_ptq" points=5
torch.manual_seed(0)
tiny = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3))
train(tiny, small_loader, 4, 0.02, progress=False)
start_state = copy.deepcopy(tiny.state_dict())
grids = {"1": (0.3, 1, 2, False), "3": (0.4, 0, 3, True)}


def codes_of(model: nn.Module, name: str) -> torch.Tensor:
    """Return the codes of a layer's weight as floats; whole numbers if it is on the grid."""
    scale, zero_point, _bits, _signed = grids[name]
    return model.get_submodule(name).weight.detach() / scale + zero_point


rounded = finetune_after_ptq(tiny, grids, small_loader, 0, 0.01)
tuned = finetune_after_ptq(tiny, grids, small_loader, 10, 0.02)
for model in (rounded, tuned):
    assert type(model) is nn.Sequential, "expected the same architecture"
    for name, (_scale, _zero_point, bits, signed) in grids.items():
        codes = codes_of(model, name)
        off = (codes - codes.round()).abs().max().item()
        assert off < 1e-3, f"layer {name!r} is off its frozen grid by {off:.2f} steps"
        low, high = code_range(bits, signed)
        assert ((low <= codes.round()) & (codes.round() <= high)).all(), (
            f"layer {name!r}: expected codes {low} .. {high}, got {codes.min()} .. {codes.max()}"
        )
for key, value in tiny.state_dict().items():
    assert torch.equal(value, start_state[key]), f"the given model was changed: {key}"
assert not tuned.training, "expected eval mode"
moved = (codes_of(tuned, "1").round() != codes_of(rounded, "1").round()).sum().item()
assert moved, "no code changed: does a gradient reach the float weights?"
first, second = accuracy(rounded, small_loader), accuracy(tuned, small_loader)
assert second > max(0.8, first - 0.02), (
    f"PTQ has {first:.0%}; expected at least 80 % after fine-tuning, got {second:.0%}"
)
assert is_rejected(finetune_after_ptq, tiny, {"9": grids["1"]}, small_loader, 1, 0.1), (
    "an unknown layer must raise a ValueError"
)
for epochs, rate in ((-1, 0.1), (1, 0.0)):
    assert is_rejected(finetune_after_ptq, tiny, grids, small_loader, epochs, rate), (
        f"epochs={epochs}, lr={rate} must raise a ValueError"
    )
passed("finetune_after_ptq")

# %% [markdown]
# ### Measured: what QAT recovers at 2 bits
#
# The batch-norm network, folded, with 2-bit weights (4 levels). Three ways, three seeds:
#
# - **PTQ** only;
# - **after PTQ**, scales frozen, one epoch on 6,000 training images (`finetune_after_ptq`);
# - **from scratch**: a *new* network with batch norm, random weights, `prepare_qat` and two epochs
#   of `train_qat`, inputs in 8 bits. Beside it the same network in float with the same budget, and
#   what PTQ makes of *that*.

# %% [markdown] lang="zh-TW"
# ### 實測：QAT 在 2 位元時恢復了多少
#
# 含 Batch Norm 的網路，經過折疊，權重為 2 位元（4 階）。三種方式，三個隨機種子：
#
# - 只做 **PTQ**；
# - **PTQ 之後**，縮放凍結，以 6,000 張訓練影像訓練一個 epoch (`finetune_after_ptq`)；
# - **從頭訓練**：一個含 Batch Norm 的*新*網路，權重隨機，先用 `prepare_qat`，再以 `train_qat`
#   訓練兩個 epoch，輸入為 8 位元。旁邊是以相同預算訓練的同一個浮點網路，以及*它*經過 PTQ 的結果。

# %%
LAYERS = ("conv1", "conv2", "conv3", "fc")


def ptq_grids(model: nn.Module, bits: int) -> dict[str, tuple[float, int, int, bool]]:
    """Return the symmetric grids of a network's weights."""
    return {
        name: (weight_scale(model.get_submodule(name).weight, bits), 0, bits, True)
        for name in LAYERS
    }


results: dict[str, list[float]] = {}
grids = ptq_grids(folded, 2)
after_ptq = {"PTQ": finetune_after_ptq(folded, grids, held_out, 0, 1e-3)}
for seed in range(3):
    torch.manual_seed(seed)
    loader = make_loader(images[:6000], labels[:6000], batch_size=64, shuffle=True, seed=seed)
    tuned = remember(finetune_after_ptq, folded, grids, loader, 1, 2e-3)
    fresh = BatchNormCNN()
    floating = remember(train, copy.deepcopy(fresh), loader, 2, 1e-2)
    scratch = remember(train_qat, prepare_qat(fresh, 2, 8), loader, 2, 1e-2)
    floating_folded = fold_network(floating)
    floating_grids = ptq_grids(floating_folded, 2)
    for name, model in {
        "PTQ": after_ptq["PTQ"],
        "QAT after PTQ\n(1 epoch)": tuned,
        "float from scratch\n(2 epochs)": floating,
        "… then PTQ": finetune_after_ptq(floating_folded, floating_grids, loader, 0, 1e-3),
        "QAT from scratch\n(2 epochs)": scratch,
    }.items():
        results.setdefault(name, []).append(accuracy(model, held_out))
after_ptq["QAT"] = tuned
print(f"float checkpoint            {start:6.1%}")
for name, values in results.items():
    shown = name.replace("\n", " ")
    print(f"{shown:34} {np.mean(values):6.1%}   [{min(values):.1%}, {max(values):.1%}]")

# %%
plt.figure(figsize=(10.5, 3.4))
for place, values in enumerate(results.values()):
    plt.bar(place, np.mean(values), color=f"C{int(place > 1)}", alpha=0.4)
    plt.plot([place] * len(values), values, "o", color="0.2", ms=4)
plt.axhline(start, color="0.4", ls="--")
plt.text(-0.4, start + 0.02, "float checkpoint")
plt.axhline(0.1, color="0.7", ls=":")
plt.xticks(range(len(results)), results)
plt.ylim(0, 1.05)
plt.ylabel("accuracy, 2-bit weights")
plt.show()

# %% [markdown]
# One epoch brings most of the loss back, in every seed; the exact figures vary by a point or so.
#
# - After PTQ, the float weights start from a good place. Only the grid was bad for them.
# - From scratch, QAT needs the same budget as float training and ends a little below it. PTQ of the
#   float network falls far deeper.
# - *Honest remark.* On longer runs, frozen scales, scales recomputed in every step, and learned
#   scales differed by at most 1.3 points here, mostly within the spread of the seeds. Freezing
#   costs little. That is why the lecture can recommend it.
# - *Honest remark.* With the plain min-max scale instead of `weight_scale`, 2-bit PTQ gives 10 %,
#   and
#   with this scale frozen, QAT hardly recovers: in our run 15 % after an epoch of 12,000 images.
#   QAT learns weights
#   *on a grid*. It cannot repair a useless grid that it may not change.
#
# ### Measured: how many bits need QAT?

# %% [markdown] lang="zh-TW"
# 不論哪個隨機種子，一個 epoch 就挽回了大部分的損失；確切的數字會有一個百分點左右的差異。
#
# - PTQ 之後，浮點權重的起點很好，不好的只是格點。
# - 從頭訓練時，QAT 需要與浮點訓練相同的預算，最後比它略低。浮點網路經過 PTQ 則掉得多很多。
# - *誠實的說明。* 在更長的訓練中，凍結的縮放、每一步重新計算的縮放，以及學習得到的縮放，
#   在這裡最多相差 1.3 個百分點，大多在隨機種子的變異範圍內。凍結的代價很小。
#   這就是課程能夠推薦它的原因。
# - *誠實的說明。* 若不用 `weight_scale` 而用單純的 min-max 縮放，2 位元 PTQ 只有
#   10 %，而凍結這個縮放之後，QAT 幾乎無法恢復：我們的實驗中，以 12,000 張影像訓練一個 epoch 後是
#   15 %。QAT 學的是*格點上*的權重。它無法修復一個不能改變、又沒有用的格點。
#
# ### 實測：多少位元才需要 QAT？

# %%
short_loader = make_loader(images[:4000], labels[:4000], batch_size=64, shuffle=True, seed=0)
swept = {
    (bits, way): finetune_after_ptq(folded, ptq_grids(folded, bits), short_loader, epochs, 1e-3)
    for bits in (8, 6, 4, 3, 2)
    for way, epochs in (("PTQ", 0), ("QAT", 1))
}
sweep = {
    bits: tuple(accuracy(swept[bits, way], held_out) for way in ("PTQ", "QAT"))
    for bits in (8, 6, 4, 3, 2)
}
plt.figure(figsize=(7, 3.2))
for place, (name, marker) in enumerate({"PTQ": "s", "QAT after PTQ, 4,000 images": "o"}.items()):
    plt.plot(list(sweep), [pair[place] for pair in sweep.values()], marker + "-", label=name)
plt.axhline(start, color="0.5", ls="--", label="float")
plt.gca().invert_xaxis()
plt.xlabel("bits of the weights")
plt.ylabel("accuracy")
plt.legend()
plt.show()
for bits, (first, second) in sweep.items():
    print(f"{bits} bits: PTQ {first:.1%}, QAT {second:.1%}")

# %% [markdown]
# From 8 down to 6 bits there is nothing to win: PTQ is enough, and it costs no training.
# Below 4 bits QAT is the only way. The lecture's table says the same in words: *training costs
# more; for accuracy-critical uses*.
#
# Look into the weights. The float histogram is what QAT made of the shadow weights' *codes*: move
# the slider and compare how many weights sit on each level before and after.

# %% [markdown] lang="zh-TW"
# 從 8 降到 6 位元，沒有什麼可以贏回來：PTQ 就夠了，而且不需要訓練。低於 4 位元時，QAT
# 是唯一的方法。課程的表格也是這樣說的：*訓練成本增加；適用於精度敏感應用*。
#
# 看看權重裡面。浮點權重的直方圖，顯示 QAT 對影子權重的*整數碼*做了什麼：移動滑桿，
# 比較前後各有多少權重落在每一階。


# %%
def plot_levels(ax: plt.Axes, bits: int, layer: str) -> None:
    """Draw how many weights sit on each level, after PTQ and after QAT."""
    scale, _zero_point, _bits, signed = ptq_grids(folded, bits)[layer]
    low, high = code_range(bits, signed)
    for shift, way in ((-0.2, "PTQ"), (0.2, "QAT")):
        weight = swept[bits, way].get_submodule(layer).weight.detach()
        codes = (weight / scale).round().long().flatten() - low
        counts = torch.bincount(codes, minlength=high - low + 1)
        ax.bar(np.arange(low, high + 1) + shift, counts, width=0.4, label=way)
    before = swept[bits, "PTQ"].get_submodule(layer).weight
    changed = (swept[bits, "QAT"].get_submodule(layer).weight != before).float().mean()
    ax.set_title(f"{layer}, {bits} bits: {float(changed):.0%} of the codes changed")
    ax.set(xlabel="code", ylabel="weights")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend()


explorer(plot_levels, bits=[2, 3, 4, 6], layer=["conv2", "conv1", "conv3", "fc"])

# %% [markdown]
# ## Part G: convert to integers (轉換為整數)
#
# Fake quantization computes in float. It is a rehearsal. The device stores integers.
#
# ### Exercise: `convert` · ★★★★ · 35 minutes · 5 points
#
# Write `convert(model)`. It takes a model from `prepare_qat` or `train_qat` whose input ranges are
# known. It returns a module in eval mode in which every QAT layer
#
# - keeps its weight as **integers of at most 8 bits** (`torch.int8`, or `torch.uint8`). *No float
#   weight is left*, neither as a parameter nor as a buffer nor as an attribute. Bias and scales may
#   stay in float;
# - gives the **same outputs as the fake-quantized layer** in eval mode, to one step of the grid.
#
# The rest of the model stays. The given model is not changed. `weight_bits` is at most 8 here; for
# more, raise a `ValueError`.
#
# *The arithmetic.* Input `s_x (q_x - z_x)` times weight `s_w q_w`:
#
# $$y = s_x s_w \sum (q_x - z_x)\, q_w + b$$
#
# The sum is over whole numbers. One multiplication per output brings it back to float.
#
# > **Trap.** A conv layer pads with the *value* 0. The code of the value 0 is `z_x`, not 0.
# > Subtract
# > the zero point first, then pad.
#
# <details><summary>Hint 1</summary>
#
# Write a small module with `register_buffer("codes", …)` for the int8 weight, and replace each QAT
# layer by it, as in `prepare_qat`.
#
# <details><summary>Hint 2</summary>
#
# The codes are `fake-quantized weight / scale`, rounded, `.to(torch.int8)`. Clamp *before* the
# cast: int8 wraps around.
#
# <details><summary>Hint 3</summary>
#
# PyTorch's CPU has no integer convolution. Float64 holds every whole number up to 2^53 exactly, so
# `F.conv2d((q_x - z_x).double(), codes.double(), …)` is the integer sum, without any rounding.
#
# </details></details></details>

# %% [markdown] lang="zh-TW"
# ## G 部分：轉換為整數
#
# 假量化以浮點數計算，它只是彩排。裝置儲存的是整數。
#
# ### 練習：`convert` · ★★★★ · 35 分鐘 · 5 分
#
# 寫出 `convert(model)`。它接收來自 `prepare_qat` 或 `train_qat`、且輸入範圍已知的模型。
# 它回傳一個處於 eval 模式的模組，其中每個 QAT 層
#
# - 把權重存成**最多 8 位元的整數** (`torch.int8` 或 `torch.uint8`)。*不留下任何浮點權重*，
#   不論是參數、buffer 還是屬性。bias 與縮放可以保持浮點數；
# - 在 eval 模式下，給出**與假量化的層相同的輸出**，誤差在格點的一個間距以內。
#
# 模型的其餘部分保持不變。傳入的模型不可改變。這裡的 `weight_bits` 最多是 8；超過時引發
# `ValueError`。
#
# *算術。* 輸入 `s_x (q_x - z_x)` 乘上權重 `s_w q_w`：
#
# $$y = s_x s_w \sum (q_x - z_x)\, q_w + b$$
#
# 總和是對整數計算的。每個輸出只需一次乘法，就回到浮點數。
#
# > **陷阱。** 卷積層填補的是*數值* 0。數值 0 的整數碼是 `z_x`，不是 0。先減去零點，再填補
# > (padding)。
#
# <details><summary>提示 1</summary>
#
# 寫一個小模組，以 `register_buffer("codes", …)` 存放 int8 權重，再用它替換每個 QAT 層，做法和
# `prepare_qat` 一樣。
#
# <details><summary>提示 2</summary>
#
# 整數碼是 `fake-quantized weight / scale` 取整後，再 `.to(torch.int8)`。要在轉型*之前*做
# clamp：int8 會溢位繞回。
#
# <details><summary>提示 3</summary>
#
# PyTorch 在 CPU 上沒有整數卷積。Float64 能精確表示 2^53 以內的每個整數，所以
# `F.conv2d((q_x - z_x).double(), codes.double(), …)` 就是整數和，沒有任何取整。
#
# </details></details></details>


# %% exercise="convert" difficulty=4 minutes=35
def convert(model: nn.Module) -> nn.Module:
    """Return a copy of a QAT model with integer weights.

    Args:
        model: From `prepare_qat` or `train_qat`, with known input ranges and at most 8 weight bits.
            It is not changed.

    Returns:
        A module in eval mode. Weights are int8 codes; outputs are those of the fake-quantized
        model in eval mode, to one step.

    Raises:
        ValueError: If a layer has more than 8 weight bits, or no range of its input is known.

    Source:
        Jacob et al. 2018, section 2 (integer-arithmetic-only inference).
    """

    # TODO: replace every QAT layer of a deep copy by a layer with integer weights
    ### BEGIN SOLUTION
    class IntegerLayer(nn.Module):
        """A conv or linear layer on integer codes."""

        def __init__(self, source: nn.Module) -> None:
            super().__init__()
            layer, observer, bits = source.layer, source.observer, source.weight_bits
            require(bits <= 8, f"model has weights of {bits} bits; at most 8 fit into int8")
            require(bool(observer.started), "model has inputs of unknown range: train it first")
            self.activation_bits = source.activation_bits
            self.scale, self.zero_point = range_to_scale(
                observer.low, observer.high, self.activation_bits
            )
            low, high = code_range(bits, signed=True)
            self.weight_scale = weight_scale(layer.weight, bits)
            codes = torch.round(layer.weight.detach() / self.weight_scale).clamp(low, high)
            self.register_buffer("codes", codes.to(torch.int8))
            bias = torch.zeros(len(codes)) if layer.bias is None else layer.bias.detach()
            self.register_buffer("bias", bias.clone())
            self.geometry = None
            if isinstance(layer, nn.Conv2d):
                self.geometry = (layer.stride, layer.padding, layer.dilation)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            low, high = code_range(self.activation_bits, signed=False)
            q_x = torch.round(x / self.scale).add(self.zero_point).clamp(low, high)
            # Float64 carries the whole numbers exactly, up to 2^53.
            whole, codes = (q_x - self.zero_point).double(), self.codes.double()
            bias, factor = self.bias, self.scale * self.weight_scale
            if self.geometry is None:
                return (F.linear(whole, codes) * factor).float() + bias
            return (F.conv2d(whole, codes, None, *self.geometry) * factor).float() + (
                bias[:, None, None]
            )

    holder = nn.ModuleDict({"model": copy.deepcopy(model)})
    for name, layer in list(holder.named_modules()):
        if isinstance(layer, QATLinear | QATConv2d):
            holder.set_submodule(name, IntegerLayer(layer))
    return holder["model"].eval()
    ### END SOLUTION


# %% check="convert" points=5
torch.manual_seed(0)
pictures = torch.randn(32, 2, 7, 7) + 0.5
for bits in (2, 4, 8):
    qat = prepare_qat(
        nn.Sequential(
            nn.Conv2d(2, 6, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(96, 5)
        ),
        bits,
        8,
    ).train()
    with torch.no_grad():
        for _ in range(2):
            qat(pictures)
        before = {key: value.clone() for key, value in qat.eval().state_dict().items()}
        integer = convert(qat)
        assert isinstance(integer, nn.Module), f"expected a module, got {type(integer).__name__}"
        wanted, got = qat(pictures), integer(pictures)
    assert not integer.training, "expected eval mode"
    for key, value in qat.state_dict().items():
        assert torch.equal(value, before[key]), f"the given model was changed: {key}"
    tensors = list(integer.state_dict().values())
    floats = [t for t in tensors if t.is_floating_point() and t.numel() >= 108]
    assert not floats, "a float tensor as large as a weight is left: keep the codes only"
    sizes = {t.numel() for t in tensors if t.dtype in (torch.int8, torch.uint8)}
    assert {108, 480} <= sizes, f"expected the weights as int8 (108 and 480 codes), got {sizes}"
    gap = (got - wanted).abs().max().item()
    assert got.dtype == torch.float32, f"expected float32 outputs, got {got.dtype}"
    allowed = float(wanted.max() - wanted.min()) / 100
    assert gap < allowed, (
        f"{bits} bits: outputs differ by {gap:.3f}, expected less than {allowed:.3f}: look at the "
        "zero point (in the padding too), the bias, and a clamp before the cast to int8"
    )
passed("convert")

# %% [markdown]
# ### Measured: the converted network
#
# QAT of the folded network with 4-bit weights and 4-bit inputs, then `convert`. Three questions: is
# the accuracy the same? Are the outputs? How small is it?

# %% [markdown] lang="zh-TW"
# ### 實測：轉換後的網路
#
# 對折疊後的網路做 QAT，權重 4 位元、輸入 4 位元，再用 `convert`。三個問題：準確率相同嗎？
# 輸出相同嗎？它有多小？

# %%
prepared = prepare_qat(folded, 4, 4)
with torch.no_grad():  # one pass in train mode only lets the observers see the inputs
    prepared.train()
    for batch in images[:1280].split(128):
        prepared(batch)
prepared.eval()
trained = remember(train_qat, prepared, short_loader, 1, 1e-3)
integer = convert(trained)
simulated, real = predict(trained, held_out_images), predict(integer, held_out_images)
print(f"PTQ, W4A4            {accuracy(prepared, held_out):.1%}")
print(f"QAT, W4A4            {accuracy(trained, held_out):.1%}")
print(f"converted            {accuracy(integer, held_out):.1%}")
print(f"same class           {(simulated.argmax(1) == real.argmax(1)).float().mean():.2%}")
last_step = trained.fc.activation_bits, float(trained.fc.observer.high) / 15
print(f"largest difference   {(simulated - real).abs().max():.2e}")
print(f"one step of fc's input is {last_step[1]:.2e}")
codes = {name: t for name, t in integer.state_dict().items() if t.dtype == torch.int8}
print("\nint8 tensors:", {name: tuple(t.shape) for name, t in codes.items()})
print(f"float file  {measures.model_bytes(network):>8,} bytes")
print(f"int8 file   {measures.model_bytes(integer):>8,} bytes")
print(f"4-bit codes, packed, would be {sum(t.numel() for t in codes.values()) // 2:,} bytes")

# %% [markdown]
# The outputs agree to float rounding, or to one step where a value fell just on the border between
# two codes. What you trained is what runs.
#
# Two honest remarks.
#
# - The int8 file stores each 4-bit code in a whole byte. Packing two codes into one byte is part of
#   notebook 5.
# - Your converted network is *not faster*: it computes in float64 to be exact. Speed needs int8
#   kernels, see notebook 3.

# %% [markdown] lang="zh-TW"
# 輸出一致，只差浮點捨入誤差；若某個值恰好落在兩個整數碼的交界，則差一個間距。你訓練的是什麼，
# 執行的就是什麼。
#
# 兩點誠實的說明。
#
# - int8 檔案把每個 4 位元的整數碼存在一整個位元組裡。把兩個整數碼打包進一個位元組，是 notebook 5
#   的內容。
# - 你轉換後的網路*並沒有比較快*：為了精確，它以 float64 計算。要加速需要 int8 的運算核心
#   (kernel)，見 notebook 3。

# %% [markdown] written="which_and_when" points=2
# ### Written question 3 · 2 points
#
# A company has (a) a speech model for an 8-bit chip, 300 hours of training data and a week of GPU
# time, (b) the same model for a chip with 2-bit weights, with the same data, (c) a bought model for
# the 8-bit chip, without training data. In which of these would you use QAT, and in which PTQ?
# Give a
# reason for each. Use what you measured.
#
# ### BEGIN SOLUTION
# *Model answer.* (a) PTQ first: at 8 bits it lost nothing in our sweep, and it costs minutes; QAT
# only if the measured loss is too large. (b) QAT: at 2 bits PTQ collapses and QAT brings it back;
# data and computing time are there. After PTQ with frozen scales, or from scratch if the budget
# allows. (c) PTQ: QAT needs training data; a few unlabelled inputs are enough for calibration.
# *Half a point for each of (a) and (c), one point for (b) with its reason.*
# ### END SOLUTION

# %% [markdown] lang="zh-TW"
# ### 問答題 3 · 2 分
#
# 某公司有 (a) 一個要放上 8 位元晶片的語音模型，有 300 小時的訓練資料與一週的 GPU
# 時間，(b) 同一個模型，要放上使用 2 位元權重的晶片，資料相同，(c) 一個買來的模型，要放上 8
# 位元晶片，沒有訓練資料。在哪些情況你會用 QAT？哪些情況用 PTQ？請各說明理由，並引用你實測到的結果。
#
# ### BEGIN SOLUTION
# *參考答案。* (a) 先做 PTQ：在我們的掃描中，8 位元毫無損失，而且只要幾分鐘；實測的損失太大時，才用
# QAT。(b) QAT：在 2 位元時 PTQ 會崩潰，QAT 能救回來；資料與計算時間都有。可以在 PTQ 之後凍結縮放做
# QAT，預算允許的話也可以從頭訓練。(c) PTQ：QAT 需要訓練資料；校正則只需少量沒有標籤的輸入。
# *(a) 與 (c) 各半分，(b) 連同理由一分。*
# ### END SOLUTION

# %% [markdown]
# ## In practice
#
# Two comparisons. First the numbers: PyTorch ships fake quantization as one fast operation,
# `torch.fake_quantize_per_tensor_affine`. It is the same thing, straight-through gradient included.
# (It multiplies by `1 / scale` where you divide. So a value that lies exactly on the border of two
# levels may fall to the other side.)

# %% [markdown] lang="zh-TW"
# ## 業界的做法
#
# 兩個比較。先比數值：PyTorch 把假量化做成一個快速的運算，`torch.fake_quantize_per_tensor_affine`。
# 它做的是同一件事，連直通梯度也相同。（你用除法的地方，它是乘上 `1 / scale`。
# 所以恰好落在兩階交界的值，可能會歸到另一邊。）

# %%
x = (3 * torch.randn(100_000, generator=torch.Generator().manual_seed(0))).requires_grad_(True)
for bits, zero_point, signed in ((8, 0, True), (4, 5, False), (2, 0, True)):
    low, high = code_range(bits, signed)
    x.grad = None
    own = fake_quantize(x, 0.3, zero_point, bits, signed)
    own.sum().backward()
    own_gradient, x.grad = x.grad, None
    library = torch.fake_quantize_per_tensor_affine(x, 0.3, zero_point, low, high)
    library.sum().backward()
    values = (own - library).abs() > 1e-5
    gradients = own_gradient != x.grad
    print(
        f"{bits} bits: {int(values.sum())} of {x.numel():,} values differ, "
        f"{int(gradients.sum())} gradients"
    )

# %% [markdown]
# Then the whole way: QAT with **torchao**, the library that PyTorch's own quantization has moved
# to.
# (`torch.ao.quantization` still works, but it announces that it will be removed.)
#
# torchao takes the *graph* of the model (`torch.export`), finds conv and batch norm by itself,
# **folds
# them while it trains**, and puts a fake quantizer on every weight and every input. So it does what
# you did, in one line. Its weights have a scale for each channel.
#
# We ask it for 3-bit weights and 8-bit inputs, and give your `prepare_qat` the same task and the
# same 4,000 images.

# %% [markdown] lang="zh-TW"
# 接著是完整的流程：用 **torchao** 做 QAT，PyTorch 自己的量化功能已經移到這個函式庫。
# （`torch.ao.quantization` 仍可使用，但它已宣布將被移除。）
#
# torchao 取得模型的*計算圖* (`torch.export`)，自行找出卷積與 Batch Norm，**在訓練的同時折疊它們**，
# 並在每個權重與每個輸入放上假量化器。所以你做過的事，它一行就完成。它的權重每個通道各有一個縮放。
#
# 我們請它使用 3 位元權重與 8 位元輸入，並給你的 `prepare_qat` 相同的任務與相同的 4,000 張影像。

# %%
warnings.filterwarnings("ignore")
from torchao.quantization.pt2e import (
    FusedMovingAvgObsFakeQuantize,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    move_exported_model_to_eval,
    move_exported_model_to_train,
)
from torchao.quantization.pt2e.quantize_pt2e import prepare_qat_pt2e
from torchao.quantization.pt2e.quantizer import QuantizationSpec
from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
    QuantizationConfig,
    X86InductorQuantizer,
)


def library_config(bits: int) -> QuantizationConfig:
    """Return torchao's description of QAT with 8-bit inputs and weights of `bits` bits."""
    inputs = QuantizationSpec(
        dtype=torch.uint8,
        quant_min=0,
        quant_max=255,
        qscheme=torch.per_tensor_affine,
        observer_or_fake_quant_ctr=FusedMovingAvgObsFakeQuantize.with_args(
            observer=MovingAverageMinMaxObserver
        ),
    )
    low, high = code_range(bits, signed=True)
    weights = QuantizationSpec(
        dtype=torch.int8,
        quant_min=low,
        quant_max=high,
        qscheme=torch.per_channel_symmetric,
        ch_axis=0,
        observer_or_fake_quant_ctr=FusedMovingAvgObsFakeQuantize.with_args(
            observer=MovingAveragePerChannelMinMaxObserver
        ),
    )
    return QuantizationConfig(inputs, None, weights, None, is_qat=True)


began = time.perf_counter()
example = (images[:64],)
sizes = {"images": {0: torch.export.Dim.AUTO}}
graph = torch.export.export(copy.deepcopy(network).train(), example, dynamic_shapes=sizes).module()
library_model = prepare_qat_pt2e(graph, X86InductorQuantizer().set_global(library_config(3)))
move_exported_model_to_train(library_model)
optimizer = torch.optim.Adam(library_model.parameters(), 1e-3)
for batch, classes in short_loader:
    optimizer.zero_grad()
    F.cross_entropy(library_model(batch), classes).backward()
    optimizer.step()
move_exported_model_to_eval(library_model)
with torch.no_grad():
    logits = torch.cat([library_model(batch) for batch in held_out_images.split(500)])
library_accuracy = (logits.argmax(1) == held_out_labels).float().mean().item()
library_seconds = time.perf_counter() - began

began = time.perf_counter()
own_model = prepare_qat(folded, 3, 8)
own_model.train()
with torch.no_grad():
    for batch in images[:1280].split(128):
        own_model(batch)
own_model.eval()
own_ptq = accuracy(own_model, held_out)
own_accuracy = accuracy(train_qat(own_model, short_loader, 1, 1e-3), held_out)
own_seconds = time.perf_counter() - began
print(f"float               {start:.1%}")
print(f"yours, PTQ only     {own_ptq:.1%}")
print(f"yours, QAT          {own_accuracy:.1%}   {own_seconds:.0f} s")
print(f"torchao, QAT        {library_accuracy:.1%}   {library_seconds:.0f} s, export included")

# %% [markdown]
# Both bring the network back, and they agree to a few points. They do not do the same in every
# detail: torchao has per-channel min-max scales and folds batch norm in every step; yours has one
# scale per layer and a network that was folded before.
#
# *What we left out.* `convert_pt2e` makes the integer model of torchao. It works (the accuracy
# was that
# of the fake-quantized model to 0.2 points at 8 bits), but it took minutes on a small CPU.
# Real int8 speed is the subject of notebook 3.

# %% [markdown] lang="zh-TW"
# 兩者都把網路救了回來，結果相差幾個百分點以內。它們的細節不完全相同：torchao 使用逐通道的 min-max
# 縮放，並在每一步折疊 Batch Norm；你的則是每層一個縮放，網路也已事先折疊。
#
# *我們略過的部分。* `convert_pt2e` 可以產生 torchao 的整數模型。它可以運作（8
# 位元時，準確率與假量化的模型相差 0.2 個百分點以內），但在小型 CPU 上花了好幾分鐘。真正的 int8
# 速度是 notebook 3 的主題。

# %% [markdown]
# ## Summary
#
# - **Fake quantization** quantizes and dequantizes: the loss sees the rounding.
# - The **straight-through estimator** takes the gradient of the line in place of the staircase: 1
#   between the first and the last level, 0 where a value is clipped.
# - The **float weight stays in the shadow** and learns. The rounded weight is made anew each time.
# - An **observer** tracks the range of the activations in train mode. The first batch is taken as
#   it
#   is. In eval mode the range is frozen.
# - **Fold batch norm first**: QAT must see the weights that will be stored.
# - **After PTQ the scales are frozen**: only codes change. **From scratch** the scales move with
#   the
#   weights.
# - At 8 bits QAT wins nothing. At 2 bits it wins back most of what PTQ lost.
# - **Convert** at the end: int8 codes, and the outputs you trained, to one step.
#
# | | PTQ | QAT after PTQ | QAT from scratch |
# |---|---|---|---|
# | needs training data | a few inputs | yes | yes |
# | computing time | seconds | an epoch or so | a whole training |
# | scales | computed once | frozen | follow the weights |
# | useful at | 8 bits, 6 bits | 4 bits and below | 4 bits and below |

# %% [markdown] lang="zh-TW"
# ## 總結
#
# - **假量化**先量化再反量化：loss 看得到取整。
# - **直通估計器** (STE) 以直線的梯度取代階梯的梯度：在第一階與最後一階之間為 1，值被截斷的地方為
#   0。
# - **浮點權重留在影子中**學習。取整後的權重每次重新產生。
# - **觀察器**在 train 模式追蹤激活值的範圍。第一個批次直接採用。在 eval 模式，範圍是凍結的。
# - **先折疊 Batch Norm**：QAT 必須看到將會儲存的權重。
# - **PTQ 之後，縮放是凍結的**：改變的只有整數碼。**從頭訓練**時，縮放隨權重移動。
# - 在 8 位元時，QAT 沒有任何好處。在 2 位元時，它贏回 PTQ 失去的大部分。
# - 最後**轉換**：int8 整數碼，輸出與訓練時相同，誤差在一個間距以內。
#
# | | PTQ | PTQ 之後做 QAT | 從頭做 QAT |
# |---|---|---|---|
# | 需要訓練資料 | 少量輸入 | 是 | 是 |
# | 計算時間 | 數秒 | 一個 epoch 左右 | 整個訓練 |
# | 縮放 | 計算一次 | 凍結 | 跟隨權重 |
# | 適用於 | 8 位元、6 位元 | 4 位元以下 | 4 位元以下 |

# %% [markdown]
# ## Exam practice
#
# **1.** What is the gradient of fake quantization with the straight-through estimator, for the
# signed
# 3-bit codes -4 .. 3 with scale 0.5, at x = 1.2, x = -1.9 and x = 2.4?
#
# <details><summary>Answer</summary>
#
# The levels go from -2 to 1.5. 1.2 and -1.9 lie between them: gradient 1. 2.4 is clipped:
# gradient 0.
#
# </details>
#
# **2.** Which statements about QAT are true? (a) The weights are stored as integers while the
# network
# trains. (b) The float weights are kept and updated. (c) After PTQ, the scales are frozen. (d) QAT
# needs no training data.
#
# <details><summary>Answer</summary>
#
# (b) and (c). The network computes with *rounded* floats; integers come with the conversion. QAT is
# training, so it needs training data.
#
# </details>
#
# **3.** A moving-average observer has momentum 0.9. The largest values of the first three batches
# are 2, 4 and 12. What is `high` after them?
#
# <details><summary>Answer</summary>
#
# First batch: 2. Then 0.9 · 2 + 0.1 · 4 = 2.2. Then 0.9 · 2.2 + 0.1 · 12 = **3.18**.
#
# </details>
#
# **4.** Put in order: (a) convert to integers (b) fold batch norm (c) train with fake quantization
# (d) wrap the layers with fake quantizers.
#
# <details><summary>Answer</summary>
#
# b, d, c, a.
#
# </details>
#
# **5.** Match technique and property. Techniques: PTQ, QAT after PTQ, QAT from scratch.
# Properties: (a) scales follow the weights during a whole training (b) no training, some loss of
# accuracy at few bits (c) scales frozen, weights are fine-tuned.
#
# <details><summary>Answer</summary>
#
# PTQ: b. QAT after PTQ: c. QAT from scratch: a.
#
# </details>

# %% [markdown] lang="zh-TW"
# ## 考前練習
#
# **1.** 使用直通估計器的假量化，signed 3 位元整數碼為 -4 .. 3，縮放為 0.5，在 x = 1.2、x = -1.9 與
# x = 2.4 的梯度各是多少？
#
# <details><summary>答案</summary>
#
# 階從 -2 到 1.5。1.2 與 -1.9 在兩者之間：梯度為 1。2.4 被截斷：梯度為 0。
#
# </details>
#
# **2.** 關於 QAT，哪些敘述正確？(a) 網路訓練時，權重以整數儲存。(b) 浮點權重保留下來並持續更新。
# (c) PTQ 之後，縮放是凍結的。(d) QAT 不需要訓練資料。
#
# <details><summary>答案</summary>
#
# (b) 與 (c)。網路以*取整後*的浮點數計算；轉換之後才是整數。QAT 是訓練，所以需要訓練資料。
#
# </details>
#
# **3.** 一個移動平均觀察器的 momentum 為 0.9。前三個批次的最大值是 2、4、12。之後 `high` 是多少？
#
# <details><summary>答案</summary>
#
# 第一個批次：2。接著 0.9 · 2 + 0.1 · 4 = 2.2。再接著 0.9 · 2.2 + 0.1 · 12 = **3.18**。
#
# </details>
#
# **4.** 請依序排列：(a) 轉換為整數 (b) 折疊 Batch Norm (c) 以假量化訓練 (d) 以假量化器包裝各層。
#
# <details><summary>答案</summary>
#
# b、d、c、a。
#
# </details>
#
# **5.** 將技術與性質配對。技術：PTQ、PTQ 之後做 QAT、從頭做 QAT。性質：
# (a) 縮放在整個訓練過程中跟隨權重 (b) 不訓練，位元少時損失一些準確率 (c) 縮放凍結，微調權重。
#
# <details><summary>答案</summary>
#
# PTQ：b。PTQ 之後做 QAT：c。從頭做 QAT：a。
#
# </details>

# %%
progress()
