// A cancelled task calls its work off. Rust does not notice that a Swift task was cancelled, so whatever may take long has a token
// that is told.

/// Does some work with a token that is cancelled with the task.
func withCancelToken<Value: Sendable>(
    _ work: @Sendable (CancelToken) async throws -> Value
) async throws -> Value {
    let token = CancelToken()
    return try await withTaskCancellationHandler {
        try await work(token)
    } onCancel: {
        token.cancel()
    }
}

extension Rooms {
    /// Accepts an invite, or enters a room by its id or address. `via` are names of servers that may be in it. Cancelling the task
    /// calls it off.
    public func join(_ idOrAlias: String, via: [String] = []) async throws -> Room {
        try await withCancelToken { token in try await self.join(idOrAlias: idOrAlias, via: via, cancel: token) }
    }
}

extension Timeline {
    /// Shows about this many messages more at the beginning; what is missing is fetched from other phones. Answers whether the
    /// beginning of what there is to see was reached. Cancelling the task calls it off.
    @discardableResult
    public func showEarlier(_ count: UInt32 = 50) async throws -> Bool {
        try await withCancelToken { token in try await self.paginateBackwards(count: count, cancel: token) }
    }

    /// Asks other phones for what is missing before an item (`gapBefore`). Answers whether anything came. Cancelling the task
    /// calls it off.
    @discardableResult
    public func fill(before itemId: String) async throws -> Bool {
        try await withCancelToken { token in try await self.fill(itemId: itemId, cancel: token) }
    }
}
