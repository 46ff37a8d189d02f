"""A model with one layer or all layers replaced: operators of one kind, then its measures, healed or not."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from qjaxsim.common.progress import Progress
from qjaxsim.models.disentangler.adapter import identity_adapter
from qjaxsim.models.disentangler.config import plan_disentangler
from qjaxsim.models.disentangler.low_rank import svd_layer, svd_rank_at
from qjaxsim.models.disentangler.mpo import qubit_geometry
from qjaxsim.running.array_types import to_jax
from qjaxsim.studies.disentangler.evaluation import Evaluation
from qjaxsim.studies.disentangler.healing import AdaptedLayer, DenseLayer, dense_weights, heal
from qjaxsim.studies.disentangler.layer import (
    balanced_or_none,
    bond_at,
    config_of,
    noise_like,
    operator_from,
    plain_operator,
)
from qjaxsim.studies.disentangler.settings import METHODS, DisentanglerStudySettings, circuit_name
from qjaxsim.studies.shared import sweep

# Kinds that do not depend on bond and circuit, and those that depend on the bond alone.
_FREE = ("dense", "zero", "noise")
_BY_BOND = ("mpo",)
_BY_CIRCUIT = ("svd-total", "svd-classical", "mpo-balanced-total")
_NOT_HEALED = ("zero", "noise")
# Trained behind the layers as they are, hence nothing without training.
_ADAPTERS = {"adapter-cayley": "cayley", "adapter-triangular": "triangular"}
LayerKey = Callable[[str, str, tuple[int, int]], str]


class Rebuilt(NamedTuple):
    """One way to replace layers.

    Attributes:
        scope: "one" or "all".
        method: kind of operator.
        chi: bond, 0 where it has no meaning.
        circuit: gate qubits and depth; None where they have no meaning.
    """

    scope: str
    method: str
    chi: int
    circuit: tuple[int, int] | None

    @property
    def name(self) -> str:
        """For keys of cells.

        >>> Rebuilt("all", "explicit", 4, (2, 8)).name
        'all-explicit-chi4-k2-d8'
        """
        bond = [f"chi{self.chi}"] * (self.chi > 0)
        circuit = [circuit_name(*self.circuit)] if self.circuit is not None else []
        return "-".join([self.scope, self.method, *bond, *circuit])


def all_rebuilt(settings: DisentanglerStudySettings, *, trains: bool = True) -> list[Rebuilt]:
    """Every way that the study replaces layers.

    Args:
        settings: of the study, resolved.
        trains: whether further training can make the model itself better; else the layers themselves and adapters
            behind them, which begin as the model is, are left out.
    """
    assert settings.model_chi is not None
    free = (*_FREE, *(_ADAPTERS if settings.healing else ())) if trains else ("zero", "noise")
    found = []
    for scope in settings.scopes:
        found += [Rebuilt(scope, method, 0, None) for method in free]
        for chi in settings.model_chi:
            found += [Rebuilt(scope, method, chi, None) for method in _BY_BOND]
            found += [
                Rebuilt(scope, method, chi, circuit)
                for circuit in settings.circuits()
                for method in (*settings.methods, *_BY_CIRCUIT)
            ]
    return found


def rebuilt_row(
    settings: DisentanglerStudySettings,
    evaluation: Evaluation,
    rebuilt: Rebuilt,
    seed: int,
    layer_key: LayerKey,
    out: Path,
    progress: Progress,
) -> dict[str, Any]:
    """The row of one way to replace layers.

    Args:
        settings: of the study, resolved.
        evaluation: the trained model.
        rebuilt: what to do.
        seed: of model and healing.
        layer_key: maps (layer, method, circuit) to the cell where its disentangled operators are kept.
        out: results folder.
        progress: shows healing.
    """
    assert settings.profile_layer is not None
    names = (settings.profile_layer,) if rebuilt.scope == "one" else settings.layers
    operators = {}
    for name in names:
        weight = np.asarray(evaluation.model.weight(evaluation.params, name))
        operators[name] = _operator(settings, rebuilt, name, weight, layer_key, out, seed)
    counts = _counts(settings, rebuilt, evaluation, operators)
    own = evaluation.score(dense_weights(operators))
    row = {
        "part": "model", "seed": seed, "layer": names[0] if rebuilt.scope == "one" else f"{len(names)} layers",
        "source": "trained", "method": rebuilt.method, **_key_columns(rebuilt, evaluation, names), **counts, **own,
    }  # fmt: skip
    for what in settings.healing if rebuilt.method not in _NOT_HEALED else ():
        if (what == "circuits" and rebuilt.method not in METHODS) or not counts["total"]:
            continue
        began = time.perf_counter()
        healed = heal(evaluation, operators, what, settings, seed, progress)
        row["seconds"] = row.get("seconds", 0.0) + time.perf_counter() - began
        after = evaluation.score(dense_weights(healed))
        row |= {f"{name}_{what}": after[name] for name in evaluation.healed}
    return row


def _operator(
    settings: DisentanglerStudySettings,
    rebuilt: Rebuilt,
    name: str,
    weight: np.ndarray,
    layer_key: LayerKey,
    out: Path,
    seed: int,
) -> Any:
    method, shape = rebuilt.method, (weight.shape[0], weight.shape[1])
    if method in _FREE:
        matrices = {"dense": weight, "zero": np.zeros_like(weight), "noise": noise_like(weight, seed)}
        return DenseLayer(to_jax(matrices[method]))
    if method in _ADAPTERS:
        adapter = identity_adapter(_ADAPTERS[method], shape[0], settings.adapter_block, weight.dtype)
        return AdaptedLayer(to_jax(weight), adapter)
    geometry = qubit_geometry(*shape)
    if method in METHODS:
        assert rebuilt.circuit is not None
        config = config_of(settings, shape, method, rebuilt.chi, rebuilt.circuit, seed)
        key = layer_key(name, method, rebuilt.circuit)
        return operator_from(sweep.read_arrays(out, key), f"chi{rebuilt.chi}", shape, config)
    budget = _budget(settings, rebuilt, shape)
    if method.startswith("svd"):
        if budget >= weight.size:
            return DenseLayer(to_jax(weight))
        return svd_layer(weight, svd_rank_at(*shape, budget))
    if method.startswith("mpo-balanced"):
        geometry = balanced_or_none(shape, settings.balanced_sites) or geometry
    chi = bond_at(geometry, budget)
    return plain_operator(weight, geometry, chi) if chi else svd_layer(weight, 0)


def _budget(settings: DisentanglerStudySettings, rebuilt: Rebuilt, shape: tuple[int, int]) -> int:
    """Numbers that a baseline may have for one layer."""
    classical = qubit_geometry(*shape).n_params(rebuilt.chi)
    if not rebuilt.method.endswith("total"):
        return classical
    assert rebuilt.circuit is not None
    plan = plan_disentangler(*shape, config_of(settings, shape, "explicit", rebuilt.chi, rebuilt.circuit, 0))
    return classical + plan.n_circuit


def _counts(
    settings: DisentanglerStudySettings, rebuilt: Rebuilt, evaluation: Evaluation, operators: dict[str, Any]
) -> dict[str, Any]:
    model = evaluation.model
    dense = sum(int(np.prod(model.shape_of(name))) for name in operators)
    classical = circuit = 0
    for operator in operators.values():
        if rebuilt.method == "zero":
            continue
        if rebuilt.method in METHODS:
            classical, circuit = classical + operator.n_classical, circuit + operator.n_circuit
        elif isinstance(operator, AdaptedLayer):
            angles = operator.adapter.n_params if rebuilt.method == "adapter-cayley" else 0
            circuit += angles
            classical += operator.weight.size + operator.adapter.n_params - angles
        else:
            classical += operator.weight.size if isinstance(operator, DenseLayer) else operator.n_params
    total = classical + circuit
    return {
        "dense": dense, "classical": classical, "circuit": circuit, "total": total, "size": total / dense,
        "model_parameters": evaluation.n_params - dense + total,
    }  # fmt: skip


def _key_columns(rebuilt: Rebuilt, evaluation: Evaluation, names: tuple[str, ...]) -> dict[str, Any]:
    columns: dict[str, Any] = {"chi": rebuilt.chi} if rebuilt.chi else {}
    if rebuilt.circuit is not None:
        widest = max(qubit_geometry(*evaluation.model.shape_of(name)).n_sites for name in names)
        gate_qubits, depth = rebuilt.circuit
        register = gate_qubits == 0 or gate_qubits >= widest
        columns |= {"gate_qubits": gate_qubits or widest, "register": register, "depth": depth}
    elif rebuilt.method in _BY_BOND:
        columns["depth"] = 0
    return columns
