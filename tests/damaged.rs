//! Promise: whatever is done to a recording, decoding it ends: within seconds, without
//! taking the program down, and without asking for memory that the sound does not need.
//!
//! Real files of every container are damaged at random, the same way in every run. `fuzz/`
//! searches further.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Cursor;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use mega_pipeline::audio::{Audio, DecodeLimits, SPEECH_RATE, decode, probe};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use support::encoder::{make, make_live, workshop_of};
use support::sound::speech_like;

/// Damaged files in one run.
const CASES: u32 = 4000;
/// Longest time for one of them.
const MOST_TIME: Duration = Duration::from_secs(5);
/// Most memory for one of them: 1 GiB, in one piece or in all.
const MOST_BYTES: usize = 1 << 30;

/// The system's allocator, counting.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn grown(by: usize) {
    PEAK.fetch_max(LIVE.fetch_add(by, Relaxed) + by, Relaxed);
}

// SAFETY: everything is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both live for a moment when the memory has to move.
        grown(size);
        LIVE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(old, layout) }
    }
}

/// Bytes that `work` had in use at its worst, beyond those in use before.
fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let result = work();
    (result, PEAK.load(Relaxed).saturating_sub(before))
}

/// Small recordings of every container and codec.
fn recordings() -> Vec<(&'static str, Vec<u8>)> {
    let samples = speech_like(48_000)[..36_000].to_vec();
    let dir = workshop_of(&Audio { sample_rate: 48_000, samples });
    let mut files = Vec::new();
    for (name, options) in [
        ("a.wav", "-ar 16000"),
        ("law.wav", "-ar 8000 -c:a pcm_alaw"),
        ("ima.wav", "-ar 16000 -c:a adpcm_ima_wav -block_size 256"),
        ("ms.wav", "-ar 16000 -c:a adpcm_ms"),
        ("a.mp3", "-ar 22050 -ac 1 -b:a 32k -metadata title=Talk"),
        ("a.flac", "-ar 16000"),
        ("vorbis.ogg", "-ar 16000 -c:a libvorbis"),
        ("opus.ogg", "-ac 2 -c:a libopus -b:a 32k"),
        ("flac.oga", "-ar 16000 -c:a flac"),
        ("a.webm", "-c:a libopus -b:a 32k"),
        ("vorbis.mka", "-ar 16000 -c:a libvorbis"),
        ("a.m4a", "-ar 16000 -c:a aac -b:a 32k -movflags +faststart -metadata title=Talk"),
        ("alac.m4a", "-ar 16000 -c:a alac"),
        ("a.aac", "-ar 16000 -c:a aac -b:a 32k -f adts"),
        ("a.aiff", "-ar 16000"),
        ("a.caf", "-ar 16000 -c:a pcm_s16le"),
        ("alac.caf", "-ar 16000 -c:a alac"),
    ] {
        files.push((name, std::fs::read(make(dir.path(), name, options)).expect("read")));
    }
    for (name, options) in [
        ("live.webm", "-ac 1 -c:a libopus -b:a 32k -f webm -live 1"),
        ("live.mp4", "-ar 16000 -c:a aac -f mp4 -movflags frag_keyframe+empty_moov"),
    ] {
        files.push((name, std::fs::read(make_live(dir.path(), name, options)).expect("read")));
    }
    files
}

/// One thing that can happen to a file.
#[derive(Debug, Clone)]
enum Damage {
    Set(Place, u8),
    /// Lengths and counts are numbers of 16, 32 or 64 bits in either order of bytes.
    Number(Place, u64, usize, bool),
    Cut(Place),
    Remove(Place, usize),
    Repeat(Place, usize),
}

/// Somewhere in the file; half of the time in its header.
#[derive(Debug, Clone)]
struct Place(Index, bool);

impl Place {
    fn of(&self, len: usize) -> usize {
        if len == 0 { 0 } else { self.0.index(if self.1 { len.min(400) } else { len }) }
    }
}

fn place() -> impl Strategy<Value = Place> {
    (any::<Index>(), any::<bool>()).prop_map(|(index, in_header)| Place(index, in_header))
}

fn damage() -> impl Strategy<Value = Damage> {
    let number = prop_oneof![
        Just(0),
        Just(u64::MAX),
        Just(u64::MAX / 2),
        Just(0x7fff_fff0),
        Just(0x0010_0000),
        any::<u64>(),
        0..70_000_u64,
    ];
    let width = prop_oneof![Just(2_usize), Just(4), Just(8)];
    prop_oneof![
        4 => (place(), any::<u8>()).prop_map(|(place, byte)| Damage::Set(place, byte)),
        4 => (place(), number, width, any::<bool>())
            .prop_map(|(place, value, width, big)| Damage::Number(place, value, width, big)),
        1 => place().prop_map(Damage::Cut),
        1 => (place(), 1..600_usize).prop_map(|(place, count)| Damage::Remove(place, count)),
        1 => (place(), 1..600_usize).prop_map(|(place, count)| Damage::Repeat(place, count)),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    let len = bytes.len();
    match damage {
        Damage::Set(place, value) => {
            if let Some(byte) = bytes.get_mut(place.of(len)) {
                *byte = *value;
            }
        }
        Damage::Number(place, value, width, big) => {
            let all = if *big { value.to_be_bytes() } else { value.to_le_bytes() };
            let number = if *big { &all[8 - width..] } else { &all[..*width] };
            let at = place.of(len);
            let end = (at + width).min(len);
            bytes[at..end].copy_from_slice(&number[..end - at]);
        }
        Damage::Cut(place) => bytes.truncate(place.of(len)),
        Damage::Remove(place, count) => {
            let at = place.of(len);
            bytes.drain(at..(at + count).min(len));
        }
        Damage::Repeat(place, count) => {
            let at = place.of(len);
            let again = bytes[at..(at + count).min(len)].to_vec();
            bytes.splice(at..at, again);
        }
    }
}

/// What became of a file.
struct Outcome {
    was_decoded: bool,
    took: Duration,
    peak_bytes: usize,
}

/// Looks at the file and decodes it on a thread of its own, because a hang could not be
/// ended otherwise; `None` for a hang.
fn outcome(path: &Path) -> Option<Outcome> {
    let (sender, receiver) = mpsc::channel();
    let path = path.to_owned();
    std::thread::spawn(move || {
        let began = Instant::now();
        let (was_decoded, peak_bytes) = peak_of(|| {
            let _ = probe(&path);
            decode(&path, &DecodeLimits::default()).is_ok()
        });
        let _ = sender.send(Outcome { was_decoded, took: began.elapsed(), peak_bytes });
    });
    receiver.recv_timeout(2 * MOST_TIME).ok()
}

#[test]
fn no_damage_takes_the_program_down_or_much_time_or_memory() {
    let files = recordings();
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("damaged");
    let strategy = (any::<Index>(), proptest::collection::vec(damage(), 1..6));
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    // Always the same, so that a failure comes again.
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[42; 32]);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let (decoded, most_bytes) = (Cell::new(0), Cell::new(0));
    let longest = Cell::new(Duration::ZERO);
    let result = runner.run(&strategy, |(index, damages)| {
        let (name, original) = &files[index.index(files.len())];
        let mut bytes = original.clone();
        for damage in &damages {
            apply(&mut bytes, damage);
        }
        std::fs::write(&path, &bytes).expect("written");
        let found = outcome(&path);
        prop_assert!(found.is_some(), "{name} hangs or ended its thread");
        let found = found.expect("asserted");
        prop_assert!(found.took < MOST_TIME, "{name} took {:?}", found.took);
        prop_assert!(found.peak_bytes < MOST_BYTES, "{name} took {} bytes", found.peak_bytes);
        decoded.set(decoded.get() + u32::from(found.was_decoded));
        most_bytes.set(most_bytes.get().max(found.peak_bytes));
        longest.set(longest.get().max(found.took));
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    let (decoded, most_bytes, longest) = (decoded.get(), most_bytes.get(), longest.get());
    println!("{decoded} of {CASES} decoded; at most {most_bytes} bytes and {longest:?}");
    // Damage that is always found at the first byte, or never, would prove little.
    assert!((CASES / 10..CASES * 9 / 10).contains(&decoded), "{decoded} of {CASES} decoded");
}

#[test]
fn memory_grows_with_the_sound_at_16_khz_and_not_with_the_file() {
    let minute = Audio { sample_rate: 48_000, samples: speech_like(48_000).repeat(10) };
    let dir = workshop_of(&minute);
    for (name, options) in [
        ("studio.wav", "-ar 96000 -ac 6 -c:a pcm_s32le"),
        ("studio.flac", "-ar 96000 -ac 2"),
        ("voice.mp3", "-ac 2 -b:a 320k"),
        ("voice.webm", "-ac 2 -c:a libopus"),
        ("voice.m4a", "-ac 2 -c:a aac"),
    ] {
        let path = make(dir.path(), name, options);
        let (audio, peak_bytes) = peak_of(|| decode(&path, &DecodeLimits::default()));
        let audio = audio.unwrap_or_else(|error| panic!("{name}: {error}"));
        let sound_bytes = audio.samples.len() * size_of::<f32>();
        assert_eq!(audio.sample_rate, SPEECH_RATE);
        let file_bytes = std::fs::metadata(&path).expect("a file").len();
        println!("{name}: {file_bytes} bytes, {sound_bytes} of sound, {peak_bytes} at the peak");
        // A vector that grows holds at worst its old and its doubled self.
        assert!(peak_bytes < 3 * sound_bytes + 3_000_000, "{name}: {peak_bytes} bytes");
    }
}

#[test]
fn a_header_that_asks_for_gigabytes_does_not_get_them() {
    let (_, caf) = recordings().swap_remove(15);
    assert!(caf.starts_with(b"caff"));
    let dir = tempfile::tempdir().expect("a temporary folder");
    // Frames a packet and channels, in the first chunk of a CAF file.
    for (offset, value) in [(40, 0x7fff_ffff_u32), (40, 200_000_000), (44, 26)] {
        let mut bytes = caf.clone();
        bytes[offset..offset + 4].copy_from_slice(&value.to_be_bytes());
        let path = dir.path().join("claims.caf");
        std::fs::write(&path, &bytes).expect("written");
        let (_, peak_bytes) = peak_of(|| decode(&path, &DecodeLimits::default()));
        assert!(peak_bytes < 50_000_000, "{value} at {offset}: {peak_bytes} bytes");
    }
}

#[test]
fn a_packet_as_large_as_the_file_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("one-packet.caf");
    let mut bytes = b"caff\0\x01\0\0desc\0\0\0\0\0\0\0\x20".to_vec();
    bytes.extend_from_slice(&16_000_f64.to_be_bytes());
    bytes.extend_from_slice(b"lpcm\0\0\0\0");
    // 60 MB a packet, one frame, one channel of 8 bits.
    for number in [60_000_000_u32, 1, 1, 8] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.extend_from_slice(b"data");
    bytes.extend_from_slice(&60_000_004_u64.to_be_bytes());
    bytes.resize(bytes.len() + 60_000_004, 0);
    std::fs::write(&path, &bytes).expect("written");
    drop(bytes);
    let (result, peak_bytes) = peak_of(|| decode(&path, &DecodeLimits::default()));
    assert!(result.is_err(), "it was decoded");
    assert!(peak_bytes < 300_000_000, "{peak_bytes} bytes");
}

/// A complete Vorbis setup header (Vorbis I specification, section 4.2.4) of 256 codebooks,
/// each of 131,072 entries with vectors of 16 numbers: 2 GB described by some five thousand
/// bytes.
fn greedy_setup_header() -> Vec<u8> {
    let mut bits: Vec<bool> = Vec::new();
    let mut put = |value: u64, count: usize| {
        bits.extend((0..count).map(|bit| (value >> bit) & 1 == 1));
    };
    put(5, 8);
    b"vorbis".iter().for_each(|&byte| put(byte.into(), 8));
    put(255, 8);
    for _ in 0..256 {
        put(0x56_4342, 24);
        put(16, 16);
        put(131_072, 24);
        // All code words 17 bits long, said in one number.
        put(1, 1);
        put(16, 5);
        put(131_072, 18);
        // Vectors of the first kind: from 0 in steps of 0, two of one bit each, not summed up.
        put(1, 4);
        for count in [32, 32, 4, 1, 2] {
            put(0, count);
        }
    }
    // One time domain transform.
    put(0, 6 + 16);
    // One floor of the first kind, of order 1, at 16 kHz, with a map of 64 barks.
    put(0, 6 + 16);
    for (value, count) in [(1, 8), (16_000, 16), (64, 16), (6, 6), (0, 8), (0, 4), (0, 8)] {
        put(value, count);
    }
    // One residue that says nothing.
    for count in [6, 16, 24, 24, 24, 6, 8, 4] {
        put(0, count);
    }
    // One mapping of no couplings, one mode.
    for count in [6, 16, 4, 24, 6, 1, 16, 16, 8] {
        put(0, count);
    }
    put(1, 1);
    bits.chunks(8)
        .map(|byte| byte.iter().rev().fold(0, |all, &bit| (all << 1) | u8::from(bit)))
        .collect()
}

#[test]
fn codebooks_that_fill_the_memory_are_refused_before_they_are_unpacked() {
    let (_, vorbis) = recordings().swap_remove(6);
    let mut reader = ogg::PacketReader::new(Cursor::new(vorbis));
    let mut bytes = Vec::new();
    let mut writer = ogg::PacketWriter::new(Cursor::new(&mut bytes));
    for number in 0.. {
        let Some(packet) = reader.read_packet().expect("a packet") else { break };
        let data = if number == 2 { greedy_setup_header() } else { packet.data.clone() };
        let end = if packet.last_in_stream() {
            ogg::PacketWriteEndInfo::EndStream
        } else if number == 1 {
            ogg::PacketWriteEndInfo::NormalPacket
        } else {
            ogg::PacketWriteEndInfo::EndPage
        };
        writer.write_packet(data, 1, end, packet.absgp_page()).expect("written");
    }
    drop(writer);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("greedy.ogg");
    std::fs::write(&path, &bytes).expect("written");
    let (result, peak_bytes) = peak_of(|| decode(&path, &DecodeLimits::default()));
    let error = result.expect_err("there is no sound in it").to_string();
    assert!(peak_bytes < 50_000_000, "{peak_bytes} bytes");
    assert!(error.contains("impossible values"), "{error}");
}
