//! Many circuits.

use swifttrack_breaker::{BreakerConfig, Policy, Registry, State, Window};

use crate::support::{fail, next, secs};

fn config() -> BreakerConfig {
    BreakerConfig::new().trip_after(2).metrics(false)
}

#[test]
fn one_key_is_one_circuit() {
    let registry = Registry::new(config());
    fail(&registry.get("a"), 2);
    assert_eq!(registry.get("a").state(), State::Open);
    assert_eq!(registry.get("b").state(), State::Closed);
    assert!(registry.find("c").is_none());
    let names: Vec<_> = registry
        .snapshots()
        .into_iter()
        .map(|one| one.name.to_string())
        .collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn a_new_key_takes_the_place_of_an_idle_one() {
    let registry = Registry::with_cap(config(), 100);
    for key in 0..10_000 {
        assert_eq!(registry.get(&key.to_string()).name(), key.to_string());
    }
    assert_eq!(registry.len(), 100);
    assert_eq!(registry.snapshots().len(), 100);
}

#[test]
fn an_unhealthy_one_is_never_forgotten_and_a_held_one_neither() {
    let windowed = config().policy(Policy::failure_rate(0.5, Window::calls(20)));
    let registry = Registry::with_cap(config(), 4);
    fail(&registry.get("open"), 2);
    fail(&registry.get("failing"), 1);
    let rate = registry.get_with("windowed", windowed);
    fail(&rate, 1);
    rate.try_acquire().unwrap().success();
    drop(rate);
    let held = registry.get("held");

    let late = registry.get("late");
    assert_eq!(late.name(), "overflow");
    fail(&late, 2);
    assert_eq!(
        registry.get("later").state(),
        State::Open,
        "those who found no place share one"
    );
    assert_eq!(registry.evict_idle(secs(0)), 0);
    assert_eq!(registry.get("open").state(), State::Open);

    drop(held);
    assert_eq!(registry.get("late").name(), "late");
    assert_eq!(registry.len(), 4);
    assert!(registry.find("held").is_none());
}

#[test]
fn idle_circuits_can_be_forgotten_at_once() {
    let registry = Registry::new(config());
    for key in ["a", "b", "c"] {
        let _ = registry.get(key);
    }
    fail(&registry.get("b"), 1);
    assert_eq!(registry.evict_idle(secs(3600)), 0, "asked for a moment ago");
    assert_eq!(registry.evict_idle(secs(0)), 2);
    assert_eq!(registry.len(), 1);
}

#[tokio::test]
async fn it_hears_the_transitions_of_all() {
    let registry = Registry::new(config());
    let mut events = registry.subscribe();
    fail(&registry.get("a"), 2);
    fail(&registry.get("b"), 2);
    for name in ["a", "b"] {
        let event = next(&mut events).await;
        assert_eq!((&*event.name, event.seq, event.to), (name, 1, State::Open));
    }
}

#[test]
fn threads_that_ask_for_one_key_get_one_circuit_and_the_cap_holds() {
    let registry = Registry::with_cap(config(), 8);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let registry = &registry;
            scope.spawn(move || {
                for step in 0..2000 {
                    let circuit = registry.get(&((step * 7 + thread) % 40).to_string());
                    circuit.try_acquire().unwrap().success();
                    assert!(registry.len() <= 8);
                }
            });
        }
    });
    assert_eq!(registry.snapshots().len(), registry.len());
}
