//! The second part of the demonstration: two people with Hearth's own encrypted client, and what it says of each message.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::report::Report;

/// Between two looks at something that is on its way.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Whatever takes longer than this is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// A `hearth chat --json` process. It is killed when it is dropped.
struct Client {
    person: &'static str,
    _process: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    serial: u64,
    user: String,
}

pub(super) async fn tell(data: &Path, report: &mut Report) -> Result<()> {
    let (mut dora, mut emil) = (Client::start(data, "dora").await?, Client::start(data, "emil").await?);
    report.step("dora and emil start phones with Hearth's own encrypted client");
    dora.until("emil's phone is near", json!({ "do": "near" }), |answer| has(answer, "/servers", &emil.user)).await?;
    let create = json!({ "do": "create", "name": "For two", "invite": [emil.user], "direct": true });
    let room = text(&dora.ask(create).await?, "/room")?;
    let join = json!({ "do": "join", "room": room });
    emil.until("the invite", json!({ "do": "rooms" }), |answer| has(answer, "/invites", &room)).await?;
    emil.ask(join).await?;
    let members = json!({ "do": "members", "room": room });
    let (user, server_of) = (emil.user.clone(), |answer: &Value, user: &str| answer.get(user) == Some(&json!("join")));
    dora.until("emil joins", members, |answer| server_of(answer, &user)).await?;
    report.step("they share an encrypted room");

    let first = dora.say(&room, "The spare key is under the third stone.").await?;
    emil.shows(&room, &first, "The spare key is under the third stone.").await?;
    dora.reaches(&room, &first, &user, "on_their_phone").await?;
    report.step("dora writes; emil reads it, and dora sees that it is on his phone");
    emil.ask(json!({ "do": "read", "room": room })).await?;
    dora.reaches(&room, &first, &user, "read").await?;
    report.step("emil opens it, and dora sees that he has read it");

    emil.ask(json!({ "do": "offline", "offline": true })).await?;
    let second = dora.say(&room, "I moved it to the shed.").await?;
    let state = dora.ask(json!({ "do": "state", "room": room, "event": second })).await?;
    let queued = state.pointer("/recipients").and_then(|reach| reach.get(&user)) == Some(&json!("queued"));
    report.check("a message to a phone out of range is shown as queued", queued);
    report.step("emil is out of range; what dora writes waits for him");
    emil.ask(json!({ "do": "offline", "offline": false })).await?;
    emil.shows(&room, &second, "I moved it to the shed.").await?;
    dora.reaches(&room, &second, &user, "on_their_phone").await?;
    report.step("emil is back, reads it, and dora sees that it is on his phone");
    Ok(())
}

impl Client {
    async fn start(data: &Path, person: &'static str) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find my own program")?;
        let mut command = Command::new(program);
        command.args(["chat", "--json", "--name", person, "--discovery", "loopback"]);
        command.args(["--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--listen", "/ip4/127.0.0.1/tcp/0"]);
        command.arg("--data").arg(data.join(person)).env("HEARTH_LOG", "error");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().context("cannot start a phone")?;
        let commands = process.stdin.take().context("a phone without input")?;
        let answers = BufReader::new(process.stdout.take().context("a phone without output")?).lines();
        let mut client = Self { person, _process: process, commands, answers, serial: 0, user: String::new() };
        client.user = text(&client.ask(json!({ "do": "who" })).await?, "/user")?;
        Ok(client)
    }

    /// A command and its answer. What is told meanwhile is passed over: it is asked for when it matters.
    async fn ask(&mut self, mut command: Value) -> Result<Value> {
        self.serial += 1;
        if let Some(command) = command.as_object_mut() {
            command.insert("id".into(), json!(self.serial));
        }
        self.commands.write_all(format!("{command}\n").as_bytes()).await?;
        loop {
            let line = tokio::time::timeout(PATIENCE, self.answers.next_line()).await;
            let line = line.with_context(|| format!("{}'s phone does not answer {command}", self.person))??;
            let line = line.with_context(|| format!("{}'s phone ended", self.person))?;
            let answer: Value = serde_json::from_str(&line)?;
            if answer.get("id") != Some(&json!(self.serial)) {
                continue;
            }
            if let Some(why) = answer.get("error") {
                bail!("{}'s phone: {command}: {why}", self.person);
            }
            return Ok(answer.get("ok").cloned().unwrap_or_default());
        }
    }

    /// Asks again until the answer is as it should be.
    async fn until(&mut self, what: &str, command: Value, is_so: impl Fn(&Value) -> bool) -> Result<()> {
        let started = Instant::now();
        while !is_so(&self.ask(command.clone()).await?) {
            ensure!(started.elapsed() < PATIENCE, "{}: {what} did not come to be", self.person);
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    async fn say(&mut self, room: &str, body: &str) -> Result<String> {
        text(&self.ask(json!({ "do": "send", "room": room, "text": body })).await?, "/event")
    }

    /// Waits until a message is shown in clear, and was encrypted.
    async fn shows(&mut self, room: &str, event: &str, body: &str) -> Result<()> {
        let wanted = |answer: &Value| {
            let items = answer.get("items").and_then(Value::as_array);
            items.into_iter().flatten().any(|item| {
                item.get("id") == Some(&json!(event))
                    && item.get("text") == Some(&json!(body))
                    && item.get("encrypted") == Some(&json!(true))
            })
        };
        self.until("the message is read", json!({ "do": "shown", "room": room }), wanted).await
    }

    /// Waits until a message of ours is shown to have come so far.
    async fn reaches(&mut self, room: &str, event: &str, user: &str, reach: &str) -> Result<()> {
        let so_far =
            |answer: &Value| answer.pointer("/recipients").and_then(|all| all.get(user)) == Some(&json!(reach));
        self.until(reach, json!({ "do": "state", "room": room, "event": event }), so_far).await
    }
}

/// Whether one of the texts of a list is this one, or is the server of this user.
fn has(answer: &Value, path: &str, wanted: &str) -> bool {
    let list = answer.pointer(path).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .any(|one| one == wanted || wanted.ends_with(&format!(":{one}")))
}

fn text(value: &Value, path: &str) -> Result<String> {
    super::phone::text(value, path)
}
