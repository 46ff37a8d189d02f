"""The command `qjaxsim study noisy-fisher`."""

from qjaxsim.studies.noisy_fisher.settings import NoisyFisherSettings
from qjaxsim.studies.shared.command import study_without_data

noisy_fisher = study_without_data(
    "noisy-fisher",
    NoisyFisherSettings,
    """Eigenvalues and ranks of the quantum Fisher information of an Ising circuit under noise after every gate.

Beside them those of global depolarizing noise and of the Hessian of the energy, ranks by threshold and the published
ones; leaves a table, figures and report.html in --out.
    """,
)
