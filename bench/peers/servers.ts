import { type Dialect, graphql, postgraphile, rest } from './operations.ts';

/** The compared servers, in the order of the table. */
export const servers = {
  product: { title: 'the product', script: 'product.ts', dialect: graphql },
  baseline: { title: '`node:http`, `pg`', script: 'baseline.ts', dialect: rest },
  mercurius: { title: 'Mercurius, `pg`', script: 'mercurius.ts', dialect: graphql },
  apollo: { title: 'Apollo Server, Prisma', script: 'apollo.ts', dialect: graphql },
  postgraphile: { title: 'PostGraphile', script: 'postgraphile.ts', dialect: postgraphile },
} satisfies Record<string, { title: string; script: string; dialect: Dialect }>;

export type ServerName = keyof typeof servers;

export const serverNames = Object.keys(servers) as ServerName[];
