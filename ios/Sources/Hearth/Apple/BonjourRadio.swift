// Bonjour as DNS-SD. iOS lets no app send multicast of its own without an entitlement, and everybody use Bonjour.
//
// An announcement is for the port on which Hearth listens, which an `NWListener` cannot say, so it is made with Bonjour's own
// calls; searching and resolving is the Network framework's.

#if canImport(Network) && canImport(dnssd)
    import Foundation
    import Network
    import dnssd

    /// How many sightings wait to be taken. One network has fewer phones.
    private let waitingMax = 64

    /// How many seconds one service may take to be resolved.
    private let resolvedWithin: TimeInterval = 10

    /// The system's Bonjour.
    public final class BonjourRadio: ServiceDiscovery {
        private let queue = DispatchQueue(label: "org.hearth.bonjour")

        public init() {}

        public func announce(_ announcement: Announcement) async throws {
            let registration = Registration(queue: queue)
            try await withTaskCancellationHandler {
                try await registration.run(announcement)
            } onCancel: {
                registration.end(with: .success(()))
            }
        }

        public func sightings(of service: String) -> AsyncThrowingStream<Sighting, any Error> {
            AsyncThrowingStream(bufferingPolicy: .bufferingNewest(waitingMax)) { [queue] sightings in
                let browser = NWBrowser(for: .bonjourWithTXTRecord(type: service, domain: nil), using: NWParameters())
                browser.stateUpdateHandler = { state in
                    // Without the person's permission it waits, and goes on when they give it.
                    if case .failed(let error) = state {
                        sightings.finish(throwing: RadioError("the search ended: \(error)"))
                    }
                }
                browser.browseResultsChangedHandler = { _, changes in
                    for change in changes {
                        switch change {
                        case .added(let result), .changed(_, let result, _):
                            resolve(result, on: queue) { sightings.yield($0) }
                        // Whoever went out of reach is noticed by the connection, and sooner.
                        default: break
                        }
                    }
                }
                sightings.onTermination = { _ in browser.cancel() }
                browser.start(queue: queue)
            }
        }
    }

    /// Finds the addresses of a service's host, each of which is a sighting of its own: a phone may have one of each kind.
    private func resolve(
        _ result: NWBrowser.Result, on queue: DispatchQueue, found: @escaping @Sendable (Sighting) -> Void
    ) {
        guard case .service(let instance, _, _, _) = result.endpoint, case .bonjour(let record) = result.metadata else {
            return
        }
        let properties = record.dictionary
        for version in [NWProtocolIP.Options.Version.v4, .v6] {
            let parameters = NWParameters.udp
            (parameters.defaultProtocolStack.internetProtocol as? NWProtocolIP.Options)?.version = version
            // Such a connection is ready once it knows its address, and nothing was sent by then.
            let connection = NWConnection(to: result.endpoint, using: parameters)
            connection.stateUpdateHandler = { state in
                switch state {
                case .ready:
                    if let host = connection.currentPath?.remoteEndpoint.flatMap(address) {
                        found(Sighting(instance: instance, properties: properties, hosts: [host]))
                    }
                    connection.cancel()
                case .failed: connection.cancel()
                case .cancelled: connection.stateUpdateHandler = nil
                default: break
                }
            }
            connection.start(queue: queue)
            queue.asyncAfter(deadline: .now() + resolvedWithin) { connection.cancel() }
        }
    }

    /// The IP address of an endpoint. A link-local one says nothing without its interface, which is another one on the other phone.
    private func address(_ endpoint: NWEndpoint) -> String? {
        guard case .hostPort(let host, _) = endpoint else { return nil }
        let text: String
        switch host {
        case .ipv4(let address): text = "\(address)"
        case .ipv6(let address):
            if address.isLinkLocal { return nil }
            text = "\(address)"
        default: return nil
        }
        // The interface by which it is reached stands behind it.
        return text.split(separator: "%").first.map(String.init)
    }

    /// A service that is announced, from `run` to its end.
    private final class Registration: @unchecked Sendable {
        private let queue: DispatchQueue
        private let lock = NSLock()
        // Guarded by the lock.
        private var service: DNSServiceRef?
        private var waiting: CheckedContinuation<Void, any Error>?
        private var over: Result<Void, any Error>?

        init(queue: DispatchQueue) { self.queue = queue }

        /// Answers when it has ended.
        func run(_ announcement: Announcement) async throws {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                let over = lock.withLock {
                    if self.over == nil { waiting = continuation }
                    return self.over
                }
                if let over { return continuation.resume(with: over) }
                queue.async { self.begin(announcement) }
            }
        }

        /// On the queue.
        private func begin(_ announcement: Announcement) {
            let record = txtRecord(announcement.properties)
            var made: DNSServiceRef?
            let status = record.withUnsafeBytes { bytes in
                // The context is not kept by Bonjour: this object lives until the service is let go of, in `end`.
                DNSServiceRegister(
                    &made, 0, 0, announcement.instance, announcement.service, nil, nil, announcement.port.bigEndian,
                    UInt16(bytes.count), bytes.baseAddress,
                    { _, _, error, _, _, _, context in
                        guard error != noError, let context else { return }
                        let registration = Unmanaged<Registration>.fromOpaque(context).takeUnretainedValue()
                        registration.end(with: .failure(refusal(error)))
                    }, Unmanaged.passUnretained(self).toOpaque())
            }
            guard status == noError, let made else { return end(with: .failure(refusal(status))) }
            let isOver = lock.withLock {
                if over == nil { service = made }
                return over != nil
            }
            if isOver { return DNSServiceRefDeallocate(made) }
            let queued = DNSServiceSetDispatchQueue(made, queue)
            if queued != noError { end(with: .failure(refusal(queued))) }
        }

        /// From any thread, and more than once.
        func end(with outcome: Result<Void, any Error>) {
            lock.withLock { if over == nil { over = outcome } }
            // On the queue on which Bonjour calls, so that it does not call meanwhile.
            queue.async { [self] in
                let (service, waiting) = lock.withLock {
                    defer { (self.service, self.waiting) = (nil, nil) }
                    return (self.service, self.waiting)
                }
                if let service { DNSServiceRefDeallocate(service) }
                waiting?.resume(with: over ?? outcome)
            }
        }
    }

    private let noError = DNSServiceErrorType(kDNSServiceErr_NoError)

    private func refusal(_ error: DNSServiceErrorType) -> RadioError {
        RadioError("the service could not be announced: Bonjour's error \(error)")
    }

    /// Each `key=value` behind its length, as DNS-SD wants it. What is too long for that is left out.
    private func txtRecord(_ properties: [String: String]) -> Data {
        properties.sorted { $0.key < $1.key }.reduce(into: Data()) { record, property in
            let entry = Data("\(property.key)=\(property.value)".utf8)
            guard let length = UInt8(exactly: entry.count) else { return }
            record.append(length)
            record.append(entry)
        }
    }
#endif
