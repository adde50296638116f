#!/usr/bin/env bash
# Makes what the Swift package needs on a Mac: build/hearth_ffiFFI.xcframework, and the generated half of its sources.
#
#   ios/build-xcframework.sh
#
# Needs a Mac with Xcode 16, and
#   rustup target add aarch64-apple-ios aarch64-apple-ios-sim x86_64-apple-ios
# The zip beside it, and its checksum, are for a package that is fetched by URL:
#   .binaryTarget(name: "hearth_ffiFFI", url: "https://…/hearth_ffiFFI.xcframework.zip", checksum: "…")
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
build=$PWD/ios/build

# The profile `phone` of Cargo.toml. The lines of the source stay in the archive and go into the app's dSYM; Xcode strips the app.
export IPHONEOS_DEPLOYMENT_TARGET=15.0

for triple in aarch64-apple-ios aarch64-apple-ios-sim x86_64-apple-ios; do
    cargo rustc --locked --profile phone --package hearth-ffi --lib --crate-type staticlib --target "$triple"
done

# The bindings describe what is in the library and are the same for every slice. They are made from the Mac's own, with symbols.
env -u IPHONEOS_DEPLOYMENT_TARGET cargo build --locked --workspace --lib --bins --tests
ios/bindings.sh "$target/debug/libhearth_ffi.dylib"

# A folder with the module's name: an app with two such frameworks copies both into one folder of headers.
headers=$build/headers
rm -rf "$headers" "$build/simulator" "$build"/hearth_ffiFFI.xcframework*
mkdir -p "$headers/hearth_ffiFFI" "$build/simulator"
cp ios/Sources/hearth_ffiFFI/hearth_ffiFFI.h "$headers/hearth_ffiFFI/"
cat >"$headers/hearth_ffiFFI/module.modulemap" <<'MAP'
module hearth_ffiFFI {
    header "hearth_ffiFFI.h"
    export *
}
MAP

# One slice for all simulators, on Macs of both kinds.
lipo -create -output "$build/simulator/libhearth_ffi.a" \
    "$target/aarch64-apple-ios-sim/phone/libhearth_ffi.a" "$target/x86_64-apple-ios/phone/libhearth_ffi.a"
xcodebuild -create-xcframework -output "$build/hearth_ffiFFI.xcframework" \
    -library "$target/aarch64-apple-ios/phone/libhearth_ffi.a" -headers "$headers" \
    -library "$build/simulator/libhearth_ffi.a" -headers "$headers"

cd "$build"
# Without dates of its own, so that the same sources have the same checksum.
find hearth_ffiFFI.xcframework -exec touch -h -t 200001010000 {} +
find hearth_ffiFFI.xcframework | sort | zip -q -X -@ hearth_ffiFFI.xcframework.zip
swift package --package-path .. compute-checksum hearth_ffiFFI.xcframework.zip | tee hearth_ffiFFI.xcframework.zip.checksum
ls -l hearth_ffiFFI.xcframework.zip hearth_ffiFFI.xcframework/*/*.a
