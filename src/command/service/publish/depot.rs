//! Where the feed is published: a folder, or a bucket of an object store. A head that is replaced, pages that never are.
//!
//! The head goes from one version to the next and from nowhere else: by a conditional write where the store has one, under
//! a lock in a folder. So whoever was overtaken notices, and the sequence never goes back.

use std::fmt;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, BackoffConfig, ClientConfigKey, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
    PutPayload, RetryConfig, UpdateVersion,
};
use reqwest::Url;
use tokio::task::JoinSet;

use crate::http;

/// The name of the head.
const HEAD: &str = "feed";
/// The folder of the pages.
const PAGES: &str = "pages";
/// Pages that are written at a time.
const AT_ONCE: usize = 8;
/// How long one request to a store may take.
const REQUEST: &str = "20s";
/// How long a request is tried again.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where to publish.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    url: Url,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Azure,
    Folder,
    S3,
}

impl Destination {
    /// Reads `file:///folder`, `s3://bucket/prefix` or `az://container/prefix`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let expected = "expected file:///<folder>, s3://<bucket>/<prefix> or az://<container>/<prefix>";
        let url = Url::parse(text).map_err(|error| format!("{expected}: {error}"))?;
        let has_host = url.host_str().is_some_and(|host| !host.is_empty());
        let is_bare = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        let kind = match url.scheme() {
            "az" if has_host => Kind::Azure,
            "file" if !has_host && url.to_file_path().is_ok() => Kind::Folder,
            "s3" if has_host => Kind::S3,
            _ => return Err(expected.to_owned()),
        };
        if is_bare { Ok(Self { url, kind }) } else { Err(expected.to_owned()) }
    }

    /// The path before the objects' names, without slashes at its ends.
    fn prefix(&self) -> &str {
        match self.kind {
            Kind::Azure | Kind::S3 => self.url.path().trim_matches('/'),
            Kind::Folder => "",
        }
    }

    /// Where gates find the objects, if nothing stands between them and the store: the bucket is in the host's name, a
    /// container is in the path.
    pub(crate) fn public_path(&self) -> String {
        let container = match self.kind {
            Kind::Azure => self.url.host_str().unwrap_or_default(),
            Kind::Folder | Kind::S3 => "",
        };
        let parts = [container, self.prefix()];
        parts.iter().filter(|part| !part.is_empty()).map(|part| format!("/{part}")).collect()
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(formatter)
    }
}

/// A place to publish that was opened.
pub(crate) struct Depot {
    store: Arc<dyn ObjectStore>,
    root: Path,
    kind: Kind,
    /// In a folder, what keeps others out.
    lock: Option<File>,
}

/// The head as it is there.
pub(crate) struct Found {
    pub(crate) body: Bytes,
    pub(crate) version: UpdateVersion,
}

/// The version that the next head replaces; none for the first.
pub(crate) type Version = Option<UpdateVersion>;

/// Why nothing was published.
#[derive(Debug)]
pub(crate) enum DepotFault {
    /// A folder cannot be made or locked.
    File(PathBuf, std::io::Error),
    /// Another process publishes to this folder.
    Held,
    /// Another process has replaced the head.
    Overtaken,
    /// The store refuses or does not answer.
    Store(object_store::Error),
}

impl fmt::Display for DepotFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file, error) => write!(formatter, "{}: {error}", file.display()),
            Self::Held => formatter.write_str("another process publishes to this folder"),
            Self::Overtaken => formatter.write_str("another process has published meanwhile"),
            Self::Store(error) => error.fmt(formatter),
        }
    }
}

impl From<object_store::Error> for DepotFault {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. } => Self::Overtaken,
            other => Self::Store(other),
        }
    }
}

impl Depot {
    /// Opens it, with the credentials that the environment gives for its kind.
    pub(crate) fn open(destination: &Destination) -> Result<Self, DepotFault> {
        http::use_ring();
        let Destination { url, kind } = destination;
        let retry = RetryConfig { backoff: BackoffConfig::default(), max_retries: 5, retry_timeout: PATIENCE };
        let mut lock = None;
        let store: Arc<dyn ObjectStore> = match kind {
            Kind::Azure => {
                let timeout = AzureConfigKey::Client(ClientConfigKey::Timeout);
                let builder = MicrosoftAzureBuilder::from_env().with_url(url.as_str()).with_config(timeout, REQUEST);
                Arc::new(builder.with_retry(retry).build()?)
            }
            Kind::Folder => {
                let folder = url.to_file_path().unwrap_or_default();
                let fault = |error| DepotFault::File(folder.clone(), error);
                fs::create_dir_all(&folder).map_err(fault)?;
                lock = Some(File::create(folder.join(".lock")).map_err(fault)?);
                Arc::new(LocalFileSystem::new_with_prefix(&folder)?.with_fsync(true))
            }
            Kind::S3 => {
                let timeout = AmazonS3ConfigKey::Client(ClientConfigKey::Timeout);
                let builder = AmazonS3Builder::from_env().with_url(url.as_str()).with_config(timeout, REQUEST);
                Arc::new(builder.with_retry(retry).build()?)
            }
        };
        Ok(Self { store, root: Path::from(destination.prefix()), kind: *kind, lock })
    }

    /// In a folder, keeps others out until this process ends.
    pub(crate) fn hold(&self) -> Result<(), DepotFault> {
        match &self.lock {
            Some(lock) => lock.try_lock().map_err(|_| DepotFault::Held),
            None => Ok(()),
        }
    }

    /// The head.
    pub(crate) async fn head(&self) -> Result<Option<Found>, DepotFault> {
        match self.store.get(&self.at(HEAD)).await {
            Ok(found) => {
                let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
                Ok(Some(Found { body: found.bytes().await?, version }))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Replaces that version of the head; the version that this made.
    pub(crate) async fn replace(&self, before: Version, body: Bytes) -> Result<Version, DepotFault> {
        let mode = match (self.kind, before) {
            // Whoever holds the lock is alone.
            (Kind::Folder, _) => PutMode::Overwrite,
            (Kind::Azure | Kind::S3, None) => PutMode::Create,
            (Kind::Azure | Kind::S3, Some(version)) => PutMode::Update(version),
        };
        // A cache in between may ask again each second, for all gates at once.
        let attributes = self.attributes("application/revocations+jwt", "public, max-age=1");
        let options = PutOptions { mode, attributes, ..PutOptions::default() };
        let put = self.store.put_opts(&self.at(HEAD), PutPayload::from(body), options).await?;
        Ok(Some(put.into()))
    }

    /// Writes pages. Their names are their digests: what is there already under a name is the same.
    pub(crate) async fn put_pages(&self, pages: Vec<(String, Bytes)>) -> Result<(), DepotFault> {
        let mut writing = JoinSet::new();
        for (name, body) in pages {
            if writing.len() >= AT_ONCE
                && let Some(written) = writing.join_next().await
            {
                finished(written)?;
            }
            let (store, place) = (Arc::clone(&self.store), self.page(&name));
            let attributes = self.attributes("application/octet-stream", "public, max-age=31536000, immutable");
            writing.spawn(async move {
                let options = PutOptions { attributes, ..PutOptions::default() };
                store.put_opts(&place, PutPayload::from(body), options).await
            });
        }
        while let Some(written) = writing.join_next().await {
            finished(written)?;
        }
        Ok(())
    }

    /// Removes the pages that were written before this time (Unix seconds), but for those that are to be kept; how many.
    pub(crate) async fn clean(&self, before: u64, is_kept: impl Fn(&str) -> bool) -> Result<usize, DepotFault> {
        let mut gone = 0;
        for page in self.store.list_with_delimiter(Some(&self.at(PAGES))).await?.objects {
            let written = u64::try_from(page.last_modified.timestamp()).unwrap_or(0);
            if written < before && !page.location.filename().is_some_and(&is_kept) {
                self.store.delete(&page.location).await?;
                gone += 1;
            }
        }
        Ok(gone)
    }

    fn at(&self, name: &str) -> Path {
        self.root.clone().join(name)
    }

    fn page(&self, name: &str) -> Path {
        self.at(PAGES).join(name)
    }

    /// What the store says of an object when it is asked for. A folder's server has to say it itself.
    fn attributes(&self, media_type: &'static str, caching: &'static str) -> Attributes {
        match self.kind {
            Kind::Azure | Kind::S3 => {
                [(Attribute::ContentType, media_type), (Attribute::CacheControl, caching)].into_iter().collect()
            }
            Kind::Folder => Attributes::new(),
        }
    }
}

fn finished<T>(written: Result<Result<T, object_store::Error>, tokio::task::JoinError>) -> Result<(), DepotFault> {
    match written {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.into()),
        Err(stopped) => Err(DepotFault::Store(object_store::Error::JoinError { source: stopped })),
    }
}

/// The folder of the pages, from the path of which they are found.
pub(crate) fn page_path(public: &str, name: &str) -> String {
    format!("{public}/{PAGES}/{name}")
}

#[cfg(test)]
pub(super) mod tests {
    use object_store::memory::InMemory;

    use super::*;

    /// One that does what S3 and Azure do, in memory.
    pub(in crate::service::publish) fn in_memory(store: &Arc<InMemory>) -> Depot {
        let store: Arc<dyn ObjectStore> = Arc::clone(store) as Arc<dyn ObjectStore>;
        Depot { store, root: Path::from("prod"), kind: Kind::Azure, lock: None }
    }

    /// A page, as a gate gets it.
    pub(in crate::service::publish) async fn page(depot: &Depot, name: &str) -> Option<Bytes> {
        depot.store.get(&depot.page(name)).await.ok()?.bytes().await.ok()
    }

    #[test]
    fn a_destination_says_where_gates_find_it() {
        for (text, public) in [
            ("file:///srv/revocations", ""),
            ("s3://bucket", ""),
            ("s3://bucket/prod/", "/prod"),
            ("az://container/prod/eu", "/container/prod/eu"),
            ("az://container", "/container"),
        ] {
            assert_eq!(Destination::parse(text).unwrap().public_path(), public, "{text}");
        }
        for wrong in ["", "/srv", "file://host/srv", "s3:///x", "gs://bucket/x", "s3://b/x?y", "s3://u:p@b/x"] {
            let fault = Destination::parse(wrong).err().unwrap_or_else(|| panic!("{wrong}"));
            assert!(!fault.contains("u:p"), "{fault}");
        }
    }

    #[tokio::test]
    async fn a_head_follows_the_one_that_was_read_and_no_other() {
        let store = Arc::new(InMemory::new());
        let (one, other) = (in_memory(&store), in_memory(&store));
        let body = |text: &'static str| Bytes::from_static(text.as_bytes());
        assert!(one.head().await.unwrap().is_none());
        let first = one.replace(None, body("1")).await.unwrap();
        assert!(matches!(other.replace(None, body("2")).await, Err(DepotFault::Overtaken)));
        let found = other.head().await.unwrap().unwrap();
        assert_eq!(found.body, "1");
        let second = other.replace(Some(found.version), body("2")).await.unwrap();
        assert!(matches!(one.replace(first, body("x")).await, Err(DepotFault::Overtaken)));
        one.replace(second, body("3")).await.unwrap();
        assert_eq!(other.head().await.unwrap().unwrap().body, "3");
    }

    #[tokio::test]
    async fn a_folder_is_one_process_s_and_old_pages_go() {
        let place = tempfile::tempdir().unwrap();
        let destination = Destination::parse(&format!("file://{}/public", place.path().display())).unwrap();
        let (one, other) = (Depot::open(&destination).unwrap(), Depot::open(&destination).unwrap());
        one.hold().unwrap();
        one.hold().unwrap();
        assert!(matches!(other.hold(), Err(DepotFault::Held)));
        drop(one);
        other.hold().unwrap();
        let pages = ["a", "b", "c"].map(|name| (name.to_owned(), Bytes::from_static(b"page")));
        other.put_pages(pages.to_vec()).await.unwrap();
        other.put_pages(pages.to_vec()).await.unwrap();
        other.replace(None, Bytes::from_static(b"head")).await.unwrap();
        other.replace(None, Bytes::from_static(b"next")).await.unwrap();
        let now = crate::service::clock::seconds();
        assert_eq!(other.clean(now - 60, |_| false).await.unwrap(), 0);
        assert_eq!(other.clean(now + 60, |name| name == "b").await.unwrap(), 2);
        assert!(page(&other, "b").await.is_some() && page(&other, "a").await.is_none());
        assert_eq!(other.head().await.unwrap().unwrap().body, "next");
    }
}
