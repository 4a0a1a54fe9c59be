//! The contract of CMS in WSDL 1.1, for the stacks that make their clients from it.

const TEMPLATE: &str = include_str!("cms.wsdl");

/// The WSDL of a server that was asked as `host`, the value of the `Host` header.
///
/// A host that has anything but letters, digits and `.-:[]` in it is not
/// repeated: the address says `localhost:5001` then.
#[must_use]
pub fn wsdl(host: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
    let host = match !host.is_empty() && host.bytes().all(plain) {
        true => host,
        false => "localhost:5001",
    };
    TEMPLATE.replace("{host}", host)
}
