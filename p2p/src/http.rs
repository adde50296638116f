//! HTTP/1.1 over one stream: one request, one answer, and the stream is done.
//!
//! The end of a stream looks the same whether the other side finished or died, so a body is believed only when its framing
//! says that it is whole: `Content-Length` or chunked. Nothing here limits the whole time of an exchange, because a large
//! room over Bluetooth is slow and fine; what is limited is the time without progress.
//!
//! Deliberately absent: keep-alive and pipelining (streams are cheap), upgrades, and TLS (the connection is encrypted and its
//! other end is proven already).

pub(crate) mod client;
pub(crate) mod progress;
pub(crate) mod server;
