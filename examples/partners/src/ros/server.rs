//! Paths, headers and errors.

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use http::header::{AUTHORIZATION, HeaderName, HeaderValue, LOCATION};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use serde_json::json;

use super::fleet::{Fleet, Trip};
use super::message::{Route, RouteRequest};
use super::refusal::{malformed, problem, refusal};
use super::route::plan;
use crate::control::{not_allowed, not_found};
use crate::http_server::{Refusal, Site, serve_site};
use crate::ledger::{Call, Done, Fingerprint, Ledger, Look};
use crate::problem::{empty_response, json_response};
use crate::secret::same;
use crate::start::{Live, Partner, start};
use crate::{Config, Error, Running};

const ROS: Partner = Partner {
    name: "ros",
    ops: &["put", "get", "delete"],
    codes: &[
        "MISSING_DELIVERY_ADDRESSES",
        "UNKNOWN_ZONE",
        "KEY_REUSED",
        "CANCELLED",
        "MALFORMED",
        "UNAUTHORIZED",
        "NO_AVAILABLE_VEHICLES",
        "BUSY",
        "INTERNAL",
    ],
};

/// The most stops of one route: finding their order is quadratic.
const STOPS_MAX: usize = 500;
/// The longest idempotency key.
const KEY_BYTES_MAX: usize = 256;
/// The most vehicles on the road that one answer names.
const VEHICLES_SHOWN_MAX: usize = 1000;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const DEADLINE: HeaderName = HeaderName::from_static("request-deadline-ms");

/// Starts the route optimiser.
///
/// # Errors
///
/// A taken port, a setting that makes no sense, a ledger that cannot be opened; nothing runs then.
pub async fn spawn_ros(config: Config) -> Result<Running, Error> {
    let fleet = Fleet::new(config.fleet_size());
    let token = config.token_wanted().map(str::to_owned);
    start(&config, ROS, fleet, |live: Live<Fleet>| {
        let site = Ros {
            ledger: live.ledger,
            token,
        };
        serve_site(live.listener, live.stop, site, live.faults)
    })
    .await
}

struct Ros {
    ledger: Ledger<Fleet>,
    token: Option<String>,
}

enum Ask {
    Put {
        order_id: String,
        key: String,
        body: RouteRequest,
    },
    Get {
        order_id: String,
    },
    Delete {
        order_id: String,
        key: String,
    },
    Vehicles,
    Zones,
    Health,
}

impl Site for Ros {
    type Call = Ask;

    fn read(&self, request: Request<Bytes>) -> Result<Ask, Refusal> {
        let path = request.uri().path();
        if path == "/health" {
            return only_get(request.method(), Ask::Health);
        }
        self.let_in(request.headers())?;
        match path {
            "/v1/vehicles" => return only_get(request.method(), Ask::Vehicles),
            "/v1/zones" => return only_get(request.method(), Ask::Zones),
            _ => {}
        }
        let order_id = path
            .strip_prefix("/v1/orders/")
            .and_then(|rest| rest.strip_suffix("/route"))
            .filter(|id| !id.contains('/'))
            .ok_or_else(|| Box::new(not_found()))?;
        if !is_id(order_id) {
            return Err(malformed("an order id has 1 to 64 of A-Z a-z 0-9 . _ -").into());
        }
        let order_id = order_id.to_owned();
        let key = key(request.headers())?;
        match *request.method() {
            Method::PUT => {
                in_time(request.headers())?;
                let body = body(request.body())?;
                Ok(Ask::Put {
                    order_id,
                    key,
                    body,
                })
            }
            Method::GET => Ok(Ask::Get { order_id }),
            Method::DELETE => {
                in_time(request.headers())?;
                Ok(Ask::Delete { order_id, key })
            }
            _ => Err(not_allowed("GET, PUT, DELETE").into()),
        }
    }

    fn op(&self, ask: &Ask) -> Option<&'static str> {
        match ask {
            Ask::Put { .. } => Some("put"),
            Ask::Get { .. } => Some("get"),
            Ask::Delete { .. } => Some("delete"),
            Ask::Vehicles | Ask::Zones | Ask::Health => None,
        }
    }

    async fn answer(&self, ask: Ask) -> Response<Bytes> {
        match ask {
            Ask::Put {
                order_id,
                key,
                body,
            } => self.put(&order_id, &key, &body).await,
            Ask::Get { order_id } => match self.ledger.look(&order_id).await {
                Ok(Look::Live(route)) => json_response(StatusCode::OK, &route),
                Ok(Look::Nothing) => problem("NOT_FOUND"),
                Ok(Look::Cancelled(_)) => problem("CANCELLED"),
                Err(_) => problem("INTERNAL"),
            },
            Ask::Delete { order_id, key } => {
                let call = Call {
                    op: "delete",
                    key: &key,
                    order_id: &order_id,
                    body: Fingerprint::of_bytes(b""),
                };
                match self.ledger.cancel(call).await {
                    Ok(_) => empty_response(StatusCode::NO_CONTENT),
                    Err(refused) => refusal(refused),
                }
            }
            Ask::Vehicles => self.vehicles(),
            Ask::Zones => zones(),
            Ask::Health => json_response(StatusCode::OK, &json!({"status": "ok"})),
        }
    }

    fn error(&self, _: &Ask, code: Option<&str>) -> Response<Bytes> {
        problem(code.unwrap_or("BUSY"))
    }
}

impl Ros {
    fn let_in(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(wanted) = &self.token else {
            return Ok(());
        };
        let shown = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.as_bytes().split_at_checked(7))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "))
            .map(|(_, token)| token);
        if shown.is_some_and(|shown| same(shown, wanted.as_bytes())) {
            return Ok(());
        }
        Err(problem("UNAUTHORIZED").into())
    }

    async fn put(&self, order_id: &str, key: &str, body: &RouteRequest) -> Response<Bytes> {
        let call = Call {
            op: "put",
            key,
            order_id,
            body: Fingerprint::of(body),
        };
        // Outside the ledger's lock, although a replay has no use for it.
        let plan = plan(&body.delivery_addresses);
        let done = self.ledger.forward(call, |fleet, stamp| {
            let addresses = &body.delivery_addresses;
            if addresses.iter().any(|a| a.contains("RESTRICTED")) {
                return Err("UNKNOWN_ZONE");
            }
            let vehicle = fleet.free(stamp.at).ok_or("NO_AVAILABLE_VEHICLES")?;
            let delivery = stamp.at + TimeDelta::minutes(plan.minutes.into());
            let trip = Trip {
                vehicle,
                until: delivery.timestamp_millis(),
            };
            let route = Route {
                order_id: order_id.to_owned(),
                route_id: format!("RT-{:08}", stamp.n),
                eta_minutes: plan.minutes,
                total_distance_km: plan.km,
                assigned_driver: format!("DRV-{vehicle:07}"),
                assigned_vehicle: format!("VEH-{vehicle:07}"),
                optimized_stops: plan.stops,
                estimated_delivery: delivery,
                optimization_score: plan.score,
                replayed: false,
            };
            Ok((trip, route))
        });
        let (status, route) = match done.await {
            Ok(Done {
                answer,
                replayed: false,
            }) => (StatusCode::CREATED, answer),
            Ok(Done { answer, .. }) => {
                let replayed = true;
                (StatusCode::OK, Route { replayed, ..answer })
            }
            Err(refused) => return refusal(refused),
        };
        let mut response = json_response(status, &route);
        let place = HeaderValue::try_from(format!("/v1/orders/{order_id}/route"));
        if let (StatusCode::CREATED, Ok(place)) = (status, place) {
            response.headers_mut().insert(LOCATION, place);
        }
        response
    }

    fn vehicles(&self) -> Response<Bytes> {
        let now = Utc::now();
        let (total, away, shown) = self.ledger.books(|fleet| {
            let shown: Vec<Trip> = fleet.away(now).take(VEHICLES_SHOWN_MAX).collect();
            (fleet.size(), fleet.away(now).count(), shown)
        });
        let vehicles: Vec<_> = shown
            .into_iter()
            .map(|trip| {
                let free_at = DateTime::<Utc>::from_timestamp_millis(trip.until);
                json!({"id": format!("VEH-{:07}", trip.vehicle), "status": "ON_THE_ROAD", "freeAt": free_at})
            })
            .collect();
        let available = u64::from(total).saturating_sub(away as u64);
        let body = json!({"total": total, "available": available, "onTheRoad": away, "vehicles": vehicles});
        json_response(StatusCode::OK, &body)
    }
}

fn zones() -> Response<Bytes> {
    let zones: Vec<_> = ('A'..='J')
        .map(|letter| json!({"id": format!("{letter}1")}))
        .collect();
    json_response(StatusCode::OK, &json!({"zones": zones}))
}

fn only_get(method: &Method, ask: Ask) -> Result<Ask, Refusal> {
    if method == Method::GET {
        Ok(ask)
    } else {
        Err(not_allowed("GET").into())
    }
}

fn is_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=64).contains(&id.len()) && id.bytes().all(allowed)
}

fn key(headers: &HeaderMap) -> Result<String, Refusal> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(String::new());
    };
    value
        .to_str()
        .ok()
        .filter(|key| key.len() <= KEY_BYTES_MAX)
        .map(str::to_owned)
        .ok_or_else(|| {
            malformed("an idempotency key has at most 256 visible ASCII characters").into()
        })
}

/// Whoever asked has given up by a deadline that has passed: nothing is done for nobody.
fn in_time(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(value) = headers.get(DEADLINE) else {
        return Ok(());
    };
    let left = value.to_str().ok().and_then(|ms| ms.parse::<u64>().ok());
    match left {
        Some(0) => Err(problem("BUSY").into()),
        Some(_) => Ok(()),
        None => Err(malformed("Request-Deadline-Ms is a whole number").into()),
    }
}

fn body(bytes: &[u8]) -> Result<RouteRequest, Refusal> {
    let body: RouteRequest =
        serde_json::from_slice(bytes).map_err(|error| malformed(&error.to_string()))?;
    if body.delivery_addresses.is_empty() {
        return Err(problem("MISSING_DELIVERY_ADDRESSES").into());
    }
    if body.delivery_addresses.len() > STOPS_MAX {
        return Err(malformed("a route has at most 500 stops").into());
    }
    Ok(body)
}
