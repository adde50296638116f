//! What the demonstration prints: steps with their times, checks, and the timelines side by side.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use anstyle::{AnsiColor, Style};
use anyhow::Result;
use serde_json::{Value, json};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::phone::Line;

const COLUMN: usize = 38;

struct Step {
    text: String,
    took: Duration,
}

struct Column {
    person: String,
    lines: Vec<Line>,
    events: String,
    state: String,
}

/// The demonstration's result so far.
pub(super) struct Report {
    aloud: bool,
    colour: bool,
    started: Instant,
    last: Instant,
    steps: Vec<Step>,
    notes: Vec<String>,
    checks: Vec<(String, bool)>,
    columns: Vec<Column>,
}

impl Report {
    pub(super) fn new(aloud: bool) -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let now = Instant::now();
        let (steps, notes, checks, columns) = Default::default();
        Self { aloud, colour, started: now, last: now, steps, notes, checks, columns }
    }

    /// A step is done.
    pub(super) fn step(&mut self, text: &str) {
        let took = self.last.elapsed();
        self.last = Instant::now();
        self.say(&format!("{:>8}  {text}", format_time(took)), AnsiColor::Cyan);
        self.steps.push(Step { text: text.to_owned(), took });
    }

    /// Something that the reader should know.
    pub(super) fn note(&mut self, text: &str) {
        self.say(&format!("{:>8}  {text}", "note"), AnsiColor::Yellow);
        self.notes.push(text.to_owned());
    }

    /// A claim, and whether it is so.
    pub(super) fn check(&mut self, claim: &str, holds: bool) {
        self.checks.push((claim.to_owned(), holds));
    }

    /// The story broke off.
    pub(super) fn failed(&mut self, why: &str) {
        self.checks.push((format!("the story went to its end: {why}"), false));
    }

    /// A phone's timeline and state, for the end.
    pub(super) fn column(&mut self, person: &str, lines: &[Line], state: &[String]) {
        let ids: Vec<&str> = lines.iter().map(|line| line.id.as_str()).collect();
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        self.columns.push(Column {
            person: person.to_owned(),
            lines: lines.to_vec(),
            events: short_hash(&sorted),
            state: short_hash(&state),
        });
    }

    /// Whether all that was shown is so.
    pub(super) fn is_true(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|(_, holds)| *holds)
    }

    /// Prints the end.
    pub(super) fn finish(&mut self, as_json: bool) -> Result<()> {
        if as_json {
            writeln!(std::io::stdout(), "{}", self.json())?;
            return Ok(());
        }
        self.print_columns();
        for (claim, holds) in &self.checks {
            let (mark, colour) = if *holds { ("yes", AnsiColor::Green) } else { ("NO", AnsiColor::Red) };
            self.say(&format!("{mark:>8}  {claim}"), colour);
        }
        let total = format_time(self.started.elapsed());
        match self.is_true() {
            true => self.say(&format!("{total:>8}  in all; everything above was checked"), AnsiColor::Green),
            false => self.say(&format!("{total:>8}  in all; not everything above is so"), AnsiColor::Red),
        }
        Ok(())
    }

    fn print_columns(&self) {
        if self.columns.is_empty() {
            return;
        }
        let rows = self.columns.iter().map(|column| column.lines.len()).max().unwrap_or(0);
        let row = |cell: &dyn Fn(&Column) -> String| -> String {
            self.columns.iter().map(|column| fit(&cell(column), COLUMN)).collect::<Vec<_>>().join("  ")
        };
        println!();
        self.say(&row(&|column| format!("{}'s phone", column.person)), AnsiColor::Blue);
        for index in 0..rows {
            let text = |column: &Column| column.lines.get(index).map(|line| line.text.clone()).unwrap_or_default();
            println!("{}", row(&text));
        }
        self.say(&row(&|column| format!("events {}  state {}", column.events, column.state)), AnsiColor::Blue);
        println!("(ana's end where she left: what came later was not for her)\n");
    }

    fn json(&self) -> Value {
        let steps = self.steps.iter().map(|step| json!({ "step": step.text, "ms": step.took.as_secs_f64() * 1000.0 }));
        let checks = self.checks.iter().map(|(claim, holds)| json!({ "claim": claim, "holds": holds }));
        let phones = self.columns.iter().map(|column| {
            let timeline: Vec<Value> =
                column.lines.iter().map(|line| json!({ "event_id": line.id, "text": line.text })).collect();
            json!({ "person": column.person, "timeline": timeline, "events": column.events, "state": column.state })
        });
        json!({
            "ok": self.is_true(),
            "total_ms": self.started.elapsed().as_secs_f64() * 1000.0,
            "steps": steps.collect::<Vec<_>>(),
            "notes": self.notes,
            "checks": checks.collect::<Vec<_>>(),
            "phones": phones.collect::<Vec<_>>(),
        })
    }

    fn say(&self, text: &str, colour: AnsiColor) {
        if !self.aloud {
            return;
        }
        if self.colour {
            let style = Style::new().fg_color(Some(colour.into()));
            println!("{style}{text}{style:#}");
        } else {
            println!("{text}");
        }
    }
}

fn format_time(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

/// Eight hexadecimal digits, for an eye to compare. The checks compare the lists themselves.
fn short_hash(value: &impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    format!("{:08x}", hasher.finish() >> 32)
}

/// The text in exactly so many columns of a terminal.
fn fit(text: &str, width: usize) -> String {
    let mut fitted = String::new();
    let mut used = 0;
    let whole = text.width() <= width;
    let room = if whole { width } else { width - 1 };
    for character in text.chars() {
        let wide = character.width().unwrap_or(0);
        if used + wide > room {
            break;
        }
        used += wide;
        fitted.push(character);
    }
    if !whole {
        fitted.push('…');
        used += 1;
    }
    fitted.extend(std::iter::repeat_n(' ', width.saturating_sub(used)));
    fitted
}
