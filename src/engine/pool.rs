//! Work that is shared by the threads of candle's pool.

use candle_core::utils::barrier_pool;

use super::disjoint::Disjoint;

/// Calls `fill` with the number of each chunk of `length` values of `out`, and the chunk; several
/// at once. What is left of `out` behind the last whole chunk is a chunk, too.
pub(super) fn fill_chunks<T: Send>(
    out: &mut [T],
    length: usize,
    fill: impl Fn(usize, &mut [T]) + Sync,
) {
    let all = out.len();
    let shared = Disjoint(out.as_mut_ptr());
    barrier_pool().execute_chunked(all.div_ceil(length), |numbers| {
        for number in numbers {
            let start = number * length;
            // SAFETY: it lies within `out`, which nobody else has, and no other call gets the
            // same number.
            let chunk = unsafe { shared.part(start, length.min(all - start)) };
            fill(number, chunk);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_is_filled_once() {
        let mut out = vec![0; 1003];
        fill_chunks(&mut out, 10, |number, chunk| {
            for (at, value) in chunk.iter_mut().enumerate() {
                *value += number * 10 + at;
            }
        });
        assert!(out.into_iter().eq(0..1003));
        fill_chunks(&mut [0; 0], 10, |_, _| panic!("there is no chunk"));
    }
}
