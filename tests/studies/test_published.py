"""Published numbers agree with each other, with the formulas they obey and with what was said about them."""

import json
import math

import numpy as np
import pytest
import qjaxsim_data

PATCHES, LAYERS = (4, 9, 16), (50, 100, 150, 200)
TABLES = (
    "weight_counts",
    "minima",
    "final_epoch_test_accuracy",
    "snapshot_ensemble",
    "lambda_max",
    "explained_variance",
)


@pytest.fixture(scope="module")
def published():
    return qjaxsim_data.load("patches_hessian")


def grid(rows, column):
    """The column as an array (patches, layers)."""
    table = {(row["patches"], row["layers"]): row[column] for row in rows}
    return np.array([[table[p, layers] for layers in LAYERS] for p in PATCHES])


def test_names_and_unknown_name():
    assert "patches_hessian" in qjaxsim_data.names()
    with pytest.raises(ValueError, match=r"`name` must be one of \[.*'patches_hessian'.*\], but is 'patches'"):
        qjaxsim_data.load("patches")


def test_each_load_is_a_new_dict(published):
    other = qjaxsim_data.load("patches_hessian")
    other["lambda_max"][0]["lambda_max"] = 0
    assert qjaxsim_data.load("patches_hessian") == published
    assert json.loads(json.dumps(published, allow_nan=False)) == published


def test_source_covers_every_section(published):
    assert published["source"]["arxiv"] == "2504.19239"
    assert set(TABLES) | {"training"} == set(published["source"]["sections"])
    assert any("one seed" in limit for limit in published["source"]["limits"])


@pytest.mark.parametrize("table", TABLES)
def test_twelve_configurations(published, table):
    assert [(row["patches"], row["layers"]) for row in published[table]] == [(p, n) for p in PATCHES for n in LAYERS]


def test_weight_counts_obey_the_formula(published):
    model = published["model"]
    n = model["n_qubits"]
    for row in published["weight_counts"]:
        # Three blocks of L layers with two rotations a qubit, and two rotations around each of the n^2 features.
        assert row["per_circuit"] == 3 * row["layers"] * 2 * n + 2 * n**2 == (6 * row["layers"] + 2 * n) * n
        assert row["total"] == row["per_circuit"] * row["patches"] + model["n_position_bias"]
    assert model["n_features"] == n**2 == math.prod(model["patch_size"])
    assert model["n_position_bias"] == math.prod(model["image_size"])
    assert len(model["readout"]) == model["n_classes"]


def test_patch_corners_tile_the_image(published):
    model = published["model"]
    for patches, corners in model["corners"].items():
        assert len(corners) ** 2 == int(patches)
        covered = {corner + i for corner in corners for i in range(model["patch_size"][0])}
        assert covered == set(range(model["image_size"][0]))
        assert len(set(np.diff(corners))) == 1


def test_training_settings_fit_together(published):
    training = published["training"]
    assert training["n_folds"] * training["batch_size"] == training["n_train"]
    epochs = np.arange(training["epochs"])
    rate = (1 + np.cos(np.pi * epochs / training["schedule_cycle_epochs"])) / 2
    assert np.flatnonzero(rate == 0).tolist() == training["zero_rate_epochs"]
    assert rate[-1] == pytest.approx(0.905, abs=5e-4)
    assert set(training["learning_rate"]) == {str(layers) for layers in LAYERS}
    rates = [training["learning_rate"][str(layers)] for layers in LAYERS]
    assert rates == sorted(rates, reverse=True)


def test_accuracies_are_counts_of_images(published):
    """An accuracy is a whole number of images over their number, to the digits printed."""
    for row in published["minima"]:
        assert row["train_accuracy"] * 60_000 == pytest.approx(round(row["train_accuracy"] * 60_000), abs=0.04)
        assert row["test_accuracy"] * 10_000 == pytest.approx(round(row["test_accuracy"] * 10_000), abs=1e-6)
        assert row["train_loss"] < row["test_loss"]
        assert row["train_accuracy"] > row["test_accuracy"]
        assert 0 <= row["epoch"] <= published["training"]["epochs"]


def test_minima_beat_the_last_epoch(published):
    assert np.all(
        grid(published["minima"], "test_accuracy") > grid(published["final_epoch_test_accuracy"], "test_accuracy")
    )


def test_snapshots_are_epochs_of_zero_rate(published):
    zero = published["training"]["zero_rate_epochs"]
    odd = [(row["patches"], row["layers"]) for row in published["snapshot_ensemble"] if row["epochs"] != zero]
    assert odd == [(9, 50)]
    assert all(len(row["epochs"]) == 5 for row in published["snapshot_ensemble"])


def test_largest_eigenvalue_falls_with_patches_and_grows_with_depth(published):
    table = grid(published["lambda_max"], "lambda_max")
    assert np.all(np.diff(table, axis=0) < 0)
    assert np.all(np.diff(table, axis=1) > 0)


def test_largest_eigenvalue_is_not_one_over_patches(published):
    """Products and ratios worked out by hand when the tables were read."""
    table = grid(published["lambda_max"], "lambda_max")
    products = [[63.9, 90.2, 101.6, 220.9], [40.3, 53.6, 54.8, 90.1], [53.5, 66.8, 72.2, 107.0]]
    np.testing.assert_allclose(table * np.array(PATCHES)[:, None], products, atol=0.06)
    np.testing.assert_allclose(table[0] / table[1], [3.6, 3.8, 4.2, 5.5], atol=0.06)
    np.testing.assert_allclose(table[1] / table[2], [1.34, 1.43, 1.35, 1.50], atol=0.006)
    np.testing.assert_allclose(table[0] / table[2], [4.8, 5.4, 5.6, 8.3], atol=0.06)


def test_two_components_explain_most_of_the_trajectory(published):
    first, second = (grid(published["explained_variance"], column) for column in ("pc1", "pc2"))
    assert np.all(first > second)
    assert np.all(first + second < 1)
    assert np.all(first + second > 0.92)
    assert np.all(first[:, 3] > first[:, 0])


# --- gradient variance -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gradients():
    return qjaxsim_data.load("gradient_variance")


def test_gradient_variances_fall_with_the_batch_and_grow_with_training(gradients):
    """As the text says of Table 2."""
    table = np.array([row["variance"] for row in gradients["variance_by_batch"]])
    assert table.shape == (len(gradients["setting"]["batch"]), gradients["setting"]["epochs"])
    assert np.all(np.diff(table, axis=0) < 0) and np.all(np.diff(table, axis=1) > 0)
    # Batch times variance, worked out by hand when the table was read.
    products = table * np.array(gradients["setting"]["batch"])[:, None]
    np.testing.assert_allclose(products[:, 0], [0.064, 0.026, 0.022, 0.016, 0.013], atol=5e-4)
    np.testing.assert_allclose(products[:, 4], [0.51, 0.42, 0.40, 0.18, 0.12], atol=6e-3)


def test_gradient_tables_have_the_swept_values(gradients):
    setting = gradients["setting"]
    for table, name in (
        ("variance_by_batch", "batch"),
        ("accuracy_by_qubits", "qubits"),
        ("accuracy_by_layers", "layers"),
    ):
        assert [row[name] for row in gradients[table]] == setting[name]
    assert all(setting["centre"][name] in setting[name] for name in ("qubits", "layers", "batch"))


def test_two_accuracies_of_one_setting_differ_by_what_runs_differ(gradients):
    by_qubits = {row["qubits"]: row["accuracy"] for row in gradients["accuracy_by_qubits"]}
    by_layers = {row["layers"]: row["accuracy"] for row in gradients["accuracy_by_layers"]}
    assert abs(by_qubits[4] - by_layers[3]) == pytest.approx(0.3)


def test_the_largest_variances_quoted_rise_with_layers(gradients):
    largest = [row["variance"] for row in gradients["largest_variance_by_layers"]]
    assert largest == sorted(largest) and "variance falls as entangling layers are added" in gradients["statements"]


# --- tensor-network disentanglers ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def disentanglers():
    return qjaxsim_data.load("tensor_network_disentanglers")


def bonds_of(legs, chi):
    """Bonds of a chain: at most chi and what either side can carry."""
    sizes = np.cumprod([1, *legs]), np.cumprod([1, *legs[::-1]])[::-1]
    return [int(min(chi, left, right)) for left, right in zip(*sizes, strict=True)]


def test_counts_of_the_mpo_are_those_of_ten_and_eight_qubits(disentanglers):
    out, into = disentanglers["layer"]["qubits"]
    legs = [4] * min(out, into) + [2] * abs(out - into)
    table = [*disentanglers["bond"], disentanglers["full_bond"], disentanglers["plain_mpo"]]
    for row in table:
        bonds = bonds_of(legs, row["chi"])
        assert row["mpo_parameters"] == sum(a * leg * b for a, leg, b in zip(bonds, legs, bonds[1:], strict=False))
    layer = disentanglers["layer"]
    assert math.prod(layer["shape"]) == layer["dense_parameters"]
    # Padding goes to the next power of two.
    assert [math.ceil(math.log2(side)) for side in layer["shape"]] == layer["qubits"]
    # The full bond is a loss: padding and MPO together, 3.6 times the layer.
    assert disentanglers["full_bond"]["mpo_parameters"] / layer["dense_parameters"] == pytest.approx(3.6, abs=0.05)


def test_angles_of_the_circuits(disentanglers):
    def angles(k):
        return 2 ** (k - 1) * (2**k - 1)

    wide = sum(angles(qubits) for qubits in disentanglers["layer"]["qubits"])
    assert {row["circuit_parameters"] for row in disentanglers["bond"]} == {wide}
    assert wide / disentanglers["layer"]["dense_parameters"] > 5
    for row in disentanglers["circuit"]:
        # Even layers of two-qubit gates fill a register, odd ones leave its ends free.
        even, odd = (sum((n - shift) // 2 for n in disentanglers["layer"]["qubits"]) for shift in (0, 1))
        assert row["gates"] == (row["depth"] + 1) // 2 * even + row["depth"] // 2 * odd
        assert row["angles"] == row["gates"] * angles(2)


def test_published_damage_is_small_beside_that_of_the_plain_truncation(disentanglers):
    changes = [row["perplexity_change"] for row in disentanglers["bond"]]
    assert max(changes) == changes[0] < disentanglers["plain_mpo"]["perplexity_change"] / 30
    assert min(changes) > disentanglers["full_bond"]["perplexity_change_at_most"]
    # Not monotone: bond 10 is worse than bond 5, a measure of how well the changes are known.
    assert changes[3] > changes[2]
    assert [row["overlap"] for row in disentanglers["overlap"]] == sorted(
        r["overlap"] for r in disentanglers["overlap"]
    )


def test_sections_of_the_disentanglers_are_named(disentanglers):
    named = set(disentanglers["source"]["sections"]) | {"source", "units", "full_bond", "plain_mpo"}
    assert named == set(disentanglers)
    picogpt = disentanglers["char_transformer"]
    assert picogpt["compressed"]["accuracy"] < picogpt["accuracy"]
    assert picogpt["compressed"]["parameters"] / picogpt["parameters"] == pytest.approx(0.188, abs=1e-3)
    assert json.loads(json.dumps(disentanglers, allow_nan=False)) == disentanglers


# --- geometry --------------------------------------------------------------------------------------------------------


def test_effective_dimensions_grow_with_data_and_keep_their_order():
    known = qjaxsim_data.load("effective_dimension")
    assert known["setting"]["parameters"] == known["setting"]["qubits"] * (known["setting"]["layers"] + 1)
    neurons = known["setting"]["neurons"]
    assert known["setting"]["parameters"] == sum(a * b for a, b in zip(neurons, neurons[1:], strict=False))
    table = {}
    for row in known["normalised"]:
        table.setdefault(row["model"], {})[row["samples"]] = row["share"]
    for row in known["normalised_of_stored_matrices"]:
        # In place of the 28 parameters of the printed row; not monotone.
        assert row["model"] == "network" and row["share"] < table["easy"][row["samples"]]
    sizes = [list(shares) for shares in table.values()]
    assert len(sizes) == 3 and all(one == sorted(sizes[0]) and len(one) == 11 for one in sizes)
    values = {name: np.array(list(shares.values())) for name, shares in table.items()}
    assert all(np.all(np.diff(one) > 0) and np.all(one < 1) for one in values.values())
    assert np.all(values["qnn"] > values["easy"]) and np.all(values["easy"] > values["network-28"])


def test_numbers_around_the_transition_are_linear_and_inverse():
    known = qjaxsim_data.load("gauss_newton_transition")
    tops = {row["target"]: row["hessian_max"] for row in known["largest_eigenvalues"]}
    # Exactly linear below, where the state is the same; nearly so above.
    assert tops[-2] / tops[-1] == pytest.approx(2, rel=1e-3) and tops[-1] / tops[-0.5] == pytest.approx(2, rel=1e-3)
    assert tops[2] / tops[0.5] == pytest.approx(4, rel=0.05)
    counts = {row["residual_rank"] for row in known["nonzero_eigenvalues"]}
    assert counts == {2 * (2 ** known["setting"]["qubits"] - 1)}
    products = [row["step"] * row["error"] for row in known["errors_at_the_transition"]]
    np.testing.assert_allclose(products, np.mean(products), rtol=0.05)
    assert known["errors_at_the_transition"][-1]["step"] == known["setting"]["steps"]


def test_sampled_variances_are_near_the_formula():
    for row in qjaxsim_data.load("lie_variance")["sampled"]:
        assert row["variance"] * (2 * row["qubits"] - 1) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("name", ["effective_dimension", "gauss_newton_transition", "lie_variance"])
def test_sections_of_geometry_are_named(name):
    known = qjaxsim_data.load(name)
    assert {"source", "units", *known["source"]["sections"]} == set(known)


# --- overparametrisation, and noise on its circuits ------------------------------------------------------------------


def test_published_ranks_of_chains_obey_their_formulas():
    """n of the ring; n (n - 1) of the open chain, where its Hessian has n^2 / 2, and training sets in near n^2."""
    for row in qjaxsim_data.load("overparametrisation")["ising"]:
        n = row["qubits"]
        assert row["qfim_rank"] == (n if row["chain"] == "ring" else n * (n - 1))
        assert row.get("hessian_rank", n**2 // 2) == n**2 // 2
        assert 0.7 < row.get("first_angles", n**2) / n**2 < 1.2


def test_published_shares_are_counts_of_fifty_and_fit_the_first_angles():
    paper = qjaxsim_data.load("overparametrisation")
    shares = paper["ising_shares"] + paper["unitary_shares"]
    for row in shares:
        count = row["share"] * paper["setting"]["starts"]
        assert count == pytest.approx(round(count), abs=1e-9)
    first = next(row["layers"] for row in paper["ising_shares"] if row["share"] >= 0.5)
    assert [2 * first] == [
        row["first_angles"] for row in paper["ising"] if (row["chain"], row["qubits"]) == ("open", 4)
    ]
    assert all(row["qfim_rank"] == 4 ** row["qubits"] - 1 for row in paper["unitary"])
    assert set(paper["source"]["sections"]) | {"source", "units"} == set(paper)


def test_published_ranks_under_noise_are_all_angles_or_those_without():
    paper = qjaxsim_data.load("noisy_fisher")
    for row in paper["ranks"]:
        assert row["rank"] == (2 * row["layers"] if row["noise"] == "local" else paper["setting"]["qubits"])
    largest = [row["largest"] for row in paper["largest"]]
    assert largest[1:] == sorted(largest[1:], reverse=True) and 4 * largest[0] > largest[1] > largest[0]
    assert set(paper["source"]["sections"]) | {"source", "units"} == set(paper)
