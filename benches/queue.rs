//! How many jobs a second the queue moves when the stages cost nothing: five stage runs each,
//! every result synced to disk.
//!
//! `cargo bench --bench queue` puts the table into a temporary folder; set TMPDIR to a folder on
//! the disk that is to be measured.

#![allow(missing_docs, reason = "criterion's macros make functions without any")]

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mega_pipeline::jobs::{
    EventHub, JobEventKind, JobState, JobStore, NewJob, StoreOptions, Workers,
};
use mega_pipeline::stage::{JobOptions, stub};

/// Jobs in one measurement.
const JOBS: usize = 200;
/// Uploads under way at once.
const SENDERS: usize = 8;

fn queue(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    // Deleted at the end: ext4 looks for a long while for an inode that was not deleted within
    // the last seconds, and no server deletes thousands of jobs before each one it takes.
    let mut folders = Vec::new();
    let mut group = criterion.benchmark_group("queue");
    group.throughput(Throughput::Elements(JOBS as u64)).sample_size(10);
    for workers in [1, 2, 4, 8] {
        group.bench_function(format!("{workers} workers"), |bencher| {
            bencher.iter_custom(|times| {
                (0..times)
                    .map(|_| {
                        let dir = tempfile::tempdir().expect("a folder");
                        let took = runtime.block_on(move_jobs(dir.path(), workers));
                        folders.push(dir);
                        took
                    })
                    .sum()
            });
        });
    }
    group.finish();
}

/// From the first submission until the last job has succeeded.
async fn move_jobs(dir: &Path, workers: usize) -> Duration {
    let options = StoreOptions { max_queued: JOBS as u32, ..StoreOptions::default() };
    let store = JobStore::open(dir, EventHub::default(), options).await.expect("a table");
    let sets = (0..workers).map(|_| stub::stages()).collect();
    let running = Workers::start(&store, sets).expect("threads");
    let mut events = store.events().subscribe();
    let finished = tokio::spawn(async move {
        let mut finished = 0;
        while finished < JOBS {
            match events.recv().await {
                Ok(event) => {
                    let done = JobEventKind::Job { state: JobState::Succeeded };
                    finished += usize::from(event.kind == done);
                }
                // Told more than it could hear: count what is in the table instead.
                Err(error) => panic!("the events came too fast: {error}"),
            }
        }
    });
    let started = Instant::now();
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let store = store.clone();
            tokio::spawn(async move {
                for number in (sender..JOBS).step_by(SENDERS) {
                    submit(&store, number).await;
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.expect("a sender ends");
    }
    finished.await.expect("the counter ends");
    let took = started.elapsed();
    running.stop(Duration::from_secs(10)).await;
    took
}

async fn submit(store: &JobStore, number: usize) {
    let upload = store.incoming_dir().join(format!("upload-{number}"));
    tokio::fs::write(&upload, b"sound").await.expect("written");
    let new = NewJob {
        prompt_name: None,
        prompt_type: "audio/wav".to_owned(),
        prompt_extension: "wav",
        prompt_ms: None,
        options: JobOptions::default(),
        idempotency: None,
    };
    black_box(store.submit(new, &upload).await.expect("accepted"));
}

criterion_group!(benches, queue);
criterion_main!(benches);
