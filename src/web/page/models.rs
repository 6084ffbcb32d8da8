//! `GET /models`: what serves each role, and what else could.

use askama::Template;
use axum::extract::State;

use super::super::error::{PageError, WebError};
use super::super::state::{AppState, Models};
use super::super::words::Words;
use super::{Page, page};
use crate::models::{Candidate, Model, Role, human_bytes};

#[derive(Template)]
#[template(path = "models.html")]
struct ModelsPage {
    w: &'static Words,
    roles: Vec<RoleCard>,
}

struct RoleCard {
    name: String,
    title: String,
    model: Option<Served>,
    /// Why no model serves it.
    problem: String,
    /// Where it last ran.
    device: Option<String>,
    others: Vec<Other>,
}

struct Served {
    id: String,
    title: String,
    size: String,
    licence: String,
    sha256: String,
}

struct Other {
    id: String,
    title: String,
    size: String,
    licence: String,
    why: String,
    installed: bool,
}

/// Renders the page.
pub(in crate::web) async fn show(
    State(state): State<AppState>,
    w: &'static Words,
) -> Result<Page, PageError> {
    // Where a model ran is known of those that ran lately.
    let jobs = state.store.list(None, 1).await.map_err(WebError::from)?;
    let ran: Vec<(String, String)> = jobs
        .iter()
        .flat_map(|job| &job.stages)
        .filter_map(|run| run.timing.as_ref())
        .map(|timing| (timing.model.clone(), timing.device.clone()))
        .collect();
    let roles = match state.config.models.clone() {
        None => Vec::new(),
        // Reads a few files for each model.
        Some(models) => tokio::task::spawn_blocking(move || {
            models.store.manifest().roles.iter().map(|it| card(&models, it, &ran)).collect()
        })
        .await
        .map_err(WebError::internal)?,
    };
    page(&ModelsPage { w, roles })
}

fn card(models: &Models, role: &Role, ran: &[(String, String)]) -> RoleCard {
    let pick = models.picks.get(&role.name).map(String::as_str);
    let resolved = models.store.resolve(&role.name, pick);
    let problem = resolved.as_ref().err().map_or_else(String::new, ToString::to_string);
    let served = resolved.ok().map(|it| Served {
        id: it.model.id.clone(),
        title: it.model.title.clone(),
        size: human_bytes(it.model.download_bytes()),
        licence: it.model.licence.clone(),
        sha256: it.sha256,
    });
    let id = served.as_ref().map_or("", |served| served.id.as_str());
    let device = ran.iter().find(|(model, _)| model == id).map(|(_, device)| device.clone());
    let others = role
        .candidates
        .iter()
        .filter(|candidate| candidate.model != id)
        .filter_map(|candidate| {
            Some((candidate, models.store.manifest().model(&candidate.model).ok()?))
        })
        .map(|(candidate, model)| other(models, candidate, model))
        .collect();
    RoleCard {
        name: role.name.clone(),
        title: role.title.clone(),
        device,
        model: served,
        problem,
        others,
    }
}

fn other(models: &Models, candidate: &Candidate, model: &Model) -> Other {
    Other {
        id: model.id.clone(),
        title: model.title.clone(),
        size: human_bytes(model.download_bytes()),
        licence: model.licence.clone(),
        why: candidate.why.clone(),
        installed: models.store.is_installed(&model.id),
    }
}
