#!/usr/bin/env bash
# Installs what the tests need, and runs them: ruff, strict type checking of runner/, pytest. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."

# The standard tools of the codecs read our files.
missing=()
for tool in gunzip:gzip bunzip2:bzip2 unxz:xz-utils; do
    command -v "${tool%%:*}" >/dev/null || missing+=("${tool##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
    apt-get update -qq && apt-get install -y -qq "${missing[@]}"
fi

python=${PYTHON:-python3}
venv=${VENV:-.venv-test}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'

export OMP_NUM_THREADS=1
"$venv/bin/ruff" format --check .
"$venv/bin/ruff" check .
"$venv/bin/mypy"
"$venv/bin/python" -m pytest "$@"
