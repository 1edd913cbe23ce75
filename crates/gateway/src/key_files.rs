//! The files with keys of a gateway that runs, and the file with the token of its administration, which are read again.
//!
//! What a file holds counts once two looks in a row, a second apart, saw the same: a file that is written just now may be read without its end, and
//! sessions whose keys it lacks would end by that. What cannot be used, and a file that is gone, changes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tickwire_auth::jwt::{KeyRing, parse_key_file};
use tickwire_auth::{ApiKeys, Authenticator, Tokens as _};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::admin_token::{self, AdminToken};
use crate::outcome::Outcome;

/// The files are looked at this often.
const LOOK_EACH: Duration = Duration::from_secs(10);
/// The time for which a file has to stay the same before it counts, and to the second look at one that has changed.
const SECOND_LOOK: Duration = Duration::from_secs(1);
/// The largest file of keys, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A file, and what was read from it last.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    path: PathBuf,
    kind: Kind,
    /// The content that is in use.
    content: Content,
    /// The sight of the last look, where that was something else, and since when all looks saw it.
    seen: Option<(Instant, Result<Content, String>)>,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// A key of tokens, with its id.
    Key(Option<String>),
    ApiKeys,
    /// The token that is in force.
    AdminToken(AdminToken),
}

/// The content of a file. It may be a secret, so it is not shown.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Content(pub(crate) Vec<u8>);

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Content {
    fn text(&self) -> Result<&str, String> {
        std::str::from_utf8(&self.0).map_err(|_| "is no text".to_owned())
    }

    fn admin_token(&self) -> Result<AdminToken, String> {
        let token = self.text().ok().and_then(AdminToken::parse);
        token.ok_or_else(|| admin_token::FAULT.to_owned())
    }
}

impl Watched {
    pub(crate) fn new(path: PathBuf, kind: Kind, content: Content) -> Self {
        Self { path, kind, content, seen: None }
    }

    /// Returns whether sessions are let in by what is in it.
    pub(crate) fn is_of_sessions(&self) -> bool {
        !matches!(self.kind, Kind::AdminToken(_))
    }

    fn is_in_use(&self, content: &Content) -> bool {
        match &self.kind {
            // The token itself is what is compared.
            Kind::AdminToken(token) => content.admin_token().is_ok_and(|other| other == *token),
            _ => *content == self.content,
        }
    }

    /// Looks at the file. Returns what it holds where that is to be used now or cannot be read, and was seen twice; `None` where it
    /// has to be looked at again.
    fn look(&mut self) -> Option<Looked> {
        let now = read(&self.path);
        if now.as_ref().is_ok_and(|content| self.is_in_use(content)) {
            self.seen = None;
            return Some(Looked::Same);
        }
        let known = self.seen.take().filter(|(_, before)| *before == now);
        let since = known.map_or_else(Instant::now, |(since, _)| since);
        self.seen = Some((since, now.clone()));
        (since.elapsed() >= SECOND_LOOK).then_some(Looked::Other(now))
    }
}

enum Looked {
    Same,
    Other(Result<Content, String>),
}

/// The files with keys of a gateway that runs, its administration's among them.
#[derive(Debug)]
pub struct KeyFiles {
    files: Mutex<Vec<Watched>>,
    ring: Option<Arc<KeyRing>>,
    /// Whether keys come from a URL too.
    has_url: bool,
    authenticator: Arc<Authenticator>,
}

/// A thing that was looked at again.
#[derive(Debug)]
pub struct Reloaded {
    /// The path of the file, or another name.
    pub what: String,
    /// The outcome of the look at it.
    pub outcome: Outcome,
}

impl KeyFiles {
    pub(crate) fn new(
        files: Vec<Watched>,
        ring: Option<Arc<KeyRing>>,
        has_url: bool,
        authenticator: Arc<Authenticator>,
    ) -> Self {
        Self { files: Mutex::new(files), ring, has_url, authenticator }
    }

    /// Reads the files again because somebody says that they have changed, and takes what has, once a second look shortly after saw the
    /// same. What cannot be read changes nothing.
    ///
    /// # Cancel safety
    /// Some files were looked at, and others not.
    pub async fn reload(&self) -> Vec<Reloaded> {
        let mut looked = self.look().await;
        if looked.iter().any(|(_, outcome)| outcome.is_none()) {
            tokio::time::sleep(SECOND_LOOK).await;
            looked = self.look().await;
        }
        let unsettled = || Outcome::Kept("is being written; it is looked at again".to_owned());
        let told =
            |(what, outcome): (_, Option<_>)| Reloaded { what, outcome: outcome.unwrap_or_else(unsettled) };
        looked.into_iter().map(told).collect()
    }

    /// Looks at each file once. An outcome is missing where the file has to be looked at again.
    async fn look(&self) -> Vec<(String, Option<Outcome>)> {
        let mut files = self.files.lock().await;
        let look = |file: &mut Watched| {
            let outcome = file.look().map(|looked| match looked {
                Looked::Same => Outcome::Same,
                Looked::Other(content) => match content.and_then(|content| self.take(file, content)) {
                    Ok(()) => Outcome::Replaced,
                    Err(why) => Outcome::Kept(why),
                },
            });
            (file.path.display().to_string(), outcome)
        };
        files.iter_mut().map(look).collect()
    }

    /// Has the keys of the URL fetched again, where there is one and it was not asked within the last ten seconds. Returns whether
    /// there is one. What comes of it is told in the log by whoever fetches.
    ///
    /// # Cancel safety
    /// It is safe: whoever fetches goes on.
    pub async fn ask_url(&self) -> bool {
        if let Some(ring) = self.ring.as_ref().filter(|_| self.has_url) {
            ring.look_again().await;
        }
        self.has_url
    }

    /// Uses what a file holds now.
    fn take(&self, file: &mut Watched, content: Content) -> Result<(), String> {
        match &file.kind {
            Kind::Key(id) => {
                let found = parse_key_file(id.as_deref(), &content.0)?;
                if let Some(ring) = &self.ring {
                    ring.set(&file.path.display().to_string(), found);
                }
            }
            // A disk that is full leaves such files behind, and all sessions would end by one.
            Kind::ApiKeys if content.text()?.trim().is_empty() => {
                return Err("is empty; write `key = []` where no API key is to count any more".to_owned());
            }
            Kind::ApiKeys => self.authenticator.set_api_keys(api_keys(&content)?),
            Kind::AdminToken(token) => drop(token.replace(&content.admin_token()?)),
        }
        (file.content, file.seen) = (content, None);
        Ok(())
    }
}

/// Looks at the files now and then, and tells what has changed.
pub(crate) async fn watch(files: Arc<KeyFiles>) {
    let mut wait = LOOK_EACH;
    loop {
        tokio::time::sleep(wait).await;
        wait = LOOK_EACH;
        for (path, outcome) in files.look().await {
            match outcome {
                None => wait = SECOND_LOOK,
                Some(Outcome::Same) => {}
                Some(Outcome::Replaced) => tracing::info!(path, "a file of keys was read anew"),
                Some(Outcome::Kept(why)) => {
                    tracing::warn!(
                        path,
                        why,
                        "a file of keys cannot be read anew; what it held before stays"
                    );
                }
            }
        }
    }
}

pub(crate) fn read(path: &Path) -> Result<Content, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("has more than {FILE_BYTES_MAX} bytes"));
    }
    std::fs::read(path).map(Content).map_err(|error| error.to_string())
}

pub(crate) fn api_keys(content: &Content) -> Result<ApiKeys, String> {
    ApiKeys::parse(content.text()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tickwire_auth::jwt::Trusted;
    use tickwire_auth::{AuthSettings, hash_of, key_of};

    const SECRETS: [&str; 2] = ["a secret of thirty-two bytes or more", "another secret of thirty-two bytes"];

    /// A gateway's files in a folder.
    struct Rig {
        folder: tempfile::TempDir,
        files: KeyFiles,
        token: AdminToken,
    }

    fn entry(byte: u8) -> String {
        let hash = hash_of(&key_of([byte; 32])).unwrap();
        format!("[[key]]\nname = \"desk\"\nsha256 = \"{hash}\"\ngrants = [{{}}]\n")
    }

    impl Rig {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let token = AdminToken::parse("the-first-admin-token").unwrap();
            let (ring, authenticator) =
                (KeyRing::new(Trusted::default()), Authenticator::new(AuthSettings::default()));
            let ring = Arc::new(ring);
            let kinds = [
                ("api.toml", Kind::ApiKeys, entry(1) + &entry(2)),
                ("secret", Kind::Key(None), SECRETS[0].to_owned()),
                ("token", Kind::AdminToken(token.clone()), "the-first-admin-token".to_owned()),
            ];
            let files = kinds.map(|(name, kind, text)| {
                let (path, content) = (folder.path().join(name), Content(text.clone().into_bytes()));
                std::fs::write(&path, text).unwrap();
                Watched::new(path, kind, content)
            });
            authenticator.set_api_keys(api_keys(&files[0].content).unwrap());
            ring.set(
                &files[1].path.display().to_string(),
                parse_key_file(None, SECRETS[0].as_bytes()).unwrap(),
            );
            let files = KeyFiles::new(files.into(), Some(ring), false, Arc::new(authenticator));
            Self { folder, files, token }
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.folder.path().join(name), text).unwrap();
        }

        /// Looks once, after the time that has to pass. Returns how that file is now: the first letters of outcomes, or `?`.
        async fn look(&self) -> String {
            tokio::time::advance(SECOND_LOOK).await;
            let letter = |(_, outcome): &(String, Option<Outcome>)| match outcome {
                None => '?',
                Some(Outcome::Same) => 's',
                Some(Outcome::Replaced) => 'r',
                Some(Outcome::Kept(_)) => 'k',
            };
            self.files.look().await.iter().map(letter).collect()
        }

        /// Returns which API keys count.
        fn counting(&self) -> [bool; 3] {
            [1, 2, 3].map(|byte| self.files.authenticator.admit(&key_of([byte; 32]), 1).is_ok())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_half_written_takes_no_key_away() {
        let rig = Rig::new();
        assert_eq!((rig.look().await.as_str(), rig.counting()), ("sss", [true, true, false]));
        rig.write("api.toml", &entry(1));
        rig.write("secret", SECRETS[1]);
        rig.write("token", "the-first-admin-tok");
        assert_eq!((rig.look().await.as_str(), rig.counting()), ("???", [true, true, false]));
        // Its end comes: it is another content again.
        rig.write("api.toml", &(entry(1) + &entry(3)));
        rig.write("secret", &format!("{} bytes", SECRETS[1]));
        rig.write("token", "the-first-admin-token\n");
        assert_eq!((rig.look().await.as_str(), rig.counting()), ("??s", [true, true, false]));
        assert_eq!((rig.look().await.as_str(), rig.counting()), ("rrs", [true, false, true]));
        assert_eq!(rig.look().await, "sss");
        assert!(rig.token == AdminToken::parse("the-first-admin-token").unwrap());
        rig.write("token", "the-second-admin-token");
        assert_eq!([rig.look().await, rig.look().await, rig.look().await], ["ss?", "ssr", "sss"]);
        assert!(rig.token == AdminToken::parse("the-second-admin-token").unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_missing_or_cut_changes_nothing() {
        let rig = Rig::new();
        for text in [None, Some(""), Some(" \n"), Some("[[key]]\nname = \"de")] {
            for name in ["api.toml", "secret", "token"] {
                let path = rig.folder.path().join(name);
                text.map_or_else(|| std::fs::remove_file(&path), |text| std::fs::write(&path, text)).unwrap();
            }
            let looks = [rig.look().await, rig.look().await, rig.look().await];
            assert_eq!(
                (looks, rig.counting()),
                (["???", "kkk", "kkk"].map(str::to_owned), [true, true, false])
            );
            assert_eq!(rig.files.ring.as_ref().unwrap().count(), 1);
            assert!(rig.token == AdminToken::parse("the-first-admin-token").unwrap());
        }
        // Whoever means it says so.
        rig.write("api.toml", "key = []\n");
        rig.write("secret", SECRETS[0]);
        rig.write("token", "the-first-admin-token");
        assert_eq!([rig.look().await, rig.look().await], ["?ss", "rss"]);
        assert_eq!(rig.counting(), [false; 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_says_that_files_changed_has_them_looked_at_twice() {
        let rig = Rig::new();
        let outcomes =
            async || rig.files.reload().await.into_iter().map(|one| one.outcome).collect::<Vec<_>>();
        assert_eq!(outcomes().await, [Outcome::Same, Outcome::Same, Outcome::Same]);
        rig.write("api.toml", &entry(1));
        // The rest comes between the two looks.
        let writing = async {
            tokio::time::sleep(SECOND_LOOK / 2).await;
            rig.write("api.toml", &(entry(1) + &entry(2) + &entry(3)));
        };
        let (outcomes_then, ()) = tokio::join!(outcomes(), writing);
        assert!(matches!(&outcomes_then[0], Outcome::Kept(why) if why.contains("is being written")));
        assert_eq!(rig.counting(), [true, true, false]);
        // Who looks at once again has seen nothing new.
        assert_eq!((rig.files.look().await[0].1.is_none(), rig.counting()), (true, [true, true, false]));
        assert_eq!(outcomes().await[0], Outcome::Replaced);
        assert_eq!(rig.counting(), [true, true, true]);
    }
}
