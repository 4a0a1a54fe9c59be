//! UsernameToken: written, read, and let through once.

use chrono::{DateTime, TimeDelta, Utc};
use swifttrack_adapters::soap::{
    Credentials, Decode, Denied, Element, Encode, Headers, Invalid, Limits, UsernameToken,
    Verifier, Version, envelope, once, parse,
};

use super::{NAMESPACES, Parcel, parcel};

#[derive(Debug, Default)]
struct Secured(Option<UsernameToken>);

impl Headers for Secured {
    fn block(&mut self, block: &mut Element<'_, '_>) -> Result<Option<()>, Invalid> {
        match UsernameToken::decode(block)? {
            Some(token) => once(&mut self.0, "Security", token).map(Some),
            None => Ok(None),
        }
    }
}

fn now() -> DateTime<Utc> {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn written(token: &UsernameToken) -> String {
    let headers: [&dyn Encode; 1] = [token];
    String::from_utf8(envelope(Version::V11, NAMESPACES, &headers, &parcel()).unwrap()).unwrap()
}

fn read(document: &str) -> Result<UsernameToken, Invalid> {
    let message = parse::<Secured, Parcel>(document.as_bytes(), Version::V11, &Limits::new())?;
    Ok(message.headers.0.unwrap())
}

fn passwords(user: &str) -> Option<String> {
    (user == "alice").then(|| "secret".into())
}

fn token() -> UsernameToken {
    Credentials::new("alice", "secret").token(now())
}

#[test]
fn a_token_is_read_as_written_and_let_through_once() {
    let read = read(&written(&token())).unwrap();
    assert_eq!(read.username(), "alice");
    let verifier = Verifier::new();
    assert_eq!(verifier.verify(&read, now(), passwords), Ok(()));
    assert_eq!(
        verifier.verify(&read, now(), passwords),
        Err(Denied::Replayed)
    );
    assert_eq!(verifier.verify(&token(), now(), passwords), Ok(()));
}

/// Worked out with Python: `b64encode(sha1(nonce + created + password))`.
#[test]
fn the_digest_is_that_of_the_profile() {
    let block = "<s:Header><w:Security s:mustUnderstand='1' xmlns:w='http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd' \
        xmlns:u='http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd'>\
        <u:Timestamp u:Id='T'><u:Created>x</u:Created></u:Timestamp>\
        <w:UsernameToken u:Id='U'><w:Nonce>MDEyMzQ1Njc4OWFiY2RlZg==</w:Nonce>\
        <u:Created>2026-03-01T12:00:00Z</u:Created><w:Username>alice</w:Username>\
        <w:Password Type='http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordDigest'>DIGEST</w:Password>\
        </w:UsernameToken></w:Security></s:Header>";
    let document = super::wrap(
        &block.replace("DIGEST", "/TRb22EXAQOT8yME3JYSkKqWoq4="),
        super::PARCEL,
    );
    let token = read(&document).unwrap();
    assert_eq!(Verifier::new().verify(&token, now(), passwords), Ok(()));
}

#[test]
fn a_stranger_is_denied_and_takes_no_place() {
    let verifier = Verifier::new().nonces_max(1);
    let wrong = Credentials::new("alice", "guess").token(now());
    let unknown = Credentials::new("mallory", "").token(now());
    for token in [wrong, unknown] {
        assert_eq!(
            verifier.verify(&token, now(), passwords),
            Err(Denied::Password)
        );
    }
    assert_eq!(verifier.verify(&token(), now(), passwords), Ok(()));
}

#[test]
fn an_old_token_and_one_from_the_future_are_denied() {
    let verifier = Verifier::new();
    let window = TimeDelta::minutes(5);
    let second = TimeDelta::seconds(1);
    for (at, verdict) in [
        (now() + window, Ok(())),
        (now() + window + second, Err(Denied::Stale)),
        (now() - window, Ok(())),
        (now() - window - second, Err(Denied::Stale)),
    ] {
        assert_eq!(verifier.verify(&token(), at, passwords), verdict, "{at}");
    }
}

#[test]
fn a_nonce_is_forgotten_only_when_its_token_is_stale() {
    let verifier = Verifier::new().nonces_max(1);
    let early = token();
    let sooner = now() - TimeDelta::minutes(5);
    assert_eq!(verifier.verify(&early, sooner, passwords), Ok(()));
    let late = now() + TimeDelta::minutes(5);
    assert_eq!(
        verifier.verify(&early, late, passwords),
        Err(Denied::Replayed)
    );
    let other = Credentials::new("alice", "secret").token(late);
    assert_eq!(verifier.verify(&other, late, passwords), Err(Denied::Full));
    let later = late + TimeDelta::seconds(1);
    assert_eq!(verifier.verify(&other, later, passwords), Ok(()));
}

#[test]
fn every_part_is_needed_once_and_the_password_only_as_a_digest() {
    let document = written(&token());
    let part = |from: &str, to: &str| {
        let start = document.find(from).unwrap();
        let end = document.find(to).unwrap() + to.len();
        &document[start..end]
    };
    for part in [
        part("<wsse:Username>", "</wsse:Username>"),
        part("<wsse:Password ", "</wsse:Password>"),
        part("<wsse:Nonce ", "</wsse:Nonce>"),
        part("<wsu:Created>", "</wsu:Created>"),
    ] {
        assert!(read(&document.replace(part, "")).is_err(), "without {part}");
        let twice = document.replace(part, &part.repeat(2));
        assert!(
            read(&twice).unwrap_err().to_string().contains("twice"),
            "{part}"
        );
    }
    let refused = read(&document.replace("#PasswordDigest", "#PasswordText")).unwrap_err();
    assert!(refused.to_string().contains("not a digest"), "{refused}");
    let signed = document.replace("</wsse:Security>", "<wsse:Other/></wsse:Security>");
    assert!(read(&signed).is_err());
}

#[test]
fn credentials_do_not_show_their_password() {
    let shown = format!("{:?}", Credentials::new("alice", "secret"));
    assert!(
        shown.contains("alice") && !shown.contains("secret"),
        "{shown}"
    );
}
