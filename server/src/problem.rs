//! Problems as callers see them: RFC 9457 `application/problem+json`, with the field that is wrong. They never hold
//! the value that was sent.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What kind of problem, as a URN.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words; the same for all problems of the kind.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong this time, and what is expected.
    pub detail: String,
    /// The field that is wrong, as a path into the body (`context.segment`, `[3].item`); left out if none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl Problem {
    fn new(status: StatusCode, kind: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:fairway:problem:{kind}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            field: None,
        }
    }

    /// 400: a field has a value that is not allowed.
    pub fn field(field: &str, detail: impl Into<String>) -> Self {
        let mut problem = Self::new(StatusCode::BAD_REQUEST, "invalid-field", "a field is not valid", detail);
        problem.field = Some(field.to_owned());
        problem
    }

    /// 400: the body is not JSON.
    pub fn not_json(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "not-json", "the body is not JSON", detail)
    }

    /// 401: the right token was not shown.
    pub fn unauthorized() -> Self {
        let detail = "send the header `authorization: Bearer` with the token of the router's admin file";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "not allowed", detail)
    }

    /// 404: nothing is there.
    pub fn not_found() -> Self {
        let detail = "there are POST /v1/recommend, POST /v1/events, GET /healthz and GET /readyz";
        Self::new(StatusCode::NOT_FOUND, "not-found", "no such path", detail)
    }

    /// 405: the path takes another method.
    pub fn method() -> Self {
        let detail = "the allowed methods are in the header `allow`";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", "method not allowed", detail)
    }

    /// 408: the body did not arrive in time. The connection is closed: the rest of it may come yet.
    pub fn slow_body() -> Self {
        let detail = "the whole request must arrive within 2 seconds";
        Self::new(StatusCode::REQUEST_TIMEOUT, "slow-body", "the request took too long", detail)
    }

    /// 413: the body is too long.
    pub fn too_long(limit: usize) -> Self {
        let detail = format!("the body may hold {limit} bytes; send less at once");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-long", "the body is too long", detail)
    }

    /// 415: the body is not declared as JSON.
    pub fn media_type() -> Self {
        let detail = "send the header `content-type: application/json`";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "the content type is not JSON", detail)
    }

    /// 500: a fault of the router itself.
    pub fn fault() -> Self {
        let detail = "the fault is in the log; try again";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "fault", "the router failed", detail)
    }

    /// 503: too many requests at once, and no cheaper answer exists.
    pub fn overloaded() -> Self {
        let detail = "too many requests at once; send them again after the time in `retry-after`";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "overloaded", detail)
    }

    /// The same problem of a part of the body: `path` is put before the field.
    #[must_use]
    pub fn within(mut self, path: &str) -> Self {
        self.field = self.field.map(|field| format!("{path}.{field}"));
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // A struct of strings and a number always serializes.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status == StatusCode::REQUEST_TIMEOUT {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
