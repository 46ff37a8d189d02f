"""What devices send to each other: the exchange of a state that is cut over all of them, and the sum of gradients.

Of ours alone: rows by which a reader replaces the speeds that `qjaxsim.explain` assumes by those of own links.
"""

import numpy as np

from qjaxsim_bench.problem import Problem
from qjaxsim_bench.tasks import Task

LINKS = (
    Problem(
        "remap",
        "exchange of the pieces of a state between all devices",
        "qubits of a piece",
        lambda s: Task("remap", int(s), (), np.zeros(0)),
        ("16",),
        ("20", "24", "26"),
        ("single",),
    ),
    Problem(
        "allreduce",
        "sum of gradients over all devices",
        "parameters",
        lambda s: Task("allreduce", 1, (), np.zeros(0), extra={"parameters": int(s)}),
        ("10000",),
        ("10000", "1000000", "100000000"),
        ("single",),
    ),
)
