/** The server pings every 12 s, so two pings may be late. */
const maxSilenceMs = 30_000;

/**
 * Wraps fetch to abort a response that sends nothing for 30 s. A stream behind a buffering proxy or over a lost network
 * looks open otherwise.
 *
 * @param onData called for each chunk of a response
 */
export function fetchEvents(send: typeof fetch, onData: () => void): typeof fetch {
  return async (input, init) => {
    const silence = new AbortController();
    const signal = init?.signal ? AbortSignal.any([init.signal, silence.signal]) : silence.signal;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const restartTimer = () => {
      clearTimeout(timer);
      timer = setTimeout(
        () => silence.abort(new Error('The server has sent nothing for 30 s.')),
        maxSilenceMs,
      );
    };
    signal.addEventListener('abort', () => clearTimeout(timer));
    restartTimer();
    const response = await send(input, { ...init, signal });
    const observed = new TransformStream<Uint8Array, Uint8Array>({
      transform: (chunk, controller) => {
        restartTimer();
        onData();
        controller.enqueue(chunk);
      },
      flush: () => clearTimeout(timer),
    });
    return new Response(response.body?.pipeThrough(observed), response);
  };
}
