//! The answer that carries a file between servers: `multipart/mixed` with metadata and the file, read as it comes.
//! Server-server API, "Content repository"; RFC 2046, section 5.1.
//!
//! The writing half is here too. It makes the same bytes for the same file each time, so that a part of the answer can be
//! asked for by its place, and tells the file's hash, by which two halves are believed to be one file.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem;
use ruma::http_headers::ContentDisposition;
use sha2::{Digest, Sha256};

use super::upload::content_type;
use crate::{
    store::BlobHash,
    types::limits::{MEDIA_FILENAME_BYTES_MAX, MEDIA_HEAD_BYTES_MAX},
};

/// The header of the second part that tells the hash of its content. RFC 9530, section 2.
const DIGEST: &str = "content-digest";

/// Why an answer cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("it is no multipart/mixed with a boundary")]
    NoMultipart,
    #[error("it begins with more than {MEDIA_HEAD_BYTES_MAX} bytes that are not content")]
    LongHead,
    #[error("a header in it is none")]
    Header,
    #[error("it names another place, and there is no way to other places here")]
    Elsewhere,
}

/// What stands before the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) content_type: String,
    pub(super) filename: Option<String>,
    /// The content's SHA-256, if the other side tells it.
    pub(super) hash: Option<BlobHash>,
    /// Bytes of the answer before the content.
    pub(super) len: u64,
}

/// Reads an answer piece by piece.
pub(super) struct Reader {
    /// What ends a part: a line break, two hyphens and the boundary.
    delimiter: Vec<u8>,
    buffer: BytesMut,
    head: Option<Head>,
    ended: bool,
}

impl Reader {
    /// A reader for an answer with this content type.
    pub(super) fn new(content_type: &str) -> Result<Self, Malformed> {
        let boundary = boundary(content_type).ok_or(Malformed::NoMultipart)?;
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        // The first delimiter needs no line break before it, so the answer begins as if there were one.
        Ok(Self { delimiter, buffer: BytesMut::from("\r\n"), head: None, ended: false })
    }

    /// What stands before the content, once it was read.
    pub(super) fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Bytes that stand after the content, at the least.
    pub(super) fn tail_len(&self) -> u64 {
        self.delimiter.len() as u64 + 2
    }

    /// Whether the content was read to its end.
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Takes a piece of the answer in and hands out what is content for certain.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<Bytes, Malformed> {
        if self.ended {
            return Ok(Bytes::new());
        }
        self.buffer.extend_from_slice(piece);
        if self.head.is_none() && !self.read_head()? {
            return Ok(Bytes::new());
        }
        let certain = match memmem::find(&self.buffer, &self.delimiter) {
            Some(end) => {
                self.ended = true;
                end
            }
            // What may be the start of a delimiter waits for more.
            None => self.buffer.len().saturating_sub(self.delimiter.len() - 1),
        };
        Ok(self.buffer.split_to(certain).freeze())
    }

    fn read_head(&mut self) -> Result<bool, Malformed> {
        let Some(len) = self.head_len() else {
            let is_long = self.buffer.len() > MEDIA_HEAD_BYTES_MAX;
            return if is_long { Err(Malformed::LongHead) } else { Ok(false) };
        };
        let before = self.buffer.get(..len).unwrap_or_default();
        let last = memmem::rfind(before, &self.delimiter).map_or(0, |at| at + self.delimiter.len());
        let headers = before.get(last..).unwrap_or_default();
        let mut head = read_headers(headers)?;
        // Without the line break that was never sent.
        head.len = len as u64 - 2;
        self.buffer.advance(len);
        self.head = Some(head);
        Ok(true)
    }

    /// Bytes before the content, if they are all here: up to the empty line after the second delimiter.
    fn head_len(&self) -> Option<usize> {
        let mut at = 0;
        for _ in 0..2 {
            at += memmem::find(self.buffer.get(at..)?, &self.delimiter)? + self.delimiter.len();
        }
        let empty_line = b"\r\n\r\n";
        Some(at + memmem::find(self.buffer.get(at..)?, empty_line)? + empty_line.len())
    }
}

fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/mixed") {
        return None;
    }
    let boundary = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
    })?;
    // RFC 2046: at most 70 characters.
    (1..=70).contains(&boundary.len()).then_some(boundary)
}

fn read_headers(bytes: &[u8]) -> Result<Head, Malformed> {
    let text = std::str::from_utf8(bytes).map_err(|_| Malformed::Header)?;
    let (mut said_type, mut filename, mut hash) = (None, None, None);
    for line in text.split("\r\n").map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or(Malformed::Header)?;
        let value = value.trim();
        match name.trim().to_ascii_lowercase().as_str() {
            "location" => return Err(Malformed::Elsewhere),
            "content-type" => said_type = Some(value),
            "content-disposition" => {
                filename = ContentDisposition::try_from(value.as_bytes()).ok().and_then(|said| said.filename);
            }
            DIGEST => hash = digest(value),
            _ => {}
        }
    }
    let filename = filename.filter(|name| !name.is_empty() && name.len() <= MEDIA_FILENAME_BYTES_MAX);
    Ok(Head { content_type: content_type(said_type), filename, hash, len: 0 })
}

fn digest(value: &str) -> Option<BlobHash> {
    let value = value.split(',').find_map(|member| member.trim().strip_prefix("sha-256=:")?.strip_suffix(':'))?;
    BASE64_STANDARD.decode(value).ok()?.try_into().ok()
}

/// What stands around a file's content in an answer of ours.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// The answer's content type.
    pub(crate) content_type: String,
    /// Before the content.
    pub(crate) head: Bytes,
    /// After it.
    pub(crate) tail: Bytes,
}

impl Frame {
    /// The frame of a file. `content_type` is one that can stand in a header.
    pub(crate) fn new(hash: &BlobHash, content_type: &str, disposition: &ContentDisposition) -> Self {
        // Nobody can make a file that holds the hash of its own hash.
        let mark: [u8; 32] = Sha256::digest(hash).into();
        let boundary: String = mark.iter().take(20).map(|byte| format!("{byte:02x}")).collect();
        let hash = BASE64_STANDARD.encode(hash);
        let head = format!(
            "--{boundary}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n\
             --{boundary}\r\nContent-Type: {content_type}\r\nContent-Disposition: {disposition}\r\n\
             {DIGEST}: sha-256=:{hash}:\r\n\r\n"
        );
        Self {
            content_type: format!("multipart/mixed; boundary={boundary}"),
            head: head.into(),
            tail: format!("\r\n--{boundary}--").into(),
        }
    }

    /// The hash of all that an answer in this frame holds: the content's own hash is in the head.
    pub(crate) fn hash(&self) -> BlobHash {
        Sha256::digest(&self.head).into()
    }
}

#[cfg(test)]
mod tests;
