//! Signed tokens, many of them: each is distinct and its signature right, or each is forged.
//!
//! They are kept in files, a token a line, because signing takes longer than sending. They look like Entra's v2 user
//! tokens; only their lifetime is not Entra's, so that they may be kept.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use envoy_tests::token::{decode, encode, parts};
use mock_entra::{Directory, TokenRequest};
use serde_json::{Value, json};

use crate::setup::{Setup, Stream, TOKEN_BYTES};

/// Seconds that a token is valid.
const LIFETIME: i64 = 5 * 365 * 86_400;
/// Seconds that a kept token must still be valid.
const LEFT: i64 = 30 * 86_400;
/// New tokens of another length than the usual: three times as many as can be remembered.
const OTHERS: usize = 30_000;
/// Tokens that a thread signs before it hands them in.
const BATCH: usize = 256;

/// Tokens of one length.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Those with right signatures.
    pub valid: PathBuf,
    /// As many with wrong ones, where they were asked for.
    pub forged: PathBuf,
    /// How many there are.
    pub count: usize,
    /// The first of those that are right.
    pub first: String,
    /// The last of those that are right.
    pub last: String,
}

/// All pools of a run.
#[derive(Debug)]
pub struct Pools {
    place: PathBuf,
    usual: usize,
    held: BTreeMap<usize, Pool>,
}

impl Pools {
    /// Kept at `place`; so many of them of the usual length.
    pub fn at(place: PathBuf, usual: usize) -> Self {
        Self { place, usual, held: BTreeMap::new() }
    }

    /// Tokens for a set-up.
    pub fn of(&mut self, setup: &Setup) -> Result<Pool> {
        let bytes = setup.token_bytes;
        let count = match (bytes == TOKEN_BYTES, setup.every()) {
            (true, _) => self.usual,
            (false, 0) => setup.repeated(),
            (false, _) => OTHERS,
        };
        let pool = match self.held.get(&bytes).filter(|pool| pool.count >= count) {
            Some(pool) => pool.clone(),
            None => Pool::provide(&self.place, bytes, count)?,
        };
        if setup.stream == Stream::Forged {
            pool.forge()?;
        }
        self.held.insert(bytes, pool.clone());
        Ok(pool)
    }
}

impl Pool {
    /// At least `count` tokens of about `bytes` bytes; those that are missing in `place` are signed now.
    fn provide(place: &Path, bytes: usize, count: usize) -> Result<Self> {
        fs::create_dir_all(place)?;
        let valid = place.join(format!("tokens-{bytes}"));
        let forged = place.join(format!("tokens-{bytes}-forged"));
        let request = request(bytes)?;
        let mut kept = kept(&valid, &request)?;
        if kept == 0 {
            // What is there, if anything, is too old or signed by another key.
            for file in [&valid, &forged] {
                File::create(file)?;
            }
        }
        if kept < count {
            eprintln!("signing {} tokens of {bytes} bytes", count - kept);
            sign(&request, count - kept, &valid)?;
            kept = count;
        }
        let mut tokens = BufReader::new(File::open(&valid)?).lines();
        let first = tokens.next().context("no token")??;
        let last = tokens.last().context("one token")??;
        Ok(Self { valid, forged, count: kept, first, last })
    }

    /// Forges as many as there are.
    fn forge(&self) -> Result<()> {
        if lines(&self.forged)? < self.count { forge_all(&self.valid, &self.forged) } else { Ok(()) }
    }
}

/// What to mint for a token of about that length: the usual claims, padded by groups, as Entra's grow.
fn request(bytes: usize) -> Result<TokenRequest> {
    let mut groups: Vec<String> = Vec::new();
    loop {
        let request: TokenRequest = serde_json::from_value(json!({
            "expires_in": LIFETIME,
            "claims": {"groups": groups},
        }))?;
        let length = Directory::new().mint(&request, now())?.access_token.len();
        if length >= bytes {
            return Ok(request);
        }
        // A GUID with quotes and comma, in base64.
        let lacking = (bytes - length).div_ceil(52);
        let first = groups.len();
        groups.extend((first..first + lacking).map(|at| format!("6f1c8f6e-7b1d-4c54-9d0e-{at:012x}")));
    }
}

/// Unix seconds, as the mock takes them.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(since).unwrap_or(i64::MAX)
}

/// How many of the kept tokens can be used: all or none.
fn kept(file: &Path, request: &TokenRequest) -> Result<usize> {
    let Some(first) = first_line(file)? else { return Ok(0) };
    let [header, payload, _] = parts(&first);
    let claims: Value = serde_json::from_slice(&decode(payload))?;
    let fresh = Directory::new().mint(request, now())?;
    let same_key = serde_json::from_slice::<Value>(&decode(header))? == fresh.header;
    let young = claims["exp"].as_i64().is_some_and(|exp| exp > now() + LEFT);
    let same_names = claims.as_object().map(|claims| claims.keys().collect::<Vec<_>>())
        == fresh.claims.as_object().map(|claims| claims.keys().collect::<Vec<_>>());
    if same_key && young && same_names { lines(file) } else { Ok(0) }
}

fn sign(request: &TokenRequest, count: usize, file: &Path) -> Result<()> {
    let out = Mutex::new((BufWriter::new(File::options().append(true).open(file)?), count));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || -> Result<()> {
        let directory = Directory::new();
        loop {
            let batch: Vec<String> =
                (0..BATCH).map(|_| Ok(directory.mint(request, now())?.access_token)).collect::<Result<_>>()?;
            let Ok(mut held) = out.lock() else { return Ok(()) };
            let (writer, lacking) = &mut *held;
            for token in batch.iter().take(*lacking) {
                writeln!(writer, "{token}")?;
            }
            *lacking = lacking.saturating_sub(BATCH);
            if *lacking == 0 {
                return Ok(());
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a thread that signs does not panic"))
    })?;
    out.into_inner().expect("no thread panicked").0.flush()?;
    Ok(())
}

fn forge_all(valid: &Path, forged: &Path) -> Result<()> {
    let mut out = BufWriter::new(File::create(forged)?);
    for token in BufReader::new(File::open(valid)?).lines() {
        writeln!(out, "{}", forge(&token?)?)?;
    }
    out.flush()?;
    Ok(())
}

/// The token with a bit in the middle of its signature flipped: a number that is still below the modulus, so that
/// nobody can refuse it before the RSA operation.
fn forge(token: &str) -> Result<String> {
    let [header, payload, signature] = parts(token);
    let mut signature = decode(signature);
    ensure!(!signature.is_empty(), "a token without signature");
    let middle = signature.len() / 2;
    signature[middle] ^= 1;
    Ok(format!("{header}.{payload}.{}", encode(signature)))
}

fn first_line(file: &Path) -> Result<Option<String>> {
    let Ok(file) = File::open(file) else { return Ok(None) };
    BufReader::new(file).lines().next().transpose().map_err(Into::into)
}

fn lines(file: &Path) -> Result<usize> {
    let Ok(file) = File::open(file) else { return Ok(0) };
    Ok(BufReader::new(file).lines().count())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn read(file: &Path) -> Vec<String> {
        fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn tokens_are_distinct_of_the_length_asked_for_and_kept() {
        let place = tempfile::tempdir().unwrap();
        let few = Pool::provide(place.path(), 2_000, 3).unwrap();
        assert!((2_000..2_060).contains(&few.first.len()), "{}", few.first.len());
        let before = read(&few.valid);
        let more = Pool::provide(place.path(), 2_000, 300).unwrap();
        let after = read(&more.valid);
        assert_eq!(after[..3], before[..]);
        assert_eq!(after.iter().collect::<HashSet<_>>().len(), 300);
        assert_eq!(more.count, 300);
        assert_eq!(Pool::provide(place.path(), 2_000, 2).unwrap().count, 300);
    }

    #[test]
    fn forged_tokens_differ_from_the_valid_in_their_signature_alone() {
        let place = tempfile::tempdir().unwrap();
        let pool = Pool::provide(place.path(), 1_500, 2).unwrap();
        pool.forge().unwrap();
        assert_eq!(read(&pool.forged).len(), 2);
        for (valid, forged) in read(&pool.valid).iter().zip(read(&pool.forged)) {
            let ([header, payload, right], [forged_header, forged_payload, wrong]) = (parts(valid), parts(&forged));
            assert_eq!((header, payload), (forged_header, forged_payload));
            assert_ne!(right, wrong);
            assert_eq!(decode(right).len(), decode(wrong).len());
        }
    }
}
