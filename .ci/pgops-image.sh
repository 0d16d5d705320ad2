#!/bin/bash
# Makes the image pgops:ci from this checkout, for engines that can reach no registry: the base from Debian's
# packages, pgops and what it needs from wheels that this machine's pip fetches.
#
#   .ci/pgops-image.sh [NAME]     makes the base only where the engine has none
set -euo pipefail

image=${1:-pgops:ci}
base=pgops-base:trixie
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=.ci/debian.sh
. "$here/debian.sh"

say() { printf 'pgops-image: %s\n' "$*" >&2; }

root=
context=$(mktemp -d)
trap 'rm -rf "$root" "$context"' EXIT

if ! docker image inspect "$base" >/dev/null 2>&1; then
    say "building $base from Debian trixie (about a minute)"
    root=$(debian_root trixie ca-certificates,python3,python3-venv,postgresql-client)
    tar -C "$root" -c . | docker import -c 'ENV LANG=C.UTF-8' - "$base" >/dev/null
fi

say "building $image"
"${PYTHON:-python3}" -m venv "$context/pip"
python=$context/pip/bin/python
cp "$here/../Dockerfile" "$context"
mkdir "$context/dist"
"$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$context/dist" "$here/.."
version=$(docker run --rm "$base" python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
"$python" -m pip download --quiet --disable-pip-version-check --only-binary=:all: --python-version "$version" \
    --constraint "$here/../constraints.txt" --dest "$context/dist" "$context"/dist/pgops-*.whl
rm -rf "$context/pip"
DOCKER_BUILDKIT=0 docker build --quiet --build-arg "BASE=$base" --build-arg PIP_NO_INDEX=1 --tag "$image" \
    "$context" >/dev/null 2>"$context/log" || { tail -n 20 "$context/log" >&2; exit 1; }
say "$image is ready: $(docker run --rm "$image" --version)"
