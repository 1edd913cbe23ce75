//! Connect, subscribe, read: in all encodings, in order, and with a slow or an impatient program.

use tickwire_client::wire::{Channel, Encoding};

use crate::fake_gateway::{FakeGateway, SYMBOL, quote, trade};
use crate::transcript::{next, take};

#[tokio::test(start_paused = true)]
async fn records_come_in_every_encoding() {
    for encoding in Encoding::ALL {
        let mut gateway = FakeGateway::new();
        let builder = gateway.client().encoding(encoding).subscribe(Channel::Quote, [SYMBOL]);
        let (mut client, mut session) = gateway.session(builder).await;
        assert_eq!(session.encoding, encoding);
        session.grant(1, 0).await;
        session.send(&[quote(1), quote(3)]).await;
        session.send(&[quote(4)]).await;
        let expected = ["connected", "subscribed [sim:BTC-USD] refused []", "quote 1", "quote 3", "quote 4"];
        assert_eq!(take(&mut client, 5).await, expected);
        let view = client.quote(SYMBOL).unwrap();
        assert!(view.is_live());
        assert_eq!((view.sequence(), view.quote().bid.unwrap().price), (4, 400));
        assert_eq!(client.counters().violations, 0);
    }
}
