.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
PYTHON_IN_VENV := $(VENV)/bin/python
# 3.13 first, as in the images.
PYTHON ?= $(shell for p in python3.13 python3.14 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null \
	&& { echo $$p; break; }; done)
# uv, if it is on the PATH, installs the same packages faster than pip.
UV := $(shell command -v uv 2>/dev/null)
INSTALL := $(if $(UV),uv pip install --quiet --python $(PYTHON_IN_VENV),$(PYTHON_IN_VENV) -m pip install --quiet --disable-pip-version-check)

# A command uses the stack without Docker if that has data, else Docker if it is running.
ifneq ($(filter-out local docker,$(STACK)),)
$(error STACK is local or docker, not $(STACK))
endif
CHOOSE := if test -d .local; \
	then echo local; echo "Without Docker, because the data are in .local (STACK=docker uses Docker)" >&2; \
	elif docker compose version >/dev/null 2>&1 && docker info >/dev/null 2>&1; \
	then echo docker; echo "With Docker, because it is running (STACK=local runs without it)" >&2; \
	else echo local; echo "Without Docker, because it is not running" >&2; fi

WITHOUT_DOCKER := STACK=local make up needs no Docker

# The services, and the template of new ones.
SERVICES := $(patsubst %/layers.toml,%,$(wildcard *-service/layers.toml tools/forking/template/*-service/layers.toml))

# Without its cache of compiled files, every test process would compile all tests anew.
unexport PYTHONDONTWRITEBYTECODE

# More workers than cores, because many tests mostly wait.
WORKERS ?= $(shell expr 2 + $$(getconf _NPROCESSORS_ONLN))

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  %-14s %s\n", $$1, $$2 }'

up: ## Start everything and wait until it is ready
down: ## Stop everything; the data are kept
restart: ## Restart the services, or one process: make restart S=...
ps: ## List what is running
logs: ## Show the logs of everything, or of one process: make logs S=workflow-worker
stop: ## Stop the services, or one process: make stop S=identity-service
start: ## Start them again
watch: ## Start everything, and restart what you edit
reset: ## Stop everything and delete all data
up down restart ps logs stop start watch reset:
	@$(MAKE) $@-$(or $(STACK),$(shell $(CHOOSE)))

up-local watch-local: install
%-local:
	@test -e $(VENV)/installed || { echo 'Nothing is running: `make up` starts everything'; exit 1; }
	@$(PYTHON_IN_VENV) -m tools.localdev $* $(S)

up-docker down-docker restart-docker ps-docker logs-docker stop-docker start-docker watch-docker reset-docker: require-docker
require-docker:
	@command -v docker >/dev/null || { echo "There is no docker on the PATH. $(WITHOUT_DOCKER)"; exit 1; }
	@docker compose version >/dev/null 2>&1 || { echo "Docker lacks its Compose plugin (docker-compose-plugin). $(WITHOUT_DOCKER)"; exit 1; }
	@docker info >/dev/null 2>&1 || { echo "The Docker engine does not answer: start it. $(WITHOUT_DOCKER)"; exit 1; }

up-docker:
	@docker compose up -d --build --wait --remove-orphans
	@cat tools/localdev/welcome.txt
down-docker:
	@docker compose down --remove-orphans
restart-docker:
	@docker compose restart $(S)
	@docker compose up -d --wait
stop-docker start-docker: %-docker:
	@docker compose $* $(S)
ps-docker:
	@docker compose ps
logs-docker:
	@docker compose logs --tail 100 $$(test -t 1 && echo --follow) $(S)
watch-docker:
	@docker compose watch
reset-docker:
	@docker compose down --volumes --remove-orphans
	@# Then networks and volumes of services that were removed.
	@of=label=com.docker.compose.project=$$(docker compose config | sed -n 's/^name: //p'); \
		for kind in network volume; do for left in $$(docker $$kind ls --quiet --filter $$of); do \
		docker $$kind rm $$left >/dev/null || exit 1; done; done

open: ## Open the API documentation and the mails in a browser
psql: ## Query the database of a service: make psql S=identity
shell: ## Open a shell in a service, or Python without Docker: make shell S=workflow-worker
open psql shell:
	@$(or $(wildcard $(PYTHON_IN_VENV)),$(PYTHON)) -m tools.localdev.console $@ $(or $(STACK),$(shell $(CHOOSE))) $(S)

conformance: install ## Check whether a service keeps the patterns: make conformance URL=http://localhost:8002
	@$(PYTHON_IN_VENV) -m tools.conformance

test: install ## Run all tests that need no Docker
	@$(PYTHON_IN_VENV) -m pytest --numprocesses $(WORKERS) --maxprocesses 4

test-compose: install ## Run the tests across services against the stack in Docker
	@STACK=docker $(PYTHON_IN_VENV) -m pytest tests
	@for more in $(wildcard tools/*/tests/test_in_docker.py); do $(PYTHON_IN_VENV) -m pytest $$more || exit 1; done

lint: install ## Check the rules, the format and the layers of the code
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check
	@$(VENV)/bin/zizmor --offline --quiet .github
	@PYTHONPATH=$$(ls -d $(SERVICES) | paste -sd: -) $(VENV)/bin/lint-imports --no-logo pyproject.toml $(SERVICES:=/layers.toml)

format: install ## Fix and format the code
	@$(VENV)/bin/ruff check --fix
	@$(VENV)/bin/ruff format

types: install ## Check the types
	@MYPYPATH=$$(ls -d *-service | paste -sd: -) $(VENV)/bin/mypy $(wildcard chassis docs tools/*.py tools/benchmarks tools/conformance tools/contract/*.py tools/contract/tests tools/forking/*.py tools/forking/tests tools/localdev tools/samples tests) conftest.py
	@for service in $(SERVICES); do MYPYPATH=$$service $(VENV)/bin/mypy $$service || exit 1; done

doctor: ## Say what this machine lacks, and what to do
	@test -n "$(PYTHON)" || { echo "Install Python 3.11, 3.12, 3.13 or 3.14: none is on the PATH"; exit 1; }
	@STACK=$(STACK) $(if $(wildcard $(VENV)/installed),$(PYTHON_IN_VENV),$(PYTHON)) -m tools.doctor

install: $(VENV)/installed ## Create .venv with all packages
	@:
$(VENV)/installed: $(wildcard requirements* */requirements*.txt)
	@test -n "$(PYTHON)" || { echo "Install Python 3.11, 3.12, 3.13 or 3.14: none is on the PATH"; exit 1; }
	@echo "Installing packages into $(VENV) with $(if $(UV),uv,pip) (once, a minute or two)"
	@$(if $(UV),uv venv --quiet --allow-existing --python $(PYTHON),$(PYTHON) -m venv) $(VENV)
	@$(INSTALL) --require-hashes -r requirements.lock
	@# Then what `make lock` has not seen yet.
	@$(INSTALL) -r requirements.dev.txt $(addprefix -r ,$(wildcard *-service/requirements.txt))
	@touch $@

sbom: install ## List the packages of each image in sbom/, as CycloneDX
	@$(PYTHON_IN_VENV) -m tools.sbom

coverage: install ## Run all tests and print how much of the code they run, in all processes
	@$(VENV)/bin/coverage erase
	@$(VENV)/bin/coverage run -m pytest --numprocesses $(WORKERS) --maxprocesses 4; status=$$?; \
		$(VENV)/bin/coverage combine --quiet && $(VENV)/bin/coverage report && exit $$status

lock: install ## Pin all packages again, after a change of requirements
	@$(if $(UV),:,$(INSTALL) uv)
	@PATH="$$PATH:$(VENV)/bin" uv pip compile --quiet --universal --generate-hashes --annotation-style line --python-version 3.11 \
		--custom-compile-command "make lock" requirements.dev.txt $(wildcard */requirements*.txt) --output-file requirements.lock
	@! test -e tools/contract || PATH="$$PATH:$(VENV)/bin" uv pip compile --quiet --universal --generate-hashes --no-annotate \
		--python-version 3.11 --custom-compile-command "make lock" tools/contract/requirements.txt --output-file tools/contract/requirements.lock

.PHONY: help doctor up down restart ps logs stop start watch reset require-docker open psql shell conformance test test-compose lint format types coverage sbom install lock

-include tools/forking/platform.mk
-include tools/contract/contract.mk
