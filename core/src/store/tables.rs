//! The schema: every table, once. Snapshot and transaction accessors are made from this list.
//!
//! Keys are short, because a row costs little more than they do: names are interned to `u32`. How rows lie in the file says
//! `coded`. Values that are records are postcard (see `records`). A new table needs no migration; a changed record or key
//! does, and raises [`SCHEMA_VERSION`]: from the first release on, with a step that brings older files up to it.

use redb::{ReadOnlyTable, ReadTransaction, ReadableTableMetadata, TableDefinition, WriteTransaction};
use std::sync::OnceLock;

use super::{
    Result,
    copy::{CopyError, Copying},
    rows::{Raw, Rows},
    table::Table,
};

/// The version of this schema. `open` refuses others.
pub const SCHEMA_VERSION: u32 = 2;

macro_rules! tables {
    ($($(#[doc = $doc:literal])* $name:ident: $key:ty => $value:ty;)*) => {
        $(
            #[allow(non_upper_case_globals)]
            mod $name {
                pub(super) const DEF: super::TableDefinition<'static, super::Raw, super::Raw> =
                    super::TableDefinition::new(stringify!($name));
            }
        )*

        /// All tables, open for writing.
        pub(crate) struct WriteTables<'t> {
            $($(#[doc = $doc])* pub(crate) $name: Table<'t, $key, $value>,)*
        }

        impl<'t> WriteTables<'t> {
            pub(super) fn open(txn: &'t WriteTransaction) -> Result<Self, redb::TableError> {
                Ok(Self { $($name: Table::new(written(txn, $name::DEF)?),)* })
            }
        }

        /// All tables of one read transaction, each opened when first asked for.
        pub(super) struct ReadTables {
            txn: ReadTransaction,
            $($name: OnceLock<ReadOnlyTable<Raw, Raw>>,)*
        }

        impl ReadTables {
            pub(super) fn new(txn: ReadTransaction) -> Self {
                Self { txn, $($name: OnceLock::new(),)* }
            }

            /// How many rows all tables have together.
            pub(super) fn rows_in_all(&self) -> Result<u64> {
                Ok([$(self.txn.open_table($name::DEF)?.len()?,)*].iter().sum())
            }

            /// Copies every table.
            pub(super) fn copy(&self, into: &mut Copying<'_>) -> Result<(), CopyError> {
                $(into.table($name::DEF, opened(&self.txn, &self.$name, $name::DEF)?)?;)*
                Ok(())
            }
        }

        /// What can be read, the same in a snapshot and inside a write transaction.
        ///
        /// Each method is a table; the schema's comments stand on the rows of the list in `tables.rs`.
        pub trait View {
            $($(#[doc = $doc])*
            ///
            /// # Errors
            /// When the database fails.
            fn $name(&self) -> Result<Rows<'_, $key, $value>>;)*

            /// The engine's memory of events; only a write transaction has one.
            fn recent(&self) -> Option<&super::Recent> {
                None
            }
        }

        impl View for ReadTables {
            $(fn $name(&self) -> Result<Rows<'_, $key, $value>> {
                Ok(Rows::new(opened(&self.txn, &self.$name, $name::DEF)?))
            })*
        }

        impl View for super::Snapshot {
            $(fn $name(&self) -> Result<Rows<'_, $key, $value>> {
                self.tables.$name()
            })*
        }

        impl View for super::WriteTx<'_> {
            $(fn $name(&self) -> Result<Rows<'_, $key, $value>> {
                Ok(self.read().$name.rows())
            })*

            fn recent(&self) -> Option<&super::Recent> {
                Some(&self.recent)
            }
        }
    };
}

/// A table of a write transaction. One function, because there are many tables.
fn written<'t>(
    txn: &'t WriteTransaction,
    definition: TableDefinition<'static, Raw, Raw>,
) -> Result<redb::Table<'t, Raw, Raw>, redb::TableError> {
    txn.open_table(definition)
}

/// A table of a read transaction, opened when it is first asked for.
fn opened<'t>(
    txn: &ReadTransaction,
    slot: &'t OnceLock<ReadOnlyTable<Raw, Raw>>,
    definition: TableDefinition<'static, Raw, Raw>,
) -> Result<&'t ReadOnlyTable<Raw, Raw>> {
    match slot.get() {
        Some(table) => Ok(table),
        None => {
            let table = txn.open_table(definition)?;
            Ok(slot.get_or_init(|| table))
        }
    }
}

tables! {
    /// Schema version, clean-shutdown mark, secrets of the file: see `records::meta`.
    meta: u8 => &'static [u8];
    /// (kind, name) -> number.
    intern_f: (u8, &'static [u8]) => u32;
    /// (kind, number) -> name.
    intern_r: (u8, u32) => &'static [u8];
    /// First 16 bytes of the event id's hash -> event.
    eid: &'static [u8; 16] => u64;
    /// Event -> header and JSON.
    ev: u64 => &'static [u8];
    /// (room, node of the auth graph) -> event and parents. State events that were accepted.
    auth: (u32, u32) => &'static [u8];
    /// (room, position) -> event: what a timeline shows, in its order.
    tl: (u32, u64) => u64;
    /// (room, position) -> unknown parents of the event at that position.
    gap: (u32, u64) => &'static [u8];
    /// (room, state key, sequence) -> event, 0 for "removed": every value that the room's current state ever had.
    st: (u32, u32, u64) => u64;
    /// (room, sequence) -> (state key, old event, new event).
    st_log: (u32, u64) => (u32, u64, u64);
    /// (room, patch) -> overrides over the mainline.
    patch: (u32, u64) => &'static [u8];
    /// Room -> record.
    room: u32 => &'static [u8];
    /// (room, user) -> membership byte and event, of the current state.
    rmem: (u32, u32) => (u8, u64);
    /// (user, room) -> how a local user stands to a room.
    memb: (u32, u32) => &'static [u8];
    /// (room, server) -> joined members.
    rserv: (u32, u32) => u32;
    /// (room, version of its server set) -> servers.
    dset: (u32, u32) => &'static [u8];
    /// Log position -> what changed.
    log: u64 => &'static [u8];
    /// (user, room) -> stripped state of an invite or knock, as JSON.
    inv: (u32, u32) => &'static [u8];
    /// Alias -> room and who made it.
    alias: &'static [u8] => &'static [u8];
    /// (room, alias) -> nothing.
    ralias: (u32, &'static [u8]) => ();
    /// Log position -> (event, room, server set): what other servers must hear of.
    out_log: u64 => (u64, u32, u32);
    /// Server -> delivery record.
    dest: u32 => &'static [u8];
    /// (server, place) -> letter: what waits for a server beside events, in order.
    out_letter: (u32, u64) => &'static [u8];
    /// Server -> the last place that a letter got. Places are never used twice.
    out_seq: u32 => u64;
    /// (server, slot) -> place: the letter that a newer one of its kind replaces.
    out_slot: (u32, &'static [u8; 16]) => u64;
    /// (event of ours, server) -> why that server will not have it.
    refused: (u64, u32) => &'static [u8];
    /// (server, transaction hash) -> answer and time.
    in_txn: (u32, &'static [u8; 16]) => &'static [u8];
    /// (time in ms, server, transaction hash) -> nothing: the lifetime of `in_txn`.
    in_txn_exp: (u64, u32, &'static [u8; 16]) => ();
    /// Local account -> record.
    account: u32 => &'static [u8];
    /// User -> profile JSON. Local users, and the cache of remote ones.
    profile: u32 => &'static [u8];
    /// SHA-256 of an access token -> (user, device).
    token: &'static [u8; 32] => &'static [u8];
    /// (user, device id) -> device record.
    dev: (u32, &'static [u8]) => &'static [u8];
    /// Event of a local client -> (user, hash of the device, hash of device and transaction id).
    client_txn: u64 => (u32, u32, &'static [u8; 16]);
    /// (user, filter) -> filter JSON.
    filter: (u32, u32) => &'static [u8];
    /// (local user, user) -> a contact, sealed.
    contact: (u32, u32) => &'static [u8];
    /// Redacted event -> redaction.
    redacted_by: u64 => u64;
    /// (room, first 16 bytes of a not yet known event's hash, redaction) -> nothing: redactions that arrived first.
    redact_wait: (u32, &'static [u8; 16], u64) => ();

    // Encryption of the on-device client.
    /// Local user -> id of the device that the on-device client is.
    chat_device: u32 => &'static [u8];
    /// Local user -> the place of the log up to which the on-device client has heard of devices and messages.
    chat_place: u32 => u64;
    /// Local user -> the place of the log up to which they were told of everything that they should be told of.
    chat_told: u32 => u64;
    /// (local user, room, hash of a session's id) -> what is known of an outbound group session of theirs.
    said: (u32, u32, &'static [u8; 16]) => &'static [u8];
    /// (local user, user, room, hash of a session's id) -> devices that have its key: a user who may not have got it on all of
    /// theirs. User 0: whom it is owed was not worked out yet.
    owed: (u32, u32, u32, &'static [u8; 16]) => &'static [u8];
    // The on-device client.
    /// One row: the key of everything that is sealed, wrapped by the store key of the platform; or the mark that it was
    /// destroyed.
    vault: u8 => &'static [u8];
    /// (local user, kind of row, keyed hashes of names) -> mostly sealed: the store of end-to-end encryption. The kinds and
    /// their keys are `chat::crypto_store::rows::Kind`.
    crypto: (u32, u8, &'static [u8]) => &'static [u8];
    // End-to-end encryption.
    /// (user, device) -> the device keys of a local device, JSON with the signatures that others may see.
    dkey: (u32, &'static [u8]) => &'static [u8];
    /// (user, device) -> what there is of one-time keys of a local device, and its fallback keys.
    prekey: (u32, &'static [u8]) => &'static [u8];
    /// (user, device, order of upload) -> one-time key of a local device.
    otk: (u32, &'static [u8], u64) => &'static [u8];
    /// (user, device, server) -> (start of an hour in ms, one-time keys that the server claimed in it).
    otk_claims: (u32, &'static [u8], u32) => (u64, u32);
    /// Local user -> cross-signing keys.
    xsk: u32 => &'static [u8];
    /// (local user, user) -> signatures of the first one's user-signing key on the other one's master key.
    xsig: (u32, u32) => &'static [u8];
    /// User -> (log position of the last change of their keys, `stream_id` of their device list; 0 for a remote user).
    dlch: u32 => (u64, u64);
    /// Remote user -> how far their device list is known, and their cross-signing keys.
    rdl: u32 => &'static [u8];
    /// (remote user, device) -> device keys, JSON.
    rdev: (u32, &'static [u8]) => &'static [u8];
    /// (server, remote user) -> nothing: the list of `rdl` is known to be out of date.
    rdl_stale: (u32, u32) => ();
    /// (local user, device, log position) -> to-device message.
    inbox: (u32, &'static [u8], u64) => &'static [u8];
    /// (local user, device or nothing for all, server of origin) -> (messages, bytes) of it in the inbox.
    inbox_use: (u32, &'static [u8], u32) => (u64, u64);
    /// (kind, owner, hash of a name) -> its number: names that were seen before, such as message ids.
    seen: (u8, u32, &'static [u8; 16]) => u64;
    /// (kind, owner, number) -> hash of a name: the order of `seen`.
    seen_order: (u8, u32, u64) => &'static [u8; 16];
    /// (local user, version) -> a backup of room keys. Version 0 counts the versions.
    bkv: (u32, u64) => &'static [u8];
    /// (local user, version, room id, session id) -> a room key, JSON.
    bk: (u32, u64, &'static [u8], &'static [u8]) => &'static [u8];
    /// (user, room or 0, type) -> log position of the last change, and the content as JSON: account data.
    acct: (u32, u32, &'static [u8]) => (u64, &'static [u8]);
    /// (room, user, thread, kind) -> (event, its position, time in ms, log position): how far somebody has read.
    rcpt: (u32, u32, u32, u8) => (u64, u64, u64, u64);
    /// (room, user) -> receipts for events that have no place on the timeline yet.
    rcpt_wait: (u32, u32) => &'static [u8];
    /// (room, first 16 bytes of an event's hash, user) -> nothing: whose receipts in `rcpt_wait` are for that event.
    rcpt_due: (u32, &'static [u8; 16], u32) => ();
    /// (user, room, thread, position) -> how the event there notifies the user, in bits: see `rooms::unread`.
    push: (u32, u32, u32, u64) => u8;
    /// (user, room, thread) -> (notifications, highlights, position up to which the user has read).
    unread: (u32, u32, u32) => (u32, u32, u64);
    /// (room, first 16 bytes of the parent's hash, kind of relation, position of the child) -> (child, its sender, its
    /// `origin_server_ts`). By the parent's id, so that a child may come first.
    rel: (u32, &'static [u8; 16], u8, u64) => (u64, u32, u64);
    /// (room, position of a thread's last event) -> first 16 bytes of its root's hash.
    thread: (u32, u64) => &'static [u8; 16];
    // The content repository. A media is named by the hash of its server and id; a thumbnail is a media under an id that no
    // media has.
    /// Media -> what it is.
    media: &'static [u8; 32] => &'static [u8];
    /// SHA-256 of a file -> the media that are it, and its length.
    blob: &'static [u8; 32] => (u32, u64);
    /// Place in the order of use -> media: what may go when room is needed, the least recently used first.
    media_used: u64 => &'static [u8; 32];
    /// User -> bytes that they uploaded; 0 -> bytes that may go.
    media_sum: u32 => u64;
    /// (user, media) -> when it expires, in ms: ids whose upload has not come yet.
    media_due: (u32, &'static [u8; 32]) => u64;
    /// Media -> a transfer that broke off.
    media_part: &'static [u8; 32] => &'static [u8];

    /// (local user, place in the queue) -> message of the on-device client that is not in its room yet, sealed.
    unsent: (u32, u64) => &'static [u8];
}
