# Every command of the README and of CI is a target here. Needs only Python 3.11+ and the package registries.
PYTHON ?= python3
TOOLS := .tools
UV := $(TOOLS)/bin/uv
RUN := $(UV) run --frozen
JOBS ?= 3
PART ?= 1/1
# What runs `make live` too says `LIVE=later`: nothing of it twice.
LIVE ?= now
BASE ?= python:3.12-slim
# The tag that the chart asks for when it is told none.
VERSION := $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' pyproject.toml)

# Some images switch bytecode off; each of the hundreds of processes of the tests would compile the service anew.
export PYTHONDONTWRITEBYTECODE :=

# The live tier in two processes side by side, each with a control plane, so that both end at about the same time: the scenes, which mostly wait, and the chart; and
# all others. A third one would only make the two cores of a small machine late for what is waited for.
define live_tier
scenes=$$(mktemp); $(RUN) pytest -p no:xdist $(1) -m "$(2)" -rs tests/live/e2e tests/live/chart > $$scenes 2>&1 & other=$$!; \
$(RUN) pytest -p no:xdist $(1) -m "$(2)" -rs tests/contract tests/live --ignore=tests/live/e2e --ignore=tests/live/chart; rest=$$?; \
wait $$other; code=$$?; cat $$scenes; rm $$scenes; [ $$rest -eq 0 ] && [ $$code -eq 0 ]
endef

.PHONY: help install demo test long exhaustive browser chromium screenshots crash kills live check fix bench fuzz build-live image audit sbom contents clean
help:            ## show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed (PYTHON=...)"; exit 1; }
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check "uv==0.13.9"

.venv/.installed: $(UV) pyproject.toml uv.lock
	$(UV) sync --frozen --quiet --compile-bytecode --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')"
	@touch $@

install: .venv/.installed ## install everything into .venv

demo: install    ## the four alerts on a simulated cluster and a plan that waits for you on the page, or STORY=database-backup (DEMO_ARGS=--once ends with the four)
	$(RUN) remediator demo $(if $(STORY),--story $(STORY)) $(DEMO_ARGS)

test: install    ## all tests but the long and the browser's; the live tier too when its binaries are cached
	$(RUN) pytest -n $(JOBS) --dist worksteal -rs -m "not live and not browser and not long" tests
	@echo "The long tests, seven in eight of the rows of tables and of the scenes are left out: 'make long' runs most of them, CI one part in twelve of those; 'make exhaustive' the rest."
	@$(RUN) python -m tests.browser.chromium || { echo "BROWSER TIER CANNOT RUN, see above; 'make browser' runs it."; }
	@if [ "$(LIVE)" = later ]; then echo "The live tier is left to 'make live'."; \
	elif $(RUN) python -m tests.live.build --check; then $(call live_tier,,live and not long); else \
	  echo; echo "LIVE TIER SKIPPED: the real API server, Alertmanager, ... are not built yet."; \
	  echo "'make live' builds them (about 25 minutes the first time) and runs it."; fi

chromium: install
	@$(RUN) python -m tests.browser.chromium || { [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null && apt-get update -q \
	  && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium fonts-dejavu-core; }
	@$(RUN) python -m tests.browser.chromium

browser: chromium ## the web page in Chromium, driven as people do; a skip is a failure; pictures in screenshots/
	$(RUN) pytest -p no:xdist --require-browser -m browser -rs tests/browser

screenshots: chromium ## the pictures of the README and docs, from a running service
	$(RUN) python -m tests.browser.shots

build-live: install ## build the real API server, Alertmanager, ... into the cache (about 25 minutes the first time)
	$(UV) run --frozen --group live python -m tests.live.build

long: install    ## what make test leaves out: large tables, and each sixteenth row of those of scenes, deaths and faults; PART=3/12: one part in twelve
	$(RUN) pytest -n $(JOBS) --dist worksteal -rs --part $(PART) -m "long and not exhaustive and not live and not browser" tests
	@echo "Part $(PART) of the long tests was run; fifteen in sixteen of the rows of these scenes and deaths are left out: 'make exhaustive' runs them."

exhaustive: install ## what make long leaves out too: the other rows of scenes, deaths and faults
	$(RUN) pytest -n $(JOBS) --dist worksteal -rs -m "exhaustive" tests

crash: install   ## the crash harness with every cut at every boundary (about half an hour)
	CRASH_ALL=1 $(RUN) pytest -n $(JOBS) --dist worksteal tests/crash

live: build-live ## build if needed, then run the live tier; a skip is a failure
	@export LIVE_ALL=1; $(call live_tier,--require-live,live)

kills: build-live ## kill -9 at random moments: 200 over 200 incidents on SQLite, 50 over 50 on two Postgres replicas (half an hour)
	KILLS=200 INCIDENTS=200 $(RUN) pytest -p no:xdist --require-live -m live -s tests/live/e2e/test_random_kills.py -k sqlite
	KILLS=50 INCIDENTS=50 $(RUN) pytest -p no:xdist --require-live -m live -s tests/live/e2e/test_random_kills.py -k postgres

check: install   ## lint, types, import direction
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) remediator policy check policies
	$(RUN) remediator policy test policies --cover

fix: install     ## format and repair what can be repaired
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

bench: install   ## measure; prints ratios of one run
	$(RUN) python -m tests.bench $(BENCH_ARGS)

fuzz: install    ## fuzz every parser of foreign bytes, guided by coverage, 10 minutes each (FUZZ_ARGS="--seconds 60 NAME...")
	$(UV) run --frozen --group fuzz python -m tests.fuzz $(FUZZ_ARGS)

image:           ## build the container image alert-remediator:VERSION on the base image's present digest; needs docker with buildx
	@digest=$$(docker buildx imagetools inspect $(BASE) --format '{{.Manifest.Digest}}') && [ -n "$$digest" ] \
	  || { echo "IMAGE NOT BUILT: the digest of $(BASE) cannot be looked up"; exit 1; }; \
	echo "base: $(BASE)@$$digest"; docker build --build-arg "PYTHON_BASE=$(BASE)@$$digest" -t "alert-remediator:$(VERSION)" .

audit: install   ## look for known vulnerabilities in the locked packages; says so when no database can be reached
	@$(UV) export --frozen --no-default-groups --extra otel --no-emit-project --quiet -o $(TOOLS)/runtime.txt
	@$(UV) tool run pip-audit --disable-pip --require-hashes -r $(TOOLS)/runtime.txt > $(TOOLS)/audit.log 2>&1; code=$$?; \
	cat $(TOOLS)/audit.log; echo; \
	unknown=$$(grep -c "could not be audited" $(TOOLS)/audit.log); \
	if [ "$$unknown" -gt 0 ]; then \
	  echo "AUDIT SKIPPED for $$unknown of $$(grep -c '==' $(TOOLS)/runtime.txt) packages: the advisory database does not answer for them."; fi; \
	if grep -qE "^Found [0-9]+ known vulnerabilit" $(TOOLS)/audit.log; then exit 1; fi; \
	if [ $$code -ne 0 ]; then \
	  echo "AUDIT SKIPPED: pip-audit or its advisory database could not be reached; nothing was checked."; fi

sbom: install    ## write sbom.json: the locked runtime packages as CycloneDX
	$(UV) export --frozen --no-default-groups --extra otel --format cyclonedx1.5 --quiet -o sbom.json

contents: install ## carry out the image's steps in build/image without a container engine; list its files, packages and licences
	$(RUN) python -m tests.image.contents

clean:           ## remove what was built here
	rm -rf $(TOOLS) .venv build dist state screenshots
