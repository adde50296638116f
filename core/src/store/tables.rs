//! The schema: every table, once. Snapshot and transaction accessors are made from this list.
//!
//! Keys are fixed-width integers wherever that is possible, because redb stores those without overhead. Names are interned
//! to `u32`. Values that are records are postcard (see `records`). A new table needs no migration; a changed record or key
//! does, and raises [`SCHEMA_VERSION`].

use redb::{ReadOnlyTable, ReadTransaction, Table, TableDefinition, WriteTransaction};
use std::sync::OnceLock;

use super::{Result, rows::Rows};

/// The version of this schema. `open` migrates older files step by step and refuses newer ones.
pub const SCHEMA_VERSION: u32 = 1;

macro_rules! tables {
    ($($(#[doc = $doc:literal])* $name:ident: $key:ty => $value:ty;)*) => {
        $(
            #[allow(non_upper_case_globals)]
            mod $name {
                pub(super) const DEF: super::TableDefinition<'static, $key, $value> =
                    super::TableDefinition::new(stringify!($name));
            }
        )*

        /// All tables, open for writing.
        pub(crate) struct WriteTables<'t> {
            $($(#[doc = $doc])* pub(crate) $name: Table<'t, $key, $value>,)*
        }

        impl<'t> WriteTables<'t> {
            pub(super) fn open(txn: &'t WriteTransaction) -> Result<Self> {
                Ok(Self { $($name: txn.open_table($name::DEF)?,)* })
            }
        }

        /// All tables of one read transaction, each opened when first asked for.
        pub(super) struct ReadTables {
            txn: ReadTransaction,
            $($name: OnceLock<ReadOnlyTable<$key, $value>>,)*
        }

        impl ReadTables {
            pub(super) fn new(txn: ReadTransaction) -> Self {
                Self { txn, $($name: OnceLock::new(),)* }
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
            fn $name(&self) -> Result<&dyn Rows<$key, $value>>;)*

            /// The engine's memory of events; only a write transaction has one.
            fn recent(&self) -> Option<&super::Recent> {
                None
            }
        }

        impl View for ReadTables {
            $(fn $name(&self) -> Result<&dyn Rows<$key, $value>> {
                if let Some(table) = self.$name.get() {
                    return Ok(table);
                }
                let table = self.txn.open_table($name::DEF)?;
                Ok(self.$name.get_or_init(|| table))
            })*
        }

        impl View for super::Snapshot {
            $(fn $name(&self) -> Result<&dyn Rows<$key, $value>> {
                self.tables.$name()
            })*
        }

        impl View for super::WriteTx<'_> {
            $(fn $name(&self) -> Result<&dyn Rows<$key, $value>> {
                Ok(&self.read().$name)
            })*

            fn recent(&self) -> Option<&super::Recent> {
                Some(&self.recent)
            }
        }
    };
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
    /// Redacted event -> redaction.
    redacted_by: u64 => u64;
    /// (room, first 16 bytes of a not yet known event's hash, redaction) -> nothing: redactions that arrived first.
    redact_wait: (u32, &'static [u8; 16], u64) => ();
}
