/** Samples that wait, first in, first out. */
export class Fifo {
  private blocks: Float32Array[] = [];
  length = 0;

  push(block: Float32Array): void {
    this.blocks.push(block);
    this.length += block.length;
  }

  /** Take up to `count` samples. */
  take(count: number): Float32Array {
    const out = new Float32Array(Math.min(count, this.length));
    for (let at = 0; at < out.length; ) {
      const block = this.blocks[0];
      const part = block.subarray(0, out.length - at);
      out.set(part, at);
      at += part.length;
      if (part.length === block.length) this.blocks.shift();
      else this.blocks[0] = block.subarray(part.length);
    }
    this.length -= out.length;
    return out;
  }
}
