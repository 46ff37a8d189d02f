"""What counts as free memory, and how it is refused."""

import jax
import psutil
import pytest

from qjaxsim.common import memory


class Device:
    """Stands in for an accelerator that reports its memory."""

    def memory_stats(self):
        return {"bytes_limit": 5 * memory.GIB, "bytes_in_use": 2 * memory.GIB}


def test_main_memory_counts_on_cpu():
    total = psutil.virtual_memory().total
    assert 0 < memory.available_bytes() <= total


def test_an_accelerators_own_memory_counts(monkeypatch):
    monkeypatch.setattr(jax, "local_devices", lambda: [Device()])
    assert memory.available_bytes() == 3 * memory.GIB
    memory.require_memory(3 * memory.GIB, "This", "do that")
    with pytest.raises(MemoryError, match=r"^This needs 4\.0 GiB, but 3\.0 GiB are free; do that\.$"):
        memory.require_memory(4 * memory.GIB, "This", "do that")


def test_small_numbers_keep_their_digits(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: memory.GIB // 100)
    with pytest.raises(MemoryError, match=r"needs 0\.25 GiB, but 0\.01 GiB are free"):
        memory.require_memory(memory.GIB // 4, "This", "do that")
