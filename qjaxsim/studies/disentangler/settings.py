"""Settings of the study `disentangler`, with the two sizes of its built-in model."""

from dataclasses import dataclass, replace
from typing import Any

from qjaxsim.common.memory import require_memory
from qjaxsim.models.disentangler.char_transformer import CharTransformer
from qjaxsim.studies.shared.setting import (
    ABSENT,
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
    refuse_idle,
)
from qjaxsim.training import TrainConfig
from qjaxsim.training.loop import require_trajectory

PARTS = ("layers", "depth", "bond", "shots", "model")
HEALINGS = ("bond", "circuits")
SCOPES = ("one", "all")
METHODS = ("explicit", "gradient")
REGISTER = 0
FULL = 0
# About a million parameters is the size of PicoGPT (arXiv:2603.28534); the small model trains in a minute on two cores.
_SIZES: dict[str, dict[str, Any]] = {
    "small": {"width": 64, "n_blocks": 2, "context": 64, "epochs": 8, "learning_rate": 3e-3},
    "million": {"width": 128, "n_blocks": 5, "context": 128, "epochs": 12, "learning_rate": 2e-3},
}
# When settings have an effect. `weights` stands for the matrix of a file, which comes without a model.
_BUILT_IN = {"weights": ABSENT}
_GRID, _MODEL = {"parts": ("layers",)}, {"parts": ("model",)}
_HEALED = {**_MODEL, "healing": GIVEN}


@dataclass(frozen=True)
class DisentanglerStudySettings:
    """Everything that decides the study's results. None stands for a default that depends on the rest.

    Attributes:
        parts: what to run: "layers" (every layer, every bond and circuit of the grid, with its baselines), "depth"
            (figure of merit and entropy against the depth of the circuits), "bond" (bonds between circuits as wide as
            the register), "shots" (the profile layer with finitely many shots), "model" (the model with one layer and
            with all layers replaced, healed or not).
        layers: names of the model's linear maps; ("all",) for all.
        profile_layer: the one of parts "depth" and "bond", and of scope "one"; default the last block's value map.
        seeds: of the model's training and of the noise.
        chi: bonds of the grid.
        gate_qubits: qubits of a gate, 0 for gates as wide as the registers.
        depths: layers of gates.
        methods: "explicit" (polar sweeps), "gradient".
        target: "adaptive" or "fixed".
        sweeps: sweeps of the explicit method at most.
        gradient_steps: steps of the gradient method at most.
        restarts: starts of the optimisation, the best one kept.
        balanced_sites: sites of the unpadded MPO.
        profile_gate_qubits: of part "depth".
        profile_depths: of part "depth".
        bond_chi: of part "bond"; 0 for the full bond.
        model_chi: bonds for which the model is rebuilt, among `chi`; default all but the first.
        scopes: "one" replaces the profile layer, "all" all of `layers` at once.
        healing: what is trained after replacing: "bond" the MPO, "circuits" the gates, too.
        heal_updates: minibatches of healing.
        heal_learning_rate: Adam's rate of healing.
        adapter_block: features that a block of an adapter mixes; divides the model's width.
        shots: of each of the two circuits for every row of inputs, in part "shots".
        size: "small" (117 thousand parameters) or "million".
        width, n_blocks, n_heads, context, epochs, batch_size, learning_rate: of the model; None as `size` has it.
        test_windows: windows of the test text on which perplexities are computed; None for all.

    Raises:
        ValueError: for values out of range, naming the argument.
    """

    parts: tuple[str, ...] = choice(PARTS, PARTS)
    layers: tuple[str, ...] = other(("all",), needs=_BUILT_IN)
    profile_layer: str | None = other(None, needs=_BUILT_IN)
    seeds: tuple[int, ...] = integer((1,), 0, LARGEST_SEED)
    chi: tuple[int, ...] = integer((2, 8, 16), 1, needs=_GRID)
    gate_qubits: tuple[int, ...] = integer((2,), REGISTER, LARGEST_REGISTER, needs=_GRID)
    depths: tuple[int, ...] = integer((8,), 1, LARGEST_DEPTH, needs={**_GRID, "gate_qubits": Except(REGISTER)})
    methods: tuple[str, ...] = choice(("explicit",), METHODS, needs=_GRID)
    target: str = choice("adaptive", ("adaptive", "fixed"), needs={"parts": ("layers", "bond")})
    sweeps: int = integer(40, 1, needs=({"methods": ("explicit",)}, {"parts": ("depth", "bond")}))
    gradient_steps: int = integer(400, 1, needs={**_GRID, "methods": ("gradient",)})
    restarts: int = integer(1, 1)
    balanced_sites: int = integer(3, 2, needs={"parts": ("layers", "bond")})
    profile_gate_qubits: tuple[int, ...] = integer(
        (2, 3, REGISTER), REGISTER, LARGEST_REGISTER, needs={"parts": ("depth",)}
    )
    profile_depths: tuple[int, ...] = integer(
        (1, 2, 4, 8, 16), 1, LARGEST_DEPTH, needs={"parts": ("depth",), "profile_gate_qubits": Except(REGISTER)}
    )
    bond_chi: tuple[int, ...] = integer((1, 2, 5, 10, 50, FULL), FULL, needs={"parts": ("bond",)})
    model_chi: tuple[int, ...] | None = integer(None, 1, needs=_MODEL)
    scopes: tuple[str, ...] = choice(("all",), SCOPES, needs=_MODEL)
    healing: tuple[str, ...] = choice(HEALINGS, HEALINGS, empty=True, needs=_MODEL)
    heal_updates: int = integer(100, 1, needs=_HEALED)
    heal_learning_rate: float = number(1e-3, above=0, needs=_HEALED)
    adapter_block: int = integer(4, 1, needs=_HEALED)
    shots: tuple[int, ...] = integer((1_000, 100_000, 10_000_000), 2, needs={"parts": ("shots",)})
    size: str = choice("small", _SIZES, needs=_BUILT_IN)
    width: int | None = integer(None, 1, needs=_BUILT_IN)
    n_blocks: int | None = integer(None, 1, LARGEST_DEPTH, needs=_BUILT_IN)
    n_heads: int = integer(4, 1, needs=_BUILT_IN)
    context: int | None = integer(None, 2, needs=_BUILT_IN)
    epochs: int | None = integer(None, 1, needs=_BUILT_IN)
    batch_size: int = integer(32, 1, needs=_BUILT_IN)
    learning_rate: float | None = number(None, above=0, needs=_BUILT_IN)
    test_windows: int | None = integer(256, 1, optional=True, needs=_BUILT_IN)

    def __post_init__(self) -> None:
        check_settings(self)
        for part in ("model", "shots"):
            if part in self.parts and "layers" not in self.parts:
                raise ValueError(f"Argument `parts` must hold 'layers' with {part!r}, which takes those layers up.")
        if strange := [chi for chi in self.model_chi or () if chi not in self.chi]:
            raise ValueError(f"Argument `model_chi` must be among `chi`, {list(self.chi)}, but holds {strange[0]}.")

    def resolved(self, n_characters: int) -> "DisentanglerStudySettings":
        """The same settings with the model's sizes filled in and all names of layers written out.

        Raises:
            ValueError: for a name that is no linear map of the model, sizes that do not fit, or settings without
                effect.
        """
        refuse_idle(self, weights=None)
        sizes = _SIZES[self.size]
        filled = replace(self, **{name: value for name, value in sizes.items() if getattr(self, name) is None})
        model = filled.model(n_characters)
        if model.width % self.adapter_block:
            raise ValueError(
                f"Argument `adapter_block` must divide the model's width, {model.width}, but is {self.adapter_block}."
            )
        layers = model.linear_names if self.layers == ("all",) else self.layers
        if not layers or len(set(layers)) != len(layers):
            raise ValueError(f"Argument `layers` must name at least one layer and none twice, but is {list(layers)}.")
        profile = self.profile_layer or f"block{model.n_blocks - 1}.value"
        if profile not in layers and self.profile_layer is None:
            profile = layers[0]
        for name in (*layers, profile):
            model.shape_of(name)
        if profile not in layers:
            raise ValueError(f"Argument `profile_layer` must be among `layers`, {list(layers)}, but is {profile!r}.")
        bonds = self.model_chi or self.chi[1:] or self.chi
        return replace(filled, layers=layers, profile_layer=profile, model_chi=bonds)

    def require_model(self, model: CharTransformer) -> None:
        """Raise MemoryError if training the model does not fit."""
        assert self.epochs is not None
        parameters = 12 * model.width**2 * model.n_blocks + model.width * (2 * model.n_characters + model.context)
        require_trajectory(self.epochs, parameters, 4)
        attention = 4 * self.batch_size * model.n_heads * model.context**2
        require_memory(16 * parameters + attention, "Training the built-in model", "choose smaller sizes")

    def of_file(self, name: str) -> "DisentanglerStudySettings":
        """The same settings for one matrix of a file: it is the only layer, and there is no model to rebuild.

        Raises:
            ValueError: if settings of the built-in model, or its part, are given.
        """
        refuse_idle(self, weights=name)
        if "model" in self.parts:
            raise ValueError("Argument `parts` must not hold 'model' with a file, which brings no model; leave it out.")
        return replace(self, layers=(name,), profile_layer=name)

    def model(self, n_characters: int) -> CharTransformer:
        """The built-in model; sizes must be filled in."""
        assert self.context is not None and self.width is not None and self.n_blocks is not None
        return CharTransformer(n_characters, self.context, self.width, self.n_blocks, self.n_heads)

    def train_config(self, seed: int) -> TrainConfig:
        """Settings of the model's training; the best epoch is that of the lowest validation loss."""
        assert self.epochs is not None and self.learning_rate is not None
        return TrainConfig(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            schedule="cosine",
            seed=seed,
            eval_batch_size=256,
            best="test_loss",
        )

    def circuits(self) -> list[tuple[int, int]]:
        """Gate sizes and depths of the grid; of gates as wide as the register one layer is all there is."""
        return _circuits(self.gate_qubits, self.depths)

    def profile_circuits(self) -> list[tuple[int, int]]:
        """The same of part "depth"."""
        return _circuits(self.profile_gate_qubits, self.profile_depths)


def _circuits(gate_qubits: tuple[int, ...], depths: tuple[int, ...]) -> list[tuple[int, int]]:
    return [(k, depth) for k in gate_qubits for depth in (depths if k != REGISTER else (1,))]


def circuit_name(gate_qubits: int, depth: int) -> str:
    """Name of a circuit in keys of cells.

    >>> circuit_name(2, 8), circuit_name(REGISTER, 1)
    ('k2-d8', 'register')
    """
    return "register" if gate_qubits == REGISTER else f"k{gate_qubits}-d{depth}"
