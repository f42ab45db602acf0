import { createHash } from 'node:crypto';
import type { GraphQLParams, Plugin } from 'graphql-yoga';
import { LRUCache } from 'lru-cache';
import { z } from 'zod';
import { AppError, HttpError } from '../common/errors.ts';
import type { Context } from './context.ts';

/** The maximum size of an organisation's documents, in bytes. */
const maxBytesPerOrganisation = 512_000;
/** The maximum size of all documents, in bytes. */
const maxBytes = 32_000_000;
/** The size of an entry without its text, in bytes. */
const entryBytes = 256;

/** Documents by their hashes. */
type Documents = LRUCache<string, string>;

/**
 * An LRU cache for Apollo's automatic persisted queries. Each organisation has its own documents and its own limit, so
 * that it can neither find nor evict those of others. Clients register an evicted document again.
 */
export class PersistedQueries {
  /** By the organisation's id. */
  readonly #organisations = new LRUCache<string, Documents>({
    maxSize: maxBytes,
    sizeCalculation: ({ calculatedSize }) => entryBytes + calculatedSize,
  });

  find(orgId: string, hash: string): string | undefined {
    return this.#organisations.get(orgId)?.get(hash);
  }

  /** @param document has to be valid, so that invalid documents use no memory */
  store(orgId: string, hash: string, document: string): void {
    const documents: Documents =
      this.#organisations.get(orgId) ??
      new LRUCache({ maxSize: maxBytesPerOrganisation, sizeCalculation: sizeInBytes });
    documents.set(hash, document);
    // The size of an entry is calculated when it is added.
    this.#organisations.delete(orgId);
    this.#organisations.set(orgId, documents);
  }
}

/** A string has up to two bytes for each character in memory. */
function sizeInBytes(document: string): number {
  return 2 * document.length + entryBytes;
}

/**
 * Supports automatic persisted queries: finds documents by their SHA-256 in `extensions.persistedQuery`, and registers
 * valid documents that come with a hash. Only for authenticated callers. Has to come after the request guard.
 */
export function usePersistedQueries(): Plugin<Context> {
  const persistedQueries = new PersistedQueries();
  const register = ({ args: { contextValue } }: { args: { contextValue: Context } }) => {
    const { caller, persistedQuery } = contextValue;
    if (caller && persistedQuery)
      persistedQueries.store(caller.orgId, persistedQuery.hash, persistedQuery.document);
  };
  return {
    onParams({ params, setParams, context }) {
      const hash = parseHash(params);
      if (hash === undefined) return;
      const { query } = params;
      const { caller } = context as Partial<Context>;
      if (!query) {
        const document = caller && persistedQueries.find(caller.orgId, hash);
        if (document === undefined) throw notFound();
        setParams({ ...params, query: document });
      } else if (typeof query === 'string') {
        if (createHash('sha256').update(query).digest('hex') !== hash) throw mismatch();
        Object.assign(context, { persistedQuery: { hash, document: query } });
      }
    },
    // Here the document has passed validation and the limits.
    onExecute: register,
    onSubscribe: register,
  };
}

const notHexadecimal = {
  error: 'extensions.persistedQuery.sha256Hash must be 64 hexadecimal digits in lower case.',
};
const persistedQuerySchema = z.object({
  version: z.literal(1, { error: 'extensions.persistedQuery.version must be 1.' }),
  sha256Hash: z.string(notHexadecimal).regex(/^[\da-f]{64}$/, notHexadecimal),
});

/** @throws HttpError (400) if `extensions.persistedQuery` does not follow the protocol */
function parseHash({ extensions }: GraphQLParams): string | undefined {
  const persistedQuery: unknown = Object(extensions).persistedQuery;
  if (persistedQuery === undefined || persistedQuery === null) return undefined;
  const { success, data, error } = persistedQuerySchema.safeParse(persistedQuery);
  if (success) return data.sha256Hash;
  const [issue] = error.issues;
  const message = issue?.path.length ? issue.message : 'extensions.persistedQuery must be an object.';
  throw malformed(message, 'Send { version: 1, sha256Hash }, or leave persistedQuery out.');
}

/** Apollo Client, urql and others send the document after an error with this message and code. */
function notFound(): AppError {
  return new AppError('PERSISTED_QUERY_NOT_FOUND', 'PersistedQueryNotFound', {
    remedy: 'Send the request again with the document in "query", and its hash.',
  });
}

function mismatch(): HttpError {
  return malformed(
    'extensions.persistedQuery.sha256Hash is not the SHA-256 of "query".',
    'Hash the document exactly as it is sent, in UTF-8.',
  );
}

function malformed(message: string, remedy: string): HttpError {
  return new HttpError(400, 'BAD_USER_INPUT', message, { remedy });
}
