//! Small drawings for the pages, as SVG. Colours come from the style sheet.

use std::fmt::Write as _;

use super::super::words::Words;
use super::show;
use crate::jobs::Job;
use crate::stage::StageKind;

/// Width of a drawing in its own units; it is shown as wide as there is room.
const WIDTH: f64 = 1000.0;
const BAR: usize = 14;
const STEP: usize = 20;

/// When each stage of a job ran: one bar a stage, below one another, on one axis of time.
/// `None` while no stage has begun.
pub(super) fn timeline(job: &Job, words: &Words, now_ms: i64) -> Option<String> {
    let runs: Vec<_> = job
        .stages
        .iter()
        .filter_map(|run| Some((run, run.started_ms?, run.finished_ms.unwrap_or(now_ms))))
        .collect();
    let first = runs.iter().map(|&(_, from, _)| from).min()?;
    let last = runs.iter().map(|&(_, _, to)| to).max()?;
    let scale = WIDTH / (last - first).max(1) as f64;
    let height = STEP * runs.len();
    let mut svg = format!(
        "<svg class=\"timeline\" viewBox=\"0 0 {WIDTH} {height}\" preserveAspectRatio=\"none\" \
         role=\"img\" aria-label=\"{}\">",
        words.timeline
    );
    for (index, (run, from, to)) in runs.into_iter().enumerate() {
        let took = show::length((to - from).max(0) as u64);
        let _ = write!(
            svg,
            "<rect class=\"stage-{}\" x=\"{:.1}\" y=\"{}\" width=\"{:.1}\" height=\"{BAR}\">\
             <title>{}: {took}</title></rect>",
            run.stage as usize,
            (from - first) as f64 * scale,
            index * STEP + (STEP - BAR) / 2,
            // What took no time is seen all the same.
            ((to - from) as f64 * scale).max(2.0),
            words.stage_name(run.stage),
        );
    }
    svg.push_str("</svg>");
    Some(svg)
}

/// One bar a run, as high as it took long.
pub(super) fn course(stage: StageKind, run_ms: &[u64], words: &Words) -> String {
    let most = run_ms.iter().copied().max().unwrap_or(0).max(1) as f64;
    let step = WIDTH / run_ms.len().max(1) as f64;
    let mut svg = format!(
        "<svg class=\"course\" viewBox=\"0 0 {WIDTH} 100\" preserveAspectRatio=\"none\" \
         role=\"img\" aria-label=\"{}: {}\">",
        words.stage_name(stage),
        words.course
    );
    for (index, &ms) in run_ms.iter().enumerate() {
        let height = (ms as f64 / most * 100.0).max(1.0);
        let _ = write!(
            svg,
            "<rect class=\"stage-{}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" \
             height=\"{height:.1}\"/>",
            stage as usize,
            index as f64 * step,
            100.0 - height,
            (step * 0.8).min(40.0),
        );
    }
    svg.push_str("</svg>");
    svg
}

/// Loudness over time: a closed line around the middle. `peaks` are from 0 to 1.
pub(super) fn waveform(peaks: &[f32]) -> String {
    let height = 100.0;
    let step = WIDTH / peaks.len().max(1) as f64;
    let half = |peak: f32| f64::from(peak).clamp(0.01, 1.0) * height / 2.0;
    let mut path = String::from("M0 50");
    for (index, &peak) in peaks.iter().enumerate() {
        let _ = write!(path, "L{:.1} {:.1}", index as f64 * step, height / 2.0 - half(peak));
    }
    for (index, &peak) in peaks.iter().enumerate().rev() {
        let _ = write!(path, "L{:.1} {:.1}", index as f64 * step, height / 2.0 + half(peak));
    }
    // The same colour by day and by night: an image does not see the page's style.
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         preserveAspectRatio=\"none\"><path fill=\"#3a9a95\" d=\"{path}Z\"/></svg>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waveform_goes_there_above_the_middle_and_back_below_it() {
        let svg = waveform(&[1.0, 0.5]);
        assert!(svg.contains("M0 50L0.0 0.0L500.0 25.0L500.0 75.0L0.0 100.0Z"), "{svg}");
    }

    #[test]
    fn the_longest_run_is_as_high_as_the_drawing() {
        let svg = course(StageKind::GenerateText, &[50, 100], Words::accepted("en"));
        assert!(svg.contains("y=\"50.0\"") && svg.contains("y=\"0.0\""), "{svg}");
    }
}
