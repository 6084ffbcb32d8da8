//! The whole job table as text, so that a test sees what it did not think of.

use std::fmt::Write;

use mega_pipeline::jobs::{ArtifactRow, Job, JobStore, RunFailure, StageRun, Version};

/// Every job with all that is known of it, oldest first, ids and hashes left out. Structs are
/// taken apart field by field: a new field does not compile until it is shown or named here.
pub async fn snapshot(store: &JobStore) -> String {
    let mut jobs = store.list(None, 1000).await.expect("the table answers");
    jobs.reverse();
    let mut text = String::new();
    for (number, job) in jobs.into_iter().enumerate() {
        show(&mut text, number + 1, job);
    }
    text
}

fn show(text: &mut String, number: usize, job: Job) {
    let Job {
        id: _,
        state,
        version,
        created_ms: _,
        started_ms,
        finished_ms,
        prompt_file,
        prompt_name: _,
        prompt_type: _,
        prompt_ms: _,
        prompt_bytes,
        options: _,
        error,
        versions,
        stages,
        artifacts,
    } = job;
    let started = if started_ms.is_some() { " started" } else { "" };
    let finished = if finished_ms.is_some() { " finished" } else { "" };
    line(text, format_args!("job {number} v{version} {state}{started}{finished}"));
    line(text, format_args!("  {prompt_file} {prompt_bytes} bytes"));
    if let Some(error) = error {
        line(text, format_args!("  failed at {}: {}", error.stage, error.code.as_str()));
    }
    for Version { version, first_stage, options, created_ms: _ } in versions {
        line(text, format_args!("  v{version} from {first_stage} to {}", options.target));
    }
    for StageRun {
        stage,
        version,
        state,
        attempt,
        due_ms: _,
        started_ms: _,
        finished_ms: _,
        timing,
        error,
    } in stages
    {
        let timed = if timing.is_some() { " timed" } else { "" };
        let waits = error.map_or_else(String::new, |RunFailure { code, message: _ }| {
            format!(" after {}", code.as_str())
        });
        line(text, format_args!("  {stage} v{version} {state} attempt {attempt}{timed}{waits}"));
    }
    for ArtifactRow { stage: _, version: _, file, media_type, size_bytes, sha256, duration_ms } in
        artifacts
    {
        assert_eq!(sha256.len(), 64);
        let length = duration_ms.map_or_else(String::new, |ms| format!(" {ms} ms"));
        line(text, format_args!("  {file} {media_type} {size_bytes} bytes{length}"));
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a string cannot fail");
}
