import { initGraphQLTada } from 'gql.tada';
import type { introspection } from './schema.d.ts';

/** Parses a GraphQL document and infers the types of its variables and result from the schema. */
export const graphql = initGraphQLTada<{
  introspection: introspection;
  scalars: { UUID: string; DateTime: string; Secret: string; JSON: unknown };
}>();
