"""Settings of the study `disentangler`, with the two sizes of its built-in model."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

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
    require_at_most,
    with_defaults,
)

if TYPE_CHECKING:
    from qjaxsim.models.disentangler.char_transformer import CharTransformer
    from qjaxsim.models.disentangler.sentence_encoder import SentenceEncoder
    from qjaxsim.models.disentangler.transformer import Exchangeable
    from qjaxsim.training import TrainConfig

PARTS = ("layers", "depth", "bond", "shots", "model")
HEALINGS = ("bond", "circuits")
SCOPES = ("one", "all")
METHODS = ("explicit", "gradient")
REGISTER = 0
FULL = 0
# About a million parameters is the size of PicoGPT (arXiv:2603.28534); the small model trains in a minute on two cores.
SIZES = ("small", "million")
# Tokens of a sentence for an encoder, unless asked otherwise.
ENCODER_CONTEXT = 32
# When settings have an effect. `weights` stands for the matrix of a file, which comes without a model, `encoder` for a
# model that is trained.
_ANY_MODEL = {"weights": ABSENT}
_BUILT_IN = {"weights": ABSENT, "encoder": ABSENT}
_GRID, _MODEL = {"parts": ("layers",)}, {"parts": ("model",)}
_HEALED = {**_MODEL, "healing": GIVEN}


def _sized(small: float, million: float) -> dict[str, float]:
    return {"small": small, "million": million}


@dataclass(frozen=True)
class DisentanglerStudySettings:
    """Everything that decides the study's results; each field says what it is. None stands for a default.

    Parts: "layers" (every layer, every bond and circuit of the grid, with its baselines), "depth" (figure of merit and
    entropy against the depth of the circuits), "bond" (bonds between circuits as wide as the register), "shots" (the
    profile layer with finitely many shots), "model" (the model with one layer and with all layers replaced, healed or
    not). Gates of 0 qubits are as wide as the register, a bond of 0 is the full one.

    Raises:
        ValueError: for values out of range, naming the argument.
    """

    parts: tuple[str, ...] = choice(
        PARTS,
        PARTS,
        help="all, or some of layers (grid over layers), depth (overlap against depth), bond (circuits as wide as the "
        "registers), shots (a layer with finitely many shots) and model (the model rebuilt).",
        words={"all": PARTS},
    )
    layers: tuple[str, ...] = other(
        ("all",),
        needs=_ANY_MODEL,
        help="all, or names such as block0.query,block1.up; of an encoder as encoder.layer.0.attention.self.query.",
    )
    profile_layer: str | None = other(
        None,
        needs=_ANY_MODEL,
        help="Layer of the parts depth and bond, and of scope one.",
        defaults="the last block's value",
    )
    seeds: tuple[int, ...] = integer((1,), 0, LARGEST_SEED, help="Seeds to sweep (training, noise, random starts).")
    chi: tuple[int, ...] = integer((2, 8, 16), 1, needs=_GRID, help="Bonds of the grid.")
    gate_qubits: tuple[int, ...] = integer(
        (2,),
        REGISTER,
        LARGEST_REGISTER,
        needs=_GRID,
        help="Qubits of a gate in the grid; register for as wide as the registers.",
        words={"register": REGISTER},
    )
    depths: tuple[int, ...] = integer(
        (8,), 1, LARGEST_DEPTH, needs={**_GRID, "gate_qubits": Except(REGISTER)}, help="Layers of gates in the grid."
    )
    methods: tuple[str, ...] = choice(
        ("explicit",), METHODS, needs=_GRID, help="explicit (polar sweeps), gradient, or both."
    )
    target: str = choice(
        "adaptive",
        ("adaptive", "fixed"),
        needs={"parts": ("layers", "bond")},
        help="Of the optimisation: adaptive (cut anew after each sweep) or fixed (the layer's own cut).",
    )
    sweeps: int = integer(
        40,
        1,
        needs=({"methods": ("explicit",)}, {"parts": ("depth", "bond")}),
        help="Sweeps of the explicit method at most.",
    )
    gradient_steps: int = integer(
        400, 1, needs={**_GRID, "methods": ("gradient",)}, help="Steps of the gradient method at most."
    )
    restarts: int = integer(1, 1, help="Starts, the best of which is kept.")
    balanced_sites: int = integer(
        3, 2, needs={"parts": ("layers", "bond")}, help="Sites of the unpadded MPO, where the sizes have the factors."
    )
    profile_gate_qubits: tuple[int, ...] = integer(
        (2, 3, REGISTER),
        REGISTER,
        LARGEST_REGISTER,
        needs={"parts": ("depth",)},
        help="Gates of part depth.",
        words={"register": REGISTER},
    )
    profile_depths: tuple[int, ...] = integer(
        (1, 2, 4, 8, 16),
        1,
        LARGEST_DEPTH,
        needs={"parts": ("depth",), "profile_gate_qubits": Except(REGISTER)},
        help="Depths of part depth.",
    )
    bond_chi: tuple[int, ...] = integer(
        (1, 2, 5, 10, 50, FULL),
        FULL,
        needs={"parts": ("bond",)},
        help="Bonds of part bond, full for no cut.",
        words={"full": FULL},
    )
    model_chi: tuple[int, ...] | None = integer(
        None, 1, needs=_MODEL, help="Bonds of part model, among --chi.", defaults="all but the first of --chi"
    )
    scopes: tuple[str, ...] = choice(
        ("all",),
        SCOPES,
        needs=_MODEL,
        help="Of part model: one (the profile layer), all (all of --layers at once).",
    )
    healing: tuple[str, ...] = choice(
        HEALINGS,
        HEALINGS,
        empty=True,
        needs=_MODEL,
        help="Trained after replacing: bond (MPO), circuits (gates, too), none.",
        words={"none": ()},
    )
    heal_updates: int = integer(100, 1, needs=_HEALED, help="Minibatches of healing.")
    heal_learning_rate: float = number(1e-3, above=0, needs=_HEALED, help="Adam's rate of healing.")
    adapter_block: int = integer(
        4,
        1,
        needs={**_HEALED, "encoder": ABSENT},
        help="Features that a block of an adapter mixes; divides the model's width.",
    )
    shots: tuple[int, ...] = integer(
        (1_000, 100_000, 10_000_000),
        2,
        needs={"parts": ("shots",)},
        help="Shots of each circuit a row of inputs, in part shots.",
    )
    size: str = choice(
        "small", SIZES, needs=_BUILT_IN, help="Of the built-in model: small (117 thousand numbers) or million."
    )
    width: int | None = integer(None, 1, needs=_BUILT_IN, help="Size of a token.", defaults=_sized(64, 128))
    n_blocks: int | None = integer(
        None, 1, LARGEST_DEPTH, needs=_BUILT_IN, flag="blocks", help="Blocks of the model.", defaults=_sized(2, 5)
    )
    n_heads: int = integer(4, 1, needs=_BUILT_IN, flag="heads", help="Heads of attention.")
    context: int | None = integer(
        None, 2, needs=_ANY_MODEL, help="Characters seen at once; of an encoder tokens (32).", defaults=_sized(64, 128)
    )
    epochs: int | None = integer(None, 1, needs=_BUILT_IN, help="Passes over the text.", defaults=_sized(8, 12))
    batch_size: int = integer(32, 1, needs=_ANY_MODEL, help="Windows of text, or sentences, a minibatch.")
    learning_rate: float | None = number(
        None, above=0, needs=_BUILT_IN, help="Adam's rate of training.", defaults=_sized(3e-3, 2e-3)
    )
    test_windows: int | None = integer(
        256,
        1,
        optional=True,
        needs=_ANY_MODEL,
        help="Windows of test text, or sentences, for measures of the model; 0 for all.",
        words={"0": None},
    )

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
        refuse_idle(self, weights=None, encoder=None)
        filled = with_defaults(self, "size")
        model = filled.model(n_characters)
        if model.width % self.adapter_block:
            raise ValueError(
                f"Argument `adapter_block` must divide the model's width, {model.width}, but is {self.adapter_block}."
            )
        return filled._with_layers(model, f"block{model.n_blocks - 1}.value")

    def _with_layers(self, model: "Exchangeable", profile: str) -> "DisentanglerStudySettings":
        """The same settings with names of layers and bonds of part "model" written out."""
        layers = model.linear_names if self.layers == ("all",) else self.layers
        if not layers or len(set(layers)) != len(layers):
            raise ValueError(f"Argument `layers` must name at least one layer and none twice, but is {list(layers)}.")
        if self.profile_layer is not None:
            profile = self.profile_layer
        elif profile not in layers:
            profile = layers[0]
        for name in layers:
            model.require_linear(name, "layers")
        model.require_linear(profile, "profile_layer")
        if profile not in layers:
            raise ValueError(f"Argument `profile_layer` must be among `layers`, {list(layers)}, but is {profile!r}.")
        bonds = self.model_chi or self.chi[1:] or self.chi
        return replace(self, layers=layers, profile_layer=profile, model_chi=bonds)

    def require_model(self, model: "CharTransformer") -> None:
        """Raise MemoryError if training the model does not fit."""
        from qjaxsim.common.memory import require_memory
        from qjaxsim.training.loop import require_trajectory

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
        refuse_idle(self, weights=name, encoder=None)
        if "model" in self.parts:
            raise ValueError("Argument `parts` must not hold 'model' with a file, which brings no model; leave it out.")
        return replace(self, layers=(name,), profile_layer=name)

    def of_encoder(self, model: "SentenceEncoder", name: str) -> "DisentanglerStudySettings":
        """The same settings for a published encoder, with names of layers and the length of sentences written out.

        Raises:
            ValueError: for a name that is no linear map of the encoder, or if settings of the built-in model are given.
        """
        refuse_idle(self, weights=None, encoder=name)
        context = self.context or min(ENCODER_CONTEXT, model.positions)
        require_at_most("context", context, model.positions, "tokens that the encoder takes")
        last = f"encoder.layer.{model.n_blocks - 1}.attention.self.value"
        return replace(self, context=context)._with_layers(model, last)

    def model(self, n_characters: int) -> "CharTransformer":
        """The built-in model; sizes must be filled in."""
        from qjaxsim.models.disentangler.char_transformer import CharTransformer

        assert self.context is not None and self.width is not None and self.n_blocks is not None
        return CharTransformer(n_characters, self.context, self.width, self.n_blocks, self.n_heads)

    def train_config(self, seed: int) -> "TrainConfig":
        """Settings of the model's training; the best epoch is that of the lowest validation loss."""
        from qjaxsim.training import TrainConfig

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
