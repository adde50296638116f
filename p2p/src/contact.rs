//! How one person tells another where they are: a `matrix:` URI, as text or as a QR code.
//!
//! It is an ordinary Matrix URI of a user (MSC2312), so any Matrix client understands its first half. The server's name is
//! its key, so whoever scans it can check everything that comes from there; the addresses are hints and prove nothing.

use libp2p::{Multiaddr, multiaddr::Protocol};
use qrcode::{QrCode, render::unicode::Dense1x2};
use ruma::UserId;

/// Address hints in one URI: more would make a QR code that phones cannot read off a screen.
const HINTS_MAX: usize = 2;

/// The contact URI of a user of this node.
pub fn contact_uri(user: &UserId, addresses: &[Multiaddr]) -> String {
    let mut uri = format!("matrix:u/{}:{}?action=chat", encode(user.localpart()), user.server_name());
    for address in hints(addresses) {
        uri.push_str("&dev.hearth.addr=");
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
    }
}
