"""Programs compiled once for computations that are met again, outside `jax.jit`.

JAX keeps what it compiled by the identity of functions, so a loop whose body is a closure compiles at every call. And a
function that is kept by its identity gives old numbers once something that it reads has changed. Here a computation is
traced at every call, which takes milliseconds, and compared with those compiled before, operation by operation.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

from qjaxsim.common.checkpoint import digest, numbers_of
from qjaxsim.running.array_types import to_jax

# Programs kept, the latest met first. They hold none of the user's data, and of its functions only custom derivative
# rules that occur in loops.
MOST_PROGRAMS = 32
# Operations with derivative rules of their own: programs are not differentiated, so that what they compute decides.
_WITH_RULES = ("custom_jvp_call", "custom_vjp_call")

known_programs: list[tuple[core.Jaxpr, bool, Callable[..., Any]]] = []
_lock = threading.Lock()


def compiled_once(function: Callable[..., Any], *args: Any, donate: bool = False) -> Any:
    """function(*args), by a program that serves every later call of the same operations on the same shapes.

    Arrays that the function closes over are arguments of the program: functions made anew share it, each with its own
    data, and none of them is kept. Numbers of Python that it closes over are part of the operations.

    Args:
        function: pure JAX function.
        args: pytrees of arrays. Where one, or something that the function closes over, is traced (inside `jax.jit`,
            `grad` or `vmap`), the function becomes part of that trace.
        donate: whether the arrays of the first of `args` are given up, so that results may take their place.
    """
    leaves, structure = jax.tree.flatten(args)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        return function(*args)
    traced, out = jax.make_jaxpr(lambda *flat: function(*jax.tree.unflatten(structure, flat)), return_shape=True)(
        *leaves
    )
    run = _run(traced.jaxpr)
    if not any(isinstance(value, jax.core.Tracer) for value in traced.consts):
        run = _program(traced.jaxpr, donate, run)
    given_up = len(jax.tree.leaves(args[0])) if donate else 0
    consts = [to_jax(value) for value in traced.consts]
    return jax.tree.unflatten(jax.tree.structure(out), run(leaves[:given_up], consts, leaves[given_up:]))


def _run(jaxpr: core.Jaxpr) -> Callable[..., Any]:
    return lambda first, consts, rest: core.jaxpr_as_fun(core.ClosedJaxpr(jaxpr, consts))(*first, *rest)


def _program(jaxpr: core.Jaxpr, donate: bool, run: Callable[..., Any]) -> Callable[..., Any]:
    """The compiled program of a computation, one from before if there is one."""
    with _lock:
        same = (i for i, (known, *how, _) in enumerate(known_programs) if how == [donate] and _same(known, jaxpr))
        place = next(same, None)
        made = jax.jit(run, donate_argnums=(0,) if donate else ())
        entry = (jaxpr, donate, made) if place is None else known_programs.pop(place)
        known_programs.insert(0, entry)
        del known_programs[MOST_PROGRAMS:]
    return entry[-1]


def _same(a: core.Jaxpr, b: core.Jaxpr) -> bool:
    """Whether two computations are the same operations on the same variables."""
    if a is b:
        return True
    if len(a.eqns) != len(b.eqns):
        return False
    names: dict[Any, Any] = {}  # variables of b by those of a
    ends = [(list(x.constvars) + list(x.invars), list(x.outvars)) for x in (a, b)]
    return (
        _bind(names, ends[0][0], ends[1][0])
        and all(_same_equation(names, x, y) for x, y in zip(a.eqns, b.eqns, strict=True))
        and _read(names, ends[0][1], ends[1][1])
    )


def _same_equation(names: dict[Any, Any], a: Any, b: Any) -> bool:
    return (
        a.primitive is b.primitive
        and a.ctx == b.ctx
        and _read(names, a.invars, b.invars)
        and _equal(_computed(a), _computed(b))
        and _bind(names, a.outvars, b.outvars)
    )


def _computed(equation: Any) -> tuple[Any, ...]:
    """What decides the values that an operation gives."""
    if equation.primitive.name in _WITH_RULES:
        return (equation.params["call_jaxpr"],)
    return tuple(sorted(equation.params.items()))


def _bind(names: dict[Any, Any], a: Sequence[Any], b: Sequence[Any]) -> bool:
    """Note which variables correspond; whether their types agree."""
    if len(a) != len(b) or any(x.aval != y.aval for x, y in zip(a, b, strict=True)):
        return False
    names.update(zip(a, b, strict=True))
    return True


def _read(names: dict[Any, Any], a: Sequence[Any], b: Sequence[Any]) -> bool:
    """Whether operands correspond: the same variables, or equal constants."""
    if len(a) != len(b):
        return False
    for x, y in zip(a, b, strict=True):
        literal = isinstance(x, core.Literal)
        if literal != isinstance(y, core.Literal):
            return False
        if x.aval != y.aval or not (_equal(x.val, y.val) if literal else names[x] is y):
            return False
    return True


def _equal(a: Any, b: Any) -> bool:
    """Whether two parameters of an operation are equal; not, where nobody can tell."""
    if a is b:
        return True
    if isinstance(a, core.ClosedJaxpr) and isinstance(b, core.ClosedJaxpr):
        return _same(a.jaxpr, b.jaxpr) and _equal(tuple(a.consts), tuple(b.consts))
    if isinstance(a, core.Jaxpr) and isinstance(b, core.Jaxpr):
        return _same(a, b)
    if type(a) is not type(b):
        return False
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, float | complex | np.ndarray | np.generic | jax.Array):
        # By their bytes: -0.0 is not 0.0, and NaN is NaN.
        x, y = np.asarray(a), np.asarray(b)
        return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
    try:
        return bool(a == b)
    except Exception:  # objects of others' packages, whose comparison may do anything
        return False


class Present:
    """A function as it is now, for programs that JAX keeps by the identity of functions.

    Two are equal where the function is the same and computes the same: what it reads beside its arguments, such as an
    array that a name stands for, may have changed in between.

    Args:
        function: pure JAX function.
        args: pytrees of arrays or their types, such as it is called with.

    Attributes:
        function: the same.
        read: text that changes with the arrays that the function reads beside its arguments.

    >>> import jax.numpy as jnp
    >>> scale = np.ones(2)
    >>> function = lambda x: x * scale
    >>> before = Present(function, jnp.ones(2))
    >>> scale[0] = 3
    >>> before == Present(function, jnp.ones(2)), Present(function, jnp.ones(2)) == Present(function, jnp.zeros(2))
    (False, True)
    """

    def __init__(self, function: Callable[..., Any], *args: Any):
        traced = jax.make_jaxpr(lambda *given: function(*given))(*args)  # JAX keeps traces of functions, too
        self.function, self.read = function, digest(list(map(_numbers, traced.consts)))
        self._jaxpr = traced.jaxpr

    def __call__(self, *args: Any) -> Any:
        """What the function gives."""
        return self.function(*args)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Present)
            and bool(self.function == other.function)
            and self.read == other.read
            and _same(self._jaxpr, other._jaxpr)
        )

    def __hash__(self) -> int:
        return hash(self.function)

    def __reduce__(self) -> tuple[Any, ...]:
        return _function, (self.function,)


def _function(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself, which is what a pickle holds."""
    return function


def _numbers(value: Any) -> Any:
    """A constant as what NumPy holds: random keys by their data, and what lies on other machines by its identity."""
    if not getattr(value, "is_fully_addressable", True):
        return np.array(id(value))
    return numbers_of(value)
