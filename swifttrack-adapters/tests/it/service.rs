//! An adapter as a tower service.

use std::sync::Arc;

use async_trait::async_trait;
use swifttrack_adapters::{
    Adapter, AdapterService, Call, CallContext, Cancel, Cancelled, Error, Lookup, Query,
};
use tower_service::Service as _;

/// Says the key under which it was called.
struct Echo;

#[async_trait]
impl Adapter for Echo {
    type Request = &'static str;
    type Response = String;
    type Subject = &'static str;

    fn name(&self) -> &'static str {
        "echo"
    }

    async fn call(&self, request: &&'static str, cx: &CallContext) -> Result<String, Error> {
        match *request {
            "no" => Err(Error::rejected("no")),
            _ => Ok(format!("{request} {}", cx.idempotency_key)),
        }
    }

    async fn query(
        &self,
        subject: &&'static str,
        _: &CallContext,
    ) -> Result<Lookup<String>, Error> {
        Ok(Lookup::Done((*subject).to_owned()))
    }

    async fn cancel(&self, _: &&'static str, _: &CallContext) -> Result<Cancelled, Error> {
        Ok(Cancelled::Tombstoned)
    }

    async fn probe(&self, _: &CallContext) -> Result<(), Error> {
        Ok(())
    }
}

#[tokio::test]
async fn each_of_its_three_requests_reaches_the_adapter() {
    let mut service = AdapterService::new(Arc::new(Echo)).clone();
    let cx = CallContext::new("key", std::time::Duration::from_secs(30));
    let call = |request| Call {
        request,
        cx: cx.clone(),
    };
    assert_eq!(service.call(call("yes")).await.unwrap(), "yes key");
    assert!(service.call(call("no")).await.unwrap_err().is_rejected());
    let query = Query {
        subject: "it",
        cx: cx.clone(),
    };
    assert_eq!(
        service.call(query).await.unwrap(),
        Lookup::Done("it".into())
    );
    let cancel = Cancel { subject: "it", cx };
    assert_eq!(service.call(cancel).await.unwrap(), Cancelled::Tombstoned);
}
