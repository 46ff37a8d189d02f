"""The `qjaxsim` command: signals are taken care of first, then the rest is imported."""

import io
import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of the command line, after running it.

    Args:
        arguments: words after `qjaxsim`; default those of this process, which is then the command's own and ends with
            exit code 130 at SIGINT, 143 at SIGTERM, 141 where the reader of its output has gone.
    """
    from qjaxsim.common import interrupts

    if arguments is None:
        open_streams()
        interrupts.install()
        print_anything()
        forget_no_width()
    from qjaxsim.command.app import UNREAD, run

    code = run(arguments)
    if arguments is None:
        if not all_printed():
            code = UNREAD
        interrupts.ignore()
    return code


def all_printed() -> bool:
    """Print what waits for it; False where the reader of the output has gone, so that Python does not try again."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def open_streams() -> None:
    """Let standard streams that the caller has closed lead nowhere.

    Else Python has none to print to, and the next file that is opened takes its number: what is meant for the error
    stream by its number would be written into results.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free, which is this one.
            opened = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(opened, True)
            setattr(sys, name, os.fdopen(opened, "r" if name == "stdin" else "w", encoding="utf-8", closefd=False))


def print_anything() -> None:
    """Have what standard output cannot encode printed as an escape, as Python does on standard error."""
    out = sys.stdout
    # With "surrogateescape", as in the C locale, UTF-8 takes everything already.
    if isinstance(out, io.TextIOWrapper) and (out.errors == "strict" or out.encoding.lower() != "utf-8"):
        out.reconfigure(errors="backslashreplace")


def forget_no_width() -> None:
    """Forget COLUMNS=0, as terminals without a size set it: rich takes it at its word and prints nothing at all."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit() and not int(columns):
        del os.environ["COLUMNS"]


if __name__ == "__main__":
    sys.exit(main())
