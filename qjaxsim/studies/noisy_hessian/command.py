"""The command `qjaxsim study noisy-hessian`."""

from qjaxsim.studies.noisy_hessian.settings import NoisyHessianSettings
from qjaxsim.studies.shared.command import study_command

noisy_hessian = study_command(
    "noisy-hessian",
    NoisyHessianSettings,
    """Exact Hessian spectra of a small classifier under noise, and the error bars that shots give them.

Trains without noise, then takes spectra under depolarizing noise after every gate and under its global control, and the
shots that the largest and the most negative eigenvalue need; leaves a table, figures and report.html in --out.
    """,
)
