//! Classes of failures: an error of the server by its code, a missing answer by the client library's reason.

use std::borrow::Cow;

use super::ErrorKind;
use crate::failure::Failure;

/// Class of one failure.
pub(super) struct Class {
    pub(super) kind: ErrorKind,
    pub(super) message: Cow<'static, str>,
    /// True if the command may have run.
    pub(super) maybe_ran: bool,
}

/// Class of the failure of `operation`, a command or a script's name.
pub(super) fn classify(failure: &Failure, operation: &str) -> Class {
    match failure {
        Failure::Answered(details) => {
            let code = failure.code().unwrap_or("no code");
            let (kind, message) = answered(code, details, operation);
            // fred gives the CLUSTERDOWN of one command to all that were in flight beside it.
            Class { kind, message, maybe_ran: code == "CLUSTERDOWN" }
        }
        Failure::Unanswered(error) => unanswered(error),
    }
}

/// Class of an error that the server answered.
fn answered(code: &str, details: &str, operation: &str) -> (ErrorKind, Cow<'static, str>) {
    use ErrorKind::{Denied, FeatureMissing, Overloaded, Script, Unavailable};
    let (kind, message) = match code {
        "OOM" => (Overloaded, "the store is out of memory (OOM); free some or give it more"),
        "LOADING" => (Unavailable, "the store is still loading its data (LOADING)"),
        "CLUSTERDOWN" => (Unavailable, "the store's cluster is down (CLUSTERDOWN)"),
        "MASTERDOWN" => (Unavailable, "the store's primary is down (MASTERDOWN)"),
        "READONLY" => (Unavailable, "the store answered as a replica (READONLY); a failover is likely"),
        "TRYAGAIN" | "MOVED" | "ASK" => {
            return (Unavailable, format!("the store's cluster is moving this key ({code})").into());
        }
        "REDIRECT" => (Unavailable, "the store answered as a replica (REDIRECT); a failover is likely"),
        "UNBLOCKED" => (Unavailable, "the store's role changed while a read waited (UNBLOCKED); a failover is likely"),
        "BUSY" => (Unavailable, "the store is busy with a slow script (BUSY)"),
        "MISCONF" => (Unavailable, "the store can't save its data and takes no writes (MISCONF); is its disk full"),
        "NOREPLICAS" => (Unavailable, "the store has too few replicas for a write (NOREPLICAS)"),
        "NOSCRIPT" => (Unavailable, "the store lost the script again right after it was loaded"),
        "NOPERM" => (Denied, "the store's ACL forbids this command or key (NOPERM)"),
        "NOAUTH" | "WRONGPASS" => {
            return (Denied, format!("the store rejected the user or password ({code})").into());
        }
        // NOPERM, in the words of a script's error.
        "ERR" if details.contains("ACL failure in script") => {
            (Denied, "the store's ACL forbids a command or key that the script uses")
        }
        "ERR" if is_unknown_command(details) => (FeatureMissing, "the store's engine does not know this command"),
        "ERR" if details.contains("max number of clients") => {
            (Overloaded, "the store has reached its limit of connections")
        }
        _ => {
            let search = Some(details).filter(|_| operation.starts_with("FT."));
            return search.and_then(search_index).unwrap_or_else(|| (Script, rejected(code, details).into()));
        }
    };
    (kind, message.into())
}

/// Class of a search command's error about its index. The engines' texts differ, and mostly have no code.
fn search_index(details: &str) -> Option<(ErrorKind, Cow<'static, str>)> {
    let details = details.to_ascii_lowercase();
    let has = |texts: &[&str]| texts.iter().any(|text| details.contains(text));
    if has(&["no such index", "unknown index", "not found in database"]) {
        Some((ErrorKind::IndexMissing, Cow::Borrowed("the search index does not exist")))
    } else if has(&["already exists"]) && has(&["index"]) {
        Some((ErrorKind::IndexExists, Cow::Borrowed("a search index of this name exists")))
    } else if has(&["cancelled due to timeout", "timeout limit was reached"]) {
        Some((ErrorKind::Timeout, Cow::Borrowed("the search took longer than its timeout; the engine cancelled it")))
    } else if has(&["out of memory"]) || details.split(|char: char| !char.is_alphanumeric()).any(|word| word == "oom") {
        Some((ErrorKind::Overloaded, Cow::Borrowed("the store is out of memory; free some or give it more")))
    } else {
        None
    }
}

/// Reports whether the engine lacks the command. The server words it differently for scripts.
fn is_unknown_command(details: &str) -> bool {
    let details = details.to_ascii_lowercase();
    details.contains("unknown command")
        || details.contains("unknown subcommand")
        || details.contains("unknown redis command")
        || details.contains("unknown valkey command")
}

/// Code and script line alone: the server's text may quote arguments.
fn rejected(code: &str, details: &str) -> String {
    let line = details
        .split("user_script:")
        .nth(1)
        .map(|rest| rest.bytes().take_while(u8::is_ascii_digit).map(char::from).collect::<String>());
    match line {
        Some(line) if !line.is_empty() => format!("the script failed on the store in line {line} ({code})"),
        Some(_) | None => format!("the store rejected the command ({code})"),
    }
}

/// Class of a failure without an answer.
fn unanswered(error: &fred::error::Error) -> Class {
    use fred::error::ErrorKind as Fred;
    let broke = "the connection to the store broke before it answered";
    let unsent = "no connection to the store could take the command";
    let (kind, maybe_ran, message) = match (error.kind(), error.details()) {
        (Fred::Timeout, _) => (ErrorKind::Timeout, true, "the store did not answer in time"),
        (Fred::Backpressure, _) => (ErrorKind::Overloaded, false, "too many commands wait for the store (queue_limit)"),
        (Fred::Canceled | Fred::Routing | Fred::Cluster, _)
        | (
            Fred::Unknown,
            "Failed to route command." | "Client is not initialized." | "Failed to send command to router.",
        ) => (ErrorKind::Unavailable, false, unsent),
        (Fred::Parse | Fred::NotFound, _) => (ErrorKind::Decode, false, "the reply lacks the expected form"),
        (Fred::InvalidArgument | Fred::InvalidCommand, _) => (ErrorKind::Script, false, "the command can't be encoded"),
        (Fred::Auth, _) => (ErrorKind::Denied, false, "the store rejected the user or password"),
        (Fred::IO | Fred::Unknown | Fred::Protocol | Fred::Tls | Fred::Sentinel | Fred::Config | Fred::Url, _) => {
            (ErrorKind::Unavailable, true, broke)
        }
    };
    Class { kind, message: message.into(), maybe_ran }
}
