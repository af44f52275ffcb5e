#!/usr/bin/env bash
# Runs the tests of the service over PostgreSQL, and closes on «postgres: N passed, N failed» where there is none to be had.
set -euo pipefail
# shellcheck source=envoy/setup/lib.sh
. "$(dirname "$0")/../../envoy/setup/lib.sh"

if ! programs=$("$root/envoy/setup/postgres.sh"); then
  say "SKIPPED: PostgreSQL cannot be had here"
  echo "postgres: 0 passed, 0 failed, 1 skipped"
  exit
fi
cd "$root"
export ENTRA_GATE_POSTGRES=$programs
# The same packages and features as for all tests, so that nothing is built anew.
exec cargo test --locked --workspace --features entra-gate/command --test service -- postgres::
