//! A message in the queue, and its sealed form on disk.

use std::{path::PathBuf, time::Duration};

use ruma::{OwnedEventId, OwnedRoomId, OwnedTransactionId};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};

use super::TABLE;
use crate::{
    chat::{
        ChatError,
        attachment::{FileInfo, Kind},
        vault::Vault,
    },
    rooms::relations::Relation,
};

/// A message in the queue.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Where it goes.
    pub(crate) room: OwnedRoomId,
    /// What it is called on this device.
    pub(crate) txn: OwnedTransactionId,
    /// When it was written, in ms.
    pub(crate) at: u64,
    /// What it is.
    pub(crate) what: What,
    /// Why it cannot be sent as it is.
    pub(crate) failure: Option<Failure>,
}

/// What a message is.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum What {
    /// An event.
    Message {
        /// Its type.
        kind: String,
        /// Its content in clear.
        content: Box<RawValue>,
        /// Whether it names a file that was put into the media store for this message alone.
        own_file: bool,
    },
    /// The deletion of an event.
    Redaction {
        /// Which.
        target: OwnedEventId,
        /// Why.
        reason: Option<String>,
    },
    /// A file that is not in the media store yet.
    File {
        /// Where it lies. Without a path it is an open file, which does not outlive the process.
        path: Option<PathBuf>,
        /// What it is.
        info: Described,
        /// Its place among other messages: `m.relates_to`.
        relates_to: Option<Box<RawValue>>,
    },
}

/// What the sender says of a file, as the queue keeps it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Described {
    name: String,
    mime: Option<String>,
    kind: u8,
    caption: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
    duration_ms: Option<u64>,
}

/// Why a message cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// For a person to read.
    pub(crate) reason: String,
    /// Whether it makes sense to try again.
    pub(crate) retryable: bool,
}

/// What a message does to another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum About {
    /// It stands for itself.
    #[default]
    Nothing,
    /// It belongs to a thread.
    Thread(OwnedEventId),
    /// It replaces what a message says.
    Edit(OwnedEventId),
    /// It reacts to a message.
    Reaction(OwnedEventId, String),
    /// It acts on a message otherwise.
    Other(OwnedEventId),
}

impl What {
    /// An event.
    pub(crate) fn message(kind: &str, content: Box<RawValue>) -> Self {
        Self::Message { kind: kind.to_owned(), content, own_file: false }
    }
}

impl About {
    pub(super) fn of(what: &What) -> Self {
        let relation = match what {
            What::Message { content, .. } => Relation::of_content(content),
            What::File { relates_to: Some(relates_to), .. } => {
                let content = format!(r#"{{"m.relates_to":{}}}"#, relates_to.get());
                RawValue::from_string(content).ok().and_then(|content| Relation::of_content(&content))
            }
            What::Redaction { target, .. } => return Self::Other(target.clone()),
            What::File { .. } => None,
        };
        let Some(Relation { rel_type, parent, key }) = relation else { return Self::Nothing };
        match (rel_type.as_str(), key) {
            ("m.thread", _) => Self::Thread(parent),
            ("m.replace", _) => Self::Edit(parent),
            ("m.annotation", Some(key)) => Self::Reaction(parent, key),
            ("m.annotation" | "m.reference", _) => Self::Other(parent),
            _ => Self::Nothing,
        }
    }
}

impl Entry {
    pub(super) fn seal(&self, vault: &Vault) -> Result<Vec<u8>, ChatError> {
        let plain = zeroize::Zeroizing::new(
            serde_json::to_vec(self).map_err(|error| ChatError::Invalid(format!("this cannot be sent: {error}")))?,
        );
        Ok(vault.seal(TABLE, &plain)?)
    }

    pub(super) fn open(vault: &Vault, sealed: &[u8]) -> Result<Self, ChatError> {
        let plain = vault.open(TABLE, sealed)?;
        serde_json::from_slice(&plain).map_err(|error| ChatError::Invalid(format!("a row does not decode: {error}")))
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What somebody wrote stays out of logs.
        f.debug_struct("Entry").field("room", &self.room).field("txn", &self.txn).finish_non_exhaustive()
    }
}

impl From<&FileInfo> for Described {
    fn from(info: &FileInfo) -> Self {
        Self {
            name: info.name.clone(),
            mime: info.mime.clone(),
            kind: match info.kind {
                Kind::Image => 1,
                Kind::Video => 2,
                Kind::Audio => 3,
                Kind::File => 4,
            },
            caption: info.caption.clone(),
            width: info.width,
            height: info.height,
            duration_ms: info.duration.map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

impl Described {
    /// The content of a message with this file at a place.
    pub(crate) fn content(&self, uri: &str) -> Box<RawValue> {
        let msgtype = match self.kind {
            1 => "m.image",
            2 => "m.video",
            3 => "m.audio",
            _ => "m.file",
        };
        let content = json!({
            "msgtype": msgtype,
            "body": self.caption.as_ref().unwrap_or(&self.name),
            "filename": self.name,
            "url": uri,
            "info": { "mimetype": self.mime, "w": self.width, "h": self.height, "duration": self.duration_ms },
        });
        serde_json::value::to_raw_value(&content).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }

    pub(super) fn info(&self) -> FileInfo {
        FileInfo {
            name: self.name.clone(),
            mime: self.mime.clone(),
            kind: match self.kind {
                1 => Kind::Image,
                2 => Kind::Video,
                3 => Kind::Audio,
                _ => Kind::File,
            },
            caption: self.caption.clone(),
            width: self.width,
            height: self.height,
            duration: self.duration_ms.map(Duration::from_millis),
        }
    }
}
