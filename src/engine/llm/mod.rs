//! Text generation: a GGUF model in candle, its tokenizer and chat template.
//!
//! Called by `stage::generate_text`, and by `stage::translate_text` where a
//! language model translates. One file each: `gguf` (the file), `pretokenizer`
//! and `tokenizer` (text to ids), `chat` (conversation to text), `model`
//! (weights), `transformer` (the network), `mapped` and `product` (its products),
//! `prefix` (what need not be read again), `sampler` and `stream` (logits to
//! text), `generate` (the loop), `translate` (a translator on top of it).

mod chat;
mod generate;
mod gguf;
mod mapped;
mod model;
mod phrasebook;
mod prefix;
mod pretokenizer;
#[cfg(target_arch = "x86_64")]
mod product;
mod sampler;
mod stream;
mod tokenizer;
mod transformer;
mod translate;

use std::path::Path;

use candle_core::Device;

pub use tokenizer::{Span, Tokenizer};
pub use translate::LlmTranslator;

use super::{ChatMessage, EngineError, Hardware, gpu};
use chat::ChatTemplate;
use gguf::{Gguf, WHAT};
use model::{Model, State};
use prefix::Shelf;

/// A loaded language model.
pub struct Llm {
    model: Model,
    tokenizer: Tokenizer,
    chat: ChatTemplate,
    /// All tokens that the model knows: of the last prompt and its answer.
    known: Vec<u32>,
    /// So many of them were read in whole pieces, after nothing that was not.
    exact: usize,
    shelf: Shelf<State>,
}

impl Llm {
    /// Loads weights, vocabulary and chat template from one GGUF file, and runs the model once.
    ///
    /// candle takes its number of threads from `RAYON_NUM_THREADS` when it first computes, for
    /// the whole process; `hardware.threads` cannot change it here and is only compared with it.
    ///
    /// # Errors
    /// `Missing` when there is no file, `Load` when it is broken or of a kind not supported.
    pub fn load(model: &Path, hardware: &Hardware) -> Result<Self, EngineError> {
        let threads = candle_core::utils::get_num_threads();
        if hardware.gpu.is_none() && threads != hardware.threads {
            tracing::warn!(
                asked = hardware.threads,
                threads,
                "RAYON_NUM_THREADS decides how many threads the language model uses"
            );
        }
        let device = match hardware.gpu {
            None => Device::Cpu,
            Some(ordinal) => {
                gpu::device(ordinal).map_err(|error| EngineError::load(WHAT, error))?
            }
        };
        let gguf = Gguf::open(model)?;
        let tokenizer = Tokenizer::from_gguf(&gguf)?;
        let name = |key| {
            let id = gguf.integer(key).and_then(|id| u32::try_from(id).ok());
            id.and_then(|id| tokenizer.name(id)).unwrap_or_default()
        };
        let chat = ChatTemplate::new(
            gguf.string("tokenizer.chat_template"),
            name("tokenizer.ggml.bos_token_id"),
            name("tokenizer.ggml.eos_token_id"),
        )?;
        let model = Model::load(gguf, &device)?;
        let (known, shelf) = (Vec::new(), Shelf::new());
        let mut llm = Self { model, tokenizer, chat, known, exact: 0, shelf };
        llm.warm_up()?;
        Ok(llm)
    }

    /// Text to token ids and back.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Most tokens of prompt and answer together.
    #[must_use]
    pub fn context(&self) -> usize {
        self.model.context()
    }

    /// Token ids of a conversation as [`Llm::generate`] gives them to the model.
    ///
    /// # Errors
    /// `Run` when the chat template refuses the conversation.
    pub fn prompt(&self, messages: &[ChatMessage]) -> Result<Vec<u32>, EngineError> {
        Ok(self.tokenizer.with_bos(self.tokenizer.encode_spans(&self.chat.render(messages)?)?))
    }

    /// The first run brings the weights from the disk, and candle rearranges those of some types,
    /// differently for a prompt and for one token. A short run of each moves that cost from the
    /// first job to loading.
    fn warm_up(&mut self) -> Result<(), EngineError> {
        const TOKENS: usize = 32;
        self.model.forward(&[0; TOKENS], 0)?;
        self.model.forward(&[0], TOKENS)?;
        self.model.forget_from(0);
        Ok(())
    }
}
