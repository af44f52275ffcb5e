#!/usr/bin/env bash
# Brings PostgreSQL, by apt-get where it is absent, and prints where its programs are. No server is started here: tests
# make clusters of their own.
set -euo pipefail
# shellcheck source=envoy/setup/lib.sh
. "$(dirname "$0")/lib.sh"

programs() {
  local initdb
  initdb=$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -V | tail -n 1)
  [ -x "$initdb" ] || initdb=$(command -v initdb) || return 1
  dirname "$initdb"
}

programs && exit
# Debian's package would also make and start a server, which nobody here asked for.
if command -v apt-get >/dev/null && ! [ -e /etc/postgresql-common/createcluster.conf ]; then
  as_root mkdir -p /etc/postgresql-common
  echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
fi
apt_install postgresql openssl >&2
programs || die "PostgreSQL was installed, and there is no initdb"
