"""Refusing work that cannot fit in memory, before anything is allocated."""

import psutil

GIB = 2**30


def available_bytes() -> int:
    """Bytes of main memory that can be used now without swapping."""
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
        raise MemoryError(f"{what} needs {needed / GIB:.1f} GiB, but {available / GIB:.1f} GiB are free; {way_out}.")
