#!/usr/bin/env bash
# Checks every script with shellcheck, installed by apt-get where it is absent; skipped aloud where there is neither.
set -euo pipefail
# shellcheck source=envoy/setup/lib.sh
. "$(dirname "$0")/lib.sh"

cd "$root"
if ! command -v shellcheck >/dev/null; then
  if ! command -v apt-get >/dev/null; then
    say "SKIPPED: there is no shellcheck"
    exit
  fi
  apt_install shellcheck
fi
# Git knows the files; what is built or installed here is not ours to check.
mapfile -t scripts < <(git ls-files --cached --others --exclude-standard | while read -r file; do
  [ -f "$file" ] && head -n 1 "$file" | grep -qE '^#!.*\b(ba)?sh$|^# shellcheck shell=' && echo "$file"
done || true)
shellcheck -x "${scripts[@]}"
say "${#scripts[@]} scripts, nothing to say"
