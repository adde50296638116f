//! `POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}` and `POST .../read_markers`. Client-server API,
//! "Receipts" and "Read and unread markers".

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::{
    api::client::{
        read_marker::set_read_marker::v3 as set_read_marker,
        receipt::create_receipt::v3::{self as create_receipt, ReceiptType},
    },
    events::receipt::ReceiptThread,
};
use serde_json::{Map, Value};

use super::amended::{Amend, Amended};
use crate::{
    api::{
        ApiError,
        frame::{Authed, route},
    },
    home::Home,
    rooms::receipts::{self, ReceiptError, ReceiptKind},
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    let router = route(router, receipt);
    route(router, read_markers)
}

impl Amend for create_receipt::Request {
    /// What is no thread is to be refused as such, and not as a body that does not parse.
    fn amend_body(body: &mut Map<String, Value>) {
        let is_thread =
            |thread: &Value| thread.as_str().is_some_and(|thread| ReceiptThread::try_from(Some(thread)).is_ok());
        if body.get("thread_id").is_some_and(|thread| !is_thread(thread)) {
            body.insert("thread_id".into(), "".into());
        }
    }
}

async fn receipt(
    State(home): State<Arc<Home>>,
    call: Authed<Amended<create_receipt::Request>>,
) -> Result<create_receipt::Response, ApiError> {
    let Amended(request) = call.request;
    let kind = match request.receipt_type {
        ReceiptType::Read => ReceiptKind::Read,
        ReceiptType::ReadPrivate => ReceiptKind::Private,
        ReceiptType::FullyRead => ReceiptKind::FullyRead,
        other => return Err(ApiError::invalid_param(format!("there are no receipts of the type `{other}`"))),
    };
    receipts::set(&home, &call.user, &request.room_id, &request.event_id, kind, request.thread).await?;
    Ok(create_receipt::Response::new())
}

async fn read_markers(
    State(home): State<Arc<Home>>,
    call: Authed<set_read_marker::Request>,
) -> Result<set_read_marker::Response, ApiError> {
    let request = call.request;
    let markers = [
        (request.fully_read, ReceiptKind::FullyRead),
        (request.read_receipt, ReceiptKind::Read),
        (request.private_read_receipt, ReceiptKind::Private),
    ];
    let markers = markers.into_iter().filter_map(|(event, kind)| Some((event?, kind, ReceiptThread::Unthreaded)));
    receipts::set_all(&home, &call.user, &request.room_id, markers.collect()).await?;
    Ok(set_read_marker::Response::new())
}

impl From<ReceiptError> for ApiError {
    fn from(error: ReceiptError) -> Self {
        let message = error.to_string();
        match error {
            ReceiptError::NotIn(_) => Self::forbidden(message),
            ReceiptError::NoEvent(_) => Self::not_found(message),
            ReceiptError::BadThread(_) => Self::invalid_param(message),
            ReceiptError::Marker(error) => error.into(),
            ReceiptError::Store(error) => error.into(),
        }
    }
}
