/** How many requests of a document are in flight at a time. */
const maxConcurrent = 8;

/** The requests that one GraphQL document sends to apps. Each is sent once, however often the document needs its response. */
export class DocumentReads<Response> {
  readonly #responses = new Map<string, Promise<Response>>();
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  /**
   * Returns the response to a request.
   *
   * @param request identifies it within the document
   * @param send sends it
   */
  load(request: string, send: () => Promise<Response>): Promise<Response> {
    const known = this.#responses.get(request);
    if (known) return known;
    const response = this.#run(send);
    this.#responses.set(request, response);
    return response;
  }

  async #run(send: () => Promise<Response>): Promise<Response> {
    if (this.#running >= maxConcurrent) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#running += 1;
    try {
      return await send();
    } finally {
      // The next one takes over the place of this one.
      const next = this.#waiting.shift();
      if (next) next();
      else this.#running -= 1;
    }
  }
}
