//! One token after the other on an NVIDIA GPU.
//!
//! A token is so little work for a GPU that tensors, each with memory of its own and a kernel for
//! every small step, take most of the time. Here a layer is twelve kernels on memory that stays:
//! candle's products, and what lies between them at once (`gpu.cu`).

use std::ffi::c_void;
use std::sync::Arc;

use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaSlice, CudaStream, DevicePtr, DeviceRepr, LaunchConfig, PushKernelArg,
};
use candle_core::cuda_backend::kernels::ffi;
use candle_core::quantized::GgmlDType;
use candle_core::{CudaDevice, Error, Result, Storage, Tensor, bail};

use super::{Layer, Norm, Transformer, Vector};
use crate::engine::llm::mapped::Matrix;

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// Numbers in a block of quantised ones, and bytes that it takes.
const BLOCK: usize = 32;
const BLOCK_BYTES: usize = 36;
/// Threads of the kernels `normalise` and `attend`.
const WIDE: u32 = 1024;
/// Threads of the kernel `gated`.
const GATED: u32 = 256;
/// Most numbers that `normalise` takes.
const WIDEST: usize = 16 * WIDE as usize;

/// candle's product of one quantised token with a quantised matrix: weights, token, product,
/// inputs, outputs, two strides between tokens, tokens, stream.
type Product = unsafe extern "C" fn(
    *const c_void,
    *const c_void,
    *mut c_void,
    i32,
    i32,
    i32,
    i32,
    i32,
    *mut c_void,
);

/// The kernels, and memory for what passes between them.
pub(super) struct Gpu {
    device: CudaDevice,
    stream: Arc<CudaStream>,
    normalise: CudaFunction,
    heads: CudaFunction,
    attend: CudaFunction,
    gated: CudaFunction,
    /// The token as it goes from layer to layer.
    x: CudaSlice<f32>,
    /// What is multiplied with the next matrices, quantised.
    input: CudaSlice<u8>,
    queries: CudaSlice<f32>,
    keys: CudaSlice<f32>,
    values: CudaSlice<f32>,
    gates: CudaSlice<f32>,
    ups: CudaSlice<f32>,
    /// What a layer's last product is added to `x` with the next norm.
    added: CudaSlice<f32>,
    logits: CudaSlice<f32>,
}

impl Gpu {
    /// For tokens of `width` numbers that go through `layers`, `norm` and `output`; nothing if
    /// these do not fit together, or are of kinds that the kernels do not know.
    pub fn new(
        device: &CudaDevice,
        width: usize,
        layers: &[Layer],
        norm: &Norm,
        output: &Matrix,
    ) -> Result<Option<Self>> {
        let fits = width <= WIDEST
            && width.is_multiple_of(BLOCK)
            && layers.iter().all(|layer| layer.fits(width))
            && norm.weight.values.len() == width
            && is_matrix(output, width, output.outputs());
        if !fits {
            return Ok(None);
        }
        let largest = |size: fn(&Layer) -> usize| layers.iter().map(size).max().unwrap_or(0);
        let widest_input = largest(|layer| layer.down.inputs().max(layer.output.inputs()));
        let kernel = |name: &str| -> Result<CudaFunction> {
            Ok(device.get_or_load_custom_func(name, "decoder", GPU)?.into_cuda_function())
        };
        let numbers = |count| device.alloc_zeros::<f32>(count);
        let blocks = widest_input.max(width).div_ceil(BLOCK);
        Ok(Some(Self {
            stream: device.cuda_stream(),
            normalise: kernel("normalise")?,
            heads: kernel("heads")?,
            attend: kernel("attend")?,
            gated: kernel("gated")?,
            x: numbers(width)?,
            input: device.alloc_zeros::<u8>(blocks * BLOCK_BYTES)?,
            queries: numbers(largest(|layer| layer.query.outputs()))?,
            keys: numbers(largest(|layer| layer.key.outputs()))?,
            values: numbers(largest(|layer| layer.value.outputs()))?,
            gates: numbers(largest(|layer| layer.gate.outputs()))?,
            ups: numbers(largest(|layer| layer.up.outputs()))?,
            added: numbers(width)?,
            logits: numbers(output.outputs())?,
            device: device.clone(),
        }))
    }

    /// Puts `x` plus what the layer before has left in `added`, if there is one, into `self.x`,
    /// and its norm into `self.input`.
    fn normalise(&self, x: u64, added: u64, norm: &Norm) -> Result<()> {
        let width = norm.weight.values.len() as i32;
        let (kept, input) = (address(&self.x), address(&self.input));
        let weight = norm.weight.address()?;
        let mut launch = self.stream.launch_builder(&self.normalise);
        launch.arg(&x).arg(&added).arg(&kept).arg(&weight);
        launch.arg(&norm.epsilon).arg(&width).arg(&input);
        // SAFETY: these are the kernel's arguments; `x`, `added`, `kept` and `weight` hold `width`
        // numbers, at most `WIDEST`, and `input` the blocks for as many.
        unsafe { launch.launch(shape(1, WIDE)) }.map_err(Error::wrap)?;
        Ok(())
    }

    /// Writes `matrix` times `self.input` to `to`.
    fn multiply(&self, matrix: &Matrix, to: &CudaSlice<f32>) -> Result<()> {
        let Some((weights, product)) = product(matrix) else {
            bail!("a matrix of a kind that the GPU cannot multiply")
        };
        let (inputs, outputs) = (matrix.inputs() as i32, matrix.outputs() as i32);
        let (input, to) = (address(&self.input), address(to));
        // SAFETY: the launcher that candle itself calls for matrices of this kind. `input` holds
        // the blocks for so many inputs, `to` has room for the outputs; strides are for more
        // tokens than one.
        unsafe {
            product(
                weights.cast(),
                input as *const c_void,
                to as *mut c_void,
                inputs,
                outputs,
                0,
                0,
                1,
                self.stream.cu_stream().cast(),
            );
        }
        Ok(())
    }
}

impl Transformer {
    /// Reads one token as [`Transformer::forward`] does, if the kernels fit the weights.
    pub(super) fn step_on_gpu(&mut self, token: u32, position: usize) -> Result<Option<Vec<f32>>> {
        let Some(gpu) = &self.gpu else { return Ok(None) };
        if position >= self.rotation.cos.tensor.dim(0)? {
            bail!("there is no place for token {position}")
        }
        let ids = Tensor::new(&[token], &self.device)?;
        let embedded = self.embedding.embedding(&ids)?;
        let (mut x, mut added) = (address_of(&embedded)?, 0);
        for layer in &mut self.layers {
            let [keys, values] =
                layer.cache.reserve(1, layer.key_heads, layer.head_width, &self.device)?;
            if layer.cache.tokens != position {
                bail!("token {position} does not follow {} others", layer.cache.tokens)
            }
            let (room, keys, values) = (keys.dim(2)?, address_of(&keys)?, address_of(&values)?);
            gpu.normalise(x, added, &layer.attention_norm)?;
            (x, added) = (address(&gpu.x), address(&gpu.added));
            gpu.multiply(&layer.query, &gpu.queries)?;
            gpu.multiply(&layer.key, &gpu.keys)?;
            gpu.multiply(&layer.value, &gpu.values)?;
            layer.launch_heads(gpu, &self.rotation, position, room, [keys, values])?;
            layer.launch_attend(gpu, position + 1, room, [keys, values])?;
            layer.cache.tokens = position + 1;
            gpu.multiply(&layer.output, &gpu.added)?;
            gpu.normalise(x, added, &layer.feed_norm)?;
            gpu.multiply(&layer.gate, &gpu.gates)?;
            gpu.multiply(&layer.up, &gpu.ups)?;
            layer.launch_gated(gpu)?;
            gpu.multiply(&layer.down, &gpu.added)?;
        }
        gpu.normalise(x, added, &self.norm)?;
        gpu.multiply(&self.output, &gpu.logits)?;
        // Waits until all is done.
        Ok(Some(gpu.device.clone_dtoh(&gpu.logits)?))
    }
}

impl Layer {
    /// Whether the kernels can take tokens of `width` numbers through.
    fn fits(&self, width: usize) -> bool {
        let all = self.heads * self.head_width;
        let shared = self.key_heads * self.head_width;
        let inner = self.down.inputs();
        let sizes = |vector: &Vector| vector.values.len();
        matches!(self.head_width, 64 | 128 | 256)
            && inner.is_multiple_of(BLOCK)
            && is_matrix(&self.query, width, all)
            && is_matrix(&self.key, width, shared)
            && is_matrix(&self.value, width, shared)
            && is_matrix(&self.output, all, width)
            && is_matrix(&self.gate, width, inner)
            && is_matrix(&self.up, width, inner)
            && is_matrix(&self.down, inner, width)
            && [&self.attention_norm, &self.feed_norm].map(|it| sizes(&it.weight)) == [width; 2]
            && self.biases.iter().all(|it| it.each_ref().map(sizes) == [all, shared, shared])
            && self.head_norms.iter().flatten().all(|it| sizes(&it.weight) == self.head_width)
    }

    fn launch_heads(
        &self,
        gpu: &Gpu,
        rotation: &super::Rotation,
        position: usize,
        room: usize,
        [all_keys, all_values]: [u64; 2],
    ) -> Result<()> {
        let [query_bias, key_bias, value_bias] = match &self.biases {
            Some([query, key, value]) => [query.address()?, key.address()?, value.address()?],
            None => [0; 3],
        };
        let ([query_norm, key_norm], epsilon) = match &self.head_norms {
            Some([query, key]) => ([query.weight.address()?, key.weight.address()?], query.epsilon),
            None => ([0; 2], 0.0),
        };
        let [queries, keys, values] = [&gpu.queries, &gpu.keys, &gpu.values].map(address);
        let (cosines, sines) = (rotation.cos.address()?, rotation.sin.address()?);
        let neighbours = i32::from(rotation.neighbours);
        let [heads, key_heads, position, room] =
            [self.heads, self.key_heads, position, room].map(|count| count as i32);
        let mut launch = gpu.stream.launch_builder(&gpu.heads);
        launch.arg(&queries).arg(&keys).arg(&values);
        launch.arg(&query_bias).arg(&key_bias).arg(&value_bias);
        launch.arg(&query_norm).arg(&key_norm).arg(&epsilon);
        launch.arg(&cosines).arg(&sines).arg(&neighbours);
        launch.arg(&heads).arg(&key_heads).arg(&position).arg(&room);
        launch.arg(&all_keys).arg(&all_values);
        let blocks = (heads + 2 * key_heads) as u32;
        // SAFETY: these are the kernel's arguments; the tables reach beyond `position`, and the
        // cache has room for it.
        unsafe { launch.launch(shape(blocks, self.head_width as u32 / 2)) }.map_err(Error::wrap)?;
        Ok(())
    }

    fn launch_attend(
        &self,
        gpu: &Gpu,
        tokens: usize,
        room: usize,
        [keys, values]: [u64; 2],
    ) -> Result<()> {
        let (queries, input) = (address(&gpu.queries), address(&gpu.input));
        let [width, sharing, room, tokens] =
            [self.head_width, self.heads / self.key_heads, room, tokens].map(|count| count as i32);
        let mut launch = gpu.stream.launch_builder(&gpu.attend);
        launch.arg(&queries).arg(&keys).arg(&values);
        launch.arg(&width).arg(&sharing).arg(&room).arg(&tokens).arg(&input);
        // SAFETY: these are the kernel's arguments; `tokens` lie in the cache, and `input` has
        // room for all heads.
        unsafe { launch.launch(shape(self.heads as u32, WIDE)) }.map_err(Error::wrap)?;
        Ok(())
    }

    fn launch_gated(&self, gpu: &Gpu) -> Result<()> {
        let [gates, ups] = [&gpu.gates, &gpu.ups].map(address);
        let (width, input) = (self.gate.outputs() as i32, address(&gpu.input));
        let mut launch = gpu.stream.launch_builder(&gpu.gated);
        launch.arg(&gates).arg(&ups).arg(&width).arg(&input);
        let blocks = (width as u32).div_ceil(GATED);
        // SAFETY: these are the kernel's arguments; `gates` and `ups` hold `width` numbers, and
        // `input` has room for the blocks.
        unsafe { launch.launch(shape(blocks, GATED)) }.map_err(Error::wrap)?;
        Ok(())
    }
}

impl Vector {
    /// Where its numbers lie on the GPU.
    fn address(&self) -> Result<u64> {
        address_of(&self.tensor)
    }
}

/// Where the numbers of `tensor` begin on the GPU.
fn address_of(tensor: &Tensor) -> Result<u64> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else { bail!("a tensor that is not on the GPU") };
    let start = layout.start_offset() * size_of::<f32>();
    Ok(address(storage.as_cuda_slice::<f32>()?) + start as u64)
}

/// Where `slice` begins on the GPU. All that is done to it is done in the order of one stream.
fn address<T: DeviceRepr>(slice: &CudaSlice<T>) -> u64 {
    slice.device_ptr(slice.stream()).0
}

fn shape(blocks: u32, threads: u32) -> LaunchConfig {
    LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (threads, 1, 1), shared_mem_bytes: 0 }
}

/// Whether a token of so many inputs can be multiplied with `matrix`, and gives so many outputs.
fn is_matrix(matrix: &Matrix, inputs: usize, outputs: usize) -> bool {
    matrix.inputs() == inputs && matrix.outputs() == outputs && product(matrix).is_some()
}

/// The weights of `matrix` on the GPU, and what multiplies one token with them.
fn product(matrix: &Matrix) -> Option<(*const u8, Product)> {
    let weights = matrix.quantised()?;
    let product: Product = match weights.dtype() {
        GgmlDType::Q4_0 => ffi::launch_mmvq_gguf_q4_0_f32_plain,
        GgmlDType::Q4_1 => ffi::launch_mmvq_gguf_q4_1_f32_plain,
        GgmlDType::Q5_0 => ffi::launch_mmvq_gguf_q5_0_f32_plain,
        GgmlDType::Q5_1 => ffi::launch_mmvq_gguf_q5_1_f32_plain,
        GgmlDType::Q8_0 => ffi::launch_mmvq_gguf_q8_0_f32_plain,
        GgmlDType::Q2K => ffi::launch_mmvq_gguf_q2_k_f32_plain,
        GgmlDType::Q3K => ffi::launch_mmvq_gguf_q3_k_f32_plain,
        GgmlDType::Q4K => ffi::launch_mmvq_gguf_q4_k_f32_plain,
        GgmlDType::Q5K => ffi::launch_mmvq_gguf_q5_k_f32_plain,
        GgmlDType::Q6K => ffi::launch_mmvq_gguf_q6_k_f32_plain,
        _ => return None,
    };
    Some((weights.device_ptr().ok()?, product))
}
