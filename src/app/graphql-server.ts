import type { IncomingMessage, ServerResponse } from 'node:http';
import { createYoga } from 'graphql-yoga';
import type { AdministrationDeps } from '../administration/deps.ts';
import type { Logger } from '../common/log.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import type { Context } from '../graphql/context.ts';
import { DocumentCache, useCachedDocuments, useDocumentCaching } from '../graphql/document-cache.ts';
import { armor, useDocumentLimits } from '../graphql/document-limits.ts';
import { createErrorMasker } from '../graphql/error-masking.ts';
import { createFastPath } from '../graphql/fast-path.ts';
import { useGraphiQL } from '../graphql/graphiql.ts';
import { usePersistedQueries } from '../graphql/persisted-queries.ts';
import { useErrorMasking, useEventStreams, useSubscriptionLimit } from '../graphql/plugins.ts';
import { createRequestGuard, type RequestGuardOptions, useRequestGuard } from '../graphql/request-guard.ts';
import { type NodeServerContext, useStrictRequests } from '../graphql/strict-requests.ts';
import { createSchema } from './schema.ts';

/** What the GraphQL endpoint is made of. */
export interface YogaOptions extends Omit<RequestGuardOptions, 'shape'> {
  connections: ConnectionDeps;
  administration: AdministrationDeps;
  /** Whether browsers get GraphiQL. */
  graphiql: boolean;
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
  const shape = createErrorMasker(schema, log);
  const admission = createRequestGuard(schema, { ...options, shape });
  const documents = new DocumentCache();
  const contextOf = ({ req, res }: Pick<Context, 'req' | 'res'>) => ({
    ...{ req, res },
    connections: options.connections,
    administration: options.administration,
  });
  const yoga = createYoga<NodeServerContext, Omit<Context, 'request'>>({
    schema,
    context: contextOf,
    plugins: [
      // The page and its scripts come with the server: a keeper of secrets loads nothing from third parties.
      ...(graphiql ? [useGraphiQL()] : []),
      useStrictRequests(),
      useCachedDocuments(documents),
      ...armor.protect().plugins,
      useDocumentLimits(),
      useRequestGuard(admission),
      useDocumentCaching(documents),
      usePersistedQueries(),
      useEventStreams(shape),
      useSubscriptionLimit(shape),
      useErrorMasking(shape),
    ],
    maskedErrors: { maskError: (error) => shape(error) },
    // Ours is bounded by bytes, and keeps nothing that failed.
    parserAndValidationCache: false,
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
    answer: createFastPath({ yoga, schema, contextOf, admission, documents, shape }),
    dispose: async () => yoga.dispose(),
  };
}
