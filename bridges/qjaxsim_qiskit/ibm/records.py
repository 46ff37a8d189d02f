"""What is known of a job on a backend: written when it is submitted, completed when its result is there.

A record is `JOB.json` in a folder; that of counts has `JOB.npy` beside it, the exact probabilities of all outcomes.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from qjaxsim.common import files
from qjaxsim.common.checks import as_path
from qjaxsim_qiskit.ibm.primitives import COUNTS, EXPECTATION

FOLDER = Path("runs") / "ibm"
SUBMITTED, DONE, FAILED, DRY_RUN = "submitted", "done", "failed", "dry run"
_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True, eq=False)
class JobRecord:
    """A job: what was submitted, the exact values beside it, and the result once it is there.

    Attributes:
        job_id: IBM's name of the job; "" for a dry run.
        status: "submitted", "done", "failed" or "dry run".
        kind: "expectation" or "counts".
        title: of the circuit.
        channel: it went through.
        instance: name or CRN of the service instance; None for the default, and in local mode.
        backend: its name.
        mode: "job", "session" or "batch".
        primitive: IBM's class that ran it.
        shots: for each measurement basis and set of parameters.
        resilience_level: in force; None where the primitive has none.
        optimization_level: of the transpiler.
        seed: of the transpiler and of the local simulator.
        n_qubits: of the circuit.
        physical_qubits: where its qubits were put, in order.
        operations: how many of each the transpiled circuit holds.
        depth: of the transpiled circuit.
        versions: of the packages that matter.
        submitted: time, ISO 8601 with its offset.
        exact: by qjaxsim: expectation values (..., m), probabilities (..., 2**n) with qubit 0 the most significant bit,
            or None where they were not asked for.
        predicted: like `exact`, under the backend's own noise model; None where it was not asked for, or takes more
            than eight qubits.
        observables: the m sums as text.
        batch: shape of the parameters' batch axes, the leading axes of `exact`.
        evs: expectation values, (..., m).
        stds: their standard errors, (..., m): the larger of the runtime's two, over shots and over random twirls.
        counts: for each set of parameters in C order, how often each outcome was seen; qubit 0 is the first character.
        finished: time of the result.
        error: why the job failed.
    """

    job_id: str
    status: str
    kind: str
    title: str
    channel: str
    instance: str | None
    backend: str
    mode: str
    primitive: str
    shots: int
    resilience_level: int | None
    optimization_level: int
    seed: int
    n_qubits: int
    physical_qubits: tuple[int, ...]
    operations: Mapping[str, int]
    depth: int
    versions: Mapping[str, str]
    submitted: str
    exact: np.ndarray | None
    observables: tuple[str, ...] = ()
    batch: tuple[int, ...] = ()
    evs: np.ndarray | None = None
    stds: np.ndarray | None = None
    counts: tuple[Mapping[str, int], ...] | None = None
    finished: str | None = None
    error: str | None = None
    predicted: np.ndarray | None = None

    @property
    def deviations(self) -> np.ndarray | None:
        """Expectation values less exact ones in units of the standard error, (..., m).

        NaN where the error is zero: all shots of a basis said the same. None without a result, or without exact values.
        """
        if self.evs is None or self.stds is None or self.exact is None:
            return None
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.stds > 0, (self.evs - self.exact) / self.stds, np.nan)

    @property
    def total_variation(self) -> tuple[float, ...] | None:
        """Half the summed difference of frequencies and exact probabilities, for each set of parameters."""
        if self.counts is None or self.exact is None:
            return None
        exact = self.exact.reshape(len(self.counts), -1)
        return tuple(_total_variation(seen, row) for seen, row in zip(self.counts, exact, strict=True))

    def rows(self) -> list[dict[str, Any]]:
        """A row for each set of parameters and observable, or outcome seen or expected.

        Columns: sample (with a batch), observable or outcome and count, value, error, exact, noisy (where it was
        predicted), deviation (from the exact value in errors). The
        error of a frequency is the standard deviation of its probability given the count, under a flat prior.
        """
        return self._expectation_rows() if self.kind == EXPECTATION else self._count_rows()

    def _expectation_rows(self) -> list[dict[str, Any]]:
        rows = []
        for place in np.ndindex(*self.batch, len(self.observables)):
            row = {**_sample(place[:-1]), "observable": self.observables[place[-1]]}
            for name, values in self._columns().items():
                row[name] = None if values is None or np.isnan(values[place]) else float(values[place])
            rows.append(row)
        return rows

    def _columns(self) -> dict[str, np.ndarray | None]:
        noisy = {} if self.predicted is None else {"noisy": self.predicted}
        return {"value": self.evs, "error": self.stds, "exact": self.exact, **noisy, "deviation": self.deviations}

    def _count_rows(self) -> list[dict[str, Any]]:
        rows = []
        for number, place in enumerate(np.ndindex(*self.batch)):
            seen = {} if self.counts is None else self.counts[number]
            exact = None if self.exact is None else self.exact[place]
            outcomes = sorted(seen, key=lambda outcome: (-seen[outcome], outcome))
            if exact is not None:
                expected = np.flatnonzero(exact * self.shots >= 0.5)
                outcomes += [
                    text
                    for index in expected[np.argsort(-exact[expected], kind="stable")].tolist()
                    if (text := format(index, f"0{self.n_qubits}b")) not in seen
                ]
            noisy = None if self.predicted is None else self.predicted[place]
            rows += [{**_sample(place), **self._outcome(outcome, seen, exact, noisy)} for outcome in outcomes]
        return rows

    def _outcome(
        self, outcome: str, seen: Mapping[str, int], exact: np.ndarray | None, noisy: np.ndarray | None
    ) -> dict[str, Any]:
        row: dict[str, Any] = {"outcome": outcome, "count": None, "value": None, "error": None}
        probability = None if exact is None else float(exact[int(outcome, 2)])
        row |= {"exact": probability}
        row |= {} if noisy is None else {"noisy": float(noisy[int(outcome, 2)])}
        row |= {"deviation": None}
        if self.counts is not None:
            count, total = seen.get(outcome, 0), sum(seen.values())
            # Of the beta distribution that a flat prior leaves: not zero where an outcome was never or always seen.
            mean = (count + 1) / (total + 2)
            error = float(np.sqrt(mean * (1 - mean) / (total + 3)))
            row |= {"count": count, "value": count / total, "error": error}
            if probability is not None:
                row["deviation"] = (count / total - probability) / error
        return row

    def to_json(self) -> dict[str, Any]:
        """Everything but exact probabilities as JSON values, with the deviations."""
        content = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.kind == COUNTS:
            del content["exact"]
        derived = {"deviations": self.deviations, "total_variation": self.total_variation}
        return files.to_json({**content, **derived}, nan_as_null=True)

    def save(self, folder: str | Path) -> Path:
        """Path of the record, now written; whole or, if that fails, as it was.

        Raises:
            OSError: if the folder cannot be written.
        """
        path = _path(self.job_id, folder)
        if self.kind == COUNTS and self.exact is not None and not path.exists():
            files.write_npy(path.with_suffix(".npy"), self.exact)
        return files.write_json(path, self.to_json())


def load(job_id: str, folder: str | Path = FOLDER) -> JobRecord:
    """The record of a job.

    Args:
        job_id: IBM's name of the job.
        folder: where records are.

    Raises:
        ValueError: for what is no job's name, or a file that is no record.
        FileNotFoundError: if the folder has no record of it.
    """
    path = _path(job_id, folder)
    if not path.is_file():
        raise FileNotFoundError(f"Folder {str(folder)!r} has no record of job {job_id!r}; name the folder with --out.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        given = {field.name: content[field.name] for field in fields(JobRecord) if field.name in content}
        if given["kind"] == COUNTS:
            given["exact"] = None
        for name in ("exact", "evs", "stds", "predicted"):
            given[name] = None if given.get(name) is None else np.asarray(given[name], float)
        for name in ("observables", "batch", "physical_qubits"):
            given[name] = tuple(given[name])
        given["counts"] = None if given["counts"] is None else tuple(given["counts"])
        record = JobRecord(**given)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"File {str(path)!r} must be the record of a job, but is none: {error!r}") from error
    beside = path.with_suffix(".npy")
    return replace(record, exact=_probabilities(record, beside)) if record.kind == COUNTS else record


def _probabilities(record: JobRecord, path: Path) -> np.ndarray | None:
    """The exact probabilities beside a record of counts; None where there are none.

    Raises:
        ValueError: if the file is damaged, or another record's.
    """
    if not path.is_file():
        return None
    shape = (*record.batch, 2**record.n_qubits)
    try:
        found = np.load(path, allow_pickle=False)
        if found.shape == shape:
            return np.asarray(found, float)
    except files.UNREADABLE:  # NumPy's messages tell to load it unsafely
        pass
    raise ValueError(
        f"File {str(path)!r} must hold the exact probabilities of job {record.job_id}, an array of shape {shape}, but "
        "does not; without the file the record is read without them."
    )


def _path(job_id: str, folder: str | Path) -> Path:
    if not isinstance(job_id, str) or not _JOB_ID.fullmatch(job_id):
        raise ValueError(f"Argument `job_id` must be letters, digits, - and _, but is {job_id!r}.")
    return as_path("folder", folder) / f"{job_id}.json"


def _sample(place: tuple[int, ...]) -> dict[str, Any]:
    return {"sample": ",".join(map(str, place))} if place else {}


def _total_variation(seen: Mapping[str, int], exact: np.ndarray) -> float:
    total = sum(seen.values())
    differences = sum(abs(count / total - exact[int(outcome, 2)]) for outcome, count in seen.items())
    unseen = exact.sum() - sum(exact[int(outcome, 2)] for outcome in seen)
    return float((differences + unseen) / 2)
