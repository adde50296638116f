#!/usr/bin/env bash
# Checks on Linux what only Apple's compilers build: the library's Apple half against stubs of Apple's frameworks, with Swift 6's
# rules for concurrency, and the grammar of the sample app. A check only: the stubs say what those frameworks look like as far as
# Hearth uses them, and nothing of how they behave. `ios/linux.sh ... build` must have been run, which makes HearthFFI.
set -euo pipefail
cd "$(dirname "$0")"
made=build/stubs
mkdir -p "$made"

# One line for one run in the other Debian, which is quicker than a run for each.
exec ./trixie.sh bash -euc '
    made=$1
    for stub in stubs/*.swift; do
        name=$(basename "$stub" .swift)
        [[ $made/$name.swiftmodule -nt $stub ]] ||
            swiftc -emit-module -parse-as-library -swift-version 6 -module-name "$name" -o "$made/$name.swiftmodule" "$stub"
    done
    swiftc -typecheck -swift-version 6 -warnings-as-errors -module-name Hearth -I "$made" -I .build/debug/Modules \
        -I Sources/hearth_ffiFFI Sources/Hearth/*.swift Sources/Hearth/Apple/*.swift
    swiftc -parse -swift-version 6 -warnings-as-errors sample/HearthSample/*.swift
' typecheck "$made"
