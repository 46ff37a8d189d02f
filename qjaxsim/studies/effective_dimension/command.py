"""The command `qjaxsim study effective-dimension`."""

from qjaxsim.studies.effective_dimension.settings import EffectiveDimensionSettings
from qjaxsim.studies.shared.command import study_without_data

effective_dimension = study_without_data(
    "effective-dimension",
    EffectiveDimensionSettings,
    """Effective dimension of a quantum neural network beside classical models (arXiv:2011.00027).

Takes Fisher matrices at the published draws, other seeds and other intervals, of the published models and of logistic
regression on random features as a control; leaves a table, figures and report.html in --out.
    """,
)
