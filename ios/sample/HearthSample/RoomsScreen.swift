// The list of rooms: invites first, then where something was said last.

import Hearth
import SwiftUI

struct RoomsScreen: View {
    let hearth: Hearth
    @State private var rooms: [RoomSummary] = []
    @State private var failure: String?

    var body: some View {
        List {
            if let failure { Text(failure).foregroundColor(.red) }
            ForEach(rooms, id: \.id) { room in
                switch room.standing {
                case .invited: InviteRow(room: room, answer: answer)
                case .knocked: Text("\(room.name): waiting to be let in").foregroundColor(.secondary)
                case .joined:
                    NavigationLink {
                        TalkScreen(hearth: hearth, summary: room)
                    } label: {
                        RoomRow(room: room)
                    }
                }
            }
        }
        .overlay {
            if rooms.isEmpty { Text("Add somebody under People, and say hello.").foregroundColor(.secondary) }
        }
        .navigationTitle("Rooms")
        .task { await follow(hearth.rooms.items()) { rooms = $0 } }
    }

    private func answer(_ room: RoomSummary, accept: Bool) {
        Task {
            do {
                if accept {
                    _ = try await hearth.rooms.join(room.id)
                } else {
                    try await hearth.rooms.get(id: room.id).leave()
                }
                failure = nil
            } catch {
                failure = sentence(error)
            }
        }
    }
}

private struct RoomRow: View {
    let room: RoomSummary

    var body: some View {
        HStack {
            VStack(alignment: .leading) {
                Text(room.name).font(.headline)
                if let last = room.last {
                    Text(last.mine ? "You: \(last.text)" : "\(last.senderName): \(last.text)")
                        .font(.subheadline).foregroundColor(.secondary).lineLimit(1)
                }
            }
            Spacer()
            if room.unread > 0 {
                Text("\(room.unread)").font(.caption).padding(6).background(Circle().fill(Color.accentColor))
                    .foregroundColor(.white)
            }
        }
    }
}

private struct InviteRow: View {
    let room: RoomSummary
    let answer: (RoomSummary, Bool) -> Void

    var body: some View {
        VStack(alignment: .leading) {
            Text(room.name).font(.headline)
            if let invite = room.invite {
                // Anybody may give themselves any name, so the user id stands beside it.
                Text("\(invite.name) asks you in").font(.subheadline)
                Text(invite.by).font(.caption).foregroundColor(.secondary).lineLimit(1).truncationMode(.middle)
            }
            HStack {
                Button("Accept") { answer(room, true) }.buttonStyle(.borderedProminent)
                Button("Decline", role: .destructive) { answer(room, false) }.buttonStyle(.bordered)
            }
        }
    }
}
