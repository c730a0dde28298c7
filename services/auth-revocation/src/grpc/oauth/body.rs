//! Body of an RFC 7009 request: a form, or its parameters as JSON.

use keyplane_contracts::Violation;
use keyplane_contracts::google::api::HttpBody;
use serde::Deserialize;
use url::form_urlencoded;

/// Largest body, in bytes.
const LARGEST: usize = 16 * 1024;

/// Parameters of the request. Others are ignored, as the RFC asks.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Parameters {
    /// Token to revoke.
    #[serde(default)]
    pub(super) token: String,
    /// Type of the token, as the caller believes.
    #[serde(default)]
    pub(super) token_type_hint: String,
}

/// Reads the parameters in `body`. A repeated parameter is rejected: two readers of such a body may see two tokens.
pub(super) fn read(body: &HttpBody) -> Result<Parameters, Violation> {
    let sent = body.data.len();
    if sent > LARGEST {
        return Err(Violation::new("body", format!("must have at most {LARGEST} bytes; {sent} were sent")));
    }
    let media_type = body.content_type.split(';').next().unwrap_or_default().trim();
    let parameters = if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        form(&body.data)?
    } else if media_type.eq_ignore_ascii_case("application/json") {
        json(&body.data)?
    } else {
        let rule = "must be application/x-www-form-urlencoded or application/json";
        return Err(Violation::new("body.content_type", rule));
    };
    if parameters.token.is_empty() {
        return Err(Violation::new("body.token", "must be set"));
    }
    Ok(parameters)
}

fn form(data: &[u8]) -> Result<Parameters, Violation> {
    let (mut token, mut hint) = (None, None);
    for (name, value) in form_urlencoded::parse(data) {
        let (slot, field) = match &*name {
            "token" => (&mut token, "body.token"),
            "token_type_hint" => (&mut hint, "body.token_type_hint"),
            _ => continue,
        };
        if slot.replace(value.into_owned()).is_some() {
            return Err(Violation::new(field, "must be sent once"));
        }
    }
    Ok(Parameters { token: token.unwrap_or_default(), token_type_hint: hint.unwrap_or_default() })
}

fn json(data: &[u8]) -> Result<Parameters, Violation> {
    // Messages of serde may hold a part of the token.
    let rule = "must be a JSON object whose `token` and `token_type_hint` are texts, each sent once at most";
    serde_json::from_slice(data).map_err(|_| Violation::new("body", rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "application/x-www-form-urlencoded";
    const JSON: &str = "application/json";

    fn parse(content_type: &str, data: &str) -> Result<(String, String), String> {
        let data = bytes::Bytes::copy_from_slice(data.as_bytes());
        let body = HttpBody { content_type: content_type.to_owned(), data };
        read(&body)
            .map(|parameters| (parameters.token, parameters.token_type_hint))
            .map_err(|violation| violation.field)
    }

    #[test]
    fn a_form_and_json_are_equivalent() {
        let both = Ok(("a.b.c".to_owned(), "access_token".to_owned()));
        assert_eq!(parse(FORM, "token=a.b.c&token_type_hint=access_token&client_id=x&client_id=y"), both);
        assert_eq!(
            parse("application/json; charset=utf-8", r#"{"token":"a.b.c","token_type_hint":"access_token","x":1}"#),
            both
        );
        assert_eq!(parse("Application/X-WWW-Form-Urlencoded", "token=a%2Eb.c"), Ok(("a.b.c".into(), String::new())));
    }

    #[test]
    fn the_violated_field_is_named() {
        assert_eq!(parse(FORM, ""), Err("body.token".to_owned()));
        assert_eq!(parse(FORM, "token=&x=1"), Err("body.token".to_owned()));
        assert_eq!(parse(JSON, "{}"), Err("body.token".to_owned()));
        assert_eq!(parse(FORM, "token=a&token=b"), Err("body.token".to_owned()));
        assert_eq!(parse(FORM, "token=a&token_type_hint=x&token_type_hint=x"), Err("body.token_type_hint".to_owned()));
        assert_eq!(parse(JSON, r#"{"token":"a","token":"b"}"#), Err("body".to_owned()));
        assert_eq!(parse(JSON, r#"{"token":7}"#), Err("body".to_owned()));
        assert_eq!(parse(JSON, "token=a"), Err("body".to_owned()));
        assert_eq!(parse("", "token=a"), Err("body.content_type".to_owned()));
        assert_eq!(parse("text/plain", "token=a"), Err("body.content_type".to_owned()));
        assert_eq!(parse(FORM, &format!("token={}", "x".repeat(LARGEST))), Err("body".to_owned()));
    }
}
