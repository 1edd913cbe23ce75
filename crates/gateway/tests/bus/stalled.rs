//! A gateway that stops reading.

use tickwire_gateway::{GatewayConfig, Limits};
use tickwire_wire::Channel;

use super::rig::{Rig, trade};

const TRADES: u64 = 2_000;

#[test]
fn costs_the_ingester_nothing_and_loses_nothing_silently() {
    let test = async {
        let limits = Limits { bus_messages: 100, ..Limits::default() };
        let rig = Rig::start(GatewayConfig { limits, ..GatewayConfig::default() }).await;
        let mut watcher = rig.client(Channel::Trade).await;
        rig.bus.set_stalled(true);
        // Each one is taken by the ingester before the next but 64, so the end is reached only if none of them waits.
        for number in 2..=TRADES {
            rig.happens(1, trade(number as i64)).await;
        }
        rig.bus.set_stalled(false);
        let is_whole = |watcher: &super::rig::Watcher| {
            let gaps = watcher.gaps();
            let end = gaps.iter().filter_map(|(_, last)| *last).chain(watcher.sequences()).max();
            end == Some(TRADES)
        };
        watcher.until("all of them are there or announced", is_whole).await;
        let announced: u64 = watcher.gaps().iter().map(|(first, last)| last.unwrap_or(0) + 1 - first).sum();
        assert_eq!(announced + watcher.sequences().len() as u64, TRADES - 1, "{:?}", watcher.gaps());
        assert!(announced > 0, "the inbox took less than what was published");
        rig.end().await;
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}
