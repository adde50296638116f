//! One Rust file as the tidy rules see it: its paths, its functions, and which of its lines are tests.
//!
//! Names are read from tokens rather than from text, so that comments and strings cannot trip a rule, and so that a path
//! inside a macro's arguments is seen too. Deliberately absent: name resolution. A re-export is followed only as far as
//! the path that is written down.

use std::{collections::BTreeSet, ops::RangeInclusive};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::{
    Attribute, ImplItemFn, Item, ItemFn, TraitItemFn,
    spanned::Spanned,
    visit::{self, Visit},
};

/// A file of the workspace.
pub(crate) struct Source {
    /// Relative to the workspace's root, with forward slashes.
    pub(crate) path: String,
    /// The file as it is on disk.
    pub(crate) text: String,
    /// The parsed file.
    pub(crate) syntax: syn::File,
    /// Every path of the file, in order.
    pub(crate) paths: Vec<PathUse>,
    /// Every function with a body.
    pub(crate) functions: Vec<Function>,
    /// Names of `#[cfg(test)] mod name;`, whose file stands elsewhere.
    pub(crate) test_modules: Vec<String>,
    test_lines: Vec<RangeInclusive<usize>>,
}

/// A path as written: `crate::store::Store`, or a lone name. Use trees are spelt out, one path for each leaf.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PathUse {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
    /// The inline modules around it.
    pub(crate) inside: Vec<String>,
    /// Whether it is a macro that is called.
    pub(crate) is_macro: bool,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    /// From its signature to its closing brace.
    pub(crate) lines: usize,
}

impl Source {
    /// Parses a file. `path` is relative to the workspace's root.
    pub(crate) fn parse(path: &str, text: &str) -> Result<Self, String> {
        let tokens: TokenStream = text.parse().map_err(|error| format!("{path}: does not tokenise: {error}"))?;
        let syntax = syn::parse_file(text).map_err(|error| format!("{path}: does not parse: {error}"))?;
        let mut paths = Vec::new();
        Walk { out: &mut paths }.tokens(tokens, &[], &[]);
        let mut shape = Shape::default();
        shape.visit_file(&syntax);
        Ok(Self {
            path: path.to_owned(),
            text: text.to_owned(),
            syntax,
            paths,
            functions: shape.functions,
            test_modules: shape.test_modules,
            test_lines: shape.test_lines,
        })
    }

    /// Whether a line, counted from 1, belongs to a `#[cfg(test)]` item.
    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.test_lines.iter().any(|lines| lines.contains(&line))
    }

    /// How many lines are not tests.
    pub(crate) fn lines_without_tests(&self) -> usize {
        (1..=self.text.lines().count()).filter(|line| !self.is_test_line(*line)).count()
    }

    /// The crate's folder, and the path inside it.
    pub(crate) fn place(&self) -> (&str, &str) {
        self.path.split_once('/').unwrap_or(("", &self.path))
    }

    /// The module that this file is: `core/src/store/open.rs` is `["store", "open"]`, a crate's root is `[]`.
    pub(crate) fn module(&self) -> Vec<String> {
        let (_, inside) = self.place();
        let inside = inside.strip_prefix("src/").unwrap_or(inside);
        let mut parts: Vec<String> = inside.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if parts.last().is_some_and(|last| last == "lib" || last == "main" || last == "mod") {
            parts.pop();
        }
        parts
    }

    /// Whether the whole file is a test: `tests.rs`, `tests/..`, or a module that another file declares for tests only.
    pub(crate) fn is_test_file(&self, declared: &BTreeSet<String>) -> bool {
        let (_, inside) = self.place();
        inside.split('/').any(|part| part == "tests" || part == "tests.rs")
            || declared.iter().any(|module| {
                self.path.strip_prefix(module.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
            })
    }

    /// The paths, without `.rs`, of the modules that this file declares for tests only.
    pub(crate) fn declared_test_modules(&self) -> impl Iterator<Item = String> + '_ {
        let stem = self.path.trim_end_matches(".rs");
        let folder = match stem.rsplit_once('/') {
            Some((folder, "lib" | "main")) => folder,
            _ => stem,
        };
        self.test_modules.iter().map(move |name| format!("{folder}/{name}"))
    }
}

/// Collects paths out of tokens.
struct Walk<'out> {
    out: &'out mut Vec<PathUse>,
}

impl Walk<'_> {
    fn tokens(&mut self, tokens: TokenStream, inside: &[String], prefix: &[String]) {
        let trees: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(tree) = trees.get(at) {
            at += 1;
            match tree {
                TokenTree::Group(group) => self.tokens(group.stream(), inside, &[]),
                TokenTree::Ident(ident) if *ident == "as" && !prefix.is_empty() => at += 1,
                TokenTree::Ident(ident) if *ident == "mod" => {
                    if let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) =
                        (trees.get(at), trees.get(at + 1))
                    {
                        let inner = [inside, &[name.to_string()]].concat();
                        self.tokens(body.stream(), &inner, &[]);
                        at += 2;
                    }
                }
                TokenTree::Ident(_) => at = self.path(&trees, at - 1, inside, prefix),
                TokenTree::Punct(punct) if punct.as_char() == '*' && !prefix.is_empty() => {
                    let line = punct.span().start().line;
                    self.push([prefix, &["*".to_owned()]].concat(), line, inside, false);
                }
                _ => {}
            }
        }
    }

    /// Reads the path that starts at `at` and answers where it ends.
    fn path(&mut self, trees: &[TokenTree], mut at: usize, inside: &[String], prefix: &[String]) -> usize {
        let mut segments = prefix.to_vec();
        let mut line = 0;
        while let Some(TokenTree::Ident(ident)) = trees.get(at) {
            line = ident.span().start().line;
            segments.push(ident.to_string());
            at += 1;
            if !(is_punct(trees.get(at), ':') && is_punct(trees.get(at + 1), ':')) {
                break;
            }
            match trees.get(at + 2) {
                Some(TokenTree::Ident(_)) => at += 2,
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    self.tokens(group.stream(), inside, &segments);
                    return at + 3;
                }
                Some(TokenTree::Punct(punct)) if punct.as_char() == '*' => {
                    segments.push("*".to_owned());
                    at += 3;
                    break;
                }
                _ => break,
            }
        }
        // `a != b` is no macro, so what follows the mark counts too.
        let is_macro = is_punct(trees.get(at), '!') && matches!(trees.get(at + 1), Some(TokenTree::Group(_)));
        self.push(segments, line, inside, is_macro);
        at
    }

    fn push(&mut self, segments: Vec<String>, line: usize, inside: &[String], is_macro: bool) {
        self.out.push(PathUse { segments, line, inside: inside.to_vec(), is_macro });
    }
}

fn is_punct(tree: Option<&TokenTree>, wanted: char) -> bool {
    matches!(tree, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

/// Collects functions and the lines of tests out of syntax.
#[derive(Default)]
struct Shape {
    functions: Vec<Function>,
    test_modules: Vec<String>,
    test_lines: Vec<RangeInclusive<usize>>,
}

impl Shape {
    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let line = signature.span().start().line;
        let end = block.brace_token.span.close().end().line;
        self.functions.push(Function { name: signature.ident.to_string(), line, lines: end + 1 - line });
    }

    fn tests(&mut self, attributes: &[Attribute], item: &impl Spanned) {
        if attributes.iter().any(is_cfg_test) {
            let span = item.span();
            self.test_lines.push(span.start().line..=span.end().line);
        }
    }
}

impl<'ast> Visit<'ast> for Shape {
    fn visit_item(&mut self, item: &'ast Item) {
        self.tests(attributes(item), item);
        if let Item::Mod(module) = item
            && module.content.is_none()
            && module.attrs.iter().any(is_cfg_test)
        {
            self.test_modules.push(module.ident.to_string());
        }
        visit::visit_item(self, item);
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.tests(&item.attrs, item);
        self.function(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// `#[cfg(test)]` and `#[cfg(all(test, ..))]`. `any(test, ..)` is compiled without tests too, so it is no test.
fn is_cfg_test(attribute: &Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else { return false };
    let condition: String = list.tokens.to_string().split_whitespace().collect();
    list.path.is_ident("cfg") && (condition == "test" || condition.starts_with("all(test,"))
}
