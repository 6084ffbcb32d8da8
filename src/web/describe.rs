//! `/api/openapi.json` and `/api`: the interface described for programs and for people, from the
//! handlers themselves.

use std::sync::LazyLock;

use askama::Template;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::error::PageError;
use super::page::{Page, page};
use super::words::Words;
use super::{api, archive, libretranslate, openai};

#[derive(OpenApi)]
#[openapi(
    info(title = "Mega Pipeline", description = "Speak a prompt; hear it continued in English and in another language."),
    tags(
        (name = "Jobs", description = "Recordings and what the five stages make of them"),
        (name = "OpenAI-compatible", description = "The stages' engines, for clients that speak OpenAI's interface"),
        (name = "LibreTranslate-compatible", description = "The translators, for clients that speak LibreTranslate's interface"),
        (name = "Watching", description = "For scripts, orchestrators and Prometheus"),
    ),
    modifiers(&Token),
    security((), ("token" = [])),
    paths(
        api::jobs::create, api::jobs::list, api::jobs::show, api::jobs::cancel, api::jobs::remove,
        api::versions::retry, api::versions::run_again, api::versions::show, api::versions::remove,
        api::events::of_all, api::events::of_job, api::artifacts::show, archive::show,
        api::export::csv, api::export::json,
        openai::transcription::transcribe, openai::chat::complete, openai::speech::speak,
        openai::models::list, openai::models::show,
        libretranslate::translate, libretranslate::languages,
        api::health::alive, api::health::ready, api::watch::info, api::watch::metrics,
    )
)]
struct Interface;

struct Token;

impl Modify for Token {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("Where the server asks for one."))
            .build();
        openapi
            .components
            .get_or_insert_default()
            .add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The description, made once.
static DESCRIPTION: LazyLock<String> =
    LazyLock::new(|| Interface::openapi().to_pretty_json().unwrap_or_default());

/// `GET /api/openapi.json`.
pub(super) async fn description() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DESCRIPTION.as_str()).into_response()
}

#[derive(Template)]
#[template(path = "api.html")]
struct ApiPage {
    w: &'static Words,
    groups: Vec<Group>,
}

struct Group {
    name: String,
    about: String,
    operations: Vec<Operation>,
}

struct Operation {
    method: String,
    path: String,
    summary: String,
    details: String,
    /// Name, where it stands, whether it must be there, what it means.
    parameters: Vec<Parameter>,
    takes: Vec<String>,
    answers: Vec<Answer>,
}

struct Parameter {
    name: String,
    place: String,
    required: bool,
    about: String,
}

struct Answer {
    status: String,
    about: String,
    kinds: String,
}

/// `GET /api`: the description, to be read.
pub(super) async fn show(w: &'static Words) -> Result<Page, PageError> {
    let interface: Value = serde_json::from_str(&DESCRIPTION).unwrap_or_default();
    let all = operations(&interface);
    let groups = interface["tags"].as_array().into_iter().flatten().map(|tag| {
        let name = text(&tag["name"]);
        let own = all.iter().filter(|(group, ..)| *group == name);
        let operations = own.map(|(_, method, path, it)| operation(method, path, it)).collect();
        Group { about: text(&tag["description"]), name, operations }
    });
    page(&ApiPage { w, groups: groups.collect() })
}

/// Group, method, path and description of every operation.
fn operations(interface: &Value) -> Vec<(String, String, String, &Value)> {
    let paths = interface["paths"].as_object().into_iter().flatten();
    paths
        .flat_map(|(path, methods)| {
            methods.as_object().into_iter().flatten().map(move |(method, operation)| {
                let group = text(&operation["tags"][0]);
                (group, method.to_uppercase(), path.clone(), operation)
            })
        })
        .collect()
}

fn operation(method: &str, path: &str, it: &Value) -> Operation {
    let parameters = it["parameters"].as_array().into_iter().flatten().map(|it| Parameter {
        name: text(&it["name"]),
        place: text(&it["in"]),
        required: it["required"] == true,
        about: text(&it["description"]),
    });
    let answers = it["responses"].as_object().into_iter().flatten().map(|(status, it)| Answer {
        status: status.clone(),
        about: text(&it["description"]),
        kinds: kinds(&it["content"]).join(", "),
    });
    Operation {
        method: method.to_owned(),
        path: path.to_owned(),
        summary: text(&it["summary"]),
        details: text(&it["description"]),
        parameters: parameters.collect(),
        takes: kinds(&it["requestBody"]["content"]),
        answers: answers.collect(),
    }
}

fn kinds(content: &Value) -> Vec<String> {
    content.as_object().into_iter().flatten().map(|(kind, _)| kind.clone()).collect()
}

/// A text as it is read on the page, without the marks of code.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().replace('`', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_is_openapi_3_1_and_has_every_operation_in_a_group() {
        let interface: Value = serde_json::from_str(&DESCRIPTION).expect("JSON");
        assert_eq!(interface["openapi"], "3.1.0");
        let all = operations(&interface);
        assert!(all.len() >= 26, "{} operations", all.len());
        for (group, method, path, operation) in all {
            let groups = interface["tags"].as_array().expect("groups");
            assert!(groups.iter().any(|it| it["name"] == group.as_str()), "{method} {path}");
            assert!(!text(&operation["summary"]).is_empty(), "{method} {path}");
        }
    }
}
