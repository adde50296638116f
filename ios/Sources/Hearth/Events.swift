// What a person should be told of while the app is not looked at.

/// One event after another, for notifications.
///
/// Each counts as handled when the loop comes back for the next one; one that was not is handed out again, after a kill too, so
/// give a notification a stable id. One reader at a time.
public struct Events: AsyncSequence, Sendable {
    public typealias Element = Event

    let node: Node

    public func makeAsyncIterator() -> Iterator { Iterator(node: node) }

    /// See ``Events``.
    public struct Iterator: AsyncIteratorProtocol {
        let node: Node
        private var shown: UInt64?

        init(node: Node) { self.node = node }

        /// Acknowledges the event before, and waits for the next one. `nil` when the task is cancelled, and when everything was
        /// wiped.
        public mutating func next() async throws -> Event? {
            while true {
                if let shown, try await acknowledged(shown) { self.shown = nil }
                guard let event = try await node.nextEventUnlessCancelled() else { return nil }
                // What could not be acknowledged during a pause comes again after it, and was seen already.
                if event.id != shown {
                    shown = event.id
                    return event
                }
            }
        }

        private func acknowledged(_ id: UInt64) async throws -> Bool {
            do {
                try await node.eventHandled(id: id)
                return true
            } catch NodeError.Paused, NodeError.NotRunning {
                return false
            }
        }
    }
}

extension Node {
    /// The oldest event that was not handled yet. `nil` when the task is cancelled, and when everything was wiped.
    func nextEventUnlessCancelled() async throws -> Event? {
        do {
            return try await withCancelToken { token in try await self.nextEvent(cancel: token) }
        } catch NodeError.Cancelled {
            return nil
        }
    }
}
