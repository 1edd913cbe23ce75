//! Traces in OpenTelemetry's protocol (OTLP over HTTP, Protobuf): the spans of `tickwire-gateway` go to a collector.
//!
//! The library collects spans on a thread of its own, and has no opinion about how they are sent. They go by the runtime of this
//! program, and by the TLS that all else here has.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider};
use tickwire_gateway::SPAN_TARGET;
use tickwire_net::tls::{ClientTls, Settings, Trust};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::Registry;

use crate::config::Traces;

/// The most spans that wait to be sent; further ones are lost.
const WAITING_MAX: usize = 4_096;
/// The most spans of one request.
const AT_ONCE_MAX: usize = 512;
/// The time between two requests.
const SEND_EVERY: Duration = Duration::from_secs(2);
/// The time for one request.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The time that the last spans have at the end.
const FAREWELL: Duration = Duration::from_secs(3);
/// The most bytes of a response.
const RESPONSE_BYTES_MAX: usize = 64 << 10;
const SETTINGS: Settings =
    Settings { authorities: "SSL_CERT_FILE", insecure: None, server_name: "traces.endpoint" };

/// The spans of this process, which are sent at its end too.
static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Returns the layer that takes spans, where the settings name a collector. It has to be called within a runtime.
///
/// # Errors
/// Says why spans cannot be sent there.
pub(crate) fn layer(settings: &Traces) -> Result<Option<Box<dyn Layer<Registry> + Send + Sync>>, String> {
    if settings.endpoint.is_empty() {
        return Ok(None);
    }
    let collector = Collector::new(&settings.endpoint, Handle::current())?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_http_client(collector)
        .with_endpoint(&settings.endpoint)
        .with_timeout(TIMEOUT)
        .build()
        .map_err(|error| error.to_string())?;
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(WAITING_MAX)
        .with_max_export_batch_size(AT_ONCE_MAX)
        .with_scheduled_delay(SEND_EVERY)
        .build();
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let provider = SdkTracerProvider::builder()
        .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.sample))))
        .with_resource(Resource::builder().with_service_name("tickwire").with_attribute(version).build())
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("tickwire"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(Targets::new().with_target(SPAN_TARGET, Level::INFO));
    let _ = PROVIDER.set(provider);
    Ok(Some(layer.boxed()))
}

/// Sends the spans that wait, for a limited time, and takes no more.
pub(crate) async fn end() {
    let Some(provider) = PROVIDER.get() else { return };
    // The library waits on its own thread's work, which is done by this runtime.
    let ended = tokio::task::spawn_blocking(|| provider.shutdown_with_timeout(FAREWELL)).await;
    if let Ok(Err(error)) = ended {
        tracing::warn!(%error, "the last spans were not sent");
    }
}

/// A collector of spans.
#[derive(Clone, Debug)]
struct Collector {
    /// Host and port.
    address: Arc<str>,
    tls: Option<ClientTls>,
    runtime: Handle,
    failures: Arc<AtomicU64>,
}

impl Collector {
    fn new(endpoint: &str, runtime: Handle) -> Result<Self, String> {
        let (address, is_tls) = address(endpoint)?;
        let tls = is_tls.then(|| ClientTls::new(&Trust::default(), &address, &SETTINGS));
        let tls = tls.transpose().map_err(|error| error.to_string())?;
        Ok(Self { address: address.into(), tls, runtime, failures: Arc::default() })
    }

    async fn post(self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let stream = TcpStream::connect(&*self.address).await?;
        match &self.tls {
            Some(tls) => self.post_over(tls.connect(stream).await?, request).await,
            None => self.post_over(stream, request).await,
        }
    }

    async fn post_over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, HttpError> {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let (mut head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        head.headers.insert(hyper::header::HOST, self.address.parse()?);
        head.uri = path.parse()?;
        let response = sender.send_request(Request::from_parts(head, Full::new(body))).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, RESPONSE_BYTES_MAX).collect().await;
        driver.abort();
        Ok(Response::from_parts(head, body?.to_bytes()))
    }

    /// Tells of failures, the fewer the more there are.
    fn note(&self, outcome: &Result<Response<Bytes>, HttpError>) {
        let problem = match outcome {
            Ok(response) if response.status().is_success() => return,
            Ok(response) => format!("it answers with HTTP {}", response.status()),
            Err(error) => error.to_string(),
        };
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if failures.is_power_of_two() {
            tracing::warn!(
                collector = &*self.address,
                problem,
                failures,
                "spans were not taken by the collector"
            );
        }
    }
}

impl HttpClient for Collector {
    fn send_bytes<'this, 'sent>(
        &'this self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'sent>>
    where
        'this: 'sent,
        Self: 'sent,
    {
        let this = self.clone();
        Box::pin(async move {
            let runtime = this.runtime.clone();
            let told = this.clone();
            let sending = runtime.spawn(async move {
                tokio::time::timeout(TIMEOUT, this.post(request))
                    .await
                    .unwrap_or_else(|error| Err(error.into()))
            });
            let outcome = sending.await.unwrap_or_else(|error| Err(error.into()));
            told.note(&outcome);
            outcome
        })
    }
}

/// Returns host and port of an endpoint, and whether it is to be spoken to with TLS.
///
/// # Errors
/// Says what is wrong with it, and does not repeat it: it may hold a secret.
pub(crate) fn address(endpoint: &str) -> Result<(String, bool), String> {
    let wrong = |why: &str| Err(why.to_owned());
    let Ok(uri) = endpoint.parse::<Uri>() else {
        return wrong("is no URL, as in http://127.0.0.1:4318/v1/traces");
    };
    let is_tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return wrong("begins neither with http:// nor with https://"),
    };
    let Some(authority) = uri.authority() else { return wrong("has no host") };
    if authority.as_str().contains('@') {
        return wrong("has credentials in it; OTEL_EXPORTER_OTLP_HEADERS takes a header with them");
    }
    if uri.path() == "/" {
        return wrong("has no path; collectors take spans at /v1/traces");
    }
    let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    Ok((format!("{}:{port}", authority.host()), is_tls))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let good = |text: &str| address(text).unwrap();
        assert_eq!(good("http://127.0.0.1:4318/v1/traces"), ("127.0.0.1:4318".to_owned(), false));
        assert_eq!(good("https://c.example/v1/traces"), ("c.example:443".to_owned(), true));
        assert_eq!(good("http://[::1]:4318/v1/traces"), ("[::1]:4318".to_owned(), false));
        for (text, part) in [
            ("127.0.0.1:4318", "neither with http://"),
            ("http://127.0.0.1:4318", "no path"),
            ("grpc://c.example/v1/traces", "neither with http://"),
            ("http://me:secret@c.example/v1/traces", "has credentials"),
            ("http://a b/", "is no URL"),
        ] {
            let told = address(text).unwrap_err();
            assert!(told.contains(part) && !told.contains("secret"), "{told}");
        }
    }
}
