//! A message in one line: for the room list, for what a message answers, and for a thread's last word.

use super::{
    attachment::Kind,
    timeline::{ItemContent, TextStyle},
};
use crate::types::limits::PREVIEW_CHARS_MAX;

/// A message in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// What it is, so that a UI can show a sign or say it in its own language.
    pub kind: PreviewKind,
    /// What it says: the words of a text, the caption or the name of a file.
    pub text: String,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreviewKind {
    /// Words.
    Text,
    /// Words of a machine.
    Notice,
    /// What the sender does.
    Emote,
    /// A picture.
    Image,
    /// A film.
    Video,
    /// A sound.
    Audio,
    /// Another file.
    File,
    /// It was deleted.
    Redacted,
    /// It cannot be decrypted.
    Undecryptable,
    /// Something else.
    Other,
}

impl PreviewKind {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Image => Self::Image,
            Kind::Video => Self::Video,
            Kind::Audio => Self::Audio,
            Kind::File => Self::File,
        }
    }
}

impl Preview {
    /// The short form of a content.
    pub(crate) fn of(content: &ItemContent) -> Self {
        let (kind, text) = match content {
            ItemContent::Text { body, style, .. } => (
                match style {
                    TextStyle::Text => PreviewKind::Text,
                    TextStyle::Notice => PreviewKind::Notice,
                    TextStyle::Emote => PreviewKind::Emote,
                },
                body.as_str(),
            ),
            ItemContent::Media(file) => {
                (PreviewKind::of(file.kind), file.caption.as_ref().unwrap_or(&file.name).as_str())
            }
            ItemContent::Redacted { .. } => (PreviewKind::Redacted, ""),
            ItemContent::Undecryptable { .. } => (PreviewKind::Undecryptable, ""),
            ItemContent::Unsupported { fallback, .. } => (PreviewKind::Other, fallback.as_deref().unwrap_or_default()),
            ItemContent::State { text, .. } => (PreviewKind::Other, text.as_deref().unwrap_or_default()),
            ItemContent::Membership { name, .. } => (PreviewKind::Other, name.as_str()),
        };
        Self { kind, text: one_line(text) }
    }
}

/// The beginning of a text, without line breaks.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    let mut chars = 0;
    for word in text.split_whitespace() {
        let gap = usize::from(!line.is_empty());
        let length = word.chars().count();
        if chars + gap + length > PREVIEW_CHARS_MAX {
            let room = PREVIEW_CHARS_MAX.saturating_sub(chars + gap);
            if gap == 1 {
                line.push(' ');
            }
            line.extend(word.chars().take(room));
            line.push('…');
            break;
        }
        if gap == 1 {
            line.push(' ');
        }
        line.push_str(word);
        chars += gap + length;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_is_one_short_line() {
        assert_eq!(one_line("  one\n\n two\tthree "), "one two three");
        let long = one_line(&"word ".repeat(1_000));
        assert_eq!(long.chars().count(), PREVIEW_CHARS_MAX + 1);
        assert!(long.ends_with('…'));
        assert_eq!(one_line(&"x".repeat(10_000)).chars().count(), PREVIEW_CHARS_MAX + 1);
    }
}
