//! The EDUs of a transaction, each given to the feature that it speaks to. Server-server API, "EDUs".
//!
//! EDUs that are not known here are passed over, as the spec asks, and so are those that do not parse: they carry nothing
//! that the rest of the transaction depends on. A failure of our own store is an error, so that the sender keeps them.

use ruma::{RoomId, ServerName, api::federation::transactions::edu::TypingContent};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{
    api::ApiError,
    federation::{acl, heads},
    home::Home,
    keys,
    rooms::{
        receipts::{self, HeardReceipts},
        typing,
    },
    store::View,
};

#[derive(Deserialize)]
struct Edu<'a> {
    edu_type: String,
    #[serde(borrow)]
    content: &'a RawValue,
}

/// Takes the EDUs of a transaction. Its to-device messages share one commit; they come last, since who gets one may want to
/// know the device that it came from.
///
/// # Errors
/// When the store fails.
pub(super) async fn take_all<'a>(
    home: &Home,
    origin: &ServerName,
    edus: impl Iterator<Item = &'a RawValue>,
) -> Result<(), ApiError> {
    let mut messages = Vec::new();
    for edu in edus {
        let Ok(edu) = serde_json::from_str::<Edu<'_>>(edu.get()) else { continue };
        if edu.edu_type == "m.direct_to_device" {
            messages.extend(parse(origin, &edu));
        } else {
            take(home, origin, &edu).await?;
        }
    }
    Ok(keys::receive(home, origin, messages).await?)
}

async fn take(home: &Home, origin: &ServerName, edu: &Edu<'_>) -> Result<(), ApiError> {
    match edu.edu_type.as_str() {
        heads::EDU_TYPE => {
            if let Some(content) = parse::<heads::Heads>(origin, edu) {
                heads::hear(home, origin, &content).await?;
            }
        }
        "m.device_list_update" => {
            if let Some(content) = parse(origin, edu) {
                keys::device_list_update(home, origin, content).await?;
            }
        }
        "m.signing_key_update" => {
            if let Some(content) = parse(origin, edu) {
                keys::signing_key_update(home, origin, content).await?;
            }
        }
        "m.receipt" => {
            if let Some(mut content) = parse::<HeardReceipts>(origin, edu) {
                let view = home.store.snapshot()?;
                content.retain(|room, _| {
                    <&RoomId>::try_from(room.as_str()).is_ok_and(|room| is_let_in(&view, room, origin))
                });
                drop(view);
                receipts::hear(home, origin, content).await?;
            }
        }
        "m.typing" => {
            if let Some(TypingContent { room_id, user_id, typing, .. }) = parse(origin, edu)
                && is_let_in(&home.store.snapshot()?, &room_id, origin)
            {
                typing::hear(home, origin, &room_id, &user_id, typing)?;
            }
        }
        other => tracing::debug!(kind = other, %origin, "an EDU of a kind that is not known here"),
    }
    Ok(())
}

/// Whether a room does not shut a server out. Server-server API, "Server Access Control Lists (ACLs)".
fn is_let_in(view: &dyn View, room: &RoomId, server: &ServerName) -> bool {
    acl::is_shut_out(view, room, server).is_ok_and(|shut_out| !shut_out)
}

fn parse<T: DeserializeOwned>(origin: &ServerName, edu: &Edu<'_>) -> Option<T> {
    match serde_json::from_str(edu.content.get()) {
        Ok(content) => Some(content),
        Err(error) => {
            tracing::debug!(%error, kind = edu.edu_type, %origin, "an EDU does not parse");
            None
        }
    }
}
