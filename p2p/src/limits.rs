//! Every number that bounds what a peer can make us hold, each with its reason.
//!
//! Invariant: nothing a peer sends sizes our memory. A limit that belongs to one request (the size of an answer) is the
//! caller's and is not here; the body limit of an inbound request is the router's.

use std::time::Duration;

/// Handshakes that strangers may have under way: each costs a key exchange, so a flood must not fill two phone cores.
pub(crate) const PENDING_INBOUND_MAX: usize = 16;

/// Connections that others opened to us. A room's neighbours on one network fit; a crowd beyond them is refused, and those
/// whom we want to reach are dialled by us, which this number does not limit.
pub(crate) const ESTABLISHED_INBOUND_MAX: usize = 64;

/// Connections per peer, both ways. One would break simultaneous dials and the restart of a peer whose old connection is
/// not yet known to be dead. The fifth closes the oldest: the newest is the one that surely lives.
pub(crate) const CONNECTIONS_PER_PEER_MAX: usize = 4;

/// Streams a peer may have open on one connection. Eight requests run at once; the rest is room for identify, ping and
/// streams that are closing.
pub(crate) const STREAMS_PER_CONNECTION_MAX: u32 = 64;

/// Bytes in flight on one stream. One Matrix transaction is at most 50 events of 64 KiB, read as it comes.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// Bytes in flight on one connection: 64 peers of this size are the most that the network can make us buffer.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// QUIC keep-alive. Home routers forget a UDP binding after 30 s, some after 20 s.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// QUIC idle time: four keep-alives lost in a row are a dead peer, not a bad moment.
pub(crate) const IDLE: Duration = Duration::from_secs(60);

/// Between two pings. TCP notices no dead peer by itself; QUIC does, so there a ping is only a measurement.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(60);

/// How long a ping may take before its connection counts as dead.
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Inbound requests of one peer that run at once. An honest peer never has more: its client side holds itself to this.
pub(crate) const REQUESTS_PER_PEER_MAX: usize = 8;

/// Inbound requests of one peer that are let in, running or waiting for their turn. Twice the above, because requests that
/// the peer gave up may still be running here. What comes beyond is dropped at once, which its sender notices.
pub(crate) const ADMITTED_PER_PEER_MAX: usize = 16;

/// Inbound requests that run at once, all peers together.
pub(crate) const REQUESTS_MAX: usize = 64;

/// Inbound requests that are let in, all peers together.
pub(crate) const ADMITTED_MAX: usize = 128;

/// Media requests of one peer that run at once, and that one node makes to one peer. Each may hold a stream's window full of
/// bytes that nobody reads yet; three of them leave a quarter of the connection's window to events.
pub(crate) const MEDIA_PER_PEER_MAX: usize = 3;

/// Media requests of one peer that are let in: twice the above, for the same reason as with others.
pub(crate) const MEDIA_ADMITTED_PER_PEER_MAX: usize = 6;

/// Media requests that run at once, all peers together. Each reads a file and holds a piece of it in memory.
pub(crate) const MEDIA_MAX: usize = 16;

/// Media requests that are let in, all peers together.
pub(crate) const MEDIA_ADMITTED_MAX: usize = 32;

/// Requests that wait for a connection to one peer. The client's own eight turns keep below it.
pub(crate) const WAITING_PER_PEER_MAX: usize = 64;

/// The largest `Content-Length` that is worth looking at: no federation request is near it, so its sender is hostile.
pub(crate) const INBOUND_CONTENT_LENGTH_MAX: u64 = 64 << 20;

/// What hyper may buffer per stream: the longest head it reads.
pub(crate) const HTTP_BUFFER_BYTES_MAX: usize = 64 << 10;

/// From asking for a stream to having it, the dial included. QUIC's own handshake gives up after 5 s.
pub(crate) const OPEN_TIMEOUT: Duration = Duration::from_secs(15);

/// A client sends the head of its request at once, so one that takes longer holds a place for nothing.
pub(crate) const REQUEST_HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// From the request to the head of its answer. The other side may first have to fetch what the request builds on.
pub(crate) const RESPONSE_HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Without a byte read or written for this long, an exchange is over. There is no limit on its whole time.
pub(crate) const PROGRESS_TIMEOUT: Duration = Duration::from_secs(30);

/// Peers whose addresses are remembered. A network of more is served by relays, not by remembering everybody.
pub(crate) const PEERS_KNOWN_MAX: usize = 256;

/// Addresses per peer: two transports on two IP versions on a few interfaces.
pub(crate) const ADDRESSES_PER_PEER_MAX: usize = 16;

/// The shortest time between two dials of one peer: announcements are unsigned, and each could ask for one.
pub(crate) const REDIAL_MIN: Duration = Duration::from_millis(250);

/// Without a request for this long, a connection to or from a node that rests ends. An exchange is seldom one request: what
/// follows from it finds the connection still there.
pub(crate) const REST_AFTER: Duration = Duration::from_secs(3);

/// How often a connection to or from a node that rests looks whether it is used: the end of a stream does not wake it.
pub(crate) const REST_LOOK: Duration = Duration::from_secs(2);

/// Addresses that are handed in one by one within this time are dialled together.
pub(crate) const GATHER: Duration = Duration::from_millis(10);

/// Both ends see each other's announcement at once. The one with the smaller id dials; the other gives it this long, so that
/// most pairs end with one connection and not two.
pub(crate) const TIE_BREAK: Duration = Duration::from_millis(200);

/// Failed attempts after which an address that only the peer itself named is forgotten.
pub(crate) const LEARNED_FAILURES_MAX: u32 = 6;
