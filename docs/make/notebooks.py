"""Tutorials as notebooks: the page's text and code, with a first cell that installs what it needs.

python -m docs.make.notebooks
"""

import re
from pathlib import Path

import jupytext
import nbformat

from docs.make.pages import DOCS

_INSTALL = """```python
# This notebook lies in docs/tutorials of a clone. In Colab clone first:
# !git clone URL qjaxsim
# %cd qjaxsim/docs/tutorials
%pip install -q -c ../../constraints.txt "../..{extras}"
```

```python
%matplotlib inline
```
"""
_NEEDS = re.compile(r'^Install: `pip install -e "\.\[(\w+)\]"`.*\n', flags=re.MULTILINE)
_PRINTED = re.compile(r"^```text\n.*?^```\n\n?", flags=re.DOTALL | re.MULTILINE)
_TUTORIAL = re.compile(r"\]\((\w+)\.md\)")
_TITLE = re.compile(r"\A# [^\n]+\n")


def notebook_of(page: Path) -> str:
    """The notebook of a tutorial, as the text of its file.

    Commands become lines for a shell, figures are shown by the cell that makes them, what a block prints is left to it,
    and other tutorials are named as notebooks.
    """
    text = page.read_text(encoding="utf-8")
    needs = _NEEDS.search(text)
    text = _NEEDS.sub("", text)
    text = _TITLE.sub(lambda title: f"{title[0]}\n{_INSTALL.format(extras=needs[1] if needs else '')}", text)
    text = re.sub(r"^```\n(qjaxsim (?:.*\n)+?)```$", r"```python\n!\1```", text, flags=re.MULTILINE)
    text = _TUTORIAL.sub(r"](\1.ipynb)", _PRINTED.sub("", text))
    text = re.sub(r"^(.+)\.savefig\(.*\)$", r"display(\1)", text, flags=re.MULTILINE)
    text = re.sub(r"^!\[[^]]*\]\(figures/[^)]+\)\n", "", text, flags=re.MULTILINE)
    notebook = jupytext.reads(text, fmt="md")
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    notebook.nbformat_minor = 4  # without random names of cells
    for cell in notebook.cells:
        cell.pop("id", None)
        cell.metadata = {}
    return nbformat.writes(notebook, version=nbformat.NO_CONVERT) + "\n"


def tutorials() -> list[Path]:
    """Pages that are notebooks, too."""
    return [page for page in sorted(DOCS.glob("tutorials/*.md")) if page.name != "index.md"]


if __name__ == "__main__":
    for page in tutorials():
        page.with_suffix(".ipynb").write_text(notebook_of(page), encoding="utf-8")
