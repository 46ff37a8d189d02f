"""Jitted functions that can be pickled and copied: by what they were built from, not by what was compiled."""

import functools
from collections.abc import Callable
from typing import Any

import jax

Check = Callable[..., Any] | None


class Compiled:
    """A jitted function, known by the function that builds it and that one's arguments.

    Called, differentiated and mapped like what `jax.jit` returns, with its `lower`, `trace`, `eval_shape` and
    `clear_cache`. A pickle or a deep copy holds the arguments and builds the function anew, so it compiles again.

    Args:
        build: a function of a module, so that it can be pickled by name; returns what is jitted.
        arguments: of `build`.
        check: called with the same arguments as the function when JAX refuses them, to say why in our own words.
    """

    def __init__(self, build: Callable[..., Callable[..., jax.Array]], *arguments: Any, check: Check = None):
        function = build(*arguments)
        function.__qualname__ = function.__name__  # Python's errors name it: not by where it was built
        self._parts = build, arguments, check
        self._jitted = jax.jit(function)
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> jax.Array:
        """The value, compiled at the first call with such shapes."""
        try:
            out: jax.Array = self._jitted(*args, **kwargs)
        except TypeError:
            if self._parts[2] is not None:
                self._parts[2](*args, **kwargs)
            raise
        return out

    def __getattr__(self, name: str) -> Any:
        if name in ("lower", "trace", "eval_shape", "clear_cache"):
            return getattr(self._jitted, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, self._parts


def _rebuild(build: Callable[..., Any], arguments: tuple[Any, ...], check: Check) -> Compiled:
    return Compiled(build, *arguments, check=check)
