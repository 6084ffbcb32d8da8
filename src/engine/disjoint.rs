//! One slice, filled by several threads.

/// Lets several threads write into different places of one slice.
pub(super) struct Disjoint<T>(pub *mut T);

// SAFETY: whoever writes through it sees to it that no two threads touch the same place.
unsafe impl<T: Send> Sync for Disjoint<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Disjoint<T> {}

impl<T> Disjoint<T> {
    /// The pointer itself; a method, so that closures take hold of the whole.
    pub fn get(&self) -> *mut T {
        self.0
    }
}
