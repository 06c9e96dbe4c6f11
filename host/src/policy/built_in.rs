//! The policies that come with the host, compiled to components, so that an embedder needs no wasm target.

use crate::error::{Error, ErrorKind, Result};

/// Name and bytes. A test of the project rebuilds each from `policies/` and compares.
const POLICIES: [(&str, &[u8]); 5] = [
    ("descriptors", include_bytes!("../../policies/descriptors.wasm")),
    ("penalty", include_bytes!("../../policies/penalty.wasm")),
    ("route-classes", include_bytes!("../../policies/route-classes.wasm")),
    ("throttle", include_bytes!("../../policies/throttle.wasm")),
    ("tiered", include_bytes!("../../policies/tiered.wasm")),
];

/// The bytes of the built-in policy `name`.
///
/// # Errors
///
/// Fails with [`ErrorKind::Config`] if there is none of that name; the text lists those there are.
pub fn built_in(name: &str) -> Result<&'static [u8]> {
    POLICIES.iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes).ok_or_else(|| {
        let known: Vec<&str> = POLICIES.iter().map(|(known, _)| *known).collect();
        let message = format!("no built-in policy is called `{}`; there are {}", name.escape_debug(), known.join(", "));
        Error::new(ErrorKind::Config, message)
    })
}

/// Whether these are the bytes of a policy that comes with the host.
pub(super) fn is_built_in(bytes: &[u8]) -> bool {
    POLICIES.iter().any(|(_, built_in)| *built_in == bytes)
}
