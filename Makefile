# Every target makes .venv first when it is missing or older than what it is made from.
#   PYTHON=python3.12        the Python that makes .venv (3.11.5 to 3.13)
#   TORCH_INDEX=URL          where torch comes from; https://download.pytorch.org/whl/cpu for the small build
#   TOPIC=network_pruning    the topic of `calibrate`, `grade`, `bench` and `steady`
#   TOPICS="a b"             the topics of `demo`; all when left out
#   WORKERS=2                processes of the tests and of the graders

PYTHON ?= python3
TORCH_INDEX ?=
TOPIC ?= network_pruning
TOPICS ?=
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ALONE := browser or alone
QUICK := not slow and not ($(ALONE))

# One thread per process: two workers with two threads each are far slower than one after the other.
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-browser lint lab build checkpoints calibrate grade release bench steady fair faults redteam doctor clean

help: ## show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(BIN)/python -m pip install --index-url $(TORCH_INDEX) -c constraints.txt torch torchvision)
	$(BIN)/python -m pip install -e '.[dev]' -c constraints.txt
	touch $@

demo: $(STAMP) ## build the notebooks, grade a class of good, wrong and hostile submissions
	$(BIN)/autograder demo $(TOPICS) --workers $(WORKERS)

test: $(STAMP) lint ## the quick tests: about 15 minutes on two cores
	$(BIN)/python -m pytest -m "$(QUICK)" -n $(WORKERS) --dist loadgroup

test-all: $(STAMP) lint ## every test, the slow ones too, but the suites `fair`, `faults` and `redteam`
	$(BIN)/python -m pytest -m "$(QUICK)" -n $(WORKERS) --dist loadgroup
	$(BIN)/python -m pytest -m "slow and not (suite or $(ALONE))" -n $(WORKERS) --dist loadgroup
	$(BIN)/python -m pytest -m "($(ALONE)) and not suite"

test-browser: $(STAMP) ## JupyterLab as students and TAs use it, in a headless Chromium: the quick part
	$(BIN)/python -m pytest -m "browser and not slow" tests/browser

lint: $(STAMP) ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lab: $(STAMP) ## open JupyterLab on the notebooks
	$(BIN)/jupyter lab --LabApp.app_settings_dir=lab_settings --LabApp.default_url=/lab/tree/notebooks

build: $(STAMP) ## make notebooks/ from autograder/topics, in all languages; the exam's questions
	$(BIN)/autograder build

checkpoints: $(STAMP) ## train the course's checkpoints anew, from fixed seeds
	$(BIN)/autograder checkpoints

calibrate: $(STAMP) ## measure the expected values of a topic anew
	$(BIN)/autograder calibrate $(TOPIC)

grade: $(STAMP) ## grade course/submitted: judge in parallel, fill the gradebook, write feedback and report
	$(BIN)/autograder grade $(TOPIC) --workers $(WORKERS)

release: $(STAMP) ## pack what students get into dist/: a zip, and a wheel for Colab
	$(BIN)/autograder release

bench: $(STAMP) ## the judge beside stock nbgrader, with more workers, with classes of 10, 100 and 500: an hour or two
	$(BIN)/autograder bench $(TOPIC) --workers $(WORKERS)

steady: $(STAMP) ## how steady judge and speed meter are beside a busy core
	$(BIN)/autograder steady $(TOPIC)

fair: $(STAMP) ## the same class 20 times, 1 to 4 workers, machine overloaded: not one mark may differ
	$(BIN)/python -m pytest tests/classroom/test_fair.py

faults: $(STAMP) ## kill, lock and fill what grading needs; compare the marks
	$(BIN)/python -m pytest tests/faults

redteam: $(STAMP) ## grade a class of attackers and honest students; every mark must be just
	$(BIN)/python -m pytest tests/redteam -n 0

doctor: $(STAMP) ## say what works on this machine
	$(BIN)/autograder doctor

clean: ## remove caches and build artefacts; keep .venv and the class in course/
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
