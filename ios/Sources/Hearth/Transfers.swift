// Texts, files and keys on their way: functions in place of listeners, and a cancelled task calls its work off.

import Foundation

/// How far a file is, in bytes.
public struct TransferProgress: Sendable, Equatable {
    /// So many are done.
    public let done: UInt64
    /// Of so many; 0 while it is not known.
    public let total: UInt64

    /// From 0 to 1.
    public var fraction: Double { total > 0 ? min(1, Double(done) / Double(total)) : 0 }
}

/// What is told of a file's progress, on a thread of Hearth's own, by whole percents at the most.
public typealias OnProgress = @Sendable (TransferProgress) -> Void

extension Timeline {
    /// Sends a text, and answers its item's id. It is on disk and shown when this returns; the network is not waited for.
    @discardableResult
    public func send(_ body: String, replyTo: String? = nil) async throws -> String {
        try await sendText(text: OutgoingText(body: body, replyTo: replyTo))
    }

    /// Sends a file. Its item is shown at once; it is read, sealed and sent in the background, and must stay readable until then.
    /// What is wrong with the file is said by the item's state. Hold the answer for as long as progress is to be told: the file
    /// goes on without it, unheard.
    public func send(
        file: URL, as kind: MediaKind, mime: String? = nil, caption: String? = nil, onProgress: OnProgress? = nil
    ) async throws -> SendHandle {
        let info = FileInfo(name: file.lastPathComponent, kind: kind, mime: mime, caption: caption)
        return try await sendFile(path: file.path, info: info, listener: onProgress.map(Progressive.init))
    }

    /// Fetches the file of an item, from other phones if it is not here, and answers its size. Cancelling the task calls it off;
    /// another try goes on from there.
    @discardableResult
    public func download(_ itemId: String, to file: URL, onProgress: OnProgress? = nil) async throws -> UInt64 {
        try await withCancelToken { token in
            try await self.download(
                itemId: itemId, to: file.path, listener: onProgress.map(Progressive.init), cancel: token)
        }
    }
}

extension SendHandle {
    /// Waits until the file is in its room, from where it goes to the others by itself, and answers its event's id. Cancelling the
    /// task ends the wait; the file goes on.
    public func untilSent() async throws -> String {
        try await withCancelToken { token in try await self.join(cancel: token) }
    }
}

extension Backup {
    /// Writes everything into a new file, sealed by a passphrase, while the node runs. Answers how many bytes it has. Cancelling
    /// the task calls it off.
    @discardableResult
    public func export(to file: URL, passphrase: String, onProgress: OnProgress? = nil) async throws -> UInt64 {
        try await withCancelToken { token in
            try await self.export(
                to: file.path, passphrase: passphrase, listener: onProgress.map(Progressive.init), cancel: token)
        }
    }

    /// Takes everything out of such a file, on a phone whose node was never started. Start the node afterwards. Cancelling the
    /// task calls it off.
    public func restore(from file: URL, passphrase: String, onProgress: OnProgress? = nil) async throws {
        try await withCancelToken { token in
            try await self.import(
                from: file.path, passphrase: passphrase, listener: onProgress.map(Progressive.init), cancel: token)
        }
    }
}

extension Backup {
    /// Makes a new recovery key, for the person to write down: show it once, and keep it nowhere. Another Matrix client that is
    /// signed in to the account becomes a verified device by it and reads the whole history; the one before stops working.
    /// Cancelling the task calls it off.
    public func makeRecoveryKey() async throws -> String {
        try await withCancelToken { token in try await self.recoveryKey(cancel: token) }
    }

    /// Takes the person's keys and those of all messages by a recovery key that another client of the account showed. What was
    /// waiting for its keys becomes readable by itself. Cancelling the task calls it off; another try goes on from there.
    @discardableResult
    public func recover(by key: String) async throws -> Recovered {
        try await withCancelToken { token in try await self.recover(key: key, cancel: token) }
    }
}

/// A listener that calls a function.
private final class Progressive: ProgressListener {
    private let onProgress: OnProgress

    init(_ onProgress: @escaping OnProgress) { self.onProgress = onProgress }

    func onProgress(done: UInt64, total: UInt64) { onProgress(TransferProgress(done: done, total: total)) }
}
