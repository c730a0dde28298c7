use fred::error::{Error as FredError, ErrorKind as FredKind};

use super::*;

fn answered(details: &str) -> Error {
    Error::from_failure(&Failure::Answered(details.into()), "session.patch", true)
}

#[test]
fn server_errors_are_classified_by_code() {
    for (details, kind, retryable) in [
        ("OOM command not allowed when used memory > 'maxmemory'.", ErrorKind::Overloaded, true),
        ("LOADING Redis is loading the dataset in memory", ErrorKind::Unavailable, true),
        ("READONLY You can't write against a read only replica.", ErrorKind::Unavailable, true),
        ("REDIRECT 127.0.0.1:7001", ErrorKind::Unavailable, true),
        (
            "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
            ErrorKind::Unavailable,
            true,
        ),
        ("MASTERDOWN Link with MASTER is down", ErrorKind::Unavailable, true),
        ("TRYAGAIN Multiple keys request during rehashing of slot", ErrorKind::Unavailable, true),
        ("BUSY Redis is busy running a script.", ErrorKind::Unavailable, true),
        ("MISCONF Errors writing to the AOF file: No space left on device", ErrorKind::Unavailable, true),
        ("NOPERM User app has no permissions to run the 'get' command", ErrorKind::Denied, false),
        ("ERR ACL failure in script: User app has no permissions to run the 'keys' command", ErrorKind::Denied, false),
        ("WRONGPASS invalid username-password pair or user is disabled.", ErrorKind::Denied, false),
        ("ERR unknown command 'FT.SEARCH', with args beginning with: 'secret'", ErrorKind::FeatureMissing, false),
        (
            "ERR Unknown Redis command called from script script: ab, on @user_script:1.",
            ErrorKind::FeatureMissing,
            false,
        ),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", ErrorKind::Script, false),
        ("ERR value is not an integer or out of range", ErrorKind::Script, false),
        ("CROSSSLOT Keys in request don't hash to the same slot", ErrorKind::Script, false),
    ] {
        let error = answered(details);
        assert_eq!((error.kind(), error.retryable(), error.outcome_unknown()), (kind, retryable, false), "{details}");
        assert_eq!(error.code(), details.split(' ').next());
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn server_error_without_a_code_is_an_answer() {
    for details in ["Invalid argument(s)", "Unknown field at offset 3", "x", ""] {
        let error = answered(details);
        assert_eq!((error.kind(), error.retryable(), error.outcome_unknown()), (ErrorKind::Script, false, false));
        assert_eq!(
            (error.code(), error.to_string().as_str()),
            (None, "session.patch: the store rejected the command (no code)")
        );
    }
}

#[test]
fn script_error_has_the_line_and_no_text_of_the_script() {
    let error = answered("ERR user_script:12: Script attempted 'secret' script: 4fa1, on @user_script:12.");
    assert_eq!(error.to_string(), "session.patch: the script failed on the store in line 12 (ERR)");
}

#[test]
fn outcome_is_unknown_only_if_the_command_may_have_been_sent() {
    for (kind, details, expected, unknown) in [
        (FredKind::Timeout, "Request timed out.", ErrorKind::Timeout, true),
        (FredKind::IO, "Connection closed.", ErrorKind::Unavailable, true),
        (FredKind::Unknown, "channel closed", ErrorKind::Unavailable, true),
        (FredKind::Unknown, "Too many failed write attempts.", ErrorKind::Unavailable, true),
        (FredKind::Cluster, "CLUSTERDOWN The cluster is down", ErrorKind::Unavailable, true),
        (FredKind::Backpressure, "Max in-flight commands reached.", ErrorKind::Overloaded, false),
        (FredKind::Canceled, "Connection closed unexpectedly.", ErrorKind::Unavailable, true),
        (FredKind::Unknown, "Failed to route command.", ErrorKind::Unavailable, false),
    ] {
        let failure = Failure::from_fred(FredError::new(kind, details.to_owned()));
        let write = Error::from_failure(&failure, "session.patch", true);
        assert_eq!((write.kind(), write.outcome_unknown()), (expected, unknown), "{details}");
        assert!(!Error::from_failure(&failure, "HGETALL", false).outcome_unknown(), "a read has no outcome: {details}");
    }
}

#[test]
fn search_errors_are_classified_by_the_words_of_each_engine() {
    let searched = |details: &str| Error::from_failure(&Failure::Answered(details.into()), "FT.SEARCH", false);
    for (details, kind) in [
        ("my-index: no such index", ErrorKind::IndexMissing),
        ("Unknown index name", ErrorKind::IndexMissing),
        ("Index with name 'x' not found in database 0", ErrorKind::IndexMissing),
        ("Index already exists", ErrorKind::IndexExists),
        ("Index x in database 0 already exists.", ErrorKind::IndexExists),
        ("Timeout limit was reached", ErrorKind::Timeout),
        ("Search operation cancelled due to timeout", ErrorKind::Timeout),
        ("Search failed: OOM", ErrorKind::Overloaded),
        ("OOM command not allowed when used memory > 'maxmemory'.", ErrorKind::Overloaded),
        ("ERR unknown command 'FT.SEARCH', with args beginning with: 'x'", ErrorKind::FeatureMissing),
        ("Unknown field `room`", ErrorKind::Script),
        ("Syntax error at offset 3 near bloom", ErrorKind::Script),
    ] {
        assert_eq!(searched(details).kind(), kind, "{details}");
    }
}

#[test]
fn words_of_a_search_engine_mean_nothing_in_another_error() {
    for details in ["my-index: no such index", "Index already exists", "no room left", "the work is out of memory"] {
        assert_eq!(answered(details).kind(), ErrorKind::Script, "{details}");
    }
}
