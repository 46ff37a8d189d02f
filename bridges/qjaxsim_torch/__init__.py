"""Circuits as PyTorch modules, differentiated by JAX as often as PyTorch asks.

PyTorch comes with the extra "torch" and is imported when a module is made.
"""

from qjaxsim_torch.building import to_torch

__all__ = ["to_torch"]
