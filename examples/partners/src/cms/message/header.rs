//! What a request says beside its body.

use swifttrack_adapters::soap::{
    Decode, Element, Encode, Headers, Invalid, UsernameToken, Writer, once,
};

use super::NAMESPACE;

/// Names the exchange and the effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestContext {
    /// Names this one exchange; `X-Request-ID` says the same.
    pub request_id: String,
    /// Names the effect, so that it happens once; empty counts as the order id.
    pub idempotency_key: String,
    /// A W3C `traceparent`.
    pub trace_parent: Option<String>,
}

impl Encode for RequestContext {
    fn encode(&self, out: &mut Writer) {
        out.element("c:RequestContext", |out| {
            out.text("c:RequestId", &self.request_id);
            out.text("c:IdempotencyKey", &self.idempotency_key);
            out.text_opt("c:TraceParent", self.trace_parent.as_deref());
        });
    }
}

impl Decode for RequestContext {
    fn decode(e: &mut Element<'_, '_>) -> Result<Option<Self>, Invalid> {
        if !e.named(NAMESPACE, "RequestContext") {
            return Ok(None);
        }
        Ok(Some(Self {
            request_id: e.string("RequestId")?,
            idempotency_key: e.string("IdempotencyKey")?,
            trace_parent: e.string_opt("TraceParent")?,
        }))
    }
}

/// The header blocks of a request; both may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHeaders {
    /// Who asks.
    pub security: Option<UsernameToken>,
    /// Which exchange and effect this is.
    pub context: Option<RequestContext>,
}

impl RequestHeaders {
    /// The blocks to be written.
    #[must_use]
    pub fn blocks(&self) -> Vec<&dyn Encode> {
        let security = self.security.as_ref().map(|block| block as &dyn Encode);
        let context = self.context.as_ref().map(|block| block as &dyn Encode);
        security.into_iter().chain(context).collect()
    }
}

impl Headers for RequestHeaders {
    fn block(&mut self, block: &mut Element<'_, '_>) -> Result<Option<()>, Invalid> {
        if let Some(security) = UsernameToken::decode(block)? {
            once(&mut self.security, "Security", security).map(Some)
        } else if let Some(context) = RequestContext::decode(block)? {
            once(&mut self.context, "RequestContext", context).map(Some)
        } else {
            Ok(None)
        }
    }
}
