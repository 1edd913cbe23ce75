use super::*;

#[test]
fn a_gauge_is_the_sum_over_its_labels() {
    let text = "# HELP tickwire_pressure_bytes x\n# TYPE tickwire_pressure_bytes gauge\ntickwire_log_bytes 3\n\
                tickwire_pressure_bytes{part=\"control\"} 40\ntickwire_pressure_bytes{part=\"in_flight\"} 2\n\
                tickwire_pressure_bytes_max 9\n";
    assert_eq!(gauge(text, "tickwire_pressure_bytes"), Some(42));
    assert_eq!(gauge(text, "tickwire_log_bytes"), Some(3));
    assert_eq!(gauge(text, "tickwire_sessions"), None);
}

#[tokio::test]
async fn parts_of_a_second_are_one_second() {
    let mut watch = Watch::new(None, None);
    let now = tickwire_machine::now();
    let second = Second { records: 5, sessions: 2, generator_cpu: 0.5, ..Second::default() };
    let part = |at| SecondPart { at, second: second.clone(), ..SecondPart::default() };
    let window = (now, now + SECOND);
    watch
        .look(&[part(Some((now, 0))), part(Some((now, 0))), part(None), part(Some((1, 0)))], window, 7.0)
        .await;
    let series = watch.series(&["prompt".to_owned()]);
    assert_eq!(series.len(), 1);
    assert_eq!((series[0].records, series[0].sessions, series[0].offered), (10, 4, 7.0));
    watch.look(&[part(Some((now, 1)))], window, 7.0).await;
    let (sum, seconds) = watch.sum().unwrap();
    assert_eq!((sum.records, seconds), (15, 2));
}
