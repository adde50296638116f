// Shows one event after another and waits to be told that it was handled: for tests that kill it meanwhile.
//
//     out   user @ben:server      event ID invite @ana:server | event ID message @ana:server text      handled      joined
//     in    handled               join ROOM

import Foundation
import Hearth

/// Writes a line at once, whole.
func say(_ line: String) {
    FileHandle.standardOutput.write(Data("\(line)\n".utf8))
}

let folder = URL(fileURLWithPath: CommandLine.arguments[1])
let config = NodeConfig(
    dataDir: folder.appendingPathComponent("data").path, account: "ben", displayName: "ben", discovery: .loopback,
    logLevel: .warn)
let hearth = try Hearth(config: config, platform: FileSecrets(folder: folder.appendingPathComponent("keys")))
try await hearth.start()
say("user \(try hearth.identity.userId)")

let (handled, tell) = AsyncStream<Void>.makeStream()
Task {
    var told = handled.makeAsyncIterator()
    while let event = try await hearth.node.nextEvent() {
        switch event.kind {
        case .invited(let invite): say("event \(event.id) invite \(invite.by)")
        case .message(_, let sender, _, _, let text, _, _): say("event \(event.id) message \(sender) \(text)")
        }
        await told.next()
        try await hearth.node.eventHandled(id: event.id)
        say("handled")
    }
}

let orders = AsyncStream<String> { lines in
    Thread.detachNewThread {
        while let line = readLine() { lines.yield(line) }
        lines.finish()
    }
}
for await line in orders {
    if line == "handled" { tell.yield() }
    if line.hasPrefix("join ") {
        _ = try await hearth.rooms.join(String(line.dropFirst(5)))
        say("joined")
    }
}
try await hearth.stop()
