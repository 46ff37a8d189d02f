"""Refusing work that cannot fit in memory, before anything is allocated."""

from typing import Any

import jax
import numpy as np
import psutil

GIB = 2**30


def available_bytes() -> int:
    """Bytes that can be used now on JAX's default device; on CPUs main memory without swapping."""
    try:
        statistics = jax.local_devices()[0].memory_stats() or {}
    except RuntimeError:  # no usable device: whoever computes will hear of it from JAX
        statistics = {}
    if "bytes_limit" in statistics:
        return int(statistics["bytes_limit"] - statistics["bytes_in_use"])
    return int(psutil.virtual_memory().available)


def require_memory(needed: int, what: str, way_out: str) -> None:
    """Raise if `needed` bytes are more than what is free.

    Args:
        needed: bytes that the work will hold at once.
        what: the work, as the subject of the message ("The dense Hessian of 10308 parameters").
        way_out: what to do instead, as an imperative ("use Lanczos").

    Raises:
        MemoryError: naming the GiB needed and the GiB available.
    """
    available = available_bytes()
    if needed > available:
        raise MemoryError(f"{what} needs {_gib(needed)} GiB, but {_gib(available)} GiB are free; {way_out}.")


def require_states(n_qubits: int, number: int, dtype: Any, what: str, way_out: str) -> None:
    """Raise if so many states, and the intermediate ones of as many, are more than what is free.

    Args:
        n_qubits: of each.
        number: that are held at once.
        dtype: real precision of the computation.
        what: the work, as for `require_memory`.
        way_out: what to do instead.

    Raises:
        MemoryError: naming the GiB needed and the GiB available.
    """
    require_memory(2 * number * 2**n_qubits * 2 * np.dtype(dtype).itemsize, what, way_out)


def _gib(n_bytes: int) -> str:
    """GiB as text, with two digits where one decimal would show next to nothing, or be one of many."""
    if n_bytes >= 10**6 * GIB:
        return f"{n_bytes / GIB:.1e}"
    return f"{n_bytes / GIB:.1f}" if n_bytes >= GIB else f"{n_bytes / GIB:.2g}"
