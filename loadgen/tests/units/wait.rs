use super::*;

#[tokio::test]
async fn it_rings_again_and_after_a_call_that_was_dropped() {
    let alarm = Alarm::new().unwrap();
    let long = alarm.sleep(Duration::from_secs(3600));
    assert!(tokio::time::timeout(Duration::from_millis(1), long).await.is_err());
    let begin = std::time::Instant::now();
    for _ in 0..3 {
        alarm.sleep(Duration::from_micros(300)).await.unwrap();
    }
    assert!(begin.elapsed() >= Duration::from_micros(900));
    alarm.sleep(Duration::ZERO).await.unwrap();
}
