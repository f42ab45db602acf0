import { execFileSync, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';

/** Computers of a network that can be separated. `host` is this computer, with everything that runs outside of the network. */
export const computers = ['host', 'etcd', 'a', 'b'] as const;

/** The name of a computer. */
export type Computer = (typeof computers)[number];

/**
 * Network namespaces of Linux, which a router of its own connects. The router drops the packets between computers that are separated,
 * so that, as in a real network, connections stay open and nothing is answered. Needs root.
 */
export class Network implements Disposable {
  readonly #prefix = `failover-${process.pid}`;
  readonly #separated: string[][] = [];

  constructor() {
    // Also when the process ends by an error that nothing handles.
    process.once('exit', () => this[Symbol.dispose]());
    try {
      const router = this.#namespace('router');
      this.#ip('netns', 'add', router);
      for (const [index, computer] of computers.entries()) {
        const link = `fo${process.pid}-${index}`;
        const [gateway, address] = [`10.231.${index}.1`, this.address(computer)];
        if (computer === 'host') {
          this.#ip('link', 'add', link, 'type', 'veth', 'peer', 'name', `p${index}`, 'netns', router);
          this.#ip('address', 'add', `${address}/24`, 'dev', link);
          this.#ip('link', 'set', link, 'up');
          this.#ip('route', 'add', '10.231.0.0/16', 'via', gateway);
        } else {
          const inside = ['-n', this.#namespace(computer)];
          this.#ip('netns', 'add', this.#namespace(computer));
          this.#ip(
            ...inside,
            'link',
            'add',
            link,
            'type',
            'veth',
            'peer',
            'name',
            `p${index}`,
            'netns',
            router,
          );
          this.#ip(...inside, 'address', 'add', `${address}/24`, 'dev', link);
          for (const name of ['lo', link]) this.#ip(...inside, 'link', 'set', name, 'up');
          this.#ip(...inside, 'route', 'add', 'default', 'via', gateway);
        }
        this.#ip('-n', router, 'address', 'add', `${gateway}/24`, 'dev', `p${index}`);
        this.#ip('-n', router, 'link', 'set', `p${index}`, 'up');
      }
      this.#ip('netns', 'exec', router, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward');
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** The IPv4 address of a computer. */
  address(computer: Computer): string {
    return `10.231.${computers.indexOf(computer)}.2`;
  }

  /** Starts a program on a computer as the user `postgres`, with its output at the end of a file. */
  start(computer: Computer, log: string, program: string, ...args: string[]): void {
    const output = openSync(log, 'a');
    const asUser = ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups'];
    spawn('ip', ['netns', 'exec', this.#namespace(computer), ...asUser, program, ...args], {
      stdio: ['ignore', output, output],
      cwd: '/',
    });
    closeSync(output);
  }

  /** Sends a signal to all processes of a computer. */
  signal(computer: Exclude<Computer, 'host'>, signal: NodeJS.Signals): void {
    for (const pid of this.#processes(computer)) {
      try {
        process.kill(pid, signal);
      } catch {
        // The process has ended meanwhile.
      }
    }
  }

  /** Kills all processes of a computer at the same time, like a power cut. */
  async kill(computer: Exclude<Computer, 'host'>): Promise<void> {
    // Suspended first, so that none of them sees the end of another one, and starts one.
    this.signal(computer, 'SIGSTOP');
    while (this.#processes(computer).length > 0) {
      this.signal(computer, 'SIGKILL');
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  /** Drops all packets between a computer and others from now on. */
  separate(computer: Computer, others: readonly Computer[]): void {
    for (const other of others)
      for (const [from, to] of [
        [computer, other],
        [other, computer],
      ] as const) {
        const rule = ['from', this.address(from), 'to', this.address(to), 'blackhole'];
        this.#ip('-n', this.#namespace('router'), 'rule', 'add', ...rule);
        this.#separated.push(rule);
      }
  }

  /** Ends all separations. */
  reunite(): void {
    for (const rule of this.#separated.splice(0))
      this.#ip('-n', this.#namespace('router'), 'rule', 'delete', ...rule);
  }

  /** Kills all processes of the network, and removes it. */
  [Symbol.dispose](): void {
    for (const name of ['etcd', 'a', 'b'] as const)
      for (let pids = this.#processes(name); pids.length > 0; pids = this.#processes(name))
        this.signal(name, 'SIGKILL');
    // Before its namespaces, which Linux removes in the background: the next network has the same route.
    this.#try('link', 'delete', `fo${process.pid}-0`);
    for (const name of [...computers, 'router']) this.#try('netns', 'delete', this.#namespace(name));
  }

  #namespace(name: string): string {
    return `${this.#prefix}-${name}`;
  }

  #processes(computer: Computer): number[] {
    const pids = this.#try('netns', 'pids', this.#namespace(computer)) ?? '';
    return pids.split('\n').filter(Boolean).map(Number).filter(isRunning);
  }

  #ip(...args: string[]): string {
    return execFileSync('ip', args, { encoding: 'utf8', stdio: 'pipe' });
  }

  #try(...args: string[]): string | undefined {
    try {
      return this.#ip(...args);
    } catch {
      return undefined;
    }
  }
}

/** Whether a process is more than a zombie. */
function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
