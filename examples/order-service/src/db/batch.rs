//! A commit's transitions, turned into rows. Pure, and the same for both databases.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use swifttrack_saga::hook::{HookError, Transition, What};
use uuid::Uuid;

use crate::event::{Draft, moment, order_event, retry_event};
use crate::idempotency::Idempotency;
use crate::order::NewOrder;
use crate::projection::{Patch, StepView, project};

/// The rows of one commit.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Orders that begin with this commit.
    pub(super) orders: Vec<OrderRow>,
    pub(super) packages: Vec<PackageRow>,
    pub(super) addresses: Vec<AddressRow>,
    pub(super) keys: Vec<KeyRow>,
    /// Orders that were there before.
    pub(super) updates: Vec<UpdateRow>,
    pub(super) retries: Vec<RetryRow>,
    /// Each order's events, without their numbers, with the moment of each.
    drafts: Vec<Drafts>,
}

#[derive(Debug, Serialize)]
pub(super) struct OrderRow {
    pub(super) id: String,
    client_id: String,
    priority: &'static str,
    status: &'static str,
    stage: &'static str,
    cms_step: String,
    wms_step: String,
    ros_step: String,
    last_sequence: i64,
    version: i64,
    at_us: i64,
}

#[derive(Debug, Serialize)]
pub(super) struct PackageRow {
    order_id: String,
    line: usize,
    sku: String,
    description: Option<String>,
    quantity: u32,
    priority: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct AddressRow {
    order_id: String,
    stop: usize,
    address: String,
}

#[derive(Debug, Serialize)]
pub(super) struct KeyRow {
    pub(super) client_id: String,
    pub(super) key: String,
    pub(super) fingerprint: String,
    order_id: String,
    pub(super) at_us: i64,
    #[serde(skip)]
    pub(super) saga: Uuid,
}

#[derive(Debug, Serialize)]
pub(super) struct UpdateRow {
    id: String,
    status: Option<&'static str>,
    stage: Option<&'static str>,
    attention: Option<bool>,
    cms_step: Option<String>,
    wms_step: Option<String>,
    ros_step: Option<String>,
    cms: Option<String>,
    wms: Option<String>,
    ros: Option<String>,
    failure: Option<String>,
    events: usize,
    version: i64,
    at_us: i64,
}

/// An event with its number, ready for `order_events` and for the outbox.
#[derive(Debug, Serialize)]
pub(super) struct EventRow {
    pub(super) order_id: String,
    pub(super) sequence: i64,
    pub(super) envelope: String,
    #[serde(skip)]
    pub(super) id: Uuid,
    #[serde(skip)]
    pub(super) saga: Uuid,
    #[serde(skip)]
    pub(super) kind: String,
}

/// An event for `retry-events`.
#[derive(Debug)]
pub(super) struct RetryRow {
    pub(super) id: Uuid,
    pub(super) saga: Uuid,
    pub(super) order_id: String,
    pub(super) kind: String,
    pub(super) envelope: String,
}

/// One order's events of this commit, each with its moment.
#[derive(Debug)]
struct Drafts {
    order_id: Arc<str>,
    saga: Uuid,
    events: Vec<(i64, Draft)>,
}

/// One order's share of a batch.
struct Share {
    id: Arc<str>,
    saga: Uuid,
    begins: Option<NewOrder>,
    patch: Patch,
    drafts: Vec<(i64, Draft)>,
    version: u32,
    at_us: i64,
}

impl Batch {
    pub(super) fn of(transitions: &[&Transition]) -> Result<Self, HookError> {
        let mut batch = Self::default();
        let mut shares: Vec<Share> = Vec::new();
        let mut places: HashMap<Arc<str>, usize> = HashMap::new();
        for transition in transitions {
            let id = &transition.id;
            let place = *places.entry(id.clone()).or_insert_with(|| {
                shares.push(Share {
                    id: id.clone(),
                    saga: transition.saga,
                    begins: None,
                    patch: Patch::default(),
                    drafts: Vec::new(),
                    version: 0,
                    at_us: 0,
                });
                shares.len() - 1
            });
            let share = &mut shares[place];
            let at_us = transition.at.0;
            if let What::Started { input } = &transition.what {
                let order: NewOrder = serde_json::from_slice(input)?;
                batch.keys.extend(key(transition, &order));
                share.begins = Some(order);
            }
            let projected = project(transition);
            share.patch.merge(projected.patch);
            share
                .drafts
                .extend(projected.events.into_iter().map(|draft| (at_us, draft)));
            share.version = transition.seq;
            share.at_us = at_us;
            if let Some(draft) = projected.retry {
                let event = Uuid::now_v7();
                batch.retries.push(RetryRow {
                    id: event,
                    saga: transition.saga,
                    order_id: id.to_string(),
                    envelope: retry_event(event, id, moment(at_us), &draft).to_string(),
                    kind: draft.kind,
                });
            }
        }
        for share in shares {
            batch.add(share)?;
        }
        Ok(batch)
    }

    fn add(&mut self, share: Share) -> Result<(), HookError> {
        let events = share.drafts.len();
        self.drafts.push(Drafts {
            order_id: share.id.clone(),
            saga: share.saga,
            events: share.drafts,
        });
        let [cms_step, wms_step, ros_step] = share.patch.steps;
        let [cms, wms, ros] = share.patch.partners;
        let version = i64::from(share.version);
        let Some(order) = share.begins else {
            self.updates.push(UpdateRow {
                id: share.id.to_string(),
                status: share.patch.status,
                stage: share.patch.stage,
                attention: share.patch.attention,
                cms_step: text(cms_step.as_ref())?,
                wms_step: text(wms_step.as_ref())?,
                ros_step: text(ros_step.as_ref())?,
                cms: text(cms.as_ref())?,
                wms: text(wms.as_ref())?,
                ros: text(ros.as_ref())?,
                failure: text(share.patch.failure.as_ref())?,
                events,
                version,
                at_us: share.at_us,
            });
            return Ok(());
        };
        let step = |view: Option<StepView>| {
            serde_json::to_string(&view.unwrap_or_else(|| StepView::new("PENDING")))
        };
        self.packages.extend(
            order
                .packages
                .into_iter()
                .enumerate()
                .map(|(line, package)| PackageRow {
                    order_id: order.id.clone(),
                    line,
                    sku: package.sku,
                    description: package.description,
                    quantity: package.quantity,
                    priority: package.priority.as_str(),
                }),
        );
        self.addresses
            .extend(
                order
                    .delivery_addresses
                    .into_iter()
                    .enumerate()
                    .map(|(stop, address)| AddressRow {
                        order_id: order.id.clone(),
                        stop,
                        address,
                    }),
            );
        self.orders.push(OrderRow {
            id: order.id,
            client_id: order.client_id,
            priority: order.priority.as_str(),
            status: share.patch.status.unwrap_or_default(),
            stage: share.patch.stage.unwrap_or_default(),
            cms_step: step(cms_step)?,
            wms_step: step(wms_step)?,
            ros_step: step(ros_step)?,
            last_sequence: i64::try_from(events)?,
            version,
            at_us: share.at_us,
        });
        Ok(())
    }

    /// Numbers the events: `last` says each updated order's last number after this commit.
    ///
    /// # Errors
    ///
    /// If an order that should be there is not: then its events have no numbers, and the
    /// commit must not happen.
    pub(super) fn number(
        &mut self,
        last: &HashMap<String, i64>,
    ) -> Result<Vec<EventRow>, HookError> {
        let begun: HashMap<&str, i64> = self
            .orders
            .iter()
            .map(|order| (order.id.as_str(), order.last_sequence))
            .collect();
        let mut rows = Vec::new();
        for drafts in &self.drafts {
            let order = &drafts.order_id;
            let known = begun.get(&**order).or_else(|| last.get(&**order)).copied();
            let Some(last) = known else {
                return Err(HookError::Failed(
                    format!("order {order} has a saga and no row").into(),
                ));
            };
            let mut sequence = last - i64::try_from(drafts.events.len())?;
            for (at_us, draft) in &drafts.events {
                sequence += 1;
                let id = Uuid::now_v7();
                rows.push(EventRow {
                    order_id: order.to_string(),
                    sequence,
                    envelope: order_event(id, order, sequence, moment(*at_us), draft).to_string(),
                    id,
                    saga: drafts.saga,
                    kind: draft.kind.clone(),
                });
            }
        }
        Ok(rows)
    }
}

fn text<T: Serialize>(value: Option<&T>) -> Result<Option<String>, serde_json::Error> {
    value.map(serde_json::to_string).transpose()
}

fn key(transition: &Transition, order: &NewOrder) -> Option<KeyRow> {
    let attachment = transition.attachment.as_ref()?;
    let idempotency = attachment.downcast_ref::<Idempotency>()?;
    Some(KeyRow {
        client_id: order.client_id.clone(),
        key: idempotency.key.clone(),
        fingerprint: idempotency.fingerprint.clone(),
        order_id: order.id.clone(),
        at_us: transition.at.0,
        saga: transition.saga,
    })
}
