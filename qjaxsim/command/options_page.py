"""The page of all options of all studies, `docs/options.md`, from the fields of their settings.

python -m qjaxsim.command.options_page > docs/options.md
"""

import dataclasses
from typing import Any

from qjaxsim.studies.attention.settings import AttentionStudySettings
from qjaxsim.studies.disentangler.settings import DisentanglerStudySettings
from qjaxsim.studies.effective_dimension.settings import EffectiveDimensionSettings
from qjaxsim.studies.gauss_newton_transition.settings import TransitionSettings
from qjaxsim.studies.gradient_variance.settings import GradientSettings
from qjaxsim.studies.hessian.settings import HessianSettings
from qjaxsim.studies.lie_variance.settings import LieVarianceSettings
from qjaxsim.studies.noisy_fisher.settings import NoisyFisherSettings
from qjaxsim.studies.noisy_hessian.settings import NoisyHessianSettings
from qjaxsim.studies.overparametrisation.settings import OverparametrisationSettings
from qjaxsim.studies.qrnn.settings import QrnnSettings
from qjaxsim.studies.shared.command import as_typed, default_in_words, flag_of
from qjaxsim.studies.shared.setting import needs_in_words, values_in_words
from qjaxsim.studies.spectrum.settings import SpectrumSettings

STUDIES = {
    "hessian": HessianSettings,
    "gradient-variance": GradientSettings,
    "qrnn": QrnnSettings,
    "attention": AttentionStudySettings,
    "disentangler": DisentanglerStudySettings,
    "noisy-hessian": NoisyHessianSettings,
    "effective-dimension": EffectiveDimensionSettings,
    "gauss-newton-transition": TransitionSettings,
    "lie-variance": LieVarianceSettings,
    "overparametrisation": OverparametrisationSettings,
    "noisy-fisher": NoisyFisherSettings,
}
# The command for problems of one's own, a study in all but its place.
OWN = {"spectrum": SpectrumSettings}
_INTRODUCTION = """# Options of the studies

What each study is about: [results](results/index.md). *Seeds* choose all that is random; an *epoch* is a pass over the
data; a *stratified* choice keeps the shares of the classes. The page is made from the fields of each study's settings
(`make options`), which the command, its checks and `qjaxsim study NAME --help` read too.

Several values of an option are separated by commas. Every study also takes
`--out DIR`, `--resume`, and where it reads data sets `--data-dir DIR`; `disentangler` takes `--weights FILE` and what
belongs to it, or `--encoder DIR`. As one of several processes it takes `--coordinator HOST:PORT`,
`--processes N|auto` and `--process I`; `study hessian` and `spectrum` take `--devices N|all` too
([several devices](devices.md))."""
_HEAD = "| option | what it is | default | values | has an effect only |\n|---|---|---|---|---|"


def options_page() -> str:
    """The page, in Markdown."""
    sections = [_section(f"study {name}", settings) for name, settings in STUDIES.items()]
    sections += [_section(f"{name} TARGET", settings) for name, settings in OWN.items()]
    return "\n\n".join([_INTRODUCTION, *sections]) + "\n"


def _section(command: str, settings: type) -> str:
    return "\n".join([f"## qjaxsim {command}\n", _HEAD, *(_line(field) for field in dataclasses.fields(settings))])


def _line(field: dataclasses.Field[Any]) -> str:
    cells = (
        f"`--{flag_of(field)}`",
        field.metadata["option"].help,
        _default(field),
        values_in_words(field),
        needs_in_words(field),
    )
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _default(field: dataclasses.Field[Any]) -> str:
    if isinstance(field.default, tuple):
        return as_typed(field) or "none"
    if field.default is None:
        return default_in_words(field) or "none"
    return "off" if field.default is False else str(field.default)


if __name__ == "__main__":
    print(options_page(), end="")
