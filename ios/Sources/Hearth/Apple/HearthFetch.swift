// Wakes the node from time to time, to fetch and to deliver what waits. When, iOS decides.

#if canImport(BackgroundTasks) && canImport(UIKit) && canImport(Network) && canImport(dnssd) && canImport(Security) && !os(watchOS)
    import BackgroundTasks
    import Foundation

    /// The app's refresh task. Its identifier stands in `BGTaskSchedulerPermittedIdentifiers` of Info.plist, and `fetch` in
    /// `UIBackgroundModes`.
    @available(iOSApplicationExtension, unavailable)
    @MainActor
    public enum HearthFetch {
        /// How many seconds one fetch may take: iOS gives thirty, and pausing takes some of them.
        private static let limit: TimeInterval = 20

        /// Makes the task known to iOS. Call it before the app has finished launching, as iOS demands.
        public static func register(_ identifier: String = "org.hearth.fetch") {
            BGTaskScheduler.shared.register(forTaskWithIdentifier: identifier, using: .main) { task in
                MainActor.assumeIsolated { run(Handed(task), identifier) }
            }
        }

        /// Fetches once, not sooner than in so many seconds. Each fetch asks for the next one.
        public static func schedule(_ identifier: String = "org.hearth.fetch", after seconds: TimeInterval = 900) {
            let request = BGAppRefreshTaskRequest(identifier: identifier)
            request.earliestBeginDate = Date(timeIntervalSinceNow: seconds)
            // Refused in the simulator, and when the person switched it off: then messages wait until the app is opened.
            try? BGTaskScheduler.shared.submit(request)
        }

        private static func run(_ task: Handed<BGTask>, _ identifier: String) {
            schedule(identifier)
            guard let app = HearthApp.current else { return task.it.setTaskCompleted(success: false) }
            let work = Task {
                let done = try? await app.backgroundFetch(limit: limit)
                if !Task.isCancelled { task.it.setTaskCompleted(success: done != nil) }
            }
            task.it.expirationHandler = {
                work.cancel()
                Task {
                    await app.backgroundTimeIsOver()
                    task.it.setTaskCompleted(success: false)
                }
            }
        }
    }

    /// A task of iOS, which may be used from any thread and does not say so.
    private struct Handed<Value>: @unchecked Sendable {
        let it: Value

        init(_ it: Value) { self.it = it }
    }
#endif
