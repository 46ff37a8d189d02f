"""Choosing examples: some classes, a stratified part, stratified minibatches. NumPy only, every choice from a seed."""

from collections.abc import Sequence

import numpy as np

from qjaxsim.common.checks import as_integer, shown
from qjaxsim.datasets.dataset import Dataset


def select_classes(dataset: Dataset, classes: Sequence[int]) -> Dataset:
    """The examples of some classes, relabelled 0, 1, ... in the order given.

    Args:
        dataset: labelled images.
        classes: old labels, at least one, no label twice; `classes[i]` becomes label i.

    Returns:
        Dataset with `len(classes)` classes, examples in their old order.

    Raises:
        ValueError: if `classes` is empty, repeats a label, holds what is no integer, or names one that the data set
            lacks or has no example of.

    >>> from qjaxsim import datasets
    >>> few = select_classes(datasets.load("digits"), [3, 7])  # threes become 0, sevens 1
    >>> few.class_names, sorted(set(few.labels.tolist()))
    (('3', '7'), [0, 1])
    """
    given = list(classes)
    chosen = [found for label in given if (found := as_integer(label)) is not None]
    if len(chosen) < len(given):
        raise ValueError(f"Argument `classes` must hold integers, but is {shown(given)}.")
    if not chosen or len(set(chosen)) != len(chosen):
        raise ValueError(f"Argument `classes` must name at least one class and none twice, but is {chosen}.")
    counts = dataset.class_counts()
    present = np.flatnonzero(counts).tolist()
    if missing := [label for label in chosen if label not in present]:
        raise ValueError(
            f"Argument `classes` must name classes of {dataset.name} that have examples, but {missing} have none here; "
            f"choose from {present}."
        )
    new_label = np.full(dataset.n_classes, -1, np.int32)
    new_label[chosen] = np.arange(len(chosen), dtype=np.int32)
    kept = np.flatnonzero(new_label[dataset.labels] >= 0)
    return Dataset(
        images=dataset.images[kept],
        labels=new_label[dataset.labels[kept]],
        class_names=tuple(dataset.class_names[label] for label in chosen),
        name=dataset.name,
        split=dataset.split,
        source=f"{dataset.source}; classes {chosen}",
        pixel_max=dataset.pixel_max,
    )


def subset(dataset: Dataset, n: int, *, seed: int) -> Dataset:
    """A random part of `n` examples with the class proportions of the whole.

    Args:
        dataset: labelled images.
        n: number of examples to keep, 1..N.
        seed: chooses the examples; recorded in `source`.

    Returns:
        Dataset of n examples in their old order; each class count is within one of its exact proportion.

    Raises:
        ValueError: if n is not in 1..N.

    >>> from qjaxsim import datasets
    >>> subset(datasets.load("digits"), 100, seed=0).images.shape
    (100, 8, 8, 1)
    """
    count = as_integer(n)
    if count is None or not 1 <= count <= len(dataset):
        raise ValueError(
            f"Argument `n` must lie in 1..{len(dataset)}, the examples of {dataset.name} ({dataset.split}), "
            f"but is {n}; take fewer, or load a larger split."
        )
    indices = stratified_choice(dataset.labels, count, np.random.default_rng(seed))
    return dataset.take(indices, f"stratified subset of {count}, seed {seed}")


def stratified_choice(labels: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Sorted indices of `n` examples chosen at random, each class in proportion (largest remainders round up).

    Args:
        labels: non-negative integers, shape (N,).
        n: 0..N.
        rng: source of the choice.

    Returns:
        Integers, shape (n,).
    """
    exact = np.bincount(labels) * (n / len(labels))
    counts = np.floor(exact).astype(int)
    by_remainder = np.argsort(counts - exact, kind="stable")
    counts[by_remainder[: n - counts.sum()]] += 1
    chosen = [
        rng.choice(np.flatnonzero(labels == label), count, replace=False) for label, count in enumerate(counts) if count
    ]
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, np.int64)


def stratified_batches(
    labels: np.ndarray,
    batch_size: int | None = None,
    *,
    n_folds: int | None = None,
    rng: np.random.Generator | int,
) -> list[np.ndarray]:
    """One epoch of minibatches: every example exactly once, every class spread evenly over the batches.

    Each class is shuffled, the classes are laid end to end and dealt out like cards, one example to each batch in turn.
    So batch sizes differ by at most one, and so do the counts of any class.

    Args:
        labels: integers, shape (N,).
        batch_size: largest size of a batch, 1..N; gives ceil(N / batch_size) batches.
        n_folds: number of batches, 1..N, instead of `batch_size` (60 for MNIST in arXiv:2504.19239).
        rng: a generator, or a seed for a new one. Another epoch needs another state or seed.

    Returns:
        List of index arrays (int64), together a permutation of 0..N - 1, in random order.

    Raises:
        ValueError: if not exactly one of `batch_size` and `n_folds` is given, or it is not in 1..N.

    >>> [len(batch) for batch in stratified_batches(np.zeros(10, int), 5, rng=0)]
    [5, 5]
    """
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise ValueError(f"Argument `labels` must have shape (N,), but has shape {labels.shape}.")
    n = len(labels)
    if (batch_size is None) == (n_folds is None):
        raise ValueError(
            f"Exactly one of `batch_size` and `n_folds` must be given, but they are {batch_size} and {n_folds}."
        )
    name, value = ("batch_size", batch_size) if n_folds is None else ("n_folds", n_folds)
    assert value is not None
    if not 1 <= value <= n:
        raise ValueError(
            f"Argument `{name}` must lie in 1..{n}, the number of examples, but is {value}; choose another."
        )
    folds = -(-n // value) if n_folds is None else value

    rng = np.random.default_rng(rng)
    by_class = np.lexsort((rng.permutation(n), labels))
    dealt = [rng.permutation(by_class[fold::folds]) for fold in range(folds)]
    return [dealt[fold] for fold in rng.permutation(folds)]
