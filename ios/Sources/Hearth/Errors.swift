// The sentence of an error, whatever its kind.

extension NodeError {
    /// A sentence that says what went wrong, for a person or a log.
    public var reason: String {
        switch self {
        case .NotRunning(let reason), .Paused(let reason), .InvalidInput(let reason), .Storage(let reason),
            .Crypto(let reason), .Network(let reason), .NotFound(let reason), .Forbidden(let reason),
            .RateLimited(let reason), .Cancelled(let reason), .Callback(let reason), .Internal(let reason):
            reason
        }
    }
}
