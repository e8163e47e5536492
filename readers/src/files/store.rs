//! Files in object stores and on the web.
//!
//! Callers are synchronous, clients are not; so requests run on threads of their own, and whoever
//! asks waits. A file is read by one request from an offset on, in pieces as they arrive.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, mpsc};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    Error as StoreError, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt,
};
use tokio::runtime::{Builder, Runtime};
use url::Url;

use super::address::{Address, Scheme};
pub use super::address::{Located, one_line, shown, store_of};
use super::glob;
use super::hive::folders_of;
use super::listing::{DataFile, FILES_MAX, Place, is_hidden, part_fits};
use super::local::is_like;
use super::names::{Format, format_of, known_endings};
use crate::error::{Error, Result};
use crate::open::Open;

/// Threads that wait for stores.
const THREADS: usize = 2;

/// The path on this machine that a name means; `None` for one in a store.
///
/// # Errors
/// A `file://` address that is no path.
pub(super) fn local_path_of(name: &str) -> Result<Option<String>> {
    let Some((scheme, rest)) = name.split_once("://") else { return Ok(Some(name.to_string())) };
    let is_scheme = !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !is_scheme {
        return Ok(Some(name.to_string()));
    }
    if !scheme.eq_ignore_ascii_case("file") {
        return Ok(None);
    }
    // What is there by that very name is meant literally, else the address is decoded.
    if PathBuf::from(rest).exists() || glob::is_pattern(rest) {
        return Ok(Some(rest.to_string()));
    }
    let path = Url::parse(name).ok().and_then(|url| url.to_file_path().ok());
    let path = path.ok_or_else(|| {
        Error::Option(format!("'{name}' is not the address of a file: file:///folder/file"))
    })?;
    Ok(Some(path.display().to_string()))
}

/// A path as an address, in which no letter means a pattern; `None` for one that can't be an
/// address.
pub fn address_of(path: &str) -> Option<String> {
    let whole = std::path::absolute(path).ok()?;
    let address = Url::from_file_path(whole).ok()?.to_string();
    let is_folder = path.ends_with('/') && !address.ends_with('/');
    Some(if is_folder { address + "/" } else { address })
}

/// The files that an address means, in any order.
pub(super) fn list(name: &str, format: Option<Format>) -> Result<Vec<DataFile>> {
    let address = Address::parse(name)?;
    let store = address.client(&|_| None)?;
    let listing = Listing { address, store, format };
    match listing.named()? {
        Some(file) => Ok(vec![file]),
        None => listing.below(),
    }
}

/// The files that an address means, whatever they hold, in any order: one by its whole name, else
/// those below it or of its pattern whose names `is_wanted`.
pub(super) fn blobs(name: &str, is_wanted: &dyn Fn(&str) -> bool) -> Result<Vec<StoredFile>> {
    let address = Address::parse(name)?;
    let store = address.client(&|_| None)?;
    let listing = Listing { address, store, format: None };
    let found = match listing.head()? {
        Some(object) => vec![object],
        None => {
            let mut matched = listing.matched()?;
            if matched.objects.is_empty() {
                return Err(matched.nothing());
            }
            matched.objects.retain(|object| is_wanted(object.location.as_ref()));
            matched.objects
        }
    };
    let blob = |object: ObjectMeta| {
        let name = listing.address.name_of(object.location.as_ref());
        StoredFile::new(name, Arc::clone(&listing.store), object.location, object.size)
    };
    Ok(found.into_iter().map(blob).collect())
}

/// What is being listed.
struct Listing {
    address: Address,
    store: Arc<dyn ObjectStore>,
    format: Option<Format>,
}

/// Objects below an address, or of its pattern.
struct Matched {
    objects: Vec<ObjectMeta>,
    /// The address.
    shown: String,
    is_pattern: bool,
    /// Whether anything was there.
    is_there: bool,
}

impl Matched {
    /// The error of an address that means no file.
    fn nothing(&self) -> Error {
        match (self.is_pattern, self.is_there) {
            (true, _) => Error::Option(format!("no file matches '{}'", self.shown)),
            (false, false) => Error::Missing(format!("'{}' does not exist", self.shown)),
            (false, true) => Error::Option(format!(
                "nothing at '{}' has a known file extension: {}",
                self.shown,
                known_endings()
            )),
        }
    }
}

impl Listing {
    /// The object whose key is the whole address, if there is one.
    fn head(&self) -> Result<Option<ObjectMeta>> {
        let key = &self.address.key;
        let is_web = self.address.scheme == Scheme::Web;
        if key.is_empty() || key.ends_with('/') && !is_web {
            return Ok(None);
        }
        let shown = self.address.name_of(key);
        let path = Path::parse(key)
            .map_err(|error| Error::Option(format!("'{shown}' can't be a key: {error}")))?;
        let (store, wanted) = (Arc::clone(&self.store), path.clone());
        match wait(async move { store.head(&wanted).await })? {
            Ok(metadata) => Ok(Some(metadata)),
            Err(StoreError::NotFound { .. }) if !is_web => Ok(None),
            Err(error) => Err(failed(&shown, &error)),
        }
    }

    /// The file whose key is the whole address, if there is one.
    fn named(&self) -> Result<Option<DataFile>> {
        let Some(metadata) = self.head()? else { return Ok(None) };
        let key = &self.address.key;
        let Some(format) = self.format.or_else(|| format_of(key)) else {
            return Err(Error::Option(format!(
                "'{}' has no known file extension: {}; read_csv, read_json and read_parquet read any name",
                self.address.name_of(key),
                known_endings()
            )));
        };
        Ok(Some(self.file(metadata, format)))
    }

    /// The files below the address, or those that fit its pattern.
    fn below(&self) -> Result<Vec<DataFile>> {
        let matched = self.matched()?;
        let mut files = Vec::new();
        for object in &matched.objects {
            let known = format_of(object.location.as_ref());
            // Who says the format and writes a pattern means all that fits it.
            let is_known = self.format.is_none_or(|wanted| match known {
                Some(known) => is_like(wanted, known),
                None => matched.is_pattern,
            });
            if let Some(format) = self.format.or(known).filter(|_| is_known) {
                files.push(self.file(object.clone(), format));
            }
        }
        if files.is_empty() { Err(matched.nothing()) } else { Ok(files) }
    }

    /// The objects below the address, or those that fit its pattern.
    fn matched(&self) -> Result<Matched> {
        let key = self.address.key.trim_end_matches('/');
        let shown = self.address.name_of(key);
        let fixed = match key.find(['*', '?', '[', '{']) {
            Some(at) => key
                .get(..at)
                .and_then(|head| head.rsplit_once('/'))
                .map_or("", |(folder, _)| folder),
            None => key,
        };
        let prefix = Path::parse(fixed)
            .map_err(|error| Error::Option(format!("'{shown}' can't be a key: {error}")))?;
        let mut objects = self.objects(prefix, &shown)?;
        let is_there = !objects.is_empty();
        let patterns: Vec<String> =
            if glob::is_pattern(key) { glob::expanded(key) } else { Vec::new() };
        objects.retain(|object| match patterns.as_slice() {
            [] => is_below(fixed, object.location.as_ref()),
            patterns => patterns.iter().any(|pattern| fits(pattern, object.location.as_ref())),
        });
        Ok(Matched { objects, shown, is_pattern: !patterns.is_empty(), is_there })
    }

    fn objects(&self, prefix: Path, shown: &str) -> Result<Vec<ObjectMeta>> {
        let store = Arc::clone(&self.store);
        let listed = wait(async move {
            let mut objects = Vec::new();
            let mut stream = store.list(Some(&prefix));
            while let Some(object) = stream.next().await {
                objects.push(object?);
                if objects.len() > FILES_MAX {
                    break;
                }
            }
            Ok::<_, StoreError>(objects)
        })?;
        let listed = listed.map_err(|error| failed(shown, &error))?;
        if listed.len() > FILES_MAX {
            return Err(Error::Limit(format!("'{shown}' holds more than {FILES_MAX} files")));
        }
        Ok(listed)
    }

    fn file(&self, object: ObjectMeta, format: Format) -> DataFile {
        let name = self.address.name_of(object.location.as_ref());
        let modified = object.last_modified.timestamp_nanos_opt().unwrap_or_default();
        DataFile {
            folders: folders_of(&name),
            name,
            place: Place::Stored { store: Arc::clone(&self.store), path: object.location },
            format,
            bytes: object.size,
            modified_ns: u64::try_from(modified).unwrap_or_default(),
        }
    }
}

/// Whether an object lies in a folder, not below a hidden name in it.
fn is_below(folder: &str, location: &str) -> bool {
    let rest = match folder {
        "" => Some(location),
        folder => location.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')),
    };
    rest.is_some_and(|rest| !rest.split('/').any(is_hidden))
}

/// Whether a key fits a pattern without braces. What the pattern leads to may be a folder.
fn fits(pattern: &str, location: &str) -> bool {
    fn parts_fit(pattern: &[&str], location: &[&str]) -> bool {
        match (pattern.split_first(), location.split_first()) {
            (None, _) => !location.iter().any(|part| is_hidden(part)),
            (Some((&"**", rest)), _) if parts_fit(rest, location) => true,
            (Some((&"**", _)), Some((part, left))) => !is_hidden(part) && parts_fit(pattern, left),
            (Some((wanted, rest)), Some((part, left))) => {
                (wanted == part || part_fits(wanted, part)) && parts_fit(rest, left)
            }
            (Some(_), None) => false,
        }
    }
    let parts = |text: &'_ str| text.split('/').map(str::to_string).collect::<Vec<_>>();
    let (pattern, location) = (parts(pattern), parts(location));
    let pattern: Vec<&str> = pattern.iter().map(String::as_str).collect();
    let location: Vec<&str> = location.iter().map(String::as_str).collect();
    parts_fit(&pattern, &location)
}

/// What a store says of an address.
fn failed(shown: &str, error: &StoreError) -> Error {
    let error = io_error(error);
    match error.kind() {
        io::ErrorKind::NotFound => Error::Missing(format!("file '{shown}' does not exist")),
        io::ErrorKind::PermissionDenied => {
            Error::Option(format!("file '{shown}' can't be read: {error}"))
        }
        _ => Error::Io(format!("file '{shown}' can't be read: {error}")),
    }
}

/// An error of a store as one of the operating system, with nothing secret in it.
pub fn io_error(error: &StoreError) -> io::Error {
    match error {
        StoreError::NotFound { .. } => io::Error::new(io::ErrorKind::NotFound, "it does not exist"),
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the credentials of the environment don't allow it",
        ),
        error => io::Error::other(one_line(error)),
    }
}

/// A file of a store.
#[derive(Debug)]
pub struct StoredFile {
    name: String,
    store: Arc<dyn ObjectStore>,
    path: Path,
    bytes: u64,
}

impl StoredFile {
    /// The file at `path` of `store`, which has `bytes` bytes and is called `name` in messages.
    pub fn new(name: String, store: Arc<dyn ObjectStore>, path: Path, bytes: u64) -> Self {
        Self { name, store, path, bytes }
    }
}

impl Open for StoredFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        if offset >= self.bytes {
            return Ok(Box::new(io::empty()));
        }
        let (store, path) = (Arc::clone(&self.store), self.path.clone());
        let range = (offset > 0).then_some(GetRange::Offset(offset));
        let options = GetOptions { range, ..GetOptions::default() };
        let answer = wait(async move { store.get_opts(&path, options).await });
        let answer = answer.map_err(io::Error::other)?.map_err(|error| io_error(&error))?;
        let pieces = Some(answer.into_stream());
        Ok(Box::new(Pieces { pieces, piece: Bytes::new() }))
    }
}

/// The bytes of a file as they arrive.
struct Pieces {
    /// What is still to come; `None` after an error.
    pieces: Option<BoxStream<'static, object_store::Result<Bytes>>>,
    /// What has come and is not read yet.
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let Some(mut pieces) = self.pieces.take() else { return Ok(0) };
            let next = wait(async move {
                let next = pieces.next().await;
                (pieces, next)
            });
            let (pieces, next) = next.map_err(io::Error::other)?;
            match next {
                None => return Ok(0),
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(error)) => return Err(io_error(&error)),
            }
            self.pieces = Some(pieces);
        }
        let taken = self.piece.split_to(buffer.len().min(self.piece.len()));
        for (to, from) in buffer.iter_mut().zip(&taken) {
            *to = *from;
        }
        Ok(taken.len())
    }
}

/// Bytes that are uploaded by one request; what is longer goes in several.
const UPLOAD_BYTES: usize = 8 << 20;

/// Whether something is at a place: an object of that key, or some below it.
///
/// # Errors
/// Those of the store.
pub fn holds(place: &Located) -> Result<bool> {
    let shown = format!("{}{}", place.root, place.key);
    let key = Path::parse(place.key.trim_end_matches('/'))
        .map_err(|error| Error::Option(format!("'{shown}' can't be a key: {error}")))?;
    let client = Arc::clone(&place.client);
    let is_folder = place.key.ends_with('/');
    let found = wait(async move {
        if is_folder {
            return Ok(client.list(Some(&key)).next().await.transpose()?.is_some());
        }
        match client.head(&key).await {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    })?;
    found.map_err(|error| failed(&shown, &error))
}

/// Uploads a file of this machine as the object `key` of a store, in place of one that is there.
///
/// # Errors
/// The file's and the store's.
pub fn upload(place: &Located, key: &str, file: &std::path::Path) -> Result<()> {
    let shown = format!("{}{key}", place.root);
    let path = Path::parse(key)
        .map_err(|error| Error::Option(format!("'{shown}' can't be a key: {error}")))?;
    let mut file = std::fs::File::open(file)
        .map_err(|error| Error::Io(format!("'{}' can't be read: {error}", file.display())))?;
    let client = Arc::clone(&place.client);
    let uploaded = wait(async move {
        let mut piece = next_piece(&mut file)?;
        if piece.len() < UPLOAD_BYTES {
            client.put(&path, piece.into()).await?;
            return Ok(());
        }
        let mut upload = client.put_multipart(&path).await?;
        while !piece.is_empty() {
            if let Err(error) = upload.put_part(piece.into()).await {
                // What was uploaded so far is no object; the first error is the one to tell.
                let _ = upload.abort().await;
                return Err(error);
            }
            piece = next_piece(&mut file)?;
        }
        upload.complete().await.map(|_| ())
    })?;
    uploaded.map_err(|error| Error::Io(format!("'{shown}' can't be written: {}", io_error(&error))))
}

/// The next bytes of a file, [`UPLOAD_BYTES`] unless it ends before.
fn next_piece(file: &mut std::fs::File) -> object_store::Result<Bytes> {
    let mut piece = Vec::new();
    let read = file.take(UPLOAD_BYTES as u64).read_to_end(&mut piece);
    read.map_err(|error| StoreError::Generic { store: "file", source: error.into() })?;
    Ok(piece.into())
}

/// Runs a request on the threads of this module and waits for it.
///
/// # Errors
/// When the threads can't be started or the request panics.
fn wait<T: Send + 'static>(request: impl Future<Output = T> + Send + 'static) -> Result<T> {
    static THREADS_OF_STORES: OnceLock<io::Result<Runtime>> = OnceLock::new();
    let started = THREADS_OF_STORES.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("sembla-store")
            .enable_all()
            .build()
    });
    let runtime = started.as_ref().map_err(|error| {
        Error::Io(format!("threads for object stores can't be started: {error}"))
    })?;
    let (sender, receiver) = mpsc::sync_channel(1);
    runtime.spawn(async move {
        // Whoever waits has gone if this fails.
        let _ = sender.send(request.await);
    });
    receiver.recv().map_err(|_| Error::Io("a request to an object store was interrupted".into()))
}
