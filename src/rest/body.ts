import type { IncomingMessage } from 'node:http';
import { HttpProblem } from './problem.ts';

const maxBodyBytes = 100_000;

/** @throws HttpProblem (400), because whoever sends something wants it to be heeded */
export function assertNoBody(request: IncomingMessage): undefined {
  if (!hasBody(request)) return;
  throw new HttpProblem(400, 'BAD_USER_INPUT', 'This route takes no body.', { remedy: 'Leave it out.' });
}

/**
 * The JSON object that a request holds. Nothing of it is in any message.
 *
 * @throws HttpProblem (413, 415, 400) when it is too large, not said to be JSON, or no JSON object
 */
export async function readBody(request: IncomingMessage): Promise<object> {
  const { 'content-type': type = '', 'content-encoding': encoding = 'identity' } = request.headers;
  if (!/^application\/json *(; *charset="?utf-8"? *)?$/i.test(type) || encoding !== 'identity') {
    throw new HttpProblem(415, 'BAD_USER_INPUT', 'The body is not said to be plain JSON.', {
      headers: { accept: 'application/json' },
      remedy: 'Send JSON in UTF-8 with the header "Content-Type: application/json", and not compressed.',
    });
  }
  const value = parse(await readBytes(request));
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw new HttpProblem(400, 'BAD_USER_INPUT', 'The body is JSON, but not an object.', {
    remedy: 'Send a JSON object: { "name": … }.',
  });
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

async function readBytes(request: IncomingMessage): Promise<Buffer> {
  if (Number(request.headers['content-length']) > maxBodyBytes) throw tooLarge();
  const chunks: Buffer[] = [];
  let size = 0;
  // Not `for await`, which would cut the connection on leaving early, and the answer with it.
  await new Promise<void>((resolve, reject) => {
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= maxBodyBytes) chunks.push(chunk);
      else reject(tooLarge());
    });
    request.once('end', resolve).once('error', reject);
  });
  return Buffer.concat(chunks);
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new HttpProblem(400, 'BAD_USER_INPUT', 'The body is not JSON.', {
      remedy: 'Send a JSON object in UTF-8, as JSON.stringify or jq makes it.',
    });
  }
}

function tooLarge(): HttpProblem {
  return new HttpProblem(413, 'BAD_USER_INPUT', `The body has more than ${maxBodyBytes} bytes.`, {
    remedy: `Send at most ${maxBodyBytes} bytes.`,
  });
}
