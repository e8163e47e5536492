//! Ids of points, which Qdrant has as unsigned 64-bit numbers or UUIDs.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde_json::Value;

use crate::collections::Key;

/// The namespace of the UUIDs: that of object identifiers in RFC 4122, `uuid.NAMESPACE_OID` in
/// Python, where `uuid.uuid5(uuid.NAMESPACE_OID, key)` is the same id.
const NAMESPACE: [u8; 16] = [
    0x6b, 0xa7, 0xb8, 0x12, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8,
];

/// The id that a key makes: itself, where it is one whole number that is not negative; the UUID of
/// its text otherwise.
pub(super) fn id_of(key: &Key) -> Value {
    match key.0.as_slice() {
        [Value::Number(number)] if number.is_u64() => Value::Number(number.clone()),
        _ => uuid_of(&key.text()).into(),
    }
}

/// The UUID of a text by its SHA-1 (version 5 of RFC 4122).
pub(super) fn uuid_of(text: &str) -> String {
    let hashed = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[&NAMESPACE[..], text.as_bytes()].concat());
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hashed.as_ref()).for_each(|(byte, hashed)| *byte = *hashed);
    let bits = u128::from_be_bytes(bytes);
    let bits = bits & !(0xf << 76) | (5 << 76);
    let bits = bits & !(0b11 << 62) | (0b10 << 62);
    let hex = format!("{bits:032x}");
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| hex.get(part).unwrap_or_default());
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_that_python_makes() {
        let id = |values: &[Value]| id_of(&Key(values.to_vec()));
        assert_eq!(id(&[7.into()]), Value::from(7));
        assert_eq!(id(&[u64::MAX.into()]), Value::from(u64::MAX));
        // uuid.uuid5(uuid.NAMESPACE_OID, …) of 'a', '-1' and '["a",1]'.
        for (values, expected) in [
            (vec![Value::from("a")], "d720e32d-4765-5177-b65b-42dd7f6e6445"),
            (vec![Value::from(-1)], "c14dde1c-2fbb-5c5d-bce1-1ec7424cfe34"),
            (vec![Value::from("a"), Value::from(1)], "261f44d8-3416-5bbb-a3c2-664b5eeea1f4"),
        ] {
            assert_eq!(id(&values), Value::from(expected));
        }
    }
}
