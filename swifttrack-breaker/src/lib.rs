//! Tower layers: circuit breaker, retry with backoff and a budget, and what belongs beside them.
