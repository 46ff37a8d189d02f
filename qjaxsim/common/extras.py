"""Packages that only some uses need, and the extra of this project that brings them."""

from importlib import import_module


class MissingExtraError(ImportError):
    """A package of an extra is not installed; the message says how to install it."""


def how_to_install(extra: str) -> str:
    """What to type, in a clone of the project, which is not published.

    >>> how_to_install("qiskit")
    'pip install -e ".[qiskit]" in a clone of qjaxsim'
    """
    return f'pip install -e ".[{extra}]" in a clone of qjaxsim'


def missing_extra(what: str, extra: str, package: str | None = None) -> MissingExtraError:
    """The error for a use whose package is not there.

    Args:
        what: the use and the package, a clause such as "Reading safetensors needs the package safetensors".
        extra: name of the extra.
        package: that could not be imported, for `ImportError.name`.
    """
    return MissingExtraError(f"{what}; install it with: {how_to_install(extra)}.", name=package)


def require(package: str, what: str, extra: str) -> None:
    """Raise where a package cannot be imported.

    Args:
        package: as it is imported.
        what: the use and the package, as for `missing_extra`.
        extra: that brings it.

    Raises:
        MissingExtraError: naming the extra.
    """
    try:
        import_module(package)
    except ImportError as error:
        raise missing_extra(what, extra, error.name) from error
