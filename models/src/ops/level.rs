//! Which instructions this processor has, for all of Sembla's operators. What each level runs is
//! the operators' own matter; all levels give the same bits.

/// The widest instructions that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// AVX-512 with products of bytes.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// AVX-512 for floats.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Level {
    /// The best that this processor can do.
    pub(super) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("fma") {
            if is_x86_feature_detected!("avx512f") {
                let bytes =
                    is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vnni");
                return if bytes { Self::Avx512Vnni } else { Self::Avx512 };
            }
            if is_x86_feature_detected!("avx2") {
                return Self::Avx2;
            }
        }
        Self::Portable
    }
}
