//! What a process says of itself while it runs: logs on stderr, and traces to a collector, where the environment names one.
//!
//! `FAIRWAY_LOG` filters logs and `FAIRWAY_LOG_FORMAT=json` makes them lines of JSON. Traces go by OTLP over gRPC to
//! `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or `OTEL_EXPORTER_OTLP_ENDPOINT`; the other `OTEL_` variables (name of the service,
//! attributes, sampler, headers) hold as its specification says. Without an endpoint nothing is traced.

use anyhow::{Context, Result};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Variables that name a collector of traces.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
/// The variable that names the service; this one names itself otherwise.
const SERVICE: &str = "OTEL_SERVICE_NAME";

/// Sends what is left when the process ends.
pub struct Telemetry(Option<SdkTracerProvider>);

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(provider) = &self.0
            && let Err(error) = provider.shutdown()
        {
            eprintln!("the last traces were not sent: {error}");
        }
    }
}

/// Begins. To be called within the runtime that the process works in, once.
///
/// # Errors
/// The environment names a collector that cannot be one.
pub fn start(verbose: u8) -> Result<Telemetry> {
    let default = match verbose {
        0 => "error,fairway=warn",
        1 => "fairway=info,warn",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_env("FAIRWAY_LOG").unwrap_or_else(|_| default.into());
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match std::env::var("FAIRWAY_LOG_FORMAT").as_deref() {
        Ok("json") => lines.json().with_filter(filter).boxed(),
        _ => lines.with_filter(filter).boxed(),
    };
    let named = |name: &str| std::env::var(name).is_ok_and(|endpoint| !endpoint.is_empty());
    let endpoint = ENDPOINTS.into_iter().find(|name| named(name));
    let provider = endpoint.map(|name| provider().context(name)).transpose()?;
    let traces = provider.as_ref().map(spans);
    tracing_subscriber::registry().with(lines).with(traces).init();
    Ok(Telemetry(provider))
}

/// What sends spans to where the environment says.
fn provider() -> Result<SdkTracerProvider> {
    let exporter = SpanExporter::builder().with_tonic().build()?;
    let resource = Resource::builder();
    let resource = if std::env::var_os(SERVICE).is_some() { resource } else { resource.with_service_name("fairway") };
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build())
}

/// Spans of ours: those of the libraries below would drown them.
fn spans<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let ours = tracing_subscriber::filter::Targets::new().with_target("fairway", LevelFilter::INFO);
    tracing_opentelemetry::layer().with_tracer(provider.tracer("fairway")).with_filter(ours)
}
