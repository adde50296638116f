// Phones that are switched off, put into a pocket, or killed.

import Foundation
import Hearth
import XCTest

final class AbsenceTests: XCTestCase {
    func testAPausedPhoneCatchesUpAndItsSequencesGoOnByThemselves() async throws {
        try await phones { phones in
            let (ana, ben) = try await phones.anaAndBen()
            let (here, there) = try await phones.talk(ana, ben)
            try await here.says("Before")
            try await there.hears("Before")
            try await ben.hearth.pause()
            XCTAssertEqual(ben.hearth.state, .paused)
            let said = (1...20).map { "While you slept, \($0)" }
            for text in said { try await here.says(text) }
            try await ben.hearth.resume()
            let all = try await there.seen.until("everything") { rows in rows.contains { $0.says(said.last ?? "") } }
            let heard = all.compactMap(\.text).filter { $0.hasPrefix("While") }
            XCTAssertEqual(heard, said, "all of it, once and in order")
            try await there.says("Awake")
            try await here.hears("Awake")
        }
    }

    func testWhenPauseReturnsNoFileIsOpen() async throws {
        try await phones { phones in
            let ana = try await phones.started("ana")
            let user = try ana.user
            XCTAssertFalse(try openBelow(ana.data).isEmpty)
            try await ana.hearth.pause()
            XCTAssertEqual(try openBelow(ana.data), [])
            // Another node may open the files now, and the first one may have them back after it.
            let second = try phones.phone("ana", keys: ana.keys, data: ana.data)
            try await second.hearth.start()
            XCTAssertEqual(try second.user, user)
            try await second.hearth.stop()
            try await ana.hearth.resume()
            XCTAssertEqual(try ana.user, user)
        }
    }

    func testABackgroundFetchBringsWhatWaitsAndIsOverInTime() async throws {
        try await phones { phones in
            let (ana, ben) = try await phones.anaAndBen()
            let (here, there) = try await phones.talk(ana, ben)
            try await ben.hearth.pause()
            try await here.says("Ring ring")
            let began = Date()
            let summary = try await ben.hearth.backgroundFetch(limit: 20)
            XCTAssertLessThan(Date().timeIntervalSince(began), 20)
            XCTAssertEqual(ben.hearth.state, .paused)
            XCTAssertTrue(summary.peers >= 1 && summary.received > 0, "\(summary)")
            try await ben.hearth.resume()
            try await there.hears("Ring ring")
        }
    }

    func testACancelledCallerLeavesTheNodeInOneStateOrTheOther() async throws {
        try await phones { phones in
            let ana = try phones.phone("ana")
            for round in 0..<10 {
                let starting = Task { try await ana.hearth.start() }
                try await Task.sleep(nanoseconds: UInt64(round) * 5_000_000)
                starting.cancel()
                try await ana.hearth.start()
                XCTAssertEqual(ana.hearth.state, .running)
                let stopping = Task { try await ana.hearth.stop() }
                stopping.cancel()
                try await ana.hearth.stop()
                XCTAssertEqual(try openBelow(ana.data), [], "round \(round)")
            }
        }
    }

    func testWhatAKilledProcessWasAboutToShowIsHandedOutAgain() async throws {
        try await phones { phones in
            let ana = try await phones.started("ana", discovery: .loopback)
            let anas = try ana.user
            let bens = phones.file("ben").path
            let first = try Line("hearth-events", bens)
            let ben = try await first.read("user ")
            try await eventually("ben is near") { try await ana.hearth.peers.list().contains(where: \.connected) }
            let room = try await ana.hearth.rooms.direct(user: ben)
            let invite = try await first.read("event ")
            XCTAssertTrue(invite.hasSuffix("invite \(anas)"), invite)
            try first.write("handled")
            _ = try await first.read("handled")
            try first.write("join \(room.id())")
            _ = try await first.read("joined")
            let here = Conversation(room)
            try await here.says("Are you there?")
            let message = try await first.read("event ")
            XCTAssertTrue(message.hasSuffix("message \(anas) Are you there?"), message)
            first.kill()

            let second = try Line("hearth-events", bens)
            let again = try await second.read("user ")
            XCTAssertEqual(again, ben)
            let repeated = try await second.read("event ")
            XCTAssertEqual(repeated, message, "the same event, until it is handled")
            try second.write("handled")
            _ = try await second.read("handled")
            second.kill()

            let third = try Line("hearth-events", bens)
            _ = try await third.read("user ")
            try await here.says("And now?")
            let next = try await third.read("event ")
            XCTAssertTrue(next.hasSuffix("And now?"), next)
            third.kill()
        }
    }

    func testASequenceOfEventsAcknowledgesWhatWasReadAndSurvivesAPause() async throws {
        try await phones { phones in
            let (ana, ben) = try await phones.anaAndBen()
            let (here, _) = try await phones.talk(ana, ben)
            let told = Locked<[String]>([])
            let paused = Locked(false)
            let reading = Task {
                for try await event in ben.hearth.events {
                    switch event.kind {
                    case .invited(let invite): told.change { $0.append("invite by \(invite.by)") }
                    case .message(_, _, _, _, let text, _, _): told.change { $0.append(text) }
                    }
                    // The pause comes between the event and its acknowledgement.
                    while paused.now { try await Task.sleep(nanoseconds: 5_000_000) }
                }
            }
            // Not accepted: what was accepted before anybody looked is not told.
            _ = try await ana.hearth.rooms.create(room: NewRoom(name: "Cake", invite: [ben.user]))
            try await eventually("the invite") { told.now.count == 1 }
            paused.change { $0 = true }
            try await here.says("One")
            try await eventually("the first message") { told.now.count == 2 }
            try await ben.hearth.pause()
            paused.change { $0 = false }
            try await here.says("Two")
            try await ben.hearth.resume()
            try await eventually("all events") { told.now.count >= 3 }
            XCTAssertEqual(told.now, ["invite by \(try ana.user)", "One", "Two"])
            reading.cancel()
            try await reading.value
        }
    }

    func testWaitingForAnEventEndsWithItsTaskWheneverThatIsCancelled() async throws {
        try await phones { phones in
            let ana = try await phones.started("ana")
            for round in 0..<30 {
                let waiting = Task {
                    var events = ana.hearth.events.makeAsyncIterator()
                    return try await events.next()
                }
                if round % 3 > 0 { try await Task.sleep(nanoseconds: UInt64(round) * 200_000) }
                waiting.cancel()
                let event = try await waiting.value
                XCTAssertNil(event)
            }
        }
    }
}
