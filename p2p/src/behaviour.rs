//! What runs on every connection: identify, ping, and our request streams; and the swarm around them.
//!
//! identify carries two things that we use: where the peer listens, and its *boot id*, a number drawn at each start. Two
//! connections with different boot ids cannot both live, so the older one is known to be dead at once, long before QUIC's
//! idle time says so. Its periodic repetition is as good as off: what changes is pushed, and so is the protocol name by which
//! a node says that it rests (`streams::lane`).

use std::time::Duration;

use libp2p::{Swarm, SwarmBuilder, identify, identity::Keypair, noise, ping, swarm::NetworkBehaviour, tcp, yamux};

use crate::{
    limits::{
        CONNECTION_WINDOW_BYTES, IDLE, KEEP_ALIVE, PING_INTERVAL, PING_TIMEOUT, REST_AFTER, STREAM_WINDOW_BYTES,
        STREAMS_PER_CONNECTION_MAX,
    },
    mesh::MeshError,
    streams::Streams,
};

/// The name that identify gives to the family of our protocols.
const PROTOCOL_FAMILY: &str = "/hearth/1";

/// What runs on every connection.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(crate) streams: Streams,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

/// The user agent that carries a boot id.
fn agent(boot: &str) -> String {
    format!("hearth/{} {boot}", env!("CARGO_PKG_VERSION"))
}

/// The boot id out of a peer's user agent.
pub(crate) fn boot_of(agent: &str) -> Option<&str> {
    let (name, boot) = agent.split_once(' ')?;
    (name.starts_with("hearth/") && !boot.is_empty() && boot.len() <= 32).then_some(boot)
}

/// The swarm: QUIC first, TCP with noise and yamux beside it.
pub(crate) fn swarm(keypair: Keypair, boot: &str, streams: Streams) -> Result<Swarm<Behaviour>, MeshError> {
    let refused = |error: &dyn std::fmt::Display| MeshError::Swarm(error.to_string());
    let identify = identify::Config::new(PROTOCOL_FAMILY.to_owned(), keypair.public())
        .with_agent_version(agent(boot))
        .with_push_listen_addr_updates(true)
        .with_interval(Duration::from_secs(24 * 60 * 60))
        // We keep our own address book.
        .with_cache_size(0);
    let ping = ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_TIMEOUT);
    let behaviour =
        Behaviour { streams, identify: identify::Behaviour::new(identify), ping: ping::Behaviour::new(ping) };
    let swarm = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, || {
            let mut config = yamux::Config::default();
            config.set_max_num_streams(STREAMS_PER_CONNECTION_MAX as usize);
            config
        })
        .map_err(|error| refused(&error))?
        .with_quic_config(|mut config| {
            config.keep_alive_interval = KEEP_ALIVE;
            config.max_idle_timeout = IDLE.as_millis() as u32;
            config.max_concurrent_stream_limit = STREAMS_PER_CONNECTION_MAX;
            config.max_stream_data = STREAM_WINDOW_BYTES;
            config.max_connection_data = CONNECTION_WINDOW_BYTES;
            config
        })
        .with_behaviour(move |_| behaviour)
        .map_err(|error| refused(&error))?
        // The smart dial gives QUIC a head start over TCP and runs them side by side after it.
        .with_swarm_config(|config| {
            config
                .with_smart_dial()
                .with_max_negotiating_inbound_streams(STREAMS_PER_CONNECTION_MAX as usize)
                .with_idle_connection_timeout(REST_AFTER)
        })
        .build();
    Ok(swarm)
}
