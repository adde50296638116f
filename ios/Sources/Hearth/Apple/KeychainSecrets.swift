// Where the node's secrets lie on an Apple device: in the keychain.
//
// A secret can be read once the device was unlocked after its start, so that a background fetch works while it is locked; it is in
// no backup, and goes to no other device. Invariant: what is there and cannot be read now is an error and never "nothing", or the
// node would make a new secret and lock itself out of its data.

#if canImport(Security)
    import Foundation
    import Security

    /// A `Platform` that keeps secrets in the keychain.
    public final class KeychainSecrets: Platform {
        private let service: String
        private let data: URL

        /// `data` is the folder whose disk is asked for its free space. Another `service` is another set of secrets.
        public init(data: URL, service: String = "org.hearth") {
            (self.data, self.service) = (data, service)
        }

        public func keystoreGet(name: String) throws -> Data? {
            var query = item(name)
            query[kSecReturnData] = true
            query[kSecMatchLimit] = kSecMatchLimitOne
            var found: CFTypeRef?
            switch SecItemCopyMatching(query as CFDictionary, &found) {
            case errSecSuccess:
                guard let secret = found as? Data else {
                    throw PlatformError.Failed(reason: "the keychain holds something else than a secret")
                }
                return secret
            case errSecItemNotFound: return nil
            case let status: throw failure("read", status)
            }
        }

        public func keystorePut(name: String, secret: Data) throws {
            let values: [CFString: Any] = [
                kSecValueData: secret,
                kSecAttrAccessible: kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly,
            ]
            var status = SecItemUpdate(item(name) as CFDictionary, values as CFDictionary)
            if status == errSecItemNotFound {
                status = SecItemAdd(item(name).merging(values) { _, new in new } as CFDictionary, nil)
            }
            guard status == errSecSuccess else { throw failure("keep", status) }
        }

        public func keystoreDelete(name: String) throws {
            let status = SecItemDelete(item(name) as CFDictionary)
            guard status == errSecSuccess || status == errSecItemNotFound else { throw failure("destroy", status) }
        }

        public func freeDisk() -> UInt64? { freeBytes(at: data) }

        private func item(_ name: String) -> [CFString: Any] {
            [
                kSecClass: kSecClassGenericPassword,
                kSecAttrService: service,
                kSecAttrAccount: name,
                kSecAttrSynchronizable: false,
            ]
        }

        private func failure(_ what: String, _ status: OSStatus) -> PlatformError {
            let why = SecCopyErrorMessageString(status, nil).map { $0 as String } ?? "error \(status)"
            return .Failed(reason: "could not \(what) a secret: \(why)")
        }
    }
#endif
