//! Requests and signals are found (law 8).

use super::fixture::{ENDED, Owner, is_due, live, loaded, past_pivot, request, signal};
use crate::store::{Head, Outcome, Sighting, SignalOutcome, Store, Timestamp};

/// Accepted, it is found by the owner, who cannot commit before it knows of it.
pub async fn an_accepted_request_is_a_promise(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let saga = owner.started(store, "a").await;
    let before = loaded(store, saga).await;
    let Sighting::Accepted { saga: seen, n } =
        store.request(request("a")).await.expect("a request")
    else {
        panic!("it runs");
    };
    assert_eq!(seen, saga);
    assert!(
        is_due(store, &owner, saga).await,
        "the owner's sweep finds it"
    );
    for head in [live(None), ENDED] {
        let mut blind = owner.next(&before);
        blind.head = head;
        let outcomes = owner.commit(store, vec![blind]).await;
        assert!(matches!(outcomes[..], [Outcome::Conflict]), "{outcomes:?}");
    }
    let after = loaded(store, saga).await;
    assert_ne!(after.ctl, before.ctl);
    let [command] = &after.commands[..] else {
        panic!("{:?}", after.commands);
    };
    let mut asked = request("a").command;
    asked.n = n;
    assert_eq!(*command, asked);
}

/// Applied requests are gone, later ones stay, in order.
pub async fn an_applied_request_is_forgotten(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let saga = owner.started(store, "a").await;
    for verb in ["pause", "resume", "cancel"] {
        let mut asked = request("a");
        asked.command.verb = verb.to_owned();
        asked.command.body = None;
        store.request(asked).await.expect("a request");
    }
    let found = loaded(store, saga).await;
    let verbs: Vec<&str> = found.commands.iter().map(|c| c.verb.as_str()).collect();
    assert_eq!(verbs, ["pause", "resume", "cancel"]);
    let mut change = owner.next(&found);
    change.requests_until = found.commands[1].n;
    owner.must(store, change).await;
    let left = loaded(store, saga).await.commands;
    assert_eq!(left[..], found.commands[2..]);
}

/// Past the point of no return there is no cancel.
pub async fn a_request_past_the_pivot_is_refused(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let saga = owner.started(store, "a").await;
    let mut cancel = request("a");
    cancel.before_pivot = true;
    let mut change = owner.next(&loaded(store, saga).await);
    change.head = past_pivot();
    owner.must(store, change).await;
    let met = store.request(cancel.clone()).await.expect("a request");
    assert_eq!(met, Sighting::PastPivot);
    assert_eq!(
        loaded(store, saga).await.ctl,
        0,
        "a refusal changes nothing"
    );
    cancel.before_pivot = false;
    let met = store.request(cancel).await.expect("a request");
    assert!(matches!(met, Sighting::Accepted { .. }), "{met:?}");
}

/// A verb that was meant for another moment is refused.
pub async fn a_request_at_another_seq_is_refused(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let saga = owner.started(store, "a").await;
    let mut asked = request("a");
    asked.if_seq = Some(2);
    let met = store.request(asked.clone()).await.expect("a request");
    assert_eq!(met, Sighting::Moved { seq: 1 });
    assert!(loaded(store, saga).await.commands.is_empty());
    asked.if_seq = Some(1);
    let met = store.request(asked).await.expect("a request");
    assert!(matches!(met, Sighting::Accepted { .. }), "{met:?}");
}

/// Never started and already ended are two answers.
pub async fn a_request_to_nobody_is_told(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let met = store.request(request("a")).await.expect("a request");
    assert_eq!(met, Sighting::NotFound);
    let saga = owner.started(store, "a").await;
    let mut end = owner.next(&loaded(store, saga).await);
    end.head = ENDED;
    owner.must(store, end).await;
    let met = store.request(request("a")).await.expect("a request");
    assert_eq!(met, Sighting::Ended);
    let mut stranger = request("a");
    stranger.definition = "never heard of".to_owned();
    let met = store.request(stranger).await.expect("a request");
    assert_eq!(met, Sighting::NotFound);
}

/// The same key again is the same signal.
pub async fn a_signal_is_one_however_often_it_is_sent(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let saga = owner.started(store, "a").await;
    let blind = owner.next(&loaded(store, saga).await);
    let first = store.signal(signal("a", "k")).await.expect("a signal");
    assert_eq!(first, SignalOutcome::Accepted { saga });
    let outcomes = owner.commit(store, vec![blind]).await;
    assert!(matches!(outcomes[..], [Outcome::Conflict]), "{outcomes:?}");
    let again = store.signal(signal("a", "k")).await.expect("a signal");
    assert_eq!(again, SignalOutcome::Duplicate);
    let other = store.signal(signal("a", "l")).await.expect("a signal");
    assert_eq!(other, SignalOutcome::Accepted { saga });
    assert!(
        is_due(store, &owner, saga).await,
        "the owner's sweep finds it"
    );
    let found = loaded(store, saga).await.signals;
    let keys: Vec<&str> = found.iter().map(|s| s.dedupe.as_str()).collect();
    assert_eq!(keys, ["k", "l"]);
    assert_eq!(
        (found[0].name.as_str(), &*found[0].payload),
        ("paid", b"words".as_slice())
    );
    assert!(found[0].n < found[1].n);
}

/// A key is of its signal's name.
pub async fn signals_of_two_names_are_two(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let saga = owner.started(store, "a").await;
    store.signal(signal("a", "k")).await.expect("a signal");
    let mut other = signal("a", "k");
    other.name = "shipped".to_owned();
    let met = store.signal(other).await.expect("a signal");
    assert_eq!(met, SignalOutcome::Accepted { saga });
}

/// Taken once, it is not loaded again, and a repeat is still a repeat.
pub async fn a_consumed_signal_stays_known(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let saga = owner.started(store, "a").await;
    store.signal(signal("a", "k")).await.expect("a signal");
    store.signal(signal("a", "l")).await.expect("a signal");
    let found = loaded(store, saga).await;
    let mut change = owner.next(&found);
    change.signals = vec![found.signals[0].n];
    owner.must(store, change).await;
    let left = loaded(store, saga).await.signals;
    assert_eq!(left[..], found.signals[1..]);
    let again = store.signal(signal("a", "k")).await.expect("a signal");
    assert_eq!(again, SignalOutcome::Duplicate);
    assert_eq!(loaded(store, saga).await.signals.len(), 1);
}

/// Never started and already ended are two answers.
pub async fn a_signal_to_nobody_is_told(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let met = store.signal(signal("a", "k")).await.expect("a signal");
    assert_eq!(met, SignalOutcome::NotFound);
    let saga = owner.started(store, "a").await;
    let mut end = owner.next(&loaded(store, saga).await);
    end.head = ENDED;
    owner.must(store, end).await;
    let met = store.signal(signal("a", "k")).await.expect("a signal");
    assert_eq!(met, SignalOutcome::Ended);
}

/// Races of a signal with a commit that puts the saga to sleep, in either order.
const RACES: usize = 30;

/// No signal is slept over: whichever came first, the saga is due afterwards.
pub async fn a_signal_beside_a_commit_is_found(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let saga = owner.started(store, "a").await;
    for race in 0..RACES {
        let found = loaded(store, saga).await;
        let mut asleep = owner.next(&found);
        asleep.head = asleep_for_ever();
        let dedupe = format!("k {race}");
        let (outcomes, met) = tokio::join!(
            owner.commit(store, vec![asleep]),
            store.signal(signal("a", &dedupe)),
        );
        assert_eq!(met.expect("a signal"), SignalOutcome::Accepted { saga });
        assert!(
            is_due(store, &owner, saga).await,
            "slept over in race {race}, the commit being {outcomes:?}"
        );
        let found = loaded(store, saga).await;
        assert!(found.signals.iter().any(|signal| signal.dedupe == dedupe));
    }
}

/// No request is slept over either.
pub async fn a_request_beside_a_commit_is_found(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let saga = owner.started(store, "a").await;
    for race in 0..RACES {
        let found = loaded(store, saga).await;
        let mut asleep = owner.next(&found);
        asleep.head = asleep_for_ever();
        let (outcomes, met) = tokio::join!(
            owner.commit(store, vec![asleep]),
            store.request(request("a")),
        );
        let Sighting::Accepted { n, .. } = met.expect("a request") else {
            panic!("it runs");
        };
        assert!(
            is_due(store, &owner, saga).await,
            "slept over in race {race}, the commit being {outcomes:?}"
        );
        let found = loaded(store, saga).await;
        assert!(found.commands.iter().any(|command| command.n == n));
    }
}

fn asleep_for_ever() -> Head {
    live(Some(Timestamp(i64::MAX)))
}
