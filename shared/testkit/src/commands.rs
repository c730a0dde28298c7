//! Recorder of the search commands that reach an engine: each is held against the safe subset as it comes.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ft;

/// Recorded commands of this process.
static RECORDED: AtomicU64 = AtomicU64::new(0);

/// Number of search commands that the engine of [`search_engine`](crate::search_engine) has received so far.
#[must_use]
pub fn search_commands() -> u64 {
    RECORDED.load(Ordering::SeqCst)
}

/// Records the commands of the server on `port` until the process ends. The first one outside of the safe subset ends the
/// process with a message: its tests would prove nothing for the other engine.
///
/// # Panics
/// When the server can't be reached.
pub(crate) fn record(port: u16) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server takes connections");
    stream.write_all(b"MONITOR\r\n").expect("the server takes commands");
    let mut lines = BufReader::new(stream);
    let mut first = String::new();
    lines.read_line(&mut first).expect("the server answers");
    assert_eq!(first.trim_end(), "+OK", "the server lets the default user monitor it");
    std::thread::spawn(move || {
        let mut line = String::new();
        while matches!(lines.read_line(&mut line), Ok(length) if length > 0) {
            check(&line);
            line.clear();
        }
    });
}

fn check(line: &str) {
    match judge(line) {
        Ok(searches) => drop(RECORDED.fetch_add(u64::from(searches), Ordering::SeqCst)),
        Err(fault) => {
            eprintln!("a search command is outside of the safe subset: {fault}\n{line}");
            std::process::exit(101);
        }
    }
}

/// Returns whether a line is a search command within the safe subset. A line that can't be read is a fault, if it may be one.
fn judge(line: &str) -> Result<bool, String> {
    let Some(words) = words(line) else {
        let search = line.to_ascii_uppercase().contains("\"FT.");
        return if search { Err("it can't be read".to_owned()) } else { Ok(false) };
    };
    let search = words.first().is_some_and(|word| ft::is_search(word));
    if search { ft::check(&words).map(|()| true) } else { Ok(false) }
}

/// Arguments in a line of MONITOR: `+<time> [<db> <address>] "FT.SEARCH" "x" …`, with escapes as in C.
fn words(line: &str) -> Option<Vec<String>> {
    let mut rest = line.split_once("] ")?.1.trim_end().as_bytes();
    let mut words = Vec::new();
    while let Some((&b'"', text)) = rest.split_first() {
        let (word, after) = quoted(text)?;
        words.push(String::from_utf8_lossy(&word).into_owned());
        rest = after.strip_prefix(b" ").unwrap_or(after);
    }
    rest.is_empty().then_some(words)
}

/// Bytes up to the closing quote, and what follows it.
fn quoted(mut text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    loop {
        match text {
            [b'"', rest @ ..] => return Some((word, rest)),
            [b'\\', b'x', high, low, rest @ ..] => {
                let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                word.push(digit(*high)? * 16 + digit(*low)?);
                text = rest;
            }
            [b'\\', byte, rest @ ..] => {
                word.push(match byte {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'a' => 7,
                    b'b' => 8,
                    other => *other,
                });
                text = rest;
            }
            [byte, rest @ ..] => {
                word.push(*byte);
                text = rest;
            }
            [] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_of_the_monitor_is_read() {
        let line = "+1700000000.1 [0 127.0.0.1:5] \"FT.SEARCH\" \"a\\\"b\\\\\" \"\\xc3\\xa9\\n\" \"\"\r\n";
        let expected = ["FT.SEARCH", "a\"b\\", "\u{e9}\n", ""].map(str::to_owned);
        assert_eq!(words(line), Some(expected.to_vec()));
        assert_eq!(words("+OK"), None);
    }

    #[test]
    fn search_command_that_cannot_be_read_is_a_fault() {
        let line = |command: &str| format!("+1700000000.1 [0 127.0.0.1:5] {command}\r\n");
        assert_eq!(judge(&line(r#""FT._LIST""#)), Ok(true));
        assert_eq!(judge(&line(r#""GET" "ft.search""#)), Ok(false));
        assert_eq!(judge(&line(r#""GET" "x"#)), Ok(false));
        for fault in [r#""FT.AGGREGATE" "x" "q""#, r#""FT._LIST" x"#, r#""ft.search" "x"#, r#""FT.SEARCH" "\x4"#] {
            assert!(judge(&line(fault)).is_err(), "{fault}");
        }
    }
}
