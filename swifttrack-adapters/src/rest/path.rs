//! Paths of segments that anybody may have named.

use std::fmt::Write as _;

/// Joins segments to a path, each percent-encoded, so that a name with a slash
/// or a question mark in it stays one segment.
///
/// # Examples
///
/// ```
/// use swifttrack_adapters::rest::path;
///
/// assert_eq!(path(["v1", "orders", "ORD-1", "route"]), "/v1/orders/ORD-1/route");
/// assert_eq!(path(["v1", "orders", "a/../b?c", ".."]), "/v1/orders/a%2F..%2Fb%3Fc/%2E%2E");
/// ```
pub fn path<'s>(segments: impl IntoIterator<Item = &'s str>) -> String {
    let mut path = String::new();
    for segment in segments {
        path.push('/');
        // A segment of dots would be taken for a step up.
        let dots = segment.bytes().all(|b| b == b'.');
        for byte in segment.bytes() {
            let plain = byte.is_ascii_alphanumeric() || b"-_~".contains(&byte);
            if plain || (byte == b'.' && !dots) {
                path.push(char::from(byte));
            } else {
                // Writing to a string does not fail.
                let _ = write!(path, "%{byte:02X}");
            }
        }
    }
    path
}
