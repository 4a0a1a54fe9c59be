//! The warehouse, over frames.

use async_trait::async_trait;
use partners::wms::message::{
    About, Answer, Cancel, CancelState, Handling, OrderState, Package, Priority, Register, Request,
    Wms,
};
use swifttrack_adapters::framed::{Client, Endpoint, Options, Snapshot};
use swifttrack_adapters::{Adapter, CallContext, Cancelled, Error, Lookup};
use url::Url;

use super::{Registration, Subject};
use crate::order;

/// Takes packages in; lets them go.
///
/// All its calls share one connection. What the warehouse says of a failure
/// stands on the wire, so nothing is mapped here but words.
#[derive(Clone, Debug)]
pub struct WmsAdapter {
    client: Client<Wms>,
}

/// Where the warehouse listens when its URL names no port.
const PORT: u16 = 5002;

impl WmsAdapter {
    /// The warehouse at this URL, and the token that it knows us by. `tls://` is
    /// TLS; an `http://` is taken for its host and port.
    ///
    /// # Errors
    ///
    /// When the URL cannot be used. The error names it.
    pub fn new(url: &str, token: Option<String>) -> Result<Self, Error> {
        let unusable = || Error::rejected(format!("not an address of the warehouse: {url}"));
        let parsed = Url::parse(url).map_err(|error| unusable().with_source(error))?;
        let host = parsed.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(unusable)?;
        let scheme = match parsed.scheme() {
            "tcp" | "http" => "tcp",
            "tls" => "tls",
            _ => return Err(unusable()),
        };
        let port = parsed.port().unwrap_or(PORT);
        let endpoint: Endpoint = format!("{scheme}://{host}:{port}")
            .parse()
            .map_err(|error| unusable().with_source(error))?;
        let options = Options::new()
            .name("order-service")
            .token(token.unwrap_or_default());
        Ok(Self::over(Client::new(endpoint, options)))
    }

    /// The same, over this client.
    #[must_use]
    pub const fn over(client: Client<Wms>) -> Self {
        Self { client }
    }

    /// What the connection has carried so far.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.client.snapshot()
    }
}

#[async_trait]
impl Adapter for WmsAdapter {
    type Request = order::NewOrder;
    type Response = Registration;
    type Subject = Subject;

    fn name(&self) -> &'static str {
        "wms"
    }

    async fn call(&self, order: &order::NewOrder, cx: &CallContext) -> Result<Registration, Error> {
        let request = Request::Register(register(order, cx));
        match self.client.call(&request, cx).await? {
            Answer::Registered(registered) => Ok(Registration {
                package_id: registered.package_id,
                location: registered.location,
            }),
            _ => Err(another_answer()),
        }
    }

    /// WMS names the packages but not their zone, so the same key must be sent again for it.
    async fn query(
        &self,
        subject: &Subject,
        cx: &CallContext,
    ) -> Result<Lookup<Registration>, Error> {
        let request = Request::Query(about(&subject.order_id, cx));
        match self.client.call(&request, cx).await? {
            Answer::Queried(state, _) => Ok(match state {
                OrderState::None => Lookup::NotYet,
                OrderState::Registered => Lookup::Happened,
                OrderState::Cancelled => Lookup::Never,
            }),
            _ => Err(another_answer()),
        }
    }

    async fn cancel(&self, subject: &Subject, cx: &CallContext) -> Result<Cancelled, Error> {
        let request = Request::Cancel(Cancel {
            about: about(&subject.order_id, cx),
            package_id: subject.partner_id.clone().unwrap_or_default(),
            reason: subject.reason.clone(),
        });
        match self.client.call(&request, cx).await? {
            Answer::Cancelled(state) => Ok(match state {
                CancelState::Cancelled => Cancelled::Cancelled,
                CancelState::Already => Cancelled::Already,
                CancelState::Tombstoned => Cancelled::Tombstoned,
            }),
            _ => Err(another_answer()),
        }
    }

    async fn probe(&self, cx: &CallContext) -> Result<(), Error> {
        self.client.ping(cx).await
    }
}

/// It answers the request by its id, but not by its type: what it did is not known.
fn another_answer() -> Error {
    Error::protocol("the answer is to another kind of request")
}

fn about(order_id: &str, cx: &CallContext) -> About {
    About {
        trace_parent: cx.trace_parent.clone().unwrap_or_default(),
        key: cx.idempotency_key.clone(),
        order_id: order_id.to_owned(),
    }
}

fn register(order: &order::NewOrder, cx: &CallContext) -> Register {
    let packages = order.packages.iter().map(|package| Package {
        sku: package.sku.clone(),
        description: package.description.clone().unwrap_or_default(),
        quantity: package.quantity,
        priority: priority(package.priority),
        handling: Handling {
            urgent: package.priority == order::Priority::Urgent,
            ..Handling::default()
        },
    });
    Register {
        about: about(&order.id, cx),
        client_id: order.client_id.clone(),
        priority: priority(order.priority),
        packages: packages.collect(),
        addresses: order.delivery_addresses.clone(),
    }
}

const fn priority(priority: order::Priority) -> Priority {
    match priority {
        order::Priority::Standard => Priority::Standard,
        order::Priority::High => Priority::High,
        order::Priority::Urgent => Priority::Urgent,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use partners::{Config, Running, spawn_wms};
    use swifttrack_adapters::Class;

    use super::*;

    async fn warehouse() -> (tempfile::TempDir, Running, WmsAdapter) {
        let data = tempfile::tempdir().unwrap();
        let config = Config::new("127.0.0.1:0", data.path()).token("secret");
        let running = spawn_wms(config).await.unwrap();
        let url = format!("tcp://{}", running.local_addr());
        let adapter = WmsAdapter::new(&url, Some("secret".to_owned())).unwrap();
        (data, running, adapter)
    }

    fn order(id: &str, sku: &str) -> order::NewOrder {
        order::NewOrder {
            id: id.to_owned(),
            client_id: "CLIENT-001".to_owned(),
            priority: order::Priority::High,
            packages: vec![order::Package {
                sku: sku.to_owned(),
                description: None,
                quantity: 2,
                priority: order::Priority::Urgent,
            }],
            delivery_addresses: vec!["1 Main Street".to_owned()],
        }
    }

    fn subject(id: &str, partner_id: Option<String>) -> Subject {
        Subject {
            order_id: id.to_owned(),
            partner_id,
            reason: "a test".to_owned(),
        }
    }

    fn cx(key: &str) -> CallContext {
        CallContext::new(key, Duration::from_secs(30))
    }

    #[tokio::test]
    async fn packages_go_in_once_and_are_let_go() {
        let (_data, running, wms) = warehouse().await;
        wms.probe(&cx("")).await.unwrap();
        let asked = subject("A", None);
        assert_eq!(wms.query(&asked, &cx("")).await.unwrap(), Lookup::NotYet);
        let first = wms
            .call(&order("A", "ITEM-001"), &cx("A:do"))
            .await
            .unwrap();
        let again = wms
            .call(&order("A", "ITEM-001"), &cx("A:do"))
            .await
            .unwrap();
        assert_eq!(first, again);
        assert_eq!(wms.query(&asked, &cx("")).await.unwrap(), Lookup::Happened);

        let named = subject("A", Some(first.package_id));
        let undo = cx("A:do:undo");
        assert_eq!(
            wms.cancel(&named, &undo).await.unwrap(),
            Cancelled::Cancelled
        );
        let other = cx("A:again");
        assert_eq!(
            wms.cancel(&named, &other).await.unwrap(),
            Cancelled::Already
        );
        assert_eq!(wms.query(&asked, &cx("")).await.unwrap(), Lookup::Never);
        assert_eq!(running.effects().await.unwrap().len(), 2);
        assert_eq!(wms.snapshot().connected, 1);
    }

    #[tokio::test]
    async fn a_refusal_keeps_its_class_and_code() {
        let (_data, _running, wms) = warehouse().await;
        let unknown = wms.call(&order("A", "NO-SUCH"), &cx("A:do")).await;
        let error = unknown.unwrap_err();
        assert_eq!(
            (error.class(), error.code()),
            (Class::Rejected, Some("INVALID_SKU"))
        );
        assert!(!error.counts_against_partner());
        let tombstone = wms.cancel(&subject("A", None), &cx("A:undo")).await;
        assert_eq!(tombstone.unwrap(), Cancelled::Tombstoned);
        let late = wms.call(&order("A", "ITEM-001"), &cx("A:do")).await;
        assert_eq!(late.unwrap_err().code(), Some("CANCELLED"));
    }

    #[tokio::test]
    async fn an_old_url_is_taken_for_its_host_and_port() {
        let (_data, running, _) = warehouse().await;
        let url = format!("http://{}/register", running.local_addr());
        let wms = WmsAdapter::new(&url, Some("secret".to_owned())).unwrap();
        wms.probe(&cx("")).await.unwrap();
        for wrong in ["", "ftp://localhost:5002", "tcp://", "localhost"] {
            let error = WmsAdapter::new(wrong, None).unwrap_err();
            assert!(error.to_string().contains(wrong), "{error}");
        }
    }
}
