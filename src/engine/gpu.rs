//! NVIDIA GPUs: how many there are, and how much of their memory is taken.
//!
//! Called by `settings`, `cli` and the engines that compute with candle. A program that was built
//! without CUDA finds none.

#[cfg(feature = "cuda")]
use std::sync::Arc;

use candle_core::Device;
#[cfg(feature = "cuda")]
use candle_core::cuda_backend::cudarc::driver::{CudaContext, sys};

/// GPUs that can be used now.
#[must_use]
pub fn count() -> usize {
    #[cfg(feature = "cuda")]
    {
        // An error says that there is no driver, or no GPU.
        CudaContext::device_count().map_or(0, |count| usize::try_from(count).unwrap_or(0))
    }
    #[cfg(not(feature = "cuda"))]
    0
}

/// GPU number `ordinal`, for candle.
///
/// # Errors
/// When it is not there or cannot be used.
pub fn device(ordinal: usize) -> candle_core::Result<Device> {
    let device = Device::new_cuda(ordinal)?;
    #[cfg(feature = "cuda")]
    keep_freed_memory(ordinal);
    Ok(device)
}

/// Has the driver keep memory that tensors have given back. It would return it to the system
/// whenever the program waits for the GPU, and every prompt would ask for it again, which takes
/// up to a quarter of the time.
#[cfg(feature = "cuda")]
fn keep_freed_memory(ordinal: usize) {
    use sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    let Ok(context) = CudaContext::new(ordinal) else { return };
    let mut pool = std::ptr::null_mut();
    let mut kept_bytes = u64::MAX;
    // SAFETY: the device is one that the driver has named; the pool is used only if there is one,
    // and the attribute is a number of this width.
    unsafe {
        if sys::cuDeviceGetDefaultMemPool(&raw mut pool, context.cu_device())
            == sys::CUresult::CUDA_SUCCESS
        {
            let kept_bytes = (&raw mut kept_bytes).cast();
            // Where it is refused, prompts take longer.
            let _ = sys::cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, kept_bytes);
        }
    }
}

/// The memory of a GPU.
pub struct Memory {
    #[cfg(feature = "cuda")]
    context: Arc<CudaContext>,
}

impl Memory {
    /// That of GPU number `ordinal`, if it is there.
    #[must_use]
    pub fn of(ordinal: usize) -> Option<Self> {
        #[cfg(feature = "cuda")]
        {
            CudaContext::new(ordinal).ok().map(|context| Self { context })
        }
        #[cfg(not(feature = "cuda"))]
        {
            let _ = ordinal;
            None
        }
    }

    /// Bytes that all programs together have taken, if it can be told.
    #[must_use]
    pub fn taken(&self) -> Option<u64> {
        #[cfg(feature = "cuda")]
        {
            let (free, total) = self.context.mem_get_info().ok()?;
            Some((total - free) as u64)
        }
        #[cfg(not(feature = "cuda"))]
        None
    }
}
