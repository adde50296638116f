//! The EDUs of a transaction, each given to the feature that it speaks to. Server-server API, "EDUs".
//!
//! EDUs that are not known here are passed over, as the spec asks, and so are those that do not parse: they carry nothing
//! that the rest of the transaction depends on. A failure of our own store is an error, so that the sender keeps them.

use ruma::ServerName;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{api::ApiError, federation::heads, home::Home};

#[derive(Deserialize)]
struct Edu<'a> {
    edu_type: String,
    #[serde(borrow)]
    content: &'a RawValue,
}

/// Takes one EDU.
///
/// # Errors
/// When the store fails.
pub(super) async fn take(home: &Home, origin: &ServerName, edu: &RawValue) -> Result<(), ApiError> {
    let Ok(edu) = serde_json::from_str::<Edu<'_>>(edu.get()) else { return Ok(()) };
    match edu.edu_type.as_str() {
        heads::EDU_TYPE => {
            if let Some(content) = parse::<heads::Heads>(origin, &edu) {
                heads::hear(home, origin, &content).await?;
            }
        }
        other => tracing::debug!(kind = other, %origin, "an EDU of a kind that is not known here"),
    }
    Ok(())
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
