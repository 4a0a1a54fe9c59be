use super::*;

const SPAN: Span = Span {
    offset: 7,
    bytes: 9,
};

const fn replay(new_key: bool) -> Forward {
    Forward::Replay {
        span: SPAN,
        new_key,
    }
}

fn print(body: &str) -> Fingerprint {
    Fingerprint::of_bytes(body.as_bytes())
}

/// What happened before: the order, the key, the body.
fn after(forward: &[[&str; 3]], cancel: &[[&str; 3]]) -> Index<u8> {
    let mut index = Index::new();
    for [order, key, body] in forward {
        let ask = index.ask(order, key, print(body));
        assert!(index.applied(ask, SPAN, 1));
    }
    for [order, key, body] in cancel {
        let ask = index.ask(order, key, print(body));
        let Cancel::Do(effect) = index.cancel(ask) else {
            panic!("{order} {key}")
        };
        assert!(index.cancelled(ask, effect).is_some());
    }
    index
}

#[test]
fn a_forward_request_is_decided_in_the_order_that_is_fixed() {
    let done: &[[&str; 3]] = &[["A", "k", "x"]];
    let undone: &[[&str; 3]] = &[["A", "u", "c"]];
    for (name, forward, cancel, [order, key, body], want) in [
        (
            "nothing known",
            &[][..],
            &[][..],
            ["A", "k", "x"],
            Forward::Do,
        ),
        (
            "same key, same body",
            done,
            &[],
            ["A", "k", "x"],
            replay(false),
        ),
        (
            "another key, same body",
            done,
            &[],
            ["A", "l", "x"],
            replay(true),
        ),
        (
            "same key, another body",
            done,
            &[],
            ["A", "k", "y"],
            Forward::KeyReused,
        ),
        (
            "another key, another body",
            done,
            &[],
            ["A", "l", "y"],
            Forward::KeyReused,
        ),
        (
            "same key, another order",
            done,
            &[],
            ["B", "k", "x"],
            Forward::KeyReused,
        ),
        (
            "cancelled, same key",
            done,
            undone,
            ["A", "k", "x"],
            Forward::Cancelled,
        ),
        (
            "cancelled, another body",
            done,
            undone,
            ["A", "l", "y"],
            Forward::Cancelled,
        ),
        (
            "cancelled, key of another body",
            done,
            undone,
            ["A", "k", "y"],
            Forward::KeyReused,
        ),
        (
            "tombstoned",
            &[],
            undone,
            ["A", "k", "x"],
            Forward::Cancelled,
        ),
        (
            "a cancel's key is another operation's",
            &[],
            undone,
            ["B", "u", "x"],
            Forward::Do,
        ),
        (
            "tombstoned, key of another order",
            &[["B", "k", "x"]],
            undone,
            ["A", "k", "x"],
            Forward::KeyReused,
        ),
    ] {
        let index = after(forward, cancel);
        let ask = index.ask(order, key, print(body));
        assert_eq!(index.forward(ask), want, "{name}");
    }
}

#[test]
fn a_cancel_is_decided_in_the_order_that_is_fixed() {
    let done: &[[&str; 3]] = &[["A", "k", "x"]];
    let undone: &[[&str; 3]] = &[["A", "u", "c"]];
    let twice: &[[&str; 3]] = &[["A", "u", "c"], ["A", "v", "c"]];
    for (name, forward, cancel, [order, key, body], want) in [
        (
            "nothing to undo",
            &[][..],
            &[][..],
            ["A", "u", "c"],
            Cancel::Do(Effect::Tombstoned),
        ),
        (
            "an effect",
            done,
            &[],
            ["A", "u", "c"],
            Cancel::Do(Effect::Cancelled),
        ),
        (
            "the forward's key",
            done,
            &[],
            ["A", "k", "c"],
            Cancel::Do(Effect::Cancelled),
        ),
        (
            "same key",
            done,
            undone,
            ["A", "u", "c"],
            Cancel::Replay(Effect::Cancelled),
        ),
        (
            "same key of a tombstone",
            &[],
            undone,
            ["A", "u", "c"],
            Cancel::Replay(Effect::Tombstoned),
        ),
        (
            "another key",
            done,
            undone,
            ["A", "v", "c"],
            Cancel::Do(Effect::Already),
        ),
        (
            "another key on a tombstone",
            &[],
            undone,
            ["A", "v", "d"],
            Cancel::Do(Effect::Already),
        ),
        (
            "the second key again",
            done,
            twice,
            ["A", "v", "c"],
            Cancel::Replay(Effect::Already),
        ),
        (
            "the second key, another order",
            done,
            twice,
            ["B", "v", "c"],
            Cancel::KeyReused,
        ),
        (
            "same key, another body",
            done,
            undone,
            ["A", "u", "d"],
            Cancel::KeyReused,
        ),
        (
            "same key, another order",
            done,
            undone,
            ["B", "u", "c"],
            Cancel::KeyReused,
        ),
    ] {
        let index = after(forward, cancel);
        let ask = index.ask(order, key, print(body));
        assert_eq!(index.cancel(ask), want, "{name}");
    }
}

#[test]
fn a_cancel_gives_back_what_was_held_once() {
    let mut index = after(&[["A", "k", "x"]], &[]);
    let first = index.ask("A", "u", print("c"));
    let second = index.ask("A", "v", print("c"));
    assert_eq!(index.cancelled(first, Effect::Cancelled), Some(Some(1)));
    assert_eq!(index.cancelled(second, Effect::Already), Some(None));
    assert_eq!(index.look("A"), Known::Cancelled(Some(SPAN)));
    assert_eq!(index.look("B"), Known::Nothing);
}
