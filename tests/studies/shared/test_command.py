"""Options made from the fields of settings: names, defaults in words, lists and words as values, and refusals."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from qjaxsim.command.options_page import options_page
from qjaxsim.studies.attention.settings import AttentionStudySettings
from qjaxsim.studies.disentangler.settings import DisentanglerStudySettings
from qjaxsim.studies.gradient_variance.settings import GradientSettings
from qjaxsim.studies.hessian.settings import HessianSettings
from qjaxsim.studies.overparametrisation.settings import OverparametrisationSettings
from qjaxsim.studies.qrnn.settings import QrnnSettings
from qjaxsim.studies.shared.command import with_settings
from qjaxsim.studies.shared.setting import choice, digits_else, integer, number, other, with_defaults
from qjaxsim.studies.spectrum.settings import SpectrumSettings

ALL = [HessianSettings, GradientSettings, QrnnSettings, AttentionStudySettings, DisentanglerStudySettings]
PARTS = ("one", "two", "three")


@dataclasses.dataclass(frozen=True)
class Settings:
    dataset: str = other("digits", help="Data.")
    parts: tuple[str, ...] = choice(PARTS, PARTS, help="Parts.", words={"all": PARTS, "none": ()})
    sizes: tuple[int, ...] = integer((2, 0), 0, help="Sizes.", words={"register": 0})
    labels: tuple[int, ...] | None = integer(None, 0, help="Labels.", defaults="all")
    n_heads: int | None = integer(None, 1, flag="heads", help="Heads.", defaults=digits_else(4, 8))
    windows: int | None = integer(256, 1, help="Windows; 0 for all.", words={"0": None})
    rate: float = number(0.5, above=0, help="Rate.")
    fast: bool = other(False, help="Fast.")


def run(*words):
    """What a command with these settings and one option of its own receives."""
    received: dict[str, Any] = {}

    @with_settings(Settings)
    def made_up(
        command: typer.Context,
        *,
        chosen: dict[str, Any],
        extra: Annotated[str, typer.Option(help="More.")] = "",
    ) -> None:
        """Made up."""
        received.update(chosen, extra=extra)

    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(made_up)
    done = CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return received, done


@pytest.mark.parametrize("settings", [*ALL, OverparametrisationSettings, SpectrumSettings])
def test_lists_that_may_be_empty_are_so_by_the_word_none(settings):
    for field in dataclasses.fields(settings):
        rule = field.metadata["rule"]
        assert rule is None or not rule.empty or field.metadata["option"].words.get("none") == (), field.name


def test_defaults_are_those_of_the_fields():
    received, _ = run()
    assert received == {**dataclasses.asdict(Settings()), "extra": ""}


def test_options_become_values():
    typed = "--dataset mnist --parts one,three --sizes 3,register,4 --labels 0,7 --heads 2 --windows 0 --rate 2 --fast"
    received, _ = run(*typed.split(), "--extra", "x")
    assert received == {
        "dataset": "mnist", "parts": ("one", "three"), "sizes": (3, 0, 4), "labels": (0, 7), "n_heads": 2,
        "windows": None, "rate": 2.0, "fast": True, "extra": "x",
    }  # fmt: skip
    assert run("--parts", "none")[0]["parts"] == () and run("--parts", "all")[0]["parts"] == PARTS


def test_help_says_what_fields_say():
    shown = " ".join(run("--help")[1].stdout.split())
    for text in ("Made up.", "--heads <int> Heads. [default: 4 for digits, else 8]", "Labels. [default: all]",
                 "--parts LIST Parts. [default: all]", "--sizes LIST Sizes. [default: 2,register]", "--fast Fast.",
                 "--windows <int> Windows; 0 for all. [default: 256]", "--extra <str> More."):  # fmt: skip
        assert text in shown, text
    assert shown.index("--fast") < shown.index("--extra")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--sizes", "2,x"), "Option --sizes must be integers or 'register' separated by commas, but is '2,x'"),
        (("--sizes", "2,0"), "Option --sizes must hold numbers of at least 1 or 'register', but holds 0"),
        (("--labels", "a"), "Option --labels must be integers separated by commas, but is 'a'"),
    ],
)
def test_lists_that_are_none_are_refused_as_typed(words, message):
    with pytest.raises(ValueError, match=message):
        run(*words)


@pytest.mark.parametrize(("dataset", "heads"), [("digits", 4), ("mnist", 8)])
def test_open_settings_take_the_default_of_the_data_set(dataset, heads):
    assert with_defaults(Settings(dataset=dataset), "dataset").n_heads == heads
    assert with_defaults(Settings(dataset=dataset, n_heads=3), "dataset").n_heads == 3


@pytest.mark.parametrize("settings", ALL, ids=lambda one: one.__name__)
def test_every_field_says_what_it_is(settings):
    for field in dataclasses.fields(settings):
        assert field.metadata["option"].help.endswith("."), field.name
        if field.default is None:
            assert field.metadata["option"].defaults or "Round" in field.metadata["option"].help, field.name


def test_the_page_of_options_is_up_to_date():
    page = Path(__file__).parents[3] / "docs" / "options.md"
    assert page.read_text(encoding="utf-8") == options_page(), "make docs/options.md anew: make options"
