#!/bin/bash
# Installs pgops from the checkout that this file is in, and runs one step of pgops.pipeline.
#
#   PGOPS_PYTHON   the interpreter that has the project's own packages; without it an environment of its own is made
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=${PGOPS_PYTHON:-}
if [ -z "$python" ]; then
    python=${RUNNER_TEMP:?}/pgops/bin/python
    [ -x "$python" ] || python3 -m venv "$RUNNER_TEMP/pgops"
fi
# -P: a directory of the project that is called pgops is not imported in place of it.
if ! "$python" -P -c 'import pgops.pipeline' 2>/dev/null; then
    "$python" -P -m pip install --quiet --disable-pip-version-check "$root"
fi
exec "$python" -P -m pgops.pipeline "$@"
