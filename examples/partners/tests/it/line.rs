//! A connection to any of the three, and what each request comes to in words they share.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use partners::wms::message::{
    About, Answer, Cancel, CancelState, Handling, OrderState, Package, Priority, Register, Request,
    Wms,
};
use swifttrack_adapters::framed::{Client as Frames, Endpoint, Options};
use swifttrack_adapters::{CallContext, Error};

use crate::http::Client;
use crate::rig::{Ask, Who};

/// Which protocol, and the connection.
pub(crate) enum Line {
    Http(Who, Client),
    Frames(Frames<Wms>),
}

impl Line {
    pub(crate) async fn to(who: Who, addr: SocketAddr) -> Self {
        match who {
            Who::Wms => {
                let endpoint = Endpoint::tcp(addr.ip().to_string(), addr.port());
                Self::Frames(Frames::new(endpoint, Options::new()))
            }
            who => Self::Http(who, Client::to(addr).await),
        }
    }

    /// Asks for the order's effect. Another `body` is another body.
    pub(crate) async fn forward(
        &mut self,
        order: &str,
        key: &str,
        body: &str,
    ) -> io::Result<String> {
        match self {
            Self::Http(who, client) => told(*who, client, who.forward(order, key, body)).await,
            Self::Frames(frames) => framed(frames, register(order, key, body)).await,
        }
    }

    pub(crate) async fn cancel(&mut self, order: &str, key: &str) -> io::Result<String> {
        match self {
            Self::Http(who, client) => told(*who, client, who.cancel(order, key)).await,
            Self::Frames(frames) => {
                let request = Request::Cancel(Cancel {
                    about: about(order, key),
                    package_id: String::new(),
                    reason: "saga".to_owned(),
                });
                framed(frames, request).await
            }
        }
    }

    pub(crate) async fn get(&mut self, order: &str) -> io::Result<String> {
        match self {
            Self::Http(who, client) => told(*who, client, who.get(order)).await,
            Self::Frames(frames) => framed(frames, Request::Query(about(order, ""))).await,
        }
    }
}

async fn told(who: Who, client: &mut Client, ask: Ask) -> io::Result<String> {
    ask.send(client).await;
    Ok(who.told(&client.answer().await?))
}

async fn framed(frames: &Frames<Wms>, request: Request) -> io::Result<String> {
    let cx = CallContext::new("", Duration::from_secs(10));
    match frames.call(&request, &cx).await {
        Ok(answer) => Ok(word(&answer).to_owned()),
        Err(error) => match error.code() {
            Some(code) => Ok(code.to_owned()),
            None => Err(io::Error::other(error)),
        },
    }
}

const fn word(answer: &Answer) -> &'static str {
    match answer {
        Answer::Registered(registered) if registered.replayed => "REPLAYED",
        Answer::Registered(_) => "DONE",
        Answer::Cancelled(CancelState::Cancelled) => "CANCELLED",
        Answer::Cancelled(CancelState::Already) => "ALREADY_CANCELLED",
        Answer::Cancelled(CancelState::Tombstoned) => "TOMBSTONED",
        Answer::Queried(OrderState::None, _) => "NONE",
        Answer::Queried(OrderState::Registered, _) => "VERIFIED",
        Answer::Queried(OrderState::Cancelled, _) => "CANCELLED",
    }
}

pub(crate) fn about(order: &str, key: &str) -> About {
    About {
        trace_parent: String::new(),
        key: key.to_owned(),
        order_id: order.to_owned(),
    }
}

fn register(order: &str, key: &str, description: &str) -> Request {
    Request::Register(Register {
        about: about(order, key),
        client_id: "CLIENT-001".to_owned(),
        priority: Priority::Standard,
        packages: vec![Package {
            sku: "ITEM-001".to_owned(),
            description: description.to_owned(),
            quantity: 2,
            priority: Priority::Standard,
            handling: Handling::default(),
        }],
        addresses: vec!["1 Main Street".to_owned()],
    })
}

/// What a call over frames came to, for a caller who wants the class.
pub(crate) async fn call(
    frames: &Frames<Wms>,
    request: &Request,
    limit: Duration,
) -> Result<Answer, Error> {
    frames.call(request, &CallContext::new("", limit)).await
}
