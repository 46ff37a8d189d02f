"""Dataclasses as pytrees of which no two kinds are ever taken for one another."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import jax

T = TypeVar("T")


def pytree_dataclass(data: tuple[str, ...], meta: tuple[str, ...] = ()) -> Callable[[type[T]], type[T]]:
    """A decorator that registers a dataclass as a pytree with a structure of its own.

    `jax.tree_util.register_dataclass` (JAX 0.10 to 0.12) compares structures by the names and values of their fields
    alone: two classes with the same fields have equal structures, and a jitted function to which both are passed may
    run the program of the other one. Here the class is part of the structure.

    Args:
        data: fields whose values are leaves or pytrees.
        meta: all other fields; hashable, part of the structure.

    Returns:
        A decorator that returns its class.

    Raises:
        TypeError: if `data` and `meta` are not exactly the fields of the class.

    >>> import dataclasses
    >>> @pytree_dataclass(data=("weight",), meta=("block",))
    ... @dataclasses.dataclass(frozen=True)
    ... class Layer:
    ...     weight: float
    ...     block: int
    >>> jax.tree.map(lambda x: 2 * x, Layer(1.5, 4)).weight
    3.0
    """

    def register(cls: type[T]) -> type[T]:
        names = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
        if names != {*data, *meta} or len(names) != len(data) + len(meta):
            raise TypeError(f"{cls.__name__} has the fields {sorted(names)}, but registers {sorted((*data, *meta))}.")

        def flatten_with_keys(value: T) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
            leaves = tuple((jax.tree_util.GetAttrKey(name), getattr(value, name)) for name in data)
            return leaves, tuple(getattr(value, name) for name in meta)

        def flatten(value: T) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
            return tuple(getattr(value, name) for name in data), tuple(getattr(value, name) for name in meta)

        def unflatten(static: tuple[Any, ...], leaves: Any) -> T:
            # Without __init__: JAX also builds trees of placeholders, which no check of a field would accept.
            value = object.__new__(cls)
            for name, entry in (*zip(data, leaves, strict=True), *zip(meta, static, strict=True)):
                object.__setattr__(value, name, entry)
            return value

        jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
        return cls

    return register
