import { spawn } from 'node:child_process';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { openControlSocket } from '../src/bootstrap/control-socket.ts';
import { DataDir } from '../src/bootstrap/data-dir.ts';
import { createLog } from '../src/common/log.ts';
import { askLocalSocket } from '../src/outbound/local-socket.ts';
import { temporaryFolder } from './testkit/process.ts';

vi.setConfig({ testTimeout: 30_000 });

const stack = new AsyncDisposableStack();
let folder: string;
let path: string;
let control: Awaited<ReturnType<typeof openControlSocket>>;
beforeAll(async () => {
  folder = stack.use(temporaryFolder()).path;
  path = join(folder, 'control/socket');
  control = await openControlSocket(folder, async (request) => ({ request }), createLog('silent'));
});
afterAll(() => stack.disposeAsync());

/** Connects, sends a byte at a time for ever, and reports when the server has closed the connection. */
function dawdle() {
  const socket = connect({ path, allowHalfOpen: true });
  const sending = setInterval(() => socket.write(' '), 100);
  const closed = new Promise<void>((resolve) => {
    socket.on('error', () => undefined).once('close', () => resolve());
  }).finally(() => clearInterval(sending));
  socket.resume();
  return { socket, closed };
}

describe('the socket for commands', () => {
  it('ends a request that a command never finishes to send, and answers others', async () => {
    const { closed } = dawdle();
    expect(await askLocalSocket(path, '{"a":1}')).toBe('{"result":{"request":{"a":1}}}\n');
    for (const garbage of ['', '{{', '\u0000']) expect(await askLocalSocket(path, garbage)).toBe('');
    await closed;
  });

  it('leaves file descriptors to the HTTP server, however many commands connect', async () => {
    const many = Array.from({ length: 40 }, dawdle);
    // Those that are too many are closed at once, and so are the others when their time is over.
    await Promise.all(many.slice(16).map(({ closed }) => closed));
    expect(many.slice(0, 16).filter(({ socket }) => !socket.destroyed)).toHaveLength(16);
    await Promise.all(many.map(({ closed }) => closed));
  });

  it('does not keep a server that stops waiting for a command that sends for ever', async () => {
    const { closed } = dawdle();
    await control?.close();
    await closed;
  });
});

describe('the lock of DATA_DIR', () => {
  it('lets a server start while a command asks whether one runs', async () => {
    const { path: shared } = stack.use(temporaryFolder());
    const script = `import { DataDir } from '${new URL('../src/bootstrap/data-dir.ts', import.meta.url).pathname}';
      const dataDir = new DataDir(process.argv[1]);
      process.stdout.write('asking');
      const pause = new Int32Array(new SharedArrayBuffer(4));
      for (;;) {
        dataDir.isLocked();
        // Commands ask once. Without a pause, the lock would hardly ever be free.
        Atomics.wait(pause, 0, 0, 1);
      }`;
    const asking = spawn(process.execPath, ['--input-type=module', '--eval', script, shared]);
    try {
      await new Promise((resolve) => asking.stdout.once('data', resolve));
      for (let start = 0; start < 500; start += 1) new DataDir(shared).lock().release();
    } finally {
      asking.kill('SIGKILL');
    }
  });
});
