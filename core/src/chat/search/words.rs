//! Words as a person means them: without case, accents and the shapes of letters.
//!
//! Every word must occur, in any order, also inside of longer ones: not every language parts words by blanks, and nobody
//! remembers endings. Folding goes letter by letter over Unicode's compatibility decomposition, without its marks, so that
//! "ECOLE" finds "École" and "strasse" finds "Straße".

use icu_normalizer::{DecomposingNormalizerBorrowed, properties::CanonicalCombiningClassMapBorrowed};

use crate::types::limits::{SEARCH_QUERY_BYTES_MAX, SEARCH_WORDS_MAX, SNIPPET_CHARS_MAX};

/// What is looked for.
#[derive(Clone, Debug)]
pub(super) struct Words(Vec<String>);

impl Words {
    /// The words of a query. `None` when there is none, or more than anybody looks for.
    pub(super) fn new(query: &str) -> Option<Self> {
        if query.len() > SEARCH_QUERY_BYTES_MAX {
            return None;
        }
        let words: Vec<String> = query.split_whitespace().map(fold).filter(|word| !word.is_empty()).collect();
        (1..=SEARCH_WORDS_MAX).contains(&words.len()).then_some(Self(words))
    }

    /// What of a text to show, if all words are in it.
    pub(super) fn find(&self, text: &str) -> Option<String> {
        let folded = fold(text);
        let places: Option<Vec<usize>> = self.0.iter().map(|word| folded.find(word)).collect();
        let first = places?.into_iter().min()?;
        Some(snippet(text, chars_before(text, first)))
    }
}

/// A text as it is compared.
fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    text.chars().for_each(|letter| fold_letter(letter, &mut folded));
    folded
}

/// How many letters of a text are folded before a place in its folded form.
fn chars_before(text: &str, place: usize) -> usize {
    let mut folded = String::new();
    text.chars()
        .take_while(|letter| {
            fold_letter(*letter, &mut folded);
            folded.len() <= place
        })
        .count()
}

fn fold_letter(letter: char, folded: &mut String) {
    if letter.is_ascii() {
        folded.push(letter.to_ascii_lowercase());
        return;
    }
    let classes = CanonicalCombiningClassMapBorrowed::new();
    for part in DecomposingNormalizerBorrowed::new_nfkd().normalize_iter(std::iter::once(letter)) {
        if classes.get_u8(part) != 0 {
            continue;
        }
        for small in part.to_lowercase() {
            match small {
                'ß' => folded.push_str("ss"),
                'æ' => folded.push_str("ae"),
                'œ' => folded.push_str("oe"),
                'ø' => folded.push('o'),
                'ł' => folded.push('l'),
                'đ' => folded.push('d'),
                'ı' => folded.push('i'),
                'ς' => folded.push('σ'),
                other => folded.push(other),
            }
        }
    }
}

/// The letters around one, in one line.
fn snippet(text: &str, at: usize) -> String {
    // A quarter of it stands before, as context.
    let start = at.saturating_sub(SNIPPET_CHARS_MAX / 4);
    let mut rest = text.chars().skip(start);
    let shown: String = rest.by_ref().take(SNIPPET_CHARS_MAX).collect();
    let line = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    let before = if start > 0 { "…" } else { "" };
    let after = if rest.next().is_some() { "…" } else { "" };
    format!("{before}{line}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(query: &str, text: &str) -> bool {
        Words::new(query).unwrap().find(text).is_some()
    }

    #[test]
    fn case_accents_and_shapes_do_not_matter() {
        for (query, text) in [
            ("ecole", "L'École est fermée"),
            ("ÉCOLE", "l'ecole"),
            ("strasse", "Hauptstraße 5"),
            ("STRASSE", "Hauptstraße 5"),
            ("sokrates", "ＳＯＫＲＡＴＥＳ"),
            ("οδυσσευσ", "Ὀδυσσεύς"),
            ("istanbul", "İSTANBUL"),
            ("smorrebrod", "Smørrebrød"),
            ("lodz", "Łódź"),
            ("кафе", "КАФЕ"),
            ("fluss", "ﬂuß"),
            ("写真", "昨日の写真です"),
            ("e\u{301}cole", "école"),
            ("שלום", "שָׁלוֹם"),
        ] {
            assert!(finds(query, text), "{query} in {text}");
        }
        assert!(!finds("ecole", "ecolle"));
    }

    #[test]
    fn all_words_must_occur_in_any_order() {
        let text = "Shall we meet at the old bridge tomorrow?";
        assert!(finds("bridge meet", text) && finds("tomor  BRIDGE\tmeet", text));
        assert!(!finds("bridge today", text));
    }

    #[test]
    fn a_query_of_nothing_or_of_a_book_is_none() {
        assert!(Words::new("").is_none() && Words::new(" \n\u{301} ").is_none());
        assert!(Words::new(&"a ".repeat(SEARCH_WORDS_MAX)).is_some());
        assert!(Words::new(&"a ".repeat(SEARCH_WORDS_MAX + 1)).is_none());
        assert!(Words::new(&"a".repeat(SEARCH_QUERY_BYTES_MAX + 1)).is_none());
    }

    #[test]
    fn what_is_shown_holds_the_word_wherever_it_stands() {
        let text = format!("{}ﬁnally Straße\nand more{}", "ä ".repeat(500), " b".repeat(500));
        let shown = Words::new("strasse").unwrap().find(&text).unwrap();
        assert!(shown.contains("Straße and more") && shown.starts_with('…') && shown.ends_with('…'), "{shown}");
        assert!(shown.chars().count() <= SNIPPET_CHARS_MAX + 2);
        assert_eq!(Words::new("hi").unwrap().find("Hi there").unwrap(), "Hi there");
    }
}
