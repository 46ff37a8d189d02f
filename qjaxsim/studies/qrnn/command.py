"""The command `qjaxsim study qrnn`."""

from qjaxsim.studies.qrnn.settings import QrnnSettings
from qjaxsim.studies.shared.command import study_command

qrnn = study_command(
    "qrnn",
    QrnnSettings,
    """Recurrent quantum network on its published tasks, with the controls they lack (arXiv:2006.14619).
    """,
    needs={"data_dir": {"task": ("mnist", "mnist-generate")}},
)
