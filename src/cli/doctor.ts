/**
 * Says what an operator wants to know before something fails: `app-connections doctor`. It changes nothing, and runs beside
 * servers, except on the embedded database, which one process uses.
 */
import { existsSync } from 'node:fs';
import { DataDir } from '../bootstrap/data-dir.ts';
import { describeStartupError } from '../bootstrap/describe-error.ts';
import { entities } from '../bootstrap/entities.ts';
import { resolveRootKeySource } from '../bootstrap/root-key-source.ts';
import { findDatabaseLocation } from '../bootstrap/stores.ts';
import { commandLine } from '../common/command-name.ts';
import { StartupError } from '../common/errors.ts';
import { createLog } from '../common/log.ts';
import type { Config } from '../config/config.ts';
import { readConfig } from '../config/read-config.ts';
import { findConfigWarnings } from '../config/security-warnings.ts';
import { lazyScopedEntityManager, ownerSession, systemSession } from '../database/driver/session.ts';
import { describeConnectionFailure, describeLocation } from '../database/open-failure.ts';
import { openOrm } from '../database/open-orm.ts';
import { findWeakEntries, type Keyring, parseKeyring } from '../encryption/keyring.ts';
import { checkAuditStream } from './doctor/check-audit-stream.ts';
import { checkDatabase, databaseInUse, databaseMissing, databaseNotOpened } from './doctor/check-database.ts';
import { checkKeys } from './doctor/check-keys.ts';
import { checkIdentityProvider, checkOkta, checkTraces } from './doctor/check-network.ts';
import { checkOrganisations } from './doctor/check-organisations.ts';
import { createFindings, type Finding, formatFinding } from './doctor/finding.ts';
import { defineProgram } from './program.ts';

const usage = `${commandLine('doctor', '[--json]')}
    Check configuration, database, migrations, organisations, audit stream, keys, clock, identity provider, and whether Okta is reachable.
    The exit code is 1 if there is a problem.`;

/** Runs `npm run doctor`. */
export const run = defineProgram(
  { usage, options: { json: { type: 'boolean' } }, failure: 'Cannot check' },
  async ({ json }, { environment, terminal }) => {
    const findings = await examine(environment);
    const isHealthy = findings.every(({ status }) => status !== 'problem');
    if (json) terminal.log(JSON.stringify({ isHealthy, findings }));
    else for (const finding of findings) terminal.log(formatFinding(finding));
    return isHealthy ? 0 : 1;
  },
);

async function examine(environment: Readonly<Record<string, string | undefined>>): Promise<Finding[]> {
  const { ok, warning, problem } = createFindings('configuration');
  let config: Config;
  try {
    config = readConfig(environment);
  } catch (error) {
    return [
      problem(
        `${describeStartupError(error)}.`,
        'Correct the variable; docs/operations/configuration.md describes it.',
      ),
    ];
  }
  const report = config.production ? problem : warning;
  const risks = findConfigWarnings(config).map((risk) =>
    report(`${risk}.`, 'A server in production does not start until then.'),
  );
  const network = Promise.all([checkIdentityProvider(config), checkOkta(config), checkTraces(config)]);
  const stored = await examineStores(config);
  return [...(risks.length > 0 ? risks : [ok('Every variable is valid.')]), ...stored, ...(await network)];
}

/** Checks the database and the keys in it. */
async function examineStores(config: Config): Promise<Finding[]> {
  const keys = createFindings('keys');
  const location = findDatabaseLocation(config);
  // To open an embedded database creates it, and its root key.
  if (location.kind === 'embedded' && location.folder && !existsSync(location.folder))
    return [databaseMissing(location.folder)];
  const dataDir = config.production ? undefined : new DataDir(config.dataDir);
  if (location.kind === 'embedded' && dataDir?.isLocked())
    return [databaseInUse('A server is using the embedded database')];
  const source = resolveRootKeySource(
    config,
    dataDir,
    location.kind === 'embedded' ? location.folder : undefined,
  );
  const findings: Finding[] = [];
  let keyring: Keyring | undefined;
  try {
    const text = source.read();
    keyring = parseKeyring(text);
    for (const { sentence } of findWeakEntries(text))
      findings.push(keys.warning(`${source.location}: ${sentence}.`, 'Rotate to a new root key.'));
  } catch (error) {
    const reason =
      error instanceof Error && error.name === 'InvalidKeyringError'
        ? error.message
        : describeStartupError(error);
    findings.push(keys.problem(`${source.location}: ${reason}.`, 'Correct the root keys.'));
  }
  try {
    const orm = await openOrm(location, entities, createLog('silent'));
    try {
      const as = (session: typeof systemSession) => lazyScopedEntityManager(() => orm.em.fork(), session);
      const { findings: found, isUpToDate } = await checkDatabase(orm, as(ownerSession));
      findings.unshift(...found);
      if (isUpToDate) {
        findings.push(...(await checkOrganisations(as(systemSession))));
        findings.push(await checkAuditStream(as(systemSession), config));
      }
      if (isUpToDate && keyring)
        findings.push(...(await checkKeys(as(systemSession), keyring, source.location)));
      else findings.push(keys.skipped('The data keys were not checked.'));
    } finally {
      await orm.close(true);
    }
  } catch (error) {
    const reason =
      error instanceof StartupError
        ? error.message
        : `${describeLocation(location)}: ${describeConnectionFailure(error, location.kind)}`;
    findings.unshift(databaseNotOpened(`${reason}.`));
  }
  return findings;
}
