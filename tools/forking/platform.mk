# What only the repository with all services can do.

demo: install ## The main job, step by step, on the running stack
	@$(PYTHON_IN_VENV) -m tools.demo

bench: install ## Measure: make bench NAME=auth
	@$(PYTHON_IN_VENV) -m tools.benchmarks.$(or $(NAME),$(error NAME is one of: $(basename $(notdir $(wildcard tools/benchmarks/[a-z]*.py)))))

new-service: install ## A service of your own: make new-service NAME=billing PORT=8005
	@$(PYTHON_IN_VENV) -m tools.forking new "$$NAME" "$$PORT"

remove-service: install ## Take it out again: make remove-service NAME=billing
	@$(PYTHON_IN_VENV) -m tools.forking remove "$$NAME"

eject: install ## A service as a repository of its own: make eject SERVICE=content-service TO=../my-content
	@$(PYTHON_IN_VENV) -m tools.forking eject "$$SERVICE" "$$TO"

fork-test: install ## Forks and ejected services, made and tested in copies of this repository
	@$(PYTHON_IN_VENV) -m pytest tools/forking/tests/test_forking.py

docs-test: install ## Run what README and docs mark as runnable, on the usual ports
	@$(PYTHON_IN_VENV) -m pytest docs

.PHONY: demo bench new-service remove-service eject fork-test docs-test
