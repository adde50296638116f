// Two people make sure of each other.

import Foundation
import Hearth
import XCTest

final class VerificationTests: XCTestCase {
    func testSevenPicturesThatAreTheSameOnBothPhonesVerifyTwoPeople() async throws {
        try await phones { phones in
            let (ana, ben) = try await phones.anaAndBen()
            let compared = try await compare(ana, ben, phones)
            XCTAssertEqual(compared.shown.count, 7)
            XCTAssertEqual(compared.shown, compared.seen)
            try await ana.hearth.verifications.confirm(id: compared.asked)
            try await ben.hearth.verifications.confirm(id: compared.request)
            try await compared.anas.until("done for ana") { $0.state(of: compared.asked) == .done }
            try await compared.bens.until("done for ben") { $0.state(of: compared.request) == .done }
            try await eventually("ana trusts ben") { try await ana.hearth.verifications.trust(user: ben.user) == .verified }
            try await eventually("ben trusts ana") { try await ben.hearth.verifications.trust(user: ana.user) == .verified }
        }
    }

    func testPicturesThatDifferVerifyNobodyAndBothAreTold() async throws {
        try await phones { phones in
            let (ana, ben) = try await phones.anaAndBen()
            let compared = try await compare(ana, ben, phones)
            try await ben.hearth.verifications.mismatch(id: compared.request)
            try await compared.anas.until("ana is told") { rows in
                guard case .cancelled(_, let byUs) = rows.state(of: compared.asked) else { return false }
                return !byUs
            }
            let trust = try await ana.hearth.verifications.trust(user: ben.user)
            XCTAssertNotEqual(trust, .verified)
        }
    }

    private struct Compared {
        let anas: Watched<[VerificationInfo]>
        let bens: Watched<[VerificationInfo]>
        let asked: String
        let request: String
        let shown: [Emoji]
        let seen: [Emoji]
    }

    /// Brings two people to where each sees seven pictures.
    private func compare(_ ana: Phone, _ ben: Phone, _ phones: Phones) async throws -> Compared {
        let (here, there) = try await phones.talk(ana, ben)
        try await here.says("Is that you?")
        try await there.hears("Is that you?")
        try await there.says("It is.")
        try await here.hears("It is.")
        let before = try await ana.hearth.verifications.trust(user: ben.user)
        XCTAssertEqual(before, .unverified)

        let (anas, bens) = (Watched(ana.hearth.verifications.items()), Watched(ben.hearth.verifications.items()))
        let asked = try await ana.hearth.verifications.request(user: ben.user)
        let requests = try await bens.until("the request") { rows in rows.contains(where: \.incoming) }
        let request = try XCTUnwrap(requests.first(where: \.incoming))
        XCTAssertEqual(request.state, .requested)
        XCTAssertEqual(request.user, try ana.user)
        try await ben.hearth.verifications.accept(id: request.id)
        try await anas.until("ben accepted") { rows in
            if case .ready = rows.state(of: asked) { true } else { false }
        }
        try await ana.hearth.verifications.compare(id: asked)
        let shown = try await anas.until("ana's pictures") { $0.pictures(of: asked) != nil }.pictures(of: asked)
        let seen = try await bens.until("ben's pictures") { $0.pictures(of: request.id) != nil }.pictures(of: request.id)
        return Compared(
            anas: anas, bens: bens, asked: asked, request: request.id, shown: try XCTUnwrap(shown),
            seen: try XCTUnwrap(seen))
    }
}

extension [VerificationInfo] {
    fileprivate func state(of id: String) -> VerificationState? { first { $0.id == id }?.state }

    fileprivate func pictures(of id: String) -> [Emoji]? {
        guard case .emoji(let emoji) = state(of: id) else { return nil }
        return emoji
    }
}
