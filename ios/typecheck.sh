#!/usr/bin/env bash
# Checks on Linux what only Apple's compilers build: the library's Apple half, the sample app and the README's first lines, against
# stubs of Apple's frameworks and with Swift 6's rules for concurrency. A check only: the stubs say what those frameworks look like
# as far as they are used here, and nothing of how they behave. `ios/linux.sh ... build` must have been run, which makes HearthFFI.
set -euo pipefail
cd "$(dirname "$0")"
made=build/stubs
mkdir -p "$made"

# The README's first Swift, as the body of a function that has what the app would have.
{
    echo 'import Hearth'
    echo '@MainActor func readme(scanned: String, show: @escaping @MainActor ([TimelineItem]) -> Void) async throws {'
    sed -n '/^```swift$/,/^```$/p' README.md | sed '/^```/d'
    echo '_ = code }'
} >build/README.swift

# One run in the other Debian, which is quicker than a run for each. UIKit is what others of the stubs stand on.
exec ./trixie.sh bash -euc '
    made=$1
    check=(swiftc -swift-version 6 -warnings-as-errors -I "$made" -I .build/debug/Modules -I Sources/hearth_ffiFFI)
    for stub in stubs/UIKit.swift stubs/*.swift; do
        name=$(basename "$stub" .swift)
        [[ $made/$name.swiftmodule -nt $stub ]] ||
            swiftc -emit-module -parse-as-library -swift-version 6 -module-name "$name" -I "$made" \
                -o "$made/$name.swiftmodule" "$stub"
    done
    # As a module, which hides the one that was built without the Apple half.
    "${check[@]}" -emit-module -wmo -module-name Hearth -o "$made/Hearth.swiftmodule" \
        Sources/Hearth/*.swift Sources/Hearth/Apple/*.swift
    # As far as Swift checks for data races, which is further than types.
    "${check[@]}" -emit-sil -wmo -o /dev/null -parse-as-library -module-name HearthSample sample/HearthSample/*.swift
    "${check[@]}" -emit-sil -wmo -o /dev/null -parse-as-library -module-name README build/README.swift
' typecheck "$made"
