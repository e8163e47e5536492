//! The bytes of an epoch's file, apart from reading and writing it.
//!
//! ```text
//! magic "sembla-e" | version u32 | total length u64 | manifest length u64 | manifest CRC-32 u32
//! manifest: JSON
//! sections: one after another, as the manifest lists them, each with its length and CRC-32
//! ```
//! Numbers are little-endian. Every byte is covered: by comparison, by a checksum, or because the
//! lengths must add up.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::{Epoch, Query};
use crate::watermark::WatermarkState;
use crate::window::SavedWindows;
use crate::{Partition, StateTable};

const MAGIC: &[u8; 8] = b"sembla-e";

/// Raised when the form of state changes, here or in segments.
const VERSION: u32 = 1;

const HEADER_BYTES: usize = 8 + 4 + 8 + 8 + 4;

#[derive(Serialize, Deserialize)]
struct Manifest {
    pipeline: String,
    fingerprint: String,
    description: String,
    epoch: u64,
    #[serde(with = "crate::positions")]
    positions: BTreeMap<String, BTreeMap<Partition, i64>>,
    watermarks: WatermarkState,
    windows: Vec<SavedWindows>,
    sections: Vec<Section>,
}

#[derive(Serialize, Deserialize)]
struct Section {
    holds: Holds,
    bytes: u64,
    crc32: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Holds {
    /// Which rows of a window operator's segments are still needed.
    LiveRows { window: usize },
    /// A table of the window stage.
    Table { name: String },
}

/// The epoch as bytes.
///
/// # Errors
/// One line, when the manifest can't be written as JSON.
pub(super) fn encode(epoch: &Epoch) -> Result<Bytes, String> {
    let live = epoch.windows.iter().enumerate();
    let live = live.map(|(window, saved)| (Holds::LiveRows { window }, &saved.live));
    let tables = epoch.tables.iter();
    let tables = tables.map(|table| (Holds::Table { name: table.name.clone() }, &table.bytes));
    let parts: Vec<(Holds, &Bytes)> = live.chain(tables).collect();

    let section = |(holds, bytes): &(Holds, &Bytes)| Section {
        holds: holds.clone(),
        bytes: bytes.len() as u64,
        crc32: crc32fast::hash(bytes),
    };
    let manifest = Manifest {
        pipeline: epoch.pipeline.clone(),
        fingerprint: epoch.query.fingerprint.clone(),
        description: epoch.query.description.clone(),
        epoch: epoch.epoch,
        positions: epoch.positions.clone(),
        watermarks: epoch.watermarks.clone(),
        windows: epoch.windows.clone(),
        sections: parts.iter().map(section).collect(),
    };
    let manifest = serde_json::to_vec(&manifest).map_err(|error| error.to_string())?;
    let sections: usize = parts.iter().map(|(_, bytes)| bytes.len()).sum();
    let total = HEADER_BYTES + manifest.len() + sections;

    let mut file = BytesMut::with_capacity(total);
    file.put_slice(MAGIC);
    file.put_u32_le(VERSION);
    file.put_u64_le(total as u64);
    file.put_u64_le(manifest.len() as u64);
    file.put_u32_le(crc32fast::hash(&manifest));
    file.put_slice(&manifest);
    parts.iter().for_each(|(_, bytes)| file.put_slice(bytes));
    Ok(file.freeze())
}

/// The epoch that these bytes are.
///
/// # Errors
/// In a few words, what is wrong with the file: they follow its name.
pub(super) fn decode(file: &Bytes) -> Result<Epoch, String> {
    let mut rest = file.clone();
    if rest.len() < HEADER_BYTES {
        return Err(format!("has only {} bytes, so it is truncated", file.len()));
    }
    if rest.split_to(MAGIC.len()) != MAGIC[..] {
        return Err("is not a state file of Sembla, or is damaged".into());
    }
    let version = rest.get_u32_le();
    if version != VERSION {
        return Err(format!(
            "has version {version} of the format, but this program reads version {VERSION}; use the program that wrote it, \
             unless the file is damaged"
        ));
    }
    let total = rest.get_u64_le();
    if total != file.len() as u64 {
        return Err(format!("has {} bytes, but should have {total}", file.len()));
    }
    let (manifest_bytes, manifest_crc32) = (rest.get_u64_le(), rest.get_u32_le());
    let manifest =
        part(&mut rest, manifest_bytes, manifest_crc32).ok_or("has a damaged manifest")?;
    let manifest: Manifest = serde_json::from_slice(&manifest)
        .map_err(|error| format!("has a manifest that can't be read: {error}"))?;

    let mut windows = manifest.windows;
    let mut tables = Vec::new();
    for section in manifest.sections {
        let bytes = part(&mut rest, section.bytes, section.crc32);
        let bytes = bytes.ok_or_else(|| format!("has a damaged section: {:?}", section.holds))?;
        match section.holds {
            Holds::Table { name } => tables.push(StateTable { name, bytes }),
            Holds::LiveRows { window } => match windows.get_mut(window) {
                Some(saved) => saved.live = bytes,
                None => return Err(format!("has rows of a window {window} that it doesn't name")),
            },
        }
    }
    if !rest.is_empty() {
        return Err(format!("has {} bytes that belong to no part", rest.len()));
    }
    Ok(Epoch {
        pipeline: manifest.pipeline,
        query: Query { fingerprint: manifest.fingerprint, description: manifest.description },
        epoch: manifest.epoch,
        positions: manifest.positions,
        watermarks: manifest.watermarks,
        windows,
        tables,
    })
}

/// The next bytes of a file; `None` when there are not that many, or their checksum is wrong.
fn part(rest: &mut Bytes, bytes: u64, crc32: u32) -> Option<Bytes> {
    let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes <= rest.len())?;
    let part = rest.split_to(bytes);
    (crc32fast::hash(&part) == crc32).then_some(part)
}
