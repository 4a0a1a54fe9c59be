//! The route optimizer, over REST.

use std::sync::Arc;

use async_trait::async_trait;
use partners::ros::message::{self, RouteRequest};
use swifttrack_adapters::http::{self, Exchange, probe};
use swifttrack_adapters::rest::{self, path};
use swifttrack_adapters::{Adapter, CallContext, Cancelled, Error, Lookup};

use super::{Route, Subject};
use crate::order::{NewOrder, Priority};

/// Optimizes routes and assigns vehicles; frees them.
#[derive(Clone, Debug)]
pub struct RosAdapter {
    exchange: Arc<dyn Exchange>,
    client: rest::Client,
}

impl RosAdapter {
    /// The route optimizer at this URL, and the token that lets us in.
    ///
    /// # Errors
    ///
    /// When the URL or the token cannot be used. The error names the URL.
    pub fn new(url: &str, token: Option<String>) -> Result<Self, Error> {
        Self::over(http::Client::new(url)?, token)
    }

    /// The same, with requests carried by `exchange`.
    ///
    /// # Errors
    ///
    /// When the token cannot be used.
    pub fn over(exchange: impl Exchange, token: Option<String>) -> Result<Self, Error> {
        let exchange: Arc<dyn Exchange> = Arc::new(exchange);
        let client = rest::Client::over(Arc::clone(&exchange));
        let client = match token {
            Some(token) => client.bearer(&token)?,
            None => client,
        };
        Ok(Self { exchange, client })
    }
}

#[async_trait]
impl Adapter for RosAdapter {
    type Request = NewOrder;
    type Response = Route;
    type Subject = Subject;

    fn name(&self) -> &'static str {
        "ros"
    }

    async fn call(&self, order: &NewOrder, cx: &CallContext) -> Result<Route, Error> {
        let reply: rest::Reply<message::Route> = self
            .client
            .put(&route_of(&order.id), &request(order), cx)
            .await?;
        given(reply.body, &order.id)
    }

    async fn query(&self, subject: &Subject, cx: &CallContext) -> Result<Lookup<Route>, Error> {
        let asked = self.client.get(&route_of(&subject.order_id), cx).await;
        match asked {
            Ok(rest::Reply { body, .. }) => given(body, &subject.order_id).map(Lookup::Done),
            // Codes are read from problem details only, so these are the optimizer's own words.
            Err(error) if error.code() == Some("NOT_FOUND") => Ok(Lookup::NotYet),
            Err(error) if error.code() == Some("CANCELLED") => Ok(Lookup::Never),
            Err(error) => Err(error),
        }
    }

    /// The optimizer says the same to a cancel of something, of nothing and of what was cancelled before.
    async fn cancel(&self, subject: &Subject, cx: &CallContext) -> Result<Cancelled, Error> {
        let path = route_of(&subject.order_id);
        self.client.delete::<()>(&path, cx).await?;
        Ok(Cancelled::Cancelled)
    }

    async fn probe(&self, cx: &CallContext) -> Result<(), Error> {
        probe(&self.exchange, "/health", cx).await
    }
}

fn route_of(order_id: &str) -> String {
    path(["v1", "orders", order_id, "route"])
}

fn request(order: &NewOrder) -> RouteRequest {
    RouteRequest {
        client_id: order.client_id.clone(),
        priority: priority(order.priority),
        packages: order
            .packages
            .iter()
            .map(|package| message::Package {
                sku: package.sku.clone(),
                description: package.description.clone(),
                quantity: package.quantity,
                priority: priority(package.priority),
            })
            .collect(),
        delivery_addresses: order.delivery_addresses.clone(),
    }
}

const fn priority(priority: Priority) -> message::Priority {
    match priority {
        Priority::Standard => message::Priority::Standard,
        Priority::High => message::Priority::High,
        Priority::Urgent => message::Priority::Urgent,
    }
}

/// The body names its order, too: an answer about another one is worth nothing.
fn given(route: message::Route, order_id: &str) -> Result<Route, Error> {
    if route.order_id != order_id {
        return Err(Error::protocol("the answer is about another order"));
    }
    Ok(Route {
        route_id: route.route_id,
        eta_minutes: route.eta_minutes,
        assigned_vehicle: route.assigned_vehicle,
    })
}
