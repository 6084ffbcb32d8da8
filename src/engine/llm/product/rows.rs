//! One token: row by row, each block of weights read once, from where it lies to the sum.
//!
//! The time is that of reading all weights, so that little may be lost between one matrix and the
//! next: matrices that take the same token are done in one go.

mod avx2;
mod avx512;

use super::{Block, Kind, Processor, ROWS, Tokens, Weights, prefetch};
use crate::engine::llm::mapped::silu;
use crate::engine::pool::fill_chunks;

/// `token` times each of the matrices.
///
/// # Panics
/// When the shapes do not fit, or the processor is one for which [`Kind::of`] gives nothing.
pub(in crate::engine::llm) fn multiply<const N: usize>(
    matrices: [Weights<'_>; N],
    token: &Tokens,
) -> [Vec<f32>; N] {
    multiply_on(Processor::this().expect(NONE), matrices, token)
}

/// What the message says on other processors.
const NONE: &str = "the processor can do it";

/// As [`multiply`], as `processor` does it.
pub(super) fn multiply_on<const N: usize>(
    processor: Processor,
    matrices: [Weights<'_>; N],
    token: &Tokens,
) -> [Vec<f32>; N] {
    let row_bytes = matrices.map(|matrix| matrix.row_bytes(token));
    let mut products = vec![0.0; matrices.iter().map(|matrix| matrix.outputs).sum()];
    fill_chunks(&mut products, ROWS, |mut group, sums| {
        let mut number = 0;
        while group >= matrices[number].outputs / ROWS {
            group -= matrices[number].outputs / ROWS;
            number += 1;
        }
        let (matrix, row_bytes) = (matrices[number], row_bytes[number]);
        dots(processor, matrix.kind, matrix.rows(group, row_bytes), &token.blocks, sums);
    });
    let mut rest = products;
    matrices.map(|matrix| {
        let behind = rest.split_off(matrix.outputs);
        std::mem::replace(&mut rest, behind)
    })
}

/// `silu(gate * token) * (up * token)`, with [`silu`].
///
/// # Panics
/// As [`multiply`].
pub(in crate::engine::llm) fn gated(
    gate: Weights<'_>,
    up: Weights<'_>,
    token: &Tokens,
) -> Vec<f32> {
    let processor = Processor::this().expect(NONE);
    let (gate_bytes, up_bytes) = (gate.row_bytes(token), up.row_bytes(token));
    assert_eq!(gate.outputs, up.outputs);
    let mut products = vec![0.0; gate.outputs];
    fill_chunks(&mut products, ROWS, |group, products| {
        let mut ups = [0.0; ROWS];
        dots(processor, gate.kind, gate.rows(group, gate_bytes), &token.blocks, products);
        dots(processor, up.kind, up.rows(group, up_bytes), &token.blocks, &mut ups);
        for (product, up) in products.iter_mut().zip(ups) {
            *product = silu(*product) * up;
        }
    });
    products
}

/// The products of sixteen rows.
fn dots(processor: Processor, kind: Kind, rows: &[u8], token: &[Block], sums: &mut [f32]) {
    // SAFETY: it is a processor that has them, or the tests' choice among those.
    unsafe {
        match processor {
            Processor::Avx512 => avx512::dots(kind, rows, token, sums),
            Processor::Avx2 => avx2::dots(kind, rows, token, sums),
        }
    }
}

/// Has what lies some blocks ahead brought near: the processor foresees what comes next, but not
/// beyond the page of memory it reads.
#[inline]
fn prefetch_ahead(block: &[u8]) {
    const AHEAD: usize = 3072;
    for line in (0..block.len()).step_by(64) {
        prefetch(block.as_ptr().wrapping_add(AHEAD + line));
    }
}
