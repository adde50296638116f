// Searching with the platform's radios, and changes of the network.

import Foundation
import XCTest

@testable import Hearth

/// A network that all phones of a test are in: what one announces the others see.
private final class Air: Sendable {
    private let announced = Locked<[Announcement]>([])
    private let listeners = Locked<[UUID: AsyncThrowingStream<Sighting, any Error>.Continuation]>([:])

    func announce(_ announcement: Announcement) {
        announced.change { $0.append(announcement) }
        for listener in listeners.now.values { listener.yield(sighting(announcement)) }
    }

    func listen() -> AsyncThrowingStream<Sighting, any Error> {
        let (sightings, listener) = AsyncThrowingStream<Sighting, any Error>.makeStream()
        let id = UUID()
        listeners.change { $0[id] = listener }
        listener.onTermination = { [listeners] _ in listeners.change { $0[id] = nil } }
        for announcement in announced.now { listener.yield(sighting(announcement)) }
        return sightings
    }

    var searching: Int { listeners.now.count }

    private func sighting(_ seen: Announcement) -> Sighting {
        Sighting(instance: seen.instance, properties: seen.properties, hosts: ["127.0.0.1"])
    }
}

/// One phone's radio.
private final class Radio: ServiceDiscovery {
    private let air: Air
    let announcing = Locked(0)
    let failures: Locked<Int>

    init(_ air: Air, failures: Int = 0) {
        self.air = air
        self.failures = Locked(failures)
    }

    func announce(_ announcement: Announcement) async throws {
        if failures.change({ left in
            defer { left -= 1 }
            return left > 0
        }) {
            throw RadioError("the radio is off")
        }
        announcing.change { $0 += 1 }
        defer { announcing.change { $0 -= 1 } }
        air.announce(announcement)
        while !Task.isCancelled { try await Task.sleep(nanoseconds: 5_000_000) }
    }

    func sightings(of service: String) -> AsyncThrowingStream<Sighting, any Error> { air.listen() }
}

/// An address book that writes down what it is handed.
private final class Book: AddressBook {
    private let name: String
    let seen = Locked<[String]>([])
    let port = Locked<UInt16>(1)
    let failure = Locked<NodeError?>(nil)

    init(_ name: String) { self.name = name }

    func announcement() async throws -> Announcement {
        if let failure = failure.now { throw failure }
        let port = port.now
        return Announcement(
            service: "_hearth._udp", instance: name, port: port, properties: ["id": name, "quic": "\(port)"])
    }

    func found(properties: [String: String], hosts: [String]) async throws -> Bool {
        seen.change { $0.append("\(properties["id"] ?? ""):\(properties["quic"] ?? "") at \(hosts.joined())") }
        return true
    }
}

final class NearbyTests: XCTestCase {
    /// Nothing moves.
    private let still = AsyncStream<Void> { _ in }

    func testWhoSearchesSeesTheOthersAndNotItselfAndAgainWhenTheyMove() async throws {
        let (air, ana, ben) = (Air(), Book("ana"), Book("ben"))
        let (moved, move) = AsyncStream<Void>.makeStream()
        let searches = [
            Task { await search(ana, with: Radio(air), moved: moved) },
            Task { [still] in await search(ben, with: Radio(air), moved: still) },
        ]
        try await eventually("they see each other") { !ana.seen.now.isEmpty && !ben.seen.now.isEmpty }
        XCTAssertEqual(Set(ana.seen.now), ["ben:1 at 127.0.0.1"])
        XCTAssertEqual(Set(ben.seen.now), ["ana:1 at 127.0.0.1"])
        ana.port.change { $0 = 2 }
        move.yield()
        try await eventually("ben sees where ana is now") { ben.seen.now.last == "ana:2 at 127.0.0.1" }
        for one in searches { one.cancel() }
        for one in searches { await one.value }
        XCTAssertEqual(air.searching, 0)
    }

    func testItWaitsForTheNodeAndForTheRadioAndLeavesNothingOnWhenItEnds() async throws {
        let (air, book) = (Air(), Book("ana"))
        let radio = Radio(air, failures: 1)
        book.failure.change { $0 = .NotRunning(reason: "start it first") }
        let searching = Task { [still] in await search(book, with: radio, moved: still) }
        try await Task.sleep(nanoseconds: 50_000_000)
        XCTAssertEqual(air.searching, 0)
        book.failure.change { $0 = nil }
        try await eventually("it searches and announces") { air.searching == 1 && radio.announcing.now == 1 }
        searching.cancel()
        await searching.value
        XCTAssertEqual([air.searching, radio.announcing.now], [0, 0])
    }

    func testASearchThatIsCancelledAtOnceEnds() async throws {
        for _ in 0..<50 {
            let searching = Task { [still] in await search(Book("ana"), with: Radio(Air()), moved: still) }
            searching.cancel()
            await searching.value
        }
    }

    func testAChangeOfTheNetworkIsToldOnceWhenItHasSettled() async throws {
        let (networks, tell) = AsyncStream<Set<String>>.makeStream()
        let changes = Locked(0)
        let following = Task {
            await followNetworks(networks, settled: 0.3) {
                changes.change { $0 += 1 }
                throw NodeError.Paused(reason: "a pause is no reason to end")
            }
        }
        func pass(_ seconds: TimeInterval) async throws { try await Task.sleep(nanoseconds: UInt64(seconds * 1e9)) }
        tell.yield([])
        tell.yield(["en0 10.0.0.2"])
        try await pass(0.9)  // what was there at the beginning is no change
        tell.yield([])
        tell.yield(["en0 10.0.0.2"])
        try await pass(0.9)  // and what was undone at once is none
        XCTAssertEqual(changes.now, 0)
        tell.yield([])
        tell.yield(["en0 10.9.9.9"])
        tell.yield(["en0 10.9.9.9", "bridge100 10.1.1.1"])
        try await eventually("it is told") { changes.now == 1 }
        try await pass(0.9)
        XCTAssertEqual(changes.now, 1)
        tell.finish()
        await following.value
    }

    func testTheLocalAddressesAreOfInterfacesAndNotOfThisMachineAlone() {
        for one in localAddresses() {
            XCTAssertEqual(one.split(separator: " ").count, 2, one)
            XCTAssertFalse(one.hasSuffix(" 127.0.0.1") || one.hasSuffix(" ::1"), one)
        }
    }

    func testAFetchHasTheSearchBesideIt() async throws {
        try await phones { phones in
            let ana = try phones.phone("ana")
            let (began, ended) = (Locked(false), Locked(false))
            _ = try await fetch(ana.hearth, limit: 2) {
                began.change { $0 = true }
                while !Task.isCancelled { try? await Task.sleep(nanoseconds: 5_000_000) }
                ended.change { $0 = true }
            }
            try await eventually("it ended with the fetch") { began.now && ended.now }
            XCTAssertEqual(ana.hearth.state, .stopped)
        }
    }

    func testTwoNodesMeetByWhatThePlatformFound() async throws {
        try await phones { phones in
            let air = Air()
            let (ana, ben) = (try await phones.started("ana"), try await phones.started("ben"))
            let searches = [ana, ben].map { phone in
                Task { [still] in await search(phone.hearth.peers, with: Radio(air), moved: still) }
            }
            let server = try ben.hearth.identity.server
            try await Watched(ana.hearth.peers.items()).until("ben") { peers in
                peers.contains { $0.id == server && $0.connected && $0.transport == "quic" }
            }
            let (here, there) = try await phones.talk(ana, ben)
            try await here.says("Found you")
            try await there.hears("Found you")
            let nonsense = try await ana.hearth.peers.found(properties: ["id": "nonsense"], hosts: ["127.0.0.1"])
            let nothing = try await ana.hearth.peers.found(properties: [:], hosts: [])
            XCTAssertFalse(nonsense || nothing)
            for one in searches { one.cancel() }
            for one in searches { await one.value }
        }
    }

    func testWhoDoesNotLookIsSeenAllTheSame() async throws {
        let air = Air()
        let (ana, ben, radio, looking) = (Book("ana"), Book("ben"), Radio(air), Observed(false))
        let searches = [
            Task { [still] in await search(ana, with: radio, moved: still, looking: looking) },
            Task { [still] in await search(ben, with: Radio(air), moved: still) },
        ]
        try await eventually("ben sees ana") { ben.seen.now.count == 1 }
        XCTAssertEqual(air.searching, 1)
        XCTAssertEqual(ana.seen.now, [])
        looking.become(true)
        try await eventually("ana looks") { ana.seen.now.count == 1 }
        looking.become(false)
        try await eventually("ana looks no longer") { air.searching == 1 }
        XCTAssertEqual(radio.announcing.now, 1)
        for one in searches { one.cancel() }
        for one in searches { await one.value }
    }

    func testTwoNodesMeetByTheBuiltInDiscoveryAndAgainAfterAChangeOfTheNetwork() async throws {
        try await phones { phones in
            let ana = try await phones.started("ana", discovery: .loopback)
            let ben = try await phones.started("ben", discovery: .loopback)
            let server = try ben.hearth.identity.server
            let peers = Watched(ana.hearth.peers.items())
            try await peers.until("ben") { $0.contains { $0.id == server && $0.connected } }
            try await ana.hearth.networkChanged()
            try await peers.until("ben again") { $0.contains { $0.id == server && $0.connected } }
            try await ana.hearth.setPowerMode(.offline)
            try await peers.until("nobody") { !$0.contains(where: \.connected) }
            try await ana.hearth.setPowerMode(.foreground)
            try await peers.until("ben once more") { $0.contains { $0.id == server && $0.connected } }
        }
    }
}
