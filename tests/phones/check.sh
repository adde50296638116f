#!/usr/bin/env bash
# Proves on Linux, without the SDK of either phone, that the library for apps can be built for both.
#
#   tests/phones/check.sh           type-checks for iOS; builds and links for Android, unoptimized
#   tests/phones/check.sh --size    builds for Android as it ships, and says how large it is and why
#
# For iOS all Rust is type-checked and all C compiled, and nothing is linked: that takes Apple's libraries. So a missing
# framework would not show here; if-watch (below libp2p) needs SystemConfiguration, and its crates name it to the linker.
#
# For Android the library is linked against stubs of the system's libraries, which hold what android24.txt lists and no more.
# So a symbol that Android 7 lacks is an error here, and not a crash when the first old phone loads the library.
#
# What had to be done for C:
#   aws-lc  cannot be left out: libp2p's QUIC has TLS from libp2p-tls, which wants rustls with aws-lc-rs and post-quantum key
#           exchange whatever the features; ring alone would take a patched libp2p. Its build script needs no CMake here,
#           because it brings bindings and a list of sources for both phones. It includes a header of each system's own (see
#           include/), and expects POSIX in spite of -std=c11.
#   ring    needs nothing but the compiler. Noise, libp2p-tls and quinn use it beside aws-lc.
#   blake3  the same.
#
# Only checked and measured, never shipped: what ships is built by android/build-aar.sh and in Xcode.
#
# HEARTH_CACHE says where to keep the compiler and what is built, if not in the target directory.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."

ZIG=0.15.2
ANDROID=aarch64-linux-android
IOS=aarch64-apple-ios

SIZE=
case "${1-}" in
--size) SIZE=1 ;;
"") ;;
*) echo "usage: tests/phones/check.sh [--size]" >&2 && exit 2 ;;
esac

CACHE=${HEARTH_CACHE:-${CARGO_TARGET_DIR:-target}}/phones
mkdir -p "$CACHE"
CACHE=$(cd "$CACHE" && pwd)
LIBRARY=$CACHE/cargo/$ANDROID/phone/libhearth_ffi.so
STUBS=$CACHE/stubs
# What a profile cannot say; android/build-aar.sh says the same. At opt-level z LLVM makes a function of every few instructions
# that occur twice, and forgets that each takes some 40 bytes of tables for unwinding: less than that is no gain.
CODEGEN=(-Cllvm-args=-outliner-benefit-threshold=40)
CARGO=(--locked --package hearth-ffi --lib --profile phone --target-dir "$CACHE/cargo")

# Prints a command, then runs it, and says how long it took.
run() {
    local started=$SECONDS
    printf '+ %s\n' "$*"
    "$@" || return
    printf '  (%d s)\n' $((SECONDS - started))
}

# Installs the compiler, once, and tells cargo and the build scripts of it.
compiler() {
    local python=$CACHE/python/bin/python
    if [[ $("$python" -m ziglang version 2>/dev/null) != "$ZIG" ]]; then
        run python3 -m venv "$CACHE/python"
        run "$python" -m pip install --quiet --disable-pip-version-check "ziglang==$ZIG"
    fi
    PHONES_ZIG=$("$python" -c 'import os, ziglang; print(os.path.dirname(ziglang.__file__))')
    export PHONES_ZIG
    export ZIG_GLOBAL_CACHE_DIR=$CACHE/zig-cache ZIG_LOCAL_CACHE_DIR=$CACHE/zig-cache
    local target
    for target in "${ANDROID//-/_}" "${IOS//-/_}"; do
        export "CC_$target=$here/cc" "AR_$target=$here/ar"
    done
    export CARGO_TARGET_AARCH64_LINUX_ANDROID_LINKER=$here/ld PHONES_STUBS=$STUBS
    # An SDK that is named is not looked for; this one is empty.
    mkdir -p "$CACHE/no-sdk"
    export SDKROOT=$CACHE/no-sdk IPHONEOS_DEPLOYMENT_TARGET=15.0
}

# A library for each name in the second column of the list, with the symbols beside that name and nothing behind them.
stubs() {
    rm -rf "$STUBS" && mkdir -p "$STUBS"
    grep -v '^#' "$here/android24.txt" >"$STUBS/list"
    local library
    for library in $(cut -d' ' -f2 "$STUBS/list" | sort -u); do
        awk -v library="$library" '$2 == library { print ".globl " $1 "\n" $1 ":" }' "$STUBS/list" >"$STUBS/$library.s"
        TARGET=$ANDROID "$here/cc" -c "$STUBS/$library.s" -o "$STUBS/$library.o"
        "$here/ld" -m aarch64linux -shared -soname "$library.so" "$STUBS/$library.o" -o "$STUBS/$library.so"
    done
}

# Of the three kinds of library that the crate makes, only the one that Android loads: each would be optimized as a whole.
android_library() {
    run cargo rustc "${CARGO[@]}" --crate-type cdylib --target "$ANDROID" -- "${CODEGEN[@]}"
    aligned && undefined
}

# Phones with pages of 16 KB load nothing that is aligned to less.
aligned() {
    local segments
    segments=$(readelf -lW "$LIBRARY" | awk '$1 == "LOAD" { print $NF }')
    printf '  alignment of the segments that are loaded: %s\n' "$(sort <<<"$segments" | uniq -c | xargs)"
    [[ -n $segments ]] && ! grep -qvx 0x4000 <<<"$segments" ||
        { echo "$LIBRARY is not aligned to 16 KB (see ffi/build.rs)" >&2 && return 1; }
}

# What the library wants of the system. The linker takes a weak symbol that the stubs lack; it is null then, and the code asks.
undefined() {
    local wanted=$CACHE/wanted weak
    nm --dynamic --undefined-only "$LIBRARY" | awk '{ print $NF, $(NF - 1) }' >"$wanted"
    weak=$(awk '$2 != "U" { print $1 }' "$wanted" | xargs)
    printf '  symbols of the system: %d, and if it has them: %s\n' "$(grep -c ' U$' "$wanted")" "$weak"
    awk 'NR == FNR { listed[$1]; next } $2 == "U" && !($1 in listed) { print "Android 24 lacks " $1; lacks = 1 } END { exit lacks }' \
        "$STUBS/list" "$wanted" >&2
}

rustup target list --installed | grep -qx "$ANDROID" && rustup target list --installed | grep -qx "$IOS" ||
    run rustup target add "$ANDROID" "$IOS"
compiler
stubs
# Stripped before it is measured.
export CARGO_PROFILE_PHONE_DEBUG=false
if [[ $SIZE ]]; then
    android_library
    run python3 "$here/sizes.py" "$LIBRARY"
else
    # The same profile as what ships, less what makes it slow to build.
    export CARGO_PROFILE_PHONE_LTO=off CARGO_PROFILE_PHONE_OPT_LEVEL=0 CARGO_PROFILE_PHONE_CODEGEN_UNITS=16
    run cargo check "${CARGO[@]}" --target "$IOS"
    android_library
fi
