import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadPg } from '../../src/database/driver/pg.ts';
import { closedPort, temporaryFolder, until } from '../../test/testkit/process.ts';
import { Network } from './network.ts';

/** A member of the cluster: PostgreSQL under Patroni, on a computer of its own. */
export type Member = 'a' | 'b';

/** What Patroni says about a member. */
interface MemberState {
  name: Member;
  role: string;
  timeline?: number;
}

/** In seconds. Patroni's defaults are 30, 10 and 10. */
const timing = { ttl: 10, loop_wait: 2, retry_timeout: 3 };

/** How long a cluster may take to have a primary and a synchronous standby, in milliseconds. */
const completionMs = 240_000;

/** The path of PostgreSQL's programs. */
export const binaries = globSync('/usr/lib/postgresql/*/bin/').toSorted().at(-1);

/** A primary and a standby under Patroni, with etcd, behind HAProxy, on computers of their own. */
export class PatroniCluster implements AsyncDisposable {
  readonly network = new Network();
  readonly #isSynchronous: boolean;
  readonly #folder = temporaryFolder();
  #haproxy: ChildProcess | undefined;
  #port = 0;

  /** @param isSynchronous whether the primary commits a change only when the standby has it */
  constructor(isSynchronous: boolean) {
    this.#isSynchronous = isSynchronous;
  }

  /** Starts all parts, and waits until there are a primary and a standby. */
  async start(): Promise<void> {
    const { uid, gid } = postgresUser();
    chownSync(this.#folder.path, uid, gid);
    this.#startEtcd();
    for (const member of ['a', 'b'] as const) this.startMember(member);
    await this.#startBalancer();
    await this.complete();
  }

  /** The URL of the database `postgres`. HAProxy leads it to the primary. */
  get url(): string {
    return `postgresql://postgres@127.0.0.1:${this.#port}/postgres`;
  }

  /** Runs a statement over a new connection to the address that HAProxy leads to the primary. */
  async query<Row extends object>(text: string, timeoutMs: number): Promise<Row[]> {
    const { Client } = loadPg();
    const client = new Client({
      ...{
        host: '127.0.0.1',
        address: '127.0.0.1',
        port: this.#port,
        user: 'postgres',
        database: 'postgres',
      },
      ...{ ssl: false, connectionTimeoutMillis: timeoutMs, query_timeout: timeoutMs },
    });
    // A lost connection fails the statement too.
    client.on('error', () => undefined);
    try {
      await client.connect();
      return (await client.query(text)).rows as Row[];
    } finally {
      await client.end().catch(() => undefined);
    }
  }

  /** Commits something, as soon as the synchronous standby confirms it or is none any more. */
  async commit(): Promise<void> {
    await this.query(`select pg_logical_emit_message(true, 'failover', '')`, completionMs);
  }

  /** Starts Patroni, which starts PostgreSQL, or makes it follow the primary. */
  startMember(member: Member): void {
    const file = this.#write(`patroni-${member}.yml`, JSON.stringify(this.#patroniSettings(member)));
    this.network.start(member, this.#logOf(member), 'patroni', file);
  }

  /** Waits until there are a primary and a standby that follows it, and returns the primary. */
  async complete(): Promise<Member> {
    try {
      return await until('there are a primary and a standby', () => this.#primary(), completionMs);
    } catch (error) {
      for (const member of ['a', 'b'] as const)
        console.error(`Patroni of ${member}:\n${readFileSync(this.#logOf(member), 'utf8').slice(-3_000)}`);
      throw error;
    }
  }

  /** Makes the standby the primary, and the primary its standby. */
  async switchOver(leader: Member, candidate: Member): Promise<void> {
    const response = await fetch(`http://${this.network.address(leader)}:8008/switchover`, {
      method: 'POST',
      body: JSON.stringify({ leader, candidate }),
    });
    if (!response.ok) throw new Error(`Patroni refused the switch-over: ${await response.text()}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#haproxy && this.#haproxy.exitCode === null) {
      const ended = once(this.#haproxy, 'exit');
      this.#haproxy.kill('SIGKILL');
      await ended;
    }
    this.network[Symbol.dispose]();
    this.#folder[Symbol.dispose]();
  }

  async #primary(): Promise<Member | undefined> {
    for (const member of ['a', 'b'] as const) {
      try {
        const response = await fetch(`http://${this.network.address(member)}:8008/cluster`, {
          signal: AbortSignal.timeout(1_000),
        });
        const { members } = (await response.json()) as { members: MemberState[] };
        const leader = members.find(({ role }) => role === 'leader');
        const follows = ({ role, timeline }: MemberState) =>
          role === (this.#isSynchronous ? 'sync_standby' : 'replica') && timeline === leader?.timeline;
        if (leader && members.some(follows)) return leader.name;
      } catch {
        // It is not up, or does not answer.
      }
    }
    return undefined;
  }

  #startEtcd(): void {
    const [clients, peers] = [2379, 2380].map((port) => `http://${this.network.address('etcd')}:${port}`);
    this.network.start(
      'etcd',
      join(this.#folder.path, 'etcd.log'),
      'etcd',
      ...['--name', 'etcd', '--data-dir', join(this.#folder.path, 'etcd'), '--enable-v2=true'],
      ...['--listen-client-urls', `${clients}`, '--advertise-client-urls', `${clients}`],
      ...['--listen-peer-urls', `${peers}`, '--initial-advertise-peer-urls', `${peers}`],
      ...['--initial-cluster', `etcd=${peers}`],
    );
  }

  #patroniSettings(name: Member): object {
    const address = this.network.address(name);
    const user = (username: string) => ({ username, password: username });
    return {
      scope: 'app-connections',
      name,
      restapi: { listen: `${address}:8008`, connect_address: `${address}:8008` },
      // Not etcd3: until Patroni 3.1, its cache can stay stale after a freeze (https://github.com/patroni/patroni/pull/2783).
      etcd: { hosts: `${this.network.address('etcd')}:2379` },
      bootstrap: {
        dcs: {
          ...timing,
          // A primary that does not start again is replaced at once.
          master_start_timeout: 0,
          synchronous_mode: this.#isSynchronous,
          postgresql: {
            ...{ use_pg_rewind: true, use_slots: true },
            // After a lost network, the standby and the primary notice it sooner than by default, after 60 s.
            parameters: { wal_sender_timeout: '10s', wal_receiver_timeout: '10s' },
          },
        },
        initdb: [{ encoding: 'UTF8' }, { locale: 'C' }, 'data-checksums'],
      },
      postgresql: {
        listen: `${address}:5432`,
        connect_address: `${address}:5432`,
        data_dir: join(this.#folder.path, name),
        bin_dir: binaries,
        pgpass: join(this.#folder.path, `pgpass-${name}`),
        authentication: { superuser: user('postgres'), replication: user('replicator') },
        pg_hba: [
          'local all all trust',
          'host all all 10.231.0.0/16 trust',
          'host replication all 10.231.0.0/16 trust',
        ],
        parameters: { unix_socket_directories: '' },
      },
    };
  }

  /** HAProxy, configured as in Patroni's documentation, but with a check every second instead of every three. */
  async #startBalancer(): Promise<void> {
    this.#port = await closedPort();
    const configuration = `
global
  maxconn 1000
defaults
  mode tcp
  retries 2
  timeout client 30m
  timeout connect 4s
  timeout server 30m
  timeout check 5s
listen primary
  bind 127.0.0.1:${this.#port}
  option httpchk OPTIONS /primary
  http-check expect status 200
  default-server inter 1s fall 3 rise 2 on-marked-down shutdown-sessions
  server a ${this.network.address('a')}:5432 maxconn 100 check port 8008
  server b ${this.network.address('b')}:5432 maxconn 100 check port 8008
`;
    const file = this.#write('haproxy.cfg', configuration);
    this.#haproxy = spawn('/usr/sbin/haproxy', ['-db', '-f', file], { stdio: 'ignore' });
  }

  #write(name: string, text: string): string {
    const path = join(this.#folder.path, name);
    writeFileSync(path, text);
    return path;
  }

  #logOf(member: Member): string {
    return join(this.#folder.path, `patroni-${member}.log`);
  }
}

function postgresUser(): { uid: number; gid: number } {
  const [, uid, gid] = /^postgres:[^:]*:(\d+):(\d+)/m.exec(readFileSync('/etc/passwd', 'utf8')) ?? [];
  return { uid: Number(uid), gid: Number(gid) };
}
