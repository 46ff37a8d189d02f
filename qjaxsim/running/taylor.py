"""Taylor series through loops: `jax.experimental.jet` has no rule for `lax.scan`, which repeated layers run as."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jax import lax
from jax.experimental import jet
from jax.extend.core import ClosedJaxpr, Primitive, jaxpr_as_fun
from jax.extend.core.primitives import scan_p


def _scan_series(
    primals: Sequence[Any],
    series: Sequence[Sequence[Any]],
    *,
    jaxpr: ClosedJaxpr,
    length: int,
    reverse: bool,
    unroll: int,
    **more: Any,
) -> tuple[list[Any], list[list[Any]]]:
    """The same loop over every array and its Taylor coefficients, as one list each."""
    num_consts, num_carry = _constants_and_carry(more)
    given = [[primal, *terms] for primal, terms in zip(primals, series, strict=True)]
    consts, carry, xs = given[:num_consts], given[num_consts:][:num_carry], given[num_consts + num_carry :]

    def step(carry: list[Any], slices: list[Any]) -> tuple[list[Any], list[Any]]:
        arguments = [*consts, *carry, *slices]
        values, terms = jet.jet(
            jaxpr_as_fun(jaxpr), [a[0] for a in arguments], [a[1:] for a in arguments], factorial_scaled=False
        )
        out = [[value, *each] for value, each in zip(values, terms, strict=True)]
        return out[:num_carry], out[num_carry:]

    final, stacked = lax.scan(step, carry, xs, length=length, reverse=reverse, unroll=unroll)
    out = [*final, *stacked]
    return [one[0] for one in out], [one[1:] for one in out]


def _constants_and_carry(parameters: Mapping[str, Any]) -> tuple[int, int]:
    """How many of a loop's arguments are constants, and how many are carried."""
    if "num_consts" in parameters:
        return parameters["num_consts"], parameters["num_carry"]
    constants, carry, _ = parameters["ft_in"].unpack()  # from JAX 0.12 on
    return len(constants.vals), len(carry.vals)


_rules: dict[Primitive, Callable[..., Any]] = jet.jet_rules
_rules.setdefault(scan_p, _scan_series)  # a rule of JAX's own, once there is one, comes first
