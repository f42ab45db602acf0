import { readFile, stat } from 'node:fs/promises';
import { isIP } from 'node:net';
import type { Address } from './dns.ts';

/** The hosts file of the operating system. */
export const systemHostsFile =
  process.platform === 'win32' ? 'C:\\Windows\\System32\\drivers\\etc\\hosts' : '/etc/hosts';

/** Addresses by name, in lower case. */
type Hosts = ReadonlyMap<string, readonly Address[]>;

/** Looks up names in a hosts file (hosts(5)); reads the file again when it changes. */
export class HostsFile {
  readonly #path: string;
  #version = '';
  #hosts: Promise<Hosts> = Promise.resolve(new Map());

  constructor(path: string) {
    this.#path = path;
  }

  /** Returns all addresses of a name; none if the file does not contain it or cannot be read. */
  async find(name: string): Promise<readonly Address[]> {
    const file = await stat(this.#path).catch(() => undefined);
    const version = file ? `${file.mtimeMs} ${file.size} ${file.ino}` : '';
    if (version !== this.#version) {
      this.#version = version;
      this.#hosts = readFile(this.#path, 'utf8').then(parseHosts, () => new Map());
    }
    return (await this.#hosts).get(name) ?? [];
  }
}

function parseHosts(text: string): Hosts {
  const hosts = new Map<string, Address[]>();
  for (const line of text.split('\n')) {
    const [address = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/);
    const family = isIP(address);
    if (family === 0) continue;
    for (const name of names.map((text) => text.toLowerCase())) {
      hosts.set(name, [...(hosts.get(name) ?? []), { address, family: family === 6 ? 6 : 4 }]);
    }
  }
  return hosts;
}
