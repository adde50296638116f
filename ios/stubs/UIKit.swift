// What UIKit looks like to the compiler, as far as Hearth uses it.

import Foundation

public struct UIBackgroundTaskIdentifier: Hashable, Sendable {
    public static let invalid = UIBackgroundTaskIdentifier()
}

@MainActor
open class UIApplication {
    public enum State: Sendable { case active, inactive, background }
    public static let shared = UIApplication()
    public var applicationState: State { .active }
    nonisolated public static let willEnterForegroundNotification = Notification.Name("willEnterForeground")
    nonisolated public static let didBecomeActiveNotification = Notification.Name("didBecomeActive")
    nonisolated public static let didEnterBackgroundNotification = Notification.Name("didEnterBackground")
    public func beginBackgroundTask(
        withName name: String?, expirationHandler: (@MainActor @Sendable () -> Void)? = nil
    ) -> UIBackgroundTaskIdentifier { .invalid }
    public func endBackgroundTask(_ identifier: UIBackgroundTaskIdentifier) {}
}

extension ProcessInfo {
    public var isLowPowerModeEnabled: Bool { false }
}

extension Notification.Name {
    public static let NSProcessInfoPowerStateDidChange = Notification.Name("powerStateDidChange")
}

@MainActor
open class UIDevice {
    public static let current = UIDevice()
    public var name: String { "" }
}

extension UIApplication {
    public struct LaunchOptionsKey: Hashable, Sendable {}
}

@MainActor
public protocol UIApplicationDelegate {}

public final class UIImage: @unchecked Sendable {
    public init?(data: Data) {}
    public init?(contentsOfFile: String) {}
}

@MainActor
open class CALayer {
    public var bounds: CGRect { .zero }
    public var frame = CGRect.zero
    public init() {}
    public func addSublayer(_ layer: CALayer) {}
}

@MainActor
open class UIView { public let layer = CALayer() }

@MainActor
open class UIViewController {
    public let view: UIView! = UIView()
    public init(nibName: String?, bundle: Bundle?) {}
    public required init?(coder: NSCoder) {}
    open func viewDidLoad() {}
    open func viewWillAppear(_ animated: Bool) {}
    open func viewWillDisappear(_ animated: Bool) {}
}
