import type { DocumentNode, Token } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { LRUCache } from 'lru-cache';
import type { Context } from './context.ts';
import { hasStarted } from './request-guard.ts';

/** The maximum size of the cache, in bytes. */
const maxBytes = 16 * 1_024 * 1_024;
/** The maximum size of one document, in bytes: about 2,000 tokens. Larger documents are not cached. */
const maxDocumentBytes = maxBytes / 16;
/** Estimated bytes of a token with its part of the syntax tree: measured 326 on average, at most 479. */
const bytesPerToken = 512;

/**
 * An LRU cache of documents that passed parsing, validation and the document limits, by their text. Only documents that
 * an authenticated caller executes are added, so that invalid requests and unauthenticated clients cannot fill it.
 */
export class DocumentCache {
  readonly #documents = new LRUCache<string, DocumentNode>({
    maxSize: maxBytes,
    maxEntrySize: maxDocumentBytes,
    sizeCalculation: (document, text) => 2 * text.length + bytesPerToken * countTokens(document),
  });

  get(text: string): DocumentNode | undefined {
    return this.#documents.get(text);
  }

  add(document: DocumentNode): void {
    const text = document.loc?.source.body;
    if (text !== undefined && this.#documents.peek(text) !== document) this.#documents.set(text, document);
  }

  has(document: DocumentNode): boolean {
    return this.#documents.peek(document.loc?.source.body ?? '') === document;
  }
}

/** Makes Yoga use cached documents instead of parsing and validating again. */
export function useCachedDocuments(documents: DocumentCache): Plugin<Context> {
  return {
    onParse({ params: { source }, setParsedDocument }) {
      const document = documents.get(typeof source === 'string' ? source : source.body);
      if (document) setParsedDocument(document);
    },
    onValidate({ params: { documentAST }, setResult }) {
      if (documents.has(documentAST)) setResult([]);
    },
  };
}

/** Adds documents of authenticated callers to the cache when their execution has started. */
export function useDocumentCaching(documents: DocumentCache): Plugin<Context> {
  const add = ({ document, contextValue }: CachedArgs, result: object) => {
    if (contextValue.caller && hasStarted(result)) documents.add(document);
  };
  return {
    onExecute: ({ args }) => ({ onExecuteDone: ({ result }) => add(args, result) }),
    onSubscribe: ({ args }) => ({ onSubscribeResult: ({ result }) => add(args, result) }),
  };
}

interface CachedArgs {
  document: DocumentNode;
  contextValue: Pick<Context, 'caller'>;
}

/** Includes comments, for which the lexer creates tokens too. */
function countTokens({ loc }: DocumentNode): number {
  let count = 0;
  for (let token: Token | null | undefined = loc?.startToken; token; token = token.next) count += 1;
  return count;
}
