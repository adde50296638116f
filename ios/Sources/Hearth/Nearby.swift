// Finding other phones with what the platform offers, and telling the node of changes of the network.
//
// What the platform finds goes into the same address book as what Hearth finds itself. Nothing here knows Apple's frameworks:
// the radios are protocols, and the tests have their own.

import Foundation

/// A service that was found on the network.
public struct Sighting: Sendable, Equatable {
    /// The instance's name.
    public let instance: String
    /// The TXT record.
    public let properties: [String: String]
    /// IP addresses of its host.
    public let hosts: [String]

    public init(instance: String, properties: [String: String], hosts: [String]) {
        (self.instance, self.properties, self.hosts) = (instance, properties, hosts)
    }
}

/// The platform's DNS-SD: Bonjour on Apple's.
public protocol ServiceDiscovery: Sendable {
    /// Announces a service until the task is cancelled. Throws ``RadioError`` when that cannot be done.
    func announce(_ announcement: Announcement) async throws

    /// The services of a type, each whenever it appears or changes. Searches only while it is read.
    func sightings(of service: String) -> AsyncThrowingStream<Sighting, any Error>
}

/// The platform's radio could not do what it was asked.
public struct RadioError: Error, CustomStringConvertible {
    /// Why.
    public let description: String

    public init(_ reason: String) { description = reason }
}

/// What a search needs of a node.
public protocol AddressBook: Sendable {
    /// What must be announced for this node.
    func announcement() async throws -> Announcement

    /// Takes what was found. Answers whether it was a phone that can be called.
    @discardableResult
    func found(properties: [String: String], hosts: [String]) async throws -> Bool
}

extension Peers: AddressBook {}

/// Announces a node and, while `looking` says so, searches for others, until the task is cancelled. `moved` speaks whenever the
/// node may listen elsewhere than before, and is announced anew then.
public func search<Moved: AsyncSequence & Sendable>(
    _ book: any AddressBook, with radio: any ServiceDiscovery, moved: Moved, looking: Observed<Bool> = Observed(true)
) async {
    await Latest.run { again in
        again { await insist { try await searchOnce(book, with: radio, looking) } }
        do {
            for try await _ in moved {
                again { await insist { try await searchOnce(book, with: radio, looking) } }
            }
        } catch {
            // Who does not hear of moves any more still searches from where the node is now.
        }
        // The search itself ends with the task.
        await forever()
    }
}

private func searchOnce(
    _ book: any AddressBook, with radio: any ServiceDiscovery, _ looking: Observed<Bool>
) async throws {
    let ours = try await book.announcement()
    await withTaskGroup(of: Void.self) { group in
        group.addTask { await insist { try await radio.announce(ours) } }
        group.addTask {
            await Latest.run { again in
                do {
                    for try await looks in looking.updates {
                        again { if looks { await insist { try await look(ours, for: book, with: radio) } } }
                    }
                } catch {
                    return
                }
            }
        }
    }
}

private func look(_ ours: Announcement, for book: any AddressBook, with radio: any ServiceDiscovery) async throws {
    for try await seen in radio.sightings(of: ours.service) where seen.instance != ours.instance {
        try await book.found(properties: seen.properties, hosts: seen.hosts)
    }
    // A radio that stops without a reason is asked again.
    throw RadioError("the search ended")
}

/// How long to wait for a node that does not run yet, or a radio that refuses, before asking again.
private let retryAfter: UInt64 = 500_000_000

/// Tries until it works. The node may not run yet, and the radio may be off: neither says when that changes.
private func insist(_ work: @Sendable () async throws -> Void) async {
    while !Task.isCancelled {
        do { return try await work() } catch { try? await Task.sleep(nanoseconds: retryAfter) }
    }
}

/// Waits for the task to be cancelled.
private func forever() async {
    let hour: UInt64 = 3_600_000_000_000
    while !Task.isCancelled { try? await Task.sleep(nanoseconds: hour) }
}

/// Tells a node of changes of the local networks, each described in any way that differs when they do, until the task is
/// cancelled or there is nothing more to hear. What was there at the beginning is no change, and neither is what was undone
/// within `settled` seconds: while a phone changes networks, much comes and goes.
public func followNetworks<Networks: AsyncSequence & Sendable>(
    _ networks: Networks, settled: TimeInterval = 1, changed: @escaping @Sendable () async throws -> Void
) async where Networks.Element == Set<String> {
    let known = Known()
    await Latest.run { again in
        do {
            for try await now in networks {
                again {
                    guard (try? await Task.sleep(nanoseconds: UInt64(settled * 1e9))) != nil else { return }
                    guard await known.isNew(now) else { return }
                    // A node that does not run listens anew when it is started, and one without a network at the next change.
                    try? await changed()
                }
            }
        } catch {
            return
        }
    }
}

/// Which networks the node knows of.
private actor Known {
    private var networks: Set<String>?

    func isNew(_ now: Set<String>) -> Bool {
        defer { networks = now }
        return networks != nil && networks != now
    }
}

/// Work of which only the latest goes on: what was begun before is cancelled, and has ended when the next begins.
final class Latest: @unchecked Sendable {
    private let lock = NSLock()
    // Guarded by the lock.
    private var task: Task<Void, Never>?
    private var over = false

    /// Runs `body`, which begins work by its argument. Answers when both have ended; cancelling ends both.
    static func run(
        _ body: @Sendable (_ again: @Sendable (@escaping @Sendable () async -> Void) -> Void) async -> Void
    ) async {
        let latest = Latest()
        await withTaskCancellationHandler {
            await body(latest.begin)
            await latest.lock.withLock { latest.task }?.value
        } onCancel: {
            latest.end()
        }
    }

    @Sendable private func begin(_ work: @escaping @Sendable () async -> Void) {
        lock.withLock {
            guard !over else { return }
            let before = task
            before?.cancel()
            task = Task {
                await before?.value
                if !Task.isCancelled { await work() }
            }
        }
    }

    private func end() {
        lock.withLock {
            over = true
            task?.cancel()
        }
    }
}

/// A background fetch, with the platform's search beside it.
public func fetch(
    _ node: any Power, limit: TimeInterval, searching: @escaping @Sendable () async -> Void
) async throws -> FetchSummary {
    let beside = Task { await searching() }
    defer { beside.cancel() }
    return try await node.backgroundFetch(limit: limit)
}
