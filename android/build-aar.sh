#!/usr/bin/env bash
# Makes the AAR: the native library for three kinds of processor, the bindings, and Gradle for the rest.
#
#   android/build-aar.sh
#
# Needs the Android SDK with its NDK (ANDROID_NDK_HOME), Gradle, `cargo install cargo-ndk`, and
#   rustup target add aarch64-linux-android armv7-linux-androideabi x86_64-linux-android
# The result is android/hearth/build/outputs/aar/hearth-release.aar, and the libraries with their symbols, for the stack traces
# of crashes, are beside it in symbols/.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
target=${CARGO_TARGET_DIR:-$root/target}
jni=$root/android/hearth/build/jniLibs
symbols=$root/android/hearth/build/outputs/aar/symbols

# The profile `phone` of Cargo.toml, and what a profile cannot say: tests/phones/check.sh measures the same and says why. How the
# library is linked, ffi/build.rs says.
export RUSTFLAGS="${RUSTFLAGS:-} -Cllvm-args=-outliner-benefit-threshold=40"

declare -A abis=([arm64-v8a]=aarch64-linux-android [armeabi-v7a]=armv7-linux-androideabi [x86_64]=x86_64-linux-android)
rm -rf "$jni" "$symbols"
for abi in "${!abis[@]}"; do
    cargo ndk --target "$abi" --platform 24 build --locked --profile phone --package hearth-ffi
    mkdir -p "$jni/$abi" "$symbols/$abi"
    cp "$target/${abis[$abi]}/phone/libhearth_ffi.so" "$symbols/$abi/"
    strip=("${ANDROID_NDK_HOME:?}"/toolchains/llvm/prebuilt/*/bin/llvm-strip)
    "${strip[0]}" --strip-unneeded -o "$jni/$abi/libhearth_ffi.so" "$symbols/$abi/libhearth_ffi.so"
done

# The bindings describe what is in the library and are the same for every processor. They are made from the host's.
RUSTFLAGS="" cargo build --locked --workspace --lib --bins --tests
ffi/bindgen/run kotlin "$target/debug/libhearth_ffi.so" android/build/bindings

cd android
if [[ -x ./gradlew ]]; then ./gradlew :hearth:assembleRelease; else gradle :hearth:assembleRelease; fi

for library in "$jni"/*/libhearth_ffi.so; do
    # Every segment that is loaded; the last word of its line is how it is aligned.
    for align in $(readelf -lW "$library" | awk '$1 == "LOAD" { print $NF }'); do
        ((align >= 16384)) || { echo "$library is not aligned for pages of 16 KB" >&2 && exit 1; }
    done
done
ls -l "$jni"/*/*.so hearth/build/outputs/aar/*.aar
