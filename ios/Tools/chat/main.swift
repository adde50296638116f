// A chat over standard input and output, for tests of two languages with each other. The Kotlin half has the same.
//
//     ios/linux.sh target/debug run hearth-chat ana /tmp/ana
//
// It finds others by mDNS on the loopback interface, accepts every invite, and says what it hears:
//
//     out   user @ana:server                     once it runs
//           peer SERVER                          somebody is near
//           room ID                              it is in a room
//           said @ben:server text                somebody else said something
//           error text                           something that was asked for failed
//     in    invite-to-new-room @ben:server       makes an encrypted room for two
//           say text                             says it in the room

import Foundation
import Hearth

/// Writes a line at once, whole.
func say(_ line: String) {
    FileHandle.standardOutput.write(Data("\(line)\n".utf8))
}

func failed(_ failure: any Error) {
    say("error \((failure as? NodeError)?.reason ?? "\(failure)")")
}

/// The room that is spoken in: the one that was entered last.
actor Talk {
    private var current: Room?
    private var waiting: [CheckedContinuation<Room, Never>] = []

    func enter(_ room: Room) {
        current = room
        for one in waiting { one.resume(returning: room) }
        waiting = []
    }

    func room() async -> Room {
        if let current { return current }
        return await withCheckedContinuation { waiting.append($0) }
    }
}

func tellPeers(_ hearth: Hearth) async throws {
    var told = Set<String>()
    for try await peers in hearth.peers.items() {
        for peer in peers where peer.connected && told.insert(peer.id).inserted { say("peer \(peer.id)") }
    }
}

func tellRooms(_ hearth: Hearth, _ talk: Talk) async throws {
    var (entered, asked) = (Set<String>(), Set<String>())
    for try await rows in hearth.rooms.items() {
        for row in rows {
            switch row.standing {
            case .joined where entered.insert(row.id).inserted:
                let room = try hearth.rooms.get(id: row.id)
                Task { try await tellMessages(room) }
                await talk.enter(room)
                say("room \(row.id)")
            case .invited where asked.insert(row.id).inserted:
                do { _ = try await hearth.rooms.join(row.id) } catch { failed(error) }
            default: break
            }
        }
    }
}

func tellMessages(_ room: Room) async throws {
    var told = Set<String>()
    for try await rows in room.timeline().items() {
        for row in rows where !row.mine {
            guard case .text(let body, _, _) = row.content, told.insert(row.id).inserted else { continue }
            say("said \(row.sender) \(body)")
        }
    }
}

/// The lines of standard input. Reading one blocks its thread, which is therefore none of Swift's.
func orders() -> AsyncStream<String> {
    AsyncStream { lines in
        Thread.detachNewThread {
            while let line = readLine() { lines.yield(line) }
            lines.finish()
        }
    }
}

let arguments = CommandLine.arguments
guard arguments.count == 3 else {
    FileHandle.standardError.write(Data("usage: hearth-chat NAME FOLDER\n".utf8))
    exit(2)
}
let (name, folder) = (arguments[1], URL(fileURLWithPath: arguments[2]))
let config = NodeConfig(
    dataDir: folder.appendingPathComponent("data").path, account: name, displayName: name, discovery: .loopback,
    logLevel: .warn)
let hearth = try Hearth(config: config, platform: FileSecrets(folder: folder.appendingPathComponent("keys")))
try await hearth.start()
say("user \(try hearth.identity.userId)")
let talk = Talk()
let telling = [Task { try await tellPeers(hearth) }, Task { try await tellRooms(hearth, talk) }]
for await line in orders() {
    let words = line.split(separator: " ", maxSplits: 1).map(String.init)
    guard let order = words.first else { continue }
    let rest = words.count > 1 ? words[1] : ""
    do {
        switch order {
        case "invite-to-new-room":
            _ = try await hearth.rooms.create(room: NewRoom(name: "A room of \(name)", invite: [rest]))
        case "say": try await talk.room().timeline().send(rest)
        default: say("error there is no order \"\(order)\"")
        }
    } catch {
        failed(error)
    }
}
for one in telling { one.cancel() }
try await hearth.stop()
