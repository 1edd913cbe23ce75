//! Servers under test are started, waited for and ended.

use std::path::Path;

use super::*;

async fn server(script: &str) -> anyhow::Result<Child> {
    Child::server(&["sh", "-c", script].map(str::to_owned)).await
}

#[tokio::test]
async fn a_server_is_there_when_it_says_so_and_is_asked_to_end() {
    let place = tempfile::tempdir().unwrap();
    let asked = place.path().join("asked");
    let script = format!(
        "trap 'touch {}; exit' TERM; echo begins; echo ready; while :; do sleep 0.05; done",
        asked.display()
    );
    let child = server(&script).await.unwrap();
    let process = format!("/proc/{}", child.pid().unwrap());
    assert!(Path::new(&process).exists());
    child.end().await;
    assert!(asked.exists() && !Path::new(&process).exists());
}

#[tokio::test]
async fn a_server_that_does_not_come_up_is_named() {
    let error = server("echo is not ready").await.unwrap_err().to_string();
    assert!(error.contains("`sh -c echo is not ready` ended before it said `ready`"), "{error}");
    let error = Child::server(&["/no/such/program".to_owned()]).await.unwrap_err().to_string();
    assert!(error.contains("cannot start `/no/such/program`"), "{error}");
    assert!(Child::server(&[]).await.is_err());
}

#[tokio::test]
async fn what_a_helper_says_is_heard_until_it_fails_or_ends() {
    let script = r#"echo '{"Ok":5}'; echo '{"Err":"no bus"}'"#;
    let (child, mut output) = Child::start(Command::new("sh").args(["-c", script]), Stdio::piped()).unwrap();
    assert_eq!(said::<u32>(&mut output).await.unwrap(), 5);
    assert_eq!(said::<u32>(&mut output).await.unwrap_err().to_string(), "no bus");
    assert!(said::<u32>(&mut output).await.unwrap_err().to_string().contains("ended early"));
    child.end().await;
}
