"""Settings of the study `hessian`, with the defaults that go with a data set."""

from dataclasses import dataclass, replace
from typing import NamedTuple

from qjaxsim.models.patches import PatchesModel
from qjaxsim.studies.shared.setting import (
    GIVEN,
    LARGEST_DEPTH,
    LARGEST_REGISTER,
    LARGEST_SEED,
    Except,
    check_settings,
    choice,
    integer,
    number,
    other,
    require_at_most,
)
from qjaxsim.training import TrainConfig
from qjaxsim.training.config import SCHEDULES

# Up to this many parameters "auto" means the dense spectrum: at 9,924 it takes a quarter of the time of the 400
# products that a matrix-free one needs.
DENSE_UP_TO = 12_000
DTYPES = ("float64", "float32")
SPECTRA = ("auto", "dense", "lanczos")
LANDSCAPES = ("pca", "eigen", "random")
CONTROLS = ("aggregation", "scale", "parameters", "learning-rate", "loss", "classes", "seeds", "nulls")


class _Defaults(NamedTuple):
    """What a data set brings where a setting is left open; `pool` is the side of the pooling window."""

    pool: int
    patch_size: int
    qubits: int
    epochs: int
    batch_size: int
    curvature_images: int | None


_DIGITS = _Defaults(pool=1, patch_size=4, qubits=5, epochs=30, batch_size=64, curvature_images=None)
_MNIST = _Defaults(pool=2, patch_size=8, qubits=8, epochs=50, batch_size=1000, curvature_images=2000)


@dataclass(frozen=True)
class HessianSettings:
    """Everything that decides the study's results. None stands for the data set's default.

    Attributes:
        dataset: "digits" (8 x 8 images, built in), "mnist", "fashion_mnist" (28 x 28, pooled to 14 x 14).
        patches: patch counts to sweep; square numbers whose grid fits the image.
        layers: layers of each trainable block to sweep.
        seeds: seeds to sweep; a seed chooses initial weights and minibatches.
        qubits: qubits of each circuit; 5 for digits, else 8.
        patch_size: side of a patch in pixels; 4 for digits, else 8.
        classes: labels to keep; all by default.
        images: training images (a stratified choice); all by default.
        curvature_images: of those, the images that the spectrum is taken on; all for digits, else 2000.
        lambda_images: of those, the images of the power iteration with the paper's settings, and of the Lanczos run
            beside it; by default those of the spectrum.
        epochs: 30 for digits, else 50.
        batch_size: 64 for digits, else 1000.
        learning_rate: first rate; by default the paper's for the depth: 0.01 up to 50 layers, 0.005 to 100,
            0.0025 to 150, then 0.001.
        schedule: "cosine_cycle" (the paper's, half period 5 epochs), "cosine" or "constant".
        weight_decay: coupled L2, never part of a reported loss.
        aggregation: "mean" or "sum" over circuits.
        scale: the constant c before the softmax.
        dtype: "float64" or "float32" for curvature.
        training_dtype: the same for training; by default that of curvature. The paper trained in single precision.
        spectrum: "dense", "lanczos", or "auto": dense up to 12,000 parameters.
        top: leading eigenvalues that "lanczos" computes.
        landscape: planes to look at: of the path's principal components ("pca"), of the two leading eigenvectors
            ("eigen"), of two random filter-normalised directions ("random").
        landscape_points: grid points along each axis.
        landscape_images: training images that the landscape is taken on; by default those of the spectrum.
        controls: names of `CONTROLS`, each a set of cells beside the baseline (`hessian_controls.py`).
        data_seed: chooses the images when not all are used.

    Raises:
        ValueError: for values out of range, naming the argument.
    """

    dataset: str = other("digits")
    patches: tuple[int, ...] = integer((1, 4, 9), 1)
    layers: tuple[int, ...] = integer((2,), 0, LARGEST_DEPTH)
    seeds: tuple[int, ...] = integer((1001,), 0, LARGEST_SEED)
    qubits: int | None = integer(None, 2, LARGEST_REGISTER)
    patch_size: int | None = integer(None, 1)
    classes: tuple[int, ...] | None = integer(None, 0)
    images: int | None = integer(None, 2)
    curvature_images: int | None = integer(None, 1)
    lambda_images: int | None = integer(None, 1)
    epochs: int | None = integer(None, 1)
    batch_size: int | None = integer(None, 1)
    learning_rate: float | None = number(None, above=0)
    schedule: str = choice("cosine_cycle", SCHEDULES)
    weight_decay: float = number(5e-5, least=0)
    aggregation: str = choice("mean", ("mean", "sum"))
    scale: float = number(100.0, above=0)
    dtype: str = choice("float64", DTYPES)
    training_dtype: str | None = choice(None, DTYPES)
    spectrum: str = choice("auto", SPECTRA)
    top: int = integer(20, 1, needs={"spectrum": ("auto", "lanczos")})
    landscape: tuple[str, ...] = choice(("pca", "eigen"), LANDSCAPES, empty=True)
    landscape_points: int = integer(20, 2, needs={"landscape": GIVEN})
    landscape_images: int | None = integer(None, 1, needs={"landscape": GIVEN})
    controls: tuple[str, ...] = choice((), CONTROLS, empty=True)
    data_seed: int = integer(
        0,
        0,
        LARGEST_SEED,
        needs=(
            {"images": GIVEN},
            {"curvature_images": GIVEN},
            {"lambda_images": GIVEN},
            {"landscape_images": GIVEN},
            {"landscape": ("random",)},
            {"dataset": Except("digits")},
        ),
    )

    def __post_init__(self) -> None:
        check_settings(self)

    def resolved(self) -> "HessianSettings":
        """The same settings with the data set's defaults filled in."""

        def chosen(name: str) -> int | None:
            value: int | None = getattr(self, name)
            default: int | None = getattr(self._defaults, name)
            return default if value is None else value

        return replace(
            self,
            qubits=chosen("qubits"),
            patch_size=chosen("patch_size"),
            epochs=chosen("epochs"),
            batch_size=chosen("batch_size"),
            curvature_images=chosen("curvature_images"),
            training_dtype=self.training_dtype or self.dtype,
        )

    def fitted(self, n_images: int, given: "HessianSettings") -> "HessianSettings":
        """The resolved settings for so many training images, of which a default of `given` is at most all.

        Raises:
            ValueError: if `given` asks for more than there are.
        """
        for name in ("curvature_images", "lambda_images", "landscape_images"):
            require_at_most(name, getattr(given, name), n_images, "training images")
        default = self.curvature_images
        return self if default is None or default <= n_images else replace(self, curvature_images=n_images)

    def train_config(self) -> TrainConfig:
        """Settings of the training of one cell; `self` must be resolved, with one depth and one seed."""
        assert self.epochs is not None and self.batch_size is not None
        (layers,), (seed,) = self.layers, self.seeds
        rate = paper_learning_rate(layers) if self.learning_rate is None else self.learning_rate
        return TrainConfig(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=rate,
            schedule=self.schedule,
            weight_decay=self.weight_decay,
            seed=seed,
        )

    @property
    def pool(self) -> int:
        """Side of the pooling window before the patches are cut."""
        return self._defaults.pool

    @property
    def _defaults(self) -> _Defaults:
        return _DIGITS if self.dataset == "digits" else _MNIST


def paper_learning_rate(layers: int) -> float:
    """The paper's learning rate for a depth: 0.01 at 50 layers, 0.005 at 100, 0.0025 at 150, 0.001 at 200."""
    return next((rate for depth, rate in ((50, 1e-2), (100, 5e-3), (150, 2.5e-3)) if layers <= depth), 1e-3)


def use_dense(settings: HessianSettings, model: PatchesModel) -> bool:
    """Whether a model's spectrum is computed from the dense matrix."""
    return settings.spectrum == "dense" or (settings.spectrum == "auto" and model.n_parameters <= DENSE_UP_TO)
