// From changes to lists: Hearth tells of a list by what changed in it, and most apps want the list.
//
// Invariant: a batch is taken whole or not at all, so nobody ever sees a list between two changes of one batch.

/// A change of a list, whatever the list is of. Indices count in the list as the changes before it in the batch have left it.
public enum RowChange<Row> {
    /// The whole list anew.
    case reset([Row])
    /// A row comes in before the one that has this index now.
    case insert(Int, Row)
    /// A row changes in its place.
    case set(Int, Row)
    /// A row goes.
    case remove(Int)
}

/// What the lists of Hearth tell of their changes.
public protocol RowDiff: Sendable {
    /// What the list is of.
    associatedtype Row: Sendable

    /// The change.
    var change: RowChange<Row> { get }
}

/// A batch that does not fit the list: another batch before it was left out.
public struct RowsOutOfStep: Error, Equatable {
    /// How many rows there were.
    public let rows: Int
    /// Which one the change was about.
    public let index: Int
}

extension Array where Element: Sendable {
    /// Makes the changes of a batch, for an app that animates them and subscribes by itself.
    public mutating func change<Diff: RowDiff>(_ diffs: [Diff]) throws where Diff.Row == Element {
        let before = self
        do {
            for diff in diffs { try change(diff.change) }
        } catch {
            self = before
            throw error
        }
    }

    private mutating func change(_ change: RowChange<Element>) throws {
        switch change {
        case .reset(let items): self = items
        case .insert(let index, let item):
            try check(index, below: count + 1)
            insert(item, at: index)
        case .set(let index, let item):
            try check(index, below: count)
            self[index] = item
        case .remove(let index):
            try check(index, below: count)
            remove(at: index)
        }
    }

    private func check(_ index: Int, below end: Int) throws {
        guard (0..<end).contains(index) else { throw RowsOutOfStep(rows: count, index: index) }
    }
}

extension RoomDiff: RowDiff {
    public var change: RowChange<RoomSummary> {
        switch self {
        case .reset(let items): .reset(items)
        case .insert(let index, let item): .insert(Int(index), item)
        case .set(let index, let item): .set(Int(index), item)
        case .remove(let index): .remove(Int(index))
        }
    }
}

extension TimelineDiff: RowDiff {
    public var change: RowChange<TimelineItem> {
        switch self {
        case .reset(let items): .reset(items)
        case .insert(let index, let item): .insert(Int(index), item)
        case .set(let index, let item): .set(Int(index), item)
        case .remove(let index): .remove(Int(index))
        }
    }
}

extension VerificationDiff: RowDiff {
    public var change: RowChange<VerificationInfo> {
        switch self {
        case .reset(let items): .reset(items)
        case .insert(let index, let item): .insert(Int(index), item)
        case .set(let index, let item): .set(Int(index), item)
        case .remove(let index): .remove(Int(index))
        }
    }
}
