"""IBM's services and their backends, and what they refuse as one clear sentence.

Tokens stay in Qiskit's hands: its account file (`QiskitRuntimeService.save_account`) or QISKIT_IBM_TOKEN. Nothing here
takes, prints or keeps one.
"""

import difflib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from qjaxsim.common.extras import missing_extra

LOCAL = "local"
CHANNELS = (LOCAL, "ibm_quantum_platform", "ibm_cloud")
SIMULATOR = "aer_simulator"
_TOKEN, _CHANNEL = "QISKIT_IBM_TOKEN", "QISKIT_IBM_CHANNEL"
_SAVE = (
    "save an account once with `from qiskit_ibm_runtime import QiskitRuntimeService; QiskitRuntimeService.save_account("
    f'token="...", set_as_default=True)`, or set {_TOKEN}; --channel local with a fake backend needs none'
)


def connect(channel: str | None = None, instance: str | None = None) -> Any:
    """An open `QiskitRuntimeService`, or its local stand-in with fake backends.

    Args:
        channel: "local", "ibm_quantum_platform" or "ibm_cloud"; default QISKIT_IBM_CHANNEL, else that of the saved
            account.
        instance: name or CRN of a service instance; default that of the account.

    Raises:
        ImportError: if qiskit-ibm-runtime is missing, naming the extra.
        ValueError: for an unknown channel or instance.
        PermissionError: without an account, or with a token that IBM refuses; says how to save one.
        RuntimeError: for other failures of IBM's service.
    """
    channel = channel or os.environ.get(_CHANNEL)
    if channel is not None and channel not in CHANNELS:
        gone = " (IBM closed the channel ibm_quantum; ibm_quantum_platform took its place)"
        raise ValueError(
            f"Argument `channel`, or {_CHANNEL}, must be one of {', '.join(CHANNELS)}, but is {channel!r}"
            f"{gone if channel == 'ibm_quantum' else ''}."
        )
    with plain_errors("Connecting to IBM"):
        from qiskit_ibm_runtime import QiskitRuntimeService

        options = {"channel": channel, "instance": None if channel == LOCAL else instance}
        return QiskitRuntimeService(**{name: value for name, value in options.items() if value is not None})


def channel_of(backend: str, channel: str | None) -> str | None:
    """The channel, which need not be named for the backends that exist on the local one alone."""
    fake = backend.lower().startswith("fake") or backend == SIMULATOR
    return LOCAL if channel is None and fake else channel


def backends(channel: str | None = None, instance: str | None = None, *, service: Any = None) -> list[dict[str, Any]]:
    """A row for each backend: name, qubits and operations.

    Args:
        channel: as in `connect`.
        instance: as in `connect`.
        service: an open service, instead of the two.

    Raises:
        ImportError, ValueError, PermissionError, RuntimeError: as in `connect`.
    """
    service = connect(channel, instance) if service is None else service
    with plain_errors("Listing backends"):
        with _quiet():
            everything = service.backends()
        return [
            {"backend": each.name, "qubits": each.num_qubits, "operations": sorted(each.target.operation_names)}
            for each in everything
        ]


def find_backend(name: str, service: Any) -> Any:
    """The backend of a name; fake ones also go by their class, FakeManilaV2.

    Raises:
        ValueError: if the service has no such backend.
        RuntimeError: for other failures of IBM's service.
    """
    from qiskit.providers.exceptions import QiskitBackendNotFoundError

    with plain_errors(f"Looking for backend {name}"):
        if not is_local(service):
            try:
                return service.backend(name)
            except QiskitBackendNotFoundError:
                pass
        with _quiet():
            if is_local(service) and name == SIMULATOR:
                return service.backend(name)
            everything = list(service.backends())
    for each in everything:
        if name in (each.name, type(each).__name__):
            return each
    names = [each.name for each in everything]
    near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    raise ValueError(
        f"Argument `backend` must be a backend of the service, but {name!r} is none"
        + (f" (near it: {', '.join(near)})" if near else "")
        + "; `qjaxsim ibm backends` lists them."
    )


def is_local(service: Any) -> bool:
    """Whether jobs run in this process."""
    from qiskit_ibm_runtime.fake_provider.local_service import QiskitRuntimeLocalService

    return isinstance(service, QiskitRuntimeLocalService)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warning of one of the fake devices, when it is made, that its errors are made up."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Properties of fake_", category=UserWarning)
        yield


@contextmanager
def plain_errors(doing: str) -> Iterator[None]:
    """Turn errors of Qiskit and IBM's service into built-in ones of one sentence; others pass.

    Args:
        doing: what is being done, the subject of the message.

    Raises:
        ImportError: for a missing package, naming the extra.
        PermissionError: for no account, or one that is refused.
        ValueError: for input that the service or its options refuse.
        RuntimeError: for all else that Qiskit raises.
    """
    try:
        yield
    except ImportError as error:
        raise missing_extra(
            f"{doing} needs qiskit-ibm-runtime and qiskit-aer, but {error.name or 'a part of them'} is missing",
            "ibm",
            error.name,
        ) from error
    except Exception as error:
        if (plain := _plain(doing, error)) is None:
            raise
        # The cause is cut off: IBM's own message may quote what it was given.
        raise plain from None


def _plain(doing: str, error: Exception) -> Exception | None:
    from pydantic import ValidationError
    from qiskit.exceptions import QiskitError
    from qiskit_ibm_runtime.accounts import AccountNotFoundError, InvalidAccountError

    if isinstance(error, AccountNotFoundError):
        return PermissionError(f"{doing} needs an IBM Quantum account, but none was found; {_SAVE}.")
    if isinstance(error, InvalidAccountError):
        return PermissionError(
            f"{doing} failed: IBM refused the account or its token, or could not be reached; {_SAVE}."
        )
    if isinstance(error, ValidationError):
        options = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        return ValueError(f"{doing} failed, options of the primitive are out of range: {options}.")
    if isinstance(error, QiskitError):
        text = plain_text(error).rstrip(".")
        return (ValueError if isinstance(error, ValueError) else RuntimeError)(f"{doing} failed: {text}.")
    # The runtime's own preparation of circuits, a package of its own.
    if type(error).__module__.partition(".")[0] == "samplomatic":
        return ValueError(
            f"{doing} failed, the runtime cannot prepare the circuit ({plain_text(error).rstrip('.')}); with "
            "measurements on the way ask for counts, without observables."
        )
    return None


def plain_text(error: Exception) -> str:
    """What an error says, on one line and without the token of the environment."""
    # str() of Qiskit's errors adds quotation marks.
    text = " ".join(str(getattr(error, "message", error)).split())
    token = os.environ.get(_TOKEN)
    return text.replace(token, "(token)") if token else text
