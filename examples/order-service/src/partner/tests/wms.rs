//! The warehouse.

use async_trait::async_trait;
use partners::spawn_wms;
use swifttrack_adapters::adapter_conformance;
use swifttrack_adapters::conformance::{Misbehaviour, Rig};

use super::super::{Registration, Subject, WmsAdapter};
use super::{NewOrder, Stand, config, order, subject};

struct Wms {
    stand: Stand,
    adapter: WmsAdapter,
}

async fn wms() -> Wms {
    let (config, data) = config();
    let partner = spawn_wms(config.token("secret")).await.unwrap();
    let url = format!("tcp://{}", partner.local_addr());
    let adapter = WmsAdapter::new(&url, Some("secret".into())).unwrap();
    let stand = Stand {
        partner,
        op: "register",
        _data: data,
    };
    Wms { stand, adapter }
}

#[async_trait]
impl Rig for Wms {
    type Adapter = WmsAdapter;

    fn adapter(&self) -> &WmsAdapter {
        &self.adapter
    }

    fn adapter_of_nobody(&self) -> WmsAdapter {
        WmsAdapter::new("tcp://127.0.0.1:1", None).unwrap()
    }

    fn request(&self, n: u32) -> NewOrder {
        order(n)
    }

    fn subject(&self, n: u32) -> Subject {
        subject(n)
    }

    /// A registration does not name its order.
    fn answers(&self, answer: &Registration, _: u32) -> bool {
        !answer.package_id.is_empty() && !answer.location.is_empty()
    }

    async fn misbehave(&self, how: Misbehaviour) {
        self.stand.misbehave(how).await;
    }

    async fn live(&self, n: u32) -> usize {
        self.stand.live(&super::order_id(n)).await
    }
}

adapter_conformance!(wms().await);
