# shellcheck shell=bash
# What the set-up scripts share. Source it after `set -euo pipefail`.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tools=$root/.tools
export root tools

say() { echo "${0##*/}: $*"; }
die() {
  echo "${0##*/}: $*" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

have_package() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Installs the Debian packages that are missing. The package lists are fetched only when the ones at hand do not do:
# a machine's lists may be absent, or name files that the archive no longer has.
apt_install() {
  local missing=() package
  for package in "$@"; do
    have_package "$package" || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "needs ${missing[*]}, and this system has no apt-get to install them with"
  say "installing ${missing[*]} with apt-get"
  apt_get install "${missing[@]}" >/dev/null 2>&1 && return 0
  apt_get update
  apt_get install "${missing[@]}"
}

apt_get() {
  # Two runs on one machine take turns at dpkg's lock.
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
    -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@"
}

# The supported Envoy versions, one a line.
envoy_versions() {
  grep -v '^#' "$root/envoy/setup/versions"
}
