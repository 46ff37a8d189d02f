"""JAX's functions as PyTorch's, with derivatives that are such functions again."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import torch
from torch.autograd import Function

Arrays = tuple[jax.Array, ...]


class TorchCall:
    """A jitted JAX function of arrays as a function of tensors.

    Its derivative is a `TorchCall` too, so that PyTorch differentiates it as often as it likes.

    Args:
        function: takes arrays, returns a tuple of arrays; a module's function or a partial of one, for pickling.
    """

    def __init__(self, function: Callable[..., Arrays]):
        self._function = function
        self._jitted = jax.jit(function)
        self._derived: dict[Any, TorchCall] = {}

    def __call__(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The values as tensors, in PyTorch's graph."""
        out: tuple[torch.Tensor, ...] = _Call.apply(self, *tensors)
        return out

    def run(self, tensors: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """The values, outside of any graph."""
        # PyTorch may change what JAX reads as soon as this returns, so that JAX must have finished.
        values = jax.block_until_ready(self._jitted(*map(as_array, tensors)))
        # Results of a jitted function share no memory with its arguments or each other, so that they may be changed.
        return tuple(torch.from_dlpack(value) for value in values)

    def pullback(self, wanted: tuple[bool, ...]) -> "TorchCall":
        """Of arguments and slopes of the values, the slopes of the arguments that are wanted."""
        return self._derive(_pulled_back, wanted)

    def pushforward(self) -> "TorchCall":
        """Of arguments and their tangents, the tangents of the values."""
        return self._derive(_pushed_forward, None)

    def mapped(self, axes: tuple[int | None, ...]) -> "TorchCall":
        """The function mapped over an axis of some arguments; values have it in front."""
        return self._derive(_mapped, axes)

    def _derive(self, rule: Callable[..., Arrays], how: Any) -> "TorchCall":
        """Made once for each way, so that what is compiled is used again."""
        if (rule, how) not in self._derived:
            self._derived[rule, how] = TorchCall(functools.partial(rule, self._function, how))
        return self._derived[rule, how]

    def __reduce__(self) -> tuple[Any, ...]:
        return TorchCall, (self._function,)

    def __deepcopy__(self, memo: Any) -> "TorchCall":
        return self  # it never changes, and a copy would compile again


class _Call(Function):
    @staticmethod
    def forward(call: TorchCall, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return call.run(tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.call = inputs[0]
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        wanted = tuple(ctx.needs_input_grad[1:])
        gradients = iter(ctx.call.pullback(wanted)(*ctx.saved_tensors, *slopes))
        return None, *(next(gradients) if each else None for each in wanted)

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return ctx.call.pushforward()(*ctx.saved_tensors, *tangents)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], call: TorchCall, *tensors: torch.Tensor) -> tuple[Any, Any]:
        values = call.mapped(in_dims[1:])(*tensors)
        return values, (0,) * len(values)


def _pulled_back(function: Callable[..., Arrays], wanted: tuple[bool, ...], *arguments: jax.Array) -> Arrays:
    primals, slopes = arguments[: len(wanted)], arguments[len(wanted) :]

    def partial(*chosen: jax.Array) -> Arrays:
        values = iter(chosen)
        return function(*(next(values) if each else primal for each, primal in zip(wanted, primals, strict=True)))

    _, pull = jax.vjp(partial, *itertools.compress(primals, wanted))
    out: Arrays = pull(slopes)
    return out


def _pushed_forward(function: Callable[..., Arrays], _: None, *arguments: jax.Array) -> Arrays:
    half = len(arguments) // 2
    out: Arrays = jax.jvp(function, arguments[:half], arguments[half:])[1]
    return out


def _mapped(function: Callable[..., Arrays], axes: tuple[int | None, ...], *arguments: jax.Array) -> Arrays:
    out: Arrays = jax.vmap(function, axes)(*arguments)
    return out


def as_array(tensor: torch.Tensor) -> jax.Array:
    """A tensor as JAX's array on the same device, without a copy where memory allows it."""
    try:
        # What travels is memory, which knows nothing of a sign that PyTorch puts off (`z.conj().imag`).
        return jnp.from_dlpack(tensor.detach().resolve_neg().contiguous())
    except (RuntimeError, ValueError) as error:
        if tensor.device.type == "cpu":
            raise
        devices = ", ".join(sorted({device.platform for device in jax.devices()} | {"cpu"}))
        raise ValueError(
            f"Tensors must be on a device that JAX has ({devices}), but one is on {str(tensor.device)!r}; move the "
            'module and its inputs, as by `.to("cpu")`.'
        ) from error
