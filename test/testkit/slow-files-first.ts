import { basename } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** The files that take longest, in any order. */
const slow = new Set(
  [
    'admin-command',
    'aws-kms',
    'crash-recovery',
    'dashboard',
    'dashboard-accessibility',
    'dashboard-behind-nginx',
    'dashboard-connection',
    'dashboard-lifecycle',
    'dashboard-oidc',
    'dashboard-oidc-behind-nginx',
    'dashboard-oidc-failures',
    'dashboard-webhooks',
    'database-parity',
    'database-urls',
    'docs-adding-an-app',
    'doctor',
    'encryption-keys-command',
    'failover',
    'fuzz',
    'graphql-execution',
    'key-rotation',
    'keyring-reload',
    'launcher',
    'list-at-scale',
    'model-based',
    'owner-notifications',
    'release',
    'request-limits',
    'revoke-old-token',
    'rotate-keys-on-schedule',
    'row-macs-migration',
    'secret-leaks',
    'startup',
    'startup-errors',
    'tenant-isolation-matrix',
    'tls',
    'uploads',
    'webhook-delivery',
    'webhooks',
  ].map((name) => `${name}.test.ts`),
);

const isSlow = ({ moduleId }: TestSpecification) => slow.has(basename(moduleId));

/**
 * Starts the slow files of each project before the others, so that none of them runs alone at the end. By itself, Vitest
 * knows only in a second run what takes long; in a fresh clone it sorts files by their size.
 */
export default class SlowFilesFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    // The files of a project stay together, because projects do not share workers.
    const projects = Map.groupBy(sorted, ({ project }) => project);
    return [...projects.values()].flatMap((specs) => [
      ...specs.filter(isSlow),
      ...specs.filter((spec) => !isSlow(spec)),
    ]);
  }
}
