// Records the microphone with the browser's own encoder.

// In order of preference: Opus is small and good for speech; the last is what Safari has.
const FORMATS = ["audio/webm;codecs=opus", "audio/ogg;codecs=opus", "audio/mp4"];

const supportedFormat = () =>
  globalThis.MediaRecorder && FORMATS.find((format) => MediaRecorder.isTypeSupported(format));

/** Why recording is impossible here, as a sentence; null when it is possible. */
export function obstacle() {
  if (!window.isSecureContext) {
    return (
      "The microphone is off: browsers allow recording only on pages that came over HTTPS, or " +
      "from the machine itself. Open this page as http://localhost on the machine that serves " +
      "it, or put the server behind HTTPS. Choosing a file works here too."
    );
  }
  if (!navigator.mediaDevices?.getUserMedia || !supportedFormat()) {
    return "This browser cannot record sound. Choose a file instead.";
  }
  return null;
}

/** What to tell a person when the microphone was refused. */
export function explain(error) {
  switch (error.name) {
    case "NotAllowedError":
      return "The browser did not give access to the microphone. Allow it for this page, then click the mic again.";
    case "NotFoundError":
      return "No microphone was found. Plug one in, or choose a file.";
    case "NotReadableError":
      return "The microphone is in use by another program. Close it there, then click the mic again.";
    default:
      return `Recording failed: ${error.message}`;
  }
}

/** One recording: made by `start`, ended by `stop` or `discard`. */
export class Recording {
  #stream;
  #recorder;
  #pieces = [];
  #sound;
  #samples;
  #analyser;

  constructor(stream) {
    this.#stream = stream;
    this.#recorder = new MediaRecorder(stream, { mimeType: supportedFormat() });
    this.#recorder.addEventListener("dataavailable", ({ data }) => this.#pieces.push(data));
    this.#sound = new AudioContext();
    this.#analyser = this.#sound.createAnalyser();
    this.#samples = new Float32Array(this.#analyser.fftSize);
    this.#sound.createMediaStreamSource(stream).connect(this.#analyser);
    this.#recorder.start();
    this.startedAt = performance.now();
  }

  /** Asks for the microphone and begins. Rejects when it is refused. */
  static async start() {
    const audio = { channelCount: 1, echoCancellation: true, noiseSuppression: true };
    return new Recording(await navigator.mediaDevices.getUserMedia({ audio }));
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
    const stopped = new Promise((resolve) => {
      this.#recorder.addEventListener("stop", resolve, { once: true });
    });
    this.#recorder.stop();
    await stopped;
    this.#release();
    return new Blob(this.#pieces, { type: this.#recorder.mimeType });
  }

  /** Ends the recording and forgets it. */
  discard() {
    this.#recorder.stop();
    this.#release();
  }

  #release() {
    // Otherwise the browser goes on showing that the microphone is in use.
    for (const track of this.#stream.getTracks()) track.stop();
    this.#sound.close();
  }
}
