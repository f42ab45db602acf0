/**
 * Generates files from the code, and checks them:
 *
 *     node src/cli/codegen.ts schema [--check]        schema.graphql, from the GraphQL types; the dashboard's types, from it
 *     node src/cli/codegen.ts docs [--check]          the reference pages in docs/, from the code
 *     node src/cli/codegen.ts operations              checks the dashboard's operations against schema.graphql
 *     node src/cli/codegen.ts migration [--check]     a new migration, from the entities
 *
 * With `--check`, nothing is written, and the exit code is 1 if a file is out of date.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import {
  buildSchema,
  type DocumentNode,
  introspectionFromSchema,
  Kind,
  lexicographicSortSchema,
  printSchema,
  validate,
} from 'graphql';
import { createSchema } from '../app/schema.ts';
import { createApps } from '../apps/index.ts';
import { entities } from '../bootstrap/entities.ts';
import { createLog } from '../common/log.ts';
import * as connectionOperations from '../dashboard/connection/operations.ts';
import * as operations from '../dashboard/operations.ts';
import { inSession, ownerSession } from '../database/driver/session.ts';
import { openOrm } from '../database/open-orm.ts';
import { configurationReference } from './codegen/configuration-reference.ts';
import { errorReference } from './codegen/error-reference.ts';
import { restReference } from './codegen/rest-reference.ts';

const [, , command, flag] = process.argv;
const check = flag === '--check';

function reportCheck(name: string, ok: boolean, remedy: string): void {
  console.log(ok ? `${name}: up to date` : `${name}: out of date; ${remedy}`);
  if (!ok) process.exitCode = 1;
}

function writeOrCheck(name: string, text: string, remedy: string): void {
  const file = new URL(`../../${name}`, import.meta.url);
  if (!check) writeFileSync(file, text);
  else reportCheck(name, existsSync(file) && readFileSync(file, 'utf8') === text, remedy);
}

if (command === 'schema') {
  const apps = createApps({ trustedHosts: new Set() });
  const schema = lexicographicSortSchema(createSchema(apps));
  // gql.tada reads types, not SDL.
  const described = introspectionFromSchema(schema, { descriptions: false, specifiedByUrl: false });
  const printed = {
    'schema.graphql': `${printSchema(schema)}\n`,
    'src/dashboard/schema.d.ts': `export type introspection = ${JSON.stringify(described)};\n`,
  };
  for (const [name, text] of Object.entries(printed)) writeOrCheck(name, text, 'run npm run schema');
} else if (command === 'docs') {
  const references = {
    'docs/api/errors.md': errorReference(),
    'docs/api/rest.md': restReference(),
    'docs/operations/configuration.md': configurationReference(),
  };
  for (const [name, text] of Object.entries(references)) writeOrCheck(name, text, 'run npm run docs');
} else if (command === 'operations') {
  const schema = buildSchema(readFileSync(new URL('../../schema.graphql', import.meta.url), 'utf8'));
  const documents: Record<string, DocumentNode> = { ...operations, ...connectionOperations };
  for (const [name, document] of Object.entries(documents)) {
    // A fragment is checked with the operations that contain it.
    if (document.definitions.every(({ kind }) => kind === Kind.FRAGMENT_DEFINITION)) continue;
    for (const { message } of validate(schema, document))
      reportCheck(`operations.ts: ${name}`, false, message);
  }
} else if (command === 'migration') {
  const orm = await openOrm({ kind: 'embedded' }, entities, createLog('silent'));
  const difference = await inSession(ownerSession, async () => {
    await orm.migrator.up();
    return orm.schema.getUpdateSchemaSQL({ safe: false });
  });
  if (check) reportCheck('migrations', difference.trim() === '', `run npm run migration:\n${difference}`);
  else console.log(difference);
  await orm.close();
} else {
  console.error('usage: node src/cli/codegen.ts operations | schema|docs|migration [--check]');
  process.exitCode = 2;
}
