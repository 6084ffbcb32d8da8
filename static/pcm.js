// Hands on the microphone's samples: for browsers that have no encoder of their own.

registerProcessor(
  "pcm",
  class extends AudioWorkletProcessor {
    process([input]) {
      // A copy: the browser uses the same memory for the next samples.
      if (input[0]) this.port.postMessage(input[0].slice());
      return true;
    }
  },
);
