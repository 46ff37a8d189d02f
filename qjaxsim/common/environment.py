"""What results depend on besides settings: versions and the device."""

import platform
from importlib import metadata
from typing import Any

import numpy as np


def environment() -> dict[str, Any]:
    """Versions, platform and device that results depend on, without anything that names the machine."""
    import jax

    devices = jax.devices()
    versions = {package: metadata.version(package) for package in ("qjaxsim", "jax", "jaxlib", "numpy")}
    return {
        "python": platform.python_version(),
        **versions,
        "system": f"{platform.system()} {platform.machine()}",
        "backend": devices[0].platform,
        "device_kind": devices[0].device_kind,
        "n_devices": len(devices),
        "x64": jax.dtypes.canonicalize_dtype(np.float64) == np.float64,
    }
