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
/// People whom one person keeps as contacts.
pub const CONTACTS_MAX: usize = 10_000;
/// Addresses kept for one contact: a contact URI has two.
pub const CONTACT_ADDRESSES_MAX: usize = 4;
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

/// Bytes of one upload, and of one file of another server: a few minutes of a phone's video. What is larger is better
/// shared as a file.
pub const MEDIA_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Bytes of what can be had again: media of other servers, and thumbnails. Beyond it the least recently used ones go.
pub const MEDIA_CACHE_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Bytes that one user may upload in all. They are never evicted, so the last of them would fill the disk.
pub const MEDIA_USER_BYTES_MAX: u64 = 32 * 1024 * 1024 * 1024;
/// What a file counts at the least: a block of the file system. It bounds the number of files by the same limits.
pub const MEDIA_FILE_BYTES_MIN: u64 = 4_096;
/// Bytes of transfers that broke off and wait to be taken up again.
pub const MEDIA_PARTS_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Transfers from other servers that run at once. Each may be writing a file of the largest size.
pub const MEDIA_FETCHES_MAX: usize = 8;
/// Ids that one user may have created without uploading anything.
pub const MEDIA_PENDING_MAX: usize = 100;
/// How long such an id waits. Client-server API, `POST /create`, recommends it.
pub const MEDIA_PENDING_LIFETIME: Duration = Duration::from_secs(24 * 3_600);
/// The longest that a request waits for an upload: below the time that a transport waits for the head of an answer.
pub const MEDIA_WAIT_MAX: Duration = Duration::from_secs(45);
/// What another server's answer may take beyond the wait that it was asked for: a connection may have to be made first.
pub const MEDIA_FETCH_GRACE: Duration = Duration::from_secs(10);
/// Bytes of a media id.
pub const MEDIA_ID_BYTES_MAX: usize = 255;
/// Bytes of a file's name. File systems allow 255; percent-encoding may triple them.
pub const MEDIA_FILENAME_BYTES_MAX: usize = 1_024;
/// Bytes of a content type with its parameters.
pub const MEDIA_CONTENT_TYPE_BYTES_MAX: usize = 255;
/// Bytes before the content of a multipart answer: metadata and two heads.
pub const MEDIA_HEAD_BYTES_MAX: usize = 16 * 1024;
/// Bytes of an error answer to a request whose good answer would stream.
pub const STREAM_ERROR_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a file that are read at once.
pub const BLOB_READ_BYTES: usize = 64 * 1024;
/// Bytes of a file that are gathered before they are written: each write takes a trip to another thread.
pub const BLOB_WRITE_BYTES: usize = 256 * 1024;
/// Bytes of an image that is made smaller: the decoder of JPEG holds them in memory.
pub const THUMBNAIL_SOURCE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Pixels of an image that is made smaller. Phones take pictures of 12 to 24 megapixels, which decode to 75 MB.
pub const THUMBNAIL_SOURCE_PIXELS_MAX: u64 = 25_000_000;
/// Bytes that a decoder may allocate: 25 megapixels with alpha, and what decoding needs beside them.
pub const THUMBNAIL_ALLOC_BYTES_MAX: u64 = 160 * 1024 * 1024;
/// Bytes of a thumbnail that another server made. It may be the original.
pub const THUMBNAIL_BYTES_MAX: u64 = 8 * 1024 * 1024;

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

/// How long a message of ours waits for the keys of members who are within reach. They then get its key a moment later, so
/// this only spares a second message for it.
pub const ENCRYPT_WAIT: Duration = Duration::from_secs(2);
/// Messages of one outbound group session, whatever the room asks for. Client-server API, `m.room.encryption`: 100 by default.
pub const SESSION_MESSAGES_MAX: u64 = 1_000;
/// Outbound group sessions that are remembered for each room, with who may read them: as many as original keys are kept.
pub const SESSIONS_SAID_MAX: usize = 256;
/// Earlier sessions of ours that a new member of a room with a shared past is given: at a hundred messages each, more than
/// anybody scrolls back, and less than a hundred kilobytes.
pub const SESSIONS_WELCOME_MAX: usize = 64;
/// Owed keys that are given to one user in one step of the loop, so that others are not held up.
pub const DEBTS_AT_ONCE_MAX: usize = 50;
/// Rows of the log that are read to find rooms whose members changed. Beyond that every encrypted room is looked at.
pub const FOLLOWED_ROWS_MAX: u64 = 1_000;
/// Messages with unknown keys that are remembered for asking their senders.
pub const KEY_ASKS_MAX: usize = 200;
/// How long a missing key is waited for before its sender is asked: it usually travels just behind or before its message.
pub const KEY_ASK_GRACE: Duration = Duration::from_secs(10);
/// The pause before a sender is asked for the same key again.
pub const KEY_ASK_PAUSE: Duration = Duration::from_secs(3_600);
/// Answered requests for keys that are remembered, so that a device that asks in a loop is answered once in the pause.
pub const KEY_ANSWERS_MAX: usize = 1_000;
/// The pause before the same device is given the same key again.
pub const KEY_ANSWER_PAUSE: Duration = Duration::from_secs(600);
/// Verification flows that are kept, finished ones among them. People verify one at a time.
pub const VERIFICATIONS_MAX: usize = 32;
/// How old a request in a room may be to count as one for verification. Client-server API, "Key verification framework".
pub const VERIFICATION_AGE_MAX: Duration = Duration::from_secs(600);
/// Messages that may be verification requests and wait for their keys or their senders' devices.
pub const VERIFICATIONS_WAITING_MAX: usize = 64;
/// Hashes of Olm messages that were decrypted, kept to tell a message that is replayed from a session that broke. The
/// ratchet refuses a replay by itself, so a forgotten hash costs one new session and no secret; a server repeats what was
/// not acknowledged, and these are far more than lie between two acknowledgements.
pub const OLM_HASHES_MAX: u64 = 10_000;
/// Olm sessions with one device. The least recently used goes: two devices that both work use the newest one, and each
/// broken session is replaced once an hour at most, so these are two days of breaking. Each is tried on a message in turn.
pub const OLM_SESSIONS_PER_DEVICE_MAX: usize = 50;
/// Notices that a key was withheld. They only explain why a message cannot be read, and anybody may send them.
pub const WITHHELD_KEYS_MAX: u64 = 10_000;
/// Announced bundles of a room's keys. One is wanted once, soon after joining, and anybody may announce them.
pub const KEY_BUNDLES_MAX: u64 = 1_000;
/// Original keys of our own sessions that are kept for one room, for members out of reach. A session ends after a week or
/// a hundred messages, so these are years of a quiet room and 25,000 messages of a busy one.
pub const ORIGINAL_KEYS_PER_ROOM_MAX: usize = 256;
/// Bytes of the keys of one device, or of one cross-signing key, with its signatures. 1.2 KB are usual; post-quantum keys
/// would be some kilobytes.
pub const DEVICE_KEYS_BYTES_MAX: usize = 16_384;
/// Bytes of one one-time or fallback key: 250 are usual.
pub const ONE_TIME_KEY_BYTES_MAX: usize = 4_096;
/// One-time keys that wait for one device. Clients keep 50 to 100 there.
pub const ONE_TIME_KEYS_MAX: usize = 1_000;
/// Fallback keys of one device: one for each algorithm, of which there is one.
pub const FALLBACK_KEYS_MAX: usize = 8;
/// Claimed one-time keys that are remembered for each device, so that the retry of an upload does not bring them back: more
/// than an upload of usual clients holds.
pub const CLAIMED_KEYS_REMEMBERED_MAX: usize = 100;
/// Devices in one claim of one-time keys. Each costs a row in the same transaction; a room of thousands is asked for in
/// several.
pub const CLAIM_DEVICES_MAX: usize = 5_000;
/// One-time keys of one device that another server gets in an hour; beyond that it gets the fallback key. A phone's devices
/// claim one each when they first write; a claim in a loop must not leave others without.
pub const CLAIMS_PER_HOUR_MAX: u32 = 20;
/// How long other servers are asked for keys if the client does not say. Client-server API, `/keys/query`.
pub const KEYS_WAIT_DEFAULT: Duration = Duration::from_secs(10);
/// How long a server that is not known to be within reach is waited for when its users' keys are known from before.
pub const KEYS_FAR_WAIT: Duration = Duration::from_secs(2);
/// Servers that are asked for keys at once, for each client's request.
pub const KEYS_SERVERS_AT_ONCE_MAX: usize = 32;
/// Users that one request asks another server about: with a few devices each, the answer stays below a megabyte.
pub const KEYS_USERS_AT_ONCE_MAX: usize = 200;
/// Users of one server whose lists are fetched one by one, with their versions. More are asked for together.
pub const KEYS_LISTS_ONE_BY_ONE_MAX: usize = 20;
/// Bytes of the keys in one answer to another server: below what it is ready to read.
pub const KEYS_ANSWER_BYTES_MAX: usize = 6 * 1024 * 1024;
/// Rows of the log that are read to find whose devices changed. Beyond that everybody's count as changed.
pub const DEVICE_LIST_ROWS_MAX: usize = 20_000;

/// Bytes of one to-device message's content: as much as an event's. A room key has 1 to 2 KB.
pub const TO_DEVICE_BYTES_MAX: usize = 65_536;
/// Bytes of messages in one EDU: what goes to one server at once is split into EDUs of about this size.
pub const TO_DEVICE_EDU_BYTES_MAX: usize = 65_536;
/// Messages in one sync. Client-server API, "Send-to-Device messaging".
pub const TO_DEVICE_SYNC_MAX: usize = 100;
/// Bytes of messages in one sync; one message always fits.
pub const TO_DEVICE_SYNC_BYTES_MAX: usize = 1024 * 1024;
/// Messages of one server that wait for one device. Beyond that its newer ones are lost, and only its own. A device that is
/// in use empties its inbox within seconds; only one that was left behind ever comes near.
pub const INBOX_MESSAGES_MAX: u64 = 20_000;
/// Bytes of them, for the same reason.
pub const INBOX_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Devices of one user whose inboxes one server may fill so: a user has a few that were left behind, and not all 200.
pub const INBOX_DEVICES_FULL_MAX: u64 = 4;
/// Names of messages and transactions that are remembered for each server and each user, against repeats. A sender repeats
/// one transaction, of at most 100 EDUs.
pub const SEEN_MAX: u64 = 1_000;
/// Backups of one user that are kept.
pub const BACKUPS_MAX: usize = 20;
/// Room keys in one backup. People in busy rooms for years come to tens of thousands.
pub const BACKUP_KEYS_MAX: u64 = 200_000;
/// Bytes of one room key in a backup, or of a backup's own data: 1 KB is usual.
pub const BACKUP_KEY_BYTES_MAX: usize = 65_536;
/// Bytes of one piece of account data, as JSON. The largest in use, lists of direct chats and push rules, stay far below.
pub const ACCOUNT_DATA_BYTES_MAX: usize = 256 * 1024;
/// Pieces of account data that a user has in one room, or outside of rooms. Clients use tens.
pub const ACCOUNT_DATA_ITEMS_MAX: usize = 1_000;
/// Users that one user ignores: each is looked up for every page that is read.
pub const IGNORED_USERS_MAX: usize = 1_000;

/// Receipts in one EDU. Servers that gather them send those of one room and a few seconds.
pub const RECEIPTS_IN_EDU_MAX: usize = 1_000;
/// Threads of one room that a user has receipts in. Beyond that, the one that was read longest ago is forgotten.
pub const RECEIPT_THREADS_MAX: usize = 1_000;
/// Receipts of one user and room that wait for their events. Only the newest matter, of the few threads that are read at
/// once.
pub const RECEIPTS_WAITING_MAX: usize = 8;

/// How long somebody may be said to type without saying it again.
pub const TYPING_TIMEOUT_MAX: Duration = Duration::from_secs(120);
/// The same when the client does not say how long. Client-server API, "Typing notifications", speaks of 20 to 30 seconds.
pub const TYPING_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// How long another server's word that somebody types is believed. Servers repeat it well within a minute.
pub const TYPING_HEARD_FOR: Duration = Duration::from_secs(60);
/// How often we repeat that somebody still types: twice before [`TYPING_HEARD_FOR`] is over.
pub const TYPING_REPEAT: Duration = Duration::from_secs(25);
/// Users who type in one room at once. Nobody reads a longer list.
pub const TYPING_USERS_MAX: usize = 100;
/// Servers that are told of typing at once.
pub const TYPING_TOLD_AT_ONCE_MAX: usize = 16;

/// Push rules of one user, the server's own not counted. Each is asked about each event.
pub const PUSH_RULES_MAX: usize = 1_000;
/// Bytes of one push rule, as JSON.
pub const PUSH_RULE_BYTES_MAX: usize = 8_192;
/// Bytes of a pattern in a push rule. It becomes a regular expression, whose size grows with it.
pub const PUSH_PATTERN_BYTES_MAX: usize = 255;
/// Bytes of a text of an event that push rules look at. The matching of words costs stack for each word that almost
/// matches, so a long hostile text could exhaust it.
pub const PUSH_TEXT_BYTES_MAX: usize = 4_096;
/// Bytes of the path of a field that push rules look at. Every field's whole path is held in memory, so a long name around
/// many fields would cost the product of both.
pub const PUSH_PATH_BYTES_MAX: usize = 512;
/// Users whose push rules, and rooms whose local members, are kept ready in memory.
pub const LISTENERS_KEPT_MAX: usize = 1_024;
/// Notifications of one thread that stay listed after they were read.
pub const NOTIFICATIONS_READ_MAX: usize = 100;
/// Notifications in one page.
pub const NOTIFICATIONS_PAGE_MAX: usize = 100;

/// Children of one event that an aggregation looks at. What the specification asks for is approximate.
pub const AGGREGATED_CHILDREN_MAX: usize = 5_000;
/// Edits that are read in search of the one that counts: the newest is, unless it is malformed.
pub const EDITS_TRIED_MAX: usize = 20;
/// References that an aggregation lists.
pub const REFERENCES_SHOWN_MAX: usize = 100;
/// Levels of relations of relations. Client-server API, "Relationships API": at least 3.
pub const RELATION_LEVELS_MAX: usize = 3;
/// Steps from an event to its parent in search of its thread. Client-server API, "Receipts": 3 are recommended.
pub const THREAD_HOPS_MAX: usize = 3;

/// Characters of a name that are shown. Member events have room for sixty thousand.
pub const SHOWN_NAME_CHARS_MAX: usize = 128;
/// Members whose names are kept ready, over all rooms: a few hundred bytes each.
pub const NAMES_KEPT_MAX: usize = 20_000;
/// Bytes of decrypted messages that are kept ready: some ten thousand usual ones.
pub const CLEAR_BYTES_KEPT_MAX: usize = 4 * 1024 * 1024;
/// Characters of a message in one line.
pub const PREVIEW_CHARS_MAX: usize = 160;
/// Events that a timeline shows before anybody asks for more.
pub const TIMELINE_LIVE: usize = 50;
/// Events by which a timeline may grow beyond what was asked for before its beginning is let go of. Without it every new
/// message would move all others.
pub const TIMELINE_SLACK: usize = 50;
/// Events that a timeline holds in which somebody went back, before it lets go of them by itself.
pub const TIMELINE_HELD_MAX: usize = 2_000;
/// Events that one step back in a timeline looks at, for rooms in which nearly all are reactions.
pub const TIMELINE_SCAN_MAX: usize = 5_000;
/// Pages of history that one step back in a timeline fetches.
pub const BACKFILLS_AT_ONCE_MAX: usize = 10;
/// Reactions to one message that are counted.
pub const REACTIONS_READ_MAX: usize = 500;
/// Characters of a reaction that are shown: an emoji of several parts has about ten.
pub const REACTION_KEY_CHARS_MAX: usize = 32;
/// Messages of a thread that are counted at its root.
pub const THREAD_COUNT_MAX: usize = 1_000;
/// People who are shown to have read up to one message.
pub const READ_BY_MAX: usize = 100;
/// People whose state of delivery is shown at one message, those first who are furthest from having it.
pub const RECIPIENTS_SHOWN_MAX: usize = 100;
/// Events whose ancestors are remembered to prove who has read what.
pub const ANCESTRIES_KEPT_MAX: usize = 64;
/// Ancestors of one event that are looked at for that. A window holds a few hundred.
pub const ANCESTRY_STEPS_MAX: usize = 2_000;
/// Proofs of reading that are remembered by one timeline.
pub const READS_PROVEN_MAX: usize = 20_000;
/// Messages on their way from one device into rooms. They leave within milliseconds unless something is wrong.
pub const UNSENT_MAX: usize = 1_000;
/// Rooms that messages are put into at once.
pub const SENDING_ROOMS_MAX: usize = 4;
/// Bytes of a message's content in clear. Encrypted it grows by a third, and an event holds 64 KiB with its envelope.
pub const MESSAGE_BYTES_MAX: usize = 44 * 1024;
/// Events that are looked at in search of a room's last message.
pub const LAST_MESSAGE_SCAN_MAX: usize = 200;
/// Events that are looked at in search of the last one of a room's main timeline.
pub const MARK_READ_SCAN_MAX: usize = 200;
/// Unread messages of one encrypted room that are decrypted to see what stands out. Older ones count as the server counts.
pub const UNREAD_JUDGED_MAX: usize = 100;
/// Rooms of which that is done before the list is shown again.
pub const ROOMS_JUDGED_AT_ONCE: usize = 10;
/// How long the end of a node waits for those who still read the database. None of them reads for longer than a request takes.
pub const RELEASE_WAIT_MAX: Duration = Duration::from_secs(10);
/// How often it looks.
pub const RELEASE_POLL: Duration = Duration::from_millis(1);
/// Rows of the log that are read at once in search of what a person should be told of.
pub const NOTICE_SCAN_MAX: usize = 2_000;
/// Rows of the log beyond which it is kept that nothing in them was worth telling, so that no start reads them again.
pub const NOTICE_LAG_MAX: u64 = 5_000;
/// How long telling of a message waits for its key, which is usually just behind it.
pub const NOTICE_KEY_WAIT: Duration = Duration::from_secs(5);
/// Rows of the log that are read to find the rooms that changed. Beyond that all rooms are looked at.
pub const TOUCHED_ROWS_MAX: u64 = 2_000;
/// Bytes of rows in one commit of a copy of the store: few enough for a phone's memory, enough that a sync is seldom.
pub const STORE_COPY_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Memory of Argon2id, in KiB, that the header of an archive may ask for: four times what ours ask for, and still what a
/// phone has. An archive may come from anybody.
pub const ARCHIVE_MEMORY_KIB_MAX: u32 = 256 * 1_024;
/// Passes over that memory that an archive may ask for: with the most memory, some seconds on a phone.
pub const ARCHIVE_PASSES_MAX: u32 = 10;
/// Lanes that an archive may ask for.
pub const ARCHIVE_LANES_MAX: u32 = 8;
/// Files that are sent and fetched at once, for one client. More of them share the same radio.
pub const TRANSFERS_AT_ONCE_MAX: usize = 4;
/// Bytes of a search, as it is typed.
pub const SEARCH_QUERY_BYTES_MAX: usize = 1_024;
/// Words of a search. Each is looked for in each message.
pub const SEARCH_WORDS_MAX: usize = 16;
/// Messages that one call of a search looks at: a fraction of a second, after which the UI shows what there is and goes on.
pub const SEARCH_SCAN_MAX: usize = 1_000;
/// Hits in one page of a search.
pub const SEARCH_HITS_MAX: usize = 100;
/// Characters that a search shows of a message.
pub const SNIPPET_CHARS_MAX: usize = 120;
/// Bytes of another server's name for an answer, which is kept with what came of it. Ours has 66.
pub const ETAG_BYTES_MAX: usize = 256;
