"""The command `qjaxsim study overparametrisation`."""

from qjaxsim.studies.overparametrisation.settings import OverparametrisationSettings
from qjaxsim.studies.shared.command import study_without_data

overparametrisation = study_without_data(
    "overparametrisation",
    OverparametrisationSettings,
    """Rank of the quantum Fisher information against the share of trainings that succeed, by number of angles.

Ground states of Ising chains and random unitaries; ranks beside those of the Lie algebra and the published ones, and
other optimisers as controls; leaves a table, figures and report.html in --out.
    """,
)
