//! Sagas as data: what is refused, drawn, told apart and worked out.

use std::time::Duration;

use swifttrack_saga::definition::{Kind, Undo};
use swifttrack_saga::{
    DefineError, Policy, Retry, Saga, Signal, Tune as _, TuneForward as _, WorstCase,
};

use crate::parts::{A, B, C, Onward, Partner, QUICK};

const SECOND: Duration = Duration::from_secs(1);
const WORD: Signal<u32> = Signal::new("word");

/// One of everything.
fn whole() -> Saga<u32, u32> {
    let partner = Partner::default();
    Saga::<u32>::define("whole", 3, |s, input| {
        let a = s.step(
            A(partner.clone())
                .retry(QUICK)
                .undo_retry(QUICK)
                .quiet(SECOND * 30),
            input,
        );
        let (_, word) = s.parallel(|g| {
            let b = g.step(B(partner.clone()).irrevocable("a \"posted\" letter"), a);
            (b, g.await_signal(WORD.within(SECOND * 60)))
        });
        s.sleep("nap", SECOND * 5);
        let (s, c) = s.pivot(C(partner.clone()).retry(Retry::never()), word);
        let sent = s.step(Onward(partner).retry(QUICK), c);
        s.finish(sent)
    })
    .unwrap()
}

#[test]
fn nodes_are_in_the_order_in_which_they_were_written() {
    let saga = whole();
    let definition = saga.definition();
    let names: Vec<&str> = definition
        .nodes()
        .iter()
        .map(|node| &**node.name())
        .collect();
    assert_eq!(names, ["a", "b", "word", "nap", "c", "onward"]);
    assert_eq!(definition.stages(), [0..1, 1..3, 3..4, 4..5, 5..6]);
    assert_eq!(definition.nodes()[4].kind(), Kind::Pivot);
    assert_eq!(definition.nodes()[4].undo(), Undo::Never);
}

#[test]
fn a_saga_is_drawn_with_its_ways_forward_and_back() {
    let saga = whole();
    let mermaid = saga.definition().mermaid();
    let expected = r##"flowchart TD
  start([start])
  n0["a"]
  n1["b"]
  n2>"word 60s"]
  n3(["nap 5s"])
  n4{{"c"}}
  n5["onward ▸"]
  start --> n0
  n0 --> n1
  n0 --> n2
  n1 --> n3
  n2 --> n3
  n3 --> n4
  n4 --> n5
  n0 -. undo .-> u0[/"undo a"/]
  n1 -. stays .-> u1>"a #quot;posted#quot; letter"]
"##;
    assert_eq!(mermaid, expected);
    let dot = saga.definition().dot();
    for line in [
        r#"digraph "whole" {"#,
        r#"  n4 [label="c", shape=hexagon];"#,
        "  start -> n0;",
        "  n2 -> n3;",
        r#"  u1 [label="stays: a \"posted\" letter", shape=note];"#,
        "  n0 -> u0 [style=dotted];",
    ] {
        assert!(dot.lines().any(|other| other == line), "{line} in\n{dot}");
    }
}

#[test]
fn the_worst_case_is_the_sum_of_what_was_declared() {
    let saga = whole();
    let quick = Policy::forward().retry(QUICK).worst_case().unwrap();
    let never = Policy::forward()
        .retry(Retry::never())
        .worst_case()
        .unwrap();
    // b beside the signal, and longer than it.
    let b = Policy::forward().worst_case().unwrap();
    let worst = WorstCase {
        forward: Some(quick + b + SECOND * 5 + never + quick),
        backward: Some(quick + SECOND * 30),
    };
    assert_eq!(saga.definition().worst_case(), worst);
    // A deadline ends what comes before the pivot, and awaits what runs then.
    let hurried = saga.deadline(SECOND * 10);
    let forward = SECOND * 10 + SECOND * 20 + never + quick;
    assert_eq!(hurried.definition().worst_case().forward, Some(forward));
    let partner = Partner::default();
    let endless = Saga::<u32>::define("endless", 1, |s, input| {
        let a = s.step(A(partner), input);
        s.await_signal(WORD);
        s.finish(a)
    });
    let worst = endless.unwrap().definition().worst_case();
    assert_eq!((worst.forward, worst.backward), (None, None));
}

#[test]
fn a_fingerprint_tells_order_inputs_kinds_and_names_apart() {
    let define = |variant: u8| {
        let partner = Partner::default();
        let retry = if variant == 1 { QUICK } else { Retry::never() };
        let saga = Saga::<u32>::define("x", 1, |s, input| {
            let a = s.step(A(partner.clone()).retry(retry), input);
            let b = match variant {
                2 => s.step(B(partner.clone()), input),
                3 => s.step(B(partner.clone()).irrevocable("so"), a),
                4 => s.step(B(partner.clone()).named("other"), a),
                5 => s.parallel(|g| g.step(B(partner.clone()), a)),
                6 => s.step(B(partner.clone()), a.map(|a| a + 1)),
                _ => s.step(B(partner.clone()), a),
            };
            if variant == 7 {
                s.sleep("nap", SECOND);
            }
            s.finish(b)
        });
        saga.unwrap().definition().fingerprint()
    };
    let plain = define(0);
    assert_eq!(define(1), plain, "a policy may change");
    assert_eq!(define(5), plain, "a group of one is a step");
    for variant in [2, 3, 4, 6, 7] {
        assert_ne!(define(variant), plain, "variant {variant}");
    }
}

fn refused(
    write: impl for<'s> FnOnce(
        swifttrack_saga::SagaBuilder<'s, swifttrack_saga::BeforePivot>,
        swifttrack_saga::StepRef<'s, u32>,
    ) -> swifttrack_saga::Finished<'s, u32>,
) -> String {
    let refused: Result<_, DefineError> = Saga::<u32>::define("x", 1, write);
    refused.unwrap_err().to_string()
}

#[test]
fn a_name_used_twice_is_refused_with_the_way_out() {
    let partner = Partner::default();
    let message = refused(|s, input| {
        let a = s.step(A(partner.clone()), input);
        let a = s.step(A(partner), a);
        s.finish(a)
    });
    assert!(
        message.starts_with(r#"two nodes are named "a": call `.named("#),
        "{message}"
    );
}

#[test]
fn names_that_no_key_can_have_are_refused() {
    for name in ["", "a b", "a:b", "ä", "x\ny", &"x".repeat(101)] {
        let error = Saga::<u32>::define(name, 1, |s, input| s.finish(input)).unwrap_err();
        assert!(error.to_string().contains("is not a name"), "{error}");
    }
    Saga::<u32>::define(&"x".repeat(100), 1, |s, input| s.finish(input)).unwrap();
    let message = refused(|s, input| {
        s.sleep("a:b", SECOND);
        s.finish(input)
    });
    assert!(message.starts_with(r#""a:b" is not a name"#), "{message}");
}

#[test]
fn a_saga_has_at_most_256_nodes() {
    let names: Vec<&'static str> = (0..257)
        .map(|n| &*Box::leak(format!("nap-{n}").into_boxed_str()))
        .collect();
    let define = |many: usize| {
        Saga::<u32>::define("x", 1, |s, input| {
            names[..many].iter().for_each(|name| s.sleep(name, SECOND));
            s.finish(input)
        })
    };
    define(256).unwrap();
    let error = define(257).unwrap_err().to_string();
    assert_eq!(
        error,
        r#""nap-256" is one too many: a saga has at most 256 nodes"#
    );
}

#[test]
fn a_step_beside_an_open_group_is_refused() {
    let message = refused(|s, input| {
        s.parallel(|_| s.sleep("nap", SECOND));
        s.finish(input)
    });
    assert!(message.contains("while a group was open"), "{message}");
}

#[test]
fn an_attempt_that_nobody_can_make_or_wait_for_is_refused() {
    for timeout in [Duration::ZERO, Duration::MAX] {
        let partner = Partner::default();
        let message = refused(|s, input| {
            let a = s.step(A(partner).attempt_timeout(timeout), input);
            s.finish(a)
        });
        assert!(message.ends_with("allow it 1 ms to 30 days"), "{message}");
        let partner = Partner::default();
        let message = refused(|s, input| {
            let a = s.step(A(partner).undo_timeout(timeout), input);
            s.finish(a)
        });
        assert!(message.ends_with("allow it 1 ms to 30 days"), "{message}");
    }
}
