//! More than a reader reads.

use crate::*;

/// Publishes numbers through a pipeline, as fast as Redis takes them.
fn pump(server: &RedisServer, messages: u64) -> std::thread::JoinHandle<()> {
    let mut connection = server.connect();
    std::thread::spawn(move || {
        let mut waiting = 0;
        for number in 0..messages {
            connection.send(&["PUBLISH", "market-data:updates", &number.to_string()]);
            waiting += 1;
            if waiting == 200 || number + 1 == messages {
                for _ in 0..waiting {
                    connection.reply();
                }
                waiting = 0;
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_keeps_reading_loses_nothing() {
    const MESSAGES: u64 = 200_000;
    let mut bench = bench().await;
    let mut feed = bench.broker.feeds.subscribe(&[Channel::Updates]);
    assert_eq!(next(&mut feed).await, [Event::Resumed]);
    let pump = pump(bench.server(), MESSAGES);
    let mut expected = 0;
    while expected < MESSAGES {
        for event in next(&mut feed).await {
            let Event::Message(Channel::Updates, number) = event else { panic!("{event:?} after {expected}") };
            assert_eq!(number, expected.to_string());
            expected += 1;
        }
    }
    pump.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_does_not_read_is_told_how_much_it_missed() {
    const MESSAGES: u64 = 100_000;
    let mut bench = bench().await;
    let mut slow = bench.broker.feeds.subscribe(&[Channel::Updates]);
    assert_eq!(next(&mut slow).await, [Event::Resumed]);
    let mut quick = bench.reader(&[Channel::Updates]).await;
    pump(bench.server(), MESSAGES).join().unwrap();
    for _ in 0..MESSAGES {
        quick.message().await;
    }
    let (mut lost, mut read) = (0, 0);
    while lost + read < MESSAGES {
        for event in next(&mut slow).await {
            match event {
                Event::Lagged(more) => lost += more,
                Event::Message(..) => read += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(lost > 0 && lost + read == MESSAGES, "{lost} + {read}");
}
