// The front door: a node and all that hangs on it, under one name.
//
// What takes time is `async`, whatever changes is an `AsyncSequence`, and errors are `NodeError`s of a dozen kinds. Everything
// in `HearthFFI` is generated, comes with this module and may be used beside it.

import Foundation
@_exported import HearthFFI

/// A Matrix homeserver with its client, in this process.
///
/// Safe to use from any thread. Handles live as long as this does and outlive every pause of the node; what they are asked
/// meanwhile they answer with `NodeError.Paused` or `NotRunning`.
public final class Hearth: Power {
    /// The generated half, for what has no shorter name here.
    public let node: Node

    /// The person's rooms.
    public let rooms: Rooms

    /// The people whom the person knows.
    public let contacts: Contacts

    /// The phones on the network.
    public let peers: Peers

    /// Verifications of people and of the person's other devices.
    public let verifications: Verifications

    /// Export and import of everything.
    public let backup: Backup

    /// The loopback Client-Server API, for unmodified Matrix clients on this phone.
    public let clientApi: ClientApi

    /// Makes a node that does nothing yet. Touches no disk and no keystore.
    public init(config: NodeConfig, platform: any Platform, logs: (any LogSink)? = SystemLog()) throws {
        node = try Node.open(config: config, platform: platform, logSink: logs)
        rooms = node.rooms()
        contacts = node.contacts()
        peers = node.peers()
        verifications = node.verifications()
        backup = node.backup()
        clientApi = node.clientApi()
    }

    public var state: NodeState { node.state() }

    /// How it goes with the node, in whatever state it is, and again whenever that changes.
    public var status: Updates<NodeStatus> {
        let node = node
        return Updates { cell in try node.subscribeStatus(listener: NewestEar(cell)) }
    }

    /// Who the person is. The node must run.
    public var identity: Identity {
        get throws { try node.identity() }
    }

    /// The person's contact as a URI, with where this phone is now.
    public func contactUri() async throws -> String { try await node.contactUri() }

    /// What a person should be told of while the app is not looked at; see ``Events``.
    public var events: Events { Events(node: node) }

    // None of these ends half way when the task that called it is cancelled.

    public func start() async throws { try await node.start() }

    public func stop() async throws { try await node.stop() }

    public func pause() async throws { try await node.pause() }

    public func resume() async throws { try await node.resume() }

    public func networkChanged() async throws { try await node.networkChanged() }

    public func backgroundFetch(limit: TimeInterval) async throws -> FetchSummary {
        try await node.backgroundFetch(deadlineMs: UInt64(max(0, limit) * 1_000))
    }

    /// Spends more or less on being within reach; a node that does not run, once it does.
    public func setPowerMode(_ mode: PowerMode) async throws { try await node.setPowerMode(mode: mode) }

    /// Destroys the keys, then the files, in whatever state the node is, and returns when it is done. It blocks, so call it
    /// where that harms nobody.
    public func panicWipe() throws { try node.panicWipe() }
}
