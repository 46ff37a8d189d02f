"""What the programs of this folder print, a line of JSON for each finding, how they find it, and how they are run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

# Compiling for eight devices takes long even for one case of each kind, which CI runs by themselves.
FOUND = [pytest.param("few", marks=pytest.mark.slow), pytest.param("all", marks=pytest.mark.slow, id="at-length")]


def reported(*words):
    """What a program says, run by Python with these words in a process with eight devices: (name, way, found)."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1"}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, *words], env=environment, cwd=root, capture_output=True, text=True, timeout=1500, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def collectives(text):
    """How many of each kind a program has: one without any, of spread samples, can do no work of other devices."""
    kinds = "all-gather", "all-reduce", "all-to-all", "collective-permute", "reduce-scatter"
    return {kind: len(re.findall(rf" {kind}(?:-start)?\(", text)) for kind in kinds}


def distance(got, want):
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True)
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs)


def note(name, way, found):
    print(json.dumps([name, way, found]), flush=True)


def tried(name, way, run, want):
    try:
        note(name, way, distance(run(), want))
    except (TypeError, ValueError) as error:
        note(name, way, str(error))
