#!/usr/bin/env bash
# Installs other people's clients for encrypted.py, each version pinned, into a directory that is kept:
#
#   tests/clients/install.sh target/clients
#
#   DIRECTORY/python   a virtual environment with matrix-nio                        (requirements.txt)
#   DIRECTORY/js       matrix-js-sdk and the Node.js that it asks for               (js/package-lock.json)
#
# A second run finds both and downloads nothing. Programs that are missing come from Debian.
set -euo pipefail
cd "$(dirname "$0")"

(($# == 1)) || { echo "usage: install.sh DIRECTORY" >&2 && exit 2; }
CACHE=$1
[[ $CACHE == /* ]] || CACHE=$OLDPWD/$CACHE

# Prints a command, then runs it.
run() {
    printf '+ %s\n' "$*"
    "$@"
}

from_debian() {
    local as_root=()
    ((EUID == 0)) || as_root=(sudo)
    run "${as_root[@]}" apt-get update -q
    run "${as_root[@]}" apt-get install -y -q --no-install-recommends "$@"
}

# The list that a directory was made from is put there last, so that half an installation is made anew.
made_from() {
    cmp -s "$1" "$2"
}

install_python() {
    local home=$CACHE/python
    made_from requirements.txt "$home/requirements.txt" && return
    rm -rf "$home"
    python3 -c 'import ensurepip, venv' 2>/dev/null || from_debian python3 python3-venv
    run python3 -m venv "$home"
    local install=("$home/bin/pip" install --quiet --disable-pip-version-check --no-deps -r requirements.txt)
    # Where there is no wheel of libolm for this Python, it is built from source, which takes a compiler and a minute.
    run "${install[@]}" || { from_debian cmake g++ make python3-dev && run "${install[@]}"; }
    cp requirements.txt "$home/requirements.txt"
}

install_js() {
    local home=$CACHE/js
    made_from js/package-lock.json "$home/installed.json" && return
    rm -rf "$home"
    mkdir -p "$home"
    command -v npm >/dev/null || from_debian nodejs npm
    cp js/package.json js/package-lock.json "$home"
    # Nothing here needs a script of its own to be installed. npm's own Node.js may be older than what the SDK asks for, and npm
    # says so; the SDK runs on the one that is among the packages.
    run npm ci --prefix "$home" --ignore-scripts --no-audit --no-fund --loglevel error
    "$home/node_modules/.bin/node" --version
    cp js/package-lock.json "$home/installed.json"
}

mkdir -p "$CACHE"
install_python
install_js
