import { createHash } from 'node:crypto';
import type { GraphQLParams, Plugin } from 'graphql-yoga';
import { z } from 'zod';
import { AppError, HttpError } from '../common/errors.ts';
import type { Context } from './context.ts';

/** What one organisation's documents may take, in bytes of memory. */
const maxBytesPerOrganisation = 512_000;
/** What the documents of all organisations together may take, in bytes of memory. */
const maxBytes = 32_000_000;
/** What an entry takes besides its text, in bytes: its key and its place in a `Map`. */
const entryBytes = 256;

/** The documents of one organisation by their hashes, the least recently used first. */
interface OrganisationDocuments {
  documents: Map<string, string>;
  bytes: number;
}

/**
 * The documents that clients have registered by Apollo's protocol for automatic persisted queries, for as long as there
 * is room. An organisation finds its own alone, so that it learns nothing of what others ask, and when it registers too
 * many, its own are forgotten. A client registers again what was forgotten.
 */
export class PersistedQueries {
  /** By the organisation's id, the least recently used first. */
  readonly #organisations = new Map<string, OrganisationDocuments>();
  #bytes = 0;

  find(orgId: string, hash: string): string | undefined {
    const organisation = this.#organisations.get(orgId);
    const document = organisation?.documents.get(hash);
    if (!organisation || document === undefined) return undefined;
    moveToEnd(organisation.documents, hash, document);
    moveToEnd(this.#organisations, orgId, organisation);
    return document;
  }

  /** @param document has to be valid: what fails is not worth its memory */
  store(orgId: string, hash: string, document: string): void {
    const organisation = this.#organisations.get(orgId) ?? { documents: new Map(), bytes: 0 };
    if (!organisation.documents.has(hash)) this.#count(organisation, sizeOf(document));
    moveToEnd(organisation.documents, hash, document);
    moveToEnd(this.#organisations, orgId, organisation);
    while (organisation.bytes > maxBytesPerOrganisation) this.#forgetDocument(organisation);
    while (this.#bytes > maxBytes) this.#forgetOrganisation();
  }

  #forgetDocument(organisation: OrganisationDocuments): void {
    for (const [hash, document] of organisation.documents) {
      organisation.documents.delete(hash);
      this.#count(organisation, -sizeOf(document));
      return;
    }
  }

  #forgetOrganisation(): void {
    for (const [orgId, organisation] of this.#organisations) {
      this.#organisations.delete(orgId);
      this.#count(organisation, -organisation.bytes);
      return;
    }
  }

  #count(organisation: OrganisationDocuments, bytes: number): void {
    organisation.bytes += bytes;
    this.#bytes += bytes;
  }
}

function moveToEnd<Value>(map: Map<string, Value>, key: string, value: Value): void {
  map.delete(key);
  map.set(key, value);
}

/** A string has up to two bytes a character in memory. */
function sizeOf(document: string): number {
  return 2 * document.length + entryBytes;
}

/**
 * Answers requests that name their document by its SHA-256 in `extensions.persistedQuery`, and keeps what comes with such
 * a hash and is valid. Only callers with a key have documents here. It has to come after admission.
 */
export function usePersistedQueries(): Plugin<Context> {
  const known = new PersistedQueries();
  const keep = ({ args: { contextValue } }: { args: { contextValue: Context } }) => {
    const { caller, persistedQuery } = contextValue;
    if (caller && persistedQuery) known.store(caller.orgId, persistedQuery.hash, persistedQuery.document);
  };
  return {
    onParams({ params, setParams, context }) {
      const hash = hashIn(params);
      if (hash === undefined) return;
      const { query } = params;
      const { caller } = context as Partial<Context>;
      if (!query) {
        const document = caller && known.find(caller.orgId, hash);
        if (document === undefined) throw notFound();
        setParams({ ...params, query: document });
      } else if (typeof query === 'string') {
        if (createHash('sha256').update(query).digest('hex') !== hash) throw mismatch();
        Object.assign(context, { persistedQuery: { hash, document: query } });
      }
    },
    // Not earlier: only what has passed validation and the limits gets here.
    onExecute: keep,
    onSubscribe: keep,
  };
}

const notHexadecimal = {
  error: 'extensions.persistedQuery.sha256Hash has to be 64 hexadecimal digits in lower case.',
};
const rule = z.object({
  version: z.literal(1, { error: 'extensions.persistedQuery.version has to be 1.' }),
  sha256Hash: z.string(notHexadecimal).regex(/^[\da-f]{64}$/, notHexadecimal),
});

/** @throws HttpError (400) when `extensions.persistedQuery` is not as the protocol has it */
function hashIn({ extensions }: GraphQLParams): string | undefined {
  const persistedQuery: unknown = Object(extensions).persistedQuery;
  if (persistedQuery === undefined || persistedQuery === null) return undefined;
  const { success, data, error } = rule.safeParse(persistedQuery);
  if (success) return data.sha256Hash;
  const [issue] = error.issues;
  const message = issue?.path.length ? issue.message : 'extensions.persistedQuery has to be an object.';
  throw malformed(message, 'Send { version: 1, sha256Hash }, or leave persistedQuery out.');
}

/** By this message and this code, Apollo's, urql's and other clients know to send the document. */
function notFound(): AppError {
  return new AppError('PERSISTED_QUERY_NOT_FOUND', 'PersistedQueryNotFound', {
    remedy: 'Send the request again with "query", the whole document, beside its hash.',
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
