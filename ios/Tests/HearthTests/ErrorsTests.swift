// Each kind of error that a caller can cause, caused; `Cancelled` by CancelTests. `Internal` is a defect of Hearth, which no caller
// can cause.

import Foundation
import Hearth
import XCTest

/// Something that nobody declared.
private struct Undeclared: Error {}

/// Does what must fail with this kind of error, and answers its sentence.
@discardableResult
func fails(
    _ kind: String, file: StaticString = #filePath, line: UInt = #line, _ work: () async throws -> Void
) async -> String {
    do {
        try await work()
        XCTFail("no error, where \(kind) was expected", file: file, line: line)
    } catch let error as NodeError {
        let name = String("\(error)".prefix { $0 != "(" })
        XCTAssertEqual(name, kind, error.reason, file: file, line: line)
        XCTAssertFalse(error.reason.isEmpty, file: file, line: line)
        return error.reason
    } catch {
        XCTFail("\(error), where \(kind) was expected", file: file, line: line)
    }
    return ""
}

final class ErrorsTests: XCTestCase {
    func testNotRunningBeforeTheStartAfterTheStopAndAfterTheWipe() async throws {
        try await phones { phones in
            let ana = try phones.phone("ana")
            await fails("NotRunning") { _ = try ana.hearth.identity }
            await fails("NotRunning") { _ = try await ana.hearth.rooms.create(room: NewRoom()) }
            await fails("NotRunning") { try await ana.hearth.pause() }
            await fails("NotRunning") { try await ana.hearth.resume() }
            try await ana.hearth.start()
            let timeline = try await ana.hearth.rooms.create(room: NewRoom(name: "Diary")).timeline()
            try await ana.hearth.stop()
            await fails("NotRunning") { try await timeline.send("Nobody hears this") }
            try ana.hearth.panicWipe()
            await fails("NotRunning") { try await ana.hearth.start() }
            await fails("NotRunning") { _ = try await ana.hearth.peers.list() }
        }
    }

    func testPausedAndOnlyUntilItGoesOn() async throws {
        try await phones { phones in
            let ana = try await phones.started("ana")
            let timeline = try await ana.hearth.rooms.create(room: NewRoom(name: "Diary")).timeline()
            try await ana.hearth.pause()
            await fails("Paused") { try await timeline.send("Too early") }
            await fails("Paused") { _ = try await ana.hearth.contactUri() }
            try await ana.hearth.resume()
            try await timeline.send("Now")
        }
    }

    func testInvalidInputWithASentenceThatSaysWhatIsWrong() async throws {
        try await phones { phones in
            await fails("InvalidInput") {
                _ = try Hearth(config: NodeConfig(dataDir: " ", account: "ana"), platform: MemoryKeys())
            }
            await fails("InvalidInput") { _ = try qrMatrix(text: String(repeating: "x", count: 100_000)) }
            await fails("InvalidInput") { try await phones.phone("Not An Account").hearth.start() }
            let ana = try await phones.started("ana")
            let wrong = await fails("InvalidInput") { _ = try await ana.hearth.rooms.direct(user: "ben") }
            XCTAssertTrue(wrong.contains("`ben`") && wrong.contains("@ana:server"), wrong)
            await fails("InvalidInput") { _ = try ana.hearth.rooms.get(id: "no room id") }
            await fails("InvalidInput") { _ = try await ana.hearth.contacts.add(uri: "https://example.org") }
            await fails("InvalidInput") {
                _ = try await ana.hearth.contacts.add(uri: ana.hearth.contactUri())
            }
            let timeline = try await ana.hearth.rooms.create(room: NewRoom(name: "Diary")).timeline()
            await fails("InvalidInput") { try await timeline.send("") }
            await fails("InvalidInput") { try await timeline.send(String(repeating: "x", count: 1_000_000)) }
            await fails("InvalidInput") {
                _ = try await timeline.sendText(text: OutgoingText(body: "hi", mentions: ["nobody"]))
            }
            await fails("InvalidInput") {
                _ = try await timeline.sendFd(fd: -1, info: FileInfo(name: "x", kind: .file))
            }
            let there = phones.file("there already")
            try Data("x".utf8).write(to: there)
            await fails("InvalidInput") { try await ana.hearth.backup.export(to: there, passphrase: "secret") }
            await fails("InvalidInput") { try await ana.hearth.backup.export(to: phones.file("new"), passphrase: "") }
        }
    }

    func testStorageWhenTheFolderCannotBeUsed() async throws {
        try await phones { phones in
            let file = phones.file("a file")
            try Data("and no folder".utf8).write(to: file)
            let ana = try phones.phone("ana", data: file)
            await fails("Storage") { try await ana.hearth.start() }
            XCTAssertEqual(ana.hearth.state, .stopped)
            try FileManager.default.removeItem(at: file)
            try await ana.hearth.start()
            // Two nodes cannot have the same files.
            await fails("Storage") { try await phones.phone("ana", keys: ana.keys, data: ana.data).hearth.start() }
        }
    }

    func testCryptoWhenTheKeystoreHoldsAnotherKeyOrThePassphraseIsWrong() async throws {
        try await phones { phones in
            let ana = try await phones.started("ana")
            let backup = phones.file("backup")
            try await ana.hearth.backup.export(to: backup, passphrase: "correct horse")
            await fails("Crypto") {
                try await phones.phone("bea").hearth.backup.restore(from: backup, passphrase: "battery staple")
            }
            try await ana.hearth.stop()
            let keys = try XCTUnwrap(ana.keys as? MemoryKeys)
            keys.secrets.change { $0 = $0.mapValues { Data($0.reversed()) } }
            await fails("Crypto") { try await ana.hearth.start() }
            keys.secrets.change { $0 = $0.mapValues { _ in Data(count: 5) } }
            await fails("Crypto") { try await ana.hearth.start() }
            XCTAssertEqual(ana.hearth.state, .stopped)
        }
    }

    func testNetworkWhenWhoIsNeededIsOutOfReachOrAPortIsTaken() async throws {
        try await phones { phones in
            let (ana, ben) = (try await phones.started("ana"), try await phones.started("ben"))
            let room = try await ben.hearth.rooms.create(room: NewRoom(name: "Far away", public: true))
            await fails("Network") {
                _ = try await ana.hearth.rooms.join(room.id(), via: [ben.hearth.identity.server])
            }
            let taken = try await ben.hearth.clientApi.enable(port: 0)
            let port = try XCTUnwrap(URL(string: taken.url)?.port)
            await fails("Network") { _ = try await ana.hearth.clientApi.enable(port: UInt16(port)) }
        }
    }

    func testNotFoundForWhatIsNotHere() async throws {
        try await phones { phones in
            let ana = try await phones.started("ana")
            let server = try ana.hearth.identity.server
            let nowhere = try ana.hearth.rooms.get(id: "!nowhere:\(server)")
            await fails("NotFound") { _ = try await nowhere.info() }
            await fails("NotFound") { try await nowhere.timeline().send("Hello?") }
            await fails("NotFound") { try await ana.hearth.contacts.remove(user: "@nobody:\(server)") }
            await fails("NotFound") { try await ana.hearth.verifications.accept(id: "no such thing") }
            let timeline = try await ana.hearth.rooms.create(room: NewRoom(name: "Diary")).timeline()
            await fails("NotFound") { try await timeline.redact(itemId: "e:$nothing") }
            await fails("NotFound") { try await timeline.download("e:$nothing", to: phones.file("x")) }
        }
    }

    func testRateLimitedWhenMessagesComeFasterThanTheyLeaveAndOnlyThen() async throws {
        try await phones { phones in
            let ana = try await phones.started("ana")
            let timeline = try await ana.hearth.rooms.create(room: NewRoom(name: "Flood", encrypted: false)).timeline()
            let outcomes = await withTaskGroup(of: String.self) { group in
                for number in 1...2_000 {
                    group.addTask {
                        do {
                            try await timeline.send("Drop \(number)")
                            return "kept"
                        } catch {
                            return String("\(error)".prefix { $0 != "(" })
                        }
                    }
                }
                return await group.reduce(into: [:]) { $0[$1, default: 0] += 1 }
            }
            XCTAssertEqual(Set(outcomes.keys), ["kept", "RateLimited"])
            XCTAssertGreaterThanOrEqual(outcomes["kept", default: 0], 1_000)
            try await eventually("there is room again") {
                do { try await timeline.send("After the flood") } catch NodeError.RateLimited { return false }
                return true
            }
        }
    }

    func testForbiddenByTheRulesOfTheRoom() async throws {
        try await phones { phones in
            let (ana, ben) = try await phones.anaAndBen()
            let (here, there) = try await phones.talk(ana, ben)
            try await here.says("Mine")
            let anas = try await there.hears("Mine")
            await fails("Forbidden") { try await there.room.setName(name: "Ben's now") }
            await fails("Forbidden") { try await there.room.kick(user: ana.user) }
            await fails("Forbidden") {
                try await there.timeline.edit(itemId: anas.id, text: OutgoingText(body: "Not mine"))
            }
        }
    }

    func testCallbackWhenTheKeystoreThrowsAndTheNodeStartsWhenItDoesNot() async throws {
        try await phones { phones in
            let keys = MemoryKeys()
            let ana = try phones.phone("ana", keys: keys)
            keys.broken.change { $0 = PlatformError.Failed(reason: "not unlocked since the phone was started") }
            let declared = await fails("Callback") { try await ana.hearth.start() }
            XCTAssertTrue(declared.contains("not unlocked"), declared)
            keys.broken.change { $0 = Undeclared() }
            await fails("Callback") { try await ana.hearth.start() }
            XCTAssertEqual(ana.hearth.state, .stopped)
            XCTAssertEqual(try openBelow(ana.data), [])
            keys.broken.change { $0 = nil }
            try await ana.hearth.start()
        }
    }

    func testWhatCannotBeSentSaysSoInItsItem() async throws {
        try await phones { phones in
            let ana = try await phones.started("ana")
            let diary = Conversation(try await ana.hearth.rooms.create(room: NewRoom(name: "Diary")))
            let handle = try await diary.timeline.send(file: phones.file("missing"), as: .file)
            try await diary.seen.until("it failed") { rows in
                guard case .failed = rows.first(where: { $0.id == handle.itemId() })?.state else { return false }
                return true
            }
            await fails("InvalidInput") { _ = try await handle.untilSent() }
        }
    }
}
