import { initGraphQLTada } from 'gql.tada';
import type { introspection } from './schema.d.ts';

/** Writes a document of which the schema says what it takes and what it gives. */
export const graphql = initGraphQLTada<{
  introspection: introspection;
  scalars: { UUID: string; DateTime: string; Secret: string };
}>();
