//! A partner that runs, and what to ask it.

use std::net::SocketAddr;

use partners::{Config, Running, spawn_cms, spawn_ros, spawn_wms};
use serde_json::{Value, json};

use crate::http::{Answer, Client, ask};
use crate::line::Line;

/// Which partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Cms,
    Wms,
    Ros,
}

/// Those that speak HTTP.
pub(crate) const BOTH: [Who; 2] = [Who::Cms, Who::Ros];

pub(crate) const ALL: [Who; 3] = [Who::Cms, Who::Wms, Who::Ros];

/// A request, before it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Ask {
    pub(crate) async fn send(&self, client: &mut Client) {
        client
            .send(self.method, &self.path, &self.pairs(), &self.body)
            .await;
    }

    pub(crate) async fn once(&self, addr: SocketAddr) -> Answer {
        ask(addr, self.method, &self.path, &self.pairs(), &self.body).await
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn pairs(&self) -> Vec<(&str, &str)> {
        let headers = self.headers.iter();
        headers
            .map(|(name, value)| (*name, value.as_str()))
            .collect()
    }
}

impl Who {
    /// The names of its forward operation, its cancel and its query.
    pub(crate) const fn ops(self) -> [&'static str; 3] {
        match self {
            Self::Cms => ["verify", "cancel", "get"],
            Self::Wms => ["register", "cancel", "query"],
            Self::Ros => ["put", "delete", "get"],
        }
    }

    /// Asks for the order's effect. Another `body` is another body.
    pub(crate) fn forward(self, order: &str, key: &str, body: &str) -> Ask {
        match self {
            Self::Cms => soap("VerifyContract", key, &verify(order, "CLIENT-001", body)),
            Self::Ros => rest("PUT", order, key, &route_to(body)),
            Self::Wms => panic!("it speaks frames"),
        }
    }

    pub(crate) fn cancel(self, order: &str, key: &str) -> Ask {
        match self {
            Self::Cms => {
                let inner = format!("<c:OrderId>{order}</c:OrderId><c:Reason>saga</c:Reason>");
                soap("CancelContract", key, &inner)
            }
            Self::Ros => rest("DELETE", order, key, ""),
            Self::Wms => panic!("it speaks frames"),
        }
    }

    pub(crate) fn get(self, order: &str) -> Ask {
        match self {
            Self::Cms => soap(
                "GetContract",
                "",
                &format!("<c:OrderId>{order}</c:OrderId>"),
            ),
            Self::Ros => rest("GET", order, "", ""),
            Self::Wms => panic!("it speaks frames"),
        }
    }

    /// What an answer comes to: a fault's code, or what was done.
    pub(crate) fn told(self, answer: &Answer) -> String {
        match self {
            Self::Cms => {
                let text = answer.text();
                let code = element(text, "Code").or_else(|| element(text, "State"));
                code.unwrap_or_else(|| match element(text, "Replayed").as_deref() {
                    Some("true") => "REPLAYED".to_owned(),
                    Some("false") => "DONE".to_owned(),
                    _ => panic!("{text}"),
                })
            }
            Self::Wms => panic!("it speaks frames"),
            Self::Ros => match answer.status {
                200 if answer.json()["replayed"] == json!(true) => "REPLAYED".to_owned(),
                200 => "VERIFIED".to_owned(),
                201 => "DONE".to_owned(),
                204 => "CANCELLED".to_owned(),
                404 => "NONE".to_owned(),
                _ => answer.code(),
            },
        }
    }
}

/// A partner on free ports; its ledger goes with it.
pub(crate) struct Rig {
    pub(crate) who: Who,
    pub(crate) running: Running,
    pub(crate) data: tempfile::TempDir,
}

impl Rig {
    pub(crate) async fn new(who: Who) -> Self {
        Self::with(who, |config| config).await
    }

    pub(crate) async fn with(who: Who, set: impl FnOnce(Config) -> Config) -> Self {
        let data = tempfile::tempdir().unwrap();
        let running = spawn(who, set(Config::new("127.0.0.1:0", data.path()))).await;
        Self { who, running, data }
    }

    /// Stops it and starts it again over the same ledger.
    pub(crate) async fn restart(self) -> Self {
        let Self { who, running, data } = self;
        running.shutdown().await;
        let running = spawn(who, Config::new("127.0.0.1:0", data.path())).await;
        Self { who, running, data }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.running.local_addr()
    }

    pub(crate) fn control(&self) -> SocketAddr {
        self.running.control_addr()
    }

    /// Sends it and says what it came to.
    pub(crate) async fn tell(&self, ask: Ask) -> String {
        self.who.told(&ask.once(self.addr()).await)
    }

    pub(crate) async fn line(&self) -> Line {
        Line::to(self.who, self.addr()).await
    }

    /// Sets a fault rule.
    pub(crate) async fn fault(&self, rule: Value) {
        let answer = ask(self.control(), "POST", "/_fault", &[], &rule.to_string()).await;
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    /// All effects, as `order effect`.
    pub(crate) async fn effects(&self) -> Vec<String> {
        let page = ask(self.control(), "GET", "/_ledger", &[], "").await.json();
        let effects = page["effects"].as_array().unwrap().iter();
        effects
            .map(|effect| {
                let part = |name: &str| effect[name].as_str().unwrap().to_owned();
                format!("{} {}", part("orderId"), part("effect"))
            })
            .collect()
    }
}

async fn spawn(who: Who, config: Config) -> Running {
    match who {
        Who::Cms => spawn_cms(config).await.unwrap(),
        Who::Wms => spawn_wms(config).await.unwrap(),
        Who::Ros => spawn_ros(config).await.unwrap(),
    }
}

pub(crate) fn rest(method: &'static str, order: &str, key: &str, body: &str) -> Ask {
    let ask = Ask {
        method,
        path: format!("/v1/orders/{order}/route"),
        headers: vec![("Content-Type", "application/json".to_owned())],
        body: body.to_owned(),
    };
    match key {
        "" => ask,
        key => ask.with("Idempotency-Key", key),
    }
}

pub(crate) fn route_to(address: &str) -> String {
    json!({"clientId": "CLIENT-001", "priority": "HIGH",
        "packages": [{"sku": "ITEM-001", "description": "Tea", "quantity": 2, "priority": "STANDARD"}],
        "deliveryAddresses": [address, "9 Side Street"]})
    .to_string()
}

pub(crate) fn verify(order: &str, client: &str, address: &str) -> String {
    format!(
        "<c:OrderId>{order}</c:OrderId><c:ClientId>{client}</c:ClientId><c:Priority>URGENT</c:Priority>\
         <c:PackageList><c:Package><c:SKU>ITEM-001</c:SKU><c:Quantity>2</c:Quantity></c:Package></c:PackageList>\
         <c:DeliveryAddresses><c:Address>{address}</c:Address></c:DeliveryAddresses>"
    )
}

/// A SOAP 1.1 request, written by hand and not by our own writer.
pub(crate) fn soap(operation: &str, key: &str, inner: &str) -> Ask {
    let body = format!(
        r#"<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:c="http://swiftlogistics.lk/cms/v1"><s:Header><c:RequestContext><c:RequestId>r-1</c:RequestId><c:IdempotencyKey>{key}</c:IdempotencyKey></c:RequestContext></s:Header><s:Body><c:{operation}Request>{inner}</c:{operation}Request></s:Body></s:Envelope>"#
    );
    let action = format!("\"http://swiftlogistics.lk/cms/v1/{operation}\"");
    Ask {
        method: "POST",
        path: "/cms".to_owned(),
        headers: vec![
            ("Content-Type", "text/xml; charset=utf-8".to_owned()),
            ("SOAPAction", action),
        ],
        body,
    }
}

/// The same in SOAP 1.2.
pub(crate) fn soap12(operation: &str, key: &str, inner: &str) -> Ask {
    let ask = soap(operation, key, inner);
    let action = format!("http://swiftlogistics.lk/cms/v1/{operation}");
    Ask {
        path: "/cms12".to_owned(),
        headers: vec![(
            "Content-Type",
            format!("application/soap+xml; charset=utf-8; action=\"{action}\""),
        )],
        body: ask.body.replace(
            "http://schemas.xmlsoap.org/soap/envelope/",
            "http://www.w3.org/2003/05/soap-envelope",
        ),
        ..ask
    }
}

/// The text of the first element with this local name.
pub(crate) fn element(xml: &str, name: &str) -> Option<String> {
    let open = [
        format!("<c:{name}>"),
        format!("<s:{name}>"),
        format!("<{name}>"),
    ];
    let start = open
        .iter()
        .find_map(|tag| Some(xml.find(tag)? + tag.len()))?;
    let end = xml[start..].find('<')?;
    Some(xml[start..start + end].to_owned())
}
