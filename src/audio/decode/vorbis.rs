//! How much a Vorbis header makes the decoder keep, asked before the decoder sees it.
//!
//! A codebook of 16 MB is described by some twenty bytes, and a header may hold 256 of
//! them. Symphonia bounds each codebook but not all of them together.

/// How every codebook begins (Vorbis I specification, section 3.2.1), read as 24 bits.
const SYNC: u128 = 0x56_4342;
/// Larger codebooks are refused by the decoder itself.
const MAX_DIMENSIONS: u64 = 32;
const MAX_ENTRIES: u64 = 128 * 1024;
/// What an entry costs beside its vector, in numbers of four bytes: its length, its code word
/// and its places in the table that finds it.
const ENTRY_NUMBERS: u64 = 8;
/// Most numbers of four bytes in all codebooks: 64 MB. Encoders write headers of less than
/// a million.
const MAX_NUMBERS: u64 = 1 << 24;

/// Whether the codebooks of `header`, identification and setup, are larger than any encoder's.
///
/// Codebooks begin at any bit, and where one ends is known only after reading it, so this
/// takes every sync word for a codebook. By chance one shows up where none is, but hardly
/// with a size that counts.
pub fn asks_too_much(header: &[u8]) -> bool {
    let numbers = (0..header.len()).map(|index| {
        let mut bytes = [0; 16];
        let rest = &header[index..header.len().min(index + 16)];
        bytes[..rest.len()].copy_from_slice(rest);
        // The first bit of the stream is the lowest of the first byte.
        let window = u128::from_le_bytes(bytes);
        (0..8).map(|bit| codebook_numbers(window >> bit)).sum::<u64>()
    });
    numbers.sum::<u64>() > MAX_NUMBERS
}

/// What the codebook costs whose first bits are `window`; nothing if none begins there.
fn codebook_numbers(window: u128) -> u64 {
    let bits = |from: u32, count: u32| (window >> from) & ((1 << count) - 1);
    if bits(0, 24) != SYNC {
        return 0;
    }
    let (dimensions, entries) = (bits(24, 16) as u64, bits(40, 24) as u64);
    if dimensions > MAX_DIMENSIONS || entries > MAX_ENTRIES {
        return 0;
    }
    entries * (dimensions + ENTRY_NUMBERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codebook heads, each `gap` bits after the end of the last.
    fn header(codebooks: &[(u64, u64)], gap: usize) -> Vec<u8> {
        let mut bits = Vec::new();
        let mut put = |value: u64, count: usize| {
            bits.extend((0..count).map(|bit| (value >> bit) & 1 == 1));
        };
        for &(dimensions, entries) in codebooks {
            put(SYNC as u64, 24);
            put(dimensions, 16);
            put(entries, 24);
            put(0, gap);
        }
        bits.chunks(8)
            .map(|byte| byte.iter().rev().fold(0, |all, &bit| (all << 1) | u8::from(bit)))
            .collect()
    }

    #[test]
    fn codebooks_as_encoders_write_them_are_fine_at_any_bit() {
        for gap in 0..9 {
            assert!(!asks_too_much(&header(&[(8, 6561); 40], gap)), "{gap}");
        }
    }

    #[test]
    fn codebooks_that_fill_the_memory_are_too_much_at_any_bit() {
        for gap in 0..9 {
            assert!(asks_too_much(&header(&[(32, 128 * 1024); 4], gap)), "{gap}");
            assert!(asks_too_much(&header(&[(1, 128 * 1024); 256], gap)), "{gap}");
        }
    }
}
