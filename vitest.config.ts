import { availableParallelism } from 'node:os';
import { configDefaults, defineConfig } from 'vitest/config';

/** These files test what does not depend on the kind of database: they run once, on the embedded one. */
const onceOnly = [
  'addresses',
  'api-key-typos',
  'cors',
  'dashboard*',
  'docs*',
  'graphiql',
  'graphql-over-http',
  'http-*',
  'logs',
  'oidc-keys',
  'oidc-refusals',
  'okta-*',
  'options',
  'outbound*',
  'rest-openapi',
  'rest-requests',
  'schema',
  'tls',
].map((name) => `test/${name}.test.ts`);

export default defineConfig({
  // As Node resolves it: Vite would take graphql's ESM twin, whose classes are strangers to everyone else's.
  resolve: { alias: [{ find: /^graphql$/, replacement: 'graphql/index.js' }] },
  test: {
    include: ['test/**/*.test.ts'],
    exclude: [...configDefaults.exclude, ...(process.env.TEST_DATABASE_URL ? onceOnly : [])],
    globalSetup: ['test/testkit/prepare.ts'],
    // On two cores Vitest would run one file at a time, and files wait as often as they work.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
