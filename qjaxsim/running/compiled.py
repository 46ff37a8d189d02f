"""Jitted functions that can be pickled and copied: by what they were built from, not by what was compiled."""

import functools
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr

from qjaxsim.common.checks import require_unmasked
from qjaxsim.running.array_types import check_tree, native

Check = Callable[..., Any] | None
Types = tuple[Any, ...]
"""The types of the arrays in a function's arguments, in their order."""


class Compiled:
    """A jitted function, known by the function that builds it and that one's arguments.

    Called, differentiated and mapped like what `jax.jit` returns, with its `lower`, `trace`, `eval_shape` and
    `clear_cache`. A pickle or a deep copy holds the arguments and builds the function anew, so it compiles again.

    Args:
        build: a function of a module, so that it can be pickled by name; returns what is jitted.
        arguments: of `build`.
        check: called with the same arguments as the function when JAX refuses them, to say why in our own words.
        before: called with them first, to refuse what cannot be seen where values are traced.
    """

    def __init__(
        self,
        build: Callable[..., Callable[..., jax.Array]],
        *arguments: Any,
        check: Check = None,
        before: Check = None,
    ):
        function = build(*arguments)
        function.__qualname__ = function.__name__  # Python's errors name it: not by where it was built
        self._parts = build, arguments, check, before
        self._traced: dict[Types, Any] = {}
        self._jitted = jax.jit(_noting(self._traced, function))
        functools.update_wrapper(self, function)
        with _lock:
            _living.add(self)

    def __call__(self, *args: Any, **kwargs: Any) -> jax.Array:
        """The value, compiled at the first call with such shapes."""
        if self._parts[3] is not None:
            self._parts[3](*args, **kwargs)
        try:
            for parameters in args[:1]:
                check_tree("Argument `params`", parameters)
            args, kwargs = _as_jax_holds((args, kwargs))
            out: jax.Array = self._jitted(*args, **kwargs)
        except TypeError:
            if self._parts[2] is not None:
                self._parts[2](*args, **kwargs)
            raise
        return out

    @property
    def parts(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """The function that builds this one, and its arguments."""
        return self._parts[:2]

    def is_traced(self, jaxpr: ClosedJaxpr, types: Types) -> bool:
        """Whether a program is this function traced for arguments of such types."""
        return types in self._traced and self._jitted.trace(*self._traced[types]).jaxpr is jaxpr

    def traced(self, types: Types) -> Any:
        """The arguments of such types that it was traced for last, as a tree of types."""
        return self._traced[types]

    def __getattr__(self, name: str) -> Any:
        if name in ("lower", "trace", "eval_shape", "clear_cache"):
            return getattr(self._jitted, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, self._parts


def _as_jax_holds(arguments: Any) -> Any:
    """The arguments in this machine's order of bytes, where integers that JAX's do not hold are floats.

    JAX would wrap such integers of NumPy's round, and takes no other order.

    Raises:
        TypeError: for masked arrays, which JAX reads through their masks where it has compiled for such a shape.
    """
    leaves, tree = jax.tree.flatten(arguments)
    for leaf in leaves:
        require_unmasked("An argument", leaf)
    taken = [_as_float(leaf) if _is_wide(leaf) else leaf for leaf in map(native, leaves)]
    same = all(one is leaf for one, leaf in zip(taken, leaves, strict=True))
    return arguments if same else jax.tree.unflatten(tree, taken)


def _is_wide(leaf: Any) -> bool:
    if isinstance(leaf, int):
        least, most = leaf, leaf
    elif (
        isinstance(leaf, np.ndarray | np.integer) and leaf.dtype.kind in "iu" and leaf.dtype.itemsize == 8 and leaf.size
    ):
        least, most = int(leaf.min()), int(leaf.max())
    else:
        return False
    kept = np.iinfo(jax.dtypes.canonicalize_dtype(getattr(leaf, "dtype", np.int64)))
    return least < kept.min or most > kept.max


def _as_float(leaf: Any) -> Any:
    """A Python number stays one, which does not decide the precision."""
    return float(leaf) if isinstance(leaf, int) else leaf.astype(jax.dtypes.canonicalize_dtype(np.float64))


def _rebuild(build: Callable[..., Any], arguments: tuple[Any, ...], check: Check, before: Check) -> Compiled:
    return Compiled(build, *arguments, check=check, before=before)


_living: weakref.WeakSet[Compiled] = weakref.WeakSet()
_lock = threading.Lock()


def _noting(traced: dict[Types, Any], function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """The function, which notes for which types it is traced."""

    @functools.wraps(function)
    def noting(*args: Any, **kwargs: Any) -> jax.Array:
        out = function(*args, **kwargs)
        if not kwargs:  # and only of calls that it took: others would be refused again
            types = tuple(jax.typeof(leaf) for leaf in jax.tree.leaves(args))
            traced[types] = jax.tree.unflatten(jax.tree.structure(args), types)
        return out

    return noting


def compiled_as(jaxpr: ClosedJaxpr, name: str, types: Sequence[Any]) -> Compiled | None:
    """The function of that name whose trace a program is, if there is one.

    JAX keeps traces: wherever a function is called with the same types, the caller's program holds the same object.
    """
    with _lock:
        candidates = [each for each in _living if each.__name__ == name]
    return next((each for each in candidates if each.is_traced(jaxpr, tuple(types))), None)
