"""The module that `to_torch` makes."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np
import torch

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.observables import PauliSum, is_single, pauli_sums
from qjaxsim.common.checks import require_unmasked, shown
from qjaxsim.common.suggestions import did_you_mean
from qjaxsim.planning.options import PlanOptions
from qjaxsim.running.simulate import expectation
from qjaxsim.running.state_functions import Run
from qjaxsim_torch.calls import Arrays, TorchCall

_DTYPES = (torch.float32, torch.float64)
Init = Mapping[str, Any] | Callable[[torch.Tensor], Any] | None


class CircuitModule(torch.nn.Module):
    """Expectation values of a circuit; `to_torch` makes it and says what it does.

    Attributes:
        input_names: of the parameters that `forward` takes.
        observables: the Pauli sums.
    """

    def __init__(
        self,
        circuit: Circuit,
        observables: PauliSum | Iterable[PauliSum],
        inputs: tuple[str, ...],
        init: Init,
        dtype: torch.dtype | None,
        options: PlanOptions | None,
    ):
        super().__init__()
        self.input_names = inputs
        self.n_qubits = circuit.n_qubits
        self.observables = pauli_sums(observables, circuit.n_qubits)
        asked = self.observables[0] if is_single(observables) else self.observables
        self._weights = tuple(name for name in circuit.parameters if name not in inputs)
        run = expectation(circuit, asked, options=options)
        self._call = TorchCall(functools.partial(_values, run, (*inputs, *self._weights)))
        shapes = {name: circuit.parameters[name] for name in self._weights}
        for name, value in _initial(shapes, init, _checked_dtype(dtype)).items():
            self._register(name, value)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Expectation values (..., n_observables), or (...) for a single Pauli sum.

        Args:
            *inputs: a tensor for each of `input_names`, batch axes in front, which broadcast.
        """
        if len(inputs) != len(self.input_names):
            raise ValueError(
                f"The module takes {len(self.input_names)} inputs {self.input_names}, but got {len(inputs)}."
            )
        weights = [getattr(self, name) for name in self._weights]
        self._check(inputs, weights)
        (values,) = self._call(*inputs, *weights)
        return values

    def extra_repr(self) -> str:
        """What `print` shows of the module."""
        return f"qubits={self.n_qubits}, observables={len(self.observables)}, inputs={self.input_names}"

    def _register(self, name: str, value: torch.Tensor) -> None:
        try:
            self.register_parameter(name, torch.nn.Parameter(value))
        except KeyError as error:
            raise ValueError(
                f"Parameter {name!r} of the circuit cannot have that name in a PyTorch module ({error.args[0]}); "
                "give it another name, or name it in `inputs`."
            ) from error

    def _check(self, inputs: tuple[Any, ...], weights: list[torch.nn.Parameter]) -> None:
        """Refuse what JAX would convert or misread."""
        for name, value in zip(self.input_names, inputs, strict=True):
            if not isinstance(value, torch.Tensor):
                raise TypeError(f"Input {name!r} must be a tensor, but is {shown(value)} ({type(value).__name__}).")
            if value.layout != torch.strided:
                raise TypeError(f"Input {name!r} must be dense, but is {value.layout}; give its `.to_dense()`.")
        dtypes = {value.dtype for value in (*inputs, *weights)}
        if len(dtypes) > 1 or not dtypes <= set(_DTYPES):
            names = (*self.input_names, *self._weights)
            have = {name: value.dtype for name, value in zip(names, (*inputs, *weights), strict=True)}
            raise TypeError(
                f"Inputs and parameters must all be torch.float32 or all torch.float64, but are {have}; convert with "
                "`.to(dtype)`."
            )
        for dtype in dtypes:
            _require_precision("Inputs and parameters are", dtype)


def _values(run: Run, names: tuple[str, ...], *arrays: jax.Array) -> Arrays:
    return (run(dict(zip(names, arrays, strict=True))),)


def _require_precision(what: str, dtype: torch.dtype) -> None:
    if dtype == torch.float64 and jax.dtypes.canonicalize_dtype(np.float64) != np.float64:
        raise ValueError(
            f"{what} torch.float64, but JAX is in single precision; set JAX_ENABLE_X64=1 or use torch.float32."
        )


def _checked_dtype(dtype: Any) -> torch.dtype:
    chosen = torch.get_default_dtype() if dtype is None else dtype
    if chosen not in _DTYPES:
        raise ValueError(f"Argument `dtype` must be torch.float32 or torch.float64, but is {shown(chosen)}.")
    _require_precision("Argument `dtype` is", chosen)
    return chosen


def _initial(shapes: Mapping[str, tuple[int, ...]], init: Init, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """A tensor for each parameter."""
    if not (init is None or callable(init) or isinstance(init, Mapping)):
        raise TypeError(f"Argument `init` must hold values by name or be a function of a tensor, but is {shown(init)}.")
    given = _given(shapes, init) if isinstance(init, Mapping) else {}
    out = {}
    for name, shape in shapes.items():
        tensor = torch.empty(shape, dtype=dtype)
        if name in given:
            tensor.copy_(given[name])
        elif callable(init):
            init(tensor)
        else:
            tensor.uniform_(-1, 1)
        out[name] = tensor
    return out


def _given(shapes: Mapping[str, tuple[int, ...]], init: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The values of `init`, checked against the parameters."""
    out = {}
    for name, value in init.items():
        if name not in shapes:
            raise ValueError(
                f"Argument `init` names {name!r}, but the module's parameters are {list(shapes)}"
                f"{did_you_mean(name, list(shapes))}."
            )
        require_unmasked(f"Argument `init` for {name!r}", value)
        tensor = torch.as_tensor(value if isinstance(value, torch.Tensor) else np.asarray(value))
        if tuple(tensor.shape) != shapes[name]:
            raise ValueError(
                f"Argument `init` must give {name!r} the shape {shapes[name]}, but gives it {tuple(tensor.shape)}."
            )
        if tensor.is_complex() or not torch.isfinite(tensor).all():
            raise ValueError(f"Argument `init` must give {name!r} finite real numbers, but gives it {shown(value)}.")
        out[name] = tensor
    return out
