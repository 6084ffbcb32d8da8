//! Stages with real models, without a server or a job around them.

use mega_pipeline::config::{Config, Origin};
use mega_pipeline::models::ModelStore;
use mega_pipeline::settings::Settings;
use mega_pipeline::stage::{self, Artifacts, Stage};

use super::models_dir;

/// Settings for jobs that are translated to `target`, with the tests' models, and their stages.
pub fn stages(target: &str) -> (Settings, Vec<Box<dyn Stage>>) {
    let mut config = Config::defaults();
    let models = models_dir().to_string_lossy().into_owned();
    config.set("models_dir", &models, Origin::Default).expect("a setting");
    config.set("target", target, Origin::Default).expect("a setting");
    let settings = Settings::new(&config).expect("valid settings");
    let stages = stage::local(&settings, &ModelStore::open(models).expect("a store"));
    (settings, stages)
}

/// What the stages that translate and speak need to do so with `text`.
pub fn inputs(text: &str) -> Artifacts {
    Artifacts {
        text: Some(text.to_owned()),
        translation: Some(text.to_owned()),
        ..Artifacts::default()
    }
}
