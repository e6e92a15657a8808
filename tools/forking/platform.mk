# Commands of the repository with all services; a repository with one service lacks this file.

demo: install ## Show the main job, step by step, on the running stack
	@$(PYTHON_IN_VENV) -m tools.demo

bench: install ## Run a benchmark: make bench NAME=auth
	@$(PYTHON_IN_VENV) -m tools.benchmarks.$(or $(NAME),$(error NAME is one of: $(basename $(notdir $(wildcard tools/benchmarks/[a-z]*.py)))))

new-service: install ## Create a service of your own: make new-service NAME=billing PORT=8005
	@$(PYTHON_IN_VENV) -m tools.forking new "$$NAME" "$$PORT"

remove-service: install ## Remove it again: make remove-service NAME=billing
	@$(PYTHON_IN_VENV) -m tools.forking remove "$$NAME"

eject: install ## Copy a service into a repository of its own: make eject SERVICE=content-service TO=../my-content
	@$(PYTHON_IN_VENV) -m tools.forking eject "$$SERVICE" "$$TO"

fork-test: install ## Create, eject and test services in copies of this repository
	@$(PYTHON_IN_VENV) -m pytest tools/forking/tests/test_forking.py

docs-test: install ## Run the commands in README and docs, on the usual ports
	@$(PYTHON_IN_VENV) -m pytest docs

.PHONY: demo bench new-service remove-service eject fork-test docs-test
