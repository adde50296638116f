//! What core asks of its host: send a federation request, tell the time, give random bytes.
//!
//! The phone's host is `hearth-p2p`; the simulator's is a seeded network, a virtual clock and a seeded generator. Core
//! never opens a socket, reads the wall clock or asks the operating system for randomness, so the same seed gives the same
//! run. Timers are tokio's, which a test can pause.

use std::{fmt, future::Future, pin::Pin};

use bytes::Bytes;
use futures::{StreamExt, stream};
use ruma::ServerName;

use crate::types::Millis;

/// A future that a port answers with.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The body of an answer, as it comes. Dropping it gives the rest up.
pub type BodyStream = stream::BoxStream<'static, Result<Bytes, TransportError>>;

/// Sends one signed federation request to one server and brings its answer back.
pub trait Transport: Send + Sync + 'static {
    /// Delivers `request` to `destination`. The URI is path and query only; the `X-Matrix` header is already on it.
    ///
    /// The implementation bounds the answer by `response_bytes_max` and the time by its own rules (open, headers,
    /// progress). Dropping the future gives the request up.
    fn request<'a>(
        &'a self,
        destination: &'a ServerName,
        request: http::Request<Bytes>,
        response_bytes_max: usize,
    ) -> BoxFuture<'a, Result<http::Response<Bytes>, TransportError>>;

    /// As [`Transport::request`], for an answer that is too large for memory: its body is handed on as it comes, and its
    /// size is the caller's affair.
    ///
    /// The implementation ends a body that makes no progress for 30 s with an error; a body that ends without one is whole.
    /// It keeps such answers from holding up others: a media download and a transaction do not wait for one another.
    fn stream<'a>(
        &'a self,
        destination: &'a ServerName,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'a, Result<http::Response<BodyStream>, TransportError>>;
}

/// An answer that is in memory already as one that streams: for transports that have no other, as in tests.
pub fn in_one_piece(answer: http::Response<Bytes>) -> http::Response<BodyStream> {
    answer.map(|body| stream::iter([Ok(body)]).boxed())
}

/// Why a request brought no answer. Whether the other side saw it is unknown: every federation request is idempotent.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// No address is known, or none of them answered.
    #[error("{destination} is out of reach: {reason}")]
    Unreachable {
        /// The server that was asked.
        destination: String,
        /// What was tried.
        reason: String,
    },
    /// The answer is larger than the caller is ready to read.
    #[error("{destination} answered with more than {limit} bytes")]
    TooLarge {
        /// The server that was asked.
        destination: String,
        /// The caller's limit.
        limit: usize,
    },
    /// The connection broke, or no progress was made in time.
    #[error("the request to {destination} broke off: {reason}")]
    Broken {
        /// The server that was asked.
        destination: String,
        /// What happened.
        reason: String,
    },
}

/// The wall clock.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch. May jump; nothing is ordered by it.
    fn now(&self) -> Millis;
}

/// Randomness for tokens, ids, nonces and jitter.
pub trait Random: Send + Sync + 'static {
    /// Fills `bytes`. On a phone this is the operating system's generator.
    fn fill(&self, bytes: &mut [u8]);
}

impl dyn Random {
    /// Eight random bytes as a number.
    pub fn next_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A token of `len` characters out of `[A-Za-z0-9]`: 32 of them carry 190 bits.
    pub fn token(&self, len: usize) -> String {
        const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let mut token = String::with_capacity(len);
        let mut bytes = [0; 64];
        while token.len() < len {
            self.fill(&mut bytes);
            // 248 is the largest multiple of 62 in a byte: what lies above would favour the first letters.
            let letters = bytes.iter().filter(|byte| **byte < 248);
            let letters = letters.filter_map(|byte| ALPHABET.get(usize::from(byte % 62)));
            token.extend(letters.take(len - token.len()).map(|letter| char::from(*letter)));
        }
        token
    }
}

/// The three ports, as a host hands them over.
#[derive(Clone)]
pub struct Ports {
    /// Federation requests.
    pub transport: std::sync::Arc<dyn Transport>,
    /// The wall clock.
    pub clock: std::sync::Arc<dyn Clock>,
    /// Randomness.
    pub random: std::sync::Arc<dyn Random>,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ports")
    }
}

/// Who the connection proved to be at the other end of an inbound federation request.
///
/// The host puts it into the request's extensions. The federation router refuses requests without it, and those whose
/// `X-Matrix` origin is another server, unless they came through a gateway that has no peer to name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerServer(pub ruma::OwnedServerName);
