# Everything starts here: `make demo` and `make test` set up what they need.
VENV ?= .venv
LOCK := requirements/lock.txt
DEV_LOCK := requirements/dev.txt
LOCKING_TOOL := uv pip compile --universal --python-version 3.11 \
  --generate-hashes --no-annotate --custom-compile-command "make lock" --quiet
LOCKING := $(LOCKING_TOOL) pyproject.toml
# each in an environment of its own
TOOLS := sbom stubs pdq
STAMP := $(VENV)/.installed
DEV := $(VENV)/.installed-dev
BIN := $(VENV)/bin
# each of the hundreds of processes that the tests start would compile every module anew
unexport PYTHONDONTWRITEBYTECODE
# the first of these that runs and is 3.11 or later; PYTHON=... chooses another
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
UV := $(shell command -v uv 2>/dev/null)
ARGS ?=
WHICH ?= not slow and not exhaustive
# each worker begins with a run of neighbours, so that few files have their fixtures made twice
SIDE_BY_SIDE := -n auto --dist worksteal
AXE := 4.10.2
AXE_TGZ := build/axe/axe-core-$(AXE).tgz
AXE_SHA256 := 9ea2d2d6917da998122bdacfd3b473e31ead53f4b87146c716a12edf89158100
BROWSER = $(shell for b in chromium chromium-browser google-chrome; do command -v $$b && break; done)
COMPONENTS := simulations/blindmatch_simulations/report/components
REPORTS ?= build/sample/report.html build/sample/compare.html

.DEFAULT_GOAL := help
.PHONY: help setup counterparts classifier fast frames ray ray-check demo test test-slow test-cost test-browser lint-page first-views sample try-one picture browser axe-fetch axe lint format lock stubs wheel wheel-check vectors-package release-check bench growth peers checks corpus best-order noble soak flood mutation-score interop artifact pages notebooks docs vectors verify-all clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: $(STAMP) ## make the virtual environment and install what the command needs

$(STAMP): $(LOCK) pyproject.toml
	@test -n "$(PYTHON)" || { echo "blindmatch needs Python 3.11 or later; none found (set PYTHON=...)" >&2; exit 1; }
ifneq ($(UV),)
	$(UV) venv --quiet --allow-existing --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV)
	$(UV) pip install --quiet --python $(BIN)/python --only-binary :all: --require-hashes -r $(LOCK)
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
else
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --only-binary :all: --require-hashes -r $(LOCK)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
endif
	@touch $@

$(DEV): $(STAMP) $(DEV_LOCK)
ifneq ($(UV),)
	$(UV) pip install --quiet --python $(BIN)/python --only-binary :all: --require-hashes -r $(DEV_LOCK)
else
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --only-binary :all: --require-hashes -r $(DEV_LOCK)
endif
	@touch $@

CLASSIFIER := build/classifier/rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx
ONLY := --no-deps --only-binary :all: --require-hashes

classifier: $(STAMP) ## option 1d's stand-in: ONNX Runtime, and the model out of its wheel
ifneq ($(UV),)
	$(UV) pip install --quiet --python $(BIN)/python $(ONLY) -r requirements/classifier.txt
	$(UV) pip install --quiet --python $(BIN)/python --target build/classifier --python-version 3.12 $(ONLY) \
	  -r requirements/classifier-model.txt
else
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(ONLY) -r requirements/classifier.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --target build/classifier \
	  --python-version 3.12 $(ONLY) -r requirements/classifier-model.txt
endif
	mkdir -p $(VENV)/share/blindmatch && cp $(CLASSIFIER) $(VENV)/share/blindmatch/

fast: $(STAMP) ## sets built and pictures scanned several times faster on processors with AVX2: llvmlite (docs/explanation/group.md)
ifneq ($(UV),)
	$(UV) pip install --quiet --python $(BIN)/python $(ONLY) -r requirements/fast.txt
else
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(ONLY) -r requirements/fast.txt
endif

frames: $(STAMP) ## pandas, for results as data frames (docs/reference/results.md)
ifneq ($(UV),)
	$(UV) pip install --quiet --python $(BIN)/python $(ONLY) -r requirements/frames.txt
else
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(ONLY) -r requirements/frames.txt
endif

ray: $(STAMP) ## Ray, for work on a cluster (--ray; docs/reference/performance.md)
ifneq ($(UV),)
	$(UV) pip install --quiet --python $(BIN)/python $(ONLY) -r requirements/ray.txt
else
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(ONLY) -r requirements/ray.txt
endif

ray-check: ray $(DEV) ## --ray on local clusters: the same bits, a killed worker, a lost node
	$(BIN)/python -m pytest -m slow tests/simulations/test_population_cluster.py $(ARGS)

demo: $(STAMP) ## run the main job: two devices, three servers, one private match (ARGS="--set-size 200000")
	$(BIN)/blindmatch demo $(ARGS)

test: $(DEV) ## run the tests but the slow ones (ARGS="-k oprf"; WHICH="not exhaustive" for all of CI in one run)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "$(WHICH)" $(ARGS)

test-slow: $(DEV) ## run the tests that take long: kills, soak, floods, large games, ten million lines
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m slow $(ARGS)

test-cost: $(DEV) ## run tests one after the other, and say what each, and each fixture, cost in CPU (ARGS="tests/client")
	PYTHONPATH=tests $(BIN)/python -m pytest -p support.cost -q $(ARGS)

test-browser: $(DEV) browser axe ## look at the sample's pages, drawn again, with axe-core in headless Chromium (needs npm; REPORTS=files)
	@rm -rf build/sample && cp -r docs/sample build/sample
	$(BIN)/blindmatch report build/sample docs/sample >/dev/null
	$(BIN)/python tests/browser/check_report.py build/axe/package/axe.min.js $(REPORTS)
	$(BIN)/python tests/browser/check_follow.py build/axe/package/axe.min.js
	$(BIN)/python tests/browser/check_view.py build/axe/package/axe.min.js

lint-page: $(DEV) ## hold the page's script and styles to a formatter and a linter (needs npm)
	@mkdir -p build
	$(BIN)/python -c "from blindmatch_simulations.report.page_of_view import script_of; print(script_of())" > build/page.js
	npm exec --yes -- prettier@3.3.3 --config $(COMPONENTS)/.prettierrc.json --check $(COMPONENTS)/*.js $(COMPONENTS)/*.css tests/browser/view.js
	npm exec --yes -- eslint@9.9.1 --no-config-lookup --config tests/browser/eslint.config.mjs build/page.js

first-views: $(DEV) ## derive each number of the report's first two views again, by no code of the program (ARGS="DIR"; docs/reference/report.md)
	PYTHONPATH=tests $(BIN)/python -m independent.first_views $(ARGS)

sample: $(DEV) ## make docs/sample again: assess --quick of all designs, all attacks, as `make try-one` and `make picture`; 40 minutes; goes on
	PYTHONPATH=tests $(BIN)/python -m support.sample all
	PYTHONPATH=tests $(BIN)/python -m support.pages
	PYTHONPATH=tests $(BIN)/python -m support.notebooks

try-one: $(DEV) ## ask every design about four pictures under every edit for docs/sample/try.json; 20 minutes; goes on
	PYTHONPATH=tests $(BIN)/python -m support.sample try
	PYTHONPATH=tests $(BIN)/python -m support.pages

picture: $(DEV) ## record three runs for docs/sample, and draw their page and the README's picture, a moment of them
	PYTHONPATH=tests $(BIN)/python -m support.sample

browser:
	@test -n "$(BROWSER)" || { command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq chromium; } \
	  || { echo "test-browser: no Chromium here, and none could be installed: install chromium" >&2; exit 1; }

axe-fetch: ## fetch axe-core with npm into build/axe, unless it is there; fails if there is no npm or no registry
	@test -f $(AXE_TGZ) || command -v npm >/dev/null \
	  || { echo "axe-fetch: axe-core is fetched with npm, and there is none: install npm" >&2; exit 1; }
	@test -f $(AXE_TGZ) || { rm -rf build/axe/part && mkdir -p build/axe/part && cd build/axe/part \
	  && npm pack --silent --fetch-retries=1 --fetch-timeout=20000 axe-core@$(AXE) >/dev/null \
	  && mv axe-core-$(AXE).tgz .. && cd .. && rm -r part; } \
	  || { echo "axe-fetch: axe-core $(AXE) could not be fetched" >&2; exit 1; }

axe: axe-fetch ## check the fetched axe-core against its SHA-256, and unpack it
	@echo "$(AXE_SHA256)  $(AXE_TGZ)" | sha256sum --check --quiet \
	  || { echo "axe: $(AXE_TGZ) is not the axe-core that was chosen; find out why before you remove it" >&2; exit 1; }
	@rm -rf build/axe/package && tar xzf $(AXE_TGZ) -C build/axe

SBOM := build/sbom-venv
wheel: $(STAMP) ## build the wheel twice, with the same bits, and its bill of materials (CycloneDX), in dist/
	PYTHONPATH=tests $(BIN)/python -m support.wheel build
	test -x $(SBOM)/bin/python || $(PYTHON) -m venv $(SBOM)
	$(SBOM)/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r requirements/sbom.txt
	PYTHONPATH=tests $(SBOM)/bin/python -m support.wheel sbom

wheel-check: wheel ## install the wheel into empty environments (Python 3.11 to 3.14 where there is one) and run it; some minutes
	PYTHONPATH=tests $(BIN)/python -m support.wheel_check $(ARGS)

vectors-package: $(STAMP) ## build the wheel of the vectors, twice with the same bits, in dist/ (docs/reference/conformance.md)
	PYTHONPATH=tests $(BIN)/python -m support.wheel vectors

release-check: $(DEV) ## say of each step of a release whether it was done (docs/how-to/release.md); fails where one was not
	PYTHONPATH=tests $(BIN)/python -m support.release_check

lint: $(DEV) ## ruff, mypy, import-linter, packed assignments; lists long files and functions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	PYTHONPATH=tests $(BIN)/python -m support.readability

format: $(DEV) ## let ruff rewrite the sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## resolve the dependencies again (needs uv): lock.txt for the command, dev.txt for tests and linters
	$(LOCKING) --group build -o $(LOCK)
	$(LOCKING) --group dev -c $(LOCK) -o $(DEV_LOCK)
	for one in $(PEERS); do echo $$one | $(LOCKING_TOOL) - -o requirements/peers/$${one%%=*}.txt || exit 1; done
	for tool in $(TOOLS); do $(LOCKING_TOOL) --group pyproject.toml:$$tool -o requirements/$$tool.txt || exit 1; done

stubs: ## generate the gRPC stubs again from the .proto (in a virtual environment of its own)
	rm -rf build/stubs
	$(PYTHON) -m venv build/stubs
	build/stubs/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r requirements/stubs.txt
	PATH="$(CURDIR)/build/stubs/bin:$$PATH" build/stubs/bin/python -m grpc_tools.protoc --proto_path=protocol \
	  --python_out=protocol --grpc_python_out=protocol --mypy_out=quiet:protocol \
	  protocol/blindmatch_protocol/rpc/blindmatch_v1.proto
	rm -rf build/stubs

bench: $(STAMP) ## measure speed and size, some minutes; writes bench-SUBJECT.json
	@for one in set import query messenger scan "near --log2n 16 --store-log2n 16 --crops 60"; do \
	  $(BIN)/blindmatch bench $$one --json bench-$${one%% *}.json || exit 1; \
	done

growth: $(DEV) ## how costs grow with list, accounts, designs, pictures: some minutes; writes docs/growth.json
	PYTHONPATH=tests $(BIN)/python -m support.growth

PEERS := openmined-psi==2.0.6 spu==0.9.5 voprf==0.2.0 threatexchange==1.2.17 rbcl
# built with what pdq.txt brings
WITHOUT_WHEELS := --no-build-isolation --no-binary pdqhash,weighted-levenshtein
PEER_PIP := build/peers/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes
peers: $(DEV) fast ## peers' costs beside ours, in turns, and scans: ten minutes; writes docs/peers.json, docs/scan.json
	@test -x build/peers/bin/python || $(PYTHON) -m venv build/peers
	@$(PEER_PIP) --only-binary :all: -r requirements/pdq.txt \
	  && $(PEER_PIP) --no-deps --no-build-isolation -r requirements/pdqhash.txt \
	  || echo "peers: pdqhash could not be installed; its rows will say why" >&2
	@for one in $(PEERS); do $(PEER_PIP) --only-binary :all: $(WITHOUT_WHEELS) -r requirements/peers/$${one%%=*}.txt \
	  || echo "peers: $$one could not be installed; its rows will say why" >&2; done
	PYTHONPATH=tests $(BIN)/python -m support.peers build/peers/bin/python

flood: $(STAMP) ## hostile clients of relay and matcher: everybody else's latency (ARGS="--server relay --json FILE")
	PYTHONPATH=tests $(BIN)/python -m hostile $(ARGS)

mutation-score: $(DEV) ## run conformance on every planted cheat and honest design; fails unless each cheat is caught, and no honest design (ARGS="--seed 2")
	PYTHONPATH=tests $(BIN)/python -m planted.mutations $(ARGS)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m exhaustive tests/simulations

interop: $(DEV) ## a device in JavaScript against vectors and running matchers (needs Node 20.19 and npm; ARGS="--entries 5000")
	@node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' 2>/dev/null \
	  && command -v npm >/dev/null || { echo "make interop needs Node 20.19 or later with npm; none found" >&2; exit 1; }
	cd tests/interop && npm ci --loglevel=error
	cd tests/interop && npm test --silent
	PYTHONPATH=tests/vectors/package $(BIN)/python -m blindmatch_vectors check oprf-psi --vectors tests/vectors/designs --with 'node tests/interop/counterpart.mjs'
	GRPC_VERBOSITY=NONE PYTHONPATH=tests $(BIN)/python tests/interop/against_matcher.py $(ARGS)

counterparts: $(DEV) ## programs that others wrote, against this one: fetches them; exit 1 if one disagrees (ARGS="openssl")
	GRPC_VERBOSITY=NONE PYTHONPATH=tests $(BIN)/python -m counterparts $(ARGS)

verify-all: $(DEV) ## every check beside tests and linters, each whatever the others come to; hours (ARGS="docs 'soak=--kills 20'")
	PYTHONPATH=tests $(BIN)/python -m support.verify_all $(ARGS)

artifact: $(DEV) ## CPU time of the commands of ARTIFACT.md that have none yet (ARGS="'make interop'": of these again)
	PYTHONPATH=tests $(BIN)/python -m support.artifact $(ARGS)

SITE := build/docs-venv
docs: ## build the documentation as a site with search, in build/docs; a warning fails
	@test -n "$(PYTHON)" || { echo "docs: needs Python 3.11 or later (set PYTHON=...)" >&2; exit 1; }
	@test -x $(SITE)/bin/sphinx-build || $(PYTHON) -m venv $(SITE)
	$(SITE)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --only-binary :all: --require-hashes -r requirements/docs.txt
	$(SITE)/bin/sphinx-build --quiet --fail-on-warning --fresh-env docs build/docs

pages: $(DEV) ## write the parts of pages again that follow from code
	PYTHONPATH=tests $(BIN)/python -m support.pages

notebooks: $(DEV) ## run the notebooks of examples/ and write what their cells show into them
	PYTHONPATH=tests $(BIN)/python -m support.notebooks

vectors: $(STAMP) ## write the test vectors of every built-in design again
	$(BIN)/blindmatch conformance --write-vectors tests/vectors/designs

checks: $(STAMP) ## check every design for data/checks.json, with large games: hours of a core; goes on
	$(BIN)/blindmatch conformance --games --keep simulations/blindmatch_simulations/data/checks.json

corpus: $(DEV) ## make the reference corpus again from packages: 4 GB to fetch, 25 CPU-minutes; goes on (needs apt-get, npm)
	PYTHONPATH=tests $(BIN)/python -m support.reference_making build/corpus whole
	PYTHONPATH=tests $(BIN)/python -m support.reference_making build/corpus aside

best-order: $(DEV) ## measure again what guesses in the best order open of the reference corpus; twenty CPU-minutes
	$(BIN)/python -m blindmatch_simulations.evaluation.studies.best_order simulations/blindmatch_simulations/data/best-order.json

noble: $(DEV) ## bundle the part of @noble/curves that the report measures a device with (needs npm; ARGS=--check compares alone)
	rm -rf build/noble && mkdir -p build && cp -r requirements/noble build/noble
	cd build/noble && npm ci --ignore-scripts --loglevel=error
	PYTHONPATH=tests $(BIN)/python -m support.noble build/noble $(ARGS)

soak: $(DEV) ## 20 devices, 10,000 messages, 200 kills; under 20 minutes (ARGS="--messages 500 --kills 20 --seed 7")
	PYTHONPATH=tests $(BIN)/python tests/faults/soak.py $(ARGS)

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
