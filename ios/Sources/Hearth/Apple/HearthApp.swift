// Hearth in an iOS app: one call when the app is launched, and the node lives as the app does.
//
// The process has one node, because two must never open the same files.

#if canImport(UIKit) && canImport(Network) && canImport(dnssd) && canImport(Security) && !os(watchOS)
    import Foundation
    import UIKit

    /// The node of this process, and what keeps it going.
    @available(iOSApplicationExtension, unavailable)
    @MainActor
    public final class HearthApp {
        /// The node of this process, if `install` was called.
        public private(set) static var current: HearthApp?

        /// The node.
        public let hearth: Hearth

        /// When the node runs. The app's scenes are followed already; `hold()` keeps it running beside them for as long as iOS
        /// lets the app run.
        public let lifecycle: Lifecycle

        private let radio = BonjourRadio()
        /// Counts the changes of the network that the node has followed.
        private let moves = Observed(0)
        private let saver = Observed(ProcessInfo.processInfo.isLowPowerModeEnabled)
        private var tasks: [Task<Void, Never>] = []
        private var assertion = UIBackgroundTaskIdentifier.invalid

        /// Makes the node of this process, which is started as soon as the app is seen. `account` is chosen once and must be the
        /// same ever after: lower-case letters, digits and `._=-/+`.
        @discardableResult
        public static func install(
            account: String, displayName: String? = nil, logs: (any LogSink)? = SystemLog()
        ) throws -> HearthApp {
            if let current { return current }
            let app = try HearthApp(account: account, displayName: displayName, logs: logs)
            current = app
            return app
        }

        private init(account: String, displayName: String?, logs: (any LogSink)?) throws {
            let data = try dataFolder()
            let config = NodeConfig(
                dataDir: data.path, account: account, displayName: displayName, deviceName: UIDevice.current.name,
                discovery: .platform)
            hearth = try Hearth(config: config, platform: KeychainSecrets(data: data), logs: logs)
            lifecycle = Lifecycle(hearth)
            follow(UIApplication.willEnterForegroundNotification) { $0.seen() }
            follow(UIApplication.didBecomeActiveNotification) { $0.seen() }
            follow(UIApplication.didEnterBackgroundNotification) { $0.left() }
            tasks = [searchWhileRunning(), followTheNetworks(), saveWhereItMatters()]
            follow(.NSProcessInfoPowerStateDidChange) { $0.saver.become(ProcessInfo.processInfo.isLowPowerModeEnabled) }
            // Installed while the app is in front already: by an app that asks for a name first.
            Task { if UIApplication.shared.applicationState == .active { seen() } }
        }

        /// For a background task of the app's own: fetches what waits, for at most so many seconds.
        @discardableResult
        public func backgroundFetch(limit: TimeInterval) async throws -> FetchSummary {
            try await fetch(hearth, limit: limit) { [hearth, radio, moves] in
                await search(hearth.peers, with: radio, moved: moves.updates.dropFirst())
            }
        }

        /// The time for a background task is over: iOS wants every file to be closed, unless the person has come back meanwhile.
        func backgroundTimeIsOver() async {
            guard UIApplication.shared.applicationState == .background else { return }
            await lifecycle.suspend()
            // A fetch brings the node up by itself, without the lifecycle.
            try? await hearth.pause()
        }

        private func follow(_ name: Notification.Name, _ act: @escaping @MainActor @Sendable (HearthApp) -> Void) {
            // For as long as the process lives, as this object does.
            _ = NotificationCenter.default.addObserver(forName: name, object: nil, queue: .main) { [weak self] _ in
                MainActor.assumeIsolated {
                    if let self { act(self) }
                }
            }
        }

        private func seen() {
            lifecycle.foreground(true)
            endAssertion()
        }

        /// iOS suspends an app a few seconds after it was left, and ends one that is suspended with a locked file. So it is asked
        /// for the time that the pause needs.
        private func left() {
            endAssertion()
            assertion = UIApplication.shared.beginBackgroundTask(withName: "Hearth pauses") { [weak self] in
                Task { await self?.suspend() }
            }
            lifecycle.foreground(false)
            if assertion == .invalid { Task { await suspend() } }
            Task {
                await lifecycle.settled()
                // Something may hold the node; then it runs until the time is over.
                if !lifecycle.running.now { endAssertion() }
            }
        }

        private func suspend() async {
            await lifecycle.suspend()
            endAssertion()
        }

        private func endAssertion() {
            guard assertion != .invalid else { return }
            UIApplication.shared.endBackgroundTask(assertion)
            assertion = .invalid
        }

        private func searchWhileRunning() -> Task<Void, Never> {
            Task { [hearth, lifecycle, radio, moves] in
                await Latest.run { again in
                    do {
                        for try await running in lifecycle.running.updates {
                            again {
                                guard running else { return }
                                await search(
                                    hearth.peers, with: radio, moved: moves.updates.dropFirst(), looking: lifecycle.looking)
                            }
                        }
                    } catch {
                        return
                    }
                }
            }
        }

        /// With mobile data alone, every connection that is kept costs as much as one on Wi-Fi and more.
        private func saveWhereItMatters() -> Task<Void, Never> {
            Task { [lifecycle, saver] in
                let mobile = Observed(false)
                await withTaskGroup(of: Void.self) { group in
                    group.addTask { for await local in AppleNetworks.changes() { mobile.become(local.isEmpty) } }
                    for one in [saver, mobile] {
                        group.addTask {
                            do {
                                for try await _ in one.updates { lifecycle.saving(saver.now || mobile.now) }
                            } catch {
                                return
                            }
                        }
                    }
                }
            }
        }

        private func followTheNetworks() -> Task<Void, Never> {
            Task { [hearth, moves] in
                await followNetworks(AppleNetworks.changes()) {
                    try await hearth.networkChanged()
                    moves.become(moves.now + 1)
                }
            }
        }
    }

    /// Where the data lie: private to the app, in no backup, and readable while the device is locked, once it was unlocked.
    private func dataFolder() throws -> URL {
        let support = try FileManager.default.url(
            for: .applicationSupportDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
        var folder = support.appendingPathComponent("hearth", isDirectory: true)
        try FileManager.default.createDirectory(
            at: folder, withIntermediateDirectories: true,
            attributes: [.protectionKey: FileProtectionType.completeUntilFirstUserAuthentication])
        var values = URLResourceValues()
        values.isExcludedFromBackup = true
        try folder.setResourceValues(values)
        return folder
    }
#endif
