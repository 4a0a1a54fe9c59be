//! Requests to the ledger, and its words to answers.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::FutureExt;
use swifttrack_adapters::framed::control::{Fault, Hello};
use swifttrack_adapters::framed::{Handler, Incoming, Message, Reply, ServerOptions, serve};

use super::message::{
    Answer, Cancel, CancelState, Code, OrderState, Priority, Register, Registered, Request,
    Reserved, Wms,
};
use super::stock::{Slip, Stock};
use crate::fault::{Faults, Mode};
use crate::ledger::{Call, Done, Fingerprint, Ledger, Look, Refused, Stamp, Undone};
use crate::secret::same;
use crate::start::{Live, Partner, start};
use crate::{Config, Error, Running};

const WMS: Partner = Partner {
    name: "wms",
    ops: &["register", "cancel", "query"],
    codes: &[
        "MALFORMED",
        "UNAUTHORIZED",
        "INVALID_SKU",
        "INVENTORY_SHORTAGE",
        "CANCELLED",
        "KEY_REUSED",
        "BUSY",
        "INTERNAL",
        "VERSION",
        "CAPACITY_EXCEEDED",
    ],
};

/// What runs when the server stops may take that long.
const GRACE: Duration = Duration::from_secs(2);

/// How long to leave a busy warehouse alone.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// Starts the warehouse.
///
/// # Errors
///
/// A taken port, a setting that makes no sense, a ledger that cannot be opened; nothing runs then.
pub async fn spawn_wms(config: Config) -> Result<Running, Error> {
    let token = config.token_wanted().map(str::to_owned);
    start(&config, WMS, Stock::new(), |live: Live<Stock>| {
        let warehouse = Warehouse {
            ledger: live.ledger,
            token,
        };
        let gate = Arc::new(Gate {
            warehouse: Arc::new(warehouse),
            faults: live.faults,
        });
        let options = ServerOptions::new().drain_max(GRACE);
        serve::<Wms, Gate>(live.listener, gate, options, async move {
            live.stop.cancelled().await;
        })
        // Its type would name all of the above.
        .boxed()
    })
    .await
}

/// Where answers go wrong on purpose.
struct Gate {
    warehouse: Arc<Warehouse>,
    faults: Arc<Faults>,
}

#[async_trait::async_trait]
impl Handler<Wms> for Gate {
    async fn hello(&self, hello: &Hello) -> Result<(), Fault> {
        let right = |wanted: &str| same(hello.token.as_bytes(), wanted.as_bytes());
        match self.warehouse.token.as_deref() {
            Some(wanted) if !right(wanted) => {
                Err(Code::Unauthorized.fault("the token is missing or wrong"))
            }
            _ => Ok(()),
        }
    }

    async fn handle(&self, request: Request, _: Incoming) -> Reply {
        let Some(fault) = self.faults.draw(op(&request)) else {
            return self.warehouse.reply(&request).await;
        };
        match fault.mode {
            Mode::Error => {
                let code = Code::ALL
                    .into_iter()
                    .find(|code| Some(code.name()) == fault.code.as_deref())
                    .unwrap_or(Code::Busy);
                return Reply::fault(said(code));
            }
            Mode::ResetBefore => return Reply::reset(),
            // A task of its own: what is on its way arrives, also when its sender has gone.
            Mode::Latency => {
                let warehouse = Arc::clone(&self.warehouse);
                let late = tokio::spawn(async move {
                    fault.hang().await;
                    warehouse.reply(&request).await
                });
                return late.await.unwrap_or_else(|_| Reply::reset());
            }
            _ => {}
        }
        let reply = self.warehouse.reply(&request).await;
        match fault.mode {
            Mode::ResetAfterCommit => Reply::reset(),
            Mode::Garbage => Reply::garbage(fault.garbage()),
            Mode::HalfReply => reply.half(),
            Mode::DuplicateReply => reply.twice(),
            Mode::Hang => {
                fault.hang().await;
                reply
            }
            Mode::Latency | Mode::Error | Mode::ResetBefore => reply,
        }
    }
}

/// Does what is asked, as the ledger decides.
struct Warehouse {
    ledger: Ledger<Stock>,
    token: Option<String>,
}

impl Warehouse {
    async fn reply(&self, request: &Request) -> Reply {
        let answer = match self.answer(request).await {
            Ok(answer) => answer,
            Err(code) => return Reply::fault(said(code)),
        };
        Reply::answer(&answer).unwrap_or_else(|_| Reply::fault(said(Code::Internal)))
    }

    async fn answer(&self, request: &Request) -> Result<Answer, Code> {
        let about = request.about();
        let call = Call {
            op: op(request),
            key: &about.key,
            order_id: &about.order_id,
            body: print(request)?,
        };
        match request {
            Request::Register(register) => {
                let done = self.ledger.forward(call, |stock, stamp| {
                    let shelf = stock.find(&register.packages)?;
                    let slip = slip(register, shelf.location(), stamp);
                    Ok((shelf, slip))
                });
                let Done { answer, replayed } = done.await.map_err(code)?;
                Ok(Answer::Registered(registered(answer, replayed)))
            }
            Request::Cancel(_) => {
                let undone = self.ledger.cancel(call).await.map_err(code)?;
                Ok(Answer::Cancelled(match undone {
                    Undone::Cancelled => CancelState::Cancelled,
                    Undone::Already => CancelState::Already,
                    Undone::Tombstoned => CancelState::Tombstoned,
                }))
            }
            Request::Query(_) => {
                let look = self.ledger.look(&about.order_id).await;
                let (state, slip) = match look.map_err(|_| Code::Internal)? {
                    Look::Nothing => (OrderState::None, None),
                    Look::Live(slip) => (OrderState::Registered, Some(slip)),
                    Look::Cancelled(slip) => (OrderState::Cancelled, slip),
                };
                let package_id = slip.map_or_else(String::new, |slip| slip.package_id);
                Ok(Answer::Queried(state, package_id))
            }
        }
    }
}

const fn op(request: &Request) -> &'static str {
    match request {
        Request::Register(_) => "register",
        Request::Cancel(_) => "cancel",
        Request::Query(_) => "query",
    }
}

/// The body without trace and key: what is asked, and nothing about the asking.
fn print(request: &Request) -> Result<Fingerprint, Code> {
    let mut bare = request.clone();
    let about = match &mut bare {
        Request::Register(Register { about, .. })
        | Request::Cancel(Cancel { about, .. })
        | Request::Query(about) => about,
    };
    about.trace_parent.clear();
    about.key.clear();
    let (_, payload) = bare.encode().map_err(|_| Code::Malformed)?;
    Ok(Fingerprint::of_bytes(&payload))
}

fn slip(register: &Register, location: &str, stamp: Stamp) -> Slip {
    let minutes = match register.priority {
        Priority::Standard => 60,
        Priority::High => 30,
        Priority::Urgent => 10,
    };
    let ready = stamp.at + TimeDelta::minutes(minutes);
    Slip {
        package_id: format!("PKG-{:08}", stamp.n),
        location: location.to_owned(),
        ready_ms: ready.timestamp_millis(),
        items: register
            .packages
            .iter()
            .map(|package| (package.sku.clone(), package.quantity))
            .collect(),
    }
}

fn registered(slip: Slip, replayed: bool) -> Registered {
    let items = slip.items.into_iter();
    Registered {
        replayed,
        package_id: slip.package_id,
        location: slip.location,
        ready_ms: slip.ready_ms,
        items: items
            .map(|(sku, reserved)| Reserved { sku, reserved })
            .collect(),
    }
}

fn code(refused: Refused<Code>) -> Code {
    match refused {
        Refused::KeyReused => Code::KeyReused,
        Refused::Cancelled => Code::Cancelled,
        Refused::Business(code) => code,
        Refused::Busy => Code::Busy,
        Refused::Lost => Code::Internal,
    }
}

fn said(code: Code) -> Fault {
    let fault = code.fault(match code {
        Code::Malformed => "the request cannot be read",
        Code::Unauthorized => "the token is missing or wrong",
        Code::InvalidSku => "there are no such goods",
        Code::InventoryShortage => "there are too few of the goods",
        Code::Cancelled => "the order was cancelled",
        Code::KeyReused => "the key or the order was used with another body",
        Code::Busy => "nothing was done, ask again",
        Code::Version => "no version is spoken by both sides",
        Code::CapacityExceeded => "no zone has room for it",
        Code::Internal => "whether it was done is not known",
    });
    match code {
        Code::Busy => fault.retry_after(BUSY_PAUSE),
        _ => fault,
    }
}
