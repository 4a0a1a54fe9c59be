//! The saga against models of its partners: every order of crashes, refusals, lost and late
//! messages and cancels, up to a bound.

use async_trait::async_trait;
use swifttrack_breaker::{BreakerConfig, BreakerHandle};
use swifttrack_saga::verify::{Explorer, Lost, Model, Report, World};

use super::*;
use crate::estimate::Estimate;
use crate::order::{Package, Priority};

/// What a partner knows about the one order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
enum Place {
    #[default]
    Empty,
    /// Done, under this key.
    Live(String),
    Cancelled,
}

/// The three partners, as they decide: a cancelled order first, then what is there already.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Three {
    places: [Place; 3],
    /// Whether a cancel of nothing is remembered.
    tombstones: bool,
    /// A forward call came under another key than the one before it.
    keys: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Ask {
    Do(usize, String),
    Find(usize),
    Cancel(usize),
}

#[derive(Clone, Debug)]
enum Told {
    Done,
    Refused,
    Found(Place),
    Cancelled(Cancelled),
}

impl Three {
    fn new(tombstones: bool) -> Self {
        Self {
            places: Default::default(),
            tombstones,
            keys: false,
        }
    }
}

impl Model for Three {
    type Request = Ask;
    type Answer = Told;

    fn answer(&mut self, request: &Ask) -> Told {
        match request {
            Ask::Do(at, key) => match &self.places[*at] {
                Place::Cancelled => Told::Refused,
                Place::Live(first) => {
                    self.keys |= first != key;
                    Told::Done
                }
                Place::Empty => {
                    self.places[*at] = Place::Live(key.clone());
                    Told::Done
                }
            },
            Ask::Find(at) => Told::Found(self.places[*at].clone()),
            Ask::Cancel(at) => {
                let after = match self.tombstones {
                    true => Place::Cancelled,
                    false => Place::Empty,
                };
                Told::Cancelled(match std::mem::replace(&mut self.places[*at], after) {
                    Place::Empty => Cancelled::Tombstoned,
                    Place::Live(_) => Cancelled::Cancelled,
                    Place::Cancelled => Cancelled::Already,
                })
            }
        }
    }

    fn refusal(&self, request: &Ask) -> Option<Told> {
        matches!(request, Ask::Do(..)).then_some(Told::Refused)
    }

    fn effects(&self) -> Vec<String> {
        let live = |step: &Step| matches!(self.places[step.index()], Place::Live(_));
        Step::ALL
            .into_iter()
            .filter(live)
            .map(|step| step.prefix().to_owned())
            .collect()
    }

    fn completed(&self) -> Result<(), String> {
        match self.effects().len() {
            3 => Ok(()),
            _ => Err(format!("ready, with effects at {:?} only", self.effects())),
        }
    }

    fn broken(&self) -> Option<String> {
        self.keys
            .then(|| "a step was sent under two keys".to_owned())
    }
}

/// An adapter into the model.
struct Modelled<T> {
    step: Step,
    world: World<Three>,
    gives: T,
}

impl<T> Modelled<T> {
    async fn ask(&self, request: Ask) -> Result<Told, Error> {
        self.world.call(request).await.map_err(|lost| match lost {
            Lost::NotSent => Error::not_applied("nothing was sent"),
            Lost::Unknown => Error::unknown("no answer came"),
        })
    }
}

#[async_trait]
impl<T: Clone + Send + Sync + 'static> Adapter for Modelled<T> {
    type Request = NewOrder;
    type Response = T;
    type Subject = Subject;

    fn name(&self) -> &'static str {
        self.step.service()
    }

    async fn call(&self, _: &NewOrder, cx: &CallContext) -> Result<T, Error> {
        let request = Ask::Do(self.step.index(), cx.idempotency_key.clone());
        match self.ask(request).await? {
            Told::Done => Ok(self.gives.clone()),
            Told::Refused => Err(Error::rejected("refused").with_code("REFUSED")),
            told => panic!("to a call: {told:?}"),
        }
    }

    async fn query(&self, _: &Subject, _: &CallContext) -> Result<Lookup<T>, Error> {
        match self.ask(Ask::Find(self.step.index())).await? {
            Told::Found(Place::Empty) => Ok(Lookup::NotYet),
            // Two of the three know that it happened but not what they said.
            Told::Found(Place::Live(_)) if self.step == Step::Ros => {
                Ok(Lookup::Done(self.gives.clone()))
            }
            Told::Found(Place::Live(_)) => Ok(Lookup::Happened),
            Told::Found(Place::Cancelled) => Ok(Lookup::Never),
            told => panic!("to a question: {told:?}"),
        }
    }

    async fn cancel(&self, _: &Subject, _: &CallContext) -> Result<Cancelled, Error> {
        match self.ask(Ask::Cancel(self.step.index())).await? {
            Told::Cancelled(cancelled) => Ok(cancelled),
            told => panic!("to a cancel: {told:?}"),
        }
    }

    async fn probe(&self, _: &CallContext) -> Result<(), Error> {
        Ok(())
    }
}

/// The gate as in service, but for its circuit, which has no memory from one path to the next.
fn gate<T>(step: Step, world: &World<Three>, gives: T) -> Arc<Gate<Modelled<T>>> {
    let circuit = BreakerHandle::new(step.service(), BreakerConfig::new());
    circuit.disable();
    let world = world.clone();
    let adapter = Modelled { step, world, gives };
    Arc::new(Gate::new(
        step,
        adapter,
        circuit,
        Arc::new(Estimate::default()),
    ))
}

fn order() -> NewOrder {
    NewOrder {
        id: "ORD-1".to_owned(),
        client_id: "CLIENT-001".to_owned(),
        priority: Priority::Standard,
        packages: vec![Package {
            sku: "ITEM-001".to_owned(),
            description: None,
            quantity: 1,
            priority: Priority::Standard,
        }],
        delivery_addresses: vec!["1 Main Street".to_owned()],
    }
}

fn explore(tombstones: bool, faults: u32) -> Report {
    let world = World::new(Three::new(tombstones));
    let partners = Partners {
        cms: gate(
            Step::Cms,
            &world,
            Contract {
                contract_id: "C".to_owned(),
                estimated_cost: 400.0,
                currency: "LKR".to_owned(),
            },
        ),
        wms: gate(
            Step::Wms,
            &world,
            Registration {
                package_id: "P".to_owned(),
                location: "A1".to_owned(),
            },
        ),
        ros: gate(
            Step::Ros,
            &world,
            Route {
                route_id: "R".to_owned(),
                eta_minutes: 30,
                assigned_vehicle: "V".to_owned(),
            },
        ),
    };
    let retry = config::Retry {
        retries: 2,
        delay: std::time::Duration::from_secs(2),
    };
    let saga = define(partners, retry).expect("the definition is fixed");
    Explorer::new(&saga, world, order())
        .faults_max(faults)
        .run()
        .expect("the steps do the same twice")
}

#[test]
fn no_two_faults_leak_double_or_strand_an_order() {
    let report = explore(true, 2);
    println!("{report}");
    assert!(report.holds(), "{report}");
}

/// What the check is worth: it finds what partners without tombstones would cost.
#[test]
fn partners_without_tombstones_would_leak() {
    let report = explore(false, 2);
    let found = report.counterexample().map(ToString::to_string);
    assert!(
        found
            .as_deref()
            .is_some_and(|story| story.contains("these stand")),
        "{report}"
    );
}
