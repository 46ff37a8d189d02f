"""The problems: what is computed, at which sizes, and the target it is measured against."""

from collections.abc import Callable
from dataclasses import replace

from qjaxsim_bench import tasks
from qjaxsim_bench.links import LINKS
from qjaxsim_bench.more_problems import MORE
from qjaxsim_bench.own import OWN
from qjaxsim_bench.problem import Problem, Target
from qjaxsim_bench.problem import numbers as _numbers
from qjaxsim_bench.tasks import Task

JAX_PEERS = ("pennylane", "tensorcircuit", "qujax")
STATE_PEERS = ("qulacs", "qulacs-optimised", "aer", "lightning", "lightning-kokkos", "qsimcirq")
WIDE_PEERS = ("qsimcirq", "lightning")


def _states(
    name: str, make: Callable[..., Task], title: str, *, wide: float, double: float = 1.5, single: float = 3
) -> Problem:
    """Final states, with the ratios to reach at 20 qubits in either precision and at 24 in single."""
    targets = (
        Target(f"{title}, 20 qubits, double", "20", "double", double, STATE_PEERS),
        Target(f"{title}, 20 qubits, single", "20", "single", single, STATE_PEERS),
        Target(f"{title}, 24 qubits, single", "24", "single", wide, WIDE_PEERS),
    )
    full = tuple(str(n) for n in (4, 8, 12, 16, 20, 22, 24))
    quick = ("8", "20") if name == "layered" else ("20",)
    return Problem(name, f"final state, {title}", "qubits", lambda s: make(*_numbers(s)), quick, full, targets=targets)


def _hybrid(name: str, title: str, quick: tuple[str, ...], full: tuple[str, ...], *targets: Target) -> Problem:
    return Problem(
        name,
        title,
        "qubits x layers x batch",
        lambda s: tasks.hybrid(name, *_numbers(s)),
        quick,
        full,
        ("single",),
        targets,
    )


PROBLEMS = {
    problem.name: problem
    for problem in (
        _hybrid(
            "hybrid",
            "value and gradient of the hybrid model",
            ("8x3x1024",),
            ("4x3x64", "8x3x64", "8x3x1024"),
            Target("value and gradient, 8 qubits x 3 layers x batch 1,024", "8x3x1024", "single", 5, JAX_PEERS),
        ),
        _states("layered", tasks.layered, "layered circuit", wide=1.5),
        _states("random", tasks.random, "random circuit of 300 gates", wide=2, double=2, single=2),
        _states("qft", tasks.qft, "quantum Fourier transform", wide=4),
        Problem(
            "gradient",
            "gradient of the mean of Z, layered circuit, all angles",
            "qubits",
            lambda s: replace(tasks.layered(*_numbers(s)), kind="gradient"),
            ("16",),
            ("8", "16", "20"),
            ("double",),
            targets=(Target("20-qubit gradient, double", "20", "double", 4, ("lightning",)),),
        ),
        Problem(
            "hamiltonian",
            "expectation of a sum of random Pauli strings",
            "qubits x terms",
            lambda s: tasks.hamiltonian(*_numbers(s)),
            ("12x100",),
            ("12x100", "12x1000"),
            ("double",),
        ),
        _hybrid("hvp", "Hessian-vector product of the hybrid model", ("4x1x64",), ("4x3x64",)),
        _hybrid(
            "hessian",
            "exact Hessian of the hybrid model",
            ("4x1x64",),
            ("4x3x64", "8x3x64", "8x3x1024"),
            Target("exact Hessian, 8 x 3 x 1,024, first call", "8x3x1024", "single", 30, JAX_PEERS, "compile+first"),
            Target("exact Hessian, 8 x 3 x 1,024, repeated call", "8x3x1024", "single", 20, JAX_PEERS),
        ),
        Problem(
            "qnn",
            "outputs and their Jacobian in the weights, as an EstimatorQNN gives them",
            "qubits x layers x batch",
            lambda s: tasks.hybrid("qnn", *_numbers(s)),
            ("4x1x4",),
            ("4x3x16",),
            ("double",),
            (
                Target(
                    "EstimatorQNN, 4 qubits x 3 layers x batch 16",
                    "4x3x16",
                    "double",
                    2000,
                    ("qnn-shift", "qnn-reverse"),
                ),
            ),
        ),
        Problem(
            "training",
            "update by Adam of the hybrid classifier, layers before and behind the circuit included",
            "qubits x layers x batch",
            lambda s: tasks.training(*_numbers(s)),
            ("4x1x4",),
            ("4x3x16",),
            ("double",),
            (
                Target(
                    "EstimatorQNN in a classifier, update, 4 qubits x 3 layers x batch 16",
                    "4x3x16",
                    "double",
                    2000,
                    ("qnn-shift", "qnn-reverse"),
                ),
            ),
        ),
        Problem(
            "patches",
            "training step (value and gradient) of four patch circuits of 8 qubits",
            "layers x batch",
            lambda s: tasks.patches(*_numbers(s)),
            ("2x100",),
            ("10x1000", "50x1000"),
            ("single",),
            (
                Target(
                    "patches training step, 4 circuits x 50 layers, batch 1,000",
                    "50x1000",
                    "single",
                    20,
                    ("gate-by-gate",),
                ),
            ),
        ),
        Problem(
            "qrnn",
            "update of the recurrent quantum network (loss, gradient, clipping, Adam)",
            "in/out lanes x workspace x stages x degree x length x batch",
            lambda s: tasks.qrnn(*_numbers(s)),
            ("2x4x1x3x36x8",),
            (
                "3x3x2x2x20x2",
                "3x5x2x3x20x2",
                "2x3x2x2x20x2",
                "2x4x1x3x36x8",
                "3x6x2x2x36x4",
                "3x5x1x3x5x128",
                "3x5x1x3x20x128",
                "2x8x2x2x101x10",
                "3x5x1x3x1000x128",
            ),
            # A thousand projections magnify single precision's rounding beyond any tolerance.
            ("double",),
        ),
        *MORE,
        *LINKS,
    )
}
"""All problems of the suite whose results are compared, by name."""


def problem_of(name: str) -> Problem:
    """A problem of the suite, or of a user's circuit."""
    return OWN[name] if name in OWN else PROBLEMS[name]
