//! The contents of events that this server writes by itself, and what it puts into those that a client wrote.
//!
//! Canonical JSON throughout: what cannot be signed is refused before it is an event.

use ruma::{CanonicalJsonObject, CanonicalJsonValue, UserId, events::room::member::MembershipState};
use serde::Deserialize;
use serde_json::Value;

use crate::store::{Result, UserKey, View};

/// The key under which a restricted join names the user who vouches for it.
pub(super) const AUTHORISED_VIA: &str = "join_authorised_via_users_server";

/// The part of a profile that member events carry.
#[derive(Debug, Default, Deserialize)]
struct Face {
    displayname: Option<String>,
    avatar_url: Option<String>,
}

/// A canonical object out of a literal. Anything else than an object of canonical values becomes the empty object.
pub(super) fn object(value: Value) -> CanonicalJsonObject {
    match CanonicalJsonValue::try_from(value) {
        Ok(CanonicalJsonValue::Object(object)) => object,
        _ => CanonicalJsonObject::new(),
    }
}

/// A canonical string.
pub(super) fn text(text: impl Into<String>) -> CanonicalJsonValue {
    CanonicalJsonValue::String(text.into())
}

/// The content of a member event: `base` with its membership set, and for those who are or may come in, their face.
///
/// What `base` says about the face stays, so that a client can have another name in one room. Who vouches for a restricted
/// join is for the server to say, so a client's own word is dropped: a copied one would need another server's signature.
///
/// # Errors
/// When the database fails.
pub(super) fn member(
    view: &dyn View,
    user: &UserId,
    membership: &MembershipState,
    base: &CanonicalJsonObject,
) -> Result<CanonicalJsonObject> {
    let mut content = base.clone();
    content.remove(AUTHORISED_VIA);
    content.insert("membership".into(), text(membership.as_str()));
    if matches!(membership, MembershipState::Join | MembershipState::Invite | MembershipState::Knock) {
        let face = face(view, user)?;
        for (key, value) in [("displayname", face.displayname), ("avatar_url", face.avatar_url)] {
            if let Some(value) = value {
                content.entry(key.into()).or_insert_with(|| text(value));
            }
        }
    }
    Ok(content)
}

/// A member's content with the face replaced by what the profile says now.
///
/// # Errors
/// When the database fails.
pub(super) fn with_new_face(view: &dyn View, user: &UserId, old: &CanonicalJsonObject) -> Result<CanonicalJsonObject> {
    let mut base = old.clone();
    base.remove("displayname");
    base.remove("avatar_url");
    member(view, user, &MembershipState::Join, &base)
}

/// What is known of a user's profile: all of it for our own, the cache for others.
fn face(view: &dyn View, user: &UserId) -> Result<Face> {
    let Some(user) = UserKey::find(view, user)? else { return Ok(Face::default()) };
    let Some(row) = view.profile()?.row(user.0)? else { return Ok(Face::default()) };
    // A cached profile of another server may hold anything; a face that is none is no face.
    Ok(serde_json::from_slice(row.value()).unwrap_or_default())
}
