"""The cells of the study `disentangler`: for a matrix of a file, and for the model trained here."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from qjaxsim.common.progress import Progress
from qjaxsim.datasets.text import Text, windows
from qjaxsim.datasets.weights import LoadedMatrix
from qjaxsim.models.disentangler.layer import DisentangledLayer
from qjaxsim.studies.disentangler.circuits import exported, shot_rows
from qjaxsim.studies.disentangler.evaluation import Evaluation
from qjaxsim.studies.disentangler.layer import (
    Subject,
    circuit_rows,
    config_of,
    disentangled_row,
    noise_like,
    operator_from,
    optimise,
    plain_rows,
)
from qjaxsim.studies.disentangler.model import (
    Corpus,
    TextEvaluation,
    corpus_of,
    model_text,
    params_from_arrays,
    train_model,
    trained_arrays,
)
from qjaxsim.studies.disentangler.plan import require_layers
from qjaxsim.studies.disentangler.rebuild import Rebuilt, all_rebuilt, rebuilt_row
from qjaxsim.studies.disentangler.settings import REGISTER, DisentanglerStudySettings, circuit_name
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.setting import require_at_most

# Squares of what is lost to rounding are normal numbers still in single precision.
_LEAST_NORM = float(np.sqrt(np.finfo(np.float32).tiny) / np.finfo(np.float32).eps)


class LayerCells:
    """Cells by key, and what they need.

    Attributes:
        trains: whether further training can make the model itself better.
    """

    trains = True

    def __init__(self, settings: DisentanglerStudySettings, out: Path, progress: Progress) -> None:
        self.settings, self.out, self.progress = settings, out, progress
        self.cells: dict[str, Any] = {}

    def recorded(self) -> dict[str, Any]:
        """What decides the results beside the settings."""
        raise NotImplementedError

    def subject(self, layer: str, source: str, seed: int) -> Subject:
        """A matrix of this study."""
        raise NotImplementedError

    def add_layers(self, layer: str, source: str, seed: int) -> None:
        """Cells of part "layers"."""
        settings = self.settings

        def plain(folder: Path) -> sweep.CellResult:
            return sweep.CellResult(plain_rows(settings, self.subject(layer, source, seed), "layers", settings.chi), {})

        self.cells[self.key("layers", layer, source, seed, "plain")] = plain
        for method in settings.methods:
            for circuit in settings.circuits():
                self.add_circuit("layers", layer, source, seed, method, circuit, settings.chi)

    def add_depth(self, source: str, seed: int) -> None:
        """Cells of part "depth"."""
        layer = self.settings.profile_layer
        assert layer is not None
        for circuit in self.settings.profile_circuits():

            def run(folder: Path, circuit: tuple[int, int] = circuit) -> sweep.CellResult:
                subject = self.subject(layer, source, seed)
                config = config_of(self.settings, subject.shape, "explicit", 1, circuit, seed, "fixed")
                result = optimise(subject, config, folder, self.progress)
                row = disentangled_row(subject, "depth", result, config, circuit)
                return sweep.CellResult(row, {"history": result.history})

            self.cells[self.key("depth", layer, source, seed, circuit_name(*circuit))] = run

    def add_bond(self, source: str, seed: int) -> None:
        """Cells of part "bond"."""
        settings = self.settings
        layer = settings.profile_layer
        assert layer is not None

        def plain(folder: Path) -> sweep.CellResult:
            return sweep.CellResult(
                plain_rows(settings, self.subject(layer, source, seed), "bond", settings.bond_chi), {}
            )

        self.cells[self.key("bond", layer, source, seed, "plain")] = plain
        self.add_circuit("bond", layer, source, seed, "explicit", (REGISTER, 1), settings.bond_chi)

    def add_circuit(
        self,
        part: str,
        layer: str,
        source: str,
        seed: int,
        method: str,
        circuit: tuple[int, int],
        chis: tuple[int, ...],
    ) -> None:
        """One cell of a grid of bonds."""
        profiled = part == "layers" and layer == self.settings.profile_layer and source != "noise"

        def run(folder: Path) -> sweep.CellResult:
            subject = self.subject(layer, source, seed)
            rows, arrays = circuit_rows(self.settings, subject, part, method, circuit, chis, folder, self.progress)
            for row in rows if profiled else ():
                if row["method"] == method:
                    row |= exported(self._operator(arrays, subject, method, row["chi"], circuit))
            return sweep.CellResult(rows, arrays)

        self.cells[self.key(part, layer, source, seed, f"{method}-{circuit_name(*circuit)}")] = run

    def add_shots(self, source: str, seed: int) -> None:
        """The cell of part "shots": the profile layer at the largest bond, between the first circuits of the grid."""
        layer, method, circuit = self.settings.profile_layer, self.settings.methods[0], self.settings.circuits()[0]
        assert layer is not None
        optimised = self.key("layers", layer, source, seed, f"{method}-{circuit_name(*circuit)}")

        def run(folder: Path) -> sweep.CellResult:
            subject, chi = self.subject(layer, source, seed), max(self.settings.chi)
            operator = self._operator(sweep.read_arrays(self.out, optimised), subject, method, chi, circuit)
            key = {"chi": chi, "gate_qubits": operator.wall_u.gate_qubits, "depth": circuit[1]}
            return sweep.CellResult(shot_rows(subject, method, operator, self.settings.shots, key), {})

        self.cells[self.key("shots", layer, source, seed, method)] = run

    def add_rebuilt(self, seed: int, optimised: int, evaluation: Callable[[], Evaluation]) -> None:
        """Cells of part "model".

        Args:
            seed: of healing.
            optimised: seed whose cells of part "layers" have the operators.
            evaluation: gives the model, once it is trained.
        """

        def layer_key(layer: str, method: str, circuit: tuple[int, int]) -> str:
            return self.key("layers", layer, "trained", optimised, f"{method}-{circuit_name(*circuit)}")

        for rebuilt in all_rebuilt(self.settings, trains=self.trains):

            def run(folder: Path, rebuilt: Rebuilt = rebuilt) -> sweep.CellResult:
                row = rebuilt_row(self.settings, evaluation(), rebuilt, seed, layer_key, self.out, self.progress)
                return sweep.CellResult(row, {})

            self.cells[f"s{seed}-model-{rebuilt.name}"] = run

    def one_of_each_shape(self, shapes: Mapping[str, tuple[int, int]]) -> list[str]:
        """The profile layer, and the first layer of any other shape."""
        assert self.settings.profile_layer is not None
        found = {shapes[self.settings.profile_layer]: self.settings.profile_layer}
        for layer, shape in shapes.items():
            found.setdefault(shape, layer)
        return list(found.values())

    def _operator(
        self, arrays: Mapping[str, np.ndarray], subject: Subject, method: str, chi: int, circuit: tuple[int, int]
    ) -> DisentangledLayer:
        """An optimised layer that a cell of part "layers" keeps."""
        config = config_of(self.settings, subject.shape, method, chi, circuit, subject.seed)
        return operator_from(arrays, f"chi{chi}", subject.shape, config)

    @staticmethod
    def key(part: str, layer: str, source: str, seed: int, rest: str) -> str:
        """Name of a cell; what names of arrays have beyond it is replaced."""
        plain = "".join(c if c.isascii() and (c.isalnum() or c in "._=+-") else "_" for c in layer)
        return f"s{seed}-{part}-{plain}-{source}-{rest}"


class FileCells(LayerCells):
    """One matrix of a file, and noise."""

    def __init__(
        self,
        settings: DisentanglerStudySettings,
        out: Path,
        progress: Progress,
        loaded: LoadedMatrix,
        inputs: np.ndarray | None,
    ) -> None:
        super().__init__(settings.of_file(loaded.name), out, progress)
        if (norm := float(np.linalg.norm(loaded.matrix.astype(float)))) < _LEAST_NORM:
            raise ValueError(
                f"Array {loaded.name} must have a norm of at least {_LEAST_NORM:.1g}, whose square single precision "
                f"holds, but has {norm:.3g}; {'rescale it' if norm else 'choose another'}."
            )
        require_layers(self.settings, {loaded.name: (loaded.matrix.shape[0], loaded.matrix.shape[1])})
        self.loaded = loaded
        self.matrix = loaded.matrix.astype(np.float32)  # what is optimised
        self.inputs = inputs
        self.moment = None if inputs is None else _moment(inputs, loaded.matrix.shape[1])
        for seed in self.settings.seeds:
            # The seed moves the noise and random restarts alone: the matrix itself is compressed once.
            for source in ("file", "noise") if seed == self.settings.seeds[0] else ("noise",):
                if "layers" in self.settings.parts:
                    self.add_layers(loaded.name, source, seed)
                if "depth" in self.settings.parts:
                    self.add_depth(source, seed)
                if "bond" in self.settings.parts:
                    self.add_bond(source, seed)
                if "shots" in self.settings.parts and source == "file":
                    self.add_shots(source, seed)

    def recorded(self) -> dict[str, Any]:
        """Where the matrix is from."""
        matrix = self.loaded.matrix
        return {
            "matrix": self.loaded.name,
            "matrix_shape": list(matrix.shape),
            "matrix_sha256": _sha256(matrix),
            "orientation": f"{self.loaded.orientation} in the file, {self.loaded.reason}",
            "inputs_known": self.moment is not None,
            **({} if self.inputs is None else {"inputs_sha256": _sha256(self.inputs)}),
        }

    def subject(self, layer: str, source: str, seed: int) -> Subject:
        """The matrix, or noise of its norm."""
        if source == "noise":
            return Subject(layer, source, noise_like(self.matrix, seed), seed)
        return Subject(layer, source, self.matrix, seed, self.moment, inputs=self.inputs)


class ModelCells(LayerCells):
    """The built-in model, trained here."""

    def __init__(self, settings: DisentanglerStudySettings, out: Path, progress: Progress, text: Path | None) -> None:
        self.text = model_text(text)
        resolved = settings.resolved(len(self.text.characters))
        assert resolved.context is not None
        tests = len(windows(self.text.test, resolved.context)[0])
        if settings.test_windows != DisentanglerStudySettings.test_windows:
            require_at_most("test_windows", settings.test_windows, tests, "windows of the text's test part")
        # What is recorded is what is used, also where a short text has fewer than the default.
        if resolved.test_windows is not None:
            resolved = replace(resolved, test_windows=min(tests, resolved.test_windows))
        super().__init__(resolved, out, progress)
        settings = self.settings
        assert settings.context is not None and settings.profile_layer is not None
        self.model = settings.model(len(self.text.characters))
        settings.require_model(self.model)
        self.corpus: Corpus = corpus_of(self.text, settings.context, settings.test_windows)
        self.evaluation = cache(self._evaluation)
        shapes = {name: self.model.shape_of(name) for name in settings.layers}
        require_layers(settings, shapes)
        for seed in settings.seeds:
            self._add_training(seed)
        for seed in settings.seeds:
            if "layers" in settings.parts:
                for layer in settings.layers:
                    self.add_layers(layer, "trained", seed)
                for layer in self.one_of_each_shape(shapes):
                    self.add_layers(layer, "noise", seed)
            for source in ("trained", "noise"):
                if "depth" in settings.parts:
                    self.add_depth(source, seed)
                if "bond" in settings.parts:
                    self.add_bond(source, seed)
            if "shots" in settings.parts:
                self.add_shots("trained", seed)
            if "model" in settings.parts:
                self.add_rebuilt(seed, seed, partial(self.evaluation, seed))

    def recorded(self) -> dict[str, Any]:
        """Which text."""
        return text_recorded(self.text)

    def subject(self, layer: str, source: str, seed: int) -> Subject:
        """A layer of the model trained with a seed, or noise of its norm."""
        evaluation = self.evaluation(seed)
        weight = np.asarray(self.model.weight(evaluation.params, layer))
        if source == "noise":
            return Subject(layer, source, noise_like(weight, seed), seed)
        moment, inputs = evaluation.moments[layer], evaluation.inputs[layer]
        return Subject(layer, source, weight, seed, moment, lambda w: evaluation.score({layer: w}), inputs)

    def _evaluation(self, seed: int) -> TextEvaluation:
        params = params_from_arrays(sweep.read_arrays(self.out, f"s{seed}-train"))
        return TextEvaluation(self.model, params, self.corpus)

    def _add_training(self, seed: int) -> None:
        def run(folder: Path) -> sweep.CellResult:
            config = self.settings.train_config(seed)
            result = train_model(self.model, self.corpus, config, seed, folder / "training", self.progress)
            evaluation = TextEvaluation(self.model, result.params_best, self.corpus)
            row = {
                "part": "model", "seed": seed, "layer": "none", "source": "trained", "method": "original",
                **evaluation.score({}), "model_parameters": evaluation.n_params,
                "seconds": sum(float(entry["seconds"] or 0.0) for entry in result.history),
            }  # fmt: skip
            return sweep.CellResult(row, trained_arrays(result.params_best, self.text.characters))

        self.cells[f"s{seed}-train"] = run


def text_recorded(text: Text) -> dict[str, Any]:
    """Which text a study read, for its settings on disk."""
    return {
        "text": text.source,
        "text_sha256": text.sha256,
        "text_read": text.read,
        "text_used": {name: len(getattr(text, name)) for name in ("train", "validation", "test")},
        "text_characters": len(text.characters),
    }


def _sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _moment(inputs: np.ndarray, d_in: int) -> np.ndarray:
    if inputs.ndim != 2 or inputs.shape[1] != d_in:
        raise ValueError(
            f"Argument `inputs` must hold rows of {d_in} numbers, the columns of the matrix, but has shape "
            f"{inputs.shape}."
        )
    if not np.isfinite(inputs).all() or not inputs.any():
        raise ValueError("Argument `inputs` must hold finite numbers that are not all zero, but does not.")
    wide = np.asarray(inputs, np.float64)
    moment: np.ndarray = wide.T @ wide / len(wide)
    return moment
