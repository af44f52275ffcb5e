#!/usr/bin/env bash
# Runs the docker compose example as a user would, with the user's files, and closes on «compose: N passed, N failed».
#   envoy/compose/test.sh [--built]
# --built leaves out the first half of the Dockerfile, which builds from source in a container: the images get what is built
# in dist/ and target/debug already. It wants a Debian 12, whose C library the images have; elsewhere it builds from source.
# The public base images are pulled; where no registry answers, stand-ins made from packages take their names for the
# time of the test. Without a Docker engine it says that it skipped.
set -euo pipefail
# shellcheck source=envoy/setup/lib.sh
. "$(dirname "$0")/../setup/lib.sh"

skip() {
  say "SKIPPED: $*"
  echo "compose: 0 passed, 0 failed, 1 skipped"
  exit
}

docker version >/dev/null 2>&1 || skip "there is no Docker engine here"
if docker compose version >/dev/null 2>&1; then
  compose=(docker compose)
elif command -v docker-compose >/dev/null; then
  compose=(docker-compose)
else
  skip "Docker has no Compose here"
fi
built=
if [ "${1:-}" = --built ]; then
  if grep -q '^VERSION_CODENAME=bookworm$' /etc/os-release 2>/dev/null; then
    built=1
  else
    say "what is built here may want another C library than Debian 12's; building from source"
  fi
fi
cd "$root/envoy/compose"
compose+=(-f docker-compose.yaml -p entra-gate-test)

envoy_version=$(envoy_versions | head -n 1)
grep -q "^FROM envoyproxy/envoy:v$envoy_version " Dockerfile ||
  die "the Dockerfile's Envoy is not the newest in envoy/setup/versions, $envoy_version"

borrowed=()
work=$(mktemp -d)
clean_up() {
  "${compose[@]}" down --volumes --remove-orphans --rmi local >/dev/null 2>&1 || true
  docker image prune --force --filter label=entra-gate.compose=build >/dev/null 2>&1 || true
  # A stand-in keeps its own name, as a cache; nobody else shall get it by the public one.
  [ ${#borrowed[@]} -eq 0 ] || docker rmi --no-prune "${borrowed[@]}" >/dev/null 2>&1 || true
  as_root rm -rf "$work"
}
trap clean_up EXIT

# Debian from its packages, with this machine's package sources and certificate authorities: in a container, too, apt
# and cargo then reach what they reach here.
make_debian() {
  apt_install debootstrap
  as_root debootstrap --variant=minbase bookworm "$work/debian" >"$work/log" 2>&1 || {
    tail -n 20 "$work/log"
    return 1
  }
  if grep -q '^VERSION_CODENAME=bookworm$' /etc/os-release; then
    as_root rm -f "$work/debian/etc/apt/sources.list"
    as_root cp -r /etc/apt/sources.list* "$work/debian/etc/apt/"
  fi
  apt-config dump | grep -E '^Acquire::(http|https|Check-|Retries)' |
    as_root tee "$work/debian/etc/apt/apt.conf.d/90machine" >/dev/null || true
  if [ -d /usr/local/share/ca-certificates ]; then
    as_root cp -r /usr/local/share/ca-certificates "$work/debian/usr/local/share/"
  fi
  # No package needs them after the installation, as in the public image.
  as_root rm -rf "$work/debian/var/cache/apt/archives" "$work/debian/var/lib/apt/lists"
  as_root tar -C "$work/debian" --numeric-owner -c . |
    docker import --change 'LABEL entra-gate.stand-in=1' --change 'CMD ["bash"]' - "$1" >/dev/null
  as_root rm -rf "$work/debian"
}

make_envoy() {
  local binary
  binary=$("$root/envoy/setup/envoy.sh" "$envoy_version")
  mkdir "$work/envoy"
  cp stand-in/* "$binary" "$work/envoy/"
  docker build --quiet --tag "$1" "$work/envoy" >/dev/null
  rm -rf "$work/envoy"
}

mapfile -t images < <(sed -n 's/^FROM \([^ ]*:[^ ]*\).*/\1/p' Dockerfile | sort -u)
for image in "${images[@]}"; do
  # A run that was killed may have left a stand-in under the public name.
  [ -z "$(docker images --quiet --filter "reference=$image" --filter label=entra-gate.stand-in)" ] ||
    docker rmi --no-prune "$image" >/dev/null
  if docker image inspect "$image" >/dev/null 2>&1; then
    say "$image: the one that is here"
  elif timeout 300 docker pull --quiet "$image" >/dev/null 2>&1; then
    say "$image: pulled"
  else
    own=entra-gate-stand-in/$image
    if docker image inspect "$own" >/dev/null 2>&1; then
      say "$image: cannot be pulled; the stand-in of an earlier run"
    else
      say "$image: cannot be pulled; making a stand-in from packages"
      case $image in
      debian:bookworm-slim) make_debian "$own" ;;
      envoyproxy/envoy:*) make_envoy "$own" ;;
      *) die "there is no stand-in for $image" ;;
      esac
    fi
    docker tag "$own" "$image"
    borrowed+=("$image")
  fi
done

if [ -n "$built" ]; then
  say "the images get what is built in dist/ and target/debug"
  mkdir -p "$work/context/out" "$work/context/envoy/compose"
  cp "$root/dist/entra_gate.wasm" "$work/context/out/"
  for binary in entra-gate mock-entra tour; do
    strip -o "$work/context/out/$binary" "${CARGO_TARGET_DIR:-$root/target}/debug/$binary"
  done
  cp -r envoy.yaml revocations-key "$work/context/envoy/compose/"
  # The stage that builds, and the one that it begins from, give way to the files.
  awk '
    /^FROM /                 { is_built = / AS (toolchain|build)$/ }
    / AS build$/             { print "FROM scratch AS build\nCOPY out/ /out/\n" }
    !is_built
  ' Dockerfile >"$work/context/Dockerfile"
  {
    echo "services:"
    for service in $("${compose[@]}" config --services); do
      printf '  %s: { build: { context: "%s", dockerfile: Dockerfile } }\n' "$service" "$work/context"
    done
  } >"$work/built.yaml"
  compose+=(-f "$work/built.yaml")
else
  # Under a name, the toolchain outlives the clean-up and serves the next run.
  docker build --quiet --target toolchain --tag entra-gate-test/toolchain --file Dockerfile "$root" >/dev/null
fi

# Any free ports: the usual ones may be taken by the example itself.
export ENVOY_PORT=0 ADMIN_PORT=0 MOCK_PORT=0 REVOCATIONS_PORT=0
if timeout 1500 "${compose[@]}" up --build --exit-code-from tour; then
  echo "compose: 1 passed, 0 failed"
else
  echo "compose: 0 passed, 1 failed"
  exit 1
fi
