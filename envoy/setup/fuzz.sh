#!/usr/bin/env bash
# Runs every fuzz target of tests/fuzz for the given number of seconds each (60), with cargo-fuzz, which is installed
# into .tools/ where it is absent.
set -euo pipefail
# shellcheck source=envoy/setup/lib.sh
. "$(dirname "$0")/lib.sh"

seconds=${1:-60}
version=0.13.2
cd "$root"
if [ ! -e tests/fuzz/Cargo.toml ]; then
  say "SKIPPED: there is no tests/fuzz"
  exit
fi
if ! cargo fuzz --version >/dev/null 2>&1; then
  export PATH="$tools/cargo-fuzz/bin:$PATH"
  if ! cargo fuzz --version >/dev/null 2>&1; then
    say "building cargo-fuzz $version into .tools"
    CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --locked --debug --root "$tools/cargo-fuzz" "cargo-fuzz@$version"
  fi
fi
# libFuzzer needs the compiler's sanitizer flags, which are not stable yet.
export RUSTC_BOOTSTRAP=1
mapfile -t targets < <(cargo fuzz list --fuzz-dir tests/fuzz)
[ ${#targets[@]} -gt 0 ] || die "tests/fuzz has no target"
for target in "${targets[@]}"; do
  say "$target for $seconds s"
  cargo fuzz run --fuzz-dir tests/fuzz "$target" -- "-max_total_time=$seconds" -print_final_stats=1
done
say "${#targets[@]} targets, $seconds s each, nothing found"
