//! How a request is decided, the same for every partner.

use crate::rig::{ALL, BOTH, Rig, Who};

/// `F order key body`, `C order key`, `G order`, and what each comes to.
async fn story(who: Who, steps: &[(&str, &str)]) {
    let rig = Rig::new(who).await;
    let mut line = rig.line().await;
    for (step, want) in steps {
        let words: Vec<&str> = step.split_whitespace().collect();
        let told = match words[..] {
            ["F", order, key, body] => line.forward(order, key, body).await,
            ["F", order, body] => line.forward(order, "", body).await,
            ["C", order, key] => line.cancel(order, key).await,
            ["C", order] => line.cancel(order, "").await,
            ["G", order] => line.get(order).await,
            _ => panic!("{step}"),
        };
        let mut want = *want;
        if who == Who::Ros {
            // REST says less: a cancel is 204 whatever it found.
            want = match (words[0], want) {
                ("C", "TOMBSTONED" | "ALREADY_CANCELLED") => "CANCELLED",
                (_, want) => want,
            };
        }
        assert_eq!(told.unwrap(), want, "{who:?}: {step} of {steps:?}");
    }
}

#[tokio::test]
async fn each_request_is_decided_in_the_order_that_is_fixed() {
    for who in ALL {
        for steps in [
            &[
                ("F A k x", "DONE"),
                ("F A k x", "REPLAYED"),
                ("G A", "VERIFIED"),
            ][..],
            &[("F A k x", "DONE"), ("F A l x", "REPLAYED")],
            &[("F A k x", "DONE"), ("F A k y", "KEY_REUSED")],
            &[("F A k x", "DONE"), ("F A l y", "KEY_REUSED")],
            &[
                ("F A k x", "DONE"),
                ("F B k x", "KEY_REUSED"),
                ("G B", "NONE"),
            ],
            // A missing key counts as the order id.
            &[
                ("F A x", "DONE"),
                ("F A A x", "REPLAYED"),
                ("F B A x", "KEY_REUSED"),
            ],
            &[
                ("F A k x", "DONE"),
                ("C A u", "CANCELLED"),
                ("F A k x", "CANCELLED"),
                ("G A", "CANCELLED"),
            ],
            &[
                ("F A k x", "DONE"),
                ("C A u", "CANCELLED"),
                ("F A l y", "CANCELLED"),
            ],
            // The key goes before the tombstone.
            &[
                ("F A k x", "DONE"),
                ("C A u", "CANCELLED"),
                ("F A k y", "KEY_REUSED"),
            ],
            &[
                ("C A u", "TOMBSTONED"),
                ("F A k x", "CANCELLED"),
                ("G A", "CANCELLED"),
            ],
            &[
                ("C A u", "TOMBSTONED"),
                ("C A u", "TOMBSTONED"),
                ("C A v", "ALREADY_CANCELLED"),
            ],
            &[
                ("F A k x", "DONE"),
                ("C A u", "CANCELLED"),
                ("C A u", "CANCELLED"),
                ("C A v", "ALREADY_CANCELLED"),
                ("C A v", "ALREADY_CANCELLED"),
            ],
            &[
                ("C A u", "TOMBSTONED"),
                ("C B u", "KEY_REUSED"),
                ("G B", "NONE"),
            ],
            &[
                ("C A u", "TOMBSTONED"),
                ("C A v", "ALREADY_CANCELLED"),
                ("C B v", "KEY_REUSED"),
            ],
            // Keys are per operation.
            &[("F A k x", "DONE"), ("C A k", "CANCELLED")],
            &[("C A u", "TOMBSTONED"), ("F B u x", "DONE")],
            &[
                ("F A x", "DONE"),
                ("C A", "CANCELLED"),
                ("C A", "CANCELLED"),
            ],
        ] {
            story(who, steps).await;
        }
    }
}

#[tokio::test]
async fn rivals_with_one_order_are_one_effect() {
    for who in ALL {
        let rig = std::sync::Arc::new(Rig::new(who).await);
        let tasks: Vec<_> = (0..40)
            .map(|i| {
                let rig = std::sync::Arc::clone(&rig);
                tokio::spawn(async move {
                    let key = format!("k{}", i % 3);
                    rig.line().await.forward("A", &key, "x").await.unwrap()
                })
            })
            .collect();
        let mut done = 0;
        for task in tasks {
            let told = task.await.unwrap();
            assert!(told == "DONE" || told == "REPLAYED", "{told}");
            done += usize::from(told == "DONE");
        }
        assert_eq!(done, 1);
        assert_eq!(rig.effects().await, ["A APPLIED"]);
    }
}

#[tokio::test]
async fn a_restart_forgets_nothing_that_was_answered() {
    for who in BOTH {
        let rig = Rig::new(who).await;
        let first = who.forward("A", "k", "x").once(rig.addr()).await;
        rig.tell(who.forward("B", "l", "x")).await;
        rig.tell(who.cancel("B", "u")).await;
        rig.tell(who.cancel("C", "v")).await;
        let before = rig.effects().await;

        let rig = rig.restart().await;
        assert_eq!(rig.effects().await, before);
        let again = who.forward("A", "k", "x").once(rig.addr()).await;
        assert_eq!(who.told(&again), "REPLAYED");
        let unmarked = |text: &str| text.replace("true", "false");
        assert_eq!(unmarked(again.text()), unmarked(first.text()));
        assert_eq!(rig.tell(who.forward("B", "l", "x")).await, "CANCELLED");
        assert_eq!(rig.tell(who.forward("C", "m", "x")).await, "CANCELLED");
        assert_eq!(rig.tell(who.forward("D", "k", "x")).await, "KEY_REUSED");
        assert_eq!(rig.effects().await, before);
    }
}
