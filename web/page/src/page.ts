/** The parts of the page, by name, and small things done to them. */

export function element<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found as T;
}

export type Phase = "empty" | "busy" | "ready" | "live";

export function setPhase(phase: Phase): void {
  document.body.dataset.phase = phase;
}

/** Say something; it is read out by screen readers. */
export function say(message: string, bad = false): void {
  const status = element("status");
  status.textContent = message;
  status.classList.toggle("bad", bad);
}

/** Call with the value when another radio button of a group is chosen. */
export function onchoice(name: string, call: (value: string) => void): void {
  for (const input of radios(name)) {
    input.addEventListener("change", () => {
      if (input.checked) call(input.value);
    });
  }
}

export function choose(name: string, value: string): void {
  const input = radios(name).find((each) => each.value === value);
  if (!input || input.checked || input.disabled) return;
  input.checked = true;
  input.dispatchEvent(new Event("change"));
}

export function enable(name: string, enabled: boolean, only?: string): void {
  for (const input of radios(name)) if (!only || input.value === only) input.disabled = !enabled;
}

function radios(name: string): HTMLInputElement[] {
  return [...document.querySelectorAll<HTMLInputElement>(`input[name="${name}"]`)];
}

/** Seconds as "1:02.3". */
export function clock(seconds: number): string {
  const tenths = Math.floor(10 * seconds + 1e-6);
  const rest = String(Math.floor(tenths / 10) % 60).padStart(2, "0");
  return `${Math.floor(tenths / 600)}:${rest}.${tenths % 10}`;
}
