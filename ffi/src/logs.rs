//! From `tracing` to the platform's log.
//!
//! A layer formats each event and puts it into a bounded queue; one thread hands it to the app's [`LogSink`]. So a sink that
//! blocks, throws or logs itself slows nothing: what does not fit is dropped and counted. The subscriber belongs to the
//! process, as `tracing` has it: the sink that was set last gets the records of all nodes. On Android the records also go
//! to logcat, whether there is a sink or not.

use std::{
    fmt::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU8, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use tracing::{Event, Level, Metadata, Subscriber, field::Visit};
use tracing_subscriber::{
    Layer,
    filter::dynamic_filter_fn,
    layer::{Context, SubscriberExt},
};

use crate::platform::{LogLevel, LogRecord, LogSink};

/// Records that wait for the sink.
const QUEUE_MAX: usize = 1_024;
/// Characters of one record: a line, not a book.
const MESSAGE_CHARS_MAX: usize = 2_000;

type Sink = RwLock<Option<Arc<dyn LogSink>>>;

/// What the process has one of.
struct Logs {
    sink: Arc<Sink>,
    level: AtomicU8,
}

static LOGS: OnceLock<Logs> = OnceLock::new();

/// Sends records of this level and above to a sink from now on, instead of the one before.
pub(crate) fn attach(sink: Option<Arc<dyn LogSink>>, level: LogLevel) {
    let logs = LOGS.get_or_init(begin);
    logs.level.store(level as u8, Ordering::Relaxed);
    if sink.is_some() {
        *logs.sink.write().unwrap_or_else(PoisonError::into_inner) = sink;
    }
}

fn begin() -> Logs {
    let (queue, records) = sync_channel(QUEUE_MAX);
    let sink = Arc::<Sink>::default();
    let reader = sink.clone();
    let thread = std::thread::Builder::new().name("hearth-log".to_owned()).spawn(move || deliver(&records, &reader));
    // Without the thread the queue has no reader and every record is dropped; nothing else depends on it.
    drop(thread);
    let to_sink = ToSink { queue, dropped: AtomicU64::new(0) };
    let subscriber = tracing_subscriber::registry().with(to_sink.with_filter(dynamic_filter_fn(is_wanted)));
    #[cfg(target_os = "android")]
    let subscriber = subscriber
        .with(tracing_android::layer("hearth").ok().map(|logcat| logcat.with_filter(dynamic_filter_fn(is_wanted))));
    // An app that is written in Rust may have set a subscriber of its own, which then gets everything.
    drop(tracing::subscriber::set_global_default(subscriber));
    Logs { sink, level: AtomicU8::new(LogLevel::Info as u8) }
}

/// Whether anybody may hear of an event: the sink and logcat alike.
fn is_wanted<S>(meta: &Metadata<'_>, _: &Context<'_, S>) -> bool {
    let level = level_of(*meta.level());
    let wanted = LOGS.get().map_or(0, |logs| logs.level.load(Ordering::Relaxed));
    // Other libraries speak of what is inside of messages at their finer levels; they are heard only when it matters.
    let ours = meta.target().starts_with("hearth");
    level as u8 <= wanted && (ours || level <= LogLevel::Warn)
}

fn deliver(records: &Receiver<LogRecord>, sink: &Sink) {
    while let Ok(record) = records.recv() {
        let sink = sink.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(sink) = sink {
            // A sink that throws loses this record and no other.
            drop(catch_unwind(AssertUnwindSafe(|| sink.log(record))));
        }
    }
}

struct ToSink {
    queue: SyncSender<LogRecord>,
    dropped: AtomicU64,
}

impl<S: Subscriber> Layer<S> for ToSink {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let meta = event.metadata();
        let mut message = String::new();
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            message = format!("[{dropped} records were dropped before this one] ");
        }
        event.record(&mut Text(&mut message));
        if let Some((end, _)) = message.char_indices().nth(MESSAGE_CHARS_MAX) {
            message.truncate(end);
        }
        let record = LogRecord { level: level_of(*meta.level()), target: meta.target().to_owned(), message };
        if self.queue.try_send(record).is_err() {
            self.dropped.fetch_add(dropped + 1, Ordering::Relaxed);
        }
    }
}

/// The message first, then the other fields as `name=value`.
struct Text<'a>(&'a mut String);

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?} "),
            name => write!(self.0, "{name}={value:?} "),
        };
    }
}

fn level_of(level: Level) -> LogLevel {
    match level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        Level::DEBUG => LogLevel::Debug,
        Level::TRACE => LogLevel::Trace,
    }
}
