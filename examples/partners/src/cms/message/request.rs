//! What CMS is asked.

use std::num::NonZeroU32;

use swifttrack_adapters::soap::{Decode, Element, Encode, Invalid, Writer};

use super::{NAMESPACE, words};

/// More lines than any order has; the limits on the document are the real bound.
const LINES_MAX: usize = 10_000;

/// How urgent an order or a package is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Priority {
    /// Nothing special.
    #[default]
    Standard,
    /// Before the others.
    High,
    /// At once, at a price.
    Urgent,
}

words!(Priority {
    Standard = "STANDARD",
    High = "HIGH",
    Urgent = "URGENT",
});

/// A line of an order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Package {
    /// Which article.
    pub sku: String,
    /// What it is, for a person.
    pub description: Option<String>,
    /// How many.
    pub quantity: NonZeroU32,
    /// How urgent, if that differs from the order's.
    pub priority: Option<Priority>,
}

/// Asks for a contract that covers an order, and holds the client's credit for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VerifyContractRequest {
    /// Which order.
    pub order_id: String,
    /// Whose order.
    pub client_id: String,
    /// How urgent.
    pub priority: Priority,
    /// Its lines, at least one.
    pub packages: Vec<Package>,
    /// Where it goes, at least one.
    pub delivery_addresses: Vec<String>,
}

/// Gives the credit of an order back, or sees to it that none is held any more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CancelContractRequest {
    /// Which order.
    pub order_id: String,
    /// Its contract, if the caller knows it.
    pub contract_id: Option<String>,
    /// Why, for a person.
    pub reason: String,
}

/// Asks whether an order has a contract.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GetContractRequest {
    /// Which order.
    pub order_id: String,
}

/// Any of the three.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Do it.
    Verify(VerifyContractRequest),
    /// Take it back.
    Cancel(CancelContractRequest),
    /// Ask whether it happened.
    Get(GetContractRequest),
}

impl Request {
    /// Which order it is about.
    #[must_use]
    pub fn order_id(&self) -> &str {
        match self {
            Self::Verify(request) => &request.order_id,
            Self::Cancel(request) => &request.order_id,
            Self::Get(request) => &request.order_id,
        }
    }
}

impl Decode for Request {
    fn decode(e: &mut Element<'_, '_>) -> Result<Option<Self>, Invalid> {
        if let Some(request) = VerifyContractRequest::decode(e)? {
            return Ok(Some(Self::Verify(request)));
        }
        if let Some(request) = CancelContractRequest::decode(e)? {
            return Ok(Some(Self::Cancel(request)));
        }
        Ok(GetContractRequest::decode(e)?.map(Self::Get))
    }
}

impl Encode for Request {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Verify(request) => request.encode(out),
            Self::Cancel(request) => request.encode(out),
            Self::Get(request) => request.encode(out),
        }
    }
}

impl VerifyContractRequest {
    /// What the HTTP header `SOAPAction` says.
    pub const ACTION: &str = "http://swiftlogistics.lk/cms/v1/VerifyContract";
}

impl Decode for VerifyContractRequest {
    fn decode(e: &mut Element<'_, '_>) -> Result<Option<Self>, Invalid> {
        if !e.named(NAMESPACE, "VerifyContractRequest") {
            return Ok(None);
        }
        Ok(Some(Self {
            order_id: e.string("OrderId")?,
            client_id: e.string("ClientId")?,
            priority: e.value("Priority")?,
            packages: e.child("PackageList", |list| {
                list.many("Package", 1..=LINES_MAX, |e| {
                    Ok(Package {
                        sku: e.string("SKU")?,
                        description: e.string_opt("Description")?,
                        quantity: e.value("Quantity")?,
                        priority: e.value_opt("Priority")?,
                    })
                })
            })?,
            delivery_addresses: e.child("DeliveryAddresses", |list| {
                list.many("Address", 1..=LINES_MAX, |e| Ok(e.content()?.into_owned()))
            })?,
        }))
    }
}

impl Encode for VerifyContractRequest {
    fn encode(&self, out: &mut Writer) {
        out.element("c:VerifyContractRequest", |out| {
            out.text("c:OrderId", &self.order_id);
            out.text("c:ClientId", &self.client_id);
            out.text("c:Priority", self.priority.as_str());
            out.element("c:PackageList", |out| {
                for package in &self.packages {
                    out.element("c:Package", |out| {
                        out.text("c:SKU", &package.sku);
                        out.text_opt("c:Description", package.description.as_deref());
                        out.value("c:Quantity", package.quantity);
                        out.text_opt("c:Priority", package.priority.map(Priority::as_str));
                    });
                }
            });
            out.element("c:DeliveryAddresses", |out| {
                for address in &self.delivery_addresses {
                    out.text("c:Address", address);
                }
            });
        });
    }
}

impl CancelContractRequest {
    /// What the HTTP header `SOAPAction` says.
    pub const ACTION: &str = "http://swiftlogistics.lk/cms/v1/CancelContract";
}

impl Decode for CancelContractRequest {
    fn decode(e: &mut Element<'_, '_>) -> Result<Option<Self>, Invalid> {
        if !e.named(NAMESPACE, "CancelContractRequest") {
            return Ok(None);
        }
        Ok(Some(Self {
            order_id: e.string("OrderId")?,
            contract_id: e.string_opt("ContractId")?,
            reason: e.string("Reason")?,
        }))
    }
}

impl Encode for CancelContractRequest {
    fn encode(&self, out: &mut Writer) {
        out.element("c:CancelContractRequest", |out| {
            out.text("c:OrderId", &self.order_id);
            out.text_opt("c:ContractId", self.contract_id.as_deref());
            out.text("c:Reason", &self.reason);
        });
    }
}

impl GetContractRequest {
    /// What the HTTP header `SOAPAction` says.
    pub const ACTION: &str = "http://swiftlogistics.lk/cms/v1/GetContract";
}

impl Decode for GetContractRequest {
    fn decode(e: &mut Element<'_, '_>) -> Result<Option<Self>, Invalid> {
        if !e.named(NAMESPACE, "GetContractRequest") {
            return Ok(None);
        }
        Ok(Some(Self {
            order_id: e.string("OrderId")?,
        }))
    }
}

impl Encode for GetContractRequest {
    fn encode(&self, out: &mut Writer) {
        out.element("c:GetContractRequest", |out| {
            out.text("c:OrderId", &self.order_id);
        });
    }
}
