# The commands of this workspace. `.ci/run` runs the same recipes; `just` itself comes from `.ci/tools`.

set shell := ["bash", "-euo", "pipefail", "-c"]

export PATH := justfile_directory() / ".toolbox/lint/programs/bin" + ":" + env("PATH")

# Lists the recipes.
default:
    @just --list --unsorted

# Starts the whole mesh on this machine; options after it go to `cargo up`.
up *options:
    cargo up {{ options }}

# Runs every test. Fetches Valkey, its modules and Envoy the first time.
test:
    cargo test --workspace

# Runs every check that needs no test: format, lints, documentation, contracts, licences.
lint: fmt-check clippy doc proto openapi deny

# Formats the Rust code.
fmt:
    cargo fmt --all

# Checks that the Rust code is formatted.
fmt-check:
    cargo fmt --all --check

# Lints the Rust code; any warning is an error.
clippy:
    cargo clippy --workspace --all-targets -- -D warnings

# Builds the documentation of our own crates; any warning, such as a broken link, is an error.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Lints the contracts, and compares them with the baseline: no break for callers.
proto: _tools
    buf lint proto
    buf breaking proto --against proto/baseline.binpb

# Makes the current contracts the new baseline. Only for a release, or for a break that harms nobody.
proto-baseline: _tools
    buf build proto --exclude-source-info --output proto/baseline.binpb

# Checks the OpenAPI document that is generated from the contracts, with an independent validator.
openapi: _tools
    #!/usr/bin/env bash
    set -euo pipefail
    document=$(mktemp --suffix .json)
    trap 'rm -f "$document"' EXIT
    cargo run --quiet --package keyplane-local --bin keyplane-up -- openapi >"$document"
    PYTHONPATH=.toolbox/lint/python python3 -m openapi_spec_validator "$document"

# Fuzzes every JSON route of a whole mesh with schemathesis, about three minutes: deploy/local/fuzz/known.py lists the
# accepted findings with their reasons. `--seed 7` for other calls, `--examples 100` for more of them.
fuzz-api *options: _tools
    cargo build --quiet --package keyplane-local --bin keyplane-up
    python3 deploy/local/fuzz/run.py {{ options }}

# Generates clients for TypeScript, Angular and Python from the OpenAPI document, and runs programs that use them. Needs Node.js 20.
clients: _tools
    deploy/local/clients/run

# Checks licences and sources of the dependencies, and duplicate versions.
deny: _tools
    cargo deny check bans licenses sources

# Measures on this machine: `just bench mesh` (the calls against what bounds them), `just bench sessions` (10,000 of them),
# `just bench revocation` (checks, and a million revocations), `just bench ratelimit` (limits, beside envoyproxy/ratelimit), or
# `just bench gateway` (JSON through Envoy, with the guard and without).
bench *options:
    cargo run --quiet --release --package keyplane-bench -- {{ options }}

# Proves that no revoked token passes 100 ms after the acknowledgement: a quarter of an hour; `just prove --quick` takes a minute.
prove *options:
    cargo run --quiet {{ if options =~ "--quick" { "" } else { "--release" } }} --package keyplane-bench -- propagation {{ options }}

# Lets everything fail at random under load, and checks every promise: an hour in a release build, with `--quick` ten minutes in a
# debug build. Prints its seed: `--seed 7` repeats the faults; `--faults cut,store-stop` picks some.
soak *options:
    cargo run --quiet {{ if options =~ "--quick" { "" } else { "--release" } }} --package keyplane-bench -- soak {{ options }}

# Lints and runs the test in a real Chromium: apt-get install chromium, or name one in KEYPLANE_CHROMIUM.
browser:
    cargo clippy --package keyplane-local --test browser --features browser -- -D warnings
    cargo test --package keyplane-local --test browser --features browser

_tools:
    @.ci/tools
