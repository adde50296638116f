//! Every bound that a peer or a client could push against, each with its reason.
//!
//! Invariant: nothing that a peer sends sizes our memory. A queue, body, batch or fan-out without a constant here (or in
//! p2p's own `limits`) is a defect.

use std::time::Duration;

/// PDUs in one transaction. Server-server API, "Transactions".
pub const TRANSACTION_PDUS_MAX: usize = 50;
/// EDUs in one transaction. Server-server API, "Transactions".
pub const TRANSACTION_EDUS_MAX: usize = 100;
/// Bytes of the EDUs that we put into one transaction. With 50 PDUs of 64 KiB it stays below what a receiver reads.
pub const TRANSACTION_EDU_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of one PDU, in canonical JSON with its signatures. Client-server API, "Size limits".
pub const PDU_BYTES_MAX: usize = 65_536;
/// Bytes of one inbound federation request body: 50 PDUs of 64 KiB, 100 EDUs, and room for their envelope.
pub const FEDERATION_BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of one federation response: the state of a room of 20,000 members, with auth chain, at ~1 KB an event.
pub const FEDERATION_RESPONSE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of one client request body. An event is at most 64 KiB; `createRoom` may carry many initial ones.
pub const CLIENT_BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Events that one `get_missing_events` may return; the spec's default is 10, and other servers cap at 20.
pub const MISSING_EVENTS_MAX: usize = 100;
/// Rounds of `get_missing_events` before the state at the gap is asked for instead: 100 rounds close a gap of about
/// 10,000 events, which at phone speeds takes seconds; beyond it the state is cheaper.
pub const MISSING_EVENTS_ROUNDS_MAX: usize = 100;
/// Events that one `backfill` may return.
pub const BACKFILL_EVENTS_MAX: usize = 100;
/// Events of a `state` or `send_join` answer that we are ready to read: rooms larger than this are refused.
pub const STATE_EVENTS_MAX: usize = 100_000;
/// Events that wait in memory for their ancestors, for each room.
pub const WAITING_EVENTS_MAX: usize = 1_000;
/// Rooms in one heads advertisement, and heads for each room.
pub const ADVERTISED_ROOMS_MAX: usize = 100;
/// Heads named for one room. A PDU names at most 20 `prev_events`, so more heads than that can never merge at once.
pub const ADVERTISED_HEADS_MAX: usize = 20;
/// Parents of one event: the PDU format's own limit.
pub const PREV_EVENTS_MAX: usize = 20;
/// Heads that an event of our own merges. Half of the format's limit, so that a room with many heads still converges
/// while state resolution stays small.
pub const OWN_PREV_EVENTS_MAX: usize = 10;

/// Events in one page of `/messages` and one timeline of `/sync`.
pub const PAGE_EVENTS_MAX: usize = 1_000;
/// Events in a page when the client names no limit. Client-server API, `/messages`.
pub const PAGE_EVENTS_DEFAULT: usize = 10;
/// Events of a sync timeline when the filter names no limit.
pub const SYNC_TIMELINE_DEFAULT: usize = 20;
/// The longest that a sync may wait.
pub const SYNC_WAIT_MAX: Duration = Duration::from_secs(120);

/// Jobs that wait for the engine. A job is one event or one client write: 1,024 of them are a second of work.
pub const ENGINE_QUEUE_MAX: usize = 1_024;
/// Jobs in one commit: beyond 100 a batch gains little and holds the first job up.
pub const ENGINE_BATCH_JOBS_MAX: usize = 100;
/// Work in one commit, for the same reason.
pub const ENGINE_BATCH_TIME_MAX: Duration = Duration::from_millis(20);
/// Pages that redb keeps in memory. Its default is 1 GiB; 8 MiB keeps a phone's idle memory near 12 MB.
pub const STORE_CACHE_BYTES: usize = 8 * 1024 * 1024;

/// Bytes of an identifier. Appendices, "Identifier Grammar".
pub const ID_BYTES_MAX: usize = 255;
/// Bytes of a display name or another profile field.
pub const PROFILE_FIELD_BYTES_MAX: usize = 1_024;
/// Bytes of one profile. Client-server API, "Profiles".
pub const PROFILE_BYTES_MAX: usize = 65_536;
/// Users that `createRoom` may invite at once: each costs a federation request.
pub const CREATE_INVITES_MAX: usize = 100;
/// Initial state events that `createRoom` takes.
pub const CREATE_STATE_MAX: usize = 200;
/// Accounts of one phone. A phone belongs to one person, a gateway to more.
pub const ACCOUNTS_MAX: usize = 10_000;
/// Devices of one account.
pub const DEVICES_MAX: usize = 200;
/// Bytes of a password. Far above what anyone types; hashing reads all of it.
pub const PASSWORD_BYTES_MAX: usize = 1_024;
/// How long a login token lets somebody in: as long as it takes to open another app.
pub const LOGIN_TOKEN_LIFETIME: Duration = Duration::from_secs(120);
/// Login tokens that wait to be used.
pub const LOGIN_TOKENS_MAX: usize = 32;
/// Filters kept for one account. Clients make one at each start and seldom use more than one, so the oldest may go.
pub const FILTERS_MAX: usize = 100;
/// Bytes of one filter, as JSON.
pub const FILTER_BYTES_MAX: usize = 65_536;

/// How long a federation request that a client waits for may take before the client hears of it.
pub const FEDERATION_REQUEST_WAIT: Duration = Duration::from_secs(20);
/// The longest pause between two tries for a destination. A returning peer wakes its queue at once, so this only bounds
/// how long an unseen return (a gateway behind no discovery) stays unnoticed.
pub const RETRY_PAUSE_MAX: Duration = Duration::from_secs(600);
/// The first pause after a failed try.
pub const RETRY_PAUSE_MIN: Duration = Duration::from_millis(500);
/// Servers that the outbox sends to at once. Each holds one transaction in memory.
pub const OUTBOX_SENDERS_MAX: usize = 32;
/// How long a transaction that was answered is remembered: longer than a sender that tries again would wait.
pub const TRANSACTION_MEMORY: Duration = Duration::from_secs(3_600);
/// Neighbours that are told of heads at once.
pub const HEADS_TOLD_AT_ONCE_MAX: usize = 16;
/// Events of a room that an invite or a knock's answer shows: ten kinds are usual.
pub const STRIPPED_EVENTS_MAX: usize = 50;
