use tokio_stream::StreamExt as _;
use tonic_reflection::pb::{v1, v1alpha};

use crate::setup::server;

const SERVED: [&str; 2] = ["grpc.health.v1.Health", "test.Echo"];

#[tokio::test]
async fn both_versions_list_the_served_services_alone() {
    let server = server(&[]).await;

    let request = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(server.channel.clone());
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let answer = answers.next().await.unwrap().unwrap().message_response;
    let Some(v1::server_reflection_response::MessageResponse::ListServicesResponse(list)) = answer else {
        panic!("not a list: {answer:?}");
    };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.retain(|name| !name.starts_with("grpc.reflection."));
    names.sort();
    assert_eq!(names, SERVED);

    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(server.channel.clone());
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let answer = answers.next().await.unwrap().unwrap().message_response;
    let Some(v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(list)) = answer else {
        panic!("not a list: {answer:?}");
    };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.retain(|name| !name.starts_with("grpc.reflection."));
    names.sort();
    assert_eq!(names, SERVED);
}

#[tokio::test]
async fn symbol_of_the_contracts_is_found_with_its_imports() {
    let server = server(&[]).await;
    let symbol = "keyplane.session.v1.Session".to_owned();
    let request = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::FileContainingSymbol(symbol)),
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(server.channel.clone());
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let answer = answers.next().await.unwrap().unwrap().message_response;
    let Some(v1::server_reflection_response::MessageResponse::FileDescriptorResponse(files)) = answer else {
        panic!("not a file: {answer:?}");
    };
    assert!(!files.file_descriptor_proto.is_empty());
}
