//! `hearth chat --json`: a person with Hearth's own encrypted client, driven by lines of JSON on standard input and output.
//!
//! For programs: test harnesses, scripts, a UI in another language before there are bindings. The protocol stands in
//! `tests/clients/person.py`. The client API stays closed until a command opens it for another client of the same person.

mod told;
mod verbs;

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result, ensure};
use clap::Args;
use hearth_core::{
    chat::{Chat, ChatConfig, vault::StoreKey},
    home::Registration,
};
use hearth_p2p::{
    Multiaddr, Power, identity,
    node::{Node, NodeConfig},
};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};

use self::{told::Told, verbs::Verbs};
use crate::run::{Discoveries, contact_user, log_to_stderr};

/// Commands that may be under way at once: more wait in the pipe.
const COMMANDS_AT_ONCE_MAX: usize = 64;

#[derive(Debug, Args)]
pub(crate) struct ChatArguments {
    /// Where the key and the database lie. The key that seals the secrets lies beside them: a terminal has no keystore.
    #[arg(long, value_name = "DIR", default_value = "hearth-data")]
    data: PathBuf,
    /// Your name: the account.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Where to listen for other homeservers; may be given more than once. By default any port on every interface.
    #[arg(long, value_name = "ADDR")]
    listen: Vec<Multiaddr>,
    /// A homeserver to stay connected to, ending in /p2p/ and its id; may be given more than once.
    #[arg(long, value_name = "MULTIADDR")]
    peer: Vec<Multiaddr>,
    /// Where to look for other homeservers.
    #[arg(long, value_enum, default_value_t = Discoveries::All)]
    discovery: Discoveries,
    /// Speak JSON. There is no other way yet.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn chat(arguments: ChatArguments) -> Result<()> {
    log_to_stderr();
    ensure!(arguments.json, "`hearth chat` speaks JSON only: add --json");
    let data = arguments.data.clone();
    std::fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
    let (store_key, _) = identity::load_or_create(&data.join("store-key"))?;
    let node = Node::start(NodeConfig {
        data,
        server_name: None,
        listen: arguments.listen,
        peers: arguments.peer,
        discovery: arguments.discovery.into(),
        power: Some(Power::default()),
        client_listen: None,
        registration: Registration::Closed,
    });
    let node = Arc::new(node.await?);
    let outcome = speak(&node, StoreKey::new(store_key), &arguments.name).await;
    let stopped = node.stop().await.context("the last write failed");
    outcome.and(stopped)
}

async fn speak(node: &Arc<Node>, store_key: StoreKey, name: &str) -> Result<()> {
    let localpart = contact_user(Some(name), &node.server_name())?.localpart().to_owned();
    let config = ChatConfig { store_key, localpart, display_name: Some(name.to_owned()), device_name: None };
    let chat = Chat::open(node.homeserver().home().clone(), config).await?;
    chat.start();
    let told = Told::start(&chat);
    let verbs = Arc::new(Verbs { node: node.clone(), chat: chat.clone(), told: told.clone() });
    let turns = Arc::new(Semaphore::new(COMMANDS_AT_ONCE_MAX));
    let mut lines = commands();
    while let Some(line) = lines.recv().await {
        let command: Value = match serde_json::from_str(&line) {
            Ok(command) => command,
            Err(error) => {
                told::say(&json!({ "id": null, "error": format!("this is no JSON: {error}") }));
                continue;
            }
        };
        if command.get("do").and_then(Value::as_str) == Some("quit") {
            told::say(&json!({ "id": command.get("id"), "ok": {} }));
            break;
        }
        let (turn, verbs) = (turns.clone().acquire_owned().await?, verbs.clone());
        tokio::spawn(async move {
            let id = command.get("id").cloned().unwrap_or_default();
            told::say(&match verbs.act(&command).await {
                Ok(answer) => json!({ "id": id, "ok": answer }),
                Err(error) => json!({ "id": id, "error": format!("{error:#}") }),
            });
            drop(turn);
        });
    }
    told.stop();
    chat.stop().await;
    Ok(())
}

/// The lines of standard input. They come from a thread of their own, which ends with the input or with the program.
fn commands() -> mpsc::Receiver<String> {
    let (lines, commands) = mpsc::channel(COMMANDS_AT_ONCE_MAX);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    commands
}
