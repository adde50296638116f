//! Files between two phones: as they are sent, as they arrive, and as a hostile server would have them.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json, value::RawValue};

use super::*;
use crate::{
    api::testing::Phone,
    chat::{Chat, ChatConfig, vault::StoreKey, work::Progress},
    home::{MediaConfig, Registration},
    media,
    store::StoreConfig,
};

/// A person on a phone of their own, and a directory for their files.
struct Person {
    phone: Phone,
    chat: Chat,
    dir: tempfile::TempDir,
}

impl Person {
    async fn new(name: &str, seed: u8) -> Self {
        Self::with(name, seed, |_| MediaConfig::memory()).await
    }

    async fn with(name: &str, seed: u8, media: impl FnOnce(&Path) -> MediaConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let media = media(&dir.path().join("media"));
        let phone = Phone::open(seed, Registration::Open, &StoreConfig::memory(), &media);
        let config = ChatConfig {
            store_key: StoreKey::new([seed; 32]),
            localpart: name.into(),
            display_name: None,
            device_name: None,
        };
        let chat = Chat::open(phone.home.clone(), config).await.unwrap();
        Self { phone, chat, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> Source {
        fs::write(self.path(name), bytes).unwrap();
        Source::Path(self.path(name))
    }

    async fn prepare(&self, encrypted: bool, source: Source, info: FileInfo) -> Result<Value, AttachmentError> {
        let content = prepare(&self.chat.inner, encrypted, source, info, Progress::new()).await?;
        Ok(serde_json::from_str(content.get()).unwrap())
    }

    /// Sends bytes, encrypted.
    async fn sends(&self, bytes: &[u8]) -> Value {
        self.prepare(true, self.file("out", bytes), FileInfo::new("a.bin", Kind::File)).await.unwrap()
    }

    async fn gets(&self, content: &Value) -> Result<Vec<u8>, ChatError> {
        let to = self.path("in");
        let bytes = self.chat.download(&attachment(content), &to, &Progress::new()).await?;
        let got = fs::read(&to).unwrap();
        assert_eq!(got.len() as u64, bytes);
        fs::remove_file(to).unwrap();
        Ok(got)
    }

    /// Blobs and drafts in the media store.
    fn files(&self) -> (usize, usize) {
        self.phone.home.repository.blobs.count()
    }

    /// What is in the person's directory.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

async fn alice_and_bob() -> (Person, Person) {
    let (alice, bob) = (Person::new("alice", 1).await, Person::new("bob", 2).await);
    bob.phone.meets(&alice.phone);
    (alice, bob)
}

fn attachment(content: &Value) -> Attachment {
    Attachment::from_content("m.room.message", content).unwrap()
}

fn noise(bytes: usize) -> Vec<u8> {
    (0..bytes as u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn picture(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = io::Cursor::new(Vec::new());
    let picture = image::RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 7]));
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

#[tokio::test]
async fn a_sealed_file_arrives_and_lies_nowhere_in_clear() {
    let (alice, bob) = alice_and_bob().await;
    let secret = b"the meeting is at nine".repeat(10_000);
    let info = FileInfo { caption: Some("for you".into()), ..FileInfo::new("../notes.txt", Kind::File) };
    let content = alice.prepare(true, alice.file("out", &secret), info).await.unwrap();
    assert_eq!(content["msgtype"], "m.file");
    assert_eq!((&content["body"], &content["filename"]), (&json!("for you"), &json!("notes.txt")));
    assert_eq!((&content["info"]["size"], &content["file"]["v"]), (&json!(secret.len()), &json!("v2")));
    assert_eq!(content["url"], Value::Null);
    let uri = content["file"]["url"].as_str().unwrap().into();
    let stored = media::open(&alice.phone.home, uri, Duration::ZERO).await.unwrap();
    assert_eq!(
        (stored.meta.content_type.as_str(), stored.meta.filename.as_deref()),
        ("application/octet-stream", None)
    );
    let stored = media::read_all(&alice.phone.home, uri, Duration::ZERO, u64::MAX).await.unwrap();
    assert!(!stored.windows(7).any(|window| window == b"meeting"));

    let progress = Progress::new();
    let got = bob.chat.download(&attachment(&content), &bob.path("notes.txt"), &progress).await.unwrap();
    assert_eq!(got, secret.len() as u64);
    assert_eq!(progress.at(), (2 * got, 2 * got));
    assert_eq!(fs::read(bob.path("notes.txt")).unwrap(), secret);
    assert_eq!(bob.names(), ["notes.txt"]);
    // What is here is not fetched again.
    bob.phone.leaves(&alice.phone);
    assert_eq!(bob.gets(&content).await.unwrap(), secret);
    assert_eq!(bob.phone.streams().asked.len(), 1);
}

#[tokio::test]
async fn in_a_room_without_encryption_a_file_is_plain() {
    let (alice, bob) = alice_and_bob().await;
    let info = FileInfo { mime: Some("text/plain".into()), ..FileInfo::new("notes.txt", Kind::File) };
    let content = alice.prepare(false, alice.file("out", b"hello"), info).await.unwrap();
    assert_eq!(content["file"], Value::Null);
    let uri = content["url"].as_str().unwrap().into();
    let stored = media::open(&alice.phone.home, uri, Duration::ZERO).await.unwrap();
    assert_eq!((stored.meta.content_type.as_str(), stored.meta.filename.as_deref()), ("text/plain", Some("notes.txt")));
    assert!(!attachment(&content).encrypted);
    assert_eq!(bob.gets(&content).await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_picture_is_measured_and_has_a_thumbnail_as_sealed_as_itself() {
    let (alice, bob) = alice_and_bob().await;
    for encrypted in [true, false] {
        let info = FileInfo::new("", Kind::Image);
        let content = alice.prepare(encrypted, alice.file("out", &picture(1600, 1200)), info).await.unwrap();
        let info = &content["info"];
        assert_eq!((&info["w"], &info["h"], &info["mimetype"]), (&json!(1600), &json!(1200), &json!("image/png")));
        assert_eq!((&info["thumbnail_info"]["w"], &info["thumbnail_info"]["h"]), (&json!(800), &json!(600)));
        assert_eq!((info["thumbnail_file"].is_object(), info["thumbnail_url"].is_string()), (encrypted, !encrypted));
        let attachment = attachment(&content);
        assert_eq!((attachment.name.as_str(), attachment.width, attachment.has_thumbnail), ("image", Some(1600), true));
        let small = bob.chat.thumbnail(&attachment).await.unwrap();
        let small = image::load_from_memory(&small).unwrap();
        assert_eq!((small.width(), small.height()), (800, 600));
        assert_eq!(bob.gets(&content).await.unwrap(), picture(1600, 1200));
    }
    let content =
        alice.prepare(true, alice.file("out", b"no picture"), FileInfo::new("a.png", Kind::Image)).await.unwrap();
    let none = bob.chat.thumbnail(&attachment(&content)).await;
    assert!(matches!(none, Err(ChatError::NotFound(_))), "{none:?}");
    assert_eq!(bob.gets(&content).await.unwrap(), b"no picture");
}

/// A homeserver that hands out another file than was sent: what arrived must not be shown, kept, or taken for good later.
#[tokio::test]
async fn a_file_that_was_changed_on_its_way_is_refused_and_forgotten() {
    let (alice, bob) = alice_and_bob().await;
    let (sent, other) = (alice.sends(&noise(100_000)).await, alice.sends(&noise(100_001)).await);
    let mut forged = sent.clone();
    forged["file"]["url"] = other["file"]["url"].clone();
    forged["info"]["thumbnail_file"] = forged["file"].clone();
    fs::write(bob.path("in"), "what was there before").unwrap();
    let progress = Progress::new();
    let refused = bob.chat.download(&attachment(&forged), &bob.path("in"), &progress).await;
    assert!(matches!(refused, Err(ChatError::Crypto(_))), "{refused:?}");
    assert_eq!(bob.names(), ["in"]);
    assert_eq!(fs::read(bob.path("in")).unwrap(), b"what was there before");
    assert_eq!(bob.files(), (0, 0), "what was wrong is fetched anew when it is wanted again");
    let refused = bob.chat.thumbnail(&attachment(&forged)).await;
    assert!(matches!(refused, Err(ChatError::Crypto(_))), "{refused:?}");
    assert_eq!(bob.gets(&sent).await.unwrap(), noise(100_000));
    // On the sender's own phone the file is not thrown away over a wrong message.
    let refused = alice.gets(&forged).await;
    assert!(matches!(refused, Err(ChatError::Crypto(_))), "{refused:?}");
    assert_eq!(alice.gets(&other).await.unwrap(), noise(100_001));
}

#[tokio::test]
async fn a_download_goes_on_where_it_broke_off() {
    let (alice, bob) = alice_and_bob().await;
    let content = alice.sends(&noise(2_000_000)).await;
    bob.phone.streams().break_after = Some(1_200_000);
    let broken = bob.gets(&content).await;
    assert!(matches!(broken, Err(ChatError::Network(_))), "{broken:?}");
    assert!(bob.names().is_empty());
    bob.phone.streams().break_after = None;
    assert_eq!(bob.gets(&content).await.unwrap(), noise(2_000_000));
    let asked = bob.phone.streams().asked.clone();
    assert!(asked.len() == 2 && asked[1].1.is_some(), "the second request is for the rest: {asked:?}");
}

#[tokio::test]
async fn nobody_near_is_said_so_and_a_draft_of_a_killed_download_is_in_nobodys_way() {
    let (alice, bob) = alice_and_bob().await;
    let content = alice.sends(b"hello").await;
    bob.phone.leaves(&alice.phone);
    let away = bob.gets(&content).await;
    assert!(matches!(away, Err(ChatError::Network(_))), "{away:?}");
    bob.phone.meets(&alice.phone);
    fs::write(bob.path("in.part"), "half of something").unwrap();
    assert_eq!(bob.gets(&content).await.unwrap(), b"hello");
    assert!(bob.names().is_empty());
    let nowhere = bob.chat.download(&attachment(&content), &bob.path("no/such/directory"), &Progress::new()).await;
    assert!(matches!(nowhere, Err(ChatError::Invalid(_))), "{nowhere:?}");
}

#[tokio::test]
async fn what_is_too_large_or_unreadable_leaves_nothing() {
    let small = |path: &Path| MediaConfig { bytes_max: 1_000, ..MediaConfig::folder(path.to_owned()) };
    let alice = Person::with("alice", 1, small).await;
    let info = || FileInfo::new("a.bin", Kind::File);
    let large = alice.prepare(true, alice.file("out", &noise(1_001)), info()).await;
    assert!(matches!(large, Err(AttachmentError::TooLarge { bytes_max: 1_000 })), "{large:?}");
    // A pipe does not say how long it is.
    let large = alice.prepare(true, pipe(noise(1_001)), info()).await;
    assert!(matches!(large, Err(AttachmentError::TooLarge { .. })), "{large:?}");
    let missing = alice.prepare(true, Source::Path(alice.path("nothing")), info()).await;
    assert!(matches!(missing, Err(AttachmentError::Read(_))), "{missing:?}");
    let directory = alice.prepare(true, Source::Path(alice.dir.path().to_owned()), info()).await;
    assert!(matches!(directory, Err(AttachmentError::TooLarge { .. } | AttachmentError::Read(_))), "{directory:?}");
    assert_eq!(alice.files(), (0, 0));
}

#[tokio::test]
async fn an_open_file_and_a_pipe_are_as_good_as_a_path() {
    let (alice, bob) = alice_and_bob().await;
    let mut file = File::options().read(true).write(true).create_new(true).open(alice.path("open")).unwrap();
    file.write_all(&picture(900, 900)).unwrap();
    // It stands at its end.
    let content = alice.prepare(true, Source::File(file), FileInfo::new("a.png", Kind::Image)).await.unwrap();
    assert_eq!(bob.gets(&content).await.unwrap(), picture(900, 900));
    assert!(attachment(&content).has_thumbnail);
    let content = alice.prepare(true, pipe(picture(900, 900)), FileInfo::new("a.png", Kind::Image)).await.unwrap();
    assert_eq!(bob.gets(&content).await.unwrap(), picture(900, 900));
    assert!(!attachment(&content).has_thumbnail, "a pipe can be read once");
}

fn pipe(bytes: Vec<u8>) -> Source {
    let (reader, mut writer) = io::pipe().unwrap();
    std::thread::spawn(move || writer.write_all(&bytes));
    Source::File(File::from(std::os::fd::OwnedFd::from(reader)))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_leaves_nothing() {
    let folder = |path: &Path| MediaConfig::folder(path.to_owned());
    let (alice, bob) = (Person::with("alice", 1, folder).await, Person::with("bob", 2, folder).await);
    bob.phone.meets(&alice.phone);
    let large = File::create(alice.path("large")).unwrap();
    large.set_len(64 << 20).unwrap();
    let progress = Progress::new();
    let cancel = |progress: &Progress| {
        let progress = progress.clone();
        tokio::spawn(async move {
            let (_, total) = progress.after((0, 0)).await;
            while progress.at().0 < total / 4 {
                let at = progress.at();
                progress.after(at).await;
            }
            progress.cancel();
        })
    };
    let cancelling = cancel(&progress);
    let source = || Source::Path(alice.path("large"));
    let sent = prepare(&alice.chat.inner, true, source(), FileInfo::new("large", Kind::File), progress).await;
    assert!(matches!(sent, Err(AttachmentError::Cancelled(_))), "{sent:?}");
    cancelling.await.unwrap();
    until(|| alice.files() == (0, 0)).await;

    let content = alice.prepare(true, source(), FileInfo::new("large", Kind::File)).await.unwrap();
    let progress = Progress::new();
    let cancelling = cancel(&progress);
    let got = bob.chat.download(&attachment(&content), &bob.path("in"), &progress).await;
    assert!(matches!(got, Err(ChatError::Cancelled)), "{got:?}");
    cancelling.await.unwrap();
    until(|| bob.names() == ["media"]).await;
    assert_eq!(bob.gets(&content).await.unwrap().len(), 64 << 20);
}

async fn until(is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it becomes so");
}

#[tokio::test]
async fn a_message_that_is_not_sent_takes_its_files_along() {
    let alice = Person::new("alice", 1).await;
    let info = FileInfo::new("a.png", Kind::Image);
    let source = alice.file("out", &picture(900, 900));
    let content = prepare(&alice.chat.inner, true, source, info, Progress::new()).await.unwrap();
    assert_eq!(alice.files(), (2, 0));
    discard(&alice.chat.inner, &content).await.unwrap();
    assert_eq!(alice.files(), (0, 0));
    discard(&alice.chat.inner, &content).await.unwrap();
    let text: Box<RawValue> = RawValue::from_string(r#"{"msgtype":"m.text","body":"hi"}"#.into()).unwrap();
    discard(&alice.chat.inner, &text).await.unwrap();
}

/// A few of the largest files at once must not take a phone's memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_takes_no_memory() {
    let folder = |path: &Path| MediaConfig::folder(path.to_owned());
    let (alice, bob) = (Person::with("alice", 1, folder).await, Person::with("bob", 2, folder).await);
    bob.phone.meets(&alice.phone);
    let bytes = 256_u64 << 20;
    File::create(alice.path("large")).unwrap().set_len(bytes).unwrap();
    let before = resident();
    let source = Source::Path(alice.path("large"));
    let watched = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let peak = std::thread::spawn({
        let watched = watched.clone();
        move || {
            let mut peak = 0;
            while watched.load(std::sync::atomic::Ordering::Relaxed) {
                peak = resident().max(peak);
                std::thread::sleep(Duration::from_millis(5));
            }
            peak
        }
    });
    let content = alice.prepare(true, source, FileInfo::new("large", Kind::File)).await.unwrap();
    let got = bob.chat.download(&attachment(&content), &bob.path("in"), &Progress::new()).await.unwrap();
    watched.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(got, bytes);
    let more = peak.join().unwrap().saturating_sub(before);
    // Other tests run beside this one; the file alone is 256 MiB, and was read, sealed, sent and opened.
    assert!(more < 128 << 20, "{} MiB more", more >> 20);
}

/// Bytes of memory that the process holds.
fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}
