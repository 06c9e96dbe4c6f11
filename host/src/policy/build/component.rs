//! From a core module to a component.

use wit_component::ComponentEncoder;

/// The functions that make a component a policy.
const EXPORTS: [&str; 3] = ["describe", "configure", "decide"];

/// Encodes the module that the SDK's macro made into a component, without the sections that only debuggers read.
///
/// The problem is a fragment for people.
pub(super) fn encode(module: &[u8]) -> Result<Vec<u8>, String> {
    let module = strip(module).ok_or("its module is damaged")?;
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true).module(&module).map_err(|error| format!("{error:#}"))?;
    let component = encoder.encode().map_err(|error| {
        format!("{error:#}; a policy imports nothing but `tollgate:policy`, so use no crate that asks for WASI or JavaScript")
    })?;
    let decoded = wit_component::decode(&component).map_err(|error| format!("{error:#}"))?;
    let resolve = decoded.resolve();
    let exports: Vec<String> = resolve
        .worlds
        .iter()
        .flat_map(|(_, world)| world.exports.keys())
        .map(|key| resolve.name_world_key(key))
        .collect();
    if EXPORTS.iter().all(|name| exports.iter().any(|export| export == name)) {
        return strip(&component).ok_or_else(|| "its component is damaged".to_owned());
    }
    Err("it exports no policy; write `tollgate_guest::export!(YourPolicy);` in its src/lib.rs".to_owned())
}

/// The module or component without custom sections, except those that tell the encoder what a module is. None if it is neither.
fn strip(module: &[u8]) -> Option<Vec<u8>> {
    const HEADER: usize = 8;
    const CUSTOM: u8 = 0;
    let mut kept = module.get(..HEADER)?.to_vec();
    let mut rest = module.get(HEADER..)?;
    while let Some((id, after)) = rest.split_first() {
        let (size, content) = number(after)?;
        let (content, next) = content.split_at_checked(size)?;
        if *id != CUSTOM || number(content)?.1.starts_with(b"component-type") {
            kept.extend_from_slice(rest.get(..rest.len() - next.len())?);
        }
        rest = next;
    }
    Some(kept)
}

/// A number in LEB128, and what follows it.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_usize;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        value |= usize::from(byte & 0x7f).checked_shl(7 * u32::try_from(index).ok()?)?;
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        [&[id, u8::try_from(content.len()).unwrap()], content].concat()
    }

    #[test]
    fn custom_sections_are_dropped_except_the_types() {
        let header = b"\0asm\x01\0\0\0".to_vec();
        let types = section(0, b"\x10component-type:xy");
        let code = section(10, &[1, 2, 3]);
        let module =
            [header.clone(), section(0, b"\x04name..."), types.clone(), code.clone(), section(0, b"\x09producers")]
                .concat();
        assert_eq!(strip(&module), Some([header, types, code].concat()));
    }

    #[test]
    fn a_damaged_module_is_refused() {
        let module = [b"\0asm\x01\0\0\0".to_vec(), section(10, &[1, 2, 3])].concat();
        for length in (0..module.len()).filter(|length| *length != 8) {
            assert_eq!(strip(&module[..length]), None, "{length}");
        }
        assert_eq!(number(&[0x80; 9]), None);
    }

    #[test]
    fn a_module_that_exports_no_policy_is_refused_with_the_way_out() {
        let problem = encode(b"\0asm\x01\0\0\0").unwrap_err();
        assert_eq!(problem, "it exports no policy; write `tollgate_guest::export!(YourPolicy);` in its src/lib.rs");
    }
}
