//! Who may import whom: the rooms of core, and the crates.
//!
//! The tables below are the architecture page's, spelt out. A module that is missing from the table fails the test: it gets
//! a line here when it is made, and the line is where its direction is decided. Test code is free to reach anywhere.

use super::source::{PathUse, Source};

/// What every feature stands on.
const GROUND: &[&str] = &["home", "ports", "store", "resolve", "event", "types"];
/// The features themselves. Only `sync`, `federation` and what is above them may read them all.
const FEATURES: &[&str] = &["rooms", "users", "keys", "media", "outbox"];

/// A module of core, and what it may import besides itself.
const CORE: &[(&str, &[&[&str]])] = &[
    ("types", &[]),
    ("ports", &[&["types"]]),
    ("event", &[&["types"]]),
    ("resolve", &[&["event", "types"]]),
    ("store", &[&["event", "types"]]),
    ("home", &[&["store", "ports", "event", "types"]]),
    ("rooms", &[GROUND, &["keys", "outbox", "users"]]),
    ("users", &[GROUND, &["keys"]]),
    ("keys", &[GROUND, &["outbox"]]),
    ("media", &[GROUND, &["outbox"]]),
    ("outbox", &[GROUND]),
    ("federation", &[GROUND, FEATURES]),
    ("sync", &[GROUND, FEATURES]),
    ("api", &[GROUND, FEATURES, &["federation", "sync"]]),
    ("chat", &[GROUND, FEATURES, &["federation", "sync", "api"]]),
    ("server", &[GROUND, FEATURES, &["federation", "sync", "api", "chat"]]),
];

/// What a crate may not depend on, and why.
const CRATES: &[(&str, &[&str], &str)] = &[
    ("core", &["hearth-p2p", "hearth-ffi"], "core is the bottom: p2p and ffi stand on it"),
    (
        "core",
        &["libp2p", "hyper", "hyper-util", "mdns-sd", "if-addrs", "socket2", "quinn", "reqwest"],
        "core has no sockets",
    ),
    ("p2p", &["hearth-ffi"], "ffi stands on p2p"),
    ("ffi", &["ruma", "libp2p"], "no ruma or libp2p type crosses to Kotlin and Swift"),
];

/// Names that core may not use outside tests, and why.
const CORE_NAMES: &[(&[&str], &str)] = &[
    (&["SystemTime"], "the wall clock comes from ports::Clock"),
    (&["thread_rng", "OsRng", "ThreadRng"], "randomness comes from ports::Random"),
    (&["TcpListener", "TcpStream", "UdpSocket", "UnixListener", "UnixStream"], "core has no sockets"),
    (&["libp2p", "hyper", "mdns_sd", "hearth_p2p", "hearth_ffi"], "core has no sockets and stands below p2p and ffi"),
];

/// Files that may take `std::time::Instant`.
const INSTANT_EXCEPTIONS: &[&str] = &[
    // How long a group commit may gather is measured on the engine's own thread, where tokio's clock does not reach. It
    // sizes batches, never their order.
    "core/src/store/engine.rs",
];

/// Checks the directions of one file.
pub(super) fn check(source: &Source, faults: &mut Vec<String>) {
    let (folder, _) = source.place();
    if folder == "core" {
        core_modules(source, faults);
        core_names(source, faults);
    }
    if folder == "ffi" {
        for path in code_paths(source).filter(|path| {
            path.segments.len() > 1 && path.segments.iter().any(|segment| segment == "ruma" || segment == "libp2p")
        }) {
            faults.push(fault(source, path, "no ruma or libp2p type crosses to Kotlin and Swift"));
        }
    }
}

fn core_modules(source: &Source, faults: &mut Vec<String>) {
    let here = source.module();
    let Some(room) = here.first() else { return };
    let Some((_, allowed)) = CORE.iter().find(|(name, _)| name == room) else {
        faults.push(format!("{}: `{room}` is not in the table of tests/suite/tidy/imports.rs", source.path));
        return;
    };
    for path in code_paths(source) {
        let Some(target) = target(path, &here) else { continue };
        if target == *room || path.is_macro {
            continue;
        }
        if !allowed.iter().any(|group| group.contains(&target.as_str())) {
            faults.push(fault(source, path, &format!("`{room}` may not import `{target}`")));
        }
    }
}

fn core_names(source: &Source, faults: &mut Vec<String>) {
    for path in code_paths(source) {
        let is_clock = path.segments.first().is_some_and(|first| first == "std")
            && path.segments.iter().any(|segment| segment == "Instant");
        if is_clock && !INSTANT_EXCEPTIONS.contains(&source.path.as_str()) {
            faults.push(fault(source, path, "time comes from tokio::time or ports::Clock, so that tests can stop it"));
        }
        for (names, why) in CORE_NAMES {
            if path.segments.iter().any(|segment| names.contains(&segment.as_str())) {
                faults.push(fault(source, path, why));
            }
        }
    }
}

/// The module of the crate that a path leads to, or `None` for a path that leaves the crate or stays where it is.
fn target(path: &PathUse, here: &[String]) -> Option<String> {
    let mut module: Vec<&str> = here.iter().chain(&path.inside).map(String::as_str).collect();
    let mut segments = path.segments.iter().map(String::as_str).peekable();
    match segments.peek().copied()? {
        "crate" => {
            segments.next();
            module.clear();
        }
        "super" => {
            while segments.next_if_eq(&"super").is_some() {
                module.pop();
            }
        }
        _ => return None,
    }
    module.into_iter().chain(segments).next().map(str::to_owned)
}

fn code_paths(source: &Source) -> impl Iterator<Item = &PathUse> {
    source.paths.iter().filter(|path| !source.is_test_line(path.line))
}

fn fault(source: &Source, path: &PathUse, why: &str) -> String {
    format!("{}:{}: `{}`: {why}", source.path, path.line, path.segments.join("::"))
}

/// Checks what a crate's manifest depends on. Dependencies of tests are free.
pub(super) fn check_manifest(folder: &str, manifest: &str, faults: &mut Vec<String>) {
    let mut section = "";
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        }
        let table = section.trim_matches(['[', ']']);
        let name = match table.strip_prefix("dependencies.") {
            Some(name) if line.starts_with('[') => name,
            Some(_) => continue,
            None if table == "dependencies" || table.ends_with(".dependencies") => {
                line.split(['.', '=', ' ']).next().unwrap_or_default()
            }
            None => continue,
        };
        for (_, _, why) in CRATES.iter().filter(|(of, banned, _)| *of == folder && banned.contains(&name)) {
            faults.push(format!("{folder}/Cargo.toml: depends on `{name}`: {why}"));
        }
    }
}
