// What an app's own code does in a listener or a loop is the app's affair, and harms nobody else.

import Foundation
import Hearth
import XCTest

/// A listener that calls a function.
private final class Ear: RoomsListener {
    private let hear: @Sendable ([RoomDiff]) -> Void

    init(_ hear: @escaping @Sendable ([RoomDiff]) -> Void) { self.hear = hear }

    func onChange(diffs: [RoomDiff]) { hear(diffs) }
}

/// A log that keeps its records, slowly.
private final class SlowLog: LogSink {
    let records = Locked<[LogRecord]>([])

    func log(record: LogRecord) {
        records.change { $0.append(record) }
        Thread.sleep(forTimeInterval: 0.001)
    }
}

final class ListenersTests: XCTestCase {
    func testASlowReaderMissesNoRow() async throws {
        try await phones { phones in
            let ana = try await phones.started("ana")
            let room = try await ana.hearth.rooms.create(room: NewRoom(name: "Log book", encrypted: false))
            let slow = Watched(room.timeline().items(), pace: 200_000_000)
            let said = (1...300).map { "Entry \($0)" }
            let timeline = room.timeline()
            for text in said { try await timeline.send(text) }
            let rows = try await slow.until("the end") { rows in rows.last?.text == said.last }
            let ids = rows.map(\.id)
            XCTAssertEqual(ids.count, Set(ids).count)
            let heard = rows.compactMap(\.text)
            XCTAssertEqual(heard, Array(said.suffix(heard.count)), "the end of it, in order")
        }
    }

    func testAListenerThatBlocksHoldsUpNobodyNotEvenTheStop() async throws {
        try await phones { phones in
            let ana = try await phones.started("ana")
            let release = DispatchSemaphore(value: 0)
            let blocked = Locked(0)
            let handles = try (1...10).map { _ in
                try ana.hearth.rooms.subscribe(
                    listener: Ear { _ in
                        blocked.change { $0 += 1 }
                        release.wait()
                    })
            }
            try await eventually("all of them block") { blocked.now == 10 }
            let diary = Conversation(try await ana.hearth.rooms.create(room: NewRoom(name: "Diary")))
            try await diary.says("Life goes on")
            try await diary.hears("Life goes on")
            try await ana.hearth.pause()
            try await ana.hearth.resume()
            try await diary.says("And on")
            try await diary.hears("And on")
            try await ana.hearth.stop()
            for handle in handles { handle.cancel() }
            for _ in handles { release.signal() }
            XCTAssertTrue(handles.allSatisfy { $0.isFinished() })
        }
    }

    func testAListenerMayCallTheNodeBackAndEndItsOwnSubscription() async throws {
        try await phones { phones in
            let ana = try await phones.started("ana")
            let (own, calls) = (Locked<TaskHandle?>(nil), Locked(0))
            let handle = try ana.hearth.rooms.subscribe(
                listener: Ear { _ in
                    while own.now == nil { Thread.sleep(forTimeInterval: 0.001) }
                    _ = ana.hearth.state
                    _ = try? ana.hearth.identity
                    calls.change { $0 += 1 }
                    own.now?.cancel()
                })
            own.change { $0 = handle }
            try await eventually("it ended itself") { calls.now == 1 && handle.isFinished() }
            _ = try await ana.hearth.rooms.create(room: NewRoom(name: "Unheard"))
            try await ana.rooms.until("the room") { $0.count == 1 }
            XCTAssertEqual(calls.now, 1)
            own.change { $0 = nil }
        }
    }

    func testNothingIsKeptThatNobodyHolds() async throws {
        try await phones { phones in
            weak var hearth: Hearth?
            weak var ear: Ear?
            do {
                let config = NodeConfig(dataDir: phones.file("eve").path, account: "eve", logLevel: .error)
                let eve = try Hearth(config: config, platform: MemoryKeys())
                try await eve.start()
                let heard = Locked(0)
                let listener = Ear { _ in heard.change { $0 += 1 } }
                let handle = try eve.rooms.subscribe(listener: listener)
                (hearth, ear) = (eve, listener)
                let timeline = try await eve.rooms.create(room: NewRoom(name: "Diary")).timeline()
                let reading = Task {
                    for try await _ in timeline.items() { heard.change { $0 += 1 } }
                }
                try await timeline.send("Dear diary")
                try await eventually("both hear") { heard.now >= 2 }
                reading.cancel()
                try await reading.value
                XCTAssertFalse(handle.isFinished())
            }
            try await eventually("all of it is gone", within: 10) { hearth == nil && ear == nil }
            try await eventually("its files are closed") { try openBelow(phones.file("eve")).isEmpty }
        }
    }

    func testASlowLogSlowsNothingAndNoBodyIsInIt() async throws {
        try await phones { phones in
            // Somebody to call: a phone that is alone has nothing to say. It is made first, because the log of the process goes to
            // the sink that came last.
            let ben = try await phones.started("ben")
            let log = SlowLog()
            let config = NodeConfig(dataDir: phones.file("dora").path, account: "dora", logLevel: .trace)
            let dora = try Hearth(config: config, platform: MemoryKeys(), logs: log)
            try await dora.start()
            let bens = try await dora.contacts.add(uri: ben.hearth.contactUri(), name: "Swordfish Ben")
            let room = try await dora.rooms.create(room: NewRoom(name: "Swordfish room", invite: [bens]))
            let timeline = room.timeline()
            for _ in 0..<50 { try await timeline.send("the password is swordfish") }
            try await eventually("the log speaks") { !log.records.now.isEmpty }
            try await dora.stop()
            XCTAssertFalse(log.records.now.contains { $0.message.lowercased().contains("swordfish") })
        }
    }
}
