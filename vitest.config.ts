import { availableParallelism } from 'node:os';
import { configDefaults, defineConfig, type TestProjectInlineConfiguration } from 'vitest/config';

const testFiles = (...names: string[]) => names.map((name) => `test/${name}.test.ts`);

/** These files start no server and open no database. */
const unit = testFiles('okta-diagnosis', 'okta-instance-url', 'outbound-imports', 'outbound-proxy', 'schema');

/** These files test a server in what does not depend on the kind of database: they run once, on the embedded one. */
const http = testFiles(
  'addresses',
  'api-key-typos',
  'caches',
  'cors',
  'dashboard*',
  'docs*',
  'every-rule',
  'execution',
  'graphiql',
  'graphql-over-http',
  'http-*',
  'launching',
  'limits',
  'limits-attacks',
  'logs',
  'oidc',
  'oidc-keys',
  'oidc-refusals',
  'options',
  'outbound',
  'outbound-!(imports|proxy)',
  'persisted-queries',

  'rest-openapi',
  'rest-requests',
  'reverse-proxies',
  'sign-in-codes',
  'tls',
  'uploads',
  'verifying',
  'weak-keys',
);

const shared = {
  testTimeout: 30_000,
  hookTimeout: 60_000,
  unstubEnvs: true,
};

function project(name: string, include: string[], exclude: string[] = []): TestProjectInlineConfiguration {
  return {
    // As Node resolves it: Vite would take graphql's ESM twin, whose classes are strangers to everyone else's.
    resolve: { alias: [{ find: /^graphql$/, replacement: 'graphql/index.js' }] },
    test: {
      ...shared,
      name,
      include,
      exclude: [...configDefaults.exclude, ...exclude],
      // Files share a process, so that each process imports the server, its libraries and PostgreSQL's WebAssembly once.
      isolate: false,
    },
  };
}

const database = project('database', ['test/*.test.ts'], [...unit, ...http]);

export default defineConfig({
  test: {
    // With a PostgreSQL to test, only what may depend on the kind of database runs.
    projects: process.env.TEST_DATABASE_URL
      ? [database]
      : [project('unit', unit), project('http', http), database],
    globalSetup: ['test/testkit/prepare.ts'],
    reporters: ['default', './test/testkit/slowest-files.ts'],
    // On two cores Vitest would run one file at a time, and files wait as often as they work.
    maxWorkers: Math.max(2, availableParallelism() - 1),
  },
});
