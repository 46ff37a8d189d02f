"""Models as pure functions of a params pytree: a circuit of one's own, and those of published systems."""

from qjaxsim.models.circuit_model import CircuitModel

__all__ = ["CircuitModel"]
