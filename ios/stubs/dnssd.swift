// What Bonjour's C calls look like to the compiler, as far as Hearth uses them.

import Foundation

public typealias DNSServiceRef = OpaquePointer
public typealias DNSServiceFlags = UInt32
public typealias DNSServiceErrorType = Int32
public typealias DNSServiceRegisterReply = @convention(c) (
    DNSServiceRef?, DNSServiceFlags, DNSServiceErrorType, UnsafePointer<CChar>?, UnsafePointer<CChar>?,
    UnsafePointer<CChar>?, UnsafeMutableRawPointer?
) -> Void

public var kDNSServiceErr_NoError: Int { 0 }

public func DNSServiceRegister(
    _ ref: UnsafeMutablePointer<DNSServiceRef?>!, _ flags: DNSServiceFlags, _ interface: UInt32,
    _ name: UnsafePointer<CChar>!, _ type: UnsafePointer<CChar>!, _ domain: UnsafePointer<CChar>!,
    _ host: UnsafePointer<CChar>!, _ port: UInt16, _ length: UInt16, _ record: UnsafeRawPointer!,
    _ reply: DNSServiceRegisterReply!, _ context: UnsafeMutableRawPointer!
) -> DNSServiceErrorType { 0 }

public func DNSServiceSetDispatchQueue(_ ref: DNSServiceRef!, _ queue: DispatchQueue!) -> DNSServiceErrorType { 0 }

public func DNSServiceRefDeallocate(_ ref: DNSServiceRef!) {}
