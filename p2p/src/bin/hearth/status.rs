//! `hearth status`: peers, rooms and queues of a running homeserver.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use hearth_p2p::node::{RunFile, run_file_path};
use http::Method;
use serde_json::Value;

use crate::local::ask;

#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    /// The data directory of the running homeserver.
    #[arg(long, value_name = "DIR", default_value = "hearth-data")]
    data: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn status(arguments: &StatusArguments) -> Result<()> {
    let run = run_file(&arguments.data)?;
    let asked = ask(run.client, Method::GET, "/_hearth/status", Some(&run.token), None).await;
    let (status, answer) = asked.with_context(|| format!("no Hearth runs in {}", arguments.data.display()))?;
    if !status.is_success() {
        bail!("the homeserver answered {status}: {answer}");
    }
    if arguments.json {
        println!("{answer}");
    } else {
        print(&answer);
    }
    Ok(())
}

/// Reads where a running node listens.
pub(crate) fn run_file(data: &Path) -> Result<RunFile> {
    let path = run_file_path(data);
    let text = std::fs::read(&path)
        .with_context(|| format!("no Hearth runs in {}: cannot read {}", data.display(), path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is no run file", path.display()))
}

fn print(answer: &Value) {
    let list = |name: &str| answer.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |value: &Value, name: &str| match value.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    };
    println!("server name: {}", text(answer, "server_name"));
    println!("accounts: {}", text(answer, "users"));
    println!("\npeers:");
    for peer in list("peers") {
        let state = if peer.get("connected") == Some(&Value::Bool(true)) { "connected" } else { "known" };
        println!("  {}  {state}  {}  {} ms", text(&peer, "server"), text(&peer, "transport"), text(&peer, "rtt_ms"));
    }
    println!("\nrooms:");
    for room in list("rooms") {
        println!(
            "  {}  {}  {} members, {} heads",
            text(&room, "id"),
            text(&room, "name"),
            text(&room, "members"),
            text(&room, "heads")
        );
    }
    println!("\nqueues:");
    for queue in list("queues") {
        println!(
            "  {}  {} waiting, {} failed tries",
            text(&queue, "server"),
            text(&queue, "pending"),
            text(&queue, "failures")
        );
    }
}
