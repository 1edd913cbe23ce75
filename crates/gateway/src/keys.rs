//! The keys of a gateway, and the token of its administration, as the settings name them: checked whole at the start. `key_files` reads
//! them again while it runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tickwire_auth::jwt::{KeyFile, KeyRing, Trusted, parse_key_file};
use tickwire_auth::{ApiKeys, AuthSettings, Authenticator, KeysUrl};
use tickwire_config::Layers;
use tokio::task::JoinSet;

use crate::admin_token::AdminToken;
use crate::key_files::{Content, KeyFiles, Kind, Watched, api_keys, read, watch};
use crate::settings::AccessSettings;

/// All that tokens and API keys are verified with.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    ring: Option<Arc<KeyRing>>,
    url: Option<(KeysUrl, Duration)>,
    of_programs: ApiKeys,
    files: Vec<Watched>,
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
            Ok(content) => keys.files.push(Watched::new(path, Kind::Key(id), content)),
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
                keys.files.push(Watched::new(path, Kind::ApiKeys, content));
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
        self.ring.is_some() || self.files.iter().any(Watched::is_of_sessions)
    }

    /// Has the file of the administration's token read again, too. `token` is the one that is in force.
    pub fn watch_admin_token(&mut self, file: &str, token: &AdminToken) {
        let (path, kind) = (PathBuf::from(file), Kind::AdminToken(token.clone()));
        // The token itself is what is compared.
        self.files.push(Watched::new(path, kind, Content::default()));
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
        let files = Arc::new(KeyFiles::new(files, ring, has_url, Arc::clone(&authenticator)));
        if has_files {
            tasks.spawn(watch(Arc::clone(&files)));
        }
        (authenticator, files, tasks)
    }
}
