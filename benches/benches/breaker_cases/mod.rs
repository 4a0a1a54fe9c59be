//! The circuit breakers that are compared, each as a loop of calls on one shared circuit.

mod ours;
mod peers;

use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use tokio::runtime::{Builder, Runtime};
use tower::Service;

/// One circuit in one setting.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The case of ours that does the same work; of ours, itself.
    pub(crate) equal: &'static str,
    pub(crate) circuit: fn() -> Circuit,
}

/// A circuit; each thread takes a loop over it.
pub(crate) type Circuit = Box<dyn Fn() -> Calls + Sync>;

/// Makes that many calls, one after the other.
pub(crate) type Calls = Box<dyn FnMut(u64)>;

pub(crate) fn all() -> Vec<Case> {
    let mut all = ours::cases();
    all.extend(peers::cases());
    all
}

/// Where the clocks of some peers live. It sleeps meanwhile.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut runtime = Builder::new_multi_thread();
    runtime.worker_threads(1).enable_time();
    runtime.build().expect("a runtime")
});

/// The request that [`NoOp`] fails.
const FAIL: u64 = u64::MAX;

/// The service behind every circuit: it is always ready and answers at once.
#[derive(Clone, Copy)]
struct NoOp;

impl Service<u64> for NoOp {
    type Response = u64;
    type Error = &'static str;
    type Future = Ready<Result<u64, &'static str>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: u64) -> Self::Future {
        ready(work(request))
    }
}

#[inline]
fn work(request: u64) -> Result<u64, &'static str> {
    if request == FAIL {
        Err("down")
    } else {
        Ok(request)
    }
}

/// Calls through a service, and insists that each call does or does not pass.
fn service<S>(service: S, passes: bool) -> Circuit
where
    S: Service<u64, Response = u64> + Clone + Sync + 'static,
{
    Box::new(move || {
        let mut service = service.clone();
        let waker = unpark();
        Box::new(move |calls| {
            let mut cx = Context::from_waker(&waker);
            for request in 0..calls {
                let answer = answer(&mut service, black_box(request), &mut cx);
                assert_eq!(black_box(answer).is_ok(), passes);
            }
        })
    })
}

/// Calls a function through a circuit, and insists that each call does or does not pass.
fn function(call: impl Fn(u64) -> bool + Clone + Sync + 'static, passes: bool) -> Circuit {
    Box::new(move || {
        let call = call.clone();
        Box::new(move |calls| {
            for request in 0..calls {
                assert_eq!(black_box(call(black_box(request))), passes);
            }
        })
    })
}

/// Fails that many calls in a row.
fn fail<S>(service: &mut S, times: u32)
where
    S: Service<u64, Response = u64>,
{
    let waker = unpark();
    for _ in 0..times {
        let _ = answer(service, FAIL, &mut Context::from_waker(&waker));
    }
}

#[inline]
fn answer<S: Service<u64>>(
    service: &mut S,
    request: u64,
    cx: &mut Context<'_>,
) -> Result<S::Response, S::Error> {
    // Pending only where threads wait for each other's locks.
    loop {
        match service.poll_ready(cx) {
            Poll::Ready(ready) => break ready?,
            Poll::Pending => thread::park(),
        }
    }
    let mut future = pin!(service.call(request));
    loop {
        match future.as_mut().poll(cx) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn unpark() -> Waker {
    Arc::new(Unpark(thread::current())).into()
}
