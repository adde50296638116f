//! hearth-p2p: every socket of Hearth.
//!
//! A homeserver's name is its key, so reaching another homeserver means reaching whoever holds that key. [`Mesh`] does this:
//! it listens on QUIC and TCP, tells the local network that it is here and hears who else is (`discovery`), connects to them
//! and stays connected (`mesh`), and carries each federation request as one HTTP/1.1 exchange on one stream of its own
//! (`streams`, `http`, `transport`). Core sees none of this: it asks a `Transport`, and it gives a router that answers.
//!
//! ```no_run
//! # async fn example() -> Result<(), hearth_p2p::MeshError> {
//! use hearth_p2p::{Discovery, Mesh, MeshConfig, Power};
//!
//! let (discovery, power) = (Discovery::All, Power::Foreground);
//! let config = MeshConfig { secret: [7; 32], listen: vec![], peers: vec![], discovery, power };
//! let (mesh, mut events) = Mesh::start(config).await?;
//! mesh.serve(axum::Router::new());
//! while let Some(event) = events.recv().await {
//!     println!("{event:?}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! How a connection comes to be: an announcement, a configured address or a word from the platform gives a *hint*; the
//! contacts dial it with the peer id that they expect; the handshake proves that it is the one; identify tells its boot id
//! and where else it listens. How it ends: the peer says goodbye, or restarts and says so with a new boot id, or falls silent
//! for a minute.
//!
//! Invariants:
//! - The peer at the other end of a connection is proven before a byte of a request is read.
//! - Nothing a peer sends sizes our memory: every number is in `limits`, with its reason.
//! - A request that is asked for is answered once, with an answer or a reason.
//! - An idle, converged mesh sets no timer of ours beside QUIC's keep-alive and the ping that TCP needs; where those cost too
//!   much, a node rests (`power`).
//!
//! Deliberately absent: what a request means (core), relays and the DHT, and links such as Bluetooth.

#![forbid(unsafe_code)]

mod addresses;
mod behaviour;
pub mod contact;
mod discovery;
pub mod host;
mod http;
pub mod identity;
mod limits;
mod loopback;
mod mesh;
pub mod node;
mod power;
mod streams;
mod transport;

pub use discovery::{Announcement, Discovery, found_addresses};
pub use libp2p::Multiaddr;
pub use mesh::{Mesh, MeshConfig, MeshError, PeerEvent, PeerStatus};
pub use power::Power;
