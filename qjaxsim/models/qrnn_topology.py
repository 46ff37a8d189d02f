"""Sizes, parameters and files of the recurrent quantum network (Bausch 2020, arXiv:2006.14619)."""

import importlib
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common import files
from qjaxsim.common.checks import as_path, integer_from
from qjaxsim.common.extras import missing_extra
from qjaxsim.common.memory import require_memory

Params = Mapping[str, jax.Array]


@dataclass(frozen=True)
class QrnnTopology:
    """Sizes of a recurrent quantum network.

    Lanes 0..width-1 carry a word in and out, lanes width..width+workspace-1 the cell's state; lane 0 is the most
    significant bit of a word and of a state's index. A neuron's sources are the workspace lanes, then the in/out lanes,
    each in rising order, without its own target. Its numbers belong to the subsets of the sources with at most
    `degree` members, by size, then by position: the empty one first (theta), then (0,), (1,), ..., (0, 1), (0, 2), ...

    Attributes:
        width: in/out lanes I; words are 0..2**I - 1.
        workspace: lanes W of the cell's state.
        stages: work stages S.
        degree: largest subset of sources with a number of its own.
        order: order of a neuron, 1 to 5; it rotates by arctan(tan(eta / 2)**(2**order)).
        bias: fixed part of every neuron's angle eta, radians; halved inside cos and sin like all angles here (the
            paper's pi/4 is pi/2 here).

    Raises:
        ValueError: for values out of range, naming the argument.
    """

    width: int
    workspace: int
    stages: int
    degree: int
    order: int = 2
    bias: float = math.pi / 2

    def __post_init__(self) -> None:
        for name, least, most in (
            ("width", 1, 16),
            ("workspace", 1, 30),
            ("stages", 0, 1000),
            ("degree", 1, 30),
            ("order", 1, 5),
        ):
            object.__setattr__(self, name, integer_from(least, name, getattr(self, name), most))
        if not math.isfinite(self.bias):
            raise ValueError(f"Argument `bias` must be a finite angle in radians, but is {self.bias!r}.")

    @property
    def n_words(self) -> int:
        """Number of words, 2**width."""
        return 2**self.width

    @property
    def n_sources(self) -> int:
        """Sources of each neuron: all lanes but its target."""
        return self.workspace + self.width - 1

    @property
    def n_qubits(self) -> int:
        """Qubits as the paper counts them, with one ancilla for each order."""
        return self.workspace + self.width + self.order

    @property
    def n_numbers(self) -> int:
        """Trained numbers of one neuron."""
        return sum(math.comb(self.n_sources, size) for size in range(self.degree + 1))

    @property
    def n_neurons(self) -> int:
        """Neurons in one step: input stage, work stages, output stage."""
        return self.workspace * (1 + self.stages) + self.width

    @property
    def n_parameters(self) -> int:
        """Trained numbers in all: neurons times their numbers, and one rotation for each workspace lane and stage."""
        return self.n_neurons * self.n_numbers + self.workspace * self.stages

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter array, in the order of the flat layout (that of `ravel_pytree`)."""
        return {
            "input": (self.workspace, self.n_numbers),
            "output": (self.width, self.n_numbers),
            "rotations": (self.stages, self.workspace),
            "work": (self.stages, self.workspace, self.n_numbers),
        }

    @cached_property
    def monomials(self) -> np.ndarray:
        """(2**n_sources, n_numbers) of 0 and 1: whether all sources of a subset are 1; first source most significant.

        Raises:
            MemoryError: if it does not fit.
        """
        self.require_table()
        return _monomials(self.n_sources, self.degree)

    def require_table(self) -> None:
        """Raise MemoryError if `monomials` does not fit."""
        require_memory(
            8 * 2**self.n_sources * self.n_numbers,
            f"The table of a neuron with {self.n_sources} sources and {self.n_numbers} numbers",
            "use fewer lanes or a lower degree",
        )

    def init(
        self,
        key: jax.Array,
        dtype: Any = None,
        *,
        bias_spread: float = 0.1,
        weight_spread: float = 0.01,
        rotation_spread: float = 0.01,
    ) -> dict[str, jax.Array]:
        """Initial parameters: normal numbers around zero.

        Args:
            key: random key.
            dtype: float32 or float64; None for JAX's default.
            bias_spread: standard deviation of the first number of each neuron, theta.
            weight_spread: that of its other numbers.
            rotation_spread: that of the rotations between the stages.
        """
        dtype = jnp.zeros(()).dtype if dtype is None else jnp.dtype(dtype)
        spreads = np.full(self.n_numbers, weight_spread)
        spreads[0] = bias_spread
        out = {}
        for (name, shape), part in zip(self.shapes.items(), jax.random.split(key, len(self.shapes)), strict=True):
            scale = np.full(shape, rotation_spread) if name == "rotations" else np.broadcast_to(spreads, shape)
            out[name] = jax.random.normal(part, shape, dtype) * jnp.asarray(scale, dtype)
        return out

    def named(self, params: Any) -> dict[str, jax.Array]:
        """Parameters by name, from such or from a flat array (n_parameters,) in the order of `shapes`.

        Raises:
            ValueError: for missing or unknown names and wrong shapes.
        """
        if not isinstance(params, Mapping):
            flat = jnp.asarray(params)
            if flat.shape != (self.n_parameters,):
                raise ValueError(
                    f"Argument `params` must be named arrays or a flat array of {self.n_parameters} numbers, but has "
                    f"shape {flat.shape}."
                )
            sizes = [math.prod(shape) for shape in self.shapes.values()]
            parts = jnp.split(flat, np.cumsum(sizes)[:-1].tolist())
            return {name: part.reshape(shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}
        if set(params) != set(self.shapes):
            raise ValueError(f"Argument `params` must have the names {list(self.shapes)}, but has {sorted(params)}.")
        for name, shape in self.shapes.items():
            if tuple(params[name].shape) != shape:
                raise ValueError(
                    f"Argument `params` must have {name!r} of shape {shape}, but it has {tuple(params[name].shape)}."
                )
        return {name: jnp.asarray(params[name]) for name in self.shapes}


@lru_cache(maxsize=16)
def _monomials(n_sources: int, degree: int) -> np.ndarray:
    bits = (np.arange(2**n_sources)[:, None] >> np.arange(n_sources - 1, -1, -1)[None, :]) & 1
    columns = [bits[:, list(subset)].all(axis=1) for subset in subsets(n_sources, degree)]
    table = np.stack(columns, axis=1).astype(np.float64)
    table.setflags(write=False)
    return table


def subsets(n_sources: int, degree: int) -> list[tuple[int, ...]]:
    """Subsets of the sources that have a number, in its order: by size, then by position.

    >>> subsets(3, 2)
    [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2)]
    """
    return [subset for size in range(degree + 1) for subset in itertools.combinations(range(n_sources), size)]


# --- files ---------------------------------------------------------------------------------------------------------


def save_params(path: str | Path, topology: QrnnTopology, params: Any) -> Path:
    """The path, now holding the parameters by name: `.npz`, or `.safetensors` with that package.

    Layout: one array for each name of `topology.shapes`; an `.npz` has the sizes as arrays "topology/width" and so on,
    a `.safetensors` file as text in its metadata.

    Raises:
        ValueError: for another ending, or parameters that do not fit the topology.
        ImportError: without the package safetensors.
    """
    path = as_path("path", path)
    arrays = {name: np.asarray(value) for name, value in topology.named(params).items()}
    sizes = {name: getattr(topology, name) for name in _FIELDS}
    if path.suffix == ".npz":
        return files.write_npz(path, {**{f"topology/{name}": np.array(v) for name, v in sizes.items()}, **arrays})
    if path.suffix == ".safetensors":
        content = _safetensors().save(arrays, {name: repr(value) for name, value in sizes.items()})
        return files.write_bytes(path, content)
    raise ValueError(f"Argument `path` must end in .npz or .safetensors, but is {path}.")


def load_params(path: str | Path) -> tuple[QrnnTopology, dict[str, jax.Array]]:
    """Topology and named parameters from a file of `save_params`, in the file's precision as far as JAX has it.

    Raises:
        ValueError: for another ending, or a file that holds something else.
        FileNotFoundError: without the file.
        ImportError: without the package safetensors.
    """
    path = as_path("path", path)
    if path.suffix == ".npz":
        arrays = files.read_npz(path)
        sizes = {name: arrays.pop(f"topology/{name}", np.array(None)).item() for name in _FIELDS if arrays}
    elif path.suffix == ".safetensors":
        with _safetensors().safe_open(path, "numpy") as stored:
            arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  not a mapping
            text = stored.metadata() or {}
        sizes = {name: (float if name == "bias" else int)(text[name]) for name in _FIELDS if name in text}
    else:
        raise ValueError(f"Argument `path` must end in .npz or .safetensors, but is {path}.")
    if set(sizes) != set(_FIELDS) or None in sizes.values():
        raise ValueError(f"File {path} must hold a QRNN's topology and parameters, but lacks some of {list(_FIELDS)}.")
    topology = QrnnTopology(**sizes)
    return topology, topology.named(arrays)


_FIELDS = ("width", "workspace", "stages", "degree", "order", "bias")


def _safetensors() -> Any:
    """The functions of the package that are used here."""
    try:
        package, arrays = (importlib.import_module(name) for name in ("safetensors", "safetensors.numpy"))
    except ImportError as error:
        raise missing_extra(
            "Files ending in .safetensors, unlike .npz, need the package safetensors", "weights", "safetensors"
        ) from error
    return SimpleNamespace(save=arrays.save, safe_open=package.safe_open)
