//! Work on a connection that has to be driven meanwhile.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

/// Does `work` and drives `connection` beside it; `None` where it has ended.
///
/// The work always has the first turn. So a request is handed to its connection before that is driven, and where the connection ends,
/// the request gets the reason: driven by a task of its own, the connection may end before, and the request hears of no reason.
///
/// # Cancel safety
/// Dropping it drops the work; the connection can be driven on.
pub async fn beside<T>(connection: &mut Option<impl Future + Unpin>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(done);
        }
        let has_ended = connection.as_mut().is_some_and(|running| Pin::new(running).poll(context).is_ready());
        if !has_ended {
            return Poll::Pending;
        }
        *connection = None;
        // What the connection said last may be all that was waited for.
        work.as_mut().poll(context)
    })
    .await
}
