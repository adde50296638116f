//! The rules of the house that a machine can check: directions of imports, lengths, names, first lines.
//!
//! What rustfmt and clippy check already is deliberately absent. Each rule has a test that shows it a bad snippet, because a
//! rule that never bites holds nothing.

mod bites;
mod imports;
mod shape;
mod source;

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result, anyhow};
use source::Source;
use walkdir::WalkDir;

/// The crates, by folder.
const CRATES: [&str; 4] = ["core", "p2p", "ffi", "tests"];

#[test]
fn the_workspace_keeps_its_rules() -> Result<()> {
    let sources = workspace()?;
    for folder in CRATES {
        assert!(sources.iter().any(|source| source.place().0 == folder), "no Rust file was found in {folder}/");
    }
    let faults = check(&sources);
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    Ok(())
}

#[test]
fn the_crates_depend_downward_only() -> Result<()> {
    let mut faults = Vec::new();
    for folder in CRATES {
        let manifest = root()?.join(folder).join("Cargo.toml");
        let text = fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
        imports::check_manifest(folder, &text, &mut faults);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

/// Every fault of a set of files.
fn check(sources: &[Source]) -> Vec<String> {
    let declared: BTreeSet<String> = sources.iter().flat_map(Source::declared_test_modules).collect();
    let mut faults = Vec::new();
    for source in sources {
        let is_test = source.is_test_file(&declared);
        shape::check(source, is_test, &mut faults);
        if !is_test {
            imports::check(source, &mut faults);
        }
    }
    faults
}

fn root() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the tests crate has no parent folder")
}

fn workspace() -> Result<Vec<Source>> {
    let root = root()?;
    let mut sources = Vec::new();
    for folder in CRATES {
        for entry in WalkDir::new(root.join(folder)).sort_by_file_name() {
            let entry = entry?;
            if entry.path().extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let path = entry.path().strip_prefix(root)?.to_string_lossy().replace('\\', "/");
            let text = fs::read_to_string(entry.path()).with_context(|| format!("cannot read {path}"))?;
            sources.push(Source::parse(&path, &text).map_err(|error| anyhow!(error))?);
        }
    }
    Ok(sources)
}
