import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { closedPort, isListening, temporaryFolder, until } from './process.ts';

const executable = '/usr/sbin/nginx';

/** Whether nginx is installed; prints a note when it is not. */
export function hasNginx(): boolean {
  if (existsSync(executable)) return true;
  console.warn(`Skipped: there is no ${executable}; "apt-get install nginx-light" brings it.`);
  return false;
}

/** A running nginx. */
export interface Nginx extends AsyncDisposable {
  url: string;
  /** Replaces the locations. */
  configure(locations: string): Promise<void>;
}

/**
 * Starts Debian's nginx on a free port.
 *
 * @param locations the contents of its one `server` block; everything else keeps nginx's defaults
 */
export async function startNginx(locations: string): Promise<Nginx> {
  const folder = temporaryFolder();
  const port = await closedPort();
  const file = join(folder.path, 'nginx.conf');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${folder.path}/${name};`)
    .join(' ');
  const configure = (inServer: string) =>
    writeFileSync(
      file,
      `daemon off; master_process off; pid ${folder.path}/pid; error_log stderr; events {}
      http { access_log off; ${temporary} server { listen 127.0.0.1:${port}; ${inServer} } }`,
    );
  let nginx: ChildProcess;
  const start = async () => {
    nginx = spawn(executable, ['-p', folder.path, '-c', file, '-e', 'stderr'], { stdio: 'ignore' });
    await until('nginx listens', async () => (await isListening(port)) || undefined);
  };
  const stop = async () => {
    const exited = once(nginx, 'exit');
    nginx.kill('SIGTERM');
    await exited;
  };
  configure(locations);
  await start();
  return {
    url: `http://127.0.0.1:${port}`,
    configure: async (inServer) => {
      await stop();
      configure(inServer);
      await start();
    },
    [Symbol.asyncDispose]: async () => {
      await stop();
      folder[Symbol.dispose]();
    },
  };
}
