//! Files that appear whole or not at all: written under a draft's name, synced, and renamed.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// A file in the making. Removed when it is dropped, unless it was kept.
#[derive(Debug)]
pub(crate) struct Draft {
    path: Option<PathBuf>,
}

impl Draft {
    /// A draft at a path of its own. What a killed process left there is removed.
    pub(crate) fn new(path: PathBuf) -> io::Result<Self> {
        remove_if_there(&path)?;
        Ok(Self { path: Some(path) })
    }

    /// A draft of a file, in the same directory so that a rename is enough.
    pub(crate) fn beside(path: &Path) -> io::Result<Self> {
        Self::new(with_suffix(path, ".part"))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new(""))
    }

    /// Creates the file, for its owner's eyes only.
    pub(crate) fn create(&self) -> io::Result<File> {
        create(self.path())
    }

    /// Gives it its final name. The bytes must be synced by now; the name is, when this returns.
    pub(crate) fn keep(mut self, name: &Path) -> io::Result<()> {
        fs::rename(self.path(), name)?;
        self.path = None;
        sync_parent(name)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(path) = &self.path
            && let Err(error) = remove_if_there(path)
        {
            tracing::warn!(%error, "a draft could not be removed");
        }
    }
}

/// Creates a new file that its owner alone may read.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Removes a file, unless there is none.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A path whose last part goes on.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().map(OsString::from).unwrap_or_default();
    name.push(suffix);
    path.with_file_name(name)
}

/// Makes a name survive a power cut as well as the bytes do.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}
