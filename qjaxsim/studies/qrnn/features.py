"""Handwritten digits as a few coordinates, and these as words: principal components, t-SNE or UMAP (all optional uses).

As published, coordinates are scaled to [0, 1] by the training images' least and largest, passed through a normal
distribution function fitted to them, and kept as eight bits. A step then feeds one bit of every coordinate, most
significant first (t-SNE, UMAP), or one coordinate's leading bits (principal components).
"""

import importlib
from typing import Any

import numpy as np

from qjaxsim.common.extras import MissingExtraError

# t-SNE has no map for new images; it is fitted to so many, and the others go where their neighbours are.
TSNE_IMAGES, _NEIGHBOURS = 6000, 10
_SEED = 42


def coordinates(
    kind: str, count: int, train: np.ndarray, test: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(N, count) and (M, count) coordinates of training and other images.

    Args:
        kind: "pca", fitted to the training images. "tsne", unsupervised: scikit-learn's, perplexity 100 and cosine
            distance after 30 principal components, as published, but fitted to 6,000 training images at most; all
            others, which it has no map for, get the mean of their ten nearest ones' coordinates, weighted by distance.
            "umap", **supervised**: fitted with the training labels (40 neighbours, least distance 0, 500 epochs,
            target weight 0.5), as published.
        count: number of coordinates.
        train: (N, 784) grey values.
        test: (M, 784) the others.
        labels: (N,) classes of the training images, for "umap" alone.

    Raises:
        ImportError: for "umap" without the package umap-learn.
    """
    if kind == "pca":
        from sklearn.decomposition import PCA

        reduction = PCA(count, random_state=_SEED).fit(train)
        return reduction.transform(train), reduction.transform(test)
    return _tsne(count, train, test) if kind == "tsne" else _umap(count, train, test, labels)


def _tsne(count: int, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from sklearn.neighbors import KNeighborsRegressor

    reduction = PCA(min(30, *train.shape), random_state=_SEED).fit(train)
    near, far = reduction.transform(train), reduction.transform(test)
    fitted = np.random.default_rng(_SEED).permutation(len(near))[:TSNE_IMAGES]
    perplexity = min(100, (len(fitted) - 1) // 3)
    placed = TSNE(count, perplexity=perplexity, metric="cosine", random_state=_SEED).fit_transform(near[fitted])
    places = KNeighborsRegressor(min(_NEIGHBOURS, len(fitted)), weights="distance").fit(near[fitted], placed)
    # An image that was fitted is its own nearest neighbour, at distance 0, and stays where it is.
    return places.predict(near), places.predict(far)


def _umap(count: int, train: np.ndarray, test: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    try:
        umap = importlib.import_module("umap")
    except ImportError as error:
        raise MissingExtraError(
            "Features by UMAP need the package umap-learn: pip install umap-learn, or use --features pca or tsne.",
            name="umap",
        ) from error
    reduction = umap.UMAP(
        n_components=count, n_neighbors=40, min_dist=0.0, n_epochs=500, target_weight=0.5, random_state=_SEED, n_jobs=1
    ).fit(train, labels)
    return np.asarray(reduction.embedding_), np.asarray(reduction.transform(test))


def eight_bits(train: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Coordinates as integers 0..255, about evenly spread over the training images.

    Args:
        train: (N, count), which scale and normal distribution are fitted to.
        others: (M, count) each.
    """
    from scipy.stats import norm

    least, most = train.min(axis=0), train.max(axis=0)
    width = np.where(most > least, most - least, 1.0)
    scaled = (train - least) / width
    mean, spread = scaled.mean(axis=0), np.maximum(scaled.std(axis=0), 1e-12)
    return [
        np.minimum(255, (256 * norm.cdf(((part - least) / width - mean) / spread)).astype(np.int32))
        for part in (train, *others)
    ]


def feature_words(kind: str, values: np.ndarray, bits: int) -> np.ndarray:
    """Words of eight-bit coordinates.

    Args:
        kind: "pca": word j holds the leading bits of coordinate j; else word j holds bit j of every coordinate, the
            first coordinate's on lane 0.
        values: (N, count) integers 0..255.
        bits: leading bits that are kept, 1 to 8.

    Returns:
        (N, count) words of `bits` bits for "pca", else (N, bits) words of `count` bits.
    """
    if kind == "pca":
        return values >> (8 - bits)
    planes: Any = (values[:, None, :] >> np.arange(7, 7 - bits, -1)[None, :, None]) & 1
    return (planes << np.arange(values.shape[1] - 1, -1, -1)).sum(axis=2)
