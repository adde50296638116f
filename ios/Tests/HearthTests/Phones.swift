// What the tests are written in: phones in this process, with real nodes, real files and real sockets on the loopback interface,
// that meet by contact URIs.

import Foundation
import Hearth
import XCTest

/// How many seconds anything may take in a debug build on a machine that has other things to do.
let patience: TimeInterval = 60

/// A value behind a lock.
final class Locked<Value>: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Value

    init(_ value: Value) { self.value = value }

    var now: Value { lock.withLock { value } }

    @discardableResult
    func change<Answer>(_ work: (inout Value) throws -> Answer) rethrows -> Answer { try lock.withLock { try work(&value) } }
}

/// A keystore that forgets with the test.
final class MemoryKeys: Platform {
    let secrets = Locked<[String: Data]>([:])
    /// What the next readings fail with.
    let broken = Locked<(any Error)?>(nil)

    func keystoreGet(name: String) throws -> Data? {
        if let failure = broken.now { throw failure }
        return secrets.now[name]
    }

    func keystorePut(name: String, secret: Data) throws { secrets.change { $0[name] = secret } }

    func keystoreDelete(name: String) throws { secrets.change { $0[name] = nil } }

    func freeDisk() -> UInt64? { nil }
}

/// Something did not come true in time.
struct Hopeless: Error, CustomStringConvertible {
    let description: String
}

/// Waits until something holds that no sequence tells of.
func eventually(_ hope: String, within: TimeInterval = patience, _ holds: () async throws -> Bool) async throws {
    let deadline = Date() + within
    while try await !holds() {
        guard Date() < deadline else { throw Hopeless(description: "not within \(within) s: \(hope)") }
        try await Task.sleep(nanoseconds: 10_000_000)
    }
}

/// What a sequence said last, from now on.
final class Watched<Value: Sendable>: Sendable {
    private let last = Locked<Value?>(nil)
    private let failure = Locked<(any Error)?>(nil)
    private let reading: Task<Void, Never>

    init(_ updates: Updates<Value>, pace: UInt64 = 0) {
        reading = Task { [last, failure] in
            do {
                for try await value in updates {
                    last.change { $0 = value }
                    if pace > 0 { try await Task.sleep(nanoseconds: pace) }
                }
            } catch {
                failure.change { $0 = error }
            }
        }
    }

    deinit { reading.cancel() }

    var now: Value? { last.now }

    /// Waits until it says what is hoped for.
    @discardableResult
    func until(_ hope: String, within: TimeInterval = patience, _ fulfilled: (Value) -> Bool) async throws -> Value {
        var found: Value?
        do {
            try await eventually(hope, within: within) {
                if let failure = failure.now { throw failure }
                found = last.now
                return found.map(fulfilled) ?? false
            }
        } catch let hopeless as Hopeless {
            throw Hopeless(description: "\(hopeless); last was \(String(describing: now))")
        }
        return try XCTUnwrap(found)
    }
}

/// One person's phone.
final class Phone: Sendable {
    let hearth: Hearth
    let data: URL
    let keys: any Platform
    /// The room list, watched since the phone was made.
    let rooms: Watched<[RoomSummary]>

    init(_ hearth: Hearth, data: URL, keys: any Platform) {
        (self.hearth, self.data, self.keys) = (hearth, data, keys)
        rooms = Watched(hearth.rooms.items())
    }

    var user: String { get throws { try hearth.identity.userId } }

    @discardableResult
    func knows(_ other: Phone) async throws -> String {
        try await hearth.contacts.add(uri: other.hearth.contactUri())
    }

    /// Accepts the invite to a room as soon as it is there.
    func accept(_ room: String) async throws -> Room {
        try await rooms.until("an invite to \(room)") { rows in
            rows.contains { $0.id == room && $0.standing == .invited }
        }
        return try await hearth.rooms.join(room)
    }
}

/// A room of two, of which both are members, and what one of them sees of it.
final class Conversation: Sendable {
    let room: Room
    let timeline: Timeline
    let seen: Watched<[TimelineItem]>

    init(_ room: Room) {
        self.room = room
        timeline = room.timeline()
        seen = Watched(timeline.items())
    }

    @discardableResult
    func says(_ text: String) async throws -> String { try await timeline.send(text) }

    @discardableResult
    func hears(_ text: String) async throws -> TimelineItem {
        let rows = try await seen.until("\"\(text)\" is seen") { rows in rows.contains { $0.says(text) } }
        return try XCTUnwrap(rows.first { $0.says(text) })
    }
}

/// The phones of a test, and where their data lies.
final class Phones: Sendable {
    let folder: URL
    private let all = Locked<[Phone]>([])

    init() throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("hearth-swift-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    func file(_ name: String) -> URL { folder.appendingPathComponent(name) }

    /// A phone that is switched off.
    func phone(
        _ name: String, discovery: DiscoveryMode = .platform, keys: any Platform = MemoryKeys(), data: URL? = nil
    ) throws -> Phone {
        let data = data ?? file(name)
        let config = NodeConfig(
            dataDir: data.path, account: name, displayName: name.capitalized, discovery: discovery, logLevel: .error)
        let phone = Phone(try Hearth(config: config, platform: keys), data: data, keys: keys)
        all.change { $0.append(phone) }
        return phone
    }

    /// A phone that is on.
    func started(_ name: String, discovery: DiscoveryMode = .platform) async throws -> Phone {
        let phone = try phone(name, discovery: discovery)
        try await phone.hearth.start()
        return phone
    }

    /// Ana and Ben, who have scanned each other's codes.
    func anaAndBen() async throws -> (Phone, Phone) {
        let (ana, ben) = (try await started("ana"), try await started("ben"))
        try await ana.knows(ben)
        try await ben.knows(ana)
        return (ana, ben)
    }

    /// Two who talk in an encrypted room that the first one made.
    func talk(_ host: Phone, _ guest: Phone) async throws -> (Conversation, Conversation) {
        let room = try await host.hearth.rooms.create(room: NewRoom(name: "Tea", invite: [guest.user]))
        let there = Conversation(try await guest.accept(room.id()))
        let here = Conversation(room)
        try await host.rooms.until("both are in") { rows in rows.contains { $0.id == room.id() && $0.members == 2 } }
        return (here, there)
    }

    func end() async {
        for phone in all.now { try? await phone.hearth.stop() }
        all.change { $0 = [] }
        try? FileManager.default.removeItem(at: folder)
    }
}

/// Runs a test with phones, which are stopped and deleted at its end.
func phones(_ test: (Phones) async throws -> Void) async throws {
    let phones = try Phones()
    do { try await test(phones) } catch {
        await phones.end()
        throw error
    }
    await phones.end()
}

extension TimelineItem {
    /// The text of an item, if it is one.
    var text: String? {
        guard case .text(let body, _, _) = content else { return nil }
        return body
    }

    /// Whether it is a text that says just this.
    func says(_ words: String) -> Bool { text == words }

    /// The file of an item, if it is one.
    var media: Media? {
        guard case .file(let media) = content else { return nil }
        return media
    }
}

/// The files of this process that lie below a folder.
func openBelow(_ folder: URL) throws -> [String] {
    let table = "/proc/self/fd"
    return try FileManager.default.contentsOfDirectory(atPath: table)
        .compactMap { try? FileManager.default.destinationOfSymbolicLink(atPath: "\(table)/\($0)") }
        .filter { $0.hasPrefix(folder.path) }
}
