// A chat with whoever is near: the least that shows everything. A name, a code to scan, people, rooms, messages, photos.

import Hearth
import SwiftUI

@main
struct SampleApp: App {
    @UIApplicationDelegateAdaptor(SampleDelegate.self) private var delegate
    @State private var app: HearthApp?
    @AppStorage("account") private var account = ""

    var body: some Scene {
        WindowGroup {
            if let app {
                HomeScreen(hearth: app.hearth)
            } else {
                WelcomeScreen { name in
                    app = try HearthApp.install(account: accountName(name), displayName: name)
                    account = accountName(name)
                }
                .onAppear { app = HearthApp.current }
            }
        }
    }
}

/// What must be done before the app has finished launching.
final class SampleDelegate: NSObject, UIApplicationDelegate {
    func application(
        _ application: UIApplication, didFinishLaunchingWithOptions options: [UIApplication.LaunchOptionsKey: Any]? = nil
    ) -> Bool {
        HearthFetch.register()
        // iOS launches the app for a fetch too, and nobody chooses a name then.
        if let account = UserDefaults.standard.string(forKey: "account"), !account.isEmpty {
            do {
                try HearthApp.install(account: account)
                HearthFetch.schedule()
            } catch {
                print("Hearth could not be set up: \(error)")
            }
        }
        return true
    }
}

/// A name as it may stand in a user id.
func accountName(_ name: String) -> String {
    name.lowercased().map { "abcdefghijklmnopqrstuvwxyz0123456789".contains($0) ? String($0) : "_" }.joined()
}

/// Asks for a name, once.
struct WelcomeScreen: View {
    let choose: (String) throws -> Void
    @State private var name = ""
    @State private var failure: String?

    var body: some View {
        Form {
            Section("How shall others see you?") {
                TextField("Name", text: $name)
                Button("Begin") {
                    do { try choose(name.trimmingCharacters(in: .whitespaces)) } catch { failure = sentence(error) }
                }
                .disabled(name.trimmingCharacters(in: .whitespaces).isEmpty)
            }
            if let failure { Text(failure).foregroundColor(.red) }
        }
    }
}

/// Rooms on one side, people on the other.
struct HomeScreen: View {
    let hearth: Hearth

    var body: some View {
        TabView {
            NavigationView { RoomsScreen(hearth: hearth) }
                .navigationViewStyle(.stack)
                .tabItem { Label("Rooms", systemImage: "bubble.left.and.bubble.right") }
            NavigationView { PeopleScreen(hearth: hearth) }
                .navigationViewStyle(.stack)
                .tabItem { Label("People", systemImage: "person.2") }
        }
    }
}

/// Shows whatever a sequence says, until the view goes.
@MainActor
func follow<Value: Sendable>(_ updates: Updates<Value>, _ show: (Value) -> Void) async {
    do {
        for try await value in updates { show(value) }
    } catch {
        print("a list ended: \(error)")
    }
}

/// What an error says to a person.
func sentence(_ error: any Error) -> String {
    (error as? NodeError)?.reason ?? error.localizedDescription
}
