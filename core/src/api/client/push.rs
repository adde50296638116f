//! `GET /_matrix/client/v3/pushrules/`, `.../global/`, and `GET`, `PUT` and `DELETE .../global/{kind}/{ruleId}` with its
//! `enabled` and `actions`. Client-server API, "Push Rules: API".

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::{
    api::client::push::{
        PushRule, RuleKind, delete_pushrule::v3 as delete_pushrule, get_pushrule::v3 as get_pushrule,
        get_pushrule_actions::v3 as get_actions, get_pushrule_enabled::v3 as get_enabled,
        get_pushrules_all::v3 as get_all, get_pushrules_global_scope::v3 as get_global,
        set_pushrule::v3 as set_pushrule, set_pushrule_actions::v3 as set_actions,
        set_pushrule_enabled::v3 as set_enabled,
    },
    push::AnyPushRule,
};
use serde_json::{Map, Value, json};

use super::amended::{Amend, Amended};
use crate::{
    api::{
        ApiError,
        frame::{Authed, route, route_at},
    },
    home::Home,
    store::UserKey,
    users::push::{self, PushError},
};

/// This group's endpoints. The slash at the end may be left out.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    let mut router = route(route(router, all), global);
    for version in ["r0", "v3"] {
        router = route_at(router, &format!("/_matrix/client/{version}/pushrules"), all);
        router = route_at(router, &format!("/_matrix/client/{version}/pushrules/global"), global);
    }
    let router = route(route(route(router, one), put), delete);
    let router = route(route(router, enabled), put_enabled);
    route(route(router, actions), put_actions)
}

async fn all(State(home): State<Arc<Home>>, call: Authed<get_all::Request>) -> Result<get_all::Response, ApiError> {
    Ok(get_all::Response::new(push::rules(&home.store.snapshot()?, call.user_key)?))
}

async fn global(
    State(home): State<Arc<Home>>,
    call: Authed<get_global::Request>,
) -> Result<get_global::Response, ApiError> {
    Ok(get_global::Response::new(push::rules(&home.store.snapshot()?, call.user_key)?))
}

async fn one(
    State(home): State<Arc<Home>>,
    call: Authed<get_pushrule::Request>,
) -> Result<get_pushrule::Response, ApiError> {
    let rule = find(&home, call.user_key, call.request.kind, &call.request.rule_id)?;
    Ok(get_pushrule::Response::new(PushRule::from(rule)))
}

impl Amend for set_pushrule::Request {
    /// A rule without conditions always matches.
    fn amend_body(body: &mut Map<String, Value>) {
        body.entry("conditions").or_insert_with(|| json!([]));
    }
}

async fn put(
    State(home): State<Arc<Home>>,
    call: Authed<Amended<set_pushrule::Request>>,
) -> Result<set_pushrule::Response, ApiError> {
    let Amended(set_pushrule::Request { rule, before, after, .. }) = call.request;
    let user = call.user_key;
    home.store.write(move |tx| push::insert(tx, user, rule.clone(), after.as_deref(), before.as_deref())).await?;
    Ok(set_pushrule::Response::new())
}

async fn delete(
    State(home): State<Arc<Home>>,
    call: Authed<delete_pushrule::Request>,
) -> Result<delete_pushrule::Response, ApiError> {
    let (user, kind, id) = (call.user_key, known(call.request.kind)?, call.request.rule_id);
    home.store.write(move |tx| push::remove(tx, user, kind.clone(), &id)).await?;
    Ok(delete_pushrule::Response::new())
}

async fn enabled(
    State(home): State<Arc<Home>>,
    call: Authed<get_enabled::Request>,
) -> Result<get_enabled::Response, ApiError> {
    let rule = find(&home, call.user_key, call.request.kind, &call.request.rule_id)?;
    Ok(get_enabled::Response::new(rule.enabled()))
}

async fn put_enabled(
    State(home): State<Arc<Home>>,
    call: Authed<set_enabled::Request>,
) -> Result<set_enabled::Response, ApiError> {
    let set_enabled::Request { kind, rule_id, enabled, .. } = call.request;
    let (user, kind) = (call.user_key, known(kind)?);
    home.store.write(move |tx| push::set_enabled(tx, user, kind.clone(), &rule_id, enabled)).await?;
    Ok(set_enabled::Response::new())
}

async fn actions(
    State(home): State<Arc<Home>>,
    call: Authed<get_actions::Request>,
) -> Result<get_actions::Response, ApiError> {
    let rule = find(&home, call.user_key, call.request.kind, &call.request.rule_id)?;
    Ok(get_actions::Response::new(rule.actions().to_vec()))
}

async fn put_actions(
    State(home): State<Arc<Home>>,
    call: Authed<set_actions::Request>,
) -> Result<set_actions::Response, ApiError> {
    let set_actions::Request { kind, rule_id, actions, .. } = call.request;
    let (user, kind) = (call.user_key, known(kind)?);
    home.store.write(move |tx| push::set_actions(tx, user, kind.clone(), &rule_id, actions.clone())).await?;
    Ok(set_actions::Response::new())
}

fn find(home: &Home, user: UserKey, kind: RuleKind, id: &str) -> Result<AnyPushRule, ApiError> {
    Ok(push::rule(&home.store.snapshot()?, user, known(kind)?, id)?)
}

fn known(kind: RuleKind) -> Result<RuleKind, ApiError> {
    match kind {
        RuleKind::Override | RuleKind::Underride | RuleKind::Sender | RuleKind::Room | RuleKind::Content => Ok(kind),
        other => Err(ApiError::invalid_param(format!("there are no push rules of the kind `{other}`"))),
    }
}

impl From<PushError> for ApiError {
    fn from(error: PushError) -> Self {
        let message = error.to_string();
        match error {
            PushError::NotFound => Self::not_found(message),
            PushError::BadRule(_) | PushError::ServerDefault => Self::invalid_param(message),
            PushError::BadPlace(_) => Self::unknown(message),
            PushError::TooMany => Self::too_large(message),
            PushError::Content(error) => error.into(),
            PushError::Store(error) => error.into(),
        }
    }
}
