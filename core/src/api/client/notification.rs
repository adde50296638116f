//! `GET /_matrix/client/v3/notifications`, `GET .../pushers`, `POST .../pushers/set`. Client-server API, "Listing
//! Notifications" and "Push Notifications".
//!
//! There are no pushers: the homeserver runs on the phone that a push gateway would wake. A client that asks for one is told
//! so, rather than left waiting for notifications that never come.

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::{
    MilliSecondsSinceUnixEpoch, UInt,
    api::client::push::{
        get_notifications::v3::{self as get_notifications, Notification},
        get_pushers::v3 as get_pushers,
        set_pusher::v3::{self as set_pusher, PusherAction},
    },
    serde::Raw,
};

use crate::{
    api::{
        ApiError,
        frame::{Authed, route},
    },
    home::Home,
    rooms::{show::Reader, unread, visibility::UserSight},
    store::StoreError,
    types::limits,
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    let router = route(router, notifications);
    let router = route(router, pushers);
    route(router, set)
}

async fn notifications(
    State(home): State<Arc<Home>>,
    call: Authed<get_notifications::Request>,
) -> Result<get_notifications::Response, ApiError> {
    let before = call.request.from.as_deref().map(|token| {
        let n = token.strip_prefix('n').and_then(|digits| digits.parse().ok());
        n.ok_or_else(|| ApiError::invalid_param("`from` is no token of this endpoint; leave it out to start anew"))
    });
    let limit = call.request.limit.map_or(limits::PAGE_EVENTS_DEFAULT, |limit| {
        usize::try_from(u64::from(limit)).unwrap_or(usize::MAX).clamp(1, limits::NOTIFICATIONS_PAGE_MAX)
    });
    let only_highlights = call.request.only.as_deref() == Some("highlight");
    let view = home.store.snapshot()?;
    let (told, next) = unread::told(&view, call.user_key, before.transpose()?, limit, only_highlights)?;
    let reader =
        Reader { user: call.user_key, device: &call.device, now: home.now(), without_room_id: true, bundles: false };
    let mut notifications = Vec::with_capacity(told.len());
    for told in told {
        let mut sight = UserSight::new(&view, told.event.header.room, &call.user)?;
        let event = Raw::from_json(reader.show(&view, &mut sight, &told.event)?);
        let actions = told.actions.into_iter().map(serde_json::from_value);
        let actions = actions.collect::<Result<_, _>>().map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let pdu = &told.event.pdu;
        let ts = MilliSecondsSinceUnixEpoch(UInt::new_saturating(pdu.origin_server_ts.0));
        notifications.push(Notification::new(actions, event, told.read, pdu.room_id.clone(), ts));
    }
    let mut response = get_notifications::Response::new(notifications);
    response.next_token = next.map(|n| format!("n{n}"));
    Ok(response)
}

async fn pushers(
    State(_): State<Arc<Home>>,
    _: Authed<get_pushers::Request>,
) -> Result<get_pushers::Response, ApiError> {
    Ok(get_pushers::Response::new(Vec::new()))
}

async fn set(State(_): State<Arc<Home>>, call: Authed<set_pusher::Request>) -> Result<set_pusher::Response, ApiError> {
    match call.request.action {
        // Whatever is to be deleted is not there.
        PusherAction::Delete(_) => Ok(set_pusher::Response::new()),
        _ => Err(ApiError::unknown("this homeserver has no pushers: it runs where its notifications are shown")),
    }
}
