"""Settings, cells, and what rows are worth: published numbers, claims, figures."""

import json
import math

import numpy as np
import pytest
import qjaxsim_data

from qjaxsim.models.qrnn_topology import QrnnTopology
from qjaxsim.report.verdict import HOLDS, NOT_SEEN, NOT_TESTED, RESERVATION
from qjaxsim.studies.qrnn.cells import runs
from qjaxsim.studies.qrnn.claims import claims
from qjaxsim.studies.qrnn.figures import balanced, write_figures
from qjaxsim.studies.qrnn.published import comparison_rows
from qjaxsim.studies.qrnn.settings import DEFAULTS, QrnnSettings


def test_defaults_have_the_published_parameter_counts():
    for task, parameters in (("memorise", 1162), ("xor", 264), ("letters", 789), ("dna", 837), ("mnist", 1212)):
        (first, *_) = runs(QrnnSettings(task=task).resolved())
        assert first.network.n_parameters == parameters and first.length == DEFAULTS[task].lengths[0]


def test_the_learning_rate_falls_with_the_length_without_the_leak_unless_it_is_given():
    rates = {(run.task, run.length): run.learning_rate for run in runs(QrnnSettings(task="dna").resolved())}
    assert {rates["dna", length] for length in (10, 50, 200, 1000)} == {0.01}
    assert rates["dna-clean", 10] == 0.003 and rates["dna-clean", 200] == 0.04 / 200
    given = runs(QrnnSettings(task="dna", learning_rate=0.02).resolved())
    assert {run.learning_rate for run in given} == {0.02}


def test_every_experiment_has_cells_with_keys_of_their_own():
    for task, names in (
        ("memorise", ("training", "optimizers", "hessian", "neuron")),
        ("xor", ("initial", "topology")),
        ("dna", ("training", "baselines", "gradients")),
    ):
        found = runs(QrnnSettings(task=task, experiments=names).resolved())
        assert {run.experiment for run in found} == set(names)
        assert len({run.key.casefold() for run in found}) == len(found)
        json.dumps([run.settings for run in found])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "quotes"}, "`task` must be one of"),
        ({"experiments": ("train",)}, "`experiments` must hold names of .* but holds 'train'"),
        ({"experiments": ()}, "`experiments` must hold at least one value"),
        ({"optimizer": "adagrad"}, "`optimizer` must be one of"),
        ({"seeds": (1, 1)}, "`seeds` must hold at least one value and none twice"),
        ({"seeds": (-1,)}, "`seeds` must hold numbers of at least 0"),
        ({"learning_rate": 0.0}, "`learning_rate` must be a positive number"),
    ],
)
def test_bad_settings(change, message):
    with pytest.raises(ValueError, match=message):
        QrnnSettings(**change)


def test_published_numbers_agree_with_the_formula_and_each_other():
    paper = qjaxsim_data.load("qrnn")
    for row in paper["parameter_counts"]:
        sizes = {name: row[name] for name in ("width", "workspace", "stages", "degree")}
        assert QrnnTopology(**sizes).n_parameters == row["parameters"]
    lengths = {p["length"] for p in paper["dna_updates"] if p["network"] == "qrnn"}
    assert lengths == {p["length"] for p in paper["dna_updates"] if p["network"] == "lstm"}
    assert min(paper["xor_by_bias"], key=lambda p: p["updates"])["bias"] == pytest.approx(math.pi / 2)
    cells = [p["updates"] for p in paper["letters_cells"]]
    assert cells == sorted(cells) and set(paper["units"]) >= {"loss", "accuracy", "updates"}


def dna_row(task, length, **change):
    return {
        "experiment": "training", "task": task, "length": length, "network": "qrnn", "workspace": 5, "stages": 1,
        "degree": 3, "seeds": 2, "batch_size": 128, "updates": 100.0, "updates_mean": 100.0, "reached": 1.0,
        "threshold": 1e-3, "accuracy_blanked_inputs": 1.0, "accuracy_all_sampled": 0.2, "overhead_peak": 9.0, **change,
    }  # fmt: skip


def test_claims_on_memory_depend_on_the_leak_and_on_the_clean_task():
    leaky = [dna_row("dna", 10), dna_row("dna", 50)]
    clean = {"accuracy_blanked_inputs": 0.25, "accuracy_all_sampled": 0.9}
    flat, memory = claims(leaky)
    assert flat.verdict == HOLDS and memory.verdict == NOT_SEEN and "inputs blanked" in memory.evidence
    assert claims([*leaky, dna_row("dna-clean", 10, accuracy_argmax=0.5)])[1].verdict == NOT_SEEN
    some = claims(
        [*leaky, dna_row("dna-clean", 10, accuracy_argmax=0.99), dna_row("dna-clean", 50, accuracy_argmax=0.3)]
    )
    assert some[1].verdict == RESERVATION
    assert "L 10: 99% after 100 updates, L 50: 30% after 100 updates with words" in some[1].evidence
    assert "at most 20% with all sampled" in some[1].evidence
    honest = [dna_row("dna", 10, **clean), dna_row("dna-clean", 10, accuracy_argmax=0.95)]
    assert claims(honest)[1].verdict == HOLDS
    # One length at which the answer comes in by the projections is enough, as where training failed at the other.
    for rows in (honest + leaky[1:], leaky[1:] + honest):
        found = claims(rows)[1]
        assert found.verdict == RESERVATION and "up to 100% with all inputs blanked and at most 90%" in found.evidence
    # A network that has learned nothing does not remember, though its inputs matter.
    nothing = claims([dna_row("dna", 10, **clean), dna_row("dna-clean", 10, accuracy_argmax=0.25)])[1]
    assert nothing.verdict == NOT_SEEN and "projections" not in nothing.evidence
    assert claims([dna_row("dna", 10, **clean)])[1].verdict == NOT_TESTED
    assert claims([dna_row("dna", 10), dna_row("dna", 50, updates=500.0)])[0].verdict == RESERVATION
    assert claims([dna_row("dna", 10), dna_row("dna", 50, reached=0.5)])[0].verdict == NOT_SEEN
    unstopped = claims([dna_row("dna", length, threshold=0.0, reached=0.0) for length in (10, 50)])[0]
    assert unstopped.verdict == NOT_TESTED and "--threshold above 0" in unstopped.evidence
    assert claims(leaky[:1])[0].verdict == claims(leaky[1:])[0].verdict == NOT_TESTED  # growth needs two lengths


def test_what_holds_by_a_single_seed_has_a_reservation():
    clean = {"accuracy_blanked_inputs": 0.25, "accuracy_argmax": 0.95}
    rows = [dna_row("dna", 10, **clean), dna_row("dna", 50, **clean), dna_row("dna-clean", 10, **clean)]
    rows += [dna_row("xor", 36, updates=160.0)]
    assert {each.verdict for each in claims(rows)} == {HOLDS}
    for each in claims([{**row, "seeds": 1} for row in rows]):
        assert each.verdict == RESERVATION and each.evidence.endswith("; a single seed")
    (unstopped,) = claims([{**rows[-1], "threshold": 0.0, "reached": 0.0}])
    assert unstopped.verdict == NOT_TESTED and "--threshold above 0" in unstopped.evidence
    assert "all of 1 seed (100%)" in claims([{**rows[-1], "seeds": 1}])[0].evidence
    # The column is a median over seeds, which some of them exceed.
    assert "a postselection overhead that peaks at 9 (median)" in claims(rows[-1:])[0].evidence


def test_comparison_takes_the_published_value_of_the_same_setting():
    found = {row["quantity"]: row for row in comparison_rows([dna_row("dna", 10)])}
    updates = found["updates, dna, L 10, qrnn, W 5 S 1 d 3"]
    assert updates["published"] == 80 and updates["difference"] == 20.0 and updates["comparable"] is True
    blanked = found["accuracy_blanked_inputs, dna, L 10"]
    assert blanked["published"] == 1.0 and blanked["difference"] is None and "batch 32" in blanked["comparable"]
    assert comparison_rows([dna_row("dna-clean", 10)]) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"threshold": 0.5}, "threshold 0.5 against 0.001"),
        ({"batch_size": 4}, "batch size 4 against 128"),
        ({"learning_rate": 0.1, "optimizer": "sgd"}, "optimizer sgd against adam; learning rate 0.1 against 0.01"),
        ({"stages": 3}, "stages 3 against 1"),
    ],
)
def test_updates_of_another_setting_are_not_compared(change, reason):
    # Of the publication: W 5, S 1, d 3, Adam at 0.01, batches of 128, until a loss of 1e-3.
    (updates, *_) = comparison_rows([dna_row("dna", 10, **change)])
    assert updates["comparable"] == reason and updates["difference"] is None


def test_optimisers_are_compared_on_the_published_task():
    # Figure 6: 500 updates of memorise, sequences of 20 words, both in one batch, W 5, S 2, d 3.
    alike = dna_row(
        "memorise", 20, experiment="optimizers", optimizer="adam", learning_rate=0.05, updates=500.0, batch_size=2,
        stages=2, validation_loss=4e-5,
    )  # fmt: skip
    (row,) = comparison_rows([alike])
    assert row["comparable"] is True and row["difference"] == pytest.approx(-1e-5)
    (row,) = comparison_rows([{**alike, "task": "xor", "length": 36, "workspace": 4}])
    assert row["comparable"] == "task xor against memorise; length 36 against 20; workspace 4 against 5"


def grid_row(bias, spread_phi, updates, reached=1.0):
    more = {"spread_theta": 0.1, "spread_phi": spread_phi, "spread_rotation": 0.01}
    return dna_row("xor", 36, updates=updates, updates_mean=updates, reached=reached) | {
        "experiment": "initial", "bias": bias, **more,
    }  # fmt: skip


def test_marginals_compare_cells_that_differ_by_one_setting_alone():
    rows = [grid_row(0.0, 0.01, 800.0), grid_row(math.pi / 2, 0.01, 300.0), grid_row(math.pi / 2, 1.0, 900.0)]
    assert {bias: len(cells) for bias, cells in balanced(rows, "bias").items()} == {0.0: 1, math.pi / 2: 1}
    assert {spread: cells[0]["updates"] for spread, cells in balanced(rows, "spread_phi").items()} == {
        0.01: 300,
        1: 900,
    }
    assert balanced(rows, "degree") == {3: rows}
    found = {row["quantity"]: row for row in comparison_rows(rows)}
    best = found["updates, xor, all with bias 1.57"]
    assert best["ours"] == 300 and best["published"] == 475 and "over 1 spreads" in best["comparable"]


def test_means_over_topologies_stand_beside_the_published_ones():
    rows = [
        dna_row("letters", 36, updates_mean=updates) | {"experiment": "topology", "workspace": w, "degree": 2}
        for w, updates in ((5, 100.0), (5, 300.0), (6, 50.0))
    ]
    found = {row["quantity"]: row for row in comparison_rows(rows)}
    mean = found["updates, letters, mean of all with workspace 5"]
    assert mean["ours"] == 200 and mean["published"] == 583 and "over 3 topologies" in mean["comparable"]


def test_figures_of_every_experiment_from_rows_alone(tmp_path):
    curve = np.linspace(1, 0.1, 4)[:, None] * np.ones(2)
    arrays = {"history_validation_loss": curve, "history_projection": curve, "updates": np.array([40, 20])}
    arrays["every"] = np.array(10)
    rows = [dna_row(task, length, accuracy_sampled=1.0) for task in ("dna", "dna-clean") for length in (5, 10)]
    cells = [arrays] * len(rows)
    for experiment, name, values in (
        ("optimizers", "learning_rate", (0.1, 1.0)), ("topology", "workspace", (3, 4)), ("gradients", "length", (5, 9)),
    ):  # fmt: skip
        for value in values:
            more = {"optimizer": "adam", "validation_loss": 0.1, "learning_rate": 0.1}
            more |= {"gradient_norm": 0.2, "gradient_norm_early": 0.1}
            rows.append(dna_row("dna", 5, **more) | {"experiment": experiment, name: value})
            cells.append({})
    rows.append(dna_row("xor", 6) | {"experiment": "hessian"})
    cells.append(arrays | {"eigenvalues": np.array([-1e-3, 0.0, 2.0])})
    made = write_figures(rows, cells, tmp_path)
    names = ["curves", "overhead", "lengths", "controls", "optimizers", "topology", "gradients", "spectrum"]
    assert [figure.path.stem for figure in made] == names
    assert all(figure.path.read_bytes().startswith(b"\x89PNG") and figure.caption for figure in made)
