//! A database that is gone for a while costs nothing that was accepted.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle};

use crate::support::order::good;
use crate::support::{Backend, LIMIT, Partners, Service};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres and any Kafka broker: cargo xtask test"]
async fn without_its_database_the_service_says_so_and_goes_on_afterwards() {
    let partners = Partners::start().await;
    let backend = Backend::postgres_and_kafka().await;
    let Backend::PostgresAndKafka { db, .. } = &backend else {
        unreachable!("it was asked for")
    };
    let mut url = url::Url::parse(db.url()).unwrap();
    let server = (url.host_str().unwrap(), url.port().unwrap_or(5432));
    let server = tokio::net::lookup_host(server)
        .await
        .unwrap()
        .next()
        .unwrap();
    let mut line = Line::to(server).await;
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(line.address.port())).unwrap();
    let service = Service::start_with(backend, &partners, &[("DATABASE_URL", url.as_str())]).await;
    partners.take(100).await;
    let mut orders = Vec::new();
    for number in 0..10 {
        orders.push(service.submit(&good(&format!("ORD-{number}"))).await);
    }

    line.cut();
    let refused = service.post("/api/orders", &good("ORD-refused")).await;
    refused.problem(503);
    assert!(refused.headers.contains_key("retry-after"), "{refused:?}");
    let refused = service.get("/api/orders/ORD-0/status").await;
    refused.problem(503);
    assert!(refused.headers.contains_key("retry-after"), "{refused:?}");
    let health = service.get("/health").await;
    assert_eq!(health.status, 503, "{health:?}");
    assert_eq!(health.json()["status"], "down");
    assert_eq!(health.json()["checks"]["database"]["status"], "down");
    assert_eq!(service.get("/readyz").await.status, 503);
    assert_eq!(service.get("/livez").await.status, 200);
    assert_eq!(service.get("/api/services/health").await.status, 200);

    line.mend().await;
    testkit::wait_until("it is ready again", LIMIT, async || {
        service.get("/readyz").await.status == 200
    })
    .await;
    // What was not accepted may be sent again, as the answer said.
    orders.push(service.submit_patiently(&good("ORD-refused")).await);
    for order in &orders {
        assert_eq!(service.end_of(order).await["status"], "READY_FOR_DELIVERY");
        assert_eq!(
            partners.effects(order).await.map(|effects| effects.live()),
            [1, 1, 1]
        );
        service.events(order).await;
    }
}

/// A line to a server that can be cut.
struct Line {
    address: SocketAddr,
    server: SocketAddr,
    accepting: JoinHandle<()>,
    // A std mutex, since nothing is awaited while it is held.
    calls: Arc<Mutex<Vec<AbortHandle>>>,
}

impl Line {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::default();
        Self {
            address,
            server,
            accepting: tokio::spawn(carry(listener, server, Arc::clone(&calls))),
            calls,
        }
    }

    /// Ends every connection, and takes no new one.
    fn cut(&mut self) {
        self.accepting.abort();
        for call in self.calls.lock().unwrap().drain(..) {
            call.abort();
        }
    }

    async fn mend(&mut self) {
        let mut listener = None;
        testkit::wait_until("the port is free again", LIMIT, async || {
            listener = TcpListener::bind(self.address).await.ok();
            listener.is_some()
        })
        .await;
        let calls = Arc::clone(&self.calls);
        self.accepting = tokio::spawn(carry(listener.unwrap(), self.server, calls));
    }
}

async fn carry(listener: TcpListener, server: SocketAddr, calls: Arc<Mutex<Vec<AbortHandle>>>) {
    while let Ok((mut near, _)) = listener.accept().await {
        let call = tokio::spawn(async move {
            if let Ok(mut far) = TcpStream::connect(server).await {
                let _ = copy_bidirectional(&mut near, &mut far).await;
            }
        });
        calls.lock().unwrap().push(call.abort_handle());
    }
}
