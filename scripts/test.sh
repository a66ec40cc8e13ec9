#!/usr/bin/env bash
# Everything that must hold before a change lands. Installs what is missing from Debian's packages and the npm registry.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }

need() { # need COMMAND PACKAGE
    command -v "$1" >/dev/null || missing+=("$2")
}

missing=()
need redis-server redis-server
need redis-cli redis-tools
need chromium chromium
need promtool prometheus
need node nodejs
need npm npm
if [ ${#missing[@]} -gt 0 ]; then
    step "install ${missing[*]}"
    sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    # A freshly installed redis-server or prometheus must not start services of its own beside the tests' own.
    DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

step "format"
cargo fmt --all --check

step "lint"
cargo clippy --workspace --all-targets --locked -- -D warnings

step "Rust tests"
cargo test --workspace --locked --quiet

step "RFC 6455: Autobahn, lite"
# The suite is old and comes from Debian's previous release: where that cannot be had, the Rust tests of the protocol stand alone.
autobahn=0
scripts/autobahn.sh lite || autobahn=$?
[ "$autobahn" = 0 ] || [ "$autobahn" = 77 ] || exit "$autobahn"

step "alert rules"
promtool check config deploy/prometheus/prometheus.yml >/dev/null
promtool test rules deploy/prometheus/alerts_test.yml >/dev/null

step "documentation"
RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --workspace --no-deps --document-private-items --locked --quiet

step "release build"
cargo build --release --workspace --locked --quiet

step "JavaScript client"
(cd clients/js && npm ci --silent --no-audit --no-fund && npm test --silent)

step "browser"
(cd tests/browser && npm ci --silent --no-audit --no-fund && npm test --silent)

step "API description"
(cd tests/openapi && npm ci --silent --no-audit --no-fund && npm test --silent)
(cd tests/asyncapi && npm ci --silent --no-audit --no-fund --ignore-scripts && npm test --silent)

step "load test: smoke"
"${CARGO_TARGET_DIR:-target}/release/tickcast-loadtest" run --scenario smoke --server "${CARGO_TARGET_DIR:-target}/release/tickcast gateway"

step "done"
