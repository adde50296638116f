//! The way out, which may be closed: a transport in front of the mesh's, so that the network can go while the homeserver
//! stays.

use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use hearth_core::ports::{BodyStream, BoxFuture, Transport, TransportError};
use ruma::ServerName;

#[derive(Default)]
pub(super) struct Switch(RwLock<Option<Arc<dyn Transport>>>);

impl Switch {
    pub(super) fn set(&self, transport: Option<Arc<dyn Transport>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = transport;
    }
}

impl Switch {
    fn way_out(&self, destination: &ServerName) -> Result<Arc<dyn Transport>, TransportError> {
        let transport = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        transport.ok_or_else(|| TransportError::Unreachable {
            destination: destination.to_string(),
            reason: "the network is switched off".into(),
        })
    }
}

impl Transport for Switch {
    fn request<'a>(
        &'a self,
        destination: &'a ServerName,
        request: http::Request<Bytes>,
        response_bytes_max: usize,
    ) -> BoxFuture<'a, Result<http::Response<Bytes>, TransportError>> {
        let transport = self.way_out(destination);
        Box::pin(async move { transport?.request(destination, request, response_bytes_max).await })
    }

    fn stream<'a>(
        &'a self,
        destination: &'a ServerName,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'a, Result<http::Response<BodyStream>, TransportError>> {
        let transport = self.way_out(destination);
        Box::pin(async move { transport?.stream(destination, request).await })
    }
}
