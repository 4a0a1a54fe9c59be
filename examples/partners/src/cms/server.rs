//! Paths, SOAP versions, who is let in, and what each request comes to.

use bytes::Bytes;
use chrono::{Days, Utc};
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{HeaderMap, Method, Request as HttpRequest, Response as HttpResponse, StatusCode};
use serde_json::json;
use swifttrack_adapters::soap::{Invalid, Limits, Verifier, Version, envelope};

use super::Money;
use super::credit::{Accounts, Contract};
use super::message::{
    CancelContractRequest, CancelContractResponse, CancelState, CmsFault, Code, ContractState,
    GetContractRequest, GetContractResponse, NAMESPACES, Request, RequestHeaders, Response,
    VerifyContractRequest, VerifyContractResponse, read_request, write_fault, write_invalid,
    write_response,
};
use super::wsdl::wsdl;
use crate::control::{not_allowed, not_found};
use crate::http_server::{Refusal, Site, serve_site};
use crate::ledger::{Call, Done, Fingerprint, Ledger, Look, Refused, Undone};
use crate::problem::{Problem, json_response};
use crate::start::{Live, Partner, start};
use crate::{Config, Error, Running};

const CMS: Partner = Partner {
    name: "cms",
    ops: &["verify", "cancel", "get"],
    codes: &[
        "INVALID_CLIENT_ID",
        "CLIENT_SUSPENDED",
        "CONTRACT_EXPIRED",
        "CREDIT_LIMIT_EXCEEDED",
        "CANCELLED",
        "KEY_REUSED",
        "MALFORMED",
        "AUTH_FAILED",
        "BUSY",
        "INTERNAL",
    ],
};

/// The longest order id, client id or key.
const NAME_BYTES_MAX: usize = 256;

/// Starts the contract system.
///
/// # Errors
///
/// A taken port, a setting that makes no sense, a ledger that cannot be opened; nothing runs then.
pub async fn spawn_cms(config: Config) -> Result<Running, Error> {
    let door = config.user_wanted().map(|(name, password)| Door {
        name: name.to_owned(),
        password: password.to_owned(),
        verifier: Verifier::new(),
    });
    start(&config, CMS, Accounts::new(), |live: Live<Accounts>| {
        let site = Cms {
            ledger: live.ledger,
            door,
        };
        serve_site(live.listener, live.stop, site, live.faults)
    })
    .await
}

struct Cms {
    ledger: Ledger<Accounts>,
    door: Option<Door>,
}

/// Who is let in.
struct Door {
    name: String,
    password: String,
    verifier: Verifier,
}

enum Ask {
    Soap {
        version: Version,
        key: String,
        request: Request,
    },
    Wsdl {
        host: String,
    },
    Health,
}

impl Site for Cms {
    type Call = Ask;

    fn read(&self, request: HttpRequest<Bytes>) -> Result<Ask, Refusal> {
        let version = match request.uri().path() {
            "/cms" => Version::V11,
            "/cms12" => Version::V12,
            "/health" if request.method() == Method::GET => return Ok(Ask::Health),
            "/health" => return Err(not_allowed("GET").into()),
            _ => return Err(not_found().into()),
        };
        let query = request.uri().query().unwrap_or_default();
        match *request.method() {
            Method::GET if query.eq_ignore_ascii_case("wsdl") => Ok(Ask::Wsdl {
                host: text(request.headers(), HOST.as_str()).unwrap_or_default(),
            }),
            Method::POST => self.read_soap(version, request.headers(), request.body()),
            Method::GET => Err(not_found().into()),
            _ => Err(not_allowed("POST, and GET for ?wsdl").into()),
        }
    }

    fn op(&self, ask: &Ask) -> Option<&'static str> {
        match ask {
            Ask::Soap { request, .. } => Some(match request {
                Request::Verify(_) => "verify",
                Request::Cancel(_) => "cancel",
                Request::Get(_) => "get",
            }),
            Ask::Wsdl { .. } | Ask::Health => None,
        }
    }

    async fn answer(&self, ask: Ask) -> HttpResponse<Bytes> {
        let (version, key, request) = match ask {
            Ask::Soap {
                version,
                key,
                request,
            } => (version, key, request),
            Ask::Wsdl { host } => {
                let body = wsdl(&host).into_bytes();
                return xml(StatusCode::OK, Version::V11.content_type(), Ok(body));
            }
            Ask::Health => return json_response(StatusCode::OK, &json!({"status": "ok"})),
        };
        let answer = match print(&request) {
            Err(_) => Err(Code::Malformed),
            Ok(body) => self.decide(&key, body, &request).await,
        };
        match answer {
            Ok(response) => xml(
                StatusCode::OK,
                version.content_type(),
                write_response(version, &response),
            ),
            Err(code) => fault(version, code),
        }
    }

    fn error(&self, ask: &Ask, code: Option<&str>) -> HttpResponse<Bytes> {
        let version = match ask {
            Ask::Soap { version, .. } => *version,
            Ask::Wsdl { .. } | Ask::Health => Version::V11,
        };
        let code = code.and_then(|code| code.parse().ok());
        fault(version, code.unwrap_or(Code::Busy))
    }
}

impl Cms {
    fn read_soap(
        &self,
        version: Version,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Ask, Refusal> {
        let content_type = text(headers, CONTENT_TYPE.as_str()).unwrap_or_default();
        if !version.accepts(&content_type) {
            let detail = format!("this takes {} in UTF-8", version.media_type());
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Problem::new(status, "UNSUPPORTED_MEDIA_TYPE", detail)
                .response()
                .into());
        }
        let message = read_request(body, version, &Limits::new())
            .map_err(|invalid| invalid_message(version, &invalid))?;
        let request = message.body;
        self.let_in(&message.headers)
            .map_err(|code| fault(version, code))?;
        let action = action(version, headers, &content_type);
        if action.is_some_and(|action| action != action_of(&request)) {
            return Err(malformed(version, "the action is not that of the body").into());
        }
        let key = message
            .headers
            .context
            .map_or_else(String::new, |context| context.idempotency_key);
        let too_long = key.len() > NAME_BYTES_MAX || request.order_id().len() > NAME_BYTES_MAX;
        if request.order_id().is_empty() || too_long {
            let what = "an order id has 1 to 256 bytes, a key at most 256";
            return Err(malformed(version, what).into());
        }
        Ok(Ask::Soap {
            version,
            key,
            request,
        })
    }

    fn let_in(&self, headers: &RequestHeaders) -> Result<(), Code> {
        let Some(door) = &self.door else {
            return Ok(());
        };
        let token = headers.security.as_ref().ok_or(Code::AuthFailed)?;
        let password_of = |name: &str| (name == door.name).then(|| door.password.clone());
        door.verifier
            .verify(token, Utc::now(), password_of)
            .map_err(|denied| {
                tracing::info!(%denied, "not let in");
                Code::AuthFailed
            })
    }

    async fn decide(
        &self,
        key: &str,
        body: Fingerprint,
        request: &Request,
    ) -> Result<Response, Code> {
        let call = |op| Call {
            op,
            key,
            order_id: request.order_id(),
            body,
        };
        match request {
            Request::Verify(order) => {
                let done = self.ledger.forward(call("verify"), |accounts, stamp| {
                    let (credit, remaining) = accounts.price(order)?;
                    let today = stamp.at.date_naive();
                    let contract = Contract {
                        contract_id: format!("CTR-{:08}", stamp.n),
                        cost: credit.hundredths(),
                        remaining,
                        valid_until: today.checked_add_days(Days::new(365)).unwrap_or(today),
                    };
                    Ok((credit, contract))
                });
                let Done { answer, replayed } = done.await.map_err(code_of)?;
                Ok(Response::Verify(VerifyContractResponse {
                    contract_id: answer.contract_id,
                    estimated_cost: Money::hundredths(answer.cost),
                    currency: "LKR".to_owned(),
                    remaining_credit: Money::hundredths(answer.remaining),
                    valid_until: answer.valid_until,
                    replayed,
                }))
            }
            Request::Cancel(_) => {
                let undone = self.ledger.cancel(call("cancel")).await.map_err(code_of)?;
                let state = match undone {
                    Undone::Cancelled => CancelState::Cancelled,
                    Undone::Already => CancelState::AlreadyCancelled,
                    Undone::Tombstoned => CancelState::Tombstoned,
                };
                Ok(Response::Cancel(CancelContractResponse { state }))
            }
            Request::Get(order) => {
                let look = self.ledger.look(&order.order_id).await;
                let (state, contract) = match look.map_err(|_| Code::Internal)? {
                    Look::Nothing => (ContractState::None, None),
                    Look::Live(contract) => (ContractState::Verified, Some(contract)),
                    Look::Cancelled(contract) => (ContractState::Cancelled, contract),
                };
                Ok(Response::Get(GetContractResponse {
                    state,
                    contract_id: contract.map(|contract| contract.contract_id),
                }))
            }
        }
    }
}

/// The body without prefixes, white space and version of SOAP, so that only what is said counts.
fn print(request: &Request) -> Result<Fingerprint, Invalid> {
    let canonical = envelope(Version::V11, NAMESPACES, &[], request)?;
    Ok(Fingerprint::of_bytes(&canonical))
}

fn code_of(refused: Refused<Code>) -> Code {
    match refused {
        Refused::KeyReused => Code::KeyReused,
        Refused::Cancelled => Code::Cancelled,
        Refused::Business(code) => code,
        Refused::Busy => Code::Busy,
        Refused::Lost => Code::Internal,
    }
}

/// What the HTTP headers say the request is, if they say anything.
fn action(version: Version, headers: &HeaderMap, content_type: &str) -> Option<String> {
    let said = match version {
        Version::V11 => text(headers, "soapaction")?,
        Version::V12 => content_type.split(';').find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            let is_action = name.trim().eq_ignore_ascii_case("action");
            is_action.then(|| value.trim().to_owned())
        })?,
    };
    let action = said.trim_matches('"');
    (!action.is_empty()).then(|| action.to_owned())
}

const fn action_of(request: &Request) -> &'static str {
    match request {
        Request::Verify(_) => VerifyContractRequest::ACTION,
        Request::Cancel(_) => CancelContractRequest::ACTION,
        Request::Get(_) => GetContractRequest::ACTION,
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn fault(version: Version, code: Code) -> HttpResponse<Bytes> {
    let fault = CmsFault::new(code, sentence(code));
    fault_response(
        version,
        match code {
            Code::Busy => fault.retry_after_seconds(1),
            _ => fault,
        },
    )
}

fn malformed(version: Version, what: &str) -> HttpResponse<Bytes> {
    fault_response(version, CmsFault::new(Code::Malformed, what))
}

fn fault_response(version: Version, fault: CmsFault) -> HttpResponse<Bytes> {
    written(version, write_fault(version, &fault))
}

fn invalid_message(version: Version, invalid: &Invalid) -> HttpResponse<Bytes> {
    written(version, write_invalid(version, invalid))
}

fn written(version: Version, fault: Result<(u16, Vec<u8>), Invalid>) -> HttpResponse<Bytes> {
    let (status, body) = match fault {
        Ok((status, body)) => (StatusCode::from_u16(status), Ok(body)),
        Err(invalid) => (Ok(StatusCode::INTERNAL_SERVER_ERROR), Err(invalid)),
    };
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    xml(status, version.content_type(), body)
}

fn xml(
    status: StatusCode,
    content_type: &'static str,
    body: Result<Vec<u8>, Invalid>,
) -> HttpResponse<Bytes> {
    let (status, body) = match body {
        Ok(body) => (status, body),
        // A text that XML cannot carry came in by no XML.
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, Vec::new()),
    };
    let mut response = HttpResponse::new(Bytes::from(body));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

const fn sentence(code: Code) -> &'static str {
    match code {
        Code::InvalidClientId => "there is no such client",
        Code::ClientSuspended => "the client is suspended",
        Code::ContractExpired => "the client's contract has ended",
        Code::CreditLimitExceeded => "the order costs more than the client has left",
        Code::Cancelled => "the order was cancelled",
        Code::KeyReused => "the key or the order was used with another body",
        Code::Malformed => "the message breaks the schema",
        Code::AuthFailed => "the user is not let in",
        Code::Busy => "nothing was done, ask again",
        Code::Internal => "whether it was done is not known",
    }
}
