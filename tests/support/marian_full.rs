//! A Marian model with the shape of opus-mt-en-fr and weights made of a counter.
//!
//! Included by tests/marian.rs and benches/translate.rs.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor};

/// `weights` of make_marian_golden.py.
fn weights(name: &str, shape: &[usize], scale: f32) -> Tensor {
    let seed =
        name.bytes().fold(0_u32, |seed, byte| seed.wrapping_mul(31).wrapping_add(u32::from(byte)));
    let count: usize = shape.iter().product();
    let mut made = Vec::with_capacity(count);
    for at in 0..count as u32 {
        let mut x = at.wrapping_mul(2_654_435_761) ^ seed;
        x ^= x >> 16;
        x = x.wrapping_mul(0x85EB_CA6B);
        x ^= x >> 13;
        x = x.wrapping_mul(0xC2B2_AE35);
        x ^= x >> 16;
        let unit = (x >> 8) as f32 / (1 << 24) as f32;
        made.push((unit * 2.0 - 1.0) * scale);
    }
    Tensor::from_vec(made, shape, &Device::Cpu).expect("as many numbers as the shape asks for")
}

/// `scale_of` of make_marian_golden.py.
fn scale_of(name: &str) -> f32 {
    match name {
        "model.shared.weight" => 0.08,
        "final_logits_bias" => 0.5,
        _ if name.ends_with("bias") => 0.02,
        _ => 0.06,
    }
}

/// Writes the files of the model into `dir`.
pub fn write(dir: &Path) {
    const WIDTH: usize = 512;
    const FFN: usize = 2048;
    const VOCABULARY: usize = 59_514;
    let mut tensors = HashMap::new();
    let mut add = |name: String, shape: &[usize]| {
        let mut made = weights(&name, shape, scale_of(&name));
        if name.contains("layer_norm") && name.ends_with("weight") {
            made = (made + 1.0).expect("a sum");
        }
        if name == "final_logits_bias" {
            let first = weights(&name, shape, scale_of(&name)).to_vec2::<f32>().expect("2-D");
            let mut row = first.into_iter().flatten().collect::<Vec<_>>();
            row[0] += 5.5;
            made = Tensor::from_vec(row, shape, &Device::Cpu).expect("the same shape");
        }
        tensors.insert(name, made);
    };
    add("model.shared.weight".into(), &[VOCABULARY, WIDTH]);
    add("final_logits_bias".into(), &[1, VOCABULARY]);
    for (stack, attentions) in
        [("encoder", &["self_attn"][..]), ("decoder", &["self_attn", "encoder_attn"])]
    {
        for layer in 0..6 {
            let layer = format!("model.{stack}.layers.{layer}");
            for attention in attentions {
                for part in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                    add(format!("{layer}.{attention}.{part}.weight"), &[WIDTH, WIDTH]);
                    add(format!("{layer}.{attention}.{part}.bias"), &[WIDTH]);
                }
                add(format!("{layer}.{attention}_layer_norm.weight"), &[WIDTH]);
                add(format!("{layer}.{attention}_layer_norm.bias"), &[WIDTH]);
            }
            add(format!("{layer}.fc1.weight"), &[FFN, WIDTH]);
            add(format!("{layer}.fc1.bias"), &[FFN]);
            add(format!("{layer}.fc2.weight"), &[WIDTH, FFN]);
            add(format!("{layer}.fc2.bias"), &[WIDTH]);
            add(format!("{layer}.final_layer_norm.weight"), &[WIDTH]);
            add(format!("{layer}.final_layer_norm.bias"), &[WIDTH]);
        }
    }
    candle_core::safetensors::save(&tensors, dir.join("model.safetensors")).expect("weights");
    // Only token ids go in and out; any tokenizer will do.
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for name in ["source.spm", "vocab.json"] {
        fs::copy(tests.join("fixtures/marian-tiny").join(name), dir.join(name)).expect("a copy");
    }
    fs::copy(tests.join("golden/opus_mt_en_fr_config.json"), dir.join("config.json"))
        .expect("a copy");
    let generation = r#"{"bad_words_ids":[[59513]],"decoder_start_token_id":59513,
        "eos_token_id":0,"forced_eos_token_id":0,"max_length":24,"num_beams":4,
        "pad_token_id":59513,"renormalize_logits":true}"#;
    fs::write(dir.join("generation_config.json"), generation).expect("a file");
}
