"""Settings that say what values they take and when they have an effect; messages in the words of the command line."""

import dataclasses

import pytest
import typer

from qjaxsim.command import app as cli_app
from qjaxsim.command import main as cli
from qjaxsim.command.messages import in_options
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
from qjaxsim.studies.shared.setting import GIVEN, Except, check_settings, choice, integer, number, other, refuse_idle

STUDIES = {
    "hessian": HessianSettings,
    "gradient-variance": GradientSettings,
    "attention": AttentionStudySettings,
    "qrnn": QrnnSettings,
    "disentangler": DisentanglerStudySettings,
    "noisy-hessian": NoisyHessianSettings,
    "effective-dimension": EffectiveDimensionSettings,
    "gauss-newton-transition": TransitionSettings,
    "lie-variance": LieVarianceSettings,
    "overparametrisation": OverparametrisationSettings,
    "noisy-fisher": NoisyFisherSettings,
}
COMMAND = typer.main.get_command(cli_app.app)


@dataclasses.dataclass(frozen=True)
class Sample:
    kind: str = choice("round", ("round", "square"))
    sizes: tuple[int, ...] = integer((1, 2), 1, 9)
    rate: float | None = number(None, above=0)
    decay: float = number(0.0, least=0)
    label: str = other("", needs={"kind": ("square",)})
    extra: int = integer(1, 0, needs=({"rate": GIVEN}, {"kind": Except("round")}))

    def __post_init__(self):
        check_settings(self)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "sqare"}, r"`kind` must be one of .*, but is 'sqare' \(did you mean 'square'\?\)"),
        ({"sizes": ()}, "`sizes` must hold at least one value and none twice"),
        ({"sizes": (1, 1)}, "`sizes` must hold at least one value and none twice"),
        ({"sizes": (1, 0)}, "`sizes` must hold numbers of at least 1, but holds 0"),
        ({"sizes": (10,)}, "`sizes` must hold numbers of at most 9, but holds 10"),
        ({"sizes": (1.5,)}, "`sizes` must hold integers, but holds 1.5"),
        ({"sizes": (True,)}, "`sizes` must hold integers, but holds True"),
        ({"rate": 0.0}, "`rate` must be a positive number, but is 0.0"),
        ({"rate": float("nan")}, "`rate` must be a positive number, but is nan"),
        ({"rate": "x"}, "`rate` must be a number, but is 'x'"),
        ({"decay": float("inf")}, "`decay` must be finite and not negative, but is inf"),
        ({"decay": None}, "`decay` must be a number, but is None"),
    ],
)
def test_values_out_of_range(values, message):
    with pytest.raises(ValueError, match=message):
        Sample(**values)


def test_settings_without_effect():
    refuse_idle(Sample())
    refuse_idle(Sample(kind="square", label="x", extra=3))
    with pytest.raises(ValueError, match="`label` has an effect only with `kind` square, but `kind` is round; leave"):
        refuse_idle(Sample(label="x"))


@pytest.mark.parametrize("study", STUDIES)
def test_every_setting_is_an_option_that_its_conditions_name(study):
    """What a condition names must exist, and be an option of the command by the same name."""
    fields = {field.name: field for field in dataclasses.fields(STUDIES[study])}
    params = {param.name for param in COMMAND.commands["study"].commands[study].params}
    assert fields.keys() <= params
    for field in fields.values():
        needs = field.metadata["needs"]
        for condition in needs if isinstance(needs, tuple) else (needs,):
            assert condition.keys() <= fields.keys() | {"weights", "encoder"}
            for name, wanted in condition.items():
                rule = fields[name].metadata["rule"] if name in fields else None
                if isinstance(wanted, tuple) and rule is not None:
                    assert set(wanted) <= set(rule.choices), (field.name, name)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "qrnn --task xor --digits 3,6",
            "--digits has an effect only with --task mnist or mnist-generate, but --task is",
        ),
        ("qrnn --task xor --dataset mnist", "--dataset has an effect only with --task mnist or mnist-generate"),
        ("qrnn --task memorise --bits 3", "--bits has an effect only with --features pca, tsne or umap"),
        ("qrnn --full", "--full has an effect only with --experiments initial or topology"),
        ("qrnn --experiments neuron --seeds 1", "--seeds has an effect only with --experiments training"),
        ("qrnn --experiments optimizers --optimizer sgd", "--optimizer has an effect only with --experiments"),
        ("qrnn --experiments initial --lengths 5,6", "--lengths must be one length for initial"),
        ("qrnn --degree 9", "--degree must be at most the 5 sources of a neuron with --workspace 4"),
        ("qrnn --updates 0", "--updates must be at least 1, but is 0"),
        ("qrnn --seeds 4294967296", "--seeds must hold numbers of at most 4294967295"),
        ("qrnn --workspace 28", "The table of a neuron with 29 sources"),
        ("gradient-variance --shots 10", "--shots has an effect only with --control shots"),
        ("gradient-variance --hessian-images 10", "--hessian-images has an effect only with --hessian"),
        ("gradient-variance --data-seed 1", "--data-seed has an effect only with --images, or --test-images"),
        ("gradient-variance --qubits 40", "Training 40 qubits with 5 seeds side by side needs"),
        ("gradient-variance --images 5000", "--images must be at most the 1,438 train images of digits"),
        ("gradient-variance --epochs 2000000000", "The order of images in 2,000,000,000 epochs needs"),
        ("attention --attention softmax --reads 4", "--reads has an effect only with --attention qama-v2"),
        (
            "attention --attention ones --gradient gibbs",
            "--gradient has an effect only with --attention qama-v2 or greedy",
        ),
        ("attention --images 5000", "--images must be at most the 1,438 training images of digits"),
        ("attention --energy-images 5000", "--energy-images must be at most"),
        ("attention --data-dir .", "--data-dir has an effect only with --dataset other than digits"),
        ("hessian --qubits 0", "--qubits must be at least 2, but is 0"),
        ("hessian --qubits 40", "circuits of 40 qubits on a thousand images"),
        ("hessian --lambda-images 999999", "--lambda-images must be at most the 1,438 training images"),
        ("hessian --top 3", "--top has an effect only on spectra by lanczos"),
        ("hessian --spectrum dense --top 3", "--top has an effect only with --spectrum auto or lanczos"),
        ("hessian --spectrum lanczos --top 5", "--top must be at least 10, the number of classes, but is 5"),
        ("hessian --spectrum lanczos --top 100000", "--top must be at most the"),
        ("hessian --landscape none --landscape-points 4", "only with --landscape, but --landscape is none; leave it"),
        ("hessian --patches 3", "--patches is 3, but 4 x 4 patches fit"),
        ("hessian --seeds 99999999999999999999", "--seeds must hold numbers of at most 4294967295"),
        ("disentangler --weights w.npy --epochs 3", "--weights must be a file of weights, but there is none"),
        ("disentangler --encoder /nowhere", "--encoder must be a folder with config.json"),
        ("disentangler --parts layers --bond-chi 3", "--bond-chi has an effect only with --parts bond"),
        ("disentangler --gate-qubits register --depths 3", "--depths has an effect only with --parts layers and"),
        ("disentangler --healing none --heal-updates 3", "--heal-updates has an effect only with --parts model and"),
        ("disentangler --key a", "--key has an effect only with --weights, but --weights is not given"),
    ],
)
def test_commands_refuse_before_the_work(words, message, capsys, tmp_path):
    assert cli.main(["study", *words.split(), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and "`" not in error
    assert not (tmp_path / "out").exists()


def test_names_of_arguments_become_options():
    words = ["study", "hessian", "--patches", "3"]
    assert in_options(COMMAND, words, "Argument `n_patches` is 3.") == "Option --patches is 3."
    assert in_options(COMMAND, words, "Arguments `top` and `k` must agree.") == "Options --top and `k` must agree."
    assert (
        in_options(COMMAND, ["--debug", "data", "prepare"], "Argument `name` and `idx_dir`.")
        == "Argument NAME and --from."
    )
    assert in_options(COMMAND, [], "Argument `x` is bad.") == "Argument `x` is bad."
