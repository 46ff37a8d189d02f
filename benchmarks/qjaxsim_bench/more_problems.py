"""Problems that users bring and that the first ones left out: kernels, variational energies, first calls."""

from qjaxsim_bench import circuits, families
from qjaxsim_bench.problem import FIRST, Problem, Target, numbers

BOTH, DOUBLE = ("single", "double"), ("double",)
_IN_JAX = ("tensorcircuit", "pennylane")
_FIRST_CALLS = 3  # pairs of processes where the first call is what matters


def _vqe_targets() -> tuple[Target, ...]:
    shapes = (("6x3", 6), ("8x3", 6), ("10x4", 10))
    repeated = (
        Target(f"VQE Hessian, {size.replace('x', ' qubits x ')} layers", size, "double", ratio, ("tensorcircuit",))
        for size, ratio in shapes
    )
    first = Target("VQE Hessian, 10 qubits x 4 layers, first call", "10x4", "double", 60, ("tensorcircuit",), FIRST)
    return (*repeated, first)


def _first_call(label: str, size: str, ratio: float, peer: str = "aer") -> Target:
    return Target(f"{label}, first call", size, "double", ratio, (peer,), FIRST)


_NAMED = "separately named parameters, 8 qubits, against one vector"
MORE = (
    Problem(
        "kernel",
        "states of a kernel's samples, ZZ feature map of 2 repetitions",
        "qubits x samples",
        lambda s: families.kernel(*numbers(s)),
        ("4x20",),
        ("8x300",),
        DOUBLE,
        (
            Target("ZZ feature map, 8 qubits, 300 samples", "8x300", "double", 5, ("tensorcircuit",)),
            Target("the same against phases by hand", "8x300", "double", 0.9, ("by-hand",)),
        ),
    ),
    Problem(
        "noise",
        "expectation values of an encoding circuit with depolarizing after every gate, as density matrices",
        "qubits x samples",
        lambda s: families.noisy(*numbers(s)),
        ("3x4",),
        ("8x100", "12x1"),
        DOUBLE,
        (
            Target("8 noisy qubits, 100 samples", "8x100", "double", 5, ("aer", "pennylane-mixed")),
            Target("12 noisy qubits", "12x1", "double", 5, ("aer", "pennylane-mixed")),
        ),
    ),
    Problem(
        "vqe-gradient",
        "gradient of a VQE's energy (RY, RZ, CNOT chain; Ising)",
        "qubits x layers",
        lambda s: families.vqe("gradient", *numbers(s)),
        ("4x2",),
        ("6x3", "8x3", "10x4"),
        DOUBLE,
    ),
    Problem(
        "vqe-hessian",
        "Hessian of a VQE's energy (RY, RZ, CNOT chain; Ising)",
        "qubits x layers",
        lambda s: families.vqe("energy-hessian", *numbers(s)),
        ("4x2",),
        ("6x3", "8x3", "10x4"),
        DOUBLE,
        _vqe_targets(),
    ),
    Problem(
        "metric",
        "Fubini-Study metric in all angles (VQE's circuit; deep layers with several settings)",
        "qubits x layers x settings",
        lambda s: families.metric(*numbers(s)),
        ("4x2x1",),
        ("10x4x1", "8x10x4", "8x50x4"),
        DOUBLE,
        (
            Target("metric of 10 qubits x 80 angles", "10x4x1", "double", 10, _IN_JAX),
            Target("metrics of 4 circuits of 8 qubits x 240 angles", "8x10x4", "double", 10, _IN_JAX),
        ),
    ),
    Problem(
        "qaoa-gradient",
        "gradient of QAOA's cut",
        "qubits x rounds x edges",
        lambda s: families.qaoa("gradient", *numbers(s)),
        ("5x2x6",),
        ("12x8x24",),
        DOUBLE,
        (Target("QAOA gradient, 12 qubits, p = 8, 24 edges", "12x8x24", "double", 15, _IN_JAX),),
    ),
    Problem(
        "qaoa-hessian",
        "Hessian of QAOA's cut",
        "qubits x rounds x edges",
        lambda s: families.qaoa("energy-hessian", *numbers(s)),
        ("5x2x6",),
        ("12x8x24",),
        DOUBLE,
        (Target("QAOA Hessian, 16 angles", "12x8x24", "double", None, ("tensorcircuit",), seconds=0.01),),
    ),
    Problem(
        "evolution",
        "Trotter steps of a molecule-like Pauli sum, strings as Qiskit decomposes them",
        "qubits x steps",
        lambda s: families.evolution(*numbers(s)),
        ("4x1",),
        ("6x1", "10x1", "10x4"),
        DOUBLE,
    ),
    Problem(
        "grover",
        "Grover's search, from Qiskit's circuit",
        "qubits x rounds",
        lambda s: families.grover(*numbers(s)),
        ("5x2",),
        ("14x20",),
        DOUBLE,
        (_first_call("Grover, 14 qubits x 20", "14x20", 0.7),),
        _FIRST_CALLS,
    ),
    Problem(
        "quantum-volume",
        "quantum volume, from Qiskit's circuit",
        "qubits x depth",
        lambda s: families.quantum_volume(*numbers(s)),
        ("4x4",),
        ("10x10", "16x16", "20x20"),
        BOTH,
        fresh=_FIRST_CALLS,
    ),
    Problem(
        "wide-unitary",
        "one unitary on all qubits, from Qiskit's circuit",
        "qubits",
        lambda s: families.wide_unitary(int(s)),
        ("4",),
        ("6", "10"),
        DOUBLE,
        (_first_call("one 10-qubit UnitaryGate", "10", 1),),
        _FIRST_CALLS,
    ),
    Problem(
        "preparation",
        "StatePreparation of a random vector, from Qiskit's circuit",
        "qubits",
        lambda s: families.preparation(int(s)),
        ("4",),
        ("10", "14"),
        DOUBLE,
        (_first_call("StatePreparation, 14 qubits", "14", 0.7),),
        _FIRST_CALLS,
    ),
    Problem(
        "clifford-t",
        "random Clifford+T gates, from Qiskit's circuit",
        "qubits x gates",
        lambda s: families.clifford_t(*numbers(s)),
        ("4x100",),
        ("10x1000", "10x50000"),
        DOUBLE,
        (_first_call("50,000 Clifford+T gates on 10 qubits", "10x50000", 0.7),),
        _FIRST_CALLS,
    ),
    Problem(
        "parameters",
        "state of a circuit whose parameters have a name each",
        "qubits x parameters",
        lambda s: families.parameters(*numbers(s)),
        ("3x18",),
        ("8x600", "8x3000"),
        DOUBLE,
        (
            _first_call(f"600 {_NAMED}", "8x600", 0.9, "by-hand"),
            _first_call(f"3,000 {_NAMED}", "8x3000", 0.9, "by-hand"),
        ),
        _FIRST_CALLS,
    ),
    Problem(
        "qasm",
        "circuits of the kinds of QASMBench, from Qiskit's circuit",
        "circuit",
        circuits.circuit,
        tuple(f"small-{name}" for name in circuits.CIRCUITS),
        tuple(circuits.CIRCUITS),
        DOUBLE,
    ),
    Problem(
        "pauli-sum",
        "a Hamiltonian built term by term",
        "qubits x terms",
        lambda s: families.pauli_sum(*numbers(s)),
        ("6x40",),
        ("20x500", "20x5000"),
        DOUBLE,
    ),
    Problem(
        "eager-hessian",
        "repeated Hessian outside jax.jit (VQE's energy)",
        "qubits x layers",
        lambda s: families.vqe("eager-hessian", *numbers(s)),
        ("3x1",),
        ("6x3",),
        DOUBLE,
    ),
    Problem(
        "crosscheck",
        "comparison of a circuit with Qiskit Aer, parameter shifts included",
        "qubits x layers",
        lambda s: families.crosscheck(*numbers(s)),
        ("4x1",),
        ("18x2",),
        DOUBLE,
    ),
)
