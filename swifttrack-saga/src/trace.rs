//! Traces that go on after a restart.

use tracing::Span;

/// Carries the context of a trace through the journal.
///
/// The engine makes a span `saga` for each time that a saga is in memory (fields `saga`,
/// `definition`, `version`, `id`) and, inside it, a span `attempt` for each attempt (`step`,
/// `attempt`, `undo`), in which the step's code runs. With a link, the context of whoever started
/// the saga is kept beside its input, and every span of the saga is tied to it, in whichever
/// process and however long afterwards.
///
/// # Examples
///
/// With `tracing-opentelemetry`, where [`capture`](Self::capture) is called in the starter's span:
///
/// ```text
/// impl TraceLink for W3c {
///     fn capture(&self) -> Option<String> {
///         let mut headers = HashMap::new();
///         TraceContextPropagator::new().inject_context(&Span::current().context(), &mut headers);
///         headers.remove("traceparent")
///     }
///
///     fn link(&self, span: &Span, context: &str) {
///         let headers = HashMap::from([("traceparent".to_owned(), context.to_owned())]);
///         let starter = TraceContextPropagator::new().extract(&headers);
///         span.add_link(starter.span().span_context().clone());
///     }
/// }
/// ```
pub trait TraceLink: Send + Sync + 'static {
    /// The context of the current span, as text, such as a `traceparent`; none if it has none.
    fn capture(&self) -> Option<String>;

    /// Ties a span that has just been made to a context that was captured before.
    fn link(&self, span: &Span, context: &str);
}
