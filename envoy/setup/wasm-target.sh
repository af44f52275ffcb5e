#!/usr/bin/env bash
# Brings what builds for wasm32-wasip1, by the first way that works, and says which:
#   rustup   cargo's own toolchain has the target, or rustup can download it
#   debian   Debian's packages of Rust for the web; the standard library is built along with the crate
# ENTRA_GATE_WASM_WAY=rustup|debian asks for one of them. `--print` only prints the way that is in place, if any;
# `--clippy` brings clippy for that way too.
set -euo pipefail
# shellcheck source=envoy/setup/lib.sh
. "$(dirname "$0")/lib.sh"

target=wasm32-wasip1
want=${ENTRA_GATE_WASM_WAY:-}
debian_packages=(rustc-web cargo-web rust-web-src rust-web-llvm libstd-rust-web-dev wasi-libc)

case $want in
'' | rustup | debian) ;;
*) die "ENTRA_GATE_WASM_WAY is \"$want\"; it may be rustup or debian" ;;
esac

has_rustup_way() {
  local libraries
  libraries=$(cd "$root" && rustc --print target-libdir --target "$target" 2>/dev/null) && [ -d "$libraries" ]
}

has_debian_way() {
  local package
  for package in "${debian_packages[@]}"; do
    have_package "$package" || return 1
  done
  [ -e /usr/bin/rust-lld ]
}

way_in_place() {
  if [ "$want" != debian ] && has_rustup_way; then
    echo rustup
  elif [ "$want" != rustup ] && has_debian_way; then
    echo debian
  else
    return 1
  fi
}

bring_rustup_way() {
  command -v rustup >/dev/null || return 1
  (cd "$root" && timeout 300 rustup target add "$target")
}

bring_debian_way() {
  apt_install "${debian_packages[@]}"
  # rust-lld is a link to the linker of one LLVM version, which its package does not bring along.
  local linker
  linker=$(readlink /usr/bin/rust-lld)
  [ -e /usr/bin/rust-lld ] || apt_install "${linker##*/}"
}

if way=$(way_in_place); then
  how="it was there already"
elif [ "${1:-}" = --print ]; then
  exit 1
elif [ "$want" != debian ] && bring_rustup_way; then
  way=rustup
  how="rustup downloaded it"
elif [ "$want" != rustup ]; then
  say "rustup brings no $target here; taking Debian's packages"
  bring_debian_way
  way=debian
  how="from Debian's packages"
else
  die "rustup could not bring $target, and ENTRA_GATE_WASM_WAY=rustup allows nothing else"
fi

if [ "${1:-}" = --print ]; then
  echo "$way"
  exit
fi
if [ "${1:-}" = --clippy ] && [ "$way" = debian ]; then
  apt_install rust-web-clippy
fi
case $way in
rustup) say "way: rustup ($how), $(cd "$root" && rustc --version)" ;;
debian) say "way: debian ($how), $(/usr/bin/rustc --version)" ;;
esac
