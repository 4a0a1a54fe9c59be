//! HTTP: which connection is used again, and what each failure says about its request.

mod classes;
mod reuse;
#[cfg(feature = "tls")]
mod tls;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use swifttrack_adapters::conformance::{Act, Received, ScriptedHttp};
use swifttrack_adapters::http::{Client, Exchange as _};
use swifttrack_adapters::{CallContext, Error};

/// Long enough for any machine; a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn patient() -> CallContext {
    CallContext::new("key", PATIENCE)
}

async fn server(script: impl Fn(&Received) -> Vec<Act> + Send + Sync + 'static) -> ScriptedHttp {
    ScriptedHttp::start(script).await.unwrap()
}

/// Answers everything well.
fn fine(request: &Received) -> Vec<Act> {
    vec![Act::Say(request.answer(200, "", "fine"))]
}

async fn post(client: &Client, cx: &CallContext) -> Result<Response<Bytes>, Error> {
    let request = Request::post("/effect").body(Bytes::from_static(b"do it"));
    client.exchange(request.unwrap(), cx).await
}
