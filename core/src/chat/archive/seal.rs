//! The sealed file: a header that tells how the key comes from the passphrase, then chunks of one size.
//!
//! Argon2id makes the key, its parameters stand in the header and are bounded when it is read. The chunks are the STREAM
//! construction over XChaCha20-Poly1305: each carries its number and whether it is the last one in its nonce, and the whole
//! header as associated data, so none can be changed, swapped, left out or added. Every chunk has one size, the last one
//! padded with zeros: a file that was cut off shows it by its length, or by a last chunk that is not the last one.
//!
//! A value made from the key stands in the header, so that a wrong passphrase is told from a damaged file. It is no weaker
//! than the chunks: whoever tries passphrases pays Argon2id for each.
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | magic |
//! | 2 | version, little-endian like all numbers here |
//! | 4, 4, 4 | Argon2id: memory in KiB, passes, lanes |
//! | 16 | salt |
//! | 19 | nonce of the stream |
//! | 32 | the value that a right passphrase leads to |
//! | 32 | SHA-256 of the bytes before |
//! | n * 65,552 | chunks of 65,536 bytes and their tags |

use std::io::{self, Read, Write};

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::{
    XChaCha20Poly1305,
    aead::stream::{NewStream, StreamBE32, StreamPrimitive},
};
use icu_normalizer::ComposingNormalizerBorrowed;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::ArchiveError;
use crate::{
    ports::Random,
    types::limits::{ARCHIVE_LANES_MAX, ARCHIVE_MEMORY_KIB_MAX, ARCHIVE_PASSES_MAX, PASSWORD_BYTES_MAX},
};

const MAGIC: &[u8; 8] = b"hearth\x1a\n";
/// The version of the format.
const VERSION: u16 = 1;
/// Memory of Argon2id, in KiB, its passes and lanes: the second choice of RFC 9106, with one lane since a phone's other
/// cores are busy. About half a second on a phone.
const MEMORY_KIB: u32 = 64 * 1_024;
const PASSES: u32 = 3;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 19;
const DIGEST_BYTES: usize = 32;
const HEADER_BYTES: usize = 8 + 2 + 12 + SALT_BYTES + NONCE_BYTES + 2 * DIGEST_BYTES;
const TAG_BYTES: usize = 16;
/// Bytes of a chunk before it is sealed: what is held in memory at once.
const CHUNK_BYTES: usize = 65_536;
const SEALED_BYTES: usize = CHUNK_BYTES + TAG_BYTES;

/// What a person seals an archive with. Wiped from memory when it is dropped.
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes a passphrase. Its characters are normalised, since two keyboards may spell one letter in two ways.
    ///
    /// # Errors
    /// [`ArchiveError::Passphrase`] when it is empty or longer than anybody types.
    pub fn new(text: &str) -> Result<Self, ArchiveError> {
        match text.len() {
            0 => Err(ArchiveError::Passphrase("the passphrase is empty")),
            1..=PASSWORD_BYTES_MAX => {
                let normal = ComposingNormalizerBorrowed::new_nfkc().normalize(text).into_owned();
                Ok(Self(Zeroizing::new(normal)))
            }
            _ => Err(ArchiveError::Passphrase("the passphrase is longer than 1,024 bytes")),
        }
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase")
    }
}

type Stream = StreamBE32<XChaCha20Poly1305>;

/// How the key comes from the passphrase.
struct Header {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: [u8; SALT_BYTES],
    nonce: [u8; NONCE_BYTES],
}

impl Header {
    fn new(random: &dyn Random) -> Self {
        let (mut salt, mut nonce) = ([0; SALT_BYTES], [0; NONCE_BYTES]);
        random.fill(&mut salt);
        random.fill(&mut nonce);
        Self { memory_kib: MEMORY_KIB, passes: PASSES, lanes: LANES, salt, nonce }
    }

    /// The header's bytes, once the passphrase has led to `check`.
    fn encode(&self, check: &[u8; DIGEST_BYTES]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        for number in [self.memory_kib, self.passes, self.lanes] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(self.salt);
        bytes.extend(self.nonce);
        bytes.extend(check);
        let digest = Sha256::digest(&bytes);
        bytes.extend(digest);
        bytes
    }

    /// Reads a header, and what the right passphrase leads to.
    fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<(Self, [u8; DIGEST_BYTES]), ArchiveError> {
        let mut rest = bytes.as_slice();
        if take::<8>(&mut rest)? != *MAGIC {
            return Err(ArchiveError::Foreign);
        }
        let found = u16::from_le_bytes(take(&mut rest)?);
        if found > VERSION {
            return Err(ArchiveError::Newer { found });
        }
        let [memory_kib, passes, lanes] =
            [take(&mut rest)?, take(&mut rest)?, take(&mut rest)?].map(u32::from_le_bytes);
        let header = Self { memory_kib, passes, lanes, salt: take(&mut rest)?, nonce: take(&mut rest)? };
        let check = take(&mut rest)?;
        let (body, digest) = bytes.split_at(HEADER_BYTES - DIGEST_BYTES);
        if *digest != *Sha256::digest(body) {
            return Err(ArchiveError::Damaged("its header does not match its checksum".into()));
        }
        // Bounded before they are used: the file may come from anybody, and they size memory and time.
        if memory_kib > ARCHIVE_MEMORY_KIB_MAX || passes > ARCHIVE_PASSES_MAX || lanes > ARCHIVE_LANES_MAX {
            return Err(ArchiveError::Damaged("its header asks for more work than any archive of ours".into()));
        }
        Ok((header, check))
    }

    /// The cipher, and the value by which a wrong passphrase is known.
    fn open(&self, passphrase: &Passphrase) -> Result<(Stream, [u8; DIGEST_BYTES]), ArchiveError> {
        let unusable = |error: argon2::Error| ArchiveError::Damaged(format!("its header cannot be used: {error}"));
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).map_err(unusable)?;
        let mut secret = Zeroizing::new([0; 32]);
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon.hash_password_into(passphrase.0.as_bytes(), &self.salt, secret.as_mut()).map_err(unusable)?;
        let of = |purpose: &[u8]| Sha256::new().chain_update(purpose).chain_update(*secret).finalize();
        let mut key = of(b"hearth archive key");
        let stream = Stream::new(&key, (&self.nonce).into());
        key.as_mut_slice().zeroize();
        Ok((stream, of(b"hearth archive check").into()))
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], ArchiveError> {
    let (head, rest) = bytes.split_first_chunk().ok_or(ArchiveError::Truncated)?;
    *bytes = rest;
    Ok(*head)
}

/// Seals what is written to it.
pub(super) struct Sealer<W> {
    out: W,
    stream: Stream,
    header: Vec<u8>,
    position: u32,
    chunk: Vec<u8>,
}

impl<W: Write> Sealer<W> {
    /// Writes the header. Takes the memory and the time of one Argon2id.
    pub(super) fn new(mut out: W, passphrase: &Passphrase, random: &dyn Random) -> Result<Self, ArchiveError> {
        let header = Header::new(random);
        let (stream, check) = header.open(passphrase)?;
        let header = header.encode(&check);
        out.write_all(&header)?;
        Ok(Self { out, stream, header, position: 0, chunk: Vec::with_capacity(SEALED_BYTES) })
    }

    /// Seals the last chunk and hands the file back.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.chunk.resize(CHUNK_BYTES, 0);
        self.seal(true)?;
        Ok(self.out)
    }

    fn seal(&mut self, is_last: bool) -> io::Result<()> {
        let sealed = self.stream.encrypt_in_place(self.position, is_last, &self.header, &mut self.chunk);
        sealed.map_err(|_| io::Error::other("a chunk could not be sealed"))?;
        // 2^32 chunks are 256 TiB.
        self.position = self.position.checked_add(1).ok_or_else(|| io::Error::other("the archive is too large"))?;
        self.out.write_all(&self.chunk)?;
        self.chunk.clear();
        Ok(())
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full chunk waits until more comes, since it may be the last one.
        if self.chunk.len() == CHUNK_BYTES && !bytes.is_empty() {
            self.seal(false)?;
        }
        let (now, _) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.chunk.len()));
        self.chunk.extend_from_slice(now);
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Opens what was sealed, chunk by chunk.
pub(super) struct Opener<R> {
    input: R,
    stream: Stream,
    header: [u8; HEADER_BYTES],
    position: u32,
    /// Chunks that the file has by its length.
    chunks: u64,
    chunk: Vec<u8>,
    read: usize,
}

impl<R: Read> Opener<R> {
    /// Reads the header of a file of `file_bytes` and tries the passphrase.
    pub(super) fn new(mut input: R, file_bytes: u64, passphrase: &Passphrase) -> Result<Self, ArchiveError> {
        let mut header = [0; HEADER_BYTES];
        let mut magic = [0; MAGIC.len()];
        input.read_exact(&mut magic).map_err(|error| shorter_than(error, ArchiveError::Foreign))?;
        if magic != *MAGIC {
            return Err(ArchiveError::Foreign);
        }
        let (head, tail) = header.split_at_mut(MAGIC.len());
        head.copy_from_slice(&magic);
        input.read_exact(tail).map_err(|error| shorter_than(error, ArchiveError::Truncated))?;
        let (how, wanted) = Header::decode(&header)?;
        let body = file_bytes.saturating_sub(HEADER_BYTES as u64);
        if body == 0 || !body.is_multiple_of(SEALED_BYTES as u64) {
            return Err(ArchiveError::Truncated);
        }
        let (stream, check) = how.open(passphrase)?;
        if check != wanted {
            return Err(ArchiveError::WrongPassphrase);
        }
        let chunks = body / SEALED_BYTES as u64;
        Ok(Self { input, stream, header, position: 0, chunks, chunk: Vec::new(), read: 0 })
    }

    /// Fills `out`.
    pub(super) fn read_exact(&mut self, mut out: &mut [u8]) -> Result<(), ArchiveError> {
        while !out.is_empty() {
            let bytes = self.more()?;
            let (now, later) = out.split_at_mut(bytes.len().min(out.len()));
            bytes.iter().zip(now.iter_mut()).for_each(|(from, to)| *to = *from);
            self.read += now.len();
            out = later;
        }
        Ok(())
    }

    /// The bytes that were opened and not read yet; the next chunk's when there are none.
    pub(super) fn more(&mut self) -> Result<&[u8], ArchiveError> {
        if self.read == self.chunk.len() {
            self.next_chunk()?;
        }
        Ok(self.chunk.get(self.read..).unwrap_or_default())
    }

    /// Marks so many of the bytes of [`Opener::more`] as read.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.read = (self.read + bytes).min(self.chunk.len());
    }

    /// Makes sure that nothing is left but the padding.
    pub(super) fn finish(self) -> Result<(), ArchiveError> {
        let rest = self.chunk.get(self.read..).unwrap_or_default();
        match u64::from(self.position) == self.chunks && rest.iter().all(|byte| *byte == 0) {
            true => Ok(()),
            false => Err(ArchiveError::Damaged("something follows its end".into())),
        }
    }

    fn next_chunk(&mut self) -> Result<(), ArchiveError> {
        let number = u64::from(self.position) + 1;
        if number > self.chunks {
            return Err(ArchiveError::Damaged("it ends before its contents do".into()));
        }
        self.chunk.resize(SEALED_BYTES, 0);
        self.input.read_exact(&mut self.chunk).map_err(|error| shorter_than(error, ArchiveError::Truncated))?;
        let is_last = number == self.chunks;
        let kept = if is_last { self.chunk.clone() } else { Vec::new() };
        if self.stream.decrypt_in_place(self.position, is_last, &self.header, &mut self.chunk).is_err() {
            // A file that was cut off between two chunks ends with one that does not say that it is the last.
            self.chunk = kept;
            let goes_on =
                is_last && self.stream.decrypt_in_place(self.position, false, &self.header, &mut self.chunk).is_ok();
            self.chunk.clear();
            self.read = 0;
            return Err(match goes_on {
                true => ArchiveError::Truncated,
                false => ArchiveError::Damaged(format!("chunk {number} of {} was changed", self.chunks)),
            });
        }
        self.position = self.position.checked_add(1).ok_or(ArchiveError::Truncated)?;
        self.read = 0;
        Ok(())
    }
}

fn shorter_than(error: io::Error, meaning: ArchiveError) -> ArchiveError {
    if error.kind() == io::ErrorKind::UnexpectedEof { meaning } else { error.into() }
}
