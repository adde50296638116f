#!/usr/bin/env bash
# Makes the generated half of the Swift package from a built library of the host, which must have its symbols.
#
#   ios/bindings.sh target/debug/libhearth_ffi.so
#
# Does nothing while what is there is newer than the library.
set -euo pipefail
library=$(realpath "$1")
here=$(realpath "$(dirname "$0")")
made=$here/build/bindings
mkdir -p "$made"
"$here/../ffi/bindgen/run" swift "$library" "$made"

# Only what changed is put in place, so that Swift builds nothing anew for nothing.
put() {
    cmp -s "$1" "$2" || cp "$1" "$2"
}
mkdir -p "$here/Sources/HearthFFI"
put "$made/HearthFFI.swift" "$here/Sources/HearthFFI/HearthFFI.swift"
put "$made/hearth_ffiFFI.h" "$here/Sources/hearth_ffiFFI/hearth_ffiFFI.h"
