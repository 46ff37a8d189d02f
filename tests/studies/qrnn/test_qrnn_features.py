"""Handwritten digits for the recurrent network: images in bits, features and their words."""

import sys

import jax
import numpy as np
import pytest

from qjaxsim.studies.qrnn import digits as qrnn_mnist
from qjaxsim.studies.qrnn.digits import mnist_task, with_labels
from qjaxsim.studies.qrnn.encoding import Encoding
from qjaxsim.studies.qrnn.features import coordinates, eight_bits, feature_words
from qjaxsim.studies.qrnn.images import binary_images, both_images, deskewed, two_scans

# --- images -------------------------------------------------------------------------------------------------------


def test_binary_images_and_two_scans():
    """A bright block in the corner of the crop becomes ink, 0; a transposed image exchanges the two bits."""
    image = np.zeros((2, 28, 28), np.uint8)
    image[0, 4:8, 4:10] = 200
    image[1] = image[0].T
    bits = binary_images(image)
    assert bits.shape == (2, 10, 10) and (~bits[0])[:2, :3].all() and bits[0].sum() == 94
    words = two_scans(bits)
    rows, columns = words // 2, words % 2
    assert (rows[0] == bits[0].ravel()).all() and (rows[0] == columns[1]).all() and (columns[0] == rows[1]).all()
    assert (both_images(words)[:, 0] == bits).all() and (both_images(words)[:, 1] == bits).all()
    inputs, targets = with_labels(Encoding(), words, [1, 0])
    assert inputs.shape == (2, 101) and (inputs[:, :100] == words).all() and targets[:, -1].tolist() == [1, 0]
    assert (np.asarray(targets)[:, :-1] == 0).all()


def test_otsu_splits_two_levels_between_them():
    image = np.full((1, 28, 28), 40, np.uint8)
    image[0, 10:14, 10:14] = 90
    assert (~binary_images(image)).sum() == 4


def test_deskewing_takes_the_slant_out_and_leaves_upright_images():
    """A bar that leans by one pixel a row stands up: its second mixed moment is gone, its ink is kept."""
    image = np.zeros((3, 28, 28, 1), np.uint8)
    for row in range(8, 21):
        image[0, row, row - 2 : row + 2] = 100
    image[1, 8:21, 12:16] = 100
    straight = deskewed(image)
    np.testing.assert_allclose(straight[0].sum(), image[0].sum())
    np.testing.assert_allclose(straight[0], image[1, ..., 0], atol=1e-9)
    np.testing.assert_allclose(straight[1], image[1, ..., 0], atol=1e-9)
    assert (straight[2] == 0).all()


@pytest.mark.thorough
def test_real_digits_have_the_published_means():
    """Means of the bits: 0.63 for digit 0 and 0.83 for digit 1 in the author's files; half the test 1s are in train."""
    try:
        words = qrnn_mnist.load_digit_words(Encoding())
    except FileNotFoundError:
        pytest.skip("MNIST is not here")
    means = [np.mean(part // 2) for part in words.train]
    np.testing.assert_allclose(means, [0.63, 0.83], atol=0.01)
    assert [len(part) for part in words.validation] == [500, 500] and sum(map(len, words.train)) == 12665 - 1000
    zeros, ones = words.duplicates()
    assert zeros < 0.02 and 0.4 < ones < 0.7
    task = mnist_task(words)
    inputs, targets = task.draw(task.arrays, jax.random.key(0), 7)
    assert inputs.shape == (7, 101) and np.asarray(targets[:, -1]).tolist() == [0, 0, 0, 0, 1, 1, 1]


# --- features -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clouds():
    """120 points around three centres in 12 dimensions, 30 more of them, and their classes."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 50)
    points = rng.normal(size=(150, 12)) + 20 * np.eye(12)[labels]
    chosen = np.arange(150) % 5 > 0
    return points[chosen], points[~chosen], labels[chosen], labels[~chosen]


def test_principal_components_are_those_of_the_training_images(clouds):
    train, test, labels, _ = clouds
    near, far = coordinates("pca", 3, train, test, labels)
    mean = train.mean(axis=0)
    axes = np.linalg.svd(train - mean, full_matrices=False)[2][:3]
    for got, points in ((near, train), (far, test)):
        np.testing.assert_allclose(np.abs(got), np.abs((points - mean) @ axes.T), atol=1e-9)


def test_tsne_places_new_images_among_their_neighbours(clouds, monkeypatch):
    """The library's t-SNE by a stand-in that keeps two components: fitted images stay, others go between neighbours."""
    asked = {}

    class TwoComponents:
        def __init__(self, count, **options):
            asked.update(options, count=count)

        def fit_transform(self, points):
            asked["points"] = points
            return points[:, :2]

    monkeypatch.setattr("sklearn.manifold.TSNE", TwoComponents)
    monkeypatch.setattr("qjaxsim.studies.qrnn.features.TSNE_IMAGES", 70)
    train, test, labels, others = clouds
    near, far = coordinates("tsne", 2, train, test, labels)
    assert near.shape == (120, 2) and far.shape == (30, 2)
    assert asked["count"] == 2 and asked["metric"] == "cosine" and asked["perplexity"] == 23
    assert asked["points"].shape == (70, 12)
    kept = {tuple(row) for row in asked["points"][:, :2]}
    assert sum(tuple(row) in kept for row in near) == 70
    centres = np.stack([near[labels == k].mean(axis=0) for k in range(3)])
    for points, truth in ((near, labels), (far, others)):
        assert (np.linalg.norm(points[:, None] - centres, axis=2).argmin(axis=1) == truth).all()


def test_umap_needs_its_package(clouds, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match="need the package umap-learn: pip install umap-learn, or use --features pca"):
        coordinates("umap", 2, *clouds[:3])


def test_umap_keeps_classes_apart(clouds):
    pytest.importorskip("umap")
    near, far = coordinates("umap", 2, *clouds[:3])
    assert near.shape == (120, 2) and far.shape == (30, 2)


def test_eight_bits_spread_a_normal_coordinate_evenly_and_fit_to_training_alone():
    train = np.random.default_rng(0).normal(size=(4000, 2)) * [1, 50] + [0, 9]
    bits, shifted = eight_bits(train, train[:5] + 1000)
    assert bits.min() >= 0 and bits.max() <= 255 and (shifted == 255).all()
    shares = np.stack([np.histogram(column, 4, (0, 256))[0] for column in bits.T]) / 4000
    np.testing.assert_allclose(shares, 0.25, atol=0.03)
    order = np.argsort(train[:, 0])
    assert (np.diff(bits[order, 0]) >= 0).all()
    assert (eight_bits(np.ones((3, 2)))[0] == eight_bits(np.ones((3, 2)))[0][0, 0]).all()


def test_feature_words_hold_the_leading_bits():
    values = np.random.default_rng(1).integers(0, 256, (5, 3))
    text = [[format(value, "08b") for value in row] for row in values]
    by_plane, by_coordinate = feature_words("tsne", values, 4), feature_words("pca", values, 4)
    assert by_plane.shape == (5, 4) and by_coordinate.shape == (5, 3)
    for i, row in enumerate(text):
        assert by_plane[i].tolist() == [int("".join(one[j] for one in row), 2) for j in range(4)]
        assert by_coordinate[i].tolist() == [int(one[:4], 2) for one in row]
