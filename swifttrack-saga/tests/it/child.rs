//! The example of a saga as a step of another does what it says.

#[allow(dead_code)] // its `main` is the example's
#[path = "../../examples/child_saga.rs"]
mod child_saga;

use swifttrack_saga::hook::End;

fn undone(end: &End) -> Vec<&str> {
    match end {
        End::Completed { .. } => vec!["completed"],
        End::Compensated { undone, .. } => undone.iter().map(|name| &**name).collect(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_ends_with_its_parent_both_ways() {
    let orders = [("good", 700), ("free", 0), ("large", 70_000)];
    let ends = child_saga::run(&orders).await.unwrap();
    let [good, free, large] = &ends[..] else {
        panic!("three orders")
    };
    assert_eq!(
        (undone(&good.0), undone(&good.1)),
        (vec!["completed"], vec!["completed"])
    );
    // The child could not: it undid what it had, and told the parent last.
    assert_eq!(
        (undone(&free.0), undone(&free.1)),
        (vec!["start-payment"], vec!["on-failure"])
    );
    // The parent could not, after the child had: the child stays, and its money goes back.
    assert_eq!(
        (undone(&large.0), undone(&large.1)),
        (vec!["start-payment"], vec!["completed"])
    );
}
