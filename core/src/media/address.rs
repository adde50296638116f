//! What a file is called: `mxc://<server>/<media id>`.
//!
//! Both halves come from strangers. A name that is not of the specified shape names nothing, so it is not found, and no path
//! is ever made of it: the disk knows hashes alone.

use ruma::{MxcUri, OwnedMxcUri, OwnedServerName, ServerName};
use sha2::{Digest, Sha256};

use super::{MediaError, thumbnail::Variant};
use crate::types::limits::MEDIA_ID_BYTES_MAX;

/// What the tables know a file by.
pub(super) type MediaKey = [u8; 32];

/// A file's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub(super) server: OwnedServerName,
    pub(super) id: String,
}

impl Address {
    /// The name of a file of a server.
    ///
    /// # Errors
    /// [`MediaError::NotFound`] for an id that no file can have.
    pub fn new(server: &ServerName, id: &str) -> Result<Self, MediaError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if id.is_empty() || id.len() > MEDIA_ID_BYTES_MAX || !id.bytes().all(is_allowed) {
            return Err(MediaError::NotFound);
        }
        Ok(Self { server: server.to_owned(), id: id.to_owned() })
    }

    /// The name in a URI.
    ///
    /// # Errors
    /// [`MediaError::NotFound`] for a URI that names no file.
    pub fn of(uri: &MxcUri) -> Result<Self, MediaError> {
        let (server, id) = uri.parts().map_err(|_| MediaError::NotFound)?;
        Self::new(server, id)
    }

    /// It as a URI.
    pub fn uri(&self) -> OwnedMxcUri {
        format!("mxc://{}/{}", self.server, self.id).into()
    }

    /// The server whose file it is.
    pub fn server(&self) -> &ServerName {
        &self.server
    }

    pub(super) fn key(&self) -> MediaKey {
        key(&format!("{}/{}", self.server, self.id))
    }

    /// A thumbnail is kept as a file under an id with a `/` in it, which no file has.
    pub(super) fn thumbnail_key(&self, variant: &Variant) -> MediaKey {
        key(&format!("{}/{}/{variant}", self.server, self.id))
    }
}

fn key(name: &str) -> MediaKey {
    Sha256::digest(name.as_bytes()).into()
}
