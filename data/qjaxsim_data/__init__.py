"""Published tables, as data with their source."""

import json
from importlib import resources
from typing import Any


def names() -> tuple[str, ...]:
    """Names that `load` takes, sorted.

    >>> "patches_hessian" in names()
    True
    """
    files = (entry.name for entry in resources.files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in files if name.endswith(".json")))


def load(name: str) -> dict[str, Any]:
    """The numbers of one publication.

    Args:
        name: one of `names()`. "patches_hessian" is arXiv:2504.19239, twelve configurations of patches x layers;
            "gradient_variance" a study of hybrid classifiers by Moto and Yoshida.

    Returns:
        Dict of plain JSON values, a new one each time. Its "source" block says where each section comes from and what
        limits the numbers have; its "units" block names the units; tables are lists of rows.

    Raises:
        ValueError: for an unknown name.

    >>> load("patches_hessian")["lambda_max"][0]
    {'patches': 4, 'layers': 50, 'lambda_max': 15.987}
    """
    if name not in names():
        raise ValueError(f"Argument `name` must be one of {list(names())}, but is {name!r}.")
    content: dict[str, Any] = json.loads((resources.files(__name__) / f"{name}.json").read_text(encoding="utf-8"))
    return content
