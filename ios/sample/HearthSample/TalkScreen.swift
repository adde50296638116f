// A conversation: what was said, how far it has come, and saying something.

import Hearth
import PhotosUI
import SwiftUI
import UniformTypeIdentifiers

struct TalkScreen: View {
    let hearth: Hearth
    let summary: RoomSummary
    @State private var room: Room?
    @State private var timeline: Timeline?
    @State private var items: [TimelineItem] = []
    @State private var typists: [Typist] = []
    @State private var draft = ""
    @State private var failure: String?
    @State private var choosesPhoto = false
    /// Files on their way: whoever lets go of a handle hears no progress any more.
    @State private var sending: [SendHandle] = []

    var body: some View {
        VStack(spacing: 0) {
            ScrollViewReader { scroll in
                ScrollView {
                    LazyVStack(alignment: .leading, spacing: 8) {
                        Button("Show earlier") { act { try await $0.showEarlier() } }.font(.caption)
                        ForEach(items, id: \.id) { item in
                            if let timeline { ItemRow(item: item, timeline: timeline, act: act) }
                        }
                    }
                    .padding()
                }
                .onChange(of: items.last?.id) { last in
                    scroll.scrollTo(last, anchor: .bottom)
                    act { try await $0.markRead() }
                }
            }
            if !typists.isEmpty {
                Text("\(typists.map(\.name).joined(separator: ", ")) …").font(.caption).foregroundColor(.secondary)
            }
            if let failure { Text(failure).font(.caption).foregroundColor(.red) }
            HStack {
                Button {
                    choosesPhoto = true
                } label: {
                    Image(systemName: "photo")
                }
                TextField("Message", text: $draft).textFieldStyle(.roundedBorder).onSubmit(say)
                Button(action: say) { Image(systemName: "paperplane.fill") }.disabled(draft.isEmpty)
            }
            .padding()
        }
        .navigationTitle(summary.name)
        .navigationBarTitleDisplayMode(.inline)
        .sheet(isPresented: $choosesPhoto) { PhotoPicker(chosen: send) }
        // What was said before this phone came in, or while it was away from all who have it.
        .onChange(of: items.first { $0.gapBefore }?.id) { gap in
            if let gap { act { try await $0.fill(before: gap) } }
        }
        .onChange(of: draft.isEmpty) { isEmpty in
            Task { try? await room?.setTyping(typing: !isEmpty) }
        }
        .task { await open() }
    }

    private func open() async {
        do {
            let room = try hearth.rooms.get(id: summary.id)
            let timeline = room.timeline()
            (self.room, self.timeline) = (room, timeline)
            let typing = Task { await follow(room.typists()) { typists = $0 } }
            defer { typing.cancel() }
            await follow(timeline.items()) { items = $0 }
        } catch {
            failure = sentence(error)
        }
    }

    private func act(_ work: @escaping @MainActor (Timeline) async throws -> Void) {
        guard let timeline else { return }
        Task {
            do {
                try await work(timeline)
                failure = nil
            } catch {
                failure = sentence(error)
            }
        }
    }

    private func say() {
        let text = draft
        draft = ""
        act { try await $0.send(text) }
    }

    private func send(_ photo: URL) {
        act { sending.append(try await $0.send(file: photo, as: .image)) }
    }
}

/// One row of a conversation.
private struct ItemRow: View {
    let item: TimelineItem
    let timeline: Timeline
    let act: (@escaping @MainActor (Timeline) async throws -> Void) -> Void

    var body: some View {
        VStack(alignment: item.mine ? .trailing : .leading, spacing: 2) {
            if !item.mine { Text(item.senderName).font(.caption).foregroundColor(.secondary) }
            content
                .padding(8)
                .background(item.mine ? Color.accentColor.opacity(0.2) : Color.gray.opacity(0.15))
                .cornerRadius(12)
            if let state = item.state { DeliveryLine(state: state) { act { try await $0.retry(itemId: item.id) } } }
        }
        .frame(maxWidth: .infinity, alignment: item.mine ? .trailing : .leading)
        .id(item.id)
    }

    @ViewBuilder private var content: some View {
        switch item.content {
        case .text(let body, _, _): Text(body)
        case .file(let media): FileContent(item: item, media: media, timeline: timeline)
        case .membership(_, let name, let change, _): Text("\(name): \(String(describing: change))").italic()
        case .state(let kind, let text): Text(text ?? kind).italic()
        case .redacted: Text("deleted").italic()
        case .undecryptable(let waiting, let reason): Text(waiting ? "waiting for its key" : reason).italic()
        case .unsupported(_, let fallback): Text(fallback ?? "something that cannot be shown").italic()
        }
    }
}

/// A picture, or the name of another file.
private struct FileContent: View {
    let item: TimelineItem
    let media: Media
    let timeline: Timeline
    @State private var picture: UIImage?

    var body: some View {
        VStack(alignment: .leading) {
            if let picture {
                Image(uiImage: picture).resizable().scaledToFit().frame(maxHeight: 240)
            } else {
                Label(media.name, systemImage: "doc")
            }
            if let caption = media.caption { Text(caption) }
        }
        .task(id: item.eventId) { await load() }
    }

    private func load() async {
        guard media.kind == .image else { return }
        if media.hasThumbnail, let bytes = try? await timeline.thumbnail(itemId: item.id) {
            picture = UIImage(data: bytes)
            return
        }
        let copy = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        defer { try? FileManager.default.removeItem(at: copy) }
        // Nobody who has it may be near now; the task begins again when the view is shown again.
        guard (try? await timeline.download(item.id, to: copy)) != nil else { return }
        picture = UIImage(contentsOfFile: copy.path)
    }
}

/// How far what we sent has come.
private struct DeliveryLine: View {
    let state: SendState
    let retry: @MainActor () -> Void

    var body: some View {
        HStack(spacing: 4) {
            switch state {
            case .sending(let done, let total):
                if let done, let total, total > 0 {
                    ProgressView(value: min(1, Double(done) / Double(total))).frame(width: 80)
                } else {
                    Image(systemName: "clock")
                }
            case .sent(let recipients):
                let read = recipients.filter { $0.reach == .read }.count
                let there = read + recipients.filter { $0.reach == .onTheirPhone }.count
                Image(systemName: there == 0 ? "tray" : read == recipients.count ? "eye" : "checkmark")
                Text(there == 0 ? "waits until they are near" : "\(there) of \(recipients.count) have it, \(read) read it")
            case .failed(let reason, let retryable):
                Text(reason).foregroundColor(.red)
                if retryable { Button("Try again", action: retry) }
            }
        }
        .font(.caption2)
        .foregroundColor(.secondary)
    }
}

/// The person's photos. The chosen one is copied to a file that Hearth reads in the background.
private struct PhotoPicker: UIViewControllerRepresentable {
    let chosen: @MainActor (URL) -> Void
    @Environment(\.dismiss) private var dismiss

    func makeUIViewController(context: Context) -> PHPickerViewController {
        var configuration = PHPickerConfiguration()
        configuration.filter = .images
        let picker = PHPickerViewController(configuration: configuration)
        picker.delegate = context.coordinator
        return picker
    }

    func updateUIViewController(_ picker: PHPickerViewController, context: Context) {}

    func makeCoordinator() -> Coordinator { Coordinator(chosen: chosen, dismiss: dismiss) }

    @MainActor
    final class Coordinator: NSObject, PHPickerViewControllerDelegate {
        private let chosen: @MainActor (URL) -> Void
        private let dismiss: DismissAction

        init(chosen: @escaping @MainActor (URL) -> Void, dismiss: DismissAction) {
            (self.chosen, self.dismiss) = (chosen, dismiss)
        }

        func picker(_ picker: PHPickerViewController, didFinishPicking results: [PHPickerResult]) {
            dismiss()
            guard let provider = results.first?.itemProvider else { return }
            let chosen = chosen
            provider.loadFileRepresentation(forTypeIdentifier: UTType.image.identifier) { file, _ in
                guard let file else { return }
                // The system's own file goes when this returns. The copy lies where iOS clears by itself.
                let copy = FileManager.default.temporaryDirectory
                    .appendingPathComponent("\(UUID().uuidString)-\(file.lastPathComponent)")
                guard (try? FileManager.default.copyItem(at: file, to: copy)) != nil else { return }
                Task { @MainActor in chosen(copy) }
            }
        }
    }
}
