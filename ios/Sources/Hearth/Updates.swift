// Whatever changes, as a sequence of what it is now.
//
// A listener never waits for whoever reads, and nothing piles up behind a slow reader: it gets the newest value when it comes
// back for it. Each reader subscribes for itself when its loop begins and ends that when the loop or its task ends.

import Foundation

/// A value that changes, and again whenever it does. It goes on through every pause of the node, and throws only when it cannot
/// begin.
public struct Updates<Element: Sendable>: AsyncSequence, Sendable {
    private let begin: @Sendable (Cell<Element>) throws -> @Sendable () -> Void

    /// `begin` has the cell filled from now on, and answers what ends that.
    init(beginning begin: @escaping @Sendable (Cell<Element>) throws -> @Sendable () -> Void) {
        self.begin = begin
    }

    init(_ subscribe: @escaping @Sendable (Cell<Element>) throws -> TaskHandle) {
        self.init(beginning: { cell in
            let handle = try subscribe(cell)
            return { handle.cancel() }
        })
    }

    public func makeAsyncIterator() -> Iterator {
        // One signal at a time waits; the value itself is taken when the reader comes for it.
        let (signals, signal) = AsyncThrowingStream<Void, any Error>.makeStream(bufferingPolicy: .bufferingNewest(1))
        let cell = Cell<Element>(signal)
        do {
            let end = try begin(cell)
            signal.onTermination = { _ in end() }
        } catch {
            signal.finish(throwing: error)
        }
        return Iterator(cell: cell, signals: signals.makeAsyncIterator())
    }

    /// See ``Updates``.
    public struct Iterator: AsyncIteratorProtocol {
        let cell: Cell<Element>
        var signals: AsyncThrowingStream<Void, any Error>.Iterator

        /// The value as it is now, when it has changed since the last time.
        public mutating func next() async throws -> Element? {
            while try await signals.next() != nil {
                if let value = cell.now { return value }
            }
            return nil
        }
    }
}

/// Where a listener puts what it hears, and one reader finds it.
final class Cell<Value: Sendable>: @unchecked Sendable {
    private let lock = NSLock()
    private let signal: AsyncThrowingStream<Void, any Error>.Continuation
    /// Guarded by the lock.
    private var value: Value?

    init(_ signal: AsyncThrowingStream<Void, any Error>.Continuation) { self.signal = signal }

    var now: Value? { lock.withLock { value } }

    /// Becomes another one.
    public func become(_ new: Value) {
        lock.withLock { value = new }
        signal.yield()
    }

    /// Changes the value in its place. What is wrong with one change would be wrong with all that follow, so the reader hears of
    /// a failure and no more.
    func change(from start: Value, _ work: (inout Value) throws -> Void) {
        do {
            try lock.withLock {
                var changed = value ?? start
                // The value is let go of meanwhile, so that a list is changed where it is, without a copy.
                value = nil
                try work(&changed)
                value = changed
            }
            signal.yield()
        } catch {
            signal.finish(throwing: error)
        }
    }
}

/// A value of this process that several may watch.
public final class Observed<Value: Sendable>: @unchecked Sendable {
    private let lock = NSLock()
    // Guarded by the lock.
    private var value: Value
    private var cells: [UUID: Cell<Value>] = [:]

    /// Begins with a value.
    public init(_ value: Value) { self.value = value }

    /// What it is now.
    public var now: Value { lock.withLock { value } }

    /// What it is now, and again whenever that changes.
    public var updates: Updates<Value> {
        Updates(beginning: { [self] cell in
            let id = UUID()
            lock.withLock {
                cells[id] = cell
                cell.become(value)
            }
            return { [weak self] in self?.forget(id) }
        })
    }

    /// Becomes another one.
    public func become(_ new: Value) {
        // Told within the lock, so that nobody hears of two changes the wrong way round. A cell never calls back.
        lock.withLock {
            value = new
            for cell in cells.values { cell.become(new) }
        }
    }

    private func forget(_ id: UUID) {
        _ = lock.withLock { cells.removeValue(forKey: id) }
    }
}
