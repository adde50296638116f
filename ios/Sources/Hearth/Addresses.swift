// The addresses that this machine has on its local networks.

import Foundation

#if canImport(Glibc)
    import Glibc
#endif

/// Each address of a local network as its interface with the address, in any order. Deliberately without the mobile network,
/// tunnels and Apple's own links: nobody is near there.
func localAddresses() -> Set<String> {
    var list: UnsafeMutablePointer<ifaddrs>?
    guard getifaddrs(&list) == 0 else { return [] }
    defer { freeifaddrs(list) }
    var found = Set<String>()
    for entry in sequence(first: list, next: { $0?.pointee.ifa_next }) {
        guard let one = entry?.pointee, let address = one.ifa_addr else { continue }
        let name = String(cString: one.ifa_name)
        guard one.ifa_flags & UInt32(IFF_UP) != 0, one.ifa_flags & UInt32(IFF_LOOPBACK) == 0,
            !["pdp_ip", "utun", "ipsec", "awdl", "llw"].contains(where: name.hasPrefix), let text = numeric(address)
        else { continue }
        found.insert("\(name) \(text)")
    }
    return found
}

private func numeric(_ address: UnsafePointer<sockaddr>) -> String? {
    let family = Int32(address.pointee.sa_family)
    let length: Int
    switch family {
    case AF_INET: length = MemoryLayout<sockaddr_in>.size
    case AF_INET6: length = MemoryLayout<sockaddr_in6>.size
    default: return nil
    }
    var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
    guard getnameinfo(address, socklen_t(length), &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST) == 0 else {
        return nil
    }
    return text.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
}
