#!/usr/bin/env bash
# Swift on Linux, with the host's library linked in: makes the bindings, then runs `swift` in this package.
#
#   ios/linux.sh target/debug test                                  the tests
#   ios/linux.sh target/debug run hearth-chat ana /tmp/ana          a chat for a terminal
#
# The first argument is the folder with libhearth_ffi.so.
set -euo pipefail
libraries=$(realpath "$1")
verb=$2
shift 2
cd "$(dirname "$0")"
./bindings.sh "$libraries/libhearth_ffi.so"
# Linked to by another name where Swift sees it too: the library's own folder may lie outside of the checkout.
mkdir -p build/linux
cmp -s "$libraries/libhearth_ffi.so" build/linux/libhearth_ffi.so ||
    cp --reflink=auto "$libraries/libhearth_ffi.so" build/linux/libhearth_ffi.so
exec ./trixie.sh swift "$verb" --disable-sandbox --jobs "${HEARTH_SWIFT_JOBS:-2}" \
    -Xlinker "-L$PWD/build/linux" -Xlinker -rpath -Xlinker "$PWD/build/linux" "$@"
