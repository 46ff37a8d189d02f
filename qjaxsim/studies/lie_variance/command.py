"""The command `qjaxsim study lie-variance`."""

from qjaxsim.studies.lie_variance.settings import LieVarianceSettings
from qjaxsim.studies.shared.command import study_without_data

lie_variance = study_without_data(
    "lie-variance",
    LieVarianceSettings,
    """Variance of an expectation value over random angles, against that of the gates' Lie group (arXiv:2309.09342).

Draws angles of circuits of every depth, of a chain with a small algebra and of one with all of su(2^n), and takes the
dimension and purities from the algebra itself; leaves a table, figures and report.html in --out.
    """,
)
