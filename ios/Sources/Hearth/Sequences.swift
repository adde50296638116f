// What is subscribed to, as sequences.

extension Rooms {
    /// The list of rooms, and again whenever it changes.
    public func items() -> Updates<[RoomSummary]> {
        Updates { [self] cell in try subscribe(listener: RowsEar(cell)) }
    }
}

extension Timeline {
    /// What was said, oldest first, and again whenever it changes. One reader at a time; for another one take another timeline
    /// of the room.
    public func items() -> Updates<[TimelineItem]> {
        Updates { [self] cell in try subscribe(listener: RowsEar(cell)) }
    }
}

extension Verifications {
    /// The verifications that are under way or just ended, and again whenever one changes.
    public func items() -> Updates<[VerificationInfo]> {
        Updates { [self] cell in try subscribe(listener: RowsEar(cell)) }
    }
}

extension Peers {
    /// The phones on the network, and again whenever one comes or goes.
    public func items() -> Updates<[Peer]> {
        Updates { [self] cell in try subscribe(listener: NewestEar(cell)) }
    }
}

extension Room {
    /// Who is typing, without us, and again whenever that changes.
    public func typists() -> Updates<[Typist]> {
        Updates { [self] cell in try subscribeTyping(listener: NewestEar(cell)) }
    }
}

/// A listener that keeps a list as its changes say.
private final class RowsEar<Row: Sendable>: Sendable {
    private let cell: Cell<[Row]>

    init(_ cell: Cell<[Row]>) { self.cell = cell }

    func hear<Diff: RowDiff>(_ diffs: [Diff]) where Diff.Row == Row {
        cell.change(from: []) { try $0.change(diffs) }
    }
}

extension RowsEar: RoomsListener where Row == RoomSummary {
    func onChange(diffs: [RoomDiff]) { hear(diffs) }
}

extension RowsEar: TimelineListener where Row == TimelineItem {
    func onChange(diffs: [TimelineDiff]) { hear(diffs) }
}

extension RowsEar: VerificationListener where Row == VerificationInfo {
    func onChange(diffs: [VerificationDiff]) { hear(diffs) }
}

/// A listener that keeps what it was told last.
final class NewestEar<Value: Sendable>: Sendable {
    private let cell: Cell<Value>

    init(_ cell: Cell<Value>) { self.cell = cell }
}

extension NewestEar: PeersListener where Value == [Peer] {
    func onPeers(peers: [Peer]) { cell.become(peers) }
}

extension NewestEar: TypingListener where Value == [Typist] {
    func onTyping(typists: [Typist]) { cell.become(typists) }
}

extension NewestEar: StatusListener where Value == NodeStatus {
    func onStatus(status: NodeStatus) { cell.become(status) }
}
