//! Operators of our own for ONNX Runtime, under the names of those that they stand in for. Called by
//! [`super::quick_session`]; `convolution` and `sine` compute.

use std::sync::{Arc, Mutex, PoisonError};

use ort::operator::{
    Kernel, KernelAttributes, KernelContext, Operator, OperatorDomain, OperatorInput,
    OperatorOutput,
};
use ort::value::{TensorElementType, ValueRef};

use super::convolution::{self, Quantised, Scratch, Shape};
use super::sine;
use crate::engine::disjoint::Disjoint;

/// Those that this processor can do. ONNX Runtime takes an operator of a session before its own.
pub(super) fn quick() -> ort::Result<OperatorDomain> {
    // The name of ONNX's own operators is empty.
    let domain = OperatorDomain::new("")?.add(Sin)?;
    if convolution::is_possible() { domain.add(ConvInteger::default()) } else { Ok(domain) }
}

/// ONNX's ConvInteger over time.
#[derive(Default)]
struct ConvInteger {
    /// One convolution is done after another, so all share it.
    scratch: Arc<Mutex<Scratch>>,
}

impl Operator for ConvInteger {
    fn name(&self) -> &'static str {
        "ConvInteger"
    }

    fn inputs(&self) -> Vec<OperatorInput> {
        vec![
            OperatorInput::required(TensorElementType::Uint8),
            OperatorInput::required(TensorElementType::Uint8),
            OperatorInput::optional(TensorElementType::Uint8),
            OperatorInput::optional(TensorElementType::Uint8),
        ]
    }

    fn outputs(&self) -> Vec<OperatorOutput> {
        vec![OperatorOutput::required(TensorElementType::Int32)]
    }

    fn create_kernel(&self, attributes: &KernelAttributes) -> ort::Result<Box<dyn Kernel>> {
        let unfit = |what: &str| Err(ort::Error::new(format!("ConvInteger {what}")));
        let inputs = attributes.inputs()?;
        let weights = inputs.get(1).and_then(|it| it.dtype().tensor_shape());
        if weights.is_none_or(|shape| shape.len() != 3) {
            return unfit("of something else than sound");
        }
        if attributes.get::<i64>("group").is_some_and(|groups| groups != 1) {
            return unfit("in groups");
        }
        if attributes.get::<String>("auto_pad").is_some_and(|how| how != "NOTSET") {
            return unfit("with pads to be found out");
        }
        let numbers = |name: &str| -> Vec<i64> { attributes.get(name).unwrap_or_default() };
        let one = |name: &str| match *numbers(name) {
            [] => Some(1),
            [number] => usize::try_from(number).ok().filter(|&it| it > 0),
            _ => None,
        };
        let pads = match *numbers("pads") {
            [] => Some([0, 0]),
            [before, after] => match (before.try_into(), after.try_into()) {
                (Ok(before), Ok(after)) => Some([before, after]),
                _ => None,
            },
            _ => None,
        };
        let (Some(stride), Some(dilation), Some(pads)) = (one("strides"), one("dilations"), pads)
        else {
            return unfit("with strides, dilations or pads that sound cannot have");
        };
        let settings = Settings { stride, dilation, pads };
        let scratch = Arc::clone(&self.scratch);
        Ok(Box::new(move |context: &KernelContext| settings.compute(context, &scratch)))
    }
}

/// What the attributes of a node say.
struct Settings {
    stride: usize,
    dilation: usize,
    pads: [usize; 2],
}

impl Settings {
    fn compute(&self, context: &KernelContext, scratch: &Mutex<Scratch>) -> ort::Result<()> {
        let (input, weights) = (required(context, 0)?, required(context, 1)?);
        let (input_shape, input) = input.try_extract_tensor::<u8>()?;
        let (weights_shape, weights) = weights.try_extract_tensor::<u8>()?;
        let (&[batch, channels, moments], &[outputs, of_channels, taps]) =
            (&input_shape[..], &weights_shape[..])
        else {
            return Err(ort::Error::new("ConvInteger takes sound and not images"));
        };
        if channels != of_channels {
            return Err(ort::Error::new("ConvInteger got other channels than it has weights for"));
        }
        if taps == 0 {
            return Err(ort::Error::new("ConvInteger got an empty kernel"));
        }
        let shape = Shape {
            channels: channels as usize,
            outputs: outputs as usize,
            taps: taps as usize,
            stride: self.stride,
            dilation: self.dilation,
            pads: self.pads,
        };
        let length = shape
            .length(moments as usize)
            .ok_or_else(|| ort::Error::new("ConvInteger got less than its kernel is long"))?;
        let mut output = context
            .output(0, vec![batch, outputs, length as i64])?
            .ok_or_else(|| ort::Error::new("ConvInteger has no output"))?;
        let (_, output) = output.try_extract_tensor_mut::<i32>()?;
        if input.is_empty() || output.is_empty() {
            output.fill(0);
            return Ok(());
        }
        let zero = |at| -> ort::Result<u8> {
            let Some(value) = context.input(at)? else { return Ok(0) };
            match value.try_extract_tensor::<u8>()?.1 {
                &[zero] => Ok(zero),
                _ => Err(ort::Error::new("ConvInteger takes one zero for all outputs")),
            }
        };
        let weights = Quantised { values: weights, zero: zero(3)? };
        let input_zero = zero(2)?;
        let mut scratch = scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let each = input.chunks_exact(shape.channels * moments as usize);
        for (input, output) in each.zip(output.chunks_exact_mut(shape.outputs * length)) {
            let input = Quantised { values: input, zero: input_zero };
            let workers = |count: usize, work: &(dyn Fn(usize) + Send + Sync)| {
                context.par_for(count, 0, work)
            };
            convolution::convolve(&shape, input, weights, &mut scratch, &workers, output)?;
        }
        Ok(())
    }
}

/// ONNX's Sin.
struct Sin;

impl Operator for Sin {
    fn name(&self) -> &'static str {
        "Sin"
    }

    fn inputs(&self) -> Vec<OperatorInput> {
        vec![OperatorInput::required(TensorElementType::Float32)]
    }

    fn outputs(&self) -> Vec<OperatorOutput> {
        vec![OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel(&self, _: &KernelAttributes) -> ort::Result<Box<dyn Kernel>> {
        Ok(Box::new(|context: &KernelContext| {
            /// Numbers that one thread does at a time.
            const PIECE: usize = 1 << 14;
            let input = required(context, 0)?;
            let (shape, numbers) = input.try_extract_tensor::<f32>()?;
            let mut output = context
                .output(0, shape.to_vec())?
                .ok_or_else(|| ort::Error::new("Sin has no output"))?;
            let (_, out) = output.try_extract_tensor_mut::<f32>()?;
            let shared = Disjoint(out.as_mut_ptr());
            let (numbers, count) = (&numbers[..out.len()], out.len());
            context.par_for(count.div_ceil(PIECE), 0, |piece| {
                let numbers = &numbers[piece * PIECE..count.min((piece + 1) * PIECE)];
                // SAFETY: it lies within `out`, and no other call gets the same piece.
                sine::sines(numbers, unsafe { shared.part(piece * PIECE, numbers.len()) });
            })
        }))
    }
}

fn required(context: &KernelContext, at: usize) -> ort::Result<ValueRef<'_>> {
    context.input(at)?.ok_or_else(|| ort::Error::new(format!("input {at} is missing")))
}
