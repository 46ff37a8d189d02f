"""What users of Qiskit, PennyLane and Cirq type for a method of a circuit, and what there is instead."""

_PARTS = "a circuit has unitary gates and `.project` alone"
_ENDS = f"{_PARTS}; read the end of it with `qjaxsim.probabilities`, `qjaxsim.sample` or `qjaxsim.expectation`"
_STARTS = f"{_PARTS}, and starts in |0...0>; prepare another state with gates, or the first column of a `.unitary`"
HINTS = {
    "cnot": "use `.cx`",
    "toffoli": "use `.ccx`",
    "fredkin": "use `.cswap`",
    "hadamard": "use `.h`",
    "not_": "use `.x`",
    "i": "use `.id`",
    "phase": "use `.p`",
    "cphase": "use `.cp`",
    "phaseshift": "use `.p`",
    "rot": "use `.rz`, `.ry` and `.rz`",
    "u0": "use `.id`",
    "si": "use `.sdg`",
    "mct": "use `.mcx`",
    "mcphase": "use `.mcp`",
    "measure": _ENDS,
    "measure_all": _ENDS,
    "reset": _ENDS,
    "initialize": _STARTS,
    "prepare_state": _STARTS,
    "barrier": "leave it out: the engine fuses gates without changing the circuit's result",
    "depth": "use `.count_ops`",
    "num_qubits": "use `.n_qubits`",
    "num_parameters": "use `.n_parameters`",
    "to_gate": "use `.compose` with the circuit itself",
    "to_instruction": "use `.compose` with the circuit itself",
    "power": "use `.repeat` or `.compose`",
    "assign_parameters": "values are given on calling, as in `qjaxsim.statevector(circuit)(params)`",
    "bind_parameters": "values are given on calling, as in `qjaxsim.statevector(circuit)(params)`",
    "draw": "use `print(circuit)`",
}
