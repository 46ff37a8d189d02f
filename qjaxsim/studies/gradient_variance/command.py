"""The command `qjaxsim study gradient-variance`."""

from qjaxsim.studies.gradient_variance.settings import GradientSettings
from qjaxsim.studies.shared.command import study_command

gradient_variance = study_command(
    "gradient-variance",
    GradientSettings,
    """Gradient variance of a hybrid classifier against qubits, depth and batch size (Moto and Yoshida).

Sweeps --qubits, --layers and --batches one at a time about --centre, all --seeds of a cell side by side, and leaves
tables, figures and report.html in --out.
    """,
)
