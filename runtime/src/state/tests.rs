//! Tests of state: damage, crashes, and what a checkpoint costs.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::*;
use crate::watermark::{PartitionMark, WatermarkState};
use crate::window::samples::{Dice, Row, Shown, batch, shown, spec};
use crate::window::{SavedWindows, Segment, WindowKind, WindowRows, WindowSpec};
use crate::{Error, StateTable};

/// A store in memory that fails from the n-th operation on, before or after that one has its
/// effect.
#[derive(Default)]
struct Memory {
    files: Mutex<BTreeMap<String, Bytes>>,
    operations: Mutex<usize>,
    /// The operation, and whether it has its effect.
    fails_at: Option<(usize, bool)>,
}

impl Memory {
    fn failing_at(&self, operation: usize, has_effect: bool) -> Self {
        let files = Mutex::new(self.files.lock().unwrap().clone());
        Self { files, operations: Mutex::new(0), fails_at: Some((operation, has_effect)) }
    }

    /// What is there after a crash.
    fn restarted(&self) -> Self {
        Self { files: Mutex::new(self.files.lock().unwrap().clone()), ..Self::default() }
    }

    fn step<T>(&self, effect: impl FnOnce(&mut BTreeMap<String, Bytes>) -> T) -> Result<T> {
        let mut operations = self.operations.lock().unwrap();
        *operations += 1;
        let crash = || Error::External("the process died".into());
        match self.fails_at {
            Some((at, has_effect)) if *operations > at || (*operations == at && !has_effect) => {
                Err(crash())
            }
            Some((at, _)) if *operations == at => {
                effect(&mut self.files.lock().unwrap());
                Err(crash())
            }
            _ => Ok(effect(&mut self.files.lock().unwrap())),
        }
    }

    fn names(&self, kind: &str) -> Vec<String> {
        let files = self.files.lock().unwrap();
        files.keys().filter(|name| name.starts_with(kind)).cloned().collect()
    }
}

#[async_trait]
impl Store for Memory {
    async fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.step(|files| files.insert(name.to_string(), bytes)).map(|_| ())
    }

    async fn get(&self, name: &str) -> Result<Option<Bytes>> {
        self.step(|files| files.get(name).cloned())
    }

    async fn list(&self) -> Result<Vec<String>> {
        self.step(|files| files.keys().cloned().collect())
    }

    async fn delete(&self, name: &str) -> Result<()> {
        self.step(|files| files.remove(name)).map(|_| ())
    }

    fn place(&self) -> String {
        "memory".into()
    }
}

fn query() -> Query {
    Query {
        fingerprint: "f1".into(),
        description: "source messages\nwindow tumble(ts, 10 seconds)\nfinding topics".into(),
    }
}

fn hops() -> WindowSpec {
    spec(WindowKind::Hop { slide_us: 5, size_us: 10, offset_us: 0 }, 0)
}

fn epoch(number: u64, saved: SavedWindows) -> Epoch {
    let mark = PartitionMark {
        watermark_us: i64::MIN,
        has_ended: number > 5,
        is_idle: false,
        ahead: None,
    };
    Epoch {
        pipeline: "support".into(),
        query: query(),
        epoch: number,
        positions: [("messages".into(), [("messages/0".into(), i64::MAX)].into())].into(),
        watermarks: WatermarkState {
            combined_us: saved.closed_until_us,
            sources: vec![[("messages/0".into(), mark)].into()],
        },
        windows: vec![saved],
        tables: vec![
            StateTable { name: "topics".into(), bytes: Bytes::from(vec![number as u8; 40]) },
            StateTable { name: "empty".into(), bytes: Bytes::new() },
        ],
    }
}

async fn write(store: &Memory, rows: &mut WindowRows, number: u64) -> Result<String> {
    let checkpoint = rows.barrier(number)?;
    let segments: Vec<Segment> = checkpoint.segment.into_iter().collect();
    Ok(write_epoch(store, &epoch(number, checkpoint.saved), &segments).await?.name)
}

/// The epoch and its rows, all the way to what its windows hand out.
async fn read_all(store: &Memory, name: &str) -> Result<(Epoch, Vec<Shown>)> {
    let epoch = read_epoch(store, name, "support", &query()).await?;
    let mut rows = restore_windows(store, hops(), &epoch.windows[0]).await?;
    let mut windows = Vec::new();
    while let Some(window) = rows.close_next(i64::MAX)? {
        windows.push(shown(&window));
    }
    Ok((epoch, windows))
}

/// A store with one epoch. Rows 1 and 2 are in one segment, and row 1 no longer counts.
async fn small() -> (Memory, String, WindowRows) {
    let store = Memory::default();
    let mut rows = WindowRows::new(hops()).unwrap();
    rows.insert(batch(&[Row::new(1, 0, 2), Row::new(2, 1, 17)]), i64::MIN).unwrap();
    write(&store, &mut rows, 1).await.unwrap();
    while rows.close_next(12).unwrap().is_some() {}
    rows.insert(batch(&[Row::new(3, 0, 13)]), 12).unwrap();
    let name = write(&store, &mut rows, 2).await.unwrap();
    (store, name, rows)
}

#[tokio::test]
async fn an_epoch_comes_back_as_it_was_written() {
    let (store, name, mut rows) = small().await;
    let (read, windows) = read_all(&store, &name).await.unwrap();
    assert_eq!(read, epoch(2, rows.barrier(2).unwrap().saved));
    assert_eq!(read.windows[0].segments.len(), 2);
    assert!(!read.windows[0].live.is_empty(), "row 1 no longer counts");
    let on_time = |start, end, rows: &[i64]| (start, end, "on_time", rows.to_vec());
    let expected = [on_time(5, 15, &[3]), on_time(10, 20, &[3, 2]), on_time(15, 25, &[2])];
    assert_eq!(windows, expected);
}

fn is_refusal(error: &Error, name: &str) -> bool {
    matches!(error, Error::State(why)
        if why.contains(name) && why.contains("--ignore-state") && !why.contains('\n'))
}

#[tokio::test]
async fn every_damaged_byte_is_refused_by_name() {
    let (store, name, _) = small().await;
    let whole = store.files.lock().unwrap().clone();
    let mut damaged = store.names("segment-");
    assert_eq!(damaged.len(), 2);
    damaged.push(name.clone());
    for file in damaged {
        let bytes = &whole[&file];
        let flipped = (0..bytes.len()).flat_map(|byte| {
            (0..8).map(move |bit| {
                let mut bytes = bytes.to_vec();
                bytes[byte] ^= 1 << bit;
                Bytes::from(bytes)
            })
        });
        let cut = (0..bytes.len()).map(|length| bytes.slice(..length));
        let longer = std::iter::once([bytes.as_ref(), b"x"].concat().into());
        for damage in flipped.chain(cut).chain(longer) {
            store.files.lock().unwrap().insert(file.clone(), damage);
            let error = read_all(&store, &name).await.unwrap_err();
            assert!(is_refusal(&error, &file), "{error}");
        }
        store.files.lock().unwrap().remove(&file);
        let error = read_all(&store, &name).await.unwrap_err();
        assert!(is_refusal(&error, &file) && error.to_string().contains("missing"), "{error}");
        store.files.lock().unwrap().insert(file.clone(), bytes.clone());
        read_all(&store, &name).await.unwrap();
    }
}

#[tokio::test]
async fn state_of_something_else_is_refused_with_what_changed() {
    let (store, name, _) = small().await;
    let refusal = async |pipeline: &str, query: &Query| {
        let error = read_epoch(&store, &name, pipeline, query).await.unwrap_err();
        assert!(is_refusal(&error, &name), "{error}");
        error.to_string()
    };
    assert!(refusal("other", &query()).await.contains("the pipeline 'support', not to 'other'"));

    let other = |description: &str| Query {
        fingerprint: "f2".into(),
        description: description.replace('/', "\n"),
    };
    let lines = "source messages/window tumble(ts, 10 seconds)/finding topics";
    let changed = other("source messages/window tumble(ts, 5 seconds)/finding topics");
    let why = "it had 'window tumble(ts, 10 seconds)' and now has 'window tumble(ts, 5 seconds)'";
    assert!(refusal("support", &changed).await.contains(why));
    let shorter = other("source messages/window tumble(ts, 10 seconds)");
    assert!(refusal("support", &shorter).await.contains("no longer has 'finding topics'"));
    let longer = other(&format!("{lines}/sink found"));
    assert!(refusal("support", &longer).await.contains("it now has 'sink found'"));
    assert!(refusal("support", &other(lines)).await.contains("models or functions"));

    let tumble = spec(WindowKind::Tumble { size_us: 10, offset_us: 0 }, 0);
    let fewer = arrow::datatypes::Schema::new(tumble.schema.fields()[1..].to_vec());
    let tumble = WindowSpec { schema: std::sync::Arc::new(fewer), ..tumble };
    let saved = &read_epoch(&store, &name, "support", &query()).await.unwrap().windows[0];
    let error = restore_windows(&store, tumble, saved).await.unwrap_err();
    assert!(
        is_refusal(&error, "segment-") && error.to_string().contains("number Int64"),
        "{error}"
    );
}

#[tokio::test]
async fn an_epoch_under_another_name_is_refused() {
    let (store, name, _) = small().await;
    let bytes = store.files.lock().unwrap()[&name].clone();
    let other = name.replace("000002", "000003");
    store.put(&other, bytes).await.unwrap();
    let error = read_all(&store, &other).await.unwrap_err();
    assert!(is_refusal(&error, &other) && error.to_string().contains("epoch 2"), "{error}");
}

/// A crash at each step of writing the next epoch, and of removing what the last two don't need,
/// leaves the epoch that is named as it was; and the same can be done again.
#[tokio::test]
async fn a_crash_at_any_step_leaves_the_named_epoch() {
    for has_effect in [false, true] {
        for operation in 1.. {
            let (store, name, mut rows) = small().await;
            let expected = read_all(&store, &name).await.unwrap();
            let first = store.names("epoch-")[0].clone();

            rows.insert(batch(&[Row::new(4, 0, 14)]), 12).unwrap();
            let failing = store.failing_at(operation, has_effect);
            let checkpoint = rows.barrier(3).unwrap();
            let segments: Vec<Segment> = checkpoint.segment.into_iter().collect();
            let third = epoch(3, checkpoint.saved);
            let written = write_epoch(&failing, &third, &segments).await;
            let collected = match &written {
                Ok(third) => collect_garbage(&failing, &[&name, &third.name]).await.map(Some),
                Err(error) => Err(error.clone()),
            };

            let left = failing.restarted();
            assert_eq!(read_all(&left, &name).await.unwrap(), expected);
            let again = write_epoch(&left, &third, &segments).await.unwrap();
            collect_garbage(&left, &[&name, &again.name]).await.unwrap();
            assert_eq!(read_all(&left, &again.name).await.unwrap().0, third);
            assert!(!left.names("epoch-").contains(&first), "the first is garbage now");
            if collected.is_ok() {
                assert!(operation > 5, "each operation was failed");
                break;
            }
        }
    }
}

#[tokio::test]
async fn garbage_is_what_no_kept_epoch_needs() {
    let store = Memory::default();
    let mut rows = WindowRows::new(hops()).unwrap();
    let mut names: Vec<String> = Vec::new();
    for number in 1..=40 {
        let time_us = number as i64;
        rows.insert(batch(&[Row::new(time_us, 0, time_us)]), i64::MIN).unwrap();
        while rows.close_next(time_us - 3).unwrap().is_some() {}
        names.push(write(&store, &mut rows, number).await.unwrap());
        let kept: Vec<&str> = names.iter().rev().take(2).map(String::as_str).collect();
        collect_garbage(&store, &kept).await.unwrap();
        assert_eq!(store.names("epoch-").len(), kept.len());
        assert!(store.names("segment-").len() <= 17, "{:?}", store.names("segment-"));
        for name in kept {
            read_all(&store, name).await.unwrap();
        }
    }
    let others = ["epoch-000000000041-abc.state", "segment-000000000041-abc.arrow", "a.txt"];
    for other in others {
        store.put(other, Bytes::new()).await.unwrap();
    }
    store.put("epoch-000000000040-abc.state", Bytes::new()).await.unwrap();
    let removed = collect_garbage(&store, &[names.last().unwrap()]).await.unwrap();
    assert!(removed >= 2, "the other epoch 40 and epoch 39");
    let files = store.files.lock().unwrap();
    assert!(others.iter().all(|other| files.contains_key(*other)), "newer and foreign files stay");
}

#[tokio::test]
async fn nothing_is_removed_when_a_kept_epoch_can_not_be_read() {
    let (store, name, _) = small().await;
    let before = store.files.lock().unwrap().clone();
    let missing = "epoch-000000000009-0123456789abcdef.state";
    assert!(collect_garbage(&store, &[&name, missing]).await.is_err());
    assert_eq!(*store.files.lock().unwrap(), before);
    assert_eq!(collect_garbage(&store, &[]).await.unwrap(), 0);
}

/// A manifest that is whole as JSON but contradicts itself: rejected, and no panic.
#[tokio::test]
async fn random_bytes_are_refused() {
    let mut dice = Dice::new(7);
    let name = "epoch-000000000001-0123456789abcdef.state";
    for length in 0..300 {
        let mut bytes: Vec<u8> = (0..length).map(|_| dice.below(256) as u8).collect();
        let header = b"sembla-e\x01\0\0\0";
        let known = dice.below(header.len() as u64 + 1) as usize;
        bytes.splice(..known.min(length), header[..known.min(length)].iter().copied());
        let store = Memory::default();
        store.put(name, bytes.into()).await.unwrap();
        assert!(is_refusal(&read_all(&store, name).await.unwrap_err(), name));
    }
}
