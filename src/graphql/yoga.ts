import type { IncomingMessage, ServerResponse } from 'node:http';
import { createYoga } from 'graphql-yoga';
import type { Caller } from '../access/caller.ts';
import type { AdministrationParts } from '../administration/parts.ts';
import type { ConnectionParts } from '../connections/parts.ts';
import type { Logger } from '../log.ts';
import type { Context } from './context.ts';
import { createErrorShaper } from './errors.ts';
import { useGraphiQL } from './graphiql.ts';
import { armor, useFrugalDocuments } from './limits.ts';
import {
  useAuthentication,
  useBoundedSubscriptions,
  useShapedErrors,
  useShapelyVariables,
} from './plugins.ts';
import { useStrictRequests } from './request.ts';
import { createSchema } from './schema.ts';
import { createShortRoad } from './short-road.ts';

/** What the GraphQL endpoint is made of. */
export interface YogaOptions {
  connections: ConnectionParts;
  administration: AdministrationParts;
  /** Finds out who asks, for a request that counts. */
  signIn: (authorization: string | null) => Promise<Caller>;
  /** Finds out whether whoever has asked is still let in. */
  authenticate: (authorization: string | null) => Promise<Caller>;
  /** Whether the schema may be read without a key. */
  openIntrospection: boolean;
  /** Absent: no GraphiQL. `apiKey` is put into its headers pane, so only give one where no stranger can look. */
  graphiql?: { apiKey?: string };
  log: Logger;
}

/** The GraphQL endpoint, and GraphiQL at the same address for browsers. */
export interface GraphQLEndpoint {
  answer(request: IncomingMessage, response: ServerResponse): Promise<void>;
  dispose(): Promise<void>;
}

/** Makes the endpoint out of the schema and what goes with each request. */
export function createGraphQL(options: YogaOptions): GraphQLEndpoint {
  const { log, graphiql } = options;
  const schema = createSchema(options.connections.apps);
  const shape = createErrorShaper(schema, log);
  const yoga = createYoga<Pick<Context, 'req' | 'res'>, Omit<Context, 'request'>>({
    schema,
    context: ({ req, res }) => ({
      ...{ req, res },
      connections: options.connections,
      administration: options.administration,
    }),
    plugins: [
      // The page and its scripts come with the server: a keeper of secrets loads nothing from third parties.
      ...(graphiql ? [useGraphiQL(graphiql)] : []),
      useStrictRequests(),
      ...armor.protect().plugins,
      useFrugalDocuments(),
      useAuthentication({ ...options, shape }),
      useShapelyVariables(schema, shape),
      useBoundedSubscriptions(shape),
      useShapedErrors(shape),
    ],
    maskedErrors: { maskError: (error) => shape(error) },
    logging: false,
    landingPage: false,
    cors: false,
    multipart: false,
    // Ours are counted as they are read, which takes no stream of streams.
    maxRequestBodySize: false,
    disposeOnProcessTerminate: false,
    graphiql: false,
  });
  return {
    answer: createShortRoad(yoga, shape),
    dispose: async () => yoga.dispose(),
  };
}
