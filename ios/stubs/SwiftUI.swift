// What SwiftUI looks like to the compiler, as far as the sample uses it.

@_exported import Foundation
@_exported import UIKit

@MainActor @preconcurrency
public protocol View {
    associatedtype Body: View
    @ViewBuilder var body: Body { get }
}

extension Never: View { public var body: Never { return fatalError() } }

/// Every view of the system's, whatever is in it.
public struct Stub: View {
    nonisolated init() {}
    public var body: Never { return fatalError() }
}

public struct TupleView<each Content: View>: View {
    nonisolated init(_ content: repeat each Content) {}
    public var body: Never { return fatalError() }
}

extension Optional: View where Wrapped: View { public var body: Never { return fatalError() } }

@resultBuilder
public enum ViewBuilder {
    public static func buildBlock<each Content: View>(_ content: repeat each Content) -> TupleView<repeat each Content> {
        TupleView(repeat each content)
    }
    public static func buildIf<Content: View>(_ content: Content?) -> Content? { content }
    public static func buildEither<Content: View>(first: Content) -> Stub { Stub() }
    public static func buildEither<Content: View>(second: Content) -> Stub { Stub() }
}

@MainActor @preconcurrency
public protocol Scene {}

@resultBuilder
public enum SceneBuilder { public static func buildBlock<Content: Scene>(_ content: Content) -> Content { content } }

@MainActor @preconcurrency
public protocol App {
    associatedtype Body: Scene
    @SceneBuilder var body: Body { get }
    init()
}

extension App { public static func main() {} }

public struct WindowGroup: Scene { public init<Content: View>(@ViewBuilder content: () -> Content) {} }

@propertyWrapper
public struct Binding<Value> {
    public init(get: @escaping () -> Value, set: @escaping (Value) -> Void) {}
    public var wrappedValue: Value { get { fatalError() } nonmutating set {} }
}

@propertyWrapper
public struct State<Value> {
    public init(wrappedValue: Value) {}
    public var wrappedValue: Value { get { fatalError() } nonmutating set {} }
    public var projectedValue: Binding<Value> { fatalError() }
}

extension State where Value: ExpressibleByNilLiteral { public init() {} }

@propertyWrapper
public struct AppStorage {
    public init(wrappedValue: String, _ key: String) {}
    public var wrappedValue: String { get { "" } nonmutating set {} }
}

public struct DismissAction: Sendable { @MainActor public func callAsFunction() {} }

public struct EnvironmentValues { public var dismiss: DismissAction { DismissAction() } }

@propertyWrapper
public struct Environment<Value> {
    public init(_ path: KeyPath<EnvironmentValues, Value>) {}
    public var wrappedValue: Value { fatalError() }
}

@MainActor @propertyWrapper
public struct UIApplicationDelegateAdaptor<Delegate: NSObject & UIApplicationDelegate> {
    public init(_ type: Delegate.Type) {}
    public var wrappedValue: Delegate { fatalError() }
}

public struct Color: View, Sendable {
    public static var accentColor: Color { Color() }
    public static var black: Color { Color() }
    public static var gray: Color { Color() }
    public static var red: Color { Color() }
    public static var secondary: Color { Color() }
    public static var white: Color { Color() }
    nonisolated init() {}
    public func opacity(_ opacity: Double) -> Color { self }
    public var body: Never { return fatalError() }
}

public enum Font: Sendable { case caption, caption2, headline, subheadline }
public enum HorizontalAlignment: Sendable { case leading, center, trailing }
public enum Alignment: Sendable { case leading, center, trailing }
public enum ContentMode: Sendable { case fit, fill }
public struct UnitPoint: Sendable { public static let bottom = UnitPoint() }
public struct ButtonRole: Sendable { public static let destructive = ButtonRole() }

public struct Text: View {
    public enum TruncationMode: Sendable { case head, tail, middle }
    public init(_ text: String) {}
    public func italic() -> Text { self }
    public var body: Never { return fatalError() }
}

public struct Image: View {
    public init(systemName: String) {}
    public init(uiImage: UIImage) {}
    public func resizable() -> Image { self }
    public var body: Never { return fatalError() }
}

public struct Circle: View {
    public init() {}
    public func fill(_ color: Color) -> Stub { Stub() }
    public var body: Never { return fatalError() }
}

public struct Label: View {
    public init(_ title: String, systemImage: String) {}
    public var body: Never { return fatalError() }
}

public struct Spacer: View {
    public init() {}
    public var body: Never { return fatalError() }
}

public struct Button: View {
    public init(_ title: String, action: @escaping @MainActor () -> Void) {}
    public init(_ title: String, role: ButtonRole?, action: @escaping @MainActor () -> Void) {}
    public init<Content: View>(action: @escaping @MainActor () -> Void, @ViewBuilder label: () -> Content) {}
    public var body: Never { return fatalError() }
}

public struct TextField: View {
    public init(_ title: String, text: Binding<String>) {}
    public var body: Never { return fatalError() }
}

public struct ProgressView: View {
    public init(value: Double) {}
    public var body: Never { return fatalError() }
}

public struct Form: View {
    public init<Content: View>(@ViewBuilder content: () -> Content) {}
    public var body: Never { return fatalError() }
}

public struct List: View {
    public init<Content: View>(@ViewBuilder content: () -> Content) {}
    public var body: Never { return fatalError() }
}

public struct Section: View {
    public init<Content: View>(_ title: String, @ViewBuilder content: () -> Content) {}
    public var body: Never { return fatalError() }
}

public struct TabView: View {
    public init<Content: View>(@ViewBuilder content: () -> Content) {}
    public var body: Never { return fatalError() }
}

public struct NavigationView: View {
    public init<Content: View>(@ViewBuilder content: () -> Content) {}
    public var body: Never { return fatalError() }
}

public struct NavigationLink: View {
    public init<Target: View, Content: View>(
        @ViewBuilder destination: () -> Target, @ViewBuilder label: () -> Content
    ) {}
    public var body: Never { return fatalError() }
}

public struct ForEach: View {
    public init<Rows: RandomAccessCollection, ID: Hashable, Content: View>(
        _ rows: Rows, id: KeyPath<Rows.Element, ID>, @ViewBuilder content: @escaping (Rows.Element) -> Content
    ) {}
    public var body: Never { return fatalError() }
}

public struct HStack: View {
    public init<Content: View>(spacing: CGFloat? = nil, @ViewBuilder content: () -> Content) {}
    public var body: Never { return fatalError() }
}

public struct VStack: View {
    public init<Content: View>(
        alignment: HorizontalAlignment = .center, spacing: CGFloat? = nil, @ViewBuilder content: () -> Content
    ) {}
    public var body: Never { return fatalError() }
}

public struct LazyVStack: View {
    public init<Content: View>(
        alignment: HorizontalAlignment = .center, spacing: CGFloat? = nil, @ViewBuilder content: () -> Content
    ) {}
    public var body: Never { return fatalError() }
}

public struct ScrollView: View {
    public init<Content: View>(@ViewBuilder content: () -> Content) {}
    public var body: Never { return fatalError() }
}

public struct ScrollViewProxy { @MainActor public func scrollTo<ID: Hashable>(_ id: ID, anchor: UnitPoint? = nil) {} }

public struct ScrollViewReader: View {
    public init<Content: View>(@ViewBuilder content: @escaping (ScrollViewProxy) -> Content) {}
    public var body: Never { return fatalError() }
}

public struct Path { public init(_ rect: CGRect) {} }

public struct GraphicsContext {
    public enum Shading { case color(Color) }
    public func fill(_ path: Path, with shading: Shading) {}
}

public struct Canvas: View {
    public init(renderer: @escaping (inout GraphicsContext, CGSize) -> Void) {}
    public var body: Never { return fatalError() }
}

public struct ListedNavigationViewStyle: Sendable { public static let stack = ListedNavigationViewStyle() }
public struct ListedButtonStyle: Sendable {
    public static let bordered = ListedButtonStyle()
    public static let borderedProminent = ListedButtonStyle()
}
public struct ListedTextFieldStyle: Sendable { public static let roundedBorder = ListedTextFieldStyle() }
public enum TitleDisplayMode: Sendable { case inline, large }

extension View {
    public func accessibilityLabel(_ label: String) -> Stub { Stub() }
    public func aspectRatio(_ ratio: CGFloat?, contentMode: ContentMode) -> Stub { Stub() }
    public func background<Content: View>(_ content: Content) -> Stub { Stub() }
    public func buttonStyle(_ style: ListedButtonStyle) -> Stub { Stub() }
    public func cornerRadius(_ radius: CGFloat) -> Stub { Stub() }
    public func disabled(_ disabled: Bool) -> Stub { Stub() }
    public func font(_ font: Font?) -> Stub { Stub() }
    public func foregroundColor(_ color: Color?) -> Stub { Stub() }
    public func frame(width: CGFloat? = nil, height: CGFloat? = nil, alignment: Alignment = .center) -> Stub { Stub() }
    public func frame(maxWidth: CGFloat? = nil, maxHeight: CGFloat? = nil, alignment: Alignment = .center) -> Stub { Stub() }
    public func id<ID: Hashable>(_ id: ID) -> Stub { Stub() }
    public func ignoresSafeArea() -> Stub { Stub() }
    public func lineLimit(_ limit: Int?) -> Stub { Stub() }
    public func navigationBarTitleDisplayMode(_ mode: TitleDisplayMode) -> Stub { Stub() }
    public func navigationTitle(_ title: String) -> Stub { Stub() }
    public func navigationViewStyle(_ style: ListedNavigationViewStyle) -> Stub { Stub() }
    public func onAppear(perform action: (() -> Void)? = nil) -> Stub { Stub() }
    public func onChange<Value: Equatable>(of value: Value, perform action: @escaping (Value) -> Void) -> Stub { Stub() }
    public func onSubmit(_ action: @escaping () -> Void) -> Stub { Stub() }
    public func overlay<Content: View>(@ViewBuilder content: () -> Content) -> Stub { Stub() }
    public func padding(_ length: CGFloat = 16) -> Stub { Stub() }
    public func scaledToFit() -> Stub { Stub() }
    public func sheet<Content: View>(
        isPresented: Binding<Bool>, @ViewBuilder content: @escaping () -> Content
    ) -> Stub { Stub() }
    public func tabItem<Content: View>(@ViewBuilder _ label: () -> Content) -> Stub { Stub() }
    public func task(@_inheritActorContext _ action: @escaping @Sendable () async -> Void) -> Stub { Stub() }
    public func task<ID: Equatable>(
        id: ID, @_inheritActorContext _ action: @escaping @Sendable () async -> Void
    ) -> Stub { Stub() }
    public func textFieldStyle(_ style: ListedTextFieldStyle) -> Stub { Stub() }
    public func truncationMode(_ mode: Text.TruncationMode) -> Stub { Stub() }
}

public struct UIViewControllerRepresentableContext<Representable: UIViewControllerRepresentable> {
    public let coordinator: Representable.Coordinator
}

@MainActor @preconcurrency
public protocol UIViewControllerRepresentable: View where Body == Never {
    associatedtype Controller: UIViewController
    associatedtype Coordinator = Void
    func makeUIViewController(context: Context) -> Controller
    func updateUIViewController(_ controller: Controller, context: Context)
    func makeCoordinator() -> Coordinator
    typealias Context = UIViewControllerRepresentableContext<Self>
}

extension UIViewControllerRepresentable { public var body: Never { return fatalError() } }

extension UIViewControllerRepresentable where Coordinator == Void { public func makeCoordinator() {} }
