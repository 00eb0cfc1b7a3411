# make demo   set up, train a detector on generated pictures, leave pictures and a table of results in runs/demo
# make tour   set up, run the twenty steps of docs/tour in order; their pictures are in tour_out
# make test   set up, run the test suite
# make test-gpu   set up with CuPy, run the tests of device code on the GPU itself
# They make virtual environments of their own, .venv and .venv-gpu, so nothing that is installed elsewhere is touched or
# in the way.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# The GPU's driver says up to which CUDA it goes; extras in setup.cfg: cuda12, cuda13.
CUDA = $(shell nvidia-smi 2>/dev/null | sed -n 's/.*CUDA Version: *\([0-9]*\).*/\1/p')
EXTRA = $(if $(filter 12,$(CUDA)),cuda12,cuda13)

.PHONY: demo tour test test-gpu clean

demo: $(VENV)/ready
	rm -rf runs/demo
	$(BIN)/python -m scripts.demo

tour: $(VENV)/ready
	$(BIN)/python -m docs.tour

test: $(VENV)/ready
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-gpu: $(VENV)-gpu/ready
	NN_TEST_DEVICE=gpu $(VENV)-gpu/bin/python -m pytest tests/gpu

$(VENV)-gpu/ready: setup.cfg pyproject.toml
	@test -n "$(CUDA)" || { echo "make test-gpu needs a GPU: nvidia-smi is missing or finds none" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)-gpu
	$(VENV)-gpu/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[test,$(EXTRA)]"
	touch $@

$(VENV)/ready: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test]"
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-gpu runs tour_out build *.egg-info
