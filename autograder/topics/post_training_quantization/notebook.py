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
#   topic: post_training_quantization
#   number: 3
#   title: Post-training quantization
# ---

# %% [markdown]
# # 3 Post-training quantization (訓練後量化)
#
# A trained network stores its numbers with 32 bits each. It works almost as well with 8.
# **Quantization** (量化) replaces the numbers by whole numbers on a small grid.
# **Post-training** means: no training at all. A few images to look at are enough.
#
# At the end you can
#
# - compute the size of a model, in the right unit;
# - build **symmetric** (對稱) and **asymmetric** (非對稱) quantization, per tensor and per channel;
# - **calibrate** (校準) the ranges of activations in three ways, and say when it matters;
# - compute a layer with **whole numbers only**, as a small device does;
# - quantize a whole network, and measure accuracy, real bytes and real speed.
#
# **How to work.** Read, write your answer where the TODO stands, run the check below it.
# A failed check says what was expected, what came, and what usually causes that.
# Hints fold away: open one at a time. An experiment needs the exercises above it.
#
# `progress()` in any cell shows how far you are, in all notebooks.
#
# **Rules that hold everywhere.**
#
# - A function changes none of its arguments.
# - A function that takes a model and returns one works on a deep copy and returns it in eval mode.
#   The caller's model, its gradients and the train/eval mode of every submodule stay as they were.
# - Loaders yield `(images, labels)`. Layers are named as in `model.named_modules()`: `"conv1"`.
# - **Symmetric** codes are signed, from -2^(b-1) to 2^(b-1) - 1. **Asymmetric** codes are
#   unsigned, from 0 to 2^b - 1.
# - An impossible argument raises a `ValueError` whose message names the argument: bits below 2 or
#   above 16, an unknown name, a percentile outside 0 to 100, a negative count, an input with NaN.
# - Layers are `nn.Linear`, `nn.Conv2d` without groups, and `nn.BatchNorm2d`.

# %% [markdown] lang="zh-TW"
# # 3 訓練後量化 (post-training quantization)
#
# 訓練好的網路用 32 個位元儲存每個數字。只用 8 個位元，表現幾乎一樣好。**量化** (quantization)
# 就是把這些數字換成小格線上的整數。**訓練後**的意思是：完全不再訓練，只要看幾張影像就夠了。
#
# 學完之後，你能
#
# - 用正確的單位計算模型的大小；
# - 實作**對稱** (symmetric) 與**非對稱** (asymmetric) 量化，包括逐張量 (per tensor) 與逐通道
#   (per channel)；
# - 用三種方法**校準** (calibrate) 激活值 (activation) 的範圍，並說出什麼時候有差別；
# - 像小型裝置那樣，**只用整數**計算一層；
# - 量化整個網路，並測量準確率、實際的位元組數與實際的速度。
#
# **怎麼進行：** 先讀說明，在 TODO 的地方寫下答案，再執行下方的檢查。檢查沒通過時，
# 會告訴你預期什麼、得到什麼，以及通常的原因。提示是折疊的：一次打開一個就好。
# 每個實驗都需要它上方的練習。
#
# 在任何儲存格執行 `progress()`，就能看到你在所有筆記本的進度。
#
# **處處適用的規則：**
#
# - 函式不更動它的任何引數。
# - 接收模型並回傳模型的函式，要在深層複製 (deep copy) 的副本上工作，並以 eval
#   模式回傳。呼叫者的模型、梯度，以及每個子模組的 train/eval 模式，都維持原樣。
# - Loader 產生 `(images, labels)`。各層的名稱與 `model.named_modules()` 相同：`"conv1"`。
# - **對稱**量化的整數碼 (code) 是有號的 (signed)，從 -2^(b-1) 到
#   2^(b-1) - 1。**非對稱**量化的整數碼是無號的 (unsigned)，從 0 到 2^b - 1。
# - 不合理的引數要引發 `ValueError`，訊息中要指出是哪個引數：位元數小於 2 或大於
#   16、未知的名稱、不在 0 到 100 之間的百分位數、負的數量、含 NaN 的輸入。
# - 層是指 `nn.Linear`、沒有分組 (groups) 的 `nn.Conv2d`，以及 `nn.BatchNorm2d`。

# %% define
import copy

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from course_utils.arguments import is_rejected, require
from course_utils.data import load_images, make_loader
from course_utils.evaluation import accuracy, predict

# %% [markdown]
# Some helpers are given. `require(condition, message)` rejects an argument, and `is_rejected` is
# for the checks. `check_bits(bits)` and `check_numbers(x)` reject impossible bits and NaN.
# `layers_of(model)` finds the conv and linear layers by name.

# %% [markdown] lang="zh-TW"
# 這裡先給一些輔助函式。`require(condition, message)` 用來拒絕引數，`is_rejected`
# 是給檢查用的。`check_bits(bits)` 與 `check_numbers(x)` 會拒絕不合理的位元數與
# NaN。`layers_of(model)` 依名稱找出卷積層 (convolution) 與全連接層 (linear)。


# %% define
def check_bits(bits: int, name: str = "bits") -> None:
    """Raise a ValueError unless bits is a whole number from 2 to 16."""
    require(bits == int(bits) and 2 <= bits <= 16, f"{name} must lie in 2 .. 16, got {bits}")


def check_numbers(x: torch.Tensor, name: str = "x") -> None:
    """Raise a ValueError if a tensor holds NaN."""
    require(not torch.isnan(x).any(), f"{name} must not hold NaN")


def layers_of(model: nn.Module) -> dict[str, nn.Module]:
    """Return the conv and linear layers of a model by their names in `named_modules()`."""
    kinds = (nn.Conv2d, nn.Linear)
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, kinds)}


class SmallNet(nn.Module):
    """A tiny network for the checks: images (N, 1, 4, 4) to logits (N, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.fc = nn.Linear(8, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return self.fc(torch.relu(self.conv(images)).flatten(1))

    def count_hooks(self) -> int:
        """Return how many hooks hang on the network and its layers."""
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in self.modules())


# %%
import math
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import safetensors.torch
from tqdm.auto import tqdm

from course_utils import measures
from course_utils.checkpoints import load_checkpoint
from course_utils.onnx_models import open_onnx, quantize_onnx, write_onnx
from course_utils.plots import use_course_style
from course_utils.progress import passed, progress
from course_utils.speed import compare_speed
from course_utils.widgets import explorer

use_course_style()
torch.set_num_threads(1)  # a fair and quiet clock: two threads disturb each other
torch.manual_seed(3)

images, labels = load_images("train")
calibration_loader = make_loader(images[:200], labels[:200], batch_size=100)
held_out_images, held_out_labels = load_images("validation")
held_out = make_loader(held_out_images, held_out_labels, batch_size=500)
half_held_out = make_loader(held_out_images[:1000], held_out_labels[:1000], batch_size=500)

lenet = load_checkpoint("lenet")
batch_norm_cnn = load_checkpoint("batch_norm_cnn")
for name, model in (("LeNet", lenet), ("BatchNormCNN", batch_norm_cnn)):
    size, right = measures.count_parameters(model), accuracy(model, held_out)
    print(f"{name}: {size:,} parameters, accuracy {right:.1%} on {len(held_out_labels):,} images")

# %% [markdown]
# ## The idea: a ruler with few marks
#
# Draw a ruler over the numbers. Every number moves to the nearest mark. Then you store only *which*
# mark: a small whole number, the **code**.
#
# A ruler is two numbers. The **scale** (縮放, 比例因子) is the distance between two marks. The
# **zero point** (零點) is the code of the number 0.
#
# Left: the **symmetric** ruler. Zero lies in the middle and has the code 0. Right: the
# **asymmetric** ruler. It fits the numbers from the smallest to the largest.
# Both have 3 bits here. Look at the marks that no number uses.

# %% [markdown] lang="zh-TW"
# ## 想法：一把刻度很少的尺
#
# 在這些數字上放一把尺。每個數字都移到最近的刻度。然後只需要儲存是*哪一個*刻度：一個小整數，
# 也就是**整數碼** (code)。
#
# 一把尺由兩個數字決定。**縮放係數** (scale) 是相鄰兩個刻度的間距。**零點** (zero point) 是數值 0
# 的整數碼。
#
# 左圖：**對稱**的尺。零在正中間，整數碼是 0。右圖：**非對稱**的尺。它剛好涵蓋最小到最大的數字。
# 這裡兩把尺都是 3 位元。看看哪些刻度沒有任何數字用到。

# %%
example = np.array([-1.0, -0.35, 0.0, 0.2, 0.9, 1.4, 2.5])
rulers = {
    "symmetric: scale 2.5 / 3, zero point 0": (2.5 / 3, 0, range(-4, 4)),
    "asymmetric: scale 3.5 / 7, zero point 2": (0.5, 2, range(0, 8)),
}
_, panels = plt.subplots(1, 2, figsize=(11, 2.8))
for axes, (title, (step, zero, codes)) in zip(panels, rulers.items(), strict=True):
    for code in codes:
        place = (code - zero) * step
        used = (np.abs(example - place) <= step / 2).any()
        color = "C0" if used else "0.7"
        axes.plot([place, place], [-0.1, 0.1], color=color, lw=2)
        axes.text(place, -0.38, str(code), ha="center", color=color)
    for number in example:
        axes.annotate(
            "",
            xy=(np.round(number / step) * step, 0.12),
            xytext=(number, 0.9),
            arrowprops={"arrowstyle": "->", "color": "C1"},
        )
    axes.axhline(0, color="0.4", lw=1)
    axes.scatter(example, np.full_like(example, 0.95), color="C1", s=25, zorder=3)
    axes.set(
        title=title, ylim=(-0.6, 1.2), xlim=(-3.6, 2.9), yticks=[], xlabel="number (code below)"
    )
    axes.grid(visible=False)
plt.tight_layout()
plt.show()

# %% [markdown]
# In formulas, with the code q of a number x:
#
# $$q = \mathrm{clamp}\big(\mathrm{round}(x / \text{scale}) + \text{zero point}\big)
# \qquad x \approx (q - \text{zero point}) \cdot \text{scale}$$
#
# | | symmetric | asymmetric |
# |---|---|---|
# | codes | signed | unsigned |
# | scale | max abs(x) / (2^(b-1) - 1) | (high - low) / (2^b - 1) |
# | zero point | 0 | code of the number 0 |
# | used for | weights | activations after ReLU |

# %% [markdown] lang="zh-TW"
# 寫成公式，數值 x 的整數碼是 q：
#
# $$q = \mathrm{clamp}\big(\mathrm{round}(x / \text{scale}) + \text{zero point}\big)
# \qquad x \approx (q - \text{zero point}) \cdot \text{scale}$$
#
# | | 對稱 | 非對稱 |
# |---|---|---|
# | 整數碼 | 有號 | 無號 |
# | scale | max abs(x) / (2^(b-1) - 1) | (high - low) / (2^b - 1) |
# | zero point | 0 | 數值 0 的整數碼 |
# | 用於 | 權重 | ReLU 之後的激活值 |

# %% [markdown]
# ## Part A: the arithmetic of model size
#
# ### Exercise: `model_size_mib` · ★☆☆☆ · 5 minutes · 2 points
#
# Write `model_size_mib(num_parameters, bits)`: the size in **MiB** when every parameter takes
# `bits` bits.
# A byte has 8 bits. One MiB is 2^20 = 1,048,576 bytes. (One MB is 1,000,000 bytes.)
# Do not round. `bits` may be up to 64 here: float32 has 32. `ValueError` for a negative number of
# parameters and for `bits` below 1.
#
# *Example.* 2^20 parameters with 8 bits: 1.0.
#
# <details><summary>Hint 1</summary>
#
# Bits, then bytes, then MiB: two divisions.
#
# </details>

# %% [markdown] lang="zh-TW"
# ## A 部分：模型大小的算術
#
# ### 練習：`model_size_mib` · ★☆☆☆ · 5 分鐘 · 2 分
#
# 請寫 `model_size_mib(num_parameters, bits)`：每個參數用 `bits` 個位元時，模型有多少
# **MiB**。一個位元組 (byte) 有 8 個位元 (bit)。一個 MiB 是 2^20 = 1,048,576 個位元組。（一個 MB 是
# 1,000,000 個位元組。）不要捨入。這裡的 `bits` 可以到 64：float32 就有 32。參數個數為負，或 `bits`
# 小於 1，要引發 `ValueError`。
#
# *例：* 2^20 個 8 位元的參數：1.0。
#
# <details><summary>提示 1</summary>
#
# 先算位元，再算位元組，再算 MiB：除兩次。
#
# </details>


# %% exercise="model_size_mib" difficulty=1 minutes=5
def model_size_mib(num_parameters: int, bits: int) -> float:
    """Return the size of the parameters of a model.

    Args:
        num_parameters: 0 or more.
        bits: Bits of one parameter, from 1 to 64.

    Returns:
        Size in MiB (2^20 bytes), not rounded.

    Raises:
        ValueError: If num_parameters is negative, or bits is not from 1 to 64.

    Source:
        The lecture's slide 'Post-Training Quantization', corrected.
    """
    # TODO: from parameters to bits, to bytes, to MiB
    ### BEGIN SOLUTION
    require(num_parameters >= 0, f"num_parameters must be 0 or more, got {num_parameters}")
    require(1 <= bits <= 64, f"bits must lie in 1 .. 64, got {bits}")
    return num_parameters * bits / 8 / 2**20
    ### END SOLUTION


# %% check="model_size_mib" points=2
size = model_size_mib(3 * 2**20, 8)
assert not math.isclose(size, 24), "got bits: divide by 8 to get bytes"
assert not math.isclose(size, 3.145728), "got MB: one MiB is 2**20 bytes, not 10**6"
assert size == 3, f"3 * 2**20 parameters with 8 bits are 3 MiB, got {size}"
assert math.isclose(model_size_mib(2**20, 32), 4), "2**20 parameters with 32 bits are 4 MiB"
assert math.isclose(model_size_mib(100, 3), 100 * 3 / 8 / 2**20), (
    "small numbers and odd bits must work as well: do not round"
)
assert is_rejected(model_size_mib, -1, 8), "-1 parameters must raise a ValueError"
assert is_rejected(model_size_mib, 10, 0), "0 bits must raise a ValueError"
passed("model_size_mib")

# %% [markdown]
# > **A word on the slide.** It says: 'about ten million parameters … 381.47 MB before … 95.37 MB
# > after'. Put the numbers in yourself.

# %% [markdown] lang="zh-TW"
# > **投影片上的一句話。** 投影片寫：「參數量約有一千萬左右，壓縮前需要大約 381.47 MB，壓縮後只需要
# > 95.37 MB」。請自己把數字代進去。

# %%
print("parameters      32 bits        8 bits     ratio")
for count in (10_000_000, 100_000_000, measures.count_parameters(lenet)):
    before, after = model_size_mib(count, 32), model_size_mib(count, 8)
    print(f"{count:11,} {before:9.2f} MiB {after:9.2f} MiB {before / after:6.1f}")

# %% [markdown]
# The slide's two sizes belong to **100 million** parameters, and the unit is MiB. Ten million take
# 38.15 MiB. The ratio, 4, is right.

# %% [markdown] lang="zh-TW"
# 投影片上的兩個大小屬於 **1 億** (100 million) 個參數，而且單位是 MiB。一千萬個參數是
# 38.15 MiB。比例 4 倍是對的。

# %% [markdown]
# ## Part B: scale and zero point
#
# ### Exercise: `symmetric_scale` · ★☆☆☆ · 10 minutes · 3 points
#
# Write `symmetric_scale(x, bits)`: max abs(x) / (2^(bits-1) - 1), one **Python float** for the
# whole tensor.
# With 8 bits the largest magnitude gets the code 127 (or -127). The code -128 stays unused.
# An all-zero tensor has the scale **1.0**. `ValueError` for bits outside 2 .. 16 and for NaN.
#
# *Example.* `[-6.0, 1.0, 3.0]` with 3 bits: 6 / 3 = 2.0.
#
# <details><summary>Hint 1</summary>
#
# The largest magnitude may be that of a negative number: `x.abs().max()`.
#
# <details><summary>Hint 2</summary>
#
# `.item()` turns a tensor with one element into a Python number.
#
# </details></details>

# %% [markdown] lang="zh-TW"
# ## B 部分：scale 與 zero point
#
# ### 練習：`symmetric_scale` · ★☆☆☆ · 10 分鐘 · 3 分
#
# 請寫 `symmetric_scale(x, bits)`：max abs(x) / (2^(bits-1) - 1)，整個張量只有一個
# **Python float**。8 位元時，絕對值最大的數字得到整數碼 127（或 -127）。整數碼 -128
# 不使用。全為零的張量，scale 是 **1.0**。位元數不在 2 .. 16 或含有 NaN 時，要引發 `ValueError`。
#
# *例：* `[-6.0, 1.0, 3.0]`，3 位元：6 / 3 = 2.0。
#
# <details><summary>提示 1</summary>
#
# 絕對值最大的可能是負數：`x.abs().max()`。
#
# <details><summary>提示 2</summary>
#
# `.item()` 把單一元素的張量變成 Python 的數字。
#
# </details></details>


# %% exercise="symmetric_scale" difficulty=1 minutes=10
def symmetric_scale(x: torch.Tensor, bits: int) -> float:
    """Return the scale of symmetric quantization, one for the whole tensor.

    Args:
        x: Any shape, at least one element.
        bits: Width of the signed codes, from 2 to 16.

    Returns:
        max|x| / (2^(bits-1) - 1), above 0; 1.0 for an all-zero tensor.

    Raises:
        ValueError: If bits is outside 2 .. 16, or x holds NaN.

    Source:
        Jacob et al. 2018, Quantization and Training of Neural Networks for Efficient
        Integer-Arithmetic-Only Inference.
    """
    # TODO: the largest magnitude over the largest code
    ### BEGIN SOLUTION
    check_bits(bits)
    check_numbers(x)
    largest = x.detach().abs().max().item()
    return largest / (2 ** (bits - 1) - 1) if largest > 0 else 1.0
    ### END SOLUTION


# %% check="symmetric_scale" points=3
x = torch.tensor([[-6.0, 1.0], [3.0, 0.0]])
for bits, expected in ((2, 6.0), (3, 2.0), (4, 6 / 7), (8, 6 / 127), (16, 6 / 32767)):
    scale = symmetric_scale(x, bits)
    assert isinstance(scale, float), f"expected a Python float, got {type(scale).__name__}"
    assert not math.isclose(scale, 3 / (2 ** (bits - 1) - 1)), (
        "the largest magnitude is 6: -6 counts as well"
    )
    assert not math.isclose(scale, 6 / 2 ** (bits - 1), rel_tol=1e-6), (
        "off by one: the largest signed code is 2**(bits - 1) - 1"
    )
    assert not math.isclose(scale, 6 / (2**bits - 1), rel_tol=1e-6), (
        "2**bits - 1 is the largest unsigned code; signed codes have one bit less"
    )
    assert math.isclose(scale, expected, rel_tol=1e-6), f"{bits} bits: {expected}, got {scale}"
assert symmetric_scale(torch.zeros(3), 8) == 1.0, "an all-zero tensor has the scale 1.0"
for bad in (1, 0, 17):
    assert is_rejected(symmetric_scale, x, bad), f"bits={bad} must raise a ValueError"
assert is_rejected(symmetric_scale, torch.tensor([1.0, float("nan")]), 8), "NaN: ValueError"
passed("symmetric_scale")

# %% [markdown]
# ### Exercise: `asymmetric_scale_zero_point` · ★★☆☆ · 15 minutes · 5 points
#
# Write `asymmetric_scale_zero_point(x, bits)`. It returns `(scale, zero_point)`: a Python float and
# an int.
#
# - The range is [min(x), max(x)], **extended to hold 0**. So the number 0 always has an exact
#   code: zeros are common (ReLU, padding), and they must stay zeros.
# - scale = (high - low) / (2^bits - 1).
# - zero_point = the code of 0, rounded to a whole number. It lies in 0 .. 2^bits - 1.
# - An all-zero tensor has the scale 1.0 and a zero point in that range.
#
# *Example.* `[-1.0, 2.5]` with 3 bits: scale 3.5 / 7 = 0.5 and zero point 2.
#
# *Trap.* Data such as `[2.0, 6.0]` are all positive. Without the extension the zero point would be
# negative, outside the codes. With it: low = 0, scale = 6 / (2^bits - 1), zero point 0.
#
# <details><summary>Hint 1</summary>
#
# `low = min(x.min().item(), 0.0)`, and high in the same way.
#
# <details><summary>Hint 2</summary>
#
# `low` must get the code 0: 0 = low / scale + zero_point.
#
# <details><summary>Hint 3</summary>
#
# `round(-low / scale)`. `int()` would cut instead. If low == high, both are 0.
#
# </details></details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`asymmetric_scale_zero_point` · ★★☆☆ · 15 分鐘 · 5 分
#
# 請寫 `asymmetric_scale_zero_point(x, bits)`。它回傳 `(scale, zero_point)`：一個 Python float
# 與一個 int。
#
# - 範圍是 [min(x), max(x)]，並且**延伸到包含 0**。這樣數值 0 一定有準確的整數碼：零很常見（ReLU、
#   padding），而且必須維持是零。
# - scale = (high - low) / (2^bits - 1)。
# - zero_point = 數值 0 的整數碼，捨入成整數。它落在 0 .. 2^bits - 1 之中。
# - 全為零的張量，scale 是 1.0，zero point 落在上述範圍內即可。
#
# *例：* `[-1.0, 2.5]`，3 位元：scale 是 3.5 / 7 = 0.5，zero point 是 2。
#
# *陷阱：* 像 `[2.0, 6.0]` 這樣的資料全是正數。若不延伸範圍，zero point
# 會是負的，落在整數碼之外。延伸之後：low = 0，scale = 6 / (2^bits - 1)，zero point 是 0。
#
# <details><summary>提示 1</summary>
#
# `low = min(x.min().item(), 0.0)`，high 也用同樣的方法。
#
# <details><summary>提示 2</summary>
#
# `low` 的整數碼必須是 0：0 = low / scale + zero_point。
#
# <details><summary>提示 3</summary>
#
# `round(-low / scale)`。用 `int()` 則會截斷。若 low == high，兩者都是 0。
#
# </details></details></details>


# %% exercise="asymmetric_scale_zero_point" difficulty=2 minutes=15
def asymmetric_scale_zero_point(x: torch.Tensor, bits: int) -> tuple[float, int]:
    """Return scale and zero point of asymmetric quantization, one pair for the whole tensor.

    Args:
        x: Any shape, at least one element.
        bits: Width of the unsigned codes, from 2 to 16.

    Returns:
        scale: (high - low) / (2^bits - 1) of the range extended to hold 0; above 0.
        zero_point: Code of the number 0, in 0 .. 2^bits - 1.

    Raises:
        ValueError: If bits is outside 2 .. 16, or x holds NaN.

    Source:
        Jacob et al. 2018, section 2.1 and 3.
    """
    # TODO: extend the range to hold 0, then scale and zero point
    ### BEGIN SOLUTION
    check_bits(bits)
    check_numbers(x)
    low, high = min(x.min().item(), 0.0), max(x.max().item(), 0.0)
    if low == high:
        return 1.0, 0
    scale = (high - low) / (2**bits - 1)
    return scale, round(-low / scale)
    ### END SOLUTION


# %% check="asymmetric_scale_zero_point" points=5
for values, bits, expected_scale, expected_zero in (
    ([-1.0, 0.3, 2.5], 3, 0.5, 2),
    ([-1.0, 2.0], 2, 1.0, 1),
    ([-3.0, 12.0], 4, 1.0, 3),
    ([2.0, 6.0], 8, 6 / 255, 0),
    ([-6.0, -2.0], 8, 6 / 255, 255),
    ([5.0, 5.0], 4, 5 / 15, 0),
    ([-5.0], 4, 5 / 15, 15),
    ([-1.0, 3.2], 3, 0.6, 2),
):
    scale, zero_point = asymmetric_scale_zero_point(torch.tensor(values), bits)
    case = f"{values} with {bits} bits"
    assert isinstance(zero_point, int), f"the zero point must be an int, got {zero_point!r}"
    assert isinstance(scale, float), f"the scale must be a Python float, got {scale!r}"
    assert not math.isclose(scale, expected_scale * (2**bits - 1) / 2**bits, rel_tol=1e-6), (
        f"{case}: {2**bits} codes have {2**bits - 1} steps between them"
    )
    assert math.isclose(scale, expected_scale, rel_tol=1e-6), (
        f"{case}: expected scale {expected_scale:.5f}, got {scale:.5f}; extend the range to hold 0"
    )
    assert 0 <= zero_point < 2**bits, f"{case}: zero point {zero_point} is no code"
    assert zero_point == expected_zero, (
        f"{case}: expected zero point {expected_zero}, got {zero_point}; it is round(-low / scale)"
    )
scale, zero_point = asymmetric_scale_zero_point(torch.zeros(3), 8)
assert scale > 0, f"an all-zero tensor needs a scale above 0, got {scale}"
assert 0 <= zero_point <= 255, f"an all-zero tensor: zero point {zero_point} is no code"
assert is_rejected(asymmetric_scale_zero_point, torch.ones(2), 1), "bits=1 must raise a ValueError"
assert is_rejected(asymmetric_scale_zero_point, torch.tensor([float("nan")]), 8), "NaN: ValueError"
passed("asymmetric_scale_zero_point")

# %% [markdown]
# ### Exercise: `quantize` · ★★☆☆ · 15 minutes · 5 points
#
# Write `quantize(x, scale, zero_point, bits, signed)`: the codes
#
# > clamp(round_half_even(x / scale) + zero_point)
#
# - **Round half to even**: 0.5 → 0, 1.5 → 2, 2.5 → 2. `torch.round` does that.
# - **Saturate** (飽和): signed codes stop at -2^(bits-1) and 2^(bits-1) - 1, unsigned ones at 0 and
#   2^bits - 1.
# - The result is `torch.int8` (signed) or `torch.uint8` (unsigned) up to 8 bits, `torch.int32`
#   above.
# - Scale and zero point are numbers, or tensors that broadcast against x (per channel).
# - `ValueError` for bits outside 2 .. 16 and for NaN in x.
#
# *Trap.* `torch.tensor(200.0).to(torch.int8)` is -56: the cast **wraps around**. Clamp first.
#
# <details><summary>Hint 1</summary>
#
# Four steps in this order: divide and round, add, clamp, cast.
#
# <details><summary>Hint 2</summary>
#
# `low = -(2 ** (bits - 1)) if signed else 0`, and `high = low + 2**bits - 1`.
#
# </details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`quantize` · ★★☆☆ · 15 分鐘 · 5 分
#
# 請寫 `quantize(x, scale, zero_point, bits, signed)`，回傳整數碼：
#
# > clamp(round_half_even(x / scale) + zero_point)
#
# - **剛好一半時取偶數** (round half to even)：0.5 → 0、1.5 → 2、2.5 → 2。`torch.round` 就是這樣。
# - **飽和** (saturate)：有號的整數碼停在 -2^(bits-1) 與 2^(bits-1) - 1，無號的停在 0 與
#   2^bits - 1。
# - 8 位元以下（含），結果是 `torch.int8`（有號）或 `torch.uint8`（無號）；超過則是 `torch.int32`。
# - scale 與 zero point 是數字，或是能與 x 廣播 (broadcast) 的張量（逐通道）。
# - 位元數不在 2 .. 16，或 x 含有 NaN 時，要引發 `ValueError`。
#
# *陷阱：* `torch.tensor(200.0).to(torch.int8)` 是 -56：轉型 (cast) 會**繞回** (wrap around)。要先
# clamp。
#
# <details><summary>提示 1</summary>
#
# 四個步驟依序是：相除並捨入、相加、clamp、轉型。
#
# <details><summary>提示 2</summary>
#
# `low = -(2 ** (bits - 1)) if signed else 0`，以及 `high = low + 2**bits - 1`。
#
# </details></details>


# %% exercise="quantize" difficulty=2 minutes=15
def quantize(
    x: torch.Tensor,
    scale: float | torch.Tensor,
    zero_point: int | torch.Tensor,
    bits: int,
    signed: bool,
) -> torch.Tensor:
    """Turn numbers into codes: clamp(round_half_even(x / scale) + zero_point).

    Args:
        x: Any shape.
        scale: Above 0: a number, or a tensor that broadcasts against x.
        zero_point: Code of the number 0; likewise.
        bits: Width of the codes, from 2 to 16.
        signed: Codes from -2^(bits-1) to 2^(bits-1) - 1, or else from 0 to 2^bits - 1.

    Returns:
        Codes of the shape of x: int8 or uint8 up to 8 bits, int32 above.

    Raises:
        ValueError: If bits is outside 2 .. 16, or x holds NaN.

    Source:
        Jacob et al. 2018, equation 12.
    """
    # TODO: round, add the zero point, saturate, and only then cast
    ### BEGIN SOLUTION
    check_bits(bits)
    check_numbers(x)
    low = -(2 ** (bits - 1)) if signed else 0
    codes = (torch.round(x.detach() / scale) + zero_point).clamp(low, low + 2**bits - 1)
    if bits > 8:
        return codes.to(torch.int32)
    return codes.to(torch.int8 if signed else torch.uint8)
    ### END SOLUTION


# %% check="quantize" points=5
x = torch.tensor([-100.0, -1.25, -0.75, -0.25, 0.0, 0.25, 0.75, 1.25, 100.0])
codes = quantize(x, 0.5, 0, 8, True)
assert codes.dtype == torch.int8, f"8 bits, signed: expected torch.int8, got {codes.dtype}"
assert codes[0] != 56, "-200 became 56: the cast wrapped around; clamp before you cast"
assert codes.tolist()[1:4] != [-2, -1, 0], "cut instead of rounded: use torch.round"
assert codes.tolist() == [-128, -2, -2, 0, 0, 0, 2, 2, 127], (
    f"expected [-128, -2, -2, 0, 0, 0, 2, 2, 127], got {codes.tolist()}; halves go to the even code"
)
codes = quantize(x, 0.5, 3, 3, False)
assert codes.dtype == torch.uint8, f"unsigned: expected torch.uint8, got {codes.dtype}"
assert codes.tolist() == [0, 1, 1, 3, 3, 3, 5, 5, 7], (
    f"3 bits, unsigned, zero point 3: got {codes.tolist()}; round first, then add the zero point"
)
assert quantize(x, 0.5, 0, 4, True).tolist() == [-8, -2, -2, 0, 0, 0, 2, 2, 7], (
    "signed 4-bit codes go from -8 to 7"
)
codes = quantize(torch.tensor([300.0, 9000.0]), 1.0, 0, 12, True)
assert codes.dtype == torch.int32, f"12 bits do not fit into 8: expected int32, got {codes.dtype}"
assert codes.tolist() == [300, 2047], f"12 bits, signed: expected [300, 2047], got {codes.tolist()}"
rows = quantize(torch.ones(2, 2), torch.tensor([[0.5], [0.25]]), torch.tensor([[0], [1]]), 8, True)
assert rows.tolist() == [[2, 2], [5, 5]], f"scale and zero point per row: got {rows.tolist()}"
assert x[0] == -100, "x was changed"
assert is_rejected(quantize, x, 0.5, 0, 17, True), "bits=17 must raise a ValueError"
assert is_rejected(quantize, x * float("nan"), 0.5, 0, 8, True), "NaN must raise a ValueError"
passed("quantize")

# %% [markdown]
# ### Exercise: `dequantize` · ★☆☆☆ · 5 minutes · 2 points
#
# Write `dequantize(q, scale, zero_point)`: (q - zero_point) * scale, as `torch.float32`.
#
# *Trap.* `q` is int8 or uint8. In PyTorch `uint8 - int` stays uint8, and 1 - 3 is 254 there.
#
# <details><summary>Hint 1</summary>
#
# Cast to a wider type *before* you subtract: `q.to(torch.int32)`.
#
# </details>

# %% [markdown] lang="zh-TW"
# ### 練習：`dequantize` · ★☆☆☆ · 5 分鐘 · 2 分
#
# 請寫 `dequantize(q, scale, zero_point)`，也就是**反量化** (dequantize)：(q - zero_point) * scale，
# 型別是 `torch.float32`。
#
# *陷阱：* `q` 是 int8 或 uint8。在 PyTorch 中 `uint8 - int` 仍是 uint8，所以 1 - 3 在那裡是 254。
#
# <details><summary>提示 1</summary>
#
# 在相減*之前*，先轉成較寬的型別：`q.to(torch.int32)`。
#
# </details>


# %% exercise="dequantize" difficulty=1 minutes=5
def dequantize(
    q: torch.Tensor, scale: float | torch.Tensor, zero_point: int | torch.Tensor
) -> torch.Tensor:
    """Turn codes back into numbers: (q - zero_point) * scale.

    Args:
        q: Codes of any shape: int8, uint8 or int32.
        scale: Above 0: a number, or a tensor that broadcasts against q.
        zero_point: Code of the number 0; likewise.

    Returns:
        float32 tensor of the shape of q.

    Source:
        Jacob et al. 2018, equation 1.
    """
    # TODO: subtract in a wide type, then multiply
    ### BEGIN SOLUTION
    return ((q.to(torch.int32) - zero_point) * scale).to(torch.float32)
    ### END SOLUTION


# %% check="dequantize" points=2
q = torch.tensor([0, 1, 3, 255], dtype=torch.uint8)
x = dequantize(q, 0.5, 3)
assert x.dtype == torch.float32, f"expected float32, got {x.dtype}"
assert x[0] != 126.5, "0 - 3 wrapped around to 253: cast to int32 before you subtract"
assert x.tolist() == [-1.5, -1.0, 0.0, 126.0], f"expected [-1.5, -1, 0, 126], got {x.tolist()}"
q = torch.tensor([[-128, 127]], dtype=torch.int8)
assert dequantize(q, 2.0, 100).tolist() == [[-456, 54]], "int8 wraps around as well"
x = dequantize(q, torch.tensor([0.5, 0.25], dtype=torch.float64), torch.tensor([0, 1]))
assert x.dtype == torch.float32, f"expected float32 for a float64 scale too, got {x.dtype}"
assert x.tolist() == [[-64, 31.5]], f"scale and zero point per column: got {x.tolist()}"
passed("dequantize")

# %% [markdown]
# ### Symmetric against asymmetric, drawn with the grid
#
# Above: the **activations** that enter `fc2` of the LeNet, after a ReLU: never negative. Below: the
# **weights** of `conv2`: on both sides of 0. The vertical lines are the marks of a 4-bit ruler.
#
# Then choose the bits yourself. Which scheme wastes half of its marks, and where?

# %% [markdown] lang="zh-TW"
# ### 對稱與非對稱的比較：連同格線畫出來
#
# 上圖：進入 LeNet 的 `fc2` 的**激活值**，在 ReLU 之後，所以不為負。下圖：`conv2`
# 的**權重**，分佈在 0 的兩側。垂直線是 4 位元的尺的刻度。
#
# 接著自己選擇位元數。哪一種方法浪費了一半的刻度？在哪裡浪費的？


# %%
@torch.no_grad()
def hidden_values(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return what enters fc2 of the LeNet: fc1 after its ReLU."""
    kept: list[torch.Tensor] = []
    handle = model.fc2.register_forward_pre_hook(lambda _layer, inputs: kept.append(inputs[0]))
    predict(model, images)
    handle.remove()
    return kept[0]


def scheme_of(x: torch.Tensor, bits: int, scheme: str) -> tuple[float, int, bool]:
    """Return scale, zero point and whether the codes are signed."""
    if scheme == "symmetric":
        return symmetric_scale(x, bits), 0, True
    return *asymmetric_scale_zero_point(x, bits), False


tensors = {
    "activations before fc2": hidden_values(lenet, held_out_images[:200]),
    "weights of conv2": lenet.conv2.weight.detach(),
}


def plot_grid(ax: plt.Axes, tensor: str, bits: int, scheme: str) -> None:
    """Draw a tensor with the marks of the ruler."""
    x = tensors[tensor]
    scale, zero, signed = scheme_of(x, bits, scheme)
    lowest = -(2 ** (bits - 1)) if signed else 0
    marks = (torch.arange(lowest, lowest + 2**bits) - zero) * scale
    error = (dequantize(quantize(x, scale, zero, bits, signed), scale, zero) - x).square().mean()
    used = int(((marks >= x.min() - scale / 2) & (marks <= x.max() + scale / 2)).sum())
    ax.vlines(marks, 0, 1, transform=ax.get_xaxis_transform(), color="C1", lw=0.8)
    ax.hist(x.flatten().numpy(), 120, color="C0", zorder=2, log=True, histtype="stepfilled")
    ax.set_title(f"{scheme}: {used} of {2**bits} marks lie where the numbers are")
    ax.set_xlabel(f"{tensor} (root mean square error {error.sqrt():.4f})")
    ax.set_ylabel("count")
    ax.grid(visible=False)


_, panels = plt.subplots(2, 2, figsize=(11, 5.6))
for row, tensor in zip(panels, tensors, strict=True):
    for ax, scheme in zip(row, ("symmetric", "asymmetric"), strict=True):
        plot_grid(ax, tensor, 4, scheme)
plt.tight_layout()
plt.show()

# %%
explorer(plot_grid, tensor=list(tensors), bits=(2, 8, 1, 3), scheme=["symmetric", "asymmetric"])

# %% [markdown]
# - After a ReLU the symmetric ruler has no number for its negative half: one bit is wasted.
# - Weights lie on both sides. The asymmetric ruler gains little there, and a zero point costs
#   extra work (you will see it in the integer layer). So weights are usually symmetric.

# %% [markdown] lang="zh-TW"
# - 在 ReLU 之後，沒有任何數字會用到對稱尺的負半邊：浪費了一個位元。
# - 權重分佈在兩側。非對稱的尺在這裡幾乎沒有好處，而 zero point 還要多做一些計算（在整數層會看到）。
#   所以權重通常用對稱量化。

# %% [markdown] written="zero_exactly" points=2
# ### Written question 1 · 2 points
#
# A colleague leaves the range as it is, [min, max], without extending it to hold zero. Her data lie
# in [0.5, 2.0].
# (a) What is won? (b) Name two places in a CNN where the number 0 comes up, and say what goes wrong
# there when 0 has no exact code.
#
# ### BEGIN SOLUTION
# *Model answer.* (a) The marks lie closer: the step is 1.5 / 255 instead of 2.0 / 255, a quarter
# less error from rounding. (b) Zero padding of a conv layer and the zeros after a ReLU (also dead
# channels, dropped or pruned weights). Each 0 becomes a small constant error of the same sign, at
# thousands of places, so the errors add up to a shift of the layer's output instead of cancelling.
# With the range [0.5, 2] the zero point would even be negative, outside the codes: a 0 saturates
# at 0.5.
# *Half a point for (a), half a point for each of two places, half a point for the systematic
# error.*
# ### END SOLUTION

# %% [markdown] lang="zh-TW"
# ### 問答題 1 · 2 分
#
# 一位同事讓範圍維持 [min, max]，沒有延伸到包含零。她的資料落在 [0.5, 2.0]。(a) 這樣得到什麼好處？
# (b) 請舉出 CNN 中會出現數值 0 的兩個地方，並說明當 0 沒有準確的整數碼時，那裡會出什麼問題。
#
# ### BEGIN SOLUTION
# *參考答案：* (a) 刻度更密：間距是 1.5 / 255，而不是 2.0 / 255，捨入誤差少四分之一。
# (b) 卷積層的零填補 (zero padding)，以及 ReLU 之後的零（還有死通道、被 dropout
# 或剪枝歸零的權重）。每個 0 都變成一個小而固定、正負號相同的誤差，出現在成千上萬個位置，
# 所以誤差不會互相抵消，而是累加成該層輸出的偏移。而且範圍是 [0.5, 2] 時，zero point
# 會是負的，落在整數碼之外：0 會飽和成 0.5。
#
# *(a) 半分，兩個地方各半分，指出是系統性誤差再得半分。*
# ### END SOLUTION

# %% [markdown]
# ## Part C: per tensor or per channel
#
# ### Exercise: `symmetric_scale_per_channel` · ★★☆☆ · 15 minutes · 4 points
#
# One output channel of a layer may have weights ten times as large as another one. With one scale
# for all, the small channel gets only a few codes.
#
# Write `symmetric_scale_per_channel(weight, bits, axis=0)`: a tensor of shape (C,), one symmetric
# scale for every slice along `axis`. In conv and linear layers axis 0 counts the output channels.
# A **dead channel** (all zero) has the scale 1.0. `ValueError` for bits outside 2 .. 16 and for
# NaN.
#
# *Example.* `[[-6., 3.], [0., 0.]]` with 3 bits: `[2., 1.]`. With axis=1: `[2., 1.]` as well, but
# for another reason.
#
# <details><summary>Hint 1</summary>
#
# Bring the axis to the front, make it a matrix with one row per channel, take the largest of each
# row.
#
# <details><summary>Hint 2</summary>
#
# `weight.abs().movedim(axis, 0).reshape(weight.shape[axis], -1).amax(dim=1)`
#
# <details><summary>Hint 3</summary>
#
# `torch.where(largest > 0, …, 1.0)` for the dead channels.
#
# </details></details></details>

# %% [markdown] lang="zh-TW"
# ## C 部分：逐張量或逐通道
#
# ### 練習：`symmetric_scale_per_channel` · ★★☆☆ · 15 分鐘 · 4 分
#
# 同一層中，某個輸出通道的權重可能是另一個通道的十倍大。若全部共用一個
# scale，權重小的通道只分到幾個整數碼。
#
# 請寫 `symmetric_scale_per_channel(weight, bits, axis=0)`：形狀為 (C,) 的張量，沿著 `axis`
# 的每一片各有一個對稱的 scale。在卷積層與全連接層中，axis 0 是輸出通道。**死通道** (dead channel，
# 全為零) 的 scale 是 1.0。位元數不在 2 .. 16 或含有 NaN 時，要引發 `ValueError`。
#
# *例：* `[[-6., 3.], [0., 0.]]`，3 位元：`[2., 1.]`。axis=1 時也是 `[2., 1.]`，但原因不同。
#
# <details><summary>提示 1</summary>
#
# 把該 axis 移到最前面，整理成每個通道一列的矩陣，再取每一列的最大值。
#
# <details><summary>提示 2</summary>
#
# `weight.abs().movedim(axis, 0).reshape(weight.shape[axis], -1).amax(dim=1)`
#
# <details><summary>提示 3</summary>
#
# 死通道用 `torch.where(largest > 0, …, 1.0)` 處理。
#
# </details></details></details>


# %% exercise="symmetric_scale_per_channel" difficulty=2 minutes=15
def symmetric_scale_per_channel(weight: torch.Tensor, bits: int, axis: int = 0) -> torch.Tensor:
    """Return a symmetric scale for every channel of a weight.

    Args:
        weight: (C_out, C_in) of a linear or (C_out, C_in, H, W) of a conv layer.
        bits: Width of the signed codes, from 2 to 16.
        axis: Which dimension counts the channels.

    Returns:
        Scales of shape (C,), C = weight.shape[axis], above 0; 1.0 for an all-zero channel.

    Raises:
        ValueError: If bits is outside 2 .. 16, axis is no dimension, or weight holds NaN.

    Source:
        Krishnamoorthi 2018, Quantizing deep convolutional networks for efficient inference.
    """
    # TODO: the largest magnitude of every channel over the largest code
    ### BEGIN SOLUTION
    check_bits(bits)
    check_numbers(weight, "weight")
    require(-weight.dim() <= axis < weight.dim(), f"axis must be a dimension, got {axis}")
    rows = weight.detach().abs().movedim(axis, 0).reshape(weight.shape[axis], -1)
    largest = rows.amax(dim=1)
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0)
    ### END SOLUTION


# %% check="symmetric_scale_per_channel" points=4
weight = torch.tensor([[-6.0, 3.0, 0.0], [0.0, 0.0, 0.0]])
scales = symmetric_scale_per_channel(weight, 3)
assert scales.shape == (2,), (
    f"expected one scale per row, shape (2,), got {tuple(scales.shape)}; axis=0 is the default"
)
assert scales[1] != 0, "a dead channel has the scale 1.0: with 0 you divide by zero later"
assert scales.tolist() == [2.0, 1.0], f"expected [2, 1], got {scales.tolist()}"
scales = symmetric_scale_per_channel(weight, 3, axis=1)
assert scales.tolist() == [2.0, 1.0, 1.0], f"axis=1: expected [2, 1, 1], got {scales.tolist()}"
kernel = torch.arange(48.0).reshape(2, 3, 2, 4) - 40
for axis, largest in ((0, [40.0, 16.0]), (1, [40.0, 32.0, 24.0])):
    for bits in (2, 4, 8):
        scales = symmetric_scale_per_channel(kernel, bits, axis)
        expected = torch.tensor(largest) / (2 ** (bits - 1) - 1)
        assert scales.shape == expected.shape, (
            f"axis={axis}: expected shape {tuple(expected.shape)}, got {tuple(scales.shape)}"
        )
        assert torch.allclose(scales, expected), (
            f"axis={axis}, {bits} bits: expected {expected.tolist()}, got {scales.tolist()}"
        )
assert is_rejected(symmetric_scale_per_channel, weight, 1), "bits=1 must raise a ValueError"
passed("symmetric_scale_per_channel")

# %% [markdown]
# ### Exercise: `fold_batch_norm` · ★★☆☆ · 15 minutes · 4 points
#
# In eval mode **batch normalisation** (批次正規化) is only a multiplication and an addition per
# channel. So it can be **folded** (折疊) into the conv layer before it, and it is gone: one layer
# less
# to compute and to quantize.
#
# $$\text{BN}(z) = \frac{z - \text{mean}}{\sqrt{\text{var} + \varepsilon}}\,\gamma + \beta
# \quad\Rightarrow\quad w' = w \cdot g,\quad b' = (b - \text{mean}) \cdot g + \beta,\quad
# g = \frac{\gamma}{\sqrt{\text{var} + \varepsilon}}$$
#
# Write `fold_batch_norm(conv, bn) -> nn.Conv2d`: a **new** conv layer that gives what `bn(conv(x))`
# gives in eval mode.
#
# - Mean and var are the **running** statistics, whatever mode `bn` is in.
# - The conv layer may have no bias; then b = 0. The new layer always has one.
# - `affine=False` means γ = 1 and β = 0.
# - Stride, padding and dilation stay.
#
# <details><summary>Hint 1</summary>
#
# `folded = copy.deepcopy(conv)` keeps stride, padding and dilation. Then replace `weight` and
# `bias` by new `nn.Parameter`s.
#
# <details><summary>Hint 2</summary>
#
# g has the shape (C_out,). Against a weight (C_out, C_in, H, W) it needs the shape
# (C_out, 1, 1, 1).
#
# <details><summary>Hint 3</summary>
#
# `bn.weight is None` when `affine=False`; `conv.bias is None` without a bias.
#
# </details></details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`fold_batch_norm` · ★★☆☆ · 15 分鐘 · 4 分
#
# 在 eval 模式下，**批次正規化** (batch normalisation) 對每個通道只是一次乘法與一次加法。
# 所以可以把它**折疊** (fold) 進前面的卷積層，它就消失了：少一層要計算，也少一層要量化。
#
# $$\text{BN}(z) = \frac{z - \text{mean}}{\sqrt{\text{var} + \varepsilon}}\,\gamma + \beta
# \quad\Rightarrow\quad w' = w \cdot g,\quad b' = (b - \text{mean}) \cdot g + \beta,\quad
# g = \frac{\gamma}{\sqrt{\text{var} + \varepsilon}}$$
#
# 請寫 `fold_batch_norm(conv, bn) -> nn.Conv2d`：一個**新的**卷積層，它的輸出等於 eval 模式下的
# `bn(conv(x))`。
#
# - mean 與 var 用的是**累計的** (running) 統計量，不論 `bn` 處於哪種模式。
# - 卷積層可能沒有 bias；那時 b = 0。新的層一定有 bias。
# - `affine=False` 表示 γ = 1、β = 0。
# - stride、padding 與 dilation 維持不變。
#
# <details><summary>提示 1</summary>
#
# `folded = copy.deepcopy(conv)` 會保留 stride、padding 與 dilation。接著把 `weight` 與 `bias`
# 換成新的 `nn.Parameter`。
#
# <details><summary>提示 2</summary>
#
# g 的形狀是 (C_out,)。要與形狀 (C_out, C_in, H, W) 的權重相乘，它需要 (C_out, 1, 1, 1) 的形狀。
#
# <details><summary>提示 3</summary>
#
# `affine=False` 時 `bn.weight is None`；沒有 bias 時 `conv.bias is None`。
#
# </details></details></details>


# %% exercise="fold_batch_norm" difficulty=2 minutes=15
def fold_batch_norm(conv: nn.Conv2d, bn: nn.BatchNorm2d) -> nn.Conv2d:
    """Merge a batch normalisation into the conv layer before it.

    Args:
        conv: With or without bias. Not changed.
        bn: With running statistics for conv's output channels. Not changed.

    Returns:
        A new conv layer with bias that gives bn(conv(x)) as in eval mode.

    Raises:
        ValueError: If bn has another number of channels, or no running statistics.

    Source:
        Jacob et al. 2018, section 3.2.
    """
    # TODO: the factor g, then the new weight and the new bias
    ### BEGIN SOLUTION
    require(bn.num_features == conv.out_channels, "bn must have as many channels as conv gives")
    require(bn.running_var is not None, "bn must have running statistics")
    with torch.no_grad():
        factor = torch.rsqrt(bn.running_var + bn.eps)
        factor = factor if bn.weight is None else factor * bn.weight
        bias = torch.zeros_like(bn.running_mean) if conv.bias is None else conv.bias
        bias = (bias - bn.running_mean) * factor
        bias = bias if bn.bias is None else bias + bn.bias
        folded = copy.deepcopy(conv).eval()
        folded.weight = nn.Parameter(conv.weight * factor.reshape(-1, 1, 1, 1))
        folded.bias = nn.Parameter(bias)
    return folded
    ### END SOLUTION


# %% check="fold_batch_norm" points=4
generator = torch.Generator().manual_seed(0)
x = torch.randn(5, 2, 7, 7, generator=generator)
for bias in (True, False):
    for affine in (True, False):
        conv = nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=bias)
        bn = nn.BatchNorm2d(3, eps=0.1, affine=affine)
        bn.running_mean.copy_(torch.tensor([1.0, -2.0, 0.5]))
        bn.running_var.copy_(torch.tensor([0.01, 0.5, 4.0]))
        if affine:
            bn.weight.data.copy_(torch.tensor([2.0, -1.0, 0.5]))
            bn.bias.data.copy_(torch.tensor([0.3, 0.0, -1.0]))
        before = copy.deepcopy(conv.state_dict())
        folded = fold_batch_norm(conv, bn)  # bn is in train mode: running statistics all the same
        assert isinstance(folded, nn.Conv2d), f"expected a Conv2d, got {type(folded).__name__}"
        assert folded.bias is not None, "the folded layer needs a bias, even where conv has none"
        assert all(torch.equal(before[k], v) for k, v in conv.state_dict().items()), (
            "conv was changed: work on a copy"
        )
        bn.eval()
        expected, got = bn(conv(x)), folded(x)
        assert got.shape == expected.shape, (
            f"shape {tuple(got.shape)}, not {tuple(expected.shape)}: keep stride and padding"
        )
        assert torch.allclose(got, expected, atol=1e-5), (
            f"conv bias={bias}, affine={affine}: off by {(got - expected).abs().max():.3f}; eps "
            "(here 0.1) belongs under the root, and a bias of conv is shifted and scaled as well"
        )
passed("fold_batch_norm")

# %% [markdown]
# ### Measured: per tensor against per channel
#
# Only the weights are quantized here, symmetrically, at 8 down to 2 bits.
# Guess first: which of the two networks needs per-channel scales?

# %% [markdown] lang="zh-TW"
# ### 實測：逐張量與逐通道的比較
#
# 這裡只量化權重，用對稱量化，從 8 位元到 2 位元。先猜猜看：這兩個網路中，哪一個需要逐通道的 scale？


# %%
def fold_batch_norm_cnn(model: nn.Module) -> nn.Module:
    """Return a BatchNormCNN whose normalisations are folded into its conv layers."""
    model = copy.deepcopy(model).eval()
    for number in (1, 2, 3):
        conv, bn = getattr(model, f"conv{number}"), getattr(model, f"bn{number}")
        setattr(model, f"conv{number}", fold_batch_norm(conv, bn))
        setattr(model, f"bn{number}", nn.Identity())
    return model


def with_quantized_weights(model: nn.Module, bits: int, per_channel: bool) -> nn.Module:
    """Return a copy whose conv and linear weights lie on a symmetric grid."""
    model = copy.deepcopy(model)
    for layer in layers_of(model).values():
        scale = symmetric_scale(layer.weight, bits)
        if per_channel:
            scales = symmetric_scale_per_channel(layer.weight, bits)
            scale = scales.reshape(-1, *[1] * (layer.weight.dim() - 1))
        codes = quantize(layer.weight, scale, 0, bits, signed=True)
        layer.weight.data = dequantize(codes, scale, 0)
    return model


folded = fold_batch_norm_cnn(batch_norm_cnn)
gap = (predict(folded, held_out_images) - predict(batch_norm_cnn, held_out_images)).abs().max()
print(f"folding changes the logits by at most {gap:.1e}")
networks = {"LeNet": lenet, "BatchNormCNN, folded": folded}
widths = [8, 6, 5, 4, 3, 2]
_, panels = plt.subplots(1, 2, figsize=(11, 3.4), sharey=True)
for axes, (name, model) in zip(panels, networks.items(), strict=True):
    for per_channel, marker in ((False, "o"), (True, "s")):
        curve = [
            accuracy(with_quantized_weights(model, bits, per_channel), held_out)
            for bits in tqdm(widths, desc=f"{name}, per channel {per_channel}")
        ]
        axes.plot(widths, curve, marker + "-", label="per channel" if per_channel else "per tensor")
        print(f"{name}, per channel {per_channel}:", [f"{value:.1%}" for value in curve])
    axes.axhline(accuracy(model, held_out), color="0.5", ls="--", label="float32")
    axes.set(xlabel="bits of the weights", title=name, xticks=widths)
    axes.invert_xaxis()
    axes.legend()
panels[0].set_ylabel("accuracy")
plt.show()

for name, model in networks.items():
    print(f"{name}, largest over smallest channel range:")
    for layer_name, layer in layers_of(model).items():
        sizes = layer.weight.detach().abs().flatten(1).amax(dim=1)
        print(f"  {layer_name}: {sizes.max() / sizes.min():.1f}")

# %% [markdown]
# - At 8 bits everything works. Nothing was trained for that.
# - **The folded network shows why per-channel scales exist.** Folding multiplies every channel by
#   its own g, so the channels of a layer differ in size. At 3 bits per-channel scales win about 20
#   points. The LeNet, without batch normalisation, hides the effect.
# - *Honest:* from which bit width on it shows depends on the training. This checkpoint holds at 4
#   bits either way. Three others, trained from other seeds, had at 4 bits 84.6 % per tensor (80.0
#   to 88.7) against 90.4 % per channel (90.0 to 90.7).
# - At 2 bits the symmetric min-max ruler has only -max, 0 and max. Almost every weight becomes 0.

# %% [markdown] lang="zh-TW"
# - 8 位元時一切正常，而且完全沒有再訓練。
# - **折疊後的網路說明了為什麼要有逐通道的 scale。** 折疊把每個通道乘上各自的
#   g，所以同一層的通道大小不一。3 位元時，逐通道的 scale 高出約 20 個百分點。LeNet
#   沒有批次正規化，看不出這個效果。
# - *老實說：* 從幾個位元開始看得出差別，取決於訓練。這個檢查點 (checkpoint) 在
#   4 位元時，兩種方式都撐得住。另外三個用其他隨機種子訓練的網路，在 4 位元時逐張量是 84.6 %（80.0
#   到 88.7），逐通道是 90.4 %（90.0 到 90.7）。
# - 2 位元時，對稱的 min-max 尺只有 -max、0 與 max。幾乎所有權重都變成 0。

# %% [markdown]
# ## Part D: calibration (校準)
#
# Weights are known. **Activations** are not: they depend on the image. So we show the network a few
# hundred images, write down what enters every layer, and fix a range. That is **calibration**.
#
# Which range? Three answers:
#
# - **minmax**: from the smallest to the largest value that was seen. Nothing is cut. One outlier
#   stretches the ruler for all.
# - **percentile**: cut off the outermost values on both sides.
# - **mse**: try many ranges, keep the one with the smallest mean squared error after quantization.
#
# ### Exercise: `calibrate` · ★★★☆ · 30 minutes · 6 points
#
# Write `calibrate(model, loader, method="minmax", percentile=99.9, bits=8)`. It returns
# `{layer name: (low, high)}`: the range of the **input** of every conv and linear layer, over
# **all** images of the loader, with the model in eval mode.
#
# - `"minmax"`: smallest and largest value.
# - `"percentile"`: two-sided. low is the (100 - percentile)-th percentile, high the percentile-th.
# - `"mse"`: the range whose asymmetric quantization with `bits` bits has the smallest mean squared
#   error. Only `"mse"` uses `bits`. A search over about 50 shrunk min-max ranges is good enough.
# - `ValueError` for an unknown method and for a percentile outside 0 .. 100.
# - The model is as before afterwards: no hook left, no mode changed.
#
# *Traps.* Only one batch is looked at. Hooks stay on the model and slow it down for ever. The
# layer's
# *output* is recorded.
#
# <details><summary>Hint 1</summary>
#
# `layer.register_forward_pre_hook(function)` calls `function(layer, inputs)` before the layer runs.
# `inputs` is a tuple: you want `inputs[0]`. It returns a handle with `.remove()`. On a deep copy
# of the model nothing can be left behind.
#
# <details><summary>Hint 2</summary>
#
# Collect the inputs in a dict of lists. After the loop, `torch.cat` the flat values of each layer.
# In a loop, a lambda must bind the name early: `lambda layer, inputs, name=name: …`.
#
# <details><summary>Hint 3</summary>
#
# `np.percentile(values.numpy(), [100 - percentile, percentile])` has no limit on the size;
# `torch.quantile` has one. For "mse": for each factor, quantize and dequantize the values with the
# range (factor * low, factor * high), and keep the best.
#
# </details></details></details>

# %% [markdown] lang="zh-TW"
# ## D 部分：校準 (calibration)
#
# 權重是已知的。**激活值**則不是：它取決於影像。所以我們讓網路看幾百張影像，記下進入每一層的數值，
# 再固定範圍。這就是**校準**。
#
# 用哪個範圍？有三種答案：
#
# - **minmax**：從看過的最小值到最大值。什麼都不切掉。一個離群值 (outlier) 就會為所有的值把尺拉長。
# - **percentile**（百分位數）：兩側最外面的值都切掉。
# - **mse**：試很多個範圍，留下量化後均方誤差 (mean squared error) 最小的那個。
#
# ### 練習：`calibrate` · ★★★☆ · 30 分鐘 · 6 分
#
# 請寫 `calibrate(model, loader, method="minmax", percentile=99.9, bits=8)`。它回傳
# `{layer name: (low, high)}`：每個卷積層與全連接層的**輸入**的範圍，要看過 loader
# 的**所有**影像，且模型處於 eval 模式。
#
# - `"minmax"`：最小值與最大值。
# - `"percentile"`：雙側。low 是第 (100 - percentile) 百分位數，high 是第 percentile 百分位數。
# - `"mse"`：用 `bits` 個位元做非對稱量化時，均方誤差最小的範圍。只有 `"mse"` 會用到 `bits`。把
#   min-max 範圍縮小，試大約 50 種就夠好了。
# - 未知的方法，或百分位數不在 0 .. 100 時，要引發 `ValueError`。
# - 之後模型要和原來一樣：不留下 hook，也不改變模式。
#
# *陷阱：* 只看了一個批次。hook 留在模型上，讓它從此變慢。記錄成了該層的*輸出*。
#
# <details><summary>提示 1</summary>
#
# `layer.register_forward_pre_hook(function)` 會在該層執行之前呼叫
# `function(layer, inputs)`。`inputs` 是 tuple：你要的是 `inputs[0]`。它回傳一個 handle，上面有
# `.remove()`。若在模型的深層複製上做，就不會留下任何東西。
#
# <details><summary>提示 2</summary>
#
# 把輸入收集在「值為 list 的 dict」裡。迴圈結束後，用 `torch.cat`
# 把每一層攤平的數值接起來。在迴圈中，lambda 必須提早綁定名稱：
# `lambda layer, inputs, name=name: …`。
#
# <details><summary>提示 3</summary>
#
# `np.percentile(values.numpy(), [100 - percentile, percentile])` 對大小沒有限制；`torch.quantile`
# 則有。至於 "mse"：對每個倍率，用範圍 (factor * low, factor * high)
# 把數值量化再反量化，留下最好的。
#
# </details></details></details>


# %% exercise="calibrate" difficulty=3 minutes=30
def calibrate(
    model: nn.Module,
    loader: DataLoader,
    method: str = "minmax",
    percentile: float = 99.9,
    bits: int = 8,
) -> dict[str, tuple[float, float]]:
    """Find the range of what enters every conv and linear layer.

    Args:
        model: Runs in eval mode here. Not changed.
        loader: Yields (images, labels). All images count.
        method: "minmax", "percentile" or "mse".
        percentile: For "percentile": from 0 to 100, cut on both sides.
        bits: For "mse": width of the codes that the range is for, from 2 to 16.

    Returns:
        (low, high) by layer name.

    Raises:
        ValueError: If method is unknown, percentile is outside 0 .. 100, or bits outside 2 .. 16.

    Source:
        Wu et al. 2020, Integer Quantization for Deep Learning Inference, section 3.3.
    """
    # TODO: record the inputs of every layer over the whole loader, then find a range for each
    ### BEGIN SOLUTION
    methods = ("minmax", "percentile", "mse")
    require(method in methods, f"method must be one of {methods}, got {method!r}")
    require(0 <= percentile <= 100, f"percentile must lie in 0 .. 100, got {percentile}")
    check_bits(bits)
    observed = copy.deepcopy(model).eval()
    inputs: dict[str, list[torch.Tensor]] = {name: [] for name in layers_of(observed)}
    for name, layer in layers_of(observed).items():
        layer.register_forward_pre_hook(
            lambda _layer, arguments, name=name: inputs[name].append(arguments[0].flatten())
        )
    with torch.no_grad():
        for images, _labels in loader:
            observed(images)

    def find_range(values: torch.Tensor) -> tuple[float, float]:
        low, high = values.min().item(), values.max().item()
        if method == "percentile":
            ends = np.percentile(values.numpy(), [100 - percentile, percentile])
            return float(ends.min()), float(ends.max())
        if method == "minmax":
            return low, high
        best, smallest_error = (low, high), float("inf")
        for factor in torch.linspace(0.02, 1, 50).tolist():
            ends = torch.tensor([factor * low, factor * high])
            scale, zero_point = asymmetric_scale_zero_point(ends, bits)
            codes = quantize(values, scale, zero_point, bits, signed=False)
            error = nn.functional.mse_loss(dequantize(codes, scale, zero_point), values).item()
            if error < smallest_error:
                best, smallest_error = (factor * low, factor * high), error
        return best

    return {name: find_range(torch.cat(parts)) for name, parts in inputs.items()}
    ### END SOLUTION


# %% check="calibrate" points=6
torch.manual_seed(0)
net = SmallNet()
batches = torch.rand(30, 1, 4, 4, generator=torch.Generator().manual_seed(1))
batches[2, 0, 0, 0], batches[29, 0, 3, 3] = -3.0, 5.0  # in the first and the last batch
toy_loader = make_loader(batches, torch.zeros(30, dtype=torch.int64), batch_size=8)
net.fc.eval()
before = [module.training for module in net.modules()]
ranges = calibrate(net, toy_loader)
assert sorted(ranges) == ["conv", "fc"], f"expected the layers conv and fc, got {sorted(ranges)}"
assert net.count_hooks() == 0, f"{net.count_hooks()} hooks were left on the model"
assert [module.training for module in net.modules()] == before, "the mode of a submodule changed"
low, high = ranges["conv"]
assert math.isclose(high, 5), f"the largest input is 5, in the last batch; got {high}"
assert math.isclose(low, -3), f"the smallest input is -3, in the first batch; got {low}"
hidden = torch.relu(net.conv(batches)).detach()
assert math.isclose(ranges["fc"][1], hidden.max().item(), rel_tol=1e-4), (
    "fc: expected the range of its input (after the ReLU), not of its output"
)
low, high = calibrate(net, toy_loader, method="percentile", percentile=99.0)["conv"]
assert high < 1.5, f"method='percentile' must cut off the outlier 5, got high = {high}"
assert low > -0.5, f"percentile is two-sided: it must cut off the outlier -3, got low = {low}"
assert high > 0.8, f"percentile=99 must keep nearly everything below 1, got high = {high}"
low, high = calibrate(net, toy_loader, method="mse", bits=2)["conv"]
assert 0.5 < high < 4, f"method='mse' with 2 bits must cut off the outlier 5, got high = {high}"
assert is_rejected(calibrate, net, toy_loader, "median"), "unknown method: ValueError"
assert is_rejected(calibrate, net, toy_loader, "percentile", 101), "percentile 101: ValueError"
passed("calibrate")

# %% [markdown]
# ### Explore: what the three methods choose
#
# The histogram shows what enters a layer of the folded network (log scale: see the long tail).
# The legend tells the mean squared error of each range.

# %% [markdown] lang="zh-TW"
# ### 探索：三種方法各選了什麼
#
# 直方圖顯示進入折疊後網路某一層的數值（對數刻度：看看那條長尾巴）。圖例寫出每個範圍的均方誤差。


# %%
few_images = make_loader(images[:100], labels[:100], batch_size=100)
colors = {"minmax": "C3", "percentile": "C2", "mse": "C1"}


@torch.no_grad()
def entering(model: nn.Module, name: str, images: torch.Tensor) -> torch.Tensor:
    """Return what enters a layer, flat."""
    model, kept = copy.deepcopy(model), []
    model.get_submodule(name).register_forward_pre_hook(lambda _l, inputs: kept.append(inputs[0]))
    model(images)
    return kept[0].flatten()


# Every third value: the picture must follow the slider.
inputs_of = {name: entering(folded, name, images[:100])[::3] for name in layers_of(folded)}
ranges_of = {
    (method, bits): calibrate(folded, few_images, method, bits=bits)
    for bits in tqdm((8, 6, 4, 3, 2), desc="bits")
    for method in colors
}


def plot_ranges(ax: plt.Axes, layer: str, bits: int) -> None:
    """Draw what enters a layer, with the three ranges."""
    values = inputs_of[layer]
    ax.hist(values.numpy(), bins=150, color="C0", log=True, histtype="stepfilled")
    for (method, color), style in zip(colors.items(), ("-", "--", "-."), strict=True):
        low, high = ranges_of[method, bits][layer]
        scale, zero = asymmetric_scale_zero_point(torch.tensor([low, high]), bits)
        restored = dequantize(quantize(values, scale, zero, bits, False), scale, zero)
        error = (restored - values).square().mean().item()
        ax.axvline(high, color=color, lw=2, ls=style, label=f"{method}: error {error:.1e}")
        ax.axvline(low, color=color, lw=2, ls=style)
    ax.set(xlabel=f"input of {layer}", ylabel="count", title=f"ranges for {bits} bits")
    ax.minorticks_off()
    ax.legend(frameon=True)


explorer(plot_ranges, layer=["conv2", "conv3", "fc", "conv1"], bits=[3, 2, 4, 6, 8])

# %% [markdown]
# ## Part E: the whole network
#
# ### Exercise: `quantize_model` · ★★★☆ · 25 minutes · 6 points
#
# Write `quantize_model(model, loader, weight_bits, activation_bits, per_channel, method="minmax")`:
# a copy of any model in which **every** conv and linear layer works with quantized numbers.
#
# - The **input** of every such layer is quantized: asymmetric, `activation_bits` bits, with the
#   **static** range that `calibrate` found. Static means: fixed now, the same for every later
#   image; what lies outside saturates.
# - The **weight** is quantized: symmetric, `weight_bits` bits, per channel (axis 0) or per tensor.
# - The **bias** stays in float.
# - First layer and last layer included. Deep copy, eval mode. `ValueError` for impossible bits.
#
# This is a **simulation**: codes are turned back into floats at once, and the layer computes in
# float. The numbers are exactly those of a quantized layer. A class for one layer is given below.
# Whether you use it is up to you.
#
# <details><summary>Hint 1</summary>
#
# Calibrate first, on the copy. Then go through `layers_of(quantized).items()`.
#
# <details><summary>Hint 2</summary>
#
# The range is two numbers: `asymmetric_scale_zero_point(torch.tensor([low, high]), bits)`.
# Per channel: bring the scales to the shape (C, 1) or (C, 1, 1, 1).
#
# <details><summary>Hint 3</summary>
#
# `quantized.set_submodule(name, QuantizedLayer(layer, scale, zero_point, activation_bits))` puts
# the new layer in the old one's place.
#
# </details></details></details>

# %% [markdown] lang="zh-TW"
# ## E 部分：整個網路
#
# ### 練習：`quantize_model` · ★★★☆ · 25 分鐘 · 6 分
#
# 請寫 `quantize_model(model, loader, weight_bits, activation_bits, per_channel, method="minmax")`：
# 任何模型的副本，其中**每個**卷積層與全連接層都用量化後的數值運作。
#
# - 每個這樣的層，**輸入**要量化：非對稱、`activation_bits` 個位元，用 `calibrate`
#   找到的**靜態** (static) 範圍。靜態的意思是：現在就固定，之後每張影像都相同；超出範圍的值會飽和。
# - **權重**要量化：對稱、`weight_bits` 個位元，逐通道 (axis 0) 或逐張量。
# - **bias** 維持浮點數。
# - 第一層與最後一層也包括在內。深層複製，eval 模式。位元數不合理時，要引發 `ValueError`。
#
# 這是一種**模擬** (simulation)：整數碼立刻變回浮點數，層以浮點數計算。
# 得到的數值與真正量化的層完全相同。下面給了單一層的類別，要不要用由你決定。
#
# <details><summary>提示 1</summary>
#
# 先在副本上校準。然後走訪 `layers_of(quantized).items()`。
#
# <details><summary>提示 2</summary>
#
# 範圍就是兩個數字：`asymmetric_scale_zero_point(torch.tensor([low, high]), bits)`。逐通道時，把
# scale 的形狀變成 (C, 1) 或 (C, 1, 1, 1)。
#
# <details><summary>提示 3</summary>
#
# `quantized.set_submodule(name, QuantizedLayer(layer, scale, zero_point, activation_bits))`
# 把新的層放到舊的層的位置。
#
# </details></details></details>


# %% define
class QuantizedLayer(nn.Module):
    """A conv or linear layer that quantizes its input first.

    Args:
        layer: A layer whose weight already lies on its grid.
        scale: Of the input.
        zero_point: Of the input.
        bits: Of the input's unsigned codes.
    """

    def __init__(self, layer: nn.Module, scale: float, zero_point: int, bits: int) -> None:
        super().__init__()
        self.layer, self.scale, self.zero_point, self.bits = layer, scale, zero_point, bits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output for the quantized input."""
        codes = quantize(x, self.scale, self.zero_point, self.bits, signed=False)
        return self.layer(dequantize(codes, self.scale, self.zero_point))


# %% exercise="quantize_model" difficulty=3 minutes=25
def quantize_model(
    model: nn.Module,
    loader: DataLoader,
    weight_bits: int,
    activation_bits: int,
    per_channel: bool,
    method: str = "minmax",
) -> nn.Module:
    """Quantize weights and inputs of all conv and linear layers, without any training.

    Args:
        model: Any model of conv and linear layers. Not changed.
        loader: Yields (images, labels), to calibrate the ranges of the inputs.
        weight_bits: From 2 to 16.
        activation_bits: From 2 to 16.
        per_channel: One weight scale per output channel, or else one per layer.
        method: How `calibrate` finds the ranges.

    Returns:
        A copy in eval mode, as a simulation in float: static ranges, float biases.

    Raises:
        ValueError: If weight_bits or activation_bits is outside 2 .. 16, or method is unknown.

    Source:
        Krishnamoorthi 2018, Quantizing deep convolutional networks for efficient inference.
    """
    # TODO: copy, calibrate, then quantize weight and input of every layer
    ### BEGIN SOLUTION
    check_bits(weight_bits, "weight_bits")
    check_bits(activation_bits, "activation_bits")
    quantized = copy.deepcopy(model).eval()
    ranges = calibrate(quantized, loader, method, bits=activation_bits)
    for name, layer in layers_of(quantized).items():
        scale = symmetric_scale(layer.weight, weight_bits)
        if per_channel:
            scales = symmetric_scale_per_channel(layer.weight, weight_bits)
            scale = scales.reshape(-1, *[1] * (layer.weight.dim() - 1))
        codes = quantize(layer.weight, scale, 0, weight_bits, signed=True)
        layer.weight = nn.Parameter(dequantize(codes, scale, 0))
        input_ = asymmetric_scale_zero_point(torch.tensor(ranges[name]), activation_bits)
        quantized.set_submodule(name, QuantizedLayer(layer, *input_, activation_bits))
    return quantized.eval()
    ### END SOLUTION


# %% check="quantize_model" points=6
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 1, bias=False), nn.Linear(1, 3))
net[0].weight.data.fill_(1.0)
net.train()
before = copy.deepcopy(net.state_dict())
inputs = torch.rand(400, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
toy_loader = make_loader(inputs, torch.zeros(400, dtype=torch.int64), batch_size=100)
coarse = quantize_model(net, toy_loader, 8, 3, True)
assert coarse is not net, "expected a new model: work on a deep copy"
assert all(torch.equal(before[k], v) for k, v in net.state_dict().items()), "the model changed"
assert not coarse.training, "the result must be in eval mode"
assert net.training, "the caller's model must stay in train mode"
with torch.no_grad():
    levels = len(coarse(inputs)[:, 0].mul(1e4).round().unique())
    assert levels <= 8, f"with 3 bits the last layer's input has 8 levels at most, got {levels}"
    line = torch.linspace(-1, 1, 500).reshape(-1, 1)
    line_loader = make_loader(line, torch.zeros(500, dtype=torch.int64), batch_size=100)
    fan = nn.Sequential(nn.Linear(1, 16), nn.ReLU(), nn.Linear(16, 1))
    levels = len(quantize_model(fan, line_loader, 8, 3, True)(line).mul(1e4).round().unique())
    assert levels <= 8, f"the first layer's input must be quantized as well: {levels} levels"
    one = nn.Sequential(nn.Linear(4, 4)).requires_grad_(False)
    one[0].weight.copy_(torch.eye(4))
    saturated = quantize_model(one, toy_loader, 8, 8, False)(torch.full((1, 4), 50.0))
    assert saturated.max() < 3, "ranges are static: an input of 50 must saturate near 1"
    zero = quantize_model(one, toy_loader, 2, 2, False)(torch.zeros(1, 4))
    assert torch.allclose(zero, one[0].bias, atol=1e-5), "biases stay in float, and 0 stays 0"
    one[0].weight.copy_(torch.tensor([[1.0, 0.4, 0, 0], [0, 0.01, 0.004, 0]] * 2))
    basis = torch.cat([torch.zeros(1, 4), torch.eye(4)])
    for per_channel, small in ((True, 0.01), (False, 0.0)):
        response = quantize_model(one, toy_loader, 3, 16, per_channel)(basis)
        weights = (response[1:] - response[0]).T
        assert math.isclose(weights[1, 1].item(), small, abs_tol=1e-3), (
            f"per_channel={per_channel}, 3 bits: the weight 0.01 becomes {small}, "
            f"got {weights[1, 1]:.4f}"
        )
        assert math.isclose(weights[0, 1].item(), 1 / 3, abs_tol=1e-3), (
            f"3 bits: the weight 0.4 lies on a grid of thirds, got {weights[0, 1]:.4f}"
        )
assert is_rejected(quantize_model, net, toy_loader, 1, 8, True), "weight_bits=1: ValueError"
assert is_rejected(quantize_model, net, toy_loader, 8, 17, True), "activation_bits=17: ValueError"
passed("quantize_model")

# %% [markdown]
# ### Measured: calibration matters when bits are few
#
# The folded BatchNormCNN; **activations** at 8 down to 2 bits, weights at 8 bits per channel. 200
# images without labels calibrate, 1,000 others measure (standard error about 0.9 points). Which
# method would you bet on?

# %% [markdown] lang="zh-TW"
# ### 實測：位元很少時，校準才重要
#
# 折疊後的 BatchNormCNN；**激活值**從 8 位元到 2 位元，權重是 8 位元、逐通道。用 200
# 張沒有標籤的影像校準，另外 1,000 張測量（標準誤約 0.9 個百分點）。你會押哪一種方法？

# %%
methods = ("minmax", "percentile", "mse")
table = {method: {} for method in methods}
for bits in tqdm((8, 4, 3, 2), desc="activation bits"):
    for method in methods:
        model = quantize_model(folded, calibration_loader, 8, bits, True, method)
        table[method][bits] = accuracy(model, half_held_out)
print("activation bits " + "".join(f"{bits:>9}" for bits in table["minmax"]))
for method, row in table.items():
    print(f"{method:15} " + "".join(f"{value:9.1%}" for value in row.values()))
plt.figure(figsize=(7, 3.2))
for (method, row), marker in zip(table.items(), "osd", strict=True):
    plt.plot(list(row), list(row.values()), marker + "-", color=colors[method], label=method)
plt.gca().invert_xaxis()
plt.xticks(list(row))
plt.xlabel("bits of the activations")
plt.ylabel("accuracy")
plt.legend()
plt.show()

# %% [markdown]
# - At **8 bits all methods agree**. One image would be enough to calibrate.
# - At **3 bits** min-max loses about ten points, MSE two or three. The outliers in the tail are
#   few, and all the other values pay for them. Over three other training seeds the gap was larger
#   still: 72.0 % (70.4 to 73.0) against 89.2 % (89.0 to 89.4).
# - More images do not always help min-max: the range only ever grows.

# %% [markdown] lang="zh-TW"
# - **8 位元時，所有方法的結果都相同。** 只用一張影像校準就夠了。
# - **3 位元**時，min-max 損失約十個百分點，MSE 只損失兩三個。尾巴上的離群值很少，
#   卻由其他所有數值付出代價。在另外三個訓練種子上，差距更大：72.0 %（70.4 到 73.0）對 89.2 %（89.0
#   到 89.4）。
# - 影像更多，不一定對 min-max 有幫助：範圍只會越來越大。

# %% [markdown] written="which_calibration" points=2
# ### Written question 2 · 2 points
#
# You calibrate with min-max on 500 images. Then a colleague adds 10,000 more images, and the
# accuracy at 4 bits **falls**. At 8 bits nothing changes.
# Explain both observations. What would you do?
#
# ### BEGIN SOLUTION
# *Model answer.* Min-max can only grow: among more images there are rarer, larger outliers. The
# scale grows with the range, so the step between two codes becomes larger for all ordinary values.
# With 4 bits there are only 15 steps, and each is now coarser than the signal can bear; with 8
# bits there are 255, so even a doubled step is small against the signal. I would clip: percentile
# or MSE calibration, whose result converges with more images.
# *One point for the growing range and the larger step, half a point for why 8 bits can afford it,
# half a point for a sensible remedy.*
# ### END SOLUTION

# %% [markdown] lang="zh-TW"
# ### 問答題 2 · 2 分
#
# 你用 min-max 在 500 張影像上校準。之後一位同事再加上 10,000 張影像，4 位元時的準確率卻**下降**了。
# 8 位元時沒有任何變化。請解釋這兩個現象。你會怎麼做？
#
# ### BEGIN SOLUTION
# *參考答案：* min-max 的範圍只會變大：影像越多，越會出現更罕見、更大的離群值。scale
# 隨範圍變大，所以對所有一般的數值來說，相鄰整數碼的間距也變大。4 位元只有 15
# 個間距，每一個都粗到訊號承受不了；8 位元有 255 個，即使間距加倍，相對於訊號仍然很小。
# 我會切掉離群值：改用 percentile 或 MSE 校準，它們的結果會隨影像增加而收斂。
#
# *範圍變大、間距變大一分，說明 8 位元為何承受得起半分，合理的對策半分。*
# ### END SOLUTION

# %% [markdown]
# ### Measured: accuracy at 8, 6, 4, 3 and 2 bits
#
# Now weights **and** activations, for both networks.

# %% [markdown] lang="zh-TW"
# ### 實測：8、6、4、3、2 位元的準確率
#
# 現在權重**與**激活值都量化，兩個網路都測。

# %%
settings = {
    "per tensor, min-max": (False, "minmax"),
    "per channel, min-max": (True, "minmax"),
    "per channel, MSE": (True, "mse"),
}
widths = (8, 6, 4, 3, 2)
_, panels = plt.subplots(1, 2, figsize=(11, 3.4), sharey=True)
bar = tqdm(total=len(networks) * len(settings) * len(widths), desc="quantized networks")
for axes, (name, model) in zip(panels, networks.items(), strict=True):
    print(f"{name:24}" + "".join(f"{f'W{bits}A{bits}':>8}" for bits in widths))
    for (title, (per_channel, method)), marker in zip(settings.items(), "osd", strict=True):
        curve = []
        for bits in widths:
            small = quantize_model(model, calibration_loader, bits, bits, per_channel, method)
            curve.append(accuracy(small, half_held_out))
            bar.update()
        axes.plot(widths, curve, marker + "-", label=title)
        print(f"  {title:22}" + "".join(f"{value:8.1%}" for value in curve))
    axes.axhline(accuracy(model, half_held_out), color="0.5", ls="--", label="float32")
    axes.set(xlabel="bits of weights and activations", title=name, xticks=widths)
    axes.invert_xaxis()
bar.close()
panels[0].set_ylabel("accuracy")
panels[0].legend()
plt.show()

# %% [markdown]
# - **8 bits cost nothing** here, whatever you choose. That is why int8 is the standard.
# - Between 4 and 3 bits the choices begin to matter, and the small network suffers more: it has
#   less redundancy.
# - **MSE does not always win.** The smallest error in a layer is not the highest accuracy: at 2
#   bits both collapse, and their order is chance.
# - At 2 bits post-training quantization fails. There you have to *train* with the grid:
#   quantization-aware training, the next notebook.
# - Weights can be clipped by MSE as well. For 2-bit weights of the LeNet (activations in float)
#   that turned 12.6 % into 86.1 %, over three training seeds.

# %% [markdown] lang="zh-TW"
# - 在這裡，不論怎麼選，**8 位元都沒有任何損失**。這就是 int8 成為標準的原因。
# - 從 4 位元到 3 位元，不同的選擇開始有差別，而小的網路受影響較大：它的冗餘較少。
# - **MSE 不一定贏。** 一層的誤差最小，不等於準確率最高：2 位元時兩者都崩潰，誰高誰低只是運氣。
# - 2 位元時，訓練後量化就失敗了。那時必須帶著格線一起*訓練*：量化感知訓練
#   (quantization-aware training)，也就是下一份 notebook。
# - 權重的範圍也可以用 MSE 來截斷 (clip)。對 LeNet 的 2 位元權重（激活值為浮點數），
#   這樣做讓準確率從 12.6 % 升到 86.1 %（三個訓練種子）。

# %% [markdown]
# ## Part F: whole numbers only (純整數推論)
#
# So far we *simulated*: codes were turned back into floats. A small chip has no float unit, and the
# point of int8 is to multiply int8. How does a layer compute with codes alone?
#
# Put x = s_x (q_x - z_x) and w = s_w q_w into y = Σ w x + b, and y = s_y (q_y - z_y):
#
# $$q_y = z_y + \mathrm{round}\Big(\underbrace{\frac{s_x s_w}{s_y}}_{\text{multiplier}}
# \cdot \underbrace{\Big(\sum q_w\,(q_x - z_x) + q_b\Big)}_{\text{int32 accumulator}}\Big),
# \qquad q_b = \mathrm{round}\Big(\frac{b}{s_x s_w}\Big)$$
#
# A product of two 8-bit numbers needs 16 bits, the sum of hundreds of them about 26: hence **int32
# accumulators** (累加器).
# The multiplier is one constant. A chip does it with an integer multiplication and a shift; here it
# is a float.
#
# ### Exercise: `integer_linear` · ★★★☆ · 20 minutes · 5 points
#
# Write `integer_linear(x_q, x_zero_point, w_q, bias_q, multiplier, out_zero_point)`.
#
# - `x_q` (N, in) is int8 or uint8. `w_q` (out, in) is int8 and symmetric: its zero point is 0.
#   `bias_q` (out,) is int32.
# - The accumulator is exact, in int32.
# - The result (N, out) has **the dtype of x_q**: accumulator * multiplier, rounded half to even,
#   plus out_zero_point, saturated to the range of that dtype.
#
# *Traps.* `x_q @ w_q.T` in int8 overflows silently. `x_q - x_zero_point` in uint8 wraps around.
#
# <details><summary>Hint 1</summary>
#
# Cast `x_q` and `w_q` to int32 before anything else. `@` works for int32.
#
# <details><summary>Hint 2</summary>
#
# `torch.iinfo(x_q.dtype)` has `.min` and `.max`.
#
# <details><summary>Hint 3</summary>
#
# Multiply in float64: float32 holds whole numbers only up to 2^24.
#
# </details></details></details>

# %% [markdown] lang="zh-TW"
# ## F 部分：只用整數（純整數推論，integer-only inference）
#
# 到目前為止，我們只是*模擬*：整數碼都變回了浮點數。小晶片沒有浮點運算單元，而 int8 的重點就在於用
# int8 相乘。一層要怎麼只靠整數碼計算？
#
# 把 x = s_x (q_x - z_x) 與 w = s_w q_w 代入 y = Σ w x + b，並代入 y = s_y (q_y - z_y)：
#
# $$q_y = z_y + \mathrm{round}\Big(\underbrace{\frac{s_x s_w}{s_y}}_{\text{multiplier}}
# \cdot \underbrace{\Big(\sum q_w\,(q_x - z_x) + q_b\Big)}_{\text{int32 accumulator}}\Big),
# \qquad q_b = \mathrm{round}\Big(\frac{b}{s_x s_w}\Big)$$
#
# 兩個 8 位元數字的乘積需要 16 位元，數百個乘積的和約需 26 位元：所以要用
# **int32 累加器** (accumulator)。multiplier 是一個常數。晶片用一次整數乘法與一次位移來做；這裡它是
# float。
#
# ### 練習：`integer_linear` · ★★★☆ · 20 分鐘 · 5 分
#
# 請寫 `integer_linear(x_q, x_zero_point, w_q, bias_q, multiplier, out_zero_point)`。
#
# - `x_q` (N, in) 是 int8 或 uint8。`w_q` (out, in) 是 int8，對稱量化：它的 zero point 是
#   0。`bias_q` (out,) 是 int32。
# - 累加器是精確的，用 int32。
# - 結果 (N, out) 的 **dtype 與 x_q 相同**：累加器 * multiplier，剛好一半時取偶數，加上
#   out_zero_point，再飽和到該 dtype 的範圍。
#
# *陷阱：* `x_q @ w_q.T` 在 int8 中會悄悄溢位 (overflow)。`x_q - x_zero_point` 在 uint8 中會繞回。
#
# <details><summary>提示 1</summary>
#
# 做任何事之前，先把 `x_q` 與 `w_q` 轉成 int32。`@` 可以用在 int32 上。
#
# <details><summary>提示 2</summary>
#
# `torch.iinfo(x_q.dtype)` 有 `.min` 與 `.max`。
#
# <details><summary>提示 3</summary>
#
# 用 float64 相乘：float32 只能精確表示到 2^24 的整數。
#
# </details></details></details>


# %% exercise="integer_linear" difficulty=3 minutes=20
def integer_linear(
    x_q: torch.Tensor,
    x_zero_point: int,
    w_q: torch.Tensor,
    bias_q: torch.Tensor,
    multiplier: float,
    out_zero_point: int,
) -> torch.Tensor:
    """Compute a linear layer on codes.

    Args:
        x_q: Input codes, (N, in), int8 or uint8.
        x_zero_point: Code of the number 0 in x_q.
        w_q: Weight codes, (out, in), int8, symmetric.
        bias_q: Bias in units of input scale times weight scale, (out,), int32.
        multiplier: input scale * weight scale / output scale.
        out_zero_point: Code of the number 0 in the result.

    Returns:
        Output codes, (N, out), of the dtype of x_q, rounded half to even and saturated.

    Source:
        Jacob et al. 2018, section 2.2.
    """
    # TODO: an exact int32 accumulator, then multiplier, rounding, zero point, saturation
    ### BEGIN SOLUTION
    shifted = x_q.to(torch.int32) - x_zero_point
    accumulator = shifted @ w_q.to(torch.int32).T + bias_q.to(torch.int32)  # (N, out)
    codes = torch.round(accumulator.to(torch.float64) * multiplier) + out_zero_point
    limits = torch.iinfo(x_q.dtype)
    return codes.clamp(limits.min, limits.max).to(x_q.dtype)
    ### END SOLUTION


# %% check="integer_linear" points=5
x_q = torch.tensor([[0, 255, 10], [100, 100, 100]], dtype=torch.uint8)
w_q = torch.tensor([[127, 127, 1], [-2, 1, 0]], dtype=torch.int8)
bias_q = torch.tensor([7, -1], dtype=torch.int32)
expected = ((x_q.long() - 100) @ w_q.long().T + bias_q) * 0.25  # [[1731.75, 88.5], [1.75, -0.25]]
got = integer_linear(x_q, 100, w_q, bias_q, 0.25, 20)
assert got.dtype == torch.uint8, f"expected the dtype of x_q, uint8, got {got.dtype}"
assert got.shape == (2, 2), f"expected (N, out) = (2, 2), got {tuple(got.shape)}"
assert got[1].tolist() == [22, 20], (
    f"an input equal to its zero point is 0: only the bias is left, [22, 20]; got {got[1].tolist()}"
)
assert got[0, 0] == 255, f"expected saturation at 255, got {got[0, 0]}; clamp before you cast"
assert got[0, 1] != 109, "88.5 became 89: round half to even, before you add the zero point"
assert got.tolist() == [[255, 108], [22, 20]], (
    f"expected [[255, 108], [22, 20]], got {got.tolist()}"
)
ones = torch.full((1, 2000), 127, dtype=torch.int8)
got = integer_linear(ones, 0, ones, torch.tensor([1], dtype=torch.int32), 100 / (2000 * 127**2), 0)
assert got.dtype == torch.int8, f"expected the dtype of x_q, int8, got {got.dtype}"
assert got.item() == 100, (
    f"2000 * 127 * 127 overflows int8 and int16: expected 100, got {got.item()}"
)
passed("integer_linear")

# %% [markdown]
# ### Measured: integers against the simulation
#
# The two linear layers of the LeNet, with codes only. The output codes of `fc1` are **unsigned with
# zero point 0**: negative sums saturate at 0. So the saturation *is* the ReLU, for free.

# %% [markdown] lang="zh-TW"
# ### 實測：整數與模擬的比較
#
# LeNet 的兩個全連接層，只用整數碼。`fc1` 的輸出整數碼是**無號的，zero point 為 0**：負的和會飽和在
# 0。所以這個飽和*就是* ReLU，不必另外計算。

# %%
features = entering(lenet, "fc1", held_out_images).reshape(-1, 800)
hidden = torch.relu(features @ lenet.fc1.weight.T + lenet.fc1.bias).detach()
logits = (hidden @ lenet.fc2.weight.T + lenet.fc2.bias).detach()
x_scale, x_zero = asymmetric_scale_zero_point(features, 8)
h_scale, h_zero = asymmetric_scale_zero_point(hidden, 8)
y_scale, y_zero = asymmetric_scale_zero_point(logits, 8)


def integer_layer(
    layer: nn.Linear, codes: torch.Tensor, inside: tuple[float, int], outside: tuple[float, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the output codes of a layer: with integers only, and by simulation in float."""
    w_scale = symmetric_scale(layer.weight, 8)
    w_q = quantize(layer.weight, w_scale, 0, 8, signed=True)
    unit = inside[0] * w_scale
    bias_q = torch.round(layer.bias.detach() / unit).to(torch.int32)
    whole = integer_linear(codes, inside[1], w_q, bias_q, unit / outside[0], outside[1])
    with torch.no_grad():
        real = nn.functional.linear(
            dequantize(codes, *inside), dequantize(w_q, w_scale, 0), layer.bias
        )
    return whole, quantize(real, *outside, 8, signed=False)


x_codes = quantize(features, x_scale, x_zero, 8, signed=False)
h_codes, h_simulated = integer_layer(lenet.fc1, x_codes, (x_scale, x_zero), (h_scale, h_zero))
y_codes, y_simulated = integer_layer(lenet.fc2, h_codes, (h_scale, h_zero), (y_scale, y_zero))
for name, whole, simulated in (("fc1", h_codes, h_simulated), ("fc2", y_codes, y_simulated)):
    steps = (whole.int() - simulated.int()).abs()
    print(
        f"{name}: at most {steps.max()} step apart; {(steps > 0).double().mean():.3%} of the codes "
        "differ"
    )
print(f"accuracy, float    : {(logits.argmax(1) == held_out_labels).double().mean():.1%}")
print(f"accuracy, integers : {(y_codes.int().argmax(1) == held_out_labels).double().mean():.1%}")

# %% [markdown]
# Integers and simulation agree to **one step**. They are not always equal: the bias was rounded to
# a
# code, and a sum that lies almost at a half may round either way. So never test quantized outputs
# for equality.
#
# And note what the zero point costs: q_x - z_x for every input. For weights the zero point is 0:
# that is why weights are symmetric.

# %% [markdown] lang="zh-TW"
# 整數與模擬的結果最多相差**一個間距**。它們不一定相等：bias 被捨入成整數碼，
# 而幾乎剛好一半的和可能捨向任何一邊。所以絕對不要用「相等」來測試量化後的輸出。
#
# 也請注意 zero point 的代價：每個輸入都要算 q_x - z_x。權重的 zero point 是
# 0：這就是權重用對稱量化的原因。

# %% [markdown]
# ### Real bytes on disk
#
# The arithmetic says 4 times smaller at 8 bits. What does a file say? It holds the weight codes,
# the scales,
# and the biases in float.

# %% [markdown] lang="zh-TW"
# ### 磁碟上實際的位元組數
#
# 照算術，8 位元時小 4 倍。檔案怎麼說呢？檔案裡有權重的整數碼、各個 scale，以及浮點數的 bias。


# %%
def pack_nibbles(codes: torch.Tensor) -> torch.Tensor:
    """Put two signed 4-bit codes into each byte."""
    flat = nn.functional.pad(codes.flatten().to(torch.int16) + 8, (0, codes.numel() % 2))
    return (flat[::2] * 16 + flat[1::2]).to(torch.uint8)


def file_bytes(model: nn.Module, bits: int, pack: bool = False) -> int:
    """Return the size of a safetensors file with the codes of a model."""
    state = {}
    for name, layer in layers_of(model).items():
        scales = symmetric_scale_per_channel(layer.weight, bits)
        shaped = scales.reshape(-1, *[1] * (layer.weight.dim() - 1))
        codes = quantize(layer.weight, shaped, 0, bits, signed=True)
        state[f"{name}.codes"] = pack_nibbles(codes) if pack else codes.contiguous()
        state[f"{name}.scales"], state[f"{name}.bias"] = scales, layer.bias.detach()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        safetensors.torch.save_file(state, path)
        return path.stat().st_size


print("                          float32     int8  int4 in int8  int4 packed")
for name, model in networks.items():
    sizes = [file_bytes(model, 8), file_bytes(model, 4), file_bytes(model, 4, pack=True)]
    whole = measures.model_bytes(model)
    print(f"{name:22} {whole:10,} " + "".join(f"{size:11,}" for size in sizes))
    print(f"{'':22} {'':10} " + "".join(f"{whole / size:10.2f}x" for size in sizes))

# %% [markdown]
# - The LeNet comes close to 4x. The small network does not: names, scales and float biases weigh
#   more there.
# - **4 bits save nothing as long as every code takes a byte of its own.** You have to pack.

# %% [markdown] lang="zh-TW"
# - LeNet 接近 4 倍。小的網路則不然：名稱、scale 與浮點數的 bias 在那裡佔的比重較大。
# - **只要每個整數碼各佔一個位元組，4 位元就什麼都沒省到。** 你必須打包 (pack)。

# %% [markdown]
# ## In practice: onnxruntime
#
# [onnxruntime](https://onnxruntime.ai) is a library with real **int8 kernels** for many processors.
# It quantizes as you did: symmetric weights per channel, asymmetric activations, ranges from
# calibration
# images. **Static** quantization fixes the ranges before; **dynamic** quantization measures them
# anew for every input.
#
# We compare int8 with float32 *of the same library*, on one thread, with the course's speed meter.

# %% [markdown] lang="zh-TW"
# ## 實務：onnxruntime
#
# [onnxruntime](https://onnxruntime.ai) 這個函式庫，在許多處理器上有真正的
# **int8 運算核心** (kernel)。它的量化方式和你做的一樣：權重對稱、逐通道，激活值非對稱，
# 範圍來自校準影像。**靜態** (static) 量化事先固定範圍；**動態** (dynamic)
# 量化對每個輸入重新測量範圍。
#
# 我們用課程的測速工具，在單一執行緒上，比較*同一個函式庫*的 int8 與 float32。

# %%
lenet_layers = nn.Sequential(
    *(lenet.conv1, nn.ReLU(), nn.MaxPool2d(2), lenet.conv2, nn.ReLU(), nn.MaxPool2d(2)),
    *(nn.Flatten(), lenet.fc1, nn.ReLU(), lenet.fc2),
)
torch.manual_seed(0)
wide = nn.Sequential(
    *(nn.Flatten(), nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU()),
    nn.Linear(1024, 10),
)  # untrained: only its speed counts
convs = nn.Sequential(
    *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()),
    *(nn.MaxPool2d(4), nn.Flatten(), nn.Linear(32 * 49, 10)),
)  # untrained as well
folder = Path(tempfile.mkdtemp())
sessions = {}
for name, layers in {"LeNet": lenet_layers, "wide MLP": wide, "conv net": convs}.items():
    paths = {kind: folder / f"{name} {kind}.onnx" for kind in ("float32", "static", "dynamic")}
    write_onnx(layers, paths["float32"], (1, 28, 28))
    quantize_onnx(paths["float32"], paths["static"], images[:300])
    quantize_onnx(paths["float32"], paths["dynamic"], None)
    sessions[name] = {kind: open_onnx(path) for kind, path in paths.items()}
    kilobytes = [f"{kind} {path.stat().st_size / 1000:,.0f} kB" for kind, path in paths.items()]
    print(f"{name:9} " + ", ".join(kilobytes))

speeds = {}
print("\nint8 against float32 of onnxruntime")
for name, runs in sessions.items():
    for batch in (1, 64):
        array = held_out_images[:batch].numpy()
        for kind in ("static", "dynamic"):
            speed = compare_speed(
                lambda run=runs["float32"], array=array: run(array),
                lambda run=runs[kind], array=array: run(array),
                seconds=0.8,
            )
            speeds[name, batch, kind] = speed
            print(f"{name:9} {batch:3} images, {kind:8} {speed}")

# %%
_, axes = plt.subplots(figsize=(8, 3))
titles = [f"{name}\n{batch} image{'s' * (batch > 1)}" for name in sessions for batch in (1, 64)]
for shift, kind in ((-0.2, "static"), (0.2, "dynamic")):
    chosen = [speed for (_, _, made), speed in speeds.items() if made == kind]
    ends = np.array([[s.ratio - s.low, s.high - s.ratio] for s in chosen]).T
    axes.bar(np.arange(len(chosen)) + shift, [s.ratio for s in chosen], 0.38, yerr=ends, label=kind)
axes.axhline(1, color="0.3", ls="--")
axes.set_xticks(range(len(titles)), titles)
axes.set_ylabel("speedup of int8")
axes.set_title("below the dashed line int8 is slower than float32")
axes.legend()
plt.show()

# %% [markdown]
# **What you see, and what you may not see.**
#
# - **Static int8 is usually faster**, most of all for large linear layers. How much depends on the
#   processor: instructions such as VNNI, or the dot product of ARM, multiply many int8 pairs at
#   once. We saw 1.0 to 2.6 times on a processor without them, 1.5 to 3.8 times on one with VNNI.
# - **Dynamic int8 is slower on conv layers**: 0.5 to 0.7 times the speed of float32 for the conv
#   net here, 0.25 times on a processor with VNNI. The range of every input is measured anew, and
#   the kernel for it is slow. It was made for linear layers.
# - 4 times fewer bytes are not 4 times the speed. Quantizing and dequantizing cost time too, most
#   for small networks.
# - Never expect the ratio of another machine. Measure on the device.
#
# How close is your own simulation to the library?

# %% [markdown] lang="zh-TW"
# **你看到了什麼，又可能看不到什麼：**
#
# - **靜態 int8 通常較快**，大的全連接層最明顯。快多少取決於處理器：VNNI 這類指令，或 ARM
#   的內積指令，能一次相乘很多對 int8。我們在沒有這些指令的處理器上看到 1.0 到 2.6 倍，在有 VNNI
#   的處理器上看到 1.5 到 3.8 倍。
# - **動態 int8 在卷積層上較慢**：對這裡的卷積網路，速度是 float32 的 0.5 到 0.7 倍，在有 VNNI
#   的處理器上是 0.25 倍。每個輸入的範圍都要重新測量，而且它的運算核心很慢。它是為全連接層設計的。
# - 位元組少 4 倍，不等於速度快 4 倍。量化與反量化也要時間，對小的網路影響最大。
# - 不要期待得到別台機器上的倍率。請在實際的裝置上測量。
#
# 你自己的模擬與這個函式庫有多接近？

# %%
mine = quantize_model(lenet, make_loader(images[:300], labels[:300]), 7, 8, True)
eight = folder / "LeNet static 8.onnx"
quantize_onnx(folder / "LeNet float32.onnx", eight, images[:300], weight_bits=8)
whole = predict(lenet, held_out_images).argmax(1)
answers = {
    "your simulation, W7A8": predict(mine, held_out_images).argmax(1),
    "onnxruntime static, 7-bit weights": sessions["LeNet"]["static"](
        held_out_images.numpy()
    ).argmax(1),
    "onnxruntime static, 8-bit weights": open_onnx(eight)(held_out_images.numpy()).argmax(1),
}
print("                                   accuracy   same answer as float32")
for name, answer in answers.items():
    answer = torch.as_tensor(answer)
    right = (answer == held_out_labels).double().mean()
    print(f"{name:34} {right:8.1%} {(answer == whole).double().mean():14.1%}")

# %% [markdown]
# > **A trap from practice.** If your processor has no VNNI, the line with 8-bit weights is *worse*
# > than the one
# > with 7 bits. There x86 adds two products uint8 x int8 in **16 bits**, and the sum saturates: 2 x
# > 255 x 127
# > does not fit. One bit less, and it fits. It is your `integer_linear` with an accumulator too
# > narrow,
# > in silicon.
#
# `torch.ao.quantization` does the same inside PyTorch. It is deprecated and on its way to torchao,
# so this course does not
# build on it.

# %% [markdown] lang="zh-TW"
# > **實務上的陷阱。** 如果你的處理器沒有 VNNI，8 位元權重那一行會比
# > 7 位元那一行*更差*。在那裡，x86 把兩個 uint8 x int8 的乘積在
# > **16 位元**中相加，而這個和會飽和：2 x 255 x 127 放不下。少一個位元就放得下。這就是累加器太窄的
# > `integer_linear`，只是做在晶片裡。
#
# `torch.ao.quantization` 在 PyTorch 裡做同樣的事。它已被棄用 (deprecated)，正在移往
# torchao，所以本課程不以它為基礎。

# %% [markdown] written="four_times_smaller" points=2
# ### Written question 3 · 2 points
#
# A team quantizes the **weights** of its CNN to int8 and stores them as int8. In use they turn them
# back to float32
# and compute as before. They advertise '4x smaller and 4x faster'.
# (a) Which half of the claim is true? (b) What would be needed for the other half? (c) Give one
# measured case of this notebook in
# which int8 gained less than you expected, and a reason.
#
# ### BEGIN SOLUTION
# *Model answer.* (a) Smaller: nearly 4x on disk (a little less, for scales and biases). Not faster:
# the computation is the
# same float32 one, plus the dequantization. (b) Activations must be quantized too, with static
# ranges, and the library and the processor must have
# int8 kernels (integer multiplication with int32 accumulators). (c) For example one image through
# the LeNet, 1.0 to 1.3x, because
# quantizing, dequantizing and the call itself take their share; or dynamic quantization of conv
# layers, which has to measure ranges on every
# call.
# *Half a point each for (a) smaller, (a) not faster, (b), (c).*
# ### END SOLUTION

# %% [markdown] lang="zh-TW"
# ### 問答題 3 · 2 分
#
# 某個團隊把 CNN 的**權重**量化成 int8，並以 int8 儲存。使用時，他們把權重轉回
# float32，再照以前的方式計算。他們宣傳「小 4 倍、快 4 倍」。(a) 這個說法的哪一半是真的？
# (b) 另一半還需要什麼才能成立？(c) 請舉出本 notebook 中一個測到的例子，其中 int8
# 的好處比你預期的少，並說明一個原因。
#
# ### BEGIN SOLUTION
# *參考答案：* (a) 變小是真的：在磁碟上接近 4 倍（因為 scale 與 bias，略少一點）。變快不是真的：
# 計算仍是相同的 float32 計算，還要加上反量化。(b) 激活值也必須量化，並使用靜態範圍；
# 函式庫與處理器必須有 int8 運算核心（整數乘法與 int32 累加器）。(c) 例如一張影像通過 LeNet，只有
# 1.0 到 1.3 倍，因為量化、反量化與呼叫本身都要花時間；或是卷積層的動態量化，每次呼叫都要測量範圍。
#
# *(a) 變小、(a) 沒有變快、(b)、(c) 各半分。*
# ### END SOLUTION

# %% [markdown]
# ## Summary
#
# - **scale** and **zero point** make a ruler: q = clamp(round(x / scale) + zero point).
# - **Symmetric** for weights: signed, zero point 0. **Asymmetric** for activations: all codes used
#   after a ReLU. Zero always has an exact code.
# - Saturate before you cast; subtract in a wide type; accumulate in int32.
# - **Per channel** scales matter where channels differ, as after batch-norm folding, at 4 bits and
#   below.
# - **Calibration**: at 8 bits any method works; at 3 or 4 bits clip outliers, by MSE or
#   percentile.
# - 8 bits cost nothing, 4 bits a little, 2 bits need training with the grid.
# - Real bytes: 4x at 8 bits if the network is not tiny; below 8 bits only if packed. Real speed:
#   only with int8 kernels, and not always.
#
# | lecture | measured here |
# |---|---|
# | simple and quick (簡單易用) | seconds, 200 images, no labels |
# | may lose much accuracy (準確度損失) | not at 8 bits; at 3 and 2 bits yes |
# | 32 to 8 bits: a quarter of the size | 4.0x (LeNet), 3.8x (small network) |

# %% [markdown] lang="zh-TW"
# ## 總結
#
# - **scale** 與 **zero point** 構成一把尺：q = clamp(round(x / scale) + zero point)。
# - 權重用**對稱**量化：有號，zero point 為 0。激活值用**非對稱**量化：在 ReLU
#   之後所有整數碼都用得到。零一定有準確的整數碼。
# - 先飽和再轉型；在寬的型別中相減；用 int32 累加。
# - 通道大小不一時，**逐通道**的 scale 才重要，例如折疊批次正規化之後、4 位元以下（含）。
# - **校準**：8 位元時任何方法都行；3 或 4 位元時要切掉離群值，用 MSE 或 percentile。
# - 8 位元沒有損失，4 位元有一點，2 位元就必須帶著格線訓練。
# - 實際的位元組數：只要網路不太小，8 位元時是 4 倍；低於 8 位元時要打包才有用。實際的速度：要有
#   int8 運算核心才會變快，而且不一定。
#
# | 課堂上 | 在這裡測到的 |
# |---|---|
# | 簡單易用 | 幾秒鐘，200 張影像，不需要標籤 |
# | 可能造成較大的準確度損失 | 8 位元時沒有；3 與 2 位元時有 |
# | 從 32 位元到 8 位元：大小是四分之一 | 4.0x (LeNet)、3.8x（小的網路） |

# %% [markdown]
# ## Exam practice
#
# **1.** A network has 25 million parameters. How many MiB (2^20 bytes) does it take with 8 bits per
# parameter?
#
# <details><summary>Answer</summary>
#
# 25,000,000 x 1 / 1,048,576 = 23.84 MiB. With 32 bits: 95.37 MiB.
#
# </details>
#
# **2.** A tensor has values from -0.5 to 1.0. It is quantized asymmetrically with 4 bits, codes 0
# to
# 15. What is the zero point?
#
# <details><summary>Answer</summary>
#
# scale = 1.5 / 15 = 0.1; zero point = 0.5 / 0.1 = 5.
#
# </details>
#
# **3.** Which statements about symmetric quantization with b bits are true? (a) The zero point is
# 0.
# (b) All 2^b codes are used for activations after a ReLU. (c) It suits weights, which lie around
# 0. (d) The scale is (max - min) / (2^b - 1).
#
# <details><summary>Answer</summary>
#
# (a) and (c). After a ReLU the negative half is unused; (d) is the asymmetric scale.
#
# </details>
#
# **4.** Put the steps of static post-training quantization in order: (a) choose the range of each
# activation (b) run calibration images and record what enters each layer (c) fold batch
# normalisation (d) quantize weights and activations.
#
# <details><summary>Answer</summary>
#
# c, b, a, d. Folding comes first: it changes the weights and removes a layer.
#
# </details>
#
# **5.** The value 3.7 is quantized with scale 0.02 and zero point 0 to signed 8-bit codes, then
# dequantized. Which number comes back? (a) 3.70 (b) 2.54 (c) -1.42 (d) 2.56
#
# <details><summary>Answer</summary>
#
# (b). 3.7 / 0.02 = 185 saturates at 127, and 127 x 0.02 = 2.54. The answer (c) is what a cast
# without saturation gives.
#
# </details>

# %% [markdown] lang="zh-TW"
# ## 考前練習
#
# **1.** 某網路有 2500 萬 (25 million) 個參數。每個參數 8 位元時，共多少 MiB（2^20 個位元組）？
#
# <details><summary>答案</summary>
#
# 25,000,000 x 1 / 1,048,576 = 23.84 MiB。32 位元時：95.37 MiB。
#
# </details>
#
# **2.** 某張量的數值從 -0.5 到 1.0。用 4 位元做非對稱量化，整數碼 0 到 15。zero point 是多少？
#
# <details><summary>答案</summary>
#
# scale = 1.5 / 15 = 0.1；zero point = 0.5 / 0.1 = 5。
#
# </details>
#
# **3.** 關於 b 位元的對稱量化，哪些敘述正確？(a) zero point 是 0。(b) 對 ReLU 之後的激活值，2^b
# 個整數碼全都會用到。(c) 它適合分佈在 0 附近的權重。(d) scale 是 (max - min) / (2^b - 1)。
#
# <details><summary>答案</summary>
#
# (a) 與 (c)。在 ReLU 之後，負的那一半用不到；(d) 是非對稱量化的 scale。
#
# </details>
#
# **4.** 請將靜態訓練後量化的步驟依序排列：(a) 選定每個激活值的範圍
# (b) 輸入校準影像，記錄進入每一層的數值 (c) 折疊批次正規化 (d) 量化權重與激活值。
#
# <details><summary>答案</summary>
#
# c、b、a、d。折疊最先做：它會改變權重，也會拿掉一層。
#
# </details>
#
# **5.** 數值 3.7 以 scale 0.02、zero point 0 量化成有號的 8 位元整數碼，再反量化。得到哪個數值？
# (a) 3.70 (b) 2.54 (c) -1.42 (d) 2.56
#
# <details><summary>答案</summary>
#
# (b)。3.7 / 0.02 = 185，飽和在 127，而 127 x 0.02 = 2.54。答案 (c) 是沒有飽和的轉型所得到的。
#
# </details>

# %%
progress()
