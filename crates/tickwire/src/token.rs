//! `tickwire token` and `tickwire revoke`: tokens for development, keys, and revocations.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use bytes::Bytes;
use clap::{ArgGroup, Args, Subcommand};
use tickwire_auth::jwt::{MintClaims, Minter, new_ed25519, new_secret, random_bytes};
use tickwire_auth::{Grant, Revocation, RevocationMessage, Rights, hash_of, key_of, parse_grant};
use tickwire_bus::{Backplane as _, NatsBus};
use tickwire_wire::{Secret, Subject};

use crate::bus_flags::BusFlags;
use crate::cli::{Settings, Usage};
use crate::printing::say;

/// The time that the bus has to take a revocation.
const FLUSH: Duration = Duration::from_secs(5);
/// The time that the bus has to connect.
const CONNECT: Duration = Duration::from_secs(10);

/// The options of `tickwire token`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct TokenCommand {
    #[command(subcommand)]
    command: Option<TokenSub>,
    #[command(flatten)]
    mint: MintFlags,
}

#[derive(Debug, Subcommand)]
enum TokenSub {
    /// Makes a key for tokens, or an API key
    #[command(after_help = "Examples:\n  tickwire token key --secret dev.secret\n  \
        tickwire token key --ed25519 dev.pem            (writes dev.pem and dev.pem.pub)\n  \
        tickwire token key --api desk-7 --grant 'binance:*' >> api-keys.toml\n  \
        tickwire token key --hash < key.txt             (the hash of an API key)")]
    Key(KeyFlags),
}

#[derive(Debug, Args)]
struct MintFlags {
    /// Secret (HS256) or private key in PEM (EdDSA, ES256, RS256) to sign with
    #[arg(long, value_name = "FILE", required = true)]
    key: Option<PathBuf>,
    /// Id of that key (`kid`)
    #[arg(long, value_name = "KID")]
    kid: Option<String>,
    /// Owner of the token
    #[arg(long, value_name = "SUBJECT", required = true)]
    sub: Option<String>,
    /// A grant: `VENUE:SYMBOL`, `VENUE:BTC*`, `VENUE:*` or `*`, then channels, delay=15m, depth=10; several times
    #[arg(long, value_name = "GRANT", value_parser = parse_grant)]
    grant: Vec<Grant>,
    /// Life of the token
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
    ttl: Duration,
    /// Issuer (`iss`)
    #[arg(long)]
    iss: Option<String>,
    /// Audience (`aud`)
    #[arg(long)]
    aud: Option<String>,
    /// Id of the token (`jti`); random unless given
    #[arg(long)]
    jti: Option<String>,
    /// Encodings that sessions may have; all unless given
    #[arg(long, value_name = "ENCODING", value_delimiter = ',')]
    encoding: Vec<String>,
    /// Fastest rate of each subscription, in updates per second
    #[arg(long, value_name = "UPDATES")]
    max_rate: Option<f64>,
    /// Most subscriptions of a session
    #[arg(long)]
    subscriptions: Option<u32>,
    /// Most sessions at the same time
    #[arg(long)]
    sessions: Option<u32>,
    /// Print the claims and no token
    #[arg(long)]
    print_claims: bool,
    /// Print the token and its claims as JSON
    #[arg(long, conflicts_with = "print_claims")]
    json: bool,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["secret", "ed25519", "api", "hash"])))]
struct KeyFlags {
    /// Write a secret for HS256 into this new file
    #[arg(long, value_name = "FILE")]
    secret: Option<PathBuf>,
    /// Write a private key for EdDSA into this new file, and the public one into FILE.pub
    #[arg(long, value_name = "FILE")]
    ed25519: Option<PathBuf>,
    /// Make an API key of this name: the key goes to standard error, once, and its entry of gateway.auth.api_keys_file to
    /// standard output
    #[arg(long, value_name = "NAME")]
    api: Option<String>,
    /// Read an API key from standard input and print its hash
    #[arg(long)]
    hash: bool,
    /// A grant of the API key, as for `tickwire token`
    #[arg(long, value_name = "GRANT", value_parser = parse_grant, requires = "api")]
    grant: Vec<Grant>,
    /// Print as JSON, the API key too
    #[arg(long)]
    json: bool,
}

/// The options of `tickwire revoke`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("whom").required(true).args(["jti", "sub"])))]
pub(crate) struct RevokeCommand {
    #[command(flatten)]
    bus: BusFlags,
    /// Revoke the token with this id
    #[arg(long)]
    jti: Option<String>,
    /// Revoke the tokens of this subject that were issued before now
    #[arg(long, value_name = "SUBJECT")]
    sub: Option<String>,
    /// Revoke those of --sub that were issued before this time, in seconds since 1970
    #[arg(long, value_name = "SECONDS", requires = "sub")]
    not_before: Option<u64>,
    /// Print what was revoked as JSON
    #[arg(long)]
    json: bool,
}

/// Makes a token or a key.
pub(crate) fn run(command: TokenCommand) -> anyhow::Result<()> {
    match command.command {
        Some(TokenSub::Key(flags)) => key(flags),
        None => mint(command.mint),
    }
}

fn mint(flags: MintFlags) -> anyhow::Result<()> {
    let (Some(path), Some(sub)) = (flags.key, flags.sub) else {
        return Err(Usage("--key and --sub are needed; see `tickwire token --help`".to_owned()).into());
    };
    let rights = Rights {
        grants: flags.grant,
        encodings: (!flags.encoding.is_empty()).then_some(flags.encoding),
        max_rate: flags.max_rate,
        subscriptions: flags.subscriptions,
        sessions: flags.sessions,
    };
    if rights.grants.is_empty() {
        return Err(Usage(
            "a token without --grant grants nothing; --grant '*' grants everything".to_owned(),
        )
        .into());
    }
    rights.check().map_err(Usage)?;
    let now = now_s();
    let claims = MintClaims {
        sub,
        iss: flags.iss,
        aud: flags.aud,
        jti: Some(flags.jti.unwrap_or_else(|| hex(&random_bytes()[..12]))),
        iat: now,
        nbf: None,
        exp: Some(now + flags.ttl.as_secs()),
        tickwire: Some(rights),
    };
    if flags.print_claims {
        say(serde_json::to_string_pretty(&claims)?);
        return Ok(());
    }
    let content = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let minter = Minter::parse(flags.kid.as_deref(), &content).with_context(|| path.display().to_string())?;
    let token = minter.mint(&claims)?;
    if flags.json {
        say(serde_json::json!({ "token": token.expose(), "claims": claims }));
    } else {
        say(token.expose());
    }
    Ok(())
}

fn key(flags: KeyFlags) -> anyhow::Result<()> {
    if let Some(path) = flags.secret {
        write_new(&path, &new_secret())?;
        return told(flags.json, &[("secret", &path)]);
    }
    if let Some(path) = flags.ed25519 {
        let (private, public) = new_ed25519();
        let mut public_path = path.clone().into_os_string();
        public_path.push(".pub");
        let public_path = PathBuf::from(public_path);
        write_new(&path, &private)?;
        write_new(&public_path, &Secret::new(public))?;
        return told(flags.json, &[("private", &path), ("public", &public_path)]);
    }
    if let Some(name) = flags.api {
        return api_key(&name, &flags.grant, flags.json);
    }
    let mut text = String::new();
    std::io::stdin().take(1 << 10).read_to_string(&mut text)?;
    let key = Secret::new(text.trim());
    let hash =
        hash_of(&key).context("standard input is no API key; `tickwire token key --api NAME` makes one")?;
    say(if flags.json { serde_json::json!({ "sha256": hash }).to_string() } else { hash });
    Ok(())
}

fn api_key(name: &str, grants: &[Grant], as_json: bool) -> anyhow::Result<()> {
    if grants.is_empty() {
        return Err(Usage(
            "an API key without --grant grants nothing; --grant '*' grants everything".to_owned(),
        )
        .into());
    }
    let key = key_of(random_bytes());
    let sha256 = hash_of(&key).context("a key that was just made has a hash")?;
    let entry = serde_json::json!({ "name": name, "sha256": sha256, "issued": now_s(), "grants": grants });
    if as_json {
        say(serde_json::json!({ "key": key.expose(), "entry": entry }));
        return Ok(());
    }
    crate::printing::complain(format_args!(
        "the API key of {name}; it is shown once, and the file has its hash only:\n{}",
        key.expose()
    ));
    // The entry within a file, so that the tables in it are named as parts of it.
    say(toml::to_string(&serde_json::json!({ "key": [entry] }))?.trim_end());
    Ok(())
}

fn told(as_json: bool, files: &[(&str, &Path)]) -> anyhow::Result<()> {
    if as_json {
        let files: serde_json::Map<_, _> = files
            .iter()
            .map(|(what, path)| ((*what).to_owned(), path.display().to_string().into()))
            .collect();
        say(serde_json::to_string(&files)?);
    } else {
        for (what, path) in files {
            say(format_args!("{what}: {}", path.display()));
        }
    }
    Ok(())
}

/// Writes a file that only its owner may read, and that must not be there yet.
fn write_new(path: &Path, content: &Secret) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(path).with_context(|| format!("cannot make {}", path.display()))?;
    writeln!(file, "{}", content.expose().trim_end())
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Revokes over the bus.
pub(crate) async fn revoke(settings: &Settings, command: RevokeCommand) -> anyhow::Result<()> {
    let mut config = settings.load(&[command.bus.setting()])?;
    // It is a user of the bus like gateways, and has no business with what is kept.
    "_INBOX.gateway".clone_into(&mut config.nats.inbox_prefix);
    config.nats.history = None;
    let now = now_s();
    let revocation = match (command.jti, command.sub) {
        (Some(jti), _) => Revocation::Token { jti, at: now },
        // Tokens have whole seconds, so one that was issued within this second counts as older.
        (None, Some(sub)) => Revocation::Subject { sub, not_before: command.not_before.unwrap_or(now + 1) },
        (None, None) => return Err(Usage("--jti or --sub is needed".to_owned()).into()),
    };
    let message = RevocationMessage { revocations: vec![revocation.clone()], ..RevocationMessage::default() };
    RevocationMessage::parse(&message.encode()).map_err(Usage)?;
    let bus = NatsBus::connect(&config.nats)?;
    let mut state = bus.state();
    let up = async {
        while !state.borrow_and_update().is_up() {
            if state.changed().await.is_err() {
                return;
            }
        }
    };
    if tokio::time::timeout(CONNECT, up).await.is_err() {
        anyhow::bail!("the bus cannot be reached, so nothing was revoked; is --bus right?");
    }
    bus.publish(&Subject::revocations(), Bytes::from(message.encode()))?;
    bus.flush(FLUSH).await.context("the bus may not have taken it; revoke again")?;
    bus.close().await;
    if command.json {
        say(serde_json::to_string(&revocation)?);
    } else {
        match revocation {
            Revocation::Token { jti, .. } => say(format_args!("revoked: the token {jti}")),
            Revocation::Subject { sub, not_before } => {
                say(format_args!("revoked: tokens of {sub} that were issued before {not_before}"));
            }
        }
    }
    Ok(())
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
