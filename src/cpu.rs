//! Says in a sentence that a processor is too old, instead of dying of an illegal instruction.
//!
//! Called by `main` before anything else.

/// Instruction sets that the bundled libraries are built for and this processor lacks.
///
/// ggml is compiled for x86-64-v3; on other architectures its baseline is every
/// processor's, and the list is empty.
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
    #[cfg(not(target_arch = "x86_64"))]
    Vec::new()
}
