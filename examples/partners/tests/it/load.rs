//! The load is answered whole, by each partner.

use partners::load::Load;

#[tokio::test]
async fn every_effect_is_in_the_ledger_when_the_load_is_over() {
    let data = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    let load = Load::default().effects(300).callers(16);
    load.run(data.path(), |measured| seen.push(measured.partner))
        .await
        .unwrap();
    assert_eq!(seen, ["cms", "wms", "ros"]);
    let again = load.run(data.path(), |_| ()).await;
    assert!(again.is_ok(), "{again:?}");
}
