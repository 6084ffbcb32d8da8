//! Mega Pipeline: a spoken prompt is transcribed, continued by a language
//! model, spoken in English, translated, and spoken again, all in one process.
//!
//! ```text
//! prompt ─▶ transcribe_audio ─▶ generate_text ─▶ synthesis_audio_en
//!               (text)             (text)    └─▶ translate_text ─▶ synthesis_audio
//!                                                 (text)            (audio)
//! ```
//!
//! Arrows point one way: [`cli`] and [`web`] submit jobs, [`jobs`] drives one
//! [`stage`] after another, a stage drives an [`engine`], and an engine uses
//! [`audio`], [`text`] and the files that [`models`] keeps. Nothing in `engine`
//! knows of jobs; nothing in `jobs` knows of HTTP.
//!
//! Threads: Tokio serves HTTP and the database. Inference runs on a worker's
//! own OS thread, or on one of Tokio's for blocking work where a request has
//! no job, so the page stays quick while a model computes.

pub mod access;
pub mod audio;
pub mod cli;
pub mod config;
pub mod cpu;
pub mod engine;
pub mod error;
pub mod jobs;
pub mod metrics;
pub mod models;
pub mod settings;
pub mod stage;
pub mod telemetry;
pub mod text;
pub mod web;
