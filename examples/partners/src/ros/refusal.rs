//! How it says no.

use bytes::Bytes;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::{Response, StatusCode};

use crate::ledger::Refused;
use crate::problem::Problem;

pub(super) fn refusal(refused: Refused<&'static str>) -> Response<Bytes> {
    problem(match refused {
        Refused::KeyReused => "KEY_REUSED",
        Refused::Cancelled => "CANCELLED",
        Refused::Business(code) => code,
        Refused::Busy => "BUSY",
        Refused::Lost => "INTERNAL",
    })
}

pub(super) fn malformed(detail: &str) -> Response<Bytes> {
    Problem::new(StatusCode::BAD_REQUEST, "MALFORMED", detail)
        .class("REJECTED")
        .response()
}

pub(super) fn problem(code: &str) -> Response<Bytes> {
    let (status, code, class, detail) = match code {
        "MISSING_DELIVERY_ADDRESSES" => (
            StatusCode::BAD_REQUEST,
            "MISSING_DELIVERY_ADDRESSES",
            "REJECTED",
            "an order goes to at least one address",
        ),
        "UNKNOWN_ZONE" => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "UNKNOWN_ZONE",
            "REJECTED",
            "an address lies where nothing is delivered",
        ),
        "KEY_REUSED" => (
            StatusCode::CONFLICT,
            "KEY_REUSED",
            "REJECTED",
            "the key or the order was used with another body",
        ),
        "CANCELLED" => (
            StatusCode::GONE,
            "CANCELLED",
            "REJECTED",
            "the order was cancelled",
        ),
        "NOT_FOUND" => (
            StatusCode::NOT_FOUND,
            "NOT_FOUND",
            "REJECTED",
            "the order has no route",
        ),
        "MALFORMED" => (
            StatusCode::BAD_REQUEST,
            "MALFORMED",
            "REJECTED",
            "the request cannot be read",
        ),
        "UNAUTHORIZED" => (
            StatusCode::UNAUTHORIZED,
            "UNAUTHORIZED",
            "NOT_APPLIED",
            "the bearer token is missing or wrong",
        ),
        "NO_AVAILABLE_VEHICLES" => (
            StatusCode::SERVICE_UNAVAILABLE,
            "NO_AVAILABLE_VEHICLES",
            "NOT_APPLIED",
            "all vehicles are on the road",
        ),
        "BUSY" => (
            StatusCode::TOO_MANY_REQUESTS,
            "BUSY",
            "NOT_APPLIED",
            "nothing was done, ask again",
        ),
        _ => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "INTERNAL",
            "UNKNOWN",
            "whether it was done is not known",
        ),
    };
    let mut problem = Problem::new(status, code, detail).class(class);
    if matches!(code, "NO_AVAILABLE_VEHICLES" | "BUSY") {
        problem = problem.retry_after_s(1);
    }
    let mut response = problem.response();
    if code == "UNAUTHORIZED" {
        let bearer = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(WWW_AUTHENTICATE, bearer);
    }
    response
}
