//! What happened in a world, as one number: two runs of one seed must give the same.
//!
//! With `HEARTH_SIM_TRACE` set to a file's name the lines themselves are written there, to be read, or compared with those
//! of another run.

use std::{
    fmt,
    fs::File,
    hash::{DefaultHasher, Hash, Hasher},
    io::Write,
};

use tokio::time::Instant;

/// The running hash over all that happened.
#[derive(Debug)]
pub struct Trace {
    started: Instant,
    hasher: DefaultHasher,
    file: Option<File>,
}

impl Trace {
    /// Nothing happened yet.
    pub fn new() -> Self {
        let file = std::env::var_os("HEARTH_SIM_TRACE").map(|path| File::create(path).expect("the trace's file"));
        Self { started: Instant::now(), hasher: DefaultHasher::new(), file }
    }

    /// Something happened.
    pub fn note(&mut self, what: fmt::Arguments<'_>) {
        let line = format!("{:>12.3} {what}", self.started.elapsed().as_secs_f64());
        line.hash(&mut self.hasher);
        if let Some(file) = &mut self.file {
            writeln!(file, "{line}").expect("the trace's file");
        }
    }

    /// All that happened so far.
    pub fn hash(&self) -> u64 {
        self.hasher.finish()
    }
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}

/// A short name for some bytes.
pub fn digest(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{:08x}", hasher.finish() as u32)
}
