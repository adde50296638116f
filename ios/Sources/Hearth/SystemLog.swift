// Hearth's log to the system's: `os.Logger` on Apple's platforms, standard error elsewhere. It never holds a message or a key.

import Foundation

#if canImport(os)
    import os

    /// Hearth's log in the system's, under the subsystem `org.hearth` and the name of the part that speaks.
    public final class SystemLog: LogSink {
        public init() {}

        public func log(record: LogRecord) {
            let type: OSLogType =
                switch record.level {
                case .error: .error
                case .warn: .default
                case .info: .info
                case .debug, .trace: .debug
                }
            // Public, because nothing of what people say or of what keeps it secret is in it.
            Logger(subsystem: "org.hearth", category: record.target).log(level: type, "\(record.message, privacy: .public)")
        }
    }
#else
    /// Hearth's log on standard error.
    public final class SystemLog: LogSink {
        public init() {}

        public func log(record: LogRecord) {
            FileHandle.standardError.write(Data("\(record.level) \(record.target): \(record.message)\n".utf8))
        }
    }
#endif
