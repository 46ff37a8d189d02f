"""Programs of a page: read from its Markdown, run from top to bottom, and compared with what the page says they print.

A page shows Python in blocks marked `python` and lines for a shell, all of them `qjaxsim ...`, in blocks without a
mark; blocks with other marks (`shell`, `json`) are not run. What a block prints stands behind it, either as a block
marked `text`, in which ... stands for anything, or as a sentence that begins "prints `...`". Python without either
prints nothing; of a command without it nothing is said.
"""

import contextlib
import doctest
import io
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

DOCS = Path(__file__).parents[1]
_BLOCK = re.compile(
    r"^```(\w*)\n(.*?)^```$"
    r"(?:\n+^```text\n(?P<text>.*?)^```$|\n+^prints (?P<said>`[^`]*`(?:(?:, then|,| and) `[^`]*`)*))?",
    flags=re.DOTALL | re.MULTILINE,
)


class Block(NamedTuple):
    """A program.

    Attributes:
        language: "python" or "command".
        code: its text.
        printed: what the page says it prints, None where it says nothing.
    """

    language: str
    code: str
    printed: str | None


class DiffersError(AssertionError):
    """A block prints something else than its page says."""


def read_blocks(text: str) -> list[Block]:
    """The programs of a page, in its order."""
    return [_block(match) for match in _BLOCK.finditer(text) if _is_program(*match.groups()[:2])]


def _is_program(mark: str, code: str) -> bool:
    return mark == "python" or (not mark and code.startswith("qjaxsim "))


def _block(match: re.Match[str]) -> Block:
    printed = match["text"]
    if match["said"]:
        printed = "".join(f"{line}\n" for line in re.findall(r"`([^`]*)`", match["said"]))
    return Block(match[1] or "command", match[2], printed)


def run_block(block: Block, names: dict[str, Any]) -> None:
    """Run a block and compare what it prints.

    Args:
        block: the program.
        names: what Python's blocks have defined so far; new names are added.

    Raises:
        DiffersError: with both texts, if they differ.
    """
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if block.language == "python":
            exec(compile(block.code, "<page>", "exec"), names)
        else:
            _run_commands(block.code)
    wanted = block.printed if block.printed is not None else ("" if block.language == "python" else "...")
    if not doctest.OutputChecker().check_output(wanted, printed.getvalue(), doctest.ELLIPSIS):
        raise DiffersError(f"{block.code}\nprints\n{printed.getvalue()}\nand not, as its page says,\n{wanted}")


def _run_commands(lines: str) -> None:
    from qjaxsim.command.app import run

    for line in lines.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words and run(words[1:]) != 0:
            raise DiffersError(f"{line} ended with an error.")


def run_page(page: Path, folder: Path) -> None:
    """Run a page's programs in a folder and compare what they print; figures that they save stay there.

    Args:
        page: its Markdown file.
        folder: where the programs run.

    Raises:
        DiffersError: for the first block that prints something else than the page says.
    """
    names: dict[str, Any] = {}
    with contextlib.chdir(folder):
        for block in read_blocks(page.read_text(encoding="utf-8")):
            run_block(block, names)


def figures_of(page: Path) -> list[str]:
    """Names of the figures that a page shows from the folder `figures` beside it."""
    return re.findall(r"!\[[^]]*\]\(figures/([^)]+)\)", page.read_text(encoding="utf-8"))


def relative(page: Path) -> str:
    """A page's place below docs/, with forward slashes."""
    return page.relative_to(DOCS).as_posix()


def pages_with_programs() -> list[Path]:
    """Pages of the site that show Python."""
    return sorted(page for page in DOCS.rglob("*.md") if "```python" in page.read_text(encoding="utf-8"))
