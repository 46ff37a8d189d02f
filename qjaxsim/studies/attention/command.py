"""The command `qjaxsim study attention`."""

from qjaxsim.studies.attention.settings import AttentionStudySettings
from qjaxsim.studies.shared.command import study_command

attention = study_command(
    "attention",
    AttentionStudySettings,
    """Attention that selects tokens by annealing, beside softmax and trivial controls (arXiv:2504.11083).

Trains every kind with every seed in one small vision transformer, compares energies, selections and times, and
leaves a table, figures and report.html in --out.
    """,
)
