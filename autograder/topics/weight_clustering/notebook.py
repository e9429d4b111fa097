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
#   topic: weight_clustering
#   number: 5
#   title: Weight clustering
# ---

# %% [markdown]
# # 5 Weight clustering (權重聚類)
#
# A layer has hundreds of thousands of weights. Must they all be *different* numbers?
#
# **Weight clustering** (權重聚類) puts weights of similar value into one **cluster** (群). All
# weights of a cluster **share** (共享) one number, the **centroid** (聚類中心). The few centroids
# stand in a table, the **codebook** (權重映射表). Each weight is replaced by a small whole number,
# its **code** (標記): the row of the table.
#
# At the end you can
#
# - cluster the weights of a layer with k-means, and say what can go wrong;
# - store a network as codes and codebooks, in **real bytes**, and compute the compression ratio;
# - train the centroids, and explain why their gradient is a *sum*;
# - use the lecture's cluster loss, and say what it is worth;
# - quantize the codebook, and squeeze the codes with a Huffman code (霍夫曼編碼);
# - set your result beside Deep Compression (Han et al. 2016), with its 39 times smaller LeNet-5.
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
# - A function changes none of its arguments.
# - A function that takes a model and returns one works on a deep copy and returns it in eval mode.
#   The caller's model, its gradients and the train/eval mode of every submodule stay as they were.
# - Layers are named as in `named_modules()`: `"conv1"`. Only conv and linear layers are clustered,
#   and only their weights, not their biases.
# - `clusters` is a dictionary: layer name -> `(codebook, codes)`.
# - Codes are int64 and have **the shape of the weight**. Codebooks have shape (k,) and the dtype of
#   the weight.
# - An impossible argument raises a `ValueError` whose message names the argument: a size or count
#   that cannot be, an unknown name, `lr <= 0`, negative `epochs`, values with NaN. Code widths are
#   1 to 8 bits.
# - Random numbers come from PyTorch's global seed. The optimizer and its schedule are your choice.
#
# Three helpers are given. `require(condition, message)` rejects an argument:
# `require(k >= 1, "k must be at least 1")`. `is_rejected` is for the checks.
# `borders(codebook)` returns the points halfway between neighbouring centroids.

# %% [markdown] lang="zh-TW"
# # 5 權重聚類 (Weight clustering)
#
# 一層有幾十萬個權重。它們非得是**各不相同**的數字嗎？
#
# **權重聚類** (weight clustering) 把數值相近的權重歸成一**群** (cluster)。
# 同一群的權重**共享** (share) 一個數字，也就是**聚類中心** (centroid)。這幾個聚類中心放在一張表裡，
# 稱為**權重映射表** (codebook)。每個權重則換成一個小整數，稱為**標記** (code)：它在表中的第幾列。
#
# 學完之後，你能夠
#
# - 用 k-means 對一層的權重做聚類，並說出哪些地方會出錯；
# - 把網路存成標記與權重映射表，用**真正的位元組**計算，並算出壓縮率；
# - 訓練聚類中心，並解釋為什麼它的梯度是**總和**；
# - 使用課程中的聚類 loss，並說出它值不值得；
# - 量化權重映射表，再用霍夫曼編碼 (Huffman code) 壓縮標記；
# - 把你的結果與 Deep Compression (Han et al. 2016) 並列比較：他們把 LeNet-5 縮小了 39 倍。
#
# **進行方式。** 先讀說明，在 TODO 處寫下答案，再執行下方的檢查。檢查沒通過時，會告訴你預期是什麼、
# 得到什麼，以及常見的原因。提示是折疊的：一次打開一個就好。
#
# 在任何儲存格執行 `progress()`，就能看到你在所有筆記本的進度。較久的訓練寫成
# `remember(function, ...)`：重新啟動核心 (kernel) 之後，同樣的呼叫一秒內就會回來。
#
# **處處適用的規則。**
#
# - 函式不會改動任何傳入的引數。
# - 接收模型並回傳模型的函式，要在深層複製 (deep copy) 出來的副本上操作，並以 eval 模式回傳。
#   呼叫者的模型、它的梯度，以及每個子模組的 train/eval 模式，都保持原樣。
# - 層的名稱與 `named_modules()` 相同：`"conv1"`。只有卷積層與全連接層 (linear) 做聚類，
#   而且只動權重，不動 bias。
# - `clusters` 是一個字典：層的名稱 -> `(codebook, codes)`。
# - 標記的型別是 int64，**形狀與權重相同**。權重映射表的形狀是 (k,)，dtype 與權重相同。
# - 不合理的引數要引發 `ValueError`，訊息中要寫出引數的名稱：不可能的大小或數量、不認識的名稱、
#   `lr <= 0`、負的 `epochs`、含 NaN 的數值。標記的位元寬度是 1 到 8 個位元。
# - 亂數來自 PyTorch 的全域亂數種子。最佳化器 (optimizer) 與學習率的排程由你自己選。
#
# 已經提供三個輔助函式。`require(condition, message)` 用來拒絕引數：
# `require(k >= 1, "k must be at least 1")`。`is_rejected` 是給檢查用的。`borders(codebook)`
# 回傳相鄰聚類中心之間的中點。

# %% define
import copy
import heapq
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from course_utils.arguments import is_rejected, require
from course_utils.data import load_images, make_loader
from course_utils.evaluation import accuracy
from course_utils.training import train

Clusters = dict[str, tuple[torch.Tensor, torch.Tensor]]


def borders(codebook: torch.Tensor) -> torch.Tensor:
    """Return the k - 1 points halfway between the neighbours of a sorted codebook (k,)."""
    return (codebook[1:] + codebook[:-1]) / 2


# %%
import time
import zlib

import matplotlib.pyplot as plt

from course_utils.checkpoints import load_checkpoint
from course_utils.measures import count_parameters, model_bytes
from course_utils.plots import use_course_style
from course_utils.progress import passed, progress
from course_utils.remembering import remember
from course_utils.widgets import explorer

use_course_style()
torch.set_num_threads(1)  # a fair and quiet clock: two threads disturb each other
torch.manual_seed(5)

images, labels = load_images("train")
training = make_loader(images, labels, batch_size=128, shuffle=True)
parts = [load_images(split) for split in ("validation", "test")]
unseen = make_loader(*(torch.cat(pair) for pair in zip(*parts, strict=True)), batch_size=500)

lenet = load_checkpoint("lenet")
baseline = accuracy(lenet, unseen)

# The example that the figures below show and some checks use.
paper_weight = torch.tensor(
    [
        [2.09, -0.98, 1.48, 0.09],
        [0.05, -0.14, -1.08, 2.12],
        [-0.91, 1.92, 0.00, -1.03],
        [1.87, 0.00, 1.53, 1.49],
    ]
)
paper_codes = torch.tensor([[3, 0, 2, 1], [1, 1, 0, 3], [0, 3, 1, 0], [3, 1, 2, 2]])
paper_codebook = torch.tensor([-1.0, 0.0, 1.5, 2.0])
paper_gradient = torch.tensor(
    [
        [-0.03, -0.01, 0.03, 0.02],
        [-0.01, 0.01, -0.02, 0.12],
        [-0.01, 0.02, 0.04, 0.01],
        [-0.07, -0.02, 0.01, -0.02],
    ]
)
print(f"the LeNet: {count_parameters(lenet):,} parameters, {model_bytes(lenet):,} bytes")
print(f"accuracy on 4,000 unseen images: {baseline:.1%}")

# %% [markdown]
# ## The idea
#
# The lecture names four steps. The example is Figure 3 of the Deep Compression paper: a layer of 16
# weights, and k = 4.
#
# 1. **Group** the weights: similar values go into one cluster (same colour).
# 2. All weights of a cluster **share one value**, the centroid.
# 3. The centroids make up a table, the **codebook** (權重映射表).
# 4. The layer keeps only the **codes** (標記): 2 bits each here, not 32.

# %% [markdown] lang="zh-TW"
# ## 基本想法
#
# 課程列出四個步驟。這裡的例子是 Deep Compression 論文的 Figure 3：一層有 16 個權重，k = 4。
#
# 1. 將權重**分群**：數值相近的分為一群（相同顏色）。
# 2. 同一群的權重**共享一個數值**，也就是聚類中心。
# 3. 所有聚類中心組成一張表，也就是**權重映射表** (codebook)。
# 4. 這一層只保留**標記** (code)：這裡每個只要 2 個位元，而不是 32 個。


# %%
def draw_cells(
    axes: plt.Axes, numbers: torch.Tensor, colors: torch.Tensor, form: str, title: str
) -> None:
    """Draw a matrix: numbers as text, colours by cluster."""
    axes.imshow(colors, cmap="Pastel1", vmin=0, vmax=8, aspect="equal")
    for (row, column), number in np.ndenumerate(numbers.numpy()):
        axes.text(column, row, form.format(number), ha="center", va="center", fontsize=9)
    axes.set_title(title, fontsize=10)
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])


_, panels = plt.subplots(
    1, 4, figsize=(10.5, 2.9), width_ratios=(4, 4, 1.2, 4), layout="constrained"
)
draw_cells(panels[0], paper_weight, paper_codes, "{:.2f}", "16 weights, 32 bits each")
draw_cells(panels[1], paper_codes, paper_codes, "{}", "16 codes, 2 bits each")
column = torch.arange(4).reshape(4, 1)
draw_cells(panels[2], paper_codebook[column], column, "{:.2f}", "codebook")
panels[2].set_yticks(range(4), range(4))
draw_cells(panels[3], paper_codebook[paper_codes], paper_codes, "{:.2f}", "what the layer uses")
plt.show()

# %% [markdown]
# ## Part A: k-means in one dimension
#
# Which centroids are best? Those with the smallest **sum of squared errors** (平方誤差和, SSE):
#
# $$\mathrm{SSE} = \sum_{w} \min_{c \in C} (w - c)^2$$
#
# **k-means** (k-平均) lowers it by turns. This is **Lloyd's algorithm** (Lloyd 演算法):
#
# - **assign** (分配): every value goes to its nearest centroid;
# - **update** (更新): every centroid moves to the mean of its values;
# - until nothing moves: it has **converged** (收斂).
#
# No step makes the SSE larger. So it ends, but perhaps not at the best place: that depends on the
# **start** (初始化). Deep Compression compares three:
#
# - **linear** (線性): k points at equal distances from the smallest to the largest value;
# - **random** (隨機): k of the values, drawn at random;
# - **density** (密度): quantiles, so that each centroid starts with about equally many values.
#
# In one dimension, assigning is easy: a value belongs to the cluster between two borders, and a
# border lies halfway between two centroids.

# %% [markdown] lang="zh-TW"
# ## A 部分：一維的 k-means
#
# 哪些聚類中心最好？讓**平方誤差和** (sum of squared errors, SSE) 最小的那些：
#
# $$\mathrm{SSE} = \sum_{w} \min_{c \in C} (w - c)^2$$
#
# **k-means**（k-平均）輪流做兩件事，讓它逐步下降。這就是 **Lloyd 演算法** (Lloyd's algorithm)：
#
# - **分配** (assign)：每個值歸到最近的聚類中心；
# - **更新** (update)：每個聚類中心移到自己那些值的平均；
# - 直到什麼都不再移動：這時已經**收斂** (converged)。
#
# 沒有任何一步會讓 SSE 變大。所以它一定會停，但不一定停在最好的地方：這取決於**起點** (start)。
# Deep Compression 比較了三種：
#
# - **linear**（線性）：從最小值到最大值，等距放 k 個點；
# - **random**（隨機）：從所有值中隨機抽出 k 個；
# - **density**（密度）：取分位數 (quantile)，讓每個聚類中心一開始分到的值大致一樣多。
#
# 在一維的情況下，分配很容易：一個值屬於它左右兩條邊界之間的那一群，而邊界就在兩個聚類中心的正中間。

# %% [markdown]
# ### Exercise: `kmeans_1d` · ★★★☆ · 30 minutes · 8 points
#
# Write `kmeans_1d(values, k, init="linear", max_iterations=100)`. It returns `(codebook, codes)`.
#
# - The codebook has shape (k,), is **sorted** ascending, and has the dtype of the values.
# - The codes are int64, in 0 .. k - 1, with the shape of `values` (any shape). `codebook[codes]`
#   is the clustered tensor. Each code is that of the *nearest* centroid.
# - At most `max_iterations` Lloyd steps; stop earlier when it has converged. 0 gives the start.
# - **Empty clusters** (空群): a cluster may lose all its values. The mean of nothing is NaN. Let
#   such a centroid stay where it is, or move it to a place among the values. It must stay a number.
# - **k above the number of distinct values**: then there are only that many distinct centroids, and
#   `codebook[codes]` equals the values exactly. The codebook still has length k: repeat one.
# - `ValueError` for `k < 1`, an unknown `init`, negative `max_iterations`, and values with NaN.
#
# *Example.* The 16 weights of the paper with k = 4 give the codebook [-1.0, 0.0, 1.5, 2.0].
#
# <details><summary>Hint 1</summary>
#
# Start: `torch.linspace(low, high, k)`; or `values[torch.randperm(n)[:k]]`, sorted; or the sorted
# values at the places `(i + 0.5) / k * n`.
#
# <details><summary>Hint 2</summary>
#
# All distances at once, `(values[:, None] - codebook).abs().argmin(1)`, need n * k numbers: 400 MB
# for the big layer and k = 256. `torch.bucketize(values, borders(codebook))` gives the same codes
# without them, as the codebook is sorted.
#
# <details><summary>Hint 3</summary>
#
# `torch.bincount(codes, minlength=k)` counts, `torch.bincount(codes, weights=values, minlength=k)`
# adds up. Where the count is 0, keep the old centroid: `torch.where(counts > 0, ..., codebook)`.
#
# <details><summary>Hint 4</summary>
#
# Update, then stop if nothing moved. At the end compute the codes **again**: the centroids moved
# after the last assignment.
# For many distinct values `values.unique()` is sorted and tells how many there are.
#
# </details></details></details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`kmeans_1d` · ★★★☆ · 30 分鐘 · 8 分
#
# 寫出 `kmeans_1d(values, k, init="linear", max_iterations=100)`，它回傳 `(codebook, codes)`。
#
# - 權重映射表的形狀是 (k,)，由小到大**排序**，dtype 與傳入的值相同。
# - 標記是 int64，範圍是 0 .. k - 1，形狀與 `values` 相同（任何形狀）。`codebook[codes]`
#   就是聚類之後的張量。每個標記都指向**最近**的聚類中心。
# - Lloyd 步驟最多做 `max_iterations` 次；收斂了就提早停。0 次則回傳起點。
# - **空群** (empty cluster)：一群可能失去它所有的值。沒有任何值時，平均會是 NaN。
#   讓這種聚類中心留在原處，或移到那些值之間的某處。它必須一直是個數字。
# - **k 大於相異值的個數**：這時相異的聚類中心就只有那麼多個，而 `codebook[codes]`
#   會恰好等於原來的值。權重映射表的長度仍然是 k：重複其中一個。
# - 遇到 `k < 1`、不認識的 `init`、負的 `max_iterations`，以及含 NaN 的值，要引發 `ValueError`。
#
# *例：* 論文中的 16 個權重，k = 4 時權重映射表為 [-1.0, 0.0, 1.5, 2.0]。
#
# <details><summary>提示 1</summary>
#
# 起點：`torch.linspace(low, high, k)`；或是排序後的 `values[torch.randperm(n)[:k]]`；
# 或是排序後的值中，位於 `(i + 0.5) / k * n` 的那些。
#
# <details><summary>提示 2</summary>
#
# 一次算出所有距離，`(values[:, None] - codebook).abs().argmin(1)`，需要 n * k 個數字：
# 對最大的那一層與 k = 256 來說，就是 400 MB。權重映射表既然已經排序，
# `torch.bucketize(values, borders(codebook))` 不需要這些數字，也能得到相同的標記。
#
# <details><summary>提示 3</summary>
#
# `torch.bincount(codes, minlength=k)` 計算個數，
# `torch.bincount(codes, weights=values, minlength=k)` 計算總和。個數為 0 的地方，保留舊的聚類中心：
# `torch.where(counts > 0, ..., codebook)`。
#
# <details><summary>提示 4</summary>
#
# 先更新，若什麼都沒動就停。最後要**再**算一次標記：因為最後一次分配之後，聚類中心又移動了。
# `values.unique()` 已經排好序，也能告訴你有多少個相異值。
#
# </details></details></details></details>


# %% exercise="kmeans_1d" difficulty=3 minutes=30
def kmeans_1d(
    values: torch.Tensor, k: int, init: str = "linear", max_iterations: int = 100
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cluster numbers with Lloyd's algorithm.

    Args:
        values: Floating point, any shape, at least one element. Not changed.
        k: Number of centroids, at least 1.
        init: "linear" (equal distances), "random" (k of the values) or "density" (quantiles).
        max_iterations: Most Lloyd steps, at least 0.

    Returns:
        The codebook, shape (k,), sorted, dtype of values; and the codes, int64, shape of values.
        With more centroids than distinct values the last centroid is repeated.

    Raises:
        ValueError: If k, init or max_iterations cannot be, or values are empty or hold NaN.

    Source:
        Lloyd 1982, Least Squares Quantization in PCM; Han et al. 2016, Deep Compression, section 3.
    """
    # TODO: choose a start; assign and update until nothing moves; assign once more
    ### BEGIN SOLUTION
    require(k >= 1, f"k must be at least 1, got {k}")
    require(init in ("linear", "random", "density"), f"init: no way to start called {init!r}")
    require(max_iterations >= 0, f"max_iterations must be at least 0, got {max_iterations}")
    require(values.numel() > 0, "values must have at least one element")
    require(not values.isnan().any(), "values must not hold NaN")
    values = values.detach()
    ordered = values.flatten().sort().values
    distinct = ordered.unique_consecutive()
    if len(distinct) <= k:
        repeats = distinct[-1:].expand(k - len(distinct))
        return torch.cat([distinct, repeats]), torch.searchsorted(distinct, values)

    # A cluster is a run of the sorted values, so differences of prefix sums give all its sums.
    ordered = ordered.double()
    count = len(ordered)
    prefix = F.pad(ordered.cumsum(0), (1, 0))  # prefix[i]: sum of the first i values
    if init == "linear":
        low, high = ordered[0].item(), ordered[-1].item()
        codebook = torch.linspace(low, high, k, dtype=torch.float64)
    elif init == "random":
        codebook = ordered[torch.randperm(count)[:k].sort().values]
    else:
        codebook = ordered[((torch.arange(k) + 0.5) / k * count).long()]
    for _ in range(max_iterations):
        edges = F.pad(torch.searchsorted(ordered, borders(codebook), right=True), (1, 1))
        edges[-1] = count
        sizes = edges.diff()
        means = prefix[edges].diff() / sizes.clamp(min=1)
        moved = torch.where(sizes > 0, means, codebook)  # an empty cluster stays where it is
        if torch.equal(moved, codebook):
            break
        codebook = moved
    codebook = codebook.to(values.dtype)
    return codebook, torch.bucketize(values, borders(codebook))
    ### END SOLUTION


# %% check="kmeans_1d" points=8
given = paper_weight.flatten()
got_codebook, got_codes = kmeans_1d(given, 4)
assert given.equal(paper_weight.flatten()), "the values were changed: work on a copy"
assert got_codebook.shape == (4,), f"expected a codebook of shape (4,), got {got_codebook.shape}"
assert got_codes.dtype == torch.int64, f"expected int64 codes, got {got_codes.dtype}"
assert (got_codebook.diff() >= 0).all(), f"the codebook is not sorted: {got_codebook}"
assert torch.allclose(got_codebook, paper_codebook, atol=0.01), (
    f"expected {paper_codebook}, got {got_codebook}: are the centroids the means of their values?"
)
assert got_codes.shape == given.shape, f"expected codes of shape (16,), got {got_codes.shape}"
assert got_codes.equal(paper_codes.flatten()), f"wrong codes: {got_codes}"
toy_values = torch.cat(
    [torch.randn(300, generator=torch.Generator().manual_seed(1)) + shift for shift in (0, 3, 9)]
)
for toy_k in (1, 3, 8):
    for start in ("linear", "random", "density"):
        got_codebook, got_codes = kmeans_1d(toy_values, toy_k, init=start, max_iterations=500)
        distances = (toy_values[:, None] - got_codebook).abs()  # (900, k)
        nearest = distances.min(dim=1).values
        own = (toy_values - got_codebook[got_codes]).abs()
        assert torch.allclose(own, nearest, atol=1e-3), (
            f"{start}, k={toy_k}: some codes are not those of the nearest centroid. "
            "Assign once more after the last update, and after sorting"
        )
        for j in got_codes.unique():
            assert abs(toy_values[got_codes == j].mean() - got_codebook[j]) < 1e-2, (
                f"{start}, k={toy_k}: centroid {j} is not the mean of its values: not converged"
            )
gap = torch.cat([torch.linspace(10, 11, 50), torch.linspace(90, 91, 50)])
got_codebook, got_codes = kmeans_1d(gap, 8)
assert got_codebook.isfinite().all(), f"NaN from an empty cluster: {got_codebook}"
assert ((got_codebook > 9.9) & (got_codebook < 91.1)).all(), (
    f"an empty cluster's centroid left the range of the values, 10 .. 91: {got_codebook}"
)
got_codebook, got_codes = kmeans_1d(torch.tensor([3.0, -1.0, 3.0, 7.0]), 6)
assert got_codebook.shape == (6,), f"k=6, 3 distinct values: expected length 6, got {got_codebook}"
assert got_codebook[got_codes].tolist() == [3, -1, 3, 7], (
    "k above the number of distinct values: codebook[codes] must be the values exactly"
)
assert len(got_codebook.unique()) == 3, f"expected 3 distinct centroids, got {got_codebook}"
skewed = torch.cat([torch.linspace(0, 1, 900), torch.linspace(1, 100, 100)])
low_ones = {
    start: int((kmeans_1d(skewed, 16, start, 1)[0] < 1.5).sum())
    for start in ("linear", "random", "density")
}
assert low_ones["linear"] <= 3, "linear: the centroids start at equal distances"
assert low_ones["density"] >= 12, "density: most values are below 1, so most centroids start there"
assert kmeans_1d(toy_values.double(), 3)[0].dtype == torch.float64, "keep the dtype of the values"
for bad in ({"k": 0}, {"k": 3, "init": "best"}, {"k": 3, "max_iterations": -1}):
    assert is_rejected(kmeans_1d, toy_values, **bad), f"{bad} must raise a ValueError"
assert is_rejected(kmeans_1d, torch.tensor([1.0, float("nan")]), 2), "NaN must raise a ValueError"
passed("kmeans_1d")

# %% [markdown]
# Step through Lloyd's algorithm on the 5,000 weights of the last layer. Each colour is a cluster,
# each dashed line a centroid. Watch the linear start: the outer centroids begin far out, where
# there are few weights, and come in slowly.

# %% [markdown] lang="zh-TW"
# 在最後一層的 5,000 個權重上，一步一步執行 Lloyd 演算法。每種顏色是一群，每條虛線是一個聚類中心。
# 觀察 linear 起點：外側的聚類中心一開始離得很遠，那裡的權重很少，之後才慢慢靠進來。


# %%
def plot_steps(axes: plt.Axes, step: int, k: int, init: str) -> None:
    """Draw the clusters of the last layer's weights after some Lloyd steps."""
    torch.manual_seed(0)  # the same random start at every step
    weight = lenet.fc2.weight.detach().flatten()
    codebook, codes = kmeans_1d(weight, k, init, step)
    bins = np.linspace(weight.min(), weight.max(), 121)
    stacks = [weight[codes == j].numpy() for j in range(k)]
    colours = [f"C{j % 6}" for j in range(k)]
    axes.hist(stacks, bins, stacked=True, color=colours, alpha=0.7, histtype="stepfilled")
    for centroid in codebook.tolist():
        axes.axvline(centroid, color="black", ls="--", lw=0.8)
    error = (weight - codebook[codes]).square().sum()
    axes.set(xlabel="weight", ylabel="number of weights")
    axes.set_title(f"{init} start, {step} steps: SSE {error:.3f}")


explorer(
    plot_steps,
    step=(0, 40),
    k=(2, 16, 1, 6),
    init=["linear", "random", "density"],
)

# %% [markdown]
# ## Part B: a whole network
#
# Each layer gets a **codebook of its own**. The weights of `conv1` are about seven times as large
# as those of `fc1`: one common codebook would suit neither.

# %% [markdown] lang="zh-TW"
# ## B 部分：整個網路
#
# 每一層都有**自己的權重映射表**。`conv1` 的權重大約是 `fc1` 的七倍大：共用一張權重映射表，
# 對兩者都不合適。

# %% [markdown]
# ### Exercise: `cluster_weights` · ★★☆☆ · 15 minutes · 4 points
#
# Write `cluster_weights(model, k)`. For every conv and linear layer, however deep in the model, it
# clusters the weight with `kmeans_1d`. It returns `{layer name: (codebook, codes)}`.
#
# - Biases, and layers of other kinds (batch normalisation!), are left out.
# - The codes have the shape of the weight.
# - `ValueError` for `k < 1`.
#
# <details><summary>Hint 1</summary>
#
# `for name, layer in model.named_modules():` goes through everything. Ask
# `isinstance(layer, nn.Linear | nn.Conv2d)`.
#
# <details><summary>Hint 2</summary>
#
# `layer.weight.detach()` has no graph. If your `kmeans_1d` only takes one dimension: flatten, and
# give the codes the shape of the weight afterwards.
#
# </details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`cluster_weights` · ★★☆☆ · 15 分鐘 · 4 分
#
# 寫出 `cluster_weights(model, k)`。對每個卷積層與全連接層，不論在模型中藏得多深，
# 都用 `kmeans_1d` 對權重做聚類。它回傳 `{layer name: (codebook, codes)}`，
# 也就是以層的名稱為鍵的字典。
#
# - 不處理 bias，也不處理其他種類的層（例如批次正規化！）。
# - 標記的形狀與權重相同。
# - `k < 1` 時引發 `ValueError`。
#
# <details><summary>提示 1</summary>
#
# `for name, layer in model.named_modules():` 會走過所有的模組。
# 再問 `isinstance(layer, nn.Linear | nn.Conv2d)`。
#
# <details><summary>提示 2</summary>
#
# `layer.weight.detach()` 沒有計算圖。如果你的 `kmeans_1d` 只接受一維：先攤平，
# 之後再把標記變回權重的形狀。
#
# </details></details>


# %% exercise="cluster_weights" difficulty=2 minutes=15
def cluster_weights(model: nn.Module, k: int) -> Clusters:
    """Cluster the weight of every conv and linear layer, each by itself.

    Args:
        model: Any module. Not changed.
        k: Centroids per layer, at least 1.

    Returns:
        By layer name: the codebook, shape (k,), dtype of the weight; and the codes, int64, shape of
        the weight.

    Raises:
        ValueError: If k is below 1.

    Source:
        Han et al. 2016, Deep Compression, section 3: weights are not shared across layers.
    """
    # TODO: kmeans_1d for the weight of every conv and linear layer
    ### BEGIN SOLUTION
    require(k >= 1, f"k must be at least 1, got {k}")
    return {
        name: kmeans_1d(layer.weight.detach(), k)
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    }
    ### END SOLUTION


# %% check="cluster_weights" points=4
toy_generator = torch.Generator().manual_seed(2)
toy_net = nn.Sequential(
    nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.Flatten(), nn.Linear(16, 5))
)
with torch.no_grad():
    toy_net[0].weight.copy_(torch.randn(4, 1, 3, 3, generator=toy_generator))
    toy_net[2][1].weight.copy_(0.01 * torch.randn(5, 16, generator=toy_generator) + 5)
before = copy.deepcopy(toy_net.state_dict())
got = cluster_weights(toy_net, 3)
assert all(before[key].equal(now) for key, now in toy_net.state_dict().items()), (
    "the model was changed"
)
assert isinstance(got, dict), f"expected a dictionary, got {type(got).__name__}"
assert set(got) == {"0", "2.1"}, (
    f"expected the conv and the linear layer, '0' and '2.1', got {sorted(got)}"
)
for name, layer in (("0", toy_net[0]), ("2.1", toy_net[2][1])):
    got_codebook, got_codes = got[name]
    assert got_codebook.shape == (3,), f"{name}: expected a codebook (3,), got {got_codebook.shape}"
    assert got_codes.shape == layer.weight.shape, (
        f"{name}: the codes must have the weight's shape {tuple(layer.weight.shape)}, "
        f"got {tuple(got_codes.shape)}"
    )
    error = (layer.weight - got_codebook[got_codes]).abs().max()
    assert error < 3 * layer.weight.std(), (
        f"{name}: off by {error:.2g}: each layer needs a codebook of its own"
    )
assert is_rejected(cluster_weights, toy_net, 0), "k=0 must raise a ValueError"
passed("cluster_weights")

# %% [markdown]
# ### Exercise: `apply_codebooks` · ★☆☆☆ · 10 minutes · 3 points
#
# Write `apply_codebooks(model, clusters)`: a **copy** of the model, in eval mode, in which the
# weight of each named layer is `codebook[codes]`. Everything else stays.
# `ValueError` for a name that the model does not have.
#
# <details><summary>Hint 1</summary>
#
# `codebook[codes]` with codes of shape (5, 16) has the shape (5, 16): indexing looks every code up.
#
# <details><summary>Hint 2</summary>
#
# `layers = dict(copied.named_modules())`. Inside `torch.no_grad()` write
# `layers[name].weight.copy_(...)`: the parameter stays a parameter.
#
# </details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`apply_codebooks` · ★☆☆☆ · 10 分鐘 · 3 分
#
# 寫出 `apply_codebooks(model, clusters)`：回傳模型的**副本**，處於 eval 模式，其中每個列出的層，
# 權重都是 `codebook[codes]`。其他一切不變。遇到模型沒有的名稱，要引發 `ValueError`。
#
# <details><summary>提示 1</summary>
#
# 標記的形狀是 (5, 16) 時，`codebook[codes]` 的形狀也是 (5, 16)：用索引就能把每個標記查出來。
#
# <details><summary>提示 2</summary>
#
# `layers = dict(copied.named_modules())`。在 `torch.no_grad()` 裡寫
# `layers[name].weight.copy_(...)`：這樣參數仍然是參數。
#
# </details></details>


# %% exercise="apply_codebooks" difficulty=1 minutes=10
def apply_codebooks(model: nn.Module, clusters: Clusters) -> nn.Module:
    """Return a copy of the model whose weights are those of the clusters.

    Args:
        model: Has all layers that clusters names. Not changed.
        clusters: By layer name: codebook (k,) and codes, int64, shape of the weight.

    Returns:
        A deep copy in eval mode: in the named layers the weight is codebook[codes].

    Raises:
        ValueError: If clusters names a layer that the model does not have.
    """
    # TODO: on a deep copy, look up every weight in its codebook
    ### BEGIN SOLUTION
    clustered = copy.deepcopy(model).eval()
    layers = dict(clustered.named_modules())
    for name, (codebook, codes) in clusters.items():
        require(hasattr(layers.get(name), "weight"), f"clusters: no layer called {name!r}")
        with torch.no_grad():
            layers[name].weight.copy_(codebook[codes])
    return clustered
    ### END SOLUTION


# %% check="apply_codebooks" points=3
toy_codes = torch.arange(36).reshape(4, 1, 3, 3) % 3
toy_clusters = {"0": (torch.tensor([-1.0, 0.0, 2.0]), toy_codes)}
toy_net.train()
got = apply_codebooks(toy_net, toy_clusters)
assert isinstance(got, nn.Module), f"expected a model, got {type(got).__name__}"
assert all(before[key].equal(now) for key, now in toy_net.state_dict().items()), (
    "the given model was changed: work on a deep copy"
)
assert all(module.training for module in toy_net.modules()), "the given model's mode was changed"
assert not any(module.training for module in got.modules()), "return the copy in eval mode"
assert got[0].weight.shape == (4, 1, 3, 3), f"the weight's shape was lost: {got[0].weight.shape}"
assert got[0].weight.flatten()[:4].tolist() == [-1, 0, 2, -1], (
    f"expected codebook[codes], got {got[0].weight.flatten()[:4].tolist()}, …"
)
assert all(before[key].equal(now) for key, now in got.state_dict().items() if key != "0.weight"), (
    "something else than the weight of layer '0' was changed"
)
assert isinstance(got[0].weight, nn.Parameter), "the weight is no longer a parameter"
assert is_rejected(apply_codebooks, toy_net, {"9": toy_clusters["0"]}), (
    "a name that the model does not have must raise a ValueError"
)
passed("apply_codebooks")

# %% [markdown]
# A corner of the last layer, before and after. Below about k = 8 you see the loss.

# %% [markdown] lang="zh-TW"
# 最後一層的一角，聚類前與聚類後。大約在 k = 8 以下，看得出損失。


# %%
def plot_layer(axes: plt.Axes, k: int, layer: str) -> None:
    """Draw some weights, their codes, and what the codes stand for."""
    weight = lenet.get_submodule(layer).weight.detach()
    codebook, codes = kmeans_1d(weight, k)
    part = weight.flatten(1)[:8, :16]
    rows = [part, codebook[codes].flatten(1)[:8, :16]]
    gap_rows = torch.full((1, part.shape[1]), float("nan"))
    limit = part.abs().max()
    shown = axes.imshow(
        torch.cat([rows[0], gap_rows, rows[1]]), cmap="RdBu", vmin=-limit, vmax=limit
    )
    axes.figure.colorbar(shown, label="weight", shrink=0.7)
    axes.set_yticks([3.5, 12.5], ["before", "after"])
    axes.set_xticks([])
    axes.grid(False)
    if k <= 8:
        style = {"ha": "center", "va": "center", "fontsize": 8, "in_layout": False}
        for (row, column), code in np.ndenumerate(codes.flatten(1)[:8, :16].numpy()):
            axes.text(column, row + 9, str(code), **style)
    values = ", ".join(f"{value:.2f}" for value in codebook[:8].tolist())
    axes.set_title(f"codebook: {values}{', …' if k > 8 else ''}", fontsize=9)


explorer(plot_layer, k=(2, 32, 1, 4), layer=["fc2", "conv2", "conv1"])

# %% [markdown]
# ## Part C: real bytes
#
# A tensor of int64 codes takes *64* bits a weight: twice as much as before! The smallest whole
# type, uint8, takes 8. But a code below 8 needs only 3 bits. So we **pack** (打包) the bits one
# after the other, without gaps: eight 3-bit codes fill three bytes exactly.
#
# ```text
# codes       5    1    7    2    0    6    3    4
# bits       101  001  111  010  000  110  011  100
# bytes     |      0      |      1      |      2     |      (24 bits = 3 bytes)
# ```

# %% [markdown] lang="zh-TW"
# ## C 部分：真正的位元組
#
# 以 int64 存放標記的張量，每個權重要用 **64** 個位元：是原來的兩倍！最小的整數型別 uint8 要用
# 8 個。但小於 8 的標記只需要 3 個位元。所以我們把位元一個接一個、不留空隙地**打包** (pack)：
# 八個 3 位元的標記，恰好填滿三個位元組。
#
# ```text
# 標記        5    1    7    2    0    6    3    4
# 位元       101  001  111  010  000  110  011  100
# 位元組    |      0      |      1      |      2     |      (24 位元 = 3 位元組)
# ```

# %% [markdown]
# ### Exercise: `pack_codes` · ★★★☆ · 25 minutes · 4 points
#
# Write `pack_codes(codes, bits) -> uint8 Tensor`.
#
# - `codes` has any shape; take them row by row. Each lies in 0 .. 2^bits - 1.
# - `bits` is 1 to 8. Also 3, 5, 6 and 7: then codes run over the border of a byte.
# - The result has one dimension and exactly `ceil(count * bits / 8)` bytes. The unused bits of the
#   last byte are zeros.
# - The order of the bits is your choice; your `unpack_codes` must undo it.
# - `ValueError` for other widths, and for codes that do not fit.
#
# <details><summary>Hint 1</summary>
#
# First make a matrix of single bits, (count, bits):
# `codes.flatten()[:, None] >> torch.arange(bits)` and then `& 1`.
#
# <details><summary>Hint 2</summary>
#
# Flatten it: a stream of bits. Make its length a multiple of 8 with `F.pad(stream, (0, missing))`.
# `-length % 8` is what is missing.
#
# <details><summary>Hint 3</summary>
#
# Reshape to (bytes, 8). Each row times [1, 2, 4, …, 128], summed, is one byte.
#
# </details></details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`pack_codes` · ★★★☆ · 25 分鐘 · 4 分
#
# 寫出 `pack_codes(codes, bits) -> uint8 Tensor`。
#
# - `codes` 可以是任何形狀；一列一列依序取。每個都在 0 .. 2^bits - 1 之間。
# - `bits` 是 1 到 8，也包含 3、5、6 和 7：這時標記會跨過位元組的邊界。
# - 結果是一維的，恰好有 `ceil(count * bits / 8)` 個位元組。最後一個位元組中沒用到的位元是零。
# - 位元的順序由你決定；你的 `unpack_codes` 必須能還原它。
# - 遇到其他的寬度，以及放不下的標記，要引發 `ValueError`。
#
# <details><summary>提示 1</summary>
#
# 先做出由單一位元組成的矩陣，形狀是 (count, bits)：
# `codes.flatten()[:, None] >> torch.arange(bits)`，再做 `& 1`。
#
# <details><summary>提示 2</summary>
#
# 把它攤平：成為一串位元流。用 `F.pad(stream, (0, missing))` 把長度補成 8 的倍數。
# 缺少的個數是 `-length % 8`。
#
# <details><summary>提示 3</summary>
#
# 改成 (bytes, 8) 的形狀。每一列乘上 [1, 2, 4, …, 128] 再加總，就是一個位元組。
#
# </details></details></details>


# %% exercise="pack_codes" difficulty=3 minutes=25
def pack_codes(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Write codes as bits, one after the other, into bytes.

    Args:
        codes: Integers in 0 .. 2^bits - 1, any shape. Not changed.
        bits: Width of one code, 1 to 8.

    Returns:
        uint8, shape (ceil(number of codes * bits / 8),). The lowest bit comes first.

    Raises:
        ValueError: If bits lies outside 1 .. 8, or a code does not fit.
    """
    # TODO: bits of every code -> one stream -> eight bits to a byte
    ### BEGIN SOLUTION
    require(1 <= bits <= 8, f"bits must lie in 1 .. 8, got {bits}")
    flat = codes.flatten().to(torch.int64)
    require(((flat >= 0) & (flat < 2**bits)).all(), f"codes must lie in 0 .. {2**bits - 1}")
    stream = (flat[:, None] >> torch.arange(bits) & 1).flatten()  # (count, bits) -> (count * bits,)
    stream = F.pad(stream, (0, -len(stream) % 8))
    return (stream.reshape(-1, 8) << torch.arange(8)).sum(dim=1).to(torch.uint8)
    ### END SOLUTION


# %% check="pack_codes" points=4
toy_codes = torch.tensor([5, 1, 7, 2, 0, 6, 3, 4])
for bits, count, size in ((3, 8, 3), (3, 5, 2), (5, 7, 5), (7, 3, 3), (1, 9, 2), (8, 4, 4)):
    toy = torch.arange(1, count + 1) * 37 % 2**bits
    given = toy.clone()
    got = pack_codes(toy, bits)
    assert toy.equal(given), "the codes were changed"
    assert got.dtype == torch.uint8, f"expected uint8, got {got.dtype}"
    assert got.shape == (size,), (
        f"{count} codes of {bits} bits are {count * bits} bits: expected {size} bytes, "
        f"got shape {tuple(got.shape)}"
    )
    seen = {tuple(got.tolist())}
    for place in range(count):
        for bit in range(bits):
            other = toy.clone()
            other[place] ^= 1 << bit
            seen.add(tuple(pack_codes(other, bits).tolist()))
    assert len(seen) == 1 + count * bits, (
        f"{bits} bits: different codes gave the same bytes, so some bits were lost. "
        "Codes that run over the border of a byte, or the last byte?"
    )
assert pack_codes(toy_codes.reshape(2, 4), 3).equal(pack_codes(toy_codes, 3)), (
    "codes of shape (2, 4) must give the same bytes as the flat ones"
)
for bits in (0, 9):
    assert is_rejected(pack_codes, toy_codes, bits), f"bits={bits} must raise a ValueError"
passed("pack_codes")

# %% [markdown]
# ### Exercise: `unpack_codes` · ★★☆☆ · 15 minutes · 3 points
#
# Write `unpack_codes(packed, bits, count)`: it undoes your `pack_codes`. It returns the first
# `count` codes, int64, shape (count,).
#
# Why must it be told `count`? One byte of 3-bit codes holds two codes, and two bits that may mean
# nothing.
# `ValueError` for widths outside 1 .. 8, and for a count that is negative or more than the bytes
# hold.
#
# <details><summary>Hint 1</summary>
#
# uint8 is narrow: cast to int64 first. `packed[:, None] >> torch.arange(8) & 1` is (bytes, 8).
#
# <details><summary>Hint 2</summary>
#
# Flatten, cut to `count * bits`, reshape to (count, bits), multiply by powers of two, add up.
#
# </details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`unpack_codes` · ★★☆☆ · 15 分鐘 · 3 分
#
# 寫出 `unpack_codes(packed, bits, count)`：它還原你的 `pack_codes`。它回傳最前面的 `count` 個標記，
# 型別 int64，形狀 (count,)。
#
# 為什麼一定要告訴它 `count`？一個裝 3 位元標記的位元組裡有兩個標記，還有兩個可能毫無意義的位元。
# 寬度在 1 .. 8 之外，或個數為負、或多於這些位元組所能裝的數量，要引發 `ValueError`。
#
# <details><summary>提示 1</summary>
#
# uint8 很窄：先轉成 int64。`packed[:, None] >> torch.arange(8) & 1` 的形狀是 (bytes, 8)。
#
# <details><summary>提示 2</summary>
#
# 攤平，截到 `count * bits` 為止，改成 (count, bits) 的形狀，乘上 2 的冪次，再相加。
#
# </details></details>


# %% exercise="unpack_codes" difficulty=2 minutes=15
def unpack_codes(packed: torch.Tensor, bits: int, count: int) -> torch.Tensor:
    """Read codes from bytes that pack_codes wrote.

    Args:
        packed: uint8, one dimension. Not changed.
        bits: Width of one code, 1 to 8.
        count: How many codes, at least 0.

    Returns:
        The codes, int64, shape (count,).

    Raises:
        ValueError: If bits lies outside 1 .. 8, or the bytes do not hold that many codes.
    """
    # TODO: bytes -> one stream of bits -> codes
    ### BEGIN SOLUTION
    require(1 <= bits <= 8, f"bits must lie in 1 .. 8, got {bits}")
    held = packed.numel() * 8 // bits
    require(0 <= count <= held, f"count must lie in 0 .. {held}, got {count}")
    stream = (packed.to(torch.int64)[:, None] >> torch.arange(8) & 1).flatten()
    matrix = stream[: count * bits].reshape(count, bits)
    return (matrix << torch.arange(bits)).sum(dim=1)
    ### END SOLUTION


# %% check="unpack_codes" points=3
toy_generator = torch.Generator().manual_seed(3)
for bits in range(1, 9):
    for count in (1, 5, 8, 13, 64):
        toy = torch.randint(2**bits, (count,), generator=toy_generator)
        packed = pack_codes(toy, bits)
        given = packed.clone()
        got = unpack_codes(packed, bits, count)
        assert packed.equal(given), "the packed bytes were changed"
        assert got.dtype == torch.int64, f"expected int64, got {got.dtype}"
        assert got.shape == (count,), f"expected shape ({count},), got {tuple(got.shape)}"
        assert got.equal(toy), (
            f"{count} codes of {bits} bits: expected {toy[:8].tolist()}, got {got[:8].tolist()}. "
            "Is the order of the bits the same as in pack_codes?"
        )
for bits in (0, 9):
    assert is_rejected(unpack_codes, packed, bits, 1), f"bits={bits} must raise a ValueError"
assert is_rejected(unpack_codes, packed, 8, -1), "a negative count must raise a ValueError"
passed("unpack_codes")

# %% [markdown]
# ### Exercise: `compression_ratio` · ★☆☆☆ · 10 minutes · 3 points
#
# Write `compression_ratio(num_weights, k, weight_bits=32)`: how many times smaller is the layer?
#
# $$\text{ratio} = \frac{n \cdot b}{n \cdot \lceil \log_2 k \rceil + k \cdot b}$$
#
# with n weights of b bits. Below the line: the codes, **and the codebook**. A code has a whole
# number of bits, rounded **up**: k = 3 costs as much as k = 4. The sum is not rounded to bytes.
# `ValueError` for `num_weights < 1`, `k < 2`, and `weight_bits < 1`.
#
# *Example.* The paper's 16 weights, k = 4: 512 / (32 + 128) = 3.2.
#
# <details><summary>Hint 1</summary>
#
# `math.ceil(math.log2(k))`, or `(k - 1).bit_length()`.
#
# </details>

# %% [markdown] lang="zh-TW"
# ### 練習：`compression_ratio` · ★☆☆☆ · 10 分鐘 · 3 分
#
# 寫出 `compression_ratio(num_weights, k, weight_bits=32)`：這一層變小了幾倍？
#
# $$\text{ratio} = \frac{n \cdot b}{n \cdot \lceil \log_2 k \rceil + k \cdot b}$$
#
# 其中有 n 個權重，每個 b 個位元。分母是標記，**再加上權重映射表**。一個標記的位元數是整數，
# 要**無條件進位**：k = 3 和 k = 4 一樣貴。總和不要進位成整數個位元組。`num_weights < 1`、
# `k < 2` 與 `weight_bits < 1` 時，要引發 `ValueError`。
#
# *例：* 論文中的 16 個權重，k = 4：512 / (32 + 128) = 3.2。
#
# <details><summary>提示 1</summary>
#
# `math.ceil(math.log2(k))`，或是 `(k - 1).bit_length()`。
#
# </details>


# %% exercise="compression_ratio" difficulty=1 minutes=10
def compression_ratio(num_weights: int, k: int, weight_bits: int = 32) -> float:
    """Return how many times smaller codes and codebook are than the weights.

    Args:
        num_weights: At least 1.
        k: Number of centroids, at least 2.
        weight_bits: Bits of one weight, and of one centroid.

    Returns:
        Bits before divided by bits after. Below 1 when the codebook costs more than it saves.

    Raises:
        ValueError: If an argument cannot be.

    Source:
        Han et al. 2016, Deep Compression, equation 1.
    """
    # TODO: bits before / (bits of the codes + bits of the codebook)
    ### BEGIN SOLUTION
    require(num_weights >= 1, f"num_weights must be at least 1, got {num_weights}")
    require(k >= 2, f"k must be at least 2, got {k}")
    require(weight_bits >= 1, f"weight_bits must be at least 1, got {weight_bits}")
    code_bits = (k - 1).bit_length()
    return num_weights * weight_bits / (num_weights * code_bits + k * weight_bits)
    ### END SOLUTION


# %% check="compression_ratio" points=3
got = compression_ratio(16, 4)
assert not math.isclose(got, 16), "the codebook is missing: its k centroids are stored too"
assert math.isclose(got, 3.2), f"16 weights, k=4: expected 512 / (32 + 128) = 3.2, got {got}"
got = compression_ratio(1000, 5)
assert math.isclose(got, 32000 / 3160), (
    f"k=5 needs 3 bits a code (2 bits give only 4 codes): expected {32000 / 3160:.4f}, got {got}"
)
got = compression_ratio(1000, 16, weight_bits=16)
assert math.isclose(got, 16000 / 4256), (
    f"16-bit weights have 16-bit centroids: expected {16000 / 4256:.4f}, got {got}"
)
assert math.isclose(compression_ratio(500, 2), 16000 / 564), "k=2 needs 1 bit a code"
for bad in ((100, 1), (0, 4), (-5, 4)):
    assert is_rejected(compression_ratio, *bad), f"{bad} must raise a ValueError"
passed("compression_ratio")

# %% [markdown]
# For small layers the codebook matters: at 100 weights, k = 64 makes the layer *larger* than k =
# 16 by a factor of three.

# %% [markdown] lang="zh-TW"
# 對小的層來說，權重映射表不能忽略：只有 100 個權重時，用 k = 64 存的這一層，
# 大小是 k = 16 的**三倍**。


# %%
def plot_ratio(axes: plt.Axes, num_weights: int, weight_bits: int) -> None:
    """Draw the compression ratio against k."""
    ks = np.arange(2, 257)
    axes.plot(ks, [compression_ratio(num_weights, int(k), weight_bits) for k in ks])
    axes.axhline(1, color="0.5", ls=":")
    axes.set(xlabel="k", ylabel="compression ratio", xscale="log", ylim=(0, None))
    axes.set_xticks([2, 4, 8, 16, 32, 64, 128, 256], [2, 4, 8, 16, 32, 64, 128, 256])
    axes.set_title(f"{num_weights:,} weights of {weight_bits} bits")


explorer(plot_ratio, num_weights=(100, 20_100, 500, 5_100), weight_bits=[32, 16])

# %% [markdown]
# ### Measured: accuracy and bytes against k
#
# Now the whole LeNet. `clustered_bytes` counts what would really stand in a file: packed codes,
# codebooks in float32, biases in float32. And we do not trust the packing: the accuracy is measured
# on weights that were packed and **unpacked** again.

# %% [markdown] lang="zh-TW"
# ### 實測：準確率與位元組隨 k 的變化
#
# 現在換成整個 LeNet。`clustered_bytes` 計算真正會存進檔案的東西：打包後的標記、
# float32 的權重映射表，以及 float32 的 bias。而且我們不輕信打包的結果：
# 準確率是用打包之後又**解開**的權重量出來的。


# %%
def clustered_bytes(clusters: Clusters, model: nn.Module) -> int:
    """Return the bytes of packed codes, codebooks, and all other parameters in float32."""
    clustered = sum(codes.numel() for _, codes in clusters.values())
    size = 4 * (count_parameters(model) - clustered)
    for codebook, codes in clusters.values():
        width = max(1, (len(codebook) - 1).bit_length())
        size += pack_codes(codes, width).nbytes + codebook.nbytes
    return size


def through_bytes(clusters: Clusters) -> Clusters:
    """Pack and unpack all codes."""
    result = {}
    for name, (codebook, codes) in clusters.items():
        width = max(1, (len(codebook) - 1).bit_length())
        read = unpack_codes(pack_codes(codes, width), width, codes.numel())
        result[name] = (codebook, read.reshape(codes.shape))
    return result


dense_bytes = 4 * count_parameters(lenet)
clusters_by_k = {k: cluster_weights(lenet, k) for k in (2, 3, 4, 6, 8, 16, 32, 64, 128, 256)}
bytes_by_k = {k: clustered_bytes(found, lenet) for k, found in clusters_by_k.items()}
accuracy_by_k = {
    k: accuracy(apply_codebooks(lenet, through_bytes(found)), unseen)
    for k, found in clusters_by_k.items()
}
print("    k   bits      bytes   smaller   accuracy")
for k, size in bytes_by_k.items():
    bits = (k - 1).bit_length()
    print(f"{k:5} {bits:6} {size:10,} {dense_bytes / size:8.2f}x {accuracy_by_k[k]:10.1%}")
print(f"dense     32 {dense_bytes:10,}     1.00x {baseline:10.1%}")

# %%
_, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
left.plot(list(accuracy_by_k), [100 * value for value in accuracy_by_k.values()], "o-")
left.set(xlabel="k (centroids per layer)", xscale="log")
left.set_xticks([2, 4, 8, 16, 32, 64, 128, 256], [2, 4, 8, 16, 32, 64, 128, 256])
ratios = [dense_bytes / size for size in bytes_by_k.values()]
right.plot(ratios, [100 * value for value in accuracy_by_k.values()], "o-")
for k, ratio in zip(accuracy_by_k, ratios, strict=True):
    if k in (2, 3, 4, 8, 16, 256):
        place = (ratio, 100 * accuracy_by_k[k])
        shift = (-6, -14) if k in (16, 256) else (6, -4)
        right.annotate(f"k={k}", place, textcoords="offset points", xytext=shift, fontsize=9)
right.set(xlabel="times smaller (real bytes)")
for axes in (left, right):
    axes.axhline(100 * baseline, color="0.5", ls="--", lw=1.2, label="before clustering")
    axes.set_ylabel("accuracy (%)")
    axes.legend(loc="lower right" if axes is left else "lower left")
plt.show()

# %% [markdown]
# **What you see.**
#
# - With **k = 8** the accuracy is within about one point, and the file is **10.5 times** smaller.
#   Eight different numbers are enough for 400,000 weights!
# - k = 16 costs almost nothing; beyond 32 there is nothing left to win.
# - k = 3 is as large as k = 4, and k = 6 as large as k = 8: bits come whole. So take powers of two.
# - The ratio stays a little below 32 / bits. At k = 8 that would be 10.67; biases and codebooks
#   take the rest.
# - *The network is not faster.* To multiply, the weights must be looked up first. The lecture's
#   table says so: weight sharing needs extra processing.

# %% [markdown] lang="zh-TW"
# **你看到了什麼。**
#
# - **k = 8** 時，準確率相差大約一個百分點以內，而檔案小了 **10.5 倍**。八個不同的數字，
#   就夠 400,000 個權重用了！
# - k = 16 幾乎沒有損失；超過 32 就幾乎不會更好了。
# - k = 3 和 k = 4 一樣大，k = 6 和 k = 8 一樣大：位元只能是整數個。所以請選 2 的冪次。
# - 壓縮率會比 32 / 位元數 略低一點。k = 8 時這個值是 10.67；差額來自 bias 與權重映射表。
# - **網路並沒有變快。** 要做乘法，得先把權重查出來。課程的表格也這麼說：
#   需要額外的處理來支援權重共享。

# %% [markdown] written="which_k" points=2
# ### Written question 1 · 2 points
#
# (a) A friend clusters with k = 20. Which k would you advise, and why? (b) The same friend has a
# conv layer with 60 weights and takes k = 16, 'as for the others'. Compute the compression ratio
# and give advice.
#
# ### BEGIN SOLUTION
# *Model answer.* (a) k = 32: a code of 20 clusters takes ceil(log2 20) = 5 bits, and 5 bits allow
# 32 centroids; only twelve more floats in the codebook, and a smaller error. (k = 16 with 4 bits is
# also sensible: the codes get 20 % smaller.) (b) 60 * 32 / (60 * 4 + 16 * 32) = 1920 / 752 = 2.55,
# not 8. The codebook costs more than twice the codes. Take a smaller k (k = 4: 1920 / 248 = 7.7),
# or leave such a small layer as it is: it hardly counts in the whole file.
# *One point each. In (b) half for the number, half for sensible advice.*
# ### END SOLUTION

# %% [markdown] lang="zh-TW"
# ### 問答題 1 · 2 分
#
# (a) 一位朋友用 k = 20 做聚類。你會建議哪個 k？為什麼？(b) 同一位朋友有個 60 個權重的卷積層，
# 「跟其他層一樣」用 k = 16。請計算壓縮率並給出建議。
#
# ### BEGIN SOLUTION
# *參考答案。* (a) k = 32：20 群的標記需要 ceil(log2 20) = 5 個位元，而 5 個位元容得下
# 32 個聚類中心；權重映射表只多十二個浮點數，誤差卻更小。（k = 16、用 4 個位元也很合理：
# 標記會小 20 %。）(b) 60 * 32 / (60 * 4 + 16 * 32) = 1920 / 752 = 2.55，不是 8。
# 權重映射表的花費是標記的兩倍以上。請選較小的 k（k = 4：1920 / 248 = 7.7），
# 或讓這麼小的層保持原樣：它在整個檔案裡幾乎不佔份量。
# *各 1 分。(b) 中數字佔一半，合理的建議佔一半。*
# ### END SOLUTION

# %% [markdown]
# ### Measured: does the start matter?
#
# Deep Compression reports that the **linear** start is best: large weights are few but important,
# and linear gives them centroids of their own. We measure: SSE and accuracy after 0, 1, 5, 20, 100
# and 1,000 Lloyd steps, for k = 4 and k = 16. Random: three seeds.

# %% [markdown] lang="zh-TW"
# ### 實測：起點重要嗎？
#
# Deep Compression 的報告說 **linear** 起點最好：大的權重雖少但重要，
# 而 linear 會給它們自己的聚類中心。我們來量量看：分別做 0、1、5、20、100 和 1,000 次 Lloyd 步驟，
# 記錄 SSE 與準確率，k = 4 與 k = 16 各一組。random 用三個亂數種子。

# %%
steps_shown = (0, 1, 5, 20, 100, 1000)


def start_curve(k: int, init: str, seed: int) -> list[tuple[float, float]]:
    """Return (SSE, accuracy) after each number of Lloyd steps."""
    points = []
    for step in steps_shown:
        torch.manual_seed(seed)
        found = {
            name: kmeans_1d(layer.weight, k, init, step)
            for name, layer in lenet.named_modules()
            if isinstance(layer, nn.Linear | nn.Conv2d)
        }
        clustered = apply_codebooks(lenet, found)
        errors = [
            (clustered.get_submodule(name).weight - lenet.get_submodule(name).weight).square().sum()
            for name in found
        ]
        points.append((sum(errors).item(), accuracy(clustered, some_unseen)))
    return points


some_unseen = make_loader(*(part[:1000] for part in parts[0]), batch_size=500)
starts = [("linear", 0), ("density", 0), *(("random", seed) for seed in range(3))]
start_curves = {
    (k, init, seed): start_curve(k, init, seed)
    for k in (4, 16)
    for init, seed in tqdm(starts, desc=f"k = {k}")
}
_, panels = plt.subplots(2, 2, figsize=(10, 5.4), sharex=True, layout="constrained")
for column, k in enumerate((4, 16)):
    for init, seed in starts:
        curve = start_curves[k, init, seed]
        style = {"linear": "o-", "density": "s--", "random": "^:"}[init]
        color = {"linear": "C0", "density": "C1", "random": "C2"}[init]
        label = init if seed == 0 else None
        for row in (0, 1):
            shown = [point[row] for point in curve]
            panels[row, column].plot(shown, style, color=color, label=label, ms=4, lw=1.2)
    panels[0, column].set(title=f"k = {k}", yscale="log", ylabel="SSE")
    panels[1, column].set(xlabel="Lloyd steps", ylabel="accuracy")
    panels[1, column].set_xticks(range(len(steps_shown)), steps_shown)
panels[0, 0].legend()
plt.show()
print("accuracy after      " + "".join(f"{step:>8}" for step in steps_shown))
for (k, init, seed), curve in start_curves.items():
    print(f"k={k:2} {init:8} seed {seed}" + "".join(f"{point[1]:8.1%}" for point in curve))

# %% [markdown]
# **What you see, honestly.**
#
# - *At the start* it matters much. Without any Lloyd step k = 4 gives everything from 10 % to 87 %.
# - *Lloyd makes all starts alike.* After 20 steps they lie within about one point. That the linear
#   start is best, as the paper found, does **not** show here once k-means has converged.
# - *A smaller SSE is not a higher accuracy.* With k = 4 the linear start is better after 5 steps
#   than after 1,000, though its SSE falls all the time. After few steps the outer centroids still
#   stand far out, at the large weights. Later they move in, to where most weights are. So the
#   paper's *reason* is visible: large weights are few, but they count.
#
# k-means only knows the weights. What counts for the *loss* it cannot know.

# %% [markdown] lang="zh-TW"
# **你看到了什麼（老實說）。**
#
# - **一開始**差別很大。完全不做 Lloyd 步驟時，k = 4 的結果從 10 % 到 87 % 都有。
# - **Lloyd 會讓所有起點變得差不多。** 20 步之後，它們相差大約一個百分點以內。
#   論文發現 linear 起點最好；但 k-means 收斂之後，這一點在這裡**看不出來**。
# - **SSE 較小，不等於準確率較高。** k = 4 時，linear 起點做 5 步比做 1,000 步還好，
#   儘管它的 SSE 一路下降。步數少的時候，外側的聚類中心還遠遠待在外面，靠近那些大的權重。
#   之後它們才往內移，移到大多數權重所在的地方。所以論文說的**理由**看得見：大的權重很少，
#   但它們很重要。
#
# k-means 只認得權重。對 **loss** 來說什麼才重要，它無從得知。

# %% [markdown]
# ## Part D: training the centroids
#
# k-means looks at the weights only. It has never seen an image. The lecture's network can now
# **fine-tune** (微調): the codes stay as they are, the centroids learn.
#
# What is the gradient of a centroid? All weights of its cluster *are* the centroid. When it moves
# by a little, all of them move. So every one of them adds its part (chain rule, 連鎖律):
#
# $$\frac{\partial L}{\partial c_j} = \sum_{i:\ \text{code}_i = j} \frac{\partial L}{\partial w_i}$$
#
# A **sum**, not a mean. The picture is the right half of Figure 3 of the paper: the gradient of the
# weights, grouped by colour, added up, and one step of gradient descent with learning rate 1.

# %% [markdown] lang="zh-TW"
# ## D 部分：訓練聚類中心
#
# k-means 只看權重，從來沒看過任何影像。現在，課程中的網路可以做**微調** (fine-tune)：標記保持不變，
# 由聚類中心來學習。
#
# 聚類中心的梯度是什麼？同一群的權重**就是**那個聚類中心。它動一點點，所有的權重都跟著動。
# 所以每個權重都貢獻自己的一份，這就是**連鎖律** (chain rule)：
#
# $$\frac{\partial L}{\partial c_j} = \sum_{i:\ \text{code}_i = j} \frac{\partial L}{\partial w_i}$$
#
# 是**總和**，不是平均。下圖是論文 Figure 3 的右半邊：權重的梯度，依顏色分組、相加，
# 再以學習率 1 做一步梯度下降。

# %%
paper_sums = torch.stack([paper_gradient[paper_codes == j].sum() for j in range(4)])
_, panels = plt.subplots(
    1, 5, figsize=(10.5, 2.8), width_ratios=(4, 4, 1.2, 1.2, 1.2), layout="constrained"
)
draw_cells(panels[0], paper_gradient, paper_codes, "{:.2f}", "gradient of the weights")
grouped = torch.full((4, 5), float("nan"))
for j in range(4):
    members = paper_gradient[paper_codes == j]
    grouped[j, : len(members)] = members
column = torch.arange(4).reshape(4, 1)
draw_cells(panels[1], grouped, column.expand(4, 5), "{:.2f}", "grouped by code")
for text in list(panels[1].texts):
    if text.get_text() == "nan":
        text.set_text("")
draw_cells(panels[2], paper_sums[column], column, "{:.2f}", "sum")
draw_cells(panels[3], paper_codebook[column], column, "{:.2f}", "before")
draw_cells(panels[4], (paper_codebook - paper_sums)[column], column, "{:.2f}", "after")
plt.show()

# %% [markdown]
# ### Exercise: `centroid_gradient` · ★★☆☆ · 10 minutes · 3 points
#
# Write `centroid_gradient(weight_gradient, codes, k)`: shape (k,), the dtype of the gradient. Entry
# j is the **sum** of the gradients of all weights with code j, and 0 where there is none.
# `ValueError` for `k < 1`, shapes that differ, and codes outside 0 .. k - 1.
#
# *Example.* For the paper's matrices: [-0.03, 0.04, 0.02, 0.04].
#
# <details><summary>Hint 1</summary>
#
# `torch.zeros(k).index_add(0, codes.flatten(), weight_gradient.flatten())`.
#
# </details>

# %% [markdown] lang="zh-TW"
# ### 練習：`centroid_gradient` · ★★☆☆ · 10 分鐘 · 3 分
#
# 寫出 `centroid_gradient(weight_gradient, codes, k)`：形狀是 (k,)，dtype 與梯度相同。
# 第 j 項是標記為 j 的所有權重的梯度**總和**；沒有這種權重時是 0。`k < 1`、形狀不一致，
# 或標記超出 0 .. k - 1 時，要引發 `ValueError`。
#
# *例：* 以論文中的矩陣計算，得到 [-0.03, 0.04, 0.02, 0.04]。
#
# <details><summary>提示 1</summary>
#
# `torch.zeros(k).index_add(0, codes.flatten(), weight_gradient.flatten())`。
#
# </details>


# %% exercise="centroid_gradient" difficulty=2 minutes=10
def centroid_gradient(weight_gradient: torch.Tensor, codes: torch.Tensor, k: int) -> torch.Tensor:
    """Sum the gradients of the weights that share a centroid.

    Args:
        weight_gradient: Gradient of the loss for every weight, any shape. Not changed.
        codes: int64, in 0 .. k - 1, the same shape.
        k: Number of centroids, at least 1.

    Returns:
        Gradient of the loss for every centroid, shape (k,), dtype of weight_gradient.

    Raises:
        ValueError: If k or a code cannot be, or the shapes differ.

    Source:
        Han et al. 2016, Deep Compression, equation 3.
    """
    # TODO: add up the gradients code by code
    ### BEGIN SOLUTION
    require(k >= 1, f"k must be at least 1, got {k}")
    require(codes.shape == weight_gradient.shape, "codes must have the shape of weight_gradient")
    require(((codes >= 0) & (codes < k)).all(), f"codes must lie in 0 .. {k - 1}")
    sums = torch.zeros(k, dtype=weight_gradient.dtype)
    return sums.index_add(0, codes.flatten(), weight_gradient.detach().flatten())
    ### END SOLUTION


# %% check="centroid_gradient" points=3
given = paper_gradient.clone()
got = centroid_gradient(paper_gradient, paper_codes, 4)
assert paper_gradient.equal(given), "the gradient was changed"
assert got.shape == (4,), f"expected shape (4,), got {tuple(got.shape)}"
sums = torch.tensor([-0.03, 0.04, 0.02, 0.04])
assert not torch.allclose(got, sums / torch.tensor([4, 5, 3, 4]), atol=1e-6), (
    "these are means. All weights of a cluster move with the centroid: their gradients add up"
)
assert torch.allclose(got, sums, atol=1e-6), f"expected {sums}, got {got}"
got = centroid_gradient(paper_gradient, paper_codes, 6)
assert got.shape == (6,), f"k=6: expected shape (6,), got {tuple(got.shape)}"
assert got[4:].tolist() == [0, 0], f"a code that does not occur has gradient 0, got {got[4:]}"
assert centroid_gradient(paper_gradient.double(), paper_codes, 4).dtype == torch.float64, (
    "keep the dtype of the gradient"
)
assert is_rejected(centroid_gradient, paper_gradient, paper_codes, 0), "k=0 must be rejected"
passed("centroid_gradient")

# %% [markdown]
# ### Exercise: `finetune_codebooks` · ★★★☆ · 30 minutes · 7 points
#
# Write `finetune_codebooks(model, clusters, loader, epochs, lr)`. It returns **new clusters**: the
# same names, **the same codes**, trained codebooks.
#
# - It starts from `apply_codebooks(model, clusters)`: the model's own weights do not matter.
# - For every batch: cross-entropy, backward, `centroid_gradient` for each layer, one step of the
#   optimizer *on the codebooks*, and the new centroids into the weights.
# - All weights with the same code stay equal, always.
# - Biases and layers without a codebook stay as they are.
# - With `epochs=0` the codebooks come back as they were. `model` and `clusters` are not changed.
# - `ValueError` for unknown names, `lr <= 0` and negative `epochs`.
#
# <details><summary>Hint 1</summary>
#
# Let the optimizer see the codebooks only: `nn.Parameter(codebook.clone())` for each layer, and
# `torch.optim.Adam(list_of_them, lr)`.
#
# <details><summary>Hint 2</summary>
#
# After `loss.backward()` the gradient is in `layer.weight.grad`. Set `parameter.grad =
# centroid_gradient(layer.weight.grad, codes, k)` yourself, then `optimizer.step()`.
#
# <details><summary>Hint 3</summary>
#
# Clear the gradients of the *network* in every step as well: `network.zero_grad()`. Otherwise they
# pile up.
#
# <details><summary>Hint 4</summary>
#
# `with torch.no_grad(): layer.weight.copy_(parameter[codes])` puts the new centroids in.
#
# </details></details></details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`finetune_codebooks` · ★★★☆ · 30 分鐘 · 7 分
#
# 寫出 `finetune_codebooks(model, clusters, loader, epochs, lr)`。它回傳**新的 clusters**：
# 名稱相同，**標記相同**，權重映射表則是訓練過的。
#
# - 它從 `apply_codebooks(model, clusters)` 開始：模型自己的權重無關緊要。
# - 對每個批次 (batch)：算交叉熵 (cross-entropy)、反向傳播、對每一層算 `centroid_gradient`，
#   讓最佳化器**在權重映射表上**走一步，再把新的聚類中心放進權重。
# - 標記相同的權重永遠保持相等。
# - bias，以及沒有權重映射表的層，都保持原樣。
# - `epochs=0` 時，權重映射表原封不動地回傳。`model` 與 `clusters` 都不會被改動。
# - 遇到不認識的名稱、`lr <= 0` 與負的 `epochs`，要引發 `ValueError`。
#
# <details><summary>提示 1</summary>
#
# 讓最佳化器只看到權重映射表：每一層用一個 `nn.Parameter(codebook.clone())`，
# 再用 `torch.optim.Adam(list_of_them, lr)`。
#
# <details><summary>提示 2</summary>
#
# `loss.backward()` 之後，梯度在 `layer.weight.grad` 裡。
# 自己設定 `parameter.grad = centroid_gradient(layer.weight.grad, codes, k)`，
# 然後呼叫 `optimizer.step()`。
#
# <details><summary>提示 3</summary>
#
# 每一步也要清除**網路**的梯度：`network.zero_grad()`。否則它們會一直累積。
#
# <details><summary>提示 4</summary>
#
# `with torch.no_grad(): layer.weight.copy_(parameter[codes])` 把新的聚類中心放進去。
#
# </details></details></details></details>


# %% exercise="finetune_codebooks" difficulty=3 minutes=30
def finetune_codebooks(
    model: nn.Module, clusters: Clusters, loader: DataLoader, epochs: int, lr: float
) -> Clusters:
    """Train the centroids; the codes stay.

    Args:
        model: Has all layers that clusters names. Not changed.
        clusters: By layer name: codebook (k,) and codes, int64, shape of the weight. Not changed.
        loader: Yields (images, labels).
        epochs: How often to go through the loader, at least 0.
        lr: Learning rate of the centroids, above 0.

    Returns:
        New clusters: the same names and codes, trained codebooks.

    Raises:
        ValueError: If a name is unknown, or epochs or lr cannot be.

    Source:
        Han et al. 2016, Deep Compression, section 3.3.
    """
    # TODO: only the codebooks learn; their gradient is the sum over their weights
    ### BEGIN SOLUTION
    require(epochs >= 0, f"epochs must be at least 0, got {epochs}")
    require(lr > 0, f"lr must be above 0, got {lr}")
    network = apply_codebooks(model, clusters).train()
    layers = {name: network.get_submodule(name) for name in clusters}
    centroids = {
        name: nn.Parameter(codebook.detach().clone()) for name, (codebook, _) in clusters.items()
    }
    optimizer = torch.optim.Adam(centroids.values(), lr=lr)
    for _ in range(epochs):
        for inputs, targets in loader:
            network.zero_grad()
            F.cross_entropy(network(inputs), targets).backward()
            for name, layer in layers.items():
                codes, codebook = clusters[name][1], centroids[name]
                codebook.grad = centroid_gradient(layer.weight.grad, codes, len(codebook))
            optimizer.step()
            with torch.no_grad():
                for name, layer in layers.items():
                    layer.weight.copy_(centroids[name][clusters[name][1]])
    return {
        name: (centroids[name].detach(), codes.clone()) for name, (_, codes) in clusters.items()
    }
    ### END SOLUTION


# %% check="finetune_codebooks" points=7
toy_generator = torch.Generator().manual_seed(4)
toy_labels = torch.randint(3, (240,), generator=toy_generator)
toy_images = 0.5 * torch.randn(240, 1, 6, 6, generator=toy_generator)
toy_images[torch.arange(240), 0, 2 * toy_labels] += 1.5
toy_loader = make_loader(toy_images, toy_labels, batch_size=24, shuffle=True)
toy_net = nn.Sequential(nn.Flatten(), nn.Linear(36, 12), nn.ReLU(), nn.Linear(12, 3))
with torch.no_grad():
    for parameter in toy_net.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=toy_generator) / 4)
toy_net = train(toy_net, toy_loader, 4, lr=0.03, progress=False).train()
toy_start = {
    name: (codebook + 0.15, codes)
    for name, (codebook, codes) in cluster_weights(toy_net, 4).items()
}
before, given = copy.deepcopy(toy_net.state_dict()), copy.deepcopy(toy_start)


def toy_loss(clusters: Clusters) -> float:
    """Return the cross-entropy of the clustered toy network."""
    with torch.no_grad():
        return F.cross_entropy(apply_codebooks(toy_net, clusters)(toy_images), toy_labels).item()


got = finetune_codebooks(toy_net, toy_start, toy_loader, epochs=4, lr=0.02)
assert all(before[key].equal(now) for key, now in toy_net.state_dict().items()), (
    "the given model was changed"
)
assert all(module.training for module in toy_net.modules()), "the given model's mode was changed"
for name, (codebook, codes) in given.items():
    touched = toy_start[name][0]
    assert codebook.equal(touched), f"the given codebook of layer {name} was changed: train a clone"
    assert not touched.requires_grad, f"the given codebook of layer {name} now requires a gradient"
    assert set(got) == set(given), f"expected clusters for {sorted(given)}, got {sorted(got)}"
    assert got[name][1].equal(codes), f"layer {name}: the codes changed; only centroids learn"
    assert got[name][0].shape == codebook.shape, f"layer {name}: the codebook's shape changed"
    assert not got[name][0].equal(codebook), f"layer {name}: the codebook did not learn"
assert toy_loss(got) < 0.8 * toy_loss(given), (
    f"the loss should fall: before {toy_loss(given):.3f}, after {toy_loss(got):.3f}"
)
got = finetune_codebooks(toy_net, toy_start, toy_loader, 0, 0.02)
assert all(got[name][0].equal(codebook) for name, (codebook, _) in given.items()), (
    "epochs=0 must give the codebooks as they were"
)
assert is_rejected(finetune_codebooks, toy_net, toy_start, toy_loader, -1, 0.1), "epochs=-1"
assert is_rejected(finetune_codebooks, toy_net, toy_start, toy_loader, 1, 0.0), "lr=0"
assert is_rejected(finetune_codebooks, toy_net, {"9": toy_start["1"]}, toy_loader, 1, 0.1), (
    "an unknown layer name must raise a ValueError"
)
passed("finetune_codebooks")

# %% [markdown]
# ### Measured: what fine-tuning recovers
#
# One epoch over 12,000 images, for small k, where there is something to recover.

# %% [markdown] lang="zh-TW"
# ### 實測：微調能救回多少
#
# 用 12,000 張影像訓練一個 epoch，選小的 k，這樣才有東西可以救。


# %%
def tune(clusters: Clusters) -> Clusters:
    """Train the codebooks for an epoch, with the same random numbers each time."""
    torch.manual_seed(0)
    return remember(finetune_codebooks, lenet, clusters, training, epochs=1, lr=1e-3)


tuned_clusters = {k: tune(clusters_by_k[k]) for k in tqdm((2, 4, 8), desc="k")}
tuned_accuracy = {
    k: accuracy(apply_codebooks(lenet, found), unseen) for k, found in tuned_clusters.items()
}
for k, right_now in tuned_accuracy.items():
    print(f"k={k}: {accuracy_by_k[k]:.1%} -> {right_now:.1%} at the same bytes")

plt.figure(figsize=(6.5, 3.2))
for place, k in enumerate(tuned_accuracy):
    plt.plot([place, place], [100 * accuracy_by_k[k], 100 * tuned_accuracy[k]], color="0.7")
plt.plot([100 * accuracy_by_k[k] for k in tuned_accuracy], "o", label="after k-means")
plt.plot([100 * value for value in tuned_accuracy.values()], "s", label="after one epoch")
plt.axhline(100 * baseline, color="0.5", ls="--", lw=1.2, label="before clustering")
plt.xticks(range(len(tuned_accuracy)), [f"k={k}" for k in tuned_accuracy])
plt.ylabel("accuracy (%)")
plt.legend()
plt.show()
moved = (tuned_clusters[4]["fc1"][0] - clusters_by_k[4]["fc1"][0]).abs()
print(f"the four centroids of fc1 moved by {[round(value, 4) for value in moved.tolist()]}")

# %% [markdown]
# At k = 2 one epoch brings back **about ten points**, at k = 4 one, at k = 8 half a point. Over
# three other LeNets (10,000 test images each) it was much the same:
#
# | mean of three | k = 2 | k = 3 | k = 4 | k = 8 |
# |---|---|---|---|---|
# | after k-means | 75.0 | 85.5 | 88.1 | 90.2 |
# | after one epoch for the centroids | **81.7** | 86.8 | 88.9 | 90.6 |
#
# And it costs **no byte**: the codes do not change, the codebook has the same length. All that was
# trained is 4 layers times k numbers.

# %% [markdown] lang="zh-TW"
# k = 2 時，一個 epoch 能救回**大約十個百分點**；k = 4 時一個，k = 8 時半個。
# 換成另外三個 LeNet（各用 10,000 張測試影像），結果也差不多：
#
# | 三個的平均 | k = 2 | k = 3 | k = 4 | k = 8 |
# |---|---|---|---|---|
# | k-means 之後 | 75.0 | 85.5 | 88.1 | 90.2 |
# | 聚類中心訓練一個 epoch 之後 | **81.7** | 86.8 | 88.9 | 90.6 |
#
# 而且它**不多花任何位元組**：標記不變，權重映射表的長度也不變。訓練的只有 4 層各 k 個數字。

# %% [markdown] written="why_a_sum" points=2
# ### Written question 2 · 2 points
#
# (a) Explain with the chain rule why the gradient of a centroid is a sum and not a mean.
# (b) A friend takes the mean, uses Adam, and gets nearly the same accuracy as you. Another friend
# takes the mean with plain gradient descent (SGD) at your learning rate, and nothing moves. Explain
# both.
#
# ### BEGIN SOLUTION
# *Model answer.* (a) Each weight of the cluster is w_i = c_j, so dw_i/dc_j = 1. The loss depends on
# c_j through all these weights, and dL/dc_j = sum over i of dL/dw_i * 1. (b) The mean is the sum
# divided by the number of weights in the cluster: a constant for each centroid, as the codes do not
# change. Adam divides every gradient by a running estimate of its own size, so a constant factor
# cancels. SGD does not: with 100,000 weights in a cluster its step is 100,000 times smaller.
# (Between clusters the factor differs, so with SGD even the direction is wrong.)
# *One point for (a), half a point for each friend in (b).*
# ### END SOLUTION

# %% [markdown] lang="zh-TW"
# ### 問答題 2 · 2 分
#
# (a) 請用連鎖律解釋，為什麼聚類中心的梯度是總和而不是平均。
# (b) 一位朋友取平均並使用 Adam，準確率幾乎和你一樣。另一位朋友取平均，用單純的梯度下降 (SGD)
# 和你的學習率，結果什麼都沒動。請解釋這兩種情況。
#
# ### BEGIN SOLUTION
# *參考答案。* (a) 群中每個權重都是 w_i = c_j，所以 dw_i/dc_j = 1。loss 透過所有這些權重而取決於
# c_j，因此 dL/dc_j 等於對 i 加總 dL/dw_i * 1。(b) 平均就是總和除以群中的權重個數：標記不變，
# 所以對每個聚類中心來說，這是個常數。Adam 會把每個梯度除以它自身大小的移動估計值，
# 因此常數倍會被消掉。SGD 不會：一群有 100,000 個權重時，它的步伐就小了 100,000 倍。
# （各群的倍數不同，所以用 SGD 時連方向都是錯的。）
# *(a) 1 分，(b) 的每位朋友各 0.5 分。*
# ### END SOLUTION

# %% [markdown]
# ## Part E: clusters as a part of the loss (將權重的分佈作為 loss)
#
# So far the network was trained first and clustered afterwards. The slide's idea: tell the weights
# *during training* to gather around the centroids. Add to the loss
#
# $$\mathcal{L}_{cluster} = \sum_{w \in W} \min_{c \in C} (w - c)^2$$
#
# with W the weights and C the centroids. It is just the SSE of k-means. Then the whole loss is
# cross-entropy $+\ \lambda \cdot \mathcal{L}_{cluster}$. Each weight is pulled to **its nearest**
# centroid; the farther it is, the stronger the pull (the gradient is 2 (w - c)).

# %% [markdown] lang="zh-TW"
# ## E 部分：將權重的分佈作為 loss (clusters as a part of the loss)
#
# 到目前為止，都是先訓練網路，之後才聚類。投影片的想法是：**在訓練時**就叫權重往聚類中心集中。
# 在 loss 中加上
#
# $$\mathcal{L}_{cluster} = \sum_{w \in W} \min_{c \in C} (w - c)^2$$
#
# 其中 W 是權重集合，C 是聚類中心。它其實就是 k-means 的 SSE。於是整個 loss 是交叉熵
# $+\ \lambda \cdot \mathcal{L}_{cluster}$。每個權重都被拉向**離它最近**的聚類中心；離得越遠，
# 拉力越強（梯度是 2 (w - c)）。

# %% [markdown]
# ### Exercise: `cluster_loss` · ★★☆☆ · 15 minutes · 5 points
#
# Write `cluster_loss(weights, codebook)` as on the slide: the **sum**, over all weights, of the
# **squared** distance to the nearest centroid. A scalar tensor, differentiable in the weights.
#
# - `weights` is one tensor of any shape. The codebook may be in any order.
# - It is a sum: not a mean, not the root. The distance is squared, not absolute.
# - `ValueError` for an empty codebook.
#
# *Example.* Weights [0.1, 0.9, 2.0], codebook [0, 1]: 0.01 + 0.01 + 1 = 1.02.
#
# <details><summary>Hint 1</summary>
#
# Small tensors: `(weights.flatten()[:, None] - codebook) ** 2`, then the minimum of each row.
#
# <details><summary>Hint 2</summary>
#
# `argmin`, `round` and `bucketize` have no gradient. That does no harm if you use them only to
# *find* the nearest centroid, and then compute `(weights - nearest) ** 2` from the weights.
#
# </details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`cluster_loss` · ★★☆☆ · 15 分鐘 · 5 分
#
# 寫出 `cluster_loss(weights, codebook)`，和投影片上的一樣：對所有權重，
# 把到最近聚類中心的距離**平方**後取**總和**。結果是純量張量，可對權重微分。
#
# - `weights` 是一個任意形狀的張量。權重映射表可以是任何順序。
# - 是總和：不是平均，也不開根號。距離要平方，不是取絕對值。
# - 權重映射表為空時，要引發 `ValueError`。
#
# *例：* 權重 [0.1, 0.9, 2.0]，權重映射表 [0, 1]：0.01 + 0.01 + 1 = 1.02。
#
# <details><summary>提示 1</summary>
#
# 張量小的時候：`(weights.flatten()[:, None] - codebook) ** 2`，再取每一列的最小值。
#
# <details><summary>提示 2</summary>
#
# `argmin`、`round` 和 `bucketize` 沒有梯度。只要它們僅用來**找出**最近的聚類中心，
# 之後再從權重計算 `(weights - nearest) ** 2`，就沒有關係。
#
# </details></details>


# %% exercise="cluster_loss" difficulty=2 minutes=15
def cluster_loss(weights: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    """Return how far weights are from their nearest centroids: the lecture's L_cluster.

    Args:
        weights: Any shape. The gradient goes here.
        codebook: Centroids, shape (k,), at least one, in any order.

    Returns:
        Scalar: the sum of the squared distances.

    Raises:
        ValueError: If the codebook is empty.

    Source:
        The lecture, 'the distribution of the weights as loss'.
    """
    # TODO: nearest centroid of every weight; square; sum
    ### BEGIN SOLUTION
    require(codebook.numel() > 0, "codebook must have at least one centroid")
    ordered = codebook.detach().sort().values
    nearest = ordered[torch.bucketize(weights.detach(), borders(ordered))]
    return (weights - nearest).square().sum()
    ### END SOLUTION


# %% check="cluster_loss" points=5
toy_weights = torch.tensor([[0.1, 0.9], [2.0, -1.5]], requires_grad=True)
toy_codebook = torch.tensor([1.0, 0.0])  # not sorted
got = cluster_loss(toy_weights, toy_codebook)
assert isinstance(got, torch.Tensor), f"expected a tensor, got {type(got).__name__}"
assert got.numel() == 1, f"expected one number, got shape {tuple(got.shape)}"
wanted = 0.1**2 + 0.1**2 + 1 + 1.5**2
assert not math.isclose(got.item(), wanted / 4, rel_tol=1e-4), "this is the mean: take the sum"
assert not math.isclose(got.item(), 2.7, rel_tol=1e-4), "absolute distances: square them"
assert not math.isclose(got.item(), wanted**0.5, rel_tol=1e-4), "no square root"
assert math.isclose(got.item(), wanted, rel_tol=1e-4), (
    f"expected {wanted:.3f}, got {got.item():.3f}: is it the *nearest* centroid? "
    "The codebook may be in any order"
)
assert got.requires_grad, "no gradient: the loss is cut off from the weights"
got.backward()
assert toy_weights.grad is not None, "no gradient reaches the weights"
assert torch.allclose(toy_weights.grad, torch.tensor([[0.2, -0.2], [2.0, -3.0]]), atol=1e-5), (
    f"expected the gradient 2 (w - c), got {toy_weights.grad}"
)
with torch.no_grad():
    assert cluster_loss(toy_codebook, toy_codebook).item() == 0, "weights on centroids cost 0"
passed("cluster_loss")


# %%
def plot_pull(axes: plt.Axes, middle_centroid: float, squared: bool) -> None:
    """Draw the cluster loss of one weight, with three centroids."""
    codebook = torch.tensor([-1.0, middle_centroid, 1.0])
    line = torch.linspace(-1.6, 1.6, 321)
    if squared:
        heights = [cluster_loss(weight, codebook).item() for weight in line]
    else:
        heights = [(weight - codebook).abs().min().item() for weight in line]
    axes.plot(line, heights)
    for centroid in codebook.tolist():
        axes.axvline(centroid, color="0.5", ls="--", lw=1)
    axes.set(xlabel="weight", ylabel="cost of one weight", ylim=(0, 0.7))
    axes.set_title("valleys at the centroids, ridges at the borders")


explorer(plot_pull, middle_centroid=(-0.8, 0.8, 0.1, 0.2), squared=True)

# %% [markdown]
# ### Measured: training with the cluster loss
#
# From the course's LeNet, two more epochs, k = 2: the hardest case. Every half epoch the codebooks
# are computed anew from the weights. The control: the same two epochs with λ = 0.

# %% [markdown] lang="zh-TW"
# ### 實測：用聚類 loss 訓練
#
# 從本課程的 LeNet 出發，再訓練兩個 epoch，k = 2：這是最難的情況。每半個 epoch，
# 就依目前的權重重新計算權重映射表。對照組：同樣兩個 epoch，但 λ = 0。


# %%
def train_with_cluster_loss(
    model: nn.Module, epochs: int, lr: float, k: int, strength: float
) -> nn.Module:
    """Train a copy of the model with cross-entropy + strength * cluster loss of all layers."""
    trained = copy.deepcopy(model)
    layers = {name: trained.get_submodule(name) for name in cluster_weights(trained, k)}
    current = cluster_weights(trained, k)
    steps = 0

    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        pull = sum(cluster_loss(layer.weight, current[name][0]) for name, layer in layers.items())
        return F.cross_entropy(logits, targets) + strength * pull

    def refresh() -> None:
        nonlocal steps
        steps += 1
        if steps % (len(training) // 2) == 0:
            current.update(cluster_weights(trained, k))

    return train(trained, training, epochs, lr, loss_function=loss, after_step=refresh)


def gather(strength: float) -> nn.Module:
    """Train with the cluster loss, with the same random numbers each time."""
    torch.manual_seed(0)
    return remember(train_with_cluster_loss, lenet, 2, 1e-3, k=2, strength=strength)


gathered = {strength: gather(strength) for strength in (0.0, 1e-2)}
print("lambda      SSE   before clustering   after clustering (k = 2)")
for strength, network in gathered.items():
    found = cluster_weights(network, 2)
    clustered = apply_codebooks(network, found)
    error = sum(
        (clustered.get_submodule(name).weight - network.get_submodule(name).weight)
        .square()
        .sum()
        .item()
        for name in found
    )
    before_it, after_it = accuracy(network, unseen), accuracy(clustered, unseen)
    print(f"{strength:6g} {error:8.1f} {before_it:19.1%} {after_it:18.1%}")
both = finetune_codebooks(gathered[1e-2], cluster_weights(gathered[1e-2], 2), training, 1, 1e-3)
both_accuracy = accuracy(apply_codebooks(gathered[1e-2], both), unseen)
print(f"cluster loss and then one epoch for the centroids: {both_accuracy:.1%}")
print(f"one epoch for the centroids alone (Part D):        {tuned_accuracy[2]:.1%}")

# %%
_, panels = plt.subplots(1, 2, figsize=(10, 3.2), sharex=True, layout="constrained")
bins = np.linspace(-0.15, 0.15, 151)
for axes, strength in zip(panels, (0.0, 1e-2), strict=True):
    weight = gathered[strength].fc1.weight.detach()
    axes.hist(weight.flatten().numpy(), bins, color="C0", alpha=0.7)
    for centroid in kmeans_1d(weight, 2)[0].tolist():
        axes.axvline(centroid, color="C1", ls="--", lw=1.5)
    axes.set(title=f"fc1 after training, λ = {strength:g}", xlabel="weight")
panels[0].set_ylabel("number of weights")
plt.show()

# %% [markdown]
# **What you see, honestly.**
#
# - The weights do what the loss says: one broad hill has become **two needles**. The SSE is about
#   **eleven times** smaller.
# - *Before* clustering this costs about half a point. *After* clustering it gains about seven
#   points at k = 2. So the slide is right.
# - But one epoch for the centroids alone gains *more*, and trains eight numbers. Both together are
#   hardly better than that.
# - At k = 4 the gain was only half a point (87.9 to 88.3, three LeNets). With λ = 0.001 at k = 2
#   also only 0.6: too weak to gather the weights in two epochs.

# %% [markdown] lang="zh-TW"
# **你看到了什麼（老實說）。**
#
# - 權重照著 loss 的要求做了：一座寬寬的山丘變成了**兩根針**。SSE 大約小了**十一倍**。
# - 聚類**之前**，這要付出大約半個百分點。聚類**之後**，k = 2 時則高出大約七個百分點。
#   所以投影片說得對。
# - 但是，只用一個 epoch 訓練聚類中心，進步得**更多**，而且只訓練八個數字。兩者並用，幾乎不會更好。
# - k = 4 時只進步了半個百分點（87.9 到 88.3，三個 LeNet）。k = 2、λ = 0.001 時也只有 0.6：太弱了，
#   兩個 epoch 內沒辦法讓權重集中起來。

# %% [markdown] written="is_it_worth_it" points=2
# ### Written question 3 · 2 points
#
# (a) The slide says that the cluster loss 'can lower the effect of clustering on accuracy'. Say
# with your own numbers whether that is true, and compare with fine-tuning the centroids. Which one
# would you use, and when? (b) What happens to the network if λ is far too large?
#
# ### BEGIN SOLUTION
# *Model answer.* (a) It is true: with λ = 0.01 the SSE falls by about ten times, and the accuracy
# after clustering with k = 2 is several points higher than without. But one epoch for the centroids
# alone gives at least as much, and trains a handful of numbers. Fine-tuning is the cheaper choice
# for a finished network. The cluster loss is for a network that is trained anyway, or both
# together; at k = 8 and above neither is needed. (b) The weights jump to the nearest centroid and
# stay there; the cross-entropy no longer counts, and the accuracy before clustering falls.
# Clustering itself then costs nothing, because there is nothing left to lose.
# *One point for (a): own numbers and a comparison. One for (b). Any consistent reading of the
# student's own measurements counts.*
# ### END SOLUTION

# %% [markdown] lang="zh-TW"
# ### 問答題 3 · 2 分
#
# (a) 投影片說，聚類 loss「可以降低聚類後對精度的影響」。請用你自己的數字說明這是否正確，
# 並和微調聚類中心做比較。你會用哪一個？什麼時候用？(b) 如果 λ 遠遠過大，網路會發生什麼事？
#
# ### BEGIN SOLUTION
# *參考答案。* (a) 正確：λ = 0.01 時，SSE 大約小了十倍，
# 而 k = 2 聚類後的準確率比不用時高了好幾個百分點。但只用一個 epoch 訓練聚類中心，
# 至少也能進步這麼多，而且只訓練幾個數字。對已經訓練好的網路，微調是比較便宜的選擇。
# 聚類 loss 適合反正要訓練的網路，或兩者並用；k = 8 以上則兩者都不需要。
# (b) 權重會跳到最近的聚類中心並停在那裡；交叉熵不再有作用，聚類之前的準確率就下降了。
# 聚類本身這時不用付出代價，因為已經沒有什麼可以損失的了。
# *(a) 1 分：要有自己的數字與比較。(b) 1 分。只要對自己測量結果的解讀前後一致，都算對。*
# ### END SOLUTION

# %% [markdown]
# ## Part F: then post-training quantization (聚類後結合 PTQ)
#
# The lecture: *after clustering, PTQ can compress further*. What is left to quantize? The codes are
# small already. It is the **codebook**: its k centroids are float32.

# %% [markdown] lang="zh-TW"
# ## F 部分：聚類後結合 PTQ (post-training quantization)
#
# 課程說：**聚類後可以結合 PTQ 再進一步壓縮**。還剩下什麼可以量化？標記已經很小了。
# 剩下的是**權重映射表**：它的 k 個聚類中心是 float32。

# %% [markdown]
# ### Exercise: `quantize_codebook` · ★★☆☆ · 10 minutes · 4 points
#
# Write `quantize_codebook(codebook, bits)`: a **float** codebook whose values lie on the symmetric
# grid of topic 3.
#
# - scale = max|c| / (2^(bits - 1) - 1). Divide, round half to even, multiply by the scale again.
# - Same shape and dtype. A codebook of zeros stays zeros.
# - `ValueError` for bits outside 2 .. 16, and for NaN.
#
# *Example.* [-1, 0.1, 0.4] at 3 bits: scale 1/3, grid [-3, 0, 1], result [-1, 0, 0.333].
#
# <details><summary>Hint 1</summary>
#
# `torch.round` rounds half to even.
#
# <details><summary>Hint 2</summary>
#
# 0 / 0 is NaN: for an all-zero codebook take the scale 1.
#
# </details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`quantize_codebook` · ★★☆☆ · 10 分鐘 · 4 分
#
# 寫出 `quantize_codebook(codebook, bits)`：回傳一個**浮點數**的權重映射表，其中的值都落在主題
# 3 的對稱格點上。
#
# - scale = max|c| / (2^(bits - 1) - 1)。先除，再取最近的整數（恰好一半時取偶數），最後乘回 scale。
# - 形狀與 dtype 相同。全是零的權重映射表仍然是零。
# - bits 在 2 .. 16 之外，或含有 NaN 時，要引發 `ValueError`。
#
# *例：* [-1, 0.1, 0.4] 用 3 個位元：scale 是 1/3，格點是 [-3, 0, 1]，結果是 [-1, 0, 0.333]。
#
# <details><summary>提示 1</summary>
#
# `torch.round` 在恰好一半時取偶數。
#
# <details><summary>提示 2</summary>
#
# 0 / 0 是 NaN：權重映射表全為零時，scale 取 1。
#
# </details></details>


# %% exercise="quantize_codebook" difficulty=2 minutes=10
def quantize_codebook(codebook: torch.Tensor, bits: int) -> torch.Tensor:
    """Round centroids to the symmetric grid of a bit width.

    Args:
        codebook: Centroids, shape (k,). Not changed.
        bits: 2 to 16.

    Returns:
        Whole multiples of max|c| / (2^(bits - 1) - 1), shape and dtype of codebook.

    Raises:
        ValueError: If bits lies outside 2 .. 16, or the codebook holds NaN.

    Source:
        The lecture: clustering, then PTQ; the symmetric scale of topic 3.
    """
    # TODO: symmetric scale, round, back to float
    ### BEGIN SOLUTION
    require(2 <= bits <= 16, f"bits must lie in 2 .. 16, got {bits}")
    require(not codebook.isnan().any(), "codebook must not hold NaN")
    scale = codebook.detach().abs().max().item() / (2 ** (bits - 1) - 1) or 1.0
    return torch.round(codebook.detach() / scale) * scale
    ### END SOLUTION


# %% check="quantize_codebook" points=4
toy = torch.tensor([-1.0, 0.1, 0.4])
got = quantize_codebook(toy, 3)
assert toy.tolist() == torch.tensor([-1.0, 0.1, 0.4]).tolist(), "the codebook was changed"
assert got.dtype == torch.float32, f"expected float32 values, got {got.dtype}: not the codes"
assert got.shape == (3,), f"expected shape (3,), got {tuple(got.shape)}"
assert not torch.allclose(got, torch.tensor([-3.0, 0.0, 1.0])), (
    "these are the whole numbers: multiply by the scale again"
)
assert torch.allclose(got, torch.tensor([-1.0, 0.0, 1 / 3]), atol=1e-6), (
    f"expected [-1, 0, 0.333], got {got}: scale = max|c| / (2^(bits - 1) - 1)"
)
toy = torch.linspace(-0.7, 0.5, 40)
for bits in (2, 4, 8):
    scale = 0.7 / (2 ** (bits - 1) - 1)
    steps = quantize_codebook(toy, bits) / scale
    assert torch.allclose(steps, steps.round(), atol=1e-3), f"{bits} bits: not on the grid"
    assert (quantize_codebook(toy, bits) - toy).abs().max() <= scale / 2 + 1e-5, (
        f"{bits} bits: a value moved by more than half a step"
    )
assert quantize_codebook(torch.tensor([3.0, 0.5, 1.5]), 3).tolist() == [3, 0, 2], (
    "0.5 and 1.5 at scale 1: round half to even gives 0 and 2"
)
assert quantize_codebook(torch.zeros(4), 8).tolist() == [0] * 4, "zeros stay zeros"
assert quantize_codebook(toy.double(), 8).dtype == torch.float64, "keep the dtype"
for bits in (1, 17):
    assert is_rejected(quantize_codebook, toy, bits), f"bits={bits} must raise a ValueError"
assert is_rejected(quantize_codebook, toy * float("nan"), 8), "NaN must raise a ValueError"
passed("quantize_codebook")

# %% [markdown]
# ### Measured: clustering and PTQ together

# %% [markdown] lang="zh-TW"
# ### 實測：聚類與 PTQ 並用


# %%
def accuracy_with_codebooks(clusters: Clusters, bits: int) -> float:
    """Return the accuracy when every centroid has so many bits."""
    found = {
        name: (quantize_codebook(codebook, bits), codes)
        for name, (codebook, codes) in clusters.items()
    }
    return accuracy(apply_codebooks(lenet, found), unseen)


codebook_widths = (16, 8, 6, 5, 4, 3)
quantized_accuracy = {
    k: [accuracy_with_codebooks(clusters_by_k[k], bits) for bits in codebook_widths]
    for k in (4, 8, 16, 32)
}
plt.figure(figsize=(6.5, 3.2))
for (k, values), marker in zip(quantized_accuracy.items(), "os^D", strict=True):
    plt.plot([100 * value for value in values], f"{marker}-", label=f"k={k}")
plt.xticks(range(len(codebook_widths)), codebook_widths)
plt.xlabel("bits of each centroid")
plt.ylabel("accuracy (%)")
plt.legend()
plt.show()
print("      k " + "".join(f"{bits:>5} bit" for bits in codebook_widths) + "    codebooks, 32 bit")
for k, values in quantized_accuracy.items():
    share = 4 * k * len(clusters_by_k[k]) / bytes_by_k[k]
    numbers = "".join(f"{value:9.1%}" for value in values)
    print(f"{k:7} {numbers}    {share:.2%} of the bytes")

# %% [markdown]
# **What you see, honestly.**
#
# - Down to **5 or 6 bits** for each centroid nothing is lost. At 4 bits some nets lose points, at 3
#   bits all of them fall.
# - A 3-bit grid has 7 points, at equal distances. 16 centroids cannot stay different on it; and
#   k-means had put them where they were *not* at equal distances.
# - *The file hardly gets smaller.* The codebooks are about 0.1 % of it! 'Further compression' is
#   not the point for a layer of this size. The point is **integer arithmetic**: with 8-bit
#   centroids the layer can compute as in topic 3. And where every small group of weights has a
#   codebook of its own (as in formats for language models), the codebooks do count.

# %% [markdown] lang="zh-TW"
# **你看到了什麼（老實說）。**
#
# - 每個聚類中心降到 **5 或 6 個位元**，什麼都沒有損失。4 個位元時，有些網路會掉幾個百分點；
#   3 個位元時，全部都會掉。
# - 3 位元的格點只有 7 個，而且等距。16 個聚類中心不可能在上面還各不相同；
#   而且 k-means 當初擺放它們的位置，本來就**不是**等距的。
# - **檔案幾乎沒有變小。** 權重映射表大約只佔 0.1 %！對這麼大的層來說，重點不在「進一步壓縮」，
#   而在**整數運算**：聚類中心是 8 位元時，這一層就能像主題 3 那樣計算。
#   至於每一小組權重都有自己的權重映射表的情形（例如語言模型的格式），權重映射表的大小就很要緊了。

# %% [markdown]
# ## Part G: Huffman coding (霍夫曼編碼)
#
# k-means does not fill its clusters equally. Many weights lie near 0, few are large. A fixed code
# gives all of them the same number of bits. **Huffman coding** (霍夫曼編碼), the third stage of
# Deep Compression, gives *frequent* codes *short* bit strings. Nothing is lost by it (無損).
#
# How: take the two rarest symbols and join them into one node, whose count is their sum. Repeat
# until one node is left. Each join makes the bit strings of all symbols inside **one bit longer**.

# %% [markdown] lang="zh-TW"
# ## G 部分：霍夫曼編碼 (Huffman coding)
#
# k-means 不會把各群裝得一樣滿。很多權重靠近 0，大的很少。
# 固定長度的編碼給每個標記同樣多的位元。**霍夫曼編碼** (Huffman coding) 是 Deep Compression
# 的第三個階段，它給**常見**的標記**較短**的位元串。這樣做是**無損** (lossless) 的。
#
# 做法：取出最少見的兩個符號，把它們併成一個節點，節點的次數是兩者之和。重複下去，直到只剩一個節點。
# 每合併一次，其中所有符號的位元串就**多一個位元**。

# %%
example = {"a": 40, "b": 30, "c": 15, "d": 10, "e": 5}
places = {"e": 0.0, "d": 1.0, "c": 2.0, "b": 3.0, "a": 4.0}
joins = [("e", "d", 15), ("ed", "c", 30), ("edc", "b", 60), ("edcb", "a", 100)]
positions = {name: (place, 0.0) for name, place in places.items()}
plt.figure(figsize=(6.5, 3.2))
for height, (first, second, count) in enumerate(joins, 1):
    middle = (positions[first][0] + positions[second][0]) / 2
    positions[first + second] = (middle, height)
    for name, bit in ((first, "0"), (second, "1")):
        x, y = positions[name]
        plt.plot([x, middle], [y, height], color="0.5", lw=1.2, zorder=1)
        plt.text((x + middle) / 2, (y + height) / 2, bit, color="C1", fontsize=11)
    plt.text(middle, height + 0.12, count, ha="center", fontsize=9)
for depth, name in zip((4, 4, 3, 2, 1), places, strict=True):
    plt.text(places[name], -0.2, f"{name}: {example[name]}", ha="center", va="top", fontsize=10)
    plt.text(places[name], -0.65, f"{depth} bits", ha="center", va="top", fontsize=9)
plt.title("100 symbols: 205 bits instead of 300 (3 bits each)", fontsize=10)
plt.ylim(-1.2, 4.6)
plt.axis("off")
plt.show()

# %% [markdown]
# ### Exercise: `huffman_code` · ★★★☆ · 30 minutes · 5 points
#
# Write `huffman_code(codes) -> (bits_per_symbol, total_bits)`.
#
# - `bits_per_symbol` is a dictionary: each code that occurs (an `int`) -> the length of its bit
#   string (an `int`). The strings themselves are not asked for.
# - `total_bits` is the `int` number of bits for all codes together: count times length, summed.
# - With ties there are several best codes. Any of them is right.
# - **A single symbol** takes 1 bit each time. (Joining never happens, so be careful: 0 is wrong.)
#
# Two things hold for every Huffman code of two or more symbols: the total is the smallest possible,
# and $\sum 2^{-\text{length}} = 1$ (**Kraft's equality**).
#
# *Example.* The picture: `{a: 1, b: 2, c: 3, d: 4, e: 4}`, 205 bits.
#
# <details><summary>Hint 1</summary>
#
# `symbols, counts = codes.unique(return_counts=True)`. Then `.tolist()`: Python numbers.
#
# <details><summary>Hint 2</summary>
#
# `heapq` keeps a list whose smallest entry comes first: `heapq.heappop`, `heapq.heappush`,
# `heapq.heapify`.
#
# <details><summary>Hint 3</summary>
#
# Entries `(count, [symbols inside])`. Pop two, add 1 to the length of all symbols inside both, push
# the sum and the joined list.
#
# </details></details></details>

# %% [markdown] lang="zh-TW"
# ### 練習：`huffman_code` · ★★★☆ · 30 分鐘 · 5 分
#
# 寫出 `huffman_code(codes) -> (bits_per_symbol, total_bits)`。
#
# - `bits_per_symbol` 是一個字典：每個出現過的標記（`int`）-> 它的位元串長度（`int`）。
#   不要求寫出位元串本身。
# - `total_bits` 是所有標記合計的位元數（`int`）：次數乘以長度，再加總。
# - 次數相同時，最佳編碼不只一種。任何一種都對。
# - **只有一個符號**時，每次用 1 個位元。（合併根本不會發生，所以要小心：0 是錯的。）
#
# 只要有兩個以上的符號，每個霍夫曼編碼都滿足兩件事：總位元數是可能的最小值，
# 而且 $\sum 2^{-\text{length}} = 1$（**Kraft 等式**，Kraft's equality）。
#
# *例：* 圖中的例子：`{a: 1, b: 2, c: 3, d: 4, e: 4}`，共 205 個位元。
#
# <details><summary>提示 1</summary>
#
# `symbols, counts = codes.unique(return_counts=True)`。再用 `.tolist()`：變成 Python 的數字。
#
# <details><summary>提示 2</summary>
#
# `heapq` 維護一個最小項在最前面的 list：`heapq.heappop`、`heapq.heappush`、`heapq.heapify`。
#
# <details><summary>提示 3</summary>
#
# 每一項是 `(count, [symbols inside])`，也就是次數與其中的符號。取出兩項，把兩者中所有符號的長度加
# 1，再把次數之和與合併後的 list 放回去。
#
# </details></details></details>


# %% exercise="huffman_code" difficulty=3 minutes=30
def huffman_code(codes: torch.Tensor) -> tuple[dict[int, int], int]:
    """Return the lengths of an optimal prefix code for the codes.

    Args:
        codes: Integers, any shape, at least one element. Not changed.

    Returns:
        By symbol that occurs: the length of its bit string; and the bits of all codes together.
        A single symbol takes 1 bit.

    Raises:
        ValueError: If there are no codes.

    Source:
        Huffman 1952, A Method for the Construction of Minimum-Redundancy Codes.
    """
    # TODO: join the two rarest until one is left; every join makes its symbols one bit longer
    ### BEGIN SOLUTION
    require(codes.numel() > 0, "codes must have at least one element")
    symbols, occurrences = codes.unique(return_counts=True)
    counts = dict(zip(symbols.tolist(), occurrences.tolist(), strict=True))
    lengths = dict.fromkeys(counts, 0 if len(counts) > 1 else 1)
    nodes = [(count, [symbol]) for symbol, count in counts.items()]
    heapq.heapify(nodes)
    while len(nodes) > 1:
        first_count, first = heapq.heappop(nodes)
        second_count, second = heapq.heappop(nodes)
        for symbol in first + second:
            lengths[symbol] += 1
        heapq.heappush(nodes, (first_count + second_count, first + second))
    return lengths, sum(counts[symbol] * length for symbol, length in lengths.items())
    ### END SOLUTION


# %% check="huffman_code" points=5
toy = torch.tensor([0] * 40 + [1] * 30 + [2] * 15 + [3] * 10 + [7] * 5)
lengths, total = huffman_code(toy)
assert isinstance(lengths, dict), f"expected a dictionary, got {type(lengths).__name__}"
assert set(lengths) == {0, 1, 2, 3, 7}, f"expected an entry for each code that occurs: {lengths}"
assert sum(2.0 ** -lengths[symbol] for symbol in lengths) == 1, (
    f"Kraft's equality does not hold for {lengths}: too long, or not decodable"
)
assert lengths == {0: 1, 1: 2, 2: 3, 3: 4, 7: 4}, (
    f"expected lengths 1, 2, 3, 4, 4 for counts 40, 30, 15, 10, 5, got {lengths}"
)
assert total == 205, f"expected 40*1 + 30*2 + 15*3 + 10*4 + 5*4 = 205 bits, got {total}"
lengths, total = huffman_code(torch.tensor([[3, 3], [3, 3]]))
assert (lengths, total) == ({3: 1}, 4), (
    f"a single symbol takes 1 bit each time: expected {{3: 1}} and 4, got {lengths} and {total}"
)
for count, best in ((2, 20), (3, 50), (4, 80), (6, 160), (8, 240)):
    lengths, total = huffman_code(torch.arange(count).repeat(10))
    assert total == best, f"{count} equally frequent codes: expected {best} bits, got {total}"
    assert total == sum(10 * length for length in lengths.values()), "total is not count * length"
passed("huffman_code")


# %%
def entropy_bits(codes: torch.Tensor) -> float:
    """Return the entropy of the codes in bits per code: no code can do better on average."""
    share = codes.flatten().bincount().double() / codes.numel()
    return -(share * share.clamp(min=1e-300).log2()).sum().item()


def plot_lengths(axes: plt.Axes, k: int, layer: str) -> None:
    """Draw how often each code occurs, and how long its Huffman string is."""
    # Not all 400,000 of fc1: the picture must follow the slider.
    _, codes = kmeans_1d(lenet.get_submodule(layer).weight.detach().flatten()[:20_000], k)
    lengths, total = huffman_code(codes)
    share = codes.flatten().bincount(minlength=k) / codes.numel()
    axes.bar(range(k), share, color="C0", alpha=0.7)
    for code, length in lengths.items():
        axes.text(code, share[code] + 0.005, length, ha="center", fontsize=8)
    mean = total / codes.numel()
    fixed = (k - 1).bit_length()
    axes.set_title(f"fixed {fixed} bits, Huffman {mean:.2f}, entropy {entropy_bits(codes):.2f}")
    axes.set_xlabel("code (the number: bits of its Huffman string)")
    axes.set_ylabel("share of the weights (first 20,000)")
    axes.margins(y=0.1)


explorer(plot_lengths, k=(2, 32, 1, 16), layer=["fc1", "conv2", "fc2", "conv1"])

# %% [markdown]
# ### Measured: what Huffman adds

# %% [markdown] lang="zh-TW"
# ### 實測：霍夫曼編碼帶來多少


# %%
def huffman_bytes(clusters: Clusters, model: nn.Module) -> int:
    """Return the bytes with Huffman strings: lengths table (one byte per symbol) included."""
    clustered = sum(codes.numel() for _, codes in clusters.values())
    size = 4 * (count_parameters(model) - clustered)
    for codebook, codes in clusters.values():
        _, total = huffman_code(codes)
        size += math.ceil(total / 8) + len(codebook) + codebook.nbytes
    return size


print("    k   packed codes   + Huffman   bits per weight: fixed, Huffman, entropy (fc1)")
for k in (2, 4, 8, 16, 32):
    found = clusters_by_k[k]
    big = found["fc1"][1]
    mean = huffman_code(big)[1] / big.numel()
    packed_ratio = dense_bytes / bytes_by_k[k]
    coded_ratio = dense_bytes / huffman_bytes(found, lenet)
    print(
        f"{k:5} {packed_ratio:13.2f}x {coded_ratio:10.2f}x "
        f"{(k - 1).bit_length():20d} {mean:9.2f} {entropy_bits(big):9.2f}"
    )

# %% [markdown]
# - At k = 2 it gives nothing: the two codes are about equally frequent, and a string has at least
#   one bit.
# - The more clusters, the more uneven they are: 5 % at k = 4, about 10 % at k = 8 and 16, 20 % at
#   k = 32.
# - Huffman is at most 0.06 bits above the **entropy** (熵), and no code at all can go below it.
# - The price: a Huffman stream must be read from its beginning. You cannot jump to weight 1,000.

# %% [markdown] lang="zh-TW"
# - k = 2 時沒有任何好處：兩個標記出現得差不多頻繁，而位元串至少要一個位元。
# - 群越多，分佈越不平均：k = 4 時省 5 %，k = 8 與 16 時大約 10 %，k = 32 時 20 %。
# - 霍夫曼編碼最多比**熵** (entropy) 多 0.06 個位元，而任何編碼都不可能低於熵。
# - 代價：霍夫曼位元流必須從頭讀起。你沒辦法直接跳到第 1,000 個權重。

# %% [markdown]
# ## Deep Compression, beside yours
#
# Han et al. 2016 put three stages in a row: **prune**, **cluster**, **Huffman**. On MNIST they
# made LeNet-300-100 **40 times** and LeNet-5 **39 times** smaller, without loss of accuracy.
#
# Now the same chain with your functions. The course's second checkpoint is the LeNet with 90 % of
# its weights pruned. Only the weights that are left are clustered (k = 32 in conv, 16 in linear
# layers). *Where* they stand is stored as **gaps** (間隔): how many zeros lie before each weight.
# A gap has 8 bits in conv and 5 bits in linear layers. The largest number of that width means:
# skip so many zeros, no weight here yet.

# %% [markdown] lang="zh-TW"
# ## Deep Compression 與你的結果
#
# Han et al. 2016 把三個階段串在一起：**剪枝**、**聚類**、**霍夫曼編碼**。在 MNIST 上，
# 他們把 LeNet-300-100 縮小了 **40 倍**，把 LeNet-5 縮小了 **39 倍**，準確率沒有損失。
#
# 現在用你的函式做同樣的一串流程。本課程的第二個檢查點 (checkpoint) 是剪掉 90 % 權重的 LeNet。
# 只有留下來的權重才做聚類（卷積層 k = 32，全連接層 16）。它們**在哪裡**則以**間隔** (gap) 儲存：
# 每個權重前面有幾個零。一個間隔在卷積層用 8 個位元，在全連接層用 5 個位元。
# 該寬度的最大數字有特別的意思：跳過這麼多個零，這裡還沒有權重。


# %%
def gaps_of(weight: torch.Tensor, width: int) -> torch.Tensor:
    """Return the gaps before the weights that are not zero; 2^width - 1 means 'go on'."""
    longest = 2**width - 1
    places = weight.flatten().nonzero().flatten()
    zeros = torch.diff(places, prepend=torch.tensor([-1])) - 1
    fillers = zeros // longest
    stream = torch.full((int((fillers + 1).sum()),), longest)
    stream[(fillers + 1).cumsum(0) - 1] = zeros % longest
    return stream


def weight_from(
    gaps: torch.Tensor, width: int, values: torch.Tensor, shape: torch.Size
) -> torch.Tensor:
    """Return the weight that gaps and values describe."""
    is_weight = gaps < 2**width - 1
    places = (gaps + is_weight.long()).cumsum(0)[is_weight] - 1
    weight = torch.zeros(shape)
    weight.view(-1)[places] = values
    return weight


def deep_compression(model: nn.Module, conv_k: int, linear_k: int) -> tuple[nn.Module, dict]:
    """Cluster a pruned model; return what comes back from the streams, and bytes per stage."""
    restored = copy.deepcopy(model)
    others = 4 * sum(p.numel() for n, p in model.named_parameters() if not n.endswith("weight"))
    sizes = dict.fromkeys(("values in float32, gaps", "codes, gaps", "both with Huffman"), others)
    for layer in restored.modules():
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            continue
        k, width = (conv_k, 8) if isinstance(layer, nn.Conv2d) else (linear_k, 5)
        weight = layer.weight.detach()
        kept = weight[weight != 0]
        codebook, codes = kmeans_1d(kept, k)
        gaps = gaps_of(weight, width)
        with torch.no_grad():
            layer.weight.copy_(weight_from(gaps, width, codebook[codes], weight.shape))
        gap_bytes = pack_codes(gaps, width).nbytes
        code_bytes = pack_codes(codes, (k - 1).bit_length()).nbytes
        sizes["values in float32, gaps"] += gap_bytes + kept.nbytes
        sizes["codes, gaps"] += gap_bytes + code_bytes + codebook.nbytes
        for stream in (gaps, codes):
            _, total = huffman_code(stream)
            sizes["both with Huffman"] += math.ceil(total / 8) + 2**width * (stream is gaps)
        sizes["both with Huffman"] += k + codebook.nbytes  # k: the lengths of the codes' strings
    return restored, sizes


pruned = load_checkpoint("lenet_pruned_90")
restored, sizes = deep_compression(pruned, 32, 16)
print(f"{'dense LeNet':28} {dense_bytes:10,} bytes   1.0x   accuracy {baseline:.1%}")
print(f"{'90 % pruned':28} {'':23} accuracy {accuracy(pruned, unseen):.1%}")
for name, size in sizes.items():
    print(f"{name:28} {size:10,} bytes {dense_bytes / size:5.1f}x")
print(f"{'':28} {'':23} accuracy {accuracy(restored, unseen):.1%} (from the streams)")

# %%
shown = {
    "LeNet-300-100,\npaper (MNIST)": 40,
    "LeNet-5,\npaper (MNIST)": 39,
    "LeNet, yours\n(Fashion-MNIST)": dense_bytes / sizes["both with Huffman"],
    "without\nHuffman": dense_bytes / sizes["codes, gaps"],
    "without\nclustering": dense_bytes / sizes["values in float32, gaps"],
    "without pruning\n(k=8, Huffman)": dense_bytes / huffman_bytes(clusters_by_k[8], lenet),
}
plt.figure(figsize=(8, 3.2))
bars = plt.bar(list(shown), list(shown.values()), color=["0.6", "0.6", "C0", "C4", "C4", "C4"])
plt.bar_label(bars, fmt="%.1fx")
plt.ylabel("times smaller")
plt.xticks(fontsize=8)
plt.show()

# %% [markdown]
# **What you see, honestly.**
#
# - **36 times** smaller, the paper says 39. The order is right, and you wrote all the parts.
# - *But not without loss.* About 1.2 points are gone: 0.9 by pruning, 0.3 by clustering. The paper
#   reports no loss, on MNIST, where 99 % are reached easily. Fashion-MNIST is harder. (The course
#   has no MNIST, so the paper's own number was not tested.)
# - The parts work *together*. Pruning alone gives 8.3, clustering and Huffman alone 11.5. After
#   pruning only one weight in ten needs a code, and the gaps, too, are uneven: Huffman likes that.
# - An epoch for the centroids (numbers of another run, mean of three LeNets) brings 89.6 % back to
#   90.0 %, at the same bytes.

# %% [markdown] lang="zh-TW"
# **你看到了什麼（老實說）。**
#
# - 小了 **36 倍**，論文說是 39。數量級是對的，而且所有零件都是你寫的。
# - **但並非毫無損失。** 少了大約 1.2 個百分點：剪枝佔 0.9，聚類佔 0.3。論文說沒有損失，
#   不過那是 MNIST，很容易達到 99 %。Fashion-MNIST 比較難。（本課程沒有 MNIST，
#   所以論文自己的數字沒有驗證過。）
# - 這些零件要**合起來**才有效。只剪枝是 8.3，只做聚類與霍夫曼編碼是 11.5。剪枝之後，
#   十個權重中只有一個需要標記；而且間隔也分佈不均：霍夫曼編碼最喜歡這樣。
# - 讓聚類中心訓練一個 epoch（另一次執行的數字，三個 LeNet 的平均），可以把 89.6 % 拉回 90.0 %，
#   位元組數不變。

# %% [markdown]
# ## In practice (業界的做法)
#
# **What exists, honestly.** PyTorch itself has no weight clustering. Names to look for:
# *palettization* in Apple's coremltools, *weight clustering* in TensorFlow's Model Optimization
# Toolkit, *codebook quantization* in torchao (a **prototype**: it may change or vanish). Courses
# often use scikit-learn's `KMeans`; it is not part of this environment. For language models, 4-bit
# formats such as NF4 use a *fixed* codebook of 16 values.
#
# ### The grouped gradient for free
#
# In PyTorch, `torch.nn.utils.parametrize` computes a weight from something else. Here:
# `weight = codebook[codes]`. Autograd differentiates the look-up; and the derivative of a look-up
# is a sum per entry. It must be the same as your `centroid_gradient`.

# %% [markdown] lang="zh-TW"
# ## 業界的做法 (In practice)
#
# **老實說，現在有哪些工具。** PyTorch 本身沒有權重聚類。可以查的名稱有：Apple coremltools
# 的 *palettization*、TensorFlow Model Optimization Toolkit 的 *weight clustering*、
# torchao 的 *codebook quantization*（這是**原型** (prototype)：可能會改，也可能消失）。
# 課程常用 scikit-learn 的 `KMeans`；這個環境裡沒有它。語言模型則有 NF4 這類 4 位元格式，
# 使用**固定**的、16 個值的權重映射表。
#
# ### 不用自己寫的分組梯度
#
# 在 PyTorch 中，`torch.nn.utils.parametrize` 可以從別的東西算出權重。
# 這裡是 `weight = codebook[codes]`。Autograd 會對查表微分；而查表的導數，就是對每一項求和。
# 它必須和你的 `centroid_gradient` 相同。

# %%
from torch.nn.utils import parametrize


class SharedWeight(nn.Module):
    """Computes a weight from a trained codebook and fixed codes."""

    def __init__(self, codebook: torch.Tensor, codes: torch.Tensor) -> None:
        super().__init__()
        self.start = codebook.clone()
        self.register_buffer("codes", codes)

    def forward(self, codebook: torch.Tensor) -> torch.Tensor:
        """Look every code up."""
        return codebook[self.codes]

    def right_inverse(self, _weight: torch.Tensor) -> torch.Tensor:
        """Return the codebook to begin with."""
        return self.start


shared = copy.deepcopy(lenet)
for name, (codebook, codes) in clusters_by_k[8].items():
    layer = shared.get_submodule(name)
    parametrize.register_parametrization(layer, "weight", SharedWeight(codebook, codes))
plain = apply_codebooks(lenet, clusters_by_k[8])
for network in (shared, plain):
    F.cross_entropy(network(images[:256]), labels[:256]).backward()
for name, (codebook, codes) in clusters_by_k[8].items():
    by_autograd = shared.get_submodule(name).parametrizations.weight.original.grad
    by_you = centroid_gradient(plain.get_submodule(name).weight.grad, codes, len(codebook))
    apart = (by_autograd - by_you).abs().max() / by_you.abs().max()
    print(f"{name}: yours and autograd's gradient differ by {apart:.1e} of the largest")

# %% [markdown]
# With this module, any training loop trains the centroids; nothing else has to be written.
#
# ### k-means by torchao, and general compressors
#
# torchao's prototype brings a k-means of its own, `fit_kmeans`, taken from the AQLM project. And
# how good is a Huffman code against a general compressor? `zlib` looks for repeated strings and
# then applies Huffman too.

# %% [markdown] lang="zh-TW"
# 有了這個模組，任何訓練迴圈都能訓練聚類中心；其他什麼都不必寫。
#
# ### torchao 的 k-means，以及通用壓縮器
#
# torchao 的原型自帶一個 k-means，叫 `fit_kmeans`，取自 AQLM 計畫。另外，
# 霍夫曼編碼和通用壓縮器相比，表現如何？`zlib` 會先找出重複的字串，再同樣套用霍夫曼編碼。

# %%
from torchao.prototype.quantization.codebook.codebook_ops import fit_kmeans

weight = lenet.conv2.weight.detach()
for k in (4, 16):
    start = time.perf_counter()
    codebook, codes = kmeans_1d(weight, k, max_iterations=1000)
    own_time, own = time.perf_counter() - start, (weight - codebook[codes]).square().sum().item()
    start = time.perf_counter()
    _, _, rebuilt = fit_kmeans(weight.reshape(-1, 1), k, max_iter=1000)
    ao_time = time.perf_counter() - start
    ao = (weight.flatten() - rebuilt.flatten()).square().sum().item()
    print(
        f"conv2, k={k:2}: SSE yours {own:.4f} in {own_time:.2f} s, "
        f"torchao {ao:.4f} in {ao_time:.2f} s"
    )

print("\nbits per weight, fc1, the codes of k = 16")
codes = clusters_by_k[16]["fc1"][1]
count = codes.numel()
as_bytes = codes.to(torch.uint8).numpy().tobytes()
rows = {
    "packed by you": 8 * pack_codes(codes, 4).nbytes / count,
    "Huffman by you": huffman_code(codes)[1] / count,
    "zlib of one byte per code": 8 * len(zlib.compress(as_bytes, 9)) / count,
    "zlib of the packed bytes": 8
    * len(zlib.compress(pack_codes(codes, 4).numpy().tobytes(), 9))
    / count,
    "entropy (the limit)": entropy_bits(codes),
}
for name, bits in rows.items():
    print(f"{name:26} {bits:.3f}")

# %% [markdown]
# - Yours reaches the SSE of torchao to three digits, and is much faster: it uses that the values
#   have *one* dimension and can be sorted. torchao's also works for vectors (several weights share
#   one code: **vector quantization**, 向量量化).
# - Packing first is essential. zlib on one byte per code is *larger* than plain packing. On packed
#   bytes it comes to the same as your Huffman code.
# - None of these makes the network faster by itself. PyTorch has no kernel that multiplies by
#   codes: the weights are looked up first, into a full float matrix.

# %% [markdown] lang="zh-TW"
# - 你的結果和 torchao 的 SSE 前三位數字相同，而且快得多：它利用了值只有**一**維、可以排序這一點。
#   torchao 的版本也能處理向量（幾個權重共用一個標記：**向量量化**，vector quantization）。
# - 先打包非常重要。一個標記放一個位元組再做 zlib，比單純打包還**大**。先打包成位元組再做 zlib，
#   則和你的霍夫曼編碼差不多。
# - 這些方法本身都不會讓網路變快。PyTorch 沒有直接用標記做乘法的核心程式 (kernel)：
#   要先把權重查出來，放進完整的浮點數矩陣。

# %% [markdown]
# ## Summary
#
# - **Weight clustering**: similar weights share a centroid. Stored are codes and a **codebook** for
#   each layer.
# - **k-means**: assign, update, until nothing moves. Mind empty clusters, and k above the number of
#   distinct values.
# - **ratio** = n b / (n ceil(log2 k) + k b): codes *and* codebook. Bits are whole, so choose k = 2,
#   4, 8, 16.
# - Codes only save memory when they are **packed**.
# - The gradient of a centroid is the **sum** over its weights. Codes stay fixed.
# - **L_cluster**, the sum of squared distances to the nearest centroid, gathers the weights during
#   training. It helps at very small k.
# - **PTQ of the codebook** saves almost no bytes: the codebook is tiny. What it buys is integer
#   arithmetic.
# - **Huffman**: short strings for frequent codes; without loss.
# - Clustering makes the *file* small. It does not make the network fast.
#
# | | what is stored | error from | needs training |
# |---|---|---|---|
# | quantization | whole numbers on an *even* grid, a scale | rounding | no |
# | clustering | codes, a codebook of *any* k values | shared values | no, but it helps |
# | pruning | the weights that are left, and their places | missing weights | nearly always |

# %% [markdown] lang="zh-TW"
# ## 總結
#
# - **權重聚類**：相近的權重共享一個聚類中心。每一層儲存的是標記與一張**權重映射表**。
# - **k-means**：分配、更新，直到不再移動。小心空群，以及 k 大於相異值個數的情況。
# - **壓縮率** = n b / (n ceil(log2 k) + k b)：標記**和**權重映射表都要算。位元數是整數，
#   所以選 k = 2、4、8、16。
# - 標記要**打包**過，才真的省記憶體。
# - 聚類中心的梯度，是它那些權重的**總和**。標記保持固定。
# - **L_cluster** 是到最近聚類中心的距離平方和，能在訓練時讓權重集中。k 很小的時候有幫助。
# - **對權重映射表做 PTQ** 幾乎省不到位元組：權重映射表非常小。它帶來的是整數運算。
# - **霍夫曼編碼**：常見的標記用較短的位元串；無損。
# - 聚類讓**檔案**變小，並不會讓網路變快。
#
# | | 儲存什麼 | 誤差來自 | 需要訓練嗎 |
# |---|---|---|---|
# | 量化 | **等距**格點上的整數，一個 scale | 取整數 | 不需要 |
# | 聚類 | 標記，以及由**任意** k 個值組成的權重映射表 | 共享的值 | 不需要，但有幫助 |
# | 剪枝 | 留下來的權重，以及它們的位置 | 缺少的權重 | 幾乎都需要 |

# %% [markdown]
# ## Exam practice
#
# **1.** A layer has 10,000 weights in float32. It is clustered with k = 10. How many times smaller
# is it, codebook included?
#
# <details><summary>Answer</summary>
#
# A code takes ceil(log2 10) = 4 bits. 320,000 / (40,000 + 10 * 32) = 320,000 / 40,320 = 7.94.
#
# </details>
#
# **2.** Put in the lecture's order: (a) replace each weight by its code (b) group weights of
# similar value (c) build the codebook (d) let the weights of a group share one value.
#
# <details><summary>Answer</summary>
#
# b, d, c, a.
#
# </details>
#
# **3.** The gradients of four weights are 0.2, -0.1, 0.4, 0.1; their codes are 0, 1, 0, 1. What is
# the gradient of centroid 0? (a) 0.3 (b) 0.6 (c) 0.4 (d) 0.15
#
# <details><summary>Answer</summary>
#
# (b): 0.2 + 0.4. It is a sum, because both weights move with the centroid. (a) is the mean.
#
# </details>
#
# **4.** Which are true? (a) The cluster loss pulls each weight to its nearest centroid. (b) A
# larger k gives a smaller file. (c) After clustering, PTQ can still quantize the centroids. (d)
# Clustering makes the network faster on any hardware. (e) The number of clusters sets the
# compression ratio.
#
# <details><summary>Answer</summary>
#
# (a), (c) and (e). (b): a larger k needs more bits per code. (d): weights must be looked up, which
# is extra work.
#
# </details>
#
# **5.** Match: codebook, code, centroid, Huffman coding with: (1) the value that a cluster shares
# (2) gives frequent symbols short strings (3) the table of all shared values (4) the row number
# that stands for a weight.
#
# <details><summary>Answer</summary>
#
# Codebook 3, code 4, centroid 1, Huffman coding 2.
#
# </details>

# %% [markdown] lang="zh-TW"
# ## 考前練習
#
# **1.** 一層有 10,000 個 float32 權重，用 k = 10 做聚類。把權重映射表也算進去，它變小了幾倍？
#
# <details><summary>答案</summary>
#
# 一個標記需要 ceil(log2 10) = 4 個位元。320,000 / (40,000 + 10 * 32) = 320,000 / 40,320 = 7.94。
#
# </details>
#
# **2.** 請依課程的順序排列：(a) 把每個權重換成它的標記 (b) 將數值相近的權重分群 (c) 建立權重映射表
# (d) 讓同一群的權重共享一個數值。
#
# <details><summary>答案</summary>
#
# b、d、c、a。
#
# </details>
#
# **3.** 四個權重的梯度是 0.2、-0.1、0.4、0.1；它們的標記是 0、1、0、1。聚類中心 0 的梯度是多少？
# (a) 0.3 (b) 0.6 (c) 0.4 (d) 0.15
#
# <details><summary>答案</summary>
#
# (b)：0.2 + 0.4。是總和，因為兩個權重都隨聚類中心移動。(a) 是平均。
#
# </details>
#
# **4.** 哪些是對的？(a) 聚類 loss 把每個權重拉向離它最近的聚類中心。(b) k 越大，檔案越小。
# (c) 聚類之後，PTQ 還可以量化聚類中心。(d) 聚類讓網路在任何硬體上都變快。(e) 聚類的數量決定壓縮率。
#
# <details><summary>答案</summary>
#
# (a)、(c) 和 (e)。(b)：k 越大，每個標記需要越多位元。(d)：權重必須先查表，那是額外的工作。
#
# </details>
#
# **5.** 請配對：權重映射表 (codebook)、標記 (code)、聚類中心 (centroid)、霍夫曼編碼 (Huffman
# coding)，與：(1) 一個群所共享的值 (2) 給常見的符號較短的位元串 (3) 存放所有共享值的表 (4)
# 代表一個權重的列號。
#
# <details><summary>答案</summary>
#
# 權重映射表 3，標記 4，聚類中心 1，霍夫曼編碼 2。
#
# </details>

# %%
progress()
