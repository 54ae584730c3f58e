/** One spectrogram on a canvas. Levels are kept, so that a change of colours redraws at once. */
import { Columns, place, ROWS } from "./columns.js";

const TICKS_HZ = [100, 200, 500, 1000, 2000, 5000, 10000];

export class Panel {
  /** Columns that the picture holds. */
  readonly width = 1024;
  private readonly levels = new Uint8Array(this.width * ROWS);
  private readonly picture = document.createElement("canvas");
  private readonly inner: CanvasRenderingContext2D;
  private readonly outer: CanvasRenderingContext2D;
  private readonly column: ImageData;
  private readonly pixels: Uint32Array;
  private palette: Uint32Array = new Uint32Array(256);

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly axis: HTMLElement,
  ) {
    this.picture.width = this.width;
    this.picture.height = ROWS;
    this.inner = this.picture.getContext("2d", { alpha: false })!;
    this.outer = canvas.getContext("2d", { alpha: false })!;
    this.column = this.inner.createImageData(1, ROWS);
    this.pixels = new Uint32Array(this.column.data.buffer);
    new ResizeObserver(() => this.fit()).observe(canvas);
  }

  /** Called when the canvas has another size and must be drawn again. */
  onresize: () => void = () => {};

  clear(): void {
    this.levels.fill(0);
    this.recolour(this.palette);
  }

  /** Write the axis for sound of a rate. */
  scale(rate: number): void {
    const ticks = TICKS_HZ.filter((hz) => place(hz, rate) < 0.97).map((hz) => {
      const tick = document.createElement("span");
      tick.textContent = hz < 1000 ? `${hz}` : `${hz / 1000}k`;
      tick.className = `tick-${hz}`;
      tick.style.setProperty("--place", String(place(hz, rate)));
      return tick;
    });
    this.axis.replaceChildren(...ticks);
  }

  /** Set column `x` to the greatest levels of some windows of `columns.size` samples. */
  put(x: number, windows: Float32Array[], columns: Columns): void {
    columns.write(windows, this.levels, x * ROWS);
    this.paint(x);
  }

  recolour(palette: Uint32Array): void {
    this.palette = palette;
    for (let x = 0; x < this.width; x++) this.paint(x);
  }

  /** Show the picture from column `first` on, around its end to its start again. */
  draw(first: number): void {
    const { outer, canvas, picture, width } = this;
    const scale = canvas.width / width;
    outer.imageSmoothingQuality = "medium";
    const split = Math.round((width - first) * scale);
    if (first < width) {
      outer.drawImage(picture, first, 0, width - first, ROWS, 0, 0, split, canvas.height);
    }
    if (first > 0) {
      outer.drawImage(picture, 0, 0, first, ROWS, split, 0, canvas.width - split, canvas.height);
    }
  }

  private paint(x: number): void {
    for (let row = 0; row < ROWS; row++) {
      this.pixels[row] = this.palette[this.levels[x * ROWS + row]];
    }
    this.inner.putImageData(this.column, x, 0);
  }

  private fit(): void {
    const { clientWidth, clientHeight } = this.canvas;
    const dense = Math.min(2, devicePixelRatio);
    this.canvas.width = Math.max(1, Math.round(clientWidth * dense));
    this.canvas.height = Math.max(1, Math.round(clientHeight * dense));
    this.onresize();
  }
}
