// matrix-js-sdk as a person at a chat program: commands in, answers and events out, as ../person.py describes.
//
// The SDK is set up as Element sets it up: members loaded lazily, threads by the server, authenticated media, encryption by its
// Rust crypto. What it prints itself goes to stderr. Its crypto store is in memory, so a person here is a new device each time.

import { readFile, writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { format } from "node:util";

import { decryptAttachment, encryptAttachment } from "matrix-encrypt-attachment";
import {
    ClientEvent,
    createClient,
    EventType,
    KnownMembership,
    MatrixEventEvent,
    MsgType,
    PendingEventOrdering,
    RelationType,
    RoomEvent,
    SyncState,
    ThreadEvent,
} from "matrix-js-sdk";
import {
    CryptoEvent,
    decodeRecoveryKey,
    VerificationPhase,
    VerificationRequestEvent,
    VerifierEvent,
} from "matrix-js-sdk/lib/crypto-api/index.js";

const SAS = "m.sas.v1";
// Long enough to gather what one sync brings, too short to be noticed.
const PUBLISH_AFTER_MS = 20;
// Whatever can change what a message looks like.
const CHANGES = [
    ...[ClientEvent.Event, ClientEvent.Sync, RoomEvent.Timeline, RoomEvent.LocalEchoUpdated],
    ...[MatrixEventEvent.Decrypted, MatrixEventEvent.Replaced, ThreadEvent.New, ThreadEvent.Update, ThreadEvent.NewReply],
];
const PHASES = {
    [VerificationPhase.Requested]: "requested",
    [VerificationPhase.Ready]: "ready",
    [VerificationPhase.Done]: "done",
    [VerificationPhase.Cancelled]: "cancelled",
};

const print = (line) => process.stdout.write(JSON.stringify(line) + "\n");
// Standard output belongs to the protocol.
for (const level of ["trace", "debug", "log", "info", "warn", "error"]) {
    console[level] = (...words) => process.stderr.write(`${level} ${format(...words)}\n`);
}

let client;
let secret;
// What opens the account's secret storage: nothing, until the person types it.
let storageKey;
const known = new Map();
const published = new Map();
const flows = new Map();

// Asks as the SDK asks, and tells of what the homeserver refuses: a gap in the homeserver is found here, not guessed at.
async function asked(url, options = {}) {
    const answer = await fetch(url, options);
    if (!answer.ok) {
        const body = await answer
            .clone()
            .json()
            .catch(() => ({}));
        const method = options.method ?? "GET";
        print({ event: "refused", method, path: new URL(url).pathname, status: answer.status, errcode: body.errcode ?? null });
    }
    return answer;
}

async function session({ homeserver, name, password, register, token }) {
    const nobody = createClient({ baseUrl: homeserver, fetchFn: asked });
    const device = { initial_device_display_name: "matrix-js-sdk" };
    if (register) {
        return nobody.registerRequest({ username: name, password, auth: { type: "m.login.dummy" }, ...device });
    }
    if (token) return nobody.loginRequest({ type: "m.login.token", token, ...device });
    const identifier = { type: "m.id.user", user: name };
    return nobody.loginRequest({ type: "m.login.password", identifier, password, ...device });
}

async function open(wish) {
    const { user_id, device_id, access_token } = await session(wish);
    secret = wish.password;
    client = createClient({
        baseUrl: wish.homeserver,
        fetchFn: asked,
        userId: user_id,
        deviceId: device_id,
        accessToken: access_token,
        timelineSupport: true,
        cryptoCallbacks: {
            getSecretStorageKey: async ({ keys }) => (storageKey ? [Object.keys(keys)[0], storageKey] : null),
        },
        verificationMethods: [SAS, "m.qr_code.show.v1", "m.qr_code.scan.v1", "m.reciprocate.v1"],
    });
    await client.initRustCrypto({ useIndexedDB: false });
    listen();
    const prepared = new Promise((done) => {
        const onSync = (state) => {
            if (state === SyncState.Prepared) {
                client.off(ClientEvent.Sync, onSync);
                done();
            }
        };
        client.on(ClientEvent.Sync, onSync);
    });
    await client.startClient({
        initialSyncLimit: 50,
        lazyLoadMembers: true,
        pendingEventOrdering: PendingEventOrdering.Detached,
        threadSupport: true,
    });
    await prepared;
    return { ...(await who()), token: access_token };
}

function listen() {
    client.on(ClientEvent.Event, (event) => {
        if (event.getRoomId() && !event.isState() && event.getId()?.startsWith("$")) {
            remember(event.getRoomId(), event.getId());
        }
    });
    for (const change of CHANGES) client.on(change, publishSoon);
    client.on(RoomEvent.MyMembership, (room, membership) => {
        if (membership === KnownMembership.Invite) {
            const by = room.getMember(client.getUserId())?.events.member?.getSender();
            print({ event: "invite", room: room.roomId, by, name: room.name });
        }
    });
    client.on(CryptoEvent.VerificationRequestReceived, (request) => follow(request, true));
}

async function who() {
    const { ed25519 } = await client.getCrypto().getOwnDeviceKeys();
    return { user: client.getUserId(), device: client.getDeviceId(), ed25519 };
}

// A cross-signing identity; the homeserver asks for the password only if there is one already.
async function sign() {
    const identifier = { type: "m.id.user", user: client.getUserId() };
    await client.getCrypto().bootstrapCrossSigning({
        authUploadDeviceSigningKeys: async (upload) => {
            try {
                return await upload(null);
            } catch (error) {
                if (error.httpStatus !== 401) throw error;
                return upload({ type: "m.login.password", identifier, password: secret, session: error.data?.session });
            }
        },
    });
    return {};
}

async function create({ name, invite = [], encrypted = true, direct = false }) {
    const encryption = { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } };
    const initial_state = encrypted ? [encryption] : [];
    const preset = direct ? "trusted_private_chat" : "private_chat";
    const { room_id } = await client.createRoom({ name, invite, is_direct: direct, preset, initial_state });
    return { room: room_id };
}

// The room, once the sync has brought it.
async function here(id) {
    for (;;) {
        const room = client.getRoom(id);
        if (room?.getMyMembership() === KnownMembership.Join) return room;
        await new Promise((done) => client.once(ClientEvent.Sync, done));
    }
}

async function join({ room }) {
    await client.joinRoom(room);
    await here(room);
    return {};
}

async function members({ room: id }) {
    const room = await here(id);
    await room.loadMembersIfNeeded();
    return Object.fromEntries(room.currentState.getMembers().map((member) => [member.userId, member.membership]));
}

async function profile({ user }) {
    const { displayname } = await client.getProfileInfo(user);
    return { name: displayname ?? null };
}

async function say({ room: id, thread = null, reply_to }, content) {
    const room = await here(id);
    // The SDK shows one's own answer only in a thread that is there already: programs make it when they open it.
    if (thread && !room.getThread(thread)) {
        const root = room.findEventById(thread);
        room.createThread(thread, root, [root], true);
    }
    if (reply_to) content["m.relates_to"] = { "m.in_reply_to": { event_id: reply_to } };
    const { event_id } = await client.sendMessage(id, thread, content);
    return { event: event_id };
}

const send = (wish) => say(wish, { msgtype: MsgType.Text, body: wish.text });

function edit({ room, event, text }) {
    const content = { msgtype: MsgType.Text, body: text };
    const relation = { rel_type: RelationType.Replace, event_id: event };
    return say({ room }, { ...content, body: `* ${text}`, "m.new_content": content, "m.relates_to": relation });
}

async function react({ room, event, key }) {
    const relation = { rel_type: RelationType.Annotation, event_id: event, key };
    const { event_id } = await client.sendEvent(room, EventType.Reaction, { "m.relates_to": relation });
    return { event: event_id };
}

async function picture(wish) {
    const plain = await readFile(wish.path);
    const { data, info } = await encryptAttachment(new Uint8Array(plain).buffer);
    const { content_uri } = await client.uploadContent(new Blob([data]), { includeFilename: false, type: "application/octet-stream" });
    return say(wish, {
        msgtype: MsgType.Image,
        body: wish.name,
        info: { mimetype: wish.mimetype, size: plain.length, w: wish.width, h: wish.height },
        file: { ...info, url: content_uri },
    });
}

async function download({ room, event, path }) {
    const { file, info } = client.getRoom(room).findEventById(event).getContent();
    const url = client.mxcUrlToHttp(file.url, undefined, undefined, undefined, false, true, true);
    const answer = await asked(url, { headers: { Authorization: `Bearer ${client.getAccessToken()}` } });
    if (!answer.ok) throw new Error(`the picture's download answered ${answer.status}`);
    const plain = Buffer.from(await decryptAttachment(await answer.arrayBuffer(), file));
    await writeFile(path, plain);
    return { bytes: plain.length, mimetype: info.mimetype, url: file.url };
}

async function rotate({ room }) {
    await client.getCrypto().forceDiscardSession(room);
    return {};
}

function remember(room, event) {
    if (!known.has(room)) known.set(room, new Set());
    known.get(room).add(event);
}

// What the SDK makes of an event, or nothing where it is no message: an edit, a reaction, a step of a verification.
function item(room, event) {
    const id = event.getId();
    const edits = event.isRelation(RelationType.Replace);
    const shown = [EventType.RoomMessage, EventType.RoomMessageEncrypted].includes(event.getType());
    if (!shown || edits || event.isRedacted() || event.getContent().msgtype === MsgType.KeyVerificationRequest) return undefined;
    const common = {
        id,
        sender: event.getSender(),
        encrypted: event.isEncrypted(),
        edited: Boolean(event.replacingEvent()),
        reactions: reactions(room, id),
        thread: event.threadRootId && event.threadRootId !== id ? event.threadRootId : null,
        replies: answers(room.getThread(id)),
    };
    if (event.isDecryptionFailure()) return { ...common, kind: "undecryptable", text: event.decryptionFailureReason };
    if (event.getType() === EventType.RoomMessageEncrypted) return undefined;
    const { msgtype, body } = event.getContent();
    return { ...common, kind: msgtype === MsgType.Image ? "image" : "text", text: body };
}

// The SDK's own count may have an answer twice: in the homeserver's sum, and once more when it comes.
function answers(thread) {
    const all = (thread?.events ?? []).filter((event) => event.isRelation(RelationType.Thread));
    return new Set(all.map((event) => event.getId())).size;
}

function reactions(room, id) {
    const annotations = room.relations.getChildEventsForEvent(id, RelationType.Annotation, EventType.Reaction);
    const sorted = annotations?.getSortedAnnotationsByKey() ?? [];
    return Object.fromEntries(sorted.map(([key, events]) => [key, [...events].map((event) => event.getSender()).sort()]));
}

function items(id) {
    const room = client.getRoom(id);
    if (!room) return [];
    const events = [...(known.get(id) ?? [])].map((event) => room.findEventById(event));
    return events.filter(Boolean).map((event) => item(room, event)).filter(Boolean);
}

let timer;

function publishSoon() {
    timer ??= setTimeout(() => {
        timer = undefined;
        publish();
    }, PUBLISH_AFTER_MS);
}

function publish() {
    for (const room of known.keys()) {
        for (const one of items(room)) {
            const text = JSON.stringify(one);
            if (published.get(one.id) !== text) {
                published.set(one.id, text);
                print({ event: "item", room, item: one });
            }
        }
    }
}

async function timeline({ room }) {
    await here(room);
    return { items: items(room) };
}

// Somebody else is asked in a room, our own other devices are asked without one.
async function verify({ user, room }) {
    const crypto = client.getCrypto();
    const request = await (user === client.getUserId() ? crypto.requestOwnUserVerification() : crypto.requestVerificationDM(user, room));
    return { flow: follow(request, false) };
}

// Tells of each phase of a verification once, and shows its emoji when both sides have them.
function follow(request, incoming) {
    const flow = request.transactionId;
    if (flows.has(flow)) return flow;
    flows.set(flow, { request });
    let last;
    const tell = (state, more) => print({ event: "verification", flow, user: request.otherUserId, incoming, state, ...more });
    const change = () => {
        const phase = PHASES[request.phase];
        if (phase && phase !== last) {
            last = phase;
            tell(phase, phase === "cancelled" ? { why: request.cancellationCode } : {});
        }
        if (request.verifier) show(flow, request.verifier, tell);
    };
    request.on(VerificationRequestEvent.Change, change);
    change();
    return flow;
}

function show(flow, verifier, tell) {
    const state = flows.get(flow);
    if (state.verifier) return;
    state.verifier = verifier;
    verifier.on(VerifierEvent.ShowSas, (callbacks) => {
        state.callbacks = callbacks;
        tell("emoji", { emoji: callbacks.sas.emoji });
    });
    verifier.on(VerifierEvent.ShowReciprocateQr, (callbacks) => {
        state.callbacks = callbacks;
        tell("scanned");
    });
    verifier.verify().catch((error) => console.error("the verification ended:", error));
}

async function accept({ flow }) {
    await flows.get(flow).request.accept();
    return {};
}

async function start({ flow }) {
    await flows.get(flow).request.startVerification(SAS);
    return {};
}

async function confirm({ flow }) {
    await flows.get(flow).callbacks.confirm();
    return {};
}

async function qr({ flow }) {
    return { code: [...(await flows.get(flow).request.generateQRCode())] };
}

async function cancel({ flow }) {
    await flows.get(flow).request.cancel();
    return {};
}

async function trust({ user }) {
    const status = await client.getCrypto().getUserVerificationStatus(user);
    return { verified: status.isCrossSigningVerified() };
}

// What a program does when its person types their recovery key: it becomes a verified device, and fetches the keys of all that was
// said.
async function recover({ key }) {
    storageKey = decodeRecoveryKey(key);
    const crypto = client.getCrypto();
    // The keys are compared with the published ones, which a new device has not asked for yet.
    await crypto.userHasCrossSigningKeys(client.getUserId(), true);
    await crypto.bootstrapCrossSigning({});
    await crypto.loadSessionBackupPrivateKeyFromSecretStorage();
    const enabled = await crypto.checkKeyBackupAndEnable();
    const { imported } = await crypto.restoreKeyBackup();
    const verified = async () => (await crypto.getDeviceVerificationStatus(client.getUserId(), client.getDeviceId())).crossSigningVerified;
    // Its own signature reaches it by way of the homeserver.
    for (let tries = 0; tries < 100 && !(await verified()); tries++) await new Promise((done) => setTimeout(done, 100));
    return { verified: await verified(), imported, trusted: enabled?.trustInfo.trusted ?? false };
}

// Another recovery key than there was, with secret storage and a backup of its own.
async function recovery() {
    const crypto = client.getCrypto();
    const made = await crypto.createRecoveryKeyFromPassphrase();
    storageKey = made.privateKey;
    await crypto.bootstrapSecretStorage({
        createSecretStorageKey: async () => made,
        setupNewSecretStorage: true,
        setupNewKeyBackup: true,
    });
    return { key: made.encodedPrivateKey, version: await crypto.getActiveSessionBackupVersion() };
}

function quit() {
    client?.stopClient();
    setTimeout(() => process.exit(0), 0);
    return {};
}

const VERBS = {
    ...{ open, who, sign, profile, create, join, members, send, edit, react, picture, download, rotate },
    ...{ timeline, verify, accept, start, confirm, qr, cancel, trust, recover, recovery, quit },
};

async function obey(line) {
    const { id, do: verb, ...wish } = JSON.parse(line);
    try {
        const act = VERBS[verb];
        if (!act) throw new Error(`there is no "${verb}"`);
        print({ id, ok: await act(wish) });
    } catch (error) {
        console.error(error);
        print({ id, error: String(error?.message ?? error) });
    }
}

// A browser goes on after a promise that nobody waited for, and so does this.
process.on("unhandledRejection", (error) => console.error("unhandled:", error));

createInterface({ input: process.stdin })
    .on("line", (line) => void obey(line))
    .on("close", () => process.exit(0));
