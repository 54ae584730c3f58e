/** Connects the controls with the app. */
import { App } from "./app.js";
import { microphones } from "./microphone.js";
import { choose, element, onchoice, say } from "./page.js";
import { example, type EngineName } from "./server.js";
import type { Mode } from "./sounds.js";
import { followTheme } from "./theme.js";
import { setUpVoice } from "./voice.js";

const PRIVACY: Record<EngineName, string> = {
  device: "Drop recordings or speak. Nothing leaves this device: the network runs in your browser.",
  server: `Drop recordings or speak. Your sound is sent to ${location.host}, cleaned there and sent back; nothing is kept.`,
};

const app = new App();
followTheme((theme) => app.recolour(theme));

function chooseEngine(engine: EngineName): void {
  app.engine = engine;
  element("privacy").textContent = PRIVACY[engine];
}

chooseEngine("device");
onchoice("engine", (engine) => {
  chooseEngine(engine as EngineName);
  app.redo();
});
onchoice("mode", (mode) => (app.mode = mode as Mode));

const strength = element<HTMLInputElement>("strength");
strength.addEventListener("input", () => {
  app.strength = Number(strength.value) / 100;
  element("share").textContent = `${strength.value} %`;
});

// Recordings

const file = element<HTMLInputElement>("file");

function open(files: FileList | null | undefined): void {
  const sources = [...(files ?? [])].map((each) => ({
    name: each.name,
    read: () => each.arrayBuffer(),
  }));
  if (sources.length) void app.open(sources);
}

file.addEventListener("change", () => {
  open(file.files);
  file.value = "";
});
element("example").addEventListener("click", () => {
  void app.open([{ name: "office_48k.flac", read: example }]);
});
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("over");
});
addEventListener("dragleave", () => document.body.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  open(event.dataTransfer?.files);
});

// Microphone

const speak = element<HTMLButtonElement>("speak");
const microphone = element<HTMLSelectElement>("microphone");
const audible = element<HTMLInputElement>("audible");

async function listMicrophones(): Promise<void> {
  const chosen = microphone.value;
  const options = (await microphones()).map(
    (device, n) => new Option(device.label || `Microphone ${n + 1}`, device.deviceId),
  );
  if (!options.length) options.push(new Option("Default", ""));
  microphone.replaceChildren(...options);
  if (options.some((option) => option.value === chosen)) microphone.value = chosen;
}

app.onspeaking = () => {
  speak.ariaPressed = String(app.speaking);
  speak.querySelector("span")!.textContent = app.speaking ? "Stop" : "Speak";
  microphone.disabled = app.speaking;
};

speak.addEventListener("click", async () => {
  speak.disabled = true;
  audible.checked = false;
  if (app.speaking) await app.stop();
  else await app.speak(microphone.value);
  speak.disabled = false;
  await listMicrophones();
});
navigator.mediaDevices?.addEventListener("devicechange", () => void listMicrophones());
void listMicrophones();
audible.addEventListener("change", () => (app.audible = audible.checked));

setUpVoice(
  () => microphone.value,
  () => app.redo(),
);

// Playback

element("play").addEventListener("click", () => void app.toggle());
element("download").addEventListener("click", () => app.download());
element("download-all").addEventListener("click", () => app.download(true));
const timeline = element<HTMLInputElement>("timeline");
timeline.addEventListener("input", () => void app.seek(Number(timeline.value)));
for (const id of ["before", "after"]) {
  const canvas = element(id);
  canvas.addEventListener("click", (event) => {
    void app.seek((event.offsetX / canvas.clientWidth) * app.duration);
  });
}

document.querySelector(".stage")!.addEventListener("keydown", (event) => {
  const { key, target, ctrlKey, metaKey, altKey } = event as KeyboardEvent;
  if (ctrlKey || metaKey || altKey) return;
  const own = target instanceof HTMLInputElement; // it handles arrow keys itself
  if (key === "a") choose("mode", app.mode === "noisy" ? "clean" : "noisy");
  else if (key === "n") choose("mode", "noise");
  else if (key === "ArrowLeft" && !own) void app.seek(app.position - 1);
  else if (key === "ArrowRight" && !own) void app.seek(app.position + 1);
  else if (key === " " && target instanceof HTMLInputElement && target.type === "range") {
    void app.toggle();
  } else return;
  event.preventDefault();
});

addEventListener("unhandledrejection", (event) => say(String(event.reason), true));
