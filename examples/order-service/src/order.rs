//! An order as a client submits it, and the rules that it must keep.
//!
//! [`NewOrder::parse`] is the only way from JSON to a [`NewOrder`], so that every
//! order inside the service is one that all three partners can carry.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The most packages an order may have.
pub const PACKAGES_MAX: usize = 200;
/// The most delivery addresses an order may have.
pub const ADDRESSES_MAX: usize = 50;
/// The most characters of an id, a client id or a SKU.
pub const ID_CHARS_MAX: usize = 64;
/// The most characters of a description or an address.
pub const TEXT_CHARS_MAX: usize = 500;
/// What an id, a client id or a SKU must be, in words.
pub const IDENTIFIER_RULE: &str = "must be 1 to 64 characters of A-Z a-z 0-9 . _ -";
/// The most pieces of one package line.
pub const QUANTITY_MAX: u32 = 100_000;

/// An order that keeps all the rules, with its defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewOrder {
    /// The client's own id of the order, unique for the service.
    pub id: String,
    /// Who orders.
    pub client_id: String,
    /// How urgent it is.
    pub priority: Priority,
    /// What is sent; never empty.
    pub packages: Vec<Package>,
    /// Where it is sent; never empty.
    pub delivery_addresses: Vec<String>,
}

/// How urgent an order or a package is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Priority {
    /// Nothing special.
    #[default]
    Standard,
    /// Before the standard ones.
    High,
    /// At once, for a surcharge.
    Urgent,
}

impl Priority {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "STANDARD",
            Self::High => "HIGH",
            Self::Urgent => "URGENT",
        }
    }

    /// The priority of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Standard, Self::High, Self::Urgent]
            .into_iter()
            .find(|priority| priority.as_str() == name)
    }
}

/// One line of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// What.
    pub sku: String,
    /// In words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub description: Option<String>,
    /// How many; 1 unless said otherwise.
    pub quantity: u32,
    /// How urgent this line is.
    pub priority: Priority,
}

/// A rule that a submitted order breaks, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// RFC 6901 pointer into the submitted JSON.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub detail: String,
}

impl NewOrder {
    /// Reads an order, filling in the defaults. Unknown members are ignored.
    ///
    /// # Errors
    ///
    /// Every rule that is broken, in the order of the document.
    pub fn parse(json: &Value) -> Result<Self, Vec<Violation>> {
        let mut check = Check::default();
        let Some(object) = json.as_object() else {
            check.fail(
                "",
                "must be an object with id, clientId, packages and deliveryAddresses",
            );
            return Err(check.violations);
        };
        let id = check.identifier(object, "", "id");
        let client_id = check.identifier(object, "", "clientId");
        let priority = check.priority(object, "");
        let packages = check.list(object, "packages", PACKAGES_MAX, Check::package);
        let delivery_addresses =
            check.list(object, "deliveryAddresses", ADDRESSES_MAX, Check::address);
        if !check.violations.is_empty() {
            return Err(check.violations);
        }
        Ok(Self {
            id,
            client_id,
            priority,
            packages,
            delivery_addresses,
        })
    }
}

/// Whether this can be the id of an order or of a client, or a SKU.
#[must_use]
pub fn is_identifier(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=ID_CHARS_MAX).contains(&text.len()) && text.chars().all(allowed)
}

/// Whether XML 1.0 can carry this character; a partner speaks XML.
fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..)
}

/// Collects violations. What fails yields a placeholder, since the order is refused anyway.
#[derive(Default)]
struct Check {
    violations: Vec<Violation>,
}

impl Check {
    fn fail(&mut self, pointer: &str, detail: impl Into<String>) {
        self.violations.push(Violation {
            pointer: pointer.to_owned(),
            detail: detail.into(),
        });
    }

    fn identifier(&mut self, object: &Map<String, Value>, at: &str, name: &str) -> String {
        let pointer = format!("{at}/{name}");
        let detail = match object.get(name) {
            None | Some(Value::Null) => "is required",
            Some(Value::String(id)) if is_identifier(id) => return id.clone(),
            Some(Value::String(_)) => IDENTIFIER_RULE,
            Some(_) => "must be a string",
        };
        self.fail(&pointer, detail);
        String::new()
    }

    fn priority(&mut self, object: &Map<String, Value>, at: &str) -> Priority {
        match object.get("priority") {
            None | Some(Value::Null) => Priority::default(),
            Some(value) => value
                .as_str()
                .and_then(Priority::from_name)
                .unwrap_or_else(|| {
                    let pointer = format!("{at}/priority");
                    self.fail(&pointer, "must be STANDARD, HIGH or URGENT");
                    Priority::default()
                }),
        }
    }

    fn list<T>(
        &mut self,
        object: &Map<String, Value>,
        name: &str,
        max: usize,
        item: fn(&mut Self, &Value, &str) -> T,
    ) -> Vec<T> {
        let pointer = format!("/{name}");
        match object.get(name) {
            None | Some(Value::Null) => self.fail(&pointer, "is required"),
            Some(Value::Array(items)) if (1..=max).contains(&items.len()) => {
                return items
                    .iter()
                    .enumerate()
                    .map(|(at, value)| item(self, value, &format!("{pointer}/{at}")))
                    .collect();
            }
            Some(Value::Array(items)) => {
                let found = items.len();
                self.fail(&pointer, format!("must have 1 to {max} items, not {found}"));
            }
            Some(_) => self.fail(&pointer, "must be an array"),
        }
        Vec::new()
    }

    fn package(&mut self, value: &Value, at: &str) -> Package {
        let empty = Map::new();
        let object = value.as_object().unwrap_or_else(|| {
            self.fail(at, "must be an object with sku");
            &empty
        });
        let sku = if value.is_object() {
            self.identifier(object, at, "sku")
        } else {
            String::new()
        };
        Package {
            sku,
            description: match object.get("description") {
                None | Some(Value::Null) => None,
                Some(text) => Some(self.text(text, &format!("{at}/description"))),
            },
            quantity: self.quantity(object.get("quantity"), &format!("{at}/quantity")),
            priority: self.priority(object, at),
        }
    }

    fn quantity(&mut self, value: Option<&Value>, pointer: &str) -> u32 {
        let Some(value) = value.filter(|value| !value.is_null()) else {
            return 1;
        };
        // JSON has one kind of number, and 2.0 is a whole one.
        let quantity = value.as_f64().filter(|n| n.fract() == 0.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is whole and within the bounds"
        )]
        quantity
            .filter(|n| (1.0..=f64::from(QUANTITY_MAX)).contains(n))
            .map(|n| n as u32)
            .unwrap_or_else(|| {
                self.fail(pointer, "must be a whole number from 1 to 100000");
                1
            })
    }

    fn address(&mut self, value: &Value, at: &str) -> String {
        self.text(value, at)
    }

    fn text(&mut self, value: &Value, pointer: &str) -> String {
        let Some(text) = value.as_str() else {
            self.fail(pointer, "must be a string");
            return String::new();
        };
        if !(1..=TEXT_CHARS_MAX).contains(&text.chars().count()) {
            self.fail(pointer, "must have 1 to 500 characters");
        } else if let Some(bad) = text.chars().find(|c| !is_xml_char(*c)) {
            let code = u32::from(bad);
            self.fail(
                pointer,
                format!("must not contain U+{code:04X}, which XML 1.0 cannot carry"),
            );
        }
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn example() -> Value {
        json!({"id":"ORD-001","clientId":"CLIENT-001",
               "packages":[{"sku":"ITEM-001"}],
               "deliveryAddresses":["123 Main Street, City, Country"]})
    }

    fn pointers(json: &Value) -> Vec<String> {
        let violations = NewOrder::parse(json).expect_err("it breaks a rule");
        violations.into_iter().map(|v| v.pointer).collect()
    }

    #[test]
    fn defaults_are_filled_in_so_that_an_order_that_spells_them_out_is_the_same() {
        let mut spelled = example();
        spelled["priority"] = json!("STANDARD");
        spelled["packages"][0]["quantity"] = json!(1);
        spelled["packages"][0]["priority"] = json!("STANDARD");
        spelled["packages"][0]["description"] = Value::Null;
        assert_eq!(NewOrder::parse(&example()), NewOrder::parse(&spelled));
    }

    #[test]
    fn every_violation_is_listed_at_once_with_its_pointer() {
        let bad = json!({"clientId":"a b","priority":"SOON",
            "packages":[{"sku":"","quantity":0},"x",{"sku":"A","quantity":100_001,"description":""}],
            "deliveryAddresses":[7,"\u{1}"]});
        assert_eq!(
            pointers(&bad),
            [
                "/id",
                "/clientId",
                "/priority",
                "/packages/0/sku",
                "/packages/0/quantity",
                "/packages/1",
                "/packages/2/description",
                "/packages/2/quantity",
                "/deliveryAddresses/0",
                "/deliveryAddresses/1"
            ]
        );
    }

    #[test]
    fn what_is_not_an_object_is_one_violation_of_the_whole() {
        assert_eq!(pointers(&json!([])), [""]);
    }

    #[test]
    fn limits_hold_at_their_edge() {
        let mut order = example();
        order["id"] = json!("x".repeat(64));
        order["packages"] = json!(vec![json!({"sku":"A","quantity":100_000}); 200]);
        order["deliveryAddresses"] = json!(vec!["é".repeat(500); 50]);
        assert!(NewOrder::parse(&order).is_ok());

        order["id"] = json!("x".repeat(65));
        order["packages"] = json!(vec![json!({"sku":"A"}); 201]);
        order["deliveryAddresses"] = json!(["é".repeat(501)]);
        assert_eq!(
            pointers(&order),
            ["/id", "/packages", "/deliveryAddresses/0"]
        );
    }

    #[test]
    fn only_characters_that_xml_can_carry_pass() {
        assert!("\t\n\r é\u{FFFD}\u{10FFFF}".chars().all(is_xml_char));
        assert!(
            !"\0\u{8}\u{B}\u{1F}\u{FFFE}\u{FFFF}"
                .chars()
                .any(is_xml_char)
        );
    }
}
