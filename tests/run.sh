#!/usr/bin/env bash
# Runs every test file of one kind, whatever becomes of the others, and shows what each of them said when it ends.
#   tests/run.sh native [ARGUMENTS OF EACH TEST FILE]    all but those of tests/envoy, one after another
#   tests/run.sh envoy [ARGUMENTS OF EACH TEST FILE]     those of tests/envoy, two side by side: most behaviours wait for
#                                                        something most of the time
# Everything is built at once, binaries that tests start included: built package by package, with the features that each
# of them needs, what they share would be built several times.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

kind=${1:-}
case $kind in
native) at_once=1 arguments=() ;;
envoy) at_once=2 arguments=(--test-threads 4) ;;
*)
  echo "usage: tests/run.sh native|envoy [arguments of each test file]" >&2
  exit 1
  ;;
esac
shift
arguments+=("$@")

everything=(--locked --workspace --features entra-gate/command)
cargo build "${everything[@]}" --all-targets
# Where a test runs, and the test.
mapfile -t files < <(
  cargo test "${everything[@]}" --no-run --message-format=json-render-diagnostics |
    sed -n 's/.*"manifest_path":"\([^"]*\)\/Cargo.toml".*"test":true.*"executable":"\([^"]*\)".*/\1 \2/p' |
    case $kind in native) grep -v "^$root/tests/envoy " ;; envoy) grep "^$root/tests/envoy " ;; esac
)
[ ${#files[@]} -gt 0 ] || {
  echo "run.sh: cargo named no test file" >&2
  exit 1
}

# The longest first, so that none of them is waited for alone at the end.
first() {
  local file
  for file in "${files[@]}"; do
    case ${file##*/} in revocation-* | keys-* | signals-*) echo "0 $file" ;; *) echo "1 $file" ;; esac
  done | sort -k1,1 -s | cut -d' ' -f2-
}

run() {
  local place=${1%% *} file=${1#* } log outcome=0
  shift
  log=$(mktemp)
  (cd "$place" && "$file" "$@") >"$log" 2>&1 || outcome=1
  # In one piece, whoever else is speaking.
  {
    flock 9
    echo "     Running ${file##*/}"
    cat "$log"
  } 9<"$root/tests/run.sh"
  rm -f "$log"
  return $outcome
}
export -f run
export root

first | tr '\n' '\0' | xargs -0 -P "$at_once" -I{} bash -c 'run "$@"' run {} "${arguments[@]}"
