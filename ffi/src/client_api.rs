//! The loopback Client-Server API, for unmodified Matrix clients on this phone.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use crate::{
    error::NodeError,
    node::{Node, Shared},
};

/// Where and how an unmodified Matrix client logs in.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ClientAccess {
    /// The homeserver's URL.
    pub url: String,
    /// A token for `m.login.token`, for one login within a few minutes.
    pub login_token: String,
}

/// The loopback Client-Server API.
#[derive(uniffi::Object)]
pub struct ClientApi {
    shared: Arc<Shared>,
}

#[uniffi::export]
impl Node {
    /// The loopback Client-Server API.
    pub fn client_api(&self) -> Arc<ClientApi> {
        Arc::new(ClientApi { shared: self.shared.clone() })
    }
}

#[uniffi::export]
impl ClientApi {
    /// Opens it on a port of the loopback interface, 0 for any, and makes a login token for the person's account. Other apps on
    /// the phone can reach the port, and nobody gets in without a token.
    ///
    /// # Errors
    /// [`NodeError::Network`] when the port is taken.
    pub async fn enable(&self, port: u16) -> Result<ClientAccess, NodeError> {
        self.shared
            .with(async move |running| {
                let address = running.node.open_clients(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
                Ok(ClientAccess { url: format!("http://{address}"), login_token: running.chat.login_token() })
            })
            .await
    }

    /// Closes it. Sessions stay, and go on when it is opened again.
    ///
    /// # Errors
    /// [`NodeError::NotRunning`], [`NodeError::Paused`].
    pub async fn disable(&self) -> Result<(), NodeError> {
        self.shared
            .with(async |running| {
                running.node.close_clients().await;
                Ok(())
            })
            .await
    }
}
