//! Traces: a collector of OpenTelemetry that the environment names is told what a process did.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use serde_json::json;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::shop::Shop;

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_traced_where_the_environment_names_a_collector() {
    let shop = Shop::new().await;
    shop.put_plan("r1", json!({})).await;
    let (collector, listening) = (Collector::default(), TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap());
    let endpoint = format!("http://{}", listening.local_addr().unwrap());
    let service = TraceServiceServer::new(collector.clone());
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(listening));

    let mut training = shop.training("r1");
    training.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).env("OTEL_SERVICE_NAME", "recs-trainer");
    let ended = tokio::task::spawn_blocking(move || training.output().unwrap()).await.unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");

    let heard = collector.0.lock().unwrap();
    let traced = heard.iter().flat_map(|request| &request.resource_spans);
    let (mut services, mut runs) = (Vec::new(), Vec::new());
    for traced in traced {
        services.push(text(&traced.resource.as_ref().unwrap().attributes, "service.name"));
        let spans = traced.scope_spans.iter().flat_map(|scope| &scope.spans).filter(|span| span.name == "train");
        runs.extend(spans.map(|span| text(&span.attributes, "run")));
    }
    assert_eq!((services[0].as_str(), runs.as_slice()), ("recs-trainer", ["r1".to_owned()].as_slice()));
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let value = attributes.iter().find(|one| one.key == key).and_then(|one| one.value.clone()?.value);
    match value {
        Some(any_value::Value::StringValue(text)) => text,
        other => panic!("{key} is {other:?}"),
    }
}
