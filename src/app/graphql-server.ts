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
import { useTracedExecution } from '../graphql/traced-execution.ts';
import { createSchema } from './schema.ts';

/** The dependencies of the GraphQL endpoint. */
export interface GraphQLServerOptions extends Omit<RequestGuardOptions, 'maskError'> {
  connections: ConnectionDeps;
  administration: AdministrationDeps;
  /** Whether GraphiQL is served. */
  graphiql: boolean;
  log: Logger;
}

/** The GraphQL endpoint, with GraphiQL at the same URL for browsers. */
export interface GraphQLEndpoint {
  handle(request: IncomingMessage, response: ServerResponse): Promise<void>;
  dispose(): Promise<void>;
}

/** Creates the GraphQL endpoint: schema, context and plugins. */
export function createGraphQL(options: GraphQLServerOptions): GraphQLEndpoint {
  const { log, graphiql } = options;
  const schema = createSchema(options.connections.apps);
  const maskError = createErrorMasker(schema, log);
  const requestGuard = createRequestGuard(schema, { ...options, maskError });
  const documents = new DocumentCache();
  const buildContext = ({ req, res }: Pick<Context, 'req' | 'res'>) => ({
    req,
    res,
    connections: options.connections,
    administration: options.administration,
  });
  const yoga = createYoga<NodeServerContext, Omit<Context, 'request'>>({
    schema,
    context: buildContext,
    plugins: [
      // GraphiQL is part of this server and loads nothing from third parties.
      ...(graphiql ? [useGraphiQL()] : []),
      useStrictRequests(),
      useCachedDocuments(documents),
      ...armor.protect().plugins,
      useDocumentLimits(),
      useRequestGuard(requestGuard),
      useTracedExecution(),
      useDocumentCaching(documents),
      usePersistedQueries(),
      useEventStreams(maskError),
      useSubscriptionLimit(maskError),
      useErrorMasking(maskError),
    ],
    maskedErrors: { maskError: (error) => maskError(error) },
    // DocumentCache is limited in bytes and contains only valid documents.
    parserAndValidationCache: false,
    logging: false,
    landingPage: false,
    cors: false,
    multipart: false,
    // json-body.ts limits the body while it reads it.
    maxRequestBodySize: false,
    disposeOnProcessTerminate: false,
    graphiql: false,
  });
  return {
    handle: createFastPath({ yoga, schema, buildContext, requestGuard, documents, maskError }),
    dispose: async () => yoga.dispose(),
  };
}
