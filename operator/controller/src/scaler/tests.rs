//! Asked as KEDA asks: over a connection, by the names and numbers of its protocol.

use std::collections::BTreeMap;
use std::time::Duration;

use fairway_core::scaling::Sample;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::messages::*;
use super::*;

async fn scaler(loads: &Arc<Loads>) -> Grpc<Channel> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(answer(listener, loads.clone()));
    Grpc::new(Endpoint::from_shared(address).unwrap().connect().await.unwrap())
}

async fn ask<Q, A>(client: &mut Grpc<Channel>, method: &'static str, question: Q) -> Result<A, Status>
where
    Q: prost::Message + 'static,
    A: prost::Message + Default + 'static,
{
    client.ready().await.unwrap();
    let codec = ProstCodec::<Q, A>::new();
    let path = format!("/externalscaler.ExternalScaler/{method}").parse().unwrap();
    client.unary(Request::new(question), path, codec).await.map(tonic::Response::into_inner)
}

fn object(name: &str, metric: &str) -> ScaledObjectRef {
    let metadata = [("scalerAddress", "fairway-scaler:8082"), ("metric", metric), ("target", "8")];
    let metadata: BTreeMap<String, String> = metadata.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    ScaledObjectRef { name: name.to_owned(), namespace: "shop".to_owned(), metadata }
}

fn loads(age: Duration) -> Arc<Loads> {
    let loads = Arc::<Loads>::default();
    let at = crate::clock::now() - age;
    let sample = Sample { at, in_flight: 12.5, requests_per_second: 240.0, p95: None, ready: 2 };
    loads.tell(("shop".to_owned(), "shop-01234567".to_owned()), sample);
    loads
}

#[tokio::test]
async fn a_version_is_scaled_by_what_its_servers_have_in_flight_together() {
    let mut client = scaler(&loads(Duration::ZERO)).await;
    let spec: GetMetricSpecResponse =
        ask(&mut client, "GetMetricSpec", object("shop-01234567", "in-flight")).await.unwrap();
    assert_eq!(spec.specs, [MetricSpec { name: "in-flight".to_owned(), target: 8, target_float: 8.0 }]);
    let active: IsActiveResponse = ask(&mut client, "IsActive", object("shop-01234567", "in-flight")).await.unwrap();
    assert!(active.result);
    for (metric, value, value_float) in [("in-flight", 13, 12.5), ("requests-per-second", 240, 240.0)] {
        // KEDA gives the metric a name of its own.
        let asked = GetMetricsRequest { object: Some(object("shop-01234567", metric)), name: format!("s0-{metric}") };
        let found: GetMetricsResponse = ask(&mut client, "GetMetrics", asked).await.unwrap();
        assert_eq!(found.values, [MetricValue { name: format!("s0-{metric}"), value, value_float }]);
    }
}

#[tokio::test]
async fn a_stream_says_at_once_what_is_active() {
    let mut client = scaler(&loads(Duration::ZERO)).await;
    client.ready().await.unwrap();
    let path = "/externalscaler.ExternalScaler/StreamIsActive".parse().unwrap();
    let codec = ProstCodec::<ScaledObjectRef, IsActiveResponse>::new();
    let asked = Request::new(object("shop-01234567", "in-flight"));
    let mut stream = client.server_streaming(asked, path, codec).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().unwrap().result);
}

/// Without an answer KEDA leaves the replicas as they are.
#[tokio::test]
async fn what_is_not_known_is_no_zero() {
    let mut client = scaler(&loads(Duration::from_secs(61))).await;
    let table = [
        ("shop-01234567", "in-flight", Code::Unavailable),
        ("shop-89abcdef", "in-flight", Code::Unavailable),
        ("shop-01234567", "memory", Code::InvalidArgument),
    ];
    for (name, metric, code) in table {
        let asked = GetMetricsRequest { object: Some(object(name, metric)), name: metric.to_owned() };
        let refused = ask::<_, GetMetricsResponse>(&mut client, "GetMetrics", asked).await.unwrap_err();
        assert_eq!(refused.code(), code, "{name} {metric}: {refused}");
    }
    let refused = ask::<_, GetMetricSpecResponse>(&mut client, "StreamMetricSpec", object("shop", "in-flight")).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unimplemented);
}
