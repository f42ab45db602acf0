/**
 * Keeps what is generated from the code in step with it:
 *
 *     node src/artefacts.ts schema [--check]        schema.graphql, from the GraphQL types
 *     node src/artefacts.ts migration [--check]     a new migration, from the entities
 *
 * With `--check` nothing is written and the exit code says whether all is in step.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { lexicographicSortSchema, printSchema } from 'graphql';
import { createApps } from './apps/index.ts';
import { openOrm } from './database/database.ts';
import { asOwner, inSession } from './database/session.ts';
import { entities } from './entities.ts';
import { createSchema } from './graphql/schema.ts';
import { createLog } from './log.ts';

const [, , command, flag] = process.argv;
const check = flag === '--check';

function inStep(what: string, ok: boolean, remedy: string): void {
  console.log(ok ? `${what}: in step` : `${what}: out of step; ${remedy}`);
  if (!ok) process.exitCode = 1;
}

if (command === 'schema') {
  const file = new URL('../schema.graphql', import.meta.url);
  const apps = createApps({ trustedHosts: new Set() });
  const printed = `${printSchema(lexicographicSortSchema(createSchema(apps)))}\n`;
  if (check) inStep('schema.graphql', readFileSync(file, 'utf8') === printed, 'run npm run schema');
  else writeFileSync(file, printed);
} else if (command === 'migration') {
  const orm = await openOrm({ kind: 'embedded' }, entities, createLog('silent'));
  const difference = await inSession(asOwner, async () => {
    await orm.migrator.up();
    return orm.schema.getUpdateSchemaSQL({ safe: false });
  });
  if (check) inStep('migrations', difference.trim() === '', `run npm run migration:\n${difference}`);
  else console.log(difference);
  await orm.close();
} else {
  console.error('usage: node src/artefacts.ts schema|migration [--check]');
  process.exitCode = 2;
}
