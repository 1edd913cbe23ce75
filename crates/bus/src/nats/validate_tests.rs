use super::*;
use crate::nats::config::TlsConfig;

fn fields(config: &NatsConfig) -> Vec<String> {
    config.validate().err().unwrap_or_default().into_iter().map(|error| error.field).collect()
}

#[track_caller]
fn check_address(address: &str, problem: Option<&str>) {
    let config = NatsConfig { servers: vec![address.to_owned()], ..NatsConfig::default() };
    let found = config.validate().err().map(|errors| errors[0].problem.clone());
    match (found, problem) {
        (None, None) => {}
        (Some(found), Some(problem)) => assert!(found.contains(problem), "{found}"),
        (found, _) => panic!("{address}: {found:?}"),
    }
}

#[test]
fn the_default_is_fine() {
    assert_eq!(NatsConfig::default().validate(), Ok(()));
}

#[test]
fn addresses() {
    check_address("nats://a:4222", None);
    check_address("tls://a", None);
    check_address("a:4222", None);
    check_address("nats://[::1]:4222", None);
    check_address("nats://u:p%40ss@a:4222", None);
    check_address("ws://a:80", Some("scheme ws"));
    check_address("http://a:80", Some("there is no address"));
    check_address("nats://a:99999", Some("there is no address"));
    check_address("nats://a:0", Some("port 0"));
    check_address("nats://u@a", Some("a user without password"));
    check_address("nats://:p@a", Some("a password without user"));
    check_address("nats://a/path", Some("behind the port"));
    check_address("nats://", Some("no host"));
    check_address("", Some("no host"));
}

#[test]
fn user_and_password_are_taken_out_of_addresses() {
    let config = NatsConfig { servers: vec!["nats://u:p%40s@a:1".into()], ..NatsConfig::default() };
    let checked = config.check().ok().unwrap();
    assert_eq!(checked.servers[0].as_url_str(), "nats://a:1");
    let SignIn::UserPassword(user, password) = checked.sign_in else { panic!("no user") };
    assert_eq!((user.as_str(), password.expose()), ("u", "p@s"));
}

#[test]
fn all_errors_come_at_once() {
    let config = NatsConfig {
        servers: vec!["nats://a".into(), "ftp://b".into()],
        credentials_file: Some("/nonexistent/creds".into()),
        nkey_seed_file: Some("/nonexistent/seed".into()),
        user: Some("u".into()),
        tls: TlsConfig {
            ca_file: Some("/nonexistent/ca".into()),
            cert_file: Some("/nonexistent/cert".into()),
            key_file: None,
            required: true,
        },
        publish_queue: 0,
        reconnect_min: Duration::from_secs(9),
        ..NatsConfig::default()
    };
    assert_eq!(
        fields(&config),
        [
            "servers[1]",
            "password",
            "nkey_seed_file",
            "credentials_file",
            "credentials_file",
            "tls.ca_file",
            "tls.cert_file",
            "tls.key_file",
            "publish_queue",
            "reconnect_max",
        ]
    );
}

#[test]
fn no_server_or_different_users_are_errors() {
    let none = NatsConfig { servers: vec![], ..NatsConfig::default() };
    assert_eq!(fields(&none), ["servers"]);
    let two = vec!["nats://u:p@a".to_owned(), "nats://v:p@b".to_owned()];
    let different = NatsConfig { servers: two, ..NatsConfig::default() };
    assert_eq!(fields(&different), ["servers"]);
}

#[test]
fn files_are_looked_into_and_their_content_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "hunter2").unwrap();
    let config = NatsConfig {
        nkey_seed_file: Some(file.clone()),
        tls: TlsConfig { ca_file: Some(file), ..TlsConfig::default() },
        ..NatsConfig::default()
    };
    assert_eq!(fields(&config), ["nkey_seed_file", "tls.ca_file"]);
    let text = format!("{:?}", config.validate());
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_bad_address_is_shown_without_its_password() {
    let config = NatsConfig { servers: vec!["http://u:hunter2@a".into()], ..NatsConfig::default() };
    let text = config.validate().unwrap_err()[0].to_string();
    assert!(!text.contains("hunter2") && text.contains("http://..@a"), "{text}");
}
