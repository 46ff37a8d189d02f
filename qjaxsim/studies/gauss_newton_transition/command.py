"""The command `qjaxsim study gauss-newton-transition`."""

from qjaxsim.studies.gauss_newton_transition.settings import TransitionSettings
from qjaxsim.studies.shared.command import study_without_data

gauss_newton_transition = study_without_data(
    "gauss-newton-transition",
    TransitionSettings,
    """Which part of H = G + R is left where gradient descent on (<O> - O0)^2 / 2 ends (arXiv:2311.18144).

Descends to targets above, at and below the least value of an observable, splits the Hessian exactly at each end, and
fits how the error falls; leaves a table, figures and report.html in --out.
    """,
)
