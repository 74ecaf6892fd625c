//! Reading a request's body: bounded, declared as JSON, and parsed with the path of what is wrong.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::Problem;

/// The body, if it is declared as JSON and not longer than `limit` bytes.
pub(crate) async fn read(request: Request<Body>, limit: usize) -> Result<Bytes, Problem> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    if !content_type.is_some_and(|value| is_json(value.as_bytes())) {
        return Err(Problem::media_type());
    }
    collect(request, limit).await
}

/// As [`read`], if it comes whole within a time.
pub(crate) async fn read_within(time: Duration, request: Request<Body>, limit: usize) -> Result<Bytes, Problem> {
    tokio::time::timeout(time, read(request, limit)).await.unwrap_or_else(|_| Err(Problem::slow_body()))
}

/// The body, whatever it is declared as, if it is not longer than `limit` bytes.
pub(crate) async fn collect(request: Request<Body>, limit: usize) -> Result<Bytes, Problem> {
    // What says that it is too long need not be read.
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit as u64) {
        return Err(Problem::too_long(limit));
    }
    match Limited::new(request.into_body(), limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::too_long(limit)),
        Err(_) => Err(Problem::not_json("the body broke off")),
    }
}

/// `application/json` or `…+json`, with any parameters, in any case.
fn is_json(value: &[u8]) -> bool {
    let essence = value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let essence = essence.to_ascii_lowercase();
    essence == b"application/json" || (essence.starts_with(b"application/") && essence.ends_with(b"+json"))
}

/// Parses JSON. What does not fit names the field.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if inner.is_data() { misfit(&path, &inner) } else { Problem::not_json(place(&inner)) }
    })?;
    json.end().map_err(|error| Problem::not_json(place(&error)))?;
    Ok(value)
}

/// Only where it breaks: the parser's words could repeat what was sent.
fn place(error: &serde_json::Error) -> String {
    format!("it breaks at line {}, column {}", error.line(), error.column())
}

fn misfit(path: &str, error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    // A missing or doubled field is not on the path yet, but it is in the message and is one of ours.
    for (start, detail) in [("missing field `", "is missing"), ("duplicate field `", "stands twice")] {
        let name = text.strip_prefix(start).and_then(|rest| rest.split('`').next());
        if let Some(name) = name {
            return Problem::field(&joined(path, name), detail);
        }
    }
    if text.starts_with("unknown field `") {
        return Problem::field(path, "is not a field here");
    }
    let expected = text.split(", expected ").nth(1).and_then(|rest| rest.split(" at line ").next());
    let expected = expected.unwrap_or("another value");
    Problem::field(path, format!("does not fit: expected {expected}"))
}

fn joined(path: &str, name: &str) -> String {
    if path == "." { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use fairway_wire::{Event, RecommendRequest};

    use super::*;

    fn field<T: DeserializeOwned>(body: &str) -> (Option<String>, String) {
        let problem = parse::<T>(body.as_bytes()).err().unwrap();
        (problem.field, problem.detail)
    }

    #[test]
    fn the_field_is_named_and_the_value_is_not() {
        let table = [
            (r#"{"k":3}"#, "user", "is missing"),
            (r#"{"user":7}"#, "user", "does not fit: expected a string"),
            (r#"{"user":"a","k":"secret"}"#, "k", "does not fit: expected usize"),
            (r#"{"user":"a","k":-3}"#, "k", "does not fit: expected usize"),
            (r#"{"user":"a","user":"b"}"#, "user", "stands twice"),
            (r#"{"user":"a","context":{"personalize":0}}"#, "context.personalize", "does not fit: expected a boolean"),
            (r#"{"user":"a","context":{"colour":0}}"#, "context.colour", "is not a field here"),
            (r#"{"user":"a","exclude":["x",2]}"#, "exclude[1]", "does not fit: expected a string"),
        ];
        for (body, name, detail) in table {
            assert_eq!(field::<RecommendRequest>(body), (Some(name.into()), detail.into()), "{body}");
        }
        let body = r#"[{"user":"a","item":"b","kind":"stolen"}]"#;
        let (name, detail) = field::<Vec<Event>>(body);
        assert_eq!(name.as_deref(), Some("[0].kind"));
        assert!(detail.contains("`purchase`") && !detail.contains("stolen"), "{detail}");
        let body = r#"[{"user":"a","kind":"view"}]"#;
        assert_eq!(field::<Vec<Event>>(body).0.as_deref(), Some("[0].item"));
    }

    #[test]
    fn what_is_not_json_says_where() {
        let deep = "[".repeat(100_000);
        for body in ["", "{", "{\"user\":\"a\"} x", "{\"user\":\"\u{1}\"}", "{\"user\":NaN}", &deep] {
            let (name, detail) = field::<RecommendRequest>(body);
            assert!(detail.starts_with("it breaks at line 1") || name.is_some(), "{body:.20}: {detail}");
        }
        assert!(parse::<RecommendRequest>(b"{\"user\":\"\xff\"}").is_err());
    }

    #[test]
    fn json_by_its_media_type() {
        for yes in ["application/json", "Application/JSON; charset=utf-8", "application/vnd.x+json"] {
            assert!(is_json(yes.as_bytes()), "{yes}");
        }
        for no in ["", "text/json", "text/plain", "application/jsonx", "application/x-www-form-urlencoded"] {
            assert!(!is_json(no.as_bytes()), "{no}");
        }
    }
}
