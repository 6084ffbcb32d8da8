//! One slice, filled by several threads: by those of `pool` and of ONNX Runtime.

/// Lets several threads write into different places of one slice.
pub(super) struct Disjoint<T>(pub *mut T);

// SAFETY: whoever writes through it sees to it that no two threads touch the same place.
unsafe impl<T: Send> Sync for Disjoint<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Disjoint<T> {}

impl<T> Disjoint<T> {
    /// The pointer itself; a method, so that closures take hold of the whole.
    #[cfg(target_arch = "x86_64")]
    pub fn get(&self) -> *mut T {
        self.0
    }

    /// So many values from `start` on.
    ///
    /// # Safety
    /// They lie within the slice, which outlives them, and nobody else uses them meanwhile.
    #[allow(clippy::mut_from_ref, reason = "that is what the type is for")]
    pub unsafe fn part(&self, start: usize, length: usize) -> &mut [T] {
        // SAFETY: as the caller says.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), length) }
    }
}
