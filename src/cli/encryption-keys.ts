/**
 * What is done about encryption keys from the shell: `npm run keys -- help`. It works on the database that the server
 * would; on the embedded one, the server has to be stopped.
 */
import { parseArgs } from 'node:util';
import { createApps } from '../apps/index.ts';
import { describeStartupError } from '../bootstrap/describe-error.ts';
import { openStores, type Stores } from '../bootstrap/stores.ts';
import { AppError, StartupError } from '../common/errors.ts';
import { createLog } from '../common/log.ts';
import type { Config } from '../config/config.ts';
import { readConfig } from '../config/read-config.ts';
import { KmsUnavailableError } from '../encryption/root-key.ts';
import { type KeyUsageReport, reportKeyUsage } from '../key-rotation/key-usage.ts';
import { rotateKeys } from '../key-rotation/rotate-keys.ts';

const usage = `npm run keys -- status
    counts what hangs on each root key, and says which of them can be taken out
npm run keys -- rotate [--reseal]
    wraps every data key under the first of the root keys, while servers go on serving; every server has to
    have that root key by then. With --reseal, organisations whose credentials are sealed under a data key that
    was made under another root key get a new one, and all of their connections are sealed again under it.
    When it was broken off, run it again.`;

const options = { reseal: { type: 'boolean', default: false } } as const;

/** What is asked for, and where. */
interface Task {
  config: Config;
  stores: Stores;
  reseal: boolean;
}

/** What there is to do; each prints what came of it. */
const commands: Readonly<Record<string, (task: Task) => Promise<void>>> = {
  async status({ stores: { database, vault } }) {
    console.log(describeUsage(await reportKeyUsage(database, vault.keyring)));
  },

  async rotate({ config, stores, reseal }) {
    const { database, vault } = stores;
    await stores.unlock();
    const apps = createApps({ trustedHosts: config.trustedInstanceHosts });
    let connections = 0;
    const onProgress = (more: number) => {
      if (Math.floor((connections + more) / 1_000) > Math.floor(connections / 1_000)) {
        console.log(`${connections + more} connections sealed again so far`);
      }
      connections += more;
    };
    const { dataKeys, sealKeys, failures } = await rotateKeys(
      { apps, database, vault },
      { reseal, onProgress },
    );
    console.log(`${dataKeys} data keys wrapped under "${vault.keyring.primaryId}"`);
    if (reseal) {
      console.log(`${sealKeys} organisations seal under a new data key`);
      console.log(`${connections} connections sealed again`);
    }
    const report = await reportKeyUsage(database, vault.keyring);
    console.log(describeUsage(report));
    if (failures.length > 0) throw new StartupError(`this was left as it is: ${failures.join('; ')}`);
    if (report.dataKeysToRewrap > 0 || (reseal && report.connectionsUnderRetiredKey > 0)) {
      throw new StartupError(
        'others have made keys under another root key meanwhile; see which servers or shells have another ' +
          'first key than this one, and run it again',
      );
    }
  },
};

/** Formats the report for the terminal. */
function describeUsage({
  rootKeys,
  dataKeysToRewrap,
  organisationsToReseal,
  connectionsUnderOldRoot,
  connectionsUnderRetiredKey,
}: KeyUsageReport): string {
  const [first] = rootKeys;
  const width = Math.max('root key'.length, ...rootKeys.map(({ id }) => id.length));
  const line = (id: string, dataKeys: unknown, connections: unknown, what: string) =>
    `${id.padEnd(width)}  ${`${dataKeys}`.padStart(9)}  ${`${connections}`.padStart(11)}  ${what}`.trimEnd();
  const lines = rootKeys.map((rootKey) => {
    const { id, isConfigured, dataKeys, connections } = rootKey;
    const isUsed = dataKeys > 0;
    const use = isUsed ? 'in use: it cannot be taken out' : 'not in use: it can be taken out';
    const what = isConfigured ? use : 'missing: put it back';
    return line(id, dataKeys, connections, rootKey === first ? 'the first: it wraps what is new' : what);
  });
  return [
    line('root key', 'data keys', 'connections', ''),
    ...lines,
    dataKeysToRewrap === 0
      ? `Nothing is left under another root key than "${first?.id}".`
      : `${dataKeysToRewrap} data keys are left under other root keys; "npm run keys -- rotate" moves them.`,
    organisationsToReseal === 0 && connectionsUnderOldRoot === 0 && connectionsUnderRetiredKey === 0
      ? `Every connection is sealed under a data key that was made under "${first?.id}".`
      : `${organisationsToReseal} organisations seal under data keys that were made under other root keys; ${connectionsUnderOldRoot} ` +
        `connections are sealed under such ones, and ${connectionsUnderRetiredKey} under retired ones; ` +
        '"npm run keys -- rotate --reseal" seals them again.',
  ].join('\n');
}

async function run(): Promise<void> {
  const { command, reseal } = parseCommandLine();
  const work = commands[command];
  if (!work) {
    console.log(usage);
    if (command !== 'help') process.exitCode = 2;
    return;
  }
  const config = readConfig();
  const stores = await openStores(config, createLog('silent'), { allowsWeakKeys: true });
  try {
    await work({ config, stores, reseal });
  } finally {
    await stores.close();
  }
}

function parseCommandLine(): { command: string; reseal: boolean } {
  try {
    const { positionals, values } = parseArgs({ options, allowPositionals: true });
    const [command = ''] = positionals;
    const isWhole = positionals.length === 1 && (command === 'rotate' || !values.reseal);
    return { command: isWhole ? command : '', reseal: values.reseal };
  } catch {
    return { command: '', reseal: false };
  }
}

try {
  await run();
} catch (error) {
  process.exitCode = 1;
  const isForeseen = [StartupError, AppError, KmsUnavailableError].some((kind) => error instanceof kind);
  const what = isForeseen ? 'Cannot do that' : 'Broken off; nothing is lost, run it again';
  console.error(`${what}: ${describeStartupError(error)}`);
}
