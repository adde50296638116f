//! Shows each rule a bad snippet and a good one.

use super::{check, imports, source::Source};

/// The faults of one file with a proper first line.
fn faults_of(path: &str, code: &str) -> Vec<String> {
    faults_of_files(&[(path, code)])
}

fn faults_of_files(files: &[(&str, &str)]) -> Vec<String> {
    let sources: Vec<Source> = files
        .iter()
        .map(|(path, code)| {
            let attribute = if path.ends_with("src/lib.rs") { "#![forbid(unsafe_code)]\n" } else { "" };
            Source::parse(path, &format!("//! A file.\n{attribute}{code}")).unwrap()
        })
        .collect();
    check(&sources)
}

fn bites(path: &str, code: &str, word: &str) {
    let faults = faults_of(path, code);
    assert_eq!(faults.len(), 1, "one fault is expected in {path}: {faults:#?}");
    assert!(faults[0].contains(word), "{} does not mention {word}", faults[0]);
}

fn passes(path: &str, code: &str) {
    assert_eq!(faults_of(path, code), Vec::<String>::new(), "no fault is expected in {path}");
}

#[test]
fn imports_run_downward() {
    passes("core/src/rooms/send.rs", "use crate::{event::Pdu, store::{Store, View}, users, outbox::enqueue};");
    passes("core/src/event/pdu.rs", "use crate::types::{self, Millis as Time};");
    bites("core/src/event/pdu.rs", "use crate::store::Store;", "`event` may not import `store`");
    bites("core/src/resolve/fork.rs", "use crate::{event::Pdu, store::{View}};", "`resolve` may not import `store`");
    bites("core/src/users.rs", "use crate::rooms::*;", "`users` may not import `rooms`");
    bites("core/src/types/key.rs", "use crate::event as other;", "`types` may not import `event`");
    bites("core/src/home.rs", "use crate::rooms::Room;", "`home` may not import `rooms`");
    bites("core/src/sync/log.rs", "use crate::federation::join;", "`sync` may not import `federation`");
    bites("core/src/outbox.rs", "use crate::rooms::Room;", "`outbox` may not import `rooms`");
    bites("core/src/rooms.rs", "use crate::server::Homeserver;", "`rooms` may not import `server`");
    passes("core/src/server.rs", "use crate::{api, chat, federation, sync};");
}

#[test]
fn a_path_in_the_middle_of_the_code_is_an_import_too() {
    bites("core/src/event/pdu.rs", "fn f() { crate::store::open(); }", "`store`");
    bites("core/src/event/pdu.rs", "fn f() { println!(\"{}\", crate::store::open()); }", "`store`");
    bites("core/src/event/pdu.rs", "pub(in crate::store) fn f() {}", "`store`");
    passes("core/src/event/pdu.rs", "pub(crate) fn f() { let _ = \"crate::store\"; } // crate::store");
}

#[test]
fn climbing_out_of_a_module_is_an_import_too() {
    bites("core/src/event/pdu.rs", "use super::super::store::Store;", "`store`");
    bites("core/src/event.rs", "use super::store::Store;", "`store`");
    bites("core/src/event.rs", "mod inner { use super::super::store::Store; }", "`store`");
    passes("core/src/event/pdu.rs", "use super::store::Store;");
    passes("core/src/event.rs", "mod store { pub(super) struct Row; } use self::store::Row;");
}

#[test]
fn a_module_needs_a_line_in_the_table() {
    bites("core/src/gossip.rs", "struct A;", "not in the table");
    bites("core/src/rooms.rs", "use crate::Store;", "may not import `Store`");
    passes("core/src/rooms.rs", "fn f() { crate::check!(); }");
}

#[test]
fn tests_reach_anywhere() {
    passes("core/src/event/pdu.rs", "#[cfg(test)] mod tests { use crate::store::Store; }");
    passes("core/src/event/tests.rs", "use crate::store::Store;");
    passes("core/src/event/tests/pdu.rs", "use std::time::Instant;");
    let declared = "#[cfg(test)]\nmod fixtures;";
    assert!(
        faults_of_files(&[("core/src/event.rs", declared), ("core/src/event/fixtures.rs", "use crate::store::Store;")])
            .is_empty()
    );
    bites("core/src/event.rs", "#[cfg(any(test, unix))] use crate::store::Store;", "`store`");
}

#[test]
fn core_has_no_clock_no_chance_and_no_socket() {
    bites("core/src/users.rs", "use std::time::{Duration, SystemTime};", "ports::Clock");
    bites("core/src/users.rs", "fn f() { std::time::Instant::now(); }", "tokio::time");
    passes("core/src/users.rs", "use tokio::time::Instant;");
    passes("core/src/store/engine.rs", "use std::time::{Duration, Instant};");
    bites("core/src/users.rs", "fn f() { rand::thread_rng(); }", "ports::Random");
    bites("core/src/users.rs", "use tokio::net::TcpStream;", "no sockets");
    bites("core/src/users.rs", "use libp2p::PeerId;", "no sockets");
    passes("p2p/src/clock.rs", "use std::{net::TcpListener, time::SystemTime}; use libp2p::PeerId;");
}

#[test]
fn ffi_shows_no_foreign_type() {
    bites("ffi/src/lib.rs", "pub fn f() -> ruma::OwnedUserId { g() }", "Kotlin");
    bites("ffi/src/lib.rs", "use hearth_p2p::libp2p::PeerId;", "Kotlin");
    passes("ffi/src/lib.rs", "pub fn f() -> String { String::new() }");
}

#[test]
fn crates_depend_downward() {
    let faults = |folder: &str, manifest: &str| {
        let mut faults = Vec::new();
        imports::check_manifest(folder, manifest, &mut faults);
        faults.len()
    };
    assert_eq!(faults("core", "[dependencies]\nruma.workspace = true\nhyper = \"1\"\n"), 1);
    assert_eq!(faults("core", "[dependencies.libp2p]\nversion = \"1\""), 1);
    assert_eq!(faults("core", "[dependencies]\nhearth-p2p.workspace = true"), 1);
    assert_eq!(faults("core", "[target.'cfg(unix)'.dependencies]\nmdns-sd = \"1\""), 1);
    assert_eq!(faults("core", "[dependencies]\nruma = \"1\"\n[dev-dependencies]\nhyper = \"1\""), 0);
    assert_eq!(faults("p2p", "[dependencies]\nhearth-ffi = { path = \"../ffi\" }\nlibp2p = \"1\""), 1);
    assert_eq!(faults("ffi", "[dependencies]\nruma = \"1\"\nlibp2p = \"1\""), 2);
}

#[test]
fn files_and_functions_are_short() {
    bites("p2p/src/a.rs", &"struct A;\n".repeat(800), "801 lines");
    passes("p2p/src/a.rs", &"struct A;\n".repeat(799));
    passes("p2p/src/a.rs", &format!("#[cfg(test)]\nmod tests {{\n{}}}", "struct A;\n".repeat(900)));
    passes("p2p/src/a/tests.rs", &"struct A;\n".repeat(900));
    let function = |lines: usize| format!("/// Words.\n#[inline]\nfn f() {{\n{}}}", "g();\n".repeat(lines - 2));
    bites("p2p/src/a.rs", &function(71), "71 lines");
    passes("p2p/src/a.rs", &function(70));
    bites("p2p/src/a.rs", &format!("impl A {{ {} }}", function(71)), "71 lines");
    bites("p2p/src/a/tests.rs", &format!("trait A {{ {} }}", function(71)), "71 lines");
}

#[test]
fn files_say_what_they_are() {
    let source = Source::parse("p2p/src/a.rs", "use std::fs;\n//! Late.\n");
    assert!(source.is_err(), "inner docs after an item do not parse");
    let source = Source::parse("p2p/src/a.rs", "// A file.\nuse std::fs;\n").unwrap();
    assert_eq!(check(&[source]).len(), 1);
    bites("p2p/src/mesh/mod.rs", "struct A;", "mod.rs");
    let source = Source::parse("core/src/lib.rs", "//! The story.\n#![deny(unsafe_code)]\n").unwrap();
    assert!(check(&[source])[0].contains("forbid(unsafe_code)"));
}

#[test]
fn names_mean_something() {
    bites("p2p/src/util.rs", "struct A;", "`util`");
    bites("p2p/src/string_utils.rs", "struct A;", "`string_utils`");
    bites("p2p/src/helpers/a.rs", "struct A;", "`helpers`");
    bites("p2p/src/a.rs", "struct RoomService;", "`RoomService`");
    bites("p2p/src/a.rs", "enum ManagerState {}", "`ManagerState`");
    bites("p2p/src/a.rs", "trait Helper {}", "`Helper`");
    bites("p2p/src/a.rs", "mod test_helpers {}", "`test_helpers`");
    bites("p2p/src/a.rs", "type Utils = ();", "`Utils`");
    passes("p2p/src/a.rs", "use tower_service::Service; struct Utility; struct Managed;");
}

#[test]
fn nothing_is_left_unfinished() {
    bites("p2p/src/a.rs", "#[cfg(test)] mod tests { #[test] #[ignore] fn f() {} }", "ignored");
    bites("p2p/src/a.rs", "#[test] #[ignore = \"slow\"] fn f() {}", "ignored");
    bites("p2p/src/a.rs", "fn f() { todo!() }", "`todo!`");
    bites("p2p/src/a.rs", "fn f() { vec![std::dbg!(1)]; }", "`dbg!`");
    bites("p2p/src/a.rs", "#[cfg(test)] mod tests { fn f() { unimplemented!(\"x\") } }", "`unimplemented!`");
    passes("p2p/src/a.rs", "fn todo() -> bool { let dbg = 1; dbg != 2 }");
}
