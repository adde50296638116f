//! Records of the content repository.

use serde::{Deserialize, Serialize};

use super::Record;
use crate::store::UserKey;

/// A media: a file with a name on the net.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaRecord {
    /// SHA-256 of the content. `None` while an upload is awaited.
    pub blob: Option<[u8; 32]>,
    /// Bytes of the content.
    pub len: u64,
    /// The content type, as the uploader or the other server said it.
    pub content_type: String,
    /// The file's name.
    pub filename: Option<String>,
    /// Whose upload it is. `None` for what can be had again.
    pub uploader: Option<UserKey>,
    /// When it came here, in ms.
    pub created: u64,
    /// Its place in the order of use, if it may go.
    pub place: Option<u64>,
    /// Until when its upload is awaited, in ms.
    pub expires: Option<u64>,
}

/// A transfer from another server that broke off.
///
/// Only one of which the other server told the hash: what is joined out of two transfers is believed by its hash alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRecord {
    /// The number of its file.
    pub number: u64,
    /// What SHA-256 the whole must have.
    pub hash: [u8; 32],
    /// The other server's name for this version of its answer.
    pub etag: String,
    /// Bytes of the answer before the content.
    pub head: u64,
    /// Bytes of the content.
    pub len: u64,
    /// The content type.
    pub content_type: String,
    /// The file's name.
    pub filename: Option<String>,
}

impl Record for MediaRecord {}
impl Record for PartRecord {}
