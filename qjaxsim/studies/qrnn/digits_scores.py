"""Scores of trained networks on test images, and images that they draw."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.models.qrnn import generate
from qjaxsim.running.array_types import to_jax
from qjaxsim.studies.qrnn.digits import DigitWords, lookup, with_labels
from qjaxsim.studies.qrnn.images import both_images
from qjaxsim.studies.qrnn.networks import Network, Params, QuantumNetwork
from qjaxsim.studies.qrnn.tasks import SequenceTask

# Images that are scored at once, and drawn for each digit.
_CHUNK, DRAWN = 512, 8
# No seed of training reaches this one.
_DRAW_SEED = 2**31 + 1


def test_columns(network: Network, task: SequenceTask, params: Params, digits: DigitWords) -> dict[str, Any]:
    """Accuracies on all test images: single networks' medians, and two ensembles of all of them.

    Args:
        network: what was trained.
        task: of `mnist_task`.
        params: arrays with the seeds in front.
        digits: the words.
    """
    classes = np.repeat(np.arange(len(digits.test)), [len(part) for part in digits.test])
    p = label_distributions(network, task, params, digits, np.concatenate(digits.test))
    votes = p.argmax(axis=-1)
    hits = votes == classes
    each = np.stack([hits[:, classes == i].mean(axis=1) for i in range(len(digits.test))], axis=1)
    row = {
        "test_images": len(classes),
        "test_accuracy_sampled": float(np.median(p[:, np.arange(len(classes)), classes].mean(axis=1))),
        "test_accuracy_argmax": float(np.median(hits.mean(axis=1))),
        "test_accuracy_argmax_best": float(hits.mean(axis=1).max()),
        "test_accuracy_by_digit": np.median(each, axis=0).tolist(),
        "test_accuracy_ensemble": float((p.mean(axis=0).argmax(axis=-1) == classes).mean()),
        "test_accuracy_vote": float((majority(votes, p) == classes).mean()),
        "duplicates_in_train": digits.duplicates(),
    }
    row["lookup_accuracy"], row["lookup_sequences"] = lookup(digits)
    if digits.encoding.label_words > 1:
        row |= _word_columns(p, classes, digits.encoding.label_words)
    return row


def label_distributions(
    network: Network, task: SequenceTask, params: Params, digits: DigitWords, words: np.ndarray
) -> np.ndarray:
    """(seeds, N, 2**(width label_words)) probabilities of the label's words, all of them as one number.

    That of a first word times that of a second after the first was read, for each first word: exact, not sampled.

    Args:
        network: what was trained.
        task: of `mnist_task`.
        params: arrays with the seeds in front.
        digits: what the words are.
        words: (N, steps).
    """
    encoding = digits.encoding
    count, width = encoding.label_words, encoding.width
    starts = np.array(list(itertools.product(range(2**width), repeat=count - 1)), np.int32)

    def one(params: Params, inputs: jax.Array, targets: jax.Array, start: jax.Array) -> jax.Array:
        targets = targets.at[:, encoding.steps : encoding.length - 1].set(start[None, :])
        forced = np.ones(encoding.length, bool)
        found = network.predict(params, task, inputs, targets, jax.random.key(0), forced=forced).probabilities
        label = found[:, -count:]
        before = jnp.take_along_axis(label[:, :-1], targets[:, encoding.steps : -1, None], axis=-1)[..., 0]
        return before.prod(axis=1)[:, None] * label[:, -1]

    scored = jax.jit(jax.vmap(jax.vmap(one, in_axes=(None, None, None, 0)), in_axes=(0, None, None, None)))
    parts = []
    for begin in range(0, len(words), _CHUNK):
        # The last part is filled up from the front, so that one compiled program serves all.
        chosen = np.arange(begin, begin + _CHUNK) % len(words)
        inputs, targets = with_labels(encoding, words[chosen], np.zeros(_CHUNK, np.int32))
        found = np.asarray(scored(params, inputs, targets, to_jax(starts)), np.float64)
        parts.append(found.transpose(0, 2, 1, 3).reshape(len(found), _CHUNK, -1)[:, : len(words) - begin])
    return np.concatenate(parts, axis=1)


def majority(votes: np.ndarray, p: np.ndarray) -> np.ndarray:
    """(N,) the class that most of (seeds, N) networks vote for; the mean distribution decides between equals."""
    counts = np.stack([(votes == k).sum(axis=0) for k in range(p.shape[-1])], axis=1)
    return np.asarray((counts + 0.5 * p.mean(axis=0)).argmax(axis=1))


def _word_columns(p: np.ndarray, classes: np.ndarray, count: int) -> dict[str, Any]:
    """As the author counts: each word of the label for itself, the words before it sampled."""
    size = round(p.shape[-1] ** (1 / count))
    split = p.reshape(*p.shape[:2], *(size,) * count)
    sampled, best = [], []
    for place in range(count):
        others = tuple(2 + k for k in range(count) if k != place)
        own, truth = split.sum(axis=others), classes // size ** (count - 1 - place) % size
        sampled.append(own[:, np.arange(len(classes)), truth].mean(axis=1))
        best.append((own.argmax(axis=-1) == truth).mean(axis=1))
    return {
        "test_word_accuracy_sampled": float(np.median(np.mean(sampled, axis=0))),
        "test_word_accuracy_argmax": float(np.median(np.mean(best, axis=0))),
    }


def drawn_columns(network: Network, params: Params, digits: DigitWords) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Images that the first seed draws, each word sampled and fed back, and how well their two scans agree."""
    assert isinstance(network, QuantumNetwork)
    one = {name: value[0] for name, value in params.items()}
    first = np.repeat(np.arange(len(digits.train)), DRAWN)[:, None]
    steps = digits.encoding.steps
    words = np.asarray(generate(network.topology, one, first, steps, jax.random.key(_DRAW_SEED)))
    # The first pixel is not drawn; the network read the digit in its place. Background is what it is in most images.
    images = both_images(np.concatenate([np.full_like(first, 3), words[:, 1:]], axis=1))
    agreement = float((images[:, 0] == images[:, 1]).mean())
    ink = [float(1 - part.mean()) for part in np.split(images[:, 0], len(digits.train))]
    real = [float(1 - (part // 2).mean()) for part in digits.train]
    row = {"drawn_agreement": agreement, "drawn_ink": ink, "real_ink": real}
    return row, {"drawn": images.reshape(len(digits.train), DRAWN, *images.shape[1:])}
