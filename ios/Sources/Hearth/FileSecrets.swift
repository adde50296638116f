// Where the node's secrets lie on a machine without a keychain: each in a file of its own that only its owner may read.
//
// For command lines, servers and tests: on a phone they belong in the keychain. Invariant: what is there and cannot be read is an
// error and never "nothing", or the node would make a new secret and lock itself out of its data.

import Foundation

/// A `Platform` that keeps secrets in the files of a folder.
public final class FileSecrets: Platform, @unchecked Sendable {
    private let folder: URL
    /// One call at a time: the node may ask from several threads.
    private let lock = NSLock()

    public init(folder: URL) { self.folder = folder }

    public func keystoreGet(name: String) throws -> Data? {
        try attempt("read") {
            let file = try file(of: name)
            guard FileManager.default.fileExists(atPath: file.path) else { return nil }
            return try Data(contentsOf: file)
        }
    }

    public func keystorePut(name: String, secret: Data) throws {
        try attempt("keep") {
            let (file, manager) = (try file(of: name), FileManager.default)
            try manager.createDirectory(
                at: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            // Whole or not at all: written beside and on disk before it takes the place of the one before.
            let fresh = folder.appendingPathComponent("\(name).new")
            try? manager.removeItem(at: fresh)
            guard manager.createFile(atPath: fresh.path, contents: nil, attributes: [.posixPermissions: 0o600]) else {
                throw CocoaError(.fileWriteUnknown)
            }
            let handle = try FileHandle(forWritingTo: fresh)
            try handle.write(contentsOf: secret)
            try handle.synchronize()
            try handle.close()
            guard rename(fresh.path, file.path) == 0 else { throw CocoaError(.fileWriteUnknown) }
            try sync()
        }
    }

    public func keystoreDelete(name: String) throws {
        try attempt("destroy") {
            let manager = FileManager.default
            for file in [try file(of: name), folder.appendingPathComponent("\(name).new")]
            where manager.fileExists(atPath: file.path) {
                try manager.removeItem(at: file)
            }
            if manager.fileExists(atPath: folder.path) { try sync() }
        }
    }

    public func freeDisk() -> UInt64? { freeBytes(at: folder) }

    /// Makes sure that what was renamed or deleted stays so when the power fails.
    private func sync() throws {
        let handle = try FileHandle(forReadingFrom: folder)
        try handle.synchronize()
        try handle.close()
    }

    private func file(of name: String) throws -> URL {
        let allowed = Set("abcdefghijklmnopqrstuvwxyz0123456789.-")
        guard !name.isEmpty, name.count <= 64, !name.hasPrefix("."), name.allSatisfy(allowed.contains) else {
            throw PlatformError.Failed(reason: "`\(name)` is no name of a secret")
        }
        return folder.appendingPathComponent(name)
    }

    private func attempt<Value>(_ what: String, _ work: () throws -> Value) throws -> Value {
        do {
            return try lock.withLock(work)
        } catch let failure as PlatformError {
            throw failure
        } catch {
            throw PlatformError.Failed(reason: "could not \(what) a secret: \(error)")
        }
    }
}

/// Bytes free for the app on the disk of a folder, which need not be there yet.
func freeBytes(at folder: URL) -> UInt64? {
    var place = folder.standardizedFileURL
    while !FileManager.default.fileExists(atPath: place.path), place.path != "/" { place.deleteLastPathComponent() }
    let attributes = try? FileManager.default.attributesOfFileSystem(forPath: place.path)
    return (attributes?[.systemFreeSize] as? NSNumber)?.uint64Value
}
