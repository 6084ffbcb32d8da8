//! Validated settings, as the rest of the program sees them.
