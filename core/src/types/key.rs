//! One ed25519 key is the signing key, the libp2p identity and the server's name.
//!
//! The name is the libp2p peer id as a CIDv1 (codec `libp2p-key`, identity multihash over the key's protobuf) in lowercase
//! base36: 62 characters that are at once a valid DNS label and a valid Matrix server name. So a signature can be checked
//! with no lookup, offline, whoever carried the event. The encoding is written here, twenty lines, because core must not
//! depend on libp2p; p2p's tests hold it against `PeerId`.
//!
//! A name that is not such an id is a DNS name. Its keys are not in its name, and `public_key_of` says so.

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use ruma::{
    CanonicalJsonObject, OwnedServerName, ServerName, SigningKeyId,
    serde::Base64,
    signatures::{Ed25519KeyPair, KeyPair, PublicKeyMap, Signature},
};

/// The version part of our signing key's id: `ed25519:1`. A key name has one key for ever, so the version never moves.
pub const SIGNING_KEY_VERSION: &str = "1";

/// CIDv1, codec libp2p-key (0x72), multihash identity (0x00) of 36 bytes, protobuf {1: Ed25519, 2: 32 bytes}.
const CID_PREFIX: [u8; 8] = [0x01, 0x72, 0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// What stands before the 32 secret bytes in an ed25519 key's PKCS#8 document. RFC 8410, section 7.
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Why a server name yields no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyNameError {
    /// The name is a DNS name, or another kind of peer id.
    #[error("`{0}` is not a key name, so its signing key is not known here")]
    NotAKeyName(OwnedServerName),
}

/// The server name of a public key.
pub fn server_name_of(key: &VerifyingKey) -> OwnedServerName {
    let mut cid = CID_PREFIX.to_vec();
    cid.extend_from_slice(key.as_bytes());
    let name = multibase::encode(multibase::Base::Base36Lower, cid);
    // Base36 is a subset of the server name grammar, so parsing it back cannot fail.
    OwnedServerName::try_from(name).unwrap_or_else(|_| unreachable!("base36 is a valid server name"))
}

/// The public key that a server name spells.
///
/// # Errors
/// [`KeyNameError::NotAKeyName`] for DNS names and for peer ids that are not ed25519 identity hashes.
pub fn public_key_of(server: &ServerName) -> Result<VerifyingKey, KeyNameError> {
    let not = || KeyNameError::NotAKeyName(server.to_owned());
    // A port or upper case would give one key many names.
    if server.as_str().len() != 62 || server.as_str().bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(not());
    }
    let (base, cid) = multibase::decode(server.as_str()).map_err(|_| not())?;
    if base != multibase::Base::Base36Lower {
        return Err(not());
    }
    let raw = cid.strip_prefix(&CID_PREFIX).ok_or_else(not)?;
    let raw: [u8; 32] = raw.try_into().map_err(|_| not())?;
    VerifyingKey::from_bytes(&raw).map_err(|_| not())
}

/// The keys of several servers in the shape that ruma verifies with. Servers whose key is not in their name are left out;
/// a signature that needs one of them then fails to verify, which is what must happen.
pub fn public_keys<'a>(local: &LocalServer, servers: impl IntoIterator<Item = &'a ServerName>) -> PublicKeyMap {
    let mut map = PublicKeyMap::new();
    for server in servers {
        let key = if *server == *local.name { Ok(local.public_key()) } else { public_key_of(server) };
        if let Ok(key) = key {
            let id = format!("ed25519:{SIGNING_KEY_VERSION}");
            map.entry(server.to_string()).or_default().insert(id, Base64::new(key.as_bytes().to_vec()));
        }
    }
    map
}

/// This server: its name and the key that speaks for it.
///
/// The name is the key's own, unless the host runs a gateway under a DNS name.
#[derive(Clone)]
pub struct LocalServer {
    /// The name that ids, signatures and published keys use.
    pub name: OwnedServerName,
    key: SigningKey,
}

impl LocalServer {
    /// A server named by its key.
    pub fn new(secret: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(secret);
        Self { name: server_name_of(&key.verifying_key()), key }
    }

    /// A server under a DNS name, as a gateway runs.
    pub fn with_name(secret: &[u8; 32], name: OwnedServerName) -> Self {
        Self { name, key: SigningKey::from_bytes(secret) }
    }

    /// The key that checks our signatures.
    pub fn public_key(&self) -> VerifyingKey {
        self.key.verifying_key()
    }

    /// The id of the signing key, `ed25519:1`.
    pub fn key_id(&self) -> String {
        format!("ed25519:{SIGNING_KEY_VERSION}")
    }
}

impl KeyPair for LocalServer {
    fn sign(&self, message: &[u8]) -> Signature {
        let id = SigningKeyId::parse(self.key_id()).unwrap_or_else(|_| unreachable!("a constant that parses"));
        Signature::new(id, self.key.sign(message).to_bytes().to_vec())
    }
}

impl LocalServer {
    /// The key in the only shape that ruma signs federation requests with.
    pub fn request_key(&self) -> Ed25519KeyPair {
        let document = [PKCS8_PREFIX.as_slice(), self.key.as_bytes()].concat();
        Ed25519KeyPair::from_der(&document, SIGNING_KEY_VERSION.to_owned())
            .unwrap_or_else(|_| unreachable!("32 bytes behind the prefix are a document"))
    }

    /// Signs a JSON object in our name, as appendices, "Signing JSON", say.
    ///
    /// # Errors
    /// When `signatures` is there and is no object, or the JSON is too large.
    pub fn sign_json(&self, object: &mut CanonicalJsonObject) -> Result<(), ruma::signatures::JsonError> {
        ruma::signatures::sign_json(self.name.as_str(), self, object)
    }
}

impl std::fmt::Debug for LocalServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The secret never reaches a log.
        f.debug_struct("LocalServer").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gives_its_key_back_and_nothing_else_does() {
        let local = LocalServer::new(&[7; 32]);
        assert!(local.name.as_str().starts_with("k51qzi5uqu5d"), "{}", local.name);
        assert_eq!(local.name.as_str().len(), 62);
        assert_eq!(public_key_of(&local.name).unwrap(), local.public_key());
        for other in [
            "example.org",
            "localhost:8448",
            local.name.as_str().trim_start_matches('k'),
            &local.name.as_str().to_uppercase(),
        ] {
            if let Ok(name) = <&ServerName>::try_from(other) {
                assert!(public_key_of(name).is_err(), "{other}");
            }
        }
    }
}
