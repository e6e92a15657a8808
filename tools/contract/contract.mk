# Commands that hold OpenAPI documents, clients and services against each other; see README.md.

CONTRACT := tools/contract

openapi: install ## Write the OpenAPI documents to docs/openapi
	@$(PYTHON_IN_VENV) -m tools.contract.documents

contract: install $(CONTRACT)/.venv/installed $(CONTRACT)/node_modules/installed ## Check documents, clients and services against each other; needs Node.js
	@$(PYTHON_IN_VENV) -m pytest $(CONTRACT)/tests$(if $(STEP),/test_$(STEP).py)

$(CONTRACT)/.venv/installed: $(CONTRACT)/requirements.lock
	@echo "Installing the Python programs of make contract"
	@$(if $(UV),uv venv --quiet --allow-existing --python $(PYTHON),$(PYTHON) -m venv) $(@D)
	@$(subst $(VENV),$(@D),$(INSTALL)) --require-hashes -r $<
	@touch $@

$(CONTRACT)/node_modules/installed: $(CONTRACT)/package-lock.json
	@command -v npm >/dev/null || { echo "Install Node.js 20 or newer: npm is not on the PATH"; exit 1; }
	@echo "Installing the Node programs of make contract"
	@npm ci --silent --prefix $(CONTRACT)
	@touch $@

.PHONY: openapi contract
