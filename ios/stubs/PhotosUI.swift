// What the photo picker looks like to the compiler, as far as the sample uses it.

import Foundation
import UIKit

public struct PHPickerFilter: Sendable { public static let images = PHPickerFilter() }

public struct PHPickerConfiguration {
    public var filter: PHPickerFilter?
    public init() {}
}

public final class NSItemProvider {
    @discardableResult
    public func loadFileRepresentation(
        forTypeIdentifier: String, completionHandler: @escaping @Sendable (URL?, (any Error)?) -> Void
    ) -> Progress { Progress(totalUnitCount: 0) }
}

public struct PHPickerResult { public let itemProvider: NSItemProvider }

@MainActor
public protocol PHPickerViewControllerDelegate: AnyObject {
    func picker(_ picker: PHPickerViewController, didFinishPicking results: [PHPickerResult])
}

@MainActor
public final class PHPickerViewController: UIViewController {
    public weak var delegate: (any PHPickerViewControllerDelegate)?
    public init(configuration: PHPickerConfiguration) { super.init(nibName: nil, bundle: nil) }
    public required init?(coder: NSCoder) { nil }
}
