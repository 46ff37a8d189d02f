"""Verdicts on published claims: every claim reaches every verdict it can, by its stated rule, from constructed rows."""

import itertools
import math

import pytest
from qjaxsim_data import load

from qjaxsim.report.verdict import CLASSES, HOLDS, NOT_SEEN, NOT_TESTED, RESERVATION, verdict_rows
from qjaxsim.studies.hessian import claims_patches as patches_claims
from qjaxsim.studies.hessian import claims_spectrum as spectrum_claims
from qjaxsim.studies.hessian.claims import CLAIMS, verdicts


def row(control="baseline", patches=4, layers=2, seed=0, **columns):
    usual = {"point": "minimum", "aggregation": "mean", "scale": 100.0, "learning_rate": 0.01, "n_classes": 4}
    return {"control": control, "patches": patches, "layers": layers, "seed": seed} | usual | columns


def sweep(law, control="baseline", patches=(1, 4, 9), layers=(2,), seeds=(0, 1, 2), noise=0.02, **columns):
    """Rows with lambda_max = law(patches, layers), times exp(noise) more from seed to seed."""
    return [
        row(control, p, n, s, lambda_max=law(p, n) * math.exp(noise * s))
        | {name: value(p, n) if callable(value) else value for name, value in columns.items()}
        for p, n, s in itertools.product(patches, layers, seeds)
    ]


def inverse(p, n):
    return 40.0 * n / p


BASE = sweep(inverse)


def summed(power, control="aggregation", **columns):
    """A control of the normalisation whose lambda_max goes like a power of patches."""
    own = {"aggregation": "sum"} if control == "aggregation" else {"scale": lambda p, n: 100.0 * p}
    return sweep(lambda p, n: 80.0 * p**power, control, **(own | columns))


def matched(power, losses=lambda p, n: 0.3, **columns):
    law = lambda p, n: 80.0 * p**power  # noqa: E731
    return sweep(law, "loss", point="matched loss", train_loss=losses, **columns)


def judge(claim, rows, verdict, *words):
    """The verdict, with evidence that has the words."""
    found = claim(rows)
    assert found.verdict == verdict, found.evidence
    for word in words:
        assert word in found.evidence, found.evidence
    assert (found.tested_by == "none") == (verdict == NOT_TESTED)
    return found


# --- patches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "verdict", "words"),
    [
        (BASE, HOLDS, ["1: 81.62 (80–83.26), 4: 20.4", "3 seeds"]),
        (BASE + sweep(inverse, "seeds", patches=(1,), seeds=(7,)), HOLDS, ["3 to 4 seeds"]),
        (sweep(inverse, layers=(2, 4)), HOLDS, ["at 2 layers", "at 4 layers"]),
        (sweep(inverse, seeds=(0,)), RESERVATION, ["a single seed in 2 steps"]),
        (sweep(inverse, noise=0.7), RESERVATION, ["within the seeds' spread from 4 to 9 patches at 2 layers"]),
        (BASE + summed(1), RESERVATION, ["with a sum over circuits the fall disappears", "1.00 against -1.00"]),
        (BASE + summed(0, "scale"), RESERVATION, ["c proportional to patches", "normalisation"]),
        (BASE + matched(0), RESERVATION, ["with matched loss the fall disappears", "better fit"]),
        (BASE + summed(-1) + matched(-1), HOLDS, []),
        (sweep(lambda p, n: 40.0 + (p == 4) - p / 10), NOT_SEEN, ["No strict fall"]),
        (sweep(lambda p, n: 40.0 * (p if n == 4 else 1 / p), layers=(2, 4)), NOT_SEEN, []),
        (sweep(inverse, patches=(4,)), NOT_TESTED, ["--patches 1,4,9"]),
        (matched(-1), NOT_TESTED, []),
    ],
)
def test_more_patches(rows, verdict, words):
    judge(patches_claims.fewer_with_patches, rows, verdict, *words)


def bent(p, n):
    """Falls like 1 / p from 1 to 9 as a whole, but all of it before 4."""
    return {1: 80.0, 4: 10.0, 9: 9.5}[p]


@pytest.mark.parametrize(
    ("rows", "verdict", "words"),
    [
        (BASE, HOLDS, ["-1.00 ± 0.01", "between neighbours -1.00, -1.00", "3 seeds a point"]),
        (sweep(lambda p, n: 80 * p**-0.8), HOLDS, []),
        (sweep(lambda p, n: 80 * p**-0.7), RESERVATION, ["-0.70", "further than 0.25 from -1"]),
        (sweep(lambda p, n: 80 * p**-1.3), RESERVATION, ["further than 0.25 from -1"]),
        (sweep(bent), RESERVATION, ["no single power"]),
        (sweep(inverse, noise=1.5), RESERVATION, ["standard error above 0.25"]),
        (sweep(inverse, patches=(4, 9)), RESERVATION, ["fit any power"]),
        (sweep(inverse, seeds=(5,)), RESERVATION, ["a single seed at some point"]),
        (
            sweep(inverse) + sweep(inverse, patches=(4, 9), layers=(4,), seeds=(0,)),
            RESERVATION,
            ["fit any power", "a single seed at some point"],
        ),
        (sweep(lambda p, n: 80 * p**0.1), NOT_SEEN, ["0.10"]),
        (sweep(inverse, patches=(4,)), NOT_TESTED, ["--patches"]),
    ],
)
def test_inverse_law(rows, verdict, words):
    judge(patches_claims.inverse_law, rows, verdict, *words)


@pytest.mark.parametrize(
    ("rows", "verdict", "words"),
    [
        (BASE + matched(-0.6), HOLDS, ["-0.60 against -1.00", "training losses 0.3 (0.3–0.3)", "factor 1.00"]),
        (BASE + matched(-0.4), RESERVATION, ["less than 50% of the baseline's slope"]),
        (BASE + matched(-1, lambda p, n: 0.3 / p), RESERVATION, ["losses are not matched", "factor 9.00"]),
        (BASE + matched(-1, None), RESERVATION, ["losses are not recorded"]),
        (BASE + matched(-1, seeds=(0,)), RESERVATION, ["a single seed"]),
        (BASE + matched(0.1), NOT_SEEN, []),
        (BASE, NOT_TESTED, ["--control loss"]),
        (BASE + sweep(inverse, "loss"), NOT_TESTED, []),
        (
            BASE
            + sweep(inverse, "loss", patches=(1,), point="matched loss")
            + sweep(inverse, "loss", patches=(4,), point="start"),
            NOT_TESTED,
            ["With 4 patches training begins below"],
        ),
    ],
)
def test_better_fit(rows, verdict, words):
    judge(patches_claims.not_the_fit, rows, verdict, *words)


def scattered(control):
    """A fall by a tenth, of seeds that lie a factor of four apart."""
    rows = summed(0) if control else BASE
    by_seed = {seed: 4.0**place for place, seed in enumerate(sorted({row["seed"] for row in rows}))}
    return [{**row, "lambda_max": by_seed[row["seed"]] * (0.9 if row["patches"] > 1 else 1.0)} for row in rows]


@pytest.mark.parametrize(
    ("rows", "verdict", "words"),
    [
        (BASE + summed(-0.9) + summed(-0.8, "scale"), HOLDS, ["with a sum over circuits: log-log slope -0.90 against"]),
        (BASE + summed(-0.9) + summed(0, "scale"), RESERVATION, ["c proportional to patches 0% of"]),
        (BASE + summed(-0.4), RESERVATION, ["a sum over circuits 40% of the baseline's slope is left"]),
        (BASE + summed(-1, seeds=(0,)), RESERVATION, ["a single seed"]),
        (
            sweep(lambda p, n: 40.0 / p ** (n == 2), layers=(2, 4)) + summed(-1, layers=(2, 4)),
            RESERVATION,
            ["beyond the seeds' spread at 1 of 2 depths only"],
        ),
        (BASE + summed(1) + summed(0.9, "scale"), NOT_SEEN, ["1.00 against -1.00"]),
        (sweep(lambda p, n: 80.0 * p) + summed(1), NOT_SEEN, []),
        # Seeds scatter by more than the mean falls, so there is no fall to belong to anything.
        (scattered(None) + scattered("aggregation"), NOT_SEEN, ["does not fall beyond the seeds' spread"]),
        (BASE, NOT_TESTED, ["--control aggregation"]),
        # The mean with fixed c is no control of the normalisation, whatever the rows call themselves.
        (BASE + sweep(inverse, "scale", scale=50.0), NOT_TESTED, []),
        (BASE + summed(1, scale=None), NOT_TESTED, []),
    ],
)
def test_normalisation(rows, verdict, words):
    judge(patches_claims.not_the_normalisation, rows, verdict, *words)


def test_the_baseline_at_one_patch_starts_the_sum():
    """A mean over one circuit is a sum, so cells of the sum at one patch need not be run again."""
    rows = BASE + summed(1, patches=(9,))
    judge(patches_claims.not_the_normalisation, rows, NOT_SEEN, "1.00 against -1.00")
    other = sweep(inverse, scale=30.0) + summed(1, patches=(9,))
    judge(patches_claims.not_the_normalisation, other, NOT_TESTED)


def sized(control, *models, **options):
    return [
        entry
        for p, n, size, value in models
        for entry in sweep(lambda *_, v=value: v, control, (p,), (n,), parameters=size, **options)
    ]


@pytest.mark.parametrize(
    ("rows", "verdict", "words"),
    [
        (sized("parameters", (1, 20, 1000, 5e3), (4, 5, 1160, 2e3), (9, 2, 990, 9e2)), HOLDS, ["in 3 of 3 pairs"]),
        (sized("baseline", (1, 20, 1000, 50.0), (4, 5, 1100, 20.0)), HOLDS, ["1000 parameters", "5 layers 20.4"]),
        (sized("parameters", (1, 20, 1000, 50.0), (4, 5, 1100, 20.0), seeds=(0,)), RESERVATION, ["a single seed"]),
        (
            sized("parameters", (1, 20, 1000, 50.0), (4, 5, 1100, 20.0), (9, 2, 990, 25.0)),
            RESERVATION,
            ["higher in 1 of 3 pairs"],
        ),
        (sized("parameters", (1, 20, 1000, 50.0), (4, 5, 1100, 49.0)), RESERVATION, ["spread in 1 of 1 pairs"]),
        (sized("parameters", (1, 20, 1000, 20.0), (4, 5, 1100, 50.0)), NOT_SEEN, ["Lower in 0 of 1"]),
        (sized("parameters", (1, 20, 1000, 50.0), (4, 5, 1200, 20.0)), NOT_TESTED, ["--control parameters"]),
        (sized("parameters", (4, 4, 1000, 50.0), (4, 5, 1100, 20.0)), NOT_TESTED, []),
    ],
)
def test_equal_parameters(rows, verdict, words):
    judge(patches_claims.not_the_size, rows, verdict, *words)


def by_depth(p, n):
    return 0.01 if n == 2 else 0.005


@pytest.mark.parametrize(
    ("rows", "verdict", "words"),
    [
        (sweep(inverse, layers=(2, 4)), HOLDS, ["at 4 patches: 2: 20.4", "At a fixed learning rate"]),
        (
            sweep(inverse, layers=(2, 4), learning_rate=by_depth)
            + sweep(inverse, "learning-rate", layers=(2,), learning_rate=0.005),
            HOLDS,
            ["learning rate 0.005: 2:"],
        ),
        (sweep(inverse, "learning-rate", layers=(2, 4)), HOLDS, []),
        (sweep(inverse, layers=(2, 4), learning_rate=by_depth), RESERVATION, ["--control learning-rate"]),
        (sweep(inverse, layers=(2, 4), learning_rate=None), RESERVATION, ["--control learning-rate"]),
        (
            sweep(inverse, layers=(2, 4), learning_rate=by_depth)
            + sweep(lambda p, n: 30 / n, "learning-rate", layers=(2, 4), learning_rate=0.001),
            RESERVATION,
            ["at a fixed learning rate it does not grow"],
        ),
        (sweep(inverse, layers=(2, 4), seeds=(0,)), RESERVATION, ["a single seed"]),
        (sweep(lambda p, n: 40 / n, layers=(2, 4)), NOT_SEEN, []),
        (BASE, NOT_TESTED, ["--layers 2,4,8"]),
    ],
)
def test_depth(rows, verdict, words):
    judge(patches_claims.sharper_with_depth, rows, verdict, *words)


# --- spectrum --------------------------------------------------------------------------------------------------------


def spectra(*pairs, **columns):
    return [
        row(seed=s, outliers_gap=count, gap_ratio=2.0 + s, near_zero_fraction=near, **columns)
        for s, (count, near) in enumerate(pairs)
    ]


@pytest.mark.parametrize(
    ("rows", "verdict", "words"),
    [
        (spectra((3, 0.6), (3, 0.8)), HOLDS, ["in 2 of 2 rows", "neighbours 2.5 (2–3)", "near zero 0.7 (0.6–0.8)"]),
        (spectra((3, 0.5), (3, 0.5)), HOLDS, []),
        (spectra((3, 0.6), (3, 0.4)), RESERVATION, ["not everywhere 50%"]),
        (spectra((3, None)), RESERVATION, ["not recorded"]),
        (spectra((3, 0.6), (0, 0.6)), RESERVATION, ["no outliers in 1 row"]),
        (spectra((3, 0.6), (0, 0.6), (0, 0.6)), NOT_SEEN, ["in 1 of 3 rows"]),
        ([row()], NOT_TESTED, ["--spectrum"]),
    ],
)
def test_bulk_and_outliers(rows, verdict, words):
    judge(spectrum_claims.bulk_and_outliers, rows, verdict, *words)


def counted(rule, classes=(2, 3, 5, 10), seeds=2):
    """Rows whose outliers number rule(K, seed); the largest K is the baseline's."""
    return [
        row("baseline" if k == max(classes) else "classes", seed=s, n_classes=k, outliers_gap=rule(k, s))
        for k in classes
        for s in range(seeds)
    ]


@pytest.mark.parametrize(
    ("rows", "verdict", "words"),
    [
        (counted(lambda k, s: k - 1), HOLDS, ["K − 1 in 100%", "K = 5: 4 x 2"]),
        (counted(lambda k, s: k), HOLDS, ["K in 100%"]),
        (counted(lambda k, s: k - s), RESERVATION, ["K − 1 in 50%, K in 50%", "neither"]),
        (counted(lambda k, s: k * k), RESERVATION, ["K² in 100%"]),
        (counted(lambda k, s: 1000 * s + k - 1), RESERVATION, ["K − 1 in 50%, K in 0%"]),
        (counted(lambda k, s: 7 if s else k - 1, (4, 20, 30), 3), NOT_SEEN, []),
        # Each K counts once, however many rows the baseline has.
        (counted(lambda k, s: k - 1, (10,), 30) + counted(lambda k, s: 20, (2, 3, 5)), NOT_SEEN, ["K − 1 in 25%"]),
        (counted(lambda k, s: k - 1, (10,)), NOT_TESTED, ["--control classes", "K = 10: 9 x 2"]),
        ([row()], NOT_TESTED, []),
    ],
)
def test_number_of_classes(rows, verdict, words):
    judge(spectrum_claims.outliers_are_classes, rows, verdict, *words)


def zeros(control="nulls", unused=20, redundant=30, near=0.5, images=1000, **columns):
    return row(
        control, parameters=1000, null_weights_predicted=unused, redundant_predicted=redundant,
        near_zero_fraction=near, images=images, **columns,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "verdict", "words"),
    [
        (
            [zeros()],
            RESERVATION,
            ["are 0.1 of", "20 unused + 30 redundant of 500 near zero, 1000 weights", "a single seed"],
        ),
        ([zeros("baseline", seed=s) for s in range(2)], HOLDS, ["0.1 (0.1–0.1)", "2 seeds"]),
        ([zeros(redundant=200)], RESERVATION, ["more than 25%"]),
        ([zeros(images=300)], RESERVATION, ["less than the number of weights"]),
        ([zeros(images=300), zeros(seed=1)], RESERVATION, ["less than the number of weights"]),
        ([zeros(curvature_images=300)], RESERVATION, ["less than the number of weights"]),
        ([zeros(redundant=400)], NOT_SEEN, ["are 0.84 of"]),
        # The numerical count goes before the prediction, and G's zeros before fewer ones of H.
        ([zeros(redundant_found=400)], NOT_SEEN, ["400 redundant"]),
        ([zeros(near=0.05, gn_null=500, seed=s) for s in range(2)], HOLDS, ["of 500 near zero"]),
        (
            [zeros(near=0.05, gn_null=500, lambda_max=2.0, rounding=1e-11, seed=s) for s in range(2)],
            HOLDS,
            ["of 500 near zero"],
        ),
        # In single precision G's zeros are rounding.
        ([zeros(near=0.1, gn_null=900, lambda_max=2.0, rounding=1e-3)], RESERVATION, ["of 100 near zero"]),
        ([zeros(near=None, gn_null=900, lambda_max=2.0, rounding=1e-3)], NOT_TESTED, []),
        # Rows of the control go before the baseline's.
        ([zeros(redundant=400), zeros("baseline")], NOT_SEEN, []),
        ([row(near_zero_fraction=0.5, parameters=1000)], NOT_TESTED, ["--control nulls"]),
        ([zeros(unused=0, redundant=0, near=0.0)], NOT_TESTED, []),
    ],
)
def test_structural_zeros(rows, verdict, words):
    judge(spectrum_claims.bulk_is_structure, rows, verdict, *words)


def blocks(*ratios, patches=4):
    return [row(patches=patches, seed=s, gn_lambda_max=2 * r, gn_block_lambda_max=2.0) for s, r in enumerate(ratios)]


@pytest.mark.parametrize(
    ("rows", "verdict", "words"),
    [
        (blocks(1.02, 1.08), HOLDS, ["4 patches 1.05 (1.02–1.08)", "2 seeds"]),
        (blocks(1.02, 1.3), RESERVATION, ["more than 10%"]),
        (blocks(1.4, 2.5) + blocks(5.0, patches=9), NOT_SEEN, ["9 patches 5;", "carry a large part"]),
        (blocks(1.0, patches=1), NOT_TESTED, ["gn_block_lambda_max"]),
        ([row(gn_lambda_max=1.0, gn_block_lambda_max=None)], NOT_TESTED, []),
    ],
)
def test_blocks(rows, verdict, words):
    judge(spectrum_claims.no_cross_patch_curvature, rows, verdict, *words)


def gradients(*fractions, parameters=400):
    return [row(seed=s, gradient_in_top_k=f, parameters=parameters) for s, f in enumerate(fractions)]


@pytest.mark.parametrize(
    ("rows", "verdict", "words"),
    [
        (gradients(0.9, 0.8), HOLDS, ["0.85 (0.8–0.9)", "random direction has 0.01"]),
        (gradients(0.9, 0.3), RESERVATION, ["below 0.8 in some row"]),
        (gradients(0.6, 0.3), NOT_SEEN, []),
        # Four of five directions hold four fifths of a gradient that knows of none.
        (gradients(0.82, 0.78, parameters=5), NOT_SEEN, ["a random direction has 0.8"]),
        (gradients(None), NOT_TESTED, ["--spectrum"]),
    ],
)
def test_gradient(rows, verdict, words):
    judge(spectrum_claims.gradient_in_leading_space, rows, verdict, *words)


# --- all of them -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{}],
        [{"patches": 4}],
        [row()],
        [row(lambda_max=None, train_loss=math.nan)],
        [{"lambda_max": 3.0, "seed": 1}],
    ],
    ids=["none", "empty", "patches only", "settings only", "None and NaN", "no settings"],
)
def test_missing_columns_and_single_rows_are_not_tested(rows):
    found = verdicts(rows)
    assert len(found) == len(CLAIMS) == 13
    assert {verdict.verdict for verdict in found} == {NOT_TESTED}
    assert all("--" in verdict.evidence for verdict in found)


def test_rows_of_before_the_controls():
    """Without the columns `control` and `point` all rows are the baseline."""
    found = verdicts(
        [{"patches": p, "layers": 2, "seed": s, "lambda_max": 8 / p + s / 99} for p in (1, 4) for s in (0, 1)]
    )
    assert found[0].verdict == HOLDS
    assert found[0].tested_by == "baseline"


def test_rows_of_controls_do_not_move_the_baseline():
    controls = summed(1) + sweep(lambda p, n: 1.0, "learning-rate") + sweep(lambda p, n: 9.0 * p, "parameters")
    assert patches_claims.inverse_law(BASE + controls + matched(1)) == patches_claims.inverse_law(BASE)


def test_the_published_table():
    """One seed, rates that change with depth: nothing can hold without a reservation, and 1 / P is not straight."""
    table = load("patches_hessian")["lambda_max"]
    rates = {50: 0.01, 100: 0.005, 150: 0.0025, 200: 0.001}
    rows = [
        row(
            patches=entry["patches"], layers=entry["layers"], lambda_max=entry["lambda_max"], n_classes=10,
            learning_rate=rates[entry["layers"]], parameters=entry["patches"] * (6 * entry["layers"] + 16) * 8 + 196,
        )
        for entry in table
    ]  # fmt: skip
    falls, law, fit, norm, size, depth, *_ = verdicts(rows)
    assert [v.verdict for v in (falls, law, size, depth)] == [RESERVATION] * 4
    assert [v.verdict for v in (fit, norm)] == [NOT_TESTED] * 2
    assert "a single seed in 8 steps" in falls.evidence
    assert "no single power" in law.evidence
    assert "4 patches x 200 layers 55.24 (55.24–55.24, 1 seed, 39108 parameters) against 9" in size.evidence
    assert "learning rate is not the same" in depth.evidence


def test_verdict_rows_suit_tables():
    rows = verdict_rows(verdicts(BASE))
    assert list(rows[0]) == ["claim", "source", "verdict", "evidence", "tested_by"]
    assert {entry["verdict"] for entry in rows} <= set(CLASSES)
    assert rows[0]["tested_by"] == "baseline"
    mixed = patches_claims.fewer_with_patches(BASE + sweep(inverse, "seeds", seeds=(8,)) + summed(-1))
    assert mixed.tested_by == "baseline, seeds, aggregation"
