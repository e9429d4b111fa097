from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from autograder.authoring import datasets
from course_utils import data


@pytest.mark.parametrize(("split", "count"), [("train", 12000), ("validation", 2000)])
def test_a_split_is_normalised_and_balanced(split: data.Split, count: int) -> None:
    images, labels = data.load_images(split)
    assert images.shape == (count, 1, 28, 28)
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert abs(images.mean()) < 0.02
    assert abs(images.std() - 1) < 0.02
    assert labels.bincount().tolist() == [count // 10] * 10
    assert labels[:200].bincount().tolist() == [20] * 10


def test_splits_are_disjoint_and_the_grading_images_are_others() -> None:
    chosen = {split: set(data._subset_arrays(split)["indices"].tolist()) for split in data.SPLITS}
    assert not chosen["train"] & chosen["validation"]
    with np.load(datasets.GRADING_IMAGES) as arrays:
        grading = set(arrays["grading_indices"].tolist())
    assert not chosen["test"] & grading
    images, labels = datasets.load_grading_images()
    assert images.shape == (4000, 1, 28, 28)
    assert labels.bincount().tolist() == [400] * 10


def test_the_subset_is_small() -> None:
    assert data.SUBSET.stat().st_size < 8e6


def test_a_loader_is_seeded_and_shuffles_every_epoch_anew() -> None:
    images, labels = torch.arange(40.0).reshape(40, 1), torch.arange(40)
    first, second = (data.make_loader(images, labels, 16, shuffle=True, seed=3) for _ in range(2))
    epochs = [[batch[1].tolist() for batch in loader] for loader in (first, second, first)]
    assert epochs[0] == epochs[1] != epochs[2]
    assert sorted(itertools.chain(*epochs[0])) == list(range(40))
    assert [len(batch) for batch in epochs[0]] == [16, 16, 8]
    assert first.batch_size == 16
    assert first.generator.initial_seed() == 3
    assert first.dataset.tensors[0] is images


def test_load_shuffles_only_the_training_images() -> None:
    validation = next(iter(data.load("validation", limit=50)))[1]
    assert torch.equal(validation, data.load_images("validation")[1][:50])
    train = next(iter(data.load("train", limit=50)))[1]
    assert not torch.equal(train, data.load_images("train")[1][:50])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: data.load_images("tests"), "train, validation, test"),
        (lambda: data.load("test", limit=0), "limit must be at least 1"),
        (lambda: data.make_loader(torch.ones(3), torch.ones(2)), "same length"),
        (lambda: data.make_loader(torch.ones(2), torch.ones(2), 0), "batch_size"),
    ],
)
def test_bad_input_is_refused(call, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call()


def test_a_changed_or_missing_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "some.npz"
    datasets.write_npz(file, {"a": np.arange(3)})
    datasets.write_checksums(tmp_path)
    assert data.read_checked(file, tmp_path) == file.read_bytes()
    file.write_bytes(b"other")
    with pytest.raises(ValueError, match="git checkout"):
        data.read_checked(file, tmp_path)
    file.unlink()
    with pytest.raises(FileNotFoundError, match="missing"):
        data.read_checked(file, tmp_path)


def test_the_full_set_is_read_from_the_folder_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(data.FULL_SET_VARIABLE, str(tmp_path))
    with pytest.raises(FileNotFoundError, match="COURSE_FASHION_MNIST"):
        data.read_full_set("t10k")
    pixels = np.arange(2 * 784).astype(np.uint8)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(bytes(16) + pixels.tobytes())
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(bytes(8) + bytes([3, 7]))
    images, labels = data.load_images("test", full=True)
    assert images.shape == (2, 1, 28, 28)
    assert labels.tolist() == [3, 7]
    with pytest.raises(ValueError, match="not the original"):
        datasets._choose("t10k", datasets.FROM_TEST)


def test_an_npz_has_the_same_bytes_every_time(tmp_path: Path) -> None:
    arrays = {"b": np.arange(5), "a": np.ones((2, 2))}
    for name in ("one.npz", "two.npz"):
        datasets.write_npz(tmp_path / name, arrays)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(tmp_path / "one.npz") as stored:
        assert np.array_equal(stored["a"], arrays["a"])


def test_parts_are_balanced_disjoint_and_seeded() -> None:
    labels = np.repeat(np.arange(10), 8)
    parts = datasets.balanced_parts(labels, {"one": 3, "two": 5}, seed=1)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(80))
    again = datasets.balanced_parts(labels, {"one": 3, "two": 5}, seed=1)
    assert np.array_equal(parts["one"], again["one"])
    with pytest.raises(ValueError, match="lower per_class"):
        datasets.balanced_parts(labels, {"one": 9}, seed=1)
