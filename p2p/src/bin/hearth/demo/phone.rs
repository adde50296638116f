//! One phone of the demonstration: a `hearth run` process and the account of the person who holds it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use hearth_p2p::node::RunFile;
use http::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{local::ask, status::run_file};

/// Between two looks at something that cannot be waited for by a long poll.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Whatever takes longer than this in the demonstration is broken.
const PATIENCE: Duration = Duration::from_secs(15);

/// A phone. Its process is killed when it is dropped.
pub(super) struct Phone {
    pub(super) person: &'static str,
    data: PathBuf,
    process: Option<Child>,
    address: SocketAddr,
    control: RunFile,
    peers: Vec<String>,
    pub(super) server: String,
    pub(super) user: String,
    token: String,
    since: Option<String>,
    transactions: u32,
}

/// One line of a timeline: the event and how a person reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) id: String,
    pub(super) text: String,
}

impl Phone {
    /// Starts the process and makes the account.
    pub(super) async fn start(data: &Path, person: &'static str, peers: &[String]) -> Result<Self> {
        let data = data.join(person);
        let peers = peers.to_vec();
        let (process, control, server) = launch(&data, person, &peers).await?;
        let user = format!("@{person}:{server}");
        let address = control.client;
        let mut phone = Self {
            person,
            data,
            process: Some(process),
            address,
            control,
            peers,
            server,
            user,
            token: String::new(),
            since: None,
            transactions: 0,
        };
        let body = json!({ "username": person, "password": "demonstration", "auth": { "type": "m.login.dummy" } });
        let answer = phone.ask(Method::POST, "/_matrix/client/v3/register", Some(&body)).await?;
        phone.token = text(&answer, "/access_token")?;
        ensure!(text(&answer, "/user_id")? == phone.user, "{person} was registered under another name: {answer}");
        Ok(phone)
    }

    /// Ends the process without a warning, as an empty battery does.
    pub(super) async fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the phone is off already")?;
        process.kill().await.with_context(|| format!("cannot kill {}'s phone", self.person))
    }

    /// Starts the process again on the same data.
    pub(super) async fn restart(&mut self) -> Result<()> {
        let (process, control, _) = launch(&self.data, self.person, &self.peers).await?;
        (self.process, self.address, self.control) = (Some(process), control.client, control);
        Ok(())
    }

    /// Takes the phone off the network, or back.
    pub(super) async fn offline(&self, offline: bool) -> Result<()> {
        let body = json!({ "offline": offline });
        let (path, token) = ("/_hearth/offline", Some(self.control.token.as_str()));
        let (status, answer) = ask(self.address, Method::PUT, path, token, Some(&body)).await?;
        ensure!(status.is_success(), "{}: {answer}", self.person);
        Ok(())
    }

    /// The addresses at which others reach it.
    pub(super) async fn addresses(&self) -> Result<Vec<String>> {
        let status = self.status().await?;
        Ok(serde_json::from_value(status.get("addresses").cloned().unwrap_or_default())?)
    }

    /// Waits until it is connected to these servers.
    pub(super) async fn sees(&self, servers: &[&str], patience: Duration) -> Result<bool> {
        let started = Instant::now();
        while started.elapsed() < patience {
            let status = self.status().await?;
            let near: Vec<&str> =
                status.get("near").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
            if servers.iter().all(|server| near.contains(server)) {
                return Ok(true);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(false)
    }

    async fn status(&self) -> Result<Value> {
        let asked = ask(self.address, Method::GET, "/_hearth/status", Some(&self.control.token), None).await?;
        Ok(asked.1)
    }

    /// A request to the client API as the phone's person.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let token = (!self.token.is_empty()).then_some(self.token.as_str());
        let (status, answer) = ask(self.address, method.clone(), path, token, body).await?;
        ensure!(status.is_success(), "{}: {method} {path} answered {status}: {answer}", self.person);
        Ok(answer)
    }

    /// Sends a message; it is on the phone's disk when this returns.
    pub(super) async fn say(&mut self, room: &str, body: &str) -> Result<String> {
        self.transactions += 1;
        let path = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/demo{}", self.transactions);
        let answer = self.ask(Method::PUT, &path, Some(&json!({ "msgtype": "m.text", "body": body }))).await?;
        text(&answer, "/event_id")
    }

    /// Changes the room's topic.
    pub(super) async fn set_topic(&self, room: &str, topic: &str) -> Result<String> {
        let path = format!("/_matrix/client/v3/rooms/{room}/state/m.room.topic/");
        let answer = self.ask(Method::PUT, &path, Some(&json!({ "topic": topic }))).await?;
        text(&answer, "/event_id")
    }

    /// Waits, by long polling, until the sync has shown an invite to a room.
    pub(super) async fn invited(&mut self, room: &str) -> Result<()> {
        self.sync_until(|answer| answer.pointer("/rooms/invite").and_then(|rooms| rooms.get(room)).is_some())
            .await
            .with_context(|| format!("{} heard of no invite", self.person))
    }

    /// Waits until all these events are on its timeline.
    pub(super) async fn has(&self, room: &str, events: &[String]) -> Result<()> {
        let started = Instant::now();
        loop {
            let lines = self.timeline(room).await?;
            let missing = events.iter().filter(|id| lines.iter().all(|line| line.id != **id)).count();
            if missing == 0 {
                return Ok(());
            }
            ensure!(started.elapsed() < PATIENCE, "{} still lacks {missing} of {} events", self.person, events.len());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn sync_until(&mut self, mut done: impl FnMut(&Value) -> bool) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            let since = self.since.as_ref().map(|since| format!("&since={since}")).unwrap_or_default();
            let answer = self.ask(Method::GET, &format!("/_matrix/client/v3/sync?timeout=5000{since}"), None).await?;
            self.since = Some(text(&answer, "/next_batch")?);
            if done(&answer) {
                return Ok(());
            }
        }
        bail!("nothing came within {PATIENCE:?}")
    }

    /// The whole timeline that the phone can read, oldest first. Asking also fetches what lies beyond a gap.
    pub(super) async fn timeline(&self, room: &str) -> Result<Vec<Line>> {
        let mut lines = Vec::new();
        let mut from = String::new();
        loop {
            let path = format!("/_matrix/client/v3/rooms/{room}/messages?dir=b&limit=200{from}");
            let answer = self.ask(Method::GET, &path, None).await?;
            let chunk = answer.get("chunk").and_then(Value::as_array).cloned().unwrap_or_default();
            lines.extend(chunk.iter().map(line));
            match answer.get("end").and_then(Value::as_str) {
                Some(end) if !chunk.is_empty() => from = format!("&from={end}"),
                _ => break,
            }
        }
        lines.reverse();
        Ok(lines)
    }

    /// The ids of the room's state events, sorted.
    pub(super) async fn state(&self, room: &str) -> Result<Vec<String>> {
        let answer = self.ask(Method::GET, &format!("/_matrix/client/v3/rooms/{room}/state"), None).await?;
        let events = answer.as_array().context("the state is no list")?;
        let mut ids = events.iter().map(|event| text(event, "/event_id")).collect::<Result<Vec<_>>>()?;
        ids.sort();
        Ok(ids)
    }
}

/// Starts `hearth run` and waits for its first answered request.
async fn launch(data: &Path, person: &str, peers: &[String]) -> Result<(Child, RunFile, String)> {
    let program = std::env::current_exe().context("cannot find my own program")?;
    let mut command = Command::new(program);
    command.args(["run", "--client-listen", "127.0.0.1:0", "--name", person, "--discovery"]);
    command.arg(if peers.is_empty() { "loopback" } else { "off" }).arg("--data").arg(data);
    command.args(["--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--listen", "/ip4/127.0.0.1/tcp/0"]);
    for peer in peers {
        command.args(["--peer", peer]);
    }
    command.env("HEARTH_LOG", "error").stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut process = command.spawn().context("cannot start a phone")?;
    let output = process.stdout.take().context("a phone without output")?;
    let mut lines = BufReader::new(output).lines();
    let mut server = None;
    while let Some(line) = lines.next_line().await? {
        if let Some(name) = line.strip_prefix("server name: ") {
            server = Some(name.to_owned());
        }
        if line.starts_with("contact: ") {
            break;
        }
    }
    let server = server.with_context(|| format!("{person}'s phone did not start"))?;
    // Its further output must go somewhere, or a full pipe would stop it.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    let control = run_file(data)?;
    ask(control.client, Method::GET, "/_matrix/client/versions", None, None).await?;
    Ok((process, control, server))
}

fn line(event: &Value) -> Line {
    let field = |path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let name = |user: &str| user.trim_start_matches('@').split(':').next().unwrap_or_default().to_owned();
    let sender = name(field("/sender"));
    let text = match field("/type") {
        "m.room.message" => format!("{sender}: {}", field("/content/body")),
        "m.room.member" => {
            let target = name(field("/state_key"));
            match field("/content/membership") {
                "invite" => format!("* {sender} invites {target}"),
                "join" => format!("* {target} joins"),
                "leave" => format!("* {target} leaves"),
                other => format!("* {target}: {other}"),
            }
        }
        "m.room.topic" => format!("* {sender} sets the topic: {}", field("/content/topic")),
        "m.room.create" => format!("* {sender} makes the room"),
        "m.room.name" => format!("* {sender} names it {}", field("/content/name")),
        kind => format!("* {kind}"),
    };
    Line { id: field("/event_id").to_owned(), text }
}

/// A string out of an answer.
pub(super) fn text(value: &Value, path: &str) -> Result<String> {
    let text = value.pointer(path).and_then(Value::as_str);
    text.map(ToOwned::to_owned).with_context(|| format!("no {path} in {value}"))
}
