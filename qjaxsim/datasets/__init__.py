"""Labelled image sets as NumPy arrays: digits without any files, MNIST and others through TFDS or idx files.

>>> digits = load("digits")
>>> digits.images.shape, digits.pixel_max, digits.n_classes
((1438, 8, 8, 1), 16, 10)
>>> subset(select_classes(digits, [3, 5]), 60, seed=0).class_counts()
array([30, 30])
"""

from qjaxsim.datasets.dataset import Dataset, DatasetNotFoundError, NoSplitError
from qjaxsim.datasets.loading import load, names
from qjaxsim.datasets.preparing import prepare
from qjaxsim.datasets.sampling import select_classes, stratified_batches, subset

__all__ = [
    "Dataset",
    "DatasetNotFoundError",
    "NoSplitError",
    "load",
    "names",
    "prepare",
    "select_classes",
    "stratified_batches",
    "subset",
]
