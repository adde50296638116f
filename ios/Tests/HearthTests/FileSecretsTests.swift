// Where the node's secrets lie on a machine without a keychain.

import Foundation
import Hearth
import XCTest

final class FileSecretsTests: XCTestCase {
    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("hearth-keys-\(UUID().uuidString)")
    private let secret = Data("a secret of 32 bytes, or about so".utf8)
    private let store = "hearth.store-key"

    override func tearDown() { try? FileManager.default.removeItem(at: folder) }

    func testASecretComesBackToAnotherProcessTooAndIsForItsOwnerOnly() throws {
        let secrets = FileSecrets(folder: folder)
        XCTAssertNil(try secrets.keystoreGet(name: store))
        try secrets.keystorePut(name: store, secret: secret)
        XCTAssertEqual(try FileSecrets(folder: folder).keystoreGet(name: store), secret)
        let file = folder.appendingPathComponent(store)
        for (place, mode) in [(folder, 0o700), (file, 0o600)] {
            let attributes = try FileManager.default.attributesOfItem(atPath: place.path)
            XCTAssertEqual((attributes[.posixPermissions] as? NSNumber)?.intValue, mode, place.path)
        }
        XCTAssertGreaterThan(try XCTUnwrap(secrets.freeDisk()), 0)
    }

    func testOneThatIsPutAgainTakesThePlaceOfTheFirstAndOfWhatAKillLeft() throws {
        let secrets = FileSecrets(folder: folder)
        try secrets.keystorePut(name: store, secret: secret)
        try Data("half a secr".utf8).write(to: folder.appendingPathComponent("\(store).new"))
        try secrets.keystorePut(name: store, secret: Data("another".utf8))
        XCTAssertEqual(try secrets.keystoreGet(name: store), Data("another".utf8))
        try secrets.keystoreDelete(name: store)
        try secrets.keystoreDelete(name: store)
        XCTAssertNil(try secrets.keystoreGet(name: store))
        XCTAssertEqual(try FileManager.default.contentsOfDirectory(atPath: folder.path), [])
    }

    func testANameLeadsNowhereElseAndWhatCannotBeReadIsAnErrorAndNeverNothing() throws {
        let secrets = FileSecrets(folder: folder)
        for wrong in ["", "../escape", "a/b", ".hidden", "CAPITALS"] {
            XCTAssertThrowsError(try secrets.keystorePut(name: wrong, secret: secret)) { error in
                XCTAssertTrue(error is PlatformError, "\(error)")
            }
        }
        // A folder where the file should be cannot be read as one.
        try FileManager.default.createDirectory(
            at: folder.appendingPathComponent(store), withIntermediateDirectories: true)
        XCTAssertThrowsError(try secrets.keystoreGet(name: store)) { XCTAssertTrue($0 is PlatformError, "\($0)") }
    }

    func testANodeKeepsItsKeyInIt() async throws {
        try await phones { phones in
            let ana = try phones.phone("ana", keys: FileSecrets(folder: folder))
            try await ana.hearth.start()
            let before = try ana.user
            try await ana.hearth.stop()
            let again = try phones.phone("ana", keys: FileSecrets(folder: folder), data: ana.data)
            try await again.hearth.start()
            XCTAssertEqual(try again.user, before)
            try again.hearth.panicWipe()
            XCTAssertEqual(try FileManager.default.contentsOfDirectory(atPath: folder.path), [])
        }
    }
}
