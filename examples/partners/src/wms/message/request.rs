//! REGISTER, CANCEL, QUERY.

use swifttrack_adapters::framed::{Malformed, Message, Reader, Writer};

const REGISTER: u8 = 0x10;
const CANCEL: u8 = 0x11;
const QUERY: u8 = 0x12;

/// The longest idempotency key.
const KEY_BYTES_MAX: usize = 256;

/// What the warehouse is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Take an order's packages in.
    Register(Register),
    /// Let them go, or never take them in.
    Cancel(Cancel),
    /// Say what became of an order.
    Query(About),
}

/// What every request starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// A W3C `traceparent`, or empty.
    pub trace_parent: String,
    /// The idempotency key; empty counts as the order's id.
    pub key: String,
    /// The order: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub order_id: String,
}

/// Take an order's packages in: all of them, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// Which order, under which key.
    pub about: About,
    /// Whose it is.
    pub client_id: String,
    /// How soon it is wanted.
    pub priority: Priority,
    /// At least one.
    pub packages: Vec<Package>,
    /// Where they will go.
    pub addresses: Vec<String>,
}

/// One line of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// What it is.
    pub sku: String,
    /// For people.
    pub description: String,
    /// How many; not 0.
    pub quantity: u32,
    /// How soon.
    pub priority: Priority,
    /// With how much care.
    pub handling: Handling,
}

/// How soon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// As usual.
    #[default]
    Standard,
    /// Before the usual.
    High,
    /// Before all.
    Urgent,
}

/// With how much care.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handling {
    /// Bit 8.
    pub urgent: bool,
    /// Bit 4.
    pub fragile: bool,
    /// Bit 2.
    pub heavy: bool,
}

/// Let an order's packages go, or never take them in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancel {
    /// Which order, under which key.
    pub about: About,
    /// What REGISTER answered, or empty.
    pub package_id: String,
    /// Why.
    pub reason: String,
}

impl Request {
    /// Which order, under which key.
    #[must_use]
    pub const fn about(&self) -> &About {
        match self {
            Self::Register(register) => &register.about,
            Self::Cancel(cancel) => &cancel.about,
            Self::Query(about) => about,
        }
    }
}

impl Message for Request {
    fn kind(&self) -> u8 {
        match self {
            Self::Register(_) => REGISTER,
            Self::Cancel(_) => CANCEL,
            Self::Query(_) => QUERY,
        }
    }

    fn write(&self, to: &mut Writer) -> Result<(), Malformed> {
        let about = self.about();
        to.str(&about.trace_parent)?;
        to.str(&about.key)?;
        to.str(&about.order_id)?;
        match self {
            Self::Register(register) => register.write_rest(to),
            Self::Cancel(cancel) => {
                to.str(&cancel.package_id)?;
                to.str(&cancel.reason)
            }
            Self::Query(_) => Ok(()),
        }
    }

    fn read(kind: u8, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        if !matches!(kind, REGISTER | CANCEL | QUERY) {
            return Err(Malformed::unknown_kind(kind));
        }
        let about = About::read(from)?;
        match kind {
            REGISTER => Register::read_rest(about, from).map(Self::Register),
            CANCEL => Ok(Self::Cancel(Cancel {
                about,
                package_id: from.str()?.to_owned(),
                reason: from.str()?.to_owned(),
            })),
            _ => Ok(Self::Query(about)),
        }
    }
}

impl About {
    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let about = Self {
            trace_parent: from.str()?.to_owned(),
            key: from.str()?.to_owned(),
            order_id: from.str()?.to_owned(),
        };
        if about.key.len() > KEY_BYTES_MAX {
            return Err(Malformed::value("key"));
        }
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !(1..=64).contains(&about.order_id.len()) || !about.order_id.bytes().all(legal) {
            return Err(Malformed::value("order_id"));
        }
        Ok(about)
    }
}

impl Register {
    fn write_rest(&self, to: &mut Writer) -> Result<(), Malformed> {
        to.str(&self.client_id)?;
        to.u8(self.priority.to_wire());
        to.list(&self.packages, |to, package| {
            to.str(&package.sku)?;
            to.str(&package.description)?;
            to.u32(package.quantity);
            to.u8(package.priority.to_wire());
            to.u8(package.handling.to_wire());
            Ok(())
        })?;
        to.list(&self.addresses, |to, address| to.str(address))
    }

    fn read_rest(about: About, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        // Two lengths, a quantity, a priority and flags.
        const PACKAGE_BYTES_MIN: usize = 2 + 2 + 4 + 1 + 1;
        const COUNT_MAX: usize = u16::MAX as usize;
        let register = Self {
            about,
            client_id: from.str()?.to_owned(),
            priority: Priority::from_wire(from.u8()?)?,
            packages: from.list(COUNT_MAX, PACKAGE_BYTES_MIN, |from| {
                Ok(Package {
                    sku: from.str()?.to_owned(),
                    description: from.str()?.to_owned(),
                    quantity: match from.u32()? {
                        0 => return Err(Malformed::value("quantity")),
                        quantity => quantity,
                    },
                    priority: Priority::from_wire(from.u8()?)?,
                    handling: Handling::from_wire(from.u8()?)?,
                })
            })?,
            addresses: from.list(COUNT_MAX, 2, |from| Ok(from.str()?.to_owned()))?,
        };
        if register.packages.is_empty() {
            return Err(Malformed::value("packages"));
        }
        Ok(register)
    }
}

impl Priority {
    const fn to_wire(self) -> u8 {
        match self {
            Self::Standard => 0,
            Self::High => 1,
            Self::Urgent => 2,
        }
    }

    const fn from_wire(byte: u8) -> Result<Self, Malformed> {
        match byte {
            0 => Ok(Self::Standard),
            1 => Ok(Self::High),
            2 => Ok(Self::Urgent),
            _ => Err(Malformed::value("priority")),
        }
    }
}

impl Handling {
    const URGENT: u8 = 8;
    const FRAGILE: u8 = 4;
    const HEAVY: u8 = 2;

    const fn to_wire(self) -> u8 {
        (if self.urgent { Self::URGENT } else { 0 })
            | (if self.fragile { Self::FRAGILE } else { 0 })
            | (if self.heavy { Self::HEAVY } else { 0 })
    }

    const fn from_wire(byte: u8) -> Result<Self, Malformed> {
        if byte & !(Self::URGENT | Self::FRAGILE | Self::HEAVY) != 0 {
            return Err(Malformed::value("flags"));
        }
        Ok(Self {
            urgent: byte & Self::URGENT != 0,
            fragile: byte & Self::FRAGILE != 0,
            heavy: byte & Self::HEAVY != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use swifttrack_adapters::framed::{Codec, Frame, Head, Protocol};
    use tokio_util::codec::Decoder;

    use super::*;
    use crate::wms::message::Wms;

    fn about() -> About {
        About {
            trace_parent: String::new(),
            key: "ORD-1:cancel".to_owned(),
            order_id: "ORD-1".to_owned(),
        }
    }

    fn register() -> Request {
        Request::Register(Register {
            about: about(),
            client_id: "CLIENT-001".to_owned(),
            priority: Priority::High,
            packages: vec![Package {
                sku: "ITEM-001".to_owned(),
                description: "Tea, 茶".to_owned(),
                quantity: 3,
                priority: Priority::Urgent,
                handling: Handling {
                    fragile: true,
                    heavy: true,
                    urgent: false,
                },
            }],
            addresses: vec!["1 Main Street".to_owned(), String::new()],
        })
    }

    #[test]
    fn the_published_cancel_is_ours() {
        let cancel = Request::Cancel(Cancel {
            about: about(),
            package_id: String::new(),
            reason: "saga".to_owned(),
        });
        let (kind, payload) = cancel.encode().unwrap();
        let head = Head {
            kind,
            id: 2,
            deadline_ms: 1500,
        };
        let mut wire = BytesMut::new();
        let mut codec = Codec::new(Wms::LAYOUT);
        codec.write(head, &payload, &mut wire).unwrap();
        let hex: String = wire.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "53574d53011100000000000000000002000005dc0000001fb5d0fd26\
             0000000c4f52442d313a63616e63656c00054f52442d310000000473616761"
        );
        let Frame { head, payload } = codec.decode(&mut wire).unwrap().unwrap();
        assert_eq!(Request::decode(head.kind, &payload).unwrap(), cancel);
    }

    #[test]
    fn what_is_written_is_read_and_no_part_of_it_is() {
        for request in [register(), Request::Query(about())] {
            let (kind, payload) = request.encode().unwrap();
            assert_eq!(Request::decode(kind, &payload).unwrap(), request);
            for end in 0..payload.len() {
                Request::decode(kind, &payload[..end]).unwrap_err();
            }
        }
    }

    #[test]
    fn a_register_is_laid_out_as_published() {
        let (kind, payload) = register().encode().unwrap();
        assert_eq!(kind, 0x10);
        let wanted = [
            &b"\0\0\0\x0cORD-1:cancel\0\x05ORD-1\0\x0aCLIENT-001\x01\0\x01\0\x08ITEM-001\0\x08"[..],
            "Tea, 茶".as_bytes(),
            b"\0\0\0\x03\x02\x06\0\x02\0\x0d1 Main Street\0\0",
        ]
        .concat();
        assert_eq!(payload, wanted);
    }

    #[test]
    fn what_means_nothing_is_malformed() {
        let broken = |change: fn(&mut Register)| {
            let Request::Register(mut register) = register() else {
                unreachable!("it is one");
            };
            change(&mut register);
            let (kind, payload) = Request::Register(register).encode().unwrap();
            Request::decode(kind, &payload).unwrap_err().to_string()
        };
        let says = |field: &str| format!("the field {field} has no such value");
        assert_eq!(broken(|r| r.packages.clear()), says("packages"));
        assert_eq!(broken(|r| r.packages[0].quantity = 0), says("quantity"));
        assert_eq!(
            broken(|r| r.about.order_id = "a b".into()),
            says("order_id")
        );
        assert_eq!(broken(|r| r.about.order_id.clear()), says("order_id"));
        assert_eq!(broken(|r| r.about.key = "k".repeat(257)), says("key"));
        let (kind, payload) = register().encode().unwrap();
        for (at, what) in [(35, "priority"), (62, "priority"), (63, "flags")] {
            let mut bytes = payload.to_vec();
            bytes[at] = 0x11;
            let error = Request::decode(kind, &bytes).unwrap_err();
            assert_eq!(error.to_string(), says(what), "byte {at}");
        }
    }
}
