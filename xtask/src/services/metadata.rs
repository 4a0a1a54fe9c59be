//! Asking a Kafka broker whether it is there, in as much of the protocol as that takes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// Far more than a cluster without topics has to say.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How many brokers the one on this port knows to be in service; `None` while it does not
/// answer.
pub(super) fn brokers(port: u16) -> Option<usize> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT).ok()?;
    stream.set_read_timeout(Some(ANSWER_LIMIT)).ok()?;
    stream.write_all(&request()).ok()?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    if length > ANSWER_BYTES_MAX {
        return None;
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).ok()?;
    // correlation id, throttle time, then the array of brokers, which opens with its length.
    let count = answer.get(8..12)?;
    usize::try_from(u32::from_be_bytes(count.try_into().ok()?)).ok()
}

/// Metadata (3), version 4: of no topic, and none to be created.
fn request() -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(3_i16.to_be_bytes());
    body.extend(4_i16.to_be_bytes());
    body.extend(1_i32.to_be_bytes()); // correlation id
    body.extend((-1_i16).to_be_bytes()); // no client id
    body.extend(0_i32.to_be_bytes()); // topics
    body.push(0); // allow_auto_topic_creation
    let mut request =
        u32::try_from(body.len()).map_or_else(|_| Vec::new(), |n| n.to_be_bytes().to_vec());
    request.extend(body);
    request
}
