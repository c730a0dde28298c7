//! Reads settings, keeps what is wrong with them, and remembers what was read.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use super::foreign;
use super::parse;
use super::problem::{ConfigErrors, Problem};
use super::table::{Row, Table};

/// A source of settings. Each read names the setting, its default and its meaning, so that the list of settings,
/// `--print-config` and the reader can't disagree.
///
/// A value that breaks its rule is noted, and the reader goes on with a stand-in; [`Env::finish`] then refuses.
#[derive(Debug, Default)]
pub struct Env {
    given: BTreeMap<String, String>,
    rows: Vec<Row>,
    problems: Vec<Problem>,
}

/// How much of a value may be shown.
#[derive(Clone, Copy)]
enum Shown {
    /// As it is.
    Plain,
    /// An address that may hold a password.
    Url,
    /// Not at all.
    Secret,
}

// === impl Env ===

impl Env {
    /// The environment of this process.
    pub fn process() -> Self {
        let mut env = Self::default();
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str() else { continue };
            match value.into_string() {
                Ok(value) => drop(env.given.insert(name.to_owned(), value)),
                Err(_) if name.starts_with("KEYPLANE_") => env.problems.push(Problem::new(name, None, "is not UTF-8")),
                Err(_) => {}
            }
        }
        env
    }

    /// The given variables and no others: for tests, and for programs that start several services.
    pub fn from_map<K: Into<String>, V: Into<String>>(given: impl IntoIterator<Item = (K, V)>) -> Self {
        Self { given: given.into_iter().map(|(k, v)| (k.into(), v.into())).collect(), ..Self::default() }
    }

    /// Any text.
    pub fn text(&mut self, name: &'static str, default: &str, doc: &'static str) -> String {
        self.read(name, default, doc, Shown::Plain, |text| Ok(text.to_owned())).unwrap_or_default()
    }

    /// Any text, or nothing.
    pub fn optional_text(&mut self, name: &'static str, doc: &'static str) -> Option<String> {
        self.optional(name, doc, |text| Ok(text.to_owned()))
    }

    /// A text that is never shown: not by `--print-config`, not in an error, not in a log.
    pub fn secret(&mut self, name: &'static str, doc: &'static str) -> Option<String> {
        self.read(name, "", doc, Shown::Secret, |text| Ok(text.to_owned()))
    }

    /// An address like `valkey://user:password@host:6379`; the password is never shown.
    pub fn url(&mut self, name: &'static str, default: &str, doc: &'static str) -> String {
        self.read(name, default, doc, Shown::Url, parse::url).unwrap_or_default()
    }

    /// Like [`Env::url`], or nothing.
    pub fn optional_url(&mut self, name: &'static str, doc: &'static str) -> Option<String> {
        self.read(name, "", doc, Shown::Url, parse::url)
    }

    /// A span of time with a unit: `250ms`, `30s`, `5m`.
    pub fn duration(&mut self, name: &'static str, default: &str, doc: &'static str) -> Duration {
        self.read(name, default, doc, Shown::Plain, parse::duration).unwrap_or_default()
    }

    /// A size with a unit: `64KiB`, `4MiB`.
    pub fn bytes(&mut self, name: &'static str, default: &str, doc: &'static str) -> usize {
        self.read(name, default, doc, Shown::Plain, parse::bytes).unwrap_or_default()
    }

    /// A plain number. Bounds go through [`Env::require`].
    pub fn number<N: FromStr + Display + Copy>(&mut self, name: &'static str, default: N, doc: &'static str) -> N {
        self.read(name, &default.to_string(), doc, Shown::Plain, parse::number).unwrap_or(default)
    }

    /// `true` or `false`.
    pub fn flag(&mut self, name: &'static str, default: bool, doc: &'static str) -> bool {
        self.read(name, &default.to_string(), doc, Shown::Plain, parse::flag).unwrap_or(default)
    }

    /// An IP address and a port: `127.0.0.1:50051`, `0.0.0.0:50051`, `[::]:50051`. Port 0 takes a free one.
    pub fn address(&mut self, name: &'static str, default: &str, doc: &'static str) -> SocketAddr {
        self.read(name, default, doc, Shown::Plain, parse::address)
            .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Like [`Env::address`], or nothing.
    pub fn optional_address(&mut self, name: &'static str, doc: &'static str) -> Option<SocketAddr> {
        self.optional(name, doc, parse::address)
    }

    /// Texts between commas; spaces around them are dropped, and empty ones too.
    pub fn list(&mut self, name: &'static str, default: &str, doc: &'static str) -> Vec<String> {
        self.read(name, default, doc, Shown::Plain, |text| Ok(parse::list(text))).unwrap_or_default()
    }

    /// A setting with a parser of its own; `None` when the value (or an empty default) doesn't parse.
    /// The parser's error is a rule that reads well after the value: `must be one of a, b`.
    pub fn parsed<T>(
        &mut self,
        name: &'static str,
        default: &str,
        doc: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.read(name, default, doc, Shown::Plain, parse)
    }

    /// Like [`Env::parsed`], but unset is fine.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.read(name, "", doc, Shown::Plain, parse)
    }

    /// Notes that the setting `name`, read before, breaks `rule` unless `holds`.
    pub fn require(&mut self, name: &'static str, holds: bool, rule: &str) {
        let known = self.problems.iter().any(|problem| problem.name == name);
        if !holds && !known {
            let shown = self.rows.iter().find(|row| row.name == name).map(|row| row.value.clone());
            self.problems.push(Problem::new(name, shown, rule));
        }
    }

    /// The settings read so far, right or wrong.
    pub fn describe(&self) -> Table {
        Table::new(self.rows.clone())
    }

    /// Ends the reading.
    ///
    /// # Errors
    ///
    /// Every wrong setting and every `KEYPLANE_` variable that nothing read, all at once.
    pub fn finish(mut self) -> Result<Table, ConfigErrors> {
        let known: Vec<&str> = self.rows.iter().map(|row| row.name).collect();
        for (name, value) in &self.given {
            if foreign::is_ours(name, value) && !known.contains(&name.as_str()) {
                self.problems.push(Problem::unknown(name, &known));
            }
        }
        if self.problems.is_empty() { Ok(Table::new(self.rows)) } else { Err(ConfigErrors::new(self.problems)) }
    }

    fn read<T>(
        &mut self,
        name: &'static str,
        default: &str,
        doc: &'static str,
        shown: Shown,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        debug_assert!(self.rows.iter().all(|row| row.name != name), "{name} is read twice");
        let given = self.given.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
        let value = given.unwrap_or(default);
        let show = |text: &str| match shown {
            Shown::Plain => text.to_owned(),
            Shown::Url => parse::mask(text),
            Shown::Secret if text.is_empty() => String::new(),
            Shown::Secret => format!("(secret, {} characters)", text.chars().count()),
        };
        let parsed = if value.is_empty() { None } else { Some(parse(value)) };
        if let Some(Err(rule)) = &parsed {
            self.problems.push(Problem::new(name, Some(show(value)), rule));
        }
        self.rows.push(Row { name, default: show(default), value: show(value), doc });
        parsed?.ok()
    }
}
