# make demo   set up, train a detector on generated pictures, leave pictures and a table of results in runs/demo
# make test   set up, run the test suite
# Both make a virtual environment of their own, .venv, so nothing that is installed elsewhere is touched or in the way.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test clean

demo: $(VENV)/ready
	rm -rf runs/demo
	$(BIN)/python -m scripts.demo

test: $(VENV)/ready
	$(BIN)/python -m pytest

$(VENV)/ready: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test]"
	touch $@

clean:
	rm -rf $(VENV) runs build *.egg-info
