import { defineConfig } from 'vitest/config';

export default defineConfig({
  // As Node resolves it: Vite would take graphql's ESM twin, whose classes are strangers to everyone else's.
  resolve: { alias: [{ find: /^graphql$/, replacement: 'graphql/index.js' }] },
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/testkit/prepare.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
