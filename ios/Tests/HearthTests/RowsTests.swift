// From changes to lists, without a node.

import Foundation
import XCTest

@testable import Hearth

final class RowsTests: XCTestCase {
    func testChangesCountInTheListThatTheOnesBeforeHaveLeft() throws {
        var rows = [RoomSummary]()
        try rows.change([RoomDiff.reset(items: [row("a"), row("b")])])
        try rows.change([
            RoomDiff.insert(index: 0, item: row("c")),
            .remove(index: 1),
            .set(index: 1, item: row("B")),
            .insert(index: 2, item: row("d")),
        ])
        XCTAssertEqual(rows.map(\.id), ["c", "B", "d"])
        try rows.change([RoomDiff.reset(items: [])])
        XCTAssertEqual(rows, [])
    }

    func testABatchThatDoesNotFitIsAnErrorAndLeavesTheListAsItWas() throws {
        var rows = [row("a")]
        for wrong in [RoomDiff.remove(index: 2), .set(index: 2, item: row("x")), .insert(index: 3, item: row("x"))] {
            XCTAssertThrowsError(try rows.change([RoomDiff.insert(index: 0, item: row("b")), wrong])) { error in
                XCTAssertEqual((error as? RowsOutOfStep)?.rows, 2)
            }
            XCTAssertEqual(rows.map(\.id), ["a"])
        }
    }

    func testASlowReaderGetsTheNewestListAndAllOfIt() async throws {
        let (cells, ended) = (Locked<[Cell<[Int]>]>([]), Locked(0))
        let updates = Updates<[Int]>(beginning: { cell in
            cells.change { $0.append(cell) }
            return { ended.change { $0 += 1 } }
        })
        do {
            var reader = updates.makeAsyncIterator()
            let cell = try XCTUnwrap(cells.now.first)
            for number in 1...10_000 { cell.change(from: []) { $0.append(number) } }
            let first = try await reader.next()
            XCTAssertEqual(first, Array(1...10_000))
            cell.change(from: []) { $0.removeFirst() }
            let second = try await reader.next()
            XCTAssertEqual(second?.first, 2)
            XCTAssertEqual(ended.now, 0)
        }
        try await eventually("the subscription ended with its reader", within: 5) { ended.now == 1 }
        cells.change { $0 = [] }
    }

    func testAReaderHearsOfAListThatIsOutOfStepAndOfABeginningThatFailed() async throws {
        let broken = Updates<[Int]>(beginning: { cell in
            cell.change(from: []) { $0.append(1) }
            cell.change(from: []) { _ in throw RowsOutOfStep(rows: 1, index: 7) }
            return {}
        })
        var reader = broken.makeAsyncIterator()
        do {
            while try await reader.next() != nil {}
            XCTFail("it must end with an error")
        } catch let error as RowsOutOfStep {
            XCTAssertEqual(error, RowsOutOfStep(rows: 1, index: 7))
        }
        let closed = Updates<[Int]>(beginning: { _ in throw CocoaError(.featureUnsupported) })
        var other = closed.makeAsyncIterator()
        do {
            _ = try await other.next()
            XCTFail("it must not begin")
        } catch is CocoaError {}
    }

    func testSeveralMayWatchOneValue() async throws {
        let value = Observed(1)
        var (first, second) = (value.updates.makeAsyncIterator(), value.updates.makeAsyncIterator())
        let beginning = (try await first.next(), try await second.next())
        XCTAssertEqual([beginning.0, beginning.1], [1, 1])
        value.become(2)
        value.become(3)
        let end = (try await first.next(), try await second.next())
        XCTAssertEqual([end.0, end.1], [3, 3])
        XCTAssertEqual(value.now, 3)
    }

    private func row(_ id: String) -> RoomSummary {
        RoomSummary(
            id: id, standing: .joined, invite: nil, name: id, avatar: nil, last: nil, unread: 0, highlights: 0,
            direct: false, encrypted: true, members: 1)
    }
}
