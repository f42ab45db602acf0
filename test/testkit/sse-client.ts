/** A subscription over server-sent events. */
export interface Subscription extends AsyncDisposable {
  /** Waits for the next result. */
  next(): Promise<{
    data?: Record<string, unknown>;
    errors?: { message: string; extensions: { code: string } }[];
  }>;
  /** The status of the response. */
  headers: Headers;
  /** Resolves when the server has ended the stream. */
  ended: Promise<void>;
}

/** Subscribes; once it resolves, the server delivers every further event. */
export async function subscribe(
  graphqlUrl: string,
  apiKey: string,
  query: string,
  variables: Record<string, unknown> = {},
  headers: Record<string, string> = {},
): Promise<Subscription> {
  const leaving = new AbortController();
  const response = await fetch(graphqlUrl, {
    method: 'POST',
    signal: leaving.signal,
    headers: {
      authorization: `Bearer ${apiKey}`,
      'content-type': 'application/json',
      accept: 'text/event-stream',
      ...headers,
    },
    body: JSON.stringify({ query, variables }),
  });
  const messages: string[] = [];
  let wake = () => {};
  let isOver = false;
  const reading = (async () => {
    let rest = '';
    for await (const text of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      const blocks = (rest + text).split('\n\n');
      rest = blocks.pop() ?? '';
      for (const block of blocks) {
        const line = block.split('\n').find((each) => each.startsWith('data: {'));
        if (line) messages.push(line.slice('data: '.length));
      }
      wake();
    }
  })();
  const ended = reading
    .catch(() => {})
    .then(() => {
      isOver = true;
      wake();
    });
  return {
    headers: response.headers,
    ended,
    async next() {
      while (messages.length === 0) {
        if (isOver) throw new Error('The server has ended the subscription.');
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      return JSON.parse(messages.shift() ?? '');
    },
    async [Symbol.asyncDispose]() {
      leaving.abort();
      await ended;
    },
  };
}
