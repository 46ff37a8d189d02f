"""Verdicts on gradient variances: each rule on tables made up for it."""

import math

import numpy as np
import pytest

from qjaxsim.report.verdict import HOLDS, NOT_SEEN, NOT_TESTED, RESERVATION
from qjaxsim.studies.gradient_variance import claims
from qjaxsim.studies.gradient_variance.claims_rules import decay

NOISE = {0: 0.97, 1: 1.0, 2: 1.03}


def row(seed, epoch=1, *, control="baseline", qubits=4, layers=3, batch=16, var=1e-3, accuracy=0.5, **more):
    factor = NOISE[seed]
    return {
        "control": control, "qubits": qubits, "layers": layers, "batch": batch, "seed": seed, "epoch": epoch,
        "grad_var": var * factor, "grad_var_per_post": var * factor, "grad_var_per_signal": var * factor,
        "accuracy_test": accuracy * factor, "pairing": "alternate", "pre": "linear", "learning_rate": 1e-3,
        "shots": None, **more,
    }  # fmt: skip


def swept(name, values, var=lambda x, e: 1e-3, accuracy=lambda x: 0.5, epochs=(1, 2), **more):
    return [
        row(seed, epoch, **{name: x}, var=var(x, epoch), accuracy=accuracy(x), **more)
        for x in values
        for epoch in epochs
        for seed in NOISE
    ]


def batches(power, **more):
    return swept("batch", (4, 16, 64), lambda b, e: 1e-2 * e * float(b) ** power, **more)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (batches(-1), HOLDS),
        (batches(-0.02), RESERVATION),  # within the seeds' spread at each step, not from end to end
        (batches(0.5), NOT_SEEN),
        (swept("batch", (4, 16, 64), lambda b, e: {4: 1e-2, 16: 1e-3, 64: 2e-3}[b]), RESERVATION),
        ([], NOT_TESTED),
        (swept("batch", (16,)), NOT_TESTED),
    ],
)
def test_the_rule_of_a_trend(rows, expected):
    found = claims.falls_with_batch(rows)
    assert found.verdict == expected, found.evidence


def test_a_trend_in_one_epoch_only_is_not_seen():
    rows = swept("batch", (4, 64), lambda b, e: 1e-2 / b if e == 1 else 1e-3)
    assert claims.falls_with_batch(rows).verdict == NOT_SEEN


@pytest.mark.parametrize(
    ("claim", "name", "values"),
    [(claims.falls_with_qubits, "qubits", (2, 4, 8)), (claims.falls_with_layers, "layers", (2, 3, 6))],
)
@pytest.mark.parametrize(("power", "expected"), [(-1, HOLDS), (1, NOT_SEEN)])
def test_qubits_and_layers(claim, name, values, power, expected):
    found = claim(swept(name, values, lambda x, e: 1e-3 * float(x) ** power))
    assert found.verdict == expected
    assert "Divided by the mean square of the derivative in <Z>" in found.evidence
    assert f"{(values[-1] / values[0]) ** power:.3g}" in found.evidence
    assert claim([]).verdict == NOT_TESTED


@pytest.mark.parametrize(("powers", "expected"), [((-1, -1), HOLDS), ((-1, 0), NOT_SEEN), ((0, -1), HOLDS)])
def test_equal_updates_judge_the_control_alone(powers, expected):
    at_epochs, at_updates = powers
    found = claims.same_updates(batches(at_epochs) + batches(at_updates, control="updates"))
    assert found.verdict == expected
    assert f"at equal updates {at_updates:.2f}" in found.evidence.replace("-0.00", "0.00")
    assert claims.same_updates(batches(-1)).verdict == NOT_TESTED


def test_growth_is_judged_on_the_sweep_of_batches():
    falling_elsewhere = swept("qubits", (2,), lambda q, e: 1e-3 / e)
    found = claims.grows_with_training(batches(-1) + falling_elsewhere)
    assert found.verdict == HOLDS and "Last epoch over first: 2 at " in found.evidence
    shrinking = swept("batch", (4, 16, 64), lambda b, e: 1e-3 / e)
    assert claims.grows_with_training(shrinking).verdict == NOT_SEEN
    assert claims.grows_with_training(swept("batch", (4, 16), epochs=(1,))).verdict == NOT_TESTED


def grown(post, frozen=None):
    """Variance grows by 16; divided by the post-layer by 16**post, with it frozen by 16**frozen."""
    rows = batches(-1, epochs=(1, 5))
    for one in rows:
        last = one["epoch"] == 5
        one |= {"grad_var": 16.0 if last else 1.0, "grad_var_per_post": 16.0**post if last else 1.0}
    if frozen is not None:
        more = [dict(one, control="scale", grad_var=16.0**frozen if one["epoch"] == 5 else 1.0) for one in rows]
        rows = rows + more
    return rows


@pytest.mark.parametrize(
    ("post", "frozen", "expected"),
    [
        (0.8, 0.8, HOLDS),
        (0.8, None, RESERVATION),
        (0.8, 0.2, RESERVATION),
        (0.4, 0.8, RESERVATION),
        (0.1, 0.8, NOT_SEEN),
    ],
)
def test_growth_with_the_post_layer_divided_out(post, frozen, expected):
    found = claims.growth_of_the_circuit(grown(post, frozen))
    assert found.verdict == expected
    assert f"{post:.0%} of its logarithm" in found.evidence


def test_a_growth_within_the_spread_of_the_seeds_is_none():
    rows = grown(0.8, 0.8)
    # Seeds start and end an order of magnitude apart, and grow by a tenth in the mean.
    by_seed = {0: 1.0, 1: 10.0, 2: 100.0}
    noisy = [dict(one, grad_var=by_seed[one["seed"]] * (1.1 if one["epoch"] == 5 else 1.0)) for one in rows]
    found = claims.growth_of_the_circuit(noisy)
    assert found.verdict == NOT_SEEN and "beyond the seeds' spread in 0 of 3 configurations" in found.evidence
    half = [one for one in rows if one["batch"] == 4] + [one for one in noisy if one["batch"] == 16]
    found = claims.growth_of_the_circuit(half)
    assert found.verdict == NOT_SEEN and "beyond the seeds' spread in 1 of 2 configurations" in found.evidence


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [
        (lambda n: 0.1 * n, HOLDS),
        (lambda n: {2: 0.3, 4: 0.6, 8: 0.59}[n], RESERVATION),
        (lambda n: 0.5, NOT_SEEN),
    ],
)
def test_accuracy_with_qubits(accuracy, expected):
    assert claims.accuracy_with_qubits(swept("qubits", (2, 4, 8), accuracy=accuracy)).verdict == expected


def test_accuracies_are_those_of_the_last_epoch():
    rows = swept("qubits", (2, 4, 8), accuracy=lambda n: 0.1 * n, epochs=(1, 2, 3))
    rows = [one if one["epoch"] == 3 else dict(one, accuracy_test=1 / one["qubits"]) for one in rows]
    assert claims.accuracy_with_qubits(rows).verdict == HOLDS


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [
        (lambda n: 0.7 - 0.02 * n, HOLDS),
        (lambda n: 0.7 + 0.001 * n, RESERVATION),
        (lambda n: 0.5 + 0.05 * n, NOT_SEEN),
    ],
)
def test_accuracy_with_layers(accuracy, expected):
    assert claims.accuracy_not_with_layers(swept("layers", (2, 4, 6), accuracy=accuracy)).verdict == expected


def test_accuracies_are_plain_means_with_zeros_among_them():
    by_seed = {2: (0.0, 0.1, 0.2), 4: (0.1, 0.4, 0.9)}
    base = swept("qubits", (2, 4))
    rows = [dict(one, accuracy_test=by_seed[one["qubits"]][one["seed"]]) for one in base]
    found = claims.accuracy_with_qubits(rows)
    means = {qubits: np.mean(values) for qubits, values in by_seed.items()}
    assert f"2: {means[2]:.4g} (0–0.2), 4: {means[4]:.4g} (0.1–0.9); means over 3 seeds" in found.evidence
    # A step of 0.37 against a spread of the root of 0.01 + 0.163.
    assert found.verdict == NOT_SEEN
    turned = [dict(one, layers=one["qubits"], qubits=4) for one in rows]
    assert "higher with 4 layers, within the spread over seeds" in claims.accuracy_not_with_layers(turned).evidence
    assert "; geometric means over 3 seeds" in claims.falls_with_qubits(base).evidence


def test_equal_means_are_equal_in_any_order_of_the_seeds():
    by_seed = {2: (1 / 30, 0.2, 2 / 30), 4: (1 / 30, 2 / 30, 0.2)}
    rows = [dict(one, accuracy_test=by_seed[one["layers"]][one["seed"]]) for one in swept("layers", (2, 4))]
    assert np.mean(by_seed[4]) > np.mean(by_seed[2])  # by rounding
    assert claims.accuracy_not_with_layers(rows).verdict == HOLDS


def test_qubits_raise_accuracy_by_more_than_the_spread_only():
    by_seed = {2: (0.0, 1 / 30), 4: (1 / 30, 2 / 30)}  # a step of 1 / 30 against a spread of 1 / 30
    rows = [one for one in swept("qubits", (2, 4)) if one["seed"] < 2]
    rows = [dict(one, accuracy_test=by_seed[one["qubits"]][one["seed"]]) for one in rows]
    assert claims.accuracy_with_qubits(rows).verdict == NOT_SEEN


@pytest.mark.parametrize(
    ("factors", "expected"), [({32: 1.5, 1024: 1.01}, RESERVATION), ({1024: 1.05}, HOLDS), ({1024: 1.2}, NOT_SEEN)]
)
def test_shots(factors, expected):
    sampled = [
        dict(one, control="shots", shots=shots, grad_var=one["grad_var"] * factor)
        for shots, factor in factors.items()
        for one in swept("batch", (16,))
    ]
    assert claims.shots_change_nothing(swept("batch", (16,)) + sampled).verdict == expected
    assert claims.shots_change_nothing(sampled).verdict == NOT_TESTED
    # One epoch that is apart is enough.
    apart = [dict(one, grad_var=one["grad_var"] * (1.3 if one["epoch"] == 1 else 1.0)) for one in sampled]
    assert claims.shots_change_nothing(swept("batch", (16,)) + apart).verdict == NOT_SEEN


@pytest.mark.parametrize(
    ("powers", "expected"), [((-0.5,), HOLDS), ((-1, -1, 1), RESERVATION), ((-1, 1), NOT_SEEN), ((1, 1), NOT_SEEN)]
)
def test_orderings(powers, expected):
    """A baseline that falls with the batch, and variants with these powers."""
    rows = batches(-1)
    for place, power in enumerate(powers):
        rows += batches(power, control="pairing", pairing=f"p{place}")
    found = claims.orderings_survive(rows)
    assert found.verdict == expected
    kept = sum(power < 0 for power in powers)
    assert f"variance falls with batch in {kept} of {len(powers)} variants" in found.evidence


def test_orderings_that_the_baseline_lacks_are_left_out():
    flat = swept("qubits", (2, 4), lambda n, e: 1e-2 / n, accuracy=lambda n: 0.4)
    changed = dict(control="pairing", pairing="ring")
    rising = swept("qubits", (2, 4), lambda n, e: 1e-2 / n, accuracy=lambda n: 0.1 * n, **changed)
    found = claims.orderings_survive(flat + rising)
    assert found.verdict == HOLDS and "accuracy" not in found.evidence
    level = [dict(one, grad_var=1e-3) for one in flat]
    assert claims.orderings_survive(level + rising).verdict == NOT_TESTED


def test_what_holds_by_a_single_seed_has_a_reservation():
    sampled = [dict(one, control="shots", shots=128) for one in swept("batch", (16,))]
    cases = {
        claims.accuracy_not_with_layers: swept("layers", (2, 4), accuracy=lambda n: 0.7 - 0.02 * n),
        claims.growth_of_the_circuit: grown(0.8, 0.8),
        claims.shots_change_nothing: swept("batch", (16,)) + sampled,
        claims.orderings_survive: batches(-1) + batches(-0.5, control="pairing", pairing="ring"),
    }
    for claim, rows in cases.items():
        assert claim(rows).verdict == HOLDS
        found = claim([one for one in rows if one["seed"] == 0])
        assert found.verdict == RESERVATION and found.evidence.endswith("Reservation: a single seed.")


# --- barren plateaus -------------------------------------------------------------------------------------------------


def initial(rates, depths=(3, 24), error=1e-3):
    """Variances that fall as exp(-rate n), by observable."""
    return [
        {
            "control": "initialisations", "initial": "[-1, 1)", "observable": name, "qubits": n, "layers": depth,
            "init_var": math.exp(-2 * rate * n), "init_var_error": error * math.exp(-2 * rate * n),
            "init_var_seen": math.exp(-rate * n), "init_var_seen_error": error * math.exp(-rate * n),
        }
        for name, rate in rates.items()
        for depth in depths
        for n in (2, 4, 6, 8)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ({"local": 0.6, "global": 0.7}, HOLDS),
        ({"local": 0.1, "global": 0.7}, RESERVATION),
        ({"local": 0.6, "global": -0.1}, RESERVATION),
        ({"local": 0.0, "global": 0.7}, NOT_SEEN),
    ],
)
def test_plateau(rates, expected):
    found = claims.plateau(swept("qubits", (2, 4)) + initial(rates))
    assert found.verdict == expected, found.evidence
    assert f"factor {math.exp(-rates['local']):.2f} ± 0.00 a qubit for local" in found.evidence
    assert claims.plateau(swept("qubits", (2, 4))).verdict == NOT_TESTED


@pytest.mark.parametrize(("layers", "depth", "expected"), [(4, 3, HOLDS), (20, 24, NOT_SEEN)])
def test_a_plateau_is_sought_at_the_depth_next_to_the_trained_one(layers, depth, expected):
    shallow, deep = initial({"local": 0.6, "global": 0.7}, (3,)), initial({"local": 0.0, "global": 0.7}, (24,))
    found = claims.plateau(swept("qubits", (2, 4), layers=layers) + shallow + deep)
    assert found.verdict == expected and f"At {depth} layers and" in found.evidence


def test_what_would_test_a_claim_is_what_is_missing():
    """The control, or where it was run, the sizes that it needs."""
    alone = [row for row in initial({"local": 0.6, "global": 0.7}) if row["qubits"] == 2]
    updates = [dict(row, control="updates") for row in swept("batch", (16,))]
    for claim, rows, control, sizes in (
        (claims.plateau, alone, "--control initialisations", "--qubits"),
        (claims.same_updates, updates, "--control updates", "--batches"),
    ):
        for given, wanted in (([], control), (rows, sizes)):
            found = claim(swept("qubits", (2,)) + given)
            assert (found.verdict, wanted in found.evidence) == (NOT_TESTED, True)


def test_decay_recovers_a_rate_and_weighs_points_by_their_errors():
    rows = initial({"local": 0.5}, depths=(3,))
    found = decay(rows, "qubits", "[-1, 1)", "local", 3)
    assert found.rate == pytest.approx(-0.5) and found.error == pytest.approx(1e-3 / math.sqrt(20), rel=0.01)
    shifts = (0.1, -0.2, 0.0, 0.05)
    off = [dict(one, init_var_seen=one["init_var_seen"] * math.exp(s)) for one, s in zip(rows, shifts, strict=True)]
    off = [dict(one, init_var_seen_error=1e-3 * one["init_var_seen"]) for one in off]  # alike in ln y
    found = decay(off, "qubits", "[-1, 1)", "local", 3)
    fitted, covariance = np.polyfit((2, 4, 6, 8), [math.log(one["init_var_seen"]) for one in off], 1, cov=True)
    assert (found.rate, found.error) == pytest.approx((fitted[0], covariance[0, 0] ** 0.5))
    # A wild point with a large error hardly counts; the scatter widens the error.
    rows[3] = dict(rows[3], init_var_seen=1.0, init_var_seen_error=1.0)
    wild = decay(rows, "qubits", "[-1, 1)", "local", 3)
    assert wild.rate == pytest.approx(-0.5, abs=1e-3)
    noisy = [
        dict(one, init_var_seen=one["init_var_seen"] * np.exp(s)) for one, s in zip(rows, (0, 0.1, 0, 0), strict=True)
    ]
    assert decay(noisy, "qubits", "[-1, 1)", "local", 3).error > 10 * wild.error


def test_all_claims_without_rows_are_not_tested():
    assert {one.verdict for one in claims.verdicts([])} == {NOT_TESTED}


def test_a_trend_in_most_epochs_has_a_reservation():
    rows = swept("batch", (4, 64), lambda b, e: 1e-2 / b if e > 1 else 1e-3, epochs=(1, 2, 3))
    found = claims.falls_with_batch(rows)
    assert found.verdict == RESERVATION and "from end to end in 2 of 3 series only" in found.evidence
