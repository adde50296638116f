//! A `hearth run` of its own, and ordinary HTTP requests to it.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};

/// A process must be there within this time. It takes milliseconds; a busy machine takes longer.
const START_WITHIN: Duration = Duration::from_secs(20);

/// The program beside this test binary. It is built here, since cargo builds only the binaries of a test's own crate.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built =
            std::process::Command::new(cargo).args(["build", "--locked", "--workspace", "--bins", "--tests"]).status();
        assert!(built.expect("cargo is there").success(), "hearth does not build");
        let beside = std::env::current_exe().unwrap();
        beside.parent().unwrap().parent().unwrap().join("hearth")
    })
}

/// A running homeserver.
pub(super) struct Process {
    data: PathBuf,
    /// The same after a restart, so that clients find it again.
    client_listen: String,
    child: Child,
}

impl Process {
    pub(super) async fn start(data: &Path) -> Self {
        let (child, client_listen) = run(data, "127.0.0.1:0").await;
        Self { data: data.to_owned(), client_listen, child }
    }

    /// SIGKILL.
    pub(super) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    pub(super) async fn restart(&mut self) {
        self.child = run(&self.data, &self.client_listen).await.0;
    }

    pub(super) async fn register(&self, name: &str) -> Client {
        let mut client = Client { address: self.client_listen.clone(), token: String::new(), user: String::new() };
        let body = json!({ "username": name, "password": "a b c", "auth": { "type": "m.login.dummy" } });
        let answer = client.post("/_matrix/client/v3/register", &body).await.unwrap();
        client.token = answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        client.user = answer["user_id"].as_str().unwrap().to_owned();
        client
    }
}

/// Starts the program and answers once it says where its client API is.
async fn run(data: &Path, client_listen: &str) -> (Child, String) {
    let mut child = Command::new(program())
        .args(["run", "--discovery", "loopback", "--client-listen", client_listen, "--data"])
        .arg(data)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = timeout(START_WITHIN, async {
        loop {
            let line = lines.next_line().await.unwrap().expect("it says where its client API is");
            if let Some((_, address)) = line.split_once("http://") {
                return address.trim().trim_end_matches('/').to_owned();
            }
        }
    });
    let address = address.await.expect("it starts in time");
    // Whoever writes into a pipe that nobody reads is stopped some day.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (child, address)
}

/// Somebody's access to a homeserver.
#[derive(Clone)]
pub(super) struct Client {
    address: String,
    token: String,
    user: String,
}

impl Client {
    /// The name of the homeserver.
    pub(super) fn server(&self) -> &str {
        self.user.split_once(':').unwrap().1
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> Result<Value> {
        self.ask(Method::PUT, path, Bytes::from(body.to_string())).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.ask(Method::POST, path, Bytes::from(body.to_string())).await
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Value> {
        let stream = TcpStream::connect(&self.address).await.context("connecting")?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // It ends with its sender.
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", &self.address);
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        let answer = sender.send_request(request.body(Full::new(body))?).await.context("asking")?;
        let body = answer.into_body().collect().await.context("reading")?.to_bytes();
        serde_json::from_slice(&body).with_context(|| format!("no JSON: {body:?}"))
    }
}
