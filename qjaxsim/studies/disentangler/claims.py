"""Claims on disentangled layers, each judged by a stated rule from the rows of the study `disentangler`."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from qjaxsim_data import load

from qjaxsim.report.verdict import HOLDS, NOT_SEEN, NOT_TESTED, RESERVATION, Verdict
from qjaxsim.studies.disentangler.harm import harm_of, healed_means, percent
from qjaxsim.studies.disentangler.published import PAPER
from qjaxsim.studies.shared.judging import concluded, of_one_seed, settled, settled_mean, single_seed, untested

Row = dict[str, Any]
OPTIMISED = ("explicit", "gradient")
_KEY = ("seed", "layer", "source", "chi", "gate_qubits", "depth")
# Share of the layer's numbers, and points of accuracy, of the claim on healing (arXiv:2401.14109 v2).
_KEPT, _POINTS = 0.3, 0.03
# How much larger a fall of the error must be to count as larger.
_CLEARLY = 1.1
# Share of an error, an overlap or an entropy below which a change is no support for a claim.
_SEEN = 0.01
# Standard errors that a mean difference must exceed.
_SURE = 2.0
# Errors up to this are rounding: nothing is left to lower.
_EXACT = 1e-5
# Least coefficient of determination of a straight line in the logarithm of the depth.
_STRAIGHT = 0.9


def disentangler_verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """One verdict a claim; each function states its rule. What rests on a single seed holds with a reservation at most.

    Args:
        rows: table of the study. Parts may be missing: claims that need them are then "not tested here".
    """
    claims = (
        few_numbers, circuits_help, smaller_at_equal_quality, smaller_with_free_circuits, structure_is_found,
        overlap_grows_with_depth, entropy_falls, small_gates_are_weak, healing_recovers, deeper_compresses_better,
        adapters_gain,
    )  # fmt: skip
    found = [claim(rows) for claim in claims]
    return [of_one_seed(one) for one in found] if single_seed(rows) else found


def few_numbers(rows: Sequence[Row]) -> Verdict:
    """36 numbers and circuits as wide as the registers do for a layer.

    Holds if at bond 1 the perplexity (of an encoder: the distance of sentences) rises by less than a tenth of what the
    plain MPO of bond 1 costs (published: a thirty-seventh). With a reservation if the circuits have as many angles as
    the layer has numbers, if noise of the same norm is approximated as well (its error at most twice the layer's), or
    if an SVD of as many numbers, a rank counted at its least, costs less.
    """
    published = load("tensor_network_disentanglers")["bond"][0]
    claim = (
        f"An MPO of {published['mpo_parameters']} numbers does for a layer, beside {published['circuit_parameters']} "
        f"angles of circuits."
    )
    source = f"{PAPER}, Table I"
    wide = [row for row in rows if row["part"] == "bond" and row["method"] == "explicit" and row["chi"] == 1]
    ours = [row for row in wide if row["source"] != "noise"]
    plain = [row for row in rows if row["part"] == "bond" and row["method"] == "mpo" and row.get("chi") == 1]
    plain = [row for row in plain if row["source"] != "noise"]
    harm = harm_of(rows)
    if not ours or not plain or ours[0].get(harm.column) is None:
        return untested(claim, source, "--parts bond and a model")
    change, damage = _mean(ours, harm.column), _mean(plain, harm.column)
    one = ours[0]
    evidence = (
        f"{one['classical']} numbers and {one['circuit']} angles for a layer of {one['dense']}: {harm.name} "
        f"{harm.said(change)}, plain MPO {harm.said(damage)}"
    )
    removed = [r for r in rows if r["part"] == "bond" and r["method"] == "zero" and r["source"] != "noise"]
    evidence += f", layer removed {harm.said(_mean(removed, harm.column))}" if removed else ""
    if change >= damage / 10:
        return Verdict(claim, source, NOT_SEEN, evidence, "mpo, zero")
    doubts = []
    if one["circuit"] >= one["dense"]:
        doubts.append(f"the circuits have {one['circuit'] / one['dense']:.1f} times the layer's numbers as angles")
    noise = [row for row in wide if row["source"] == "noise"]
    if noise and _mean(noise, "error") <= 2 * _mean(ours, "error"):
        doubts.append(
            f"noise of the same norm is approximated as well (error {_mean(noise, 'error'):.3f}, the layer's "
            f"{_mean(ours, 'error'):.3f})"
        )
    least = [r for r in rows if r["part"] == "bond" and r["method"] == "svd-minimal" and r.get("chi") == 1]
    least = [row for row in least if row["source"] != "noise"]
    if least and _mean(least, harm.column) < change:
        doubts.append(
            f"an SVD of {least[0]['total']} numbers, its rank counted at its least, costs "
            f"{harm.said(_mean(least, harm.column))}"
        )
    return concluded(claim, source, evidence, doubts, "mpo, zero, noise, svd-minimal")


def circuits_help(rows: Sequence[Row]) -> Verdict:
    """Circuits lower the error of a cut at the same bond.

    Holds if every optimised layer of part "layers", noise left out, is closer to the weight than the plain MPO of its
    bond, by 1 % of the error or more; with a reservation if most are.
    """
    claim, source = "Circuits lower the error of an MPO of the same bond.", f"{PAPER}, Fig. 3"
    pairs = [(ours, plain) for ours, plain in _beside_plain(rows) if ours["source"] != "noise"]
    if not pairs:
        return untested(claim, source, "--parts layers and bonds that cut")
    wins = sum(_lower(ours["error"], plain["error"]) for ours, plain in pairs)
    ratio = float(np.mean([ours["error"] / plain["error"] for ours, plain in pairs]))
    evidence = f"lower by 1 % or more in {wins} of {len(pairs)} layers and bonds, {ratio:.3f} times in the mean"
    if 2 * wins <= len(pairs):
        return Verdict(claim, source, NOT_SEEN, evidence, "mpo")
    return concluded(claim, source, evidence, ["not everywhere"] if wins < len(pairs) else [], "mpo")


def smaller_at_equal_quality(rows: Sequence[Row]) -> Verdict:
    """With every angle counted as a number, disentangled layers are the better compression.

    Holds if every optimised layer of part "layers" has fewer numbers than the layer itself and a lower error than the
    matrices of low rank and the plain MPOs of as many numbers; with a reservation if most are so.
    """
    claim = "Circuits and MPO together compress better than SVD or plain MPO of as many numbers."
    return _against(rows, claim, ("svd-total", "svd-minimal", "mpo-total", "mpo-balanced-total"), "total")


def smaller_with_free_circuits(rows: Sequence[Row]) -> Verdict:
    """With angles for nothing, disentangled layers are the better compression.

    As `smaller_at_equal_quality`, against a matrix of low rank with as many numbers as the MPO alone; always with a
    reservation, which gives the prices at which it ends.
    """
    claim = "The MPO alone is a better compression than SVD of as many numbers, angles not counted."
    found = _against(rows, claim, ("svd-classical",), "classical")
    prices = [row["break_even_svd"] for row in _layers(rows) if row.get("break_even_svd") is not None]
    if found.verdict == NOT_TESTED or not prices:
        return found
    text = (
        f"{found.evidence}; the circuits are not free: an angle may cost {min(prices):.2f} to {max(prices):.2f} stored "
        f"numbers before an equally accurate SVD is smaller"
    )
    return found._replace(verdict=NOT_SEEN if found.verdict == NOT_SEEN else RESERVATION, evidence=text)


def structure_is_found(rows: Sequence[Row]) -> Verdict:
    """What circuits gain is structure of trained layers.

    Holds if the error falls by a larger share than for Gaussian noise of the same shape and norm with the same bond and
    circuits in every case; with a reservation if in most and by a tenth more in the mean, or in the only case. Not seen
    if the mean difference is below 1 % of the error, or within twice its standard error over the cases.
    """
    claim, source = "Circuits disentangle what training has put into a layer.", f"{PAPER}, implied"
    gains: dict[tuple[Any, ...], dict[str, list[float]]] = {}
    for ours, plain in _beside_plain(rows):
        key = tuple(ours[name] for name in _KEY if name != "source")
        kind = "noise" if ours["source"] == "noise" else "layer"
        gains.setdefault(key, {}).setdefault(kind, []).append(ours["error"] / plain["error"])
    both = [one for one in gains.values() if len(one) == 2]
    if not both:
        return untested(claim, source, "--parts layers")
    means = [{kind: settled_mean(ratios) for kind, ratios in one.items()} for one in both]
    wins = sum(one["layer"] < one["noise"] for one in means)
    layer, noise = (settled_mean([one[kind] for one in means]) for kind in ("layer", "noise"))
    evidence = (
        f"error with circuits over error without: {layer:.3f} for layers, {noise:.3f} for noise; lower in {wins} of "
        f"{len(both)} cases"
    )
    differences = [one["noise"] - one["layer"] for one in means]
    if 2 * wins <= len(both) or 1 - layer < _CLEARLY * (1 - noise):
        return Verdict(claim, source, NOT_SEEN, evidence, "noise")
    if (within := _within(differences)) is not None:
        return Verdict(claim, source, NOT_SEEN, f"{evidence}; {within}", "noise")
    doubts = ["not everywhere"] if wins < len(both) else []
    return concluded(claim, source, evidence, doubts + (["a single case"] if len(both) < 2 else []), "noise")


def overlap_grows_with_depth(rows: Sequence[Row]) -> Verdict:
    """The overlap of two-qubit gates grows like the logarithm of the depth.

    Holds if it rises with every depth, by 1 % or more in all, and a straight line in its logarithm explains 90 % of the
    variance, from three depths on; with a reservation if it rises only, or if noise does the same.
    """
    claim, source = "With two-qubit gates the overlap grows about like the logarithm of the depth.", f"{PAPER}, Fig. 3"
    curves = {kind: _curve(rows, kind, "merit") for kind in ("layer", "noise")}
    depths, merits = curves["layer"]
    if len(depths) < 3:
        return untested(claim, source, "--parts depth with three depths")
    evidence = "overlap " + ", ".join(f"{m:.3f} at {d}" for d, m in zip(depths, merits, strict=True))
    if np.any(np.diff(merits) <= 0) or not _lower(merits[0], merits[-1]):
        return Verdict(claim, source, NOT_SEEN, evidence, "noise")
    straight = float(np.corrcoef(np.log(depths), merits)[0, 1] ** 2)
    evidence += f"; a line in the logarithm explains {100 * straight:.0f} %"
    doubts = ["not a straight line"] if straight < _STRAIGHT else []
    others = curves["noise"][1]
    if len(others) == len(merits) and np.all(np.diff(others) > 0):
        doubts.append(f"noise does so, too ({others[0]:.3f} to {others[-1]:.3f})")
    return concluded(claim, source, evidence, doubts, "noise")


def entropy_falls(rows: Sequence[Row]) -> Verdict:
    """Deeper circuits leave less entropy.

    Holds if the mean entropy of the bonds at the largest depth of two-qubit gates is lower than at the smallest and
    than without circuits, by 1 % or more; with a reservation if that of noise is, too.
    """
    claim, source = "Bond entropy falls with the depth of the circuits.", f"{PAPER}, Fig. 3"
    before, after = _curve(rows, "layer", "entropy_before")[1], _curve(rows, "layer", "entropy")[1]
    if len(after) < 2:
        return untested(claim, source, "--parts depth with two depths, and layers of more than two rows or columns")
    evidence = (
        f"{before[0]:.3f} nats without circuits, {after[0]:.3f} at the smallest depth, {after[-1]:.3f} at the largest"
    )
    if not _lower(after[-1], min(before[0], after[0])):
        return Verdict(claim, source, NOT_SEEN, evidence, "noise")
    noise, start = _curve(rows, "noise", "entropy")[1], _curve(rows, "noise", "entropy_before")[1]
    doubts = []
    if len(noise) and noise[-1] < min(start[0], noise[0]):
        doubts.append(f"that of noise does, too ({start[0]:.3f}, {noise[0]:.3f}, {noise[-1]:.3f})")
    return concluded(claim, source, evidence, doubts, "noise")


def small_gates_are_weak(rows: Sequence[Row]) -> Verdict:
    """Two-qubit gates disentangle weakly.

    Holds if the overlap at their largest depth is below 80 % of that of gates as wide as the registers.
    """
    claim, source = "Small gates disentangle weakly, wide ones strongly.", f"{PAPER} and arXiv:2509.06653"
    merits = _curve(rows, "layer", "merit")[1]
    wide = [row for row in rows if row["part"] == "depth" and row["register"] and row["source"] != "noise"]
    if not len(merits) or not wide:
        return untested(claim, source, "--parts depth with --profile-gate-qubits 2,register")
    best = _mean(wide, "merit")
    evidence = f"overlap {merits[-1]:.3f} of two-qubit gates, {best:.3f} of gates as wide as the registers"
    return Verdict(claim, source, HOLDS if merits[-1] < 0.8 * best else NOT_SEEN, evidence, "register")


def healing_recovers(rows: Sequence[Row]) -> Verdict:
    """Healed MPOs of 30 % of the numbers keep accuracy to three points.

    Holds if with all layers replaced some MPO, with circuits or without, of at most 30 % of the layers' numbers is
    within three points of the original's accuracy (of an encoder: share of nearest neighbours kept) after training, in
    the mean over seeds; with a reservation if the smallest such SVD is no larger than 30 % either.
    """
    claim = "Layers as MPOs of 30 % of their numbers, trained further, lose at most three points of accuracy."
    source = "arXiv:2401.14109 v2"
    original = [row for row in rows if row["part"] == "model" and row["method"] == "original"]
    harm = harm_of(rows)
    healed = healed_means(rows, harm)
    small = [row for row in healed if row["size"] <= _KEPT]
    mpos = [row for row in small if row["method"].startswith("mpo") or row["method"] in OPTIMISED]
    if not original or not mpos:
        return untested(claim, source, "--parts layers,model with healing and a bond small enough")
    accuracy = _mean(original, harm.quality)
    best = max(mpos, key=lambda row: row["healed"])
    evidence = (
        f"{harm.quality} of the original {accuracy:.3f}; {best['method']} of {100 * best['size']:.0f} % of the numbers "
        f"{best[harm.quality]:.3f}, trained further {best['healed']:.3f}"
    )
    dense = [row for row in healed if row["method"] == "dense"]
    evidence += f"; the layers themselves trained as long {_mean(dense, 'healed'):.3f}" if dense else ""
    if settled(accuracy - best["healed"]) > _POINTS:
        return Verdict(claim, source, NOT_SEEN, evidence, "svd, dense")
    svd = [row for row in small if row["method"].startswith("svd") and settled(accuracy - row["healed"]) <= _POINTS]
    doubts = [f"so does SVD ({max(row['healed'] for row in svd):.3f})"] if svd else []
    return concluded(claim, source, evidence, doubts, "svd, dense")


def deeper_compresses_better(rows: Sequence[Row]) -> Verdict:
    """Layers of later blocks compress better.

    Holds if over bonds and circuits the mean change of perplexity (of an encoder: distance of sentences) of the last
    block's layers, one replaced at a time, is below that of the first block's; with a
    reservation for fewer than four blocks. Not seen if the difference is within twice its standard error over layers,
    bonds and circuits.
    """
    claim, source = "Deeper layers compress better.", "arXiv:2401.14109"
    harm, changes = harm_of(rows), dict[int, list[float]]()
    for row in _layers(rows):
        block = re.match(r"(?:block|encoder\.layer\.)(\d+)\.", row["layer"])
        if block is not None and row["source"] == "trained" and row.get(harm.column) is not None:
            changes.setdefault(int(block[1]), []).append(row[harm.column])
    if len(changes) < 2:
        return untested(claim, source, "--parts layers with a model of two blocks")
    means = {number: float(np.mean(values)) for number, values in sorted(changes.items())}
    evidence = f"mean {harm.name} " + ", ".join(f"{harm.said(one)} in block {at}" for at, one in means.items())
    if means[max(means)] >= means[min(means)]:
        return Verdict(claim, source, NOT_SEEN, evidence, "none")
    first, last = changes[min(means)], changes[max(means)]
    if means[min(means)] - means[max(means)] <= _SURE * _error_of_difference(first, last):
        evidence += "; within the spread over layers, bonds and circuits"
        return Verdict(claim, source, NOT_SEEN, evidence, "none")
    return concluded(claim, source, evidence, [f"{len(means)} blocks"] if len(means) < 4 else [], "none")


def adapters_gain(rows: Sequence[Row]) -> Verdict:
    """Unitary adapters trained behind the layers lower perplexity.

    Holds if the mean perplexity with rotations is below the original's; with a reservation if the triangular control
    with as many numbers, trained alike, is at most as high, or if further training of the layers themselves is. Not
    seen if the change is within twice its standard error over seeds.
    """
    gain = load("tensor_network_disentanglers")["adapters"]["largest_perplexity_gain"]
    claim = f"Unitary adapters trained on top lower perplexity (by up to {100 * gain:.1f} %)."
    source = f"{PAPER}, arXiv:2605.05914"
    model = [row for row in rows if row["part"] == "model"]
    found = {name: [row["perplexity_bond"] for row in model if row["method"] == name and row.get("perplexity_bond")]
             for name in ("adapter-cayley", "adapter-triangular", "dense")}  # fmt: skip
    original = [row["perplexity"] for row in model if row["method"] == "original" and "perplexity" in row]
    if not found["adapter-cayley"] or not original:
        return untested(claim, source, "--parts layers,model with healing and the built-in model")
    before = float(np.mean(original))
    changes = {name: float(np.mean(values)) / before - 1 for name, values in found.items() if values}
    ours = changes.pop("adapter-cayley")
    words = {"adapter-triangular": "the classical control", "dense": "training the layers themselves as long"}
    evidence = f"rotations {percent(ours)}" + "".join(f", {words[n]} {percent(v)}" for n, v in changes.items())
    tested = "triangular, dense"
    error = _error_of_difference(original, found["adapter-cayley"]) / before
    if ours >= 0 or -ours <= _SURE * error:
        evidence += "; within the spread over seeds" if ours < 0 else ""
        return Verdict(claim, source, NOT_SEEN, evidence, tested)
    doubts = [f"{words[name]} does as well" for name, change in changes.items() if change <= ours]
    return concluded(claim, source, evidence, doubts, tested)


# --- pieces ----------------------------------------------------------------------------------------------------------


def _layers(rows: Sequence[Row]) -> list[Row]:
    """Optimised layers of the grid."""
    return [row for row in rows if row["part"] == "layers" and row["method"] in OPTIMISED]


def _pairs(rows: Sequence[Row], methods: Sequence[str], key: Sequence[str]) -> list[tuple[Row, list[Row]]]:
    """Optimised layers of the grid that have any, each with the rows of other methods that share its key."""
    others = {(row["method"], *(row.get(name) for name in key)): row for row in rows if row["part"] == "layers"}
    out = []
    for ours in _layers(rows):
        found = [others.get((method, *(ours[name] for name in key))) for method in methods]
        present = [row for row in found if row is not None]
        if present:
            out.append((ours, present))
    return out


def _beside_plain(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Optimised layers of the grid, each with the plain MPO of its bond, where that is not exact."""
    pairs = _pairs(rows, ("mpo",), ("seed", "layer", "source", "chi"))
    return [(ours, plain) for ours, (plain,) in pairs if plain["error"] > _EXACT]


def _against(rows: Sequence[Row], claim: str, methods: Sequence[str], counted: str) -> Verdict:
    source = f"{PAPER} and arXiv:2401.14109, implied"
    pairs = [(ours, others) for ours, others in _pairs(rows, methods, _KEY) if ours["source"] != "noise"]
    if not pairs:
        return untested(claim, source, "--parts layers")
    small = [(ours, others) for ours, others in pairs if ours[counted] < ours["dense"]]
    wins = [ours for ours, others in small if _lower(ours["error"], min(row["error"] for row in others))]
    evidence = (
        f"{len(small)} of {len(pairs)} layers and bonds have fewer numbers ({counted}) than the layer; {len(wins)} of "
        f"those are closer to it by 1 % or more than {', '.join(methods)}"
    )
    best = [(ours["error"], min(row["error"] for row in others)) for ours, others in small]
    if ratios := [ours / other for ours, other in best if other > _EXACT]:
        evidence += f"; error over that of the best of them {min(ratios):.2f} to {max(ratios):.2f}"
    if 2 * len(wins) <= len(pairs):
        return Verdict(claim, source, NOT_SEEN, evidence, ", ".join(methods))
    return concluded(claim, source, evidence, ["not everywhere"] if len(wins) < len(pairs) else [], ", ".join(methods))


def _curve(rows: Sequence[Row], kind: str, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Depths of two-qubit gates in part "depth", and the means of a column over seeds; none where it is not known."""
    own = [
        row for row in rows
        if row["part"] == "depth" and row["gate_qubits"] == 2 and (row["source"] == "noise") == (kind == "noise")
        and row[column] is not None
    ]  # fmt: skip
    depths = sorted({row["depth"] for row in own})
    return np.array(depths), np.array([_mean([row for row in own if row["depth"] == d], column) for d in depths])


def _lower(one: float, other: float) -> bool:
    """Whether a value is lower than another by a share that counts."""
    return bool(one < (1 - _SEEN) * other)


def _within(differences: Sequence[float]) -> str | None:
    """Why a mean difference is no support, as a clause; None if it is."""
    mean = float(np.mean(differences))
    if mean < _SEEN:
        return f"a difference of {100 * mean:.2f} % is none"
    if len(differences) > 1 and mean <= _SURE * float(np.std(differences, ddof=1)) / len(differences) ** 0.5:
        return "the difference is within its spread over the cases"
    return None


def _error_of_difference(one: Sequence[float], other: Sequence[float]) -> float:
    """Standard error of the difference of two means; 0 where a single value has no spread."""
    return float(sum(np.var(values, ddof=1) / len(values) for values in (one, other) if len(values) > 1) ** 0.5)


def _mean(rows: Sequence[Row], name: str) -> float:
    return settled_mean([row[name] for row in rows])
