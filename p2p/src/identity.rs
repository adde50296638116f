//! The secret on disk, and the two spellings of one key: libp2p's peer id and Matrix's server name.
//!
//! The secret is 32 raw bytes in a file of mode 600 that is written whole or not at all. It is the node's whole identity:
//! losing it loses the server's name, and whoever reads it can speak for the server. There is no passphrase here; a phone
//! keeps the directory in its app sandbox.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use hearth_core::types::public_key_of;
use libp2p::{
    PeerId,
    identity::{Keypair, PublicKey, ed25519},
};
use ruma::{OwnedServerName, ServerName};

/// Why the identity could not be read or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The file could not be read or written.
    #[error("cannot {attempt} the key file {path}: {source}")]
    File {
        /// What was attempted.
        attempt: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is not a key.
    #[error(
        "{path} is not a Hearth key: it has {bytes} bytes instead of 32; restore it or choose another data directory"
    )]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// How long it is.
        bytes: usize,
    },
}

/// Reads the secret at `path`, or makes a new one there. Answers whether it is new.
///
/// # Errors
/// When the file cannot be read or written, or holds something else.
pub fn load_or_create(path: &Path) -> Result<([u8; 32], bool), IdentityError> {
    let failed = |attempt| move |source| IdentityError::File { attempt, path: path.to_owned(), source };
    match load(path) {
        Ok(secret) => Ok((secret, false)),
        Err(IdentityError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let secret: [u8; 32] = rand::random();
            keep(path, &secret).map_err(failed("create"))?;
            Ok((secret, true))
        }
        Err(error) => Err(error),
    }
}

/// Reads the secret at `path`.
///
/// # Errors
/// When the file cannot be read, or holds something else.
pub(crate) fn load(path: &Path) -> Result<[u8; 32], IdentityError> {
    let failed = |source| IdentityError::File { attempt: "read", path: path.to_owned(), source };
    let bytes = fs::read(path).map_err(failed)?;
    let found = bytes.len();
    bytes.try_into().map_err(|_| IdentityError::Foreign { path: path.to_owned(), bytes: found })
}

/// Where a key file is written before it gets its name.
pub(crate) fn draft_path(path: &Path) -> PathBuf {
    path.with_extension("new")
}

/// Writes beside the file and renames, so that a crash leaves no half a key behind.
pub(crate) fn keep(path: &Path, secret: &[u8; 32]) -> io::Result<()> {
    let draft = draft_path(path);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    file.write_all(secret)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    // The name must survive a power cut as well as the bytes do.
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => fs::File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

/// The key as libp2p holds it.
pub(crate) fn keypair(mut secret: [u8; 32]) -> Keypair {
    // Any 32 bytes are an ed25519 seed, so there is no error to hand on; `secret` is wiped by the call.
    Keypair::ed25519_from_bytes(&mut secret).unwrap_or_else(|_| unreachable!("32 bytes are a seed"))
}

/// The peer id that a key name spells; nothing for a DNS name.
pub fn peer_id_of(server: &ServerName) -> Option<PeerId> {
    let key = public_key_of(server).ok()?;
    let key = ed25519::PublicKey::try_from_bytes(key.as_bytes()).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

/// The server name that a peer id spells; nothing for a peer id that is not the identity hash of an ed25519 key.
pub fn server_name_of(peer: &PeerId) -> Option<OwnedServerName> {
    // A CIDv1 with the codec `libp2p-key`, then the multihash that a peer id is.
    let mut cid = vec![0x01, 0x72];
    cid.extend_from_slice(&peer.to_bytes());
    let name = OwnedServerName::try_from(multibase::encode(multibase::Base::Base36Lower, cid)).ok()?;
    public_key_of(&name).ok()?;
    Some(name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn core_and_libp2p_spell_one_key_alike() {
        for seed in 0..32 {
            let local = hearth_core::types::LocalServer::new(&[seed; 32]);
            let peer = keypair([seed; 32]).public().to_peer_id();
            assert_eq!(server_name_of(&peer).unwrap(), local.name);
            assert_eq!(peer_id_of(&local.name).unwrap(), peer);
        }
        // A random peer id is a SHA-256 hash: no key can be read out of it.
        assert_eq!(server_name_of(&PeerId::random()), None);
        assert_eq!(peer_id_of(<&ServerName>::try_from("example.org").unwrap()), None);
    }

    #[test]
    fn the_secret_is_made_once_and_is_the_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let (secret, new) = load_or_create(&path).unwrap();
        assert!(new);
        assert_eq!(load_or_create(&path).unwrap(), (secret, false));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::write(&path, b"not a key").unwrap();
        assert!(matches!(load_or_create(&path), Err(IdentityError::Foreign { bytes: 9, .. })));
    }
}
