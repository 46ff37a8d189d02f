"""The study of the recurrent network end to end: folder, trained networks, figures, command."""

import contextlib
import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import qjaxsim as qj
from qjaxsim.command import main as cli
from qjaxsim.models.qrnn import published_loss, simulate
from qjaxsim.models.qrnn_topology import QrnnTopology, load_params, save_params
from qjaxsim.studies.qrnn.cell import gradient_cell
from qjaxsim.studies.qrnn.cells import runs
from qjaxsim.studies.qrnn.networks import QuantumNetwork
from qjaxsim.studies.qrnn.settings import QrnnSettings
from qjaxsim.studies.qrnn.tasks import make_task
from qjaxsim.studies.shared import sweep
from qjaxsim.training import TrainConfig, fit
from tests.cases import assert_compares_with_itself, mostly_slow, run_lines_of_page

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The command of a small study, its folder and what it printed."""
    out = tmp_path_factory.mktemp("study") / "run"
    command = ["study", "qrnn", "--task", "xor", "--experiments", "hessian,neuron", "--out", str(out)]
    command += ["--workspace", "2", "--degree", "1", "--seeds", "0,3", "--batch-size", "4", "--updates", "10"]
    command += ["--lengths", "6"]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert cli.main(command) == 0
    return command, out, printed.getvalue()


def test_trained_networks_come_out_of_the_folder(finished):
    _, out, _ = finished
    run = qj.load_run(out)
    (key,) = run
    arrays = sweep.read_arrays(out, key)
    for seed, place in ((None, 0), (3, 1)):
        found = run.cell(key, seed=seed)
        assert found.seed == (0, 3)[place] and found.model == QuantumNetwork(
            QrnnTopology(2, 2, 1, 1), (0.1, 0.01, 0.01)
        )
        x, targets = found.train
        assert x.shape == targets.shape == (512, 6)
        # Lanes set to the targets where the task says so, here everywhere but at the words that are asked for.
        params = {name: arrays[f"params_{name}"][place] for name in found.params}
        first = simulate(found.model.topology, params, x[:4, :2], targets[:4, 1:3])
        np.testing.assert_array_equal(found.predict(x[:4], targets[:4])[:, :2], first.probabilities.argmax(axis=2))
        # Without targets each lane is set to the most probable word.
        free = simulate(found.model.topology, params, x[:4, :-1], choice="argmax")
        np.testing.assert_array_equal(found.predict(x[:4]), free.words)
    assert run_lines_of_page(out / "report.html") == f"{run.cell().predict(run.cell().train[0][:2])}\n"
    more = fit(
        found.loss, found.params, x[:64], targets[:64], TrainConfig(epochs=3, learning_rate=0.05), progress=False
    )
    assert more.history[more.best_epoch]["train_loss"] < more.history[0]["train_loss"]


def test_a_run_is_listed_and_compared(finished, tmp_path):
    assert_compares_with_itself(finished[1], tmp_path / "copy", "accuracy_argmax")


def test_neurons_go_to_qiskit(finished):
    pytest.importorskip("qiskit", reason="needs the qiskit extra")
    from qiskit.quantum_info import Statevector
    from qjaxsim_qiskit import to_qiskit

    found = qj.load_run(finished[1]).cell()
    circuits = found.circuits()
    assert list(circuits) == ["input0", "input1", "output0", "output1", "work0.0", "work0.1"]
    circuit, params = circuits["work0.1"]
    np.testing.assert_array_equal(params["numbers"], found.params["work"][0, 1])
    ours = np.asarray(qj.statevector(circuit)(params)).reshape((2,) * circuit.n_qubits)
    theirs = Statevector(to_qiskit(circuit, params)).data.reshape((2,) * circuit.n_qubits)
    np.testing.assert_allclose(ours, theirs.transpose(), atol=1e-5)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"x": [[0, 1, 4]]}, "`x` must hold words from 0 to 3, but goes from 0 to 4"),
        ({"x": [0, 1, 1]}, r"`x` must hold integers \(B, L\) of L at least 2, but is int64 of shape \(3,\)"),
        ({"x": [[0.0, 1.0]]}, "`x` must hold integers .* but is float64"),
        ({"x": np.ma.array([[0, 1, 1]], mask=[[0, 0, 1]])}, "`x` must be whole, but is a masked array"),
        ({"x": [[0, 1, 1]], "targets": [[2, 2, 1]]}, r"must have one shape \(B, 6\), .* \(1, 3\) and \(1, 3\)"),
    ],
)
def test_bad_sequences(finished, choice, message):
    with pytest.raises((ValueError, TypeError), match=message):
        qj.load_run(finished[1]).cell().predict(**choice)


def test_choices_that_a_network_does_not_have(finished):
    run = qj.load_run(finished[1])
    for seed in (1, False):  # which Python takes for 0
        with pytest.raises(ValueError, match=rf"`seed` must be one of \[0, 3\], but is {seed}"):
            run.cell(seed=seed)
    with pytest.raises(
        TypeError, match=r"`seeds` is none of the choices \['seed', 'data_dir'\] .* \(did you mean 'seed'"
    ):
        run.cell(seeds=3)
    with pytest.raises(ValueError, match="`x` must be left out for neurons, which have no data"):
        run.cell().circuits([[0, 1]])
    with pytest.raises(ValueError, match="'neuron-xor.*' keeps no trained model"):
        run[run.cells[-1]]


def test_a_small_study_from_the_command_line_and_resumed(finished, capsys):
    command, out, shown = finished
    assert "Recurrent quantum network: xor" in shown and "results in" in shown and "claims" not in shown
    rows = json.loads((out / "summary.json").read_text())
    assert [row["experiment"] for row in rows] == ["hessian", "neuron"]
    assert all(json.loads((out / "columns.json").read_text()).values())
    assert {path.name for path in (out / "figures").iterdir()} == {"curves.png", "overhead.png", "spectrum.png"}
    assert "postselection" in (out / "report.html").read_text()
    trained, neuron = rows[0], rows[-1]
    arrays = sweep.read_arrays(out, trained["cell"])
    values = arrays["eigenvalues"]
    assert len(values) == trained["parameters"] and trained["lambda_max"] == values[-1] > 0
    assert trained["trace"] == pytest.approx(values.sum())
    failures = [neuron[f"failure_amplified_{k}"] for k in range(3)]
    assert failures[0] == pytest.approx(1 - neuron["success_postselected"], abs=1e-5) and failures[2] < failures[0] ** 4
    assert neuron["branch_shift_amplified_2"] < 0.3 * neuron["branch_shift_postselected"]
    # Trained parameters can be saved for others.
    topology = QrnnTopology(2, 2, 1, 1)
    path = save_params(out / "weights.npz", topology, {n: arrays[f"params_{n}"][0] for n in topology.shapes})
    assert load_params(path)[0] == topology
    before = (out / "summary.json").read_text()
    assert cli.main([*command, "--resume"]) == 0
    assert (out / "summary.json").read_text() == before
    capsys.readouterr()
    assert cli.main([*command[:-1], "8", "--resume"]) == 2
    assert "resume with the same settings" in capsys.readouterr().err


@pytest.mark.parametrize("network", mostly_slow(["qrnn", "lstm"], keep=1))
def test_gradient_norms_are_of_the_last_word_and_split_at_half_of_the_sequence(network):
    """The whole norm is that of the plain loss; the early part is what the first half's parameters change."""
    sizes = {"lengths": (6,), "seeds": (3,), "batch_size": 4, "workspace": 2, "stages": 0, "degree": 1}
    base = runs(QrnnSettings(task="dna", experiments=("gradients",), **sizes).resolved())
    run, task = next(run for run in base if run.key.startswith(f"gradients-dna-L6-{network}")), make_task("dna", 6)
    result = gradient_cell(run, task)
    root = jax.random.key(3)
    params = run.network.init(jax.random.fold_in(root, 0), jnp.float32)
    inputs, targets = task.draw({}, jax.random.fold_in(root, 1), 4)

    def loss(params):
        if network == "qrnn":
            return run.network.training_loss(params, task, inputs, targets)[0]
        p = jnp.exp(run.network.log_probabilities(params, inputs))[:, -1:]
        return published_loss(p, targets[:, -1:])

    whole = jax.jit(jax.grad(loss))(params)
    np.testing.assert_allclose(result.row["gradient_norm"], np.linalg.norm(ravel_pytree(whole)[0]), rtol=1e-4)
    assert result.arrays["gradient_norms"].shape == (1,)
    # Along the early gradient the loss changes by its norm, when only the first half's parameters move.
    early = result.row["gradient_norm_early"]
    slope = jax.jit(jax.grad(lambda e: run.network.last_loss(e, params, inputs, targets)))(params)
    np.testing.assert_allclose(early, np.linalg.norm(ravel_pytree(slope)[0]), rtol=1e-4)
    exact = {name: value.astype(jnp.float64) for name, value in params.items()}
    ahead, behind = ({name: exact[name] + sign * 1e-4 / early * slope[name].astype(jnp.float64) for name in exact}
                     for sign in (1, -1))  # fmt: skip
    last = jax.jit(run.network.last_loss)
    change = last(ahead, exact, inputs, targets) - last(behind, exact, inputs, targets)
    np.testing.assert_allclose(change, 2e-4 * early, rtol=1e-3)
    assert 0 < early < result.row["gradient_norm"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "quotes"], "Option --task must be one of"),
        (["--resume"], "Option --resume needs --out"),
        (["--seeds", "a"], "Option --seeds must be integers"),
        (["--updates", "7"], "Option --updates must be a multiple of 10"),
        (["--workspace", "0"], "Option --workspace must be at least 1"),
    ],
)
def test_bad_input_is_one_line(options, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["study", "qrnn", *options]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not list(tmp_path.iterdir())
