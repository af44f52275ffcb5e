#!/usr/bin/env bash
# As the public image does: options go to envoy, and envoy does not run as root.
set -euo pipefail

[ "${1#-}" = "${1:-}" ] || set -- envoy "$@"
if [ "${1:-}" = envoy ] && [ "$(id -u)" = 0 ]; then
  chown envoy:envoy /dev/stdout /dev/stderr 2>/dev/null || true
  exec setpriv --reuid=101 --regid=101 --clear-groups "$@"
fi
exec "$@"
