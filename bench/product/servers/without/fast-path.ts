import type { createFastPath as original } from '../../../../src/graphql/fast-path.ts';

/** Sends all requests to Yoga. */
export const createFastPath: typeof original =
  ({ yoga }) =>
  async (request, response) =>
    yoga(request, response) as Promise<void>;
