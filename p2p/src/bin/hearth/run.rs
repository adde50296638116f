//! `hearth run`: a homeserver until SIGTERM or Ctrl-C.

use std::{io::IsTerminal, net::SocketAddr, path::PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use hearth_core::home::Registration;
use hearth_p2p::{
    Discovery, Multiaddr, Power, contact,
    node::{Node, NodeConfig},
};
use ruma::{OwnedServerName, UserId};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Where the key and the database lie.
    #[arg(long, value_name = "DIR", default_value = "hearth-data")]
    data: PathBuf,
    /// Where to listen for other homeservers; may be given more than once. By default any port on every interface, QUIC and TCP.
    #[arg(long, value_name = "ADDR")]
    listen: Vec<Multiaddr>,
    /// Where the client API listens.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8008")]
    client_listen: SocketAddr,
    /// A homeserver to stay connected to, ending in /p2p/ and its id; may be given more than once.
    #[arg(long, value_name = "MULTIADDR")]
    peer: Vec<Multiaddr>,
    /// Your name: the account that the contact names, as you will register it.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Run under a DNS name, as a gateway does, instead of under the key.
    #[arg(long, value_name = "DNS")]
    server_name: Option<OwnedServerName>,
    /// Who may make an account: open, closed, or token (then HEARTH_REGISTRATION_TOKEN holds it).
    #[arg(long, value_enum, default_value_t = Registrations::Open)]
    registration: Registrations,
    /// Where to look for other homeservers.
    #[arg(long, value_enum, default_value_t = Discoveries::All)]
    discovery: Discoveries,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Registrations {
    Open,
    Closed,
    Token,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Discoveries {
    /// On every network of this machine.
    All,
    /// On this machine only.
    Loopback,
    /// Nowhere.
    Off,
}

impl From<Discoveries> for Discovery {
    fn from(where_to_look: Discoveries) -> Self {
        match where_to_look {
            Discoveries::All => Self::All,
            Discoveries::Loopback => Self::Loopback,
            Discoveries::Off => Self::Off,
        }
    }
}

pub(crate) async fn run(arguments: RunArguments) -> Result<()> {
    log_to_stderr();
    // The handlers come first: a signal during the start must end it cleanly too.
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let name = arguments.name.clone();
    let node = Node::start(config(arguments)?).await?;
    greet(&node, name.as_deref()).await?;
    let failure = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        error = node.failed() => Some(error),
    };
    let stopped = node.stop().await;
    match failure {
        Some(error) => bail!("{error}; all that was acknowledged before is kept"),
        None => stopped.context("the last write failed"),
    }
}

fn config(arguments: RunArguments) -> Result<NodeConfig> {
    let registration = match arguments.registration {
        Registrations::Open => Registration::Open,
        Registrations::Closed => Registration::Closed,
        // Not a flag: other users of the machine can read those.
        Registrations::Token => match std::env::var("HEARTH_REGISTRATION_TOKEN") {
            Ok(token) if !token.is_empty() => Registration::Token(token),
            _ => bail!("--registration token needs the token in the environment variable HEARTH_REGISTRATION_TOKEN"),
        },
    };
    Ok(NodeConfig {
        data: arguments.data,
        server_name: arguments.server_name,
        listen: arguments.listen,
        peers: arguments.peer,
        discovery: arguments.discovery.into(),
        power: Some(Power::default()),
        client_listen: Some(arguments.client_listen),
        registration,
    })
}

async fn greet(node: &Node, name: Option<&str>) -> Result<()> {
    let addresses = node.network().addresses().await;
    let client = node.client_address().await.context("the client API is closed")?;
    println!("server name: {}", node.server_name());
    println!("client API: http://{client}");
    for address in &addresses {
        println!("listening: {address}");
    }
    let user = contact_user(name, &node.server_name())?;
    let uri = contact::contact_uri(&user, &addresses);
    println!("contact: {uri}");
    if node.first_start() || std::io::stdout().is_terminal() {
        match contact::qr_text(&uri) {
            Ok(code) => println!("{code}"),
            Err(error) => tracing::warn!(%error, "no QR code of the contact"),
        }
        println!("Register {user} with any Matrix client at http://{client}");
    }
    Ok(())
}

/// The user whom the contact names: the given name, made fit for a Matrix id.
pub(crate) fn contact_user(name: Option<&str>, server: &ruma::ServerName) -> Result<ruma::OwnedUserId> {
    let name = name.map_or_else(|| "me".to_owned(), str::to_lowercase);
    let fit = |character: char| if character.is_ascii_alphanumeric() { character } else { '-' };
    let localpart: String = name.trim().chars().map(fit).collect();
    UserId::parse(format!("@{localpart}:{server}")).with_context(|| format!("`{name}` is no name for an account"))
}

pub(crate) fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("HEARTH_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,hearth_core=info,hearth_p2p=info"));
    let subscriber = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter);
    if subscriber.try_init().is_err() {
        eprintln!("hearth: a logger is set already");
    }
}
