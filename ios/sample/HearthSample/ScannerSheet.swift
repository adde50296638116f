// The camera, looking for a QR code; or the text of one, for who has no camera.

import AVFoundation
import SwiftUI

struct ScannerSheet: View {
    let found: @MainActor (String) -> Void
    @State private var text = ""

    var body: some View {
        VStack {
            Scanner(found: found).ignoresSafeArea()
            HStack {
                TextField("or paste a contact", text: $text).textFieldStyle(.roundedBorder)
                Button("Add") { found(text) }.disabled(text.isEmpty)
            }
            .padding()
        }
    }
}

private struct Scanner: UIViewControllerRepresentable {
    let found: @MainActor (String) -> Void

    func makeUIViewController(context: Context) -> ScannerController { ScannerController(found: found) }

    func updateUIViewController(_ controller: ScannerController, context: Context) {}
}

private final class ScannerController: UIViewController, AVCaptureMetadataOutputObjectsDelegate {
    private let found: @MainActor (String) -> Void
    private let session = AVCaptureSession()
    private var isDone = false

    init(found: @escaping @MainActor (String) -> Void) {
        self.found = found
        super.init(nibName: nil, bundle: nil)
    }

    @available(*, unavailable)
    required init?(coder: NSCoder) { nil }

    override func viewDidLoad() {
        super.viewDidLoad()
        let output = AVCaptureMetadataOutput()
        guard let camera = AVCaptureDevice.default(for: .video), let input = try? AVCaptureDeviceInput(device: camera),
            session.canAddInput(input), session.canAddOutput(output)
        else { return }
        session.addInput(input)
        session.addOutput(output)
        output.metadataObjectTypes = [.qr]
        output.setMetadataObjectsDelegate(self, queue: .main)
        let preview = AVCaptureVideoPreviewLayer(session: session)
        preview.frame = view.layer.bounds
        preview.videoGravity = .resizeAspectFill
        view.layer.addSublayer(preview)
    }

    override func viewWillAppear(_ animated: Bool) {
        super.viewWillAppear(animated)
        // Starting takes a moment, and must not hold up the screen.
        let session = Handed(session)
        DispatchQueue.global(qos: .userInitiated).async { session.it.startRunning() }
    }

    override func viewWillDisappear(_ animated: Bool) {
        super.viewWillDisappear(animated)
        session.stopRunning()
    }

    nonisolated func metadataOutput(
        _ output: AVCaptureMetadataOutput, didOutput objects: [AVMetadataObject], from connection: AVCaptureConnection
    ) {
        guard let text = (objects.first as? AVMetadataMachineReadableCodeObject)?.stringValue else { return }
        // The queue that was asked for is the main one.
        MainActor.assumeIsolated {
            guard !isDone else { return }
            isDone = true
            found(text)
        }
    }
}

/// A session, which may be started from any thread and does not say so.
private struct Handed<Value>: @unchecked Sendable {
    let it: Value

    init(_ it: Value) { self.it = it }
}
