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
#   topic: knowledge_distillation
#   number: 2
#   title: Knowledge distillation
# ---

# %% [markdown]
# # 2 Knowledge distillation (知識蒸餾)
#
# A large, accurate network is the **teacher** (教師模型). A small one is the **student**
# (學生模型).
# **Knowledge distillation** (知識蒸餾) trains the student on what the teacher *thinks* of every
# image, and not only on the label.
#
# At the end you can
#
# - turn logits into **soft labels** (軟標籤) at any **temperature** (溫度);
# - read from soft labels what a teacher knows about the classes;
# - write the distillation loss, and name the four ways in which it often goes wrong;
# - distil any architecture into any other one, and say when this pays and when it does not;
# - let a student recognise a class that it has never seen.
#
# **How to work.** Read, write your answer where the TODO stands, run the check below it.
# A failed check says what was expected, what came, and what usually causes that.
# Hints fold away: open one at a time.
#
# **Rules that hold everywhere.**
#
# - A function changes none of its arguments.
# - A function that takes a model and returns one works on a deep copy and returns it in eval mode.
#   The caller's models, their gradients and the train/eval mode of every submodule stay as they
#   were. This holds for the teacher too.
# - Loaders yield `(images, labels)`. Fractions lie in [0, 1] and are never percent.
# - Labels are int64. Values keep their dtype.
# - An impossible argument raises a `ValueError` whose message names the argument:
#   `temperature <= 0`, `alpha` outside [0, 1], `lr <= 0`, negative `epochs`, a count or class
#   number that cannot be, logits or soft labels with NaN.
# - The optimizer and its schedule are your choice.
#
# Two helpers are given. `require(condition, message)` is the short way to reject an argument:
# `require(temperature > 0, "temperature must be above 0")`. `is_rejected` is for the checks.

# %% define
import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from course_utils.arguments import is_rejected, require
from course_utils.data import CLASS_NAMES, load_images, make_loader
from course_utils.evaluation import accuracy, predict
from course_utils.models import MLP, LeNet

# %%
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from course_utils.checkpoints import load_checkpoint
from course_utils.measures import count_macs, count_parameters
from course_utils.plots import use_course_style
from course_utils.training import warm_up
from course_utils.widgets import explorer

use_course_style()
warm_up()  # PyTorch loads its compiler at the first step of training: now, not in a check
torch.set_num_threads(1)  # a fair and quiet clock: two threads disturb each other
torch.manual_seed(2)

images, labels = load_images("train")
held_out_images, held_out_labels = load_images("validation")
held_out = make_loader(held_out_images, held_out_labels, batch_size=500)

teacher = load_checkpoint("batch_norm_cnn")
print(f"the teacher: {count_parameters(teacher):,} parameters")
print(f"accuracy on {len(held_out_labels):,} held-out images: {accuracy(teacher, held_out):.1%}")

# %% [markdown]
# ## The idea
#
# The student has two aims (the lecture's first slide on distillation):
#
# - to agree with the **true label** (真實標籤): the **hard loss**;
# - to agree with the **teacher**: the **soft loss**.
#
# The teacher itself does not learn any more. No gradient flows back into it.


# %%
def draw_box(axes: plt.Axes, x: float, y: float, text: str, color: str) -> None:
    """Draw a rounded box with its centre at (x, y)."""
    box = FancyBboxPatch((x - 1.1, y - 0.36), 2.2, 0.72, "round,pad=0.05", fc=color, ec="0.3")
    axes.add_patch(box)
    axes.text(x, y, text, ha="center", va="center", fontsize=8)


def draw_arrow(axes: plt.Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw an arrow from start to end."""
    arrow = FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=14, color="0.3")
    axes.add_patch(arrow)


_, axes = plt.subplots(figsize=(10, 3))
draw_box(axes, 0, 1, "images", "white")
draw_box(axes, 3, 1.8, "teacher\n(fixed, eval mode)", "#f5d9b0")
draw_box(axes, 3, 0.2, "student\n(learns)", "#bcd6ee")
draw_box(axes, 6, 1.8, "soft labels\nsoftmax(z / T)", "#f5d9b0")
draw_box(axes, 6, 0.2, "logits z", "#bcd6ee")
draw_box(axes, 6, -1.2, "true labels", "white")
draw_box(axes, 9.2, 1.0, "soft loss\nT² · KL", "#e3e3e3")
draw_box(axes, 9.2, -0.6, "hard loss\ncross-entropy", "#e3e3e3")
draw_box(axes, 12.2, 0.2, "(1 - alpha) · soft\n+ alpha · hard", "#e3e3e3")
for start, end in [
    ((1.2, 1.2), (1.8, 1.6)),
    ((1.2, 0.8), (1.8, 0.4)),
    ((4.2, 1.8), (4.8, 1.8)),
    ((4.2, 0.2), (4.8, 0.2)),
    ((7.2, 1.7), (8.0, 1.2)),
    ((7.2, 0.3), (8.0, 0.8)),
    ((7.2, 0.1), (8.0, -0.4)),
    ((7.2, -1.2), (8.0, -0.8)),
    ((10.4, 0.9), (11.0, 0.5)),
    ((10.4, -0.5), (11.0, -0.1)),
]:
    draw_arrow(axes, start, end)
axes.text(3, -0.55, "only the student\ngets a gradient", ha="center", va="center", fontsize=8)
axes.set(xlim=(-1.3, 13.6), ylim=(-1.8, 2.4))
axes.axis("off")
plt.show()

# %% [markdown]
# ## Part A: temperature and soft labels
#
# A **hard label** (硬標籤) names one class. A **soft label** (軟標籤) is the teacher's whole
# probability distribution.
# The slide's example: the teacher says [cat, dog, fox] = [0.8, 0.15, 0.05]. So this cat has
# something of a dog, and little of a fox. The hard label 'cat' says nothing of that.
#
# But a good teacher is often *too sure*: 0.999 for the cat, and the rest is almost invisible. The
# **temperature** T makes it visible. All logits are divided by T before the softmax:
#
# $$p_i(T) = \frac{\exp(z_i / T)}{\sum_j \exp(z_j / T)}$$
#
# T = 1 is the usual softmax. T > 1 smooths (平滑). T < 1 sharpens (尖銳).

# %% [markdown]
# ### Exercise: `softmax_with_temperature` · ★☆☆☆ · 10 minutes · 4 points
#
# Write `softmax_with_temperature(logits, temperature)`: the formula above, over the **last**
# dimension, for a tensor of any shape. The dtype stays.
#
# It must also work for logits of ±10,000. `exp(10000)` is infinite in floating point, and infinity
# divided by infinity is NaN.
# `ValueError` for `temperature <= 0` and for logits with NaN.
#
# *Example.* Logits [2, 0, 0]: at T = 1 [0.79, 0.11, 0.11], at T = 4 [0.45, 0.27, 0.27].
#
# <details><summary>Hint 1</summary>
#
# Divide the logits by the temperature. Then it is a plain softmax.
#
# <details><summary>Hint 2</summary>
#
# Softmax does not change when you subtract the same number from all logits of one row. Subtract the
# largest one *of that row*: then no exponent is above 0.
#
# <details><summary>Hint 3</summary>
#
# `scaled.max(dim=-1, keepdim=True).values` keeps the dimension, so that the subtraction fits.
#
# </details></details></details>


# %% exercise="softmax_with_temperature" difficulty=1 minutes=10
def softmax_with_temperature(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Turn logits into probabilities at a temperature.

    Args:
        logits: Shape (..., C). Stable for values of +-1e4 and far beyond. Not changed.
        temperature: Above 0. Above 1 it smooths, below 1 it sharpens.

    Returns:
        Probabilities of the logits' shape and dtype; they sum to 1 over the last dimension.

    Raises:
        ValueError: If temperature is not above 0, or logits hold NaN.

    Source:
        Hinton et al. 2015, Distilling the Knowledge in a Neural Network, equation 1.
    """
    # TODO: divide by the temperature, make it safe, take the softmax over the last dimension
    ### BEGIN SOLUTION
    require(temperature > 0, f"temperature must be above 0, got {temperature}")
    require(not logits.isnan().any(), "logits must not hold NaN")
    scaled = logits / temperature
    scaled = scaled - scaled.max(dim=-1, keepdim=True).values  # the largest exponent is now 0
    exponentials = scaled.exp()
    return exponentials / exponentials.sum(dim=-1, keepdim=True)
    ### END SOLUTION


# %% check="softmax_with_temperature" points=4
logits = torch.tensor([[2.0, 0.0, 0.0], [-1.0, 3.0, 1.0]])
given = logits.clone()
for temperature in (1.0, 4.0, 0.5):
    got = softmax_with_temperature(logits, temperature)
    wanted = (logits.double() / temperature).softmax(dim=-1).float()
    assert torch.equal(logits, given), "the logits were changed: do not work in place"
    assert got.shape == logits.shape, f"expected shape (2, 3), got {tuple(got.shape)}"
    assert not torch.allclose(got.sum(dim=0), torch.ones(3)), (
        "the columns sum to 1: softmax goes over the last dimension, not over the first"
    )
    multiplied = (logits * temperature).softmax(dim=-1)
    assert temperature == 1 or not torch.allclose(got, multiplied), (
        "the logits were multiplied by the temperature: divide, so that a high T smooths"
    )
    assert torch.allclose(got, wanted, atol=1e-6), f"T = {temperature}: {wanted} != {got}"
huge = torch.tensor([[1e4, 9990.0, -1e4], [-1e4, -1e4, -9995.0]])
got = softmax_with_temperature(huge, 5.0)
assert not got.isnan().any(), (
    f"NaN for logits of +-1e4: got {got}. Subtract the largest logit of each row before exp"
)
assert torch.allclose(got, (huge.double() / 5).softmax(dim=-1).float(), atol=1e-6), (
    f"wrong for logits of +-1e4: {got}. Clamping changes the answer; subtract the row's maximum"
)
deep = softmax_with_temperature(torch.arange(24.0).reshape(2, 3, 4), 2.0)
assert torch.allclose(deep.sum(dim=-1), torch.ones(2, 3)), "three dimensions: still the last one"
assert softmax_with_temperature(logits.double(), 2.0).dtype == torch.float64, "keep the dtype"
assert is_rejected(softmax_with_temperature, logits, 0.0), "temperature 0 must raise a ValueError"
assert is_rejected(softmax_with_temperature, logits, -1.0), "temperature -1 must raise a ValueError"
assert is_rejected(softmax_with_temperature, logits.log(), 1.0), "NaN must raise a ValueError"
print("softmax_with_temperature: good")

# %% [markdown]
# Move the temperature. The title gives the **entropy** (熵) in bits: how undecided the teacher is.
# 0 is sure, 3.32 is the most, ten equal classes.
# At T = 1 the teacher's second thoughts are hidden, at T = 4 you can read them, at T = 20 nearly
# all classes look the same.

# %%
teacher_logits = predict(teacher, images)  # (12000, 10), once for the whole notebook
confident = teacher_logits[:600].softmax(dim=1).max(dim=1).values
pictures = {
    f"image {index}": int(index) for index in confident.argsort()[[-100, 320, 120, 60, 10, 2]]
}


def plot_temperature(axes: plt.Axes, temperature: float, picture: str) -> None:
    """Show one image and the teacher's soft label at a temperature."""
    index = pictures[picture]
    soft = softmax_with_temperature(teacher_logits[index], temperature)
    entropy = -(soft * soft.clamp(min=1e-30).log2()).sum().item()
    axes.barh(CLASS_NAMES, soft, color=["C1" if i == labels[index] else "C0" for i in range(10)])
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.3), xticks=[0, 0.25, 0.5, 0.75, 1], xlabel="probability")
    axes.set_title(f"T = {temperature:g}: {entropy:.2f} bits (orange: the true class)")
    inset = axes.inset_axes((0.76, 0.3, 0.24, 0.4))
    inset.imshow(images[index, 0], cmap="gray")
    inset.axis("off")


explorer(plot_temperature, temperature=(0.5, 20.0, 0.5, 4.0), picture=list(pictures))

# %% [markdown]
# ### Exercise: `soft_labels` · ★☆☆☆ · 10 minutes · 5 points
#
# The lecture's step 2: *the teacher predicts the training data, and so makes soft labels*.
# Write `soft_labels(teacher, images, temperature)`. It returns the probabilities, shape (N, C).
#
# - The teacher works in **eval mode**. In train mode batch normalisation uses the statistics of the
#   batch (and changes the teacher's own), and dropout drops: the label of an image would depend on
#   its neighbours or on chance.
# - Afterwards the mode of **every submodule** is as before. A caller may have set them one by one.
# - The result carries **no graph**: nothing is ever differentiated through the teacher.
# - `ValueError` for `temperature <= 0` and for images with NaN.
#
# <details><summary>Hint 1</summary>
#
# No graph: `with torch.no_grad():`.
#
# <details><summary>Hint 2</summary>
#
# `teacher.eval()` and then `teacher.train()` is not 'as before': the teacher may have been in eval
# mode, or half of it. Work on `copy.deepcopy(teacher)`, or note `module.training` for every one of
# `teacher.modules()` and set it again.
#
# </details></details>


# %% exercise="soft_labels" difficulty=1 minutes=10
def soft_labels(teacher: nn.Module, images: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return what the teacher says about each image.

    Args:
        teacher: Maps images to logits. Used in eval mode; not changed, in any submodule.
        images: Shape (N, 1, 28, 28), or whatever the teacher takes.
        temperature: Above 0.

    Returns:
        Probabilities, shape (N, C), without a graph.

    Raises:
        ValueError: If temperature is not above 0, or images hold NaN.

    Source:
        Hinton et al. 2015, section 2.
    """
    # TODO: eval mode, no graph, softmax with temperature; leave the teacher as it was
    ### BEGIN SOLUTION
    require(temperature > 0, f"temperature must be above 0, got {temperature}")
    require(not images.isnan().any(), "images must not hold NaN")
    frozen = copy.deepcopy(teacher).eval()
    with torch.no_grad():
        return softmax_with_temperature(frozen(images), temperature)
    ### END SOLUTION


# %% check="soft_labels" points=5
toy_teacher = nn.Sequential(
    nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)
)
toy_images = torch.randn(20, 1, 4, 4, generator=torch.Generator().manual_seed(0))
toy_teacher(3 * toy_images + 1)  # gives the batch normalisation statistics of its own
whole = copy.deepcopy(toy_teacher).eval()
with torch.no_grad():
    wanted = {T: (whole(toy_images) / T).softmax(dim=1) for T in (1.0, 4.0)}
before = copy.deepcopy(toy_teacher.state_dict())
for name, start in {"train": toy_teacher.train(), "eval": toy_teacher.eval()}.items():
    start.train(name == "train")
    start[4].train(name == "eval")  # one submodule differs from the others
    modes = [module.training for module in start.modules()]
    got = soft_labels(start, toy_images, 4.0)
    assert isinstance(got, torch.Tensor), f"expected a tensor, got {type(got).__name__}"
    assert got.shape == (20, 3), f"expected shape (20, 3), got {tuple(got.shape)}"
    assert not got.requires_grad, "the result carries a graph: use torch.no_grad()"
    assert all(before[key].equal(now) for key, now in start.state_dict().items()), (
        "the teacher's batch-norm statistics changed: it ran in train mode"
    )
    assert modes == [module.training for module in start.modules()], (
        "the mode of a submodule of the teacher is not as before"
    )
    assert not torch.allclose(got, wanted[1.0], atol=1e-4), "the temperature is not used"
    assert torch.allclose(got, wanted[4.0], atol=1e-5), (
        f"teacher in {name} mode: wrong values; was every layer in eval mode, "
        "and was the teacher's output taken as logits?"
    )
assert all(parameter.requires_grad for parameter in toy_teacher.parameters()), (
    "requires_grad of the teacher's parameters changed"
)
assert is_rejected(soft_labels, toy_teacher, toy_images, 0.0), "temperature 0 must be rejected"
assert is_rejected(soft_labels, toy_teacher, toy_images.log(), 1.0), "NaN must be rejected"
print("soft_labels: good")

# %% [markdown]
# ## Part B: what does the teacher know?
#
# Average the soft labels of all images of one true class. The result says what the teacher sees in
# a shirt, on average: much shirt, some T-shirt, no sandal.
# Nobody ever told the teacher that shirts are like T-shirts. It found out. Hinton calls this **dark
# knowledge** (暗知識).

# %% [markdown]
# ### Exercise: `class_similarity` · ★★☆☆ · 15 minutes · 4 points
#
# Write `class_similarity(soft_labels, labels, num_classes)`: a matrix of shape (C, C).
# **Row i is the mean soft label of the images whose true class is i.**
#
# - A class without any image has a row of zeros, not of NaN.
# - The dtype is that of the soft labels.
# - `ValueError` when `num_classes` is below 1 or is not the number of columns of the soft labels,
#   or when there is a NaN.
#
# *Example.* Soft labels [0.9, 0.1], [0.7, 0.3], [0.5, 0.5] with labels 0, 0, 1 give the rows [0.8,
# 0.2] and [0.5, 0.5].
#
# <details><summary>Hint 1</summary>
#
# `soft_labels[labels == i]` are the rows of class i.
#
# <details><summary>Hint 2</summary>
#
# The mean of no rows is NaN. Start with `torch.zeros` and fill only the classes that occur.
#
# <details><summary>Hint 3</summary>
#
# Without a loop: with `members = F.one_hot(labels, num_classes)`, shape (N, C), the sums per class
# are `members.T @ soft_labels`. Divide by the counts, at least 1.
#
# </details></details></details>


# %% exercise="class_similarity" difficulty=2 minutes=15
def class_similarity(
    soft_labels: torch.Tensor, labels: torch.Tensor, num_classes: int
) -> torch.Tensor:
    """Average the soft labels of each true class.

    Args:
        soft_labels: Probabilities, shape (N, C).
        labels: True classes, int64, shape (N,), in 0 .. C - 1.
        num_classes: C, at least 1.

    Returns:
        Shape (C, C), dtype of soft_labels: row i is the mean soft label of the images of class i,
        zeros where there is none.

    Raises:
        ValueError: If num_classes or a shape cannot be, a label lies outside, or there is a NaN.
    """
    # TODO: for every class, the mean of the rows with that label; zeros for an empty class
    ### BEGIN SOLUTION
    require(num_classes >= 1, f"num_classes must be at least 1, got {num_classes}")
    require(
        soft_labels.shape == (len(labels), num_classes),
        f"soft_labels must have shape {(len(labels), num_classes)}, got {tuple(soft_labels.shape)}",
    )
    require(not soft_labels.isnan().any(), "soft_labels must not hold NaN")
    require(((labels >= 0) & (labels < num_classes)).all(), f"labels must lie below {num_classes}")
    members = F.one_hot(labels, num_classes).to(soft_labels.dtype)  # (N, C)
    sums = members.T @ soft_labels.detach()  # (C, N) @ (N, C) -> (C, C)
    return sums / members.sum(dim=0).clamp(min=1).unsqueeze(1)
    ### END SOLUTION


# %% check="class_similarity" points=4
soft = torch.tensor([[0.9, 0.1, 0.0], [0.5, 0.3, 0.2], [0.7, 0.3, 0.0], [0.6, 0.2, 0.2]])
truth = torch.tensor([0, 1, 0, 0])
got = class_similarity(soft, truth, 3)
wanted = torch.tensor([[2.2 / 3, 0.2, 0.2 / 3], [0.5, 0.3, 0.2], [0.0, 0.0, 0.0]])
assert isinstance(got, torch.Tensor), f"expected a tensor, got {type(got).__name__}"
assert got.shape == (3, 3), f"expected shape (3, 3), got {tuple(got.shape)}"
assert not got.isnan().any(), "class 2 has no image: its row must be zeros, not NaN"
assert not torch.allclose(got, wanted.T, atol=1e-4), (
    "transposed: row i belongs to true class i, the columns to what the teacher says"
)
assert not torch.allclose(got, wanted * torch.tensor([[3.0], [1.0], [1.0]]), atol=1e-4), (
    "these are sums: divide by the number of images of the class"
)
assert got[2].tolist() == [0, 0, 0], f"class 2 has no image: expected zeros, got {got[2]}"
assert torch.allclose(got, wanted, atol=1e-5), f"expected\n{wanted}, got\n{got}"
assert class_similarity(soft.double(), truth, 3).dtype == torch.float64, "keep the dtype"
for count in (0, 4):
    assert is_rejected(class_similarity, soft, truth, count), (
        f"num_classes={count} must raise a ValueError: the soft labels have 3 columns"
    )
assert is_rejected(class_similarity, soft.log().log(), truth, 3), "NaN must raise a ValueError"
print("class_similarity: good")


# %%
def plot_similarity(axes: plt.Axes, temperature: float) -> None:
    """Draw the class-similarity matrix; the diagonal is left out, so that the rest shows."""
    soft = softmax_with_temperature(teacher_logits[:2000], temperature)
    shown = class_similarity(soft, labels[:2000], 10).fill_diagonal_(float("nan"))
    axes.figure.colorbar(axes.imshow(shown, cmap="viridis"), label="mean probability")
    axes.grid(False)
    axes.set_xticks(range(10), CLASS_NAMES, rotation=45, ha="right")
    axes.set_yticks(range(10), CLASS_NAMES)
    axes.set(xlabel="what the teacher also sees", ylabel="true class", title=f"T = {temperature:g}")


explorer(plot_similarity, temperature=(1.0, 10.0, 0.5, 4.0))

# %% [markdown]
# Three families appear by themselves: **tops** (T-shirt, pullover, dress, coat, shirt), **shoes**
# (sandal, sneaker, boot), and trousers and bags, each rather alone.
#
# The same knowledge in single pictures. Each row shows images with *one* true class, sorted by how
# much the teacher sees of *another*. The last three are nearly the other thing.

# %%
soft_at_4 = softmax_with_temperature(teacher_logits, 4.0)
pairs = [("Bag", "Shirt"), ("Ankle boot", "Sneaker"), ("Dress", "Trouser")]
_, panels = plt.subplots(3, 8, figsize=(10, 4.4))
for row, (name, other) in zip(panels, pairs, strict=True):
    true_class, other_class = CLASS_NAMES.index(name), CLASS_NAMES.index(other)
    members = torch.nonzero(labels == true_class).flatten()
    order = members[soft_at_4[members, other_class].argsort()]
    chosen = order[[*torch.linspace(0, len(order) - 4, 5).long().tolist(), -3, -2, -1]]
    for axes, index in zip(row, chosen, strict=True):
        axes.imshow(images[index, 0], cmap="gray")
        axes.set_title(f"{soft_at_4[index, other_class]:.2f}", fontsize=9)
        axes.axis("off")
    row[0].text(-8, 14, f"{name}:\nhow much\n{other}?", ha="right", va="center", fontsize=9)
plt.show()

# %% [markdown] written="dark_knowledge" points=2
# ### Written question 1 · 2 points
#
# A teacher gives one image the logits [shirt 9, T-shirt 5, bag 1], another one [shirt 9, T-shirt 1,
# bag 5]. Both have the hard label 'shirt'.
#
# (a) What can a student learn from the soft labels that the hard labels do not tell?
# (b) Why does it hardly see this at T = 1, and what goes wrong at T = 100?
#
# ### BEGIN SOLUTION
# *Model answer.* (a) That the first shirt looks like a T-shirt and the second one rather like a
# bag: the relation between classes, image by image. The two hard labels are equal. (b) At T = 1 the
# soft labels are [0.982, 0.018, 0.0003] and [0.982, 0.0003, 0.018]: the differences are small next
# to the 0.98, so they add almost nothing to the loss or the gradient. At T = 100 all three
# probabilities are almost 1/3: in the probabilities the order is hard to see, the student is asked
# to copy all logits, noise included, and the important largest class hardly stands out.
# *One point for (a), half a point for each part of (b). The numbers are not needed.*
# ### END SOLUTION

# %% [markdown]
# ## Part C: the distillation loss
#
# How far is the student's distribution from the teacher's? The **Kullback-Leibler divergence**
# (KL 散度) measures it, for one image:
#
# $$\mathrm{KL}(\text{teacher} \,\|\, \text{student}) = \sum_i p_i \,(\log p_i - \log q_i)$$
#
# with the teacher's $p$ and the student's $q$, both at temperature T. It is 0 when they agree. It
# is **not symmetric**: the teacher stands in front, where the average is taken.
#
# The whole loss, with $z$ for the student's logits and $y$ for the true label:
#
# $$L = \alpha \cdot \text{cross-entropy}(z, y) + (1 - \alpha) \cdot T^2 \cdot \text{KL}$$
#
# - **alpha weighs the hard loss** here. In some papers and programs alpha weighs the soft one. Read
#   before you copy.
# - The hard loss uses T = 1.
# - Why **T²**? The gradient of the KL term shrinks with 1/T². The factor brings it back, so that
#   alpha means the same at every temperature. The figure shows it.


# %%
def gradient_size(temperature: float, factor: float) -> float:
    """Return the size of the KL term's gradient for random students of the real teacher."""
    generator = torch.Generator().manual_seed(0)
    student_logits = (2 * torch.randn(200, 10, generator=generator)).requires_grad_()
    p = (teacher_logits[:200] / temperature).log_softmax(dim=1)
    q = (student_logits / temperature).log_softmax(dim=1)
    (factor * (p.exp() * (p - q)).sum(dim=1).mean()).backward()
    return student_logits.grad.norm(dim=1).mean().item() * len(student_logits)


temperatures = [1, 2, 4, 8, 16, 32]
plt.figure(figsize=(6.5, 3))
plt.plot(temperatures, [gradient_size(T, 1) for T in temperatures], "o-", label="KL")
plt.plot(temperatures, [gradient_size(T, T**2) for T in temperatures], "s-", label="T² · KL")
plt.xscale("log", base=2)
plt.yscale("log")
plt.xlabel("temperature T")
plt.ylabel("size of the gradient")
plt.legend()
plt.show()

# %% [markdown]
# ### Exercise: `distillation_loss` · ★★☆☆ · 20 minutes · 7 points
#
# Write `distillation_loss(student_logits, teacher_logits, labels, temperature, alpha)`: the formula
# above, **averaged over the images of the batch**. It is a scalar tensor.
#
# - The gradient goes to the student's logits only. It must never reach the teacher.
# - Finite and right for logits of ±10,000 too.
# - `ValueError` for `temperature <= 0`, alpha outside [0, 1], logits with NaN, or logits of student
#   and teacher that differ in shape.
#
# <details><summary>Hint 1</summary>
#
# `log(softmax(z))` is minus infinity as soon as a probability is 0. `F.log_softmax(z, dim=1)` stays
# finite.
#
# <details><summary>Hint 2</summary>
#
# The mean is over images, not over the N x C numbers: first `.sum(dim=1)`, then `.mean()`. In
# `F.kl_div` this is called `reduction="batchmean"`; its default divides by C as well.
#
# <details><summary>Hint 3</summary>
#
# `teacher_logits.detach()` cuts the way back to the teacher.
#
# </details></details></details>


# %% exercise="distillation_loss" difficulty=2 minutes=20
def distillation_loss(
    student_logits: torch.Tensor,
    teacher_logits: torch.Tensor,
    labels: torch.Tensor,
    temperature: float,
    alpha: float,
) -> torch.Tensor:
    """Weigh the hard and the soft loss of a batch.

    Args:
        student_logits: Shape (N, C). The only argument that gets a gradient.
        teacher_logits: Shape (N, C).
        labels: True classes, int64, shape (N,).
        temperature: Above 0; used in the soft loss only.
        alpha: Weight of the hard loss, in [0, 1].

    Returns:
        Scalar: alpha * cross-entropy + (1 - alpha) * T^2 * KL(teacher || student), means over the
        batch. Finite for logits of +-1e4.

    Raises:
        ValueError: If temperature or alpha is out of range, a shape does not fit, or logits hold
            NaN.

    Source:
        Hinton et al. 2015, sections 2 and 2.1.
    """
    # TODO: log-probabilities of both at temperature T, KL, cross-entropy, weights
    ### BEGIN SOLUTION
    require(temperature > 0, f"temperature must be above 0, got {temperature}")
    require(0 <= alpha <= 1, f"alpha must lie in [0, 1], got {alpha}")
    require(
        student_logits.shape == teacher_logits.shape,
        f"student_logits and teacher_logits must have one shape, got {tuple(student_logits.shape)} "
        f"and {tuple(teacher_logits.shape)}",
    )
    require(len(labels) == len(student_logits), "labels must be as many as there are logits")
    require(not student_logits.isnan().any(), "student_logits must not hold NaN")
    require(not teacher_logits.isnan().any(), "teacher_logits must not hold NaN")
    log_p = F.log_softmax(teacher_logits.detach() / temperature, dim=1)  # (N, C)
    log_q = F.log_softmax(student_logits / temperature, dim=1)  # (N, C)
    divergence = (log_p.exp() * (log_p - log_q)).sum(dim=1).mean()
    hard_loss = F.cross_entropy(student_logits, labels)
    return alpha * hard_loss + (1 - alpha) * temperature**2 * divergence
    ### END SOLUTION


# %% check="distillation_loss" points=7
generator = torch.Generator().manual_seed(0)
z = (3 * torch.randn(6, 4, generator=generator)).requires_grad_()
t = (3 * torch.randn(6, 4, generator=generator)).requires_grad_()
y = torch.tensor([0, 1, 2, 3, 0, 1])
T = 3.0
p, q = (t.detach() / T).softmax(dim=1), (z.detach() / T).softmax(dim=1)
forward, backward = (p * (p / q).log()).sum(dim=1).mean(), (q * (q / p).log()).sum(dim=1).mean()
hard = F.cross_entropy(z.detach(), y)
got = distillation_loss(z, t, y, T, 0.25)
assert isinstance(got, torch.Tensor), f"expected a tensor, got {type(got).__name__}"
assert got.ndim == 0, f"expected a scalar, got shape {tuple(got.shape)}: take the mean"
for wrong, cause in {
    0.25 * hard + 0.75 * forward: "T² is missing in the soft loss",
    0.25 * hard + 0.75 * T * forward: "T² is needed, not T",
    0.25 * hard + 0.75 * T**2 * backward: "the KL is reversed: the teacher's distribution weighs",
    0.25 * hard + 0.75 * T**2 * forward / 4: "averaged over the classes too: batchmean, not mean",
    0.25 * hard + 0.75 * T**2 * forward * 6: "summed over the batch: take the mean over images",
    0.75 * hard + 0.25 * T**2 * forward: "alpha is swapped: it weighs the hard loss",
    0.25 * F.cross_entropy(z.detach() / T, y) + 0.75 * T**2 * forward: "the hard loss uses T = 1",
    T**2 * (0.25 * hard + 0.75 * forward): "T² belongs to the soft loss only",
}.items():
    assert not torch.isclose(got, wrong, rtol=1e-4), cause
wanted = 0.25 * hard + 0.75 * T**2 * forward
assert torch.isclose(got, wanted, rtol=1e-4), f"expected {wanted:.5f}, got {got:.5f}"
got.backward()
assert t.grad is None or not t.grad.any(), "a gradient reached the teacher: detach its logits"
assert z.grad is not None, "no gradient reached the student"
wanted = (0.25 * (z.softmax(1) - F.one_hot(y, 4)) + 0.75 * T * (q - p)).detach() / 6
assert torch.allclose(z.grad, wanted, atol=1e-5), (
    "the gradient of the student is wrong: what was detached?"
)
big = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]])
got = distillation_loss(big, big.flip(1), torch.tensor([0, 1]), 2.0, 0.5)
assert got.isfinite(), (
    f"logits of +-1e4 gave {got}: log_softmax stays finite, log(softmax) does not"
)
assert torch.isclose(got, torch.tensor(5000.0), rtol=1e-3), (
    f"logits of +-1e4: expected 5000, got {got:.1f}. "
    "A small number added inside log() changes the loss"
)
for bad in ({"temperature": 0.0}, {"temperature": -2.0}, {"alpha": -0.1}, {"alpha": 1.1}):
    arguments = {"temperature": 2.0, "alpha": 0.5, **bad}
    assert is_rejected(distillation_loss, z, t, y, **arguments), f"{bad} must raise a ValueError"
assert is_rejected(distillation_loss, z * float("nan"), t, y, 2.0, 0.5), "NaN must be rejected"
assert is_rejected(distillation_loss, z, t[:1], y, 2.0, 0.5), (
    "six rows of the student and one of the teacher: broadcasting hides the mistake, reject it"
)
print("distillation_loss: good")

# %% [markdown]
# ### In practice: `torch.nn.functional.kl_div`
#
# PyTorch has the KL divergence. It is famous for two traps:
#
# - the **student comes first**, as log-probabilities, although the formula has the teacher in
#   front;
# - the second argument holds *probabilities* by default, and *log-probabilities* with
#   `log_target=True`. The second form stays exact when a probability is tiny.
#
# And the default `reduction="mean"` is **not** the mathematical mean over images.

# %%
student_logits = torch.randn(500, 10, generator=torch.Generator().manual_seed(1))
t, y, T, alpha = teacher_logits[:500], labels[:500], 4.0, 0.1
mine = distillation_loss(student_logits, t, y, T, alpha)
log_q, log_p = F.log_softmax(student_logits / T, dim=1), F.log_softmax(t / T, dim=1)
hard = F.cross_entropy(student_logits, y)
forms = {
    "log_target=False": F.kl_div(log_q, log_p.exp(), reduction="batchmean"),
    "log_target=True": F.kl_div(log_q, log_p, reduction="batchmean", log_target=True),
    "trap: reduction='mean'": F.kl_div(log_q, log_p, reduction="none", log_target=True).mean(),
    "trap: arguments swapped": F.kl_div(log_p, log_q, reduction="batchmean", log_target=True),
    "trap: log form without log_target": F.kl_div(log_q, log_p, reduction="batchmean"),
}
print(f"{'your distillation_loss':36}{mine:10.5f}")
for name, divergence in forms.items():
    print(f"{name:36}{alpha * hard + (1 - alpha) * T**2 * divergence:10.5f}")

# %% [markdown]
# Both right forms agree with yours to the last digits. Two of the traps give a plausible number and
# no error. The third gives NaN.
#
# > **A word on the slides.** They say that the student has *two* losses, and that the temperature
# > 'is used in the loss function'. They do not say how the two are weighed. The formula with alpha
# > and T² is Hinton's.

# %% [markdown] written="loss_bugs" points=2
# ### Written question 2 · 2 points
#
# A fellow student shows you this loss. It trains without any error. Find **two** mistakes, say what
# each does to the training, and mend them.
#
# ```python
# soft = F.kl_div(F.log_softmax(teacher_logits / T, dim=1), F.softmax(student_logits / T, dim=1))
# hard = F.cross_entropy(student_logits, labels)
# loss = alpha * hard + (1 - alpha) * soft
# ```
#
# ### BEGIN SOLUTION
# *Model answer.* There are four; any two count. (1) The arguments are swapped, this is KL(student
# || teacher): the student may ignore classes to which the teacher gives a little probability, so
# just the second thoughts get lost. Mend: `F.kl_div(log_softmax(student), softmax(teacher))`. (2)
# The default reduction 'mean' divides by the number of classes as well: the soft loss is C times
# too small. Mend: `reduction="batchmean"`. (3) T² is missing: the soft gradient is T² times too
# small, and alpha means something else at every T. (4) The teacher's logits are not detached: if
# they have a graph, the teacher gets gradients.
# *One point for each mistake, half of it for naming, half for effect and mending.*
# ### END SOLUTION

# %% [markdown]
# ## Part D: the whole loop
#
# The lecture's five steps: train a teacher (done: the course's checkpoint), prepare soft labels,
# choose the temperature, train the student, fine-tune.
# *Knowledge distillation is not tied to an architecture*: only the number of classes must be equal.

# %% [markdown]
# ### Exercise: `distill` · ★★★☆ · 25 minutes · 7 points
#
# Write `distill(student_model, teacher, loader, epochs, temperature, alpha, lr)`. It trains a deep
# copy of the student with your `distillation_loss` and returns the copy **in eval mode**.
#
# - `student_model` and `teacher` are any two models with the same classes. They may have nothing
#   else in common.
# - The copy learns in **train mode**, the teacher answers in **eval mode**.
# - Nothing of the caller's two models changes: no weight, no batch-norm statistic, no gradient, no
#   `requires_grad`, no mode of any submodule.
# - `epochs=0` returns an untrained copy in eval mode.
# - `ValueError` for negative `epochs`, `lr <= 0`, `temperature <= 0`, alpha outside [0, 1].
#
# <details><summary>Hint 1</summary>
#
# Two copies save all the book-keeping: `copy.deepcopy(student_model).train()` and
# `copy.deepcopy(teacher).eval()`.
#
# <details><summary>Hint 2</summary>
#
# One step: teacher's logits under `torch.no_grad()`, student's logits, loss, `zero_grad`,
# `backward`, `step`.
#
# <details><summary>Hint 3</summary>
#
# Adam with `trained.parameters()` and `lr` works well. The optimizer gets the *copy's* parameters.
# Let the learning rate fall to 0 in the end: `torch.optim.lr_scheduler.LambdaLR`.
#
# </details></details></details>


# %% exercise="distill" difficulty=3 minutes=25
def distill(
    student_model: nn.Module,
    teacher: nn.Module,
    loader: DataLoader,
    epochs: int,
    temperature: float,
    alpha: float,
    lr: float,
) -> nn.Module:
    """Train a student on true labels and on a teacher's soft labels.

    Args:
        student_model: Maps images to logits (N, C). Not changed: a deep copy is trained.
        teacher: Maps the same images to logits (N, C); any architecture. Used in eval mode, not
            changed.
        loader: Yields (images, labels).
        epochs: How often to go through the loader, at least 0.
        temperature: Of the soft loss, above 0.
        alpha: Weight of the hard loss, in [0, 1]. At 1 the teacher has no influence.
        lr: Highest learning rate, above 0.

    Returns:
        The trained copy of the student, in eval mode.

    Raises:
        ValueError: If epochs, temperature, alpha or lr is out of range.

    Source:
        Hinton et al. 2015, Distilling the Knowledge in a Neural Network.
    """
    # TODO: copy both; for every batch: teacher's logits, student's logits, loss, step
    ### BEGIN SOLUTION
    require(epochs >= 0, f"epochs must be 0 or more, got {epochs}")
    require(temperature > 0, f"temperature must be above 0, got {temperature}")
    require(0 <= alpha <= 1, f"alpha must lie in [0, 1], got {alpha}")
    require(lr > 0, f"lr must be above 0, got {lr}")
    trained, frozen = copy.deepcopy(student_model).train(), copy.deepcopy(teacher).eval()
    optimizer = torch.optim.Adam(trained.parameters(), lr=lr)
    steps = max(1, epochs * len(loader))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for _ in tqdm(range(epochs), desc="distill", leave=False, mininterval=0.5):
        for images, labels in loader:
            with torch.no_grad():
                teacher_logits = frozen(images)
            loss = distillation_loss(trained(images), teacher_logits, labels, temperature, alpha)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return trained.eval()
    ### END SOLUTION


# %% check="distill" points=7
generator = torch.Generator().manual_seed(0)
toy_images = torch.randn(64, 1, 4, 4, generator=generator)
toy_labels = torch.randint(3, (64,), generator=generator)  # the labels are noise: no one can guess
toy_loader = make_loader(toy_images, toy_labels, batch_size=16, shuffle=True)
toy_teacher = nn.Sequential(
    nn.Flatten(), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 3, bias=False)
)
toy_teacher[1].running_mean.fill_(-1.5)  # in train mode this teacher would say other things
toy_student = nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.Dropout(0.1)).eval()
toy_teacher.train()[2].eval()
originals = {"student": toy_student, "teacher": toy_teacher}
states = {name: copy.deepcopy(model.state_dict()) for name, model in originals.items()}
modes = {name: [part.training for part in model.modules()] for name, model in originals.items()}

fresh = distill(toy_student, toy_teacher, toy_loader, 0, 2.0, 0.0, 0.02)
assert fresh is not toy_student, "expected a new model: work on a deep copy"
assert torch.equal(fresh[1].weight, toy_student[1].weight), "epochs=0 must not train"
tuned = distill(toy_student, toy_teacher, toy_loader, 20, 2.0, 0.0, 0.05)
for name, model in originals.items():
    assert all(states[name][key].equal(now) for key, now in model.state_dict().items()), (
        f"the caller's {name} changed: a weight or a batch-norm statistic"
    )
    assert modes[name] == [part.training for part in model.modules()], (
        f"the mode of a submodule changed in the caller's {name}"
    )
    assert all(weight.grad is None and weight.requires_grad for weight in model.parameters()), (
        f"the caller's {name} got gradients, or lost requires_grad"
    )
for result in (fresh, tuned):
    assert not any(part.training for part in result.modules()), "the result must be in eval mode"
said = predict(toy_teacher, toy_images).argmax(dim=1)
agreement = (predict(tuned, toy_images).argmax(dim=1) == said).float().mean().item()
assert agreement > 0.9, (
    f"alpha=0: expected the student to agree with the teacher, got {agreement:.0%}; is the teacher "
    "in eval mode, does the optimizer train the copy, does alpha weigh the hard loss?"
)
no_picture = make_loader(torch.zeros(16, 1, 4, 4), torch.full((16,), 2), batch_size=16)
sure = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
sure[1].bias.data = torch.tensor([6.0, 0.0, 0.0])  # says class 0, while every label is 2
for alpha, T, winner in ((1.0, 1.0, 2), (0.1, 2.0, 0), (0.9, 2.0, 2), (0.5, 10.0, 0)):
    bias = distill(toy_student, sure, no_picture, 30, T, alpha, 0.1)[1].bias
    assert bias.argmax() == winner, (
        f"alpha={alpha}, T={T:g}: expected class {winner} to win, got {bias.argmax()}; "
        "alpha swapped, T² missing, or labels ignored?"
    )
for bad in ({"epochs": -1}, {"lr": 0.0}, {"temperature": 0.0}, {"alpha": 1.5}):
    arguments = {"epochs": 1, "temperature": 2.0, "alpha": 0.5, "lr": 0.01, **bad}
    assert is_rejected(distill, toy_student, toy_teacher, toy_loader, **arguments), (
        f"{bad} must raise a ValueError"
    )
print("distill: good")

# %% [markdown]
# ### Measured: a student with and without the teacher
#
# Only **300 labelled images**, and a LeNet with 4, 8 and 32 channels: 5,370 parameters, 80 times
# fewer than the full one. The teacher is the course's batch-norm CNN.
# Everyone gets the same budget: the same 300 images, the same number of steps, the same learning
# rate. *Alone* is `alpha=1`. The others have `alpha=0.1`.
#
# Three seeds each, because one seed proves nothing. First guess: which temperature wins?
#
# The teacher never changes, so its logits for an image never change: they are computed once and
# looked up. That is the lecture's step 2, 'prepare soft labels'.


# %%
class RememberingTeacher(nn.Module):
    """A teacher that has looked at all images already, and looks its logits up.

    Args:
        teacher: Maps images to logits.
        images: All that it will ever be asked about.
    """

    def __init__(self, teacher: nn.Module, images: torch.Tensor) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.direction = torch.randn(images[0].numel(), generator=generator, dtype=torch.float64)
        keys, order = self.key(images).sort()
        self.logits = predict(teacher, images)[order]
        self.borders = (keys[1:] + keys[:-1]) / 2  # between the keys of two neighbours

    def key(self, images: torch.Tensor) -> torch.Tensor:
        """Return one number for each image, different for different images."""
        return images.flatten(1).double() @ self.direction

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the remembered logits."""
        return self.logits[torch.bucketize(self.key(images), self.borders)]


remembering = RememberingTeacher(teacher, images)
everything = torch.cat([held_out_images, load_images("test")[0]])
everything_labels = torch.cat([held_out_labels, load_images("test")[1]])
unseen_images = make_loader(everything, everything_labels, batch_size=500)


def trained_student(
    build: type[nn.Module], config: dict, seed: int, temperature: float, alpha: float, lr: float
) -> nn.Module:
    """Distil one fresh student with 300 labelled images, 300 steps."""
    torch.manual_seed(seed)
    loader = make_loader(images[:300], labels[:300], batch_size=100, shuffle=True, seed=seed)
    return distill(build(**config), remembering, loader, 100, temperature, alpha, lr)


settings = {"alone": (1.0, 1.0), **{f"T = {T}": (float(T), 0.1) for T in (1, 2, 4, 8)}}
small = {"conv1": 4, "conv2": 8, "fc1": 32}
found: dict[str, list[float]] = {}
for name, (temperature, alpha) in tqdm(settings.items(), desc="settings"):
    students = [trained_student(LeNet, small, seed, temperature, alpha, 0.01) for seed in range(3)]
    found[name] = [accuracy(model, unseen_images) for model in students]


def plot_runs(runs: dict[str, list[float]], title: str) -> None:
    """Draw every run as a point and the mean as a bar."""
    plt.figure(figsize=(7, 3.2))
    means = [np.mean(values) for values in runs.values()]
    plt.bar(range(len(runs)), means, color=["0.7"] + ["C0"] * (len(runs) - 1), alpha=0.6)
    for place, values in enumerate(runs.values()):
        plt.plot([place] * len(values), values, "k.", ms=6)
    plt.xticks(range(len(runs)), runs)
    plt.ylim(min(map(min, runs.values())) - 0.02, max(map(max, runs.values())) + 0.01)
    plt.ylabel("accuracy, 4,000 unseen images")
    plt.title(title)
    plt.show()


def print_gains(runs: dict[str, list[float]]) -> None:
    """Print the gain over the first entry, seed by seed."""
    alone, *others = runs
    for name in others:
        gains = [100 * (a - b) for a, b in zip(runs[name], runs[alone], strict=True)]
        spread = f"from {min(gains):+.1f} to {max(gains):+.1f}"
        print(f"{name:24} {np.mean(gains):+.1f} points against {alone!r}, {spread}")


plot_runs(found, "a small LeNet, 300 labelled images")
print_gains(found)

# %% [markdown]
# The teacher is worth **four to five points** at T = 2 and T = 4, and every single seed gains: more
# than the seeds differ among themselves. (One accuracy on 4,000 images has a standard error of
# 0.6 points.)
#
# | 300 labelled images, 5 seeds, 750 steps | alone | T = 1 | T = 2 | T = 4 | T = 8 |
# |---|---|---|---|---|---|
# | small LeNet | 72.7 | +2.7 | **+3.7** | +3.6 | +2.9 |
# | small batch-norm CNN | 73.0 | +3.0 | +4.1 | **+4.4** | +4.4 |
#
# **A fair warning.** The teacher was trained on 60,000 labels. Through it, the student gets a share
# of them. Distillation does not create knowledge, it hands it on.

# %% [markdown]
# ### Another architecture: an MLP taught by a CNN
#
# The slide says: distillation is not tied to an architecture. The teacher convolves. This student
# is an MLP with one hidden layer: it does not even know that pixels have neighbours.

# %%
wide = {"hidden": (64,)}
mlp_runs: dict[str, list[float]] = {}
for name in ("alone", "T = 1", "T = 2", "T = 4"):
    temperature, alpha = settings[name]
    mlp_runs[name] = [
        accuracy(trained_student(MLP, wide, seed, temperature, alpha, 3e-3), unseen_images)
        for seed in range(3)
    ]
plot_runs(mlp_runs, "an MLP, taught by a CNN")
print_gains(mlp_runs)

# %% [markdown]
# About three points, again at every seed. The MLP cannot compute what the CNN computes, and learns
# from its answers all the same.

# %% [markdown]
# ### Honest: when distillation does not help
#
# Now a small MLP (16 hidden neurons) with **all 12,000 labels**, and four epochs.

# %%
all_labels = make_loader(images, labels, batch_size=128, shuffle=True)
with_all: dict[str, list[float]] = {}
for name in tqdm(("alone", "T = 1", "T = 4", "T = 8"), desc="settings"):
    temperature, alpha = settings[name]
    with_all[name] = []
    for seed in range(3):
        torch.manual_seed(seed)
        model = distill(MLP((16,)), remembering, all_labels, 4, temperature, alpha, 3e-3)
        with_all[name].append(accuracy(model, unseen_images))
plot_runs(with_all, "a small MLP, 12,000 labelled images")
print_gains(with_all)

# %% [markdown]
# The picture has turned. The teacher adds little at T = 1, and a **high temperature hurts**.
# The small LeNet, over three seeds: +0.8 points at T = 1, -0.3 at T = 2, -1.5 at T = 4, -3.3 at T =
# 8.
#
# - With 12,000 labels the labels themselves tell almost all that a student of this size can hold.
# - These students **underfit** (欠擬合): four epochs are few. A high temperature asks them to copy
#   even the smallest logits, and that slows them down.
# - The gain was gone from about 1,000 labels on.
#
# > **The slide is right:** distillation is training too, and it *needs enough data and time*. And
# > **measure the student alone first**, with the same budget. Many reported gains forget that.

# %% [markdown]
# ## Part E: a class never seen (沒看過的類別)
#
# The slide's boldest sentence: *even if the small model has never seen some data, it may still
# predict other classes that it has not seen*.
#
# Hinton et al. 2015 took every **3** out of the transfer set of MNIST. The student never saw one.
# It made 206 errors on the test images, 133 of them on the 1,010 threes: so 87 % of the threes were
# *right*. Its bias for the class 3 was too low, as no 3 had ever been wanted. They raised that one
# number: 109 errors were left, 14 of them on threes.
#
# How can this be? The soft labels of many a 2 and 8 hold a little of a 3. Here we leave out the
# **bags**.

# %% [markdown]
# ### Exercise: `correct_bias` · ★☆☆☆ · 5 minutes · 3 points
#
# Write `correct_bias(logits, class_index, offset)`. It adds `offset` to the logit of that class,
# for every image, and returns **new** logits of the same dtype.
# `ValueError` when there is no such class (0 .. C - 1), and for logits or an offset that is NaN.
#
# *Example.* Logits [[1, 2, 3]] with class 1 and offset 0.5 give [[1, 2.5, 3]].
#
# <details><summary>Hint 1</summary>
#
# `logits.clone()` first. The class is the last dimension: `corrected[..., class_index]`.
#
# </details>


# %% exercise="correct_bias" difficulty=1 minutes=5
def correct_bias(logits: torch.Tensor, class_index: int, offset: float) -> torch.Tensor:
    """Raise the logit of one class by the same amount for all images.

    Args:
        logits: Shape (N, C). Not changed.
        class_index: The class, in 0 .. C - 1.
        offset: What to add; may be negative.

    Returns:
        New logits, shape (N, C), dtype of logits.

    Raises:
        ValueError: If there is no class of that index, or logits or offset are NaN.

    Source:
        Hinton et al. 2015, section 3.
    """
    # TODO: add offset to one column of a copy
    ### BEGIN SOLUTION
    num_classes = logits.shape[-1]
    require(0 <= class_index < num_classes, f"class_index must lie in 0 .. {num_classes - 1}")
    require(not logits.isnan().any(), "logits must not hold NaN")
    require(offset == offset, "offset must be a number, got NaN")
    corrected = logits.clone()
    corrected[..., class_index] += offset
    return corrected
    ### END SOLUTION


# %% check="correct_bias" points=3
logits = torch.tensor([[1.0, 2.0, 3.0], [0.0, -1.0, 4.0]])
got = correct_bias(logits, 1, 0.5)
assert logits.tolist() == [[1, 2, 3], [0, -1, 4]], "the logits were changed: return new ones"
assert isinstance(got, torch.Tensor), f"expected a tensor, got {type(got).__name__}"
assert got.shape == (2, 3), f"expected shape (2, 3), got {tuple(got.shape)}"
assert got.tolist() != [[1, 2, 3], [0.5, -0.5, 4.5]], "a row was raised: a class is a column"
assert got.tolist() == [[1, 2.5, 3], [0, -0.5, 4]], f"expected only column 1 + 0.5, got {got}"
assert correct_bias(logits, 0, -2.0)[:, 0].tolist() == [-1, -2], "a negative offset lowers"
assert correct_bias(logits.double(), 2, 1.0).dtype == torch.float64, "keep the dtype"
for index in (3, -1):
    assert is_rejected(correct_bias, logits, index, 1.0), f"class {index} must raise a ValueError"
for bad, offset in ((logits * float("nan"), 1.0), (logits, float("nan"))):
    assert is_rejected(correct_bias, bad, 0, offset), "NaN must raise a ValueError"
print("correct_bias: good")

# %% [markdown]
# ### Measured: the bags
#
# The transfer set: 12,000 training images without the 1,200 bags. The student: an MLP (64 hidden
# neurons), as in Hinton's experiment. Three kinds of training, three seeds each:
#
# - **hard labels**: no teacher at all. This is the **control** (對照組). Without it we could not
#   say what the soft labels do.
# - **soft labels** at T = 1 and at T = 4, without any true label (`alpha=0`).
#
# How large is the offset? We do not look at the true labels for it. We only assume that about one
# image in ten is a bag, and raise the logit until 10 % of the 2,000 held-out images are called
# 'bag'. The accuracy is then measured on *other* images.


# %%
def find_offset(logits: torch.Tensor, class_index: int, fraction: float) -> float:
    """Return the offset at which a class wins for this fraction of the images."""
    others = correct_bias(logits, class_index, -1e9).max(dim=1).values
    return (others - logits[:, class_index]).quantile(fraction).item()


BAG = CLASS_NAMES.index("Bag")
test_images, test_labels = load_images("test")
bags = test_labels == BAG
without_bags = make_loader(images[labels != BAG], labels[labels != BAG], 128, shuffle=True)
kinds = {"hard labels": (1.0, 1.0), "soft, T = 1": (1.0, 0.0), "soft, T = 4": (4.0, 0.0)}
test_logits: dict[str, torch.Tensor] = {}
rows = []
for kind, (temperature, alpha) in tqdm(kinds.items(), desc="kinds"):
    outcomes = []
    for seed in range(3):
        torch.manual_seed(seed)
        model = distill(MLP((64,)), remembering, without_bags, 4, temperature, alpha, 3e-3)
        offset = find_offset(predict(model, held_out_images), BAG, 0.1)
        test_logits[kind] = predict(model, test_images)
        outcome = [offset]
        for shift in (0.0, offset):
            right = correct_bias(test_logits[kind], BAG, shift).argmax(dim=1) == test_labels
            outcome += [(~right).sum().item(), (~right[bags]).sum().item()]
        outcomes.append(outcome)
    rows.append((kind, np.mean(outcomes, axis=0), [1 - o[4] / bags.sum().item() for o in outcomes]))

print(f"errors on 2,000 test images, {bags.sum()} of them bags (means over three seeds)\n")
print("                before: all  bags    after: all  bags    bags right after (each seed)")
for kind, mean, right in rows:
    numbers = f"{mean[1]:11.0f} {mean[2]:5.0f} {mean[3]:13.0f} {mean[4]:5.0f}"
    print(f"{kind:15} {numbers}       " + ", ".join(f"{value:.0%}" for value in right))
print(
    f"{'Hinton, digit 3':15} {206:11} {133:5} {109:13} {14:5}       of 10,000 images, 1,010 threes"
)


# %%
offsets = torch.linspace(0, 14, 57)
curves: dict[str, dict[str, list[float]]] = {"bags": {}, "all images": {}}
for kind, logits in test_logits.items():
    for name, where in (("bags", bags), ("all images", torch.ones_like(bags))):
        curves[name][kind] = [
            (correct_bias(logits, BAG, shift).argmax(1) == test_labels)[where].float().mean().item()
            for shift in offsets.tolist()
        ]


def plot_offset(axes: plt.Axes, offset: float, accuracy_on: str) -> None:
    """Draw the accuracy against the offset."""
    nearest = int((offsets - offset).abs().argmin())
    for (kind, curve), style in zip(curves[accuracy_on].items(), ("--", "-", "-."), strict=False):
        axes.plot(offsets, curve, style, label=f"{kind}: {curve[nearest]:.0%}")
    axes.axvline(offset, color="0.5", ls=":")
    axes.set(xlabel="offset for the class bag", ylabel=f"accuracy on {accuracy_on}", ylim=(0, 1))
    axes.legend(title=f"at offset {offset:g}")


explorer(plot_offset, offset=(0.0, 14.0, 0.5, 4.0), accuracy_on=["bags", "all images"])

# %% [markdown]
# **What you see.**
#
# - *Before* the correction the student of soft labels at T = 1 already calls one bag in five a bag.
#   It has never seen one. The student of hard labels: not a single one.
# - *After* it, more than four in five bags are right.
# - *The control is not zero.* With hard labels and the correction, two bags in three are right!
#   Part of the effect is not the teacher's: a bag is simply an odd image, on which all other logits
#   are low. What the soft labels give is the **difference** to the control.
# - It is not Hinton's 98.6 %. And it does not work for every class: in other runs, with a small
#   batch-norm CNN, 74 % of the bags were found after the correction (hard labels: 41 %), 28 % of
#   the shirts, and 17 % of the trousers, where everything together got *worse*. A class must be
#   *like* others for others to tell of it.

# %% [markdown] written="unseen_class" points=2
# ### Written question 3 · 2 points
#
# (a) The student never saw a bag. Through what did knowledge about bags reach it? Use the word
# 'soft label'. (b) A newspaper writes: 'AI recognises 86 % of objects that it has never seen.' Name
# two things that your experiment shows, and that this sentence hides.
#
# ### BEGIN SOLUTION
# *Model answer.* (a) The teacher knows bags. In the soft labels of other images (a shirt with a
# square shape, a wide boot) it gives a little probability to 'bag', more to some images than to
# others. So the student learns which features speak for a bag, from images that are none. (b) Any
# two: the teacher *was* trained on bags; one number, the bias, was raised afterwards, and for it
# one had to know how frequent the class is; a control with hard labels reaches about 69 % with the
# same correction; other classes (trousers) fail; while more bags are right, some other images
# become wrong.
# *One point for (a); half a point for each thing in (b).*
# ### END SOLUTION

# %% [markdown]
# ## Summary
#
# - A **soft label** is the teacher's whole distribution. It tells how classes are related, image by
#   image.
# - **Temperature**: divide the logits by T. T > 1 smooths, T < 1 sharpens.
# - **Loss**: `alpha * hard + (1 - alpha) * T² * KL(teacher || student)`, a mean over images. T²
#   keeps the weight of the soft loss when T changes.
# - The teacher is **fixed**: eval mode, no gradient. Any architecture can teach any other one.
# - Four classic bugs: KL reversed, T² missing, `mean` for `batchmean`, alpha swapped. None raises
#   an error.
# - It helps most where **labels are few**: about four points with 300 labels here. With 12,000 it
#   helped by less than a point, and a high temperature hurt.
# - A class never seen can be recognised, after a correction of its bias. Always show the control.
#
# | | label | what it tells | comes from |
# |---|---|---|---|
# | hard label | one class | the answer | people |
# | soft label, T = 1 | a distribution, mostly one class | the answer and how sure | the teacher |
# | soft label, T = 4 | a smooth distribution | how the classes are related | the teacher |

# %%
print(f"teacher: {count_parameters(teacher):7,} parameters, {count_macs(teacher):9,} MACs")
for name, model in {"small LeNet": LeNet(**small), "MLP, 64 wide": MLP((64,))}.items():
    print(f"{name}: {count_parameters(model):7,} parameters, {count_macs(model):9,} MACs")

# %% [markdown]
# Small is not one thing. The MLP has *more* parameters than the teacher, and needs about 40 times
# less work.

# %% [markdown]
# ## Exam practice
#
# **1.** The logits of two classes are [4, 0]. What is the probability of the first class at T = 1,
# and at T = 2?
#
# <details><summary>Answer</summary>
#
# exp(4) / (exp(4) + 1) = 0.982. At T = 2 the logits are [2, 0]: exp(2) / (exp(2) + 1) = 0.881. A
# higher temperature smooths.
#
# </details>
#
# **2.** Put in order, as in the lecture: (a) train the student (b) prepare soft labels (c)
# fine-tune (d) train the teacher (e) choose the temperature.
#
# <details><summary>Answer</summary>
#
# d, b, e, a, c.
#
# </details>
#
# **3.** What does a soft label keep that a hard label loses?
# (a) the position of the object (b) the probabilities of all classes (c) the weights of the teacher
# (d) the size of the training set
#
# <details><summary>Answer</summary>
#
# (b). From [cat, dog, fox] = [0.8, 0.15, 0.05] the student learns that this cat is rather like a
# dog.
#
# </details>
#
# **4.** Which are true? (a) The student must have the teacher's architecture. (b) The student aims
# at the true labels *and* at the teacher's output. (c) Distillation needs no training data. (d) The
# student may predict a class that its own training data never held. (e) The teacher goes on
# learning while it teaches.
#
# <details><summary>Answer</summary>
#
# (b) and (d). (a): any architecture will do. (c): it is training, and it needs enough data and
# time. (e): the teacher is fixed.
#
# </details>
#
# **5.** Match: hard loss, soft loss, temperature, T² with: (1) keeps the gradient's size when the
# temperature changes (2) compares with the true label (3) compares with the teacher (4) smooths the
# distribution.
#
# <details><summary>Answer</summary>
#
# Hard loss 2, soft loss 3, temperature 4, T² 1.
#
# </details>
