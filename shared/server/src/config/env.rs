//! Reads settings, keeps what is wrong with them, and remembers what was read.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::foreign;
use super::parse;
use super::problem::{ConfigErrors, Problem};
use super::table::{Row, Table};

/// Source of settings. Each read names the setting, its default and its meaning, so that the list of settings,
/// `--print-config` and the reader can't disagree.
///
/// Values that break their rule are noted, and reading continues with a stand-in; [`Env::finish`] then fails.
#[derive(Debug, Default)]
pub struct Env {
    given: BTreeMap<String, String>,
    rows: Vec<Row>,
    problems: Vec<Problem>,
}

/// Visibility of a value.
#[derive(Clone, Copy)]
enum Shown {
    /// Shown unchanged.
    Plain,
    /// Shown as an address without its password.
    Url,
    /// Never shown.
    Secret,
}

// === impl Env ===

impl Env {
    /// Takes the environment of this process.
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

    /// Takes the given variables and no others: for tests, and for programs that start several services.
    pub fn from_map<K: Into<String>, V: Into<String>>(given: impl IntoIterator<Item = (K, V)>) -> Self {
        Self { given: given.into_iter().map(|(k, v)| (k.into(), v.into())).collect(), ..Self::default() }
    }

    /// Reads a text.
    pub fn text(&mut self, name: &'static str, default: &str, doc: &'static str) -> String {
        self.read(name, default, doc, Shown::Plain, |text| Ok(text.to_owned())).unwrap_or_default()
    }

    /// Reads an address like `valkey://user:password@host:6379`; the password is never shown.
    pub fn url(&mut self, name: &'static str, default: &str, doc: &'static str) -> String {
        self.read(name, default, doc, Shown::Url, parse::url).unwrap_or_default()
    }

    /// Reads an address as [`Env::url`] does; unset is `None`.
    pub fn optional_url(&mut self, name: &'static str, doc: &'static str) -> Option<String> {
        self.read(name, "", doc, Shown::Url, parse::url)
    }

    /// Reads a secret of at least `least` bytes, which is never shown; unset is `None`.
    pub fn optional_secret(&mut self, name: &'static str, least: usize, doc: &'static str) -> Option<String> {
        self.read(name, "", doc, Shown::Secret, |text| match text.len() {
            length if length >= least => Ok(text.to_owned()),
            length => Err(format!("must be at least {least} bytes; it has {length}")),
        })
    }

    /// Reads a duration with a unit: `250ms`, `30s`, `5m`.
    pub fn duration(&mut self, name: &'static str, default: &str, doc: &'static str) -> Duration {
        self.read(name, default, doc, Shown::Plain, parse::duration).unwrap_or_default()
    }

    /// Reads a duration from the least to the most of `bounds`, which end the meaning and make the rule.
    ///
    /// # Panics
    ///
    /// Panics if a bound is no duration.
    pub fn duration_within(&mut self, name: &'static str, default: &str, bounds: [&str; 2], doc: &str) -> Duration {
        let [least, most] = bounds.map(|bound| parse::duration(bound).expect("bounds are durations"));
        let bounds = bounds.join(" to ");
        let value =
            self.read(name, default, format!("{doc}; {bounds}"), Shown::Plain, parse::duration).unwrap_or(least);
        self.require(name, (least..=most).contains(&value), &format!("must be {bounds}"));
        value
    }

    /// Reads a number within `bounds`, which end the meaning and make the rule.
    pub fn number_within<N: FromStr + Display + Copy + PartialOrd>(
        &mut self,
        name: &'static str,
        default: N,
        bounds: RangeInclusive<N>,
        doc: &str,
    ) -> N {
        let rule = format!("{} to {}", bounds.start(), bounds.end());
        let doc = format!("{doc}; {rule}");
        let value = self.read(name, &default.to_string(), doc, Shown::Plain, parse::number).unwrap_or(default);
        self.require(name, bounds.contains(&value), &format!("must be {rule}"));
        value
    }

    /// Reads a size with a unit, in bytes: `64KiB`, `4MiB`.
    pub fn bytes(&mut self, name: &'static str, default: &str, doc: &'static str) -> usize {
        self.read(name, default, doc, Shown::Plain, parse::bytes).unwrap_or_default()
    }

    /// Reads a size from the least to the most of `bounds`, which end the meaning and make the rule.
    ///
    /// # Panics
    ///
    /// Panics if a bound is no size.
    pub fn bytes_within(&mut self, name: &'static str, default: &str, bounds: [&str; 2], doc: &str) -> usize {
        let [least, most] = bounds.map(|bound| parse::bytes(bound).expect("bounds are sizes"));
        let bounds = bounds.join(" to ");
        let value = self.read(name, default, format!("{doc}; {bounds}"), Shown::Plain, parse::bytes).unwrap_or(least);
        self.require(name, (least..=most).contains(&value), &format!("must be {bounds}"));
        value
    }

    /// Reads a plain number. Bounds go through [`Env::require`].
    pub fn number<N: FromStr + Display + Copy>(&mut self, name: &'static str, default: N, doc: &'static str) -> N {
        self.read(name, &default.to_string(), doc, Shown::Plain, parse::number).unwrap_or(default)
    }

    /// Reads `true` or `false`.
    pub fn flag(&mut self, name: &'static str, default: bool, doc: &'static str) -> bool {
        self.read(name, &default.to_string(), doc, Shown::Plain, parse::flag).unwrap_or(default)
    }

    /// Reads an IP address and a port: `127.0.0.1:50051`, `0.0.0.0:50051`, `[::]:50051`. Port 0 takes a free one.
    pub fn address(&mut self, name: &'static str, default: &str, doc: &'static str) -> SocketAddr {
        self.read(name, default, doc, Shown::Plain, parse::address)
            .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Reads texts between commas, without the spaces around them; empty ones are dropped.
    pub fn list(&mut self, name: &'static str, default: &str, doc: &'static str) -> Vec<String> {
        self.read(name, default, doc, Shown::Plain, |text| Ok(parse::list(text))).unwrap_or_default()
    }

    /// Reads a setting with a parser of its own; `None` when the value (or an empty default) doesn't parse.
    ///
    /// Errors of the parser are rules that read well after the value: `must be one of a, b`.
    pub fn parsed<T>(
        &mut self,
        name: &'static str,
        default: &str,
        doc: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.read(name, default, doc, Shown::Plain, parse)
    }

    /// Reads a setting as [`Env::parsed`] does; unset is `None`, and no problem.
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

    /// Lists the settings read so far, right or wrong.
    pub fn describe(&self) -> Table {
        Table::new(self.rows.clone())
    }

    /// Ends the reading.
    ///
    /// # Errors
    ///
    /// Lists every wrong setting and every `KEYPLANE_` variable that nothing read, all at once.
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
        doc: impl Into<Cow<'static, str>>,
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
            Shown::Secret => "****".to_owned(),
        };
        let parsed = if value.is_empty() { None } else { Some(parse(value)) };
        if let Some(Err(rule)) = &parsed {
            self.problems.push(Problem::new(name, Some(show(value)), rule));
        }
        self.rows.push(Row { name, default: show(default), value: show(value), doc: doc.into() });
        parsed?.ok()
    }
}
