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
#   topic: network_pruning
#   number: 1
#   title: Network pruning
# ---

# %% [markdown]
# # 1 Network pruning (網路剪枝)
#
# A trained network holds far more numbers than it needs.
# **Network pruning** (網路剪枝) removes some of them and keeps the accuracy.
# You will build both kinds of the lecture by hand, and measure what they really save.
#
# At the end you can
#
# - prune single **weights** (權重剪枝, weight pruning), retrain, and draw accuracy against
#   sparsity;
# - store a sparse matrix in **CSR** by hand, count its bytes, and say when it is smaller and when
#   it is faster;
# - remove whole **neurons** (神經元剪枝, neuron pruning) by **APoZ**, with and without weight init;
# - check your own code against the libraries that professionals use.
#
# **How to work.** Read, write your answer where the TODO stands, run the check below it.
# A failed check says what was expected, what came, and what usually causes that.
# Hints fold away: open one at a time.
# You can leave an exercise for later. An experiment that needs your function then stops with
# `NotImplementedError`. Where only a pruned *model* is needed, the course's checkpoint steps in.
#
# `progress()` in any cell shows how far you are, in all notebooks.
# Long trainings stand in `remember(function, ...)`: after a restart of the kernel the same call
# comes back in a second.
#
# **Rules that hold everywhere.**
#
# - A function changes none of its arguments. The one exception is `prune_weights`.
# - A function that takes a model and returns one works on a deep copy and returns it in eval mode.
#   The caller's model, its gradients and the train/eval mode of every submodule stay as they were.
# - Loaders yield `(images, labels)`. Fractions lie in [0, 1] and are never percent.
# - Index tensors are int64. Values keep their dtype.
# - Layers are named as in `model.named_modules()`: `"conv1"`. Masks are named by parameter:
#   `"conv1.weight"`.
# - An impossible argument raises a `ValueError` whose message names the argument: a fraction
#   outside its range, an unknown name, a size or count that cannot be, `lr <= 0`, negative
#   `epochs`, an input with NaN.
# - Layers are `nn.Linear` and `nn.Conv2d` without groups.

# %% [markdown] lang="zh-TW"
# # 1 網路剪枝 (network pruning)
#
# 訓練好的網路所含的數字，遠多於它真正需要的。
# **網路剪枝** (network pruning) 移除其中一部分，同時維持準確率。
# 你將親手實作課程中的兩種剪枝，並測量它們實際上省下了什麼。
#
# 完成後，你能夠：
#
# - 剪去單一**權重**（權重剪枝，weight pruning），重新訓練，並畫出準確率對稀疏度的曲線；
# - 親手把稀疏矩陣存成 **CSR**，算出它的位元組數，並說出它何時較小、何時較快；
# - 以 **APoZ** 移除整個**神經元**（神經元剪枝，neuron pruning），有無 weight init 兩種都做；
# - 用業界使用的函式庫檢查自己的程式。
#
# **進行方式。** 先閱讀，在 TODO 處寫下答案，再執行下方的檢查。檢查未通過時，會告訴你預期什麼、
# 得到什麼，以及常見的原因。提示是折疊的：一次打開一個。
# 你可以先跳過某個練習。需要該函式的實驗會停在 `NotImplementedError`。如果只需要一個剪枝後的*模型*，
# 則以課程的檢查點 (checkpoint) 代替。
#
# 在任何儲存格執行 `progress()`，就能看到你在所有筆記本的進度。較久的訓練寫成
# `remember(function, ...)`：重新啟動核心 (kernel) 之後，同樣的呼叫一秒內就會回來。
#
# **處處適用的規則。**
#
# - 函式不更改任何引數。唯一的例外是 `prune_weights`。
# - 接收模型並回傳模型的函式，在深層複製 (deep copy) 的副本上操作，並以 eval 模式回傳副本。
#   呼叫者的模型、其梯度，以及每個子模組的 train/eval 模式，都維持原樣。
# - Loader 產生 `(images, labels)`。比例都在 [0, 1] 之內，絕不用百分比。
# - 索引張量為 int64。數值維持原本的 dtype。
# - 層的名稱與 `model.named_modules()` 相同：`"conv1"`。遮罩以參數命名：`"conv1.weight"`。
# - 不合理的引數會引發 `ValueError`，訊息中指出該引數的名稱：超出範圍的比例、未知的名稱、
#   不可能的大小或數量、`lr <= 0`、負的 `epochs`、含 NaN 的輸入。
# - 層只有 `nn.Linear` 與不分組 (groups) 的 `nn.Conv2d`。

# %% define
import copy
from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.data import DataLoader

from course_utils.arguments import is_rejected, require
from course_utils.data import load_images, make_loader
from course_utils.evaluation import accuracy, predict
from course_utils.models import LeNet
from course_utils.training import train

# %% [markdown]
# Three helpers are given. `require` is the short way to reject an argument:
# `require(0 <= sparsity < 1, "sparsity must lie in [0, 1)")`.
# `collect_activations` gives you what a layer passes on after its ReLU. `is_rejected` is for the
# checks.

# %% [markdown] lang="zh-TW"
# 我們提供三個輔助函式。`require` 是拒絕引數的簡短寫法：
# `require(0 <= sparsity < 1, "sparsity must lie in [0, 1)")`。
# `collect_activations` 給你某一層經過 ReLU 之後傳出去的值。`is_rejected` 供檢查使用。


# %% define
@torch.no_grad()
def collect_activations(model: nn.Module, layer_name: str, loader: DataLoader) -> torch.Tensor:
    """Return what one layer passes on after its ReLU, for every image of a loader.

    Args:
        model: A model that applies a ReLU after the layer. Not changed.
        layer_name: The layer's name in `model.named_modules()`, for example "fc1".
        loader: Yields (images, labels).

    Returns:
        Non-negative tensor, (N, C) for a linear and (N, C, H, W) for a conv layer.
    """
    model = copy.deepcopy(model).eval()
    batches: list[torch.Tensor] = []
    model.get_submodule(layer_name).register_forward_hook(
        lambda _layer, _inputs, output: batches.append(torch.relu(output))
    )
    for images, _labels in loader:
        model(images)
    return torch.cat(batches)


# %%
import warnings

import matplotlib.pyplot as plt
import numpy as np
from tqdm.auto import tqdm

from course_utils import measures
from course_utils.checkpoints import (
    course_checkpoints_used,
    load_checkpoint,
    use_course_checkpoint,
)
from course_utils.plots import use_course_style
from course_utils.progress import passed, progress
from course_utils.remembering import remember
from course_utils.speed import compare_model_speed, compare_speed
from course_utils.training import warm_up
from course_utils.widgets import explorer

use_course_style()
warm_up()  # PyTorch loads its compiler at the first step of training: now, not in a check
warnings.filterwarnings("ignore", message="Sparse CSR")  # torch calls it a beta feature
torch.set_num_threads(1)  # a fair and quiet clock: two threads disturb each other
torch.manual_seed(1)

images, labels = load_images("train")
train_loader = make_loader(images, labels, batch_size=64, shuffle=True)
held_out_images, held_out_labels = load_images("validation")
held_out = make_loader(held_out_images, held_out_labels, batch_size=500)
few = make_loader(held_out_images[:500], held_out_labels[:500], batch_size=500)

lenet = load_checkpoint("lenet")
start = accuracy(lenet, held_out)
print(f"LeNet: {measures.count_parameters(lenet):,} parameters")
print(f"accuracy on {len(held_out_labels):,} held-out images: {start:.1%}")

# %% [markdown]
# ## What can you prune?
#
# Left: the dense network. Middle: **weight pruning** removes single connections, the neurons stay.
# Right: **neuron pruning** removes a neuron together with *all* its connections, in and out.

# %% [markdown] lang="zh-TW"
# ## 可以剪什麼？
#
# 左圖：密集 (dense) 網路。中圖：**權重剪枝**移除單一連接，神經元都留著。
# 右圖：**神經元剪枝**移除一個神經元，連同它*所有*進出的連接。


# %%
def draw_network(
    axes: plt.Axes, title: str, cut: set[tuple[int, int, int]], gone: set[tuple[int, int]]
) -> None:
    """Draw layers of 4, 5 and 3 neurons, without the cut connections and the gone neurons."""
    sizes = (4, 5, 3)
    place = [[(layer, i - (n - 1) / 2) for i in range(n)] for layer, n in enumerate(sizes)]
    for layer in (0, 1):
        for i, a in enumerate(place[layer]):
            for j, b in enumerate(place[layer + 1]):
                removed = (layer, i, j) in cut or (layer, i) in gone or (layer + 1, j) in gone
                style = {"color": "0.85", "ls": ":"} if removed else {"color": "C0", "lw": 1.2}
                axes.plot(*zip(a, b, strict=True), zorder=1, **style)
    for layer, row in enumerate(place):
        for i, (x, y) in enumerate(row):
            face = "white" if (layer, i) in gone else "C1"
            axes.scatter(x, y, s=260, c=face, edgecolors="0.3", zorder=2)
    axes.set_title(title)
    axes.margins(0.08)  # the outer neurons are whole
    axes.axis("off")


random = np.random.default_rng(4)
some = {(0, i, j) for i in range(4) for j in range(5) if random.random() < 0.6}
some |= {(1, i, j) for i in range(5) for j in range(3) if random.random() < 0.5}
_, panels = plt.subplots(1, 3, figsize=(10, 3))
draw_network(panels[0], "dense", set(), set())
draw_network(panels[1], "weight pruning: irregular", some, set())
draw_network(panels[2], "neuron pruning: smaller layers", set(), {(1, 1), (1, 3)})
plt.show()

# %% [markdown]
# ## But why not train a small network at once?
#
# The lecture gives two answers: a large network has knowledge to hand on, and it has the better
# **generalisation** (泛化能力).
# The second sounds wrong at first.
# Should more parameters than data points not **overfit** (過擬合)?
#
# **Over-parameterisation** (過參數化) means: more parameters than the training data need.
# **Double descent** (雙重下降) means: as the number of parameters grows, the test error falls,
# rises to a peak, and *falls a second time*.
#
# You can see it in a few seconds. 500 training images; N fixed random ReLU features; only the last
# linear layer is fitted, exactly, by least squares.
# At N = 500 there are as many unknowns as equations: one solution is left, and it is a wild one.
# Beyond, there are many solutions, and least squares picks the smallest: smoother again.
#
# Move the sliders. **Noise** gives that fraction of the training images a random label. **Ridge**
# punishes large weights.

# %% [markdown] lang="zh-TW"
# ## 為什麼不直接訓練一個小網路？
#
# 課程給了兩個答案：大網路有知識可以傳授；大網路的**泛化能力** (generalisation) 較好。
# 第二個答案乍聽不對。參數比資料點還多，不是應該**過擬合** (overfit) 嗎？
#
# **過參數化** (over-parameterisation) 是指：參數量超過訓練資料所需的程度。
# **雙重下降** (double descent) 是指：隨著參數量增加，test error 先下降，再升到高峰，
# 然後*第二次下降*。
#
# 幾秒鐘就能看到這個現象。500 張訓練影像；N 個固定的隨機 ReLU 特徵；
# 只有最後的全連接層以最小平方法精確擬合。
# 在 N = 500 時，未知數與方程式一樣多：只剩一個解，而且是很不平滑的解。再往後有許多解，
# 最小平方法會選最小的那個：又變得平滑。
#
# 移動滑桿看看。**Noise** 把這個比例的訓練影像換成隨機標籤。**Ridge** 懲罰大的權重。


# %%
def double_descent(
    num_images: int = 500,
) -> tuple[list[int], dict[tuple[float, float], list[float]]]:
    """Return the widths, and by (noise, ridge) the test accuracy at each width."""
    generator = torch.Generator().manual_seed(0)
    x, y = images[:num_images].flatten(1).double(), labels[:num_images]
    x_test = held_out_images.flatten(1).double()
    wrong = torch.rand(num_images, generator=generator) < 0.2
    noisy = torch.where(wrong, torch.randint(10, y.shape, generator=generator), y)
    widths = [
        int(num_images * r)
        for r in (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 5, 10)
    ]
    curves = {(noise, ridge): [] for noise in (0.0, 0.2) for ridge in (0.0, 1e-3)}
    for width in tqdm(widths, desc="widths"):
        project = (
            torch.randn(x.shape[1], width, generator=generator, dtype=x.dtype) / x.shape[1] ** 0.5
        )
        features, test_features = (x @ project).relu(), (x_test @ project).relu()
        values, vectors = torch.linalg.eigh(features @ features.T / width)
        for noise, ridge in curves:
            targets = nn.functional.one_hot(noisy if noise else y, 10).to(x.dtype)
            inverse = torch.where(values > 1e-11 * values[-1], 1 / (values + ridge), 0)
            weights = features.T @ (vectors * inverse) @ (vectors.T @ targets) / width
            hits = (test_features @ weights).argmax(1) == held_out_labels
            curves[noise, ridge].append(hits.double().mean().item())
    return widths, curves


widths, curves = double_descent()


def plot_double_descent(ax: plt.Axes, noise: float, ridge: float) -> None:
    """Draw the test error against the number of random features."""
    ax.axvline(500, color="0.6", ls="--", label="as many features as images")
    for setting, curve in curves.items():
        chosen = setting == (noise, ridge)
        style = {"marker": "o", "color": "C0", "zorder": 3} if chosen else {"color": "0.8"}
        ax.plot(widths, 1 - np.array(curve), **style)
    ax.set(xscale="log", xlabel="random features N", ylabel="test error")
    ax.set_title(f"{noise:.0%} wrong labels, ridge {ridge:g}")
    ax.legend()


explorer(plot_double_descent, noise=[0.0, 0.2], ridge=[0.0, 1e-3])

# %% [markdown]
# Three honest remarks.
#
# - Without label noise the second descent beats the first optimum. **With 20 % noise it does not**,
#   in our runs. Double descent does not say that bigger is always better.
# - A little ridge removes most of the peak. The peak comes from fitting *without any* restraint.
# - A network trained by Adam on the same data showed no peak in our runs: its accuracy simply rose
#   with its width. There, bigger was not worse.
#
# So: train large, then remove. That is this notebook.

# %% [markdown] lang="zh-TW"
# 三點老實話。
#
# - 沒有標籤雜訊時，第二次下降勝過第一個低點。**有 20 % 雜訊時則沒有**，至少在我們的實驗中如此。
#   雙重下降並不表示越大一定越好。
# - 加一點 ridge 就能消除大部分的高峰。高峰來自*毫無*約束的擬合。
# - 在相同資料上以 Adam 訓練的網路，在我們的實驗中沒有高峰：準確率就是隨寬度上升。在那裡，
#   較大並不會較差。
#
# 所以：先訓練大的，再移除。這就是本 notebook 的內容。

# %% [markdown]
# ## Part A: weight pruning (權重剪枝)
#
# **Idea.** Most weights of a trained layer lie near zero and hardly change the result.
# The lecture's three steps (Han et al. 2015): *learn the connectivity*, *prune the low weights*,
# *retrain the rest*.
#
# The figure shows `fc1` of the LeNet. The shaded weights are the 80 % nearest to zero.
#
# > **A word on the slide.** It says: 'weights smaller than the threshold are pruned'. It means *in
# > magnitude*.
# > A weight of -0.9 is smaller than any threshold, and it is one of the most important of the
# > layer.

# %% [markdown] lang="zh-TW"
# ## A 部分：權重剪枝 (weight pruning)
#
# **想法。** 訓練好的一層中，大多數權重接近零，幾乎不影響結果。
# 課程的三個步驟 (Han et al. 2015)：*學習連接性*、*剪去低權重連接*、*重新訓練剩下的權重*。
#
# 下圖是 LeNet 的 `fc1`。有底色的部分是最接近零的 80 % 權重。
#
# > **關於投影片的一句話。** 投影片寫「權重小於閾值的連接進行剪枝」，指的是*絕對值*。
# > 權重 -0.9 比任何閾值都小，卻是這一層最重要的權重之一。

# %%
weights = lenet.fc1.weight.detach().flatten()
cut_at = weights.abs().quantile(0.8).item()
plt.figure(figsize=(7, 2.8))
plt.hist(weights.numpy(), bins=200, color="C0")
plt.axvspan(-cut_at, cut_at, color="C1", alpha=0.3, label=f"80 % lie within ±{cut_at:.3f}")
plt.xlim(-6 * cut_at, 6 * cut_at)
plt.xlabel("weight of fc1")
plt.ylabel("count")
plt.legend()
plt.show()

# %% [markdown]
# ### Exercise: `magnitude_mask` · ★☆☆☆ · 10 minutes · 3 points
#
# **Sparsity** (稀疏度) is the fraction of zeros. A **mask** (遮罩) says which weights stay.
#
# Write `magnitude_mask(weight, sparsity)`: a bool tensor of the weight's shape, **True means
# keep**.
# Exactly `round(sparsity * weight.numel())` weights are pruned, the smallest in magnitude. `round`
# is Python's.
# Which of several *equal* magnitudes go is up to you. How many go is not.
# `ValueError` for a sparsity outside [0, 1) and for a weight with NaN. The weight is not changed.
#
# | weight | -4 | 1 | -2 | 3 | -0.5 | 0 |
# |---|---|---|---|---|---|---|
# | mask at sparsity 0.5 | True | False | True | True | False | False |
#
# <details><summary>Hint 1</summary>
#
# Compare magnitudes: `weight.abs()`.
#
# <details><summary>Hint 2</summary>
#
# A threshold fails at ties: with ten equal weights it takes all or none. Use *ranks* instead:
# `argsort` of the flat magnitudes.
#
# <details><summary>Hint 3</summary>
#
# Start with a flat mask of ones. Set it to False at the first `num_pruned` indices of that order.
# Reshape.
#
# </details></details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`magnitude_mask` · ★☆☆☆ · 10 分鐘 · 3 分
#
# **稀疏度** (sparsity) 是零的比例。**遮罩** (mask) 指出哪些權重保留。
#
# 請寫出 `magnitude_mask(weight, sparsity)`：回傳與 weight 形狀相同的 bool 張量 (tensor)，**True
# 表示保留**。
# 剪去恰好 `round(sparsity * weight.numel())` 個權重，即絕對值最小的那些。
# `round` 指 Python 內建的函式。
# 有幾個絕對值*相等*時，剪哪一個由你決定；但剪去的數目不能變。
# 稀疏度超出 [0, 1) 或 weight 含有 NaN 時，引發 `ValueError`。weight 不得更改。
#
# | weight | -4 | 1 | -2 | 3 | -0.5 | 0 |
# |---|---|---|---|---|---|---|
# | 稀疏度 0.5 的遮罩 | True | False | True | True | False | False |
#
# <details><summary>提示 1</summary>
#
# 比較絕對值：`weight.abs()`。
#
# <details><summary>提示 2</summary>
#
# 遇到相等的值時，閾值行不通：十個相等的權重，不是全剪就是全留。請改用*排名*：
# 對攤平後的絕對值做 `argsort`。
#
# <details><summary>提示 3</summary>
#
# 先建立全為 1 的一維遮罩。把排序中前 `num_pruned` 個索引的位置設為 False。再恢復形狀。
#
# </details></details></details>


# %% exercise="magnitude_mask" difficulty=1 minutes=10
def magnitude_mask(weight: torch.Tensor, sparsity: float) -> torch.Tensor:
    """Mark the weights with the largest magnitudes.

    Args:
        weight: Any shape. It is not changed.
        sparsity: Fraction to prune, in [0, 1).

    Returns:
        Bool tensor of the weight's shape: True means keep.
        Exactly `round(sparsity * weight.numel())` elements are False.

    Raises:
        ValueError: If sparsity is outside [0, 1), or weight holds NaN.

    Source:
        Han et al. 2015, Learning both Weights and Connections for Efficient Neural Networks.
    """
    # TODO: prune exactly round(sparsity * numel) weights, the smallest in magnitude
    ### BEGIN SOLUTION
    require(0 <= sparsity < 1, f"sparsity must lie in [0, 1), got {sparsity}")
    require(not weight.isnan().any(), "weight must not hold NaN")
    num_pruned = round(sparsity * weight.numel())
    order = weight.detach().abs().flatten().argsort()
    keep = torch.ones_like(order, dtype=torch.bool)
    keep[order[:num_pruned]] = False
    return keep.reshape(weight.shape)
    ### END SOLUTION


# %% check="magnitude_mask" points=3
weight = torch.tensor([[-4.0, 1.0, -2.0], [3.0, -0.5, 0.0]])
mask = magnitude_mask(weight, 0.5)
assert isinstance(mask, torch.Tensor), f"expected a tensor, got {type(mask).__name__}"
assert mask.dtype == torch.bool, f"expected a bool tensor, got {mask.dtype}"
assert mask.shape == weight.shape, (
    f"expected the weight's shape {tuple(weight.shape)}, got {tuple(mask.shape)}"
)
assert weight.tolist() == [[-4, 1, -2], [3, -0.5, 0]], "the weight was changed: only return a mask"
assert mask.tolist() != [[False, True, False], [False, True, True]], "inverted: True means keep"
assert mask[0, 0], "-4 was pruned, the largest magnitude: compare weight.abs(), not weight"
assert mask.tolist() == [[True, False, True], [True, False, False]], (
    f"expected 4, 2 and 3 to stay, got {mask}"
)
for numel, fraction in [(10, 0.3), (10, 0.0), (6, 0.25), (1000, 0.999), (7, 0.5)]:
    pruned = (~magnitude_mask(torch.ones(numel), fraction)).sum().item()
    assert pruned == round(fraction * numel), (
        f"sparsity {fraction} of {numel} equal weights: expected {round(fraction * numel)} pruned, "
        f"got {pruned}; a comparison with a threshold cannot split ties, and int() is not round()"
    )
for bad in (-0.1, 1.0, 1.5, float("nan")):
    assert is_rejected(magnitude_mask, weight, bad), f"sparsity {bad} must raise a ValueError"
assert is_rejected(magnitude_mask, torch.tensor([1.0, float("nan")]), 0.5), (
    "NaN must raise a ValueError"
)
passed("magnitude_mask")

# %% [markdown]
# ### Exercise: `prune_weights` · ★★☆☆ · 15 minutes · 4 points
#
# Write `prune_weights(model, sparsity, scope="layer")`. It sets weights of **all conv and linear
# layers** of any model to zero, **in place**,
# and returns the masks by parameter name: `{"conv1.weight": …, "fc1.weight": …}`.
# Biases and normalisation layers are not touched.
#
# - `scope="layer"` (the default): every layer loses its own `round(sparsity * numel)` weights.
# - `scope="global"`: all weights are compared with each other. `round(sparsity * total)` of them
#   go, wherever they are.
#
# `ValueError` for a sparsity outside [0, 1), for an unknown scope, for a model with NaN or with
# nothing to prune; the model is then unchanged.
#
# *Example.* Two layers with the weights `[1, 2]` and `[3, 4]`, sparsity 0.5. By layer, 1 and 3 go.
# Globally, 1 and 2 go.
#
# <details><summary>Hint 1</summary>
#
# `for name, layer in model.named_modules()` and `isinstance(layer, (nn.Conv2d, nn.Linear))` find
# the layers.
#
# <details><summary>Hint 2</summary>
#
# Change a parameter in place under `torch.no_grad()`: `weight.masked_fill_(~mask, 0)`.
#
# <details><summary>Hint 3</summary>
#
# Global: `torch.cat` all flat weights to one long vector, call `magnitude_mask` once, `split` the
# result, reshape each part.
#
# </details></details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`prune_weights` · ★★☆☆ · 15 分鐘 · 4 分
#
# 請寫出 `prune_weights(model, sparsity, scope="layer")`。
# 它把任何模型中**所有卷積層與全連接層**的權重**就地** (in place) 設為零，並回傳以參數命名的遮罩：
# `{"conv1.weight": …, "fc1.weight": …}`。
# bias 與正規化層不動。
#
# - `scope="layer"`（預設）：每一層各自失去 `round(sparsity * numel)` 個權重。
# - `scope="global"`：所有權重互相比較。剪去其中 `round(sparsity * total)` 個，不論位在哪一層。
#
# 下列情況引發 `ValueError`：稀疏度超出 [0, 1)、未知的 scope、模型含有 NaN、模型沒有可剪的東西；
# 此時模型維持不變。
#
# *例子。* 兩層的權重為 `[1, 2]` 與 `[3, 4]`，稀疏度 0.5。逐層剪時，剪去 1 與 3。全域剪時，
# 剪去 1 與 2。
#
# <details><summary>提示 1</summary>
#
# 用 `for name, layer in model.named_modules()` 與 `isinstance(layer, (nn.Conv2d, nn.Linear))`
# 找出這些層。
#
# <details><summary>提示 2</summary>
#
# 在 `torch.no_grad()` 之下就地更改參數：`weight.masked_fill_(~mask, 0)`。
#
# <details><summary>提示 3</summary>
#
# 全域：用 `torch.cat` 把所有攤平的權重接成一個長向量，呼叫一次 `magnitude_mask`，
# 再用 `split` 切開結果，並恢復各部分的形狀。
#
# </details></details></details>


# %% exercise="prune_weights" difficulty=2 minutes=15
def prune_weights(
    model: nn.Module, sparsity: float, scope: str = "layer"
) -> dict[str, torch.Tensor]:
    """Set the smallest weights of all conv and linear layers to zero, in place.

    Biases and normalisation layers are never touched.

    Args:
        model: Changed in place (the only function of this notebook that does so).
        sparsity: Fraction of the weights to prune, in [0, 1).
        scope: "layer": this fraction of every layer.
            "global": `round(sparsity * total)` weights of the whole model, wherever they are.

    Returns:
        Masks by parameter name ("conv1.weight"), bool, True means keep.

    Raises:
        ValueError: If sparsity is outside [0, 1), scope is unknown, or the model has
            nothing to prune or holds NaN. The model is then unchanged.

    Source:
        Han et al. 2015, Learning both Weights and Connections for Efficient Neural Networks.
    """
    # TODO: find the weights, make the masks for either scope, zero the weights
    ### BEGIN SOLUTION
    require(scope in ("layer", "global"), f'scope must be "layer" or "global", got {scope!r}')
    weights = {
        f"{name}.weight".removeprefix("."): layer.weight
        for name, layer in model.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.Linear))
    }
    require(len(weights) > 0, "model must have a conv or linear layer")
    finite = not any(weight.isnan().any() for weight in weights.values())
    require(finite, "model must not hold NaN")
    if scope == "layer":
        masks = {name: magnitude_mask(weight, sparsity) for name, weight in weights.items()}
    else:
        everything = torch.cat([weight.detach().flatten() for weight in weights.values()])
        parts = magnitude_mask(everything, sparsity).split([w.numel() for w in weights.values()])
        masks = {
            name: part.reshape(weight.shape)
            for (name, weight), part in zip(weights.items(), parts, strict=True)
        }
    with torch.no_grad():
        for name, weight in weights.items():
            weight.masked_fill_(~masks[name], 0)
    return masks
    ### END SOLUTION


# %% check="prune_weights" points=4
def two_layers() -> nn.Sequential:
    """Two linear layers with the weights 1, -2 and 3, -4, and a batch norm between."""
    model = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1), nn.Linear(1, 2))
    model[0].weight.data = torch.tensor([[1.0, -2.0]])
    model[2].weight.data = torch.tensor([[3.0], [-4.0]])
    model[0].bias.data.fill_(0.01)
    return model


model = two_layers()
masks = prune_weights(model, 0.5)
assert sorted(masks) == ["0.weight", "2.weight"], (
    f"expected masks for 0.weight and 2.weight, got {masks}; biases and norm layers have none"
)
assert all(mask.dtype == torch.bool for mask in masks.values()), "the masks must be bool"
assert model[0].weight.tolist() != [[1, -2]], (
    "the model did not change: prune_weights works in place"
)
assert (model[0].weight.tolist(), model[2].weight.tolist()) == ([[0, -2]], [[0], [-4]]), (
    'scope="layer" is the default: each layer loses half of its own weights'
)
assert masks["0.weight"].tolist() == [[False, True]], "True in a mask means keep"
assert model[0].bias.item() != 0, "a bias was pruned: only weights are"
assert model[1].weight.item() == 1, "the norm layer was pruned: only conv and linear layers are"
assert model[0].weight.requires_grad, "the weights must stay trainable parameters"
model = two_layers()
prune_weights(model, 0.5, scope="global")
assert (model[0].weight.tolist(), model[2].weight.tolist()) == ([[0, 0]], [[3], [-4]]), (
    'scope="global" compares all weights with each other: here both weights of the first layer go'
)
convolution = nn.Sequential(nn.Sequential(nn.Conv2d(1, 2, 3)))
assert list(prune_weights(convolution, 0.5, "global")) == ["0.0.weight"], (
    "layers may lie deep in a model"
)
assert measures.sparsity(convolution[0][0].weight) == 0.5, (
    "expected half of the conv weights to be zero"
)
assert is_rejected(prune_weights, model, 0.5, "neuron"), "an unknown scope must raise a ValueError"
assert is_rejected(prune_weights, model, 1.0), "sparsity 1 must raise a ValueError"
passed("prune_weights")

# %% [markdown]
# **Explore.** How far can you go before the accuracy breaks? Does it matter which layer?
# Choose "all" to prune every layer by the same fraction.

# %% [markdown] lang="zh-TW"
# **探索。** 剪到什麼程度，準確率才會崩潰？剪哪一層有差別嗎？選「all」可讓每一層剪相同的比例。


# %%
def plot_pruned_layer(ax: plt.Axes, fraction: float, layer: str) -> None:
    """Draw the remaining weights of a pruned layer, with the accuracy of the model."""
    model = copy.deepcopy(lenet)
    prune_weights(model if layer == "all" else model.get_submodule(layer), fraction)
    name = "fc1" if layer == "all" else layer
    shown = model.get_submodule(name).weight.detach()
    ax.hist(shown[shown != 0].numpy(), bins=100, color="C0", histtype="stepfilled")
    ax.set(xlabel=f"remaining weights of {name}", ylabel="count")
    zeros = measures.sparsity(model)
    ax.set_title(f"{zeros:.0%} of the model is zero, accuracy {accuracy(model, few):.1%}")


explorer(
    plot_pruned_layer,
    fraction=(0.0, 0.99, 0.01, 0.9),
    layer=["fc1", "conv1", "conv2", "fc2", "all"],
)

# %% [markdown]
# ### Exercise: `finetune_pruned` · ★★★☆ · 20 minutes · 5 points
#
# Step three: **fine-tuning** (微調) of the sparse network.
# Write `finetune_pruned(model, masks, loader, epochs, lr)`: train a **deep copy**, and hold the
# zeros at zero.
#
# - The masks are applied **first**, before any step: with `epochs=0` you return a masked copy.
# - After the training every weight with a False mask is exactly 0.
# - The copy comes back in **eval mode**. The caller's model is as it was, gradients and modes
#   included.
# - Optimizer and schedule are free. `course_utils.training.train(model, loader, epochs, lr,
#   after_step=…)` does the loop: it trains in place and calls `after_step()` after every optimizer
#   step.
# - `ValueError` for negative `epochs`, for `lr <= 0`, and for a mask with an unknown name or a
#   wrong shape.
#
# *Trap.* A pruned weight still gets a gradient. Even where you set its gradient to zero,
# **momentum** and **weight decay** move it.
# We measured: without re-applied masks one short epoch took the zeros from 90 % to **12 %**.
#
# <details><summary>Hint 1</summary>
#
# `tuned = copy.deepcopy(model)`, and `dict(tuned.named_parameters())` finds a parameter by its
# mask's name.
#
# <details><summary>Hint 2</summary>
#
# Write a small inner function `hold_zeros()` that masks every parameter under `torch.no_grad()`.
# Call it once. Then pass it as `after_step`.
#
# <details><summary>Hint 3</summary>
#
# `train` returns the model in eval mode. Check the arguments before you copy anything.
#
# </details></details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`finetune_pruned` · ★★★☆ · 20 分鐘 · 5 分
#
# 第三步：對稀疏網路做**微調** (fine-tuning)。
# 請寫出 `finetune_pruned(model, masks, loader, epochs, lr)`：訓練一個**深層複製的副本**，
# 並讓零一直維持為零。
#
# - **一開始**就套用遮罩，在任何一步訓練之前：`epochs=0` 時，回傳套用遮罩後的副本。
# - 訓練之後，遮罩為 False 的每個權重都恰好是 0。
# - 副本以 **eval 模式**回傳。呼叫者的模型維持原樣，包括梯度與各子模組的模式。
# - 最佳化器 (optimizer) 與學習率排程 (schedule) 不限。
#   `course_utils.training.train(model, loader, epochs, lr, after_step=…)` 已寫好迴圈：它就地訓練，
#   並在最佳化器每走一步之後呼叫 `after_step()`。
# - 負的 `epochs`、`lr <= 0`、名稱未知或形狀不符的遮罩，都引發 `ValueError`。
#
# *陷阱。* 被剪的權重仍會得到梯度。就算把它的梯度設為零，**動量** (momentum) 與 **weight decay**
# 也會移動它。
# 我們測過：不重新套用遮罩時，短短一個 epoch 就讓零從 90 % 降到 **12 %**。
#
# <details><summary>提示 1</summary>
#
# 先 `tuned = copy.deepcopy(model)`；再用 `dict(tuned.named_parameters())` 依遮罩的名稱找出參數。
#
# <details><summary>提示 2</summary>
#
# 寫一個小的內部函式 `hold_zeros()`，在 `torch.no_grad()` 之下對每個參數套用遮罩。先呼叫一次，
# 再把它當作 `after_step` 傳入。
#
# <details><summary>提示 3</summary>
#
# `train` 以 eval 模式回傳模型。複製任何東西之前，先檢查引數。
#
# </details></details></details>


# %% exercise="finetune_pruned" difficulty=3 minutes=20
def finetune_pruned(
    model: nn.Module, masks: dict[str, torch.Tensor], loader: DataLoader, epochs: int, lr: float
) -> nn.Module:
    """Retrain a pruned model and hold its zeros at zero.

    Args:
        model: Not changed: its weights, gradients and modes stay as they are.
        masks: By parameter name, bool, True means keep. They are applied before the first step.
        loader: Yields (images, labels).
        epochs: Passes over the loader, 0 or more.
        lr: Learning rate, above 0. Optimizer and schedule are free.

    Returns:
        A trained copy of the model in eval mode. It is zero wherever a mask is False.

    Raises:
        ValueError: If epochs is negative, lr is not above 0,
            or masks has an unknown name or a wrong shape.

    Source:
        Han et al. 2015, Learning both Weights and Connections for Efficient Neural Networks.
    """
    # TODO: copy, apply the masks, train, apply the masks again after every step
    ### BEGIN SOLUTION
    require(epochs >= 0, f"epochs must be 0 or more, got {epochs}")
    require(lr > 0, f"lr must be above 0, got {lr}")
    tuned = copy.deepcopy(model)
    parameters = dict(tuned.named_parameters())
    for name, mask in masks.items():
        require(name in parameters, f"masks names {name!r}, which the model does not have")
        require(mask.shape == parameters[name].shape, f"masks[{name!r}] has a wrong shape")

    @torch.no_grad()
    def hold_zeros() -> None:
        for name, mask in masks.items():
            parameters[name].masked_fill_(~mask, 0)

    hold_zeros()
    # After the step, not only in the gradient: momentum and weight decay move weights as well.
    return train(tuned, loader, epochs, lr, after_step=hold_zeros).eval()
    ### END SOLUTION


# %% check="finetune_pruned" points=5
generator = torch.Generator().manual_seed(0)
inputs = torch.randn(256, 6, generator=generator)
targets = (inputs.sum(dim=1) > 0).long()
toy_loader = make_loader(inputs, targets, batch_size=32)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
model[1].eval()
masks = {
    name: torch.rand(model.get_parameter(name).shape) > 0.5 for name in ("0.weight", "3.weight")
}
before, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]

masked = finetune_pruned(model, masks, toy_loader, epochs=0, lr=0.01)
assert masked is not model, "expected a new model: work on a deep copy"
for name, mask in masks.items():
    expected = before[name] * mask
    assert torch.equal(masked.get_parameter(name), expected), (
        "the masks must be applied first, even with epochs=0"
    )
tuned = finetune_pruned(model, masks, toy_loader, epochs=3, lr=0.05)
for name, mask in masks.items():
    back = tuned.get_parameter(name)[~mask].count_nonzero().item()
    assert back == 0, f"{back} zeros of {name} came back: apply the masks again after every step"
    assert not torch.equal(tuned.get_parameter(name), before[name] * mask), f"{name} did not learn"
assert not any(module.training for module in tuned.modules()), "the result must be in eval mode"
losses = [nn.functional.cross_entropy(predict(net, inputs), targets) for net in (masked, tuned)]
assert losses[1] < losses[0], (
    "the loss did not fall: does the optimizer train the copy, with the labels?"
)
assert all(torch.equal(before[name], now) for name, now in model.state_dict().items()), (
    "the caller's model changed"
)
assert modes == [module.training for module in model.modules()], (
    "the mode of a submodule changed in the caller's model"
)
assert all(parameter.grad is None for parameter in model.parameters()), (
    "the caller's model got gradients"
)
assert is_rejected(finetune_pruned, model, masks, toy_loader, -1, 0.01), (
    "epochs=-1 must raise a ValueError"
)
assert is_rejected(finetune_pruned, model, masks, toy_loader, 1, 0.0), (
    "lr=0 must raise a ValueError"
)
assert is_rejected(finetune_pruned, model, {"9.weight": mask}, toy_loader, 1, 0.01), (
    "unknown names in masks"
)
passed("finetune_pruned")

# %% [markdown]
# ### Measured: accuracy against sparsity, with and without retraining
#
# Han's figure on your LeNet. First guess: at which sparsity is one percentage point lost, without
# retraining? And with it?

# %% [markdown] lang="zh-TW"
# ### 實測：準確率對稀疏度，有無重新訓練
#
# 在你的 LeNet 上重現 Han 的圖。先猜猜看：不重新訓練時，稀疏度到多少會損失一個百分點？重新訓練時呢？

# %%
sparsities = [0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99]
results = {"layer, no retraining": [], "global, no retraining": [], "global, retrained": []}
retrained = {}
for fraction in tqdm(sparsities, desc="sparsities"):
    for scope in ("layer", "global"):
        model = copy.deepcopy(lenet)
        masks = prune_weights(model, fraction, scope)
        results[f"{scope}, no retraining"].append(accuracy(model, held_out))
    if fraction >= 0.8:  # below, hardly anything is lost
        model = remember(finetune_pruned, model, masks, train_loader, epochs=1, lr=3e-3)
    retrained[fraction] = model
    results["global, retrained"].append(accuracy(model, held_out))

plt.figure(figsize=(7, 3.6))
for name, marker in zip(results, "s^o", strict=True):
    plt.plot(sparsities, results[name], marker + "-", label=name)
plt.axhline(start - 0.01, color="0.6", ls=":", label="one point lost")
plt.xlabel("sparsity")
plt.ylabel("accuracy, held-out images")
plt.legend()
plt.show()

# %% [markdown]
# What we measured over three seeds, on 10,000 test images (91.0 % unpruned):
#
# | sparsity | layer | global | global, retrained for 1 epoch |
# |---|---|---|---|
# | 50 % | 88.6 | 90.8 | - |
# | 80 % | 54 | 87.6 | - |
# | 90 % | 18.5 | 79.2 | 89.8 |
# | 95 % | 10.7 | 44.1 | 88.5 |
#
# - **Global is far better than layer-wise here.** `fc1` holds 93 % of the weights, and has the most
#   to spare. The next exercise shows it.
# - **Retraining is what makes pruning work.** With two epochs, 90 % cost 0.8 points.
# - *Honest:* pruning in many small steps (**iterative pruning**, 迭代式修剪) did **not** help at 90
#   or 95 % with the same number of epochs. It helped at 98 and 99 % (+0.9 and +1.7 points).

# %% [markdown] lang="zh-TW"
# 這是我們以三個隨機種子 (seed)、在 10,000 張測試影像上的實測結果（未剪枝為 91.0 %）：
#
# | 稀疏度 | 逐層 | 全域 | 全域，重新訓練 1 個 epoch |
# |---|---|---|---|
# | 50 % | 88.6 | 90.8 | - |
# | 80 % | 54 | 87.6 | - |
# | 90 % | 18.5 | 79.2 | 89.8 |
# | 95 % | 10.7 | 44.1 | 88.5 |
#
# - **在這裡，全域剪枝遠勝逐層剪枝。** `fc1` 占 93 % 的權重，也最有餘裕。下一個練習會看到。
# - **剪枝有效，靠的是重新訓練。** 用兩個 epoch 時，剪去 90 % 只損失 0.8 個百分點。
# - *老實說：* 在相同的 epoch 數之下，分成許多小步剪枝（**迭代式修剪**，iterative pruning）
#   在 90 或 95 % 時**沒有**幫助。在 98 與 99 % 時才有幫助（+0.9 與 +1.7 個百分點）。

# %% [markdown]
# ### Exercise: `sensitivity_scan` · ★★☆☆ · 15 minutes · 3 points
#
# Which layer can lose weights? Write `sensitivity_scan(model, loader, sparsities)`.
# It returns, by layer name, the accuracies when **only that layer** is pruned, in the order of
# `sparsities`.
# All conv and linear layers are scanned. The model is not changed.
# `ValueError` when one of the sparsities is outside [0, 1).
#
# *Example.* `sensitivity_scan(lenet, loader, [0.5, 0.9])` gives `{"conv1": [0.89, 0.43], "conv2":
# […], "fc1": […], "fc2": […]}`.
#
# <details><summary>Hint 1</summary>
#
# Every measurement starts from the *whole* model. The simplest way: a fresh deep copy each time.
#
# <details><summary>Hint 2</summary>
#
# `prune_weights` takes any module: give it `trial.get_submodule(name)`.
#
# </details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`sensitivity_scan` · ★★☆☆ · 15 分鐘 · 3 分
#
# 哪一層可以少一些權重？請寫出 `sensitivity_scan(model, loader, sparsities)`。
# 它依層的名稱，回傳**只剪該層**時的準確率，順序與 `sparsities` 相同。
# 所有卷積層與全連接層都要掃描。模型不得更改。
# 任何一個稀疏度超出 [0, 1) 時，引發 `ValueError`。
#
# *例子。* `sensitivity_scan(lenet, loader, [0.5, 0.9])` 得到
# `{"conv1": [0.89, 0.43], "conv2": […], "fc1": […], "fc2": […]}`。
#
# <details><summary>提示 1</summary>
#
# 每次測量都從*完整的*模型開始。最簡單的做法：每次都重新做一個深層複製。
#
# <details><summary>提示 2</summary>
#
# `prune_weights` 接受任何模組：把 `trial.get_submodule(name)` 交給它。
#
# </details></details>


# %% exercise="sensitivity_scan" difficulty=2 minutes=15
def sensitivity_scan(
    model: nn.Module, loader: DataLoader, sparsities: Sequence[float]
) -> dict[str, list[float]]:
    """Measure the accuracy when one layer at a time is pruned.

    Args:
        model: Not changed.
        loader: Yields (images, labels).
        sparsities: Fractions to prune, each in [0, 1).

    Returns:
        By layer name ("conv1"), for every conv and linear layer: the accuracies in [0, 1],
        in the order of sparsities. All other layers are whole at that moment.

    Raises:
        ValueError: If one of sparsities is outside [0, 1).

    Source:
        Han et al. 2015, Learning both Weights and Connections for Efficient Neural Networks.
    """
    # TODO: for every layer and sparsity: prune that layer of a whole model, measure
    ### BEGIN SOLUTION
    for sparsity in sparsities:
        require(0 <= sparsity < 1, f"sparsities must lie in [0, 1), got {sparsity}")

    def accuracy_without(name: str, sparsity: float) -> float:
        trial = copy.deepcopy(model)
        prune_weights(trial.get_submodule(name), sparsity)
        return accuracy(trial, loader)

    return {
        name: [accuracy_without(name, sparsity) for sparsity in sparsities]
        for name, layer in model.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.Linear))
    }
    ### END SOLUTION


# %% check="sensitivity_scan" points=3
before = copy.deepcopy(lenet.state_dict())
scan = sensitivity_scan(lenet, few, [0.9, 0.0])
assert list(scan) == ["conv1", "conv2", "fc1", "fc2"], (
    f"expected the layers conv1, conv2, fc1, fc2 as keys, got {scan}"
)
assert all(torch.equal(before[name], now) for name, now in lenet.state_dict().items()), (
    "the caller's model changed"
)
whole = accuracy(lenet, few)
for name, (at_90, at_0) in scan.items():
    assert at_0 == whole, (
        f"{name}: expected {whole:.3f} at sparsity 0, got {at_0:.3f}; "
        "a layer stays pruned from an earlier step, or the order of the sparsities is lost"
    )
    assert at_90 < whole, (
        f"{name}: nothing is lost at 90 %: is the copy that you measure the pruned one?"
    )
assert scan["fc1"][0] > scan["conv1"][0] + 0.1, f"expected fc1 robust, conv1 fragile, got {scan}"
assert is_rejected(sensitivity_scan, lenet, few, [0.5, 1.0]), "sparsity 1 must raise a ValueError"
passed("sensitivity_scan")

# %%
sparsities = [0.5, 0.7, 0.9, 0.95]
scan = remember(sensitivity_scan, lenet, held_out, sparsities)
plt.figure(figsize=(7, 3.2))
for (name, accuracies), marker in zip(scan.items(), "osD^", strict=True):
    share = lenet.get_submodule(name).weight.numel() / measures.count_parameters(lenet)
    plt.plot(sparsities, accuracies, marker + "-", label=f"{name} ({share:.1%} of the parameters)")
plt.xlabel("sparsity of this layer alone")
plt.ylabel("accuracy, held-out images")
plt.legend()
plt.show()

# %% [markdown]
# `conv1` has 500 weights, every one is used at 576 places of every image: it is fragile. `fc1` has
# 400,000 and is robust.

# %% [markdown] lang="zh-TW"
# `conv1` 有 500 個權重，每個權重在每張影像的 576 個位置都會用到：它很脆弱。`fc1` 有 400,000 個，
# 很耐剪。

# %% [markdown]
# ### In practice: `torch.nn.utils.prune`
#
# PyTorch has the same operation. Compare its masks with yours, and look at what it *stores*.

# %% [markdown] lang="zh-TW"
# ### 業界的做法：`torch.nn.utils.prune`
#
# PyTorch 也有相同的操作。把它的遮罩與你的比較，並看看它*儲存*了什麼。

# %%
from torch.nn.utils import prune

theirs, ours = copy.deepcopy(lenet), copy.deepcopy(lenet)
layers = ("conv1", "conv2", "fc1", "fc2")
prune.global_unstructured(
    [(theirs.get_submodule(name), "weight") for name in layers],
    pruning_method=prune.L1Unstructured,
    amount=0.9,
)
masks = prune_weights(ours, 0.9, scope="global")
for name in layers:
    same = (
        (theirs.get_submodule(name).weight_mask.bool() == masks[f"{name}.weight"]).double().mean()
    )
    zeros = measures.sparsity(ours.get_submodule(name))
    print(f"{name}: {same:.4%} of the two masks agree, {zeros:.1%} zeros")

stored = sum(tensor.numel() for tensor in theirs.state_dict().values())
print(f"\nnumbers stored: {measures.count_parameters(lenet):,} before torch's pruning")
print(f"                {stored:,} after it (dense weights and masks)")

# %% [markdown]
# The masks agree. But the library keeps the dense weights *and* a mask: the model has grown.
# `prune.remove` drops the mask and leaves zeros in a dense tensor.
# Then **nothing holds the zeros** in later training, and the file has its old size.
#
# > **A trap in many tutorials.** They call this 'neuron pruning': L1-unstructured pruning, then
# > `prune.remove`, then fine-tuning.
# > It removes no neuron, the zeros come back, and the parameter count is the same as before. Part C
# > does it properly.

# %% [markdown] lang="zh-TW"
# 遮罩一致。但函式庫同時保留密集的權重*和*遮罩：模型反而變大了。
# `prune.remove` 丟掉遮罩，把零留在密集張量中。
# 之後再訓練時，**沒有任何東西守住這些零**，檔案也還是原來的大小。
#
# > **許多教學中的陷阱。** 它們把下列做法稱為「神經元剪枝」：先做 L1-unstructured 剪枝，
# > 再 `prune.remove`，再微調。
# > 這並沒有移除任何神經元，零會跑回來，參數量也和之前一樣。C 部分會用正確的方法做。

# %% [markdown]
# ## Part B: what a sparse matrix really saves
#
# A zero in a dense tensor costs four bytes, as any other number. Pruning alone shrinks nothing.
# From here on you need a pruned model. If yours is not ready, the course's checkpoint steps in, and
# the output says so.

# %% [markdown] lang="zh-TW"
# ## B 部分：稀疏矩陣真正省下什麼
#
# 密集張量中的一個零，和其他數字一樣占四個位元組。只做剪枝，什麼都不會變小。
# 從這裡開始，你需要一個剪枝後的模型。如果你的還沒完成，就以課程的檢查點代替，並在輸出中說明。

# %%
try:
    pruned = retrained[0.9]  # your own, from the experiment above
except (KeyError, NameError):
    pruned = use_course_checkpoint(
        "lenet_pruned_90", instead_of="prune_weights and finetune_pruned"
    )

print(f"zeros:    {measures.sparsity(pruned):.1%}")
print(f"accuracy: {accuracy(pruned, held_out):.1%} (whole: {start:.1%})")
print(f"file:     {measures.model_bytes(pruned):,} bytes (whole: {measures.model_bytes(lenet):,})")

# %% [markdown]
# **CSR** (compressed sparse row, 壓縮稀疏列格式) leaves the zeros out. It keeps three arrays:
#
# - the **values** that are not zero, row by row;
# - the **column index** (行索引) of each value;
# - the **row pointers** (列指標): where each row begins in the two arrays above, and at the very
#   end, where the last row ends.
#
# **CSC** does the same by columns. **COO** writes a row and a column index for every value, and has
# no pointers.
# The figure draws one matrix and its three arrays. Look at row 2: it is empty, so two pointers in a
# row are equal.

# %% [markdown] lang="zh-TW"
# **CSR**（compressed sparse row，壓縮稀疏列格式）略過零。它保存三個陣列：
#
# - **數值** (values)：不為零的值，逐列排列；
# - 每個值的**行索引** (column index)；
# - **列指標** (row pointers)：每一列在上面兩個陣列中的起點，最後再加上最後一列的終點。
#
# **CSC** 以行為主，做法相同。**COO** 為每個值各記一個列索引和一個行索引，沒有指標。
# 下圖畫出一個矩陣和它的三個陣列。看看第 2 列：它是空的，所以有兩個連續的指標相等。


# %%
def draw_boxes(
    axes: plt.Axes, row: float, label: str, numbers: Sequence[float], colors: Sequence[str]
) -> None:
    """Draw a named row of numbered boxes."""
    axes.text(-0.4, row, label, ha="right", va="center")
    for i, (number, color) in enumerate(zip(numbers, colors, strict=True)):
        axes.add_patch(
            plt.Rectangle((i, row - 0.4), 1, 0.8, facecolor=color, edgecolor="0.4", alpha=0.6)
        )
        axes.text(i + 0.5, row, f"{number:g}", ha="center", va="center")


example = torch.tensor([[5.0, 0, 0, 2, 0], [0, 0, 7, 0, 0], [0, 0, 0, 0, 0], [1, 0, 3, 0, 4]])
row_colors = ["C0", "C1", "C2", "C3"]
_, (left, right) = plt.subplots(1, 2, figsize=(10, 2.6), width_ratios=(5, 7))
for r, row in enumerate(example.tolist()):
    draw_boxes(left, -r, f"row {r}", row, [row_colors[r] if value else "white" for value in row])
owner = [0, 0, 1, 3, 3, 3]
draw_boxes(right, 0, "values", [5, 2, 7, 1, 3, 4], [row_colors[r] for r in owner])
draw_boxes(right, -1, "column indices", [0, 3, 2, 0, 2, 4], [row_colors[r] for r in owner])
draw_boxes(right, -2, "row pointers", [0, 2, 3, 3, 6], [*row_colors, "white"])
for axes in (left, right):
    axes.set(xlim=(-2, 6.5), ylim=(-3.6, 0.6))
    axes.axis("off")
plt.show()

# %% [markdown]
# ### Exercise: `dense_to_csr` · ★★☆☆ · 15 minutes · 4 points
#
# Write `dense_to_csr(matrix) -> (values, column_indices, row_pointers)` for a matrix of shape (R,
# C), by hand: without `to_sparse_csr`.
#
# - `values`: the nonzeros, row by row from left to right, in the matrix's dtype.
# - `column_indices`: int64, one for each value.
# - `row_pointers`: int64, R + 1 of them. Row r owns `values[row_pointers[r]:row_pointers[r + 1]]`.
# - `ValueError` when the matrix does not have two dimensions or holds NaN.
#
# *Example.* `[[0, 7], [0, 0], [8, 9]]` gives values `[7, 8, 9]`, column indices `[1, 0, 1]`, row
# pointers `[0, 1, 1, 3]`.
#
# <details><summary>Hint 1</summary>
#
# `matrix.nonzero(as_tuple=True)` returns the row and the column of each nonzero, already row by
# row.
#
# <details><summary>Hint 2</summary>
#
# Count the nonzeros of each row with `(matrix != 0).sum(dim=1)`. A pointer is the sum of all counts
# above it.
#
# <details><summary>Hint 3</summary>
#
# R zeros plus one: `torch.zeros(R + 1, dtype=torch.int64)`. Put `counts.cumsum(0)` into `[1:]`.
# Empty rows then come out right by themselves.
#
# </details></details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`dense_to_csr` · ★★☆☆ · 15 分鐘 · 4 分
#
# 請對形狀 (R, C) 的矩陣親手寫出 `dense_to_csr(matrix) -> (values, column_indices, row_pointers)`：
# 不用 `to_sparse_csr`。
#
# - `values`：非零值，逐列由左到右，dtype 與矩陣相同。
# - `column_indices`：int64，每個值一個。
# - `row_pointers`：int64，共 R + 1 個。第 r 列擁有 `values[row_pointers[r]:row_pointers[r + 1]]`。
# - 矩陣不是二維或含有 NaN 時，引發 `ValueError`。
#
# *例子。* `[[0, 7], [0, 0], [8, 9]]` 得到數值 `[7, 8, 9]`、行索引 `[1, 0, 1]`、
# 列指標 `[0, 1, 1, 3]`。
#
# <details><summary>提示 1</summary>
#
# `matrix.nonzero(as_tuple=True)` 回傳每個非零值的列與行，而且已經逐列排好。
#
# <details><summary>提示 2</summary>
#
# 用 `(matrix != 0).sum(dim=1)` 數出每一列的非零值。一個指標就是它上方所有列的數目總和。
#
# <details><summary>提示 3</summary>
#
# R 個零再加一個：`torch.zeros(R + 1, dtype=torch.int64)`。把 `counts.cumsum(0)` 放進 `[1:]`。
# 空列自然就會正確。
#
# </details></details></details>


# %% exercise="dense_to_csr" difficulty=2 minutes=15
def dense_to_csr(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Store a matrix row by row without its zeros (compressed sparse row).

    Args:
        matrix: Shape (R, C).

    Returns:
        values: Shape (nonzeros,), the matrix's dtype, row by row from left to right.
        column_indices: Shape (nonzeros,), int64, the column of each value.
        row_pointers: Shape (R + 1,), int64: row r owns values[row_pointers[r]:row_pointers[r + 1]].

    Raises:
        ValueError: If matrix is not 2-D, or holds NaN.
    """
    # TODO: find the nonzeros, count them per row, add the counts up
    ### BEGIN SOLUTION
    require(matrix.ndim == 2, f"matrix must have two dimensions, got {matrix.ndim}")
    require(not matrix.isnan().any(), "matrix must not hold NaN")
    matrix = matrix.detach()
    rows, column_indices = matrix.nonzero(as_tuple=True)
    row_pointers = torch.zeros(len(matrix) + 1, dtype=torch.int64)
    row_pointers[1:] = (matrix != 0).sum(dim=1).cumsum(dim=0)
    return matrix[rows, column_indices], column_indices, row_pointers
    ### END SOLUTION


# %% check="dense_to_csr" points=4
matrix = torch.tensor([[0.0, 7.0], [0.0, 0.0], [8.0, -9.0], [0.0, 0.0]])
values, column_indices, row_pointers = dense_to_csr(matrix)
assert values.tolist() == [7, 8, -9], (
    f"values: expected 7, 8, -9 (row by row), got {values.tolist()}"
)
assert column_indices.tolist() == [1, 0, 1], (
    f"column indices: expected 1, 0, 1, got {column_indices.tolist()}"
)
assert len(row_pointers) == 5, (
    f"expected R + 1 = 5 row pointers, got {len(row_pointers)}: "
    "the last one says where the last row ends"
)
assert row_pointers.tolist() == [0, 1, 1, 3, 3], (
    f"row pointers: expected 0, 1, 1, 3, 3, got {row_pointers.tolist()}; "
    "an empty row repeats the pointer before it"
)
assert column_indices.dtype == row_pointers.dtype == torch.int64, (
    "indices and pointers must be int64"
)
assert dense_to_csr(matrix.double())[0].dtype == torch.float64, (
    "the values must keep the matrix's dtype"
)
values, column_indices, row_pointers = dense_to_csr(torch.zeros(2, 3))
assert (len(values), len(column_indices), row_pointers.tolist()) == (0, 0, [0, 0, 0]), (
    "an all-zero matrix has pointers only"
)
assert is_rejected(dense_to_csr, torch.ones(3)), "a vector must raise a ValueError"
assert is_rejected(dense_to_csr, torch.tensor([[float("nan")]])), "NaN must raise a ValueError"
passed("dense_to_csr")

# %% [markdown]
# ### Exercise: `csr_matvec` · ★★☆☆ · 15 minutes · 3 points
#
# Write `csr_matvec(values, column_indices, row_pointers, x)`: the product of the CSR matrix and the
# **vector** x of shape (C,), without making the matrix dense.
# The result has shape (R,) and the dtype of `values * x`. An empty row gives 0.
# `ValueError` when x is not a vector, when the three arrays do not fit together or do not fit x,
# and for NaN in values or x.
#
# *Example.* With the arrays of the last example and x = `[1, 10]` the result is `[70, 0, 98]`.
#
# <details><summary>Hint 1</summary>
#
# `values * x[column_indices]` makes all the products at once.
#
# <details><summary>Hint 2</summary>
#
# Row r is the sum of `products[row_pointers[r]:row_pointers[r + 1]]`. A loop over the rows is
# correct.
#
# <details><summary>Hint 3</summary>
#
# Without a loop: `row_pointers.diff()` counts the values of each row, `repeat_interleave` turns the
# counts into a row number for each value, and `index_add` sums.
#
# </details></details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`csr_matvec` · ★★☆☆ · 15 分鐘 · 3 分
#
# 請寫出 `csr_matvec(values, column_indices, row_pointers, x)`：
# CSR 矩陣與形狀 (C,) 的**向量** x 的乘積，不可把矩陣還原成密集矩陣。
# 結果的形狀為 (R,)，dtype 與 `values * x` 相同。空列得到 0。
# x 不是向量、三個陣列彼此不符或與 x 不符、values 或 x 含有 NaN 時，引發 `ValueError`。
#
# *例子。* 用上一個例子的陣列與 x = `[1, 10]`，結果為 `[70, 0, 98]`。
#
# <details><summary>提示 1</summary>
#
# `values * x[column_indices]` 一次算出所有乘積。
#
# <details><summary>提示 2</summary>
#
# 第 r 列是 `products[row_pointers[r]:row_pointers[r + 1]]` 的總和。用迴圈逐列計算也正確。
#
# <details><summary>提示 3</summary>
#
# 不用迴圈：`row_pointers.diff()` 數出每一列的值有幾個，
# `repeat_interleave` 把這些數目變成每個值的列號，再用 `index_add` 加總。
#
# </details></details></details>


# %% exercise="csr_matvec" difficulty=2 minutes=15
def csr_matvec(
    values: torch.Tensor,
    column_indices: torch.Tensor,
    row_pointers: torch.Tensor,
    x: torch.Tensor,
) -> torch.Tensor:
    """Multiply a CSR matrix of shape (R, C) by a vector, without making it dense.

    Args:
        values: Shape (nonzeros,).
        column_indices: Shape (nonzeros,), int64, in [0, C).
        row_pointers: Shape (R + 1,), int64, from 0 to nonzeros, never falling.
        x: Shape (C,).

    Returns:
        The product, shape (R,), in the dtype of `values * x`. An empty row gives 0.

    Raises:
        ValueError: If x is not 1-D, the three CSR tensors do not fit together or do not
            fit x, or values or x hold NaN.
    """
    # TODO: multiply each value by the right element of x, add up the products of each row
    ### BEGIN SOLUTION
    require(x.ndim == 1, f"x must be a vector, got {x.ndim} dimensions")
    require(len(values) == len(column_indices), "column_indices must be as many as values")
    counts = row_pointers.diff()
    require(
        len(row_pointers) > 0
        and row_pointers[0] == 0
        and row_pointers[-1] == len(values)
        and bool((counts >= 0).all()),
        "row_pointers must rise from 0 to the number of values",
    )
    require(
        bool(((column_indices >= 0) & (column_indices < len(x))).all()),
        "column_indices must lie in [0, len(x))",
    )
    require(not values.isnan().any(), "values must not hold NaN")
    require(not x.isnan().any(), "x must not hold NaN")
    products = values * x[column_indices]
    rows = torch.arange(len(counts)).repeat_interleave(counts)  # the row of each value
    return products.new_zeros(len(counts)).index_add(0, rows, products)
    ### END SOLUTION


# %% check="csr_matvec" points=3
csr = (torch.tensor([7.0, 8.0, 9.0]), torch.tensor([1, 0, 1]), torch.tensor([0, 1, 1, 3, 3]))
product = csr_matvec(*csr, torch.tensor([1.0, 10.0]))
assert product.shape == (4,), f"expected one number per row, shape (4,), got {tuple(product.shape)}"
assert product.tolist() == [70, 0, 98, 0], (
    f"expected 70, 0, 98, 0, got {product.tolist()}; "
    "look at the empty rows, and at x[column_indices]"
)
empty = csr_matvec(
    torch.zeros(0), torch.zeros(0, dtype=torch.int64), torch.tensor([0, 0]), torch.ones(3)
)
assert empty.tolist() == [0], f"an all-zero matrix gives zeros, got {empty}"
double = csr_matvec(csr[0].double(), *csr[1:], torch.ones(2).double())
assert double.dtype == torch.float64, "the result must keep the dtype"
assert is_rejected(csr_matvec, *csr, torch.ones(2, 1)), (
    "x with two dimensions must raise a ValueError"
)
assert is_rejected(csr_matvec, *csr, torch.ones(1)), (
    "an x that is too short must raise a ValueError"
)
assert is_rejected(csr_matvec, *csr, torch.tensor([1.0, float("nan")])), (
    "NaN must raise a ValueError"
)
passed("csr_matvec")

# %% [markdown]
# ### In practice: `torch.Tensor.to_sparse_csr`
#
# The same three arrays from PyTorch, on `fc1` of the pruned model, and the layer's output computed
# from yours.

# %% [markdown] lang="zh-TW"
# ### 業界的做法：`torch.Tensor.to_sparse_csr`
#
# 由 PyTorch 得到同樣的三個陣列，對象是剪枝後模型的 `fc1`；這一層的輸出則用你的陣列計算。

# %%
fc1 = pruned.fc1.weight.detach()
ours, theirs = dense_to_csr(fc1), fc1.to_sparse_csr()
print("values agree:        ", torch.equal(ours[0], theirs.values()))
print("column indices agree:", torch.equal(ours[1], theirs.col_indices()))
print("row pointers agree:  ", torch.equal(ours[2], theirs.crow_indices()))
x = torch.rand(fc1.shape[1])
print(f"largest difference of the products: {(csr_matvec(*ours, x) - fc1 @ x).abs().max():.1e}")
print("torch keeps its indices as", theirs.col_indices().dtype)

# %% [markdown]
# ### Exercise: `storage_bytes` · ★☆☆☆ · 10 minutes · 3 points
#
# Write `storage_bytes(rows, columns, nonzeros, layout, value_bytes=4, index_bytes=4) -> int`: the
# bytes of all values, indices **and pointers**.
#
# | layout | stores |
# |---|---|
# | `"dense"` | every value |
# | `"csr"` | nonzero values, a column index for each, rows + 1 pointers |
# | `"csc"` | nonzero values, a row index for each, columns + 1 pointers |
# | `"coo"` | nonzero values, a row and a column index for each |
#
# A pointer takes `index_bytes`, too.
# `ValueError` for an unknown layout, for `nonzeros` outside 0 … rows * columns, and for `rows`,
# `columns`, `value_bytes` or `index_bytes` below 1.
#
# *Example.* 2 x 3 with 2 nonzeros: dense 24, csr 28, csc 32, coo 24 bytes. The sparse formats are
# not smaller!
#
# <details><summary>Hint 1</summary>
#
# For each layout, count the *values* and the *indices* (pointers are indices). The result is one
# line.
#
# </details>

# %% [markdown] lang="zh-TW"
# ### 練習：`storage_bytes` · ★☆☆☆ · 10 分鐘 · 3 分
#
# 請寫出 `storage_bytes(rows, columns, nonzeros, layout, value_bytes=4, index_bytes=4) -> int`：
# 所有數值、索引**與指標**的位元組數。
#
# | layout | 儲存什麼 |
# |---|---|
# | `"dense"` | 每一個值 |
# | `"csr"` | 非零值、每個非零值的行索引、rows + 1 個指標 |
# | `"csc"` | 非零值、每個非零值的列索引、columns + 1 個指標 |
# | `"coo"` | 非零值、每個非零值的列索引與行索引 |
#
# 一個指標也占 `index_bytes`。
# 下列情況引發 `ValueError`：未知的 layout；`nonzeros` 超出 0 … rows * columns；`rows`、`columns`、
# `value_bytes` 或 `index_bytes` 小於 1。
#
# *例子。* 2 x 3、2 個非零值：dense 24、csr 28、csc 32、coo 24 個位元組。稀疏格式並沒有比較小！
#
# <details><summary>提示 1</summary>
#
# 對每種 layout，數一數有幾個*數值*、幾個*索引*（指標也是索引）。結果只要一行。
#
# </details>


# %% exercise="storage_bytes" difficulty=1 minutes=10
def storage_bytes(
    rows: int,
    columns: int,
    nonzeros: int,
    layout: str,
    value_bytes: int = 4,
    index_bytes: int = 4,
) -> int:
    """Count the bytes that a matrix takes in a layout.

    Args:
        rows: At least 1.
        columns: At least 1.
        nonzeros: From 0 to rows * columns.
        layout: "dense", "csr", "csc" or "coo".
        value_bytes: Bytes of one value, at least 1.
        index_bytes: Bytes of one index or pointer, at least 1.

    Returns:
        Bytes of values, indices and pointers together.

    Raises:
        ValueError: If layout is unknown, or a number is outside its range.
    """
    # TODO: what does each layout store, and how many of it?
    ### BEGIN SOLUTION
    require(rows >= 1, f"rows must be at least 1, got {rows}")
    require(columns >= 1, f"columns must be at least 1, got {columns}")
    require(0 <= nonzeros <= rows * columns, f"nonzeros must fit the matrix, got {nonzeros}")
    require(value_bytes >= 1, f"value_bytes must be at least 1, got {value_bytes}")
    require(index_bytes >= 1, f"index_bytes must be at least 1, got {index_bytes}")
    values_and_indices = {
        "dense": (rows * columns, 0),
        "csr": (nonzeros, nonzeros + rows + 1),
        "csc": (nonzeros, nonzeros + columns + 1),
        "coo": (nonzeros, 2 * nonzeros),
    }
    require(layout in values_and_indices, f"layout must be dense, csr, csc or coo, got {layout!r}")
    num_values, num_indices = values_and_indices[layout]
    return num_values * value_bytes + num_indices * index_bytes
    ### END SOLUTION


# %% check="storage_bytes" points=3
sizes = {layout: storage_bytes(2, 3, 2, layout) for layout in ("dense", "csr", "csc", "coo")}
assert sizes["dense"] == 24, f"dense: 2 x 3 values of 4 bytes are 24 bytes, got {sizes['dense']}"
assert sizes["csr"] != 16, "csr: the row pointers are forgotten"
assert sizes["csr"] != 24, "csr: there are rows + 1 pointers, not rows"
assert (sizes["csr"], sizes["csc"]) != (32, 28), "csr and csc are swapped: csr points to rows"
assert (sizes["csr"], sizes["csc"]) == (28, 32), f"expected csr 28 and csc 32 bytes, got {sizes}"
assert sizes["coo"] == 24, f"coo: 2 values and 2 x 2 indices are 24 bytes, got {sizes['coo']}"
small = storage_bytes(500, 800, 40_000, "csr", value_bytes=1, index_bytes=2)
assert small == 40_000 * 3 + 501 * 2, "value_bytes and index_bytes: a pointer takes index_bytes"
assert isinstance(small, int), "bytes are counted as an int"
assert is_rejected(storage_bytes, 2, 3, 7, "csr"), "7 nonzeros do not fit into 2 x 3: ValueError"
assert is_rejected(storage_bytes, 2, 3, 2, "zip"), "an unknown layout must raise a ValueError"
passed("storage_bytes")

# %% [markdown]
# ### Exercise: `break_even_sparsity` · ★★☆☆ · 10 minutes · 2 points
#
# At which sparsity is the sparse layout exactly as large as the dense one?
# Write `break_even_sparsity(rows, columns, layout, value_bytes=4, index_bytes=4) -> float`.
# Give the **real-valued** solution: the number of nonzeros, (1 - sparsity) * rows * columns, need
# not be whole.
# `ValueError` for `"dense"`, for an unknown layout, for impossible sizes, and where no sparsity in
# [0, 1] is a solution.
#
# *Example.* 2 x 3, csr: 8n + 12 = 24 gives n = 1.5 nonzeros, so the answer is 1 - 1.5 / 6 = 0.75.
# For 1 x 1, csr, the two pointers alone are larger than the matrix: `ValueError`.
#
# <details><summary>Hint 1</summary>
#
# The size of a sparse layout is *pointers + n x (bytes of one nonzero)*. `storage_bytes` at n = 0
# and n = 1 gives you both.
#
# <details><summary>Hint 2</summary>
#
# Solve *pointers + n x each = dense* for n. A negative n means: never.
#
# </details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`break_even_sparsity` · ★★☆☆ · 10 分鐘 · 2 分
#
# 稀疏度多少時，稀疏格式恰好與密集格式一樣大（損益平衡，break-even）？
# 請寫出 `break_even_sparsity(rows, columns, layout, value_bytes=4, index_bytes=4) -> float`。
# 請給出**實數**解：非零值的數目 (1 - sparsity) * rows * columns 不必是整數。
# `"dense"`、未知的 layout、不可能的大小，以及 [0, 1] 中沒有任何稀疏度是解時，引發 `ValueError`。
#
# *例子。* 2 x 3、csr：8n + 12 = 24 得到 n = 1.5 個非零值，所以答案是 1 - 1.5 / 6 = 0.75。
# 若是 1 x 1 的 csr，光是兩個指標就比矩陣大：`ValueError`。
#
# <details><summary>提示 1</summary>
#
# 稀疏格式的大小是*指標 + n x（一個非零值的位元組數）*。`storage_bytes` 在 n = 0 與 n = 1 時的值，
# 可以讓你求出這兩者。
#
# <details><summary>提示 2</summary>
#
# 由*指標 + n x 每個的大小 = 密集大小*解出 n。n 為負表示：永遠不會相等。
#
# </details></details>


# %% exercise="break_even_sparsity" difficulty=2 minutes=10
def break_even_sparsity(
    rows: int, columns: int, layout: str, value_bytes: int = 4, index_bytes: int = 4
) -> float:
    """Find the sparsity at which a layout takes exactly as many bytes as the dense matrix.

    The number of nonzeros is taken as a real number here, (1 - sparsity) * rows * columns.

    Args:
        rows: At least 1.
        columns: At least 1.
        layout: "csr", "csc" or "coo".
        value_bytes: Bytes of one value, at least 1.
        index_bytes: Bytes of one index or pointer, at least 1.

    Returns:
        The sparsity, a fraction in [0, 1]. Above it the layout is smaller than dense.

    Raises:
        ValueError: If layout is unknown or "dense", a number is outside its range,
            or no sparsity in [0, 1] makes the two equal.
    """
    # TODO: write both sizes as formulas in the sparsity and solve for it
    ### BEGIN SOLUTION
    require(layout != "dense", "layout must be a sparse one: dense is always equal to itself")

    def size(nonzeros: int, layout: str) -> int:
        return storage_bytes(rows, columns, nonzeros, layout, value_bytes, index_bytes)

    pointers = size(0, layout)
    each_nonzero = size(1, layout) - pointers
    nonzeros = (size(0, "dense") - pointers) / each_nonzero
    require(nonzeros >= 0, f"layout {layout!r} never breaks even: its pointers exceed the matrix")
    return 1 - nonzeros / (rows * columns)
    ### END SOLUTION


# %% check="break_even_sparsity" points=2
for arguments, expected in [
    ((2, 3, "csr"), 0.75),
    ((2, 3, "csc"), 5 / 6),
    ((2, 3, "coo"), 2 / 3),
    ((500, 800, "coo", 4, 8), 0.8),
]:
    got = break_even_sparsity(*arguments)
    assert abs(got - expected) < 1e-9, (
        f"break_even_sparsity{arguments}: expected {expected:.4f}, got {got:.4f}; "
        "is it the sparsity (zeros) and not the density, and are the pointers counted?"
    )
assert is_rejected(break_even_sparsity, 2, 3, "dense"), '"dense" must raise a ValueError'
assert is_rejected(break_even_sparsity, 1, 1, "csr"), "1 x 1 never breaks even: ValueError"
passed("break_even_sparsity")

# %% [markdown]
# **Explore.** Short indices move the break-even point to the left. PyTorch's own CSR has 8-byte
# indices.

# %% [markdown] lang="zh-TW"
# **探索。** 索引越短，損益平衡點越往左移。PyTorch 自己的 CSR 用 8 個位元組的索引。


# %%
def plot_storage(ax: plt.Axes, index_bytes: int, value_bytes: int) -> None:
    """Draw the size of each layout of fc1 against sparsity, and where it meets the dense size."""
    rows, columns = lenet.fc1.weight.shape
    element = (value_bytes, index_bytes)
    fractions = np.linspace(0, 1, 101)
    nonzeros = [round((1 - fraction) * rows * columns) for fraction in fractions]
    ax.axhline(1, color="0.4", label="dense")
    for layout, style in {"csr": "-", "csc": "--", "coo": "-."}.items():
        size = np.array([storage_bytes(rows, columns, n, layout, *element) for n in nonzeros])
        even = break_even_sparsity(rows, columns, layout, *element)
        relative = size / (rows * columns * value_bytes)
        ax.plot(fractions, relative, style, label=f"{layout}: {even:.1%}")
        ax.plot(even, 1, "ko", zorder=3)
    ax.set(xlabel="sparsity", ylabel="size / dense size")
    ax.legend(title="break-even")


explorer(plot_storage, index_bytes=[4, 2, 8], value_bytes=[4, 2, 1])

# %% [markdown]
# The textbook says that CSR wins above 50 %. That holds for values and indices of the *same* size.
# PyTorch's int64 indices move the point to **67 %**, and its COO to **80 %**.
#
# ### Measured: sparsity against speedup
#
# The lecture shows a figure of Wen et al. (2016): on AlexNet, at about 75 % sparsity, most layers
# become *slower*.
# Here is the same on your machine: the dense product against PyTorch's CSR product. Below 1
# (shaded) the sparse product is slower.
# The clock of `course_utils.speed` runs both in turns and gives an interval, so that a busy machine
# does not fool you.
#
# First guess: at which sparsity does each curve cross 1?

# %% [markdown] lang="zh-TW"
# 教科書說 CSR 在 50 % 以上較省。這在數值與索引*一樣大*時才成立。
# PyTorch 的 int64 索引把這一點移到 **67 %**，它的 COO 則移到 **80 %**。
#
# ### 實測：稀疏度對加速倍率
#
# 課程有一張 Wen et al. (2016) 的圖：在 AlexNet 上，稀疏度約 75 % 時，大多數的層反而變*慢*。
# 這裡在你的電腦上做相同的測量：密集乘法對 PyTorch 的 CSR 乘法。小於 1（有底色）表示稀疏乘法較慢。
# `course_utils.speed` 的計時讓兩者輪流執行，並給出區間，這樣電腦忙碌時才不會騙了你。
#
# 先猜猜看：每條曲線在稀疏度多少時越過 1？


# %%
def speedup_of_csr(rows: int, inner: int, columns: int, fraction: float) -> float:
    """Measure the time of a dense product over the time of the same product in CSR."""
    dense = torch.randn(rows, inner) * (torch.rand(rows, inner) >= fraction)
    sparse, x = dense.to_sparse_csr(), torch.randn(inner, columns)
    return compare_speed(lambda: dense @ x, lambda: sparse @ x, seconds=0.3).ratio


shapes = {
    "fc1, 1 image": (500, 800, 1),
    "fc1, 64 images": (500, 800, 64),
    "conv2, 1 image": (50, 500, 64),
}
sparsities = [0.5, 0.75, 0.85, 0.9, 0.95, 0.99]
speedups = {
    name: [speedup_of_csr(*shape, fraction) for fraction in sparsities]
    for name, shape in tqdm(shapes.items(), desc="shapes")
}

plt.figure(figsize=(7, 3.6))
plt.axhspan(0.1, 1, color="C1", alpha=0.2, label="slower than dense")
for (name, ratios), marker in zip(speedups.items(), "os^", strict=True):
    line = plt.plot(sparsities, ratios, marker + "-", label=name)[0]
    if min(ratios) < 1 < max(ratios):
        even = np.interp(0, np.log(ratios), sparsities)
        plt.plot(even, 1, "*", ms=14, color=line.get_color(), mec="k", zorder=3)
        print(f"{name}: break-even at {even:.0%} sparsity")
plt.yscale("log")
plt.xlabel("sparsity")
plt.ylabel("speedup of CSR over dense")
plt.legend()
plt.show()

# %% [markdown]
# It reproduces. At 75 % hardly anything is faster.
# CSR wins from about 80 % on, for one image through `fc1` from about 92 % on.
# And zeros in a *dense* matrix gain nothing at all: it multiplies by them.

# %% [markdown] lang="zh-TW"
# 結果重現了。在 75 % 時幾乎沒有任何加速。
# CSR 大約從 80 % 起較快；一張影像通過 `fc1` 時，大約從 92 % 起。
# 而*密集*矩陣中的零完全沒有好處：它照樣乘以這些零。

# %%
dense, x = torch.randn(500, 800), torch.randn(800, 64)
with_zeros = dense * (torch.rand(500, 800) >= 0.9)
verdict = compare_speed(lambda: dense @ x, lambda: with_zeros @ x).verdict
print(f"dense with 90 % zeros against dense: {verdict}")

# %% [markdown] written="why_is_it_slower" points=2
# ### Written question 1 · 2 points
#
# At 75 % sparsity the CSR product does a quarter of the multiplications of the dense product. It is
# slower all the same.
# Give **two** reasons from how the arrays lie in memory and what the processor is good at.
# Then name one kind of pruning for which this problem does not arise, and say why.
#
# ### BEGIN SOLUTION
# *Model answer.* (1) CSR reads an index with each value, and then fetches `x[column]` from an
# address that it only knows then: more bytes per multiplication and irregular access, which caches
# and prefetching serve badly. (2) A dense product runs in blocks that fit the cache and the vector
# units (8 or 16 multiplications per instruction); rows of unequal, scattered length cannot fill
# them. Also right: loop overhead per row, unequal work per core.
# Neuron or channel pruning (structured pruning) leaves smaller *dense* matrices, so the same fast
# dense routines apply, without indices.
# *One point for two sound reasons (half a point each), one for structured pruning with its reason.*
# ### END SOLUTION

# %% [markdown] lang="zh-TW"
# ### 問答題 1 · 2 分
#
# 稀疏度 75 % 時，CSR 乘法只做密集乘法四分之一的乘法次數，卻還是比較慢。
# 請從陣列在記憶體中的排列方式，以及處理器擅長什麼，說出**兩個**原因。
# 再舉出一種不會有這個問題的剪枝，並說明為什麼。
#
# ### BEGIN SOLUTION
# *參考答案。* (1) CSR 每讀一個值就要讀一個索引，再從此時才知道的位址取出 `x[column]`：
# 每次乘法要讀更多位元組，而且存取不規則，快取 (cache) 與預先擷取 (prefetching) 都難以發揮。
# (2) 密集乘法以區塊進行，區塊放得進快取，也填得滿向量單元（每個指令 8 或 16 次乘法）；長度不一、
# 位置零散的列填不滿它們。也算對：每一列的迴圈負擔、各核心的工作量不均。
# 神經元或通道剪枝（結構化剪枝）留下較小的*密集*矩陣，所以可用同樣快速的密集運算程式，不需要索引。
# *兩個合理的原因共一分（各半分），結構化剪枝及其理由一分。*
# ### END SOLUTION

# %% [markdown]
# ## Part C: neuron pruning (神經元剪枝)
#
# **Idea.** Remove a neuron *as a whole*. What is left is a smaller, dense network: any machine runs
# it faster, without a sparse format.
# The figure shows the two weight matrices around a hidden layer. Neuron 2 goes: its **row** in the
# first matrix (what it reads), its bias,
# and its **column** in the second (who reads it).

# %% [markdown] lang="zh-TW"
# ## C 部分：神經元剪枝 (neuron pruning)
#
# **想法。** 把一個神經元*整個*移除。剩下的是較小的密集網路：任何電腦都能跑得更快，不需要稀疏格式。
# 下圖是一個隱藏層前後的兩個權重矩陣。第 2 個神經元離開：包括第一個矩陣中它的**列**（它讀取什麼）、
# 它的 bias，以及第二個矩陣中它的**行**（誰讀取它）。

# %%
_, panels = plt.subplots(1, 3, figsize=(9, 2.6), width_ratios=(6, 1.2, 5))
titles = ("layer: (5 neurons, 6 inputs)", "bias", "next layer: (4, 5 neurons)")
for axes, shape, title in zip(panels, [(5, 6), (5, 1), (4, 5)], titles, strict=True):
    removed = np.zeros(shape)
    removed[(slice(None), 2) if shape == (4, 5) else 2] = 1
    axes.pcolormesh(removed, edgecolors="0.5", cmap="Oranges", vmin=0, vmax=2)
    axes.set(title=title, aspect="equal", xticks=[], yticks=[])
    axes.invert_yaxis()
panels[0].set_ylabel("neuron")
panels[2].set_xlabel("neuron")
plt.show()

# %% [markdown]
# **Which neuron?** Hu et al. (2016, *Network Trimming*) look at what a neuron *does*, not at its
# weights.
# **APoZ** (average percentage of zeros, 平均零值百分比) is how often a neuron is zero *after* the
# **activation function** (激活函數), over N images:
#
# $$\mathrm{APoZ}_c = \frac{1}{N \cdot M} \sum_{k=1}^{N} \sum_{j=1}^{M}
# \mathbb{1}\!\left[O_{c,j}(k) = 0\right]$$
#
# M is the number of positions: H x W for a channel of a conv layer, 1 for a neuron of a linear
# layer.
# A high APoZ means that the neuron hardly ever speaks. The lecture's rule: prune the neurons with a
# **high** APoZ.

# %% [markdown] lang="zh-TW"
# **剪哪個神經元？** Hu et al.（2016，*Network Trimming*）看的是神經元的*表現*，而不是它的權重。
# **APoZ**（average percentage of zeros，平均零值百分比）是一個神經元在 N 張影像上，
# 經過**激活函數** (activation function) *之後*為零的頻率：
#
# $$\mathrm{APoZ}_c = \frac{1}{N \cdot M} \sum_{k=1}^{N} \sum_{j=1}^{M}
# \mathbb{1}\!\left[O_{c,j}(k) = 0\right]$$
#
# M 是位置的數目：卷積層的通道為 H x W，全連接層的神經元為 1。
# APoZ 高表示這個神經元幾乎不發言。課程的規則：剪去 APoZ **高**的神經元。

# %% [markdown]
# ### Exercise: `apoz` · ★☆☆☆ · 10 minutes · 2 points
#
# Write `apoz(activations) -> Tensor` for activations of shape (N, C) or (N, C, H, W), taken
# **after** the activation function.
# The result has shape (C,) and holds **fractions** in [0, 1].
# Only exact zeros count: after a tanh, a negative value is not a zero.
# `ValueError` for another number of dimensions, for empty activations and for NaN.
#
# *Example.* `[[0, 1, 0], [0, 2, 3]]` gives `[1.0, 0.0, 0.5]`: neuron 0 is **dead** (死神經元).
#
# <details><summary>Hint 1</summary>
#
# `(activations == 0)` is a bool tensor. The mean of its `.float()` is a fraction.
#
# <details><summary>Hint 2</summary>
#
# The mean goes over all axes but axis 1: `dim=0`, or `dim=(0, 2, 3)`.
#
# </details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`apoz` · ★☆☆☆ · 10 分鐘 · 2 分
#
# 請寫出 `apoz(activations) -> Tensor`，輸入是形狀 (N, C) 或 (N, C, H, W) 的激活值 (activations)，
# 取自激活函數**之後**。
# 結果的形狀為 (C,)，內容是 [0, 1] 之內的**比例**。
# 只計算恰好為零的值：經過 tanh 之後，負值不是零。
# 維度數不對、激活值為空、含有 NaN 時，引發 `ValueError`。
#
# *例子。* `[[0, 1, 0], [0, 2, 3]]` 得到 `[1.0, 0.0, 0.5]`：神經元 0 是**死神經元** (dead neuron)。
#
# <details><summary>提示 1</summary>
#
# `(activations == 0)` 是 bool 張量。對它的 `.float()` 取平均，就是比例。
#
# <details><summary>提示 2</summary>
#
# 除了軸 1 以外，對所有的軸取平均：`dim=0` 或 `dim=(0, 2, 3)`。
#
# </details></details>


# %% exercise="apoz" difficulty=1 minutes=10
def apoz(activations: torch.Tensor) -> torch.Tensor:
    """Compute the average percentage of zeros of every neuron or channel, as a fraction.

    Args:
        activations: Outputs of the activation function for N >= 1 images,
            (N, C) or (N, C, H, W).

    Returns:
        Shape (C,), floats in [0, 1]: 1 for a neuron that is always zero.

    Raises:
        ValueError: If activations has another number of dimensions, is empty, or holds NaN.

    Source:
        Hu et al. 2016, Network Trimming, equation 1.
    """
    # TODO: which elements are zero, and over which axes is the mean?
    ### BEGIN SOLUTION
    require(activations.ndim in (2, 4), "activations must be (N, C) or (N, C, H, W)")
    require(activations.numel() > 0, "activations must not be empty")
    require(not activations.isnan().any(), "activations must not hold NaN")
    all_but_channels = [axis for axis in range(activations.ndim) if axis != 1]
    return (activations == 0).float().mean(dim=all_but_channels)
    ### END SOLUTION


# %% check="apoz" points=2
values = apoz(torch.tensor([[0.0, 1.0, 0.0], [0.0, 2.0, 3.0]]))
assert values.shape == (3,), (
    f"expected one number per neuron, shape (3,), got {tuple(values.shape)}: "
    "the mean goes over the images"
)
assert values.max() <= 1, f"expected fractions in [0, 1], got {values.tolist()}: no percent"
assert values.tolist() != [0, 1, 0.5], "these are the fractions of nonzeros: count the zeros"
assert values.tolist() == [1, 0, 0.5], f"expected 1, 0, 0.5, got {values.tolist()}"
assert apoz(torch.tensor([[-0.5], [0.0]])).tolist() == [0.5], (
    "a negative value is not a zero: count exact zeros only"
)
maps = torch.ones(2, 3, 4, 5)
maps[0, 1] = 0
maps[:, 2, 0] = 0
got = apoz(maps)
assert got.shape == (3,), (
    f"(N, C, H, W): expected one number per channel, shape (3,), got {tuple(got.shape)}"
)
assert torch.allclose(got, torch.tensor([0, 0.5, 0.25])), (
    f"expected 0, 0.5, 0.25 per channel, got {got.tolist()}"
)
for bad in (torch.ones(3), torch.ones(2, 3, 4), torch.ones(0, 3), torch.tensor([[float("nan")]])):
    assert is_rejected(apoz, bad), (
        f"activations of shape {tuple(bad.shape)} must raise a ValueError: {bad}"
    )
passed("apoz")

# %% [markdown]
# ### Exercise: `select_neurons` · ★☆☆☆ · 5 minutes · 2 points
#
# Write `select_neurons(apoz_values, threshold) -> Tensor`: the indices of the neurons to **keep**,
# int64, ascending.
# Keep an APoZ **up to** the threshold; equal is kept. When all are above it, keep the single
# lowest: a layer without neurons is no layer.
# `ValueError` when `apoz_values` is not 1-D, is empty, or has a value outside [0, 1] or NaN, and
# for a threshold outside [0, 1].
#
# *Example.* `select_neurons([0.2, 0.9, 0.5], 0.5)` gives `[0, 2]`. With the threshold 0.1 it gives
# `[0]`.
#
# <details><summary>Hint 1</summary>
#
# `(apoz_values <= threshold).nonzero().flatten()` are indices, int64 and ascending.
#
# </details>

# %% [markdown] lang="zh-TW"
# ### 練習：`select_neurons` · ★☆☆☆ · 5 分鐘 · 2 分
#
# 請寫出 `select_neurons(apoz_values, threshold) -> Tensor`：要**保留**的神經元的索引，int64，
# 由小到大。
# 保留 APoZ **不超過**閾值者；相等也保留。全部都超過時，只保留最低的一個：沒有神經元就不算一層。
# `apoz_values` 不是一維、為空、有 [0, 1] 以外的值或 NaN，或閾值超出 [0, 1] 時，引發 `ValueError`。
#
# *例子。* `select_neurons([0.2, 0.9, 0.5], 0.5)` 得到 `[0, 2]`。閾值為 0.1 時得到 `[0]`。
#
# <details><summary>提示 1</summary>
#
# `(apoz_values <= threshold).nonzero().flatten()` 就是索引，int64 且由小到大。
#
# </details>


# %% exercise="select_neurons" difficulty=1 minutes=5
def select_neurons(apoz_values: torch.Tensor, threshold: float) -> torch.Tensor:
    """Choose the neurons to keep: those with an APoZ up to the threshold.

    Args:
        apoz_values: Shape (C,), C >= 1, fractions in [0, 1].
        threshold: A fraction in [0, 1]. An APoZ equal to it is kept.

    Returns:
        Indices of the neurons to keep, int64, ascending. When all are above the threshold:
        the single one with the lowest APoZ.

    Raises:
        ValueError: If apoz_values is not 1-D, is empty, or holds NaN or values outside [0, 1];
            or if threshold is outside [0, 1].
    """
    # TODO: indices to keep, never none at all
    ### BEGIN SOLUTION
    require(apoz_values.ndim == 1, "apoz_values must have one dimension")
    require(len(apoz_values) > 0, "apoz_values must not be empty")
    in_range = bool(((apoz_values >= 0) & (apoz_values <= 1)).all())  # False for NaN as well
    require(in_range, "apoz_values must be fractions in [0, 1]")
    require(0 <= threshold <= 1, f"threshold must lie in [0, 1], got {threshold}")
    keep = (apoz_values <= threshold).nonzero().flatten()
    return keep if len(keep) else apoz_values.argmin().reshape(1)
    ### END SOLUTION


# %% check="select_neurons" points=2
values = torch.tensor([0.25, 0.875, 0.5, 1.0])
keep = select_neurons(values, 0.5)
assert keep.dtype == torch.int64, f"expected int64 indices, got {keep.dtype}: not a mask"
assert keep.tolist() != [1, 3], (
    "these are the neurons to remove: a high APoZ means little information"
)
assert keep.tolist() != [0], "an APoZ equal to the threshold is kept"
assert keep.tolist() == [0, 2], f"expected neurons 0 and 2, got {keep.tolist()}"
assert select_neurons(values.flip(0), 0.125).tolist() == [3], (
    "all are above: keep the single lowest (its index is 3)"
)
assert select_neurons(values, 1.0).tolist() == [0, 1, 2, 3], "at threshold 1 all stay"
for bad in (
    torch.tensor([25.0, 50.0]),
    torch.ones(0),
    torch.ones(2, 2),
    torch.tensor([float("nan")]),
):
    assert is_rejected(select_neurons, bad, 0.5), f"{bad} must raise a ValueError"
assert is_rejected(select_neurons, values, 50), "a threshold in percent must raise a ValueError"
passed("select_neurons")

# %% [markdown]
# **Explore.** APoZ of every layer of the LeNet, on the held-out images. Move the threshold.

# %% [markdown] lang="zh-TW"
# **探索。** LeNet 每一層的 APoZ，以未參與訓練的 (held-out) 影像測量。移動閾值看看。

# %%
apoz_of = {
    name: apoz(collect_activations(lenet, name, held_out)) for name in ("conv1", "conv2", "fc1")
}


def plot_apoz(ax: plt.Axes, layer: str, threshold: float) -> None:
    """Draw how the APoZ of a layer is distributed, and what a threshold keeps."""
    values = apoz_of[layer]
    removed = len(values) - len(select_neurons(values, threshold))
    ax.hist(values.numpy(), bins=np.linspace(0, 1, 41), color="C0")
    ax.axvspan(threshold, 1, color="C1", alpha=0.3, label=f"pruned: {removed} of {len(values)}")
    ax.set(xlabel=f"APoZ in {layer} (mean {values.mean():.2f})", ylabel="neurons")
    ax.legend(loc="upper left")


print(f"dead neurons in fc1 (APoZ = 1): {(apoz_of['fc1'] == 1).sum()} of 500")
explorer(plot_apoz, layer=["fc1", "conv2", "conv1"], threshold=(0.0, 1.0, 0.01, 0.85))

# %% [markdown]
# ### Exercise: `remove_neurons` · ★★★★ · 30 minutes · 5 points
#
# Now the surgery. Write `remove_neurons(layer, next_layer, keep, spatial=1) -> (layer,
# next_layer)`: **new**, physically smaller layers.
#
# | layer | next layer | `spatial` |
# |---|---|---|
# | conv | conv | 1 |
# | linear | linear | 1 |
# | conv | flatten, then linear | H x W of the feature map that is flattened |
#
# - `keep`: the outputs of `layer` to keep, int64. The new layers follow **its order**: new neuron i
#   is old neuron `keep[i]`.
# - After a **flatten** each channel owns `spatial` columns in a row: channel c owns columns c *
#   spatial … (c + 1) * spatial - 1.
# - Keep biases (or `bias=None`), dtype, stride, padding and all else. `out_features`, `in_channels`
#   and so on tell the new sizes.
# - The two given layers are not changed.
# - `ValueError` when the layers do not fit each other with this `spatial`, have groups or are of
#   another kind; when `keep` is empty, not int64, out of range, or names a neuron twice.
#
# *Example.* `nn.Linear(784, 500)`, `nn.Linear(500, 10)` and 349 indices give `nn.Linear(784, 349)`,
# `nn.Linear(349, 10)`.
#
# <details><summary>Hint 1</summary>
#
# The weight of a layer is (outputs, inputs) or (outputs, inputs, height, width). `weight[keep]`
# takes outputs, `weight[:, columns]` takes inputs.
#
# <details><summary>Hint 2</summary>
#
# Deep-copy both layers. Give the copies a new `nn.Parameter`, and set `out_features` or
# `out_channels`, `in_features` or `in_channels`.
#
# <details><summary>Hint 3</summary>
#
# Columns after a flatten: `keep[:, None] * spatial + torch.arange(spatial)`, flattened. With
# `spatial=1` this is `keep` itself.
#
# </details></details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`remove_neurons` · ★★★★ · 30 分鐘 · 5 分
#
# 現在動手術。請寫出 `remove_neurons(layer, next_layer, keep, spatial=1) -> (layer, next_layer)`：
# 回傳**新的**、實際上較小的層。
#
# | 層 | 下一層 | `spatial` |
# |---|---|---|
# | 卷積層 | 卷積層 | 1 |
# | 全連接層 | 全連接層 | 1 |
# | 卷積層 | 攤平 (flatten) 後接全連接層 | 被攤平的特徵圖的 H x W |
#
# - `keep`：`layer` 要保留的輸出，int64。新的層依照**它的順序**：
#   新的第 i 個神經元是舊的第 `keep[i]` 個。
# - **攤平**之後，每個通道擁有連續 `spatial` 行：通道 c 擁有第 c * spatial … (c + 1) * spatial - 1
#   行。
# - 保留 bias（或 `bias=None`）、dtype、stride、padding 等一切設定。`out_features`、
#   `in_channels` 等要反映新的大小。
# - 傳入的兩個層不得更改。
# - 兩層在此 `spatial` 下彼此不符、有分組 (groups)、屬於其他種類；`keep` 為空、不是 int64、
#   超出範圍或重複同一個神經元：都引發 `ValueError`。
#
# *例子。* `nn.Linear(784, 500)`、`nn.Linear(500, 10)` 與 349 個索引，得到 `nn.Linear(784, 349)`、
# `nn.Linear(349, 10)`。
#
# <details><summary>提示 1</summary>
#
# 層的權重形狀為（輸出、輸入）或（輸出、輸入、高、寬）。`weight[keep]` 取輸出，
# `weight[:, columns]` 取輸入。
#
# <details><summary>提示 2</summary>
#
# 深層複製這兩層。給副本新的 `nn.Parameter`，並設定 `out_features` 或 `out_channels`、
# `in_features` 或 `in_channels`。
#
# <details><summary>提示 3</summary>
#
# 攤平之後的行：`keep[:, None] * spatial + torch.arange(spatial)`，再攤平。
# `spatial=1` 時就是 `keep` 本身。
#
# </details></details></details>


# %% exercise="remove_neurons" difficulty=4 minutes=30
def remove_neurons(
    layer: nn.Module, next_layer: nn.Module, keep: torch.Tensor, spatial: int = 1
) -> tuple[nn.Module, nn.Module]:
    """Build a smaller pair of layers that has only the kept neurons (or channels).

    Works for conv -> conv, linear -> linear, and conv -> flatten -> linear.

    Args:
        layer: `nn.Conv2d` (no groups) or `nn.Linear` with C outputs. Not changed.
        next_layer: The next conv or linear layer. Not changed.
        keep: Indices of the outputs to keep, shape (K,), int64, K >= 1, each in [0, C),
            none twice. The new layers follow their order.
        spatial: Inputs of next_layer per output of layer: H * W after a flatten, else 1.

    Returns:
        (layer, next_layer) as new layers, K outputs in the first and K * spatial inputs in the
        second. Biases (or their absence), dtype, stride, padding and so on are kept.

    Raises:
        ValueError: If the two layers do not fit each other with this spatial, have groups, or
            are of another kind; or if keep is empty, not int64, out of range or has repeats.
    """
    # TODO: copy both layers, then take rows of one weight and columns of the other
    ### BEGIN SOLUTION
    for name, module in {"layer": layer, "next_layer": next_layer}.items():
        require(isinstance(module, (nn.Conv2d, nn.Linear)), f"{name} must be Conv2d or Linear")
        require(getattr(module, "groups", 1) == 1, f"{name} must not have groups")
    outputs, inputs = layer.weight.shape[0], next_layer.weight.shape[1]
    into_conv = isinstance(next_layer, nn.Conv2d)
    require(not into_conv or isinstance(layer, nn.Conv2d), "next_layer cannot follow a Linear")
    require(spatial >= 1 and not (into_conv and spatial > 1), f"spatial cannot be {spatial} here")
    require(inputs == outputs * spatial, f"next_layer must have {outputs * spatial} inputs")
    require(keep.ndim == 1 and keep.dtype == torch.int64, "keep must be a vector of int64 indices")
    require(0 < len(keep) == len(keep.unique()), "keep must hold an index, and none twice")
    require(bool(((keep >= 0) & (keep < outputs)).all()), f"keep must lie in [0, {outputs})")

    # Flatten puts the `spatial` values of channel c at c * spatial, c * spatial + 1, ...
    columns = keep[:, None] * spatial + torch.arange(spatial)  # (K, spatial)
    columns = columns.flatten()  # (K, spatial) -> (K * spatial,)
    layer, next_layer = copy.deepcopy(layer), copy.deepcopy(next_layer)
    layer.weight = nn.Parameter(layer.weight.detach()[keep], layer.weight.requires_grad)
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.detach()[keep], layer.bias.requires_grad)
    next_layer.weight = nn.Parameter(
        next_layer.weight.detach()[:, columns], next_layer.weight.requires_grad
    )
    setattr(layer, "out_channels" if hasattr(layer, "out_channels") else "out_features", len(keep))
    setattr(next_layer, "in_channels" if into_conv else "in_features", len(columns))
    return layer, next_layer
    ### END SOLUTION


# %% check="remove_neurons" points=5
torch.manual_seed(0)
cases = {
    "linear -> linear": (nn.Linear(7, 5), nn.Linear(5, 3), nn.ReLU(), 1, torch.randn(2, 7)),
    "conv -> conv": (
        nn.Conv2d(2, 5, 3, stride=2, padding=1),
        nn.Conv2d(5, 3, 3),
        nn.ReLU(),
        1,
        torch.randn(2, 2, 9, 9),
    ),
    "conv -> flatten -> linear": (
        nn.Conv2d(2, 5, 3),
        nn.Linear(20, 3),
        nn.Flatten(),
        4,
        torch.randn(2, 2, 4, 4),
    ),
}
keep = torch.tensor([3, 0, 4])
for name, (layer, next_layer, between, spatial, x) in cases.items():
    with torch.no_grad():  # neurons 1 and 2 are silent: removing them must not change the output
        layer.weight[1:3], layer.bias[1:3] = 0, 0
        expected = next_layer(between(layer(x)))
    before = copy.deepcopy((layer.state_dict(), next_layer.state_dict()))
    small, small_next = remove_neurons(layer, next_layer, keep, spatial)
    assert small is not layer, f"{name}: return new layers"
    for old, now in zip(before, (layer.state_dict(), next_layer.state_dict()), strict=True):
        assert all(old[key].equal(now[key]) for key in old), f"{name}: a given layer changed"
    assert len(small.weight) == 3, f"{name}: expected 3 outputs, got {len(small.weight)}"
    assert torch.equal(small.weight, layer.weight[keep]), (
        f"{name}: new neuron i must be old neuron keep[i], in the order of keep"
    )
    assert small.bias is not None, f"{name}: the bias is lost"
    assert torch.equal(small.bias, layer.bias[keep]), f"{name}: the bias must follow keep"
    assert small_next.weight.shape[1] == 3 * spatial, (
        f"{name}: expected {3 * spatial} inputs, got {small_next.weight.shape[1]}"
    )
    assert torch.equal(small_next.bias, next_layer.bias), (
        f"{name}: the next layer's bias stays whole"
    )
    got = small_next(between(small(x)))
    assert torch.allclose(got, expected, atol=1e-5), (
        f"{name}: only silent neurons went, but the output changed; "
        "the columns of the next layer must follow keep"
        + (", spatial columns for each channel" if spatial > 1 else "")
    )
assert (small.out_channels, small_next.in_features) == (3, 12), (
    "out_channels and in_features must tell the new sizes"
)
half = remove_neurons(nn.Linear(4, 3, bias=False).half(), nn.Linear(3, 2).half(), torch.tensor([1]))
assert half[0].bias is None, "bias=None must be kept"
assert half[0].weight.dtype == torch.float16, "the dtype must be kept"
layers = nn.Linear(4, 3), nn.Linear(3, 2)
for bad in ([], [3], [-1], [0, 0], [True, False, True], [0.0]):
    bad = torch.tensor(bad, dtype=torch.int64) if not bad else torch.tensor(bad)
    assert is_rejected(remove_neurons, *layers, bad), f"keep = {bad} must raise a ValueError"
assert is_rejected(remove_neurons, nn.Conv2d(1, 3, 3), nn.Linear(20, 2), keep[1:2], 4), (
    "3 channels x 4 are not 20 inputs"
)
passed("remove_neurons")

# %% [markdown]
# ### In practice: Torch-Pruning
#
# `torch_pruning` (Fang et al. 2023, *DepGraph*) does this surgery for any network. It traces the
# model and finds by itself which layers hang together,
# also behind a flatten. We let it remove channels of `conv2` and neurons of `fc1`, and do the same
# with your function.

# %% [markdown] lang="zh-TW"
# ### 業界的做法：Torch-Pruning
#
# `torch_pruning`（Fang et al. 2023，*DepGraph*）能對任何網路做這個手術。它追蹤模型，
# 自己找出哪些層互相關聯，連攤平之後的也可以。
# 我們讓它移除 `conv2` 的通道與 `fc1` 的神經元，再用你的函式做相同的事。

# %%
import torch_pruning

theirs = copy.deepcopy(lenet)
graph = torch_pruning.DependencyGraph().build_dependency(theirs, example_inputs=held_out_images[:1])
gone = {"conv2": list(range(0, 50, 2)), "fc1": list(range(250))}
graph.get_pruning_group(
    theirs.conv2, torch_pruning.prune_conv_out_channels, idxs=gone["conv2"]
).prune()
graph.get_pruning_group(
    theirs.fc1, torch_pruning.prune_linear_out_channels, idxs=gone["fc1"]
).prune()

ours = copy.deepcopy(lenet)
ours.conv2, ours.fc1 = remove_neurons(ours.conv2, ours.fc1, torch.arange(1, 50, 2), spatial=16)
ours.fc1, ours.fc2 = remove_neurons(ours.fc1, ours.fc2, torch.arange(250, 500))

for name, net in {"before": lenet, "ours": ours, "theirs": theirs}.items():
    print(f"{name:7} {measures.count_parameters(net):8,} parameters")
with torch.no_grad():
    difference = (ours(held_out_images[:100]) - theirs(held_out_images[:100])).abs().max().item()
print(f"largest difference of the outputs: {difference:.1e}")

# %% [markdown]
# ### Exercise: `trim` · ★★★☆ · 25 minutes · 4 points
#
# Put it together: **iterative pruning** (迭代式修剪) of the hidden layer `fc1` of the course's
# LeNet. Write `trim(model, loader, rounds, threshold, reinitialize=False) -> (model, history)`.
# One round is:
#
# 1. measure the APoZ of `fc1` after its ReLU, on the loader's images (`collect_activations` is
#    given);
# 2. keep the neurons with an APoZ up to the threshold (`select_neurons`);
# 3. make `fc1` and `fc2` smaller (`remove_neurons`);
# 4. with `reinitialize=True`, draw **all weights of the model** afresh, in every round;
# 5. fine-tune for **one epoch** on the loader. Optimizer, schedule and learning rate are free.
#
# `history` is a list with one dict per round:
#
# | key | meaning |
# |---|---|
# | `neurons` | neurons left in `fc1` after this round's cut |
# | `mean_apoz` | mean APoZ of `fc1` at the end of the round |
# | `accuracy_before` | accuracy on the loader, after the cut and before the fine-tuning |
# | `accuracy_after` | accuracy on the loader, after the fine-tuning |
#
# The caller's model is not changed; the result is in eval mode. `rounds=0` gives a copy and an
# empty history.
# `ValueError` for negative `rounds`, for a threshold outside [0, 1], and for a model without `fc1`
# and `fc2`.
#
# > **The slide's words.** *With weight init*: the remaining weights **are** the initialisation of
# > the smaller network; training goes on from them (`reinitialize=False`).
# > *Without*: the smaller network starts from random weights (`reinitialize=True`). The words sound
# > the other way round, so look twice in the exam.
#
# <details><summary>Hint 1</summary>
#
# A plain loop. Assign the new layers: `trimmed.fc1, trimmed.fc2 = remove_neurons(trimmed.fc1,
# trimmed.fc2, keep)`.
#
# <details><summary>Hint 2</summary>
#
# Every torch layer with weights has `reset_parameters()`. Go through `trimmed.modules()` and call
# it where it exists.
#
# <details><summary>Hint 3</summary>
#
# `train(trimmed, loader, epochs=1)` trains in place and returns the model in eval mode.
# `accuracy(trimmed, loader)` measures.
#
# </details></details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`trim` · ★★★☆ · 25 分鐘 · 4 分
#
# 把各部分組合起來：對課程的 LeNet 的隱藏層 `fc1` 做**迭代式修剪** (iterative pruning)。
# 請寫出 `trim(model, loader, rounds, threshold, reinitialize=False) -> (model, history)`。
# 一輪是：
#
# 1. 以 loader 的影像測量 `fc1` 經過 ReLU 之後的 APoZ（`collect_activations` 已提供）；
# 2. 保留 APoZ 不超過閾值的神經元（`select_neurons`）；
# 3. 縮小 `fc1` 與 `fc2`（`remove_neurons`）；
# 4. `reinitialize=True` 時，每一輪都重新隨機產生**模型的所有權重**；
# 5. 在 loader 上微調**一個 epoch**。最佳化器、學習率排程與學習率不限。
#
# `history` 是一個 list，每一輪一個 dict：
#
# | key | 意義 |
# |---|---|
# | `neurons` | 這一輪修剪後，`fc1` 剩下的神經元數 |
# | `mean_apoz` | 這一輪結束時，`fc1` 的平均 APoZ |
# | `accuracy_before` | 修剪後、微調前，在 loader 上的準確率 |
# | `accuracy_after` | 微調後，在 loader 上的準確率 |
#
# 呼叫者的模型不得更改；結果為 eval 模式。`rounds=0` 得到副本與空的 history。
# 負的 `rounds`、閾值超出 [0, 1]、沒有 `fc1` 與 `fc2` 的模型，都引發 `ValueError`。
#
# > **投影片的用語。** *With weight init*：剩下的權重**就是**較小網路的初始值，
# > 從這裡繼續訓練（`reinitialize=False`）。
# > *Without*：較小的網路從隨機權重開始（`reinitialize=True`）。字面聽起來正好相反，考試時請看兩次。
#
# <details><summary>提示 1</summary>
#
# 只要一個單純的迴圈。指派新的層：
# `trimmed.fc1, trimmed.fc2 = remove_neurons(trimmed.fc1, trimmed.fc2, keep)`。
#
# <details><summary>提示 2</summary>
#
# torch 中每個有權重的層都有 `reset_parameters()`。走過 `trimmed.modules()`，有這個方法的就呼叫它。
#
# <details><summary>提示 3</summary>
#
# `train(trimmed, loader, epochs=1)` 就地訓練，並以 eval 模式回傳模型。
# `accuracy(trimmed, loader)` 測量準確率。
#
# </details></details></details>


# %% exercise="trim" difficulty=3 minutes=25
def trim(
    model: nn.Module,
    loader: DataLoader,
    rounds: int,
    threshold: float,
    reinitialize: bool = False,
) -> tuple[nn.Module, list[dict[str, float]]]:
    """Prune the neurons of fc1 in several rounds, with one epoch of fine-tuning after each cut.

    One round: measure the APoZ of fc1 on the loader's images; keep the neurons up to the
    threshold; make fc1 and fc2 smaller; if asked, draw all weights afresh; train one epoch.

    Args:
        model: The course's LeNet (layers fc1 and fc2). Not changed.
        loader: Yields (images, labels), for APoZ, accuracy and training.
        rounds: Number of rounds, 0 or more.
        threshold: Highest APoZ to keep, a fraction in [0, 1].
        reinitialize: False: the remaining weights are the start of the training
            (the lecture's 'with weight init'). True: every weight of the smaller model is
            drawn at random after each cut ('without'), from torch's global seed.

    Returns:
        The trimmed model in eval mode, and one dict per round:
        neurons (left after the cut), mean_apoz (of fc1 at the end of the round),
        accuracy_before and accuracy_after (on the loader, before and after the training).

    Raises:
        ValueError: If rounds is negative, threshold is outside [0, 1], or model is no LeNet.

    Source:
        Hu et al. 2016, Network Trimming, section 3.
    """
    # TODO: measure, select, remove, (draw afresh), fine-tune, write down; then the next round
    ### BEGIN SOLUTION
    require(rounds >= 0, f"rounds must be 0 or more, got {rounds}")
    require(0 <= threshold <= 1, f"threshold must lie in [0, 1], got {threshold}")
    require(hasattr(model, "fc1") and hasattr(model, "fc2"), "model must have fc1 and fc2")
    trimmed = copy.deepcopy(model).eval()
    values = apoz(collect_activations(trimmed, "fc1", loader))
    history = []
    for _ in range(rounds):
        keep = select_neurons(values, threshold)
        trimmed.fc1, trimmed.fc2 = remove_neurons(trimmed.fc1, trimmed.fc2, keep)
        if reinitialize:
            for layer in trimmed.modules():
                if hasattr(layer, "reset_parameters"):
                    layer.reset_parameters()
        before = accuracy(trimmed, loader)
        trimmed = train(trimmed, loader, epochs=1, lr=2e-3)
        values = apoz(collect_activations(trimmed, "fc1", loader))
        history.append(
            {
                "neurons": len(keep),
                "mean_apoz": values.mean().item(),
                "accuracy_before": before,
                "accuracy_after": accuracy(trimmed, loader),
            }
        )
    return trimmed, history
    ### END SOLUTION


# %% check="trim" points=4
short = make_loader(images[:200], labels[:200], batch_size=50, shuffle=True)
before = copy.deepcopy(lenet.state_dict())
same, history = trim(lenet, short, rounds=0, threshold=0.7)
assert same is not lenet, "rounds=0 gives a copy of the model"
assert history == [], f"rounds=0 gives an empty history, got {history}"
small, history = trim(lenet, short, rounds=2, threshold=0.7)
assert all(before[key].equal(now) for key, now in lenet.state_dict().items()), (
    "the caller's model changed: work on a deep copy"
)
assert len(history) == 2, f"expected one dict per round, got {history}"
keys = {"neurons", "mean_apoz", "accuracy_before", "accuracy_after"}
assert all(set(row) == keys for row in history), (
    f"expected the keys {sorted(keys)}, got {sorted(history[0])}"
)
assert 250 < history[0]["neurons"] < 450, (
    f"expected 250 to 450 neurons after the first cut, got {history[0]['neurons']}"
)
assert (
    small.fc1.out_features
    == small.fc2.in_features
    == history[1]["neurons"]
    <= history[0]["neurons"]
), "neurons must tell the size of fc1"
assert all(0 <= row[key] <= 1 for row in history for key in keys - {"neurons"}), (
    "fractions in [0, 1], no percent"
)
assert not any(module.training for module in small.modules()), "the result must be in eval mode"
assert history[0]["accuracy_before"] > 0.6, (
    "with the weights kept, most of the accuracy survives the cut"
)
assert abs(accuracy(small, short) - history[1]["accuracy_after"]) < 1e-6, (
    "accuracy_after is measured on the loader, after the training"
)
_, afresh = trim(lenet, short, rounds=1, threshold=0.7, reinitialize=True)
assert afresh[0]["accuracy_before"] < 0.4, (
    "reinitialize=True draws all weights afresh: the accuracy starts near 10 %"
)
assert is_rejected(trim, lenet, short, -1, 0.7), "rounds=-1 must raise a ValueError"
assert is_rejected(trim, lenet, short, 1, 70), "a threshold in percent must raise a ValueError"
passed("trim")

# %% [markdown]
# ### Measured: the lecture's table, with and without weight init
#
# The rule of Hu et al.: in every round prune what lies above *mean + one standard deviation* of
# APoZ. So the threshold falls from round to round, and we call `trim` once a round.
# Accuracy and APoZ in the table are measured on held-out images. This takes about half a minute.

# %% [markdown] lang="zh-TW"
# ### 實測：課程的表格，有無 weight init
#
# Hu et al. 的規則：每一輪剪去 APoZ 高於*平均 + 一個標準差*的神經元。所以閾值會逐輪下降，
# 而我們每一輪呼叫一次 `trim`。
# 表中的準確率與 APoZ 以未參與訓練的影像測量。大約需要半分鐘。

# %%
from IPython.display import Markdown, display


def table_column(model: nn.Module) -> dict[str, float]:
    """Measure one column of the table on the held-out images."""
    values = apoz(collect_activations(model, "fc1", held_out))
    above = {f"#{{APoZ > {limit}}}": int((values > limit).sum()) for limit in (0.6, 0.7, 0.8, 0.9)}
    measured = {"neurons in fc1": len(values), "accuracy (%)": 100 * accuracy(model, held_out)}
    return {**measured, "mean APoZ (%)": 100 * values.mean().item(), **above}


torch.manual_seed(0)
large_batches = make_loader(images, labels, batch_size=128, shuffle=True)
table = {}
for title, reinitialize in (("with weight init", False), ("without", True)):
    model, table[title] = lenet, [table_column(lenet)]
    for _ in tqdm(range(2), desc=title):
        values = apoz(collect_activations(model, "fc1", held_out))
        threshold = min(1.0, (values.mean() + values.std()).item())
        model, _history = remember(trim, model, large_batches, 1, threshold, reinitialize)
        table[title].append(table_column(model))

hu = {  # Hu et al. 2016, LeNet on MNIST, two rounds
    "neurons in fc1": ([500, 426, 349], [500, 420, 303]),
    "accuracy (%)": ([99.31, 99.29, 99.30], [99.31, 99.23, 99.18]),
    "mean APoZ (%)": ([52.30, 45.85, 42.70], [52.30, 55.08, 55.08]),
    "#{APoZ > 0.6}": ([154, 77, 17], [154, 160, 110]),
    "#{APoZ > 0.7}": ([87, 10, 0], [87, 102, 78]),
    "#{APoZ > 0.8}": ([54, 0, 0], [54, 61, 49]),
    "#{APoZ > 0.9}": ([33, 0, 0], [33, 40, 32]),
}
lines = [
    "| | ours, with | ours, without | Hu et al., with | Hu et al., without |",
    "|---|---|---|---|---|",
]
for row, theirs in hu.items():
    ours = [[f"{column[row]:.4g}" for column in table[title]] for title in table]
    cells = ours + [[f"{number:g}" for number in numbers] for numbers in theirs]
    lines.append(f"| {row} | " + " | ".join(" → ".join(cell) for cell in cells) + " |")
display(Markdown("\n".join(lines)))

# %% [markdown]
# **What you see.**
#
# - The first cut removes dead neurons, mostly. With the weights kept, it costs **almost nothing**,
#   even before any fine-tuning.
# - *With weight init* mean APoZ falls round by round and no lazy neuron is left, as in Hu's table.
#   *Without*, many neurons fall silent again.
# - The accuracy without is far lower here: 11 points after one epoch, 7 after two. Hu trained to
#   the end and lost 0.1. So the gap is mostly a matter of **budget**: kept weights save training.
#
# > **A word on the slide.** It says: without initialisation 'more neurons have zero activations'.
# > Read it as: *without taking over the trained weights*.

# %% [markdown] lang="zh-TW"
# **你看到什麼。**
#
# - 第一次修剪移除的大多是死神經元。保留權重時，就算還沒微調，也**幾乎沒有損失**。
# - *With weight init* 的平均 APoZ 逐輪下降，不再有懶惰的神經元，
#   和 Hu 的表格一樣。*Without* 則有許多神經元再度沉默。
# - Without 的準確率在這裡低得多：一個 epoch 後低 11 個百分點，兩個後低 7 個。Hu 訓練到收斂，
#   只損失 0.1。所以這個差距主要是**訓練預算**的問題：保留權重能節省訓練。
#
# > **關於投影片的一句話。** 投影片寫：不進行初始化，「會有更多神經元的激活值為零」。
# > 請理解成：*不沿用訓練好的權重*。

# %% [markdown]
# ### Honest: is APoZ a good criterion?
#
# Below the dead neurons, we found APoZ **no better than random**. See for yourself: one cut, no
# fine-tuning.
# L1 keeps the neurons with the largest sum of incoming |weights|. It needs no data at all.

# %% [markdown] lang="zh-TW"
# ### 老實說：APoZ 是好的準則嗎？
#
# 扣掉死神經元之後，我們發現 APoZ **不比隨機好**。自己看看：只修剪一次，不微調。
# L1 保留輸入端 |權重| 總和最大的神經元。它完全不需要資料。

# %%
generator = torch.Generator().manual_seed(0)
fc1_apoz = apoz(collect_activations(lenet, "fc1", held_out))
scores = {  # the lowest scores are kept
    "APoZ": fc1_apoz,
    "random": torch.rand(500, generator=generator),
    "L1 of the weights": -lenet.fc1.weight.detach().abs().sum(dim=1),
    "reverse APoZ": -fc1_apoz,
}
sizes = [500, 400, 349, 250, 125]
plt.figure(figsize=(7, 3.2))
for (name, score), marker in zip(scores.items(), "os^v", strict=True):
    curve = []
    for size in sizes:
        model = copy.deepcopy(lenet)
        model.fc1, model.fc2 = remove_neurons(model.fc1, model.fc2, score.argsort()[:size])
        curve.append(accuracy(model, held_out))
    plt.plot(sizes, curve, marker + "-", label=name)
plt.gca().invert_xaxis()
plt.xlabel("neurons left in fc1")
plt.ylabel("accuracy, no fine-tuning")
plt.legend()
plt.show()

# %% [markdown]
# Over three seeds, at 125 neurons: L1 89.5 %, random 86.7 %, APoZ 83.0 %, reverse APoZ 68.7 %.
# A neuron that is often silent may be a specialist: silent for nine classes, decisive for one.
# What APoZ does find for certain is the *dead* neurons. What is robust is only the order of APoZ
# and its reverse.

# %% [markdown] lang="zh-TW"
# 三個隨機種子的平均，剩 125 個神經元時：L1 89.5 %、隨機 86.7 %、APoZ 83.0 %、反向 APoZ 68.7 %。
# 經常沉默的神經元可能是專家：對九個類別沉默，對一個類別有決定性。
# APoZ 確實找得到的是*死*神經元。穩固的結論只有 APoZ 與反向 APoZ 之間的高下。

# %% [markdown]
# ### Parameters are not operations
#
# Which layer should you trim? It depends on what you want to save. **MACs** (multiply-accumulate
# operations, 乘加運算) are the work of one image.

# %% [markdown] lang="zh-TW"
# ### 參數量不等於運算量
#
# 該修剪哪一層？要看你想省什麼。**MACs**（multiply-accumulate operations，乘加運算）
# 是處理一張影像的工作量。

# %%
fc1_macs = lenet.fc1.weight.numel()
print(f"fc1: {fc1_macs / measures.count_parameters(lenet):.0%} of the parameters")
print(f"     {fc1_macs / measures.count_macs(lenet):.0%} of the MACs\n")
print("smaller network       parameters    MACs   measured speed, 64 images")
for name, small in {"fc1: 500 -> 250": LeNet(fc1=250), "conv2: 50 -> 25": LeNet(conv2=25)}.items():
    speed = compare_model_speed(lenet, small, held_out_images[:64])
    fewer_parameters = measures.count_parameters(lenet) / measures.count_parameters(small)
    fewer_macs = measures.count_macs(lenet) / measures.count_macs(small)
    sizes = f"{fewer_parameters:9.2f}x {fewer_macs:7.2f}x"
    print(f"{name:20} {sizes}   {speed.ratio:.2f}x ({speed.verdict})")

# %% [markdown]
# `fc1` holds 93 % of the parameters, and 17 % of the work. Halving it makes the *file* almost half
# as large and the network hardly faster.
# Halving `conv2` makes both smaller. Look at the number that your device is short of.

# %% [markdown] lang="zh-TW"
# `fc1` 占 93 % 的參數，卻只占 17 % 的運算。把它減半，*檔案*幾乎小一半，網路卻幾乎沒有變快。
# 把 `conv2` 減半，兩者都變小。請看你的裝置缺的是哪一項。

# %% [markdown] written="which_pruning" points=2
# ### Written question 2 · 2 points
#
# A doorbell camera has 256 kB of flash memory and a processor without sparse instructions. Your CNN
# does not fit, and it is too slow as well.
# A colleague offers two versions of it with the same accuracy: (a) 90 % of the weights pruned, all
# over the network; (b) half of the channels of every conv layer removed.
# Which one do you choose, and why? Name one thing that you would measure before you decide.
#
# ### BEGIN SOLUTION
# *Model answer.* (b). Channels that are really gone leave smaller dense layers: fewer bytes, and
# about a quarter of the MACs in the inner conv layers, on any hardware. (a) saves memory only in a
# sparse format (about 5x with 32-bit CSR), and without sparse instructions the product with CSR is
# irregular, so it may be no faster; as zeros in dense tensors it saves nothing. To measure: latency
# on the device itself with one image, the real size of the file in flash, accuracy on the camera's
# own images.
# *One point for (b) with the reason for speed, half a point for what (a) does save, half a point
# for a sensible measurement. (a) with a sound argument (size alone is the limit, the latency was
# measured and suffices) earns the points as well.*
# ### END SOLUTION

# %% [markdown] lang="zh-TW"
# ### 問答題 2 · 2 分
#
# 一台門鈴攝影機有 256 kB 的快閃記憶體，處理器沒有稀疏指令。你的 CNN 放不下，而且也太慢。
# 同事提供兩個準確率相同的版本：(a) 在整個網路中剪去 90 % 的權重；(b) 移除每個卷積層一半的通道。
# 你選哪一個，為什麼？舉出一件你在決定之前會測量的事。
#
# ### BEGIN SOLUTION
# *參考答案。* (b)。真正移除通道會留下較小的密集層：位元組變少，中間的卷積層只剩約四分之一的 MACs，
# 在任何硬體上都如此。(a) 只有用稀疏格式才省記憶體（32-bit CSR 約 5x），而沒有稀疏指令時，
# CSR 乘法的存取不規則，可能不會變快；若以零存在密集張量中，則什麼都沒省。要測量的：
# 在裝置上處理一張影像的延遲、檔案在快閃記憶體中的實際大小、對攝影機自己的影像的準確率。
# *選 (b) 並說明速度的理由一分，說出 (a) 確實省下什麼半分，合理的測量項目半分。
# 選 (a) 且論證合理（限制只有大小，延遲已測過且足夠）也得分。*
# ### END SOLUTION

# %% [markdown]
# ## Summary
#
# - **Weight pruning** removes single weights, the smallest *in magnitude*. Learn, prune, retrain.
#   90 % can go for about one point, if the zeros are held.
# - Compare **globally**: large layers give more. `conv1` is fragile, `fc1` robust.
# - Zeros shrink nothing by themselves. **CSR** is smaller than dense above about 50 % sparsity,
#   with int64 indices above 67 %; it is *faster* only at far higher sparsity.
# - **Neuron pruning** removes rows *and* columns. The network is smaller and dense: no sparse
#   format is needed.
# - **APoZ** finds dead neurons. Beyond them it is not better than random here.
# - **With weight init** means: go on from the remaining weights. It saves training.
# - Parameters, bytes, MACs and latency are four different numbers. Measure the one you need.
#
# | | weight pruning | neuron pruning |
# |---|---|---|
# | removes | single weights | whole neurons or channels |
# | structure | irregular, unstructured (非結構化剪枝) | regular, structured (結構化剪枝) |
# | parameter count | the same, with zeros | smaller |
# | needs a sparse format or hardware | yes | no |
# | accuracy at the same number of weights | higher | lower |

# %% [markdown] lang="zh-TW"
# ## 總結
#
# - **權重剪枝**移除單一權重，即*絕對值*最小的。學習、剪枝、重新訓練。只要守住零，
#   剪去 90 % 只損失約一個百分點。
# - 要**全域**比較：大的層能讓出較多。`conv1` 脆弱，`fc1` 耐剪。
# - 零本身不會讓任何東西變小。**CSR** 在稀疏度約 50 % 以上才比密集格式小，
#   用 int64 索引則要 67 % 以上；要*較快*，稀疏度還要高得多。
# - **神經元剪枝**移除列*與*行。網路變小而且是密集的：不需要稀疏格式。
# - **APoZ** 找得到死神經元。除此之外，在這裡不比隨機好。
# - **With weight init** 的意思是：從剩下的權重繼續。它節省訓練。
# - 參數量、位元組數、MACs 與延遲是四個不同的數字。請測量你需要的那一個。
#
# | | 權重剪枝 | 神經元剪枝 |
# |---|---|---|
# | 移除 | 單一權重 | 整個神經元或通道 |
# | 結構 | 不規則，非結構化剪枝 (unstructured) | 規則，結構化剪枝 (structured) |
# | 參數量 | 相同，其中有零 | 較小 |
# | 需要稀疏格式或硬體 | 是 | 否 |
# | 權重數相同時的準確率 | 較高 | 較低 |

# %%
print("Course checkpoints used in place of your own:", course_checkpoints_used() or "none")

# %% [markdown]
# ## Exam practice
#
# **1.** A layer has the weights -0.9, 0.1, 0.4, -0.2. Magnitude pruning at 50 % sparsity removes
# which?
# (a) -0.9 and -0.2 (b) 0.1 and -0.2 (c) 0.1 and 0.4 (d) -0.9 and 0.4
#
# <details><summary>Answer</summary>
#
# (b). The magnitudes are 0.9, 0.1, 0.4, 0.2. A signed comparison would remove -0.9 and -0.2.
#
# </details>
#
# **2.** Put in order: (a) retrain the remaining weights (b) remove connections below the threshold
# (c) train the whole network.
#
# <details><summary>Answer</summary>
#
# c, b, a: learn the connectivity, prune, retrain.
#
# </details>
#
# **3.** A 1000 x 2000 matrix has 90 % zeros. How many bytes does it take in CSR with 4-byte values
# and 4-byte indices, and which fraction of the dense size is that?
#
# <details><summary>Answer</summary>
#
# 200,000 nonzeros x 8 bytes + 1,001 pointers x 4 bytes = 1,604,004 bytes. Dense: 8,000,000 bytes.
# About 20 %.
#
# </details>
#
# **4.** A neuron gives, after ReLU, the values 0, 0, 1.3, 0 for four images. What is its APoZ?
# Another one has an APoZ of 0.2. Which one is pruned first?
#
# <details><summary>Answer</summary>
#
# 3 / 4 = 0.75. The first one: it is zero more often, so it tells less, by this criterion.
#
# </details>
#
# **5.** True or false? (a) After weight pruning at 75 % a network runs four times as fast. (b)
# 'With weight init' means that the smaller network starts from random weights. (c) Removing a
# neuron of one layer also changes the next layer's weight matrix.
#
# <details><summary>Answer</summary>
#
# (a) False: with CSR at 75 % it is usually *slower* than dense. (b) False: it starts from the
# remaining trained weights. (c) True: one column goes.
#
# </details>

# %% [markdown] lang="zh-TW"
# ## 考前練習
#
# **1.** 某層的權重為 -0.9、0.1、0.4、-0.2。以絕對值剪枝到稀疏度 50 %，會移除哪些？
# (a) -0.9 與 -0.2 (b) 0.1 與 -0.2 (c) 0.1 與 0.4 (d) -0.9 與 0.4
#
# <details><summary>答案</summary>
#
# (b)。絕對值為 0.9、0.1、0.4、0.2。直接比大小會移除 -0.9 與 -0.2。
#
# </details>
#
# **2.** 請依序排列：(a) 重新訓練剩下的權重 (b) 移除小於閾值的連接 (c) 訓練整個網路。
#
# <details><summary>答案</summary>
#
# c、b、a：學習連接性、剪枝、重新訓練。
#
# </details>
#
# **3.** 一個 1000 x 2000 的矩陣有 90 % 的零。用 4 個位元組的數值與 4 個位元組的索引存成 CSR，
# 需要多少位元組？是密集大小的幾分之幾？
#
# <details><summary>答案</summary>
#
# 200,000 個非零值 x 8 個位元組 + 1,001 個指標 x 4 個位元組 = 1,604,004 個位元組。密集：
# 8,000,000 個位元組。約 20 %。
#
# </details>
#
# **4.** 一個神經元對四張影像，經過 ReLU 之後的值為 0、0、1.3、0。它的 APoZ 是多少？
# 另一個神經元的 APoZ 為 0.2。哪一個先被剪？
#
# <details><summary>答案</summary>
#
# 3 / 4 = 0.75。第一個：它較常為零，所以依這個準則，它提供的資訊較少。
#
# </details>
#
# **5.** 是非題。(a) 權重剪枝到 75 % 之後，網路的速度是四倍。(b) 「With weight init」
# 表示較小的網路從隨機權重開始。(c) 移除一層的一個神經元，也會改變下一層的權重矩陣。
#
# <details><summary>答案</summary>
#
# (a) 錯：在 75 % 時，CSR 通常比密集*慢*。(b) 錯：它從剩下的訓練好的權重開始。(c) 對：少了一行。
#
# </details>

# %%
progress()
