"""One adapter for each simulator, each in its own best form."""

from importlib import import_module

from qjaxsim_bench.peers.base import OURS, Peer

MODULES = {
    OURS: "ours",
    "by-hand": "by_hand",
    "gate-by-gate": "gate_by_gate",
    "pennylane": "pennylane_jax",
    "pennylane-mixed": "pennylane_mixed",
    "lightning": "lightning",
    "lightning-kokkos": "lightning",
    "catalyst": "catalyst",
    "tensorcircuit": "tensorcircuit_jax",
    "qujax": "qujax_jit",
    "horqrux": "horqrux_jit",
    "qsimcirq": "qsim",
    "qulacs": "qulacs_cpp",
    "qulacs-optimised": "qulacs_cpp",
    "aer": "aer",
    "qnn-shift": "estimator_qnn",
    "qnn-reverse": "estimator_qnn",
}
"""Module of each peer; this engine first."""


def load(name: str) -> Peer:
    """The adapter of a peer; importing it does not import the simulator."""
    return import_module(f"qjaxsim_bench.peers.{MODULES[name]}").PEERS[name]
