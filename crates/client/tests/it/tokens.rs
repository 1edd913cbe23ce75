//! Tokens of the SDK: the refreshes, and the races that others have.

use std::time::Duration;

use tickwire_client::wire::{Channel, Command, Error, Identity, Message, Notice, Secret};
use tickwire_client::{Builder, Client, CommandError, ConnectError, Disconnect, Event, TokenError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};

use crate::fake_gateway::{FakeGateway, Said, Session};

const REFUSAL: &str = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 23\r\n\r\nthe token ended 5 s ago";

/// A provider whose tokens come when the test says so.
struct Provider {
    calls: mpsc::Receiver<oneshot::Sender<Result<Secret, TokenError>>>,
}

impl Provider {
    fn new(builder: Builder) -> (Self, Builder) {
        let (sender, calls) = mpsc::channel(16);
        let builder = builder.token_provider(move || {
            let (call, answered) = oneshot::channel();
            assert!(sender.try_send(call).is_ok());
            async move { answered.await.unwrap_or_else(|_| Err("the provider is gone".into())) }
        });
        (Self { calls }, builder)
    }

    async fn call(&mut self) -> oneshot::Sender<Result<Secret, TokenError>> {
        self.calls.recv().await.unwrap()
    }

    async fn gives(&mut self, token: &str) {
        answer(self.call().await, Ok(Secret::new(token)));
    }

    fn is_idle(&mut self) -> bool {
        self.calls.try_recv().is_err()
    }
}

fn answer(call: oneshot::Sender<Result<Secret, TokenError>>, token: Result<Secret, TokenError>) {
    assert!(call.send(token).is_ok(), "nobody waits for the token");
}

fn expiring() -> Message {
    Message::Notice(Notice { code: "token_expiring".to_owned(), ..Notice::default() })
}

/// Reads a client in a task, until it ends.
fn drive(mut client: Client) -> tokio::task::JoinHandle<Client> {
    tokio::spawn(async move {
        while client.next().await.is_some() {}
        client
    })
}

async fn token_of(session: &mut Session) -> (u64, String) {
    match session.command().await {
        Command::Token(token) => (token.id, token.token),
        other => panic!("{other:?}"),
    }
}

async fn identity(session: &mut Session, id: u64) {
    session.send(&[Message::Identity(Identity { id, name: "desk".to_owned(), ..Identity::default() })]).await;
}

/// Opens the next session of a started client.
async fn open(gateway: &mut FakeGateway) -> (String, Session) {
    let session = gateway.accept().await;
    (session.shown.clone(), session)
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_without_reconnecting() {
    let mut gateway = FakeGateway::new();
    let (mut provider, builder) = Provider::new(gateway.client());
    let driving = drive(builder.start().unwrap());
    provider.gives("t1").await;
    let (shown, mut session) = open(&mut gateway).await;
    assert_eq!(shown, "Bearer t1");
    for next in ["t2", "t3"] {
        session.send(&[expiring()]).await;
        provider.gives(next).await;
        let (id, token) = token_of(&mut session).await;
        assert_eq!(token, next);
        identity(&mut session, id).await;
    }
    assert!(provider.is_idle());
    // The newest one is shown at the next connection, and the provider is not asked for it.
    session.close(4001, "").await;
    let (shown, _session) = open(&mut gateway).await;
    assert_eq!(shown, "Bearer t3");
    assert!(provider.is_idle());
    driving.abort();
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_resolves_after_a_reconnect_runs_on_in_no_session() {
    let mut gateway = FakeGateway::new();
    let (mut provider, builder) = Provider::new(gateway.client().token(Secret::new("t1")));
    let driving = drive(builder.start().unwrap());
    let (_, mut session) = open(&mut gateway).await;
    session.send(&[expiring()]).await;
    let call = provider.call().await;
    session.close(4001, "").await;
    // The same call is what the next connection waits for: there is no second one.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(provider.is_idle());
    answer(call, Ok(Secret::new("t2")));
    let (shown, mut session) = open(&mut gateway).await;
    assert_eq!(shown, "Bearer t2");
    assert_eq!(session.commands_within(Duration::from_secs(60)).await, [], "it is not handed in once more");
    assert!(provider.is_idle());
    driving.abort();
}

#[tokio::test(start_paused = true)]
async fn a_token_without_a_provider_that_ended_is_tried_once_and_is_final() {
    let mut gateway = FakeGateway::new();
    let driving = drive(gateway.client().token(Secret::new("planted")).start().unwrap());
    let (_, mut session) = open(&mut gateway).await;
    session.close(4401, "token expired").await;
    gateway.refuse(REFUSAL).await;
    let client = driving.await.unwrap();
    let Some(Disconnect::Connect(ConnectError::Status { status: 401, body, .. })) = client.end() else {
        panic!("{:?}", client.end());
    };
    assert_eq!(body, "the token ended 5 s ago");
    assert!(!format!("{:?}", client.end()).contains("planted"));
}

#[tokio::test(start_paused = true)]
async fn there_is_one_chain_of_refreshes() {
    let mut gateway = FakeGateway::new();
    let (mut provider, builder) = Provider::new(gateway.client().token(Secret::new("t1")));
    let driving = drive(builder.start().unwrap());
    let (_, mut session) = open(&mut gateway).await;
    session.send(&[expiring()]).await;
    let first = provider.call().await;
    // The gateway says it again, and the session is replaced, while the provider thinks.
    session.send(&[expiring()]).await;
    session.close(4000, "").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    answer(first, Ok(Secret::new("t2")));
    let (shown, mut session) = open(&mut gateway).await;
    assert_eq!(shown, "Bearer t2");
    for round in ["t3", "t4"] {
        session.send(&[expiring()]).await;
        provider.gives(round).await;
        let (id, token) = token_of(&mut session).await;
        assert_eq!(token, round);
        identity(&mut session, id).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(provider.is_idle(), "one call for each notice");
    }
    driving.abort();
}

#[tokio::test(start_paused = true)]
async fn a_token_set_by_hand_is_not_overwritten() {
    let mut gateway = FakeGateway::new();
    let (mut provider, builder) = Provider::new(gateway.client().token(Secret::new("t1")));
    let client = builder.start().unwrap();
    let handle = client.handle();
    let driving = drive(client);
    let (_, mut session) = open(&mut gateway).await;
    session.send(&[expiring()]).await;
    let call = provider.call().await;
    let set = tokio::spawn(async move { handle.token(Secret::new("by hand")).await });
    let (id, token) = token_of(&mut session).await;
    assert_eq!(token, "by hand");
    identity(&mut session, id).await;
    set.await.unwrap().unwrap();
    answer(call, Ok(Secret::new("too late")));
    assert_eq!(session.commands_within(Duration::from_secs(60)).await, []);
    session.close(4001, "").await;
    let (shown, _session) = open(&mut gateway).await;
    assert_eq!(shown, "Bearer by hand");
    driving.abort();
}

#[tokio::test(start_paused = true)]
async fn expired_as_the_response_to_a_refresh_leads_to_a_reconnect() {
    let mut gateway = FakeGateway::new();
    let (mut provider, builder) = Provider::new(gateway.client().token(Secret::new("t1")));
    let driving = drive(builder.start().unwrap());
    let (_, mut session) = open(&mut gateway).await;
    session.send(&[expiring()]).await;
    provider.gives("t2").await;
    let (id, _) = token_of(&mut session).await;
    let (code, message) = ("token_expired".to_owned(), "the token ended 1 s ago".to_owned());
    session.send(&[Message::Error(Error { id, code, message })]).await;
    provider.gives("t3").await;
    let (shown, _session) = open(&mut gateway).await;
    assert_eq!(shown, "Bearer t3");
    driving.abort();
}

#[tokio::test(start_paused = true)]
async fn refused_tokens_are_replaced_and_not_for_ever() {
    let mut gateway = FakeGateway::new();
    let (mut provider, builder) = Provider::new(gateway.client());
    let driving = drive(builder.start().unwrap());
    for token in ["a", "b", "c", "d", "e"] {
        provider.gives(token).await;
        assert_eq!(gateway.refuse(REFUSAL).await, format!("Bearer {token}"));
    }
    provider.gives("f").await;
    gateway.refuse(REFUSAL).await;
    let client = driving.await.unwrap();
    assert!(matches!(client.end(), Some(Disconnect::Connect(ConnectError::Status { status: 401, .. }))));

    // A provider that has nothing new is not asked for ever either.
    let mut gateway = FakeGateway::new();
    let (mut provider, builder) = Provider::new(gateway.client());
    let driving = drive(builder.start().unwrap());
    for _ in 0..2 {
        provider.gives("same").await;
        gateway.refuse(REFUSAL).await;
    }
    driving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_fails_is_asked_again() {
    let mut gateway = FakeGateway::new();
    let (mut provider, builder) = Provider::new(gateway.client());
    let driving = drive(builder.start().unwrap());
    answer(provider.call().await, Err("down".into()));
    provider.gives("t1").await;
    let (shown, mut session) = open(&mut gateway).await;
    assert_eq!(shown, "Bearer t1");
    session.send(&[expiring()]).await;
    answer(provider.call().await, Err("down".into()));
    provider.gives("t2").await;
    assert_eq!(token_of(&mut session).await.1, "t2");
    driving.abort();
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_by_hand_is_told_and_the_session_goes_on() {
    let mut gateway = FakeGateway::new();
    // The session is open: before, the token would only be kept for it.
    let builder = gateway.client().token(Secret::new("t1"));
    let (client, mut session) = gateway.session(builder).await;
    let handle = client.handle();
    let driving = drive(client);
    let set = tokio::spawn(async move { handle.token(Secret::new("t2")).await });
    let (id, _) = token_of(&mut session).await;
    let (code, message) = ("token_refused".to_owned(), "another subject".to_owned());
    session.send(&[Message::Error(Error { id, code: code.clone(), message: message.clone() })]).await;
    assert_eq!(set.await.unwrap(), Err(CommandError::Rejected { code, message }));
    assert!(matches!(session.said_within(Duration::from_secs(5)).await, None | Some(Said::Command(_))));
    assert!(!driving.is_finished());
    driving.abort();
}

/// Makes a gateway that waits for tokens in first messages.
fn waiting() -> FakeGateway {
    let mut gateway = FakeGateway::new();
    gateway.hello.token_within_ms = 5_000;
    gateway
}

#[tokio::test(start_paused = true)]
async fn a_token_by_message_comes_first_and_its_owner_is_told() {
    let mut gateway = waiting();
    let builder = gateway.client().token(Secret::new("t1")).token_by_message();
    let builder = builder.subscribe(Channel::Quote, ["sim:A"]);
    let connecting = tokio::spawn(builder.connect());
    let mut session = gateway.accept().await;
    assert_eq!((session.shown.as_str(), session.path.as_str()), ("", "/v1/stream?auth=message"));
    assert_eq!(token_of(&mut session).await, (0, "t1".to_owned()));
    assert_eq!(session.commands_within(Duration::from_secs(3)).await, [], "nothing is asked for before");
    assert!(!connecting.is_finished());
    // What comes before the response is not lost.
    session.send(&[Message::Notice(Notice { code: "before".to_owned(), ..Notice::default() })]).await;
    let identity = Identity { name: "desk".to_owned(), token_expires: 7, ..Identity::default() };
    session.send(&[Message::Identity(identity.clone())]).await;
    let mut client = connecting.await.unwrap().unwrap();
    let mut told = Vec::new();
    while client.identity().is_none() {
        for event in client.next().await.expect("it goes on") {
            match event {
                Event::Notice(notice) => told.push(notice.code),
                Event::Identity(identity) => told.push(identity.name),
                _ => {}
            }
        }
    }
    assert_eq!(told, ["before", "desk"]);
    assert_eq!(client.identity(), Some(&identity));
    assert!(matches!(session.command().await, Command::Subscribe(_)));
    // A renewal is told in the same way.
    let handle = client.handle();
    let driving = drive(client);
    let set = tokio::spawn(async move { handle.token(Secret::new("t2")).await });
    let (id, _) = token_of(&mut session).await;
    assert_ne!(id, 0, "no response is taken for another one");
    self::identity(&mut session, id).await;
    set.await.unwrap().unwrap();
    driving.abort();
}

#[tokio::test(start_paused = true)]
async fn a_token_by_message_that_is_refused_is_final_without_a_provider() {
    let mut gateway = waiting();
    let connecting =
        tokio::spawn(gateway.client().token(Secret::new("planted")).token_by_message().connect());
    let mut session = gateway.accept().await;
    let (id, _) = token_of(&mut session).await;
    let (code, message) = ("token_refused".to_owned(), "the signature does not fit".to_owned());
    session.send(&[Message::Error(Error { id, code, message: message.clone() })]).await;
    session.close(4503, "unauthorized").await;
    let error = connecting.await.unwrap().err().expect("it is refused");
    let ConnectError::Closed { code: Some(4503), text, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*text, message);
    assert!(!error.may_retry() && !format!("{error} {error:?}").contains("planted"));
}

#[tokio::test(start_paused = true)]
async fn a_provider_is_asked_again_when_a_token_by_message_is_refused() {
    let mut gateway = waiting();
    let (mut provider, builder) = Provider::new(gateway.client().token_by_message());
    let driving = drive(builder.start().unwrap());
    for (token, code) in [("t1", 4503), ("t2", 4504), ("t3", 4401)] {
        provider.gives(token).await;
        let mut session = gateway.accept().await;
        assert_eq!(token_of(&mut session).await.1, token);
        session.close(code, "").await;
    }
    // One that is busy is tried again with the same token.
    provider.gives("t4").await;
    let mut session = gateway.accept().await;
    let (id, _) = token_of(&mut session).await;
    let (code, message) = ("token_busy".to_owned(), "retry".to_owned());
    session.send(&[Message::Error(Error { id, code, message })]).await;
    let mut session = gateway.accept().await;
    assert_eq!(token_of(&mut session).await.1, "t4");
    assert!(provider.is_idle() && !driving.is_finished());
    driving.abort();
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_waits_for_no_token_gets_none_by_message() {
    let mut gateway = FakeGateway::new();
    let builder = gateway.client().token(Secret::new("t1")).token_by_message();
    let (client, mut session) = gateway.session(builder).await;
    let driving = drive(client);
    assert_eq!(session.commands_within(Duration::from_secs(5)).await, []);
    driving.abort();
}

impl FakeGateway {
    /// Takes a connection and refuses its handshake. Returns what it showed.
    async fn refuse(&mut self, response: &str) -> String {
        let mut pipe = self.pipe().await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(pipe.read_u8().await.unwrap());
        }
        pipe.write_all(response.as_bytes()).await.unwrap();
        pipe.shutdown().await.unwrap();
        let head = String::from_utf8(head).unwrap();
        let shown = head.lines().find_map(|line| line.strip_prefix("authorization: "));
        shown.unwrap_or_default().to_owned()
    }
}
