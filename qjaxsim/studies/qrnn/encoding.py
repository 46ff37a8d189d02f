"""How handwritten digits become words: what there is of them, before any is read."""

import math
from dataclasses import dataclass

FEATURES = ("pixels", "pca", "tsne", "umap")
# Side of the images of bits.
SIDE = 10


@dataclass(frozen=True)
class Encoding:
    """How an image becomes words, and its digit becomes words after them.

    Attributes:
        digits: classes, in the order of their numbers; two to ten.
        dataset: name of a set of 28 x 28 images.
        features: "pixels" (10 x 10 bits in two scans, words of 2 bits), "pca", "tsne" or "umap".
        coordinates: of the reduced features; None for pixels.
        bits: kept of each coordinate; None for pixels.
        deskew: whether slant is taken out of the images first.

    Raises:
        ValueError: for values out of range, naming the argument.
    """

    digits: tuple[int, ...] = (0, 1)
    dataset: str = "mnist"
    features: str = "pixels"
    coordinates: int | None = None
    bits: int | None = None
    deskew: bool = False

    def __post_init__(self) -> None:
        digits = self.digits
        if len(set(digits)) != len(digits) or not 2 <= len(digits) <= 10 or not set(digits) <= set(range(10)):
            raise ValueError(f"Argument `digits` must be two to ten different digits, but is {list(digits)}.")
        from qjaxsim.common.checks import require_one_of  # with NumPy, which settings do without

        require_one_of("features", self.features, FEATURES)
        # Barnes and Hut's approximation, which t-SNE is made with, ends at three dimensions.
        most = {"coordinates": 3 if self.features == "tsne" else 8, "bits": 8}
        for name, limit in most.items():
            value = getattr(self, name)
            if self.features == "pixels" and value is not None:
                raise ValueError(f"Argument `{name}` must be left out for features='pixels', but is {value}.")
            if self.features != "pixels" and (value is None or not 1 <= value <= limit):
                raise ValueError(
                    f"Argument `{name}` must be from 1 to {limit} for features={self.features!r}, but is {value}."
                )

    @property
    def width(self) -> int:
        """Bits of a word."""
        if self.coordinates is None or self.bits is None:
            return 2
        return self.bits if self.features == "pca" else self.coordinates

    @property
    def steps(self) -> int:
        """Words of an image."""
        if self.coordinates is None or self.bits is None:
            return SIDE * SIDE
        return self.coordinates if self.features == "pca" else self.bits

    @property
    def label_words(self) -> int:
        """Words of a label: its number in base 2**width, most significant first."""
        return math.ceil(math.ceil(math.log2(len(self.digits))) / self.width)

    @property
    def length(self) -> int:
        """Words of a sequence, label included."""
        return self.steps + self.label_words
