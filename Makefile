PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test check docs bench format constraints clean

demo: $(INSTALLED)  ## the whole story on two simulated hospitals, ending with runs/demo/report.html
	$(BIN)/hemabridge demo

test: check  ## all tests, slow ones included
	$(BIN)/pytest -m slow -n 2 --dist loadfile --durations=10

check: $(INSTALLED)  ## format, lint, types, import contract, fast tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -m "not slow" -n 2 --dist loadfile --durations=10

docs: $(INSTALLED)  ## the documents as a site that needs no network: site/index.html; a warning is an error
	$(BIN)/zensical build --clean --strict

bench: $(INSTALLED)  ## the benchmarks of docs/benchmarks.md; those on real images need ../shared/data
	$(BIN)/python benchmarks/speed.py --paper
	$(BIN)/python benchmarks/speed_pairs.py
	$(BIN)/python benchmarks/folder_speed.py
	$(BIN)/python benchmarks/folder_parts.py
	$(BIN)/python benchmarks/folder_memory.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/paper.py
	$(BIN)/python benchmarks/nucleus_dice.py
	$(BIN)/python benchmarks/near_duplicates.py --images 500 --site bccd --site clinic-a --site clinic-b --site tecom --site raabin --time 10000
	$(BIN)/python benchmarks/find_leukocytes.py ../shared/data/bccd ../shared/data/raabin --copies 6
	$(BIN)/python benchmarks/cell_crop.py
	$(BIN)/python benchmarks/large_field.py
	$(BIN)/python benchmarks/differential.py --out runs/differential
	$(BIN)/python benchmarks/distillation.py
	$(BIN)/python benchmarks/gallery.py
	$(BIN)/python benchmarks/without_extras.py
	$(BIN)/python benchmarks/planted_changes.py
	$(BIN)/python benchmarks/leave_one_out.py
	$(BIN)/python benchmarks/ensemble_parts.py
	$(BIN)/python benchmarks/frontier.py
	$(BIN)/python benchmarks/few_labels.py --classifier --starts 0,1,2
	$(BIN)/python benchmarks/unknown_cells.py
	$(BIN)/python benchmarks/learned_lut.py
	$(BIN)/python benchmarks/class_prior.py
	$(BIN)/python benchmarks/selection_regret.py
	$(BIN)/python benchmarks/review_load.py
	$(BIN)/python benchmarks/service_load.py
	$(BIN)/python benchmarks/rare_class.py
	$(BIN)/hemabridge study recipes/clinic-from-tecom.toml
	$(BIN)/python benchmarks/leaderboard.py
	$(BIN)/python benchmarks/against_cyclegan.py
	$(BIN)/hemabridge train recipes/two-hundred-epochs.toml
	$(BIN)/python benchmarks/planted_changes.py --run runs/two-hundred-epochs

format: $(INSTALLED)  ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

constraints:  ## write constraints.txt and constraints-dev.txt again; NEWEST=--newest for newer versions
	$(BIN)/python .ci/constraints.py $(NEWEST)

clean:  ## remove the environment, all runs and the site
	rm -rf $(VENV) runs site .cache

$(INSTALLED): pyproject.toml constraints.txt constraints-dev.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes --requirement constraints-dev.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@
