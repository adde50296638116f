//! The client API on its socket, which a node may open and close while it runs.

use std::{io, net::SocketAddr};

use axum::Router;
use tokio::{sync::Mutex, task::JoinHandle};

use crate::loopback;

/// The listener for clients, while it is open.
#[derive(Default)]
pub(super) struct Clients(Mutex<Option<Open>>);

struct Open {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Clients {
    /// Opens the listener and answers where it is. One that is open stays where it is.
    pub(super) async fn open(&self, address: SocketAddr, router: Router) -> io::Result<SocketAddr> {
        let mut open = self.0.lock().await;
        if let Some(open) = &*open {
            return Ok(open.address);
        }
        let (listener, address) = loopback::bind(address).await?;
        let task = tokio::spawn(loopback::serve(listener, router));
        *open = Some(Open { address, task });
        Ok(address)
    }

    /// Closes the listener and its connections.
    pub(super) async fn close(&self) {
        if let Some(open) = self.0.lock().await.take() {
            open.task.abort();
            // An aborted task ends with an error by design. Its socket is closed once it has ended.
            drop(open.task.await);
        }
    }

    /// Where the listener is.
    pub(super) async fn address(&self) -> Option<SocketAddr> {
        self.0.lock().await.as_ref().map(|open| open.address)
    }
}
