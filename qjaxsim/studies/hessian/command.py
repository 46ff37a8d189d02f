"""The command `qjaxsim study hessian`."""

from qjaxsim.studies.hessian.settings import HessianSettings
from qjaxsim.studies.shared.command import study_command

hessian = study_command(
    "hessian",
    HessianSettings,
    """Hessian eigenspectra of distributed patch circuits trained on images (arXiv:2504.19239).

Trains every combination of --patches, --layers and --seeds, takes the Hessian at the checkpoint of lowest training
loss, and leaves a table, figures and report.html in --out.
    """,
    by_samples=True,
)
