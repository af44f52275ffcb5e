#!/usr/bin/env bash
# Runs a cargo command for wasm32-wasip1 with the toolchain that wasm-target.sh brought:
#   envoy/setup/wasm-cargo.sh build --release
#   envoy/setup/wasm-cargo.sh clippy -- -D warnings
set -euo pipefail
# shellcheck source=envoy/setup/lib.sh
. "$(dirname "$0")/lib.sh"

[ $# -gt 0 ] || die "usage: wasm-cargo.sh build|check|clippy [cargo's arguments]"
command=$1
shift

bring=()
[ "$command" != clippy ] || bring=(--clippy)
"$root/envoy/setup/wasm-target.sh" "${bring[@]}"
way=$("$root/envoy/setup/wasm-target.sh" --print)

if [ "$way" = rustup ]; then
  exec cargo "$command" --target wasm32-wasip1 "$@"
fi

# Debian ships the standard library for this target as source only, and `-Z build-std` is not stable yet.
export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO=/usr/bin/cargo
unset RUSTUP_TOOLCHAIN RUSTC_WRAPPER
# WASI's libc is outside of where rustc looks. RUSTFLAGS, where set, would win over the target's own flags.
libc=-Lnative=/usr/lib/wasm32-wasi
if [ -n "${RUSTFLAGS:-}" ]; then
  export RUSTFLAGS="$RUSTFLAGS $libc"
else
  export CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS=$libc
fi
cargo=(/usr/bin/cargo "$command")
# Named outright, since cargo would take rustup's clippy from CARGO_HOME first.
[ "$command" != clippy ] || cargo=(/usr/bin/cargo-clippy clippy)
exec "${cargo[@]}" -Z build-std=std,panic_abort --target wasm32-wasip1 "$@"
