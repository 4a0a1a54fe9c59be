//! How long a partner asks to be left alone.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};

/// Reads `Retry-After`: seconds, or a date in any of HTTP's three forms.
///
/// A date is measured from the answer's own `Date`, if it has one, so that a
/// clock that is off does not matter; from `now` if not. A date that has passed
/// is no wait. What cannot be read is `None`.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let value = text(RETRY_AFTER)?;
    if value.bytes().all(|b| b.is_ascii_digit()) {
        return value.parse().ok().map(Duration::from_secs);
    }
    let at = httpdate::parse_http_date(value).ok()?;
    let now = text(DATE)
        .and_then(|date| httpdate::parse_http_date(date).ok())
        .unwrap_or(now);
    Some(at.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(value: &'static str, date: Option<&'static str>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
        if let Some(date) = date {
            headers.insert(DATE, HeaderValue::from_static(date));
        }
        // 1994-11-06T08:49:07Z
        retry_after(
            &headers,
            SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_747),
        )
    }

    #[test]
    fn seconds() {
        assert_eq!(read("120", None), Some(Duration::from_secs(120)));
        assert_eq!(read(" 0 ", None), Some(Duration::ZERO));
    }

    #[test]
    fn a_date_in_each_of_its_forms() {
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(read(date, None), Some(Duration::from_secs(30)), "{date}");
        }
    }

    #[test]
    fn a_date_is_measured_by_the_clock_that_wrote_it() {
        let sent = "Sun, 06 Nov 1994 08:49:30 GMT";
        let until = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(read(until, Some(sent)), Some(Duration::from_secs(7)));
        assert_eq!(read(sent, Some(until)), Some(Duration::ZERO));
    }

    #[test]
    fn what_cannot_be_read_is_nothing() {
        for value in ["", "-1", "1.5", "soon", "99999999999999999999999"] {
            assert_eq!(read(value, None), None, "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), SystemTime::now()), None);
    }
}
