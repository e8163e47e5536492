//! Where a model runs: the processor, or CUDA devices by their numbers.
//!
//! Whether a device is there is found out when a model is loaded, not here.

use std::fmt;
use std::str::FromStr;

use crate::{ModelError, Result};

/// Where a model runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// CUDA devices, which share the batches.
    Cuda(Gpus),
}

/// CUDA devices by their numbers: at least one, each once, in rising order.
///
/// # Examples
/// ```
/// use sembla_models::Device;
///
/// let device: Device = "cuda:1,cuda:0".parse()?;
/// assert_eq!(device.to_string(), "cuda:0,cuda:1");
/// # Ok::<(), sembla_models::ModelError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gpus(u64);

impl Gpus {
    /// The largest number that a device may have.
    pub const NUMBER_MAX: u32 = 63;

    /// Their numbers.
    pub fn numbers(self) -> impl Iterator<Item = u32> {
        (0..=Self::NUMBER_MAX).filter(move |number| self.0 & (1 << number) != 0)
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(gpus) => {
                let names: Vec<String> =
                    gpus.numbers().map(|number| format!("cuda:{number}")).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

impl FromStr for Device {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self> {
        let lower = text.to_ascii_lowercase();
        if lower.trim() == "cpu" {
            return Ok(Self::Cpu);
        }
        let mut gpus = 0;
        for name in lower.split(',').map(str::trim) {
            let number = match name.strip_prefix("cuda") {
                Some("") => Some(0),
                Some(rest) => rest.strip_prefix(':').and_then(|number| number.parse().ok()),
                None => None,
            };
            let number = number.filter(|number| *number <= Gpus::NUMBER_MAX).ok_or_else(|| {
                ModelError::BadOption(format!(
                    "device must be cpu, cuda:N or several such as cuda:0,cuda:1 with N at most {}, got '{text}'",
                    Gpus::NUMBER_MAX
                ))
            })?;
            if gpus & (1 << number) != 0 {
                return Err(ModelError::BadOption(format!(
                    "device must name each GPU once, got '{text}'"
                )));
            }
            gpus |= 1 << number;
        }
        Ok(Self::Cuda(Gpus(gpus)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_and_shown() {
        for (text, shown) in [
            ("CPU", "cpu"),
            ("cuda", "cuda:0"),
            ("cuda:7", "cuda:7"),
            ("cuda:3, cuda:0", "cuda:0,cuda:3"),
            ("cuda:63", "cuda:63"),
        ] {
            let device: Device = text.parse().expect(text);
            assert_eq!(device.to_string(), shown);
            assert_eq!(shown.parse::<Device>().expect(shown), device);
        }
    }

    #[test]
    fn what_is_no_device_is_refused() {
        for text in ["", "gpu", "cuda:", "cuda:-1", "cuda:64", "cuda0", "cpu,cuda:0", "cuda:0,"] {
            let message = text.parse::<Device>().expect_err(text).to_string();
            assert!(message.contains("cuda:0,cuda:1"), "{message}");
        }
        let message = "cuda:1,cuda:1".parse::<Device>().expect_err("twice").to_string();
        assert!(message.contains("each GPU once"), "{message}");
    }
}
