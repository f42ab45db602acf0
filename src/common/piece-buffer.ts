/** The limits of a buffer. */
export interface PieceLimits {
  bytes: number;
  /** Each piece costs as much as a hundred bytes or more, so a body in one-byte pieces costs far more than its size. */
  pieces: number;
}

/** Collects pieces in one buffer: a list of small buffers takes far more memory than their bytes. */
export class PieceBuffer {
  readonly #limits: PieceLimits;
  #buffer = Buffer.alloc(0);
  #size = 0;
  #pieces = 0;

  constructor(limits: PieceLimits) {
    this.#limits = limits;
  }

  /** @returns the limit that this piece exceeds; such a piece is not added */
  add(piece: Buffer): keyof PieceLimits | undefined {
    this.#pieces += 1;
    const size = this.#size + piece.length;
    if (size > this.#limits.bytes) return 'bytes';
    if (this.#pieces > this.#limits.pieces) return 'pieces';
    if (size > this.#buffer.length) this.#grow(size);
    // Copies: a piece is a view of the socket's read buffer and would keep all of it alive.
    piece.copy(this.#buffer, this.#size);
    this.#size = size;
    return undefined;
  }

  /** The collected bytes, without a copy. */
  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#size);
  }

  #grow(size: number): void {
    const buffer = Buffer.alloc(Math.min(this.#limits.bytes, Math.max(2 * this.#buffer.length, size, 4_096)));
    this.#buffer.copy(buffer, 0, 0, this.#size);
    this.#buffer = buffer;
  }
}
