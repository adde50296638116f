// When the node runs, and how much it may spend: all that it can while the app is looked at, less while something holds it, and
// nothing otherwise.
//
// The platform's half only says what it sees (`foreground`, `hold`, `saving`); what follows is decided here, one step after
// another, so that it can be tested without a phone.

import Foundation

/// What can be switched on and off; ``Hearth`` is.
public protocol Power: AnyObject, Sendable {
    /// What the node does now.
    var state: NodeState { get }

    /// Starts the homeserver, the client and the network, after a pause too; the first time it makes the key, the account and
    /// the device. Does nothing while the node runs.
    func start() async throws

    /// Ends everything in order.
    func stop() async throws

    /// Ends all traffic and lets go of every file. iOS ends an app that is suspended with a locked file.
    func pause() async throws

    /// Goes on after a pause.
    func resume() async throws

    /// Spends more or less on being within reach; a node that does not run, once it does.
    func setPowerMode(_ mode: PowerMode) async throws

    /// Listens and connects anew.
    func networkChanged() async throws

    /// Wakes the node for as long as there is something to fetch, and at most this many seconds; then leaves it as it was.
    func backgroundFetch(limit: TimeInterval) async throws -> FetchSummary
}

/// Starts, pauses and resumes a node as the app comes and goes.
///
/// Whoever looks at another app for a moment comes back at once, so a pause waits for a while, and so does whatever saves power.
public final class Lifecycle: @unchecked Sendable {
    /// Waits for so many seconds.
    typealias Sleep = @Sendable (TimeInterval) async throws -> Void

    private let node: any Power
    private let grace: TimeInterval
    private let sleep: Sleep
    private let lock = NSLock()
    // Guarded by the lock.
    private var seen = false
    private var holds = 0
    private var suspended = false
    private var saves = false
    private var isOffline = false
    private var plan: Plan?
    private var step: Task<Void, Never>?
    private var wanted: PowerMode?
    private var hurried = false
    private var spending: Task<Void, Never>?

    private enum Plan: Equatable {
        case run
        case pause(after: TimeInterval)
    }

    /// Whether the node was brought up by this and not put down again.
    public let running = Observed(false)

    /// Whether other phones are to be searched for: while the app is seen.
    public let looking = Observed(false)

    /// Why the node could not be started or paused, until it could. It is tried again with the next wish.
    public let failure = Observed<(any Error)?>(nil)

    /// `grace` is how many seconds to wait before a pause: fewer than iOS lets an app run on in the background.
    public convenience init(_ node: any Power, grace: TimeInterval = 2) {
        self.init(node, grace: grace, sleep: { try await Task.sleep(nanoseconds: UInt64($0 * 1e9)) })
    }

    init(_ node: any Power, grace: TimeInterval, sleep: @escaping Sleep) {
        (self.node, self.grace, self.sleep) = (node, grace, sleep)
    }

    deinit {
        step?.cancel()
        spending?.cancel()
    }

    /// The app is looked at, or is not any more.
    public func foreground(_ seen: Bool) {
        wish {
            self.seen = seen
            if seen { suspended = false }
        }
    }

    /// The battery or the data plan must last, or need not any more: then a node that is only held spends as little as it can.
    public func saving(_ on: Bool) { wish { saves = on } }

    /// Takes the node off the network, or puts it back, because the person says so. What is sent meanwhile waits.
    public func offline(_ on: Bool) { wish { isOffline = on } }

    /// Pauses at once, whatever holds the node, because the system is about to suspend the process; until the app is seen again.
    public func suspend() async {
        wish { suspended = true }
        await settled()
    }

    /// Keeps the node running until the answer is released or let go of: for a call, or a transfer.
    public func hold() -> Hold {
        wish { holds += 1 }
        return Hold { [weak self] in
            guard let self else { return }
            wish { holds -= 1 }
        }
    }

    /// Waits until everything that was wished for by now is done, or has failed.
    public func settled() async {
        let (step, spending) = lock.withLock { (self.step, self.spending) }
        await step?.value
        await spending?.value
    }

    private func wish(_ change: () -> Void) {
        lock.withLock {
            change()
            spend(isOffline ? .offline : seen ? .foreground : saves ? .lowPower : .background)
            let next: Plan = suspended ? .pause(after: 0) : seen || holds > 0 ? .run : .pause(after: grace)
            // What was never started need not be paused.
            guard next != plan, plan != nil || next == .run else { return }
            plan = next
            let before = step
            before?.cancel()
            step = Task { [weak self] in
                // One after another: a step that is under way is not left half way.
                await before?.value
                guard !Task.isCancelled else { return }
                switch next {
                case .run: await self?.up()
                case .pause(let after): await self?.down(after: after)
                }
            }
        }
    }

    /// Has the node told how much to spend. Called with the lock held.
    private func spend(_ mode: PowerMode) {
        // Who is about to be suspended waits for nothing.
        guard mode != wanted || (suspended && !hurried) else { return }
        let wait = wanted == .foreground && mode != .offline && !suspended ? grace : 0
        (wanted, hurried) = (mode, suspended)
        let before = spending
        before?.cancel()
        spending = Task { [weak self] in
            await before?.value
            guard !Task.isCancelled else { return }
            await self?.spend(mode, after: wait)
        }
    }

    private func spend(_ mode: PowerMode, after wait: TimeInterval) async {
        do { if wait > 0 { try await sleep(wait) } } catch { return }
        // That this works says nothing of whether the node could be started.
        do { try await node.setPowerMode(mode) } catch { failure.become(error) }
        looking.become(mode == .foreground)
    }

    private func up() async {
        await attempt {
            // From a pause too, and without a look at the state: while a background fetch runs it says nothing of what follows.
            try await node.start()
            running.become(true)
        }
    }

    private func down(after wait: TimeInterval) async {
        do { if wait > 0 { try await sleep(wait) } } catch { return }
        running.become(false)
        await attempt { if node.state == .running { try await node.pause() } }
    }

    private func attempt(_ work: () async throws -> Void) async {
        do {
            try await work()
            failure.become(nil)
        } catch {
            failure.become(error)
        }
    }
}

/// Keeps a node running for as long as it is held.
public final class Hold: @unchecked Sendable {
    private let lock = NSLock()
    /// Guarded by the lock.
    private var end: (@Sendable () -> Void)?

    init(_ end: @escaping @Sendable () -> Void) { self.end = end }

    deinit { release() }

    /// Lets the node pause again. Counts once, however often it is called.
    public func release() {
        let end = lock.withLock {
            defer { self.end = nil }
            return self.end
        }
        end?()
    }
}
