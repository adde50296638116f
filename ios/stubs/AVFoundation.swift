// What the camera looks like to the compiler, as far as the sample uses it.

import Foundation
import UIKit

public enum AVMediaType: Sendable { case video }

open class AVCaptureInput {}
open class AVCaptureOutput {}
public final class AVCaptureConnection {}

public final class AVCaptureDevice { public static func `default`(for type: AVMediaType) -> AVCaptureDevice? { nil } }

public final class AVCaptureDeviceInput: AVCaptureInput { public init(device: AVCaptureDevice) throws {} }

open class AVMetadataObject { public enum ObjectType: Sendable { case qr } }

public final class AVMetadataMachineReadableCodeObject: AVMetadataObject { public var stringValue: String? { nil } }

public protocol AVCaptureMetadataOutputObjectsDelegate {
    func metadataOutput(
        _ output: AVCaptureMetadataOutput, didOutput objects: [AVMetadataObject], from connection: AVCaptureConnection)
}

public final class AVCaptureMetadataOutput: AVCaptureOutput {
    public var metadataObjectTypes: [AVMetadataObject.ObjectType] = []
    public override init() {}
    public func setMetadataObjectsDelegate(_ delegate: (any AVCaptureMetadataOutputObjectsDelegate)?, queue: DispatchQueue?) {}
}

public final class AVCaptureSession {
    public init() {}
    public func canAddInput(_ input: AVCaptureInput) -> Bool { true }
    public func canAddOutput(_ output: AVCaptureOutput) -> Bool { true }
    public func addInput(_ input: AVCaptureInput) {}
    public func addOutput(_ output: AVCaptureOutput) {}
    public func startRunning() {}
    public func stopRunning() {}
}

@MainActor
public final class AVCaptureVideoPreviewLayer: CALayer {
    public enum Gravity: Sendable { case resizeAspectFill }
    public var videoGravity = Gravity.resizeAspectFill
    public init(session: AVCaptureSession) { super.init() }
}
