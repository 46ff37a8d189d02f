"""The study `disentangler`: verdicts by their rules, and published figures."""

import pytest

from qjaxsim.report.verdict import HOLDS, NOT_SEEN, NOT_TESTED, RESERVATION
from qjaxsim.studies.disentangler import claims as judged
from qjaxsim.studies.disentangler.figures import overlap_and_entropy
from qjaxsim.studies.disentangler.published import comparison_rows


def row(part, method, source="trained", **more):
    return {"part": part, "method": method, "source": source, "seed": 1, "layer": "block0.value", **more}


def test_as_many_sizes_of_gates_as_one_likes_are_drawn_apart():
    numbers = {"depth": 1, "register": False, "merit": 0.5, "entropy": 1.0, "bound": 0.9, "entropy_before": 1.2}
    figure = overlap_and_entropy([row("depth", "explicit", gate_qubits=size, **numbers) for size in range(2, 11)])
    handles = figure.axes[1].get_legend().legend_handles
    assert len({line.get_color() for line in handles}) == len(handles) == 9


def wide(change, circuit=100, noise=None, dense=1000):
    rows = [
        row("bond", "explicit", chi=1, perplexity_change=change, classical=36, circuit=circuit, dense=dense, error=0.1),
        row("bond", "mpo", chi=1, perplexity_change=0.1),
        row("bond", "zero", perplexity_change=0.2),
    ]
    return rows + ([row("bond", "explicit", "noise", chi=1, error=noise)] if noise else [])


@pytest.mark.parametrize(
    ("rows", "verdict", "words"),
    [
        (wide(0.0095, noise=0.21), HOLDS, "36 numbers and 100 angles for a layer of 1000: perplexity +0.95 %"),
        (wide(0.005, circuit=5000), RESERVATION, "5.0 times the layer's numbers as angles"),
        (wide(0.005, noise=0.15), RESERVATION, "noise of the same norm is approximated as well (error 0.150"),
        (
            wide(0.005) + [row("bond", "svd-minimal", chi=1, total=130, perplexity_change=0.001)],
            RESERVATION,
            "an SVD of 130 numbers, its rank counted at its least, costs +0.10 %",
        ),
        (wide(0.02), NOT_SEEN, "plain MPO +10.00 %, layer removed +20.00 %"),
        ([], NOT_TESTED, "--parts bond"),
    ],
)
def test_few_numbers(rows, verdict, words):
    found = judged.few_numbers(rows)
    assert found.verdict == verdict and words in found.evidence
    # The 36 numbers are never named without the circuits' angles.
    assert "556416 angles" in found.claim


def test_costs_that_are_equal_in_the_mean_are_equal():
    """The mean of the same numbers in another order is smaller in its last digit."""
    ours = [{**wide(change)[0], "seed": seed} for seed, change in enumerate((1 / 30, 2 / 30, 0.2))]
    least = [row("bond", "svd-minimal", chi=1, total=130, perplexity_change=change) for change in (1 / 30, 0.2, 2 / 30)]
    found = judged.few_numbers([*ours, row("bond", "mpo", chi=1, perplexity_change=10.0), *least])
    assert found.verdict == HOLDS, found.evidence


def grid(ours, plain=0.9, svd=0.8, free=0.7, total=500, source="trained", layer="block0.value"):
    """One optimised layer and its baselines."""
    key = {"chi": 4, "gate_qubits": 2, "depth": 8, "layer": layer}
    own = row(
        "layers", "explicit", source, error=ours, total=total, classical=300, dense=1000, break_even_svd=0.5, **key
    )
    others = [row("layers", name, source, error=error, **key)
              for name, error in (("svd-total", svd), ("mpo-total", 0.95), ("svd-classical", free))]  # fmt: skip
    return [own, *others, row("layers", "mpo", source, error=plain, chi=4, depth=0, layer=layer)]


def test_against_plain_mpo_and_equal_numbers():
    assert judged.circuits_help(grid(0.6)).verdict == HOLDS
    assert judged.circuits_help(grid(0.885)).verdict == HOLDS  # by 1.7 %
    assert judged.circuits_help(grid(0.95)).verdict == NOT_SEEN
    mixed = grid(0.6) + grid(0.6, layer="block0.up") + grid(0.95, layer="block0.down")
    found = judged.circuits_help(mixed)
    assert found.verdict == RESERVATION and "lower by 1 % or more in 2 of 3 layers" in found.evidence
    assert f"{(2 * 0.6 / 0.9 + 0.95 / 0.9) / 3:.3f} times in the mean" in found.evidence
    assert judged.circuits_help(mixed + grid(0.95, source="noise")) == found  # noise is no layer
    assert judged.smaller_at_equal_quality(grid(0.6)).verdict == HOLDS
    assert judged.smaller_at_equal_quality(grid(0.85)).verdict == NOT_SEEN
    # A layer that is larger than the dense one does not compress, whatever its error.
    assert judged.smaller_at_equal_quality(grid(0.6, total=1001)).verdict == NOT_SEEN
    half = judged.smaller_at_equal_quality(grid(0.6) + grid(0.85, layer="block0.up"))
    assert half.verdict == NOT_SEEN and "1 of those are closer" in half.evidence
    most = judged.smaller_at_equal_quality(grid(0.6) + grid(0.6, layer="block0.down") + grid(0.85, layer="block0.up"))
    assert most.verdict == RESERVATION and "2 of those are closer" in most.evidence
    free = judged.smaller_with_free_circuits(grid(0.6))
    assert free.verdict == RESERVATION and "an angle may cost 0.50 to 0.50" in free.evidence
    assert judged.smaller_with_free_circuits(grid(0.75)).verdict == NOT_SEEN


def test_structure_against_noise():
    better = grid(0.45) + grid(0.8, source="noise")
    single = judged.structure_is_found(better)
    assert single.verdict == RESERVATION and single.evidence.endswith("; a single case")
    assert judged.structure_is_found(better + [{**one, "seed": 2} for one in better]).verdict == HOLDS
    assert judged.structure_is_found(grid(0.8) + grid(0.45, source="noise")).verdict == NOT_SEEN
    assert judged.structure_is_found(grid(0.45)).verdict == NOT_TESTED
    # Errors fall by 0.5 and 0.48 of themselves: not clearly more.
    assert judged.structure_is_found(grid(0.45) + grid(0.468, source="noise")).verdict == NOT_SEEN


def test_differences_that_are_no_support():
    # Two cases of .998 against .999: a tenth of a percent, though it is twice noise's.
    tiny = judged.structure_is_found(grid(0.8982) + grid(0.8991, source="noise"))
    assert tiny.verdict == NOT_SEEN and "a difference of 0.10 % is none" in tiny.evidence
    # A mean difference of 5 %, but one case has 15 % and the other lacks 5 %.
    layers = [*grid(0.60), *({**one, "seed": 2} for one in grid(0.60)), *({**one, "seed": 3} for one in grid(0.60))]
    noise = [*grid(0.62, source="noise"), *({**one, "seed": 2} for one in grid(0.80, source="noise")),
             *({**one, "seed": 3} for one in grid(0.61, source="noise"))]  # fmt: skip
    wide = judged.structure_is_found(layers + noise)
    assert wide.verdict == NOT_SEEN and "within its spread over the cases" in wide.evidence
    # Differences of 0.1, 0.2 and 0.3 lie 3.5 standard errors from none.
    apart = [{**one, "seed": 3 - k} for k, e in enumerate((0.69, 0.78, 0.87)) for one in grid(e, source="noise")]
    assert judged.structure_is_found(layers + apart).verdict == HOLDS
    assert judged.circuits_help(grid(0.8999)).verdict == NOT_SEEN
    assert judged.overlap_grows_with_depth(curve([0.2, 0.2001, 0.2002])).verdict == NOT_SEEN
    assert judged.entropy_falls(curve([0.2, 0.3], entropies=[1.0, 0.9999])).verdict == NOT_SEEN


def curve(merits, entropies=None, source="trained"):
    entropies = entropies or [1.0 - 0.1 * i for i in range(len(merits))]
    return [
        row("depth", "explicit", source, gate_qubits=2, register=False, depth=2**i, merit=merit, entropy=entropy,
            entropy_before=1.2)
        for i, (merit, entropy) in enumerate(zip(merits, entropies, strict=True))
    ]  # fmt: skip


def test_curves_against_depth():
    line = curve([0.2, 0.3, 0.4, 0.5])
    assert judged.overlap_grows_with_depth(curve([0.2, 0.3, 0.4, 0.5, 0.6, 0.7])).verdict == HOLDS
    assert judged.overlap_grows_with_depth(line).verdict == HOLDS
    late = judged.overlap_grows_with_depth(curve([0.2, 0.201, 0.202, 0.203, 0.9]))
    assert late.verdict == RESERVATION and "not a straight line" in late.evidence
    noisy = judged.overlap_grows_with_depth(line + curve([0.1, 0.2, 0.3, 0.4], source="noise"))
    assert noisy.verdict == RESERVATION and "noise does so, too (0.100 to 0.400)" in noisy.evidence
    assert judged.overlap_grows_with_depth(curve([0.2, 0.3, 0.25])).verdict == NOT_SEEN
    assert judged.overlap_grows_with_depth(curve([0.2, 0.3])).verdict == NOT_TESTED
    assert judged.entropy_falls(line).verdict == HOLDS
    assert judged.entropy_falls(line + curve([0.1] * 4, source="noise")).verdict == RESERVATION
    assert judged.entropy_falls(curve([0.2, 0.3], [1.1, 1.1])).verdict == NOT_SEEN
    register = row("depth", "explicit", gate_qubits=6, register=True, depth=1, merit=0.7)
    assert judged.small_gates_are_weak([*line, register]).verdict == HOLDS
    assert judged.small_gates_are_weak([*line, {**register, "merit": 0.55}]).verdict == NOT_SEEN
    assert judged.small_gates_are_weak(line).verdict == NOT_TESTED


def test_healing():
    rows = [
        row("model", "original", accuracy=0.55),
        {**row("model", "dense", size=1.0, accuracy=0.55, accuracy_bond=0.56), "layer": "12 layers"},
        {**row("model", "mpo", size=0.3, accuracy=0.2, accuracy_bond=0.53), "layer": "12 layers"},
        {**row("model", "explicit", size=0.4, accuracy=0.5, accuracy_bond=0.55), "layer": "12 layers"},
    ]
    held = judged.healing_recovers(rows)
    assert held.verdict == HOLDS and "mpo of 30 %" in held.evidence and "trained as long 0.560" in held.evidence
    svd = {**row("model", "svd-total", size=0.29, accuracy=0.4, accuracy_bond=0.54), "layer": "12 layers"}
    assert judged.healing_recovers([*rows, svd]).verdict == RESERVATION
    # Three points just met: in floating point 0.53 - 0.5 is above 0.03.
    assert judged.healing_recovers([{**rows[0], "accuracy": 0.53}, {**rows[2], "accuracy_bond": 0.5}]).verdict == HOLDS
    rows[2]["accuracy_bond"] = 0.5
    assert judged.healing_recovers(rows).verdict == NOT_SEEN
    rows[2]["accuracy_circuits"] = 0.54
    assert judged.healing_recovers(rows).verdict == HOLDS
    assert judged.healing_recovers(rows[:2]).verdict == NOT_TESTED
    # A seed whose model is better says nothing of the other: 0.6 to 0.55 and 0.5 to 0.45 lose five points each.
    seeds = [{**row("model", "original", accuracy=before), "seed": seed} for seed, before in ((1, 0.6), (2, 0.5))]
    seeds += [
        {**row("model", "mpo", size=0.3, accuracy=0.2, accuracy_bond=after), "layer": "12 layers", "seed": seed}
        for seed, after in ((1, 0.55), (2, 0.45))
    ]
    lost = judged.healing_recovers(seeds)
    assert lost.verdict == NOT_SEEN and "original 0.550; mpo of 30 % of the numbers 0.200, trained further 0.500" in (
        lost.evidence
    )


def blocks(*changes, column="perplexity_change", layer="block{}.up"):
    """One optimised layer a block."""
    return [row("layers", "explicit") | {column: one, "layer": layer.format(at)} for at, one in enumerate(changes)]


def test_depth_of_layers():
    assert judged.deeper_compresses_better(blocks(0.4, 0.3, 0.2, 0.1)).verdict == HOLDS
    two = judged.deeper_compresses_better(blocks(0.4, 0.1))
    assert two.verdict == RESERVATION and "+40.00 % in block 0" in two.evidence
    assert judged.deeper_compresses_better(blocks(0.1, 0.4)).verdict == NOT_SEEN
    # A lead of 0.1, whose standard error is the root of 0.02 / 2.
    close = judged.deeper_compresses_better(blocks(0.3, 0.1) + blocks(0.1, 0.1))
    assert close.verdict == NOT_SEEN and "within the spread over layers" in close.evidence
    assert judged.deeper_compresses_better(blocks(0.1)).verdict == NOT_TESTED


def test_encoders_are_judged_by_distances_of_sentences():
    rows = [{name: value for name, value in one.items() if name != "perplexity_change"} | {"distance": distance}
            for one, distance in zip(wide(0.0), (0.004, 0.1, 0.2), strict=True)]  # fmt: skip
    found = judged.few_numbers(rows)
    assert found.verdict == HOLDS
    assert "distance of sentences 0.004, plain MPO 0.1, layer removed 0.2" in found.evidence
    rows[0]["distance"] = 0.02
    assert judged.few_numbers(rows).verdict == NOT_SEEN

    named = {"column": "distance", "layer": "encoder.layer.{}.output.dense"}
    assert judged.deeper_compresses_better(blocks(0.4, 0.3, 0.2, 0.1, **named)).verdict == HOLDS
    deeper = judged.deeper_compresses_better(blocks(0.04, 0.25, **named))
    assert deeper.verdict == NOT_SEEN and "distance of sentences 0.04 in block 0, 0.25 in block 1" in deeper.evidence

    original = row("model", "original", distance=0.0, agreement=1.0)
    mpo = row("model", "mpo", size=0.3, distance=0.3, agreement=0.5, agreement_bond=0.96, agreement_circuits=0.98)
    healed = judged.healing_recovers([original, {**mpo, "layer": "4 layers"}])
    assert healed.verdict == HOLDS and "agreement of the original 1.000; mpo of 30 %" in healed.evidence
    assert healed.evidence.endswith("0.500, trained further 0.980")
    adapters = judged.adapters_gain([original, mpo])
    assert adapters.verdict == NOT_TESTED and "the built-in model" in adapters.evidence
    assert comparison_rows([original, *blocks(0.1, **named)]) == []


def test_adapters():
    def trained(cayley, triangular=None, dense=None):
        values = {"adapter-cayley": cayley, "adapter-triangular": triangular, "dense": dense}
        kept = {name: value for name, value in values.items() if value is not None}
        original = row("model", "original", perplexity=10.0)
        return [original, *(row("model", name, perplexity_bond=value) for name, value in kept.items())]

    assert judged.adapters_gain(2 * trained(9.8, 9.9, 10.1)).verdict == HOLDS
    found = judged.adapters_gain(2 * trained(9.8, 9.7, 9.9))
    assert found.verdict == RESERVATION and "rotations -2.00 %, the classical control -3.00 %" in found.evidence
    assert "the classical control does as well" in found.evidence
    assert judged.adapters_gain(trained(9.8, 9.9, 9.0)).verdict == RESERVATION
    assert judged.adapters_gain(trained(10.1, 9.9)).verdict == NOT_SEEN
    assert judged.adapters_gain(trained(10.1)[:1]).verdict == NOT_TESTED


def test_claims_hold_with_a_reservation_by_a_single_seed():
    helped = "Circuits lower the error of an MPO of the same bond."
    compressed = "Circuits and MPO together compress better than SVD or plain MPO of as many numbers."

    def found(rows):
        return {one.claim: one for one in judged.disentangler_verdicts(rows)}

    alone = found(grid(0.85))
    assert alone[helped].verdict == RESERVATION and alone[helped].evidence.endswith("; a single seed")
    assert alone[compressed].verdict == NOT_SEEN and "a single seed" not in alone[compressed].evidence
    assert found(grid(0.85) + [{**one, "seed": 2} for one in grid(0.85)])[helped].verdict == HOLDS


def test_nothing_is_claimed_from_nothing():
    assert {one.verdict for one in judged.disentangler_verdicts([])} == {NOT_TESTED}
    assert comparison_rows([]) == []


def test_comparison_names_circuits_and_differences():
    rows = wide(0.01, circuit=5000)
    rows[1] |= {"classical": 24, "circuit": 0, "dense": 1000}
    rows += [row("model", "original", accuracy=0.5, model_parameters=100)]
    rows += [{**row("model", "mpo-balanced-total", chi=16, accuracy_bond=0.4, model_parameters=50, total=30),
              "layer": "12 layers"}]  # fmt: skip
    found = comparison_rows(rows)
    assert [entry["published"] for entry in found] == [0.097, 0.0026, 0.528, 0.516]
    assert [entry["ours"] for entry in found] == [0.1, 0.01, 0.5, 0.4]
    assert "(36 numbers, 5000 angles; published 36, 556416)" in found[1]["quantity"]
    assert all(entry["difference"] is None and isinstance(entry["comparable"], str) for entry in found)
