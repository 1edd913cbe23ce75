//! A gateway whose sessions at `/v1/echo` send back each message as it came, and say nothing else: `scripts/test-autobahn.sh` runs the
//! cases of the Autobahn suite against it, which judge the gateway's own listener, handshake and frames. It is no part of the product.

use std::sync::Arc;

use tickwire_bus::{Backplane, MemoryBus};
use tickwire_core::engine::{Dialect, Framing, Request};
use tickwire_core::vocabulary::{Form, Origin};
use tickwire_gateway::{AuthSettings, Gateway, GatewayConfig, HeaderMap, Method, Page, Pages};
use tickwire_wire::{Message, Record};

/// The largest message of the suite that is not about speed has 256 KiB.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// The bytes before each message in the control lane: whether it is text, and its length.
const PREFIX_BYTES: usize = 1 + size_of::<u32>();

#[derive(Debug)]
struct Echo;

fn write_nothing(_: &Origin<'_>, _: Record, _: &mut Vec<u8>) {}

impl Dialect for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn form(&self) -> Form {
        Form::foreign(0, write_nothing)
    }

    fn read(&mut self, bytes: &[u8], requests: &mut Vec<Request>) {
        self.read_framed(bytes, false, requests);
    }

    fn read_framed(&mut self, bytes: &[u8], is_text: bool, requests: &mut Vec<Request>) {
        let mut reply = vec![u8::from(is_text)];
        reply.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        reply.extend_from_slice(bytes);
        requests.push(Request::Reply(reply));
    }

    fn say(&mut self, _: &Message, _: &mut Vec<u8>) {}

    fn end(&self, framing: &dyn Framing, head: usize, start: usize, _: u64, out: &mut Vec<u8>) {
        let all = out.split_off(start);
        out.truncate(head);
        let mut rest = &all[..];
        while let Some((prefix, behind)) = rest.split_first_chunk::<PREFIX_BYTES>() {
            let [is_text, length @ ..] = *prefix;
            let (message, behind) = behind.split_at(u32::from_le_bytes(length) as usize);
            rest = behind;
            let head = out.len();
            framing.begin(out);
            let start = out.len();
            out.extend_from_slice(message);
            framing.end(head, start, is_text == 1, out);
        }
    }
}

struct EchoPages;

impl Pages for EchoPages {
    fn respond(&self, _: &Method, _: &str, _: &HeaderMap) -> Option<Page> {
        None
    }

    fn dialect(&self, path: &str) -> Option<Box<dyn Dialect>> {
        (path == "/v1/echo").then(|| Box::new(Echo) as Box<dyn Dialect>)
    }
}

#[expect(clippy::print_stdout, reason = "whoever starts it reads the address there")]
fn main() {
    let free = ([127, 0, 0, 1], 0).into();
    let auth = AuthSettings::anonymous();
    let mut config = GatewayConfig { listen: free, admin_listen: free, auth, ..GatewayConfig::default() };
    config.limits.engine.command_bytes = MESSAGE_BYTES_MAX;
    config.limits.engine.commands_per_second = 100_000;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let bus: Arc<dyn Backplane> = Arc::new(MemoryBus::default());
        let gateway = Gateway::start(config, bus, Arc::new(EchoPages)).await.expect("it starts");
        println!("stream: ws://{}/v1/echo", gateway.listen_address());
        std::future::pending::<()>().await;
    });
}
