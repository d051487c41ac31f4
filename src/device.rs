//! Devices by name.

use crate::error::{Error, Result};
use burn::tensor::Device;
#[cfg(feature = "train")]
use burn::tensor::Tensor;

/// For every backend its name, its cargo feature, and whether that feature is enabled.
const BACKENDS: [(&str, &str, bool); 7] = [
    ("cpu", "flex", cfg!(feature = "flex")),
    ("ndarray", "ndarray", cfg!(feature = "ndarray")),
    ("wgpu", "wgpu", cfg!(feature = "wgpu")),
    ("vulkan", "vulkan", cfg!(feature = "vulkan")),
    ("metal", "metal", cfg!(feature = "metal")),
    ("cuda", "cuda", cfg!(feature = "cuda")),
    ("rocm", "rocm", cfg!(feature = "rocm")),
];

/// The names of the devices whose backends are compiled in, best supported first.
///
/// `cpu` is Burn's Flex backend; `ndarray` is an older CPU backend; `wgpu` chooses the graphics API
/// (Vulkan, Metal, DirectX).
pub fn device_names() -> Vec<&'static str> {
    BACKENDS.iter().filter(|(_, _, compiled)| *compiled).map(|(name, ..)| *name).collect()
}

/// Opens a device by name: `cpu`, `ndarray`, `wgpu`, `vulkan`, `metal`, `cuda` or `rocm`.
///
/// Burn's own constructors panic at the first operation if the GPU is missing. This function checks
/// that the device exists.
///
/// # Errors
///
/// [`Error::UnknownDevice`], [`Error::DeviceNotCompiled`], or [`Error::DeviceUnavailable`] where
/// the machine has no such device.
///
/// ```
/// # #[cfg(feature = "flex")] {
/// let device = sci_burn::open_device("cpu")?;
/// # }
/// # Ok::<(), sci_burn::Error>(())
/// ```
pub fn open_device(name: &str) -> Result<Device> {
    let Some(&(name, feature, compiled)) = BACKENDS.iter().find(|(known, ..)| *known == name)
    else {
        return Err(Error::UnknownDevice {
            name: name.to_owned(),
            known: BACKENDS.map(|(known, ..)| known).join(", "),
        });
    };
    if !compiled {
        return Err(Error::DeviceNotCompiled {
            name,
            feature,
            available: match device_names() {
                names if names.is_empty() => "none".to_owned(),
                names => names.join(", "),
            },
        });
    }
    match name {
        #[cfg(feature = "flex")]
        "cpu" => Ok(Device::flex()),
        #[cfg(feature = "ndarray")]
        "ndarray" =>
        {
            #[expect(deprecated, reason = "deprecated by Burn 0.22, still supported here")]
            Ok(Device::ndarray())
        }
        #[cfg(feature = "cuda")]
        "cuda" => {
            first(name, burn::tensor::DeviceType::Cuda, "no CUDA driver or no NVIDIA GPU was found")
        }
        #[cfg(feature = "rocm")]
        "rocm" => {
            first(name, burn::tensor::DeviceType::Rocm, "no ROCm driver or no AMD GPU was found")
        }
        #[cfg(any(feature = "wgpu", feature = "vulkan", feature = "metal"))]
        _ => graphics::open(name),
        #[cfg(not(any(feature = "wgpu", feature = "vulkan", feature = "metal")))]
        _ => unreachable!("a compiled backend that is not opened above"),
    }
}

/// The first device of a type, or the reason why there is none.
#[cfg(any(feature = "cuda", feature = "rocm"))]
fn first(
    name: &'static str,
    devices: burn::tensor::DeviceType,
    reason: &'static str,
) -> Result<Device> {
    let first = Device::enumerate(devices).into_vec().into_iter().next();
    first.ok_or_else(|| Error::DeviceUnavailable { name, source: reason.into() })
}

#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "metal"))]
mod graphics {
    use super::*;
    use burn::tensor::wgpu::{WgpuBackend, WgpuInitError};
    use std::sync::Mutex;

    /// The devices opened so far, since a runtime can be initialized only once in a process.
    static OPENED: Mutex<Vec<(&str, Device)>> = Mutex::new(Vec::new());

    pub(super) fn open(name: &'static str) -> Result<Device> {
        let mut opened = OPENED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some((_, device)) = opened.iter().find(|(known, _)| *known == name) {
            return Ok(device.clone());
        }
        let device = initialize(name)?;
        opened.push((name, device.clone()));
        Ok(device)
    }

    fn initialize(name: &'static str) -> Result<Device> {
        let api = match name {
            "vulkan" => WgpuBackend::Vulkan,
            "metal" => WgpuBackend::Metal,
            _ => WgpuBackend::Auto,
        };
        let lazy = || match name {
            #[cfg(feature = "vulkan")]
            "vulkan" => Device::vulkan(Default::default()),
            #[cfg(feature = "metal")]
            "metal" => Device::metal(Default::default()),
            _ => Device::wgpu(Default::default()),
        };
        match Device::wgpu_options().graphics_api(api).init() {
            Ok(device) => Ok(device),
            // The program has used this runtime already, so it works.
            Err(WgpuInitError::Registration { .. }) => Ok(lazy()),
            Err(error) => Err(Error::DeviceUnavailable { name, source: error.into() }),
        }
    }
}

/// New values in the place of a tensor's: with autodiff where it has it, in the same way.
#[cfg(feature = "train")]
pub(crate) fn with_autodiff_of<const D: usize>(values: Tensor<D>, old: &Tensor<D>) -> Tensor<D> {
    if !old.device().is_autodiff() {
        return values;
    }
    let new = Tensor::from_inner(values);
    let new = match old.gradient_checkpointing_strategy() {
        Some(strategy) => new.with_gradient_checkpointing_strategy(strategy),
        None => new,
    };
    new.set_require_grad(old.is_require_grad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_answered_with_the_known_ones() {
        let message = open_device("tpu").unwrap_err().to_string();
        assert!(message.contains("`tpu`") && message.contains("cpu, ndarray, wgpu"), "{message}");
    }

    #[test]
    #[cfg(not(feature = "cuda"))]
    fn a_missing_backend_is_answered_with_its_feature() {
        let message = open_device("cuda").unwrap_err().to_string();
        assert!(message.contains("cargo feature `cuda`"), "{message}");
    }

    #[test]
    #[cfg(feature = "flex")]
    fn the_cpu_is_there() {
        assert_eq!(open_device("cpu").unwrap(), Device::flex());
        assert!(device_names().contains(&"cpu"));
    }
}
