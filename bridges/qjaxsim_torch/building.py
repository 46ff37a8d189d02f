"""`to_torch`: what it is given is checked here, without PyTorch."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from qjaxsim.circuits.circuit import Circuit, require_circuit
from qjaxsim.circuits.observables import PauliSum
from qjaxsim.common.checks import require_one_of, shown
from qjaxsim.common.extras import require
from qjaxsim.planning.options import PlanOptions

if TYPE_CHECKING:
    import torch

    from qjaxsim_torch.module import CircuitModule


def to_torch(
    circuit: Circuit,
    observables: PauliSum | Iterable[PauliSum],
    *,
    inputs: str | Iterable[str] | None = None,
    init: "Mapping[str, Any] | Callable[[torch.Tensor], Any] | None" = None,
    dtype: "torch.dtype | None" = None,
    options: PlanOptions | None = None,
) -> "CircuitModule":
    """Exact expectation values of a circuit as a `torch.nn.Module`.

    Its parameters are the circuit's, under their names and in their shapes, but for those that `inputs` names: these
    are the arguments of `forward`, in that order, each with any batch axes in front. Derivatives of all orders in
    parameters and inputs are exact: `backward`, `torch.autograd.grad` with `create_graph=True`, and `torch.func` with
    `grad`, `jacrev`, `jacfwd`, `hessian` and `vmap`. JAX computes where the tensors are, which it reads without a copy.

    Args:
        circuit: what to run; a snapshot is taken.
        observables: one Pauli sum or several, with real coefficients.
        inputs: name or names of the circuit's parameters that are given on calling.
        init: values of the other parameters by name, or a function that fills a tensor in place, such as
            `torch.nn.init.normal_`; parameters without a value are drawn uniformly from [-1, 1), like TorchConnector's.
        dtype: of the parameters, torch.float32 or torch.float64 (which needs JAX's x64 mode); None for PyTorch's
            default.
        options: forced choices of the planner.

    Returns:
        A module whose `forward(*inputs)` gives (..., n_observables), or (...) for a single Pauli sum, in the dtype of
        parameters and inputs, which must be one.

    Raises:
        MissingExtraError: without PyTorch.
        TypeError: for arguments of a wrong type; on calling, for what is no tensor, or of another dtype.
        ValueError: for unknown names, shapes that do not fit, double precision without x64; on calling, for inputs too
            many or too few, of a wrong shape, or on a device that JAX does not have.

    Cost: compiled once for each set of shapes, the gradient at the first `backward`. `forward` keeps no state of the
    circuit, so that `backward` runs it again. Workers of a `DataLoader` must not be forked once JAX runs: give it
    `multiprocessing_context="spawn"`.

    >>> import torch
    >>> import qjaxsim as qj
    >>> circuit = qj.Circuit(1).rx(qj.Parameter("x"), 0).rx(qj.Parameter("angle"), 0)
    >>> module = qj.to_torch(circuit, qj.Z(0), inputs="x", init={"angle": 0.25})
    >>> values = module(torch.tensor([0.25, 0.75]))  # the cosine of the sum
    >>> values.sum().backward()
    >>> [round(each, 3) for each in (*values.tolist(), module.angle.grad.item())]
    [0.878, 0.54, -1.321]
    """
    require("torch", "A PyTorch module needs the package torch", "torch")
    from qjaxsim_torch.module import CircuitModule

    require_circuit("circuit", circuit)
    given = _input_names(circuit, inputs)
    return CircuitModule(circuit, observables, given, init, dtype, options)


def _input_names(circuit: Circuit, inputs: Any) -> tuple[str, ...]:
    if not isinstance(inputs, str | Iterable | None):
        raise TypeError(f"Argument `inputs` must be a name or several, but is {shown(inputs)}.")
    names = (inputs,) if isinstance(inputs, str) else tuple(inputs or ())
    for name in names:
        require_one_of("inputs", name, circuit.parameters, " or several of them")
    if len(set(names)) < len(names):
        raise ValueError(f"Argument `inputs` must name a parameter once, but is {shown(names)}.")
    return names
