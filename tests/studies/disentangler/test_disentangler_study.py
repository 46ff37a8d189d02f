"""The study `disentangler` of the built-in model: rows against NumPy, healing, resuming, report."""

import json
import shutil
from dataclasses import replace
from importlib.util import find_spec

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.common import files
from qjaxsim.common.progress import Progress
from qjaxsim.datasets.text import load_text
from qjaxsim.models.disentangler.adapter import identity_adapter
from qjaxsim.models.disentangler.config import DisentanglerConfig
from qjaxsim.models.disentangler.layer import disentangle
from qjaxsim.models.disentangler.low_rank import svd_layer
from qjaxsim.studies.disentangler import layer as layers
from qjaxsim.studies.disentangler.columns import COLUMNS
from qjaxsim.studies.disentangler.healing import AdaptedLayer, DenseLayer, heal, healing_of
from qjaxsim.studies.disentangler.model import TextEvaluation, corpus_of, params_as_arrays, params_from_arrays
from qjaxsim.studies.disentangler.rebuild import all_rebuilt, rebuilt_row
from qjaxsim.studies.disentangler.settings import FULL, REGISTER, DisentanglerStudySettings
from qjaxsim.studies.disentangler.study import STUDY
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.study import run_study
from tests.cases import assert_compares_with_itself, mostly_slow, one, rows_where, run_lines_of_page

pytestmark = pytest.mark.thorough

SMALL = DisentanglerStudySettings(
    layers=("block0.value", "block0.up"), chi=(1, 2), depths=(2,), sweeps=4, profile_gate_qubits=(2, REGISTER),
    profile_depths=(1,), bond_chi=(1, FULL), model_chi=(2,), heal_updates=4, batch_size=4,
    width=8, n_blocks=1, n_heads=2, context=16, epochs=1, test_windows=20, balanced_sites=2, shots=(1_000,),
    healing=("bond",),
)  # fmt: skip


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    rng = np.random.default_rng(0)
    words = ["one ", "two ", "three ", "four ", "five\n\n"]
    path = tmp_path_factory.mktemp("text") / "t.txt"
    path.write_text("".join(words[i] for i in rng.integers(0, 5, 1500)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def study(tmp_path_factory, text):
    out = tmp_path_factory.mktemp("study") / "out"
    return out, run_study(STUDY, SMALL, out, text=text).rows


@pytest.fixture(scope="module")
def evaluation(study, text):
    """The trained model, rebuilt from the folder."""
    corpus = corpus_of(load_text(text), 16, 20)
    model = SMALL.model(len(corpus.text.characters))
    return TextEvaluation(model, params_from_arrays(sweep.read_arrays(study[0], "s1-train")), corpus), corpus


def test_counts_and_errors_are_those_of_numpy(study, evaluation):
    rows, (trained, _) = study[1], evaluation
    for layer in SMALL.layers:
        weight = np.asarray(trained.model.weight(trained.params, layer), np.float64)
        values = np.linalg.svd(weight, compute_uv=False)
        qubits = [int(np.log2(side)) for side in weight.shape]
        # Two layers of two-qubit gates: an even and an odd one on each side.
        angles = sum(6 * (n // 2 + (n - 1) // 2) for n in qubits)
        for chi in SMALL.chi:
            own = one(rows, part="layers", layer=layer, source="trained", method="explicit", chi=chi)
            assert own["circuit"] == angles and own["total"] == own["classical"] + angles
            assert (
                own["classical"]
                == one(rows, part="layers", layer=layer, source="trained", method="mpo", chi=chi)["total"]
            )
            assert own["dense"] == weight.size and own["size"] == own["total"] / weight.size
            assert own["break_even_dense"] == pytest.approx((weight.size - own["classical"]) / angles)
            for method, counted in (("svd-total", "total"), ("svd-classical", "classical")):
                svd = one(rows, part="layers", layer=layer, source="trained", method=method, chi=chi)
                if own[counted] >= weight.size:
                    assert svd["error"] == 0 and svd["total"] == weight.size
                    continue
                rank = own[counted] // sum(weight.shape)
                assert svd["rank"] == rank and svd["total"] == rank * sum(weight.shape) <= own[counted]
                tail = np.sqrt((values[rank:] ** 2).sum() / (values**2).sum())
                assert svd["error"] == pytest.approx(tail, abs=1e-6)
            least = one(rows, part="layers", layer=layer, source="trained", method="svd-minimal", chi=chi)
            rank = least["rank"]
            assert least["total"] in (rank * (sum(weight.shape) - rank), weight.size)
            assert least["error"] <= one(
                rows, part="layers", layer=layer, source="trained", method="svd-total", chi=chi
            )["error"] + 1e-6  # fmt: skip
    assert all(row["total"] <= row["dense"] for row in rows if row["method"].startswith("svd") and row["chi"] == 1)


def test_an_operator_on_disk_is_the_one_of_its_row(study, evaluation):
    out, rows = study
    trained, _ = evaluation
    for layer in SMALL.layers:
        shape = trained.model.shape_of(layer)
        weight = np.asarray(trained.model.weight(trained.params, layer))
        config = layers.config_of(SMALL, shape, "explicit", 2, (2, 2), 1)
        arrays = sweep.read_arrays(out, f"s1-layers-{layer}-trained-explicit-k2-d2")
        operator = layers.operator_from(arrays, "chi2", shape, config)
        row = one(rows, part="layers", layer=layer, source="trained", method="explicit", chi=2)
        distance = np.linalg.norm(weight - np.asarray(operator.to_dense())) / np.linalg.norm(weight)
        assert distance == pytest.approx(row["error"], rel=1e-4)
        assert (operator.n_classical, operator.n_circuit) == (row["classical"], row["circuit"])
        assert trained.score({layer: operator.to_dense()})["perplexity"] == pytest.approx(row["perplexity"], rel=1e-5)


def test_trained_models_come_out_of_the_folder(study, evaluation, text, tmp_path):
    out, rows = study
    trained, corpus = evaluation
    run = qj.load_run(out)
    assert "s1-train" in run and not any(key.endswith("plain") or "-model-" in key for key in run)
    found = run.cell("s1-train", text=text)
    x, y = corpus.test
    hits = (found.predict(x) == y).mean()
    assert hits == pytest.approx(one(rows, method="original")["accuracy"], abs=1e-6)
    # A string goes on by the likeliest character each time.
    codes, words = corpus.text.encode("one two "), ""
    for _ in range(3):
        logits = trained.model.outputs(trained.params, jnp.asarray(codes[None]))
        codes = np.append(codes, np.asarray(logits)[0, -1].argmax())
        words += corpus.text.characters[codes[-1]]
    assert found.predict("one two ", length=3) == words
    assert run_lines_of_page(out / "report.html") == run["s1-train"].predict(corpus.text.characters[0]) + "\n"
    np.testing.assert_array_equal(found.train[0], corpus.train[0])
    loss = float(found.loss(found.params, *(part[:20] for part in found.train)))
    assert 0 < loss < np.log(len(corpus.text.characters))
    with pytest.raises(ValueError, match="`text` must be the text that the model learned .* but pydoc_data.topics"):
        _ = run["s1-train"].train
    for wrong, message in (
        ("one §", "`x` must hold characters that the model knows, but '§' is none"),
        ("", "`x` must hold at least one character, but is empty"),
        (np.zeros((1, 17), int), r"string or integer codes \(B, L\) of L up to 16, but is int64 of shape \(1, 17\)"),
        (np.full((1, 2), 99), "`x` must hold codes from 0 to .*, but goes to 99"),
    ):
        with pytest.raises(ValueError, match=message):
            found.predict(wrong)


def test_disentangled_layers_come_out_of_the_folder(study, evaluation):
    out, rows = study
    trained, _ = evaluation
    run, key = qj.load_run(out), "s1-layers-block0.value-trained-explicit-k2-d2"
    weight = np.asarray(trained.model.weight(trained.params, "block0.value"))
    for chi in (1, 2):
        found = run.cell(key, chi=chi)
        row = one(rows, part="layers", layer="block0.value", source="trained", method="explicit", chi=chi)
        applied = found.predict(np.eye(8)).T
        assert np.linalg.norm(weight - applied) / np.linalg.norm(weight) == pytest.approx(row["error"], rel=1e-4)
        assert found.model.chi == chi == run.cell(key, chi=chi).params.mpo.cores[0].shape[-1]
    # The layer is u times the operator times v reversed.
    u, v = (np.asarray(qj.unitary(found.circuits()[name].circuit)({})) for name in ("u", "v"))
    np.testing.assert_allclose(u @ np.asarray(found.params.mpo.to_dense()) @ v.T, applied, atol=1e-5)
    (wide,) = (key for key in run if "-bond-block0.value-trained" in key)
    np.testing.assert_allclose(run[wide].predict(np.eye(8)).T, weight, atol=1e-5)
    for choices, message in (
        ({"chi": 3}, r"`chi` must be one of \[1, 2\], the bonds of .*, but is 3"),
        ({"chi": True}, r"`chi` must be one of \[1, 2\], the bonds of .*, but is True"),
        ({"text": "x.txt"}, "`text` must be left out for"),
    ):
        with pytest.raises(ValueError, match=message):
            run.cell(key, **choices)
    with pytest.raises(ValueError, match="`chi` must be left out for 's1-train', which holds no layer"):
        run.cell("s1-train", chi=1)
    with pytest.raises(ValueError, match=r"`x` must have shape \(..., 8\), but has \(7,\)"):
        found.predict(np.ones(7))
    with pytest.raises(ValueError, match="`x` must be left out for circuits of a layer"):
        found.circuits(np.ones(8))
    for name in ("loss", "train"):
        with pytest.raises(NotImplementedError, match="optimised by sweeps .* not trained on examples"):
            getattr(found, name)


def test_circuits_of_a_disentangled_layer_go_to_qiskit(study):
    pytest.importorskip("qiskit", reason="needs the qiskit extra")
    from qiskit.quantum_info import Operator
    from qjaxsim_qiskit import to_qiskit

    found = qj.load_run(study[0])["s1-layers-block0.value-trained-explicit-k2-d2"]
    for circuit, params in found.circuits().values():
        theirs = Operator(to_qiskit(circuit, params)).reverse_qargs().data
        np.testing.assert_allclose(theirs, qj.unitary(circuit)(params), atol=1e-6)


def test_a_run_is_listed_and_compared(study, tmp_path):
    assert_compares_with_itself(study[0], tmp_path / "copy", "perplexity")


def test_a_folder_without_characters_takes_codes_and_says_what_is_missing(study, text, tmp_path):
    out, key = tmp_path / "old", "s1-train"
    shutil.copytree(study[0], out)
    arrays = sweep.read_arrays(out, key)
    characters = "".join(map(chr, arrays.pop("alphabet")))
    files.write_npz(sweep.cell_folder(out, key) / "arrays.npz", arrays)
    run = qj.load_run(out)
    assert run[key].predict(np.zeros((1, 3), int)).shape == (1, 3)
    with pytest.raises(ValueError, match="`text` must be the text that the model learned"):
        run[key].predict("one")
    assert run.cell(key, text=text).characters == characters


def test_trivial_replacements(study):
    rows = study[1]
    original = one(rows, method="original")
    assert original["perplexity_change"] == 0 and original["perplexity"] < 15
    dense = one(rows, part="model", method="dense", layer="2 layers")
    assert dense["perplexity"] == pytest.approx(original["perplexity"], rel=1e-6) and dense["size"] == 1
    assert dense["model_parameters"] == original["model_parameters"]
    for row in rows_where(rows, part="layers", method="zero"):
        assert row["error"] == 1 and row["total"] == 0 and row.get("activation_error", 1.0) == pytest.approx(1.0)
    assert "perplexity_bond" not in one(rows, part="model", method="zero")
    # The full bond is the layer, through circuits or not: 4 on the three sites of 8 x 8.
    for method in ("mpo", "explicit"):
        full = rows_where(rows, part="bond", method=method, chi=4)
        assert len(full) == 2 and all(row["error"] < 1e-5 for row in full)


@pytest.mark.slow
def test_one_layer_replaced_is_that_layer_alone(study, evaluation):
    out, rows = study
    settings = replace(SMALL, scopes=("one",)).resolved(evaluation[0].model.n_characters)
    ways = {way.name: way for way in all_rebuilt(settings)}
    assert {"one-dense", "one-mpo-chi2", "one-explicit-chi2-k2-d2", "one-svd-total-chi2-k2-d2"} <= set(ways)

    def key(layer, method, circuit):
        return f"s1-layers-{layer}-trained-{method}-k{circuit[0]}-d{circuit[1]}"

    for name, method, chi in (("one-zero", "zero", None), ("one-explicit-chi2-k2-d2", "explicit", 2)):
        turning = replace(settings, healing=("circuits",))
        row = rebuilt_row(turning, evaluation[0], ways[name], 1, key, out, Progress())
        assert ("perplexity_circuits" in row) == (method == "explicit") and "perplexity_bond" not in row
        alone = [row for row in rows_where(rows, part="layers", method=method, layer="block0.value", source="trained")
                 if row.get("chi") == chi]  # fmt: skip
        assert row["layer"] == "block0.value" and row["total"] == alone[0]["total"]
        assert row["perplexity"] == pytest.approx(alone[0]["perplexity"], rel=1e-5)


def test_parts_have_their_rows(study):
    rows = study[1]
    assert set().union(*rows) <= set(COLUMNS)
    depth = [row for row in rows if row["part"] == "depth"]
    assert len(depth) == 2 * 2
    assert all(row["merit"] <= row["bound"] + 1e-6 for row in depth)
    wide = [row for row in depth if row["register"]]
    assert {row["gate_qubits"] for row in wide} == {3} and {row["depth"] for row in wide} == {1}
    noise = one(rows, part="layers", source="noise", layer="block0.up", method="explicit", chi=1)
    assert "perplexity" not in noise and "activation_error" not in noise
    healed = one(rows, part="model", layer="2 layers", method="explicit")
    assert {"perplexity_bond", "accuracy_bond"} <= set(healed) and "perplexity_circuits" not in healed
    parts = [one(rows, part="layers", layer=n, source="trained", method="explicit", chi=2) for n in SMALL.layers]
    assert healed["total"] == sum(row["total"] for row in parts)
    original = one(rows, method="original")["model_parameters"]
    assert healed["model_parameters"] == original - healed["dense"] + healed["total"]
    svd = one(rows, part="model", layer="2 layers", method="svd-total")
    assert "perplexity_bond" in svd


def test_circuits_on_a_quantum_computer(study, evaluation):
    rows = study[1]
    if find_spec("qiskit") is not None:
        own = one(rows, part="layers", layer="block0.value", source="trained", method="explicit", chi=2)
        # Six angles and at most two CNOTs a rotation of two qubits.
        assert 0 < own["cnots"] <= 2 * own["circuit"] / 6 and own["unitary_deviation"] < 1e-5
        assert 0 < own["cnot_depth"] <= own["cnots"]
    assert all(row.get("cnots") is None for row in rows if row["layer"] == "block0.up" or row["source"] == "noise")
    shots = one(rows, part="shots", layer="block0.value", source="trained", chi=2)
    assert shots["method"] == "explicit"
    # Two readouts of eight amplitudes, each with a mean square of 8 / (2 shots), and wrong signs of small ones.
    assert 0.3 < shots["shot_error"] / np.sqrt(2 * 8 / (2 * 1000)) < 3


def test_adapters_are_counted_and_trained(study, evaluation):
    rows, original = study[1], one(study[1], method="original")
    for method, angles in (("adapter-cayley", 60), ("adapter-triangular", 0)):
        row = one(rows, part="model", method=method)
        # Blocks of four: 8 * 3 / 2 and 32 * 3 / 2 numbers.
        assert row["circuit"] == angles and row["total"] - row["dense"] == 60
        assert row["perplexity"] == pytest.approx(original["perplexity"], rel=1e-6) and row["perplexity_bond"] > 0
    weight = jnp.asarray(np.random.default_rng(1).normal(size=(8, 5)))
    adapted = AdaptedLayer(weight, identity_adapter("cayley", 8, 4, np.float64))
    healing = healing_of(adapted, "bond")
    np.testing.assert_allclose(healing.matrix(healing.start), weight)
    turned = healing.rebuild(replace(adapted.adapter, lower=jnp.ones_like(adapted.adapter.lower)))
    x = jnp.asarray(np.random.default_rng(2).normal(size=(3, 5)))
    np.testing.assert_allclose(turned.apply(x), x @ turned.to_dense().T, atol=1e-12)
    values = np.linalg.svd(np.asarray(turned.to_dense()), compute_uv=False)
    np.testing.assert_allclose(values, np.linalg.svd(np.asarray(weight), compute_uv=False), atol=1e-12)
    assert np.abs(np.asarray(turned.to_dense() - weight)).max() > 0.1


def test_folder_and_report(study):
    out, rows = study
    assert json.loads((out / "summary.json").read_text(encoding="utf-8")) == rows
    page = (out / "report.html").read_text(encoding="utf-8")
    for words in (
        "Published claims",
        "Layer block0.up, trained",
        "Overlap and entropy against depth",
        "break even svd",
    ):
        assert words in page
    assert {path.name for path in (out / "figures").glob("*.png")} == {
        "errors.png", "depth.png", "bond.png", "profile.png", "model.png"
    }  # fmt: skip
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))["settings"]
    assert len(config["text_sha256"]) == 64 and config["text_read"] > sum(config["text_used"].values()) / 2
    trained = sweep.read_arrays(out, "s1-train")
    assert trained["block0.up.weight"].shape == (32, 8)


def test_a_study_resumes_to_the_same_rows(study, text):
    out, rows = study
    (sweep.cell_folder(out, "s1-layers-block0.up-trained-explicit-k2-d2") / "result.json").unlink()
    again = run_study(STUDY, SMALL, out, text=text, resume=True).rows
    for before, after in zip(rows, again, strict=True):
        timed = {"seconds"}
        assert {k: v for k, v in before.items() if k not in timed} == {k: v for k, v in after.items() if k not in timed}
    with pytest.raises(ValueError, match="holds a sweep with `seeds`"):
        run_study(STUDY, replace(SMALL, seeds=(2,)), out, text=text, resume=True)


def test_perplexity_is_the_exponential_of_the_mean_over_all_characters(evaluation, monkeypatch):
    trained, corpus = evaluation
    logits = np.asarray(trained.model.outputs(trained.params, corpus.test[0]), np.float64)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    losses = -np.take_along_axis(log_p, corpus.test[1][..., None], -1)
    expected = np.exp(losses.mean()), (logits.argmax(-1) == corpus.test[1]).mean()
    # In parts of unequal size.
    monkeypatch.setattr("qjaxsim.studies.disentangler.model.AT_ONCE", 7)
    found = trained.score({})
    assert found["perplexity"] == pytest.approx(expected[0], rel=1e-5)
    assert found["accuracy"] == pytest.approx(expected[1], abs=1e-6)


def test_activation_errors_are_those_of_outputs(evaluation):
    trained, corpus = evaluation
    x = np.asarray(trained.model.inputs_of(trained.params, corpus.test[0])["block0.up"], np.float64)
    weight = np.asarray(trained.model.weight(trained.params, "block0.up"), np.float64)
    other = np.asarray(svd_layer(weight, 3).to_dense())
    subject = layers.Subject("block0.up", "trained", weight, 1, trained.moments["block0.up"])
    expected = np.linalg.norm(x @ (weight - other).T) / np.linalg.norm(x @ weight.T)
    assert subject.measures(other)["activation_error"] == pytest.approx(expected, rel=1e-4)


def test_params_survive_the_way_through_arrays(evaluation):
    trained, _ = evaluation
    again = params_from_arrays(params_as_arrays(trained.params))
    assert jax.tree.structure(again) == jax.tree.structure(trained.params)
    for ours, theirs in zip(jax.tree.leaves(again), jax.tree.leaves(trained.params), strict=True):
        np.testing.assert_array_equal(ours, theirs)


# --- healing ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def operator():
    weight = np.random.default_rng(2).normal(size=(7, 12)).astype(np.float32)
    return disentangle(weight, DisentanglerConfig(chi=3, gate_qubits=2, layers=3, sweeps=5)).layer


@pytest.mark.parametrize("what", mostly_slow(["bond", "circuits"], keep=1))
def test_healing_starts_at_the_operator(operator, what):
    healing = healing_of(operator, what)
    np.testing.assert_allclose(healing.matrix(healing.start), operator.to_dense(), atol=1e-5)
    np.testing.assert_allclose(healing.rebuild(healing.start).to_dense(), operator.to_dense(), atol=1e-6)
    rng = np.random.default_rng(0)
    moved = jax.tree.map(lambda leaf: leaf + jnp.asarray(0.1 * rng.normal(size=leaf.shape), leaf.dtype), healing.start)
    rebuilt = healing.rebuild(moved)
    np.testing.assert_allclose(healing.matrix(moved), rebuilt.to_dense(), atol=1e-5)
    assert np.abs(np.asarray(rebuilt.to_dense() - operator.to_dense())).max() > 1e-2
    for side in ("u", "v"):
        for old, new in zip(getattr(operator, side), getattr(rebuilt, side), strict=True):
            if what == "bond":
                np.testing.assert_array_equal(old, new)
            else:
                product = np.asarray(new @ new.swapaxes(-1, -2))
                np.testing.assert_allclose(product, np.broadcast_to(np.eye(4), product.shape), atol=1e-5)
                assert np.abs(np.asarray(new - old)).max() > 1e-2
    # As many numbers move as are counted, gates aside: those have their angles inside square matrices.
    cores = moved if what == "bond" else moved["mpo"]
    assert sum(leaf.size for leaf in jax.tree.leaves(cores)) == operator.n_classical


def test_other_operators_move_as_a_whole():
    low = svd_layer(np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32), 2)
    healing = healing_of(low, "bond")
    assert sum(leaf.size for leaf in jax.tree.leaves(healing.start)) == low.n_params
    np.testing.assert_allclose(healing.matrix(low), low.to_dense())
    dense = DenseLayer(jnp.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(dense.apply(jnp.ones((4, 3))), jnp.ones((4, 3)) @ dense.to_dense().T)


def test_healing_lowers_the_loss_of_what_it_is_trained_on(evaluation):
    trained, corpus = evaluation
    weight = np.asarray(trained.model.weight(trained.params, "block0.up"))
    broken = {"block0.up": svd_layer(weight, 1)}
    settings = replace(SMALL, heal_updates=60, heal_learning_rate=1e-2)
    healed = heal(trained, broken, "bond", settings, 1, Progress())
    on_training = TextEvaluation(trained.model, trained.params, replace(corpus, test=corpus.train))
    before, after = (on_training.score({n: o.to_dense() for n, o in which.items()}) for which in (broken, healed))
    assert after["perplexity"] < 0.99 * before["perplexity"]
    assert healed["block0.up"].n_params == broken["block0.up"].n_params
