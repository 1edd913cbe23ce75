//! The leak test: secrets are planted in everything that may hold one, and are looked for in all that the real programs say.

use std::fmt::Write as _;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use tickwire_client::Client;
use tickwire_client::wire::Secret;
use tickwire_testkit::{Authority, NatsServer, NatsServerConfig, Program};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::auth::{Keys, end};
use crate::world::{TICKWIRE, until};

/// A part of a secret that is this long is too much.
const PART: usize = 16;

/// Secrets with what they are, and texts with where they were read.
#[derive(Default)]
struct Search {
    planted: Vec<(String, String)>,
    told: Vec<(String, String)>,
}

impl Search {
    fn plant(&mut self, what: &str, secret: impl Into<String>) {
        let secret = secret.into();
        assert!(secret.len() >= PART, "{what} is too short to be looked for");
        self.planted.push((what.to_owned(), secret));
    }

    fn heard(&mut self, place: &str, text: impl Into<String>) {
        self.told.push((place.to_owned(), text.into()));
    }

    /// Runs a command, and keeps what it says. Returns it.
    fn run(&mut self, place: &str, arguments: &[&str]) -> String {
        self.run_with(place, arguments, &[])
    }

    fn run_with(&mut self, place: &str, arguments: &[&str], variables: &[(&str, &str)]) -> String {
        let output = Command::new(TICKWIRE).args(arguments).envs(variables.iter().copied()).output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let said = format!("{:?}\n{}\n{}", output.status.code(), said[0], said[1]);
        self.heard(place, said.clone());
        said
    }

    /// Returns which secret is where, as it is or in a form that anybody turns back.
    fn found(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (what, secret) in &self.planted {
            for form in forms(secret) {
                for (place, text) in &self.told {
                    if text.contains(&form) {
                        found.push(format!("{what} is in: {place}"));
                    }
                }
            }
        }
        found.dedup();
        found
    }
}

/// Returns the bytes of a text in hexadecimal digits, each behind a mark.
fn in_hex(text: &str, mark: &str) -> String {
    text.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{mark}{byte:02x}");
        hex
    })
}

/// Returns the beginning and the end of a secret, and of what is made of it by the usual encodings.
fn forms(secret: &str) -> Vec<String> {
    let hex = in_hex(secret, "");
    let escaped = in_hex(secret, "%").to_uppercase();
    let debug = format!("{:?}", secret.as_bytes());
    let all = [
        secret.to_owned(),
        STANDARD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
        hex,
        escaped,
        debug.trim_matches(['[', ']']).to_owned(),
    ];
    let ends = |form: String| {
        let characters: Vec<char> = form.chars().collect();
        let part = PART.min(characters.len());
        [
            characters[..part].iter().collect::<String>(),
            characters[characters.len() - part..].iter().collect(),
        ]
    };
    // A token begins as all do, so of one with dots only the end is its own.
    let is_token = secret.split('.').count() == 3;
    all.into_iter().flat_map(|form| ends(form).into_iter().skip(usize::from(is_token))).collect()
}

#[test]
fn the_search_finds_every_form() {
    let secret = "s3cret-that-must-not-be-shown.9f";
    for form in [
        format!("password={secret}"),
        format!("a part: {}...", &secret[..PART]),
        format!("a part: ...{}", &secret[secret.len() - PART..]),
        STANDARD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
        format!("{:x?}", secret.as_bytes()).replace([',', ' '], ""),
        format!("{:?}", secret.as_bytes()),
        in_hex(secret, "%").to_uppercase(),
    ] {
        let mut search = Search::default();
        search.plant("it", secret);
        search.heard("here", form.clone());
        search.heard("elsewhere", "nothing");
        assert_eq!(search.found(), ["it is in: here"], "{form}");
    }
}

/// Returns the lines in the middle of a file in PEM: the key itself.
fn inside(pem: &str) -> String {
    pem.lines().find(|line| !line.starts_with("-----")).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_shown_nowhere() {
    let (keys, mut search) = (Keys::new(), Search::default());
    let bus_password = "bus-password-4b1f0c6e92d7";
    let text = format!("authorization {{ user: gateway, password: \"{bus_password}\" }}");
    let nats = NatsServer::start(NatsServerConfig { text, ..NatsServerConfig::default() });
    let made: serde_json::Value =
        serde_json::from_str(&keys.tickwire(&["token", "key", "--api", "bot", "--grant", "*", "--json"]))
            .unwrap();
    let api = keys.path("api.toml");
    let hash = made["entry"]["sha256"].as_str().unwrap();
    std::fs::write(&api, format!("[[key]]\nname = \"bot\"\nsha256 = \"{hash}\"\ngrants = [{{}}]\n")).unwrap();
    let api = format!("gateway.auth.api_keys_file={api}");
    // Nobody answers there, so it is told that no keys come.
    let url_secret = "query-secret-77d01a2c45";
    let jwks = format!("gateway.auth.jwks_url=http://127.0.0.1:1/jwks.json?key={url_secret}");
    let password = format!("bus.password={bus_password}");
    let more = ["--set", "bus.user=gateway", "--set", &password, "--set", &api, "--set", &jwks];
    let more = [&more[..], &["--set", "gateway.auth.token_in_url=true", "--log-level", "trace"]].concat();
    let gateway = keys.gateway(&nats.url(), &more).await;
    let good: Vec<_> = (0..8).map(|at| keys.token(&format!("desk-{at}"), "*").expose().to_owned()).collect();
    let key = made["key"].as_str().unwrap().to_owned();
    let wrong = format!("{}x", good[0]);
    let unknown_key = format!("twk_{}", "Z9y".repeat(15).split_at(43).0);
    let encoded = URL_SAFE_NO_PAD.encode(&good[2]);
    let secret = std::fs::read_to_string(keys.path("dev.secret")).unwrap();
    search.plant("the secret that tokens are signed with", secret.trim());
    search.plant("the password of the bus", bus_password);
    search.plant("the query of the URL of keys", url_secret);
    search.plant("an API key", &key);
    search.plant("an API key of nobody", &unknown_key);
    search.plant("a token in a subprotocol", &encoded);
    search.plant("a wrong token", &wrong);
    good.iter().enumerate().for_each(|(at, token)| search.plant(&format!("token {at}"), token));

    let listen = gateway.listen.as_str();
    let header = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let command = |token: &str| serde_json::json!({"op": "token", "id": 1, "token": token}).to_string();
    let mut came = String::new();
    for token in [&good[1], &key, &wrong, &unknown_key] {
        came += &by_hand(listen, "/v1/stream", &header(token), &[]).await;
    }
    let protocol = format!("Sec-WebSocket-Protocol: tickwire.v1.json, tickwire.token.{encoded}\r\n");
    came += &by_hand(listen, "/v1/stream", &protocol, &[]).await;
    came += &by_hand(listen, &format!("/v1/stream?token={}", good[3]), "", &[]).await;
    came += &by_hand(listen, "/v1/stream?auth=message", "", &[command(&good[4])]).await;
    came += &by_hand(listen, "/v1/stream?auth=message", "", &[command(&wrong)]).await;
    came += &by_hand(listen, "/v1/stream", &header(&good[5]), &[command(&good[5]), command(&good[6])]).await;
    // Tokens where none belong.
    came += &by_hand(listen, &format!("/{}", good[7]), &header(&good[7]), &[]).await;
    let client = Client::builder(gateway.url()).token(Secret::new(good[1].as_str())).connect().await.unwrap();
    let user = ["--set", "bus.user=gateway", "--set", &password];
    let revoke = ["revoke", "--bus", &nats.url(), "--jti", "id-of-desk-1"];
    assert!(search.run("revoke", &[&revoke[..], &user].concat()).contains("revoked: the token id-of-desk-1"));
    let ended = end(client).await;
    search.heard("the error of a client", format!("{ended} {ended:?}"));
    assert_eq!(came.matches("HTTP/1.1 101").count(), 7, "{came}");
    assert!(came.contains("\"type\":\"hello\"") && came.contains("token_refused"), "{came}");
    search.heard("what clients are told", came);

    // Programs that show tokens, good ones and wrong ones.
    let file = |name: &str, text: &str| {
        std::fs::write(keys.path(name), text).unwrap();
        keys.path(name)
    };
    let (good_file, wrong_file) = (file("good.token", &good[2]), file("wrong.token", &wrong));
    let url = gateway.url();
    let doctor = ["doctor", &url, "--for", "1s"];
    for (at, more) in [
        ["--token", &good[2]],
        ["--token", &wrong],
        ["--token-file", &good_file],
        ["--token-file", &wrong_file],
    ]
    .into_iter()
    .enumerate()
    {
        let said = search.run("doctor", &[&doctor[..], &more].concat());
        assert!(said.contains(if at % 2 == 0 { "ok   hello" } else { "HTTP 401" }), "{said}");
        let json = search.run("doctor --json", &[&doctor[..], &more, &["--json"]].concat());
        assert!(json.contains("\"checks\""), "{json}");
    }
    search.run_with("doctor with a variable", &doctor, &[("TICKWIRE_TOKEN", &good[2])]);
    search.run_with("the help of doctor", &["doctor", "--help"], &[("TICKWIRE_TOKEN", &good[2])]);
    let tap = ["tap", "--url", &url, "--for", "1s", "--json", "--log-level", "trace", "sim:*"];
    search.run("tap", &[&tap[..], &["--token-file", &good_file]].concat());
    let said = search.run("tap with a wrong token", &[&tap[..], &["--token-file", &wrong_file]].concat());
    assert!(said.contains("401"), "{said}");
    search.run_with("tap with a variable", &tap, &[("TICKWIRE_TOKEN", &wrong)]);
    search.run("a URL with a password", &["tap", "--url", &format!("ws://me:{key}@{listen}/"), "sim:*"]);
    search.run(
        "claims",
        &["token", "--key", &keys.path("dev.secret"), "--sub", "x", "--grant", "*", "--print-claims"],
    );

    let admin = format!("http://{}", gateway.admin);
    search.run("top", &["top", &admin, "--once", "--every", "100ms"]);
    search.run("top --json", &["top", &admin, "--json", "--every", "100ms"]);
    let kept = Client::builder(gateway.url()).token(Secret::new(good[2].as_str())).connect().await.unwrap();
    for path in ["/metrics", "/readyz", "/v1/sessions", "/v1/hops", "/v1/sessions/none"] {
        search.heard(path, gateway.get(path).await.unwrap().1);
    }
    drop(kept);
    let log = gateway.program.output();
    assert!(log.contains("id-of-desk-1") && log.contains("session opened"), "the audit has ids:\n{log}");
    assert!(log.contains("TRACE") && log.contains("no keys came from the URL"), "{log}");
    search.heard("the log of the gateway", log);
    assert_eq!(search.found(), Vec::<String>::new());

    // The search sees what there is: a name that may be shown is found where it is shown.
    search.planted.clear();
    search.planted.push(("a name".to_owned(), "desk-2".to_owned()));
    let found = search.found();
    for place in ["the log of the gateway", "/v1/sessions"] {
        assert!(found.contains(&format!("a name is in: {place}")), "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_are_shown_nowhere() {
    let (keys, mut search) = (Keys::new(), Search::default());
    let nats = NatsServer::start(NatsServerConfig {
        text: "authorization { user: gateway, password: \"right-password-aa17c0\" }".to_owned(),
        ..NatsServerConfig::default()
    });
    let authority = Authority::new("the authority");
    let (own, client) = (authority.sign("gateway"), authority.sign("client"));
    let file = |name: &str, text: &str| {
        std::fs::write(keys.path(name), text).unwrap();
        keys.path(name)
    };
    let admin_token = "admin-token-0d7be1f9a3c24658";
    let admin_file = file("admin.token", admin_token);
    let wrong_admin = "wrong-admin-token-55e0b7d1";
    let wrong_admin_file = file("wrong.token", wrong_admin);
    let pem = |path: &std::path::Path| inside(&std::fs::read_to_string(path).unwrap());
    search.plant("the key of the gateway", pem(&own.key));
    search.plant("the key of a client", pem(&client.key));
    search.plant("the token of administration", admin_token);
    search.plant("a wrong token of administration", wrong_admin);
    search.plant("the password of the bus", "right-password-aa17c0");
    for (what, secret) in [
        ("a wrong password of the bus", "wrong-password-bb28d1"),
        ("a token of the bus", "bus-token-cc39e2f0a1b2"),
        ("a user in a URL of keys", "url-user-dd4af3e1c2b7"),
        ("a password in a URL of keys", "url-password-ee5b04d2"),
        ("a query of a URL of keys", "url-query-ff6c15e3a9d8"),
        ("a short secret", "short-secret-017d26f4"),
        ("an admin token that is none", "no-token 9a8b7c6d5e4f3"),
        ("an API key in place of its hash", "twk_not-a-hash-but-the-key-itself-0123456789"),
    ] {
        search.plant(what, secret);
    }
    let text = |path: &std::path::Path| path.display().to_string();
    let set = |name: &str, value: &str| vec!["--set".to_owned(), format!("{name}={value}")];
    let tls = [
        set("gateway.tls.cert_file", &text(&own.cert)),
        set("gateway.tls.key_file", &text(&own.key)),
        set("gateway.tls.admin", "true"),
        set("gateway.tls.client_auth", "optional"),
        set("gateway.tls.client_ca_file", &text(&authority.ca_file())),
        set("gateway.admin_token_file", &admin_file),
        set("gateway.auth.keys", &keys.path("dev.secret")),
    ]
    .concat();
    let start = |server: &str, more: &[String]| {
        let listen =
            ["gateway", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-level", "trace"];
        let arguments: Vec<_> =
            listen.iter().copied().chain(["--bus", server]).chain(more.iter().map(String::as_str)).collect();
        Program::start(TICKWIRE, &arguments)
    };
    let address = |line: String| line.split("//").nth(1).unwrap().split('/').next().unwrap().to_owned();

    // A gateway that works, with everything over TLS, and one that the bus does not let in.
    let server = nats.url().replace("nats://", "nats://gateway:right-password-aa17c0@");
    let gateway = start(&server, &tls);
    let admin = format!("https://{}", address(gateway.line_with("admin: https://")));
    let url = format!("wss://{}/v1/stream", address(gateway.line_with("stream: wss://")));
    let server = nats.url().replace("nats://", "nats://gateway:wrong-password-bb28d1@");
    let locked_out = start(&server, &tls);
    let by_token = start(&nats.url(), &[&tls[..], &set("bus.token", "bus-token-cc39e2f0a1b2")].concat());
    let ca = text(&authority.ca_file());
    let trust = ["--ca-file", &ca];
    let is_up = || async {
        let asked = Command::new(TICKWIRE)
            .args(["top", &admin, "--json", "--every", "100ms", "--token-file", &admin_file])
            .args(trust)
            .output()
            .unwrap();
        String::from_utf8_lossy(&asked.stdout).contains("\"ready\": true")
    };
    assert!(until(is_up).await, "{}", gateway.output());
    let token_file = file("good.token", keys.token("desk", "*").expose());
    for (admin_file, is_good) in [(&admin_file, true), (&wrong_admin_file, false)] {
        let top = ["top", &admin, "--once", "--every", "100ms", "--token-file", admin_file];
        let said = search.run("top over TLS", &[&top[..], &trust].concat());
        assert_eq!(said.contains("delivered/s"), is_good, "{said}");
        let doctor = [
            "doctor",
            &url,
            "--for",
            "1s",
            "--token-file",
            &token_file,
            "--admin",
            &admin,
            "--admin-token-file",
            admin_file,
        ];
        let said = search.run("doctor over TLS", &[&doctor[..], &trust].concat());
        assert_eq!(said.contains("ok   metrics"), is_good, "{said}");
    }
    let (cert, key, other_key) = (text(&client.cert), text(&client.key), text(&own.key));
    for key in [&key, &other_key, &admin_file] {
        let tap = [
            "tap",
            "--url",
            &url,
            "--for",
            "1s",
            "--token-file",
            &token_file,
            "--client-cert",
            &cert,
            "--client-key",
            key,
            "sim:*",
        ];
        search.run("tap with a certificate", &[&tap[..], &trust].concat());
    }
    locked_out.line_with("uthorization");
    by_token.line_with("uthorization");
    for (name, program) in [("gateway", &gateway), ("locked out", &locked_out), ("by token", &by_token)] {
        assert!(program.output().contains("TRACE"), "{}", program.output());
        search.heard(&format!("the log: {name}"), program.output());
    }

    // Settings that are wrong, each beside a secret or in one.
    let broken =
        file("broken.toml", "[bus]\npassword = \"wrong-password-bb28d1\ntoken = bus-token-cc39e2f0a1b2\n");
    let short = file("short", "short-secret-017d26f4");
    let none = file("none", "no-token 9a8b7c6d5e4f3");
    let api = file(
        "api.toml",
        "[[key]]\nname = \"a\"\nsha256 = \"twk_not-a-hash-but-the-key-itself-0123456789\"\ngrants = [{}]\n",
    );
    for setting in [
        set(
            "gateway.auth.jwks_url",
            "https://url-user-dd4af3e1c2b7:url-password-ee5b04d2@id.example/?x=url-query-ff6c15e3a9d8",
        ),
        set("gateway.auth.keys", &short),
        set("gateway.admin_token_file", &none),
        set("gateway.auth.api_keys_file", &api),
        set("bus.servers", "nats://gateway:wrong-password-bb28d1@:x,http://a:wrong-password-bb28d1@b"),
        set("bus.pasword", "wrong-password-bb28d1"),
        vec!["--config".to_owned(), broken],
    ] {
        let arguments: Vec<_> = ["gateway", "--log-level", "trace"]
            .into_iter()
            .chain(setting.iter().map(String::as_str))
            .collect();
        let said = search.run("a wrong setting", &arguments);
        assert!(said.starts_with("Some(2)"), "{setting:?}: {said}");
    }

    // All of the settings, as they are in force.
    let variables = [
        ("TICKWIRE_BUS__SERVERS", "nats://gateway:wrong-password-bb28d1@host:4222"),
        ("TICKWIRE_BUS__PASSWORD", "right-password-aa17c0"),
        (
            "TICKWIRE_GATEWAY__AUTH__JWKS_URL",
            "https://url-user-dd4af3e1c2b7:url-password-ee5b04d2@id.example/k?x=url-query-ff6c15e3a9d8",
        ),
        ("TICKWIRE_GATEWAY__ADMIN_TOKEN_FILE", &admin_file),
    ];
    for more in [&[][..], &["--json"]] {
        search.run_with("the settings in force", &[&["config"], more].concat(), &variables);
    }
    let variables = [("TICKWIRE_BUS__TOKEN", "bus-token-cc39e2f0a1b2")];
    let said = search.run_with("the token of the bus", &["config"], &variables);
    assert!(said.contains("token = \"(set)\""), "{said}");
    assert_eq!(search.found(), Vec::<String>::new());
}

/// Speaks the JSON encoding by hand: it shows a token where it is told, and then sends lines. Returns all that came back.
async fn by_hand(address: &str, path: &str, headers: &str, lines: &[String]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut came = String::new();
    let is_refused = |came: &str| {
        let body = came.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        !came.starts_with("HTTP/1.1 101") && body.ends_with('\n')
    };
    read_until(&mut stream, &mut came, |came| came.contains("\"type\":\"hello\"") || is_refused(came)).await;
    if !came.contains("HTTP/1.1 101") {
        return came;
    }
    for (at, line) in lines.iter().enumerate() {
        // A masked text frame whose mask is 0.
        let length = u16::try_from(line.len()).unwrap();
        let mut frame = vec![0x81, 0xfe];
        frame.extend(length.to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(line.as_bytes());
        stream.write_all(&frame).await.unwrap();
        let responses = |came: &str| {
            came.matches("\"type\":\"identity\"").count() + came.matches("\"type\":\"error\"").count()
        };
        read_until(&mut stream, &mut came, |came| responses(came) > at).await;
    }
    // A close frame, so that the connection ends; it may have ended already.
    let _ = stream.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await;
    read_until(&mut stream, &mut came, |_| false).await;
    came
}

/// Reads until something came, or the connection ends.
async fn read_until(stream: &mut TcpStream, came: &mut String, is_there: impl Fn(&str) -> bool) {
    let mut bytes = [0; 4096];
    while !is_there(came) {
        let read = tokio::time::timeout(std::time::Duration::from_secs(30), stream.read(&mut bytes)).await;
        match read.expect("the gateway goes on or ends the connection") {
            Ok(0) | Err(_) => return,
            Ok(count) => came.push_str(&String::from_utf8_lossy(&bytes[..count])),
        }
    }
}
