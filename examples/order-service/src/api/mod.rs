//! The HTTP face of the service.

mod dashboard;
mod extract;
mod health;
mod orders;
mod problem;
mod services;
mod stream;
mod submit;
mod view;

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, http::HeaderName};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::CorsLayer;

pub use self::problem::Problem;
use crate::app::App;

/// How long a request may take, streams apart.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// All routes.
pub fn router(app: Arc<App>) -> Router {
    let answers = Router::new()
        .route("/api/orders", post(submit::submit).get(orders::list))
        .route("/api/orders/{id}", get(orders::one))
        .route("/api/orders/{id}/status", get(orders::status))
        .route("/api/orders/{id}/events", get(orders::events))
        .route("/api/orders/{id}/cancel", post(orders::cancel))
        .route("/health", get(health::health))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/startupz", get(health::started))
        .route("/api/services/health", get(services::health))
        .route("/api/services/{service}/recover", post(services::recover))
        .route("/", get(dashboard::page))
        .route("/dashboard.js", get(dashboard::script))
        .route("/dashboard.css", get(dashboard::style));
    let answers = if app.config.metrics_bind.is_none() {
        answers.route("/metrics", get(metrics))
    } else {
        answers
    };
    let answers = answers.layer(middleware::from_fn(time_limit));
    let streams = Router::new()
        .route("/api/orders/{id}/stream", get(stream::order))
        .route("/api/events/stream", get(stream::all));
    answers
        .merge(streams)
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(tower::util::option_layer(cors(&app)))
        .layer(middleware::from_fn(problem::name_instance))
        .layer(middleware::from_fn(observe))
        .with_state(app)
}

/// Only `/metrics`, for a listener of its own.
pub fn metrics_router(app: Arc<App>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .with_state(app)
}

async fn nothing_here(request: Request) -> Problem {
    Problem::not_found("there is nothing at this path").at(request.uri().path())
}

async fn wrong_method(request: Request) -> Problem {
    let method = request.method();
    Problem::method_not_allowed(format!(
        "{method} is not possible here; see the Allow header"
    ))
    .at(request.uri().path())
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature is the layer's"
)]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("unknown");
    tracing::error!(panic = text, "a request handler panicked");
    Problem::internal("the request could not be handled; the cause is in the service's log")
        .into_response()
}

async fn time_limit(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable("the request took longer than 30 seconds")
            .retry_after(5)
            .into_response(),
    }
}

/// None by default: then browsers keep other sites' pages out.
fn cors(app: &App) -> Option<CorsLayer> {
    if app.config.cors_origins.is_empty() {
        return None;
    }
    let origins = app
        .config
        .cors_origins
        .iter()
        .filter_map(|origin| HeaderValue::from_str(origin).ok())
        .collect::<Vec<_>>();
    let layer = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_NONE_MATCH,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("last-event-id"),
        ])
        .expose_headers([header::ETAG, header::LOCATION, header::RETRY_AFTER])
        .max_age(Duration::from_secs(600));
    Some(layer)
}

/// Counts and times requests by their route's template, so that ids do not become labels.
async fn observe(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().as_str().to_owned();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("none", MatchedPath::as_str)
        .to_owned();
    let response = next.run(request).await;
    let status = response.status().as_str().to_owned();
    let labels = [("method", method), ("route", route), ("status", status)];
    metrics::counter!("http_requests_total", &labels).increment(1);
    metrics::histogram!("http_request_duration_seconds", &labels)
        .record(began.elapsed().as_secs_f64());
    response
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    app.measure().await;
    let content_type = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    (content_type, app.metrics.render()).into_response()
}
