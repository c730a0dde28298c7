//! Grammar of the search commands that valkey-search 1.2 and the local engine answer alike.
//!
//! Only forms that were tried on both are in it; everything else is rejected, whatever the local engine would answer.

mod query;
mod vector;

use query::check_query;

/// Longest text of a query that valkey-search takes, in bytes.
const MAX_QUERY: usize = 10_240;
/// Largest offset plus count that the local engine takes.
const MAX_WINDOW: u64 = 1_000_000;
/// Longest timeout that valkey-search takes, in milliseconds.
const MAX_TIMEOUT: u64 = 60_000;

/// Checks the text of a query: both engines must read it alike, and take one of its length.
///
/// # Errors
///
/// Broken rule, and its place.
pub fn check_search_query(text: &str) -> Result<(), String> {
    check_query(text, MAX_QUERY)
}

/// Reports whether a command is one of search.
pub(crate) fn is_search(command: &str) -> bool {
    command.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("FT."))
}

/// Checks a search command with its arguments.
pub(crate) fn check(words: &[String]) -> Result<(), String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["FT._LIST"] => Ok(()),
        ["FT.INFO" | "FT.DROPINDEX", index] => check_index(index),
        ["FT.CREATE", index, rest @ ..] => check_index(index).and_then(|()| check_create(rest)),
        ["FT.SEARCH", index, query, rest @ ..] => {
            check_index(index)?;
            let Some(neighbours) = vector::scope(query) else {
                check_query(query, MAX_QUERY)?;
                return check_options(rest);
            };
            let (query, count) = neighbours?;
            check_query(query, MAX_QUERY)?;
            check_neighbours(rest, count)
        }
        [command, ..] => Err(format!("{command} with {} arguments", words.len() - 1)),
        [] => Err("no command".to_owned()),
    }
}

fn check_index(name: &str) -> Result<(), String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b":-._".contains(&byte);
    if name.bytes().all(good) { Ok(()) } else { Err(format!("index name {name:?}")) }
}

fn is_attribute(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// `ON HASH PREFIX 1 <prefix> STOPWORDS 0 SCHEMA` and the attributes.
fn check_create(words: &[&str]) -> Result<(), String> {
    let ["ON", "HASH", "PREFIX", "1", prefix, "STOPWORDS", "0", "SCHEMA", attributes @ ..] = words else {
        return Err("options of an index".to_owned());
    };
    if !prefix.ends_with(':') || prefix.contains(['{', '}', '*', '?', '[']) {
        return Err(format!("prefix {prefix:?}"));
    }
    let (mut rest, mut seen) = (attributes, Vec::new());
    while let [name, after @ ..] = rest {
        if !is_attribute(name) || seen.contains(name) {
            return Err(format!("attribute {name:?}"));
        }
        seen.push(*name);
        rest = match after {
            ["TAG", "SEPARATOR", "|", "CASESENSITIVE", rest @ ..]
            | ["TEXT", "NOSTEM", rest @ ..]
            | ["NUMERIC", "SORTABLE", rest @ ..] => rest,
            vector => vector::after_column(vector).ok_or_else(|| format!("type of {name}"))?,
        };
    }
    if seen.is_empty() { Err("an index without attributes".to_owned()) } else { Ok(()) }
}

/// `[RETURN n field…] [SORTBY field ASC|DESC] LIMIT offset count TIMEOUT ms DIALECT 2`.
fn check_options(words: &[&str]) -> Result<(), String> {
    let (mut rest, mut fields) = (words, 0);
    if let ["RETURN", count, after @ ..] = rest {
        fields = count.parse::<usize>().map_err(|_| "a number of fields".to_owned())?;
        if fields == 0 || after.len() < fields || !after[..fields].iter().all(|name| is_attribute(name)) {
            return Err("fields to return".to_owned());
        }
        rest = &after[fields..];
    }
    if let ["SORTBY", name, "ASC" | "DESC", after @ ..] = rest {
        if fields == 0 {
            return Err("SORTBY without RETURN sorts nothing on valkey-search".to_owned());
        }
        if !is_attribute(name) {
            return Err(format!("SORTBY {name:?}"));
        }
        rest = after;
    }
    let ["LIMIT", offset, count, "TIMEOUT", timeout, "DIALECT", "2"] = rest else {
        return Err(format!("options {rest:?}; LIMIT, TIMEOUT and DIALECT 2 end every search"));
    };
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("number {text:?}"));
    let (offset, count, timeout) = (number(offset)?, number(count)?, number(timeout)?);
    if offset + count > MAX_WINDOW || !(1..=MAX_TIMEOUT).contains(&timeout) {
        return Err("a limit or a timeout is too large".to_owned());
    }
    if count > 0 && fields == 0 { Err("rows without RETURN".to_owned()) } else { Ok(()) }
}

/// `PARAMS 2 v <vector>` and the options of a search, whose window holds all neighbours: the default cuts all but ten.
fn check_neighbours(words: &[&str], count: u32) -> Result<(), String> {
    let ["PARAMS", "2", "v", _, options @ ..] = words else { return Err("a vector of the query".to_owned()) };
    check_options(options)?;
    let window = options.iter().position(|word| *word == "LIMIT").and_then(|at| options.get(at + 1..at + 3));
    if window == Some(&["0", &count.to_string()]) { Ok(()) } else { Err("a window that cuts neighbours".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(command: &[&str]) -> Result<(), String> {
        check(&command.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    const END: [&str; 7] = ["LIMIT", "0", "20", "TIMEOUT", "500", "DIALECT", "2"];

    fn search(query: &str, options: &[&str], end: &[&str]) -> Result<(), String> {
        checked(&[&["FT.SEARCH", "portal:search:ft:s-t1.g0", query], options, end].concat())
    }

    #[test]
    fn safe_commands_pass() {
        assert_eq!(checked(&["FT._LIST"]), Ok(()));
        assert_eq!(checked(&["FT.INFO", "a:b.g0"]), Ok(()));
        let create = "FT.CREATE a:ft:x.g0 ON HASH PREFIX 1 a~x~g0: STOPWORDS 0 SCHEMA _s TAG SEPARATOR | CASESENSITIVE t0 TEXT \
                      NOSTEM n0 NUMERIC SORTABLE";
        assert_eq!(checked(&create.split_whitespace().collect::<Vec<_>>()), Ok(()));
        assert_eq!(search("@_s:{a}", &["RETURN", "2", "_f", "t0", "SORTBY", "n0", "DESC"], &END), Ok(()));
        assert_eq!(search("@_s:{a}", &[], &["LIMIT", "0", "0", "TIMEOUT", "500", "DIALECT", "2"]), Ok(()));
    }

    #[test]
    fn neighbours_are_asked_for_with_a_vector_and_all_returned() {
        let query = "(@_s:{a})=>[KNN 20 @v $v AS _distance]";
        let vector = ["PARAMS", "2", "v", "\u{fffd}", "RETURN", "1", "r"];
        assert_eq!(search(query, &vector, &END), Ok(()));
        assert!(search(query, &vector[4..], &END).is_err());
        assert!(search(query, &vector, &["LIMIT", "0", "10", "TIMEOUT", "500", "DIALECT", "2"]).is_err());
        assert!(search("@_s:{a}", &vector, &END).is_err());
    }

    #[test]
    fn command_that_the_engines_answer_differently_is_found() {
        for command in [
            "FT.ALTER x",
            "FT.AGGREGATE x q",
            "FT.EXPLAIN x q",
            "FT.CONFIG GET x",
            "FT.DROPINDEX x DD",
            "ft.search x q",
        ] {
            assert!(checked(&command.split(' ').collect::<Vec<_>>()).is_err(), "{command}");
        }
        let create = "FT.CREATE x ON HASH PREFIX 1 a: STOPWORDS 0 SCHEMA";
        for (options, attributes) in [
            (create, ""),
            (create, "t0 TEXT"),
            (create, "t0 TEXT NOSTEM WEIGHT 2.0"),
            (create, "a-b TEXT NOSTEM"),
            (create, "n0 NUMERIC SORTABLE UNF"),
            (create, "n0 NUMERIC SORTABLE n0 NUMERIC SORTABLE"),
            (create, "g0 TAG SEPARATOR | CASESENSITIVE INDEXMISSING"),
            ("FT.CREATE x ON JSON PREFIX 1 a: STOPWORDS 0 SCHEMA", "t0 TEXT NOSTEM"),
            ("FT.CREATE x ON HASH PREFIX 1 a: SCHEMA", "t0 TEXT NOSTEM"),
            ("FT.CREATE x ON HASH PREFIX 1 {t}: STOPWORDS 0 SCHEMA", "t0 TEXT NOSTEM"),
        ] {
            let words: Vec<&str> = options.split_whitespace().chain(attributes.split_whitespace()).collect();
            assert!(checked(&words).is_err(), "{words:?}");
        }
        for (options, end) in [
            (&["SORTBY", "n0", "DESC"][..], &END[..]),
            (&["RETURN", "0"], &END),
            (&["NOCONTENT"], &END),
            (&["WITHSCORES"], &END),
            (&["RETURN", "1", "_f", "SORTBY", "n0"], &END),
            (&[], &END),
            (&["RETURN", "1", "_f"], &["DIALECT", "2"]),
            (&["RETURN", "1", "_f"], &["LIMIT", "0", "20", "TIMEOUT", "500", "DIALECT", "3"]),
            (&["RETURN", "1", "_f"], &["LIMIT", "0", "20", "DIALECT", "2"]),
            (&["RETURN", "1", "_f"], &["LIMIT", "1000000", "20", "TIMEOUT", "500", "DIALECT", "2"]),
            (&["RETURN", "1", "_f"], &["LIMIT", "0", "20", "TIMEOUT", "0", "DIALECT", "2"]),
        ] {
            assert!(search("@_s:{a}", options, end).is_err(), "{options:?} {end:?}");
        }
    }
}
