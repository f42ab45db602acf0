import { createYoga } from 'graphql-yoga';
import type { Caller } from '../access/caller.ts';
import type { ConnectionParts } from '../connections/parts.ts';
import type { Logger } from '../log.ts';
import type { Context } from './context.ts';
import { createErrorShaper } from './errors.ts';
import { renderGraphiQLPage } from './graphiql.ts';
import { useAuthentication, useShapedErrors, useShapelyVariables } from './plugins.ts';
import { createSchema } from './schema.ts';

/** What the GraphQL endpoint is made of. */
export interface YogaOptions {
  connections: ConnectionParts;
  authenticate: (authorization: string | null) => Promise<Caller>;
  /** Whether the schema may be read without a key. */
  openIntrospection: boolean;
  /** Absent: no GraphiQL. `apiKey` is put into its headers pane, so only give one where no stranger can look. */
  graphiql?: { apiKey?: string };
  log: Logger;
}

const maxBodyBytes = 100_000;

/** The GraphQL endpoint, and GraphiQL at the same address for browsers. */
export function createGraphQL(options: YogaOptions) {
  const { log, graphiql } = options;
  const schema = createSchema(options.connections.apps);
  const shape = createErrorShaper(schema, log);
  return createYoga<object, Context>({
    schema,
    context: { connections: options.connections },
    plugins: [
      useAuthentication({ ...options, shape }),
      useShapelyVariables(schema, shape),
      useShapedErrors(shape),
    ],
    maskedErrors: { maskError: (error) => shape(error) },
    logging: false,
    landingPage: false,
    cors: false,
    multipart: false,
    maxRequestBodySize: maxBodyBytes,
    disposeOnProcessTerminate: false,
    graphiql: graphiql !== undefined,
    // The page and its scripts come with the server: a keeper of secrets loads nothing from third parties.
    renderGraphiQL: () => renderGraphiQLPage(graphiql?.apiKey),
  });
}
