/**
 * Discrete Fourier transform of real frames, of any even size 2^a 3^b.
 *
 * The engine's sizes are 256, 512, 768 and 1536. Computed in double precision, by a Stockham
 * autosort of half the size (even samples as real part, odd ones as imaginary part).
 */
export class RealFft {
  readonly bins: number;
  private readonly half: number;
  private readonly radices: number[];
  private readonly cos: Float64Array;
  private readonly sin: Float64Array;
  private re: Float64Array;
  private im: Float64Array;
  private re2: Float64Array;
  private im2: Float64Array;

  constructor(readonly size: number) {
    this.half = size / 2;
    this.bins = this.half + 1;
    this.radices = factors(this.half);
    this.cos = Float64Array.from({ length: size }, (_, k) => Math.cos((2 * Math.PI * k) / size));
    this.sin = Float64Array.from({ length: size }, (_, k) => Math.sin((2 * Math.PI * k) / size));
    this.re = new Float64Array(this.half);
    this.im = new Float64Array(this.half);
    this.re2 = new Float64Array(this.half);
    this.im2 = new Float64Array(this.half);
  }

  /** Transform `size` samples into `bins` pairs (real, imaginary) from `offset` of `out`. */
  forward(samples: Float32Array | Float64Array, out: Float32Array, offset = 0): void {
    const { half, cos, sin } = this;
    for (let k = 0; k < half; k++) {
      this.re[k] = samples[2 * k];
      this.im[k] = samples[2 * k + 1];
    }
    this.transform();
    const { re, im } = this;
    for (let k = 0; k <= half; k++) {
      const a = k % half;
      const b = (half - k) % half;
      const evenRe = (re[a] + re[b]) / 2;
      const evenIm = (im[a] - im[b]) / 2;
      const oddRe = (im[a] + im[b]) / 2;
      const oddIm = (re[b] - re[a]) / 2;
      out[offset + 2 * k] = evenRe + oddRe * cos[k] + oddIm * sin[k];
      out[offset + 2 * k + 1] = evenIm + oddIm * cos[k] - oddRe * sin[k];
    }
  }

  /** Transform `bins` pairs from `offset` of `spectrum` back into `size` samples. */
  inverse(spectrum: Float32Array, samples: Float64Array, offset = 0): void {
    const { half, cos, sin } = this;
    for (let k = 0; k < half; k++) {
      const a = offset + 2 * k;
      const b = offset + 2 * (half - k);
      // The imaginary parts of the first and the last bin do not exist in a real sound.
      const aIm = k ? spectrum[a + 1] : 0;
      const bIm = k ? spectrum[b + 1] : 0;
      const evenRe = (spectrum[a] + spectrum[b]) / 2;
      const evenIm = (aIm - bIm) / 2;
      const differenceRe = (spectrum[a] - spectrum[b]) / 2;
      const differenceIm = (aIm + bIm) / 2;
      const oddRe = differenceRe * cos[k] - differenceIm * sin[k];
      const oddIm = differenceRe * sin[k] + differenceIm * cos[k];
      // Conjugated on the way in and out: the inverse by the forward transform.
      this.re[k] = evenRe - oddIm;
      this.im[k] = -(evenIm + oddRe);
    }
    this.transform();
    for (let k = 0; k < half; k++) {
      samples[2 * k] = this.re[k] / half;
      samples[2 * k + 1] = -this.im[k] / half;
    }
  }

  private transform(): void {
    let length = this.half;
    let stride = 1;
    for (const radix of this.radices) {
      if (radix === 2) this.butterflies2(length, stride);
      else this.butterflies3(length, stride);
      [this.re, this.re2] = [this.re2, this.re];
      [this.im, this.im2] = [this.im2, this.im];
      length /= radix;
      stride *= radix;
    }
  }

  private butterflies2(length: number, stride: number): void {
    const { re, im, re2, im2, cos, sin } = this;
    const part = length / 2;
    const turn = this.size / length;
    for (let q = 0; q < part; q++) {
      const c = cos[q * turn];
      const s = -sin[q * turn];
      for (let r = 0; r < stride; r++) {
        const a = r + stride * q;
        const b = a + stride * part;
        const to = r + stride * 2 * q;
        const dRe = re[a] - re[b];
        const dIm = im[a] - im[b];
        re2[to] = re[a] + re[b];
        im2[to] = im[a] + im[b];
        re2[to + stride] = dRe * c - dIm * s;
        im2[to + stride] = dRe * s + dIm * c;
      }
    }
  }

  private butterflies3(length: number, stride: number): void {
    const { re, im, re2, im2, cos, sin } = this;
    const part = length / 3;
    const turn = this.size / length;
    const root = Math.sqrt(3) / 2;
    for (let q = 0; q < part; q++) {
      const c1 = cos[q * turn];
      const s1 = -sin[q * turn];
      const c2 = cos[2 * q * turn];
      const s2 = -sin[2 * q * turn];
      for (let r = 0; r < stride; r++) {
        const a = r + stride * q;
        const b = a + stride * part;
        const c = b + stride * part;
        const to = r + stride * 3 * q;
        const sumRe = re[b] + re[c];
        const sumIm = im[b] + im[c];
        const restRe = re[a] - sumRe / 2;
        const restIm = im[a] - sumIm / 2;
        const sideRe = root * (im[b] - im[c]);
        const sideIm = root * (re[c] - re[b]);
        const firstRe = restRe + sideRe;
        const firstIm = restIm + sideIm;
        const secondRe = restRe - sideRe;
        const secondIm = restIm - sideIm;
        re2[to] = re[a] + sumRe;
        im2[to] = im[a] + sumIm;
        re2[to + stride] = firstRe * c1 - firstIm * s1;
        im2[to + stride] = firstRe * s1 + firstIm * c1;
        re2[to + 2 * stride] = secondRe * c2 - secondIm * s2;
        im2[to + 2 * stride] = secondRe * s2 + secondIm * c2;
      }
    }
  }
}

function factors(size: number): number[] {
  const found: number[] = [];
  let rest = size;
  for (const radix of [2, 3]) {
    for (; rest % radix === 0; rest /= radix) found.push(radix);
  }
  if (rest !== 1) throw new RangeError(`an FFT of ${2 * size} samples is not possible here`);
  return found;
}
