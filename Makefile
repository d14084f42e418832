# make check: style, types, floors.  make test: check, then the tests.  make fix: format.
.PHONY: check test fix

check:
	./blab test --check

test:
	./blab test

fix:
	.venv/bin/ruff format . blab
	.venv/bin/ruff check --fix . blab
