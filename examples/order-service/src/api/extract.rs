//! Parts of a request's path and query, with problems of ours when they cannot be read.

use std::collections::BTreeMap;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use url::form_urlencoded;

use super::problem::Problem;
use crate::order::{Violation, is_identifier};

/// The one parameter of the path. What cannot be text is nowhere.
#[derive(Clone, Debug)]
pub(super) struct Segment(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(segment)) => Ok(Self(segment)),
            Err(_) => Err(Problem::not_found("there is nothing at this path")),
        }
    }
}

/// The id of an order that may exist. Any other is not looked for, since a database cannot even
/// be asked for every text.
#[derive(Clone, Debug)]
pub(super) struct OrderId(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for OrderId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Segment::from_request_parts(parts, state).await {
            Ok(Segment(id)) if is_identifier(&id) => Ok(Self(id)),
            _ => Err(Problem::not_found("there is no such order")),
        }
    }
}

/// The query's parameters, each of which stands once.
#[derive(Clone, Debug)]
pub(super) struct Parameters(pub(super) BTreeMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let mut parameters = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if parameters.contains_key(&*name) {
                return Err(invalid_query(vec![Violation {
                    pointer: format!("?{name}"),
                    detail: "must stand once".to_owned(),
                }]));
            }
            parameters.insert(name.into_owned(), value.into_owned());
        }
        Ok(Self(parameters))
    }
}

/// A query that breaks rules.
pub(super) fn invalid_query(errors: Vec<Violation>) -> Problem {
    Problem::invalid("the query breaks the rules that are listed in errors").with_errors(errors)
}
