//! What is counted while the server runs, in Prometheus's form.
//!
//! Filled by `jobs` (stages) and `web` (requests), read by `GET /metrics`. Durations are in
//! seconds, as that form asks.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::stage::{ErrorCode, StageKind, Timing};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    stage: &'static str,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
    commit: &'static str,
}

/// Makes histograms with the bounds that it holds.
#[derive(Debug, Clone, Copy)]
struct Bounds(&'static [f64]);

impl MetricConstructor<Histogram> for Bounds {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

type Histograms<L> = Family<L, Histogram, Bounds>;

/// Stages take from a tenth of a second to many minutes.
const SECONDS: Bounds =
    Bounds(&[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 300.0, 1000.0]);
/// Requests should be answered at once.
const QUICK: Bounds = Bounds(&[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0]);
/// Seconds of computing for a second of sound.
const FACTOR: Bounds = Bounds(&[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0]);

/// How things stand at the moment of asking.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Now {
    /// Jobs by the name of their state.
    pub jobs: Vec<(&'static str, u64)>,
    /// How long the job that has waited longest has done so.
    pub oldest_queued: Duration,
    /// Memory of the process.
    pub resident_bytes: u64,
    /// Free disk.
    pub free_bytes: u64,
}

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    queue: Histograms<Stage>,
    load: Histograms<Stage>,
    run: Histograms<Stage>,
    request: Histograms<Stage>,
    factor: Histograms<Stage>,
    audio: Family<Stage, Counter<f64, AtomicU64>>,
    tokens: Family<Stage, Counter>,
    failures: Family<Failure, Counter>,
    requests: Family<Request, Counter>,
    answers: Histograms<Route>,
    uploaded: Counter,
    jobs: Family<State, Gauge>,
    oldest: Gauge<f64, AtomicU64>,
    resident: Gauge,
    free: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let build: Family<Build, Gauge> = Family::default();
        let (version, commit) = (env!("CARGO_PKG_VERSION"), commit());
        build.get_or_create(&Build { version, commit }).set(1);
        let mut metrics = Self {
            registry: Registry::with_prefix("mega_pipeline"),
            queue: Family::new_with_constructor(SECONDS),
            load: Family::new_with_constructor(SECONDS),
            run: Family::new_with_constructor(SECONDS),
            request: Family::new_with_constructor(SECONDS),
            factor: Family::new_with_constructor(FACTOR),
            audio: Family::default(),
            tokens: Family::default(),
            failures: Family::default(),
            requests: Family::default(),
            answers: Family::new_with_constructor(QUICK),
            uploaded: Counter::default(),
            jobs: Family::default(),
            oldest: Gauge::default(),
            resident: Gauge::default(),
            free: Gauge::default(),
        };
        metrics.registry.register("build", "What runs here", build);
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let it = &mut self.registry;
        let seconds = || Unit::Seconds;
        it.register_with_unit("stage_queue", "Wait of a stage", seconds(), self.queue.clone());
        it.register_with_unit("stage_load", "Loading of weights", seconds(), self.load.clone());
        it.register_with_unit("stage_run", "Work of a stage", seconds(), self.run.clone());
        it.register_with_unit(
            "request_run",
            "Work of a stage's engine for a request without a job",
            seconds(),
            self.request.clone(),
        );
        it.register(
            "stage_real_time_factor",
            "Seconds of work for a second of sound",
            self.factor.clone(),
        );
        it.register_with_unit("stage_audio", "Sound read or made", seconds(), self.audio.clone());
        it.register("stage_tokens", "Tokens or sentences made", self.tokens.clone());
        it.register("stage_failures", "Stage runs that failed", self.failures.clone());
        it.register("http_requests", "Requests that were answered", self.requests.clone());
        it.register_with_unit(
            "http_answer",
            "Until an answer began",
            seconds(),
            self.answers.clone(),
        );
        it.register_with_unit("uploaded", "Recordings taken", Unit::Bytes, self.uploaded.clone());
        it.register("jobs", "Jobs in the table", self.jobs.clone());
        it.register_with_unit(
            "queue_oldest",
            "How long the first in the queue has waited",
            seconds(),
            self.oldest.clone(),
        );
        it.register_with_unit("resident", "Memory", Unit::Bytes, self.resident.clone());
        it.register_with_unit("disk_free", "Free disk", Unit::Bytes, self.free.clone());
    }

    /// A stage run succeeded.
    pub fn stage_done(&self, stage: StageKind, timing: &Timing) {
        let label = Stage { stage: stage.as_str() };
        let seconds = |ms: u64| ms as f64 / 1000.0;
        self.queue.get_or_create(&label).observe(seconds(timing.queue_ms));
        self.load.get_or_create(&label).observe(seconds(timing.load_ms));
        self.run.get_or_create(&label).observe(seconds(timing.run_ms));
        if let Some(factor) = timing.real_time_factor() {
            self.factor.get_or_create(&label).observe(factor);
        }
        if let Some(audio_ms) = timing.audio_ms {
            self.audio.get_or_create(&label).inc_by(seconds(audio_ms));
        }
        if let Some(tokens) = timing.tokens {
            self.tokens.get_or_create(&label).inc_by(tokens);
        }
    }

    /// The engine of a stage did its work for a request without a job.
    pub fn request_done(&self, stage: StageKind, took: Duration) {
        self.request.get_or_create(&Stage { stage: stage.as_str() }).observe(took.as_secs_f64());
    }

    /// A stage run failed.
    pub fn stage_failed(&self, stage: StageKind, code: ErrorCode) {
        let label = Failure { stage: stage.as_str(), code: code.as_str() };
        self.failures.get_or_create(&label).inc();
    }

    /// A request was answered; `route` is the pattern and not the path, of which there are many.
    pub fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        // Clients may make up methods, and every one would be kept for ever.
        let known = ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"];
        let method = known.into_iter().find(|known| *known == method).unwrap_or("other");
        let route = route.to_owned();
        self.answers.get_or_create(&Route { route: route.clone() }).observe(took.as_secs_f64());
        self.requests.get_or_create(&Request { method, route, status }).inc();
    }

    /// A recording was taken.
    pub fn uploaded(&self, bytes: u64) {
        self.uploaded.inc_by(bytes);
    }

    /// Everything, in the form that Prometheus reads.
    #[must_use]
    pub fn render(&self, now: &Now) -> String {
        for &(state, count) in &now.jobs {
            self.jobs.get_or_create(&State { state }).set(count as i64);
        }
        self.oldest.set(now.oldest_queued.as_secs_f64());
        self.resident.set(now.resident_bytes as i64);
        self.free.set(now.free_bytes as i64);
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}

/// The commit that this was built from, where whoever built it told.
#[must_use]
pub const fn commit() -> &'static str {
    match option_env!("MEGA_COMMIT") {
        Some(commit) => commit,
        None => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_rendered_with_its_labels() {
        let metrics = Metrics::default();
        let timing =
            Timing { run_ms: 1500, audio_ms: Some(3000), tokens: Some(7), ..Timing::default() };
        metrics.stage_done(StageKind::SynthesisAudio, &timing);
        metrics.request_done(StageKind::TranslateText, Duration::from_millis(250));
        metrics.stage_failed(StageKind::GenerateText, ErrorCode::OutOfMemory);
        metrics.answered("GET", "/jobs/{id}", 200, Duration::from_millis(3));
        metrics.answered("XYZZY", "other", 405, Duration::ZERO);
        metrics.uploaded(10);
        let now = Now { jobs: vec![("queued", 4)], resident_bytes: 9, ..Now::default() };
        let text = metrics.render(&now);
        for line in [
            "mega_pipeline_stage_run_seconds_sum{stage=\"synthesis_audio\"} 1.5",
            "mega_pipeline_request_run_seconds_sum{stage=\"translate_text\"} 0.25",
            "mega_pipeline_stage_real_time_factor_bucket{le=\"0.5\",stage=\"synthesis_audio\"} 1",
            "mega_pipeline_stage_tokens_total{stage=\"synthesis_audio\"} 7",
            "mega_pipeline_stage_failures_total{stage=\"generate_text\",code=\"out_of_memory\"} 1",
            "mega_pipeline_http_requests_total{method=\"GET\",route=\"/jobs/{id}\",status=\"200\"} 1",
            "mega_pipeline_http_requests_total{method=\"other\",route=\"other\",status=\"405\"} 1",
            "mega_pipeline_uploaded_bytes_total 10",
            "mega_pipeline_jobs{state=\"queued\"} 4",
            "mega_pipeline_resident_bytes 9",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
