// Everything gone, in whatever state the node is.

import Foundation
import Hearth
import XCTest

final class WipeTests: XCTestCase {
    func testRunningWithSubscriptionsOpen() async throws {
        try await phones { phones in
            let (ana, ben) = try await phones.anaAndBen()
            let (here, there) = try await phones.talk(ana, ben)
            try await here.says("Burn this")
            try await there.hears("Burn this")
            try gone(ana)
            _ = try await ben.hearth.rooms.list()
        }
    }

    func testPaused() async throws {
        try await phones { phones in
            let ana = try await phones.started("ana")
            _ = try await ana.hearth.rooms.create(room: NewRoom(name: "Diary"))
            try await ana.hearth.pause()
            try gone(ana)
        }
    }

    func testStoppedAndNeverStarted() async throws {
        try await phones { phones in
            let ana = try await phones.started("ana")
            try await ana.hearth.stop()
            try gone(ana)
            try gone(phones.phone("ben"))
        }
    }

    func testTheSameFolderIsAsNewForAnotherNode() async throws {
        try await phones { phones in
            let ana = try await phones.started("ana")
            let before = try ana.user
            try gone(ana)
            let again = try phones.phone("ana", keys: ana.keys, data: ana.data)
            try await again.hearth.start()
            XCTAssertNotEqual(try again.user, before, "another key is another person")
            let rooms = try await again.hearth.rooms.list()
            XCTAssertEqual(rooms, [])
        }
    }

    func testWhoWaitsForEventsHearsThatThereAreNoMore() async throws {
        try await phones { phones in
            let ana = try await phones.started("ana")
            let reading = Task {
                for try await _ in ana.hearth.events {}
            }
            try gone(ana)
            try await reading.value
        }
    }

    private func gone(_ phone: Phone) throws {
        try phone.hearth.panicWipe()
        try phone.hearth.panicWipe()
        XCTAssertEqual(phone.hearth.state, .wiped)
        XCTAssertEqual((phone.keys as? MemoryKeys)?.secrets.now.count, 0)
        XCTAssertEqual(try openBelow(phone.data), [])
        let left = FileManager.default.enumerator(at: phone.data, includingPropertiesForKeys: [.isRegularFileKey])
        let files = (left?.allObjects as? [URL] ?? []).filter { !$0.hasDirectoryPath }
        XCTAssertEqual(files, [])
    }
}
