//! The shape of each file: its length, its functions, its first line, its names, and what may not stand in it.

use syn::visit::{self, Visit};

use super::source::Source;

/// A file longer than this, tests not counted, holds more than one thing.
const FILE_LINES_MAX: usize = 800;
/// A function longer than this does not fit on a screen.
const FUNCTION_LINES_MAX: usize = 70;
/// Names that attract everything.
const VAGUE: &[&str] = &["service", "services", "manager", "managers", "helper", "helpers", "util", "utils"];
/// What a finished program does not hold.
const UNFINISHED: &[&str] = &["todo", "dbg", "unimplemented"];

/// Checks one file.
pub(super) fn check(source: &Source, is_test: bool, faults: &mut Vec<String>) {
    let path = &source.path;
    let lines = source.lines_without_tests();
    if !is_test && lines > FILE_LINES_MAX {
        faults.push(format!("{path}: {lines} lines without tests, at most {FILE_LINES_MAX}"));
    }
    for function in source.functions.iter().filter(|function| function.lines > FUNCTION_LINES_MAX) {
        let (name, line, lines) = (&function.name, function.line, function.lines);
        faults.push(format!("{path}:{line}: `{name}` has {lines} lines, at most {FUNCTION_LINES_MAX}"));
    }
    if !source.text.starts_with("//! ") {
        faults.push(format!("{path}: does not open with `//!` and why it exists"));
    }
    if path.ends_with("/mod.rs") {
        faults.push(format!("{path}: `foo.rs` beside `foo/`, not `mod.rs`"));
    }
    for part in path.trim_end_matches(".rs").split('/').filter(|part| is_vague(part)) {
        faults.push(format!("{path}: `{part}` is a name that attracts everything"));
    }
    for unfinished in source.paths.iter().filter(|path| path.is_macro) {
        if let Some(name) = unfinished.segments.last().filter(|name| UNFINISHED.contains(&name.as_str())) {
            faults.push(format!("{path}:{}: `{name}!` is left over", unfinished.line));
        }
    }
    if is_library_root(path) && !forbids_unsafe(source) {
        faults.push(format!("{path}: lacks `#![forbid(unsafe_code)]`"));
    }
    let mut names = Names { path, faults };
    names.visit_file(&source.syntax);
}

fn is_library_root(path: &str) -> bool {
    matches!(path, "core/src/lib.rs" | "p2p/src/lib.rs")
}

fn forbids_unsafe(source: &Source) -> bool {
    source.syntax.attrs.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return false };
        list.path.is_ident("forbid") && list.tokens.to_string() == "unsafe_code"
    })
}

/// Whether one of the words of a name, in either case style, is vague.
fn is_vague(name: &str) -> bool {
    let mut spaced = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() {
            spaced.push('_');
        }
        spaced.extend(letter.to_lowercase());
    }
    spaced.split(['_', '-']).any(|word| VAGUE.contains(&word))
}

struct Names<'a> {
    path: &'a str,
    faults: &'a mut Vec<String>,
}

impl Names<'_> {
    fn name(&mut self, ident: &syn::Ident) {
        if is_vague(&ident.to_string()) {
            let line = ident.span().start().line;
            self.faults.push(format!("{}:{line}: `{ident}` is a name that attracts everything", self.path));
        }
    }
}

impl<'ast> Visit<'ast> for Names<'_> {
    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if attribute.path().is_ident("ignore") {
            let line = attribute.pound_token.span.start().line;
            self.faults.push(format!("{}:{line}: an ignored test proves nothing", self.path));
        }
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.name(&item.ident);
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.name(&item.ident);
        visit::visit_item_enum(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.name(&item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.name(&item.ident);
        visit::visit_item_type(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.name(&item.ident);
        visit::visit_item_mod(self, item);
    }
}
