"""Pages of the reference: public names from docstrings, commands and columns from what the program itself reads."""

import ast
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

from qjaxsim.command.app import app
from qjaxsim.command.options_page import OWN, STUDIES

ROOT = Path(__file__).parents[2]
# Page -> packages and modules whose public names are on it.
MODULES = {
    "qjaxsim": ("qjaxsim",),
    "curvature": ("qjaxsim.curvature",),
    "geometry": ("qjaxsim.geometry",),
    "learning": ("qjaxsim.learning", "qjaxsim.training", "qjaxsim.datasets", "qjaxsim.datasets.table"),
    "models": ("qjaxsim.models", "qjaxsim.models.losses", "qjaxsim.models.attention", "qjaxsim.common.pytrees"),
    "annealing": ("qjaxsim.annealing",),
    "qiskit": ("qjaxsim_qiskit", "qjaxsim_qiskit.ibm"),
    "dimod": ("qjaxsim_dimod",),
    "other_bridges": ("qjaxsim_torch", "qjaxsim_pennylane", "qjaxsim_data"),
}


def pages_of_modules() -> dict[str, str]:
    """Path below docs/ -> page that mkdocstrings fills."""
    return {f"reference/{page}.md": _page_of(page, modules) for page, modules in MODULES.items()}


def _page_of(page: str, modules: tuple[str, ...]) -> str:
    sections = [f"# {_titled(page)}\n"]
    for module in modules:
        tree = ast.parse(_source(module).read_text(encoding="utf-8"))
        heading = "" if len(modules) == 1 else f"## {module}\n\n"
        first = (ast.get_docstring(tree) or "").split("\n\n>>>")[0]
        sections.append(f"{heading}{first}\n")
        level = 2 if len(modules) == 1 else 3
        options = f"    options: {{heading_level: {level}}}\n"
        places = _places(tree)
        names = [name for name in public_names(tree) if name != "__version__"]
        sections.append(_overview({name: places.get(name, f"{module}.{name}") for name in names}))
        sections += [f"::: {places.get(name, f'{module}.{name}')}\n{options}" for name in names]
    return "\n".join(sections)


def _overview(places: dict[str, str]) -> str:
    """A table of names, each with what its docstring says first."""
    link = '<a href="#{}">{}</a>'  # in HTML, since some names stand on two pages
    rows = "".join(f"| {link.format(place, name)} | {_first_sentence(place)} |\n" for name, place in places.items())
    return f"| name | what it is |\n|---|---|\n{rows}"


def _first_sentence(place: str) -> str:
    """Of the docstring of what a dotted place names."""
    module, _, name = place.rpartition(".")
    tree = ast.parse(_source(module).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            words = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
            return words.split(". ")[0].rstrip(".").replace("|", "\\|")
    onwards = _places(tree).get(name)
    return _first_sentence(onwards) if onwards else "a constant"


def _titled(page: str) -> str:
    return page if page == "qjaxsim" else page.replace("_", " ").capitalize()


def _source(module: str) -> Path:
    """File of a module, found without importing it: bridges import what may be missing."""
    parts = module.split(".")
    for base in (ROOT, ROOT / "bridges", ROOT / "data"):
        for place in (base.joinpath(*parts, "__init__.py"), base.joinpath(*parts).with_suffix(".py")):
            if place.is_file():
                return place
    raise FileNotFoundError(f"There is no module {module}.")


def public_names(tree: ast.Module) -> list[str]:
    """`__all__` of a module, or its functions and classes without an underscore where it has none."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return [str(name) for name in ast.literal_eval(node.value)]
    defined = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef))
    return [node.name for node in defined if not node.name.startswith("_")]


def _places(tree: ast.Module) -> dict[str, str]:
    """Name -> where it is defined, of the names that a module imports: some are also the names of modules."""
    imports = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    return {each.name: f"{node.module}.{each.name}" for node in imports for each in node.names}


def page_of_commands() -> str:
    """Every command with its arguments and options, from what `--help` prints; those of studies have their own page."""
    command: Any = typer.main.get_command(app)
    return _COMMANDS + "".join(_section("qjaxsim", command))


_COMMANDS = """# The command line

Made from what `--help` prints. `qjaxsim study NAME` and `qjaxsim spectrum` take their settings as options:
[all of them](../options.md). Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted, 143 terminated.
"""


def _section(path: str, command: Any) -> list[str]:
    under = getattr(command, "commands", {})
    is_study = path.removeprefix("qjaxsim ").removeprefix("study ") in {*STUDIES, *OWN}
    shown = [] if is_study else [_row(parameter) for parameter in command.params if not parameter.hidden]
    table = "\n| | what it is | default |\n|---|---|---|\n" + "\n".join(shown) + "\n" if shown else ""
    more = "\n[Options](../options.md).\n" if is_study else ""
    sections = [f"\n## {path}\n\n{' '.join((command.help or '').split())}\n{more}{table}"]
    for name, each in under.items():
        sections += _section(f"{path} {name}", each)
    return sections


def _row(parameter: Any) -> str:
    """Name, help and default of an argument or option."""
    is_option = parameter.param_type_name == "option"
    names = [*parameter.opts, *parameter.secondary_opts] if is_option else [parameter.metavar or parameter.name.upper()]
    shown = ", ".join(f"`{name}`" for name in names)
    default = parameter.default
    words = "" if default in (None, False, (), "") or callable(default) else f"`{default}`"
    return f"| {shown} | {' '.join((parameter.help or '').split())} | {words} |".replace("||", "| |")


def page_of_columns() -> str:
    """What the columns of every study's `summary.csv` mean."""
    sections = [_COLUMNS]
    for name in STUDIES:
        columns = import_module(f"qjaxsim.studies.{name.replace('-', '_')}.columns").COLUMNS
        rows = "".join(f"| `{column}` | {meaning.replace('|', '/')} |\n" for column, meaning in columns.items())
        sections.append(f"\n## {name}\n\n| column | meaning |\n|---|---|\n{rows}")
    return "".join(sections)


_COLUMNS = """# Columns of results folders

`summary.csv` and `summary.json` of a run have a row a cell or more; these are their columns. What else a folder holds
is on the page about [runs](../runs.md).
"""
