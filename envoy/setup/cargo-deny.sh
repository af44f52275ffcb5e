#!/usr/bin/env bash
# Checks licences, bans and sources of every dependency against .ci/deny.toml with cargo-deny, which is built into
# .tools/ where the machine has none. Advisories are checked when their database can be fetched, and skipped aloud when not.
set -euo pipefail
# shellcheck source=envoy/setup/lib.sh
. "$(dirname "$0")/lib.sh"

version=0.20.2
if [ "$(cargo-deny --version 2>/dev/null)" = "cargo-deny $version" ]; then
  deny=cargo-deny
else
  deny=$tools/cargo-deny-$version/bin/cargo-deny
  if [ ! -x "$deny" ]; then
    say "building cargo-deny $version into .tools"
    # Unoptimized: it builds in a minute, and a run of it takes a second all the same.
    CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0 cargo install --quiet --locked --debug \
      --target-dir "$tools/build" --root "$tools/cargo-deny-$version" "cargo-deny@$version"
    rm -rf "$tools/build"
  fi
fi

cd "$root"
deny=("$deny" --locked --workspace --all-features --config .ci/deny.toml)
"${deny[@]}" check --hide-inclusion-graph licenses bans sources
if timeout 60 "${deny[@]}" fetch db >/dev/null 2>&1; then
  "${deny[@]}" check advisories
else
  say "SKIPPED advisories: their database cannot be fetched from here"
fi
