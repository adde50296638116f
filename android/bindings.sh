#!/usr/bin/env bash
# Makes the Kotlin half of hearth-ffi from a built library of the host (with its symbols, so: a debug build).
#
#   android/bindings.sh LIBRARY FOLDER
#
# Does nothing while the folder is newer than the library. HEARTH_BINDGEN names another generator than cargo would build.
set -euo pipefail
library=$(realpath "$1")
mkdir -p "$2"
folder=$(realpath "$2")
cd "$(dirname "$0")/.."

made=$folder/made
[[ $made -nt $library && $made -nt ffi/uniffi.toml ]] && exit 0

# The whole workspace, as everywhere, so that no dependency is built a second time with other features.
bindgen=(cargo run --quiet --locked --workspace --features hearth-ffi/cli --bin uniffi-bindgen --)
[[ -n ${HEARTH_BINDGEN:-} ]] && bindgen=("$HEARTH_BINDGEN")
rm -rf "${folder:?}/org"
"${bindgen[@]}" generate --language kotlin --no-format --out-dir "$folder" "$library"
touch "$made"
