// Records the microphone: with the browser's own encoder, or as it is where there is none.

import { words } from "./common.js";

// In order of preference: Opus is small and good for speech; the last is what Safari has.
const FORMATS = ["audio/webm;codecs=opus", "audio/ogg;codecs=opus", "audio/mp4"];

const supportedFormat = () =>
  globalThis.MediaRecorder && FORMATS.find((format) => MediaRecorder.isTypeSupported(format));

const canRecordSamples = () => Boolean(globalThis.AudioWorkletNode);

/** Why recording is impossible here, as a sentence; null when it is possible. */
export function obstacle() {
  if (!window.isSecureContext) return words.insecure;
  if (!navigator.mediaDevices?.getUserMedia || !(supportedFormat() || canRecordSamples())) {
    return words.noRecorder;
  }
  return null;
}

/** What to tell a person when the microphone was refused. */
export function explain(error) {
  switch (error.name) {
    case "NotAllowedError":
      return words.notAllowed;
    case "NotFoundError":
      return words.notFound;
    case "NotReadableError":
      return words.inUse;
    default:
      return `${words.micFailed} ${error.message}`;
  }
}

/** Encodes with the browser's MediaRecorder. */
class Encoder {
  #recorder;
  #pieces = [];

  constructor(stream, format) {
    this.#recorder = new MediaRecorder(stream, { mimeType: format });
    this.#recorder.addEventListener("dataavailable", ({ data }) => this.#pieces.push(data));
    this.#recorder.start();
  }

  async stop() {
    const stopped = new Promise((resolve) => {
      this.#recorder.addEventListener("stop", resolve, { once: true });
    });
    this.#recorder.stop();
    await stopped;
    return new Blob(this.#pieces, { type: this.#recorder.mimeType });
  }
}

/** Collects samples, and makes a WAV file of them. */
class Collector {
  #node;
  #pieces = [];

  constructor(sound, source) {
    this.#node = new AudioWorkletNode(sound, "pcm", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    this.#node.port.onmessage = ({ data }) => this.#pieces.push(data);
    source.connect(this.#node);
  }

  async stop() {
    this.#node.disconnect();
    return wav(this.#pieces, this.#node.context.sampleRate);
  }
}

/** 16-bit mono WAV of `pieces`, arrays of samples from -1 to 1. */
function wav(pieces, rate) {
  const bytes = 2 * pieces.reduce((sum, piece) => sum + piece.length, 0);
  const view = new DataView(new ArrayBuffer(44 + bytes));
  const text = (at, letters) => [...letters].forEach((it, n) => view.setUint8(at + n, it.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + bytes, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, bytes, true);
  let at = 44;
  for (const sample of pieces.flatMap((piece) => [...piece])) {
    view.setInt16(at, 32767 * Math.max(-1, Math.min(1, sample)), true);
    at += 2;
  }
  return new Blob([view], { type: "audio/wav" });
}

/** One recording: made by `start`, ended by `stop` or `discard`. */
export class Recording {
  #stream;
  #sound;
  #taker;
  #samples;
  #analyser;

  /** Asks for the microphone and begins. Rejects when it is refused. */
  static async start() {
    const audio = { channelCount: 1, echoCancellation: true, noiseSuppression: true };
    const recording = new Recording();
    recording.#stream = await navigator.mediaDevices.getUserMedia({ audio });
    await recording.#begin();
    return recording;
  }

  async #begin() {
    this.#sound = new AudioContext();
    const source = this.#sound.createMediaStreamSource(this.#stream);
    this.#analyser = this.#sound.createAnalyser();
    this.#samples = new Float32Array(this.#analyser.fftSize);
    source.connect(this.#analyser);
    const format = supportedFormat();
    if (format) {
      this.#taker = new Encoder(this.#stream, format);
    } else {
      await this.#sound.audioWorklet.addModule("/static/pcm.js");
      this.#taker = new Collector(this.#sound, source);
    }
    this.startedAt = performance.now();
  }

  /** Loudness now, 0 to 1: the root mean square in decibels, from -60 to 0. */
  level() {
    this.#analyser.getFloatTimeDomainData(this.#samples);
    const power = this.#samples.reduce((sum, sample) => sum + sample * sample, 0);
    const decibels = 10 * Math.log10(power / this.#samples.length + 1e-12);
    return Math.min(1, Math.max(0, 1 + decibels / 60));
  }

  /** Ends the recording and gives it as a Blob. */
  async stop() {
    const blob = await this.#taker.stop();
    this.#release();
    return blob;
  }

  /** Ends the recording and forgets it. */
  discard() {
    this.#taker.stop();
    this.#release();
  }

  #release() {
    // Otherwise the browser goes on showing that the microphone is in use.
    for (const track of this.#stream.getTracks()) track.stop();
    this.#sound.close();
  }
}
