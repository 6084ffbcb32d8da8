//! One progress bar a stage on a terminal, plain lines elsewhere.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::engine::Progress;
use crate::stage::{StageKind, Timing};

/// Shows how far one stage has come, on standard error.
pub struct StageProgress {
    stage: StageKind,
    /// `None` where standard error is no terminal.
    bar: Option<ProgressBar>,
}

impl StageProgress {
    /// A stage begins.
    #[must_use]
    pub fn begin(stage: StageKind) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {prefix:18} [{bar:30}] {elapsed}")
                .expect("the template is a constant")
                .progress_chars("=> ");
            let bar = ProgressBar::new(1000).with_style(style).with_prefix(stage.as_str());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if bar.is_none() {
            eprintln!("{stage}: started");
        }
        Self { stage, bar }
    }

    /// The stage has come further.
    pub fn update(&self, progress: &Progress) {
        if let (Some(bar), Progress::Fraction { done, total }) = (&self.bar, progress) {
            bar.set_position(done * 1000 / (*total).max(1));
        }
    }

    /// The stage is done.
    pub fn finish(&self, timing: &Timing) {
        let line = format!("{:18} {}", self.stage.as_str(), cost(timing));
        match &self.bar {
            Some(bar) => {
                bar.finish_and_clear();
                eprintln!("{line}");
            }
            None => eprintln!("{}: done, {}", self.stage, cost(timing)),
        }
    }
}

/// What a stage cost, in words: `1.24 s, real-time factor 0.12 (whisper-base.en on cpu)`.
#[must_use]
pub fn cost(timing: &Timing) -> String {
    let seconds = timing.run_ms as f64 / 1000.0;
    let mut text = format!("{seconds:.2} s");
    if timing.load_ms > 0 {
        let load_s = timing.load_ms as f64 / 1000.0;
        let _ = write!(text, " (+ {load_s:.2} s loading)");
    }
    if let Some(factor) = timing.real_time_factor() {
        let _ = write!(text, ", real-time factor {factor:.3}");
    }
    if let (Some(count), Some(unit)) = (timing.tokens, timing.unit.as_deref()) {
        let rate = if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let _ = write!(text, ", {count} {unit}, {rate:.1} {unit}/s");
    }
    format!("{text} ({} on {})", timing.model, timing.device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_of_a_stage_names_its_factor_model_and_device() {
        let timing = Timing {
            run_ms: 1200,
            load_ms: 300,
            audio_ms: Some(10_000),
            device: "cpu".to_owned(),
            model: "whisper-tiny".to_owned(),
            ..Timing::default()
        };
        assert_eq!(
            cost(&timing),
            "1.20 s (+ 0.30 s loading), real-time factor 0.120 (whisper-tiny on cpu)"
        );
    }
}
