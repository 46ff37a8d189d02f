"""The studies that there are, by name. A study's record is imported when it is asked for."""

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

from qjaxsim import studies
from qjaxsim.common.checks import require_one_of

if TYPE_CHECKING:
    from qjaxsim.studies.shared.study import Study


def study_names() -> list[str]:
    """Names of all studies, as the command has them.

    >>> "noisy-hessian" in study_names()
    True
    """
    return sorted(one.name.replace("_", "-") for one in pkgutil.iter_modules(studies.__path__) if one.name != "shared")


def find_study(name: str) -> "Study":
    """The record of a study.

    Raises:
        ValueError: if there is none of that name, naming a near one.
    """
    require_one_of("study", name, study_names())
    study: Study = import_module(f"{studies.__name__}.{name.replace('-', '_')}.study").STUDY
    return study
