#!/usr/bin/env bash
# Runs every test file of this package, two side by side: most behaviours wait for something most of the time. What a file
# said is shown when it ends.
#   tests/envoy/all.sh [ARGUMENTS OF EACH TEST FILE]
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cargo test --locked -p envoy-tests --no-run 2>&1 | tee "$work/built"
mapfile -t files < <(sed -n 's/^ *Executable .*(\(.*\))$/\1/p' "$work/built")
[ ${#files[@]} -gt 0 ] || {
  echo "all.sh: cargo named no test file" >&2
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
  local file=$1 log
  shift
  log=$(mktemp)
  local outcome=0
  case $file in /*) ;; *) file=$root/$file ;; esac
  (cd "$root/tests/envoy" && "$file" --test-threads 4 "$@") >"$log" 2>&1 || outcome=1
  # In one piece, whoever else is speaking.
  {
    flock 9
    echo "     Running ${file##*/}"
    cat "$log"
  } 9<"$root/tests/envoy/all.sh"
  rm -f "$log"
  return $outcome
}
export -f run
export root

first | xargs -P 2 -I{} bash -c 'run "$@"' run {} "$@"
