// When the node runs, with a node that only writes down what it is told and a clock that waits to be let on.

import Foundation
import XCTest

@testable import Hearth

/// A node that writes down what it is told.
private final class Scripted: Power {
    private let now = Locked(NodeState.stopped)
    let told = Locked<[String]>([])
    let modes = Locked<[PowerMode]>([])
    let failure = Locked<NodeError?>(nil)

    var state: NodeState { now.now }

    private func step(_ name: String, to state: NodeState) async throws {
        if now.now == state { return }
        told.change { $0.append(name) }
        await Task.yield()
        if let failure = failure.now { throw failure }
        now.change { $0 = state }
    }

    func start() async throws { try await step("start", to: .running) }

    func stop() async throws { try await step("stop", to: .stopped) }

    func pause() async throws { try await step("pause", to: .paused) }

    func resume() async throws { try await step("resume", to: .running) }

    func setPowerMode(_ mode: PowerMode) async throws { modes.change { $0.append(mode) } }

    func networkChanged() async throws {}

    func backgroundFetch(limit: TimeInterval) async throws -> FetchSummary {
        FetchSummary(peers: 0, received: 0, delivered: true)
    }
}

/// Time that passes when it is told to.
private final class Clock: Sendable {
    private let passed = Locked<TimeInterval>(0)
    private let sleepers = Locked(0)

    @Sendable func sleep(_ seconds: TimeInterval) async throws {
        let end = passed.now + seconds
        sleepers.change { $0 += 1 }
        defer { sleepers.change { $0 -= 1 } }
        let deadline = Date() + patience
        while passed.now < end {
            // Who waits for time that nobody lets pass is a test that fails, and not one that hangs.
            guard Date() < deadline else { throw Hopeless(description: "nobody let \(seconds) s pass") }
            try await Task.sleep(nanoseconds: 1_000_000)
        }
    }

    /// Waits until so many sleep. Time that passes before that is time that they do not see.
    func untilAsleep(_ count: Int = 1) async throws { try await eventually("\(count) sleep") { sleepers.now == count } }

    func pass(_ seconds: TimeInterval) { passed.change { $0 += seconds } }
}

final class PowerTests: XCTestCase {
    private func test(
        _ body: (Scripted, Lifecycle, Clock) async throws -> Void
    ) async throws {
        let (node, clock) = (Scripted(), Clock())
        try await body(node, Lifecycle(node, grace: 5, sleep: clock.sleep), clock)
    }

    func testNothingIsStartedForNobody() async throws {
        try await test { node, lifecycle, clock in
            lifecycle.foreground(false)
            clock.pass(60)
            await lifecycle.settled()
            XCTAssertEqual(node.told.now, [])
        }
    }

    func testItStartsWhenTheAppIsSeenPausesAfterItAndGoesOn() async throws {
        try await test { node, lifecycle, clock in
            lifecycle.foreground(true)
            await lifecycle.settled()
            XCTAssertEqual(node.told.now, ["start"])
            XCTAssertTrue(lifecycle.running.now)
            lifecycle.foreground(false)
            try await clock.untilAsleep(2)
            clock.pass(4)
            XCTAssertEqual(node.told.now, ["start"])
            clock.pass(2)
            await lifecycle.settled()
            XCTAssertEqual(node.told.now, ["start", "pause"])
            XCTAssertFalse(lifecycle.running.now)
            lifecycle.foreground(true)
            await lifecycle.settled()
            XCTAssertEqual(node.told.now, ["start", "pause", "start"])
        }
    }

    func testALookAtAnotherAppPausesNothing() async throws {
        try await test { node, lifecycle, clock in
            lifecycle.foreground(true)
            await lifecycle.settled()
            for _ in 0..<10 {
                lifecycle.foreground(false)
                try await clock.untilAsleep(2)
                clock.pass(3)
                lifecycle.foreground(true)
                await lifecycle.settled()
            }
            clock.pass(60)
            XCTAssertEqual(node.told.now, ["start"])
        }
    }

    func testAHoldKeepsItRunningAndCountsOnceHoweverOftenItIsReleased() async throws {
        try await test { node, lifecycle, clock in
            lifecycle.foreground(true)
            await lifecycle.settled()
            let first = lifecycle.hold()
            var second: Hold? = lifecycle.hold()
            lifecycle.foreground(false)
            first.release()
            first.release()
            try await clock.untilAsleep()
            clock.pass(60)
            await lifecycle.settled()
            XCTAssertEqual(node.told.now, ["start"])
            XCTAssertNotNil(second)
            second = nil
            try await clock.untilAsleep()
            clock.pass(60)
            await lifecycle.settled()
            XCTAssertEqual(node.told.now, ["start", "pause"])
            XCTAssertFalse(lifecycle.running.now)
        }
    }

    func testASuspensionPausesAtOnceWhateverHoldsTheNodeUntilTheAppIsSeenAgain() async throws {
        try await test { node, lifecycle, clock in
            lifecycle.foreground(true)
            await lifecycle.settled()
            let hold = lifecycle.hold()
            lifecycle.foreground(false)
            await lifecycle.suspend()
            XCTAssertEqual(node.told.now, ["start", "pause"])
            let another = lifecycle.hold()
            await lifecycle.settled()
            XCTAssertEqual(node.told.now, ["start", "pause"])
            lifecycle.foreground(true)
            await lifecycle.settled()
            XCTAssertEqual(node.told.now, ["start", "pause", "start"])
            hold.release()
            another.release()

            // In the middle of the grace too.
            lifecycle.foreground(false)
            try await clock.untilAsleep(2)
            await lifecycle.suspend()
            XCTAssertEqual(node.told.now, ["start", "pause", "start", "pause"])
        }
    }

    func testItSpendsLessWhenNobodyLooksAndLeastWhenTheBatteryMustLast() async throws {
        try await test { node, lifecycle, clock in
            let hold = lifecycle.hold()
            await lifecycle.settled()
            XCTAssertEqual(node.modes.now, [.background])
            lifecycle.foreground(true)
            lifecycle.saving(true)
            await lifecycle.settled()
            XCTAssertEqual(node.modes.now, [.background, .foreground])
            XCTAssertTrue(lifecycle.looking.now)
            lifecycle.foreground(false)
            try await clock.untilAsleep()
            clock.pass(4)
            XCTAssertTrue(lifecycle.looking.now)
            clock.pass(2)
            await lifecycle.settled()
            XCTAssertEqual(node.modes.now, [.background, .foreground, .lowPower])
            XCTAssertFalse(lifecycle.looking.now)
            lifecycle.saving(false)
            await lifecycle.settled()
            XCTAssertEqual(node.modes.now.last, .background)
            hold.release()
        }
    }

    func testOffTheNetworkIsOffWhoeverLooks() async throws {
        try await test { node, lifecycle, _ in
            lifecycle.foreground(true)
            lifecycle.offline(true)
            await lifecycle.settled()
            XCTAssertEqual(node.modes.now.last, .offline)
            lifecycle.foreground(false)
            lifecycle.foreground(true)
            await lifecycle.settled()
            XCTAssertEqual(node.modes.now.last, .offline)
            XCTAssertEqual(node.told.now, ["start"])
            lifecycle.offline(false)
            await lifecycle.settled()
            XCTAssertEqual(node.modes.now.last, .foreground)
        }
    }

    func testAPhoneThatRestsIsLeftAloneAndMissesNothing() async throws {
        try await phones { phones in
            let (ana, ben) = try await phones.anaAndBen()
            let (here, there) = try await phones.talk(ana, ben)
            let server = try ben.hearth.identity.server
            let peers = Watched(ana.hearth.peers.items())
            try await ben.hearth.setPowerMode(.lowPower)
            try await peers.until("ben rests") { $0.contains { $0.id == server && $0.rests && !$0.connected } }
            try await here.says("Are you there?")
            try await there.hears("Are you there?")
            try await there.says("I was asleep")
            try await here.hears("I was asleep")
            try await ben.hearth.setPowerMode(.foreground)
            try await peers.until("ben is awake") { $0.contains { $0.id == server && !$0.rests && $0.connected } }
        }
    }

    func testWhatFailedIsSaidAndTriedAgainWithTheNextWish() async throws {
        try await test { node, lifecycle, clock in
            node.failure.change { $0 = .Storage(reason: "the disk is full") }
            lifecycle.foreground(true)
            await lifecycle.settled()
            XCTAssertNotNil(lifecycle.failure.now)
            XCTAssertFalse(lifecycle.running.now)
            lifecycle.foreground(false)
            try await clock.untilAsleep(2)
            clock.pass(10)
            await lifecycle.settled()
            node.failure.change { $0 = nil }
            lifecycle.foreground(true)
            await lifecycle.settled()
            XCTAssertNil(lifecycle.failure.now)
            XCTAssertEqual(node.told.now, ["start", "start"])
            XCTAssertTrue(lifecycle.running.now)
        }
    }

    func testARealNodeFollows() async throws {
        try await phones { phones in
            let ana = try phones.phone("ana")
            let lifecycle = Lifecycle(ana.hearth, grace: 0)
            let states = Watched(ana.hearth.status)
            lifecycle.foreground(true)
            try await states.until("it runs") { $0.state == .running }
            lifecycle.foreground(false)
            await lifecycle.settled()
            XCTAssertEqual(ana.hearth.state, .paused)
            XCTAssertEqual(try openBelow(ana.data), [])
            try await states.until("it is said to be paused") { $0.state == .paused }
        }
    }
}
