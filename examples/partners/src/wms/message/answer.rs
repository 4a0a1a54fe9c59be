//! REGISTER_OK, CANCEL_OK, QUERY_OK.

use swifttrack_adapters::framed::{Malformed, Message, Reader, Writer};

const REGISTER_OK: u8 = 0x90;
const CANCEL_OK: u8 = 0x91;
const QUERY_OK: u8 = 0x92;

/// What the warehouse answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To REGISTER.
    Registered(Registered),
    /// To CANCEL.
    Cancelled(CancelState),
    /// To QUERY: what became of the order, and its packages' id or nothing.
    Queried(OrderState, String),
}

/// The packages are in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Whether this was answered before.
    pub replayed: bool,
    /// Names them.
    pub package_id: String,
    /// The zone where they stand.
    pub location: String,
    /// When they can leave, in Unix milliseconds.
    pub ready_ms: i64,
    /// What was set aside, line by line.
    pub items: Vec<Reserved>,
}

/// What was set aside for one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// What.
    pub sku: String,
    /// How many.
    pub reserved: u32,
}

/// What a cancel did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelState {
    /// The packages were in and are gone.
    Cancelled,
    /// They had gone before.
    Already,
    /// They were never in, and will never be.
    Tombstoned,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderState {
    /// Nothing so far.
    None,
    /// Its packages are in.
    Registered,
    /// They are gone, or will never be in.
    Cancelled,
}

impl Message for Answer {
    fn kind(&self) -> u8 {
        match self {
            Self::Registered(_) => REGISTER_OK,
            Self::Cancelled(_) => CANCEL_OK,
            Self::Queried(..) => QUERY_OK,
        }
    }

    fn write(&self, to: &mut Writer) -> Result<(), Malformed> {
        match self {
            Self::Registered(registered) => {
                to.u8(registered.replayed.into());
                to.str(&registered.package_id)?;
                to.str(&registered.location)?;
                to.i64(registered.ready_ms);
                to.list(&registered.items, |to, item| {
                    to.str(&item.sku)?;
                    to.u32(item.reserved);
                    Ok(())
                })
            }
            Self::Cancelled(state) => {
                to.u8(match state {
                    CancelState::Cancelled => 0,
                    CancelState::Already => 1,
                    CancelState::Tombstoned => 2,
                });
                Ok(())
            }
            Self::Queried(state, package_id) => {
                to.u8(match state {
                    OrderState::None => 0,
                    OrderState::Registered => 1,
                    OrderState::Cancelled => 2,
                });
                to.str(package_id)
            }
        }
    }

    fn read(kind: u8, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match kind {
            REGISTER_OK => Ok(Self::Registered(Registered {
                replayed: match from.u8()? {
                    0 => false,
                    1 => true,
                    _ => return Err(Malformed::value("replayed")),
                },
                package_id: from.str()?.to_owned(),
                location: from.str()?.to_owned(),
                ready_ms: from.i64()?,
                // A length and a number each.
                items: from.list(usize::from(u16::MAX), 2 + 4, |from| {
                    Ok(Reserved {
                        sku: from.str()?.to_owned(),
                        reserved: from.u32()?,
                    })
                })?,
            })),
            CANCEL_OK => Ok(Self::Cancelled(match from.u8()? {
                0 => CancelState::Cancelled,
                1 => CancelState::Already,
                2 => CancelState::Tombstoned,
                _ => return Err(Malformed::value("state")),
            })),
            QUERY_OK => {
                let state = match from.u8()? {
                    0 => OrderState::None,
                    1 => OrderState::Registered,
                    2 => OrderState::Cancelled,
                    _ => return Err(Malformed::value("state")),
                };
                Ok(Self::Queried(state, from.str()?.to_owned()))
            }
            _ => Err(Malformed::unknown_kind(kind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_no_part_of_it_is() {
        let registered = Answer::Registered(Registered {
            replayed: true,
            package_id: "PKG-1".to_owned(),
            location: "A1".to_owned(),
            ready_ms: -1,
            items: vec![Reserved {
                sku: "TEST".to_owned(),
                reserved: 7,
            }],
        });
        let (kind, payload) = registered.encode().unwrap();
        assert_eq!(kind, 0x90);
        assert_eq!(
            payload,
            b"\x01\0\x05PKG-1\0\x02A1\xff\xff\xff\xff\xff\xff\xff\xff\0\x01\0\x04TEST\0\0\0\x07"[..]
        );
        for answer in [
            registered,
            Answer::Cancelled(CancelState::Cancelled),
            Answer::Cancelled(CancelState::Already),
            Answer::Cancelled(CancelState::Tombstoned),
            Answer::Queried(OrderState::None, String::new()),
            Answer::Queried(OrderState::Registered, "PKG-1".to_owned()),
            Answer::Queried(OrderState::Cancelled, "PKG-1".to_owned()),
        ] {
            let (kind, payload) = answer.encode().unwrap();
            assert_eq!(Answer::decode(kind, &payload).unwrap(), answer);
            for end in 0..payload.len() {
                Answer::decode(kind, &payload[..end]).unwrap_err();
            }
        }
        for (kind, bytes) in [
            (0x90, &b"\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0"[..]),
            (0x91, b"\x03"),
            (0x92, b"\x03\0\0"),
            (0x93, b""),
        ] {
            Answer::decode(kind, bytes).unwrap_err();
        }
    }
}
