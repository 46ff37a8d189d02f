"""What the study `disentangler` will take and whether it can pay, before anything is computed."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qjaxsim.datasets.encoder import open_encoder
from qjaxsim.datasets.weights import LoadedMatrix
from qjaxsim.models.disentangler.config import lay_out, plan_disentangler
from qjaxsim.models.disentangler.low_rank import svd_rank_at
from qjaxsim.models.disentangler.mpo import qubit_geometry
from qjaxsim.models.disentangler.transformer import Exchangeable
from qjaxsim.studies.disentangler.encoder import encoder_of
from qjaxsim.studies.disentangler.layer import Subject, bond_at, bond_of, config_of, plain_operator
from qjaxsim.studies.disentangler.model import model_text
from qjaxsim.studies.disentangler.settings import FULL, REGISTER, DisentanglerStudySettings
from qjaxsim.studies.shared.setting import require_at_most

PLAN_COLUMNS = {
    "layer": "layer, or one of several of that shape",
    "shape": "rows and columns",
    "padded": "the same with padding to powers of two",
    "cnots": "CNOT gates of both circuits by known constructions",
    "break_even": "price of an angle, in stored numbers, at which the disentangled layer is as large as the dense one",
    "svd_rank": "rank of an SVD of as many numbers, angles counted",
    "svd_rank_free": "the same, angles not counted",
    "svd_error": "relative Frobenius error of that SVD: what circuits and MPO have to beat",
    "mpo_bond": "bond of a plain MPO of as many numbers, angles counted",
    "mpo_error": "relative Frobenius error of that MPO",
    "mib": "memory of the optimisation, MiB",
    "can_it_pay": "whether it can be smaller than the dense layer, and when it then beats SVD and plain MPO",
}


def plan_rows(
    settings: DisentanglerStudySettings,
    loaded: LoadedMatrix | None = None,
    text: Path | None = None,
    encoder: Path | None = None,
) -> list[dict[str, Any]]:
    """One row a shape of layer, bond and circuit of parts "layers" and "bond".

    Args:
        settings: of the study.
        loaded: the matrix of a file; its errors as SVD and plain MPO are then found, too.
        text: of the built-in model, for its characters.
        encoder: folder of an encoder.

    Raises:
        ValueError: for settings that do not fit.
    """
    model: Exchangeable | None = None
    if loaded is not None:
        settings = settings.of_file(loaded.name)
    elif encoder is not None:
        folder = open_encoder(encoder)
        model = encoder_of(folder)
        settings = settings.of_encoder(model, folder.name)
    else:
        n_characters = len(model_text(text).characters)
        settings = settings.resolved(n_characters)
        model = settings.model(n_characters)
    shapes: dict[tuple[int, int], str] = {}
    for layer in settings.layers:
        shapes.setdefault(_shape(model, loaded, layer), layer)
    subject = None if loaded is None else Subject(loaded.name, "file", loaded.matrix, 0)
    grid = [(chi, circuit) for circuit in settings.circuits() for chi in settings.chi]
    cells = [(layer, shape, *one) for shape, layer in shapes.items() for one in grid]
    if "bond" in settings.parts:
        assert settings.profile_layer is not None
        shape = _shape(model, loaded, settings.profile_layer)
        cells += [(settings.profile_layer, shape, chi, (REGISTER, 1)) for chi in settings.bond_chi]
    return [_row(settings, *cell, subject) for cell in cells]


def _shape(model: Exchangeable | None, loaded: LoadedMatrix | None, layer: str) -> tuple[int, int]:
    if model is not None:
        return model.shape_of(layer)
    assert loaded is not None
    return loaded.matrix.shape[0], loaded.matrix.shape[1]


def require_layers(settings: DisentanglerStudySettings, layers: Mapping[str, tuple[int, int]]) -> None:
    """Refuse what a cell of any part could not do, or would do otherwise than asked, before any work.

    Args:
        settings: resolved.
        layers: shape of every layer that is compressed.

    Raises:
        ValueError: for bonds above the largest useful one of every layer.
        MemoryError: if an optimisation does not fit.
    """
    assert settings.profile_layer is not None
    profile = {layers[settings.profile_layer]}
    parts = (
        ("layers", "chi", set(layers.values()), settings.circuits()),
        ("depth", "", profile, settings.profile_circuits()),
        ("bond", "bond_chi", profile, [(REGISTER, 1)]),
    )
    for part, bonds, shapes, circuits in parts:
        if part not in settings.parts:
            continue
        # A default above the largest bond of a small layer stands for that bond; who types one should know.
        if bonds and getattr(settings, bonds) != getattr(DisentanglerStudySettings, bonds):
            full = max(bond_of(qubit_geometry(*shape), FULL) for shape in shapes)
            require_at_most(bonds, max(getattr(settings, bonds)), full, f"of a full bond ({part})")
        for shape, circuit, method in itertools.product(shapes, circuits, settings.methods):
            config = config_of(settings, shape, method, 1, circuit, 0)
            lay_out(*shape, config).require_memory(config)


def _row(
    settings: DisentanglerStudySettings,
    layer: str,
    shape: tuple[int, int],
    chi: int,
    circuit: tuple[int, int],
    subject: Subject | None,
) -> dict[str, Any]:
    config = config_of(settings, shape, settings.methods[0], chi, circuit, 0)
    plan = plan_disentangler(*shape, config)
    total, geometry = plan.n_classical + plan.n_circuit, qubit_geometry(*shape)
    rank, bond = svd_rank_at(*shape, total), bond_at(geometry, total)
    # What is larger than the layer has nothing to beat.
    marks = {} if subject is None or total >= plan.n_dense else _marks(subject, rank, bond)
    return {
        "layer": layer, "shape": _by(shape), "padded": _by((plan.padded_out, plan.padded_in)), "chi": config.chi,
        "gate_qubits": config.gate_qubits, "depth": circuit[1], "dense": plan.n_dense, "classical": plan.n_classical,
        "circuit": plan.n_circuit, "total": total, "size": total / plan.n_dense, "break_even": plan.break_even_price,
        "svd_rank": rank, "svd_rank_free": svd_rank_at(*shape, plan.n_classical), "mpo_bond": bond, **marks,
        "cnots": plan.cnots, "mib": plan.n_bytes / 2**20,
        "can_it_pay": can_it_pay(plan.n_dense, plan.n_classical, plan.n_circuit, rank, bond),
    }  # fmt: skip


def can_it_pay(dense: int, classical: int, circuit: int, rank: int, bond: int) -> str:
    """In words, from counts alone.

    >>> can_it_pay(4096, 5000, 100, 39, 30)
    'no: the MPO alone is larger than the layer'
    >>> can_it_pay(4096, 24, 4032, 31, 20)
    'smaller than the layer by 1 %; pays if its error is below that of SVD of rank 31 and of a plain MPO of bond 20'
    """
    if classical >= dense:
        return "no: the MPO alone is larger than the layer"
    price = (dense - classical) / circuit if circuit else float("inf")
    if classical + circuit >= dense:
        return f"not with angles counted: larger than the layer unless an angle costs less than {price:.2g} numbers"
    rivals = [f"SVD of rank {rank}"] * (rank > 0) + [f"a plain MPO of bond {bond}"] * (bond > 0)
    smaller = f"smaller than the layer by {_percent(1 - (classical + circuit) / dense)}"
    if not rivals:
        return f"{smaller}; nothing else of as few numbers is left"
    return f"{smaller}; pays if its error is below that of {' and of '.join(rivals)}"


def _percent(share: float) -> str:
    """A share between 0 and 1 with as many digits as keep it from both.

    >>> _percent(0.01), _percent(0.99994), _percent(1e-5)
    ('1 %', '99.99 %', '0.001 %')
    """
    digits = next((n for n in range(12) if 0 < round(100 * share, n) < 100), 12)
    return f"{100 * share:.{digits}f} %"


def _marks(subject: Subject, rank: int, bond: int) -> dict[str, float]:
    squares = subject.svd.values**2
    found = {"svd_error": float(np.sqrt(squares[rank:].sum() / squares.sum()))}
    if bond:
        plain = plain_operator(subject.weight, qubit_geometry(*subject.shape), bond)
        found["mpo_error"] = subject.measures(plain.to_dense())["error"]
    return found


def _by(shape: tuple[int, int]) -> str:
    return f"{shape[0]} x {shape[1]}"
