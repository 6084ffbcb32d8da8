//! What a person sees while models arrive: bars on a terminal, lines elsewhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Hears how far each download has come.
pub trait PullProgress: Send + Sync {
    /// A source answers, and `file` is on its way. May be said again, when it is
    /// taken up again or another source is asked. `had_bytes` were there before.
    fn began(&self, file: &str, had_bytes: u64, total_bytes: Option<u64>);
    /// `done_bytes` of `file` are here. May go back, when a download starts over.
    fn advanced(&self, file: &str, done_bytes: u64);
    /// `file` is complete and right, or was given up.
    fn ended(&self, file: &str, complete: bool);
    /// Something a person should know while waiting.
    fn note(&self, line: &str);
}

/// Says nothing.
#[derive(Debug, Default)]
pub struct Silent;

impl PullProgress for Silent {
    fn began(&self, _: &str, _: u64, _: Option<u64>) {}
    fn advanced(&self, _: &str, _: u64) {}
    fn ended(&self, _: &str, _: bool) {}
    fn note(&self, _: &str) {}
}

/// One bar a file, on standard error.
#[derive(Debug, Default)]
pub struct Bars {
    all: MultiProgress,
    files: Mutex<HashMap<String, ProgressBar>>,
}

impl PullProgress for Bars {
    fn began(&self, file: &str, had_bytes: u64, total_bytes: Option<u64>) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.entry(file.to_owned()).or_insert_with(|| {
            let style = ProgressStyle::with_template(
                "{spinner} {bar:24} {bytes:>10}/{total_bytes:10} {bytes_per_sec:>12} {elapsed:>4}  {msg}",
            )
            .expect("the template is a constant")
            .progress_chars("=> ");
            let bar = self.all.add(ProgressBar::no_length()).with_style(style);
            if let Some(total_bytes) = total_bytes {
                bar.set_length(total_bytes);
            }
            // A package manager may be at work for a while before bytes are seen.
            bar.enable_steady_tick(Duration::from_millis(200));
            bar.with_message(file.to_owned()).with_position(had_bytes)
        });
    }

    fn advanced(&self, file: &str, done_bytes: u64) {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = files.get(file) {
            bar.set_position(done_bytes);
        }
    }

    fn ended(&self, file: &str, _: bool) {
        let bar = self.files.lock().unwrap_or_else(PoisonError::into_inner).remove(file);
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
    }

    fn note(&self, line: &str) {
        // A terminal that went away is no reason to stop fetching.
        let _ = self.all.println(line);
    }
}

/// A line when a file begins, every few seconds, and when it is complete; on standard error.
#[derive(Debug, Default)]
pub struct Lines {
    files: Mutex<HashMap<String, Line>>,
}

/// When a file began, and when it was last told of.
#[derive(Debug)]
struct Line {
    began: Instant,
    told: Instant,
    /// Bytes that were there when it began, which say nothing of the rate.
    had_bytes: u64,
    done_bytes: u64,
    total_bytes: Option<u64>,
}

/// How often [`Lines`] tells of one file.
const EVERY: Duration = Duration::from_secs(5);

impl PullProgress for Lines {
    fn began(&self, file: &str, had_bytes: u64, total_bytes: Option<u64>) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.entry(file.to_owned()).or_insert_with(|| {
            let size = total_bytes.map(|total| format!(" ({})", human_bytes(total)));
            eprintln!("{file}: fetching{}", size.unwrap_or_default());
            let now = Instant::now();
            Line { began: now, told: now, had_bytes, done_bytes: had_bytes, total_bytes }
        });
    }

    fn advanced(&self, file: &str, done_bytes: u64) {
        let now = Instant::now();
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(line) = files.get_mut(file) else { return };
        if line.done_bytes == line.had_bytes {
            // The first bytes after a wait for a package: nothing to tell yet.
            line.told = now;
        }
        line.done_bytes = done_bytes;
        if now.duration_since(line.told) >= EVERY {
            line.told = now;
            let of = line.total_bytes.map(|total| format!(" of {}", human_bytes(total)));
            let (of, rate) = (of.unwrap_or_default(), line.rate());
            eprintln!("{file}: {}{of}{rate}", human_bytes(done_bytes));
        }
    }

    fn ended(&self, file: &str, complete: bool) {
        let line = self.files.lock().unwrap_or_else(PoisonError::into_inner).remove(file);
        match line {
            Some(line) if complete => {
                eprintln!("{file}: {}{}, done", human_bytes(line.done_bytes), line.rate());
            }
            Some(_) => eprintln!("{file}: given up"),
            None => {}
        }
    }

    fn note(&self, line: &str) {
        eprintln!("{line}");
    }
}

impl Line {
    /// `, 12.3 MB/s`, or nothing before it can be known.
    fn rate(&self) -> String {
        let seconds = self.began.elapsed().as_secs_f64();
        if seconds < 0.05 {
            return String::new();
        }
        let bytes = self.done_bytes.saturating_sub(self.had_bytes) as f64 / seconds;
        format!(", {}/s", human_bytes(bytes as u64))
    }
}

/// What one download reports to, with the name it reports under.
#[derive(Clone)]
pub(super) struct Meter {
    progress: Arc<dyn PullProgress>,
    file: Arc<str>,
    total_bytes: Option<u64>,
}

impl Meter {
    pub(super) fn new(progress: &Arc<dyn PullProgress>, file: &str, total: Option<u64>) -> Self {
        Self { progress: Arc::clone(progress), file: file.into(), total_bytes: total }
    }

    pub(super) fn began(&self, had_bytes: u64) {
        self.progress.began(&self.file, had_bytes, self.total_bytes);
    }

    pub(super) fn advanced(&self, done_bytes: u64) {
        self.progress.advanced(&self.file, done_bytes);
    }

    /// The same, for a step that is too short to be told of.
    pub(super) fn silent(&self) -> Self {
        Self { progress: Arc::new(Silent), ..self.clone() }
    }

    pub(super) fn ended(&self, complete: bool) {
        self.progress.ended(&self.file, complete);
    }
}

/// `147.9 MB`: powers of ten, as downloads are usually told.
pub fn human_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB"] {
        if value < 999.95 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.2} GB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_the_unit_that_fits() {
        assert_eq!(human_bytes(42), "42 B");
        assert_eq!(human_bytes(2_351), "2.4 kB");
        assert_eq!(human_bytes(147_964_211), "148.0 MB");
        assert_eq!(human_bytes(999_999), "1.0 MB");
        assert_eq!(human_bytes(1_117_320_768), "1.12 GB");
    }
}
