//! The document that is served is the one that is reviewed.

use api_kit::openapi;
use expect_test::expect_file;

#[test]
fn the_document_is_the_one_in_docs() {
    let document = conche::http::document().unwrap().to_pretty_json().unwrap();
    expect_file!["../../docs/openapi.json"].assert_eq(&format!("{document}\n"));
}

#[test]
fn every_schema_the_document_names_is_in_it() {
    let document = conche::http::document().unwrap();
    assert!(openapi::dangling(&document).is_empty(), "{:?}", openapi::dangling(&document));
}

#[test]
fn no_name_means_one_thing_to_writers_and_another_to_readers() {
    let (_, write) = write_api::api().finish().unwrap();
    let (_, read) = read_api::api().finish().unwrap();
    assert_eq!(openapi::clash_between(&write, &read), None);
}
