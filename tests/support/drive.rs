//! Takes a job through its stages by hand, the way a worker does.

use mega_pipeline::audio::Audio;
use mega_pipeline::jobs::{JobId, JobStore, Run};
use mega_pipeline::stage::{Artifact, ErrorCode, StageError, StageKind, Timing};
use mega_pipeline::text::{Segment, Transcript};

/// What [`succeed`] puts into the transcript.
pub const TRANSCRIPT: &str = "Containers <script>alert(1)</script> & co.";

/// Starts the stage that is due, which must be `stage` of `job`.
pub async fn start(store: &JobStore, job: JobId, stage: StageKind) -> Run {
    let claim = store.claim().await.expect("the table answers").expect("a stage is due");
    assert_eq!((claim.run.id, claim.run.stage), (job, stage));
    claim.run
}

/// Runs `stage` of `job` to its end.
pub async fn succeed(store: &JobStore, job: JobId, stage: StageKind) {
    let run = start(store, job, stage).await;
    let folder = store.folder(job);
    let stored = folder.store(stage, run.version, &artifact(stage)).expect("the disk takes it");
    let timing = Timing { run_ms: 1234, model: "stub".to_owned(), ..Timing::default() };
    let recorded = store.succeed(run, &stored, &timing).await;
    assert!(recorded.expect("the table answers"), "the job is gone");
}

/// Runs every stage of `job` to its end.
pub async fn succeed_all(store: &JobStore, job: JobId) {
    for stage in StageKind::ALL {
        succeed(store, job, stage).await;
    }
}

/// Starts `stage` of `job`, which then fails.
pub async fn fail(store: &JobStore, job: JobId, stage: StageKind, message: &str) {
    let run = start(store, job, stage).await;
    let error = StageError::new(ErrorCode::NoSpeech, message);
    store.fail(run, &error).await.expect("the table answers");
}

fn artifact(stage: StageKind) -> Artifact {
    match stage {
        StageKind::TranscribeAudio => Artifact::Transcript(Transcript {
            language: "en".to_owned(),
            text: TRANSCRIPT.to_owned(),
            segments: vec![Segment { start_ms: 0, end_ms: 900, text: TRANSCRIPT.to_owned() }],
        }),
        StageKind::GenerateText => Artifact::Text("They ship code.\n\nAnd more.".to_owned()),
        StageKind::TranslateText => Artifact::Text("Ils livrent du code.".to_owned()),
        StageKind::SynthesisAudioEn | StageKind::SynthesisAudio => {
            Artifact::Audio(Audio { sample_rate: 16_000, samples: vec![0.1; 8000] })
        }
    }
}
