//! Quantised weights that stay in their mapped file.
//!
//! candle copies a tensor before it computes with it, and for several tokens at once makes a second
//! copy, rearranged. The first copy is left out here, the second where `product` knows the type. Of
//! one token the time is that of reading all weights, so that it is multiplied by the blocks as
//! they lie in the file: rearranged they take a third more. Used by `transformer` only, on the
//! CPU.

use std::borrow::Cow;
#[cfg(target_arch = "x86_64")]
use std::cell::OnceCell;
use std::ops::Range;
use std::sync::Arc;

use candle_core::quantized::gguf_file::TensorInfo;
use candle_core::quantized::k_quants::{
    self, BlockQ2K, BlockQ3K, BlockQ4_0, BlockQ4_1, BlockQ4K, BlockQ5_0, BlockQ5_1, BlockQ5K,
    BlockQ6K, BlockQ8_0,
};
use candle_core::quantized::{GgmlDType, GgmlType, QMatMul, QStorage, QTensor, QuantizedType};
use candle_core::{CpuStorage, Device, Module, Result, Tensor, bail};
use half::f16;
use memmap2::Mmap;

#[cfg(target_arch = "x86_64")]
use super::product::{self, Kind, Tokens, Weights};

/// The tensor that `info` describes, its blocks where they lie in `map` if `device` is the CPU.
/// `data_offset` is where the file's tensors begin.
///
/// # Errors
/// When the file is shorter than it says.
pub(super) fn tensor(
    map: &Arc<Mmap>,
    data_offset: u64,
    info: &TensorInfo,
    device: &Device,
) -> Result<QTensor> {
    let Some(data) = range_of(data_offset, info).and_then(|range| map.get(range)) else {
        bail!("the file ends within a tensor")
    };
    let storage = match Mapped::find(map, data_offset, info, device) {
        Some(mapped) => QStorage::Cpu(Box::new(mapped)),
        None => QStorage::from_data(Cow::Borrowed(data), device, info.ggml_dtype)?,
    };
    QTensor::new(storage, info.shape.clone())
}

/// Where the tensor lies in the file, if a file can be so long.
fn range_of(data_offset: u64, info: &TensorInfo) -> Option<Range<usize>> {
    let dtype = info.ggml_dtype;
    let bytes = info.shape.elem_count() / dtype.block_size() * dtype.type_size();
    let start = usize::try_from(data_offset.checked_add(info.offset)?).ok()?;
    Some(start..start.checked_add(bytes)?)
}

/// A matrix of weights.
pub(super) struct Matrix {
    inputs: usize,
    outputs: usize,
    way: Way,
}

/// How a matrix is multiplied.
enum Way {
    /// Where its blocks lie in the file.
    #[cfg(target_arch = "x86_64")]
    Product { blocks: Mapped, kind: Kind },
    /// By candle, which rearranges a copy for several tokens; one token takes the blocks in the
    /// file if the CPU can compute with them.
    Candle { whole: QMatMul, blocks: Option<Mapped> },
}

impl Matrix {
    /// The matrix that `info` describes, as [`tensor`] finds it.
    ///
    /// # Errors
    /// When the file is shorter than it says, or the tensor is no matrix.
    pub fn new(
        map: &Arc<Mmap>,
        data_offset: u64,
        info: &TensorInfo,
        device: &Device,
    ) -> Result<Self> {
        let (outputs, inputs) = info.shape.dims2()?;
        let whole = QMatMul::from_qtensor(tensor(map, data_offset, info, device)?)?;
        // candle may have unpacked it.
        let blocks = match &whole {
            QMatMul::QTensor(_) => Mapped::find(map, data_offset, info, device),
            _ => None,
        };
        #[cfg(target_arch = "x86_64")]
        if let Some(kind) = Kind::of(info.ggml_dtype, inputs, outputs)
            && let Some(blocks) = blocks
        {
            return Ok(Self { inputs, outputs, way: Way::Product { blocks, kind } });
        }
        Ok(Self { inputs, outputs, way: Way::Candle { whole, blocks } })
    }

    /// Values that a token must have.
    #[cfg(feature = "cuda")]
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Values that a product has.
    #[cfg(feature = "cuda")]
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The weights, where candle multiplies them as they are.
    #[cfg(feature = "cuda")]
    pub fn quantised(&self) -> Option<&QTensor> {
        match &self.way {
            Way::Candle { whole: QMatMul::QTensor(weights), .. } => Some(weights),
            _ => None,
        }
    }

    /// `input` (1, tokens, inputs) times the matrix: (1, tokens, outputs).
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn multiply(&self, input: &Input) -> Result<Tensor> {
        let (_, count, width) = input.tensor.dims3()?;
        self.check(width)?;
        let products = match &self.way {
            #[cfg(target_arch = "x86_64")]
            Way::Product { blocks, kind } => {
                product::multiply_many(self.weights(blocks, *kind), input.tokens(count)?)
            }
            Way::Candle { blocks: Some(blocks), .. } if count == 1 => {
                blocks.row_by_row(&input.tensor.flatten_all()?.to_vec1()?, self.outputs)?
            }
            Way::Candle { whole, .. } => return whole.forward(input.tensor),
        };
        Tensor::from_vec(products, (1, count, self.outputs), &Device::Cpu)
    }

    /// One token times each of `matrices`, on the CPU.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn multiply_one<const N: usize>(
        matrices: [&Self; N],
        token: &Token,
    ) -> Result<[Vec<f32>; N]> {
        for matrix in matrices {
            matrix.check(token.values.len())?;
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(weights) = weights_for_one(matrices) {
            return Ok(product::multiply_one(weights, token.quantised()));
        }
        let mut products = [const { Vec::new() }; N];
        for (product, matrix) in products.iter_mut().zip(matrices) {
            *product = matrix.row_by_row(token)?;
        }
        Ok(products)
    }

    /// `silu(gate * token) * (up * token)` for one token, on the CPU.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn gated(gate: &Self, up: &Self, token: &Token) -> Result<Vec<f32>> {
        gate.check(token.values.len())?;
        up.check(token.values.len())?;
        if gate.outputs != up.outputs {
            bail!("a gate of {} values for {}", gate.outputs, up.outputs)
        }
        #[cfg(target_arch = "x86_64")]
        if let Some([gate, up]) = weights_for_one([gate, up]) {
            return Ok(product::gated(gate, up, token.quantised()));
        }
        let [mut gates, ups] = Self::multiply_one([gate, up], token)?;
        for (gate, up) in gates.iter_mut().zip(ups) {
            *gate = silu(*gate) * up;
        }
        Ok(gates)
    }

    fn check(&self, width: usize) -> Result<()> {
        if width == self.inputs {
            Ok(())
        } else {
            bail!("a matrix takes {} values and gets {width}", self.inputs)
        }
    }

    fn row_by_row(&self, token: &Token) -> Result<Vec<f32>> {
        match &self.way {
            #[cfg(target_arch = "x86_64")]
            Way::Product { blocks, .. } => blocks.row_by_row(&token.values, self.outputs),
            Way::Candle { blocks: Some(blocks), .. } => {
                blocks.row_by_row(&token.values, self.outputs)
            }
            Way::Candle { whole, .. } => {
                let shape = (1, 1, self.inputs);
                let token = Tensor::from_slice(&token.values, shape, &Device::Cpu)?;
                whole.forward(&token)?.flatten_all()?.to_vec1()
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn weights<'a>(&self, blocks: &'a Mapped, kind: Kind) -> Weights<'a> {
        Weights { kind, bytes: blocks.bytes(), outputs: self.outputs }
    }
}

/// The blocks of `matrices`, if `product` can multiply one token by all of them.
#[cfg(target_arch = "x86_64")]
fn weights_for_one<const N: usize>(matrices: [&Matrix; N]) -> Option<[Weights<'_>; N]> {
    let mut all = [Weights { kind: Kind::Q4K, bytes: &[], outputs: 0 }; N];
    for (weights, matrix) in all.iter_mut().zip(matrices) {
        let Way::Product { blocks, kind } = &matrix.way else { return None };
        *weights = matrix.weights(blocks, *kind);
    }
    Some(all)
}

/// `x / (1 + exp(-x))`.
pub(super) fn silu(x: f32) -> f32 {
    x / (1.0 + (-x).exp())
}

/// Tokens that matrices are multiplied with; several may take the same.
pub(super) struct Input<'a> {
    tensor: &'a Tensor,
    #[cfg(target_arch = "x86_64")]
    tokens: OnceCell<Tokens>,
}

impl<'a> Input<'a> {
    /// Takes `tensor` (1, tokens, width).
    pub fn new(tensor: &'a Tensor) -> Self {
        Self {
            tensor,
            #[cfg(target_arch = "x86_64")]
            tokens: OnceCell::new(),
        }
    }

    /// The `count` tokens, quantised.
    #[cfg(target_arch = "x86_64")]
    fn tokens(&self, count: usize) -> Result<&Tokens> {
        if let Some(tokens) = self.tokens.get() {
            return Ok(tokens);
        }
        let values = self.tensor.flatten_all()?.to_vec1()?;
        Ok(self.tokens.get_or_init(|| Tokens::new(&values, count)))
    }
}

/// One token that matrices are multiplied with; several may take the same.
pub(super) struct Token {
    values: Vec<f32>,
    #[cfg(target_arch = "x86_64")]
    quantised: OnceCell<Tokens>,
}

impl Token {
    pub fn new(values: Vec<f32>) -> Self {
        Self {
            values,
            #[cfg(target_arch = "x86_64")]
            quantised: OnceCell::new(),
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn quantised(&self) -> &Tokens {
        self.quantised.get_or_init(|| Tokens::new(&self.values, 1))
    }
}

/// Whether [`Mapped`] knows the type, and `data` lies where its blocks may lie.
fn is_mappable(dtype: GgmlDType, data: &[u8]) -> bool {
    use GgmlDType::{Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
    let known = matches!(dtype, Q4_0 | Q4_1 | Q5_0 | Q5_1 | Q8_0 | Q2K | Q3K | Q4K | Q5K | Q6K);
    known && data.as_ptr().addr().is_multiple_of(align_of::<u64>())
}

/// A quantised tensor's blocks in a mapped file.
struct Mapped {
    map: Arc<Mmap>,
    range: Range<usize>,
    dtype: GgmlDType,
}

/// Does `$body` with `$blocks`, the tensor's blocks in their own type.
macro_rules! with_blocks {
    ($mapped:expr, $blocks:ident => $body:expr) => {
        match $mapped.dtype {
            GgmlDType::Q4_0 => {
                let $blocks = $mapped.blocks::<BlockQ4_0>();
                $body
            }
            GgmlDType::Q4_1 => {
                let $blocks = $mapped.blocks::<BlockQ4_1>();
                $body
            }
            GgmlDType::Q5_0 => {
                let $blocks = $mapped.blocks::<BlockQ5_0>();
                $body
            }
            GgmlDType::Q5_1 => {
                let $blocks = $mapped.blocks::<BlockQ5_1>();
                $body
            }
            GgmlDType::Q8_0 => {
                let $blocks = $mapped.blocks::<BlockQ8_0>();
                $body
            }
            GgmlDType::Q2K => {
                let $blocks = $mapped.blocks::<BlockQ2K>();
                $body
            }
            GgmlDType::Q3K => {
                let $blocks = $mapped.blocks::<BlockQ3K>();
                $body
            }
            GgmlDType::Q4K => {
                let $blocks = $mapped.blocks::<BlockQ4K>();
                $body
            }
            GgmlDType::Q5K => {
                let $blocks = $mapped.blocks::<BlockQ5K>();
                $body
            }
            GgmlDType::Q6K => {
                let $blocks = $mapped.blocks::<BlockQ6K>();
                $body
            }
            other => unreachable!("{other:?} is not mapped"),
        }
    };
}

impl Mapped {
    /// The tensor's blocks where they lie, if the CPU can compute with them there.
    fn find(map: &Arc<Mmap>, data_offset: u64, info: &TensorInfo, device: &Device) -> Option<Self> {
        let range = range_of(data_offset, info)?;
        let usable = device.is_cpu() && is_mappable(info.ggml_dtype, map.get(range.clone())?);
        usable.then(|| Self { map: Arc::clone(map), range, dtype: info.ggml_dtype })
    }

    /// One token's `values` times the matrix of `outputs` rows.
    fn row_by_row(&self, values: &[f32], outputs: usize) -> Result<Vec<f32>> {
        let mut product = vec![0.0; outputs];
        self.matmul_t((1, values.len(), outputs), values, &mut product)?;
        Ok(product)
    }

    fn bytes(&self) -> &[u8] {
        &self.map[self.range.clone()]
    }

    fn blocks<T: GgmlType>(&self) -> &[T] {
        let bytes = self.bytes();
        // SAFETY: `T` is the type of the tensor's blocks, which are plain numbers for which every
        // pattern of bits is a value; the range holds whole blocks, and `is_mappable` has seen
        // that it lies on a multiple of 8, which is more than any of them asks for.
        unsafe {
            std::slice::from_raw_parts(bytes.as_ptr().cast::<T>(), bytes.len() / size_of::<T>())
        }
    }
}

impl QuantizedType for Mapped {
    fn dtype(&self) -> GgmlDType {
        self.dtype
    }

    fn matmul_t(&self, mkn: (usize, usize, usize), lhs: &[f32], dst: &mut [f32]) -> Result<()> {
        with_blocks!(self, blocks => k_quants::matmul(mkn, lhs, blocks, dst))
    }

    fn matmul_t_f16(&self, mkn: (usize, usize, usize), lhs: &[f16], dst: &mut [f16]) -> Result<()> {
        with_blocks!(self, blocks => k_quants::matmul_f16(mkn, lhs, blocks, dst))
    }

    fn embedding(&self, ids: &[u32], rows: usize, hidden: usize) -> Result<CpuStorage> {
        let row = hidden / self.dtype.block_size();
        let mut out = vec![0.0; ids.len() * hidden];
        for (&id, out) in ids.iter().zip(out.chunks_exact_mut(hidden)) {
            let id = id as usize;
            if id >= rows {
                bail!("token {id} is not one of {rows}")
            }
            with_blocks!(self, blocks => GgmlType::to_float(&blocks[id * row..(id + 1) * row], out));
        }
        Ok(CpuStorage::F32(out))
    }

    fn dequantize(&self, elem_count: usize) -> Result<CpuStorage> {
        let mut out = vec![0.0; elem_count];
        with_blocks!(self, blocks => GgmlType::to_float(blocks, &mut out));
        Ok(CpuStorage::F32(out))
    }

    fn storage_size_in_bytes(&self) -> usize {
        self.range.len()
    }

    fn as_ptr(&self) -> *const u8 {
        self.bytes().as_ptr()
    }

    fn block_size(&self) -> usize {
        self.dtype.block_size()
    }

    fn from_float(&mut self, _xs: &[f32]) {
        unreachable!("weights in a file are not written")
    }

    fn from_float_imatrix(&mut self, _xs: &[f32], _imatrix_weights: &[f32], _n_per_row: usize) {
        unreachable!("weights in a file are not written")
    }

    fn size(&self) -> usize {
        self.range.len()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use candle_core::Tensor;

    use super::*;

    /// A file whose tensor of 16 rows begins at byte 32, with the tensor candle has made.
    fn written(dtype: GgmlDType) -> (Arc<Mmap>, TensorInfo, QTensor) {
        let values: Vec<f32> =
            (0..16 * 512).map(|at| ((at * 37 % 101) as f32 - 50.0) / 50.0).collect();
        let tensor = Tensor::from_vec(values, (16, 512), &Device::Cpu).unwrap();
        let tensor = QTensor::quantize(&tensor, dtype).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[0; 32]).unwrap();
        file.write_all(&tensor.data().unwrap()).unwrap();
        // SAFETY: nobody else has the file.
        let map = Arc::new(unsafe { Mmap::map(&file) }.unwrap());
        let info = TensorInfo { ggml_dtype: dtype, shape: (16, 512).into(), offset: 0 };
        (map, info, tensor)
    }

    #[test]
    fn a_mapped_tensor_computes_what_a_copied_one_does() {
        use GgmlDType::{Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
        for dtype in [Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2K, Q3K, Q4K, Q5K, Q6K] {
            let (map, info, copied) = written(dtype);
            let mapped = tensor(&map, 32, &info, &Device::Cpu).unwrap();
            let ids = Tensor::new(&[7_u32, 0, 3], &Device::Cpu).unwrap();
            let unpacked = copied.dequantize(&Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
            let rows = |tensor: &QTensor| tensor.embedding(&ids).unwrap().to_vec2::<f32>().unwrap();
            assert_eq!(rows(&mapped), rows(&copied), "{dtype:?}");
            let input = Tensor::arange(0.0_f32, 1024.0, &Device::Cpu).unwrap();
            let input = input.reshape((2, 512)).unwrap();
            let product = |tensor: QTensor| {
                let matrix = QMatMul::from_qtensor(tensor).unwrap();
                matrix.forward(&input).unwrap().to_vec2::<f32>().unwrap()
            };
            let several = product(copied);
            assert_eq!(product(mapped), several, "{dtype:?}");
            let matrix = Matrix::new(&map, 32, &info, &Device::Cpu).unwrap();
            let many = matrix.multiply(&Input::new(&input.unsqueeze(0).unwrap())).unwrap();
            let many = many.squeeze(0).unwrap().to_vec2::<f32>().unwrap();
            for (row, several) in several.iter().enumerate() {
                let token = Token::new(input.get(row).unwrap().to_vec1().unwrap());
                let [one] = Matrix::multiply_one([&matrix], &token).unwrap();
                let alone = matrix.row_by_row(&token).unwrap();
                for found in [&one, &alone, &many[row], several] {
                    for (found, weights) in found.iter().zip(&unpacked) {
                        let exact: f32 =
                            weights.iter().zip(&token.values).map(|(a, b)| a * b).sum();
                        // Values are rounded to a 127th of the largest.
                        let slack: f32 = weights.iter().map(|weight| weight.abs()).sum();
                        let close = (found - exact).abs() <= slack * 1023.0 / 254.0;
                        assert!(close, "{dtype:?}: {found} and {exact}");
                    }
                }
            }
        }
    }

    #[test]
    fn tokens_of_another_width_are_an_error() {
        let (map, info, _) = written(GgmlDType::Q4K);
        let matrix = Matrix::new(&map, 32, &info, &Device::Cpu).unwrap();
        let wide = Tensor::zeros((1, 2, 768), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(matrix.multiply(&Input::new(&wide)).is_err());
        let token = Token::new(vec![0.0; 256]);
        assert!(Matrix::multiply_one([&matrix], &token).is_err());
        assert!(Matrix::gated(&matrix, &matrix, &token).is_err());
    }

    #[test]
    fn a_file_that_is_too_short_is_refused() {
        let (map, info, _) = written(GgmlDType::Q4K);
        assert!(tensor(&map, 33, &info, &Device::Cpu).is_err());
        assert!(tensor(&map, u64::MAX, &info, &Device::Cpu).is_err());
    }
}
