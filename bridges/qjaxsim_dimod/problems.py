"""What `solve` takes as a problem: models, dicts, pairs (h, J), matrices; and what it refuses, with the way out."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dimod
import numpy as np
from dimod.binary.vartypeview import VartypeView
from scipy import sparse

from qjaxsim.common.checks import shown
from qjaxsim_dimod.numbers import real_array, require_finite, require_range
from qjaxsim_dimod.qubo import SPIN, Qubo

# Of dimod's models that are no quadratic functions of bits or spins: the constrained model with the same meaning.
_CONSTRAINED = {
    dimod.ConstrainedQuadraticModel: "model",
    dimod.DiscreteQuadraticModel: "dimod.ConstrainedQuadraticModel.from_discrete_quadratic_model(model)",
    dimod.QuadraticModel: "dimod.ConstrainedQuadraticModel.from_quadratic_model(model)",
}

_EXPECTED = (
    "Argument `problem` must be a Qubo, a dimod.BinaryQuadraticModel, a dict {(i, j): bias}, a pair (h, J) or a square "
    "matrix"
)


def as_problem(problem: Any) -> Any:
    """A `Qubo` or a `dimod.BinaryQuadraticModel`, checked; a model passes untouched, however large.

    Args:
        problem: one of these, or a dict {(i, j): bias} over binary variables as dimod's `from_qubo`, a pair (h, J) over
            spins as its `from_ising`, or a square matrix of binary variables, dense or of `scipy.sparse`.

    Raises:
        TypeError: for other models of dimod, naming its conversion, and for what is none of these.
        ValueError: for an empty problem, and for biases that are complex, NaN, infinite, or overflow in sums.
    """
    if isinstance(problem, dimod.BinaryQuadraticModel):
        return _checked(problem)
    if isinstance(problem, (*_CONSTRAINED, dimod.BinaryPolynomial)):
        raise TypeError(
            f"Argument `problem` must be quadratic over binary variables or spins, but is a "
            f"{type(problem).__name__}; {way_out(problem)}."
        )
    if not isinstance(problem, Qubo):
        problem = _from_plain(problem)
    require_range(problem.linear, problem.pairs.data, problem.offset)
    return problem


def as_problems(problems: Any) -> list[Any]:
    """Each of several problems; arguments and errors of `as_problem`.

    Raises:
        TypeError: for one problem in place of several.
    """
    if isinstance(problems, (Qubo, dimod.BinaryQuadraticModel, Mapping)) or not isinstance(problems, Iterable):
        raise TypeError(f"Argument `problems` must be a list of problems, but is a {type(problems).__name__}.")
    return [as_problem(problem) for problem in problems]


def as_qubo(problem: Any) -> Qubo:
    """The problem as a `Qubo`; arguments and errors of `as_problem`."""
    found = as_problem(problem)
    return found if isinstance(found, Qubo) else Qubo.from_bqm(found)


def as_bqm(problem: Any) -> Any:
    """The problem as a `dimod.BinaryQuadraticModel`; arguments and errors of `as_problem`."""
    found = as_problem(problem)
    return found.to_bqm() if isinstance(found, Qubo) else found


def way_out(model: Any) -> str:
    """How dimod makes a problem of another of its models."""
    if isinstance(model, dimod.BinaryPolynomial):
        return (
            "dimod.make_quadratic(polynomial, strength, vartype) brings terms of three and more variables down to pairs"
        )
    (constrained,) = (made for kind, made in _CONSTRAINED.items() if isinstance(model, kind))
    found = _vartypes(model)
    if real := [v for v, vartype in found.items() if vartype is dimod.REAL]:
        return f"its variable {real[0]!r} is real, for which there are no bits: make it an integer or binary variable"
    if said := unconverted(model):
        return said
    if dimod.SPIN in found.values():  # on which dimod's conversion ends in an AttributeError
        constrained += ".spin_to_binary(inplace=False)"
    return (
        f"dimod.cqm_to_bqm({constrained}) makes constraints penalties, and gives a way back, to be checked by "
        "`check_feasible`: weak penalties are broken"
    )


def unconverted(model: Any) -> str:
    """What of a model `dimod.cqm_to_bqm` does not convert, or to another problem without a word; "" if nothing."""
    if isinstance(model, dimod.DiscreteQuadraticModel):
        return ""
    for v, vartype in _vartypes(model).items():
        if vartype is dimod.INTEGER and (low := model.lower_bound(v)) != 0:
            return (
                f"its integer {v!r} has the lower bound {low:g}, and dimod.cqm_to_bqm takes 0 alone: put {low:g} plus "
                "an integer from 0 in its place"
            )
    for label, constraint in getattr(model, "constraints", {}).items():
        if not constraint.lhs.is_linear():
            return (
                f"its constraint {label!r} is quadratic, and dimod.cqm_to_bqm takes linear ones alone: put a variable "
                "in the place of each product (`dimod.generators.and_gate`)"
            )
        if constraint.lhs.is_soft():
            return (
                f"its constraint {label!r} is soft, and dimod.cqm_to_bqm would make it a hard one: put its penalty "
                "into the objective instead"
            )
    return ""


def _vartypes(model: Any) -> dict[Any, Any]:
    if isinstance(model, dimod.DiscreteQuadraticModel):
        return {}
    return {v: model.vartype(v) for v in model.variables}


def _checked(bqm: Any) -> Any:
    if bqm.num_variables == 0:
        raise ValueError("A problem must have at least one variable, but this one is empty.")
    labels = tuple(bqm.variables)
    linear, (rows, columns, values), offset = bqm.to_numpy_vectors(variable_order=labels)
    linear, values = real_array("linear", linear), real_array("quadratic", values)
    pairs = sparse.coo_array((values, (rows, columns)), shape=(len(labels), len(labels)))
    require_finite(linear, pairs, float(offset), labels)
    require_range(linear, values, float(offset))
    # Numbers as Python objects are for exact sums, and sums of single ones are off; samplers work in double precision.
    # Not all of them take a view such as `bqm.spin`.
    if bqm.dtype != np.float64 or isinstance(bqm.data, VartypeView):
        return dimod.BinaryQuadraticModel(bqm, dtype=float)
    return bqm


def _from_plain(problem: Any) -> Qubo:
    if isinstance(problem, Mapping) and not sparse.issparse(problem):  # SciPy's format by keys is a dict, too
        _require_pairs("problem", problem)
        return Qubo.from_bqm(_built("problem", dimod.BinaryQuadraticModel.from_qubo, problem))
    if isinstance(problem, tuple) and len(problem) == 2 and _is_ising(*problem):
        return _from_ising(*problem)
    return Qubo.from_matrix(_square(problem))


def _square(problem: Any) -> Any:
    """A square matrix, or a refusal that says what a problem may be."""
    listed = isinstance(problem, Sequence) and not isinstance(problem, str)
    arrays = sparse.issparse(problem) or hasattr(problem, "__array__")
    if not (listed or arrays) or (listed and any(isinstance(part, Mapping) for part in problem)):
        raise TypeError(f"{_EXPECTED}, but is {shown(problem)} ({type(problem).__name__}).")
    matrix = real_array("problem", problem)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"{_EXPECTED}, but is an array of shape {matrix.shape}.")
    return matrix


def _is_ising(linear: Any, quadratic: Any) -> bool:
    """Whether a pair is (h, J), not two rows of a matrix."""
    if isinstance(linear, Mapping) or isinstance(quadratic, Mapping) or sparse.issparse(quadratic):
        return True
    return np.ndim(linear) == 1 and np.ndim(quadratic) == 2


def _from_ising(linear: Any, quadratic: Any) -> Qubo:
    for name, value, axes, kinds in (
        ("h", linear, 1, "a dict {i: bias} or a list of biases"),
        ("J", quadratic, 2, "a dict {(i, j): bias} or a square matrix"),
    ):
        if not isinstance(value, Mapping) and real_array(name, value).ndim != axes:
            raise TypeError(f"Argument `{name}` must be {kinds}, but is {shown(value)} ({type(value).__name__}).")
    if not isinstance(quadratic, Mapping):
        if isinstance(linear, Mapping):
            linear = _listed("h", linear, real_array("J", quadratic).shape[0])
        return Qubo.from_matrix(quadratic, linear=linear, vartype=SPIN)
    _require_pairs("J", quadratic)
    linear = linear if isinstance(linear, Mapping) else dict(enumerate(real_array("h", linear).tolist()))
    model = _built("(h, J)", dimod.BinaryQuadraticModel.from_ising, linear, quadratic)
    for i, j in quadratic:
        if i == j:  # an offset, of which dimod does not keep the spin
            model.add_variable(i, 0.0)
    return Qubo.from_bqm(model)


def _listed(name: str, biases: Mapping[Any, Any], n: int) -> list[Any]:
    """Biases by number as a list of n, those that are not named being zero."""
    if unknown := [label for label in biases if label not in range(n)]:
        raise ValueError(
            f"Argument `{name}` must name spins 0 to {n - 1} beside a matrix of {n}, but names {unknown[0]!r}; give J "
            "as a dict for other labels."
        )
    return [biases.get(i, 0.0) for i in range(n)]


def _require_pairs(name: str, biases: Mapping[Any, Any]) -> None:
    for key in biases:
        if isinstance(key, tuple) and len(key) == 2:
            continue
        if isinstance(key, tuple) and len(key) > 2:
            raise TypeError(
                f"Argument `{name}` must have pairs (i, j) as keys, but has {key!r}; dimod.make_quadratic(polynomial, "
                "strength, vartype) brings terms of three and more variables down to pairs."
            )
        raise TypeError(f"Argument `{name}` must have pairs (i, j) as keys, (i, i) for linear biases, but has {key!r}.")


def _built(name: str, make: Any, *parts: Mapping[Any, Any]) -> Any:
    try:
        return make(*parts)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"Argument `{name}` must hold labels and real biases ({error}).") from error
