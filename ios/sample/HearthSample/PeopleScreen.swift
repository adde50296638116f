// People: one's own code, scanning somebody else's, and who is near.

import Hearth
import SwiftUI

struct PeopleScreen: View {
    let hearth: Hearth
    @State private var contacts: [Contact] = []
    @State private var peers: [Peer] = []
    @State private var code: QrMatrix?
    @State private var scans = false
    @State private var failure: String?

    var body: some View {
        List {
            Section("Your code") {
                if let code { QrCode(code: code).frame(maxWidth: 260).frame(maxWidth: .infinity) }
                Button("Scan somebody's code") { scans = true }
                if let failure { Text(failure).foregroundColor(.red) }
            }
            Section("People") {
                ForEach(contacts, id: \.user) { contact in
                    Button {
                        talk(to: contact)
                    } label: {
                        HStack {
                            Text(contact.name ?? contact.user).lineLimit(1).truncationMode(.middle)
                            Spacer()
                            if contact.near { Label("near", systemImage: "wave.3.right").font(.caption) }
                        }
                    }
                }
            }
            Section("Phones nearby") {
                ForEach(peers.filter(\.connected), id: \.id) { peer in
                    HStack {
                        Text(peer.id).lineLimit(1).truncationMode(.middle)
                        Spacer()
                        if let rtt = peer.rttMs { Text("\(rtt) ms").font(.caption).foregroundColor(.secondary) }
                    }
                }
            }
        }
        .navigationTitle("People")
        .sheet(isPresented: $scans) { ScannerSheet(found: add) }
        .task {
            await follow(hearth.peers.items()) { now in
                peers = now
                Task { await load() }
            }
        }
    }

    /// Where this phone is belongs to its code, so it is made anew when the network is another.
    private func load() async {
        do {
            contacts = try await hearth.contacts.list().filter { !$0.blocked }
            code = try qrMatrix(text: await hearth.contactUri())
        } catch {
            failure = sentence(error)
        }
    }

    private func add(_ uri: String) {
        scans = false
        Task {
            do {
                _ = try await hearth.contacts.add(uri: uri)
                failure = nil
                await load()
            } catch {
                failure = sentence(error)
            }
        }
    }

    private func talk(to contact: Contact) {
        Task {
            do {
                // It is a row of the list of rooms now.
                _ = try await hearth.rooms.direct(user: contact.user)
                failure = nil
            } catch {
                failure = sentence(error)
            }
        }
    }
}

/// A QR code, with the quiet border that scanners want.
struct QrCode: View {
    let code: QrMatrix

    var body: some View {
        Canvas { context, size in
            let side = Int(code.size)
            let module = min(size.width, size.height) / CGFloat(side + 8)
            context.fill(Path(CGRect(origin: .zero, size: size)), with: .color(.white))
            for row in 0..<side {
                for column in 0..<side where code.modules[row * side + column] {
                    let origin = CGPoint(x: CGFloat(column + 4) * module, y: CGFloat(row + 4) * module)
                    let square = CGRect(origin: origin, size: CGSize(width: module, height: module))
                    context.fill(Path(square), with: .color(.black))
                }
            }
        }
        .aspectRatio(1, contentMode: .fit)
        .accessibilityLabel("Your contact as a QR code")
    }
}
