//! Backups of room keys. Client-server API, "Server-side key backups".
//!
//! - `POST` and `GET /_matrix/client/v3/room_keys/version`
//! - `GET`, `PUT` and `DELETE .../room_keys/version/{version}`
//! - `PUT`, `GET` and `DELETE .../room_keys/keys`, `.../room_keys/keys/{roomId}`, `.../room_keys/keys/{roomId}/{sessionId}`

use std::{collections::BTreeMap, sync::Arc};

use axum::{Router, extract::State};
use ruma::api::client::backup::{
    add_backup_keys::v3 as add, add_backup_keys_for_room::v3 as add_room,
    add_backup_keys_for_session::v3 as add_session, create_backup_version::v3 as create_version,
    delete_backup_keys::v3 as delete, delete_backup_keys_for_room::v3 as delete_room,
    delete_backup_keys_for_session::v3 as delete_session, delete_backup_version::v3 as delete_version,
    get_backup_info::v3 as get_version, get_backup_keys::v3 as get, get_backup_keys_for_room::v3 as get_room,
    get_backup_keys_for_session::v3 as get_session, get_latest_backup_info::v3 as get_latest,
    update_backup_version::v3 as update_version,
};

use crate::{
    api::{
        ApiError,
        frame::{Authed, route},
    },
    home::Home,
    keys::backup::{self, Backup, BackupState, Part},
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    let router = route(router, post_version);
    let router = route(router, latest);
    let router = route(router, version);
    let router = route(router, put_version);
    let router = route(router, remove_version);
    let router = route(router, put_all);
    let router = route(router, put_room);
    let router = route(router, put_session);
    let router = route(router, all);
    let router = route(router, room);
    let router = route(router, session);
    let router = route(router, remove_all);
    let router = route(router, remove_room);
    route(router, remove_session)
}

async fn post_version(
    State(home): State<Arc<Home>>,
    call: Authed<create_version::Request>,
) -> Result<create_version::Response, ApiError> {
    let (actor, request) = call.into_actor();
    Ok(create_version::Response::new(backup::create(&home, &actor, &request.algorithm).await?))
}

async fn latest(
    State(home): State<Arc<Home>>,
    call: Authed<get_latest::Request>,
) -> Result<get_latest::Response, ApiError> {
    let (actor, _) = call.into_actor();
    let Backup { version, algorithm, state } = backup::info(&home.store.snapshot()?, &actor, None)?;
    Ok(get_latest::Response::new(algorithm, state.count, state.etag, version))
}

async fn version(
    State(home): State<Arc<Home>>,
    call: Authed<get_version::Request>,
) -> Result<get_version::Response, ApiError> {
    let (actor, request) = call.into_actor();
    let Backup { version, algorithm, state } = backup::info(&home.store.snapshot()?, &actor, Some(&request.version))?;
    Ok(get_version::Response::new(algorithm, state.count, state.etag, version))
}

async fn put_version(
    State(home): State<Arc<Home>>,
    call: Authed<update_version::Request>,
) -> Result<update_version::Response, ApiError> {
    let (actor, request) = call.into_actor();
    backup::update(&home, &actor, &request.version, &request.algorithm).await?;
    Ok(update_version::Response::new())
}

async fn remove_version(
    State(home): State<Arc<Home>>,
    call: Authed<delete_version::Request>,
) -> Result<delete_version::Response, ApiError> {
    let (actor, request) = call.into_actor();
    backup::delete(&home, &actor, &request.version).await?;
    Ok(delete_version::Response::new())
}

async fn put_all(State(home): State<Arc<Home>>, call: Authed<add::Request>) -> Result<add::Response, ApiError> {
    let (actor, request) = call.into_actor();
    let keys = request.rooms.into_iter().map(|(room, keys)| (room, keys.sessions)).collect();
    let BackupState { etag, count } = backup::add(&home, &actor, &request.version, keys).await?;
    Ok(add::Response::new(etag, count))
}

async fn put_room(
    State(home): State<Arc<Home>>,
    call: Authed<add_room::Request>,
) -> Result<add_room::Response, ApiError> {
    let (actor, request) = call.into_actor();
    let keys = BTreeMap::from([(request.room_id, request.sessions)]);
    let BackupState { etag, count } = backup::add(&home, &actor, &request.version, keys).await?;
    Ok(add_room::Response::new(etag, count))
}

async fn put_session(
    State(home): State<Arc<Home>>,
    call: Authed<add_session::Request>,
) -> Result<add_session::Response, ApiError> {
    let (actor, request) = call.into_actor();
    let sessions = BTreeMap::from([(request.session_id, request.session_data)]);
    let keys = BTreeMap::from([(request.room_id, sessions)]);
    let BackupState { etag, count } = backup::add(&home, &actor, &request.version, keys).await?;
    Ok(add_session::Response::new(etag, count))
}

async fn all(State(home): State<Arc<Home>>, call: Authed<get::Request>) -> Result<get::Response, ApiError> {
    let (actor, request) = call.into_actor();
    let keys = backup::keys(&home.store.snapshot()?, &actor, &request.version, &Part::All)?;
    Ok(get::Response::new(backup::rooms(keys)))
}

async fn room(State(home): State<Arc<Home>>, call: Authed<get_room::Request>) -> Result<get_room::Response, ApiError> {
    let (actor, request) = call.into_actor();
    let part = Part::Room(request.room_id);
    let keys = backup::keys(&home.store.snapshot()?, &actor, &request.version, &part)?;
    Ok(get_room::Response::new(keys.into_values().next().unwrap_or_default()))
}

async fn session(
    State(home): State<Arc<Home>>,
    call: Authed<get_session::Request>,
) -> Result<get_session::Response, ApiError> {
    let (actor, request) = call.into_actor();
    let part = Part::Session(request.room_id, request.session_id);
    let keys = backup::keys(&home.store.snapshot()?, &actor, &request.version, &part)?;
    let key = keys.into_values().next().and_then(|sessions| sessions.into_values().next());
    let key = key.ok_or_else(|| ApiError::not_found("the backup has no key of this session"))?;
    Ok(get_session::Response::new(key))
}

async fn remove_all(
    State(home): State<Arc<Home>>,
    call: Authed<delete::Request>,
) -> Result<delete::Response, ApiError> {
    let (actor, request) = call.into_actor();
    let BackupState { etag, count } = backup::remove(&home, &actor, &request.version, Part::All).await?;
    Ok(delete::Response::new(etag, count))
}

async fn remove_room(
    State(home): State<Arc<Home>>,
    call: Authed<delete_room::Request>,
) -> Result<delete_room::Response, ApiError> {
    let (actor, request) = call.into_actor();
    let part = Part::Room(request.room_id);
    let BackupState { etag, count } = backup::remove(&home, &actor, &request.version, part).await?;
    Ok(delete_room::Response::new(etag, count))
}

async fn remove_session(
    State(home): State<Arc<Home>>,
    call: Authed<delete_session::Request>,
) -> Result<delete_session::Response, ApiError> {
    let (actor, request) = call.into_actor();
    let part = Part::Session(request.room_id, request.session_id);
    let BackupState { etag, count } = backup::remove(&home, &actor, &request.version, part).await?;
    Ok(delete_session::Response::new(etag, count))
}
