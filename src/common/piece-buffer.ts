/** How much may be collected. */
export interface PieceLimits {
  bytes: number;
  /** A piece costs as much as a hundred bytes or more, so that what comes byte by byte costs far more than its size says. */
  pieces: number;
}

/** Collects pieces in one buffer: a list of small pieces holds far more memory than the pieces have bytes. */
export class PieceBuffer {
  readonly #limits: PieceLimits;
  #buffer = Buffer.alloc(0);
  #size = 0;
  #pieces = 0;

  constructor(limits: PieceLimits) {
    this.#limits = limits;
  }

  /** @returns the limit that is exceeded by this piece, which is then left out */
  add(piece: Buffer): keyof PieceLimits | undefined {
    this.#pieces += 1;
    const size = this.#size + piece.length;
    if (size > this.#limits.bytes) return 'bytes';
    if (this.#pieces > this.#limits.pieces) return 'pieces';
    if (size > this.#buffer.length) this.#grow(size);
    // A piece is a view of the memory that was read into, which would stay for as long as the piece does.
    piece.copy(this.#buffer, this.#size);
    this.#size = size;
    return undefined;
  }

  /** All that was collected, without a copy. */
  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#size);
  }

  #grow(size: number): void {
    const buffer = Buffer.alloc(Math.min(this.#limits.bytes, Math.max(2 * this.#buffer.length, size, 4_096)));
    this.#buffer.copy(buffer, 0, 0, this.#size);
    this.#buffer = buffer;
  }
}
