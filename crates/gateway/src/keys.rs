//! The keys of a gateway, and the token of its administration, as the settings name them: checked whole at the start, and read again
//! while it runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tickwire_auth::jwt::{KeyFile, KeyRing, Trusted, parse_key_file};
use tickwire_auth::{ApiKeys, AuthSettings, Authenticator, KeysUrl, Tokens as _};
use tickwire_config::Layers;
use tokio::task::JoinSet;

use crate::admin_token::{self, AdminToken};
use crate::outcome::Outcome;
use crate::settings::AccessSettings;

/// The files are looked at this often. What has changed counts from then on.
const LOOK_EACH: Duration = Duration::from_secs(10);
/// The largest file of keys, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// All that tokens and API keys are verified with.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    ring: Option<Arc<KeyRing>>,
    url: Option<(KeysUrl, Duration)>,
    of_programs: ApiKeys,
    files: Vec<Watched>,
}

/// A file, and what was read from it last.
#[derive(Clone, Debug)]
struct Watched {
    path: PathBuf,
    kind: Kind,
    content: Content,
}

#[derive(Clone, Debug)]
enum Kind {
    /// A key of tokens, with its id.
    Key(Option<String>),
    ApiKeys,
    /// The token that is in force.
    AdminToken(AdminToken),
}

/// The content of a file. It may be a secret, so it is not shown.
#[derive(Clone)]
struct Content(Vec<u8>);

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// Reads all that the settings name. All errors are told at once, with their places.
pub fn read_keys(raw: &AccessSettings, layers: &mut Layers) -> Keys {
    let mut keys = Keys::default();
    let ring = KeyRing::new(Trusted { issuers: raw.issuers.clone(), audiences: raw.audiences.clone() });
    for (at, text) in raw.keys.iter().enumerate() {
        let KeyFile { id, path } = KeyFile::parse(text);
        let path = PathBuf::from(path);
        let read = read(&path).and_then(|content| {
            let found = parse_key_file(id.as_deref(), &content.0)?;
            ring.set(&path.display().to_string(), found);
            Ok(content)
        });
        match read {
            Ok(content) => keys.files.push(Watched { path, kind: Kind::Key(id), content }),
            Err(why) => {
                layers.wrong(&format!("gateway.auth.keys[{at}]"), format_args!("{}: {why}", path.display()));
            }
        }
    }
    if !raw.jwks_url.is_empty() {
        match KeysUrl::parse(&raw.jwks_url) {
            Ok(url) => keys.url = Some((url, Duration::from_secs(raw.jwks_refresh_s))),
            Err(fault) => layers.wrong("gateway.auth.jwks_url", fault),
        }
    }
    if !raw.api_keys_file.is_empty() {
        let path = PathBuf::from(&raw.api_keys_file);
        let read = read(&path).and_then(|content| Ok((api_keys(&content)?, content)));
        match read {
            Ok((found, content)) => {
                keys.of_programs = found;
                keys.files.push(Watched { path, kind: Kind::ApiKeys, content });
            }
            Err(why) => {
                for why in why.lines() {
                    layers.wrong("gateway.auth.api_keys_file", format_args!("{}: {why}", path.display()));
                }
            }
        }
    }
    if !raw.keys.is_empty() || !raw.jwks_url.is_empty() {
        keys.ring = Some(Arc::new(ring));
    }
    keys
}

impl Keys {
    /// Returns whether the settings name any.
    pub fn are_named(&self) -> bool {
        let is_of_sessions = |file: &Watched| !matches!(file.kind, Kind::AdminToken(_));
        self.ring.is_some() || self.files.iter().any(is_of_sessions)
    }

    /// Has the file of the administration's token read again, too. `token` is the one that is in force.
    pub fn watch_admin_token(&mut self, file: &str, token: &AdminToken) {
        let (path, kind) = (PathBuf::from(file), Kind::AdminToken(token.clone()));
        // The token itself is what is compared.
        self.files.push(Watched { path, kind, content: Content(Vec::new()) });
    }

    /// Makes the authenticator, the files behind it, and the tasks that keep its keys fresh, which end when they are dropped.
    pub fn start(self, settings: AuthSettings) -> (Arc<Authenticator>, Arc<KeyFiles>, JoinSet<()>) {
        let Self { ring, url, of_programs, files } = self;
        let mut authenticator = Authenticator::new(settings).with_api_keys(of_programs);
        if let Some(ring) = &ring {
            authenticator = authenticator.with_tokens(Arc::clone(ring) as Arc<dyn tickwire_auth::Tokens>);
        }
        let authenticator = Arc::new(authenticator);
        let mut tasks = JoinSet::new();
        let has_url = url.is_some();
        if let (Some(ring), Some((url, interval))) = (&ring, url) {
            let kept = url.keep(ring, interval);
            tasks.spawn(async move { drop(kept.await) });
        }
        let has_files = !files.is_empty();
        let files = Arc::new(KeyFiles {
            files: tokio::sync::Mutex::new(files),
            has_url,
            ring,
            authenticator: Arc::clone(&authenticator),
        });
        if has_files {
            tasks.spawn(watch(Arc::clone(&files)));
        }
        (authenticator, files, tasks)
    }
}

/// The files with keys of a gateway that runs, its administration's among them.
#[derive(Debug)]
pub struct KeyFiles {
    files: tokio::sync::Mutex<Vec<Watched>>,
    /// Whether keys come from a URL too.
    has_url: bool,
    ring: Option<Arc<KeyRing>>,
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
    /// Reads the files again, and takes what has changed. What cannot be read changes nothing.
    ///
    /// # Cancel safety
    /// Some files were looked at, and others not.
    pub async fn look(&self) -> Vec<Reloaded> {
        let mut files = self.files.lock().await;
        let look = |file: &mut Watched| {
            let outcome = match self.take(file) {
                Ok(false) => Outcome::Same,
                Ok(true) => Outcome::Replaced,
                Err(why) => Outcome::Kept(why),
            };
            Reloaded { what: file.path.display().to_string(), outcome }
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

    /// Returns whether a file has changed; then its keys are in use.
    fn take(&self, file: &mut Watched) -> Result<bool, String> {
        let content = read(&file.path)?;
        if let Kind::AdminToken(token) = &file.kind {
            let text = std::str::from_utf8(&content.0).unwrap_or_default();
            return AdminToken::parse(text)
                .map(|new| token.replace(&new))
                .ok_or_else(|| admin_token::FAULT.to_owned());
        }
        if content.0 == file.content.0 {
            return Ok(false);
        }
        match &file.kind {
            Kind::Key(id) => {
                let found = parse_key_file(id.as_deref(), &content.0)?;
                if let Some(ring) = &self.ring {
                    ring.set(&file.path.display().to_string(), found);
                }
            }
            Kind::ApiKeys => self.authenticator.set_api_keys(api_keys(&content)?),
            Kind::AdminToken(_) => {}
        }
        file.content = content;
        Ok(true)
    }
}

/// Looks at the files now and then, and tells what has changed.
async fn watch(files: Arc<KeyFiles>) {
    let mut ticks = tokio::time::interval(LOOK_EACH);
    loop {
        ticks.tick().await;
        for Reloaded { what: path, outcome } in files.look().await {
            match outcome {
                Outcome::Same => {}
                Outcome::Replaced => tracing::info!(path, "a file of keys was read anew"),
                Outcome::Kept(why) => {
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

fn read(path: &Path) -> Result<Content, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("has more than {FILE_BYTES_MAX} bytes"));
    }
    std::fs::read(path).map(Content).map_err(|error| error.to_string())
}

fn api_keys(content: &Content) -> Result<ApiKeys, String> {
    let text = std::str::from_utf8(&content.0).map_err(|_| "is no text".to_owned())?;
    ApiKeys::parse(text)
}
