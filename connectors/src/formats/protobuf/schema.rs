//! Compiles `.proto` texts, and finds messages in them.

use std::collections::HashMap;

use prost_reflect::MessageDescriptor;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

/// The name that the compiler knows the given text by.
const ROOT: &str = "schema.proto";

/// Texts by the names that they are imported by.
struct Texts(HashMap<String, String>);

impl FileResolver for Texts {
    fn open_file(&self, name: &str) -> std::result::Result<File, protox::Error> {
        match self.0.get(name) {
            Some(text) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// The message of that full name in a `.proto` text; without a name, its only message.
///
/// # Errors
/// Why the text can't be compiled, or the message not be found, in one line.
pub(super) fn compile(
    text: &str,
    imports: &[(String, String)],
    message: Option<&str>,
) -> std::result::Result<MessageDescriptor, String> {
    let mut texts: HashMap<_, _> = imports.iter().cloned().collect();
    texts.insert(ROOT.into(), text.into());
    let mut resolver = ChainFileResolver::new();
    resolver.add(Texts(texts));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    let pool = compiler
        .open_file(ROOT)
        .map(|compiler| compiler.descriptor_pool())
        .map_err(|error| format!("it can't be compiled: {error}").replace('\n', " "))?;
    let file = pool.get_file_by_name(ROOT).ok_or("it can't be compiled")?;
    let names: Vec<_> = file.messages().map(|message| message.full_name().to_string()).collect();
    let known = || names.join(", ");
    let name = match (message, names.as_slice()) {
        (Some(name), _) => name,
        (None, [only]) => only.as_str(),
        (None, []) => return Err("it has no message".into()),
        (None, _) => return Err(format!("it has several messages; give message: {}", known())),
    };
    pool.get_message_by_name(name)
        .ok_or_else(|| format!("it has no message '{name}'; messages: {}", known()))
}

/// Where a message is declared in its file: its number among the messages of the file, then among
/// those inside that one, and so on.
pub(super) fn index_path(message: &MessageDescriptor) -> Vec<i32> {
    // In a descriptor's path every index follows the number of the list that it is in.
    message.path().iter().skip(1).step_by(2).copied().collect()
}

/// An index path as it stands in a framed payload, and what follows it.
///
/// # Errors
/// When the payload ends before it does.
pub(super) fn read_index_path(body: &[u8]) -> std::result::Result<(Vec<i32>, &[u8]), String> {
    let cut = || String::from("the payload ends within its framing");
    let (count, mut rest) = read_zigzag(body).ok_or_else(cut)?;
    if count == 0 {
        return Ok((vec![0], rest));
    }
    let mut path = Vec::new();
    for _ in 0..count {
        let (index, after) = read_zigzag(rest).ok_or_else(cut)?;
        path.push(i32::try_from(index).map_err(|_| cut())?);
        rest = after;
    }
    Ok((path, rest))
}

/// An index path as it stands in a framed payload. The first message of a file is a single zero.
pub(super) fn write_index_path(path: &[i32]) -> Vec<u8> {
    if path == [0] {
        return vec![0];
    }
    let mut bytes = Vec::new();
    write_zigzag(i64::try_from(path.len()).unwrap_or_default(), &mut bytes);
    path.iter().for_each(|index| write_zigzag(i64::from(*index), &mut bytes));
    bytes
}

fn read_zigzag(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut value = 0u64;
    for (place, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f).checked_shl(7 * u32::try_from(place).ok()?)?;
        if byte & 0x80 == 0 {
            let signed = i64::try_from(value >> 1).ok()? ^ -i64::try_from(value & 1).ok()?;
            return Some((signed, &bytes[place + 1..]));
        }
    }
    None
}

fn write_zigzag(value: i64, bytes: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        bytes.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_paths_go_round() {
        for path in [vec![0], vec![1], vec![0, 0], vec![3, 0, 2], vec![300, 70_000]] {
            let bytes = [write_index_path(&path), b"rest".to_vec()].concat();
            assert_eq!(read_index_path(&bytes).expect("a path"), (path, &b"rest"[..]));
        }
        assert!(read_index_path(&[]).is_err());
        assert!(read_index_path(&[2]).is_err());
        assert!(read_index_path(&[0xff; 20]).is_err());
    }

    #[test]
    fn messages_are_found_by_name() {
        let text = "syntax = 'proto3'; package a; message M { message N {} } message O {}";
        let refusal = compile(text, &[], None).expect_err("several");
        assert_eq!(refusal, "it has several messages; give message: a.M, a.O");
        let inner = compile(text, &[], Some("a.M.N")).expect("a message");
        assert_eq!(index_path(&inner), [0, 0]);
        assert_eq!(index_path(&compile(text, &[], Some("a.O")).expect("a message")), [1]);
        assert!(compile(text, &[], Some("a.X")).expect_err("none").contains("messages: a.M, a.O"));
        assert!(
            compile("message {", &[], None).expect_err("bad").starts_with("it can't be compiled")
        );
        let importing = "syntax = 'proto3'; import 'b.proto'; message M { B b = 1; }";
        assert!(compile(importing, &[], None).is_err());
        let b = "syntax = 'proto3'; message B { string s = 1; }".to_string();
        compile(importing, &[("b.proto".into(), b)], None).expect("a message");
    }
}
