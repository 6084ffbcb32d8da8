//! Promise: what ONNX Runtime computes with operators of ours is what it computes with its own.
//!
//! The models are made by tests/fixtures/make_convolutions.py.

mod support;

use std::path::{Path, PathBuf};

use mega_pipeline::engine::{Hardware, onnx};
use ort::session::Session;
use ort::value::Tensor;
use support::start_speech;

const HARDWARE: Hardware = Hardware { threads: 2, gpu: None };
/// Sounds at once, and the channels of each.
const BATCH: usize = 2;
const CHANNELS: usize = 6;

fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/convolutions").join(name)
}

/// Shape of a convolution's output, and its sums.
type Convolved = (Vec<i64>, Vec<i32>);

/// What the convolutions give for a sound of so many moments, and the sines.
fn outputs(session: &mut Session, moments: usize) -> (Vec<Convolved>, Vec<f32>) {
    let sound: Vec<u8> = (0..BATCH * CHANNELS * moments).map(|at| (at * 613 % 256) as u8).collect();
    let angles: Vec<f32> = (0..moments * 300).map(|at| at as f32 * 0.37 - 500.0).collect();
    let sound = Tensor::from_array(([BATCH, CHANNELS, moments], sound)).expect("a tensor");
    let angles = Tensor::from_array(([angles.len()], angles)).expect("a tensor");
    let outputs =
        session.run(ort::inputs! { "x" => sound, "angles" => angles }).expect("it computes");
    let sums = (0..6).map(|at| {
        let (shape, sums) =
            outputs[format!("y{at}")].try_extract_tensor::<i32>().expect("whole numbers");
        (shape.to_vec(), sums.to_vec())
    });
    let sums = sums.collect();
    let (_, sines) = outputs["sines"].try_extract_tensor::<f32>().expect("numbers");
    (sums, sines.to_vec())
}

#[test]
fn convolutions_are_equal_and_sines_nearly_so() {
    start_speech();
    let mut theirs = onnx::session(&model("sound.onnx"), &HARDWARE).expect("the model loads");
    let mut ours = onnx::quick_session(&model("sound.onnx"), &HARDWARE).expect("the model loads");
    for moments in [10, 48, 60, 333] {
        let (expected, expected_sines) = outputs(&mut theirs, moments);
        let (found, sines) = outputs(&mut ours, moments);
        for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert!(found == expected, "convolution {at} of {moments} moments");
        }
        assert_eq!(sines.len(), expected_sines.len());
        for (found, expected) in sines.iter().zip(&expected_sines) {
            assert!((found - expected).abs() < 1e-6, "{found} and {expected}");
        }
    }
}

#[test]
fn a_model_that_our_operators_do_not_fit_runs_without_them() {
    start_speech();
    let mut session = onnx::quick_session(&model("wide.onnx"), &HARDWARE).expect("it loads");
    let number = Tensor::from_array(([1], vec![0.5_f64])).expect("a tensor");
    let outputs = session.run(ort::inputs! { "x" => number }).expect("it computes");
    let (_, sines) = outputs[0].try_extract_tensor::<f64>().expect("a number");
    assert!((sines[0] - 0.5_f64.sin()).abs() < 1e-12);
    drop(outputs);

    let mut session = onnx::quick_session(&model("image.onnx"), &HARDWARE).expect("it loads");
    let image = Tensor::from_array(([1, 1, 3, 3], vec![1_u8; 9])).expect("a tensor");
    let outputs = session.run(ort::inputs! { "x" => image }).expect("it computes");
    let (shape, sums) = outputs[0].try_extract_tensor::<i32>().expect("whole numbers");
    assert_eq!(&shape[..], [1, 2, 2, 2]);
    // The weights of the first row of the output are 0, 138, 25 and 163, of the second 50 to 213.
    assert_eq!(sums[..4], [326; 4]);
}
