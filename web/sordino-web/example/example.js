// Serve the folder of sordino-web, with its dist/ built, and open example/. With the headers
//   Cross-Origin-Opener-Policy: same-origin
//   Cross-Origin-Embedder-Policy: require-corp
// the threads share memory; without them they send messages.
import { createSordinoNode } from "../dist/index.js";

const state = document.getElementById("state");
const strength = document.getElementById("strength");

async function start() {
  // The browser's own processing would take noise away before Sordino hears it.
  const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const microphone = await navigator.mediaDevices.getUserMedia({ audio });
  const context = new AudioContext({ sampleRate: 48000 });
  const node = await createSordinoNode(context, { strength: strength.valueAsNumber });
  context.createMediaStreamSource(microphone).connect(node).connect(context.destination);
  strength.oninput = () => (node.strength = strength.valueAsNumber);
  node.addEventListener("stats", () => {
    const { latency, load, underruns } = node.stats;
    state.textContent =
      `${node.state}, ${Math.round(1000 * latency)} ms, ` +
      `${Math.round(100 * load)} % of a processor, ${underruns} underruns`;
  });
}

document.getElementById("start").onclick = (event) => {
  event.target.disabled = true;
  start().catch((error) => (state.textContent = error.message));
};
