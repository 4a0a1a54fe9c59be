//! Asks any CMS, WMS or ROS, ours or a foreign one, for one order: does it, asks whether it happened,
//! takes it back.
//!
//! ```text
//! cargo run -p partners --example ask -- --cms http://127.0.0.1:5001 --wms tcp://127.0.0.1:5002
//! ```
//!
//! A line of JSON for each answer. The first error ends it, with its class and exit code 1.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error as StdError;
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;

use partners::cms::message::{self as cms, CmsFault};
use partners::ros::message as ros;
use partners::wms::message as wms;
use serde_json::{Value, json};
use swifttrack_adapters::framed::{self, Endpoint, Options};
use swifttrack_adapters::soap::{self, Credentials, Decode, Encode, Reply, Version};
use swifttrack_adapters::{CallContext, Error, Tls, http, rest};

/// What was typed: names and values by turns.
#[derive(Default)]
struct Args(Vec<(String, String)>);

impl Args {
    fn parse() -> Result<Self, String> {
        let mut args = std::env::args().skip(1);
        let mut all = Vec::new();
        while let Some(flag) = args.next() {
            let name = flag.strip_prefix("--").ok_or(format!("what is {flag}?"))?;
            let value = match name {
                "soap12" | "no-echo" => String::new(),
                "cms" | "wms" | "ros" | "order" | "user" | "password" | "ca" | "cert" | "key" => {
                    args.next().ok_or(format!("{flag} needs a value"))?
                }
                _ => return Err(format!("there is no {flag}")),
            };
            all.push((name.to_owned(), value));
        }
        Ok(Self(all))
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name)?;
        Some(&found.1)
    }

    /// Whom to trust, and as whom to show up.
    fn tls(&self) -> Result<Option<Tls>, Box<dyn StdError>> {
        let Some(authority) = self.get("ca").map(std::fs::read).transpose()? else {
            return Ok(None);
        };
        Ok(Some(match (self.get("cert"), self.get("key")) {
            (Some(cert), Some(key)) => {
                Tls::mutual(&authority, &std::fs::read(cert)?, &std::fs::read(key)?)?
            }
            _ => Tls::trusting(&authority)?,
        }))
    }

    fn http(&self, url: &str) -> Result<http::Client, Box<dyn StdError>> {
        let client = http::Client::new(url)?;
        let client = match self.tls()? {
            Some(tls) => client.tls(tls),
            None => client,
        };
        Ok(match self.get("no-echo") {
            Some(_) => client.without_echo(),
            None => client,
        })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut said = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                said += &format!(": {cause}");
                source = cause.source();
            }
            let class = error.downcast_ref::<Error>().map(Error::class);
            println!(
                "{}",
                json!({"class": class.map(|c| format!("{c:?}")), "error": said})
            );
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn StdError>> {
    let args = Args::parse()?;
    let order = args.get("order").unwrap_or("ASK-1");
    if let Some(url) = args.get("cms") {
        ask_cms(&args, url, order).await?;
    }
    if let Some(url) = args.get("wms") {
        ask_wms(&args, url, order).await?;
    }
    if let Some(url) = args.get("ros") {
        ask_ros(&args, url, order).await?;
    }
    Ok(())
}

fn say(what: &str, answer: Value) {
    println!("{}", json!({ what: answer }));
}

fn context(order: &str, step: &str) -> CallContext {
    CallContext::new(format!("{order}:{step}"), Duration::from_secs(5))
}

struct Cms<'a> {
    client: soap::Client,
    order: &'a str,
}

impl Cms<'_> {
    async fn call<B: Decode>(
        &self,
        step: &str,
        action: &str,
        body: &dyn Encode,
    ) -> Result<B, Error> {
        let cx = context(self.order, step);
        let headers = cms::RequestContext {
            request_id: cx.request_id.to_string(),
            idempotency_key: cx.idempotency_key.clone(),
            trace_parent: None,
        };
        match self
            .client
            .call::<B, CmsFault>(action, &[&headers], body, &cx)
            .await?
        {
            Reply::Answer(answer) => Ok(answer),
            Reply::Fault(fault) => {
                let Some(detail) = fault.detail else {
                    return Err(Error::unknown(fault.reason));
                };
                let error = match detail.class {
                    cms::FaultClass::Rejected => Error::rejected(detail.message),
                    cms::FaultClass::NotApplied => Error::not_applied(detail.message),
                    cms::FaultClass::Unknown => Error::unknown(detail.message),
                };
                Err(error.with_code(detail.code))
            }
        }
    }
}

async fn ask_cms(args: &Args, url: &str, order: &str) -> Result<(), Box<dyn StdError>> {
    let (version, path) = match args.get("soap12") {
        Some(_) => (Version::V12, "/cms12"),
        None => (Version::V11, "/cms"),
    };
    let mut client = soap::Client::new(args.http(url)?, path, version, cms::NAMESPACES);
    if let (Some(user), Some(password)) = (args.get("user"), args.get("password")) {
        client = client.credentials(Credentials::new(user, password));
    }
    let cms = Cms { client, order };
    let verify = cms::VerifyContractRequest {
        order_id: order.to_owned(),
        client_id: "TEST-CLIENT".to_owned(),
        priority: cms::Priority::Urgent,
        packages: vec![cms::Package {
            sku: "ITEM-001".to_owned(),
            description: Some("Tea & <biscuits> ]]> \u{1f4e6}\r\n\"two\" lines".to_owned()),
            quantity: NonZeroU32::MIN,
            priority: None,
        }],
        delivery_addresses: vec!["1 Galle Road".to_owned(), "Kandy\nSri Lanka".to_owned()],
    };
    let given: cms::VerifyContractResponse = cms
        .call("verify", cms::VerifyContractRequest::ACTION, &verify)
        .await?;
    say(
        "verify",
        json!({"contract": given.contract_id, "cost": given.estimated_cost.to_string()}),
    );
    let get = cms::GetContractRequest {
        order_id: order.to_owned(),
    };
    let found: cms::GetContractResponse = cms
        .call("get", cms::GetContractRequest::ACTION, &get)
        .await?;
    say(
        "get",
        json!({"state": found.state.as_str(), "contract": found.contract_id}),
    );
    let cancel = cms::CancelContractRequest {
        order_id: order.to_owned(),
        contract_id: Some(given.contract_id),
        reason: "only asked".to_owned(),
    };
    let gone: cms::CancelContractResponse = cms
        .call("undo", cms::CancelContractRequest::ACTION, &cancel)
        .await?;
    say("cancel", json!({"state": gone.state.as_str()}));
    Ok(())
}

async fn ask_wms(args: &Args, url: &str, order: &str) -> Result<(), Box<dyn StdError>> {
    let endpoint: Endpoint = url.parse()?;
    let endpoint = match args.tls()? {
        Some(tls) => endpoint.with_tls(tls),
        None => endpoint,
    };
    let client = framed::Client::<wms::Wms>::new(endpoint, Options::new().name("ask"));
    let about = |step: &str| wms::About {
        trace_parent: String::new(),
        key: format!("{order}:{step}"),
        order_id: order.to_owned(),
    };
    let register = wms::Request::Register(wms::Register {
        about: about("register"),
        client_id: "TEST-CLIENT".to_owned(),
        priority: wms::Priority::Urgent,
        packages: vec![wms::Package {
            sku: "TEST".to_owned(),
            description: String::new(),
            quantity: 1,
            priority: wms::Priority::Standard,
            handling: wms::Handling::default(),
        }],
        // Larger than a record of TLS.
        addresses: vec!["1 Galle Road ".repeat(4000)],
    });
    let cancel = wms::Request::Cancel(wms::Cancel {
        about: about("undo"),
        package_id: String::new(),
        reason: "only asked".to_owned(),
    });
    for (step, request) in [
        ("register", register),
        ("query", wms::Request::Query(about("query"))),
        ("cancel", cancel),
    ] {
        let answer = client.call(&request, &context(order, step)).await?;
        say(step, json!(format!("{answer:?}")));
    }
    Ok(())
}

async fn ask_ros(args: &Args, url: &str, order: &str) -> Result<(), Box<dyn StdError>> {
    let client = rest::Client::over(args.http(url)?);
    let path = rest::path(["v1", "orders", order, "route"]);
    let body = ros::RouteRequest {
        client_id: "TEST-CLIENT".to_owned(),
        priority: ros::Priority::Urgent,
        packages: Vec::new(),
        delivery_addresses: vec!["1 Galle Road".to_owned()],
    };
    let put = client
        .put::<Value>(&path, &body, &context(order, "put"))
        .await?;
    say(
        "put",
        json!({"status": put.status.as_u16(), "route": put.body["routeId"]}),
    );
    let get = client.get::<Value>(&path, &context(order, "get")).await?;
    say(
        "get",
        json!({"status": get.status.as_u16(), "route": get.body["routeId"]}),
    );
    let delete = client.delete::<()>(&path, &context(order, "undo")).await?;
    say("delete", json!({"status": delete.status.as_u16()}));
    Ok(())
}
