#!/usr/bin/env bash
# Brings what the benchmark loads Envoy with: wrk, by apt-get where it is absent, and taskset.
set -euo pipefail
# shellcheck source=envoy/setup/lib.sh
. "$(dirname "$0")/lib.sh"

command -v wrk >/dev/null || apt_install wrk
command -v taskset >/dev/null || apt_install util-linux
