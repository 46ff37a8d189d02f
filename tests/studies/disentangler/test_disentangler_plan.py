"""The study `disentangler`: the plan beforehand, and the command line."""

import json

import numpy as np
import pytest

from qjaxsim.command.main import main
from qjaxsim.datasets.weights import LoadedMatrix
from qjaxsim.models.disentangler.low_rank import svd_layer
from qjaxsim.models.disentangler.mpo import qubit_geometry
from qjaxsim.studies.disentangler.layer import plain_operator
from qjaxsim.studies.disentangler.plan import PLAN_COLUMNS, can_it_pay, plan_rows
from qjaxsim.studies.disentangler.settings import REGISTER, DisentanglerStudySettings

# --- the plan --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def smol():
    """A matrix of the published layer's shape."""
    matrix = np.random.default_rng(0).normal(size=(192, 576)).astype(np.float32)
    return LoadedMatrix(matrix, "v_proj.weight", "out-in", "named weight, as torch's Linear does")


def test_the_plan_has_the_published_counts(smol):
    settings = DisentanglerStudySettings(
        parts=("layers", "bond"), chi=(10,), gate_qubits=(2,), depths=(8,), bond_chi=(1, 10, 0)
    )
    rows = plan_rows(settings, smol)
    narrow = [(entry["chi"], entry["depth"], entry["circuit"]) for entry in rows if entry["gate_qubits"] == 2]
    assert narrow == [(10, 8, 384)]
    table = [entry for entry in rows if entry["gate_qubits"] == 10]
    assert [entry["classical"] for entry in table] == [36, 2356, 401956]
    assert {entry["circuit"] for entry in table} == {556416} and table[0]["padded"] == "256 x 1024"
    assert table[0]["can_it_pay"].startswith(
        "not with angles counted: larger than the layer unless an angle costs less"
    )
    assert table[-1]["can_it_pay"] == "no: the MPO alone is larger than the layer"
    assert set(rows[0]) - set(PLAN_COLUMNS) <= {
        "chi", "gate_qubits", "depth", "dense", "classical", "circuit", "total", "size"
    }  # fmt: skip
    for entry in rows[:1]:
        svd = np.asarray(svd_layer(smol.matrix, entry["svd_rank"]).to_dense())
        expected = np.linalg.norm(smol.matrix - svd) / np.linalg.norm(smol.matrix)
        assert entry["svd_rank"] == entry["total"] // 768 and entry["svd_error"] == pytest.approx(expected, rel=1e-4)
        plain = np.asarray(plain_operator(smol.matrix, qubit_geometry(192, 576), entry["mpo_bond"]).to_dense())
        assert entry["mpo_error"] == pytest.approx(
            np.linalg.norm(smol.matrix - plain) / np.linalg.norm(smol.matrix), rel=1e-4
        )
    assert "svd_error" not in table[0]


def test_words_of_the_plan():
    assert can_it_pay(100, 100, 0, 1, 1) == "no: the MPO alone is larger than the layer"
    assert "unless an angle costs less than 0.5 numbers" in can_it_pay(100, 50, 100, 3, 3)
    assert (
        can_it_pay(100, 20, 30, 2, 0)
        == "smaller than the layer by 50 %; pays if its error is below that of SVD of rank 2"
    )
    assert can_it_pay(100, 20, 0, 0, 0) == "smaller than the layer by 80 %; nothing else of as few numbers is left"


def test_the_plan_of_the_built_in_model_needs_no_training():
    rows = plan_rows(DisentanglerStudySettings(chi=(1, 4), bond_chi=(1,)))
    # Three shapes at two bonds, and the profile layer between wide circuits.
    assert [entry["shape"] for entry in rows] == [s for s in ("64 x 64", "256 x 64", "64 x 256") for _ in "12"] + [
        "64 x 64"
    ]
    assert rows[-1]["circuit"] == 2 * 64 * 63 // 2 and rows[-1]["layer"] == "block1.value"


# --- the command -----------------------------------------------------------------------------------------------------


def test_dry_run_says_whether_it_can_pay(capsys, tmp_path):
    np.savez(tmp_path / "w.npz", **{"a.kernel": np.random.default_rng(1).normal(size=(12, 20))})
    words = ["study", "disentangler", "--weights", str(tmp_path / "w.npz"), "--dry-run", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "a.kernel: 20 x 12 (out x in); the file has in-out, named kernel, as Flax does" in text
    assert "a.kernel (20 x 12), bond 2, 2-qubit gates, depth 8: smaller than the layer by 5 %; pays if" in text
    assert not (tmp_path / "out").exists()


def test_the_command_prints_tables_and_verdicts(capsys, tmp_path):
    np.save(tmp_path / "w.npy", np.random.default_rng(1).normal(size=(8, 8)))
    words = ["study", "disentangler", "--weights", str(tmp_path / "w.npy"), "--orientation", "out-in", "--sweeps", "2",
             "--chi", "2", "--depths", "1", "--parts", "layers,shots", "--shots", "100"]  # fmt: skip
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    for part in ("Layer: w.npy", "Shots: w.npy", "Published claims", "report.html"):
        assert part in text
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert config["settings"]["parts"] == ["layers", "shots"] and config["settings"]["layers"] == ["w.npy"]


def test_the_model_of_a_file_is_refused_by_name_and_left_out_of_all(capsys, tmp_path):
    np.save(tmp_path / "w.npy", np.random.default_rng(1).normal(size=(8, 8)))
    words = ["study", "disentangler", "--weights", str(tmp_path / "w.npy"), "--orientation", "out-in", "--dry-run"]
    assert main([*words, "--parts", "layers,depth,bond,shots,model"]) == 2
    assert "Option --parts must not hold 'model' with a file" in capsys.readouterr().err
    assert main([*words, "--parts", "all"]) == 0 == main(words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--parts", "layer"], "Option --parts must hold names of ['layers', 'depth', 'bond', 'shots', 'model']"),
        (["--parts", "model"], "Option --parts must hold 'layers' with 'model'"),
        (["--layers", "block7.up"], "Option --layers must name linear maps of the model, block0.query, "),
        (["--layers", "all,block0.up"], "Option --layers must name linear maps of the model, block0.query, "),
        (["--profile-layer", "block7.up"], "--profile-layer must name linear maps of the model, block0.query, "),
        (["--layers", "block0.up,block0.up"], "Option --layers must name at least one layer and none twice"),
        (["--layers", "block0.up", "--profile-layer", "block0.key"], "Option --profile-layer must be among --layers"),
        (["--chi", "0"], "Option --chi must hold numbers of at least 1"),
        (["--chi", "2,2"], "Option --chi must hold at least one value and none twice"),
        (["--chi", "two"], "Option --chi must be integers separated by commas, but is 'two'"),
        (["--gate-qubits", "wide"], "Option --gate-qubits must be integers or 'register'"),
        (["--bond-chi", "all"], "Option --bond-chi must be integers or 'full'"),
        (["--model-chi", "3"], "Option --model-chi must be among --chi, [2, 8, 16], but holds 3"),
        (["--methods", "implicit"], "Option --methods must hold names of ['explicit', 'gradient']"),
        (["--target", "moving"], "Option --target must be one of ['adaptive', 'fixed']"),
        (["--healing", "all"], "Option --healing must hold names of ['bond', 'circuits']"),
        (["--size", "large"], "Option --size must be one of ['small', 'million']"),
        (["--heads", "5"], "Option --heads must divide --width, 64, but is 5"),
        (["--epochs", "0"], "Option --epochs must be at least 1, but is 0"),
        (["--learning-rate", "nan"], "Option --learning-rate must be a positive number"),
        (["--context", "900000"], "Option --context must be less than the length"),
        (["--key", "w"], "Option --key has an effect only with --weights, but --weights is not given"),
        (["--weights", "missing.npy"], "Option --weights must be a file of weights, but there is none at missing.npy"),
        (["--text", "missing.txt"], "must be a text, but there is none at missing.txt"),
        (["--adapter-block", "5"], "Option --adapter-block must divide the model's width, 64, but is 5"),
        (["--shots", "1"], "Option --shots must hold numbers of at least 2"),
        (["--gate-qubits", "0"], "Option --gate-qubits must hold numbers of at least 1 or 'register', but holds 0"),
        (["--bond-chi", "0"], "Option --bond-chi must hold numbers of at least 1 or 'full', but holds 0"),
        (["--parts", "depth", "--chi", "4"], "Option --chi has an effect only with --parts layers, but --parts is"),
        (["--layers", "block0.qury"], "(did you mean 'block0.query'?)"),
        (["--test-windows", "99999"], "Option --test-windows must be at most the"),
        (["--chi", "999999"], "Option --chi must be at most the"),
        (["--resume"], "Option --resume needs --out"),
    ],
)  # fmt: skip
def test_bad_options_are_one_line(words, message, tmp_path, capsys):
    given = ["study", "disentangler", *words]
    if words != ["--resume"]:
        given += ["--out", str(tmp_path / "out")]
    assert main(given) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_files_that_are_no_inputs(tmp_path, capsys):
    np.save(tmp_path / "w.npy", np.ones((4, 4)))
    (tmp_path / "x.npy").write_bytes(b"none")
    words = ["study", "disentangler", "--weights", str(tmp_path / "w.npy"), "--orientation", "out-in"]
    assert main([*words, "--inputs", str(tmp_path / "x.npy"), "--out", str(tmp_path / "out")]) == 2
    assert (
        "Option --inputs must be a .npy file of numbers, but x.npy is not: it holds no arrays of NumPy's."
        in capsys.readouterr().err
    )
    assert main([*words, "--layers", "block0.up", "--out", str(tmp_path / "out")]) == 2
    assert "Option --layers has an effect only without --weights, but --weights is given" in capsys.readouterr().err


def test_names_of_circuits_and_register():
    settings = DisentanglerStudySettings(gate_qubits=(2, REGISTER), depths=(2, 4))
    assert settings.circuits() == [(2, 2), (2, 4), (REGISTER, 1)]
