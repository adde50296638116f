//! A file as a timeline shows it, read from what somebody else wrote.
//!
//! Nothing in an event's content can be trusted: sizes are claims, names may hold paths, and letters may turn a name around.
//! What is unusable is left out; a content without a place to fetch the file from is no attachment at all.

use std::{fmt, time::Duration};

use ruma::{MxcUri, OwnedMxcUri, events::room::EncryptedFile};
use serde_json::{Map, Value};

use super::Kind;

/// Characters of a file's name that are shown. File systems take 255 bytes.
const NAME_CHARS_MAX: usize = 120;

/// A file in a message.
#[derive(Clone, PartialEq, Eq)]
pub struct Attachment {
    /// What it says it is.
    pub kind: Kind,
    /// Its name, fit to be shown and to be saved under: no path, no control characters.
    pub name: String,
    /// The media type that the sender claims.
    pub mime: Option<String>,
    /// Bytes, as the sender claims.
    pub size: Option<u64>,
    /// Pixels from left to right, as the sender claims.
    pub width: Option<u64>,
    /// Pixels from top to bottom, as the sender claims.
    pub height: Option<u64>,
    /// How long it plays, as the sender claims.
    pub duration: Option<Duration>,
    /// What the sender wrote about it.
    pub caption: Option<String>,
    /// Whether only the room's members can read it.
    pub encrypted: bool,
    /// Whether there is a thumbnail to ask for.
    pub has_thumbnail: bool,
    /// Where it lies: a `mxc:` URI.
    pub uri: OwnedMxcUri,
    /// How it and its thumbnail are fetched and opened.
    pub(super) place: Place,
    pub(super) thumbnail: Option<Place>,
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names, captions and keys stay out of logs.
        f.debug_struct("Attachment").field("kind", &self.kind).field("uri", &self.uri).finish_non_exhaustive()
    }
}

/// Where a file lies, and the JSON of what opens it if it is encrypted.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) uri: OwnedMxcUri,
    pub(super) sealed: Option<String>,
}

impl Attachment {
    /// From the content of an `m.room.message` or an `m.sticker`. `None` when it is no file, or names no place.
    pub fn from_content(kind: &str, content: &Value) -> Option<Self> {
        let content = content.as_object()?;
        let kind = match (kind, text(content, "msgtype")) {
            ("m.sticker", _) | ("m.room.message", Some("m.image")) => Kind::Image,
            ("m.room.message", Some("m.video")) => Kind::Video,
            ("m.room.message", Some("m.audio")) => Kind::Audio,
            ("m.room.message", Some("m.file")) => Kind::File,
            _ => return None,
        };
        let place = Place::of(content, "file", "url")?;
        let body = text(content, "body").unwrap_or_default();
        let filename = text(content, "filename");
        let empty = Map::new();
        let info = content.get("info").and_then(Value::as_object).unwrap_or(&empty);
        let number = |name: &str| info.get(name).and_then(Value::as_u64);
        let thumbnail = Place::of(info, "thumbnail_file", "thumbnail_url");
        Some(Self {
            kind,
            name: clean_name(filename.unwrap_or(body), kind),
            mime: text(info, "mimetype").filter(|mime| is_media_type(mime)).map(str::to_owned),
            size: number("size"),
            width: number("w"),
            height: number("h"),
            duration: number("duration").map(Duration::from_millis),
            // Client-server API, "Media captions": the body is one when there is a file name that differs from it.
            caption: filename.filter(|name| *name != body && !body.is_empty()).map(|_| body.to_owned()),
            encrypted: place.sealed.is_some(),
            has_thumbnail: thumbnail.is_some(),
            uri: place.uri.clone(),
            place,
            thumbnail,
        })
    }
}

impl Place {
    /// The encrypted form if it is there, else the plain one, as the specification prefers it.
    fn of(object: &Map<String, Value>, file: &str, url: &str) -> Option<Self> {
        if let Some(file) = object.get(file) {
            let sealed = file.to_string();
            let parsed: EncryptedFile = serde_json::from_value(file.clone()).ok()?;
            return valid(&parsed.url).map(|uri| Self { uri, sealed: Some(sealed) });
        }
        let uri: &MxcUri = text(object, url)?.into();
        valid(uri).map(|uri| Self { uri, sealed: None })
    }
}

fn valid(uri: &MxcUri) -> Option<OwnedMxcUri> {
    uri.parts().is_ok().then(|| uri.to_owned())
}

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name).and_then(Value::as_str)
}

/// A media type without surprises: `type/subtype` of the letters that such names have.
fn is_media_type(text: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    text.len() <= 127 && text.split_once('/').is_some_and(|(kind, subtype)| is_word(kind) && is_word(subtype))
}

/// A name that can be shown, and saved under, without leading anybody anywhere else.
pub(super) fn clean_name(name: &str, kind: Kind) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = last.chars().filter(|letter| !is_treacherous(*letter)).collect();
    // A leading dot hides a file, and `.` and `..` are directories; Windows drops dots and blanks at the end.
    let clean = clean.trim_start_matches(['.', ' ']).trim_end_matches(['.', ' ']);
    if clean.is_empty() {
        return match kind {
            Kind::Image => "image",
            Kind::Video => "video",
            Kind::Audio => "audio",
            Kind::File => "file",
        }
        .to_owned();
    }
    let count = clean.chars().count();
    if count <= NAME_CHARS_MAX {
        return clean.to_owned();
    }
    // The end stays, because it says what opens the file.
    let (head, tail) = (NAME_CHARS_MAX - NAME_CHARS_MAX / 4, NAME_CHARS_MAX / 4);
    clean.chars().take(head).chain(clean.chars().skip(count - tail)).collect()
}

/// Control characters, the ones that turn the direction of writing, and invisible ones: they make a name read as another.
fn is_treacherous(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}')
        || "<>:\"|?*".contains(letter)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn file() -> Value {
        json!({
            "v": "v2",
            "url": "mxc://a.example/sealed",
            "key": {
                "kty": "oct", "alg": "A256CTR", "ext": true, "key_ops": ["decrypt", "encrypt"],
                "k": "Voq2nkPme_x8no5-Tjq_laDAdxE6iDbxnlQXxwFPgE4",
            },
            "iv": "i0DovxYdJEcAAAAAAAAAAA",
            "hashes": { "sha256": "ANdt819a8bZl4jKy3Z+jcqtiNICa2y0AW4BBJ/iQRAU" },
        })
    }

    #[test]
    fn both_forms_are_read_and_the_encrypted_one_comes_first() {
        let info = json!({
            "w": 640, "h": 480, "size": 1234, "mimetype": "image/jpeg",
            "thumbnail_file": file(), "thumbnail_url": "mxc://a.example/thumbnail",
        });
        let content = json!({
            "msgtype": "m.image", "body": "look at this", "filename": "cat.jpg", "file": file(),
            "url": "mxc://a.example/plain", "info": info,
        });
        let sealed = Attachment::from_content("m.room.message", &content).unwrap();
        assert_eq!((sealed.kind, sealed.encrypted, sealed.has_thumbnail), (Kind::Image, true, true));
        assert_eq!((sealed.name.as_str(), sealed.caption.as_deref()), ("cat.jpg", Some("look at this")));
        assert_eq!((sealed.width, sealed.height, sealed.size), (Some(640), Some(480), Some(1234)));
        assert_eq!((sealed.mime.as_deref(), sealed.uri.as_str()), (Some("image/jpeg"), "mxc://a.example/sealed"));

        let content = json!({ "msgtype": "m.audio", "body": "song.ogg", "url": "mxc://a.example/plain", "info": { "duration": 1500 } });
        let plain = Attachment::from_content("m.room.message", &content).unwrap();
        assert_eq!((plain.kind, plain.encrypted, plain.has_thumbnail), (Kind::Audio, false, false));
        assert_eq!((plain.name.as_str(), plain.caption), ("song.ogg", None));
        assert_eq!(plain.duration, Some(Duration::from_millis(1500)));
        let content = json!({ "body": "a wave", "url": "mxc://a.example/plain", "info": {} });
        assert_eq!(Attachment::from_content("m.sticker", &content).unwrap().kind, Kind::Image);
    }

    #[test]
    fn what_names_no_place_is_no_attachment_and_nonsense_is_left_out() {
        let broken = [
            json!({ "msgtype": "m.text", "body": "hi", "url": "mxc://a.example/plain" }),
            json!({ "msgtype": "m.file", "body": "no place" }),
            json!({ "msgtype": "m.file", "body": "x", "url": "https://a.example/plain" }),
            json!({ "msgtype": "m.file", "body": "x", "url": "mxc://a.example/../../etc" }),
            json!({ "msgtype": "m.file", "body": "x", "file": { "url": "mxc://a.example/sealed" } }),
            // An encrypted file that cannot be opened is not fetched in clear instead.
            json!({ "msgtype": "m.file", "body": "x", "file": { "v": "v2" }, "url": "mxc://a.example/plain" }),
            json!([]),
        ];
        for content in broken {
            assert_eq!(Attachment::from_content("m.room.message", &content), None, "{content}");
        }
        let content = json!({
            "msgtype": "m.file", "body": 7, "url": "mxc://a.example/plain",
            "info": { "w": "wide", "size": -1, "mimetype": "text/html\r\nX: y", "thumbnail_url": 3 },
        });
        let odd = Attachment::from_content("m.room.message", &content).unwrap();
        assert_eq!(
            (odd.name.as_str(), odd.width, odd.size, odd.mime, odd.has_thumbnail),
            ("file", None, None, None, false)
        );
    }

    #[test]
    fn names_lead_nowhere() {
        let long = format!("{}.jpeg", "é".repeat(500));
        for (name, clean) in [
            ("cat.jpg", "cat.jpg"),
            ("../../etc/passwd", "passwd"),
            ("..\\..\\boot.ini", "boot.ini"),
            (".bashrc", "bashrc"),
            ("..", "file"),
            ("holiday\u{202e}gpj.exe", "holidaygpj.exe"),
            ("a\nb\0c: d.txt ", "abc d.txt"),
            ("/", "file"),
            ("写真 1.png", "写真 1.png"),
        ] {
            assert_eq!(clean_name(name, Kind::File), clean, "{name:?}");
        }
        let cut = clean_name(&long, Kind::File);
        assert_eq!(cut.chars().count(), NAME_CHARS_MAX);
        assert!(cut.ends_with("é.jpeg"));
    }

    #[test]
    fn a_log_shows_no_name_and_no_key() {
        let content = json!({ "msgtype": "m.file", "body": "diagnosis.pdf", "file": file() });
        let shown = format!("{:?}", Attachment::from_content("m.room.message", &content).unwrap());
        assert!(!shown.contains("diagnosis") && !shown.contains("Voq2nkPme"), "{shown}");
    }
}
