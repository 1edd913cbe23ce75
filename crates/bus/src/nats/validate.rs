//! Checks a configuration, tells all its errors at once, and turns it into what `connect` needs.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::ServerAddr;

use super::config::{NatsConfig, Secret};
use super::words::without_secrets;

/// One error in a configuration. It never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The field, as `tls.ca_file` or `servers[1]`.
    pub field: String,
    /// A text that says what is wrong.
    pub problem: String,
    /// A text that says what to do about it.
    pub remedy: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.field, self.problem, self.remedy)
    }
}

/// The content of a good configuration, with files read.
pub(super) struct Checked {
    /// The addresses without user and password.
    pub(super) servers: Vec<ServerAddr>,
    pub(super) sign_in: SignIn,
}

pub(super) enum SignIn {
    Nothing,
    Credentials(Secret),
    Nkey(Secret),
    UserPassword(String, Secret),
    Token(Secret),
}

impl NatsConfig {
    /// Checks everything that can be checked without a connection, files included.
    ///
    /// # Errors
    /// Returns all errors, not only the first.
    pub fn validate(&self) -> Result<(), Vec<ConfigError>> {
        self.check().map(drop)
    }

    pub(super) fn check(&self) -> Result<Checked, Vec<ConfigError>> {
        let mut errors = ConfigErrors(Vec::new());
        let (servers, from_addresses) = check_servers(&self.servers, &mut errors);
        let sign_in = check_sign_in(self, from_addresses, &mut errors);
        check_tls(self, &mut errors);
        check_limits(self, &mut errors);
        check_history(self, &mut errors);
        if errors.0.is_empty() { Ok(Checked { servers, sign_in }) } else { Err(errors.0) }
    }
}

struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    fn add(&mut self, field: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(ConfigError { field: field.into(), problem: problem.into(), remedy: remedy.into() });
    }
}

type UserPassword = (String, Secret);

fn check_servers(addresses: &[String], errors: &mut ConfigErrors) -> (Vec<ServerAddr>, Option<UserPassword>) {
    if addresses.is_empty() {
        errors.add("servers", "no server is given", "give at least one, such as nats://127.0.0.1:4222");
    }
    let mut servers = Vec::with_capacity(addresses.len());
    let mut users = Vec::new();
    for (index, address) in addresses.iter().enumerate() {
        match check_server(address) {
            Ok((server, user)) => {
                servers.push(server);
                users.push(user);
            }
            Err(problem) => errors.add(
                format!("servers[{index}]"),
                format!("{problem} in {}", without_secrets(address)),
                "write it as nats://host:port or tls://host:port",
            ),
        }
    }
    let first = users.iter().flatten().next().cloned();
    if users.iter().any(|user| *user != first) {
        errors.add(
            "servers",
            "the addresses hold different users or passwords",
            "use the same in all of them, or the fields user and password",
        );
    }
    (servers, first)
}

fn check_server(address: &str) -> Result<(ServerAddr, Option<UserPassword>), String> {
    let server: ServerAddr = address.trim().parse().map_err(|_| "there is no address".to_owned())?;
    if !matches!(server.scheme(), "nats" | "tls") {
        return Err(format!("the scheme {} is not supported", server.scheme()));
    }
    if server.host().is_empty() {
        return Err("no host".to_owned());
    }
    if server.port() == 0 {
        return Err("port 0".to_owned());
    }
    let user = match (server.username(), server.password()) {
        (None, None) => None,
        (Some(user), Some(password)) => Some((percent_decode(user)?, Secret::new(percent_decode(password)?))),
        (Some(_), None) => return Err("there is a user without password".to_owned()),
        (None, Some(_)) => return Err("there is a password without user".to_owned()),
    };
    let mut url = server.into_inner();
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err("there is something behind the port".to_owned());
    }
    let cleared = url.set_username("").and_then(|()| url.set_password(None));
    cleared.map_err(|()| "there is no address".to_owned())?;
    let server = ServerAddr::from_url(url).map_err(|_| "there is no address".to_owned())?;
    Ok((server, user))
}

fn percent_decode(text: &str) -> Result<String, String> {
    let broken = || "there is a broken escape in user or password".to_owned();
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
            let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            decoded.push(value.ok_or_else(broken)?);
            rest = &rest[2..];
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).map_err(|_| broken())
}

fn check_sign_in(config: &NatsConfig, in_address: Option<UserPassword>, errors: &mut ConfigErrors) -> SignIn {
    let mut ways = BTreeSet::new();
    let mut found = SignIn::Nothing;
    if let Some((user, password)) = in_address {
        ways.insert("user and password in servers");
        found = SignIn::UserPassword(user, password);
    }
    match (&config.user, &config.password) {
        (Some(user), Some(password)) => {
            ways.insert("user and password");
            found = SignIn::UserPassword(user.clone(), password.clone());
        }
        (Some(_), None) => errors.add("password", "user is given without it", "give both, or neither"),
        (None, Some(_)) => errors.add("user", "password is given without it", "give both, or neither"),
        (None, None) => {}
    }
    if let Some(token) = &config.token {
        ways.insert("token");
        found = SignIn::Token(token.clone());
        if token.expose().is_empty() {
            errors.add("token", "it is empty", "give the token, or leave the field out");
        }
    }
    if let Some(path) = &config.nkey_seed_file {
        ways.insert("nkey_seed_file");
        if let Some(text) = read_text("nkey_seed_file", path, errors) {
            let seed = text.lines().map(str::trim).find(|line| line.starts_with('S')).unwrap_or_default();
            let is_base32 = seed.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7'));
            if !(seed.starts_with("SU") && seed.len() == 58 && is_base32) {
                let problem = format!("{} holds no seed of a user", path.display());
                errors.add(
                    "nkey_seed_file",
                    problem,
                    "the seed is one line of 58 characters that begins with SU",
                );
            }
            found = SignIn::Nkey(Secret::new(seed));
        }
    }
    if let Some(path) = &config.credentials_file {
        ways.insert("credentials_file");
        if let Some(text) = read_text("credentials_file", path, errors) {
            if !(text.contains("BEGIN NATS USER JWT") && text.contains("BEGIN USER NKEY SEED")) {
                let problem = format!("{} is not a credentials file", path.display());
                errors.add("credentials_file", problem, "make one with: nsc generate creds");
            }
            found = SignIn::Credentials(Secret::new(text));
        }
    }
    if ways.len() > 1 {
        let ways: Vec<_> = ways.into_iter().collect();
        let problem = format!("several ways to sign in: {}", ways.join(", "));
        errors.add(ways[0], problem, "keep one of them");
    }
    found
}

fn check_tls(config: &NatsConfig, errors: &mut ConfigErrors) {
    let tls = &config.tls;
    let files: [(&str, &Option<PathBuf>, &str); 3] = [
        ("tls.ca_file", &tls.ca_file, "CERTIFICATE-----"),
        ("tls.cert_file", &tls.cert_file, "CERTIFICATE-----"),
        ("tls.key_file", &tls.key_file, "PRIVATE KEY-----"),
    ];
    for (field, path, label) in files {
        let Some(path) = path else { continue };
        if let Some(text) = read_text(field, path, errors)
            && !text.contains(label)
        {
            let problem =
                format!("{} holds no {}", path.display(), label.trim_end_matches('-').to_lowercase());
            errors.add(field, problem, "give a file in PEM format");
        }
    }
    match (&tls.cert_file, &tls.key_file) {
        (Some(_), None) => errors.add("tls.key_file", "tls.cert_file is given without it", "give both"),
        (None, Some(_)) => errors.add("tls.cert_file", "tls.key_file is given without it", "give both"),
        _ => {}
    }
}

fn check_limits(config: &NatsConfig, errors: &mut ConfigErrors) {
    let counts = [
        ("publish_queue", config.publish_queue),
        ("subscription_queue", config.subscription_queue),
        ("requests_max", config.requests_max),
        ("served_max", config.served_max),
    ];
    for (field, value) in counts {
        if !(1..=1 << 20).contains(&value) {
            errors.add(field, format!("{value} is out of range"), "take 1 to 1048576");
        }
    }
    let times = [
        ("reconnect_min", config.reconnect_min, Duration::from_millis(1)),
        ("reconnect_max", config.reconnect_max, Duration::from_millis(1)),
        ("connect_timeout", config.connect_timeout, Duration::from_millis(10)),
        ("ping_interval", config.ping_interval, Duration::from_millis(10)),
    ];
    for (field, value, least) in times {
        if value < least || value > Duration::from_hours(1) {
            errors.add(field, format!("{value:?} is out of range"), format!("take {least:?} to one hour"));
        }
    }
    if config.reconnect_min > config.reconnect_max {
        errors.add("reconnect_max", "it is less than reconnect_min", "raise it, or lower reconnect_min");
    }
    if config.name.len() > 128 || config.name.chars().any(char::is_control) {
        errors.add(
            "name",
            "it is too long, or has control characters",
            "take at most 128 bytes of plain text",
        );
    }
}

fn check_history(config: &NatsConfig, errors: &mut ConfigErrors) {
    let Some(history) = &config.history else { return };
    let name = &history.stream;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !(1..=32).contains(&name.len()) || !name.bytes().all(is_plain) {
        let problem = format!("`{name}` is no name of a stream");
        errors.add("history.stream", problem, "take 1 to 32 of A-Z a-z 0-9 - _");
    }
    if history.max_age < Duration::from_secs(1) || history.max_age > Duration::from_hours(24 * 366) {
        let problem = format!("{:?} is out of range", history.max_age);
        errors.add("history.max_age", problem, "take one second to one year");
    }
    if !(1 << 20..=1 << 50).contains(&history.max_bytes) {
        let problem = format!("{} is out of range", history.max_bytes);
        errors.add("history.max_bytes", problem, "take 1048576 (1 MiB) to 2^50");
    }
    if !(1..=5).contains(&history.replicas) {
        let problem = format!("{} is out of range", history.replicas);
        errors.add("history.replicas", problem, "take 1, or 3 or 5 in a cluster");
    }
    if history.channels.is_empty() {
        errors.add("history.channels", "no channel is given", "give at least one");
    }
}

fn read_text(field: &str, path: &Path, errors: &mut ConfigErrors) -> Option<String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) => {
            let problem = format!("cannot read {}: {error}", path.display());
            errors.add(field, problem, "check the path and who may read it");
            None
        }
    }
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
