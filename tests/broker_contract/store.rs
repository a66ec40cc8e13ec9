//! Claims about values.

use crate::*;

contract! {
    values_are_kept_in_order
    values_run_out
    only_the_first_sets_what_is_absent
    keys_are_found_by_prefix
    ;
}

async fn values_are_kept_in_order(bench: Bench) {
    let store = &bench.broker.store;
    store.set("cache:quote:A", Bytes::from_static(b"{\"a\":1}"), None).await.unwrap();
    store.set("cache:quote:B", Bytes::from_static(&[0, 255]), Some(Duration::from_secs(60))).await.unwrap();
    let keys = ["cache:quote:B", "nothing", "cache:quote:A"].map(str::to_owned);
    let expected = [Some(Bytes::from_static(&[0, 255])), None, Some(Bytes::from_static(b"{\"a\":1}"))];
    assert_eq!(store.get_many(&keys).await.unwrap(), expected);
    assert_eq!(store.get_many(&[]).await.unwrap(), []);
    assert_eq!(store.remove(&keys).await, Ok(2));
    assert_eq!(store.remove(&[]).await, Ok(0));
    assert_eq!(store.get_many(&keys).await.unwrap(), [None, None, None]);
}

async fn values_run_out(bench: Bench) {
    let store = &bench.broker.store;
    store.set("long", Bytes::from_static(b"1"), Some(Duration::from_secs(60))).await.unwrap();
    store.set("short", Bytes::from_static(b"1"), Some(Duration::from_millis(50))).await.unwrap();
    store.set("kept", Bytes::from_static(b"1"), Some(Duration::from_millis(50))).await.unwrap();
    store.set("kept", Bytes::from_static(b"2"), None).await.unwrap();
    let keys = ["long", "short", "kept"].map(str::to_owned);
    bench.until("the short one is gone", async || store.get_many(&keys).await.unwrap()[1].is_none()).await;
    assert_eq!(store.get_many(&keys).await.unwrap()[2], Some(Bytes::from_static(b"2")), "set anew without an end");
}

async fn only_the_first_sets_what_is_absent(bench: Bench) {
    let store = &bench.broker.store;
    let ttl = Duration::from_millis(60);
    assert_eq!(store.set_if_absent("lock", Bytes::from_static(b"1"), ttl).await, Ok(true));
    assert_eq!(store.set_if_absent("lock", Bytes::from_static(b"2"), Duration::from_secs(60)).await, Ok(false));
    bench
        .until("it runs out", async || {
            store.set_if_absent("lock", Bytes::from_static(b"3"), Duration::from_secs(60)).await.unwrap()
        })
        .await;
    assert_eq!(store.get_many(&["lock".to_owned()]).await.unwrap(), [Some(Bytes::from_static(b"3"))]);
}

async fn keys_are_found_by_prefix(bench: Bench) {
    let store = &bench.broker.store;
    for key in ["cache:quote:A", "cache:quote:B*", "cache:indices", "cachequote:C"] {
        store.set(key, Bytes::from_static(b"1"), None).await.unwrap();
    }
    let mut found = store.keys_with_prefix("cache:quote:").await.unwrap();
    found.sort();
    assert_eq!(found, ["cache:quote:A", "cache:quote:B*"]);
    assert_eq!(store.keys_with_prefix("cache:quote:B*").await.unwrap(), ["cache:quote:B*"], "no pattern");
    assert_eq!(store.keys_with_prefix("cache?").await.unwrap().len(), 0, "no pattern");
}
