//! The pages, from the job table to the last byte of HTML, without a network.
//!
//! `cargo bench --bench pages`

#![allow(missing_docs, reason = "criterion's macros make functions without any")]

#[path = "../tests/support/mod.rs"]
mod support;

use axum::http::StatusCode;
use criterion::{Criterion, criterion_group, criterion_main};
use support::web::Site;
use support::{drive, jobs};
use tokio::runtime::Runtime;

/// Finished jobs in the table; the home page shows thirty of them.
const JOBS: usize = 100;

fn pages(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let (site, newest) = runtime.block_on(async {
        let site = Site::new().await;
        let mut newest = None;
        for _ in 0..JOBS {
            let job = jobs::submit(&site.store).await;
            drive::succeed_all(&site.store, job).await;
            newest = Some(job);
        }
        (site, newest.expect("there are jobs"))
    });
    let mut group = criterion.benchmark_group("page");
    for (name, path) in [
        ("home, 30 jobs", "/".to_owned()),
        ("one job", format!("/jobs/{newest}")),
        ("status", "/status".to_owned()),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let answer = runtime.block_on(site.get(&path));
                assert_eq!(answer.status, StatusCode::OK, "{path}");
                answer.body
            });
        });
    }
    group.finish();
}

criterion_group!(benches, pages);
criterion_main!(benches);
