//! Several publishers, and the numbers of their updates.

use tickcast::broker::Channel;
use tokio::time::{Instant, sleep, timeout};

use super::stage::*;
use super::support::switch::Switch;

#[tokio::test(start_paused = true)]
async fn one_leads_and_another_takes_over_within_ten_seconds_of_its_death() {
    let (broker, first, second) = (embedded(), Vendor::moving(), Vendor::moving());
    let mut updates = listen(&broker, Channel::Updates);
    let leader = Running::start("same name", &broker, first.clone(), &config());
    sleep(SECOND).await;
    let standby = Running::start("same name", &broker, second.clone(), &config());
    let _gateway = Gateway::watching(&broker, "g", &["A"]).await;
    sleep(20 * SECOND).await;
    assert_eq!((leader.handle.is_leader(), standby.handle.is_leader(), second.calls()), (true, false, 0));
    let mut last = 0;
    while let Ok(update) = timeout(SECOND / 10, next(&mut updates)).await {
        last = seqs(&update)[0];
    }
    leader.kill().await;
    let died = Instant::now();
    let update = next(&mut updates).await;
    assert!(died.elapsed() < 10 * SECOND, "{:?}", died.elapsed());
    assert!(standby.handle.is_leader() && seqs(&update)[0] > last);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_gives_the_lead_to_the_next() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let leader = Running::start("p1", &broker, vendor.clone(), &config());
    sleep(SECOND).await;
    let standby = Running::start("p2", &broker, vendor, &config());
    sleep(SECOND).await;
    leader.stop().await;
    let stopped = Instant::now();
    while !standby.handle.is_leader() {
        sleep(SECOND / 100).await;
        assert!(stopped.elapsed() < 10 * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_leader_kept_while_another_took_over_reaches_nobody() {
    let (broker, cut_off, other) = (embedded(), Vendor::moving(), Vendor::new(|_, symbols| quotes(symbols, 1000)));
    let (line, far) = Switch::new(&broker);
    let mut updates = listen(&broker, Channel::Updates);
    let former = Running::start("p1", &far, cut_off, &config());
    sleep(SECOND).await;
    let _other = Running::start("p2", &broker, other, &config());
    let _gateway = Gateway::watching(&broker, "g", &["A"]).await;
    assert_eq!(show(&next(&mut updates).await), "A1");
    line.cut();
    assert_eq!(show(&next(&mut updates).await), "A1000", "the other one took over");
    assert!(former.handle.is_leader() && former.handle.stats().buffered == 1, "the former leader does not know yet");
    line.mend();
    silence(&mut updates, 30 * SECOND).await;
    let stats = former.handle.stats();
    assert_eq!((stats.leader, stats.buffered), (false, 0));
}

#[tokio::test(start_paused = true)]
async fn seq_rises_over_a_restart_even_at_once_and_after_a_lost_record() {
    let broker = embedded();
    let mut updates = listen(&broker, Channel::Updates);
    let _gateway = Gateway::watching(&broker, "g", &["A"]).await;
    let mut last = 0;
    for run in 0..4 {
        let publisher = Running::start("p", &broker, Vendor::moving(), &config());
        for _ in 0..2 {
            for seq in seqs(&next(&mut updates).await) {
                assert!(seq > last, "run {run}: {seq} after {last}");
                assert!(seq < 1 << 53, "exact in JavaScript");
                last = seq;
            }
        }
        if run % 2 == 0 { publisher.stop().await } else { publisher.kill().await }
    }
}

#[tokio::test(start_paused = true)]
async fn who_takes_over_first_polls_what_its_predecessor_did_not_get_to() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let gateway = Gateway::watching(&broker, "g", &["A", "B"]).await;
    let former = Running::start("p1", &broker, vendor.clone(), &config());
    let mut updates = listen(&broker, Channel::Updates);
    next(&mut updates).await;
    former.kill().await;
    let polled = vendor.asked().len();
    gateway.set("C", 1).await;
    let _heir = Running::start("p2", &broker, vendor.clone(), &config());
    next(&mut updates).await;
    assert_eq!(vendor.asked()[polled].1, ["C"], "the others' quotes are new");
    next(&mut updates).await;
    let mut then = vendor.asked()[polled + 1].1.clone();
    then.sort_unstable();
    assert_eq!(then, ["A", "B", "C"]);
}
