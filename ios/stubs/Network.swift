// What the Network framework looks like to the compiler, as far as Hearth uses it.

import Foundation

public enum NWError: Error, Sendable { case posix(Int32) }

public enum NWEndpoint: Hashable, Sendable {
    public enum Host: Hashable, Sendable {
        case name(String, String?)
        case ipv4(IPv4Address)
        case ipv6(IPv6Address)
    }
    public struct Port: Hashable, Sendable {}
    case hostPort(host: Host, port: Port)
    case service(name: String, type: String, domain: String, interface: String?)
    case unix(path: String)
}

public struct IPv4Address: Hashable, Sendable {}

public struct IPv6Address: Hashable, Sendable { public var isLinkLocal: Bool { false } }

public struct NWTXTRecord: Hashable, Sendable { public var dictionary: [String: String] { [:] } }

open class NWProtocolOptions {}

public class NWProtocolIP {
    public final class Options: NWProtocolOptions {
        public enum Version: Sendable { case any, v4, v6 }
        public var version = Version.any
    }
}

public final class NWParameters {
    public final class ProtocolStack { public var internetProtocol: NWProtocolOptions? }
    public static var udp: NWParameters { NWParameters() }
    public let defaultProtocolStack = ProtocolStack()
    public init() {}
}

public final class NWBrowser: @unchecked Sendable {
    public enum Descriptor: Sendable {
        case bonjour(type: String, domain: String?)
        case bonjourWithTXTRecord(type: String, domain: String?)
    }
    public enum State: Sendable {
        case setup, ready
        case failed(NWError)
        case cancelled
        case waiting(NWError)
    }
    public struct Result: Hashable, Sendable {
        public enum Metadata: Hashable, Sendable {
            case none
            case bonjour(NWTXTRecord)
        }
        public enum Change: Hashable, Sendable {
            public struct Flags: OptionSet, Hashable, Sendable {
                public let rawValue: Int
                public init(rawValue: Int) { self.rawValue = rawValue }
            }
            case identical
            case added(Result)
            case removed(Result)
            case changed(old: Result, new: Result, flags: Flags)
        }
        public let endpoint: NWEndpoint
        public let metadata: Metadata
    }
    public var stateUpdateHandler: (@Sendable (State) -> Void)?
    public var browseResultsChangedHandler: (@Sendable (Set<Result>, Set<Result.Change>) -> Void)?
    public init(for descriptor: Descriptor, using parameters: NWParameters) {}
    public func start(queue: DispatchQueue) {}
    public func cancel() {}
}

public struct NWPath: Sendable { public var remoteEndpoint: NWEndpoint? { nil } }

public final class NWConnection: @unchecked Sendable {
    public enum State: Sendable {
        case setup
        case waiting(NWError)
        case preparing, ready
        case failed(NWError)
        case cancelled
    }
    public var stateUpdateHandler: (@Sendable (State) -> Void)?
    public var currentPath: NWPath? { nil }
    public init(to endpoint: NWEndpoint, using parameters: NWParameters) {}
    public func start(queue: DispatchQueue) {}
    public func cancel() {}
}

public struct NWInterface { public enum InterfaceType: Sendable { case other, wifi, cellular, wiredEthernet, loopback } }

public final class NWPathMonitor: @unchecked Sendable {
    public var pathUpdateHandler: (@Sendable (NWPath) -> Void)?
    public init(prohibitedInterfaceTypes: [NWInterface.InterfaceType]) {}
    public func start(queue: DispatchQueue) {}
    public func cancel() {}
}
