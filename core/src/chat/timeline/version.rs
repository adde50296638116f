//! What a message says now: as it was sent, as its sender changed it last, or not any more.
//!
//! Client-server API, "Validity of replacement events": an edit counts if it is the sender's own, of the same type, and has new
//! content; the newest by the sender's clock wins. Beyond that, an edit without encryption never changes a message that was
//! encrypted: any server on its way could have made it.

use std::{cmp::Reverse, sync::Arc};

use ruma::OwnedUserId;
use serde_json::value::RawValue;

use super::{
    item::ItemContent,
    words::{self, replacement, reply_to},
};
use crate::{
    chat::{
        content::{object, string},
        crypto::Trust,
        names::Names,
        reading::{ENCRYPTED, Look, Opened, Reading},
    },
    rooms::{
        Room,
        relations::{self, Kind},
        visibility::UserSight,
    },
    store::{Esn, Header, Result, Stored, id_prefix},
    types::limits::{AGGREGATED_CHILDREN_MAX, EDITS_TRIED_MAX},
};

/// A message as it is now.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    /// What it says.
    pub(crate) content: ItemContent,
    /// Whether it was changed.
    pub(crate) edited: bool,
    /// How sure it is who wrote it.
    pub(crate) trust: Option<Trust>,
    /// The event that made it so: the message itself, or its last edit.
    pub(crate) by: (Esn, Header),
}

/// What it takes to read messages of one room.
pub(crate) struct Reader<'a, 'v> {
    pub(crate) look: &'a mut Look<'v>,
    pub(crate) room: &'a Room,
    pub(crate) names: &'a Names,
    pub(crate) sight: UserSight<'v>,
}

impl Reader<'_, '_> {
    /// A message as it is now; `None` for an event that is not shown as itself.
    pub(crate) fn version(&mut self, stored: &Stored) -> Result<Option<Version>> {
        let by = (stored.esn, stored.header.clone());
        if stored.header.flags.redacted {
            let (who, reason) = self.redaction(stored.esn)?;
            let content = ItemContent::Redacted { by: who, reason };
            return Ok(Some(Version { content, edited: false, trust: None, by }));
        }
        if stored.pdu.is_state() {
            let content = words::state(self.look, self.room, self.names, stored)?;
            return Ok(content.map(|content| Version { content, edited: false, trust: None, by }));
        }
        let is_reply = reply_to(&stored.pdu.content).is_some();
        let original = self.look.open(stored);
        if let Some((opened, edit)) = self.edit(stored, &original)? {
            let Some(new) = replacement(&opened.content) else { return Ok(None) };
            let content = words::spoken(&opened.kind, &new, is_reply);
            let by = (edit.esn, edit.header);
            return Ok(content.map(|content| Version { content, edited: true, trust: opened.trust, by }));
        }
        Ok(match original {
            Reading::Clear(opened) => words::message(&opened, is_reply).map(|content| Version {
                content,
                edited: false,
                trust: opened.trust,
                by,
            }),
            Reading::Shut { waiting, reason } => {
                let content = ItemContent::Undecryptable { waiting, reason };
                Some(Version { content, edited: false, trust: None, by })
            }
        })
    }

    /// The content in clear that a message has now, for who wants to change it.
    pub(super) fn content_now(&mut self, stored: &Stored) -> Result<Option<Box<RawValue>>> {
        let original = self.look.open(stored);
        if let Some((opened, _)) = self.edit(stored, &original)? {
            return Ok(replacement(&opened.content));
        }
        Ok(match original {
            Reading::Clear(opened) => Some(opened.content.clone()),
            Reading::Shut { .. } => None,
        })
    }

    fn redaction(&self, esn: Esn) -> Result<(Option<OwnedUserId>, Option<String>)> {
        let row = self.look.view.redacted_by()?.row(esn)?.map(|row| row.value());
        let Some(redaction) = row.map(|esn| Stored::load(self.look.view, esn)).transpose()?.flatten() else {
            return Ok((None, None));
        };
        let reason = string(&object(&redaction.pdu.content), "reason").map(str::to_owned);
        Ok((Some(redaction.pdu.sender), reason))
    }

    /// The edit that counts, in clear.
    fn edit(&mut self, stored: &Stored, original: &Reading) -> Result<Option<(Arc<Opened>, Stored)>> {
        let Some(prefix) = id_prefix(&stored.pdu.event_id) else { return Ok(None) };
        let mut edits = Vec::new();
        let children = relations::children_of(self.look.view, stored.header.room, &prefix, Kind::Replace)?;
        for child in children.rev().take(AGGREGATED_CHILDREN_MAX) {
            edits.extend(Some(child?).filter(|child| child.sender == stored.header.sender));
        }
        edits.sort_by_key(|child| Reverse(child.ts));
        let must_be_encrypted = stored.pdu.kind.to_string() == ENCRYPTED;
        let mut best: Option<(Arc<Opened>, Stored)> = None;
        for child in edits.into_iter().take(EDITS_TRIED_MAX) {
            if best.as_ref().is_some_and(|(_, best)| best.pdu.origin_server_ts.0 > child.ts) {
                break;
            }
            let edit = Stored::must(self.look.view, child.esn)?;
            if best.as_ref().is_some_and(|(_, best)| best.pdu.event_id > edit.pdu.event_id) {
                continue;
            }
            let is_downgrade = must_be_encrypted && edit.pdu.kind.to_string() != ENCRYPTED;
            if is_downgrade || edit.pdu.is_state() || !self.sight.sees(&edit)? {
                continue;
            }
            if let Reading::Clear(opened) = self.look.open(&edit)
                && replacement(&opened.content).is_some()
                && matches!(original, Reading::Clear(original) if original.kind == opened.kind)
            {
                best = Some((opened, edit));
            }
        }
        Ok(best)
    }
}
