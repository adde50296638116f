// Two people, from a scanned code to everything that a chat has, over real QUIC.

import Foundation
import Hearth
import XCTest

final class ConversationTests: XCTestCase {
    func testAContactsCodeLeadsToAnEncryptedConversationBothWays() async throws {
        try await phones { phones in
            let (ana, ben) = (try await phones.started("ana"), try await phones.started("ben"))
            let uri = try await ben.hearth.contactUri()
            let preview = try await ana.hearth.contacts.preview(uri: uri)
            XCTAssertEqual(preview.user, try ben.user)
            XCTAssertTrue(preview.hasAddress && !preview.known)
            let added = try await ana.hearth.contacts.add(uri: uri, name: "Ben of the boats")
            XCTAssertEqual(added, try ben.user)
            try await eventually("ben is near") { try await ana.hearth.contacts.list().first?.near == true }
            let names = try await ana.hearth.contacts.list().map(\.name)
            XCTAssertEqual(names, ["Ben of the boats"])

            let room = try await ana.hearth.rooms.direct(user: ben.user)
            let same = try await ana.hearth.rooms.direct(user: ben.user)
            XCTAssertEqual(room.id(), same.id(), "there is one conversation with a person")
            let rows = try await ben.rooms.until("the invite") { rows in rows.contains { $0.standing == .invited } }
            XCTAssertEqual(rows.first?.invite?.by, try ana.user)
            let there = Conversation(try await ben.accept(room.id()))
            let here = Conversation(room)
            try await here.says("Is the kettle on?")
            let question = try await there.hears("Is the kettle on?")
            XCTAssertEqual(question.sender, try ana.user)
            try await there.says("It sings.")
            let answer = try await here.hears("It sings.")
            XCTAssertEqual(answer.senderName, "Ben")
            let info = try await room.info()
            XCTAssertTrue(info.encrypted)
            let list = try await ana.rooms.until("the last message") { rows in rows.contains { $0.last?.text == "It sings." } }
            XCTAssertTrue(list[0].direct && list[0].encrypted)
            XCTAssertEqual(list[0].last?.kind, .text)
        }
    }

    func testAPictureArrivesAsItWasWithItsProgressAndItsThumbnail() async throws {
        try await phones { phones in
            let (ana, ben) = try await phones.anaAndBen()
            let (here, there) = try await phones.talk(ana, ben)
            let picture = phones.file("harbour.png")
            try noise(side: 900).write(to: picture)
            let sent = Locked<[TransferProgress]>([])
            let handle = try await here.timeline.send(
                file: picture, as: .image, mime: "image/png", caption: "The harbour",
                onProgress: { progress in sent.change { $0.append(progress) } })
            let rows = try await there.seen.until("the picture") { rows in rows.contains { $0.media != nil } }
            let item = try XCTUnwrap(rows.first { $0.media != nil })
            let media = try XCTUnwrap(item.media)
            XCTAssertEqual([media.name, media.caption], ["harbour.png", "The harbour"])
            XCTAssertEqual([media.width, media.height], [900, 900])
            XCTAssertTrue(media.kind == .image && media.encrypted && media.hasThumbnail)
            try await eventually("the last word is that all is done") { sent.now.last?.fraction == 1 }
            XCTAssertEqual(sent.now.map(\.done), sent.now.map(\.done).sorted(), "progress does not go back")

            let fetched = Locked<[TransferProgress]>([])
            let copy = phones.file("copy.png")
            let size = try await there.timeline.download(
                item.id, to: copy, onProgress: { progress in fetched.change { $0.append(progress) } })
            XCTAssertEqual(Int(size), try Data(contentsOf: picture).count)
            XCTAssertEqual(try Data(contentsOf: copy), try Data(contentsOf: picture))
            try await eventually("the download's progress") { !fetched.now.isEmpty }
            let thumbnail = try await there.timeline.thumbnail(itemId: item.id)
            XCTAssertTrue(looksLikeAPicture(thumbnail), "\(thumbnail.prefix(8) as NSData)")
            try await here.seen.until("the picture left") { rows in
                guard case .sent = rows.first(where: { $0.id == handle.itemId() })?.state else { return false }
                return true
            }
        }
    }

    func testWhoTypesIsSeenAndSoIsWhoStopped() async throws {
        try await phones { phones in
            let (ana, ben) = try await phones.anaAndBen()
            let (here, there) = try await phones.talk(ana, ben)
            let typists = Watched(there.room.typists())
            try await here.room.setTyping(typing: true)
            let typing = try await typists.until("ana types") { !$0.isEmpty }
            XCTAssertEqual(typing.map(\.user), [try ana.user])
            try await here.room.setTyping(typing: false)
            try await typists.until("nobody types") { $0.isEmpty }
        }
    }

    func testAMessageSaysTrulyHowFarItHasCome() async throws {
        try await phones { phones in
            let (ana, ben) = try await phones.anaAndBen()
            let (here, there) = try await phones.talk(ana, ben)
            let bens = try ben.user
            func reaches(_ text: String, _ reach: Reach) async throws {
                try await here.seen.until("\"\(text)\" is \(reach)") { rows in
                    guard case .sent(let recipients) = rows.first(where: { $0.says(text) })?.state else { return false }
                    return recipients.contains { $0.user == bens && $0.reach == reach }
                }
            }
            try await here.says("Near")
            try await reaches("Near", .onTheirPhone)
            try await there.hears("Near")
            try await there.timeline.markRead()
            try await reaches("Near", .read)
            try await here.seen.until("ben's receipt") { rows in rows.first { $0.says("Near") }?.readBy == [bens] }

            try await ben.hearth.stop()
            try await here.says("Far")
            try await reaches("Far", .queued)
            try await ben.hearth.start()
            try await there.hears("Far")
            try await reaches("Far", .onTheirPhone)
        }
    }

    func testAnAnswerAnEditAReactionAndADeletionArrive() async throws {
        try await phones { phones in
            let (ana, ben) = try await phones.anaAndBen()
            let (here, there) = try await phones.talk(ana, ben)
            try await here.says("Tea at five?")
            let question = try await there.hears("Tea at five?")
            try await there.timeline.send("At six.", replyTo: question.eventId)
            let answer = try await here.hears("At six.")
            XCTAssertEqual(answer.replyTo?.text, "Tea at five?")

            let own = try await there.hears("At six.")
            try await there.timeline.edit(itemId: own.id, text: OutgoingText(body: "At half past six."))
            let edited = try await here.hears("At half past six.")
            XCTAssertTrue(edited.edited)
            try await here.timeline.react(itemId: answer.id, key: "👍", on: true)
            try await there.seen.until("the reaction") { rows in
                rows.contains { row in row.reactions.contains { $0.key == "👍" && !$0.mine } }
            }
            let mine = try await here.hears("Tea at five?")
            try await here.timeline.redact(itemId: mine.id, reason: "too early")
            try await there.seen.until("the deletion") { rows in
                rows.contains { row in
                    if case .redacted = row.content { true } else { false }
                }
            }
        }
    }

    func testAGroupOfThreeReadsAlong() async throws {
        try await phones { phones in
            let (ana, ben) = try await phones.anaAndBen()
            let chi = try await phones.started("chi")
            try await chi.knows(ana)
            try await chi.knows(ben)
            let room = try await ana.hearth.rooms.create(room: NewRoom(name: "Crew", invite: [ben.user, chi.user]))
            let bens = Conversation(try await ben.accept(room.id()))
            let chis = Conversation(try await chi.accept(room.id()))
            let anas = Conversation(room)
            try await anas.says("All aboard?")
            try await bens.hears("All aboard?")
            try await chis.hears("All aboard?")
            try await chis.says("Aye.")
            try await anas.hears("Aye.")
            try await bens.hears("Aye.")
            let members = try await room.members()
            XCTAssertEqual(members.filter { $0.membership == "join" }.count, 3)
        }
    }
}
