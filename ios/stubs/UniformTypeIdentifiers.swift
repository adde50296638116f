// What the kinds of files look like to the compiler, as far as the sample uses them.

public struct UTType: Sendable {
    public static let image = UTType()
    public var identifier: String { "" }
}
