"""The study `hessian`: defaults by data set, published numbers beside ours, and bad input at the command line."""

import pytest
from qjaxsim_data import load

from qjaxsim.command import main as cli
from qjaxsim.studies.hessian.published import comparison_rows
from qjaxsim.studies.hessian.settings import HessianSettings, paper_learning_rate, use_dense


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--patches", "5"), "--patches is 5, but 4 x 4 patches fit a 8 x 8 image"),
        (("--patches", "1,1"), "--patches must hold at least one value and none twice"),
        (("--patches", "four"), "--patches must be integers separated by commas, but is 'four'"),
        (("--layers", "-1"), "--layers must hold numbers of at least 0"),
        (("--qubits", "3"), "--classes is 10, but 3 qubits"),
        (("--scale", "nan"), "--scale must be a positive number, but is nan"),
        (("--landscape-points", "10000000"), "A plane of 10,000,000 x 10,000,000 points needs"),
        (("--learning-rate", "nan"), "--learning-rate must be a positive number, but is nan"),
        (("--weight-decay", "nan"), "--weight-decay must be finite and not negative, but is nan"),
        (("--seeds", "-1"), "--seeds must hold numbers of at least 0"),
        (("--epochs", "-1"), "--epochs must be at least 1"),
        (("--batch-size", "0"), "--batch-size must be at least 1"),
        (("--images", "40"), "--batch-size must be at most the number of training images, 40, but is 64"),
        (("--schedule", "steps"), "--schedule must be one of"),
        (("--aggregation", "max"), "--aggregation must be one of ['mean', 'sum']"),
        (("--dtype", "float16"), "--dtype must be one of"),
        (("--spectrum", "all"), "--spectrum must be one of"),
        (("--landscape", "moon"), "--landscape must hold names of ['pca', 'eigen', 'random'], but holds 'moon'"),
        (("--control", "luck"), "--control must hold names of ['aggregation', "),
        (("--training-dtype", "float16"), "--training-dtype must be one of"),
        (("--lambda-images", "0"), "--lambda-images must be at least 1"),
        (("--landscape-points", "1"), "--landscape-points must be at least 2"),
        (("--images", "5000"), "--images must be at most the 1,438"),
        (("--classes", "3,12"), "--classes must name classes of digits that have examples"),
        (("--dataset", "imagenet"), "imagenet"),
        (("--dataset", "mnist", "--data-dir", "nowhere"), "qjaxsim data prepare mnist"),
        (("--resume",), "--resume needs --out"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    out = () if "--resume" in options else ("--out", "run")
    assert cli.main(["study", "hessian", *options, *out]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and message in error and "\n" not in error
    assert list(tmp_path.iterdir()) == []


def test_defaults_by_data_set():
    digits, mnist = HessianSettings().resolved(), HessianSettings(dataset="mnist").resolved()
    assert (digits.qubits, digits.patch_size, digits.pool, digits.curvature_images) == (5, 4, 1, None)
    paper = load("patches_hessian")["training"]
    assert (mnist.epochs, mnist.batch_size, mnist.weight_decay) == (paper["epochs"], paper["batch_size"], 5e-5)
    assert (mnist.qubits, mnist.patch_size, mnist.pool) == (8, 8, 2)
    for layers, rate in paper["learning_rate"].items():
        assert paper_learning_rate(int(layers)) == rate
    assert HessianSettings(dataset="mnist", qubits=6).resolved().qubits == 6


def test_auto_is_dense_up_to_the_smallest_published_model():
    from qjaxsim.models.patches import PatchesModel

    smallest, next_published = PatchesModel(4, 50), PatchesModel(4, 100)
    assert use_dense(HessianSettings(), smallest) and not use_dense(HessianSettings(), next_published)
    assert use_dense(HessianSettings(spectrum="dense"), next_published)
    assert not use_dense(HessianSettings(spectrum="lanczos"), smallest)


def test_published_numbers_stand_beside_ours_only_where_the_setting_matches():
    settings = HessianSettings(dataset="mnist", patches=(4,), layers=(50,)).resolved()
    row = {
        "patches": 4, "layers": 50, "qubits": 8, "seed": 1001, "images": 60000, "epochs": 50, "lambda_images": 60000,
        "train_loss": 0.03, "train_accuracy": 0.99, "test_loss": 0.07, "test_accuracy": 0.98, "lambda_max": 16.0,
        "lambda_max_power": 17.0, "lambda_max_lanczos": 16.5, "control": "baseline",
    }  # fmt: skip
    same = {r["quantity"].split(",")[0]: r for r in comparison_rows(settings, [row])}
    powers = "lambda_max by power iteration"
    assert all(r["comparable"] is True for r in same.values())
    assert same[powers]["published"] == 15.987
    assert same[powers]["difference"] == pytest.approx(17.0 - 15.987)
    part = {r["quantity"].split(",")[0]: r for r in comparison_rows(settings, [row | {"lambda_images": 2000}])}
    assert part["train_loss"]["comparable"] is True
    assert part[powers]["comparable"] == "images in the Hessian 2000 against 60000"
    assert part[powers]["difference"] is None
    (negative,) = [
        r for r in comparison_rows(settings, [row | {"lambda_max_power": -62.25}]) if "lambda" in r["quantity"]
    ]
    assert negative["quantity"].startswith("lambda_max, ") and negative["ours"] == 16.5
    assert negative["comparable"] == "power iteration found the most negative eigenvalue, -62.25"
    shallow = comparison_rows(settings, [row | {"layers": 2, "epochs": 3}])
    assert {r["comparable"] for r in shallow} == {"layers 2 against 50; epochs 3 against 50"}
    smaller = HessianSettings(dataset="mnist", patches=(4,), layers=(50,), patch_size=7).resolved()
    assert {r["comparable"] for r in comparison_rows(smaller, [row])} == {"patch size 7 against 8"}
    assert comparison_rows(settings, [row | {"patches": 1}]) == []
    assert comparison_rows(settings, [row | {"control": "scale"}]) == []
