#!/usr/bin/env bash
# Makes the filter that ships out of the one that was built: without the exports that envoy/setup/exports does not name and
# the code that only they reached (wasm-metadce), then optimised (wasm-opt). Both are Binaryen's.
#   envoy/setup/wasm-shrink.sh BUILT SHIPPED
set -euo pipefail
# shellcheck source=envoy/setup/lib.sh
. "$(dirname "$0")/lib.sh"

[ $# -eq 2 ] || die "usage: wasm-shrink.sh BUILT SHIPPED"
built=$1 shipped=$2

# On other systems: a package called binaryen, and both commands on the PATH.
if ! { command -v wasm-metadce && command -v wasm-opt; } >/dev/null; then
  apt_install binaryen
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What rustc emits and V8 has had for years.
features=(
  --enable-bulk-memory --enable-multivalue --enable-mutable-globals --enable-nontrapping-float-to-int
  --enable-reference-types --enable-sign-ext
)

mapfile -t kept < <(grep -v '^#' "$root/envoy/setup/exports")
{
  reaches=$(printf ',"%s"' "${kept[@]}")
  printf '[{"name":"envoy","root":true,"reaches":[%s]}' "${reaches#,}"
  for name in "${kept[@]}"; do printf ',{"name":"%s","export":"%s"}' "$name" "$name"; done
  printf ']\n'
} >"$work/graph.json"

wasm-metadce "${features[@]}" --graph-file "$work/graph.json" "$built" -o "$work/reached.wasm" >/dev/null
wasm-opt "${features[@]}" -Oz "$work/reached.wasm" -o "$shipped"
