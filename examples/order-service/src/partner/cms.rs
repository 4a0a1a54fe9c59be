//! The contract system, over SOAP 1.1.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use partners::cms::message::{
    self, CancelContractRequest, CancelContractResponse, CancelState, CmsFault, ContractState,
    FaultClass, GetContractRequest, GetContractResponse, RequestContext, VerifyContractRequest,
    VerifyContractResponse,
};
use swifttrack_adapters::http::{self, Exchange, probe};
use swifttrack_adapters::soap::{self, Credentials, Decode, Encode, Fault, Reply, Version};
use swifttrack_adapters::{Adapter, CallContext, Cancelled, Class, Error, Lookup};

use super::{Contract, Subject};
use crate::order::{NewOrder, Priority};

/// Verifies contracts and holds credit; takes both back.
#[derive(Clone, Debug)]
pub struct CmsAdapter {
    exchange: Arc<dyn Exchange>,
    client: soap::Client,
}

impl CmsAdapter {
    /// The contract system at this URL, and the user and password that it knows us by.
    ///
    /// # Errors
    ///
    /// When the URL cannot be used. The error names it.
    pub fn new(url: &str, credentials: Option<(String, String)>) -> Result<Self, Error> {
        Ok(Self::over(http::Client::new(url)?, credentials))
    }

    /// The same, with requests carried by `exchange`.
    pub fn over(exchange: impl Exchange, credentials: Option<(String, String)>) -> Self {
        let exchange: Arc<dyn Exchange> = Arc::new(exchange);
        let client = soap::Client::new(
            Arc::clone(&exchange),
            "/cms",
            Version::V11,
            message::NAMESPACES,
        );
        let client = match credentials {
            Some((user, password)) => client.credentials(Credentials::new(user, password)),
            None => client,
        };
        Self { exchange, client }
    }

    async fn ask<R: Decode>(
        &self,
        action: &str,
        request: &(dyn Encode + Sync),
        cx: &CallContext,
    ) -> Result<R, Error> {
        let context = RequestContext {
            request_id: cx.request_id.to_string(),
            idempotency_key: cx.idempotency_key.clone(),
            trace_parent: cx.trace_parent.clone(),
        };
        let call = self.client.call(action, &[&context], &request, cx);
        match call.await? {
            Reply::Answer(answer) => Ok(answer),
            Reply::Fault(fault) => Err(refusal(fault)),
        }
    }
}

#[async_trait]
impl Adapter for CmsAdapter {
    type Request = NewOrder;
    type Response = Contract;
    type Subject = Subject;

    fn name(&self) -> &'static str {
        "cms"
    }

    async fn call(&self, order: &NewOrder, cx: &CallContext) -> Result<Contract, Error> {
        let request = verify(order)?;
        let verified: VerifyContractResponse = self
            .ask(VerifyContractRequest::ACTION, &request, cx)
            .await?;
        Ok(Contract {
            contract_id: verified.contract_id,
            estimated_cost: verified.estimated_cost.as_hundredths() as f64 / 100.0,
            currency: verified.currency,
        })
    }

    /// CMS names a contract but not its terms, so the same key must be sent again for them.
    async fn query(&self, subject: &Subject, cx: &CallContext) -> Result<Lookup<Contract>, Error> {
        let request = GetContractRequest {
            order_id: subject.order_id.clone(),
        };
        let found: GetContractResponse = self.ask(GetContractRequest::ACTION, &request, cx).await?;
        Ok(match found.state {
            ContractState::None => Lookup::NotYet,
            ContractState::Verified => Lookup::Happened,
            ContractState::Cancelled => Lookup::Never,
        })
    }

    async fn cancel(&self, subject: &Subject, cx: &CallContext) -> Result<Cancelled, Error> {
        let request = CancelContractRequest {
            order_id: subject.order_id.clone(),
            contract_id: subject.partner_id.clone(),
            reason: subject.reason.clone(),
        };
        let cancelled: CancelContractResponse = self
            .ask(CancelContractRequest::ACTION, &request, cx)
            .await?;
        Ok(match cancelled.state {
            CancelState::Cancelled => Cancelled::Cancelled,
            CancelState::AlreadyCancelled => Cancelled::Already,
            CancelState::Tombstoned => Cancelled::Tombstoned,
        })
    }

    async fn probe(&self, cx: &CallContext) -> Result<(), Error> {
        probe(&self.exchange, "/health", cx).await
    }
}

fn verify(order: &NewOrder) -> Result<VerifyContractRequest, Error> {
    let packages = order.packages.iter().map(|package| {
        let quantity = NonZeroU32::new(package.quantity)
            .ok_or_else(|| Error::rejected("a package of no pieces"))?;
        Ok(message::Package {
            sku: package.sku.clone(),
            description: package.description.clone(),
            quantity,
            priority: Some(priority(package.priority)),
        })
    });
    Ok(VerifyContractRequest {
        order_id: order.id.clone(),
        client_id: order.client_id.clone(),
        priority: priority(order.priority),
        packages: packages.collect::<Result<_, Error>>()?,
        delivery_addresses: order.delivery_addresses.clone(),
    })
}

const fn priority(priority: Priority) -> message::Priority {
    match priority {
        Priority::Standard => message::Priority::Standard,
        Priority::High => message::Priority::High,
        Priority::Urgent => message::Priority::Urgent,
    }
}

/// A fault without CMS's own detail is somebody else's, who knows nothing of the effect.
fn refusal(fault: Fault<CmsFault>) -> Error {
    let Some(detail) = fault.detail else {
        return Error::unknown(format!("a fault without detail: {}", fault.reason));
    };
    let class = match detail.class {
        FaultClass::Rejected => Class::Rejected,
        FaultClass::NotApplied => Class::NotApplied,
        FaultClass::Unknown => Class::Unknown,
    };
    let retry_after = detail
        .retry_after_seconds
        .map(|seconds| Duration::from_secs(seconds.into()));
    Error::new(class, detail.message)
        .with_code(detail.code)
        .with_retry_after(retry_after)
}
