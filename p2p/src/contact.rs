//! How one person tells another where they are: a `matrix:` URI, as text or as a QR code.
//!
//! It is an ordinary Matrix URI of a user (MSC2312), so any Matrix client understands its first half. The server's name is
//! its key, so whoever scans it can check everything that comes from there; the addresses are hints and prove nothing.

use std::borrow::Cow;

use libp2p::{Multiaddr, multiaddr::Protocol};
use percent_encoding::percent_decode_str;
use qrcode::{QrCode, render::unicode::Dense1x2};
use ruma::{MatrixUri, OwnedUserId, UserId, matrix_uri::MatrixId};

use crate::{addresses::split_peer, identity::peer_id_of};

/// Address hints in one URI: more would make a QR code that phones cannot read off a screen.
const HINTS_MAX: usize = 2;

/// The parameter that holds an address hint.
const HINT: &str = "dev.hearth.addr";

/// Characters of a contact that we are ready to read: a QR code holds fewer.
const URI_CHARS_MAX: usize = 4_096;

/// What a contact URI says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Who.
    pub user: OwnedUserId,
    /// Where their homeserver may be, each with its peer id at the end. Hints that cannot be dialled are left out.
    pub addresses: Vec<Multiaddr>,
}

/// Why a text is no contact.
#[derive(Clone, Debug, thiserror::Error)]
#[error("this is no contact: {0}")]
pub struct ContactError(String);

impl std::str::FromStr for Contact {
    type Err = ContactError;

    /// Reads a `matrix:` URI of a user, with or without hints, or a plain user id.
    fn from_str(text: &str) -> Result<Self, ContactError> {
        let text = text.trim();
        if text.len() > URI_CHARS_MAX {
            return Err(ContactError("it is too long".to_owned()));
        }
        if text.starts_with('@') {
            let user = UserId::parse(text).map_err(|error| ContactError(error.to_string()))?;
            return Ok(Self { user, addresses: Vec::new() });
        }
        let (plain, hints) = without_hints(text);
        let uri = MatrixUri::parse(&plain).map_err(|error| ContactError(error.to_string()))?;
        let MatrixId::User(user) = uri.id() else {
            return Err(ContactError("it names no person".to_owned()));
        };
        let Some(peer) = peer_id_of(user.server_name()) else {
            return Ok(Self { user: user.clone(), addresses: Vec::new() });
        };
        let addresses = hints.into_iter().take(HINTS_MAX).filter_map(|hint| hint.parse::<Multiaddr>().ok());
        let addresses = addresses.map(|address| split_peer(address).0.with(Protocol::P2p(peer))).collect();
        Ok(Self { user: user.clone(), addresses })
    }
}

/// A URI without our hints, which other parsers need not know, and the hints.
fn without_hints(uri: &str) -> (String, Vec<String>) {
    let Some((path, query)) = uri.split_once('?') else { return (uri.to_owned(), Vec::new()) };
    let (mut kept, mut hints) = (Vec::new(), Vec::new());
    for part in query.split('&') {
        match part.strip_prefix(HINT).and_then(|rest| rest.strip_prefix('=')) {
            Some(hint) => hints.extend(percent_decode_str(hint).decode_utf8().ok().map(Cow::into_owned)),
            None => kept.push(part),
        }
    }
    let plain = if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) };
    (plain, hints)
}

/// The contact URI of a user of this node.
pub fn contact_uri(user: &UserId, addresses: &[Multiaddr]) -> String {
    let mut uri = format!("matrix:u/{}:{}?action=chat", encode(user.localpart()), user.server_name());
    for address in hints(addresses) {
        uri.push_str(&format!("&{HINT}="));
        uri.push_str(&encode(&address));
    }
    uri
}

/// The URI as a QR code for a terminal, two rows of it to a line.
///
/// # Errors
/// When the text is too long for a QR code: about 2,900 bytes.
pub fn qr_text(uri: &str) -> Result<String, qrcode::types::QrError> {
    let code = QrCode::with_error_correction_level(uri, qrcode::EcLevel::L)?;
    // Terminals are dark more often than not, and a code needs its dark modules dark.
    Ok(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

/// The URI as a QR code for a screen: the side in modules, and the modules row by row, true for dark.
///
/// # Errors
/// When the text is too long for a QR code: about 2,900 bytes.
pub fn qr_modules(uri: &str) -> Result<(usize, Vec<bool>), qrcode::types::QrError> {
    let code = QrCode::with_error_correction_level(uri, qrcode::EcLevel::L)?;
    let modules = code.to_colors().into_iter().map(|colour| colour == qrcode::Color::Dark).collect();
    Ok((code.width(), modules))
}

/// The addresses worth telling: what others can dial first, loopback only if there is nothing else.
fn hints(addresses: &[Multiaddr]) -> Vec<String> {
    let loopback = |address: &Multiaddr| {
        address.iter().any(|part| match part {
            Protocol::Ip4(ip) => ip.is_loopback(),
            Protocol::Ip6(ip) => ip.is_loopback(),
            _ => false,
        })
    };
    let quic = |address: &Multiaddr| address.iter().any(|part| part == Protocol::QuicV1);
    let mut ranked: Vec<&Multiaddr> = addresses.iter().collect();
    ranked.sort_by_key(|address| (loopback(address), !quic(address), address.to_string().len()));
    let text = |address: &&Multiaddr| {
        let bare: Multiaddr = address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect();
        bare.to_string()
    };
    let all: Vec<String> = ranked.iter().filter(|address| !loopback(address)).map(text).collect();
    let all = if all.is_empty() { ranked.iter().map(text).collect() } else { all };
    all.into_iter().take(HINTS_MAX).collect()
}

/// Percent-encoding of all that a Matrix URI does not take as it is.
fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_is_a_matrix_uri_with_the_best_addresses() {
        let server = hearth_core::types::LocalServer::new(&[1; 32]).name;
        let user = UserId::parse(format!("@ana=x:{server}")).unwrap();
        let addresses: Vec<Multiaddr> =
            ["/ip4/127.0.0.1/udp/1/quic-v1", "/ip4/10.0.0.2/tcp/2", "/ip4/10.0.0.2/udp/1/quic-v1"]
                .map(|text| text.parse().unwrap())
                .to_vec();
        let uri = contact_uri(&user, &addresses);
        assert_eq!(
            uri,
            format!(
                "matrix:u/ana%3Dx:{server}?action=chat&dev.hearth.addr=/ip4/10.0.0.2/udp/1/quic-v1\
                 &dev.hearth.addr=/ip4/10.0.0.2/tcp/2"
            )
        );
        assert!(qr_text(&uri).unwrap().lines().count() > 10);
        let (side, modules) = qr_modules(&uri).unwrap();
        assert_eq!(modules.len(), side * side);
        let read: Contact = uri.parse().unwrap();
        assert_eq!(read.user, user);
        let peer = peer_id_of(&server).unwrap();
        let expected = ["/ip4/10.0.0.2/udp/1/quic-v1", "/ip4/10.0.0.2/tcp/2"];
        let expected = expected.map(|text| text.parse::<Multiaddr>().unwrap().with(Protocol::P2p(peer)));
        assert_eq!(read.addresses, expected);
    }

    #[test]
    fn what_is_no_contact_is_refused_and_what_another_app_wrote_is_read() {
        for text in ["", "hello", "matrix:r/room:example.org", "https://example.org", "matrix:u/", &"x".repeat(5_000)] {
            assert!(text.parse::<Contact>().is_err(), "{text}");
        }
        for text in ["@eva:example.org", "matrix:u/eva:example.org", "matrix:u/eva:example.org?action=chat"] {
            assert_eq!(text.parse::<Contact>().unwrap().user.as_str(), "@eva:example.org");
        }
        // A hint that names another peer than the server's own is bent to the right one: a dial proves who is there.
        let server = hearth_core::types::LocalServer::new(&[1; 32]).name;
        let text = format!("matrix:u/ana:{server}?dev.hearth.addr=/ip4/10.0.0.2/tcp/2&dev.hearth.addr=nonsense");
        assert_eq!(text.parse::<Contact>().unwrap().addresses.len(), 1);
    }
}
