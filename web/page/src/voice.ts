/** The visitor's own voice: enrolled by reading aloud or from a file, kept in this browser alone. */
import { element, say } from "./page.js";
import { enrol } from "./server.js";

const STORED = "sordino-voice";
const RECORD_SECONDS = 20;

/** The profile that is to be kept alone, or null for everybody. */
export function chosenVoice(): string | null {
  const profile = localStorage.getItem(STORED);
  return profile && element<HTMLInputElement>("my-voice").checked ? profile : null;
}

/** Record a microphone until the time is over or `stop` is called. */
async function record(device: string, stopped: Promise<void>): Promise<ArrayBuffer> {
  // The voice as it will be heard: without the browser's own processing.
  const audio: MediaTrackConstraints = {
    deviceId: device ? { exact: device } : undefined,
    echoCancellation: false,
    noiseSuppression: false,
    autoGainControl: false,
  };
  const stream = await navigator.mediaDevices.getUserMedia({ audio });
  try {
    const recorder = new MediaRecorder(stream);
    const parts: Blob[] = [];
    recorder.ondataavailable = ({ data }) => parts.push(data);
    const ended = new Promise((resolve) => (recorder.onstop = resolve));
    recorder.start();
    await Promise.race([
      stopped,
      new Promise((resolve) => setTimeout(resolve, 1000 * RECORD_SECONDS)),
    ]);
    recorder.stop();
    await ended;
    return await new Blob(parts).arrayBuffer();
  } finally {
    stream.getTracks().forEach((track) => track.stop());
  }
}

/**
 * Connect the controls.
 *
 * @param microphone which one to record.
 * @param onchange called when another voice is to be kept.
 */
export function setUpVoice(microphone: () => string, onchange: () => void): void {
  const use = element<HTMLInputElement>("my-voice");
  const read = element<HTMLButtonElement>("read-aloud");
  const file = element<HTMLInputElement>("voice-file");
  const forget = element<HTMLButtonElement>("forget-voice");
  const sentence = element("sentence");
  let stop = (): void => {};

  const show = (): void => {
    const enrolled = localStorage.getItem(STORED) !== null;
    use.disabled = forget.hidden = !enrolled;
    use.checked &&= enrolled;
  };

  async function make(recording: Promise<ArrayBuffer>): Promise<void> {
    try {
      const sound = await recording;
      say(`Making a profile of your voice on ${location.host} …`);
      localStorage.setItem(STORED, await enrol(sound));
      show();
      use.checked = true;
      say("Your voice is enrolled. The profile is kept in this browser, and nowhere else.");
      onchange();
    } catch (error) {
      say((error as Error).message, true);
    }
  }

  read.addEventListener("click", async () => {
    if (read.ariaPressed === "true") return stop();
    const stopped = new Promise<void>((resolve) => (stop = resolve));
    read.ariaPressed = "true";
    read.textContent = "Done";
    sentence.hidden = false;
    say("Read the text aloud, as you would speak in a meeting.");
    await make(record(microphone(), stopped));
    read.ariaPressed = "false";
    read.textContent = "Read a text aloud";
    sentence.hidden = true;
  });
  file.addEventListener("change", () => {
    const chosen = file.files?.[0];
    file.value = "";
    if (chosen) void make(chosen.arrayBuffer());
  });
  forget.addEventListener("click", () => {
    const used = use.checked;
    localStorage.removeItem(STORED);
    show();
    say("Your voice is forgotten.");
    if (used) onchange();
  });
  use.addEventListener("change", onchange);
  use.checked = localStorage.getItem(STORED) !== null;
  show();
}
