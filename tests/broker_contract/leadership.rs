//! Claims about leadership.

use crate::*;

contract! {
    one_leads_and_others_stand_by
    a_holder_renews_and_keeps_its_epoch
    a_take_over_gets_a_higher_epoch
    a_lease_that_runs_out_is_taken_over
    a_lost_record_brings_no_old_epoch_back
    epochs_count_seconds_since_2026
    ;
}

async fn one_leads_and_others_stand_by(bench: Bench) {
    assert!(matches!(acquire(&bench, "one").await, Lead::Leading(_)));
    let Lead::Standby { holder, remaining } = acquire(&bench, "two").await else { panic!("one leads") };
    assert_eq!(holder, "one");
    assert!(remaining <= LEASE && remaining > LEASE / 2);
    bench.broker.leadership.resign("two").await.unwrap();
    assert!(matches!(acquire(&bench, "two").await, Lead::Standby { .. }), "only the holder resigns");
    bench.broker.leadership.resign("one").await.unwrap();
    assert!(matches!(acquire(&bench, "two").await, Lead::Leading(_)));
}

async fn a_holder_renews_and_keeps_its_epoch(bench: Bench) {
    let Lead::Leading(epoch) = acquire(&bench, "one").await else { panic!("nobody else leads") };
    let again = bench.broker.leadership.acquire("one", LEASE, epoch).await;
    assert_eq!(again, Ok(Lead::Leading(epoch)));
    // Started anew under the same name, it does not know its epoch: that one may be in use by a process that hangs.
    let Ok(Lead::Leading(new)) = bench.broker.leadership.acquire("one", LEASE, Epoch(0)).await else {
        panic!("it leads")
    };
    assert!(new > epoch);
}

async fn a_take_over_gets_a_higher_epoch(bench: Bench) {
    let mut last = Epoch(0);
    for owner in ["one", "two", "one"] {
        let Lead::Leading(epoch) = acquire(&bench, owner).await else { panic!("the last one resigned") };
        assert!(epoch > last, "{epoch:?} after {last:?}");
        last = epoch;
        bench.broker.leadership.resign(owner).await.unwrap();
    }
}

async fn a_lease_that_runs_out_is_taken_over(bench: Bench) {
    let leadership = &bench.broker.leadership;
    let first = leadership.acquire("one", Duration::from_millis(100), Epoch(0)).await;
    let Ok(Lead::Leading(first)) = first else { panic!("nobody else leads") };
    let taken = bench.until_some("two takes over", async || match acquire(&bench, "two").await {
        Lead::Leading(epoch) => Some(epoch),
        Lead::Standby { .. } => None,
    });
    assert!(taken.await > first);
    assert!(matches!(leadership.acquire("one", LEASE, first).await, Ok(Lead::Standby { .. })));
}

async fn a_lost_record_brings_no_old_epoch_back(bench: Bench) {
    let ahead = Epoch(u64::from(u32::MAX));
    let lead = bench.broker.leadership.acquire("one", LEASE, ahead).await;
    assert_eq!(lead, Ok(Lead::Leading(Epoch(ahead.0 + 1))));
    let lead = bench.broker.leadership.acquire("one", LEASE, Epoch(ahead.0 + 9)).await;
    assert_eq!(lead, Ok(Lead::Leading(Epoch(ahead.0 + 10))), "the record was behind what the holder had");
}

async fn epochs_count_seconds_since_2026(bench: Bench) {
    let Lead::Leading(Epoch(epoch)) = acquire(&bench, "one").await else { panic!("nobody else leads") };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!((now - EPOCH_ORIGIN_S).abs_diff(epoch) < 60);
}
