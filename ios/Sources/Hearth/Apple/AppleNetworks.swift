// The local networks that the device is in. A Wi-Fi without internet counts, and is in fact the one that matters most.

#if canImport(Network)
    import Foundation
    import Network

    /// What the system says of the device's networks.
    public enum AppleNetworks {
        /// Each address of a local network, at once and again whenever something about the networks changes.
        public static func changes() -> AsyncStream<Set<String>> {
            AsyncStream(bufferingPolicy: .bufferingNewest(1)) { networks in
                let monitor = NWPathMonitor(prohibitedInterfaceTypes: [.cellular])
                // A path says which interfaces there are, and not that one of them is in another Wi-Fi now.
                monitor.pathUpdateHandler = { _ in networks.yield(localAddresses()) }
                networks.onTermination = { _ in monitor.cancel() }
                monitor.start(queue: DispatchQueue(label: "org.hearth.networks"))
            }
        }
    }
#endif
