"""What the README shows runs as it says."""

import re
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_example_prints_what_the_readme_says(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    (printed,) = re.findall(r"^prints `(.*?)`", README, flags=re.MULTILINE)
    exec(code, {})
    assert capsys.readouterr().out.strip() == printed


def test_ci_finds_the_test_line():
    (line,) = re.findall(r"^<!-- test line -->\n```\n(python3 .*pytest.*)\n```$", README, flags=re.MULTILINE)
    assert "constraints.txt" in line
