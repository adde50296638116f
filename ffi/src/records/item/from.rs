//! From the client's own types to the records that cross, and back where an app says something.

use hearth_core::chat::{
    self,
    attachment::{Attachment, Kind},
};

use super::{
    ItemContent, Media, MediaKind, MembershipChange, PreviewKind, Quote, Reach, Reaction, Recipient, SendState,
    TextStyle, ThreadSummary, TimelineItem, Trust,
};

/// Two enums with the same variants.
macro_rules! same {
    ($from:path => $to:ident: $($variant:ident),*) => {
        impl From<$from> for $to {
            fn from(value: $from) -> Self {
                use $from as From;
                match value {
                    $(From::$variant => Self::$variant,)*
                }
            }
        }
    };
}
same!(chat::PreviewKind => PreviewKind: Text, Notice, Emote, Image, Video, Audio, File, Redacted, Undecryptable, Other);
same!(chat::TextStyle => TextStyle: Text, Notice, Emote);
same!(Kind => MediaKind: Image, Video, Audio, File);
same!(chat::Trust => Trust: Verified, Unverified, Changed, Unknown);

impl From<TextStyle> for chat::TextStyle {
    fn from(style: TextStyle) -> Self {
        match style {
            TextStyle::Text => Self::Text,
            TextStyle::Notice => Self::Notice,
            TextStyle::Emote => Self::Emote,
        }
    }
}

impl From<MediaKind> for Kind {
    fn from(kind: MediaKind) -> Self {
        match kind {
            MediaKind::Image => Self::Image,
            MediaKind::Video => Self::Video,
            MediaKind::Audio => Self::Audio,
            MediaKind::File => Self::File,
        }
    }
}

impl From<chat::MembershipChange> for MembershipChange {
    fn from(change: chat::MembershipChange) -> Self {
        use chat::MembershipChange as C;
        match change {
            C::Joined => Self::Joined,
            C::Left => Self::Left,
            C::Invited => Self::Invited,
            C::InviteDeclined => Self::InviteDeclined,
            C::InviteWithdrawn => Self::InviteWithdrawn,
            C::Knocked => Self::Knocked,
            C::KnockWithdrawn => Self::KnockWithdrawn,
            C::KnockDenied => Self::KnockDenied,
            C::Kicked => Self::Kicked,
            C::Banned => Self::Banned,
            C::Unbanned => Self::Unbanned,
            C::NameChanged { .. } => Self::NameChanged,
            C::AvatarChanged => Self::AvatarChanged,
            C::Other => Self::Other,
        }
    }
}

impl From<Attachment> for Media {
    fn from(file: Attachment) -> Self {
        Self {
            kind: file.kind.into(),
            name: file.name,
            mime: file.mime,
            size: file.size,
            width: file.width,
            height: file.height,
            duration_ms: file.duration.map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
            caption: file.caption,
            encrypted: file.encrypted,
            has_thumbnail: file.has_thumbnail,
            uri: file.uri.to_string(),
        }
    }
}

impl From<chat::ItemContent> for ItemContent {
    fn from(content: chat::ItemContent) -> Self {
        use chat::ItemContent as C;
        match content {
            C::Text { body, formatted, style } => Self::Text { body, formatted, style: style.into() },
            C::Media(attachment) => Self::File { media: attachment.into() },
            C::Membership { user, name, change, reason } => {
                Self::Membership { user: user.to_string(), name, change: change.into(), reason }
            }
            C::State { kind, text, .. } => Self::State { kind, text },
            C::Redacted { by, reason } => Self::Redacted { by: by.map(|by| by.to_string()), reason },
            C::Undecryptable { waiting, reason } => Self::Undecryptable { waiting, reason },
            C::Unsupported { kind, fallback } => Self::Unsupported { kind, fallback },
        }
    }
}

impl From<chat::Quote> for Quote {
    fn from(quote: chat::Quote) -> Self {
        let (sender, sender_name) = quote.sender.map(|(user, name)| (user.to_string(), name)).unzip();
        let (kind, text) = quote.preview.map(|preview| (PreviewKind::from(preview.kind), preview.text)).unzip();
        Self { event_id: quote.event_id.to_string(), sender, sender_name, kind, text }
    }
}

impl From<chat::SendState> for SendState {
    fn from(state: chat::SendState) -> Self {
        use chat::SendState as S;
        match state {
            S::Sending { progress } => {
                let (done, total) = progress.unzip();
                Self::Sending { done, total }
            }
            S::Sent { recipients } => Self::Sent { recipients: recipients.into_iter().map(Into::into).collect() },
            S::Failed { reason, retryable } => Self::Failed { reason, retryable },
        }
    }
}

impl From<chat::Recipient> for Recipient {
    fn from(recipient: chat::Recipient) -> Self {
        let (reach, reason) = match recipient.reach {
            chat::Reach::Queued => (Reach::Queued, None),
            chat::Reach::OnTheirPhone => (Reach::OnTheirPhone, None),
            chat::Reach::Read => (Reach::Read, None),
            chat::Reach::Refused(why) => (Reach::Refused, Some(why)),
        };
        Self { user: recipient.user.to_string(), reach, reason }
    }
}

impl From<chat::TimelineItem> for TimelineItem {
    fn from(item: chat::TimelineItem) -> Self {
        let reaction = |reaction: chat::Reaction| Reaction {
            key: reaction.key,
            senders: reaction.senders.iter().map(ToString::to_string).collect(),
            mine: reaction.mine,
        };
        let thread =
            |thread: chat::ThreadSummary| ThreadSummary { count: thread.count, latest: thread.latest.map(Into::into) };
        Self {
            id: item.id.0,
            event_id: item.event_id.map(|id| id.to_string()),
            sender: item.sender.to_string(),
            sender_name: item.sender_name,
            sender_avatar: item.sender_avatar,
            timestamp: item.ts.0,
            mine: item.mine,
            content: item.content.into(),
            edited: item.edited,
            reactions: item.reactions.into_iter().map(reaction).collect(),
            reply_to: item.reply_to.map(Into::into),
            thread: item.thread.map(thread),
            read_by: item.read_by.iter().map(ToString::to_string).collect(),
            state: item.state.map(Into::into),
            trust: item.trust.map(Into::into),
            gap_before: item.gap_before,
        }
    }
}
