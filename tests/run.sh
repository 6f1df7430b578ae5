#!/usr/bin/env bash
# Installs what the tests need, and runs them: ruff, spelling, strict type checking of runner/, pytest. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."

# The codecs' standard tools, which read our files; what draws graphs; database servers and drivers, which the tests run by
# themselves; a clock that lies; the program that makes keys; a browser that opens reports.
packages=(gzip bzip2 xz-utils zstd graphviz unixodbc odbc-mariadb odbc-postgresql libsqliteodbc mariadb-server postgresql libfaketime openssl chromium chromium-driver)
install_packages() {
    local missing=() package
    for package in "${packages[@]}"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}
# Beside what Python needs: both wait for the network, and each unpacks on one core.
install_packages &
packages_installing=$!

python=${PYTHON:-python3}
venv=${VENV:-.venv-test}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
# torch by pip, which finds builds for the processor alone where they are; all else by uv, which takes a fifth of the time.
"$venv/bin/pip" install --quiet --no-compile --disable-pip-version-check -c constraints.txt torch uv
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" -c constraints.txt -e '.[test]'
# DVC and Snakemake, which start our commands and share no package with them.
[ -x "$venv/recipes/bin/python" ] || "$venv/bin/uv" venv --quiet --python "$venv/bin/python" "$venv/recipes"
"$venv/bin/uv" pip install --quiet --python "$venv/recipes/bin/python" -r tests/recipes.txt
# What was installed, and what is tested, is compiled beside the checks, each of which takes one core; the tests find it done, also
# where Python is told to write no bytecode.
"$venv/bin/python" -m compileall -q runner hydra_plugins tests "$venv/lib" >/dev/null 2>&1 &
compiling=$!

export OMP_NUM_THREADS=1
"$venv/bin/ruff" format --check .
"$venv/bin/ruff" check .
"$venv/bin/codespell"
"$venv/bin/mypy"
wait "$packages_installing"
wait "$compiling" || true # what packages bring that is no Python of this version stays as it is
# In a process for each core, and one more, since some wait. The tests of a file stay together, since they share what is slow to
# make. The order stays as it is: the many quick ones come last, so that no process is left alone with a slow one.
"$venv/bin/python" -m pytest -n "$(($(env -u OMP_NUM_THREADS nproc) + 1))" --dist loadfile --no-loadscope-reorder --durations=20 "$@"
