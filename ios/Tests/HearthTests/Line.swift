// Programs of this package in processes of their own: how they are started, spoken with and killed.

import Foundation
import XCTest

/// A program that is spoken with line by line.
final class Line: Sendable {
    private let process: Locked<Process>
    private let input: Pipe
    private let said = Locked<(fresh: [String], part: Data, all: String)>(([], Data(), ""))

    /// Starts a program that was built beside the tests.
    init(_ program: String, _ arguments: String...) throws {
        let folder = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
        let (process, output) = (Process(), Pipe())
        process.executableURL = folder.appendingPathComponent(program)
        process.arguments = arguments
        input = Pipe()
        process.standardInput = input
        process.standardOutput = output
        process.standardError = output
        self.process = Locked(process)
        output.fileHandleForReading.readabilityHandler = { [said] handle in
            let more = handle.availableData
            if more.isEmpty { handle.readabilityHandler = nil }
            said.change { said in
                said.all += String(decoding: more, as: UTF8.self)
                said.part += more
                while let end = said.part.firstIndex(of: UInt8(ascii: "\n")) {
                    said.fresh.append(String(decoding: said.part[said.part.startIndex..<end], as: UTF8.self))
                    said.part = Data(said.part[said.part.index(after: end)...])
                }
            }
        }
        try process.run()
    }

    /// The rest of the next line that begins like this.
    func read(_ beginning: String) async throws -> String {
        var found: String?
        do {
            try await eventually("a line that begins with \"\(beginning)\"") {
                said.change { said in
                    while found == nil, !said.fresh.isEmpty {
                        let line = said.fresh.removeFirst()
                        if line.hasPrefix(beginning) { found = String(line.dropFirst(beginning.count)) }
                    }
                }
                return found != nil
            }
        } catch {
            throw Hopeless(description: "\(error):\n\(said.now.all)")
        }
        return try XCTUnwrap(found)
    }

    func write(_ line: String) throws { try input.fileHandleForWriting.write(contentsOf: Data("\(line)\n".utf8)) }

    /// Ends it as the system ends an app: without a word.
    func kill() {
        process.change { process in
            Foundation.kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }
    }
}
