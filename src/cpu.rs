//! Says in a sentence that a processor is too old, instead of dying of an illegal instruction.
//!
//! Called by `main` before anything else.

/// What a processor must be to have all that is needed.
pub const LEVEL: &str = if cfg!(target_arch = "aarch64") {
    "ARMv8.2 with dot products, asimddp (Cortex-A76, Neoverse N1, and newer)"
} else {
    "the x86-64-v3 level (Intel since 2013, AMD since 2015)"
};

/// Instruction sets that the bundled libraries are built for and this processor lacks.
///
/// ggml is compiled for x86-64-v3. On 64-bit ARM candle's products of quantised matrices take
/// instructions that came with ARMv8.2.
#[must_use]
pub fn missing_instruction_sets() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        [
            ("AVX2", std::arch::is_x86_feature_detected!("avx2")),
            ("FMA", std::arch::is_x86_feature_detected!("fma")),
            ("F16C", std::arch::is_x86_feature_detected!("f16c")),
            ("BMI2", std::arch::is_x86_feature_detected!("bmi2")),
        ]
        .into_iter()
        .filter(|(_, present)| !present)
        .map(|(name, _)| name)
        .collect()
    }
    #[cfg(target_arch = "aarch64")]
    {
        let present = std::arch::is_aarch64_feature_detected!("dotprod");
        if present { Vec::new() } else { vec!["DotProd"] }
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    Vec::new()
}
