// What leads out of Hearth and back in: the backup, and the door for other Matrix clients.

import Foundation
import Hearth
import XCTest

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// A recovery key that nobody has.
private let otherKey = "EsSz ykH7 LCZx 7Cae cmKD wcmY JRXi Ybtu 8iQ3 t8Ez nRwK pUY1"

final class BackupTests: XCTestCase {
    func testANewPhoneGoesOnWhereTheOldOneWasBackedUp() async throws {
        try await phones { phones in
            let ana = try await phones.started("ana")
            let room = try await ana.hearth.rooms.create(room: NewRoom(name: "Diary"))
            let diary = Conversation(room)
            try await diary.says("Day one")
            try await diary.hears("Day one")
            let file = phones.file("backup")
            let size = try await ana.hearth.backup.export(to: file, passphrase: "correct horse")
            XCTAssertEqual(Int(size), try Data(contentsOf: file).count)
            let before = try ana.user
            try await ana.hearth.stop()

            let fresh = try phones.phone("ana", data: phones.file("new phone"))
            try await fresh.hearth.backup.restore(from: file, passphrase: "correct horse")
            try await fresh.hearth.start()
            XCTAssertEqual(try fresh.user, before)
            try await Conversation(fresh.hearth.rooms.get(id: room.id())).hears("Day one")
        }
    }

    func testARecoveryKeyOpensWhatOtherClientsOfThePersonFindOnThePhone() async throws {
        try await phones { phones in
            let ana = try await phones.started("ana")
            let backup = ana.hearth.backup
            let before = try await backup.recoveryState()
            XCTAssertEqual(before, .off)
            await fails("NotFound") { try await backup.recover(by: otherKey) }
            let diary = Conversation(try await ana.hearth.rooms.create(room: NewRoom(name: "Diary")))
            try await diary.says("Day one")
            try await diary.hears("Day one")
            let written = try await backup.makeRecoveryKey()
            XCTAssertEqual(written.split(separator: " ").map(\.count), Array(repeating: 4, count: 12))
            // The key of the message may be made after the recovery key was.
            try await eventually("the backup has the room key") {
                try await backup.recoveryState() == .on(version: "1", backedUp: 1, total: 1)
            }

            let another = try await backup.makeRecoveryKey()
            let second = try await backup.recoveryState()
            XCTAssertEqual(second, .on(version: "2", backedUp: 1, total: 1))
            let recovered = try await backup.recover(by: another)
            XCTAssertEqual(recovered, Recovered(isVerified: true, roomKeys: 0))
            await fails("Crypto") { try await backup.recover(by: written) }
            await fails("InvalidInput") { try await backup.recover(by: String(another.dropLast())) }
        }
    }

    func testAnUnmodifiedClientFindsAHomeserver() async throws {
        try await phones { phones in
            let ana = try await phones.started("ana")
            let access = try await ana.hearth.clientApi.enable(port: 0)
            let versions = try XCTUnwrap(URL(string: "\(access.url)/_matrix/client/versions"))
            // Without a cache, which would now and then answer for a door that is closed.
            let configuration = URLSessionConfiguration.ephemeral
            configuration.urlCache = nil
            let session = URLSession(configuration: configuration)
            let (told, _) = try await session.data(from: versions)
            XCTAssertTrue(String(decoding: told, as: UTF8.self).contains("\"versions\""))
            var login = URLRequest(url: try XCTUnwrap(URL(string: "\(access.url)/_matrix/client/v3/login")))
            login.httpMethod = "POST"
            login.httpBody = Data("{\"type\":\"m.login.token\",\"token\":\"\(access.loginToken)\"}".utf8)
            let (answer, response) = try await session.data(for: login)
            XCTAssertEqual((response as? HTTPURLResponse)?.statusCode, 200)
            XCTAssertTrue(String(decoding: answer, as: UTF8.self).contains(try ana.user))
            try await ana.hearth.clientApi.disable()
            do {
                _ = try await session.data(from: versions)
                XCTFail("a closed door")
            } catch is URLError {}
        }
    }
}
