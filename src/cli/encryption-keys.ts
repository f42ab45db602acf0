/**
 * Reports and rotates encryption keys from the shell: `npm run keys -- help`. It uses the database of the server; if that
 * is the embedded one, the server must be stopped.
 */

import { createApps } from '../apps/index.ts';
import { describeStartupError } from '../bootstrap/describe-error.ts';
import { openStores, type Stores } from '../bootstrap/stores.ts';
import { commandLine } from '../common/command-name.ts';
import { AppError, StartupError } from '../common/errors.ts';
import { formatCount } from '../common/format-count.ts';
import { createLog } from '../common/log.ts';
import type { Config } from '../config/config.ts';
import { readConfig } from '../config/read-config.ts';
import { KmsUnavailableError } from '../encryption/root-key.ts';
import { type KeyUsageReport, type RootKeyUse, reportKeyUsage } from '../key-rotation/key-usage.ts';
import { rotateKeys } from '../key-rotation/rotate-keys.ts';
import { findCommand, parseArguments, UsageError } from './arguments.ts';
import { checkKeys } from './doctor/check-keys.ts';
import { formatFinding } from './doctor/finding.ts';
import type { Invocation, Program } from './program.ts';

const helpText = `${commandLine('keys', 'status')}
    Count the data keys and connections that depend on each root key, and say which root keys can be removed.
    Try every data key, and name those that are damaged with their organisation, and root keys that are wrong
    or missing; then the exit code is 1.
${commandLine('keys', 'rotate [--reseal]')}
    Wrap every data key under the first root key. Servers keep running; every server must already have that
    root key. With --reseal, organisations whose data key was created under another root key get a new data
    key, and their connections are encrypted again under it. If the command is interrupted, run it again.
With --json, the result is JSON.`;

const options = { reseal: { type: 'boolean' }, json: { type: 'boolean' } } as const;

/** The input of a command. */
interface CommandInput {
  config: Config;
  stores: Stores;
  reseal: boolean;
  /** Whether the result is printed as JSON. */
  json: boolean;
  terminal: Invocation['terminal'];
}

/** The commands; each prints its result, and returns the exit code. */
const commands: Readonly<Record<string, (input: CommandInput) => Promise<number>>> = {
  async status({ stores: { database, vault, rootKeyLocation }, json, terminal }) {
    const { keyring } = vault.dataKeys;
    const report = await reportKeyUsage(database, keyring);
    const findings = await checkKeys(database.asSystem(), keyring, rootKeyLocation);
    const problems = findings.filter(({ status }) => status === 'problem');
    if (json) terminal.log(JSON.stringify({ ...report, problems }));
    else for (const line of [formatReport(report), ...findings.map(formatFinding)]) terminal.log(line);
    return problems.length > 0 ? 1 : 0;
  },

  async rotate({ config, stores, reseal, json, terminal }) {
    const { database, vault } = stores;
    await stores.unlock();
    const apps = createApps({ trustedHosts: config.trustedInstanceHosts });
    let connections = 0;
    let reported = 0;
    const onProgress = (more: number) => {
      connections += more;
      const thousands = Math.floor(connections / 1_000);
      if (thousands > reported && !json) terminal.log(`${connections} connections encrypted again so far`);
      reported = thousands;
    };
    const { rewrappedKeys, sealKeys, failures } = await rotateKeys(
      { apps, database, vault },
      { reseal, onProgress },
    );
    const report = await reportKeyUsage(database, vault.dataKeys.keyring);
    if (json) {
      terminal.log(
        JSON.stringify({ rewrappedKeys, sealKeys, connectionsResealed: connections, failures, ...report }),
      );
    } else {
      terminal.log(
        `${formatCount(rewrappedKeys, 'data key')} wrapped under "${vault.dataKeys.keyring.primaryId}"`,
      );
      if (reseal) {
        terminal.log(`new data keys for ${formatCount(sealKeys, 'organisation')}`);
        terminal.log(`${formatCount(connections, 'connection')} encrypted again`);
      }
      terminal.log(formatReport(report));
    }
    if (failures.length > 0) throw new StartupError(`not rotated: ${failures.join('; ')}`);
    if (report.dataKeysToRewrap > 0 || (reseal && report.connectionsUnderRetiredKey > 0)) {
      throw new StartupError(
        'other processes created keys under another root key meanwhile; give all servers and shells the same first ' +
          'root key, and run the command again',
      );
    }
    return 0;
  },
};

/** Formats the report for the terminal. */
function formatReport({
  rootKeys,
  dataKeysToRewrap,
  organisationsToReseal,
  connectionsUnderOldRoot,
  connectionsUnderRetiredKey,
}: KeyUsageReport): string {
  const [first] = rootKeys;
  const width = Math.max('root key'.length, ...rootKeys.map(({ id }) => id.length));
  const line = (id: string, dataKeys: unknown, connections: unknown, status: string) =>
    `${id.padEnd(width)}  ${`${dataKeys}`.padStart(9)}  ${`${connections}`.padStart(11)}  ${status}`.trimEnd();
  const describeStatus = (rootKey: RootKeyUse) => {
    if (rootKey === first) return 'primary: wraps new data keys';
    if (!rootKey.isConfigured) return 'missing: add it again';
    return rootKey.dataKeys > 0 ? 'in use: cannot be removed' : 'not in use: can be removed';
  };
  return [
    line('root key', 'data keys', 'connections', ''),
    ...rootKeys.map((rootKey) =>
      line(rootKey.id, rootKey.dataKeys, rootKey.connections, describeStatus(rootKey)),
    ),
    dataKeysToRewrap === 0
      ? `All data keys are wrapped under "${first?.id}".`
      : `Data keys that are wrapped under other root keys: ${dataKeysToRewrap}. Run "${commandLine('keys', 'rotate')}".`,
    organisationsToReseal === 0 && connectionsUnderOldRoot === 0 && connectionsUnderRetiredKey === 0
      ? `All connections are encrypted under data keys that were created under "${first?.id}".`
      : `Organisations whose data keys were created under other root keys: ${organisationsToReseal}. Connections under such ` +
        `data keys: ${connectionsUnderOldRoot}, and under retired ones: ${connectionsUnderRetiredKey}. Run "${commandLine('keys', 'rotate --reseal')}".`,
  ].join('\n');
}

/** Runs `npm run keys`. */
export const run: Program = async (invocation) => {
  try {
    return await runCommand(invocation);
  } catch (error) {
    if (error instanceof UsageError) {
      invocation.terminal.log(helpText);
      invocation.terminal.error(error.message);
      return 2;
    }
    const isExpected = [StartupError, AppError, KmsUnavailableError].some((kind) => error instanceof kind);
    const prefix = isExpected ? 'Command failed' : 'Interrupted; nothing is lost, run the command again';
    invocation.terminal.error(`${prefix}: ${describeStartupError(error)}`);
    return 1;
  }
};

async function runCommand({ args, environment, terminal, ownsProcess }: Invocation): Promise<number> {
  const { name, options: given } = parseArguments(args, options);
  const { reseal = false, json = false } = given;
  if (name === 'help') {
    terminal.log(helpText);
    return 0;
  }
  const command = findCommand(commands, name);
  if (reseal && name !== 'rotate') throw new UsageError(`The command ${name} has no option --reseal.`);
  const config = readConfig(environment);
  const opening = { allowsWeakKeys: true, limitsMemory: ownsProcess };
  const stores = await openStores(config, createLog('silent'), opening);
  try {
    return await command({ config, stores, reseal, json, terminal });
  } finally {
    await stores.close();
  }
}
