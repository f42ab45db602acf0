/** The server pings every 12 s. What is between may be late, but two pings do not get lost. */
const maxSilenceMs = 30_000;

/**
 * A fetch that gives up an answer that is silent for longer than the server ever is: behind a proxy that holds answers
 * back, or over a network that is gone, a stream of events looks whole.
 *
 * @param onHeard called for each piece of an answer that arrives
 */
export function fetchEvents(ask: typeof fetch, onHeard: () => void): typeof fetch {
  return async (input, init) => {
    const silence = new AbortController();
    const signal = init?.signal ? AbortSignal.any([init.signal, silence.signal]) : silence.signal;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const wait = () => {
      clearTimeout(timer);
      timer = setTimeout(
        () => silence.abort(new Error('The server has sent nothing for 30 s.')),
        maxSilenceMs,
      );
    };
    signal.addEventListener('abort', () => clearTimeout(timer));
    wait();
    const response = await ask(input, { ...init, signal });
    const heard = new TransformStream<Uint8Array, Uint8Array>({
      transform: (piece, controller) => {
        wait();
        onHeard();
        controller.enqueue(piece);
      },
      flush: () => clearTimeout(timer),
    });
    return new Response(response.body?.pipeThrough(heard), response);
  };
}
