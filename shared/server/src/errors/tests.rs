use tonic_types::StatusExt as _;

use super::*;

#[derive(Debug, thiserror::Error)]
enum Sample {
    #[error("2 fields break their rules")]
    Invalid(Vec<Violation>),
    #[error("the limit of 10 calls a second is used up")]
    Limited,
}

impl ServiceError for Sample {
    fn code(&self) -> Code {
        match self {
            Sample::Invalid(_) => Code::InvalidArgument,
            Sample::Limited => Code::ResourceExhausted,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Sample::Invalid(_) => "INVALID_FIELDS",
            Sample::Limited => "RATE_LIMITED",
        }
    }

    fn violations(&self) -> &[Violation] {
        match self {
            Sample::Invalid(violations) => violations,
            Sample::Limited => &[],
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        matches!(self, Sample::Limited).then_some(Duration::from_millis(100))
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        vec![("limit", "10".to_owned())]
    }

    fn quota(&self) -> Option<(String, String)> {
        matches!(self, Sample::Limited).then(|| ("tenant:acme".to_owned(), "10 calls a second".to_owned()))
    }
}

#[test]
fn every_violation_arrives() {
    let violations = vec![Violation::new("session.ttl", "too long"), Violation::new("parent", "required")];
    let details = status(Sample::Invalid(violations)).get_error_details();
    let fields: Vec<_> =
        details.bad_request().unwrap().field_violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["session.ttl", "parent"]);
    let info = details.error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("INVALID_FIELDS", DOMAIN));
    assert!(details.retry_info().is_none());
}

#[test]
fn a_limit_tells_whose_it_is_and_when_to_come_back() {
    let status = status(Sample::Limited);
    let details = status.get_error_details();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_millis(100)));
    assert_eq!(details.quota_failure().unwrap().violations[0].subject, "tenant:acme");
    assert_eq!(details.error_info().unwrap().metadata["limit"], "10");
}
