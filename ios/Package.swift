// swift-tools-version: 6.0
// The Swift package of Hearth. What uniffi generates stands in a target of its own, in the older language mode that it needs;
// everything that is written by hand is held to Swift 6's rules for concurrency.

import PackageDescription

#if os(Linux)
    // For tests and command lines: the header beside a modulemap, and the library that cargo made for this machine (linux.sh).
    let rust: Target = .systemLibrary(name: "hearth_ffiFFI")
#else
    // Made by build-xcframework.sh.
    let rust: Target = .binaryTarget(name: "hearth_ffiFFI", path: "build/hearth_ffiFFI.xcframework")
#endif

var targets: [Target] = [
    rust,
    .target(
        name: "HearthFFI", dependencies: ["hearth_ffiFFI"], swiftSettings: [.swiftLanguageMode(.v5)],
        // By which libp2p hears of networks that come and go.
        linkerSettings: [.linkedFramework("SystemConfiguration", .when(platforms: [.iOS]))]),
    .target(name: "Hearth", dependencies: ["HearthFFI"], swiftSettings: [.swiftLanguageMode(.v6)]),
]

#if os(Linux)
    // Programs and tests start processes and look into /proc, and the XCFramework has no slice for a Mac.
    targets += [
        .executableTarget(
            name: "hearth-chat", dependencies: ["Hearth"], path: "Tools/chat", swiftSettings: [.swiftLanguageMode(.v6)]),
        .executableTarget(
            name: "hearth-events", dependencies: ["Hearth"], path: "Tools/events",
            swiftSettings: [.swiftLanguageMode(.v6)]),
        .testTarget(
            name: "HearthTests", dependencies: ["Hearth", "hearth-events"], swiftSettings: [.swiftLanguageMode(.v6)]),
    ]
#endif

let package = Package(
    name: "Hearth",
    platforms: [.iOS(.v15)],
    products: [.library(name: "Hearth", targets: ["Hearth"])],
    targets: targets
)
