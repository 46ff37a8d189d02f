"""Paths as text: none is empty, which Python would take for the folder where it runs, and ~ is the home folder."""

import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim import datasets
from qjaxsim.curvature import SpectrumReport, class_decomposition, spectrum_report, split_hessian
from qjaxsim.datasets.encoder import open_encoder
from qjaxsim.datasets.table import load_table
from qjaxsim.datasets.text import load_text
from qjaxsim.datasets.weights import load_matrix
from qjaxsim.learning import QuantumClassifier
from qjaxsim.models.losses import cross_entropy
from qjaxsim.models.qrnn_topology import load_params
from qjaxsim.studies.shared.sweep import run_sweep
from qjaxsim.training import TrainConfig, fit

W, X, Y = jnp.ones((2, 3)), np.ones((4, 2)), np.array([0, 1, 2, 0])


def outputs(w, x):
    return x @ w


def loss(w, x, y):
    return cross_entropy(outputs(w, x), y).mean()


def from_qpy(path):
    return pytest.importorskip("qjaxsim_qiskit").from_qpy(path)


def to_qpy(path):
    return pytest.importorskip("qjaxsim_qiskit").to_qpy(qj.Circuit(3).h(0), path)


def read_problem(path):
    return pytest.importorskip("qjaxsim_dimod").read_problem(path)


USES = [
    ("folder", lambda path: fit(loss, W, X, Y, TrainConfig(epochs=1, batch_size=2), folder=path, progress=False)),
    ("folder", lambda path: QuantumClassifier(epochs=1, folder=path).fit(X + np.arange(8).reshape(4, 2), Y)),
    ("checkpoint", lambda path: split_hessian(outputs, cross_entropy, W, X, Y, checkpoint=path)),
    ("checkpoint", lambda path: class_decomposition(outputs, W, X, Y, checkpoint=path)),
    ("checkpoint", lambda path: spectrum_report(lambda w: (w**2).sum(), W, checkpoint=path, progress=False)),
    ("path", SpectrumReport.load),
    ("data_dir", lambda path: datasets.load("digits", data_dir=path)),
    ("idx_dir", lambda path: datasets.prepare("mnist", idx_dir=path, data_dir="none")),
    ("path", load_text),
    ("path", lambda path: load_table(path, "kind")),
    ("path", load_matrix),
    ("path", open_encoder),
    ("path", load_params),
    ("folder", qj.load_run),
    ("out", lambda path: run_sweep("mine", {}, [], lambda cell, folder: None, path, columns={})),
    ("path", from_qpy),
    ("path", to_qpy),
    ("path", read_problem),
]


@pytest.mark.parametrize(("name", "use"), USES)
def test_an_empty_path_is_refused(tmp_path, monkeypatch, name, use):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"Argument `{name}` must name a file or a folder, but is empty; '.' is"):
        use("")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "use"), USES)
def test_a_leading_tilde_is_the_home_folder(tmp_path, monkeypatch, name, use):
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    try:
        use("~/mine")
    except (OSError, ValueError) as error:  # there is nothing to be read
        assert str(home / "mine") in str(error)
    else:
        assert (home / "mine").exists() or name == "data_dir"  # of the built-in digits
    assert not (here / "~").exists()
