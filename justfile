# Commands of this workspace. `.ci/run` runs the same recipes; `.ci/tools` fetches `just` itself.

set shell := ["bash", "-euo", "pipefail", "-c"]

export PATH := justfile_directory() / ".toolbox/lint/programs/bin" + ":" + env("PATH")

# Lists the recipes.
default:
    @just --list --unsorted

# Starts the whole mesh on this machine; passes its options to `cargo up`.
up *options:
    cargo up {{ options }}

# Runs every test. Fetches Valkey, its modules and Envoy the first time.
test:
    cargo test --workspace

# Runs every check but the tests: format, lints, documentation, contracts, dependencies.
lint: fmt-check clippy doc proto openapi unused-deps deny

# Formats the Rust code.
fmt:
    cargo fmt --all

# Checks that the Rust code is formatted.
fmt-check:
    cargo fmt --all --check

# Lints the Rust code; any warning is an error.
clippy:
    cargo clippy --workspace --all-targets -- -D warnings

# Builds the documentation of our own crates; any warning (a broken link) is an error.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Lints the contracts, and compares them with the baseline: a breaking change is an error.
proto: _tools
    buf lint proto
    buf breaking proto --against proto/baseline.binpb

# Makes the current contracts the new baseline. Only for a release, or if no caller relies on the broken part.
proto-baseline: _tools
    buf build proto --exclude-source-info --output proto/baseline.binpb

# Checks the generated OpenAPI document with an independent validator.
openapi: _tools
    #!/usr/bin/env bash
    set -euo pipefail
    document=$(mktemp --suffix .json)
    trap 'rm -f "$document"' EXIT
    cargo run --quiet --package keyplane-local --bin keyplane-up -- openapi >"$document"
    PYTHONPATH=.toolbox/lint/python python3 -m openapi_spec_validator "$document"

# `--seed 7` makes other calls, `--examples 100` more of them; deploy/local/fuzz/known.py lists the known findings.
# Fuzzes every JSON route of a whole mesh with schemathesis, about three minutes.
fuzz-api *options: _tools
    cargo build --quiet --package keyplane-local --bin keyplane-up
    python3 deploy/local/fuzz/run.py {{ options }}

# `--seconds 3600` takes longer, `--target filter` runs one of them. Needs a C++ compiler.
# Fuzzes the parsers of callers' bytes, guided by coverage: 20 seconds, and a build with counters.
fuzz *options:
    fuzz/run {{ options }}

# Generates clients for TypeScript, Angular and Python from the OpenAPI document, and runs programs that use them. Needs Node.js 20.
clients: _tools
    deploy/local/clients/run

# Finds dependencies that no code uses; `cargo shear --fix` removes them.
unused-deps: _tools
    cargo shear --locked

# Checks licences and sources of the dependencies, and rejects second versions without a reason in deny.toml.
deny: _tools
    cargo deny check bans licenses sources

# `mesh`: calls against their bounds; `sessions`: 10,000 sessions; `revocation`: checks, and a million revocations;
# `ratelimit`: limits, beside envoyproxy/ratelimit; `gateway`: JSON through Envoy, with the guard and without;
# `search`: the complex query, beside its bare commands; `relevance`: right hits, beside FT.SEARCH and FTS5;
# `recall FILE...`: evidence that agent-memory recalls, on dialogues in LoCoMo's format; synthetic ones without a file.
# Measures on this machine: `just bench mesh`, sessions, revocation, ratelimit, gateway, search, relevance or recall.
bench *options:
    cargo run --quiet --release --package keyplane-bench -- {{ options }}

# Proves that no revoked token passes 100 ms after the acknowledgement. Takes a quarter of an hour, a minute with `--quick`.
prove *options:
    cargo run --quiet {{ if options =~ "--quick" { "" } else { "--release" } }} --package keyplane-bench -- propagation {{ options }}

# Prints its seed: `--seed 7` repeats the faults; `--faults cut,store-stop` picks some.
# Injects random faults under load and checks README's promises: an hour, with `--quick` ten minutes in a debug build.
soak *options:
    cargo run --quiet {{ if options =~ "--quick" { "" } else { "--release" } }} --package keyplane-bench -- soak {{ options }}

# Lints and runs the test in a real Chromium: apt-get install chromium, or name one in KEYPLANE_CHROMIUM.
browser:
    cargo clippy --package keyplane-local --test browser --features browser -- -D warnings
    cargo test --package keyplane-local --test browser --features browser

_tools:
    @.ci/tools
