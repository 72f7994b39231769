# What can be done with this repository. Each target prepares what it needs; nothing is installed outside the checkout.

VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
SYSTEM_READY := $(VENV)/.ready-system
WILD := build/wild
WILD_READY := $(WILD)/.ready
PROTO_VENV := build/proto-venv
PROTO_READY := $(PROTO_VENV)/.ready
BUF := build/node/node_modules/.bin/buf
CODE := client store service worker engine tests tools
PYTEST := $(PY) -m pytest
TORCH_TESTS := tests/unit/test_engine* tests/unit/test_rules* tests/unit/test_worker* \
	tests/integration/test_engine* tests/integration/test_rules* tests/e2e/test_worker*
EXTRAS := .[all,demo,plot,s3]
ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-torch test-system lint buf-lint format bench gpu-check zoo wild wild-ready chaos soak fuzz proto proto-check client settings pages clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Prepare the virtual environment .venv (the other targets do it when needed)

demo: $(READY) ## Diagnose two healthy and three broken models on a private stack
	@$(VENV)/bin/gradclinic demo $(ARGS)

test: $(READY) ## Run the unit, integration and end-to-end tests (ARGS='-k cancel -x' narrows them)
	$(PYTEST) --numprocesses auto --dist loadfile $(ARGS)

test-torch: ## Run the tests of engine and worker on another torch (VERSION=2.5.1) in build/torch-VERSION; WITH='transformers<5' adds requirements
	@test -n "$(VERSION)" || { echo "Name the version: make test-torch VERSION=2.5.1"; exit 2; }
	@$(MAKE) --no-print-directory build/torch-$(VERSION)/.ready
	build/torch-$(VERSION)/bin/python -m pytest --numprocesses auto --dist loadfile $(TORCH_TESTS) $(ARGS)

test-system: $(SYSTEM_READY) ## Run the tests that need system packages (see CONTRIBUTING.md)
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory $(BUF); fi
	$(PYTEST) -m system $(ARGS)

lint: $(READY) proto-check ## Check style, types, imports, the contract and what is generated
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy $(CODE)
	$(VENV)/bin/lint-imports --no-logo
	$(VENV)/bin/vulture
	$(PY) tools/generate_finding_pages.py --check
	$(PY) tools/generate_client.py --check
	$(PY) tools/generate_settings.py --check
	@$(MAKE) --no-print-directory buf-lint

buf-lint: ## Check the wire contract with buf (needs node; its absence is an error only where CI is set)
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory $(BUF) && $(BUF) lint proto && echo "buf lint: clean"; \
	elif [ -n "$$CI" ]; then echo "buf lint: npm is missing, and in CI that is an error"; exit 1; \
	else echo "buf lint: not run, because npm is missing (install Node.js to check proto/)"; fi

format: $(READY) ## Format the code and mend what ruff can mend
	$(VENV)/bin/ruff check --fix-only .
	$(VENV)/bin/ruff format .

bench: $(READY) ## Measure speed and memory (ARGS='--only analysis --smoke' narrows it); writes build/bench.json
	@PYTHONPATH=tests $(PY) -m bench $(ARGS)

gpu-check: $(READY) ## Check on a CUDA machine: demo, findings, speed, waiting, memory limit (ARGS='--device cpu' is a dry run); writes build/gpu.json
	@PYTHONPATH=tests $(PY) -W ignore -m gpu $(ARGS)

zoo: $(READY) ## Diagnose models with known faults and healthy ones (ARGS='--only lstm' narrows it); writes build/zoo.json
	@PYTHONPATH=tests $(PY) -W ignore -m zoo.run $(ARGS)

wild: wild-ready ## Diagnose real architectures of packages (timm, transformers, MONAI and others): each must get an answer
	$(PYTEST) --numprocesses auto tests/wild $(ARGS)

wild-ready: $(WILD_READY)

chaos: $(READY) ## Kill, stop, cut off and overload real processes, and count what is lost (ARGS='--only stored'); writes build/chaos.json
	@PYTHONPATH=tests $(PY) -m chaos $(ARGS)

soak: $(READY) ## Run 10,000 small diagnoses, and see that nothing grows (ARGS='--jobs 1000 --minutes 6'); writes build/soak.json
	@PYTHONPATH=tests $(PY) -m soak $(ARGS)

fuzz: $(READY) ## Feed the engine and the pipes at least 20,000 damaged inputs (the short form is part of `make test`)
	GRADCLINIC_FUZZ_INPUTS=3500 $(PYTEST) --timeout 3600 tests/hostile/test_hostile_fuzz.py $(ARGS)

proto: $(PROTO_READY) ## Generate the Python of the wire contract
	$(PROTO_VENV)/bin/python tools/generate_proto.py

proto-check: $(PROTO_READY)
	$(PROTO_VENV)/bin/python tools/generate_proto.py --check

client: $(READY) ## Generate the blocking client from the asynchronous one
	$(PY) tools/generate_client.py

settings: $(READY) ## Generate the table of settings in docs/ and those in deploy/ from the options
	$(PY) tools/generate_settings.py

pages: $(READY) ## Generate the findings pages of docs/ from the rules
	$(PY) tools/generate_finding_pages.py

clean: ## Remove what was built, but not .venv
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment holds everything but the code generator; it is made anew when what it holds is declared otherwise.
$(READY): pyproject.toml constraints.txt | $(PY)
	@echo "Installing gradclinic with its test and lint tools into $(VENV) (a few minutes the first time)"
	@$(PY) -m pip install -qq --upgrade 'pip>=25.1'
	@$(PY) -m pip install -qq -c constraints.txt --editable '$(EXTRAS)' --group lint --group test
	@touch $@

# The versions of torch and of what depends on its version are those that the caller names.
build/torch-%/.ready: pyproject.toml constraints.txt
	@echo "Installing torch $* and what the tests need into $(@D) (may be several GB)"
	@sh tools/make_venv.sh $(@D)
	@$(@D)/bin/python -m pip install -qq --upgrade 'pip>=25.1'
	@grep -vE '^(torch|transformers|tokenizers)==' constraints.txt >$(@D)/constraints.txt
	@$(@D)/bin/python -m pip install -qq -c $(@D)/constraints.txt --editable '$(EXTRAS)' --group test 'torch==$*' $(if $(WITH),'$(WITH)')
	@touch $@

$(SYSTEM_READY): $(READY)
	@echo "Installing the checkers of what deploy/ holds and a driver of browsers into $(VENV)"
	@$(PY) -m pip install -qq -c constraints.txt --group system
	@touch $@

# In a folder of their own that only the tests of these architectures look into: with torchvision in the environment itself,
# transformers would import it, and cannot beside a torch for the CPU.
$(WILD_READY): pyproject.toml $(READY)
	@echo "Installing packages of architectures into $(WILD)"
	@rm -rf $(WILD)
	@$(PY) -m pip install -qq --no-deps --target $(WILD) --group wild
	@touch $@

$(PY):
	@sh tools/make_venv.sh $(VENV)

# Old generator, old protobuf: what it writes runs with every newer one. Hence an environment of its own.
$(PROTO_READY): pyproject.toml tools/make_venv.sh
	@echo "Installing the code generator into $(PROTO_VENV)"
	@sh tools/make_venv.sh $(PROTO_VENV)
	@$(PROTO_VENV)/bin/python -m pip install -qq --upgrade 'pip>=25.1'
	@$(PROTO_VENV)/bin/python -m pip install -qq --group proto
	@touch $@

$(BUF): tools/node/package.json
	@echo "Installing buf into build/node"
	@mkdir -p build/node && cp tools/node/package.json build/node/
	@cd build/node && npm install --silent --no-audit --no-fund --no-package-lock
	@touch $@
