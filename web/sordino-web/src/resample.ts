/**
 * Sample-rate conversion of a whole recording: polyphase, linear phase, no delay.
 *
 * A Kaiser-windowed sinc with the edges of soxr's "HQ", which the Python engine uses: flat to 0.913
 * of the lower Nyquist frequency, 125 dB down from it on. Sample n of the output lies at n / to.
 */
const PASSBAND = 0.913;
const STOPBAND_DB = 125;

/** Convert `samples` from one rate in Hz to another; both whole numbers. */
export function resample(samples: Float32Array, from: number, to: number): Float32Array {
  const divisor = gcd(from, to);
  const up = to / divisor;
  const down = from / divisor;
  const lower = Math.min(from, to) / from; // of the input's Nyquist frequency
  const width = (1 - PASSBAND) * Math.PI * lower;
  const half = Math.ceil((STOPBAND_DB - 8) / (2.285 * width) / 2);
  const cutoff = ((1 + PASSBAND) / 2) * lower;
  const phases = Array.from({ length: up }, (_, phase) => kernel(phase / up, half, cutoff));
  const out = new Float32Array(Math.round((samples.length * up) / down));
  for (let n = 0; n < out.length; n++) {
    const position = n * down;
    const start = Math.floor(position / up) - half + 1;
    const taps = phases[position % up];
    let sum = 0;
    const first = Math.max(0, -start);
    const last = Math.min(taps.length, samples.length - start);
    for (let k = first; k < last; k++) sum += taps[k] * samples[start + k];
    out[n] = sum;
  }
  return out;
}

function kernel(fraction: number, half: number, cutoff: number): Float64Array {
  const beta = 0.1102 * (STOPBAND_DB - 8.7);
  return Float64Array.from({ length: 2 * half }, (_, k) => {
    const t = k - half + 1 - fraction;
    const x = Math.PI * cutoff * t;
    const sinc = x === 0 ? cutoff : (cutoff * Math.sin(x)) / x;
    return (sinc * bessel(beta * Math.sqrt(Math.max(0, 1 - (t / half) ** 2)))) / bessel(beta);
  });
}

/** The modified Bessel function of the first kind and order 0. */
function bessel(x: number): number {
  let sum = 1;
  let term = 1;
  for (let k = 1; term > 1e-16 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function gcd(a: number, b: number): number {
  return b ? gcd(b, a % b) : a;
}
