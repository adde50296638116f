//! Panic wipe: keys first, then everything, whatever state things are in.
//!
//! What makes data unreadable within milliseconds is the loss of the keys: the vault of an open client forgets its key in
//! memory and in the database ([`Chat::destroy_keys`]), and key files are overwritten and unlinked. Then whole trees are renamed aside, which costs
//! the same for one file and for a hundred thousand, and only then are they unlinked. A wipe that is killed has left nothing
//! under its name, and the next one, or [`sweep`] at the next start, removes what was renamed.
//!
//! Overwriting is an attempt: flash storage writes elsewhere, and old pages live until the drive reuses them. So the store
//! key belongs into the platform's keystore, which forgets for good; its removal is the caller's, before this.
//!
//! Invariants: no state makes a wipe impossible, and none makes it stop halfway: what fails is passed over, and told at
//! the end. Links are removed, and never followed. Wiping twice is wiping.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Chat,
    files::{remove_if_there, sync_parent},
};

/// How the names of what was renamed aside begin.
const ASIDE: &str = ".hearth-wiped-";
/// Names that are tried for one tree. As many leftovers of killed wipes can lie in a directory at once.
const ASIDE_MAX: u32 = 1_000;
/// Bytes of a key file that are overwritten. Keys have 32; the rest is for files that are no keys.
const OVERWRITE_BYTES_MAX: u64 = 64 * 1024;
/// How long a wipe waits for the database to throw the vault's key away. The file goes right after, so a busy or a broken
/// engine must not hold the wipe up.
const VAULT_WAIT: Duration = Duration::from_millis(50);

/// What a wipe destroys. What is not there is passed over.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    /// Files that hold keys, such as the server's, and drafts of them.
    pub keys: Vec<PathBuf>,
    /// Files and directories: the database, the media, archives, the run file; or the directory that holds them all.
    pub trees: Vec<PathBuf>,
}

/// What a wipe could not remove, and why. Nothing, as a rule.
#[derive(Debug, Default)]
#[must_use]
pub struct Wiped {
    /// The paths.
    pub left: Vec<(PathBuf, io::Error)>,
}

impl Wiped {
    fn note(&mut self, path: &Path, outcome: io::Result<()>) {
        if let Err(error) = outcome {
            self.left.push((path.to_owned(), error));
        }
    }
}

impl Chat {
    /// Throws away the key of everything that is sealed, in memory at once and in the database, if that answers soon: the
    /// first step of a wipe while the client runs. [`wipe`] follows, before the node is stopped, which may take a moment, and
    /// again after, since what was being written meanwhile may have made a file.
    pub async fn destroy_keys(&self) {
        match tokio::time::timeout(VAULT_WAIT, self.inner.vault.destroy(&self.inner.home.store)).await {
            Ok(Ok(())) => {}
            // The key in memory is gone all the same, and the database's file goes next.
            Ok(Err(error)) => tracing::warn!(%error, "the vault's row could not be overwritten"),
            Err(_) => tracing::warn!("the database was too busy to overwrite the vault's row"),
        }
    }
}

/// Wipes everything of a node, whether it runs, is stopped, half-open or in ruins.
pub fn wipe(targets: &Targets) -> Wiped {
    let mut wiped = Wiped::default();
    destroy_keys(targets, &mut wiped);
    move_aside(targets, &mut wiped);
    remove_aside(targets, &mut wiped);
    wiped
}

/// Removes what a wipe that was killed had renamed aside and not yet removed. For the next start.
pub fn sweep(targets: &Targets) -> Wiped {
    let mut wiped = Wiped::default();
    remove_aside(targets, &mut wiped);
    wiped
}

fn destroy_keys(targets: &Targets, wiped: &mut Wiped) {
    for key in &targets.keys {
        // A file that cannot be overwritten is unlinked all the same.
        let overwritten = overwrite(key);
        wiped.note(key, remove_if_there(key).and(overwritten));
        wiped.note(key, sync_parent_if_there(key));
    }
}

fn overwrite(path: &Path) -> io::Result<()> {
    let bytes = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => metadata.len().min(OVERWRITE_BYTES_MAX),
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut file = File::options().write(true).open(path)?;
    io::copy(&mut io::Read::take(io::repeat(0), bytes), &mut file)?;
    file.flush()?;
    file.sync_data()
}

fn move_aside(targets: &Targets, wiped: &mut Wiped) {
    for tree in &targets.trees {
        match fs::symlink_metadata(tree) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => wiped.note(tree, Err(error)),
            Ok(_) => {
                // What cannot be renamed, such as a mount point, is emptied where it is.
                let moved = rename_aside(tree).or_else(|_| remove(tree));
                wiped.note(tree, moved);
                wiped.note(tree, sync_parent_if_there(tree));
            }
        }
    }
}

fn rename_aside(tree: &Path) -> io::Result<()> {
    for number in 0..ASIDE_MAX {
        let aside = tree.with_file_name(format!("{ASIDE}{number}"));
        // A leftover of another wipe keeps its name: renaming over a directory that is not empty fails.
        if fs::symlink_metadata(&aside).is_err() {
            return fs::rename(tree, aside);
        }
    }
    Err(io::Error::other("too many leftovers of other wipes"))
}

fn remove_aside(targets: &Targets, wiped: &mut Wiped) {
    let mut parents: Vec<&Path> = targets.trees.iter().filter_map(|tree| tree.parent()).collect();
    parents.sort_unstable();
    parents.dedup();
    for parent in parents {
        // Nothing can lie in a directory that is not there, or that may not be listed.
        let Ok(entries) = fs::read_dir(if parent.as_os_str().is_empty() { Path::new(".") } else { parent }) else {
            continue;
        };
        for entry in entries.flatten() {
            if is_aside(&entry.file_name()) {
                wiped.note(&entry.path(), remove(&entry.path()));
            }
        }
    }
}

fn is_aside(name: &OsStr) -> bool {
    name.to_str().and_then(|name| name.strip_prefix(ASIDE)).is_some_and(|number| number.parse::<u32>().is_ok())
}

/// Removes a file, a link, or a whole directory.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync_parent_if_there(path: &Path) -> io::Result<()> {
    match sync_parent(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
