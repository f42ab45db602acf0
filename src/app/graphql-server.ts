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
export interface GraphQLServerOptions extends Omit<RequestGuardOptions, 'maskError'> {
  connections: ConnectionDeps;
  administration: AdministrationDeps;
  /** Whether browsers get GraphiQL. */
  graphiql: boolean;
  log: Logger;
}

/** The GraphQL endpoint, and GraphiQL at the same address for browsers. */
export interface GraphQLEndpoint {
  handle(request: IncomingMessage, response: ServerResponse): Promise<void>;
  dispose(): Promise<void>;
}

/** Makes the endpoint out of the schema and what goes with each request. */
export function createGraphQL(options: GraphQLServerOptions): GraphQLEndpoint {
  const { log, graphiql } = options;
  const schema = createSchema(options.connections.apps);
  const maskError = createErrorMasker(schema, log);
  const requestGuard = createRequestGuard(schema, { ...options, maskError });
  const documents = new DocumentCache();
  const buildContext = ({ req, res }: Pick<Context, 'req' | 'res'>) => ({
    ...{ req, res },
    connections: options.connections,
    administration: options.administration,
  });
  const yoga = createYoga<NodeServerContext, Omit<Context, 'request'>>({
    schema,
    context: buildContext,
    plugins: [
      // The page and its scripts come with the server: a keeper of secrets loads nothing from third parties.
      ...(graphiql ? [useGraphiQL()] : []),
      useStrictRequests(),
      useCachedDocuments(documents),
      ...armor.protect().plugins,
      useDocumentLimits(),
      useRequestGuard(requestGuard),
      useDocumentCaching(documents),
      usePersistedQueries(),
      useEventStreams(maskError),
      useSubscriptionLimit(maskError),
      useErrorMasking(maskError),
    ],
    maskedErrors: { maskError: (error) => maskError(error) },
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
    handle: createFastPath({ yoga, schema, buildContext, requestGuard, documents, maskError }),
    dispose: async () => yoga.dispose(),
  };
}
