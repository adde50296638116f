// Calling things off.

import Foundation
import Hearth
import XCTest

final class CancelTests: XCTestCase {
    func testAFileThatIsCalledOffGoesNowhere() async throws {
        try await phones { phones in
            let (ana, ben) = try await phones.anaAndBen()
            let (here, there) = try await phones.talk(ana, ben)
            let film = try phones.film(megabytes: 40)
            let handle = try await here.timeline.send(file: film, as: .file)
            await fails("Cancelled") { try await cancelled { _ = try await handle.untilSent() } }
            handle.cancel()
            await fails("Cancelled") { _ = try await handle.untilSent() }
            try await here.says("No film today")
            try await there.hears("No film today")
            XCTAssertFalse(there.seen.now?.contains { $0.media != nil } ?? false)
            try await here.seen.until("the item is gone") { rows in
                !rows.contains { $0.id == handle.itemId() && $0.media != nil }
            }
        }
    }

    func testACancelledTaskCallsItsDownloadOffAndItCanBeHadAgain() async throws {
        try await phones { phones in
            let (ana, ben) = try await phones.anaAndBen()
            let (here, there) = try await phones.talk(ana, ben)
            let film = try phones.film(megabytes: 20)
            _ = try await here.timeline.send(file: film, as: .file).untilSent()
            let rows = try await there.seen.until("the film") { rows in rows.contains { $0.media != nil } }
            let item = try XCTUnwrap(rows.last)
            let copy = phones.file("copy")
            for delay in [0, 5, 30] {
                let began = Locked(false)
                let fetching = Task {
                    while !began.now { await Task.yield() }
                    try await there.timeline.download(item.id, to: copy)
                }
                // Cancelled before it begins it certainly ends early; later it may have been quicker.
                if delay == 0 { fetching.cancel() }
                began.change { $0 = true }
                try await Task.sleep(nanoseconds: UInt64(delay) * 1_000_000)
                fetching.cancel()
                do {
                    try await fetching.value
                    XCTAssertNotEqual(delay, 0, "a download that was called off before it began")
                } catch NodeError.Cancelled {}
            }
            let size = try await there.timeline.download(item.id, to: copy)
            XCTAssertEqual(size, 20 << 20)
            XCTAssertEqual(try Data(contentsOf: copy).count, 20 << 20)
        }
    }

    func testACancelledTaskCallsABackupOffAndLeavesNothing() async throws {
        try await phones { phones in
            let ana = try await phones.started("ana")
            let file = phones.file("backup")
            await fails("Cancelled") {
                try await cancelled { try await ana.hearth.backup.export(to: file, passphrase: "correct horse") }
            }
            XCTAssertFalse(FileManager.default.fileExists(atPath: file.path))
            try await ana.hearth.backup.export(to: file, passphrase: "correct horse")
            let fresh = try phones.phone("bea")
            await fails("Cancelled") {
                try await cancelled { try await fresh.hearth.backup.restore(from: file, passphrase: "correct horse") }
            }
            try await fresh.hearth.backup.restore(from: file, passphrase: "correct horse")
        }
    }

    func testWhatAsksOtherPhonesIsCalledOffWithItsTask() async throws {
        try await phones { phones in
            let (ana, ben) = try await phones.anaAndBen()
            let room = try await ben.hearth.rooms.create(room: NewRoom(name: "Open house", public: true))
            let server = try ben.hearth.identity.server
            await fails("Cancelled") { try await cancelled { _ = try await ana.hearth.rooms.join(room.id(), via: [server]) } }
            let here = try await ana.hearth.rooms.join(room.id(), via: [server]).timeline()
            await fails("Cancelled") { try await cancelled { try await here.showEarlier() } }
            let isAll = try await here.showEarlier()
            XCTAssertTrue(isAll)
        }
    }

    func testASequenceThatIsReadAgainBeginsAnewAtOnce() async throws {
        try await phones { phones in
            let ana = try await phones.started("ana")
            let timeline = try await ana.hearth.rooms.create(room: NewRoom(name: "Diary")).timeline()
            try await timeline.send("Dear diary")
            // As a screen does that is turned again and again.
            for round in 0..<100 {
                var items = timeline.items().makeAsyncIterator()
                let first = try await items.next()
                XCTAssertEqual(first?.last?.text, "Dear diary", "round \(round)")
            }
        }
    }

    func testOneTimelineHasOneReader() async throws {
        try await phones { phones in
            let ana = try await phones.started("ana")
            let timeline = try await ana.hearth.rooms.create(room: NewRoom(name: "Diary")).timeline()
            var first = timeline.items().makeAsyncIterator()
            _ = try await first.next()
            await fails("InvalidInput") {
                var second = timeline.items().makeAsyncIterator()
                _ = try await second.next()
            }
            try await timeline.send("The first one reads on")
            let rows = try await first.next()
            XCTAssertNotNil(rows)
        }
    }

    func testALoopEndsWithItsTaskAndWithItsSubscription() async throws {
        try await phones { phones in
            let ana = try await phones.started("ana")
            let timeline = try await ana.hearth.rooms.create(room: NewRoom(name: "Diary")).timeline()
            let read = Locked(0)
            let reading = Task {
                for try await _ in timeline.items() { read.change { $0 += 1 } }
            }
            try await eventually("the first rows") { read.now > 0 }
            reading.cancel()
            try await reading.value
            // A timeline has one reader at a time, so this one gets in only if the other has gone.
            var second = timeline.items().makeAsyncIterator()
            let rows = try await second.next()
            XCTAssertNotNil(rows)
        }
    }

    /// Does some work in a task that was cancelled before it began.
    private func cancelled(_ work: @escaping @Sendable () async throws -> Void) async throws {
        let gate = Locked(false)
        let task = Task {
            while !gate.now { await Task.yield() }
            try await work()
        }
        task.cancel()
        gate.change { $0 = true }
        try await task.value
    }
}

extension Phones {
    /// A large file of nothing.
    fileprivate func film(megabytes: UInt64) throws -> URL {
        let file = file("film")
        try Data().write(to: file)
        let handle = try FileHandle(forWritingTo: file)
        try handle.truncate(atOffset: megabytes << 20)
        try handle.close()
        return file
    }
}
