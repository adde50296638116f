//! What a sync shows for end-to-end encryption: messages to the device, whose keys changed, and which of its own one-time
//! keys are left.
//!
//! The messages of an inbox may be more than one answer holds. The place that a sync hands out then names how far they were
//! shown beside how far everything else was, so that the rest comes at once, and nothing counts as acknowledged that was not
//! shown. Client-server API, "Extensions to /sync" of both modules.

use ruma::api::client::sync::sync_events::{DeviceLists, v3::Response};

use super::SyncRequest;
use crate::{
    home::Home,
    keys::{self, Actor},
    store::{Result, View},
    types::{SyncPlace, SyncToken},
};

/// Takes messages away that the device has: it asks for what came after them.
///
/// # Errors
/// When the database fails.
pub(super) async fn acknowledge(home: &Home, request: &SyncRequest) -> Result<()> {
    match inbox_since(request) {
        Some(since) => keys::acknowledge(home, &actor_of(request), since).await,
        None => Ok(()),
    }
}

/// Adds to an answer that reaches to `last`, and answers where the next sync begins.
///
/// # Errors
/// When the database fails.
pub(super) fn show(
    view: &dyn View,
    request: &SyncRequest,
    since: Option<SyncToken>,
    last: SyncToken,
    response: &mut Response,
) -> Result<SyncPlace> {
    let actor = actor_of(request);
    let inbox = keys::batch(view, &actor, inbox_since(request).unwrap_or_default(), last)?;
    response.to_device.events = inbox.messages;
    response.device_lists = match since {
        Some(since) => keys::device_lists(view, request.user_key, since, last)?,
        None => DeviceLists::new(),
    };
    response.device_one_time_keys_count = keys::one_time_keys(view, &actor)?;
    response.device_unused_fallback_key_types = Some(keys::unused_fallback(view, &actor)?);
    Ok(SyncPlace { log: last, inbox: inbox.reached, typing: None })
}

/// Whether an answer holds nothing that a client waits for. The keys that are left are no news: they come with every answer.
pub(super) fn is_empty(response: &Response) -> bool {
    response.to_device.is_empty() && response.device_lists.is_empty()
}

fn inbox_since(request: &SyncRequest) -> Option<SyncToken> {
    request.inbox_since.or(request.since)
}

fn actor_of(request: &SyncRequest) -> Actor {
    Actor { user: request.user.clone(), user_key: request.user_key, device: request.device.clone() }
}
