//! Stages with real models, without a server or a job around them.

use mega_pipeline::audio::Audio;
use mega_pipeline::config::{Config, Origin};
use mega_pipeline::models::ModelStore;
use mega_pipeline::settings::Settings;
use mega_pipeline::stage::{self, Artifact, Artifacts, Stage, StageContext, StageKind};

use super::{models_dir, undisturbed};

/// The five stages, with the tests' models.
pub struct Stages {
    settings: Settings,
    stages: Vec<Box<dyn Stage>>,
}

impl Stages {
    /// For jobs that are translated to `target`.
    pub fn new(target: &str) -> Self {
        let mut config = Config::defaults();
        let models = models_dir().to_string_lossy().into_owned();
        config.set("models_dir", &models, Origin::Default).expect("a setting");
        config.set("target", target, Origin::Default).expect("a setting");
        let settings = Settings::new(&config).expect("valid settings");
        let stages = stage::local(&settings, &ModelStore::open(models).expect("a store"));
        Self { settings, stages }
    }

    /// Loads what the stage `kind` needs.
    pub fn load(&mut self, kind: StageKind) {
        find(&mut self.stages, kind).load().expect("the models load");
    }

    /// What the stage `kind`, which translates or speaks, makes of `text`.
    pub fn run(&mut self, kind: StageKind, text: &str) -> Artifact {
        let inputs = Artifacts {
            text: Some(text.to_owned()),
            translation: Some(text.to_owned()),
            ..Artifacts::default()
        };
        let stage = find(&mut self.stages, kind);
        let made = undisturbed(|control| {
            let context = StageContext { options: &self.settings.defaults, control: *control };
            stage.run(&inputs, &context)
        });
        made.expect("the stage works").artifact
    }

    /// The sound of the stage `kind`, which speaks `text`.
    pub fn speak(&mut self, kind: StageKind, text: &str) -> Audio {
        match self.run(kind, text) {
            Artifact::Audio(audio) => audio,
            other => panic!("{kind} made {other:?}"),
        }
    }
}

fn find(stages: &mut [Box<dyn Stage>], kind: StageKind) -> &mut Box<dyn Stage> {
    stages.iter_mut().find(|stage| stage.kind() == kind).expect("all five are there")
}
