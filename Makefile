# One command for each habit; `make check` is what the checks of every commit are.
PYTHON ?= .venv/bin/python

.PHONY: setup check test thorough slow docs pages site bench options

setup:  ## an environment with everything that the others need
	python3 -m venv .venv
	.venv/bin/pip install -q -c constraints.txt -e ".[dev,bench]"

check:  ## lint, format, types, and who imports whom
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(PYTHON) -c "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"

test:  ## the suite
	$(PYTHON) -m pytest -q

thorough:  ## whole studies, browsers and the widest comparisons
	$(PYTHON) -m pytest -q -m "thorough and not slow"

slow:  ## long reproductions, and the repetitions that `test` leaves out
	$(PYTHON) -m pytest -q -m slow

docs:  ## runs what README, guides and docstrings show
	$(PYTHON) -m pytest -q -m "" tests/test_pages.py tests/test_site.py tests/bridges/test_ibm_docs.py
	$(PYTHON) -m pytest -q qjaxsim bridges

pages:  ## what is made of pages: figures and times, notebooks, tables of results
	$(PYTHON) -m docs.make.record
	$(PYTHON) -m docs.make.notebooks
	$(PYTHON) -m docs.make.results

site:  ## the site, in build/site
	$(PYTHON) -m mkdocs build --strict

bench:  ## small sizes of the benchmark
	$(PYTHON) -m qjaxsim.command.main bench --quick

options:  ## the page of all options of the studies
	$(PYTHON) -m qjaxsim.command.options_page > docs/options.md
