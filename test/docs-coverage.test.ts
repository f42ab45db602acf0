import { globSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { AdministrationDeps } from '../src/administration/deps.ts';
import { createApps } from '../src/apps/index.ts';
import { configurationReference } from '../src/cli/codegen/configuration-reference.ts';
import { errorReference } from '../src/cli/codegen/error-reference.ts';
import { restReference } from '../src/cli/codegen/rest-reference.ts';
import { errorCodes } from '../src/common/errors.ts';
import { environment } from '../src/config/env-schema.ts';
import type { ConnectionDeps } from '../src/connections/deps.ts';
import { scopes } from '../src/identity/caller.ts';
import { createRestApi } from '../src/rest/routes.ts';
import { brokenLinks, readPages, root } from './testkit/documents.ts';

const pages = readPages();
const { scripts, dependencies, devDependencies } = JSON.parse(read('package.json'));

function read(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

describe('generated documentation', () => {
  it.each([
    ['docs/api/errors.md', errorReference],
    ['docs/api/rest.md', restReference],
    ['docs/operations/configuration.md', configurationReference],
  ])('is up to date: %s (npm run docs writes it)', (path, generate) => {
    expect(read(path)).toBe(generate());
  });
});

describe('the documentation', () => {
  it('has every REST route', () => {
    const apps = createApps({ trustedHosts: new Set() });
    const { routes } = createRestApi({ apps } as unknown as ConnectionDeps, {} as AdministrationDeps, '');
    expect(routes.map(({ path }) => path)).toContain('/api/v1/openapi.json');
    for (const { method, path } of routes) {
      expect(read('docs/api/rest.md')).toContain(`| \`${method} ${path}\` |`);
    }
  });

  it('has every error code', () => {
    for (const code of Object.keys(errorCodes))
      expect(read('docs/api/errors.md')).toContain(`| \`${code}\` |`);
  });

  it('has every environment variable', () => {
    for (const name of Object.keys(environment.shape)) {
      expect(read('docs/operations/configuration.md')).toContain(`| \`${name}\` |`);
    }
  });

  it('has every scope', () => {
    for (const scope of scopes) expect(read('docs/api/authentication.md')).toContain(`| \`${scope}\` |`);
  });

  it('has every npm script', () => {
    const contributing = read('CONTRIBUTING.md');
    const documented = [...contributing.matchAll(/`npm (?:run )?([\w:-]+)`/g)].map(([, name]) => name);
    expect(documented).toEqual(
      expect.arrayContaining(Object.keys(scripts).filter((name) => name !== 'prepare')),
    );
  });

  it('gives a reason for every dependency', () => {
    for (const name of Object.keys({ ...dependencies, ...devDependencies })) {
      expect(read('docs/dependencies.md')).toMatch(new RegExp(`^\\| [^|]*\`${name}\`[^|]* \\| \\S`, 'm'));
    }
  });

  it('has every folder of src/ in the architecture', () => {
    const folders = globSync('*/', { cwd: join(root, 'src') });
    expect(folders.length).toBeGreaterThan(5);
    for (const folder of folders) {
      expect(read('docs/architecture.md')).toContain(`| \`${folder.replace(/\/$/, '')}/\` |`);
    }
  });

  it('lists every ADR, with context, decision, figures, consequences and exit condition', () => {
    const records = globSync('docs/adr/[0-9]*.md', { cwd: root });
    expect(records.length).toBeGreaterThan(0);
    for (const record of records) {
      expect(read('docs/adr/README.md')).toContain(`(${record.split('/').at(-1)})`);
      const headings = [...read(record).matchAll(/^## (.+)$/gm)].map(([, heading]) => heading);
      expect(headings).toEqual(['Context', 'Decision', 'Figures', 'Consequences', 'Exit condition']);
    }
  });
});

describe.each(pages)('$path', (page) => {
  it('has only links to existing files and headings', () => {
    expect(brokenLinks(page)).toEqual([]);
  });

  it('names only npm scripts and tests that exist', () => {
    const named = [...page.text.matchAll(/npm run ([\w:-]+)/g)].map(([, name = '']) => name);
    expect(named.filter((name) => !(name in scripts))).toEqual([]);
    const tests = [...page.text.matchAll(/test\/[\w-]+\.test\.ts/g)].map(([path]) => path);
    expect(tests.filter((path) => globSync(path, { cwd: root }).length === 0)).toEqual([]);
  });
});

describe('README.md', () => {
  it('links to every page of docs/ except single ADRs', () => {
    const paths = globSync('docs/**/*.md', { cwd: root }).filter((path) => !/\/adr\/\d/.test(path));
    expect(paths.length).toBeGreaterThan(10);
    expect(paths.filter((path) => !read('README.md').includes(`(${path})`))).toEqual([]);
  });

  it('has at most 8,192 bytes and a picture of at most 150,000', () => {
    expect(statSync(join(root, 'README.md')).size).toBeLessThanOrEqual(8_192);
    expect(statSync(join(root, 'docs/dashboard.png')).size).toBeLessThanOrEqual(150_000);
  });
});
