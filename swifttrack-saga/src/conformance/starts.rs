//! One id is one saga, and one version one definition.

use uuid::Uuid;

use super::fixture::{DEFINITION, ENDED, Owner, loaded, start};
use crate::store::{Outcome, Shape, Store};

fn exists(outcome: &Outcome) -> Option<(Uuid, bool)> {
    match outcome {
        Outcome::Exists { saga, same_input } => Some((*saga, *same_input)),
        _ => None,
    }
}

/// The second start is told which saga it is.
pub async fn the_same_start_twice_is_one_saga(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let saga = owner.started(store, "a").await;
    let again = start(&owner.leases[9], "a", b"input");
    let second = again.saga;
    let outcomes = owner.commit(store, vec![again]).await;
    assert_eq!(exists(&outcomes[0]), Some((saga, true)));
    assert!(store.load(&[second]).await.expect("a read").is_empty());
}

/// The same id with another input is told apart.
pub async fn another_input_is_told(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let saga = owner.started(store, "a").await;
    let outcomes = owner
        .commit(store, vec![start(&owner.leases[0], "a", b"another")])
        .await;
    assert_eq!(exists(&outcomes[0]), Some((saga, false)));
}

/// The key outlives the saga.
pub async fn an_id_is_taken_after_the_end_too(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let saga = owner.started(store, "a").await;
    let mut end = owner.next(&loaded(store, saga).await);
    end.head = ENDED;
    owner.must(store, end).await;
    let outcomes = owner.commit(store, vec![owner.start("a")]).await;
    assert_eq!(exists(&outcomes[0]), Some((saga, true)));
}

/// Versions of a definition share its ids.
pub async fn an_id_is_taken_in_another_version_too(store: &dyn Store) {
    let one = Owner::of(store).await;
    let two = Owner::of_group(store, "conform@2").await;
    let saga = one.started(store, "a").await;
    let outcomes = two.commit(store, vec![two.start("a")]).await;
    assert_eq!(exists(&outcomes[0]), Some((saga, true)));
    assert_eq!(loaded(store, saga).await.version, 1);
    let other = two.started(store, "b").await;
    assert_eq!(loaded(store, other).await.version, 2);
}

/// An id belongs to its definition.
pub async fn ids_of_two_definitions_are_two_sagas(store: &dyn Store) {
    let one = Owner::of(store).await;
    let two = Owner::of_group(store, "other@1").await;
    let a = one.started(store, "a").await;
    let b = two.started(store, "a").await;
    assert_ne!(a, b);
    assert_eq!(loaded(store, b).await.definition, "other");
    let found = store
        .find("other", "a")
        .await
        .expect("a read")
        .expect("its key");
    assert_eq!(found.saga, b);
}

/// Two callers of one flush are arbitrated as two flushes are.
pub async fn the_same_id_twice_in_a_batch_is_one_saga(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let outcomes = owner
        .commit(
            store,
            vec![owner.start("a"), owner.start("a"), owner.start("b")],
        )
        .await;
    let committed = |o: &&Outcome| matches!(o, Outcome::Committed);
    assert_eq!(outcomes.iter().filter(committed).count(), 2, "{outcomes:?}");
    let winner = store
        .find("conform", "a")
        .await
        .expect("a read")
        .expect("its key");
    let loser = outcomes.iter().find_map(exists);
    assert_eq!(loser, Some((winner.saga, true)));
}

/// However many start it at once, in however many orders.
pub async fn of_many_concurrent_starts_one_wins(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let ids: Vec<String> = (0..20).map(|i| format!("saga {i}")).collect();
    let attempt = async |shard: usize| {
        let mut starts: Vec<_> = ids
            .iter()
            .map(|id| start(&owner.leases[shard], id, b"input"))
            .collect();
        if shard % 2 == 1 {
            starts.reverse();
        }
        starts.sort_by_key(|change| change.saga);
        // A store may ask to try again, and says nothing of it happened.
        loop {
            match store.commit(owner.worker, &starts).await {
                Ok(outcomes) => break outcomes,
                Err(error) => assert!(error.is_retriable(), "{error:?}"),
            }
        }
    };
    let (a, b, c, d) = tokio::join!(attempt(0), attempt(1), attempt(2), attempt(3));
    let all = [a, b, c, d].concat();
    let committed = all
        .iter()
        .filter(|o| matches!(o, Outcome::Committed))
        .count();
    assert_eq!(committed, ids.len(), "{all:?}");
    let told = all
        .iter()
        .filter(|o| exists(o).is_some_and(|(_, same)| same))
        .count();
    assert_eq!(told, 3 * ids.len(), "{all:?}");
}

/// A definition that has changed under its version is found out by what is kept of it.
pub async fn a_shape_is_kept_as_it_was_first_seen(store: &dyn Store) {
    let shape = |version, text: &str| Shape {
        definition: DEFINITION.to_owned(),
        version,
        text: text.to_owned(),
    };
    let look = store.describe(&[shape(1, "seen")], false).await;
    assert_eq!(look.expect("a look"), ["seen"], "a look keeps nothing");
    let kept = async |shapes: &[Shape]| store.describe(shapes, true).await.expect("what is kept");
    assert_eq!(kept(&[shape(1, "one")]).await, ["one"]);
    let both = [shape(2, "two"), shape(1, "other")];
    assert_eq!(kept(&both).await, ["two", "one"]);
    assert_eq!(kept(&[shape(1, "one")]).await, ["one"]);
    assert!(kept(&[]).await.is_empty());
}
