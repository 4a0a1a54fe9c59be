//! Problem details and `Retry-After` are read without a panic, and never too hopefully.

use std::time::SystemTime;

use http::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};
use swifttrack_adapters::http::retry_after;
use swifttrack_adapters::rest::Problem;

/// Takes the first two lines for headers and the rest for the body.
pub(super) fn run(data: &[u8]) {
    let mut parts = data.splitn(3, |&byte| byte == b'\n');
    let mut headers = HeaderMap::new();
    for name in [RETRY_AFTER, DATE] {
        if let Ok(value) = HeaderValue::from_bytes(parts.next().unwrap_or_default()) {
            headers.insert(name, value);
        }
    }
    let _ = retry_after(&headers, SystemTime::UNIX_EPOCH);

    let body = parts.next().unwrap_or_default();
    assert_eq!(Problem::of(&headers, body), None, "without its media type");
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(Problem::MEDIA_TYPE));
    let problem = Problem::of(&headers, body);
    assert_eq!(problem, Problem::parse(body));
    if let Some(problem) = problem
        && problem.class.is_some()
    {
        let text = String::from_utf8_lossy(body);
        // Written out or by escapes: without its letters there is no class.
        assert!(text.contains("class") || text.contains("\\u"), "{text}");
    }
}
